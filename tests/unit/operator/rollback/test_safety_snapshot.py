"""The safety snapshot: when it is created, whose it is, what it ends, and that nothing switches before it is Complete.
The machine covers crashes."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.naming import safety_snapshot as safety_name
from ocore_crds.protocol import Failure, RestoreResult, Step
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_kube.errors import Forbidden
from ocore_kube.types import SNAPSHOTS
from ocore_operator.errors import Stalled
from ocore_operator.frame.actions import Record, Wait
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Rollback, Snapshot
from ocore_operator.rollback import effects, observe, plan, plan_safety
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.plan_switch import STOP_JOBS_SECONDS
from ocore_operator.rollback.safety import is_safety_snapshot, safety_snapshot
from ocore_operator.rollback.transitions import begin, change, enter, stamp, state_of, step
from ocore_operator.rollback.world import (
    Action,
    CancelSafetySnapshot,
    CreateSafetySnapshot,
    Do,
    JobView,
    OperationLock,
    StartJob,
    World,
)
from support.operator import rollback_seen
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.rollback_model import ENVIRONMENT_ID, START
from support.operator.rollback_objects import TARGET, time_at

SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}, "createSafetySnapshot": True})
UID = "0a1b2c3d-0000-4000-8000-000000000001"
NAME = "r1-safety-0a1b2c3d"


def status(stage: Any = "Restore", **changes: Any) -> RollbackStatus:
    found = begin(RollbackStatus(), SPEC, UID, START)
    deadline = stamp(time_at(900))
    fresh = enter(found, stage, START, environment_id=ENVIRONMENT_ID, target=TARGET, attempt=1, deadline=deadline)
    return change(step(fresh, Step.PREFLIGHT, "Done", START), position="Old", residue="Pending", **changes)


def named(stage: Any = "Restore", **changes: Any) -> RollbackStatus:
    """The status names the Snapshot."""
    fresh = step(status(stage, **changes), Step.SAFETY_SNAPSHOT, "Running", START)
    return change(fresh, safety_snapshot_name=NAME, safety_snapshot_id="u1")


def view(*, ours: bool = True, message: str = "it runs.", failed: bool = False, **facts: Any) -> Snapshot:
    """The Snapshot; `ours`: see :func:`world`."""
    found = rollback_seen.snapshot(**{"name": NAME, "uid": "u1", "complete": False, "waits_for": message, **facts})
    if failed:
        status = found.status
        ended = c.set_condition(
            status.conditions, c.FAILED, "True", "DumpFailed", message, now=stamp(START), generation=1
        )
        found = found.with_status(status.model_copy(update={"conditions": ended}))
    return found if ours else replace(found, meta=replace(found.meta, annotations={"of": "another"}))


def world(safety: Snapshot | None = None, **changes: Any) -> World:
    environment = rollback_seen.environment(target=TARGET)
    lock = OperationLock("Ours", "Rollback r1", START)
    full = World(created=START, environment=environment, snapshot=None, finalizer=True, lock=lock, safety_name=NAME)
    return replace(full, safety=safety, owns_safety=safety is not None and not safety.meta.annotations, **changes)


def decide(found: RollbackStatus, seen: World, seconds: float = 1, spec: RollbackSpec = SPEC) -> Action:
    return plan.decide(found, spec, seen, UID, time_at(seconds))


RESTORED = JobView("restore", 1, "restore-1", ended=True, payload=RestoreResult(restored_database="shop_rb_0a1b2c3d"))
RESTORES = JobView("restore", 1, "restore-1", pods=1)


def test_it_is_created_named_and_then_the_restore_goes_on_beside_it() -> None:
    assert decide(status(), world()) == Do(CreateSafetySnapshot(), after="operator-rollback-safety-created")
    # Killed before the status was written: the next operator finds it under its name.
    action = decide(status(), world(view()))
    assert isinstance(action, Record)
    assert (action.status.safety_snapshot_name, action.status.safety_snapshot_id) == (NAME, "u1")
    assert state_of(action.status, Step.SAFETY_SNAPSHOT) == "Running"
    assert decide(action.status, world(view())) == Do(StartJob("restore", 1))
    assert isinstance(decide(named(), world(view(), jobs=(RESTORES,))), Wait)


def test_without_it_nothing_is_created() -> None:
    plain = RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}})
    assert decide(status(), world(), spec=plain) == Do(StartJob("restore", 1))
    assert state_of(begin(RollbackStatus(), plain, UID, START), Step.SAFETY_SNAPSHOT) is None


def test_the_switch_job_waits_until_it_is_complete() -> None:
    """Also where another stage leads to Prepare directly."""
    action = decide(named(), world(view(), jobs=(RESTORED,)))
    assert isinstance(action, Record)
    assert (action.status.stage, action.status.phase) == ("Await", "Restoring")
    waiting = decide(action.status, world(view()))
    assert isinstance(waiting, Wait)
    assert waiting.reason == c.WAITING_FOR_SNAPSHOT
    assert "it runs." in waiting.message
    back = decide(named("Prepare", switch_attempt=1), world(view()))
    assert isinstance(back, Record)
    assert back.status.stage == "Await"


def test_once_it_is_complete_the_switch_is_prepared() -> None:
    action = decide(named("Await"), world(view(complete=True, consistent_at="2026-01-01T00:00:30Z")))
    assert isinstance(action, Record)
    assert (action.status.safety_snapshot_at, action.before) == (
        "2026-01-01T00:00:30Z",
        "operator-rollback-safety-complete",
    )
    following = decide(action.status, world(view(complete=True)))
    assert isinstance(following, Record)
    assert following.status.stage == "Prepare"
    assert decide(change(following.status, switch_attempt=1), world()) == Do(StartJob("switch", 1))


@pytest.mark.parametrize("stage", ["Restore", "Await"])
@pytest.mark.parametrize(
    ("safety", "says"),
    [
        (view(failed=True, message="DumpFailed: disk full."), "disk full."),
        (None, "was deleted"),
        (view(deleting=True), "was deleted"),
        (view(uid="u2"), "was deleted"),  # another one has its name now
        (view(uid="u0"), "was deleted"),
        (view(complete=True, deleting=True), "was deleted"),
    ],
)
def test_one_that_fails_or_goes_ends_the_rollback(stage: str, safety: Snapshot | None, says: str) -> None:
    action = decide(named(stage), world(safety, jobs=(RESTORES,)))
    assert isinstance(action, Record)
    assert (action.status.stage, action.status.failure_reason) == ("Abort", c.SAFETY_SNAPSHOT_FAILED)
    assert says in (action.status.failure_message or "")
    assert state_of(action.status, Step.SAFETY_SNAPSHOT) == "Failed"


def test_one_that_goes_before_the_status_names_it_is_named_too() -> None:
    action = decide(status(), world(view(deleting=True)))
    assert isinstance(action, Record)
    assert f"Safety snapshot {NAME} was deleted" in (action.status.failure_message or "")


def test_a_foreign_object_under_its_name_is_not_taken_for_it() -> None:
    action = decide(status(), world(view(ours=False, complete=True)))
    assert isinstance(action, Record)
    assert action.status.failure_reason == c.SAFETY_SNAPSHOT_FAILED
    assert f"Snapshot {NAME} exists and does not belong to this Rollback" in (action.status.failure_message or "")
    assert action.status.safety_snapshot_name is None


def test_at_the_deadline_the_message_says_what_was_waited_for() -> None:
    action = decide(named("Await"), world(view(message="Waiting for a Job slot.")), 900)
    assert isinstance(action, Record)
    assert action.status.failure_reason == c.DEADLINE_EXCEEDED
    assert f"Waiting until safety snapshot {NAME} is Complete. Waiting for a Job slot." in (
        action.status.failure_message or ""
    )


def aborting() -> RollbackStatus:
    return change(named("Abort"), failure_reason=c.CANCELLED, failure_message="deleted")


def test_an_aborted_rollback_cancels_it_and_waits_for_its_end() -> None:
    assert decide(aborting(), world(view())) == Do(CancelSafetySnapshot(view()))
    # Both are stopped at the same time.
    job = replace(RESTORES, stopping=True)
    waiting = decide(aborting(), world(view(deleting=True), jobs=(job,)))
    assert isinstance(waiting, Wait)
    assert isinstance(decide(aborting(), world(view(deleting=True))), Wait)
    late = decide(aborting(), world(view(deleting=True)), STOP_JOBS_SECONDS + 1)
    assert isinstance(late, Record)
    assert late.status.stage == "Finish"


@pytest.mark.parametrize("safety", [None, view(complete=True), view(failed=True), view(ours=False)])
def test_an_aborted_rollback_leaves_one_that_has_ended_and_a_foreign_one(safety: Snapshot | None) -> None:
    action = decide(aborting(), world(safety))
    assert isinstance(action, Record)
    assert action.status.stage == "Finish"


def test_a_rollback_that_ran_before_cancels_it_first() -> None:
    """Its restore Job finds the record in the store."""
    job = replace(RESTORED, payload=None, failure=Failure(reason=c.ALREADY_EXECUTED, message="it ran"))
    assert decide(named(), world(view(), jobs=(job,))) == Do(CancelSafetySnapshot(view()))
    ended = decide(named(), world(view(complete=True), jobs=(job,)))
    assert isinstance(ended, Record)  # first its completion is recorded
    assert isinstance(decide(ended.status, world(view(complete=True), jobs=(job,))), Record)


@pytest.mark.parametrize(
    ("ready", "reason", "message", "expected", "says"),
    [
        (True, "", "", None, ""),
        (False, c.STORE_NOT_READY, "the bucket is gone.", c.STORE_NOT_READY, "the bucket is gone. Fix that"),
        (False, c.DATABASE_NOT_FOUND, "no database shop.", c.DATABASE_NOT_FOUND, "There is nothing to save"),
        (False, c.CAPACITY_UNKNOWN, "no capacity.", c.CAPACITY_UNKNOWN, "no capacity. Fix that"),
        (False, "", "", c.ENVIRONMENT_NOT_READY, "Ready is not True"),
    ],
)
def test_what_would_not_be_complete_is_refused_before_anything(
    *, ready: bool, reason: str, message: str, expected: str | None, says: str
) -> None:
    environment = rollback_seen.environment(
        snapshot_ready=ready,
        snapshot_not_ready_reason=reason or None,
        snapshot_not_ready_message=message,
    )
    found = plan_safety.refusal(SPEC, environment)
    assert (found.reason if found is not None else None) == expected
    assert says in (found.message if found is not None else "")
    assert plan_safety.refusal(RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}}), environment) is None


# --- the object ------------------------------------------------------------------------------------------------------


def rollback(stage: str = "Restore", **spec: Any) -> Rollback:
    meta = {
        "name": "r1",
        "namespace": "ns",
        "uid": UID,
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    full = {"snapshotRef": {"name": "s1"}, "createSafetySnapshot": True, "requestedBy": "ann", **spec}
    return resources.rollback({"metadata": meta, "spec": full, "status": {"stage": stage, "environmentName": "shop"}})


def stored(**changes: Any) -> dict[str, Any]:
    obj = safety_snapshot(rollback())
    obj["metadata"] |= {"uid": "u1", "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:01Z"}
    return {**obj, **changes}


def test_the_object_is_kept_by_retention_and_owned_by_nothing() -> None:
    obj = safety_snapshot(rollback())
    assert obj["metadata"] == {"name": NAME, "namespace": "ns", "annotations": {"ocore.dev/rollback-uid": UID}}
    assert obj["spec"] == {
        "environmentRef": {"name": "shop"},
        "trigger": "PreRollback",
        "retention": "Policy",
        "deletionPolicy": "Delete",
        "timeoutSeconds": 7200,
        "requestedBy": "ann",
    }


def test_its_name_fits_and_differs_for_a_rollback_that_is_created_again() -> None:
    assert len(safety_name("a" * 253, UID)) == 253
    assert safety_name("a" * 236 + "." + "b" * 16, UID) == "a" * 236 + "-safety-0a1b2c3d"
    assert safety_name("r1", UID) != safety_name("r1", ENVIRONMENT_ID)


@pytest.mark.parametrize(
    ("meta", "spec", "ours"),
    [
        ({}, {}, True),
        ({}, {"pin": {"label": "keep"}, "verify": "Full", "deletionPolicy": "Retain"}, True),  # a person keeps it
        ({"annotations": {}}, {}, False),
        ({"annotations": {"ocore.dev/rollback-uid": ENVIRONMENT_ID}}, {}, False),
        ({"creationTimestamp": "2025-12-31T23:59:59Z"}, {}, False),  # older than the Rollback
        ({}, {"environmentRef": {"name": "other"}}, False),
        ({}, {"trigger": "Manual"}, False),
        ({}, {"id": ENVIRONMENT_ID}, False),  # it would adopt what the store has
        ({}, {"quiesce": True}, False),
    ],
)
def test_whose_it_is(meta: dict[str, Any], spec: dict[str, Any], *, ours: bool) -> None:
    obj = stored()
    obj["metadata"] |= meta
    obj["spec"] |= spec
    assert is_safety_snapshot(resources.snapshot(obj), rollback()) is ours


@pytest.mark.parametrize(
    ("conditions", "phase", "complete", "failed"),
    [
        ([], None, False, False),
        ([("Reconciling", "it runs")], "Running", False, False),
        ([("Complete", "Restorable.")], "Complete", True, False),
        ([("Complete", "Restorable."), ("Stalled", "bytes differ")], "Corrupt", False, True),
        ([("Failed", "disk full"), ("Stalled", "disk full")], "Failed", False, True),
    ],
)
def test_how_it_ended(conditions: list[tuple[str, str]], phase: str | None, *, complete: bool, failed: bool) -> None:
    found = [
        {"type": t, "status": "True", "reason": "X", "message": m, "lastTransitionTime": "2026-01-01T00:00:02Z"}
        for t, m in conditions
    ]
    seen = resources.snapshot(stored(status={"conditions": found, "phase": phase} if phase else {}))
    action = decide(named(), replace(world(seen, jobs=(RESTORES,)), owns_safety=True))
    assert isinstance(action, Record) is (complete or failed)
    if isinstance(action, Record):
        assert (state_of(action.status, Step.SAFETY_SNAPSHOT) == "Failed") is failed


# --- against an API server -------------------------------------------------------------------------------------------


class Queue(list[Any]):
    def add(self, key: Any) -> None:
        self.append(key)


def context(server: ApiServer) -> Any:
    kube = server.client()
    return SimpleNamespace(kube=kube, queue=Queue(), catalog=new_catalog(), now=lambda: time_at(1))


def test_it_is_created_once() -> None:
    server = ApiServer()
    ctx = context(server)
    observed = SimpleNamespace(rollback=rollback())

    async def create() -> None:
        await effects.carry_out(ctx, observed, Memory(), CreateSafetySnapshot())  # type: ignore[arg-type]

    # What the API server adds.
    original = server._create

    def with_uid(path: str, body: dict[str, Any]) -> Any:
        body["metadata"] |= {"uid": "u1", "creationTimestamp": "2026-01-01T00:00:01Z"}
        return original(path, body)

    server._create = with_uid  # type: ignore[method-assign]
    asyncio.run(create())
    asyncio.run(create())
    assert server.paths() == [SNAPSHOTS.path("ns", NAME)]
    assert [k.name for k in ctx.queue] == [NAME]


def test_a_refusal_of_the_api_server_is_reported() -> None:
    class Kube:
        async def create(self, *_: object) -> None:
            raise Forbidden(403, "Forbidden", "quota exceeded")

    observed = SimpleNamespace(rollback=rollback())
    with pytest.raises(Stalled, match=r"SafetySnapshotFailed.*quota exceeded"):
        asyncio.run(effects.carry_out(SimpleNamespace(kube=Kube()), observed, Memory(), CreateSafetySnapshot()))  # type: ignore[arg-type]


@pytest.mark.parametrize(("version", "kept"), [("same", False), ("older", True)])
def test_one_that_became_complete_is_not_cancelled(version: str, *, kept: bool) -> None:
    """It is deleted only as it was read."""
    server = ApiServer()
    now = server.put(SNAPSHOTS, stored())["metadata"]["resourceVersion"]
    seen = view()
    seen = replace(seen, meta=replace(seen.meta, resource_version=now if version == "same" else "0"))
    ctx, observed = context(server), SimpleNamespace(rollback=rollback())
    asyncio.run(effects.carry_out(ctx, observed, Memory(), CancelSafetySnapshot(seen)))  # type: ignore[arg-type]
    assert (server.paths() != []) is kept


@pytest.mark.parametrize(("stage", "read"), [("Restore", True), ("Await", True), ("Abort", True), ("Prepare", False)])
def test_it_is_read_while_it_matters(stage: str, *, read: bool) -> None:
    server = ApiServer()
    server.put(SNAPSHOTS, stored())
    found = asyncio.run(observe._safety(context(server), rollback(stage)))
    assert (found is not None) is read
    assert asyncio.run(observe._safety(context(server), rollback(stage, createSafetySnapshot=False))) is None
