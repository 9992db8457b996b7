"""The outcome of a Job, over JSON that a real cluster recorded (recorded/*.json)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.commands.table import SNAPSHOT
from ocore_crds.protocol import DeleteResult, Failure, Result
from ocore_operator import clock
from ocore_operator.jobs.observing.outcome import (
    Absent,
    JobFailed,
    JobState,
    NoResult,
    Running,
    Starting,
    Succeeded,
    classify,
    finished,
    may_retry,
)
from ocore_operator.kube.resources import Object
from support.operator.objects import at, ended, job, moment, observation, pod, recorded

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


@pytest.mark.parametrize(("name", "reason"), [("silent", "JobFailed"), ("killed", "JobFailed"), ("oom", "OutOfMemory")])
def test_who_dies_silently_has_to_be_looked_for(name: str, reason: str) -> None:
    state = state_of(name)
    assert isinstance(state, JobFailed)
    assert state.failure.reason == reason
    assert state.failure.retryable
    assert state.unreported


def test_out_of_memory_says_what_to_raise() -> None:
    state = state_of("oom")
    assert isinstance(state, JobFailed)
    assert "limits.memory" in state.failure.message


def test_row_74_what_ran_out_of_memory_twice_is_not_repeated() -> None:
    state = state_of("oom")
    assert isinstance(state, JobFailed)
    assert [may_retry(SNAPSHOT, state.failure, attempt) for attempt in (1, 2, 3)] == [True, False, False]
    other = state.failure.model_copy(update={"reason": "JobLost"})
    assert [may_retry(SNAPSHOT, other, attempt) for attempt in (1, 2, 3)] == [True, True, False]


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
    # An autoscaler may be slow.
    assert late.failure.retryable is (name == "unschedulable")


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
    assert may_retry(SNAPSHOT, failure, attempt) == (retryable and attempt < SNAPSHOT.attempts)


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


START_ERROR = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
)


@pytest.mark.parametrize(
    ("reason", "message", "passes"),
    [
        # Seen in a run of the tests.
        ("StartError", "unable to start container process: read init-p: connection reset by peer: unknown", True),
        ("StartError", "unable to apply cgroup configuration: mkdir …: no such file or directory: unknown", True),
        ("ContainerCannotRun", "context deadline exceeded", True),
        ("StartError", 'unable to start container process: exec: "/no": stat /no: no such file or directory', False),
        ("StartError", 'exec: "mover": executable file not found in $PATH: unknown', False),
        ("StartError", "exec /usr/bin/python3: exec format error", False),
        ("StartError", 'chdir to cwd ("/app") set in config.json failed: no such file or directory', False),
        # As crun words it, recorded in the local cluster.
        ("StartError", "executable file `/no/such` not found: No such file or directory: unknown", False),
        ("StartError", "executable file `mover` not found in $PATH: No such file or directory: unknown", False),
        ("StartError", "chdir to `/app`: Not a directory: unknown", False),
        ("StartError", "open `/sys/fs/cgroup/x`: No such file or directory: unknown", True),
        ("Error", "sh: python: not found", False),
    ],
)
def test_a_container_that_the_runtime_did_not_create_gets_another_attempt(
    reason: str, message: str, passes: bool
) -> None:
    state = {"terminated": {"exitCode": 128, "reason": reason, "message": START_ERROR + message, "finishedAt": at(3)}}
    found = classify(job("a"), [pod("a", state, phase="Failed")], {}, moment(5), START_DEADLINE)
    assert isinstance(found, JobFailed)
    assert (found.failure.reason, found.failure.retryable) == ("PodNotStarted", passes)
    assert ("OCORE_MOVER_IMAGE" in found.failure.message) is not passes
    assert message in found.failure.message
    assert not found.unreported


@pytest.mark.parametrize(
    ("waiting", "message", "passes"),
    [
        ("CreateContainerError", "context deadline exceeded", True),
        ("RunContainerError", "runc create failed: connection reset by peer", True),
        ("RunContainerError", 'runc create failed: exec: "/no": stat /no: no such file or directory', False),
        ("ImagePullBackOff", "not found", False),
        ("CreateContainerConfigError", 'secret "s" not found', False),
    ],
)
def test_what_has_not_started_in_time_gets_another_attempt_where_that_helps(
    waiting: str, message: str, passes: bool
) -> None:
    hanging = pod("a", {"waiting": {"reason": waiting, "message": message}}, phase="Pending")
    assert isinstance(classify(job("a"), [hanging], {}, moment(START_DEADLINE - 1), START_DEADLINE), Starting)
    late = classify(job("a"), [hanging], {}, moment(START_DEADLINE + 1), START_DEADLINE)
    assert isinstance(late, JobFailed)
    assert (late.failure.reason, late.failure.retryable) == ("PodNotStarted", passes)


PROXY_RUNS: Object = {
    "name": "istio-proxy",
    "state": {"running": {"startedAt": at(1)}},
    "ready": True,
    "restartCount": 3,
}
PROXY_DIED: Object = {
    "name": "istio-proxy",
    "state": {"terminated": {"exitCode": 1, "message": "crashed"}},
    "ready": False,
}


@pytest.mark.parametrize("proxy", [PROXY_RUNS, PROXY_DIED], ids=["runs", "died"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_our_container_is_found_by_its_name(proxy: Object, first: bool) -> None:
    """A service mesh puts its own container into every pod, in any position."""

    def beside(state: Object, phase: str = "Running") -> Object:
        found = pod("a", state, phase=phase)
        ours = found["status"]["containerStatuses"]
        found["status"]["containerStatuses"] = [proxy, *ours] if first else [*ours, proxy]
        return found

    runs = classify(job("a"), [beside({"running": {"startedAt": at(2)}})], {}, moment(5), START_DEADLINE)
    assert isinstance(runs, Running)
    assert (runs.since, runs.restarts) == (at(2), 0)
    waits = beside({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}, phase="Pending")
    starting = classify(job("a"), [waits], {}, moment(5), START_DEADLINE)
    assert isinstance(starting, Starting)
    assert starting.reason == "ImagePullBackOff"
    message = Result(ok=True, payload=DeleteResult(objects=3), time=at(0)).termination_message()
    done = classify(job("a"), [beside(ended(message))], {}, moment(90), START_DEADLINE)
    assert isinstance(done, Succeeded), "the pod still runs, the mover has ended"
    assert done.payload == DeleteResult(objects=3)
    failed = classify(job("a"), [beside(ended("", 1))], {}, moment(90), START_DEADLINE)
    assert isinstance(failed, JobFailed)
    assert failed.unreported
    lingering = observation([job("a")], {"a": [beside(ended(message))]})
    assert lingering.lingering("a")
    assert not observation([job("a")], {"a": [beside({"running": {}})]}).lingering("a")
    assert not observation([job("a")], {"a": [beside(ended(message), phase="Succeeded")]}).lingering("a")
    assert not observation([job("a", condition="Complete")], {"a": [beside(ended(message))]}).lingering("a")


def test_a_pod_whose_container_is_not_reported_yet_is_starting() -> None:
    """Only the injected one is: it must not be taken for ours."""
    early = pod("a", {}, containerStatuses=[PROXY_RUNS])
    assert isinstance(classify(job("a"), [early], {}, moment(5), START_DEADLINE), Starting)


@pytest.mark.parametrize(
    ("type_", "status", "ends"),
    [
        ("Complete", "True", True),
        ("Failed", "True", True),
        ("Complete", "False", False),
        ("Failed", "Unknown", False),
        ("Suspended", "True", False),
        ("FailureTarget", "True", False),
    ],
)
def test_which_condition_ends_a_job(type_: str, status: str, ends: bool) -> None:
    """FailureTarget comes first: the pods still run."""
    condition = {"type": type_, "status": status}
    assert finished({"status": {"conditions": [condition]}}) == (condition if ends else None)


def test_a_pod_that_runs_although_its_job_has_ended_still_runs() -> None:
    """The Job controller counts it as failed; its node does not answer, for example."""
    running = pod("a", {"running": {"startedAt": at(0)}})
    assert isinstance(classify(job("a", condition="Failed"), [running], {}, moment(5), START_DEADLINE), Running)
    waits = pod("a", {"waiting": {"reason": "ContainerCreating"}}, phase="Pending")
    assert isinstance(classify(job("a", condition="Failed"), [waits], {}, moment(5), START_DEADLINE), NoResult)


def test_only_a_ready_pod_that_stays_gets_a_signal() -> None:
    def ready(reported: bool, *, deleted: bool) -> bool:
        found = pod("a", {"running": {"startedAt": at(0)}})
        found["status"]["containerStatuses"][0]["ready"] = reported
        if deleted:
            found["metadata"]["deletionTimestamp"] = at(1)
        state = classify(job("a"), [found], {}, moment(5), START_DEADLINE)
        assert isinstance(state, Running)
        return state.ready

    assert ready(True, deleted=False)
    assert not ready(False, deleted=False)
    assert not ready(True, deleted=True)
    assert not ready(False, deleted=True)


def test_what_is_seen_of_the_jobs_of_an_object() -> None:
    running = pod("new", {"running": {"startedAt": at(0)}})
    deleting = job("new", "verify", created=2)
    deleting["metadata"]["deletionTimestamp"] = at(3)
    jobs = [job("newer", "snapshot", created=3), job("old", "snapshot", created=1), deleting, job("none", "delete")]
    seen = observation(jobs, {"new": [running], "lost": [running]})
    assert seen.of_command("snapshot") == ("old", "newer")
    assert (seen.of_command("verify"), seen.of_command("prove")) == (("new",), ())
    assert [name for name in ("new", "old", "lost", "absent") if seen.gone(name)] == ["absent"]
    assert [name for name in ("new", "old", "lost", "absent") if seen.stopping(name)] == ["new"]


@pytest.mark.parametrize(("reason", "again"), [("OutOfMemory", False), ("JobFailed", True), ("PodNotStarted", True)])
def test_a_third_attempt_is_made_of_all_but_those_that_ran_out_of_memory(reason: str, again: bool) -> None:
    assert may_retry(SNAPSHOT, Failure(reason=reason, message="", retryable=True), 2) == again


@pytest.mark.parametrize(
    ("said", "says"),
    [({"message": "panic"}, "(panic)"), ({"reason": "Error"}, "(Error)"), ({}, "(no message)")],
)
def test_the_last_word_of_a_container_is_in_the_failure(said: Object, says: str) -> None:
    died = pod("a", {"terminated": {"exitCode": 1, "finishedAt": at(30), **said}}, phase="Failed")
    state = classify(job("a"), [died], {}, moment(40), START_DEADLINE)
    assert isinstance(state, JobFailed)
    assert says in state.failure.message


@pytest.mark.parametrize(("code", "began"), [(1, True), (125, True), (126, False), (127, False), (128, False)])
def test_which_exit_codes_say_that_the_program_never_began(code: int, began: bool) -> None:
    """Then nothing was changed, and no inspection is needed."""
    died = pod("a", {"terminated": {"exitCode": code, "finishedAt": at(30)}}, phase="Failed")
    state = classify(job("a"), [died], {}, moment(40), START_DEADLINE)
    assert isinstance(state, JobFailed)
    assert state.unreported == began


def test_a_container_that_ends_well_without_a_result_is_not_restarted() -> None:
    """The kubelet restarts only one that fails."""
    restarting = job("a", template={"spec": {"restartPolicy": "OnFailure"}})
    silent = pod("a", ended("", code=0))
    assert isinstance(classify(restarting, [silent], {}, moment(40), START_DEADLINE), JobFailed)
