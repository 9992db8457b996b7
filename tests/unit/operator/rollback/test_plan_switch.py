"""The plan from the signal on, one decision after the other: what each answer leads to, and when each limit ends."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Step, SwitchResult
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus, UndoStatus
from ocore_crds.resources.snapshot import SavedWorkload
from ocore_crds.text.sentences import sentence
from ocore_operator.frame.actions import Record, Wait
from ocore_operator.rollback import plan, plan_switch
from ocore_operator.rollback.transitions import begin, change, stamp, state_of
from ocore_operator.rollback.world import (
    Action,
    Do,
    JobView,
    OperationLock,
    RecordExecuted,
    SendSignal,
    StartJob,
    StopJob,
    World,
)
from ocore_operator.workloads.quiesce import Refused, SetReplicas
from ocore_operator.workloads.view import WorkloadView
from support.operator import rollback_seen
from support.operator.rollback_model import ENVIRONMENT_ID, START
from support.operator.rollback_objects import TARGET, time_at

SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}, "readyTimeoutSeconds": 60, "undoWindowSeconds": 600})
UID = "0a1b2c3d-0000-4000-8000-000000000001"
NEW = SwitchResult(position="New", live_database="shop", accepting_connections=True)
OLD = SwitchResult(position="Old", live_database="shop", accepting_connections=True)
LOST = Failure(reason=c.DATABASE_UNREACHABLE, message="no answer", retryable=True)
SWITCH = JobView("switch", 1, "switch-1", ready=True, pods=1, pod="p")
SAVED = SavedWorkload(kind="Deployment", name="shop", replicas=2)
STOPPED = WorkloadView("Deployment", "shop")
RUNS = replace(STOPPED, replicas=2, ready_replicas=2, pods=2)
UNDO = UndoStatus(rollback_name="r0", rollback_id="id", names_id="id", to="Old")


def status(stage: str, /, **changes: Any) -> RollbackStatus:
    found = change(begin(RollbackStatus(), SPEC, UID, START), stage=stage, stage_since=stamp(START))
    defaults = {"environment_id": ENVIRONMENT_ID, "target": TARGET, "switch_attempt": 1, "inspect_attempt": 1}
    return change(
        found,
        **{**defaults, "phase": "Switching", "position": "Old", "residue": "Pending", "workloads": (SAVED,), **changes},
    )


def resuming(stage: str = "Resume", /, **changes: Any) -> RollbackStatus:
    """Switched."""
    return status(stage, **{"position": "New", "switched_at": stamp(START), "phase": "Resuming", **changes})


def returning(stage: str, /, **changes: Any) -> RollbackStatus:
    """Switched, and to be switched back."""
    why = {"failure_reason": c.WORKLOAD_NOT_READY, "failure_message": "Not ready.", "phase": "SwitchingBack"}
    return resuming(stage, **{**why, "switch_attempt": 2, **changes})


def world(*jobs: JobView, **changes: Any) -> World:
    view = rollback_seen.environment(target=TARGET)
    lock = OperationLock("Ours", "Rollback r1", START)
    full = World(
        created=START, environment=view, snapshot=None, finalizer=True, lock=lock, jobs=jobs, workloads=(STOPPED,)
    )
    return replace(full, **changes)


def decide(found: RollbackStatus, seen: World, seconds: float = 1) -> Action:
    return plan.decide(found, SPEC, seen, UID, time_at(seconds))


def record(action: Action) -> Record[RollbackStatus]:
    assert isinstance(action, Record), action
    return action


def recorded(action: Action) -> RollbackStatus:
    return record(action).status


def text(action: Action) -> str:
    assert isinstance(action, Wait), action
    return action.message


def test_the_worst_case_is_the_sum_of_the_limits() -> None:
    """30 s signal, 90 s answer, both again for a Job that was moved, 300 s inspection, 120 s scaling, readiness. 120 s,
    120 s and the grace period to stop again. 300 s back, 300 s inspection, 120 s scaling, readiness, 120 s record."""
    assert (
        plan_switch.finish_seconds(SPEC, 30)
        == 2 * (30 + 90) + 300 + 120 + 60 + 120 + 120 + 30 + 300 + 300 + 120 + 60 + 120
    )


# --- Switch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "The environment runs on the snapshot."),
        ({"undo": UNDO}, "The environment runs on what was kept."),
    ],
)
def test_an_answer_is_believed_before_its_job_ends(changes: dict[str, Any], says: str) -> None:
    for job in (replace(SWITCH, answer=NEW), replace(SWITCH, ended=True, payload=NEW)):
        action = record(decide(status("Switch", **changes), world(job)))
        assert (action.status.stage, action.status.position) == ("Resume", "New")
        assert (action.before, action.notes[0].message) == ("operator-rollback-switched", says)
    timed = NEW.model_copy(update={"refused_seconds": 0.25})
    action = record(decide(status("Switch", **changes), world(replace(SWITCH, answer=timed))))
    assert action.notes[0].message == f"{says} The database refused connections for 250 ms."


def test_a_job_that_has_ended_without_switching_leaves_the_environment_as_it_was() -> None:
    ended = replace(SWITCH, ended=True, payload=OLD)
    fresh = recorded(decide(status("Switch"), world(ended)))
    assert (fresh.stage, fresh.failure_reason) == ("Abort", c.SWITCH_FAILED)
    assert fresh.failure_message == "The switch Job ended without switching. The environment is as it was."
    why = OLD.model_copy(update={"failure": Failure(reason=c.SESSIONS_REMAIN, message="one is left.")})
    fresh = recorded(decide(status("Switch"), world(replace(ended, payload=why))))
    assert (fresh.failure_reason, fresh.failure_message) == (
        c.SESSIONS_REMAIN,
        "one is left. The environment is as it was.",
    )


@pytest.mark.parametrize("job", [replace(SWITCH, answer=OLD), replace(SWITCH, answer=OLD, pods=0)])
def test_an_interim_answer_without_a_switch_is_not_the_end(job: JobView) -> None:
    """It may still switch."""
    assert isinstance(decide(status("Switch", signal_deadline=stamp(time_at(0))), world(job), 1), Wait)


@pytest.mark.parametrize(
    ("job", "reason", "says"),
    [
        (None, c.SWITCH_FAILED, "The switch Job was lost before it answered."),
        (replace(SWITCH, ended=True), c.SWITCH_FAILED, "The switch Job was lost before it answered."),
        (replace(SWITCH, ended=True, answer=OLD), c.SWITCH_FAILED, "The switch Job was lost before it answered."),
        (replace(SWITCH, ended=True, failure=LOST), c.DATABASE_UNREACHABLE, "no answer."),
    ],
)
def test_without_an_answer_the_position_is_read(job: JobView | None, reason: str, says: str) -> None:
    found = status("Switch", signal_deadline=stamp(time_at(30)))
    fresh = recorded(decide(found, world(*([job] if job is not None else []))))
    assert (fresh.stage, fresh.inspect_attempt) == ("Inspect", 2)
    assert (fresh.failure_reason, fresh.failure_message) == (reason, says)


def test_an_answer_has_90_seconds_after_the_signal_has_expired() -> None:
    found = status("Switch", signal_deadline=stamp(time_at(30)))
    assert isinstance(decide(found, world(SWITCH), 120), Wait)
    fresh = recorded(decide(found, world(SWITCH), 121))
    assert (fresh.stage, fresh.failure_message) == ("Inspect", "The switch Job did not answer within 90 s.")


def test_a_signal_is_sent_to_a_pod_only() -> None:
    found = status("Switch", signal_deadline=stamp(time_at(30)))
    sent = decide(found, world(SWITCH))
    assert isinstance(sent, Do)
    assert isinstance(sent.effect, SendSignal)
    assert sent.effect.repetition == 0
    assert isinstance(decide(found, world(replace(SWITCH, pods=0))), Wait)
    known = replace(SWITCH, signal=sent.effect.signal)
    assert isinstance(decide(found, world(known)), Wait)
    assert isinstance(decide(found, world(replace(known, repetition=9))), Wait), "its operator's clock was ahead"
    other = replace(SWITCH, signal=sent.effect.signal.model_copy(update={"not_after": 1.0}), repetition=9)
    assert decide(found, world(other)) == Do(replace(sent.effect, job=other), after="operator-rollback-signalled")


# --- Inspect ----------------------------------------------------------------------------------------------------------


def inspecting(**changes: Any) -> RollbackStatus:
    return status("Inspect", **{"failure_reason": c.SWITCH_FAILED, "failure_message": "Lost.", **changes})


INSPECT = JobView("inspect", 1, "inspect-1", pods=1)


def test_what_an_inspection_finds() -> None:
    found = replace(INSPECT, ended=True, payload=NEW)
    action = record(decide(inspecting(), world(found)))
    assert (action.status.stage, action.status.phase, action.status.position) == ("Resume", "Resuming", "New")
    assert (action.status.failure_reason, action.before) == (None, "operator-rollback-switched")
    old = recorded(decide(inspecting(), world(replace(found, payload=OLD))))
    assert (old.stage, old.failure_reason) == ("Abort", c.SWITCH_FAILED)
    assert old.failure_message == "Lost. The environment is as it was."
    lost = inspecting(failure_reason=c.DATABASE_UNREACHABLE)
    assert recorded(decide(lost, world(replace(found, payload=OLD)))).failure_reason == c.DATABASE_UNREACHABLE
    # During a switch back.
    back = inspecting(phase="SwitchingBack", switched_at=stamp(START), position="New")
    new = record(decide(back, world(found)))
    assert (new.status.stage, new.status.position, new.status.failure_reason) == ("Resume", "New", c.SWITCH_FAILED)
    assert new.before == ""
    returned = recorded(decide(back, world(replace(found, payload=OLD))))
    assert (returned.stage, returned.position, returned.failure_reason) == ("Resume", "Old", c.SWITCHED_BACK)


def test_an_inspection_has_five_minutes() -> None:
    assert decide(inspecting(), world(), 300) == Do(StartJob("inspect", 1))
    late = recorded(decide(inspecting(), world(), 301))
    assert (late.stage, late.position, late.failure_reason) == ("Resume", None, c.POSITION_UNKNOWN)
    assert "for 300 s (the inspect Job did not end)" in (late.failure_message or "")
    failed = recorded(decide(inspecting(), world(replace(INSPECT, ended=True, failure=LOST)), 301))
    assert "(no answer)" in (failed.failure_message or "")


def test_an_inspection_that_runs_is_waited_for_and_one_that_failed_is_repeated() -> None:
    assert text(decide(inspecting(), world(INSPECT))).startswith("Job inspect-1 reads the position")
    assert text(decide(inspecting(), world(replace(INSPECT, problem="ErrImagePull")))) == "ErrImagePull"
    ended = replace(INSPECT, ended=True, failure=LOST, ended_at=time_at(9))
    assert decide(inspecting(), world(ended), 10) == Do(StopJob(ended.name))
    gone = replace(ended, pods=0)
    assert isinstance(decide(inspecting(), world(gone), 10), Wait)
    assert recorded(decide(inspecting(), world(gone), 14)).inspect_attempt == 2


@pytest.mark.parametrize(
    ("ended", "now", "left"),
    [
        (9, 10, 4.0),  # at least 5 s
        (9, 14, None),
        (100, 101, 19.2),  # a fifth of the time spent so far
        (100, 125, None),
        (290, 299, 50.8),
    ],
)
def test_the_pause_before_the_next_attempt_grows(ended: float, now: float, left: float | None) -> None:
    gone = JobView("inspect", 1, "inspect-1", ended=True, failure=LOST, ended_at=time_at(ended))
    action = decide(inspecting(), world(gone), now)
    if left is None:
        assert recorded(action).inspect_attempt == 2
    else:
        assert isinstance(action, Wait)
        assert action.seconds == pytest.approx(left)
        assert sentence(action.message).endswith(f"no answer. Retrying in {left:.0f} s.")


def test_the_pause_has_a_limit_and_needs_an_end() -> None:
    back = JobView("switch", 2, "back-2", ended=True, ended_at=time_at(290))
    for seconds, waits in ((349.5, True), (350, False)):
        pause = plan_switch._pause(back, 1000, time_at(seconds))
        assert (pause is not None) is waits
    waiting = plan_switch._pause(back, 1000, time_at(291))
    assert waiting is not None
    assert "it ended without a result" in waiting.message
    assert plan_switch._pause(replace(back, ended_at=None), 1000, time_at(291)) is None


# --- Resume -----------------------------------------------------------------------------------------------------------


def test_the_saved_replicas_are_set_again() -> None:
    assert decide(resuming(), world()) == Do(SetReplicas(((STOPPED, 2),)), after="operator-rollback-resumed")
    aborted = status("Resume", failure_reason=c.CANCELLED, failure_message="deleted")
    assert decide(aborted, world()) == Do(SetReplicas(((STOPPED, 2),)))
    other = replace(RUNS, replicas=3)
    assert decide(resuming(), world(workloads=(other,)), 120) == Do(
        SetReplicas(((other, 2),)), after="operator-rollback-resumed"
    )


def test_after_two_minutes_only_what_is_stopped_matters() -> None:
    other = replace(RUNS, replicas=3)
    assert recorded(decide(resuming(), world(workloads=(other,)), 121)).stage == "HealthCheck"
    action = decide(resuming(), world(), 121)
    assert isinstance(action, Do)
    assert action.effect == SetReplicas(((STOPPED, 2),))


def test_a_workload_that_was_deleted_or_is_not_ours_is_not_scaled() -> None:
    gone = replace(STOPPED, exists=False)
    assert recorded(decide(resuming(), world(workloads=(gone,)))).stage == "HealthCheck"
    foreign = replace(STOPPED, name="other")
    assert recorded(decide(resuming(), world(workloads=(foreign,)))).stage == "HealthCheck"


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({}, "HealthCheck"),
        ({"position": "Old", "phase": "SwitchingBack", "failure_reason": c.SWITCHED_BACK}, "HealthCheck"),
        ({"position": "New", "phase": "SwitchingBack", "failure_reason": c.SWITCH_FAILED}, "Finish"),
        ({"position": None, "phase": "SwitchingBack", "failure_reason": c.POSITION_UNKNOWN}, "Finish"),
        ({"position": "Old", "phase": "Switching", "failure_reason": c.CANCELLED}, "Finish"),
    ],
)
def test_readiness_is_checked_where_the_position_is_what_was_wanted(changes: dict[str, Any], stage: str) -> None:
    action = decide(
        resuming("Resume", **{"failure_message": "m" if changes else None, **changes}), world(workloads=(RUNS,))
    )
    fresh = recorded(action)
    assert fresh.stage == stage
    assert state_of(fresh, Step.RESUME) == "Done"
    assert fresh.resumed_at == stamp(time_at(1))


def test_without_workloads_nothing_was_resumed() -> None:
    fresh = recorded(decide(status("Resume", workloads=(), failure_reason=c.CANCELLED), world(workloads=())))
    assert (fresh.stage, fresh.resumed_at) == ("Finish", None)
    assert state_of(fresh, Step.RESUME) != "Done"


def refused(seconds: float) -> World:
    """The API server refused to scale so many seconds after the stage began."""
    return world(scale_refused=Refused(time_at(seconds), "denied."))


def test_after_a_refusal_it_pauses_before_it_scales_again() -> None:
    waiting = decide(resuming(), refused(1), 2)
    assert isinstance(waiting, Wait)
    assert (waiting.seconds, waiting.reason, waiting.stalled) == (4.0, c.RUNNING, False)
    assert waiting.message == "The API server refuses to scale Deployment shop to 2: denied. Retrying."
    for later in (6, 7, 60):
        assert isinstance(decide(resuming(), refused(1), later), Do)
    grown = decide(resuming(), refused(100), 101)
    assert isinstance(grown, Wait)
    assert grown.seconds == pytest.approx(101 / 5 - 1)
    longest = decide(resuming(), refused(1000), 1001)
    assert isinstance(longest, Wait)
    assert (longest.seconds, longest.reason, longest.stalled) == (59.0, c.WORKLOAD_NOT_RESUMED, True)
    assert longest.message.startswith("The switchover is done. The application is stopped.")
    known = decide(returning("Resume", position="Old"), refused(1000), 1001)
    assert isinstance(known, Wait)
    assert known.message.startswith("Not ready. The application is stopped.")


# --- HealthCheck ------------------------------------------------------------------------------------------------------

BROKEN = replace(RUNS, ready_replicas=1, problem="pod shop-1: CrashLoopBackOff")


def test_workloads_have_their_time_to_become_ready() -> None:
    assert recorded(decide(resuming("HealthCheck"), world(workloads=(RUNS,)))).stage == "Finish"
    says = text(decide(resuming("HealthCheck"), world(workloads=(BROKEN,)), 60))
    why = "Deployment shop has 1 of 2 replicas ready: pod shop-1: CrashLoopBackOff."
    assert says == f"{why} For 60 s at most (readyTimeoutSeconds)."
    back = recorded(decide(resuming("HealthCheck"), world(workloads=(BROKEN,)), 61))
    assert (back.stage, back.failure_reason) == ("BackStop", c.WORKLOAD_NOT_READY)
    silent = text(decide(resuming("HealthCheck"), world(workloads=(replace(BROKEN, problem=""),)), 60))
    assert "no pod reports a reason. For 60 s" in silent


@pytest.mark.parametrize(
    ("watched", "now", "late"), [(0, 61, True), (40, 99, False), (40, 100, False), (40, 101, True)]
)
def test_an_operator_that_was_away_observes_for_a_minute(watched: float, now: float, *, late: bool) -> None:
    seen = world(workloads=(BROKEN,), watched_since=START + timedelta(seconds=watched))
    assert isinstance(decide(resuming("HealthCheck"), seen, now), Record if late else Wait)
    hour = SPEC.model_copy(update={"ready_timeout_seconds": 3600})
    away = replace(seen, watched_since=time_at(3590))
    found = resuming("HealthCheck")
    assert isinstance(plan.decide(found, hour, away, UID, time_at(3650)), Wait)
    assert isinstance(plan.decide(found, hour, away, UID, time_at(3651)), Record)
    assert isinstance(plan.decide(found, hour, replace(away, watched_since=None), UID, time_at(3600)), Wait)


def test_workloads_have_all_of_the_time_that_their_user_gives_them() -> None:
    hour = SPEC.model_copy(update={"ready_timeout_seconds": 3600})
    for seconds, late in ((100, False), (3600, False), (3601, True)):
        action = plan.decide(resuming("HealthCheck"), hour, world(workloads=(BROKEN,)), UID, time_at(seconds))
        assert isinstance(action, Record if late else Wait)


def test_a_workload_that_was_deleted_needs_no_replicas() -> None:
    gone = replace(STOPPED, exists=False, replicas=2)
    assert recorded(decide(resuming("HealthCheck"), world(workloads=(gone,)))).stage == "Finish"


def test_after_a_switch_back_what_is_not_ready_is_only_reported() -> None:
    found = returning("HealthCheck", position="Old", failure_reason=c.SWITCHED_BACK, failure_message="Back.")
    fresh = recorded(decide(found, world(workloads=(BROKEN,)), 61))
    assert (fresh.stage, fresh.failure_reason) == ("Finish", c.SWITCHED_BACK)
    assert "Back. The workloads are not ready on it either: Deployment shop has 1 of 2" in (fresh.failure_message or "")


# --- Finish -----------------------------------------------------------------------------------------------------------


def test_it_is_recorded_before_it_is_complete() -> None:
    found = resuming("Finish")
    assert decide(found, world(), 120) == Do(RecordExecuted())
    late = recorded(decide(found, world(), 121))
    assert (late.stage, late.phase, late.recorded) == ("Ended", "Complete", False)
    known = world(executed=True)
    done = record(decide(found, known))
    assert (done.status.recorded, done.status.undo_until) == (True, stamp(time_at(601)))
    assert done.notes[0].message == f"Rolled back. The previous state is kept until {stamp(time_at(601))}."
    gone = recorded(decide(found, world(environment=None)))
    assert (gone.phase, gone.recorded) == ("Complete", False)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, True),
        ({"position": "Old", "failure_reason": c.SWITCHED_BACK}, True),
        ({"position": "Old", "switched_at": None, "failure_reason": c.CANCELLED}, False),
        ({"position": None, "failure_reason": c.POSITION_UNKNOWN}, False),
        ({"position": "Old", "undo": UNDO, "failure_reason": c.SWITCHED_BACK}, False),
    ],
)
def test_what_was_live_is_kept_for_the_undo_window(changes: dict[str, Any], *, kept: bool) -> None:
    fresh = recorded(decide(resuming("Finish", **changes), world(environment=None)))
    assert (fresh.undo_until is not None) is kept
    assert fresh.recorded in (None, False)


def test_a_rollback_that_failed_ends_with_its_reason() -> None:
    found = status("Finish", failure_reason=c.CANCELLED, failure_message="It was deleted.")
    (note,) = record(decide(found, world())).notes
    assert (note.type, note.reason, note.message) == ("Warning", c.CANCELLED, "It was deleted.")


# --- switch back ------------------------------------------------------------------------------------------------------


def test_the_workloads_are_stopped_before_it_is_switched_back() -> None:
    assert decide(returning("BackStop"), world(workloads=(RUNS,)), 120) == Do(SetReplicas(((RUNS, 0),)))
    assert recorded(decide(returning("BackStop"), world(workloads=(RUNS,)), 121)).stage == "BackDrain"
    assert recorded(decide(returning("BackStop"), world())).stage == "BackDrain"


def test_row_123_a_switch_back_leaves_running_what_would_lose_its_claim() -> None:
    lost = Failure(reason=c.SCALING_DELETES_CLAIM, message="StatefulSet shop deletes its claims.")
    kept = replace(RUNS, kind="StatefulSet", loses=lost)
    assert decide(returning("BackStop"), world(workloads=(kept, RUNS))) == Do(SetReplicas(((RUNS, 0),)))
    assert recorded(decide(returning("BackStop"), world(workloads=(kept,)))).stage == "BackDrain"


@pytest.mark.parametrize("stage", ["BackStop", "BackDrain"])
def test_a_workload_that_still_runs_needs_no_person(stage: str) -> None:
    """Nothing is stopped yet, and it is switched back without them too."""
    seen = replace(refused(1), workloads=(RUNS,))
    waiting = decide(returning(stage), seen, 2)
    assert isinstance(waiting, Wait)
    assert (waiting.reason, waiting.stalled) == (c.RUNNING, False)
    assert "stopped" not in waiting.message


def test_pods_have_two_minutes_and_their_grace_period_to_end() -> None:
    graceful = replace(STOPPED, pods=1, grace_seconds=30)
    found = returning("BackDrain")
    assert "the pods of Deployment shop are gone" in text(decide(found, world(workloads=(graceful,)), 150))
    late = recorded(decide(found, world(workloads=(graceful,)), 151))
    assert (late.stage, late.switch_attempt) == ("BackJob", 3)
    assert recorded(decide(found, world())).stage == "BackJob"
    started = replace(RUNS, grace_seconds=30)
    again = decide(found, world(workloads=(started,)), 150)
    assert isinstance(again, Do)
    assert isinstance(again.effect, SetReplicas)
    assert again.effect.targets == ((started, 0),)
    assert again.then is not None, "the two alternate without a pause"
    assert recorded(decide(found, world(workloads=(started,)), 151)).stage == "BackJob"


BACK = JobView("switch", 2, "back-2", pods=1)


def test_a_switch_back_is_believed_where_it_says_old() -> None:
    fresh = recorded(decide(returning("BackJob"), world(replace(BACK, ended=True, payload=OLD)), 1000))
    assert (fresh.stage, fresh.position, fresh.failure_reason) == ("Resume", "Old", c.SWITCHED_BACK)
    again = decide(returning("BackJob"), world(replace(BACK, ended=True, pods=0, payload=NEW, ended_at=time_at(0))), 9)
    assert recorded(again).switch_attempt == 3


def test_a_switch_back_has_five_minutes() -> None:
    assert decide(returning("BackJob"), world(), 300) == Do(StartJob("switch-back", 2))
    late = recorded(decide(returning("BackJob"), world(), 301))
    assert (late.stage, late.inspect_attempt, state_of(late, Step.SWITCH_BACK)) == ("Inspect", 2, "Failed")
    assert late.failure_message == "Not ready. It could not be switched back: no Job succeeded in time."
    known = recorded(decide(returning("BackJob"), world(replace(BACK, ended=True, failure=LOST)), 301))
    assert known.failure_message == "Not ready. It could not be switched back: no answer."


def test_a_switch_back_that_fails_for_good_is_inspected_and_another_one_is_repeated() -> None:
    assert text(decide(returning("BackJob"), world(BACK))) == "Job back-2 switches back."
    assert text(decide(returning("BackJob"), world(replace(BACK, problem="ErrImagePull")))) == "ErrImagePull"
    ended = replace(BACK, ended=True, pods=0, ended_at=time_at(1))
    for reason in (c.MISSING_GRANTS, c.SWITCH_FAILED):
        failed = replace(ended, failure=Failure(reason=reason, message="no", retryable=False))
        assert recorded(decide(returning("BackJob"), world(failed), 7)).stage == "Inspect"
    for failure in (LOST, Failure(reason=c.POD_NOT_STARTED, message="volume", retryable=False), None):
        failed = replace(ended, failure=failure)
        assert isinstance(decide(returning("BackJob"), world(failed), 5), Wait)
        again = recorded(decide(returning("BackJob"), world(failed), 6))
        assert (again.stage, again.switch_attempt, again.stage_since) == ("BackJob", 3, stamp(START))


def test_each_job_of_several_is_stopped_then_its_pods_are_waited_for() -> None:
    first, second = replace(SWITCH, attempt=1), replace(SWITCH, name="switch-0", attempt=0)
    assert plan_switch.stop_jobs((first, second)) == Do(StopJob(first.name))
    assert plan_switch.stop_jobs((replace(first, stopping=True), second)) == Do(StopJob(second.name))
    both = plan_switch.stop_jobs((replace(first, stopping=True), replace(second, stopping=True)))
    assert text(both) == "Waiting until Job switch-1 and its pods are gone."


# --- the claim, the replicas of an undo -------------------------------------------------------------------------------


def holding(
    seconds: float, job: JobView, claim_users: tuple[str, ...] = (), stopping_since: datetime | None = None
) -> Action:
    held = replace(job, mounts=1, stopping=stopping_since is not None, stopping_since=stopping_since)
    return decide(resuming(), world(held, claim_users=claim_users), seconds)


def test_a_pod_has_15_seconds_to_release_the_claim_and_45_after_its_deletion() -> None:
    ended = JobView("restore", 1, "restore-1", ended=True)
    assert "the pod of Job restore-1 has released" in text(holding(15, ended))
    assert isinstance(holding(16, ended), Do)
    assert isinstance(holding(60, ended, stopping_since=time_at(16)), Wait)
    assert isinstance(holding(61, ended, stopping_since=time_at(16)), Wait)
    action = holding(62, ended, stopping_since=time_at(16))
    assert isinstance(action, Do)
    assert isinstance(action.effect, SetReplicas)


def test_a_pod_of_another_object_is_waited_for_a_minute() -> None:
    assert "pod probe-x has released" in text(decide(resuming(), world(claim_users=("probe-x",)), 60))
    assert isinstance(decide(resuming(), world(claim_users=("probe-x",)), 61), Do)
    unclaimed = change(resuming(), target=TARGET.model_copy(update={"claim_name": None, "path": None, "layout": None}))
    assert isinstance(decide(unclaimed, world(claim_users=("probe-x",))), Do)
    assert isinstance(decide(change(resuming(), target=None), world(claim_users=("probe-x",))), Wait)


@pytest.mark.parametrize(
    ("position", "before", "expected"), [("New", 5, 5), ("New", 0, 2), ("Old", 5, 2), (None, 5, 2), ("New", 1, 1)]
)
def test_an_undo_starts_as_many_replicas_as_there_were_before_the_undone_rollback(
    position: Any, before: int, expected: int
) -> None:
    others = (SAVED.model_copy(update={"replicas": before}), SAVED.model_copy(update={"name": "gone", "replicas": 7}))
    found = resuming(undo=UNDO.model_copy(update={"workloads": others}), position=position)
    found = change(found, failure_reason=None if position == "New" else c.SWITCHED_BACK, failure_message="m")
    action = decide(found, world(workloads=(STOPPED, replace(STOPPED, name="gone"))))
    assert isinstance(action, Do)
    assert action.effect == SetReplicas(((STOPPED, expected),))
