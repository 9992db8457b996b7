"""Attempts of a command: what follows from the states of its Jobs, and when the next one begins. Pure.

A plan asks for an attempt and gets one of four answers: it is due, something is waited for, it is done, or it has
failed for good. Only this module reads the state of a Job.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from ocore_crds import conditions as c
from ocore_crds.commands.base import Command
from ocore_crds.protocol import Failure
from ocore_operator import clock
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing.outcome import (
    POLL,
    Absent,
    JobFailed,
    NoResult,
    Observation,
    Running,
    Starting,
    Succeeded,
    finished,
    may_retry,
    mover_ended,
    pod_ended,
)

ResultT = TypeVar("ResultT")

#: Seconds between two checks whether a Job has stopped.
STOP_PAUSE = 1.0
#: Seconds before the deadline of a Job at which the reason why it has not started is still known.
BEFORE_DEADLINE = 15.0


# --- answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Due:
    """The attempt of that number has no Job: it is time to create it. `failure`: of the attempt before it."""

    number: int
    failure: Failure | None = None


@dataclass(frozen=True)
class Waits:
    """A Job starts, runs or is being deleted, or the pause after a failure is not over."""

    seconds: float
    job: str
    #: Of a condition; empty: the Job only starts or runs.
    reason: str
    message: str
    #: Its pod; empty until its container runs.
    pod: str = ""
    #: Its readiness probe succeeded: it waits for its signal.
    ready: bool = False
    #: What its pod waits for; empty once its container runs.
    starting: str = ""
    #: An attempt has failed, and the pause after it is not over. Reason and message are those of the failure.
    paused: bool = False

    def says(self, reason: str, message: str) -> tuple[str, str]:
        """Reason and message for people. These ones while the Job only starts or runs."""
        return (self.reason, self.message) if self.reason else (reason, message)


@dataclass(frozen=True)
class Done(Generic[ResultT]):
    """A Job has ended with the result of its command. `began`: when it was created; empty where it is gone."""

    result: ResultT
    finished: str
    number: int
    job: str
    began: str


@dataclass(frozen=True)
class Failed:
    """A Job has failed, and no further attempt is made. `unreported`: it ran and ended without a report. `live`: a pod
    of it may still act."""

    failure: Failure
    finished: str
    number: int
    job: str
    began: str
    unreported: bool = False
    live: bool = False


#: What follows for a command.
Answer = Due | Waits | Done[ResultT] | Failed
#: Seconds after an attempt that has failed until the next one; None: no other one is made.
Pause = Callable[[Failed], float | None]


def once(_: Failed) -> None:
    """A pause of a command that is not repeated."""


def soon(command: Command[Any]) -> Pause:
    """No pause: the command is repeated at once, as often as its row says."""
    return lambda failed: 0.0 if may_retry(command, failed.failure, failed.number) else None


# --- attempts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series(Generic[ResultT]):
    """All attempts of `command` for the object of that uid; their names differ by the number. `result`: what one
    reports. `what`: an attempt, as the subject of a message."""

    command: Command[Any]
    uid: str
    result: type[ResultT]
    what: str
    #: Stands before the number in the names.
    prefix: str = ""
    #: A pod that has not started in time may still do so: an autoscaler may be slow.
    patient: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError where the table of commands has another result."""
        if self.result not in self.command.results:
            raise ValueError(f"{self.command.name} does not report a {self.result.__name__}")

    def attempt(self, number: int) -> str:
        """What the name of that attempt's Job ends with."""
        return f"{self.prefix}{number}"

    def job(self, number: int) -> str:
        """Name of that attempt's Job."""
        return job_name(self.command.name, self.uid, self.attempt(number))

    def newest(self, seen: Observation) -> int:
        """Number of the newest attempt that has a Job; 0: none has."""
        start = job_name(self.command.name, self.uid, self.prefix)
        numbers = [name.removeprefix(start) for name in seen.of_command(self.command.name)]
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    def at(self, seen: Observation, number: int) -> Answer[ResultT]:
        """What the Job of that attempt says, without another attempt."""
        name, job = self.job(number), seen.jobs.get(self.job(number))
        began = str(job["metadata"]["creationTimestamp"]) if job is not None else ""
        match seen.state(name):
            case Absent():
                return Due(number)
            case Starting(reason=kind, message=message, condition=reason, text=text):
                return Waits(
                    POLL, name, reason or "", f"Job {name} is starting: {text}", starting=f"{message} ({kind})."
                )
            case Running(pod=pod, ready=ready, lost=lost):
                reason = c.NODE_NOT_RESPONDING if lost else ""
                return Waits(POLL, name, reason, lost or f"Job {name} runs.", pod, ready=ready)
            case Succeeded(payload=payload, finished=at) if isinstance(payload, self.result):
                return Done(payload, at, number, name, began)
            case Succeeded(payload=payload, finished=at):
                message = (
                    f"{self.what} reported a {type(payload).__name__} in place of a {self.result.__name__}. Set"
                    " OCORE_MOVER_IMAGE to the operator's version."
                )
                failure, unreported = Failure(reason=c.INTERNAL_ERROR, message=message), True
            case NoResult(message=why, finished=at):
                message = f"{self.what} left no result: {why}."
                failure, unreported = Failure(reason=c.JOB_LOST, message=message, retryable=True), True
            case JobFailed(failure=failure, finished=at, unreported=unreported):
                pass
        return Failed(failure, at, number, name, began, unreported, live=bool(seen.live_pods(name)))

    def next(self, seen: Observation, now: datetime, pause: Pause, number: int | None = None) -> Answer[ResultT]:
        """What is to be done for the command. `number`: of the attempt that the status records; None: the newest one
        that has a Job."""
        number = max(self.newest(seen), 1) if number is None else number
        found = self.at(seen, number)
        if isinstance(found, (Due, Done)):
            return found
        if seen.stopping(found.job):
            if isinstance(found, Waits) and found.reason == c.NODE_NOT_RESPONDING:
                return found
            return Waits(STOP_PAUSE, found.job, "", f"Job {found.job} is being deleted.")
        if isinstance(found, Waits):
            return found
        if self.patient and _may_start(seen, found, now):
            text = f"Job {found.job} has not started yet: {found.failure.message}"
            return Waits(POLL, found.job, c.JOB_PENDING, text)
        seconds = pause(found)
        if seconds is None:
            return found
        left = seconds - clock.seconds_since(found.finished, now) if seconds and found.finished else 0.0
        if left > 0:
            return Waits(left, found.job, found.failure.reason, found.failure.message, paused=True)
        return Due(number + 1, found.failure)


def _may_start(seen: Observation, failed: Failed, now: datetime) -> bool:
    late = failed.failure.reason == c.POD_NOT_STARTED and failed.failure.retryable and failed.live
    job = seen.jobs.get(failed.job)
    if not late or job is None:
        return False
    return clock.seconds_since(failed.began, now) < float(job["spec"]["activeDeadlineSeconds"]) - BEFORE_DEADLINE


# --- the end of a Job ------------------------------------------------------------------------------------------------


def acts(seen: Observation, names: Iterable[str], *, with_ended: bool = True) -> str | None:
    """The first of these Jobs that may still act: it has not ended, or a pod of it has not; None: none may. One that
    has ended is kept for its log, and because the number of the next attempt is one more than that of the last Job.
    `with_ended`: also one whose program has ended, which neither the Job nor its pod shows yet."""
    return next((n for n in names if _acts(seen, n) and (with_ended or not _program_ended(seen, n))), None)


def is_stopped(seen: Observation, name: str) -> bool:
    """Whether the Job is deleted or is being deleted: what is left is to wait for its pods."""
    return name not in seen.jobs or seen.stopping(name)


def _acts(seen: Observation, name: str) -> bool:
    job = seen.jobs.get(name)
    return bool(seen.live_pods(name)) or (job is not None and finished(job) is None)


def _program_ended(seen: Observation, name: str) -> bool:
    pods = seen.pods.get(name, ())
    return bool(pods) and all(pod_ended(pod) or mover_ended(pod) for pod in pods)
