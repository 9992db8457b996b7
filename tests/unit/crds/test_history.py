"""The history limit of Rollbacks: which finished ones are removed, and which never."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.rules import history
from ocore_crds.rules.history import Finished
from support.operator.objects import obj

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def time(days: float) -> str:
    return (NOW + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def rollback(name: str = "r", days: float = -100, *, reason: str = "Succeeded", meta: Any = None, **status: Any) -> Any:
    """A Rollback that ran, whose cleanup is done and whose evidence is known."""
    full = {
        "stage": "Ended",
        "phase": "Complete",
        "completedAt": time(days),
        "switchedAt": time(days),
        "undoUntil": time(days + 1),
        "residue": "None",
        "evidence": {"required": ["x"]},
        "environmentName": "shop",
        "conditions": [{"type": "Complete", "status": "True", "reason": reason, "lastTransitionTime": time(days)}],
        **status,
    }
    spec = {"snapshotRef": {"name": "s"}}
    return obj("Rollback", name, spec, {k: v for k, v in full.items() if v is not None}, **(meta or {}))


def never_switched(reason: str, **more: Any) -> Any:
    failed = [{"type": "Failed", "status": "True", "reason": reason, "lastTransitionTime": time(-100)}]
    return rollback(
        switchedAt=None, evidence=None, undoUntil=None, phase="Failed", conditions=failed, failureReason=reason, **more
    )


def removable(each: Any) -> bool:
    """Whether it would be removed, beside two newer ones that ran."""
    others = [rollback("new", -1), rollback("newer", -0.5)]
    finished = [f for f in map(history.finished_of, (each, *others)) if f is not None]
    return history.beyond(finished, 1, NOW)[:1] == [each["metadata"]["name"]]


@pytest.mark.parametrize(
    "each",
    [
        rollback(),
        rollback(undoUntil=None),
        rollback(position="Old", phase="Failed", switchedBackAt=time(-100)),
        never_switched("InsufficientSpace"),
        rollback(
            meta={"managedFields": [{"manager": "ocore-operator", "operation": "Apply", "subresource": "status"}]}
        ),
        rollback(meta={"managedFields": [{"manager": "kubectl-ocore", "operation": "Update"}]}),
        rollback(meta={"labels": {"team": "shop"}, "annotations": {"example.com/a": "b"}}),
        rollback(meta={"finalizers": ["example.com/other"]}),
    ],
)
def test_removed_beyond_the_limit(each: Any) -> None:
    assert removable(each)


@pytest.mark.parametrize(
    "each",
    [
        rollback(conditions=[]),  # it runs
        rollback(meta={"deletionTimestamp": time(0)}),
        rollback(undoUntil=time(0.001)),
        rollback(residue="Pending"),
        rollback(residue="Unknown"),  # a person needs its names for the repair
        rollback(residue=None),
        rollback(meta={"finalizers": ["ocore.dev/rollback"]}),
        rollback(evidence=None),  # it switched, and the restore's result is lost
        never_switched("OutcomeUnknown"),
        never_switched("SwitchedBack"),
        rollback(reason="AlreadyExecuted", switchedAt=None, evidence=None),  # something created it again
        # Applied from a file: it would be applied again, and the operator would remove it again, or worse, run it.
        rollback(meta={"annotations": {APPLIED: "{}"}}),
        rollback(meta={"managedFields": [{"manager": "kubectl", "operation": "Apply"}]}),
        rollback(meta={"managedFields": [{"manager": "kustomize-controller", "operation": "Apply"}]}),
        rollback(meta={"annotations": {"argocd.argoproj.io/tracking-id": "shop:ocore.dev/Rollback:shop/r"}}),
        rollback(meta={"labels": {"app.kubernetes.io/instance": "shop"}}),
        rollback(meta={"labels": {"argocd.argoproj.io/instance": "shop"}}),
        rollback(meta={"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}),
        rollback(meta={"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}),
        rollback(meta={"annotations": {"meta.helm.sh/release-name": "shop"}}),
        rollback(meta={"labels": {"kapp.k14s.io/app": "1"}}),
        rollback(meta={"annotations": {"objectset.rio.cattle.io/id": "x"}}),
        rollback(meta={"annotations": {"configmanagement.gke.io/managed": "enabled"}}),
    ],
)
def test_never_removed(each: Any) -> None:
    assert not removable(each)


def preview(name: str, days: float) -> Any:
    """A Rollback with dryRun, with its report."""
    ended = [{"type": "Previewed", "status": "True", "reason": "WouldRun", "lastTransitionTime": time(days)}]
    each = rollback(name, days, phase="Previewed", conditions=ended, switchedAt=None, undoUntil=None, evidence=None)
    return {**each, "spec": {**each["spec"], "dryRun": True}}


def test_a_temporary_preview_that_was_left_behind_goes_whatever_the_limit() -> None:
    """`kubectl ocore preview` removes its own; one that is killed cannot. Only a preview can be temporary."""
    listed = [preview("left", -11 / 1440), preview("fresh", -9 / 1440), rollback("ran", -2), rollback("now", -1)]
    for each in listed:
        each["metadata"].setdefault("annotations", {})["ocore.dev/temporary"] = "true"
    finished = [f for f in map(history.finished_of, (*listed, preview("kept", -30))) if f is not None]
    assert len(finished) == 5
    for limit in (0, 10):
        assert history.beyond(finished, limit, NOW) == ["left"]


def test_previews_push_out_no_rollback_that_ran_and_are_limited_themselves() -> None:
    objects = [rollback("ran1", -9), rollback("ran2", -8), *(preview(f"look{i}", -5 + i) for i in range(4))]
    finished = [f for f in map(history.finished_of, objects) if f is not None]
    assert [f.name for f in finished if f.preview] == ["look0", "look1", "look2", "look3"]
    assert history.beyond(finished, 2, NOW) == ["look0", "look1"]
    # The newest one that switched stays, however many previews are newer.
    assert history.beyond(finished, 1, NOW) == ["ran1", "look0", "look1", "look2"]
    assert history.beyond(finished, 0, NOW) == []


def test_a_running_one_does_not_count() -> None:
    assert history.finished_of(rollback(conditions=[])) is None
    assert history.finished_of(rollback(meta={"deletionTimestamp": time(0)})) is None


def finished(name: str, days: float, **more: Any) -> Finished:
    return Finished(name, time(days), **{"removable": True, "switched": True, **more})


def test_the_newest_ones_stay_and_the_oldest_go_first() -> None:
    every = [finished(f"r{n}", -n) for n in range(6)]
    assert history.beyond(every, 3, NOW) == ["r5", "r4", "r3"]
    assert history.beyond(every, 6, NOW) == []
    assert history.beyond(every, 0, NOW) == [], "0: no limit"


def test_the_newest_one_that_switched_stays() -> None:
    """The environment runs on its snapshot, whatever failed after it."""
    every = [finished(f"r{n}", -n, switched=n >= 3) for n in range(6)]
    assert history.beyond(every, 2, NOW) == ["r5", "r4", "r2"]


def test_those_that_stay_do_not_push_others_out() -> None:
    """What may not be removed counts by its place, so the newest ones are always listed."""
    every = [finished(f"r{n}", -n, removable=n not in (3, 4)) for n in range(6)]
    assert history.beyond(every, 3, NOW) == ["r5"]


any_finished = st.builds(
    lambda days, removable, switched, undo: (days, removable, switched, undo),
    st.integers(-1000, 0), st.booleans(), st.booleans(), st.none() | st.integers(-10, 10),
)  # fmt: skip


@given(st.lists(any_finished, max_size=30), st.integers(0, 12))
def test_never_more_than_the_limit_asks(given_: list[tuple[int, bool, bool, int | None]], limit: int) -> None:
    every = [
        Finished(f"r{n}", time(days), removable=r, switched=s, undo_until=time(undo) if undo is not None else "")
        for n, (days, r, s, undo) in enumerate(given_)
    ]
    gone = history.beyond(every, limit, NOW)
    left = [f for f in every if f.name not in gone]
    assert len(set(gone)) == len(gone)
    assert not gone or len(left) >= limit > 0
    newest = sorted(every, key=lambda f: (f.time, f.name), reverse=True)
    assert not {f.name for f in newest[:limit]} & set(gone)
    assert all(f.removable and (not f.undo_until or f.undo_until <= time(0)) for f in every if f.name in gone)
    ran = [f.name for f in newest if f.switched]
    assert not ran or ran[0] not in gone
    if limit:
        may_go = [
            f.name for f in newest[limit:] if f.removable and f.undo_until <= time(0) and f.name != (ran or [""])[0]
        ]
        assert sorted(gone) == sorted(may_go)
    assert history.beyond(left, limit, NOW) == [], "a second run removes more"
