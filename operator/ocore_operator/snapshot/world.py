"""What the plan of a Snapshot sees, and the actions that it may choose. Frozen values without I/O."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Signal, SnapshotResult
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.resources.snapshotpolicy import DEFAULT_FULL_EVERY, age
from ocore_crds.stored.snapshot_state import StoredState
from ocore_operator.entries.differentials import Full
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.frame.actions import Idle, Note, Record, SetFinalizer, StopJob, Wait
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.jobs.observing.snapshot_jobs import Deletes
from ocore_operator.kube.resources import Environment, Snapshot
from ocore_operator.settings import Settings
from ocore_operator.workloads.quiesce import SetReplicas
from ocore_operator.workloads.view import Peer, WorkloadView

#: Age of the newest full Snapshot from which the next one is full, too, without a SnapshotPolicy.
FULL_EVERY = age(DEFAULT_FULL_EVERY)


class Cascade(Enum):
    """Why the Snapshot is deleted together with everything around it. Its data is kept then."""

    NO = ""
    NAMESPACE = "The namespace is being deleted"
    CRD = "The CustomResourceDefinition is being deleted"


@dataclass(frozen=True)
class RemoteView:
    """What the copy of a Complete Snapshot in a remote store depends on."""

    #: SnapshotStore that the Environment names for copies; empty: none. None: the Environment does not exist, and the
    #: copy goes where it was wanted.
    wanted: str | None = None
    #: Why no attempt can be made now; of a complete copy: why its state object cannot be written.
    blocked: Outcome | None = None
    #: Bytes that the running attempt has reported.
    bytes_done: int = 0
    #: Kind and name of a Rollback or Extract that reads the Snapshot and has not ended. Read where retention has let
    #: go of a copy.
    used_by: str = ""
    #: Of a full Snapshot, in the same case: Snapshots that need it and still have data in the same store.
    needed_by: tuple[str, ...] = ()
    #: Of a complete copy: why its store cannot be asked now, also because its SnapshotStore is another store by now.
    unreadable: Outcome | None = None
    #: Of one that is not complete: the id of the store that it goes to.
    target_id: str = ""
    #: Of a differential whose copy retention has let go of: name of its full Snapshot where that is damaged in its own
    #: store.
    damaged_base: str = ""
    #: Of a copy that replaces another one: why nothing can be deleted in the store of that one.
    replaced_blocked: Outcome | None = None


@dataclass(frozen=True)
class BaseView:
    """The full Snapshot that a differential has chosen, as it is now."""

    #: None: it does not exist any more, or is not Complete.
    full: Full | None
    #: It lists the differential.
    entered: bool


@dataclass(frozen=True)
class RestoreTest:
    """A test restore that is asked for."""

    run: str  # names the request
    rollback: bool  # a Rollback of the environment has its lock or waits for it
    #: Why its Job cannot be created now.
    refusal: Outcome | None = None


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
    #: Of a safety snapshot, before its start: whether the Rollback that holds the operation lock waits for it (its
    #: status names it), or has just created it; None: it does not.
    rollback: Literal["Waits", "Creates"] | None = None
    #: Kind and name of a Rollback or Extract that reads the Snapshot and has not ended.
    used_by: str = ""
    #: Where it quiesces: the workloads of its status, or of the Environment before they are announced.
    workloads: tuple[WorkloadView, ...] = ()
    #: An operation that stops one of these workloads. Read BEFORE the workloads: without one, their replicas are not
    #: those of a stopped workload.
    peer: Peer | None = None
    #: The waiting pod: its name, its resourceVersion, the signal on it, and how often it was repeated.
    pod: str = ""
    pod_version: str = ""
    signal: Signal | None = None
    repetition: int = 0
    #: The Job has reported that the workloads may start again. Read BEFORE the workloads.
    may_resume: bool = False
    #: Whether its own store takes the state object: the store is not read-only, and does not only import.
    store_writable: bool = False
    #: Of a Complete Snapshot with a remote copy.
    remote: RemoteView | None = None
    #: Before the Job of an attempt: the full Snapshots of the environment that a differential could need; the age from
    #: which the next one is full, too.
    fulls: tuple[Full, ...] = ()
    full_every: timedelta = FULL_EVERY
    #: The same, once a full one was chosen: that one, read fresh.
    base: BaseView | None = None
    #: Of a full Snapshot: those that need it now. None: not read, because nothing is known to have changed.
    dependents: tuple[str, ...] | None = None
    #: Of a differential: name of its full Snapshot where that is corrupt.
    corrupt_base: str = ""
    #: Of a differential that is Corrupt for that reason: name of its full Snapshot where that is whole again.
    whole_base: str = ""
    #: A newer full Snapshot ends the Job identity that opens this one.
    replaced: bool = False
    #: Where a test restore is asked for, and the Snapshot can be restored.
    restore_test: RestoreTest | None = None
    #: Why the action chosen before, in this same reconcile, could not be carried out.
    refusal: Outcome | None = None

    @property
    def remembered(self) -> bool:
        """Whether its Jobs come from the last lists: only a decision to wait may rest on them."""
        return self.seen.remembered

    @property
    def terminal(self) -> bool:
        """Whether the Snapshot is Complete or Failed."""
        return c.is_terminal(self.snapshot.status.conditions)


def is_ready(environment: Environment) -> bool:
    """Whether a snapshot would work."""
    return environment.is_current and c.is_true(environment.status.conditions, c.READY)


# --- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """Acquire the operation lock and freeze what the snapshot sees. Its deadline counts from then."""


@dataclass(frozen=True)
class Start:
    """Create the Job of this attempt."""

    attempt: int


@dataclass(frozen=True)
class EnterInBase:
    """Enter the differential in the full Snapshot that it has chosen, unless that one has changed since it was read."""


@dataclass(frozen=True)
class SetDependents:
    """Write into a full Snapshot which Snapshots need it."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class EndJobIdentity:
    """Jobs no longer open the Snapshot. The Secret that was made for it is deleted."""


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
    """Create a delete Job."""

    attempt: int
    deletes: Deletes = Deletes.ALL


@dataclass(frozen=True)
class StartVerify:
    """Create a Job that reads every byte back. `requested`: in the Snapshot's own store, whatever is known of it."""

    attempt: int
    requested: bool = False


@dataclass(frozen=True)
class StartState:
    """Create a Job that writes a state object: beside the data in the Snapshot's own store, or beside its remote
    copy."""

    attempt: int
    state: StoredState
    remote: bool = False


@dataclass(frozen=True)
class StartCopy:
    """Create the Job that copies the Snapshot to the remote store."""

    attempt: int


@dataclass(frozen=True)
class StartCheckCopy:
    """Create the Job that asks the remote store whether it has every object of the copy."""

    attempt: str


@dataclass(frozen=True)
class StartRestoreTest:
    """Create a Job that restores the snapshot into a scratch database. `run`: the request, which names it."""

    run: str
    attempt: int


@dataclass(frozen=True)
class SendSignal:
    """Put the signal to freeze on the waiting pod."""

    pod: str
    pod_version: str
    signal: Signal
    repetition: int


@dataclass(frozen=True)
class LetGo:
    """Remove the finalizer. `note`: the Event that reports which data stays where. `cascade`: everything around it
    goes, too."""

    note: Note | None = None
    cascade: bool = False


#: Create a Job, and nothing beside it.
StartsJob = Inspect | StartDelete | StartVerify | StartState | StartCheckCopy | StartRestoreTest
Action = (
    StartsJob
    | SetFinalizer
    | Record[SnapshotStatus]
    | Idle[SnapshotStatus]
    | Begin
    | Start
    | EnterInBase
    | SetDependents
    | EndJobIdentity
    | NextAttempt
    | StopJob
    | Wait
    | Finish
    | GiveUp
    | StartCopy
    | SetReplicas
    | SendSignal
    | LetGo
)
