"""What became of a Job: one state from the Job, its pods and their events."""

from dataclasses import dataclass
from datetime import datetime

from ocore_crds.protocol import Failure, Payload

from .context import Context
from .resources import Object, Resource

#: A failure that is not the user's doing gets so many attempts, the first one counted.
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Absent:
    """No such Job: not created yet, or removed by its TTL or by somebody. The caller's status says which."""


@dataclass(frozen=True)
class Starting:
    """The Job is there, its container does not run (or, of a Job that may restart it, not again) yet."""

    reason: str
    message: str
    since: str


@dataclass(frozen=True)
class Running:
    """The container runs. `ready`: its readiness probe succeeded (a switch Job: it waits for the signal)."""

    pod: str
    node: str
    since: str
    ready: bool
    restarts: int


@dataclass(frozen=True)
class Succeeded:
    """It ended well and its result was read."""

    payload: Payload
    finished: str


@dataclass(frozen=True)
class Ended:
    """It ended, or its pod is gone, and nobody read a result: an inspect Job has to look."""

    message: str


@dataclass(frozen=True)
class Broken:
    """It failed. `failure.retryable` is true as well for causes of the infrastructure (evicted, node lost, out of memory once …)."""

    failure: Failure
    finished: str


JobState = Absent | Starting | Running | Succeeded | Ended | Broken


@dataclass(frozen=True)
class Observation:
    """All Jobs of one object of ours with their pods, read in two requests."""

    jobs: dict[str, Object]
    pods: dict[str, tuple[Object, ...]]
    now: datetime
    start_deadline: float

    def state(self, job_name: str) -> JobState:
        """What became of the Job of that name."""
        raise NotImplementedError

    def of_command(self, command: str) -> tuple[str, ...]:
        """Names of the Jobs that run the command, oldest first."""
        raise NotImplementedError


async def observe(ctx: Context, owner: Resource) -> Observation:  # type: ignore[type-arg]
    """Reads the Jobs and pods that carry the owner's uid."""
    raise NotImplementedError


async def start(ctx: Context, job: Object, *, waiting_since: str) -> None:
    """Creates the Job (by its fixed name; the same one from before a restart is adopted). Raises Waiting(WaitingForJobSlot) at the limit
    and Waiting(JobRefused) where quota or admission refuse it; the caller's deadline ends both."""
    raise NotImplementedError


async def stop(ctx: Context, namespace: str, job_name: str) -> bool:
    """Deletes the Job in the foreground; True once it and its pods are gone. Call again while False."""
    raise NotImplementedError


def may_retry(failure: Failure, attempt: int) -> bool:
    """Whether another attempt is made after this failure of attempt number `attempt` (from 1)."""
    return failure.retryable and attempt < MAX_ATTEMPTS
