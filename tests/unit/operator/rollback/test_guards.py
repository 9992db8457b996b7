"""The guards of the plan before the switch, one by one: deadline, workloads that start again, a switch that may still
continue, a signal that is late."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Signal
from ocore_crds.resources.rollback import BEFORE_THE_SWITCH, RollbackSpec, RollbackStatus
from ocore_operator.frame.actions import Record, Wait
from ocore_operator.jobs.signals import REPEAT_SECONDS, SIGNAL_MARGIN_SECONDS
from ocore_operator.rollback import plan, plan_switch
from ocore_operator.rollback.transitions import change, stamp
from ocore_operator.rollback.world import (
    Action,
    Do,
    JobKind,
    JobView,
    OperationLock,
    SendSignal,
    StartJob,
    StopJob,
    WorkloadView,
    World,
)
from ocore_operator.workloads import quiesce
from ocore_operator.workloads.quiesce import SetReplicas
from support.operator import rollback_seen
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import ENVIRONMENT_ID, START, Model
from support.operator.rollback_objects import TARGET, time_at
from support.operator.rollback_seen import altered_environment

DEADLINE = 500
SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}})
LOCK = OperationLock("Ours", "Rollback r1", START)


def status(stage: str, **changes: Any) -> RollbackStatus:
    found = RollbackStatus.model_validate(
        {"stage": stage, "stageSince": stamp(time_at(0)), "deadline": stamp(time_at(DEADLINE))}
    )
    return change(found, environment_id=ENVIRONMENT_ID, target=TARGET, attempt=1, switch_attempt=1, **changes)


def world(**changes: Any) -> World:
    view = rollback_seen.environment(target=TARGET)
    return World(created=START, environment=view, snapshot=None, finalizer=True, lock=LOCK, **changes)


def decide(found: RollbackStatus, seen: World, seconds: float) -> Action:
    return plan.decide(found, SPEC, seen, "id", time_at(seconds))


@pytest.mark.parametrize("stage", BEFORE_THE_SWITCH)
def test_a_rollback_that_has_not_switched_by_its_deadline_fails(stage: str) -> None:
    """At any stage, and not a second early: the user waits for that time, not longer."""
    early = decide(status(stage), world(), DEADLINE - 1)
    assert not (isinstance(early, Record) and early.status.failure_reason == c.DEADLINE_EXCEEDED)
    late = decide(status(stage), world(), DEADLINE)
    assert isinstance(late, Record)
    assert (late.status.stage, late.status.failure_reason) == ("Abort", c.DEADLINE_EXCEEDED)
    assert f"at stage {stage}. The environment is as it was. Increase timeoutSeconds" in (
        late.status.failure_message or ""
    )


def test_a_deadline_ends_it_and_the_application_runs_again() -> None:
    """Pods stay on a node that does not answer, for longer than the rollback may take."""
    model = Model(timeout=60)
    operator = Operator(model)
    while model.status.stage != "Ended":
        assert model.time < 90, model.status
        operator.work()
        for pod in (pod for workload in model.workloads for pod in workload.pods if pod.leaves_at is not None):
            pod.leaves_at = model.time + 300
        model.advance(1, 1)
    assert (model.status.phase, model.status.failure_reason) == ("Failed", c.DEADLINE_EXCEEDED)
    assert [w.replicas for w in model.workloads] == list(model.saved)
    assert model.switches == 0


def test_a_workload_that_was_started_again_is_stopped_again_before_the_signal() -> None:
    """Its pods are not there yet: nothing but the replicas shows it. After the stage's limit, the rollback ends."""
    waiting = JobView("switch", 1, "rollback-switch-1", ready=True, pods=1, pod="p")
    down = WorkloadView("Deployment", "shop")
    go = decide(status("Drain"), world(jobs=(waiting,), workloads=(down,)), 10)
    assert isinstance(go, Record)
    assert go.status.stage == "Switch"
    up = WorkloadView("Deployment", "shop", replicas=1)
    limit = quiesce.DRAIN_SECONDS + up.grace_seconds
    for seconds in (10, limit):
        again = decide(status("Drain"), world(jobs=(waiting,), workloads=(up, down)), seconds)
        pause = quiesce.Later(quiesce.AGAIN_SECONDS, "Another client scaled up Deployment shop. Scaled to zero again.")
        assert again == Do(SetReplicas(((up, 0),), then=pause))
        assert again.then == plan_switch.wait(pause)
    action = decide(status("Drain"), world(jobs=(waiting,), workloads=(up,)), limit + 1)
    assert isinstance(action, Record)
    assert (action.status.stage, action.status.failure_reason) == ("Abort", c.WORKLOAD_SCALED_UP)
    text = action.status.failure_message or ""
    assert text.startswith("Deployment shop was scaled up before the switch again and again for 150 s,")


@pytest.mark.parametrize("stage", BEFORE_THE_SWITCH)
def test_an_environment_that_was_replaced_is_not_switched(stage: str) -> None:
    """Another object of the same name: its database was never looked at."""
    other = altered_environment(world().environment, id="another")
    action = decide(status(stage), replace(world(), environment=other), 10)
    assert isinstance(action, Record)
    assert action.status.failure_reason == c.OTHER_ENVIRONMENT


@pytest.mark.parametrize("ended", [False, True], ids=["runs", "its pod runs"])
def test_an_inspection_never_runs_beside_a_switch(*, ended: bool) -> None:
    """Two writers: the inspection allows connections while the switch renames. The switch Job is stopped, and its pod
    is waited for."""
    found = status("Inspect", inspect_attempt=1)
    switch = JobView("switch", 1, "rollback-switch-1", ended=ended, pods=1)
    assert decide(found, world(jobs=(switch,)), 10) == Do(StopJob(switch.name))
    stopping = JobView("switch", 1, "rollback-switch-1", ended=ended, pods=1, stopping=True)
    assert isinstance(decide(found, world(jobs=(stopping,)), 10), Wait)
    gone = JobView("switch", 1, "rollback-switch-1", ended=True)
    assert decide(found, world(jobs=(gone,)), 10) == Do(StartJob("inspect", 1))


@pytest.mark.parametrize(
    "changes",
    [{}, {"cleanup_attempt": 1, "cleanup_after": stamp(time_at(20))}],
    ids=["of the stage Inspect", "of an earlier attempt"],
)
def test_an_inspection_after_the_end_never_runs_beside_an_earlier_one(changes: dict[str, Any]) -> None:
    """Two writers: both repair. The earlier one has 30 s to end, then it is stopped, and its pod is waited for 2
    minutes."""
    found = change(status("Ended"), residue="Pending", inspect_attempt=1, **changes)
    earlier = JobView("inspect", 1, "rollback-inspect-1", pods=1)
    assert isinstance(decide(found, world(jobs=(earlier,)), 30), Wait)
    assert decide(found, world(jobs=(earlier,)), 31) == Do(StopJob(earlier.name))
    stopping = replace(earlier, stopping=True)
    assert isinstance(decide(found, world(jobs=(stopping,)), 150), Wait)
    for jobs, seconds in (((), 31), ((stopping,), 151)):
        begun = decide(found, world(jobs=jobs), seconds)
        assert isinstance(begun, Record)
        assert begun.status.inspect_attempt == 2
    own = JobView("inspect", 2, "rollback-inspect-2", pods=1)
    assert isinstance(decide(begun.status, world(jobs=(own,)), 151 + 31), Wait)


def test_every_job_that_outlives_the_end_is_stopped() -> None:
    """Also where the pod of the first one stays."""
    found = change(status("Ended"), residue="Pending", inspect_attempt=1)
    switch = JobView("switch", 1, "rollback-switch-1", pods=1, stopping=True)
    inspection = JobView("inspect", 1, "rollback-inspect-1", pods=1)
    assert decide(found, world(jobs=(switch, inspection)), 31) == Do(StopJob(inspection.name))


@pytest.mark.parametrize("ended", [False, True], ids=["runs", "its pod runs"])
def test_a_switch_back_never_runs_beside_an_earlier_switch(*, ended: bool) -> None:
    """Two writers: the model finds it by luck only, after two minutes."""
    found = change(status("BackJob"), switch_attempt=2)
    earlier = JobView("switch", 1, "rollback-switch-1", ended=ended, pods=1)
    assert decide(found, world(jobs=(earlier,)), 10) == Do(StopJob(earlier.name))
    stopping = replace(earlier, stopping=True)
    assert isinstance(decide(found, world(jobs=(stopping,)), 10), Wait)
    gone = JobView("switch", 1, "rollback-switch-1", ended=True)
    assert decide(found, world(jobs=(gone,)), 10) == Do(StartJob("switch-back", 2))


@pytest.mark.parametrize(
    ("stage", "kind", "attempt"),
    [
        ("Restore", "restore", "attempt"),
        ("Neutralize", "neutralize", "neutralize_attempt"),
        ("Prepare", "switch", "switch_attempt"),
    ],
)
def test_a_failed_attempt_counts_although_its_pod_is_still_shown(stage: str, kind: JobKind, attempt: str) -> None:
    """A slow kubelet shows the pod as running after the Job has failed. The failure is gone with the Job, so it is
    recorded first."""
    found = change(status(stage), neutralize_attempt=1)
    failure = Failure(reason=c.DATABASE_UNREACHABLE, message="no answer", retryable=True)
    failed = JobView(kind, 1, "rollback-1", ended=True, pods=1, failure=failure)
    counted = decide(found, world(jobs=(failed,)), 10)
    assert isinstance(counted, Record)
    assert getattr(counted.status, attempt) == 2
    assert counted.notes[0].reason == failure.reason  # an Event shows both
    assert counted.notes[0].message == "Attempt 1 of 3 failed: no answer; retrying."
    # Two must not work in one copy.
    assert decide(counted.status, world(jobs=(failed,)), 11) == Do(StopJob(failed.name))
    assert isinstance(decide(counted.status, world(jobs=(replace(failed, stopping=True),)), 12), Wait)
    assert decide(counted.status, world(), 13) == Do(StartJob(kind, 2))


def test_a_signal_that_comes_too_late_is_not_sent() -> None:
    """The Job would read it after it has expired: then one side takes it for given and the other one for expired."""
    found = status("Switch", signal_deadline=stamp(time_at(30)))
    job = JobView("switch", 1, "rollback-switch-1", ready=True, pods=1, pod="p")
    signal = Signal(job=job.name, not_after=time_at(30).timestamp())
    sent = decide(found, world(jobs=(job,)), 30 - SIGNAL_MARGIN_SECONDS)
    assert isinstance(sent, Do)
    assert sent.effect == SendSignal(job, signal, repetition=5)
    assert isinstance(decide(found, world(jobs=(job,)), 30 - SIGNAL_MARGIN_SECONDS + 1), Wait)
    assert isinstance(decide(found, world(jobs=(job,)), 31), Wait)


def test_a_signal_is_repeated_until_the_job_answers() -> None:
    """The kubelet once wrote the signal's file 85 s late; it writes it again with the pod's next change."""
    found = status("Switch", signal_deadline=stamp(time_at(30)))
    signal = Signal(job="rollback-switch-1", not_after=time_at(30).timestamp())
    job = JobView("switch", 1, "rollback-switch-1", ready=True, pods=1, pod="p", signal=signal)
    assert isinstance(decide(found, world(jobs=(job,)), REPEAT_SECONDS - 1), Wait)
    assert decide(found, world(jobs=(job,)), REPEAT_SECONDS) == Do(
        SendSignal(job, signal, repetition=1), after="operator-rollback-signalled"
    )
    repeated = replace(job, repetition=1)
    assert isinstance(decide(found, world(jobs=(repeated,)), 2 * REPEAT_SECONDS - 1), Wait)
    assert isinstance(decide(found, world(jobs=(repeated,)), 30 - SIGNAL_MARGIN_SECONDS + 1), Wait)
