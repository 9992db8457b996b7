"""What is to be done next for a Snapshot that has started: a pure decision over its status, its Jobs and the time.

::

    attempt n ──► Succeeded ─────────────────────────────────────────────► Finish
              ├─► failed, and said why ──► retryable and time left ──► attempt n+1, else GiveUp
              └─► died, lost, or ManifestExists ──► inspect ──► manifest ──► Finish
                                                         └──► none ────► attempt n+1, else GiveUp
    deadline ──► Stop the Job ──► GiveUp (at the latest STOP_WITHIN seconds after the deadline)
    START_MARGIN before it, and the Job does not run ──► GiveUp

Attempt 0 exists only where spec.id is given: the store may hold that snapshot already (a rebuilt cluster), so it is inspected first.
"""

from dataclasses import dataclass
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, SnapshotResult
from ocore_operator import clock
from ocore_operator.jobs.outcome import (
    MAX_ATTEMPTS,
    Absent,
    JobFailed,
    JobState,
    NoResult,
    Observation,
    Running,
    Starting,
    Succeeded,
    may_retry,
)
from ocore_operator.jobs.shape import job_name
from ocore_operator.kube.resources import Snapshot

#: Seconds after the deadline in which a running Job must be gone; after them the Snapshot is Failed whatever becomes of the Job.
STOP_WITHIN = 45.0
#: An attempt that has less time than this is not begun.
LEAST_TIME = 10.0
#: A Job that does not run so many seconds before the deadline is given up: what it waits for is known as long as its pod is there, and
#: its program would end at once (jobs.MARGIN). The Job controller takes the pod away at the deadline.
START_MARGIN = 5.0
#: Why a Job that never ran was stopped by us: it is not lost, and there is nothing to look for in the store.
STOPPED_FOR = (c.POD_NOT_STARTED, c.JOB_REFUSED)
#: Seconds between two looks where events tell of every change anyway.
POLL = 10.0


@dataclass(frozen=True)
class Start:
    """Creates the Job of this attempt."""

    attempt: int


@dataclass(frozen=True)
class NextAttempt:
    """Writes the attempt's number down; its Job comes next."""

    attempt: int
    because: Failure | None


@dataclass(frozen=True)
class Inspect:
    """Creates an inspect Job: is there a manifest?"""

    attempt: str


@dataclass(frozen=True)
class Stop:
    """Deletes a Job that must not go on; `because` is written down first, since nothing else remembers it once the Job is gone."""

    job: str
    because: Failure


@dataclass(frozen=True)
class Wait:
    """Nothing to do until something happens, or for so many seconds."""

    reason: str
    message: str
    seconds: float = POLL
    #: The pod whose log is followed.
    pod: str = ""
    #: Name of the Job to be written down, so that its loss is noticed.
    job: str = ""


@dataclass(frozen=True)
class Finish:
    """The manifest is there. `clean`: nothing but what it names can be in the store."""

    result: SnapshotResult
    clean: bool
    pod: str = ""
    imported: bool = False


@dataclass(frozen=True)
class GiveUp:
    """It has failed. `stored`: something of it may be in the store."""

    failure: Failure
    stored: bool


Decision = Start | NextAttempt | Inspect | Stop | Wait | Finish | GiveUp


@dataclass(frozen=True)
class _Case:
    snapshot: Snapshot
    seen: Observation
    now: datetime

    @property
    def attempt(self) -> int:
        return self.snapshot.status.attempt

    @property
    def job(self) -> str:
        return job_name("snapshot", self.snapshot.meta.uid, self.attempt)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        deadline = self.snapshot.status.deadline
        return clock.seconds_since(clock.text(self.now), clock.parse(deadline)) if deadline is not None else 0.0

    @property
    def stored(self) -> bool:
        """Whether any attempt may have stored something."""
        return self.attempt > 1 or self.snapshot.status.job_name is not None or self.job in self.seen.jobs


def decide(snapshot: Snapshot, seen: Observation, now: datetime) -> Decision:
    """The next thing to do. status.attempt, startedAt and deadline are set."""
    case = _Case(snapshot, seen, now)
    if case.attempt == 0:
        return _import(case)
    stopped = _stopped_for(case)
    if stopped is not None:
        return _again(case, stopped)
    state = seen.state(case.job)
    match state:
        case Succeeded(payload=SnapshotResult() as result):
            pod = seen.pods.get(case.job, ({},))[-1].get("metadata", {}).get("name", "")
            return Finish(result, clean=case.attempt == 1, pod=pod)
        case Absent():
            return _absent(case)
        case Starting() | Running():
            return _under_way(case, state)
        case JobFailed():
            return _broken(case, state)
        case NoResult(message=message):
            return _lost(case, f"The Job left no result: {message}.")
        case _:
            return _lost(case, "The Job answered with something that is no snapshot's result.")


def _import(case: _Case) -> Decision:
    found = _inspection(case)
    if isinstance(found, SnapshotResult):
        return Finish(found, clean=False, imported=True)
    if isinstance(found, Failure):
        if found.reason == c.SNAPSHOT_NOT_FOUND:
            return NextAttempt(1, None)
        return GiveUp(found, stored=False)
    if case.left < LEAST_TIME:
        return GiveUp(_too_late(case), stored=False)
    return found


def _absent(case: _Case) -> Decision:
    if case.snapshot.status.job_name == case.job:
        return _lost(case, "The Job was deleted before its result was read.")
    if case.left < LEAST_TIME:
        return GiveUp(_too_late(case), stored=case.stored)
    return Start(case.attempt)


def _stopped_for(case: _Case) -> Failure | None:
    """Why we are stopping or have stopped the Job, where it never ran: what its remains look like meanwhile does not matter."""
    if case.snapshot.status.job_name != case.job:
        return None
    if case.job in case.seen.jobs and not case.seen.stopping(case.job):
        return None
    found = c.find(case.snapshot.status.conditions, c.RECONCILING)
    if found is None or found.reason not in STOPPED_FOR:
        return None
    return Failure(reason=found.reason, message=found.message)


def _under_way(case: _Case, state: Starting | Running) -> Decision:
    if isinstance(state, Starting):
        return _starting(case, state)
    if case.left <= 0:
        if case.left < -STOP_WITHIN:
            return GiveUp(_too_late(case), stored=True)
        if case.job in case.seen.jobs and not case.seen.stopping(case.job):
            return Stop(case.job, _too_late(case))
        return Wait(c.DEADLINE_EXCEEDED, "The deadline is over; the Job is being stopped.", 1.0, job=case.job)
    soon = max(min(POLL, case.left), 0.5)
    return Wait(c.RUNNING, f"Attempt {case.attempt} runs in the Job {case.job}.", soon, pod=state.pod, job=case.job)


def _starting(case: _Case, state: Starting) -> Decision:
    left = case.left - START_MARGIN
    if left <= 0:
        # Should its pod start after all, it is stopped, and what it stores is removed, before `residue` is None.
        return GiveUp(_too_late(case, state), stored=True)
    message = f"The Job {case.job} starts: {state.message} ({state.reason})."
    return Wait(c.RUNNING, message, max(min(POLL, left), 0.5), job=case.job)


def _broken(case: _Case, state: JobFailed) -> Decision:
    failure = state.failure
    if failure.reason == c.MANIFEST_EXISTS:
        return _look_for_manifest(case, failure)
    if failure.reason == c.CANCELLED:
        # Not by us: that goes through the deletion. A node that was drained, or a person who deleted the pod.
        failure = Failure(reason=c.JOB_FAILED, message=f"The Job's pod was stopped. {failure.message}", retryable=True)
    if state.unreported:
        return _look_for_manifest(case, failure)
    return _again(case, failure)


def _lost(case: _Case, message: str) -> Decision:
    return _look_for_manifest(case, Failure(reason=c.JOB_LOST, message=message, retryable=True))


def _look_for_manifest(case: _Case, failure: Failure) -> Decision:
    """The attempt may have written its manifest before it was lost."""
    if case.left < -STOP_WITHIN:
        return _again(case, failure)
    found = _inspection(case)
    if isinstance(found, SnapshotResult):
        return Finish(found, clean=False)
    if isinstance(found, Failure):
        if found.reason == c.SNAPSHOT_NOT_FOUND:
            return _again(case, failure)
        words = f"{failure.message} Nor could the store be asked for its manifest: {found.message}"
        return GiveUp(Failure(reason=failure.reason, message=words), stored=True)
    return found


def _again(case: _Case, failure: Failure) -> Decision:
    """Another attempt, or the end. A Job that has not ended by itself is stopped before either."""
    job = case.seen.jobs.get(case.job)
    if job is not None and case.seen.live_pods(case.job) and case.left > -STOP_WITHIN:
        if not case.seen.stopping(case.job):
            return Stop(case.job, failure)
        return Wait(failure.reason, failure.message, 1.0, job=case.job)
    if not failure.retryable:
        return GiveUp(failure, stored=case.stored)
    if case.left < LEAST_TIME:
        return GiveUp(_too_late(case), stored=True)
    if may_retry(failure, case.attempt):
        return NextAttempt(case.attempt + 1, failure)
    if case.attempt > 1:
        failure = failure.model_copy(update={"message": f"Attempt {case.attempt} of {MAX_ATTEMPTS}: {failure.message}"})
    return GiveUp(failure, stored=case.stored)


def _inspection(case: _Case) -> SnapshotResult | Failure | Inspect | Wait:
    """What the inspect Jobs of this attempt say."""
    start = job_name("inspect", case.snapshot.meta.uid, f"{case.attempt}-")
    names = [n for n in case.seen.of_command("inspect") if n.startswith(start)]
    if not names:
        return Inspect(f"{case.attempt}-1")
    number = max(int(n.removeprefix(start)) for n in names)
    state: JobState = case.seen.state(f"{start}{number}")
    if isinstance(state, Succeeded) and isinstance(state.payload, SnapshotResult):
        return state.payload
    if isinstance(state, (Starting, Running, Absent)):
        return Wait(c.RUNNING, "An inspect Job asks the store whether the snapshot is there.")
    failure = _of(state)
    if failure.reason == c.SNAPSHOT_NOT_FOUND or number >= MAX_ATTEMPTS or not failure.retryable:
        return failure
    return Inspect(f"{case.attempt}-{number + 1}")


def _of(state: JobState) -> Failure:
    if isinstance(state, JobFailed):
        return state.failure
    return Failure(reason=c.JOB_LOST, message="The inspect Job left no result.", retryable=True)


def _too_late(case: _Case, state: Starting | None = None) -> Failure:
    """Why there is no time left: what it waited for, where it never ran."""
    seconds = case.snapshot.spec.timeout_seconds
    if state is not None:
        message = f"The Job did not start within {seconds} s: {state.message} ({state.reason})."
        return Failure(reason=c.POD_NOT_STARTED, message=message)
    if not case.stored:
        waited = c.find(case.snapshot.status.conditions, c.RECONCILING)
        if waited is not None and waited.reason in (c.JOB_REFUSED, c.WAITING_FOR_JOB_SLOT):
            return Failure(reason=waited.reason, message=f"Not within {seconds} s: {waited.message}")
    message = f"The snapshot was not complete within {seconds} s (spec.timeoutSeconds). Give it more time."
    return Failure(reason=c.DEADLINE_EXCEEDED, message=message)
