"""A rollback reads the remote copy where the Snapshot's own store does not have it whole, before anything is stopped."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Finding, PreviewResult, RestoreResult
from ocore_crds.rollback import RemoteSource, RollbackStatus
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object
from ocore_operator.rollback import plan, plan_preview, remote_source, source
from ocore_operator.rollback import world as v
from ocore_operator.rollback.observe import snapshot_view
from ocore_operator.rollback.world import StoreView
from support.operator import objects

from .model import ROLLBACK_ID
from .test_preflight import decided, ready, snapshot

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


# --- known before --------------------------------------------------------------------------------------------------------


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
    return objects.store(status={"conditions": [found]}, name="near")


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
    found = remote_source.chosen(snap, own)
    assert (found.reason if found is not None else None) == reason
    assert found is None or (found.store_name, found.store_id, found.message) == ("far", "far-id", found.message)


def rollback(**spec: Any) -> resources.Rollback:
    return resources.rollback(objects.obj("Rollback", "r", {"snapshotRef": {"name": "before"}, **spec}))


@pytest.mark.parametrize(
    ("asked", "copy", "expected"),
    [
        ({}, COPY, True),
        ({}, None, False),
        ({}, {**COPY, "state": "Copying"}, False),
        ({"sourceStoreRef": {"name": "x"}}, COPY, False),
        ({"snapshotRef": {"name": "before", "namespace": "elsewhere"}}, COPY, False),
    ],
)
def test_who_names_a_store_gets_that_one(asked: Object, copy: Object | None, *, expected: bool) -> None:
    assert remote_source.may_choose(rollback(**asked), taken(copy)) == expected


def test_a_damaged_snapshot_is_restored_from_its_copy() -> None:
    broken = snapshot(broken="a differs.", remote_store="far", remote_store_id="far-id", remote_state="completed")
    action, status = decided(both(broken, chooses()))
    assert status.stage == "Restore", action
    assert (status.remote, status.remote_copy_state, status.source_store_name) == (CHOSEN, "completed", None)
    assert any(w.reason == c.REMOTE_COPY_ONLY and "far" in w.message for w in status.warnings)
    _, refused = decided(broken)
    assert refused.failure_reason == c.VERIFICATION_FAILED


def test_a_store_that_is_named_may_be_that_of_the_copy() -> None:
    view = snapshot_view(taken(COPY))
    assert remote_source.store_ids(view) == ("near-id", "far-id")
    gone = snapshot_view(taken({**COPY, "only": True}))
    assert remote_source.store_ids(gone) == remote_source.store_ids(snapshot_view(taken(COPY, DAMAGED))) == ("far-id",)
    world = replace(ready().see(0).world, source=v.SourceView(store=StoreView("x", id="far-id")))
    assert remote_source.is_readable(world, gone)
    assert not remote_source.is_readable(replace(world, source=v.SourceView(store=StoreView("x", id="near-id"))), gone)


def test_into_another_environment_the_copy_is_the_source() -> None:
    snap, target = taken(COPY), objects.environment({"id": "99999999-9999-4999-8999-999999999999"})
    assert source.store_name(rollback(), snap, target) == "near"
    assert source.store_name(rollback(), snap, target, CHOSEN) == "far"
    assert source.store_name(rollback(sourceStoreRef={"name": "x"}), snap, target, None) == "x"


# --- found by the restore --------------------------------------------------------------------------------------------------


def restoring(**changes: Any) -> RollbackStatus:
    _, status = decided(with_copy)
    assert status.stage == "Restore"
    return status.model_copy(update=changes)


def ended(attempt: int, failure: Failure | None = None, **fields: Any) -> v.JobView:
    return v.JobView(
        kind="restore", attempt=attempt, name=f"restore-{attempt}", ended=True, closed=True, failure=failure, **fields
    )


def after(status: RollbackStatus, job: v.JobView, change: Callable[[v.World], v.World] = with_copy) -> v.Action:
    model = ready()
    world = change(replace(model.see(model.time).world, jobs=(job,), finalizer=True))
    return plan.decide(status, model.spec, world, ROLLBACK_ID, model.now())


def failure(reason: str, *, retryable: bool = False) -> Failure:
    return Failure(reason=reason, message=f"It said {reason}.", retryable=retryable)


@pytest.mark.parametrize("reason", sorted(remote_source.OF_THE_STORE))
def test_row_55_a_store_that_fails_is_left_for_the_copy(reason: str) -> None:
    action = after(restoring(), ended(1, failure(reason)))
    assert isinstance(action, v.Record)
    status = action.status
    assert (status.stage, status.attempt, status.failure_reason) == ("Restore", 2, None)
    assert status.remote == RemoteSource(
        store_name="far", store_id="far-id", reason=reason, message=f"It said {reason}.", first_attempt=2
    )
    assert action.notes[0].type == "Warning"
    assert "far" in action.notes[0].message


def test_the_pod_of_the_failed_restore_ends_first() -> None:
    failed = ended(1, failure(c.CORRUPT), pods=1)
    chosen = after(restoring(), failed)
    assert isinstance(chosen, v.Record), chosen
    assert chosen.status.remote is not None
    assert after(chosen.status, failed) == v.Do(v.StopJob(failed))


def test_another_failure_is_none_of_the_stores() -> None:
    action = after(restoring(), ended(1, failure(c.RESTORE_FAILED)))
    assert isinstance(action, v.Record)
    assert (action.status.stage, action.status.failure_reason, action.status.remote) == (
        "Abort",
        c.RESTORE_FAILED,
        None,
    )


def test_without_a_copy_it_fails_as_before() -> None:
    action = after(restoring(), ended(1, failure(c.CORRUPT)), lambda world: world)
    assert isinstance(action, v.Record)
    assert action.status.failure_reason == c.CORRUPT


def test_row_55_where_both_are_damaged_it_names_both() -> None:
    status = restoring(remote=CHOSEN.model_copy(update={"first_attempt": 2}), attempt=2)
    action = after(status, ended(2, failure(c.CORRUPT)))
    assert isinstance(action, v.Record)
    assert action.status.stage == "Abort"
    message = action.status.failure_message or ""
    assert "The data is damaged." in message
    assert "far: It said Corrupt." in message


def test_the_copy_has_attempts_of_its_own() -> None:
    status = restoring(remote=CHOSEN.model_copy(update={"first_attempt": 2}), attempt=4)
    unreachable = failure(c.STORE_UNREACHABLE, retryable=True)
    assert isinstance(end := after(status, ended(4, unreachable)), v.Record)
    assert end.status.stage == "Abort", "the third one at the copy was the last"
    status = restoring(remote=CHOSEN.model_copy(update={"first_attempt": 2}), attempt=3)
    assert isinstance(again := after(status, ended(3, unreachable)), v.Record)
    assert (again.status.stage, again.status.attempt) == ("Restore", 4)


def test_the_evidence_says_where_the_data_came_from() -> None:
    status = restoring(remote=CHOSEN)
    done = v.JobView(
        kind="restore", attempt=1, name="r", ended=True, closed=True, payload=RestoreResult(restored_database="x")
    )
    action = after(status, done)
    assert isinstance(action, v.Record)
    assert action.status.evidence is not None
    first = action.status.evidence.proven[0]
    assert "far" in first
    assert "The data is damaged." in first


def test_a_copy_of_an_environment_reads_it_from_there() -> None:
    action = after(restoring(source_store_name="near"), ended(1, failure(c.BUCKET_NOT_FOUND)))
    assert isinstance(action, v.Record)
    assert action.status.source_store_name == "far"


# --- a preview ---------------------------------------------------------------------------------------------------------------


def test_a_preview_reads_the_copy_as_the_rollback_would() -> None:
    model = ready()
    spec = type(model.spec).model_validate({**model.spec.wire(), "dryRun": True})
    world = with_copy(model.see(model.time).world)
    first = plan_preview.decide(RollbackStatus(), spec, world, ROLLBACK_ID, model.now())
    assert isinstance(first, v.Record)
    found = PreviewResult(refusals=(Finding(reason=c.SNAPSHOT_NOT_FOUND, message="It is gone."),))
    job = v.JobView(kind="preview", attempt=1, name="p", ended=True, closed=True, payload=found)
    asked = replace(world, jobs=(job,), probe_asked=True)
    again = plan_preview.decide(first.status, spec, asked, ROLLBACK_ID, model.now())
    assert isinstance(again, v.Record)
    assert again.status.remote is not None
    assert (again.status.attempt, again.status.remote.store_name) == (2, "far")
