"""What the plan of a rollback sees of the world, and what it may ask for. Frozen values without I/O.

A :class:`World` is read afresh before every decision; the rollback's own status is read LAST, so that it is at least as new as
everything else. Every effect carries the version of what it changes, so an operator that was stopped and continued (a deposed leader) gets a
conflict instead of an effect.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ocore_crds.protocol import Failure, Payload, Signal, SwitchResult
from ocore_crds.rollback import RollbackStatus

JobKind = Literal["restore", "switch", "inspect", "cleanup"]
#: What a Job is told to do; the kind (and so the name) is the part before the dash.
Command = Literal["restore", "switch", "switch-back", "inspect", "cleanup-restored", "cleanup-previous"]


@dataclass(frozen=True)
class JobView:
    """One Job of this rollback, as it is now."""

    kind: JobKind
    attempt: int
    name: str
    #: The Job has come to its end, well or not; where it is lost, `failure` says so.
    ended: bool = False
    #: Pods of it that may still do something: neither Succeeded nor Failed.
    pods: int = 0
    #: It is being deleted already.
    stopping: bool = False
    #: Its pod is Ready: the switch waits for its signal.
    ready: bool = False
    #: The signal on its pod.
    signal: Signal | None = None
    #: The newest interim answer in the pod's log.
    answer: SwitchResult | None = None
    payload: Payload | None = None
    failure: Failure | None = None
    ended_at: datetime | None = None
    #: Why its pod does not get on (image, scheduling, mount), for people.
    problem: str = ""
    #: What a write to it must still find: the Job's uid, its running pod and that pod's resourceVersion.
    uid: str = ""
    pod: str = ""
    pod_version: str = ""

    @property
    def live(self) -> bool:
        """Whether something of it may still act."""
        return not self.ended or self.pods > 0


@dataclass(frozen=True)
class WorkloadView:
    """A workload of the environment."""

    kind: Literal["Deployment", "StatefulSet"]
    name: str
    exists: bool = True
    #: spec.replicas.
    replicas: int = 0
    #: Pods that are left, terminating ones included; at least 1 while its controller has not seen the last change.
    pods: int = 0
    ready: bool = False
    #: Why it is not ready, with the pods' reasons.
    problem: str = ""
    #: The longest terminationGracePeriodSeconds of its pods.
    grace_seconds: int = 30
    #: resourceVersion that a write to it must still find.
    version: str = ""

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class EnvironmentView:
    """The target."""

    name: str
    id: str | None
    project_id: str
    workloads: tuple[tuple[str, str], ...] = ()
    has_database: bool = True
    #: `database.capacity` in bytes.
    capacity: int | None = None
    #: Of the last probe of the present generation; None where there was none.
    probed_at: datetime | None = None
    server_major: int = 0
    database_name: str = ""
    used_bytes: int = 0
    #: Of the condition RollbackReady.
    rollback_ready: bool = False
    not_ready_reason: str = ""
    not_ready_message: str = ""
    #: This rollback (its id) stands in status.executedRollbacks.
    executed: bool = False


@dataclass(frozen=True)
class SnapshotView:
    """What is restored."""

    name: str
    id: str | None
    complete: bool
    failed: bool
    #: Its condition Verified is False for any reason but that nobody has read it.
    broken: str = ""
    environment_id: str = ""
    project_id: str = ""
    manifest_sha256: str = ""
    server_major: int = 0
    database_bytes: int = 0


@dataclass(frozen=True)
class OperationLock:
    """Who holds the environment."""

    state: Literal["Free", "Ours", "Other"] = "Free"
    holder: str = ""
    since: datetime | None = None


@dataclass(frozen=True)
class World:
    """Everything that a decision depends on besides the rollback itself."""

    created: datetime
    environment: EnvironmentView | None
    snapshot: SnapshotView | None
    environment_name: str = ""
    #: An Environment remembers a rollback of this name and spec.
    executed_before: bool = False
    deleting: bool = False
    finalizer: bool = False
    namespace_terminating: bool = False
    lock: OperationLock = OperationLock()
    jobs: tuple[JobView, ...] = ()
    #: The saved ones once they are saved, the Environment's before.
    workloads: tuple[WorkloadView, ...] = ()
    #: Another Rollback, older than this one, that has the same id.
    duplicate_of: str = ""
    #: Our Jobs could not be made since then (quota, admission, something that they need is gone), and why.
    refused_since: datetime | None = None
    refusal_reason: str = ""
    refusal: str = ""
    #: A probe has been asked for, and did not come yet.
    probe_asked: bool = False
    #: Since when this operator has looked at the rollback without a longer gap. What it must do itself, or must have seen, has its time from then:
    #: an operator that comes back after an hour must not give up before it has tried.
    watched_since: datetime | None = None

    def job(self, kind: JobKind, attempt: int) -> JobView | None:
        """The Job of that attempt, or None."""
        return next((j for j in self.jobs if j.kind == kind and j.attempt == attempt), None)

    def live(self, *kinds: JobKind) -> tuple[JobView, ...]:
        """Jobs of these kinds that may still act."""
        return tuple(j for j in self.jobs if j.live and (not kinds or j.kind in kinds))


# --- effects: each can be done again, and each is refused where the world has moved on ----------------------------


@dataclass(frozen=True)
class AddFinalizer:
    """From now on deleting the rollback cancels it cleanly."""


@dataclass(frozen=True)
class RemoveFinalizer:
    """Nothing is owed."""


@dataclass(frozen=True)
class AcquireLock:
    """Compare and swap of the Environment's status.operation."""


@dataclass(frozen=True)
class ReleaseLock:
    """Lets the next operation in."""


@dataclass(frozen=True)
class AskProbe:
    """A probe of the Environment as it is now."""


@dataclass(frozen=True)
class StartJob:
    """Creates the Job; it being there already is success."""

    command: Command
    attempt: int

    @property
    def kind(self) -> JobKind:
        """Kind of the Job: `switch-back` is a switch."""
        kinds: dict[Command, JobKind] = {
            "restore": "restore",
            "switch": "switch",
            "switch-back": "switch",
            "inspect": "inspect",
            "cleanup-restored": "cleanup",
            "cleanup-previous": "cleanup",
        }
        return kinds[self.command]


@dataclass(frozen=True)
class StopJob:
    """Deletes the Job in the foreground: it is gone when its pods are."""

    job: JobView


@dataclass(frozen=True)
class Scale:
    """Sets replicas through the scale subresource, where the workload is still as it was seen."""

    targets: tuple[tuple[WorkloadView, int], ...]


@dataclass(frozen=True)
class SendSignal:
    """Annotates the switch Job's pod."""

    job: JobView
    signal: Signal


@dataclass(frozen=True)
class RecordExecuted:
    """Into the Environment's status.executedRollbacks."""


Effect = (
    AddFinalizer
    | RemoveFinalizer
    | AcquireLock
    | ReleaseLock
    | AskProbe
    | StartJob
    | StopJob
    | Scale
    | SendSignal
    | RecordExecuted
)


# --- actions: what a decision is ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Note:
    """An Event at a transition."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Record:
    """Write this status (refused where somebody wrote it since it was read), then look again."""

    status: RollbackStatus
    notes: tuple[Note, ...] = ()
    #: Failpoint that is hit before it is written.
    failpoint: str = ""


@dataclass(frozen=True)
class Do:
    """Do this, then look again."""

    effect: Effect
    #: Failpoints that are hit before and after.
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Wait:
    """Nothing to do before that many seconds, or before something changes."""

    seconds: float
    reason: str
    message: str


@dataclass(frozen=True)
class Settled:
    """Terminal and nothing is owed now; look again after that many seconds where given."""

    seconds: float | None = None


Action = Record | Do | Wait | Settled
