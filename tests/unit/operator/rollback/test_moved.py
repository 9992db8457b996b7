"""Row 107: the node of the switch Job is drained, or dies, between the stop of the workloads and their start."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Result, SwitchResult
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.resources.snapshot import SavedWorkload
from ocore_operator.frame.actions import Record, Wait
from ocore_operator.jobs.building.pod_template import pinned
from ocore_operator.jobs.observing.outcome import moved, silent, unplaced_since
from ocore_operator.rollback import plan, plan_switch
from ocore_operator.rollback.observe import job_view
from ocore_operator.rollback.transitions import begin, change, stamp
from ocore_operator.rollback.world import Action, Do, JobView, OperationLock, SendSignal, StartJob, StopJob, World
from ocore_operator.workloads.quiesce import SetReplicas
from ocore_operator.workloads.view import WorkloadView
from support.operator import objects, rollback_seen
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import ENVIRONMENT_ID, START, Model
from support.operator.rollback_objects import TARGET, time_at

SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}})
UID = "0a1b2c3d-0000-4000-8000-000000000001"
NEW = SwitchResult(position="New", live_database="shop", accepting_connections=True)
SHOP = WorkloadView("Deployment", "shop", replicas=2, ready_replicas=2, pods=2)
STOPPED = replace(SHOP, replicas=0, ready_replicas=0, pods=0)
SAVED = SavedWorkload(kind="Deployment", name="shop", replicas=2)
READY = JobView("switch", 1, "switch-1", ready=True, pods=1, pod="p")
#: Its pod was evicted, and the Job has made one that no node takes.
MOVED = replace(READY, ready=False, moved=True)
SECOND = replace(READY, attempt=2, name="switch-2", pod="p2")


def status(stage: str, **changes: Any) -> RollbackStatus:
    found = change(begin(RollbackStatus(), SPEC, UID, START), stage=stage, stage_since=stamp(START))
    defaults = {"environment_id": ENVIRONMENT_ID, "target": TARGET, "switch_attempt": 1, "workloads": (SAVED,)}
    known = {"position": "Old", "residue": "Pending", "deadline": stamp(time_at(5000)), "phase": "Switching"}
    return change(found, **{**defaults, **known, **changes})


def world(*jobs: JobView, **changes: Any) -> World:
    view = rollback_seen.environment(target=TARGET)
    lock = OperationLock("Ours", "Rollback r1", START)
    full = World(
        created=START, environment=view, snapshot=None, finalizer=True, lock=lock, jobs=jobs, workloads=(STOPPED,)
    )
    return replace(full, **changes)


def decide(found: RollbackStatus, seen: World, seconds: float = 1) -> Action:
    return plan.decide(found, SPEC, seen, UID, time_at(seconds))


def recorded(action: Action) -> RollbackStatus:
    assert isinstance(action, Record), action
    return action.status


# --- what an eviction looks like --------------------------------------------------------------------------------------


def evicted(**meta: Any) -> dict[str, Any]:
    """A pod of which the mover has ended because of SIGTERM."""
    why = Failure(reason=c.CANCELLED, message="Stopped by SIGTERM.")
    message = Result(ok=False, failure=why, time="2026-01-01T00:00:00Z").termination_message()
    pod = objects.pod("switch-1", {"terminated": {"exitCode": 1, "finishedAt": objects.at(5), "message": message}})
    pod["spec"]["restartPolicy"] = "OnFailure"
    pod["metadata"] |= {"deletionTimestamp": objects.at(30), "resourceVersion": "1", **meta}
    return pod


def switch_job(node: str = "node2", **status: Any) -> dict[str, Any]:
    job = objects.job("switch-1", "switch")
    job["spec"] = {
        "template": {"spec": {"restartPolicy": "OnFailure", "affinity": pinned({}, node) if node else {}}},
    }
    job["status"] = status
    return job


def pending(message: str = "0/2 nodes are available: 1 node(s) were unschedulable.") -> dict[str, Any]:
    pod = objects.pod("switch-1", {})
    no_node = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod["spec"] = {"restartPolicy": "OnFailure"}
    pod["status"] = {"phase": "Pending", "conditions": [no_node]}
    pod["metadata"] |= {"creationTimestamp": objects.at(10), "resourceVersion": "1"}
    return pod


def viewed(job: dict[str, Any], *pods: dict[str, Any], seconds: float = 12) -> JobView:
    view = job_view(objects.observation([job], {"switch-1": list(pods)}, seconds=seconds), "switch-1", "switch", 1)
    assert view is not None
    return view


def test_row_107_a_pod_that_is_being_evicted_is_neither_ready_nor_the_end() -> None:
    """Its mover has answered `Cancelled`, which is no verdict about the rollback."""
    view = viewed(switch_job(), evicted())
    assert not view.ready
    assert not view.ended


@pytest.mark.parametrize(
    ("job", "pods"),
    [
        (switch_job(failed=1), (pending(),)),
        (switch_job(uncountedTerminatedPods={"failed": ["uid"]}), ()),
        (switch_job(), ({**evicted(), "status": {**evicted()["status"], "phase": "Failed"}},)),
    ],
    ids=["counted", "counted soon", "not counted yet"],
)
def test_row_107_a_job_with_a_pod_that_has_failed_was_moved(job: dict[str, Any], pods: Any) -> None:
    assert viewed(job, *pods).moved
    stopping = {**job, "metadata": {**job["metadata"], "deletionTimestamp": objects.at(11)}}
    assert not moved(stopping, pods)
    done = {"type": "Complete", "status": "True", "lastTransitionTime": ""}
    assert not moved({**job, "status": {**job["status"], "conditions": [done]}}, pods)
    assert not moved(None, pods)


def test_row_107_a_job_that_only_starts_was_not_moved() -> None:
    assert not viewed(switch_job(), pending()).moved
    assert not viewed(switch_job()).moved


def test_row_107_since_when_the_only_node_takes_no_pod() -> None:
    assert viewed(switch_job(), pending()).unplaced_since == objects.moment(10)
    assert unplaced_since(switch_job(node=""), [pending()]) is None, "another Job would not find a node either"
    placed = pending()
    placed["spec"]["nodeName"] = "node2"
    assert unplaced_since(switch_job(), [placed]) is None
    assert unplaced_since(switch_job(), []) is None
    assert unplaced_since(None, [pending()]) is None


def test_row_107_a_pod_of_a_node_that_does_not_report_is_not_ready() -> None:
    """Kubernetes leaves the report about its containers as it was."""
    pod = objects.pod("switch-1", {"running": {"startedAt": objects.at(1)}})
    pod["metadata"]["resourceVersion"] = "1"
    assert viewed(switch_job(), pod).ready
    pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]
    view = viewed(switch_job(), pod)
    assert (view.ready, view.silent_node) == (False, "node1")
    gated = {**pod, "spec": {**pod["spec"], "readinessGates": [{"conditionType": "example.com/gate"}]}}
    assert viewed(switch_job(), gated).ready, "a gate that was injected is not met"
    pod["status"]["conditions"][1]["status"] = "False"
    assert not silent(pod), "a container of its own is not ready"


# --- before the signal ------------------------------------------------------------------------------------------------


def test_row_107_an_evicted_switch_job_is_replaced_at_once() -> None:
    action = decide(status("Drain"), world(MOVED))
    fresh = recorded(action)
    assert isinstance(action, Record)
    assert (fresh.stage, fresh.switch_attempt, fresh.failure_reason) == ("Drain", 2, None)
    assert "drain of its node" in action.notes[0].message
    # The Job would make pods without end: it is stopped before the workloads' pods are gone.
    leaving = (replace(STOPPED, pods=1),)
    assert decide(fresh, world(MOVED, workloads=leaving)) == Do(StopJob(MOVED.name))
    gone = replace(MOVED, stopping=True)
    assert isinstance(decide(fresh, world(gone, workloads=leaving)), Wait)
    assert isinstance(decide(fresh, world(gone)), Wait), "two switch Jobs at the same time"
    assert isinstance(decide(fresh, world(workloads=leaving)), Wait), "the claim is still where the application ran"
    assert decide(fresh, world()) == Do(StartJob("switch", 2))
    assert isinstance(decide(fresh, world(replace(SECOND, ready=False))), Wait)
    assert recorded(decide(fresh, world(SECOND))).stage == "Switch"


def test_row_107_a_switch_job_for_a_node_that_takes_no_pod_is_replaced() -> None:
    """A pod that was leaving that node used the claim when the Job was made."""
    waits = replace(READY, ready=False, unplaced_since=time_at(0))
    assert isinstance(decide(status("Drain"), world(waits), 5), Wait)
    action = decide(status("Drain"), world(waits), 6)
    assert isinstance(action, Record)
    assert action.status.switch_attempt == 2
    assert action.notes[0].message.startswith("The only node that Job switch-1 may run on does not take its pod.")
    later = replace(waits, unplaced_since=time_at(100))
    assert isinstance(decide(status("Drain"), world(later), 120), Wait), "no Job after the other without a pause"
    assert recorded(decide(status("Drain"), world(later), 126)).switch_attempt == 2


def test_row_107_a_switch_job_that_someone_deleted_is_started_again() -> None:
    assert decide(status("Drain"), world()) == Do(StartJob("switch", 1))
    late = recorded(decide(status("Drain"), world(), 151))
    assert (late.stage, late.failure_reason) == ("Abort", c.SWITCH_FAILED)
    refused = world(refused_since=START, refusal="exceeded quota", refusal_reason="QuotaExceeded")
    assert recorded(decide(status("Drain"), refused, 120)).failure_reason == "QuotaExceeded"


def test_row_107_no_signal_goes_to_a_node_that_does_not_respond() -> None:
    """The application starts again, and does not wait for the limit of the stage."""
    fresh = recorded(decide(status("Drain"), world(replace(READY, ready=False, silent_node="node2"))))
    assert (fresh.stage, fresh.failure_reason) == ("Abort", c.NODE_NOT_RESPONDING)
    assert "node2" in (fresh.failure_message or "")


def test_row_107_nothing_is_stopped_for_a_switch_job_that_was_moved_before() -> None:
    """What its replacement is bound to is not known. The application runs."""
    action = decide(status("Prepare", workloads=()), world(replace(MOVED, ready=True), workloads=(SHOP,)))
    assert (recorded(action).stage, recorded(action).switch_attempt) == ("Prepare", 2)


# --- after the signal -------------------------------------------------------------------------------------------------

SIGNALLED = {"signal_deadline": stamp(time_at(30))}


def test_row_107_another_switch_job_gets_a_signal_of_its_own() -> None:
    fresh = recorded(decide(status("Switch", **SIGNALLED), world(MOVED)))
    assert (fresh.stage, fresh.switch_attempt, fresh.signal_deadline) == ("Switch", 2, None)
    assert decide(fresh, world(MOVED), 2) == Do(StopJob(MOVED.name))
    assert isinstance(decide(fresh, world(replace(MOVED, stopping=True)), 3), Wait)
    assert decide(fresh, world(), 4) == Do(StartJob("switch", 2))
    starts = decide(fresh, world(replace(SECOND, ready=False)), 5)
    assert isinstance(starts, Wait), "a signal to a Job that has not put right what the first one has begun"
    again = recorded(decide(fresh, world(SECOND), 10))
    assert again.signal_deadline == stamp(time_at(40))
    send = decide(again, world(SECOND), 10)
    assert isinstance(send, Do)
    assert isinstance(send.effect, SendSignal)
    assert (send.effect.job.name, send.effect.repetition) == ("switch-2", 0)
    done = recorded(decide(again, world(replace(SECOND, answer=NEW)), 11))
    assert (done.stage, done.position) == ("Resume", "New")


def test_row_107_what_was_scaled_up_in_the_meantime_is_stopped_before_the_second_signal() -> None:
    found = status("Switch", switch_attempt=2)
    runs = world(SECOND, workloads=(SHOP,))
    again = decide(found, runs)
    assert isinstance(again, Do)
    assert isinstance(again.effect, SetReplicas)
    assert again.effect.targets == ((SHOP, 0),)
    assert again.then is not None, "the two alternate without a pause"
    assert isinstance(decide(found, world(SECOND, workloads=(replace(STOPPED, pods=1),))), Wait)


def test_row_107_a_switch_that_has_answered_is_not_repeated() -> None:
    """It was evicted after it had renamed."""
    for job in (replace(MOVED, answer=NEW), replace(MOVED, ended=True, payload=NEW)):
        assert recorded(decide(status("Switch", **SIGNALLED), world(job))).stage == "Resume"


def test_row_107_after_two_minutes_the_position_is_read() -> None:
    found = status("Switch", switch_attempt=2)
    assert decide(found, world(), plan_switch.MOVE_SECONDS) == Do(StartJob("switch", 2))
    for job in ((), (replace(SECOND, ready=False),), (MOVED,)):
        assert recorded(decide(found, world(*job), plan_switch.MOVE_SECONDS + 1)).stage == "Inspect"
    failed = replace(SECOND, ready=False, ended=True, failure=Failure(reason=c.SWITCH_FAILED, message="no copy."))
    fresh = recorded(decide(found, world(failed), 2))
    assert (fresh.stage, fresh.failure_message) == ("Inspect", "no copy.")


def test_row_107_a_switch_back_that_was_moved_is_replaced() -> None:
    back = {"position": "New", "switched_at": stamp(START), "failure_reason": c.WORKLOAD_NOT_READY}
    found = status("BackJob", **back, phase="SwitchingBack", failure_message="Not ready.")
    fresh = recorded(decide(found, world(MOVED)))
    assert (fresh.stage, fresh.switch_attempt) == ("BackJob", 2)
    assert decide(fresh, world(MOVED)) == Do(StopJob(MOVED.name))
    assert decide(fresh, world()) == Do(StartJob("switch-back", 2))


# --- a whole rollback ---------------------------------------------------------------------------------------------


def downtime(drained_at: str, after: float = 0, *, healthy: bool = True) -> tuple[float, Model]:
    """Seconds from the stop of the workloads until they are ready, where the node of the switch Job is drained so many
    seconds into that stage; and the model at its end."""
    model = Model(new_is_healthy=healthy)
    model.start_seconds = 3
    operator = Operator(model)
    entered: dict[str, float] = {}
    drained = False
    while model.status.stage != "Ended":
        assert model.time < 2000, model.status
        stage = model.status.stage or ""
        entered.setdefault(stage, model.time)
        found = [j for j in model.jobs.values() if (j.command.startswith("switch") or j.goes_on) and j.alive]
        if found and stage == drained_at and not drained and model.time - entered[stage] >= after:
            model.lose(found[0])
            drained = True
        if not operator.act(*operator.decide()):
            model.advance(0.25, 1)
    assert drained or not drained_at
    return entered["Finish"] - entered["Stop"], model


@pytest.mark.parametrize(
    ("stage", "after"),
    [("Stop", 0), ("Drain", 0), ("Drain", 3), *(("Switch", n / 4) for n in range(5))],
)
def test_row_107_a_drain_costs_the_start_of_one_job(stage: str, after: float) -> None:
    """Whatever the first Job had done: its signal not sent, not seen, connections refused, databases renamed, folder
    moved."""
    without, _ = downtime("")
    with_drain, model = downtime(stage, after)
    assert (model.status.phase, model.status.position, model.switches) == ("Complete", "New", 1)
    assert with_drain - without < 15


def test_row_107_a_drain_during_the_switch_back_costs_the_start_of_one_job() -> None:
    without, _ = downtime("", healthy=False)
    with_drain, model = downtime("BackJob", healthy=False)
    assert (model.status.phase, model.status.position, model.backs) == ("Failed", "Old", 1)
    assert with_drain - without < 15
