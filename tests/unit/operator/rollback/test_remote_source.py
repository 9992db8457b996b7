"""A rollback reads the remote copy where the Snapshot's own store does not have it whole, before anything is
stopped."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Finding, PreviewResult, RestoreResult
from ocore_crds.resources.rollback import RemoteSource, RollbackStatus
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_kube.types import SNAPSHOTS
from ocore_operator.frame.actions import Record
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object
from ocore_operator.rollback import effects, plan, plan_preview, remote_source, source
from ocore_operator.rollback import world as v
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.world import StoreView
from support.operator import objects
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.rollback_changed import decided, ready, snapshot
from support.operator.rollback_model import ROLLBACK_ID
from support.operator.rollback_seen import altered_snapshot

COPY = {"state": "Completed", "storeName": "far", "storeId": "far-id", "requestedAt": objects.at(1), "attempts": 1}
CHOSEN = RemoteSource(store_name="far", store_id="far-id", reason=c.CORRUPT, message="The data is damaged.")
with_copy = snapshot(remote_store="far", remote_store_id="far-id", remote_state="completed")


def both(*changes: Callable[[v.World], v.World]) -> Callable[[v.World], v.World]:
    def change(world: v.World) -> v.World:
        for each in changes:
            world = each(world)
        return world

    return change


def chooses(remote: RemoteSource | None = CHOSEN, **fields: Any) -> Callable[[v.World], v.World]:
    return lambda world: replace(world, source=replace(world.source, remote=remote, **fields))


# --- known before ----------------------------------------------------------------------------------------------------


def taken(remote: Object | None, *more: Object) -> resources.Snapshot:
    status = objects.started(
        phase="Complete",
        storeName="near",
        storeId="near-id",
        conditions=[{"type": "Complete", "status": "True", "reason": "X", "lastTransitionTime": objects.at(1)}, *more],
        **({"remote": remote} if remote is not None else {}),
    )
    return objects.snapshot({}, status)


def near(ready_: str = "True") -> resources.Store:
    found = {
        "type": "Ready",
        "status": ready_,
        "reason": "X",
        "message": "no answer.",
        "lastTransitionTime": objects.at(1),
    }
    return objects.store(status={"conditions": [found], "storeId": "near-id"}, name="near")


FAR = objects.store(status={"storeId": "far-id"}, name="far")


DAMAGED = {
    "type": "Verified",
    "status": "False",
    "reason": "Corrupt",
    "message": "a differs.",
    "lastTransitionTime": objects.at(1),
}


@pytest.mark.parametrize(
    ("snap", "own", "reason"),
    [
        (taken(COPY), near(), None),
        (taken(COPY), near("Unknown"), None),
        (taken(COPY), near("False"), c.STORE_NOT_READY),
        (taken(COPY), None, c.STORE_NOT_FOUND),
        (taken(COPY, DAMAGED), near(), c.CORRUPT),
        (taken({**COPY, "only": True}), near(), c.REMOTE_COPY_ONLY),
    ],
)
def test_the_nearest_whole_copy_is_chosen(
    snap: resources.Snapshot, own: resources.Store | None, reason: str | None
) -> None:
    found = remote_source.chosen(snap, {"near": own, "far": FAR})
    assert (found.reason if found is not None else None) == reason
    assert found is None or (found.store_name, found.store_id, found.message) == ("far", "far-id", found.message)


def rollback(**spec: Any) -> resources.Rollback:
    return resources.rollback(objects.obj("Rollback", "r", {"snapshotRef": {"name": "before"}, **spec}))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, True),
        ({"sourceStoreRef": {"name": "x"}}, False),
        ({"snapshotRef": {"name": "before", "namespace": "elsewhere"}}, False),
    ],
)
def test_who_names_a_store_gets_that_one(asked: Object, *, expected: bool) -> None:
    found = rollback(**asked)
    assert remote_source.names_no_store(found.spec, found.meta.namespace) == expected


def test_a_damaged_snapshot_is_restored_from_its_copy() -> None:
    broken = snapshot(broken="a differs.", remote_store="far", remote_store_id="far-id", remote_state="completed")
    action, status = decided(both(broken, chooses()))
    assert status.stage == "Restore", action
    assert (status.remote, status.remote_copy_state, status.source_store_name) == (CHOSEN, "completed", None)
    assert any(w.reason == c.REMOTE_COPY_ONLY and "far" in w.message for w in status.warnings)
    _, refused = decided(broken)
    assert refused.failure_reason == c.VERIFICATION_FAILED


def test_a_store_that_is_named_may_be_that_of_the_copy() -> None:
    assert remote_source.store_ids(taken(COPY)) == ("near-id", "far-id")
    gone = taken({**COPY, "only": True})
    assert remote_source.store_ids(gone) == remote_source.store_ids(taken(COPY, DAMAGED)) == ("far-id",)
    world = replace(ready().see(0).world, source=v.SourceView(store=StoreView("x", id="far-id")))
    assert remote_source.is_readable(world, gone)
    assert not remote_source.is_readable(replace(world, source=v.SourceView(store=StoreView("x", id="near-id"))), gone)


def test_into_another_environment_the_copy_is_the_source() -> None:
    snap, target = taken(COPY), objects.environment({"id": "99999999-9999-4999-8999-999999999999"})
    assert source.store_name(rollback(), snap, target) == "near"
    assert source.store_name(rollback(), snap, target, CHOSEN) == "far"
    assert source.store_name(rollback(sourceStoreRef={"name": "x"}), snap, target, None) == "x"


# --- found by the restore --------------------------------------------------------------------------------------------


def restoring(**changes: Any) -> RollbackStatus:
    _, status = decided(with_copy)
    assert status.stage == "Restore"
    return status.model_copy(update=changes)


def ended(attempt: int, failure: Failure | None = None, **fields: Any) -> v.JobView:
    return v.JobView(
        kind="restore", attempt=attempt, name=f"restore-{attempt}", ended=True, closed=True, failure=failure, **fields
    )


def after(status: RollbackStatus, job: v.JobView, change: Callable[[v.World], v.World] = with_copy) -> v.Action:
    """What follows a report of the damage, where the status of the Snapshot does not say so yet."""
    model = ready()
    world = change(replace(model.see(model.time).world, jobs=(job,), finalizer=True))
    action = plan.decide(status, model.spec, world, ROLLBACK_ID, model.now())
    return (
        plan.decide(status, model.spec, reported(world, action), ROLLBACK_ID, model.now())
        if reports(action)
        else action
    )


def reports(action: v.Action) -> bool:
    return isinstance(action, v.Do) and isinstance(action.effect, v.ReportDamage)


def reported(world: v.World, action: v.Action) -> v.World:
    """As the Snapshot is seen after that."""
    assert isinstance(action, v.Do)
    assert isinstance(action.effect, v.ReportDamage)
    assert world.snapshot is not None
    if action.effect.in_copy:
        gone = altered_snapshot(world.snapshot, remote_store="")
        return replace(world, snapshot=gone)
    return replace(world, snapshot=altered_snapshot(world.snapshot, broken=action.effect.message))


def failure(reason: str, *, retryable: bool = False) -> Failure:
    return Failure(reason=reason, message=f"It said {reason}.", retryable=retryable)


@pytest.mark.parametrize("reason", sorted(remote_source.OF_THE_STORE))
def test_row_55_a_store_that_fails_is_left_for_the_copy(reason: str) -> None:
    action = after(restoring(), ended(1, failure(reason)))
    assert isinstance(action, Record)
    status = action.status
    assert (status.stage, status.attempt, status.failure_reason) == ("Restore", 2, None)
    assert status.remote == RemoteSource(
        store_name="far", store_id="far-id", reason=reason, message=f"It said {reason}.", first_attempt=2
    )
    assert action.notes[0].type == "Warning"
    assert "far" in action.notes[0].message
    assert f"{action.notes[0].reason}:" not in action.notes[0].message  # an Event shows both


def test_the_pod_of_the_failed_restore_ends_first() -> None:
    failed = ended(1, failure(c.CORRUPT), pods=1)
    chosen = after(restoring(), failed)
    assert isinstance(chosen, Record), chosen
    assert chosen.status.remote is not None
    assert after(chosen.status, failed) == v.Do(v.StopJob(failed.name))


def test_another_failure_is_none_of_the_stores() -> None:
    action = after(restoring(), ended(1, failure(c.RESTORE_FAILED)))
    assert isinstance(action, Record)
    assert (action.status.stage, action.status.failure_reason, action.status.remote) == (
        "Abort",
        c.RESTORE_FAILED,
        None,
    )


def test_without_a_copy_it_fails_as_before() -> None:
    action = after(restoring(), ended(1, failure(c.CORRUPT)), lambda world: world)
    assert isinstance(action, Record)
    assert action.status.failure_reason == c.CORRUPT


def test_row_55_where_both_are_damaged_it_names_both() -> None:
    status = restoring(remote=CHOSEN.model_copy(update={"first_attempt": 2}), attempt=2)
    action = after(status, ended(2, failure(c.CORRUPT)))
    assert isinstance(action, Record)
    assert action.status.stage == "Abort"
    message = action.status.failure_message or ""
    assert "The data is damaged." in message
    assert "far: It said Corrupt." in message


def test_the_copy_has_attempts_of_its_own() -> None:
    status = restoring(remote=CHOSEN.model_copy(update={"first_attempt": 2}), attempt=4)
    unreachable = failure(c.STORE_UNREACHABLE, retryable=True)
    assert isinstance(end := after(status, ended(4, unreachable)), Record)
    assert end.status.stage == "Abort", "the third one at the copy was the last"
    status = restoring(remote=CHOSEN.model_copy(update={"first_attempt": 2}), attempt=3)
    assert isinstance(again := after(status, ended(3, unreachable)), Record)
    assert (again.status.stage, again.status.attempt) == ("Restore", 4)


def test_the_evidence_says_where_the_data_came_from() -> None:
    status = restoring(remote=CHOSEN)
    done = v.JobView(
        kind="restore", attempt=1, name="r", ended=True, closed=True, payload=RestoreResult(restored_database="x")
    )
    action = after(status, done)
    assert isinstance(action, Record)
    assert action.status.evidence is not None
    first = action.status.evidence.proven[0]
    assert "far" in first
    assert "The data is damaged." in first


def test_a_copy_of_an_environment_reads_it_from_there() -> None:
    action = after(restoring(source_store_name="near"), ended(1, failure(c.BUCKET_NOT_FOUND)))
    assert isinstance(action, Record)
    assert action.status.source_store_name == "far"


# --- a preview -------------------------------------------------------------------------------------------------------


def test_a_preview_reads_the_copy_as_the_rollback_would() -> None:
    model = ready()
    spec = type(model.spec).model_validate({**model.spec.wire(), "dryRun": True})
    world = with_copy(model.see(model.time).world)
    first = plan_preview.decide(RollbackStatus(), spec, world, ROLLBACK_ID, model.now())
    assert isinstance(first, Record)
    found = PreviewResult(refusals=(Finding(reason=c.SNAPSHOT_NOT_FOUND, message="It is gone."),))
    job = v.JobView(kind="preview", attempt=1, name="p", ended=True, closed=True, payload=found)
    asked = replace(world, jobs=(job,), probe_asked=True)
    damaged = plan_preview.decide(first.status, spec, asked, ROLLBACK_ID, model.now())
    assert reports(damaged)
    again = plan_preview.decide(first.status, spec, reported(asked, damaged), ROLLBACK_ID, model.now())
    assert isinstance(again, Record)
    assert again.status.remote is not None
    assert (again.status.attempt, again.status.remote.store_name) == (2, "far")


# --- what is found is recorded on the Snapshot -----------------------------------------------------------------------


def first_action(
    status: RollbackStatus, job: v.JobView, change: Callable[[v.World], v.World] = with_copy, **source: Any
) -> v.Action:
    model = ready()
    world = change(replace(model.see(model.time).world, jobs=(job,), finalizer=True))
    world = replace(world, source=replace(world.source, **source))
    return plan.decide(status, model.spec, world, ROLLBACK_ID, model.now())


@pytest.mark.parametrize("reason", [c.CORRUPT, c.SNAPSHOT_NOT_FOUND])
def test_row_91_damage_that_a_rollback_finds_is_reported(reason: str) -> None:
    told = failure(reason).model_copy(update={"object_key": "environments/e/snapshots/s/a/pack-0"})
    found = first_action(restoring(), ended(1, told))
    assert found == v.Do(v.ReportDamage(f"It said {reason}.", in_copy=False, object_key=told.object_key))
    copy = restoring(remote=CHOSEN.model_copy(update={"first_attempt": 2}), attempt=2)
    assert first_action(copy, ended(2, failure(reason))) == v.Do(v.ReportDamage(f"It said {reason}.", in_copy=True))


def test_row_91_what_says_nothing_about_the_data_is_not_reported() -> None:
    for reason in (c.STORE_UNREACHABLE, c.BUCKET_NOT_FOUND, c.STORE_IO_ERROR, c.RESTORE_FAILED):
        assert not reports(first_action(restoring(), ended(1, failure(reason))))
    assert not reports(first_action(restoring(), ended(1, failure(c.CORRUPT)), namespace="production"))
    other = restoring(snapshot_id="99999999-0000-4000-8000-000000000000")
    assert not reports(first_action(other, ended(1, failure(c.CORRUPT)))), "another Snapshot has that name now"


def test_row_91_a_copy_that_is_being_replaced_is_not_reported() -> None:
    """Nothing would be written, and the rollback would report it without end."""
    pending = snapshot(remote_store="far", remote_store_id="far-id", remote_state="pending")
    status = restoring(remote=CHOSEN.model_copy(update={"first_attempt": 2}), attempt=2)
    action = first_action(status, ended(2, failure(c.SNAPSHOT_NOT_FOUND)), pending)
    assert isinstance(action, Record)
    assert action.status.stage == "Abort"


def in_cluster(*more: Object, base: Object | None = None, copy: Object | None = COPY) -> tuple[Any, ApiServer]:
    """A Snapshot, with its full one where it has a base; and what carries out."""
    api = ApiServer()
    found = taken(copy, *more)
    status = {**found.status.wire(), **({"base": base} if base is not None else {})}
    api.put(SNAPSHOTS, objects.snapshot_object({}, status, generation=2))
    events: list[str] = []
    ctx = SimpleNamespace(
        kube=api.client(),
        catalog=new_catalog(),
        now=lambda: objects.moment(9),
        events=SimpleNamespace(record=lambda obj, *_: events.append(obj.meta.name)),
        queue=SimpleNamespace(add=lambda _: None),
    )
    return ctx, api


def carried_out(ctx: Any, *, in_copy: bool, object_key: str | None = None) -> None:
    observed: Any = SimpleNamespace(rollback=rollback())
    damage = v.ReportDamage("pack-0 differs.", in_copy=in_copy, object_key=object_key)
    asyncio.run(effects.carry_out(ctx, observed, Memory(), damage))


def status_of(api: ApiServer, name: str = "before") -> SnapshotStatus:
    return SnapshotStatus.model_validate(api.read(SNAPSHOTS, "shop", name)["status"])


def test_row_91_the_snapshot_is_corrupt_or_only_its_copy_is_left() -> None:
    ctx, api = in_cluster(copy=None)
    carried_out(ctx, in_copy=False)
    status = status_of(api)
    assert status.phase == "Corrupt"
    verified = c.find(status.conditions, c.VERIFIED)
    assert verified is not None
    assert verified.message == "Found by Rollback r: pack-0 differs."
    ctx, api = in_cluster()
    carried_out(ctx, in_copy=False)
    ready_ = c.find(status_of(api).conditions, c.READY)
    assert ready_ is not None
    assert (status_of(api).phase, ready_.status, ready_.reason) == ("Complete", "True", c.REMOTE_COPY_ONLY)


def test_row_91_a_damaged_copy_is_made_again_from_whole_data_only() -> None:
    ctx, api = in_cluster()
    carried_out(ctx, in_copy=True)
    remote = status_of(api).remote
    assert remote is not None
    assert (remote.state, status_of(api).phase) == ("Pending", "Complete")
    assert c.find(status_of(api).conditions, c.VERIFIED) is None
    for ctx, api in (in_cluster(DAMAGED), in_cluster(copy={**COPY, "only": True, "localDeletedAt": objects.at(2)})):
        carried_out(ctx, in_copy=True)
        assert status_of(api).phase == "Corrupt", "nothing whole is left"


def test_row_91_what_is_damaged_may_be_the_full_snapshot() -> None:
    base = {"name": "full", "id": objects.OTHER_UID}
    for key, expected in (
        (f"environments/e/snapshots/{objects.OTHER_UID}/a/pack-0", True),
        (f"environments/e/snapshots/{objects.UID}/a/pack-0", False),
        (None, False),
    ):
        ctx, api = in_cluster(base=base, copy=None)
        full = objects.snapshot_object({"id": objects.OTHER_UID}, taken(None).status.wire())
        full["metadata"]["name"] = "full"
        api.put(SNAPSHOTS, full)
        carried_out(ctx, in_copy=False, object_key=key)
        assert (status_of(api, "full").phase == "Corrupt") == expected
        assert status_of(api).phase == "Corrupt"
