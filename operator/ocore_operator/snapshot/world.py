"""What the plan of a Snapshot sees, and the actions that it may choose. Frozen values without I/O."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, FreezeSignal, SnapshotResult
from ocore_crds.snapshot import SnapshotStatus
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.jobs.inputs import JobInputs
from ocore_operator.jobs.outcome import Observation
from ocore_operator.kube.resources import Environment, Key, Snapshot
from ocore_operator.reconcile_loop import Note
from ocore_operator.settings import Settings
from ocore_operator.workloads.view import Peer, WorkloadView

#: Seconds between two reconciles where events report every change anyway.
POLL = 10.0


class Cascade(Enum):
    """Why the Snapshot is deleted together with everything around it. Its data is kept then."""

    NO = ""
    NAMESPACE = "The namespace is being deleted"
    CRD = "The CustomResourceDefinition is being deleted"


@dataclass(frozen=True)
class World:
    """All that a decision depends on, read before each decision. Only what the Snapshot's state needs is read."""

    snapshot: Snapshot
    now: datetime
    settings: Settings
    #: The Jobs and pods of the Snapshot; empty before it has started.
    seen: Observation
    #: `namespace/name` of another Snapshot with the same id that takes precedence.
    elder: str = ""
    #: Before the start: the Environment, and what a Job needs of it or why that is incomplete.
    environment: Environment | None = None
    inputs: JobInputs | None = None
    missing: Stalled | None = None
    #: Before the start, where the Environment is ready: the operation that goes first. `inputs` are not read then.
    blocked: Waiting | None = None
    #: While it is being deleted.
    cascade: Cascade = Cascade.NO
    #: Of a safety snapshot, before its start: whether the Rollback that holds the operation lock waits for it (its status names it), or has just created
    #: it; None: it does not.
    rollback: Literal["Waits", "Creates"] | None = None
    #: Name of a Rollback that restores the Snapshot and has not ended.
    used_by: str = ""
    #: Where it quiesces: the workloads of its status, or of the Environment before they are announced.
    workloads: tuple[WorkloadView, ...] = ()
    #: An operation that stops one of these workloads. Read BEFORE the workloads: without one, their replicas are not those of a stopped workload.
    peer: Peer | None = None
    #: The waiting pod: its name, its resourceVersion, the signal on it, and how often it was repeated.
    pod: str = ""
    pod_version: str = ""
    signal: FreezeSignal | None = None
    repetition: int = 0
    #: The Job has reported that the workloads may start again. Read BEFORE the workloads.
    may_resume: bool = False
    #: Why the action chosen before, in this same reconcile, could not be carried out.
    refusal: Outcome | None = None

    @property
    def terminal(self) -> bool:
        """Whether the Snapshot is Complete or Failed."""
        return c.is_terminal(self.snapshot.status.conditions)


def is_current(environment: Environment) -> bool:
    """Whether its conditions describe its spec as it is now."""
    return environment.status.observed_generation == environment.meta.generation


def is_ready(environment: Environment) -> bool:
    """Whether a snapshot would work."""
    ready = c.find(environment.status.conditions, c.READY)
    return ready is not None and ready.status == "True" and is_current(environment)


# --- actions -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AddFinalizer:
    """Nothing is stored before the finalizer that deletes it is set."""


@dataclass(frozen=True)
class Record:
    """Write this status and record the Events, then observe again."""

    status: SnapshotStatus
    notes: tuple[Note, ...] = ()
    #: Hit after the status is written.
    failpoint: str = ""


@dataclass(frozen=True)
class Idle:
    """Nothing to do for so many seconds (None: until something changes). `status` is written first where given."""

    seconds: float | None = None
    status: SnapshotStatus | None = None


@dataclass(frozen=True)
class Begin:
    """Acquire the operation lock and freeze what the snapshot sees. Its deadline counts from then."""


@dataclass(frozen=True)
class Start:
    """Create the Job of this attempt."""

    attempt: int


@dataclass(frozen=True)
class NextAttempt:
    """Record the attempt's number; its Job comes next."""

    attempt: int
    because: Failure | None


@dataclass(frozen=True)
class Inspect:
    """Create an inspect Job: does the store hold a manifest?"""

    attempt: str


@dataclass(frozen=True)
class Stop:
    """Delete a Job. `because` is recorded first where given: nothing else remembers it once the Job is gone."""

    job: str
    because: Failure | None = None


@dataclass(frozen=True)
class Wait:
    """Report what is waited for. Nothing to do until something happens, or for so many seconds."""

    reason: str
    message: str
    seconds: float = POLL
    #: The pod whose log is followed.
    pod: str = ""
    #: Name of the Job to record, so that its loss is noticed.
    job: str = ""
    #: An object to reconcile now, because this Snapshot waits for it.
    wake: Key | None = None


@dataclass(frozen=True)
class Finish:
    """The manifest exists. `clean`: the store can hold nothing of this snapshot but what the manifest names."""

    result: SnapshotResult
    clean: bool
    pod: str = ""
    imported: bool = False


@dataclass(frozen=True)
class GiveUp:
    """The Snapshot is Failed. `stored`: the store may hold parts of it."""

    failure: Failure
    stored: bool


@dataclass(frozen=True)
class StartDelete:
    """Create a delete Job. `attempts_only`: what the manifest names stays."""

    attempt: int
    attempts_only: bool


@dataclass(frozen=True)
class StartVerify:
    """Create a Job that reads every byte back."""

    attempt: int


@dataclass(frozen=True)
class SetReplicas:
    """Scale these workloads. Failpoints are hit `before` and `after`, where given."""

    targets: tuple[tuple[WorkloadView, int], ...]
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class SendSignal:
    """Put the signal to freeze on the waiting pod."""

    pod: str
    pod_version: str
    signal: FreezeSignal
    repetition: int


@dataclass(frozen=True)
class LetGo:
    """Remove the finalizer. `note`: the Event that reports which data stays where."""

    note: Note | None = None


Action = (
    AddFinalizer
    | Record
    | Idle
    | Begin
    | Start
    | NextAttempt
    | Inspect
    | Stop
    | Wait
    | Finish
    | GiveUp
    | StartDelete
    | StartVerify
    | SetReplicas
    | SendSignal
    | LetGo
)
