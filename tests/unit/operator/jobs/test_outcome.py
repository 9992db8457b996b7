"""The outcome of a Job, over JSON that a real cluster recorded (recorded/*.json)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.protocol import DeleteResult, Failure, Result
from ocore_operator import clock
from ocore_operator.jobs.outcome import (
    MAX_ATTEMPTS,
    Absent,
    JobFailed,
    JobState,
    NoResult,
    Running,
    Starting,
    Succeeded,
    classify,
    may_retry,
)
from ocore_operator.kube.resources import Object
from support.operator.objects import at, ended, job, moment, pod, recorded

START_DEADLINE = 180.0


def state_of(name: str, *, after: float = 10, start_deadline: float = START_DEADLINE) -> JobState:
    """The recorded Job's state, so many seconds after its creation."""
    data = recorded(name)
    now = clock.parse(data["job"]["metadata"]["creationTimestamp"]) + timedelta(seconds=after)
    warnings = {e["involvedObject"]["uid"]: (e["reason"], e["message"]) for e in data["events"]}
    return classify(data["job"], data["pods"], warnings, now, start_deadline)


def test_a_result_is_read() -> None:
    state = state_of("succeeded")
    assert isinstance(state, Succeeded)
    assert state.payload == DeleteResult(objects=3)


def test_a_reported_failure_is_the_movers_own() -> None:
    state = state_of("reported")
    assert isinstance(state, JobFailed)
    assert state.failure == Failure(reason="NoSpace", message="a volume is full")
    assert not state.unreported


@pytest.mark.parametrize("name", ["silent", "killed", "oom"])
def test_who_dies_silently_has_to_be_looked_for(name: str) -> None:
    state = state_of(name)
    assert isinstance(state, JobFailed)
    assert state.failure.reason == "JobFailed"
    assert state.failure.retryable
    assert state.unreported


def test_out_of_memory_says_what_to_raise() -> None:
    state = state_of("oom")
    assert isinstance(state, JobFailed)
    assert "limits.memory" in state.failure.message


def test_a_mover_of_another_version_is_not_tried_again() -> None:
    state = state_of("usage")
    assert isinstance(state, JobFailed)
    assert state.failure.reason == "InternalError"
    assert not state.failure.retryable


def test_an_image_without_the_program() -> None:
    state = state_of("no-program")
    assert isinstance(state, JobFailed)
    assert state.failure.reason == "PodNotStarted"
    assert not state.unreported


def test_the_jobs_own_deadline() -> None:
    state = state_of("deadline")
    assert isinstance(state, JobFailed)
    assert state.failure.reason == "DeadlineExceeded"
    assert state.unreported


def test_a_running_container() -> None:
    state = state_of("running")
    assert isinstance(state, Running)
    assert state.pod.startswith("running-")
    assert state.node == "node1"


def test_a_pod_that_is_being_deleted_still_runs() -> None:
    assert isinstance(state_of("terminating"), Running)


def test_a_pod_that_was_deleted_leaves_its_end_unknown() -> None:
    assert isinstance(state_of("pod-deleted"), NoResult)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("no-image", "none:1"),
        ("no-secret", "no-such-secret"),
        ("unschedulable", "nodes are available"),
        ("no-account", "no-such-account"),
    ],
)
def test_what_does_not_start_gets_time_and_then_fails_with_the_kubelets_message(name: str, cause: str) -> None:
    early = state_of(name, after=9)
    assert isinstance(early, Starting)
    assert cause in early.message
    late = state_of(name, after=START_DEADLINE + 1)
    assert isinstance(late, JobFailed)
    assert late.failure.reason == ("JobRefused" if name == "no-account" else "PodNotStarted")
    assert cause in late.failure.message
    assert not late.failure.retryable


def test_a_missing_secret_has_less_time() -> None:
    assert isinstance(state_of("no-secret", after=29), Starting)
    assert isinstance(state_of("no-secret", after=31), JobFailed)


def test_an_impossible_image_name_is_not_waited_for() -> None:
    state = state_of("bad-image", after=1)
    assert isinstance(state, JobFailed)
    assert "OCORE_MOVER_IMAGE" in state.failure.message


def test_no_job_and_no_pod() -> None:
    assert classify(None, (), {}, moment(0), START_DEADLINE) == Absent()


def test_a_pod_outlives_its_job() -> None:
    """Two attempts must not run at the same time: while its pod exists, the Job is not absent."""
    running = pod("a", {"running": {"startedAt": at(0)}})
    assert isinstance(classify(None, [running], {}, moment(5), START_DEADLINE), Running)
    done = pod("a", ended(Result(ok=True, payload=DeleteResult(), time=at(0)).termination_message()), phase="Succeeded")
    state = classify(None, [done], {}, moment(5), START_DEADLINE)
    assert isinstance(state, NoResult), "whose pod it was is not known any more: the result is read by an inspect Job"
    assert state.finished == at(60)


def test_the_job_is_over_and_its_pod_gone() -> None:
    assert isinstance(classify(job("a", condition="Complete"), (), {}, moment(90), START_DEADLINE), NoResult)


def test_a_job_that_is_being_deleted_and_has_no_pod_left() -> None:
    """Not one that a quota keeps from having pods."""
    deleting = job("a")
    deleting["metadata"]["deletionTimestamp"] = at(1)
    assert isinstance(classify(deleting, (), {}, moment(500), START_DEADLINE), NoResult)


def evicted(reason: str, *, ran: bool) -> Object:
    state: Object = {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": at(30)}}
    found = pod("a", state, phase="Failed", reason=reason, message="The node was low on resource: memory.")
    if not ran:
        del found["status"]["containerStatuses"]
    return found


@pytest.mark.parametrize("reason", ["Evicted", "NodeLost", "Terminated", "Preempting", "OutOfcpu"])
@pytest.mark.parametrize("ran", [True, False])
def test_the_infrastructure_is_to_blame(reason: str, ran: bool) -> None:
    state = classify(job("a"), [evicted(reason, ran=ran)], {}, moment(40), START_DEADLINE)
    assert isinstance(state, JobFailed)
    assert state.failure.retryable
    assert state.unreported is ran
    assert "low on resource" in state.failure.message


def test_a_restarting_container_has_not_failed_yet() -> None:
    """A switch is restarted by the kubelet: its last failure does not count while the Job runs."""
    message = Result(ok=False, failure=Failure(reason="SwitchFailed", message="x"), time=at(0)).termination_message()
    restarting = job("a", template={"spec": {"restartPolicy": "OnFailure"}})
    crashed = pod("a", ended(message, code=1))
    state = classify(restarting, [crashed], {}, moment(500), START_DEADLINE)
    assert isinstance(state, Starting)
    done = {**restarting, "status": job("a", condition="Failed")["status"]}
    assert isinstance(classify(done, [crashed], {}, moment(500), START_DEADLINE), JobFailed)


@given(st.booleans(), st.integers(1, 10))
def test_only_what_may_mend_itself_is_tried_again(retryable: bool, attempt: int) -> None:
    failure = Failure(reason="JobFailed", message="", retryable=retryable)
    assert may_retry(failure, attempt) == (retryable and attempt < MAX_ATTEMPTS)


@given(st.text(max_size=200), st.integers(0, 255))
def test_any_words_and_exit_code_give_a_state(message: str, code: int) -> None:
    """A container that has ended never leaves the operator waiting, whatever it wrote."""
    done = pod("a", ended(message, code), phase="Succeeded" if code == 0 else "Failed")
    state = classify(job("a"), [done], {}, moment(90), START_DEADLINE)
    assert isinstance(state, (Succeeded, JobFailed))


def test_row_16_a_volume_that_is_attached_elsewhere_has_the_start_deadline() -> None:
    """A Multi-Attach hang (k8up#712): the waiting reason says next to nothing, the Event says it all."""
    cause = 'Multi-Attach error for volume "pvc-1": Volume is already exclusively attached to one node'
    hanging = pod("a", {"waiting": {"reason": "ContainerCreating"}}, phase="Pending")
    warnings = {hanging["metadata"]["uid"]: ("FailedAttachVolume", cause)}
    early = classify(job("a"), [hanging], warnings, moment(START_DEADLINE - 1), START_DEADLINE)
    assert isinstance(early, Starting)
    assert early.reason == "FailedAttachVolume"
    late = classify(job("a"), [hanging], warnings, moment(START_DEADLINE + 1), START_DEADLINE)
    assert isinstance(late, JobFailed)
    assert late.failure.reason == "PodNotStarted"
    assert cause in late.failure.message
    assert "another node" in late.failure.message
