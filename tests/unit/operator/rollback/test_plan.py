"""The plan before the switch, decision by decision: each failure says what happened, each limit ends at its second."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.commands.table import RESTORE
from ocore_crds.protocol import Failure, NeutralizeResult, RestoreResult, Step
from ocore_crds.resources.neutralize import NeutralizeStatus
from ocore_crds.resources.rollback import BEFORE_THE_SWITCH, RollbackSpec, RollbackStatus
from ocore_crds.resources.snapshot import SavedWorkload
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, SetLock, Wait
from ocore_operator.rollback import plan, plan_safety
from ocore_operator.rollback.transitions import begin, change, stamp, state_of, step
from ocore_operator.rollback.world import (
    Action,
    Do,
    JobView,
    OperationLock,
    SourceView,
    StartJob,
    StopJob,
    World,
)
from ocore_operator.workloads.quiesce import Refused, SetReplicas
from ocore_operator.workloads.view import Peer, WorkloadView
from support.operator import rollback_seen
from support.operator.rollback_model import ENVIRONMENT_ID, START
from support.operator.rollback_objects import TARGET, time_at

SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}})
SAFE = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}, "createSafetySnapshot": True})
UID = "0a1b2c3d-0000-4000-8000-000000000001"
RESTORED = RestoreResult(restored_database="shop_rb_0a1b2c3d")
READY = JobView("switch", 1, "switch-1", ready=True, pods=1)
SHOP = WorkloadView("Deployment", "shop", replicas=2, ready_replicas=2, pods=2)
STOPPED = replace(SHOP, replicas=0, ready_replicas=0, pods=0)
SAVED = SavedWorkload(kind="Deployment", name="shop", replicas=2)


def status(stage: str, spec: RollbackSpec = SPEC, /, **changes: Any) -> RollbackStatus:
    begun = begin(RollbackStatus(), spec, UID, START)
    begun = begun if stage == "Preflight" else step(begun, Step.PREFLIGHT, "Done", START)
    found = change(begun, stage=stage, stage_since=stamp(START))
    defaults = {
        "environment_id": ENVIRONMENT_ID,
        "target": TARGET,
        "attempt": 1,
        "switch_attempt": 1,
        "neutralize_attempt": 1,
    }
    return change(
        found, **{**defaults, "position": "Old", "residue": "Pending", "deadline": stamp(time_at(5000)), **changes}
    )


def world(*jobs: JobView, **changes: Any) -> World:
    view = rollback_seen.environment(target=TARGET)
    lock = OperationLock("Ours", "Rollback r1", START)
    full = World(created=START, environment=view, snapshot=None, finalizer=True, lock=lock, jobs=jobs)
    return replace(full, **changes)


def decide(found: RollbackStatus, seen: World, seconds: float = 1, spec: RollbackSpec = SPEC) -> Action:
    return plan.decide(found, spec, seen, UID, time_at(seconds))


def recorded(action: Action) -> RollbackStatus:
    assert isinstance(action, Record), action
    return action.status


def failed(action: Action, reason: str, says: str) -> None:
    """The rollback is aborted with that reason and message."""
    fresh = recorded(action)
    assert (fresh.stage, fresh.failure_reason) == ("Abort", reason)
    assert says in (fresh.failure_message or "")


def failure(reason: str = c.DATABASE_UNREACHABLE, *, retryable: bool = True) -> Failure:
    return Failure(reason=reason, message="no answer.", retryable=retryable)


# --- before any stage -------------------------------------------------------------------------------------------------


def test_in_a_namespace_that_is_deleted_it_only_lets_go() -> None:
    for stage in ("Restore", "Resume"):
        gone = world(READY, namespace_terminating=True)
        assert decide(status(stage), gone) == Do(SetFinalizer(present=False))
        assert decide(status(stage), replace(gone, finalizer=False)) == Idle()


def test_the_finalizer_comes_first_unless_it_is_being_deleted() -> None:
    assert decide(status("Restore"), world(finalizer=False)) == Do(SetFinalizer(present=True))
    failed(decide(status("Restore"), world(finalizer=False, deleting=True)), c.CANCELLED, "deleted before the switch")


@pytest.mark.parametrize(("seconds", "waits"), [(299, True), (300, False), (9000, False)])
def test_an_import_has_five_minutes_to_complete_what_it_created(seconds: float, *, waits: bool) -> None:
    action = decide(RollbackStatus(), world(awaits_import=True), seconds)
    if waits:
        assert action == Idle(1.0)
    else:
        assert recorded(action).failure_reason == c.IMPORT_INCOMPLETE


@pytest.mark.parametrize("stage", BEFORE_THE_SWITCH)
@pytest.mark.parametrize("id_", ["0", "z"])
def test_an_environment_with_another_id_aborts_it(stage: str, id_: str) -> None:
    other = rollback_seen.environment(id=id_, target=TARGET)
    failed(decide(status(stage), world(environment=other)), c.OTHER_ENVIRONMENT, f"(id {id_})")


@pytest.mark.parametrize("stage", BEFORE_THE_SWITCH)
def test_what_happens_to_its_environment_aborts_it(stage: str) -> None:
    found = status(stage, environment_name="shop")
    failed(decide(found, world(environment=None)), c.ENVIRONMENT_NOT_FOUND, "Environment shop was deleted")
    taken = world(lock=OperationLock("Other", "Snapshot s2", START))
    failed(decide(found, taken), c.INTERNAL_ERROR, "Snapshot s2 has locked environment shop")
    assert decide(found, world(lock=OperationLock())) == Do(SetLock(held=True))


def test_what_was_changed_in_its_environment_is_named() -> None:
    """And only that: an administrator was entered, the layout and the path are others, the rest is as it was."""
    changed = TARGET.model_copy(update={"admin_secret_name": "admin", "path": "a"})
    found = status("Restore", target=TARGET.model_copy(update={"admin_secret_name": None, "path": "z"}))
    view = rollback_seen.environment(target=changed)
    says = "rollback: spec.database.adminSecretRef from none to admin, spec.filestore.path from z to a. "
    failed(decide(found, world(environment=view)), c.ENVIRONMENT_CHANGED, says)
    back = rollback_seen.environment(target=found.target)
    says = "spec.database.adminSecretRef from admin to none, spec.filestore.path from a to z. "
    failed(decide(status("Restore", target=changed), world(environment=back)), c.ENVIRONMENT_CHANGED, says)


def test_one_that_an_earlier_version_began_has_no_target_to_compare() -> None:
    assert decide(status("Restore", target=None), world()) == Do(StartJob("restore", 1))


def test_only_at_the_stage_await_the_deadline_says_what_it_waited_for() -> None:
    late = decide(status("Restore", SAFE), world(), 5000, SAFE)
    failed(late, c.DEADLINE_EXCEEDED, "at stage Restore. The environment is as it was. Increase timeoutSeconds")


def test_a_deadline_that_passed_long_ago_aborts_it_too() -> None:
    """The operator was away."""
    failed(decide(status("Restore"), world(), 50_000), c.DEADLINE_EXCEEDED, "at stage Restore")


# --- Restore and Neutralize -------------------------------------------------------------------------------------------


def test_a_restored_copy_is_switched_to_next() -> None:
    done = JobView("restore", 1, "restore-1", ended=True, payload=RESTORED)
    action = decide(status("Restore"), world(done))
    fresh = recorded(action)
    assert (fresh.stage, fresh.switch_attempt) == ("Prepare", 2)
    assert isinstance(action, Record)
    assert action.before == "operator-rollback-restored"


def test_a_snapshot_of_another_environment_is_not_restored_without_its_grant() -> None:
    """What is being restored goes on: it has the data."""
    foreign = SourceView(namespace="prod", into="stage")
    found = status("Restore", snapshot_name="s1")
    failed(decide(found, world(source=foreign)), c.ACCESS_NOT_GRANTED, "Namespace prod has no Snapshot s1 that may be")
    running = JobView("restore", 1, "restore-1", pods=1)
    assert isinstance(decide(found, world(running, source=foreign)), Wait)
    assert decide(found, world(source=SourceView())) == Do(StartJob("restore", 1))


def test_row_105_a_restore_gives_way_and_begins_again() -> None:
    why = Failure(reason=c.CLAIM_NEEDED, message="Pod shop could not start.", retryable=True)
    holds = JobView("restore", 1, "restore-1", pods=1, mounts=1, gives_way=why)
    action = decide(status("Restore"), world(holds))
    fresh = recorded(action)
    assert isinstance(action, Record)
    assert (fresh.stage, fresh.attempt, action.notes[0].reason) == ("Restore", 2, c.CLAIM_NEEDED)
    stopping = decide(fresh, world(replace(holds, gives_way=None)))
    assert stopping == Do(StopJob(replace(holds, gives_way=None).name))
    assert decide(fresh, world()) == Do(StartJob("restore", 2))
    last = status("Restore", attempt=RESTORE.attempts)
    failed(decide(last, world(replace(holds, attempt=RESTORE.attempts))), c.CLAIM_NEEDED, "Pod shop could not start")


def test_a_copy_is_neutralised_before_anything_is_waited_for() -> None:
    done = JobView("restore", 1, "restore-1", ended=True, payload=RESTORED)
    required = NeutralizeStatus(required=True, own_identity=False)
    found = change(status("Restore", SAFE, neutralize=required), safety_snapshot_name="x", safety_snapshot_id="u")
    seen = world(
        done, safety_name="x", safety=rollback_seen.snapshot(name="x", uid="u", complete=False), owns_safety=True
    )
    assert plan_safety.waits(SAFE, found)
    assert recorded(decide(found, seen, spec=SAFE)).stage == "Neutralize"


@pytest.mark.parametrize(
    ("stage", "kind"), [("Restore", "restore"), ("Neutralize", "neutralize"), ("Prepare", "switch")]
)
def test_a_job_that_failed_for_good_or_left_nothing_aborts_it(stage: str, kind: Any) -> None:
    ended = JobView(kind, 1, "job-1", ended=True)
    failed(decide(status(stage), world(ended)), c.JOB_FAILED, "Job job-1 ended without a result.")
    final = replace(ended, failure=failure(retryable=False))
    failed(decide(status(stage), world(final)), c.DATABASE_UNREACHABLE, "no answer.")
    third = replace(ended, attempt=3, failure=failure())
    counted = status(stage, attempt=3, neutralize_attempt=3, switch_attempt=3)
    failed(decide(counted, world(third)), c.DATABASE_UNREACHABLE, "no answer.")
    second = replace(ended, attempt=2, failure=failure())
    again = decide(status(stage, attempt=2, neutralize_attempt=2, switch_attempt=2), world(second))
    assert recorded(again).failure_reason is None


@pytest.mark.parametrize(
    ("stage", "kind"), [("Restore", "restore"), ("Neutralize", "neutralize"), ("Prepare", "switch")]
)
def test_a_job_that_is_refused_for_two_minutes_aborts_it(stage: str, kind: Any) -> None:
    refused = world(refused_since=START, refusal="exceeded quota", refusal_reason="QuotaExceeded")
    for seconds in (10, 119):
        assert decide(status(stage), refused, seconds) == Do(StartJob(kind, 1))
    for seconds in (120, 1000):
        failed(decide(status(stage), refused, seconds), "QuotaExceeded", "not be created for 120 s: exceeded quota")
    failed(decide(status(stage), replace(refused, refusal_reason=""), 120), c.JOB_REFUSED, "exceeded quota")


@pytest.mark.parametrize(
    ("stage", "job", "says"),
    [
        ("Restore", JobView("restore", 1, "restore-1", pods=1), "Job restore-1 restores the snapshot"),
        ("Restore", JobView("restore", 1, "restore-1", problem="ErrImagePull"), "ErrImagePull"),
        ("Neutralize", JobView("neutralize", 1, "n-1", pods=1), "Job n-1 neutralises the restored copy."),
        ("Neutralize", JobView("neutralize", 1, "n-1", problem="ErrImagePull"), "ErrImagePull"),
        ("Prepare", JobView("switch", 1, "switch-1", pods=1), "Job switch-1 prepares the switch."),
        ("Prepare", JobView("switch", 1, "switch-1", problem="ErrImagePull"), "ErrImagePull"),
    ],
)
def test_a_job_that_runs_is_waited_for(stage: str, job: JobView, says: str) -> None:
    waiting = decide(status(stage), world(job))
    assert isinstance(waiting, Wait)
    assert (waiting.reason, waiting.message.startswith(says)) == (c.RUNNING, True)
    waiting = decide(status(stage), world(replace(job, reason=c.JOB_PENDING)))
    assert isinstance(waiting, Wait)
    assert waiting.reason == c.JOB_PENDING


@pytest.mark.parametrize(
    ("required", "proven", "stage"),
    [(True, True, "Prepare"), (True, False, "Abort"), (False, False, "Prepare"), (False, True, "Prepare")],
)
def test_a_copy_that_must_be_neutralised_is_not_switched_to_without_proof(
    *, required: bool, proven: bool, stage: str
) -> None:
    result = NeutralizeResult(neutralized=proven)
    done = JobView("neutralize", 1, "n-1", ended=True, payload=result)
    found = status("Neutralize", neutralize=NeutralizeStatus(required=required, own_identity=True))
    action = decide(found, world(done))
    assert recorded(action).stage == stage
    assert isinstance(action, Record)
    said = "neutralised and asserted" if required else "given its own identity"
    assert stage == "Abort" or action.notes[0].message == f"The restored copy is {said}."


def test_a_neutralised_copy_without_a_plan_is_not_believed() -> None:
    done = JobView("neutralize", 1, "n-1", ended=True, payload=NeutralizeResult(neutralized=True))
    failed(decide(status("Neutralize", neutralize=None), world(done)), c.JOB_FAILED, "ended without a result")


# --- Prepare, Stop, Drain ---------------------------------------------------------------------------------------------


def test_nothing_is_stopped_while_a_workload_does_not_exist() -> None:
    gone = WorkloadView("Deployment", "worker", exists=False)
    action = decide(status("Prepare"), world(READY, workloads=(SHOP, gone)))
    failed(action, c.WORKLOAD_NOT_FOUND, "Deployment worker does not exist")


def test_it_announces_itself_then_saves_the_replicas() -> None:
    announced = recorded(decide(status("Prepare"), world(READY, workloads=(SHOP,))))
    assert (announced.stage, announced.workloads) == ("Prepare", (SAVED,))
    action = decide(announced, world(READY, workloads=(SHOP,)))
    fresh = recorded(action)
    assert (fresh.stage, fresh.workloads) == ("Stop", (SAVED,))
    assert isinstance(action, Record)
    assert [n.message for n in action.notes] == ["Stopping Deployment shop for the switch."]


def test_without_workloads_there_is_nothing_to_announce() -> None:
    action = decide(status("Prepare"), world(READY))
    assert recorded(action).stage == "Stop"
    assert isinstance(action, Record)
    assert action.notes[0].message == "Stopping no workload for the switch."


@pytest.mark.parametrize(
    ("stopping", "older", "announced", "withdraws"),
    [
        (True, False, True, True),
        (False, True, True, True),
        (False, False, True, False),
        (True, True, False, False),
    ],
)
def test_of_two_that_stop_the_same_workloads_one_waits(
    *, stopping: bool, older: bool, announced: bool, withdraws: bool
) -> None:
    peer = Peer("Rollback r2", stopping=stopping, older=older)
    found = status("Prepare", workloads=(SAVED,) if announced else ())
    action = decide(found, world(READY, workloads=(SHOP,), peer=peer))
    if withdraws:
        assert recorded(action).workloads == ()
    else:
        assert isinstance(action, Wait)
        assert "Rollback r2 also stops Deployment shop" in action.message


def test_workloads_have_a_minute_to_stop() -> None:
    found = status("Stop", workloads=(SAVED,))
    action = decide(found, world(READY, workloads=(SHOP,)), 60)
    assert action == Do(SetReplicas(((SHOP, 0),)), before="operator-rollback-replicas-saved")
    seen = world(READY, workloads=(SHOP,), scale_refused=Refused(time_at(60), "denied."))
    failed(decide(found, seen, 61), c.WORKLOAD_NOT_STOPPED, "scaled to zero within 60 s: denied. Correct")
    failed(
        decide(found, replace(seen, scale_refused=None), 61),
        c.WORKLOAD_NOT_STOPPED,
        "scaled to zero within 60 s. Correct",
    )
    assert recorded(decide(found, replace(seen, workloads=(STOPPED,)), 61)).stage == "Drain"


def test_a_switch_job_that_ends_before_its_signal_aborts_it() -> None:
    found = status("Drain", workloads=(SAVED,))
    ended = replace(READY, ended=True)
    failed(decide(found, world(ended, workloads=(STOPPED,))), c.SWITCH_FAILED, "ended before it received its signal")
    why = replace(ended, failure=failure(c.SESSIONS_REMAIN))
    failed(decide(found, world(why, workloads=(STOPPED,))), c.SESSIONS_REMAIN, "no answer.")


@pytest.mark.parametrize(
    ("job", "workload", "reason", "says"),
    [
        (READY, replace(STOPPED, pods=1), c.WORKLOAD_NOT_STOPPED, "pods of Deployment shop"),
        (replace(READY, ready=False), STOPPED, c.SWITCH_FAILED, "(it connects to the database, and waits for sessions"),
        (replace(READY, ready=False, problem="evicted"), STOPPED, c.SWITCH_FAILED, "is not ready (evicted)"),
    ],
)
def test_the_signal_waits_two_minutes_and_the_grace_period(
    job: JobView, workload: WorkloadView, reason: str, says: str
) -> None:
    graceful = replace(workload, grace_seconds=30)
    found = status("Drain", workloads=(SAVED,))
    for seconds in (1, 150):
        waiting = decide(found, world(job, workloads=(graceful,)), seconds)
        assert isinstance(waiting, Wait)
        assert says in waiting.message
    failed(decide(found, world(job, workloads=(graceful,)), 151), reason, says)
    go = recorded(decide(found, world(READY, workloads=(replace(graceful, pods=0),)), 151))
    assert (go.stage, state_of(go, Step.QUIESCE)) == ("Switch", "Done")
    assert go.signal_deadline == stamp(time_at(151 + 30))


# --- Abort ------------------------------------------------------------------------------------------------------------


def test_an_aborted_rollback_starts_the_workloads_that_it_has_saved() -> None:
    aborted = status("Abort", failure_reason=c.CANCELLED, failure_message="deleted")
    assert recorded(decide(aborted, world())).stage == "Finish"
    assert recorded(decide(change(aborted, workloads=(SAVED,)), world())).stage == "Resume"


def test_an_aborted_rollback_waits_for_its_pods_for_45_seconds() -> None:
    aborted = status("Abort", failure_reason=c.CANCELLED, failure_message="deleted")
    first, second = JobView("restore", 1, "restore-1", pods=1), JobView("switch", 1, "switch-1", pods=1)
    for seconds in (1, 45, 46, 1000):
        assert decide(aborted, world(first, second), seconds) == Do(StopJob(first.name))
        assert decide(aborted, world(replace(first, stopping=True), second), seconds) == Do(StopJob(second.name))
    stopping = world(replace(first, stopping=True), replace(second, stopping=True))
    assert isinstance(decide(aborted, stopping, 45), Wait)
    assert recorded(decide(aborted, stopping, 46)).stage == "Finish"
    # An operator that was away has not waited.
    away = replace(stopping, watched_since=START + timedelta(seconds=10))
    assert isinstance(decide(aborted, away, 55), Wait)
