"""The plan of a Snapshot that has started: every state of its Jobs has a decision, and it always ends within its
deadline."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocore_crds import conditions as c
from ocore_crds.commands.table import SNAPSHOT
from ocore_crds.protocol import Failure
from ocore_crds.stored.manifest import Identity
from ocore_operator import clock
from ocore_operator.engine.queue import RECONCILE_TIMEOUT
from ocore_operator.frame.actions import StopJob, Wait
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing.outcome import LOST_AFTER
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot.plan_attempts import FINAL, STOP_WITHIN, decide
from ocore_operator.snapshot.world import Action, Finish, GiveUp, Inspect, NextAttempt, Start
from ocore_operator.snapshot.world import World as Seen
from support.operator.attempts import DIED, RESULT
from support.operator.objects import SETTINGS, UID, at, job, moment, observation, pod, snapshot, started
from support.operator.terminal_snapshot import RUNNING, said

NOT_FOUND = Failure(reason="SnapshotNotFound", message="no manifest")


def name(attempt: int) -> str:
    return job_name("snapshot", UID, attempt)


def inspection(attempt: int, number: int) -> str:
    return job_name("inspect", UID, f"{attempt}-{number}")


def decided(
    snap: Snapshot, jobs: dict[str, Object | None] | None = None, *, seconds: float = 60, **options: Any
) -> Action:
    """`jobs`: Job name → state of its container, None where it has no pod."""
    jobs = jobs or {}
    found = [job(n, "inspect" if n.startswith("inspect") else "snapshot") for n in jobs]
    pods = {}
    for n, state in jobs.items():
        if state is not None:
            over = "terminated" in state
            pods[n] = [pod(n, state, phase="Failed" if over else "Running")]
    return decide(Seen(snap, moment(seconds), SETTINGS, observation(found, pods, seconds=seconds, **options)))


def test_it_begins_with_a_job() -> None:
    assert decided(snapshot(status=started())) == Start(1)


def test_a_given_id_may_be_in_the_store_already() -> None:
    snap = snapshot({"id": UID}, started(attempt=0))
    assert decided(snap) == Inspect("0-1")
    found = decided(snap, {inspection(0, 1): said(RESULT)})
    assert isinstance(found, Finish)
    assert found.imported
    assert decided(snap, {inspection(0, 1): said(NOT_FOUND)}) == NextAttempt(1, None)
    denied = Failure(reason="StoreAccessDenied", message="403")
    assert decided(snap, {inspection(0, 1): said(denied)}) == GiveUp(denied, stored=False)


@pytest.mark.parametrize(
    "reason", ["StoreAccessDenied", "StoreUnreachable", "Corrupt", "ManifestTooLarge", "JobFailed"]
)
@pytest.mark.parametrize("retryable", [True, False])
def test_row_32_an_id_that_cannot_be_searched_is_never_dumped(reason: str, retryable: bool) -> None:
    """A Snapshot of Git on a rebuilt cluster. Where the store cannot say whether it has that id, today's data must not
    be dumped under yesterday's name. `Corrupt` is also the manifest of another environment or snapshot under this
    key."""
    snap = snapshot({"id": UID}, started(attempt=0))
    failure = Failure(reason=reason, message="no answer", retryable=retryable)
    failed: dict[str, Object | None] = {}
    for number in range(1, SNAPSHOT.attempts + 1):
        failed[inspection(0, number)] = said(failure)
        decision = decided(snap, dict(failed))
        if retryable and number < SNAPSHOT.attempts:
            assert decision == Inspect(f"0-{number + 1}")
        else:
            assert decision == GiveUp(failure, stored=False)


def test_row_32_an_inspection_that_leaves_no_result_dumps_nothing() -> None:
    snap = snapshot({"id": UID}, started(attempt=0))
    assert not isinstance(decided(snap, {inspection(0, 1): RUNNING}), NextAttempt | Start)
    late = decided(snap, seconds=10**6)
    assert not isinstance(late, NextAttempt | Start)


def test_the_result_ends_it() -> None:
    decision = decided(snapshot(status=started(jobName=name(1))), {name(1): said(RESULT)})
    assert decision == Finish(RESULT, clean=True, pod=f"{name(1)}-x")
    second = decided(snapshot(status=started(attempt=2, jobName=name(2))), {name(2): said(RESULT)})
    assert isinstance(second, Finish)
    assert not second.clean


def test_what_runs_is_waited_for() -> None:
    decision = decided(snapshot(status=started()), {name(1): RUNNING})
    assert isinstance(decision, Wait)
    assert decision.job == name(1)
    assert decision.pod == f"{name(1)}-x"


@pytest.mark.parametrize("job_name_known", [name(1), None])
def test_a_lost_job_is_looked_for_in_the_store(job_name_known: str | None) -> None:
    """Its TTL or a person deleted it first: the store knows the result."""
    snap = snapshot(status=started(jobName=job_name_known))
    if job_name_known is None:
        assert decided(snap) == Start(1)  # not created yet, as far as is known: the fixed name makes that safe
        return
    assert decided(snap) == Inspect("1-1")
    assert decided(snap, {inspection(1, 1): said(RESULT)}) == Finish(RESULT, clean=False)
    again = decided(snap, {inspection(1, 1): said(NOT_FOUND)})
    assert isinstance(again, NextAttempt)
    assert again.attempt == 2


def test_a_job_that_died_silently_may_have_written_the_manifest() -> None:
    snap = snapshot(status=started(jobName=name(1)))
    assert decided(snap, {name(1): DIED}) == Inspect("1-1")
    assert decided(snap, {name(1): DIED, inspection(1, 1): said(RESULT)}) == Finish(RESULT, clean=False)
    assert isinstance(decided(snap, {name(1): DIED, inspection(1, 1): said(NOT_FOUND)}), NextAttempt)


def test_another_attempts_manifest_counts() -> None:
    exists = Failure(reason="ManifestExists", message="another attempt has written it")
    snap = snapshot(status=started(attempt=2, jobName=name(2)))
    assert decided(snap, {name(2): said(exists)}) == Inspect("2-1")


def test_a_temporary_failure_is_retried_a_limited_number_of_times() -> None:
    failure = Failure(reason="DatabaseUnreachable", message="refused", retryable=True)
    for attempt in range(1, SNAPSHOT.attempts):
        snap = snapshot(status=started(attempt=attempt, jobName=name(attempt)))
        assert decided(snap, {name(attempt): said(failure)}) == NextAttempt(attempt + 1, failure)
    last = snapshot(status=started(attempt=SNAPSHOT.attempts, jobName=name(SNAPSHOT.attempts)))
    decision = decided(last, {name(SNAPSHOT.attempts): said(failure)})
    assert isinstance(decision, GiveUp)
    assert decision.stored
    assert decision.failure.reason == "DatabaseUnreachable"


def test_the_users_failure_is_final_at_once() -> None:
    failure = Failure(reason="NoSpace", message="a volume is full")
    assert decided(snapshot(status=started(jobName=name(1))), {name(1): said(failure)}) == GiveUp(failure, stored=True)


def test_a_drained_node_is_no_cancellation() -> None:
    """SIGTERM that we did not send: the mover says Cancelled, and another attempt is made."""
    decision = decided(
        snapshot(status=started(jobName=name(1))), {name(1): said(Failure(reason="Cancelled", message="SIGTERM"))}
    )
    assert isinstance(decision, NextAttempt)


def test_row_102_a_pod_on_a_node_that_does_not_respond_waits_for_a_person() -> None:
    """It may still write: no other attempt starts before it is gone, and the condition says how to get there."""
    lost = pod(name(1), RUNNING)
    lost["metadata"]["deletionTimestamp"] = at(10)
    snap, found = snapshot(status=started(jobName=name(1))), [job(name(1))]

    def waits(seconds: float) -> Wait:
        seen = observation(found, {name(1): [lost]}, seconds=seconds)
        decision = decide(Seen(snap, moment(seconds), SETTINGS, seen))
        assert isinstance(decision, Wait)
        return decision

    assert not waits(10 + LOST_AFTER - 1).stalled
    decision = waits(10 + LOST_AFTER)
    assert decision.stalled
    assert decision.reason == "NodeNotResponding"
    assert "kubectl delete node node1" in decision.message
    assert "kubectl taint node node1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute" in decision.message


def test_row_102_its_deadline_still_ends_it() -> None:
    lost = pod(name(1), RUNNING)
    lost["metadata"]["deletionTimestamp"] = at(10)
    seen = observation([job(name(1))], {name(1): [lost]}, seconds=101)
    decision = decide(Seen(snapshot(status=started(100, jobName=name(1))), moment(101), SETTINGS, seen))
    assert isinstance(decision, StopJob)


def test_row_102_another_attempt_starts_once_the_pod_is_gone() -> None:
    """The reason that was shown is no failure of the attempt: the store is searched for its manifest first."""
    shown = {
        "type": "Reconciling", "status": "True", "reason": "NodeNotResponding", "message": "m",
        "lastTransitionTime": at(50),
    }  # fmt: skip
    snap = snapshot(status=started(jobName=name(1), conditions=[shown]))
    assert decided(snap) == Inspect("1-1")


@pytest.mark.parametrize("state", [RUNNING, {"waiting": {"reason": "ContainerCreating"}}])
def test_row_105_a_job_that_gives_way_is_stopped_and_another_attempt_follows(state: Object) -> None:
    why = Failure(reason=c.CLAIM_NEEDED, message="pod shop could not start", retryable=True)

    def gives_way(attempt: int) -> Action:
        found = observation([job(name(attempt))], {name(attempt): [pod(name(attempt), state)]})
        snap = snapshot(status=started(attempt=attempt, jobName=name(attempt)))
        return decide(Seen(snap, moment(60), SETTINGS, replace(found, gives_way={name(attempt): why})))

    for attempt in range(1, SNAPSHOT.attempts + 1):
        stop = gives_way(attempt)
        assert isinstance(stop, StopJob)
        assert stop.because.message.startswith(why.message)
        shown = remembered(stop.because)
        then = decided(snapshot(status=started(attempt=attempt, jobName=name(attempt), conditions=[shown])))
        if attempt < SNAPSHOT.attempts:
            assert then == NextAttempt(attempt + 1, why)
        else:
            assert isinstance(then, GiveUp)
            assert then.failure.reason == c.CLAIM_NEEDED


def test_the_deadline_stops_the_job_and_then_ends_it() -> None:
    snap = snapshot(status=started(100, jobName=name(1)))
    stop = decided(snap, {name(1): RUNNING}, seconds=101)
    assert isinstance(stop, StopJob)
    assert (stop.job, stop.because.reason) == (name(1), "DeadlineExceeded")
    late = decided(snap, {name(1): RUNNING}, seconds=101 + STOP_WITHIN)
    assert isinstance(late, GiveUp)
    assert late.failure.reason == "DeadlineExceeded"


def test_a_quota_is_named_at_the_deadline() -> None:
    refused = {
        "type": "Reconciling",
        "status": "True",
        "reason": "JobRefused",
        "message": "exceeded quota: no-jobs",
        "lastTransitionTime": at(0),
    }
    decision = decided(snapshot(status=started(30, conditions=[refused])), seconds=25)
    assert isinstance(decision, GiveUp)
    assert decision.failure.reason == "JobRefused"
    assert "exceeded quota" in decision.failure.message
    assert not decision.stored


def remembered(failure: Failure) -> Object:
    """The condition that shows why a Job is stopped, when the Job is gone."""
    return {
        "type": "Reconciling",
        "status": "True",
        "reason": failure.reason,
        "message": failure.message,
        "lastTransitionTime": at(0),
    }


def test_row_02_a_job_that_does_not_start_is_stopped_and_its_reason_outlives_it() -> None:
    waiting: Object = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    snap = snapshot(status=started(jobName=name(1)))
    stop = decided(snap, {name(1): waiting}, seconds=181)
    assert isinstance(stop, StopJob)
    assert stop.because.reason == "PodNotStarted"
    snap = snapshot(status=started(jobName=name(1), conditions=[remembered(stop.because)]))
    # First its pod goes, then the Job: at no moment is it anything else that it failed for.
    stopping = job(name(1))
    stopping["metadata"]["deletionTimestamp"] = at(181)
    with_pod = {name(1): [pod(name(1), waiting, phase="Pending")]}
    assert isinstance(decide(Seen(snap, moment(182), SETTINGS, observation([stopping], with_pod, seconds=182))), Wait)
    for left in ([stopping], []):
        gone = decide(Seen(snap, moment(182), SETTINGS, observation(left, seconds=182)))
        assert isinstance(gone, GiveUp)
        assert gone.failure.reason == stop.because.reason
        assert stop.because.message == gone.failure.message + FINAL


@pytest.mark.parametrize(
    "waiting",
    [
        {"waiting": {"reason": "RunContainerError", "message": "failed to start the task: context canceled"}},
        {"terminated": {"exitCode": 128, "reason": "StartError", "message": "failed to start: context canceled"}},
    ],
    ids=["waits", "ended"],
)
@pytest.mark.parametrize(("attempt", "end"), [(1, NextAttempt), (SNAPSHOT.attempts, GiveUp)])
def test_row_02_a_container_that_the_runtime_could_not_start_gets_another_attempt(
    waiting: Object, attempt: int, end: type[NextAttempt | GiveUp]
) -> None:
    """The kubelet was restarted in that moment. It has not reported the pod's end, so the Job is stopped first."""
    status = started(attempt=attempt, jobName=name(attempt))
    there = {name(attempt): [pod(name(attempt), waiting, phase="Pending")]}
    jobs = [job(name(attempt))]
    stop = decide(Seen(snapshot(status=status), moment(181), SETTINGS, observation(jobs, there, seconds=181)))
    assert isinstance(stop, StopJob)
    assert stop.because.reason == "PodNotStarted"
    snap = snapshot(status=status | {"conditions": [remembered(stop.because)]})
    after = decide(Seen(snap, moment(185), SETTINGS, observation([], seconds=185)))
    assert isinstance(after, end)
    said_then = after.because if isinstance(after, NextAttempt) else after.failure
    assert said_then is not None
    assert said_then.reason == "PodNotStarted"
    assert "context canceled" in said_then.message
    assert "may succeed" not in said_then.message


@pytest.mark.parametrize(("attempt", "end"), [(1, NextAttempt), (SNAPSHOT.attempts, GiveUp)])
def test_the_reason_of_an_attempt_outlives_its_job(attempt: int, end: type[NextAttempt | GiveUp]) -> None:
    """It has reported its failure, and a slow kubelet still shows its pod as running: the Job is stopped, and it is not
    lost."""
    failure = Failure(reason="DatabaseUnreachable", message="nowhere cannot be resolved", retryable=True)
    status = started(attempt=attempt, jobName=name(attempt))
    reported = {name(attempt): [pod(name(attempt), said(failure), phase="Running")]}
    jobs = [job(name(attempt))]
    stop = decide(Seen(snapshot(status=status), moment(20), SETTINGS, observation(jobs, reported, seconds=20)))
    assert isinstance(stop, StopJob)
    assert stop.because.reason == failure.reason
    snap = snapshot(status=status | {"conditions": [remembered(stop.because)]})
    after = decide(Seen(snap, moment(25), SETTINGS, observation([], seconds=25)))
    assert isinstance(after, end)
    said_then = after.because if isinstance(after, NextAttempt) else after.failure
    assert said_then is not None
    assert said_then.reason == failure.reason
    assert failure.message in said_then.message


def test_the_users_failure_is_final_although_its_pod_still_ends() -> None:
    """Its result is read from the log before its pod has ended, so the Job is stopped. Another attempt would say the
    same: a file that the database names is lost."""
    failure = Failure(reason="AttachmentsMissing", message="the database names 1 files.")
    status = started(jobName=name(1))
    reported = {name(1): [pod(name(1), said(failure), phase="Running")]}
    seen = observation([job(name(1))], reported, seconds=20)
    stop = decide(Seen(snapshot(status=status), moment(20), SETTINGS, seen))
    assert isinstance(stop, StopJob)
    snap = snapshot(status=status | {"conditions": [remembered(stop.because)]})
    after = decide(Seen(snap, moment(25), SETTINGS, observation([], seconds=25)))
    assert after == GiveUp(failure, stored=True)


@pytest.mark.parametrize("reason", ["WaitingForJobSlot", "JobRefused", "StoreNotReady"])
@pytest.mark.parametrize("message", ["all slots are taken.", "Job inspect-1-1 was refused: exceeded quota: no-jobs."])
def test_an_inspection_that_cannot_start_is_no_reason_to_end_without_it(reason: str, message: str) -> None:
    """The Job was lost, and the one that looks for its manifest waits: for a slot, or until a quota admits it. The
    manifest may be there."""
    waits = Failure(reason=reason, message=message)
    snap = snapshot(status=started(jobName=name(1), conditions=[remembered(waits)]))
    assert isinstance(decided(snap), Inspect)
    late = snapshot(status=started(100, jobName=name(1), conditions=[remembered(waits)]))
    end = decided(late, seconds=101 + STOP_WITHIN)
    assert isinstance(end, GiveUp)
    assert end.failure.reason == "DeadlineExceeded"
    assert (message in end.failure.message) == (reason != "StoreNotReady")


@dataclass
class World:
    """A cluster that does what is decided, and breaks what it likes."""

    jobs: dict[str, Object] = field(default_factory=dict)
    states: dict[str, Object] = field(default_factory=dict)


FATES = st.sampled_from(["well", "died", "failed", "retry", "vanish", "hang", "drained"])


@settings(max_examples=200, deadline=None)
@given(st.lists(FATES, min_size=1, max_size=12), st.booleans(), st.booleans())
def test_it_always_ends_within_its_deadline_and_a_minute(fates: list[str], given_id: bool, store_answers: bool) -> None:
    """Whatever becomes of its Jobs: terminal at the deadline + 60 s, never two attempts at once, at most
    SNAPSHOT.attempts."""
    status: Object = started(300, attempt=0 if given_id else 1)
    now, world, fate, written = 0.0, World(), iter(fates), False
    while True:
        assert now <= 360, "not terminal in time"
        snap = snapshot({"id": UID} if given_id else {}, status)
        pods = {n: [pod(n, s, phase="Failed" if "terminated" in s else "Running")] for n, s in world.states.items()}
        decision = decide(Seen(snap, moment(now), SETTINGS, observation(list(world.jobs.values()), pods, seconds=now)))
        match decision:
            case Finish():
                assert written or given_id
                return
            case GiveUp():
                return
            case Start(attempt=attempt):
                running = [n for n, s in world.states.items() if "running" in s]
                assert not running, "two attempts at once"
                assert 1 <= attempt <= SNAPSHOT.attempts
                world.jobs[name(attempt)] = job(name(attempt), created=now)
                status = {**status, "jobName": name(attempt)}
                what = next(fate, "hang")
                written = written or what == "well"
                states = {
                    "well": said(RESULT),
                    "died": DIED,
                    "failed": said(Failure(reason="DumpFailed", message="x")),
                    "retry": said(Failure(reason="DatabaseUnreachable", message="x", retryable=True)),
                    "drained": said(Failure(reason="Cancelled", message="x")),
                    "hang": RUNNING,
                }
                if what == "vanish":
                    del world.jobs[name(attempt)]
                else:
                    world.states[name(attempt)] = states[what]
            case NextAttempt(attempt=attempt):
                status = {**status, "attempt": attempt, "jobName": None}
            case Inspect(attempt=number):
                inspect = job_name("inspect", UID, number)
                world.jobs[inspect] = job(inspect, "inspect", created=now)
                answer = RESULT if written else NOT_FOUND
                unreachable = Failure(reason="StoreUnreachable", message="x", retryable=True)
                world.states[inspect] = said(answer if store_answers else unreachable)
            case StopJob(job=stopped):
                world.jobs.pop(stopped, None)
                world.states.pop(stopped, None)
            case Wait(seconds=seconds):
                assert 0 < seconds <= 10
                now += seconds
        now += 0.5


def test_settings_leave_room_for_the_stop() -> None:
    """A Job's grace period fits between the deadline and the promise of a terminal state 60 s later."""
    assert 30 < STOP_WITHIN < 60
    assert RECONCILE_TIMEOUT > 60


def test_row_65_what_is_found_in_the_store_is_adopted_once_it_is_whole() -> None:
    """It is asked for again until the deadline, and nothing is dumped or deleted."""
    snap = snapshot({"id": UID}, started(attempt=0))
    missing = said(Failure(reason=c.OBJECTS_MISSING, message="pack-0.tar is missing", retryable=True))
    waits = decided(snap, {inspection(0, 1): missing}, seconds=61)
    assert isinstance(waits, Wait)
    assert (waits.reason, "pack-0.tar" in waits.message) == (c.OBJECTS_MISSING, True)
    jobs: dict[str, Object | None] = {inspection(0, n): missing for n in range(1, 6)}
    assert decided(snap, jobs, seconds=200) == Inspect("0-6")
    assert decided(snap, jobs | {inspection(0, 6): said(RESULT)}, seconds=200) == Finish(
        RESULT, clean=False, imported=True
    )
    deadline = clock.parse(snap.status.deadline or "")
    late = decided(snap, jobs, seconds=(deadline - moment(0)).total_seconds() - 1)
    assert isinstance(late, GiveUp)
    assert (late.failure.reason, late.stored) == (c.OBJECTS_MISSING, False)


def test_row_82_what_is_of_another_project_is_not_adopted() -> None:
    """Another project can give an Environment the same id, and a Snapshot the id of one of these."""
    snap = snapshot({"id": UID}, started(attempt=0))
    source = snap.status.source
    assert source is not None
    mine = Identity(
        environment_id=UID,
        environment_name="shop",
        environment_type="production",
        project_id=source.project_id,
        snapshot_id=UID,
    )
    adopted = decided(snap, {inspection(0, 1): said(RESULT.model_copy(update={"identity": mine}))})
    assert isinstance(adopted, Finish)
    other = RESULT.model_copy(update={"identity": mine.model_copy(update={"project_id": UID})})
    refused = decided(snap, {inspection(0, 1): said(other)})
    assert isinstance(refused, GiveUp)
    assert (refused.failure.reason, refused.stored) == (c.OTHER_PROJECT, False)
