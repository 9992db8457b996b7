"""Row 35: a claim that one node can mount is released before a workload starts, perhaps on another node."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Result, SwitchResult
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus, RollbackTarget, SavedWorkload
from ocore_operator.frame.actions import Record, Wait
from ocore_operator.jobs.observing.outcome import LOST_AFTER, Observation
from ocore_operator.rollback import plan
from ocore_operator.rollback.conditions import summarized
from ocore_operator.rollback.observe import claim_users, job_view
from ocore_operator.rollback.plan_switch import RELEASE_SECONDS, STOP_JOBS_SECONDS, stop_jobs
from ocore_operator.rollback.transitions import change, enter, stamp, switched
from ocore_operator.rollback.world import Action, Do, JobView, StopJob, WorkloadView, World, until_ended
from ocore_operator.workloads.quiesce import SetReplicas
from support.operator import objects
from support.operator.objects import SETTINGS
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import START, Model

SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}})
NEW = SwitchResult(position="New", live_database="shop", accepting_connections=True)
TARGET = RollbackTarget(database_secret_name="db", claim_name="files", path="shop", layout="Odoo")
STOPPED = WorkloadView("Deployment", "shop", replicas=0)
WAITING = JobView("switch", 1, "switch-1", pods=1, mounts=1, ready=True)
#: Jobs that mount the claim, or may do so again.
HOLDING: dict[str, JobView] = {
    "it has answered and has not ended": replace(WAITING, answer=NEW),
    "its container has ended, and one that was injected has not": JobView(
        "switch", 1, "switch-1", mounts=1, ended=True, payload=NEW, ended_at=START
    ),
    "its pod was evicted, and the Job makes another one": JobView(
        "switch", 1, "switch-1", ended=True, failure=Failure(reason=c.JOB_FAILED, message="evicted", retryable=True)
    ),
    "the restore's pod has a sidecar": JobView("restore", 1, "restore-1", mounts=1, ended=True, ended_at=START),
    "an inspection of which the container has ended": JobView(
        "inspect", 1, "inspect-1", mounts=1, ended=True, payload=NEW
    ),
}
RELEASED = JobView("switch", 1, "switch-1", ended=True, payload=NEW, ended_at=START)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def resuming(**changes: Any) -> RollbackStatus:
    saved = (SavedWorkload(kind="Deployment", name="shop", replicas=2),)
    status = RollbackStatus(stage="Switch", phase="Switching", workloads=saved, target=TARGET, deadline=stamp(at(1000)))
    return change(switched(status, NEW, START), **changes)


#: How a rollback comes to Resume.
OUTCOMES: dict[str, RollbackStatus] = {
    "switched": resuming(),
    "aborted": enter(resuming(), "Resume", START, position="Old", failure_reason=c.CANCELLED, switched_at=None),
    "switched back": enter(resuming(), "Resume", START, position="Old", failure_reason=c.SWITCHED_BACK),
    "unknown": enter(resuming(), "Resume", START, position=None, failure_reason=c.POSITION_UNKNOWN),
}


def decided(status: RollbackStatus, now: float, *jobs: JobView) -> Action:
    world = World(created=START, environment=None, snapshot=None, finalizer=True, jobs=jobs, workloads=(STOPPED,))
    return plan.decide(status, SPEC, world, "id", at(now))


def scales_up(action: Action) -> bool:
    return isinstance(action, Do) and action.effect == SetReplicas(((STOPPED, 2),))


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("job", HOLDING.values(), ids=HOLDING)
def test_row_35_no_workload_starts_while_a_pod_of_ours_mounts_the_claim(outcome: str, job: JobView) -> None:
    status = OUTCOMES[outcome]
    assert isinstance(decided(status, 1, job), Wait)
    assert decided(status, RELEASE_SECONDS + 1, job) == Do(StopJob(job.name))
    stopping = replace(job, stopping=True, stopping_since=at(RELEASE_SECONDS + 1), mounts=1)
    assert isinstance(decided(status, RELEASE_SECONDS + STOP_JOBS_SECONDS, stopping), Wait)
    # The node does not answer: the application must not wait for it.
    assert scales_up(decided(status, RELEASE_SECONDS + STOP_JOBS_SECONDS + 2, stopping))
    assert scales_up(decided(status, 1, RELEASED))
    assert scales_up(decided(status, 1))


def test_a_probe_that_runs_is_waited_for_and_not_stopped() -> None:
    world = World(
        created=START, environment=None, snapshot=None, finalizer=True, workloads=(STOPPED,), jobs=(RELEASED,)
    )
    probed = replace(world, claim_users=("probe-1-x",))
    waits = plan.decide(resuming(), SPEC, probed, "id", at(1))
    assert isinstance(waits, Wait)
    assert "probe-1-x" in waits.message
    assert scales_up(plan.decide(resuming(), SPEC, probed, "id", at(RELEASE_SECONDS + STOP_JOBS_SECONDS + 1)))
    assert scales_up(plan.decide(resuming(), SPEC, world, "id", at(1)))


def test_which_pods_of_others_mount_the_claim() -> None:
    def one(name: str, owner: str, claim: str, phase: str) -> dict[str, Any]:
        volumes = [{"name": "tmp", "emptyDir": {}}, {"name": "claim", "persistentVolumeClaim": {"claimName": claim}}]
        labels = {"ocore.dev/uid": owner}
        return {"metadata": {"name": name, "labels": labels}, "spec": {"volumes": volumes}, "status": {"phase": phase}}

    pods = [
        one("mine", "r", "files", "Running"),
        one("probe", "e", "files", "Running"),
        one("starting", "e", "files", "Pending"),
        one("ended", "e", "files", "Succeeded"),
        one("elsewhere", "e", "other", "Running"),
    ]
    assert claim_users(pods, "files", "r") == ("probe", "starting")


def test_a_switch_that_may_still_act_is_stopped_at_once() -> None:
    """It has not answered: an operator that was stopped before has started it late."""
    assert decided(resuming(), 1, WAITING) == Do(StopJob(WAITING.name))


def test_without_a_claim_there_is_nothing_to_wait_for() -> None:
    status = resuming(target=RollbackTarget(database_secret_name="db"))
    assert scales_up(decided(status, 1, HOLDING["it has answered and has not ended"]))


def test_row_35_only_a_job_that_hangs_with_the_claim_is_deleted() -> None:
    """And only where the workloads wait for it."""
    hangs, running = replace(WAITING, answer=NEW, reported=True), replace(STOPPED, replicas=2)

    def checked(found: WorkloadView, seconds: float, target: RollbackTarget = TARGET) -> Action:
        status = enter(resuming(target=target), "HealthCheck", START)
        known = World(created=START, environment=None, snapshot=None, finalizer=True, jobs=(hangs,), workloads=(found,))
        return plan.decide(status, SPEC, known, "id", at(seconds))

    assert checked(running, RELEASE_SECONDS + 1) == Do(StopJob(hangs.name))
    assert isinstance(checked(running, RELEASE_SECONDS), Wait)
    assert isinstance(checked(running, RELEASE_SECONDS + 1, RollbackTarget(database_secret_name="db")), Wait)
    assert isinstance(checked(replace(running, ready_replicas=2), RELEASE_SECONDS + 1), Record)


def test_a_workload_that_runs_already_is_not_waited_for() -> None:
    running = replace(STOPPED, replicas=2)
    world = World(created=START, environment=None, snapshot=None, jobs=(WAITING,), workloads=(running,), finalizer=True)
    assert isinstance(plan.decide(resuming(), SPEC, world, "id", at(1)), Record)


@pytest.mark.parametrize("stays", ["", "sidecars", "hangs"])
@pytest.mark.parametrize("healthy", [True, False])
def test_row_35_a_pod_that_does_not_end_is_deleted(*, stays: str, healthy: bool) -> None:
    """Through a whole rollback; the model checks every scale up. A process that hangs after its result is known as one
    that ends, so the workloads are started first, and cannot be ready."""
    model = Model(**{stays: True} if stays else {}, new_is_healthy=healthy)
    operator = Operator(model)
    down_since: float | None = None
    downtime = checked = 0.0
    while model.status.stage != "Ended":
        assert model.time < 2000, model.status
        if not operator.act(*operator.decide()):
            model.advance(0.5, 1)
            checked += 0.5 * (model.status.stage == "HealthCheck" and model.status.position == "New")
        if model.status.stage == "Switch" and down_since is None:
            down_since = model.time
        if model.status.stage == "HealthCheck" and down_since is not None and not downtime:
            downtime = model.time - down_since
    assert model.status.phase == ("Complete" if healthy else "Failed")
    assert model.backs == (0 if healthy else 1)
    assert downtime < (30 if stays == "sidecars" else 6)
    if healthy:
        assert RELEASE_SECONDS < checked < 2 * RELEASE_SECONDS if stays == "hangs" else checked < 6


def pod(phase: str, **meta: Any) -> dict[str, Any]:
    message = Result(ok=True, payload=NEW, time="2026-01-01T00:00:00Z").termination_message()
    ended = {"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T00:00:05Z", "message": message}}
    return {
        "metadata": {
            "name": "p",
            "uid": "u",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "resourceVersion": "1",
            **meta,
        },
        "spec": {"nodeName": "n", "restartPolicy": "OnFailure"},
        "status": {"phase": phase, "containerStatuses": [{"name": "mover", "state": ended}]},
    }


def job(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "j", "uid": "j", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {}},
        "spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}},
        "status": status,
    }


def viewed(found: dict[str, Any] | None, *pods: dict[str, Any]) -> JobView:
    jobs = {"j": found} if found is not None else {}
    seen = Observation(jobs=jobs, pods={"j": pods}, now=at(60), start_deadline=SETTINGS.start_deadline)
    view = job_view(seen, "j", "switch", 1)
    assert view is not None
    return view


def test_a_pod_holds_the_claim_until_all_its_containers_have_ended() -> None:
    """Its phase shows that late. Where another container was injected, it shows when that has ended, too."""
    assert not viewed(job(), pod("Running")).holds
    mover = {"name": "mover"}
    for injected in (
        {"containers": [mover, {"name": "proxy"}]},
        {"containers": [mover], "initContainers": [{"name": "proxy", "restartPolicy": "Always"}]},
    ):
        beside = pod("Running")
        beside["spec"] |= injected
        assert viewed(job(), beside).holds
        assert not viewed(job(), {**beside, "status": {**beside["status"], "phase": "Succeeded"}}).holds
    before = pod("Running")
    before["spec"] |= {"containers": [mover], "initContainers": [{"name": "once"}]}
    assert not viewed(job(), before).holds
    evicted = {**pod("Failed"), "status": {"phase": "Failed", "reason": "Evicted", "message": "disk"}}
    assert viewed(job(), evicted).holds
    assert not viewed(job(conditions=[{"type": "Failed", "status": "True", "lastTransitionTime": ""}]), evicted).holds


def test_a_pod_that_needs_a_person_to_start_is_said_by_the_reason() -> None:
    """A rollback whose Job no node takes is `JobPending`; one whose container is just being created is not."""
    message = "0/1 nodes are available: 1 Insufficient cpu."
    no_node = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pending = {**pod("Pending"), "spec": {}, "status": {"phase": "Pending", "conditions": [no_node]}}
    view = viewed(job(), pending)
    assert (view.reason, "1 Insufficient cpu" in view.problem) == (c.JOB_PENDING, True)
    created = {"name": "mover", "state": {"waiting": {"reason": "ContainerCreating"}}}
    view = viewed(job(), {**pod("Pending"), "status": {"phase": "Pending", "containerStatuses": [created]}})
    assert (view.reason, "ContainerCreating" in view.problem) == (c.RUNNING, True)


def test_since_when_a_pod_is_being_deleted() -> None:
    """Its deletionTimestamp is the end of its grace period, its Job's the request."""
    dying = pod("Running", deletionTimestamp="2026-01-01T00:00:50Z", deletionGracePeriodSeconds=30)
    assert viewed(None, dying).stopping_since == at(20)
    deleted = job()
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:20Z"
    assert viewed(deleted, dying).stopping_since == at(20)
    assert viewed(job(), pod("Running")).stopping_since is None


def test_row_102_a_job_on_a_node_that_does_not_respond_says_what_to_do() -> None:
    lost = objects.pod("restore-1", {"running": {"startedAt": objects.at(1)}})
    lost["metadata"]["deletionTimestamp"] = objects.at(10)

    def wait(seconds: float) -> Wait:
        seen = objects.observation([objects.job("restore-1", "restore")], {"restore-1": [lost]}, seconds=seconds)
        view = job_view(seen, "restore-1", "restore", 1)
        assert view is not None
        assert not view.ended
        return until_ended(view, "restores.")

    assert not wait(10 + LOST_AFTER - 1).stalled
    found = wait(10 + LOST_AFTER)
    assert (found.stalled, found.reason) == (True, "NodeNotResponding")
    assert "kubectl delete node node1" in found.message


def test_row_102_a_stopped_job_whose_node_does_not_respond_says_what_to_do() -> None:
    """The position is read only when its pod is gone, and until then the application may be stopped."""
    ends = replace(WAITING, stopping=True)
    lost = replace(ends, name="restore-1", reason=c.NODE_NOT_RESPONDING, problem="run kubectl delete node node1")
    assert stop_jobs((ends,)) == Wait(1, c.RUNNING, "Waiting until Job switch-1 and its pods are gone.")
    assert stop_jobs((ends, lost)) == Wait(1, c.NODE_NOT_RESPONDING, "run kubectl delete node node1", stalled=True)


@pytest.mark.parametrize(
    ("reason", "changes", "stopped"),
    [
        (c.NODE_NOT_RESPONDING, {}, True),
        (c.RUNNING, {}, False),
        (c.NODE_NOT_RESPONDING, {"quiesced_at": None}, False),
        (c.NODE_NOT_RESPONDING, {"resumed_at": stamp(at(9))}, False),
        (c.NODE_NOT_RESPONDING, {"workloads": ()}, False),
    ],
)
def test_row_102_the_condition_says_that_the_application_is_stopped(
    reason: str, changes: dict[str, Any], stopped: bool
) -> None:
    saved = SavedWorkload(kind="Deployment", name="shop", replicas=1)
    found = RollbackStatus(stage="Inspect", phase="Switching", quiesced_at=stamp(START), workloads=(saved,))
    shown = summarized(
        change(found, **changes),
        generation=1,
        deleting=False,
        reason=reason,
        message="Repair it.",
        now=START,
        stalled=True,
    )
    condition = c.find(shown.conditions, c.STALLED)
    assert condition is not None
    assert condition.message == "Repair it." + (" The application is stopped until then." if stopped else "")
