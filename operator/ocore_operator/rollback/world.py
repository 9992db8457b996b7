"""Values between observing and deciding: what a decision depends on (:class:`World`) and what it can be
(:data:`Action`). No I/O.

A :class:`World` is read again before every decision, but for one that follows a write of this operator (AFTER_STATUS,
AFTER_EFFECT). The rollback's own status is read LAST, so that it is at least as new as everything else. Every effect
carries the version of what it changes. So a deposed leader (stopped and continued) gets a conflict instead of an
effect.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Payload, ProbeResult, RestoreResult, Signal, SwitchResult
from ocore_crds.resources.rollback import RemoteSource, RollbackSpec, RollbackStatus
from ocore_operator.errors import Outcome
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, SetLock, StopJob, Wait
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.kube.resources import Environment, Snapshot
from ocore_operator.rollback.prediction import MeasuredRestore, PastRollback
from ocore_operator.workloads.images import TemplateChange
from ocore_operator.workloads.quiesce import Later, Refused, SetReplicas
from ocore_operator.workloads.view import Peer, WorkloadView

JobKind = Literal["restore", "neutralize", "switch", "inspect", "cleanup", "preview"]
#: What a Job does. Its kind, and so its name, is the part before the dash; `switch-back` is a switch. `inspect` also
#: repairs an interrupted switch; `inspect-only` changes nothing.
JobCommand = Literal[
    "restore",
    "neutralize",
    "switch",
    "switch-back",
    "inspect",
    "inspect-only",
    "cleanup-restored",
    "cleanup-previous",
    "preview",
]


@dataclass(frozen=True)
class JobView:
    """One Job of this rollback, as observed."""

    kind: JobKind
    attempt: int
    name: str
    #: The Job is terminal, successful or not. `failure` also reports a Job that is lost.
    ended: bool = False
    #: Number of its pods that may still act: neither Succeeded nor Failed.
    pods: int = 0
    #: Number of its pods in which a container may still use the claims.
    mounts: int = 0
    #: Its log has its result, and nothing else runs in its pod: the pod ends now.
    reported: bool = False
    #: The Job creates no pod any more: it is Complete or Failed, or does not exist.
    closed: bool = False
    #: The Job is being deleted, and since when.
    stopping: bool = False
    stopping_since: datetime | None = None
    #: It waits for its signal to switch.
    ready: bool = False
    #: Its pod has a log: its container runs, or has run.
    has_log: bool = False
    #: The kubelet has started its container more than once.
    restarted: bool = False
    #: A pod of it was ended from outside, and the Job replaces it: perhaps by one that no node takes.
    moved: bool = False
    #: Since when the only node that its pod may run on does not take it.
    unplaced_since: datetime | None = None
    #: Name of the node of its pod, where that node does not report any more.
    silent_node: str = ""
    #: The signal on its pod, and how often it was repeated.
    signal: Signal | None = None
    repetition: int = 0
    #: Of a restore at the preflight, and of a Job in which a probe followed: what the probe has found.
    probe: ProbeResult | None = None
    #: Of a restore whose Job goes on to the switch: its result.
    restored: RestoreResult | None = None
    #: When the Job was created (RFC 3339); empty where it is gone.
    created: str = ""
    #: The newest interim answer in the pod's log.
    answer: SwitchResult | None = None
    payload: Payload | None = None
    failure: Failure | None = None
    ended_at: datetime | None = None
    #: Why its pod does not start (image, scheduling, mount), for people; and the reason of the condition, where a
    #: person may have to change something.
    problem: str = ""
    reason: str = c.RUNNING
    #: Why it must end, so that the application can start (``jobs/observing/giving_way.py``).
    gives_way: Failure | None = None
    #: Preconditions of a write: its running pod and that pod's resourceVersion.
    pod: str = ""
    pod_version: str = ""

    @property
    def live(self) -> bool:
        """Whether the Job or a pod of it may still act."""
        return not self.ended or self.pods > 0

    @property
    def holds(self) -> bool:
        """Whether a pod of it uses the filestore's claim, or may do so again: the Job replaces a pod that was evicted.
        The kubelet shows the end of a pod one to three seconds late, and releases its volumes after that: who waits for
        it stops the application for longer, and gains nothing."""
        if self.kind == "neutralize" or self.reported:  # it mounts none; its second container may outlive the mover
            return False
        return self.mounts > 0 or not (self.closed or self.payload is not None)


@dataclass(frozen=True)
class StoreView:
    """The SnapshotStore that a Snapshot is read from."""

    name: str
    exists: bool = True
    #: Why it is not ready; empty where it is.
    problem: str = ""
    id: str = ""
    account: str = ""


@dataclass(frozen=True)
class SourceView:
    """Where the Snapshot comes from."""

    #: Its namespace where that is another one, and the Rollback's own.
    namespace: str = ""
    into: str = ""
    #: The operator watches and can read that namespace.
    watched: bool = True
    #: None for an ordinary rollback in place.
    store: StoreView | None = None
    #: With such a store: service account of the Environment's own store, which has the record.
    record_account: str = ""
    #: Before the start, of a differential: name of its full Snapshot where that is corrupt.
    corrupt_base: str = ""
    #: At the stages Preview and Preflight: the remote copy, where the Snapshot's own store does not have it whole, as
    #: far as is known before.
    remote: RemoteSource | None = None
    #: At these stages: why the Snapshot cannot be read, where its SnapshotStore is another store by now; else empty.
    other_store: str = ""


@dataclass(frozen=True)
class UndoneView:
    """The Rollback that an undo names."""

    name: str
    id: str
    status: RollbackStatus
    deleting: bool = False
    #: Name of another undo that owns what it kept; empty where none does.
    taken_by: str = ""
    #: Name of a rollback that ran after it and is in effect; empty where none is.
    later: str = ""


@dataclass(frozen=True)
class PreviewFacts:
    """What only a preview reads."""

    #: Rollback of the environment that is between the stop of its workloads and its end; empty: none.
    switching: str = ""
    past: tuple[PastRollback, ...] = ()
    tested: MeasuredRestore | None = None


@dataclass(frozen=True)
class TakenOver:
    """The Environment's entry about this rollback in status.undoneRollbacks."""

    state: Literal["Running", "Undone", "Returned"]
    by: str
    keep_until: str | None = None


@dataclass(frozen=True)
class OperationLock:
    """Which operation has locked the environment."""

    state: Literal["Free", "Ours", "Other"] = "Free"
    holder: str = ""
    since: datetime | None = None


#: Kinds of Jobs that may switch.
SWITCHING: tuple[JobKind, ...] = ("restore", "switch")


def goes_on(status: RollbackStatus, spec: RollbackSpec) -> bool:
    """Whether the Job of the restore makes the first attempt at the switch: nothing that may take long comes between,
    and nothing that needs a Job of its own."""
    between = status.neutralize is not None or spec.create_safety_snapshot or spec.restore_image == "WaitForGit"
    return status.undo is None and not between


@dataclass(frozen=True)
class World:
    """Everything that a decision depends on besides the Rollback itself."""

    created: datetime
    environment: Environment | None
    #: None for an undo.
    snapshot: Snapshot | None
    #: An import has created the Rollback, and has not written its status.
    awaits_import: bool = False
    environment_name: str = ""
    source: SourceView = SourceView()
    #: With createSafetySnapshot: its name, and the object of that name until the switch; None where none exists.
    safety_name: str = ""
    safety: Snapshot | None = None
    #: That object is what this rollback creates. Another one may have the name.
    owns_safety: bool = False
    #: The operator may change the image of workloads.
    may_restore_image: bool = True
    #: What images may begin with that it sets, beside those of a container's own repository.
    listed_images: tuple[str, ...] = ("*",)
    #: Of an undo, at the stage Preflight.
    undone: UndoneView | None = None
    #: Of an undo: the state of its own entry in the Environment's status.undoneRollbacks; None where it has none.
    undo_state: Literal["Running", "Undone", "Returned"] | None = None
    #: With remaining cleanup, where its Environment was deleted: the Environment that has its database or filestore
    #: now, and what it has; a Rollback that has not ended. Empty where there is none.
    used_by: str = ""
    under_way: str = ""
    #: An undo of this rollback.
    taken_over: TakenOver | None = None
    #: An Environment remembers that a rollback of this name and spec has run.
    executed_before: bool = False
    #: The Environment remembers this one, by its id.
    executed: bool = False
    deleting: bool = False
    finalizer: bool = False
    namespace_terminating: bool = False
    lock: OperationLock = OperationLock()
    jobs: tuple[JobView, ...] = ()
    #: At the stage Resume: names of pods of other Jobs, such as a probe's, that mount the filestore's claim.
    claim_users: tuple[str, ...] = ()
    #: The workloads in status.workloads; before they are saved, those of the Environment.
    workloads: tuple[WorkloadView, ...] = ()
    #: At the stage Prepare. It is read BEFORE the workloads: without a peer, their replicas are not those of a stopped
    #: workload.
    peer: Peer | None = None
    #: The Environment's ConfigMap and its digest (inputs.config_digest), at the stage Preflight; empty without one.
    config_name: str = ""
    config_sha256: str = ""
    #: `namespace/name` of another Rollback with the same id that takes precedence.
    duplicate_of: str = ""
    #: The effect that was decided could not be carried out.
    refused_now: Outcome | None = None
    #: Since when no Job could be created (quota, admission, a missing object), and why.
    refused_since: datetime | None = None
    refusal_reason: str = ""
    refusal: str = ""
    #: The API server's last refusal to scale a workload; None since it has accepted one.
    scale_refused: Refused | None = None
    #: A probe was requested and has not ended yet.
    probe_asked: bool = False
    #: Why that probe does not run yet, for people: a quota, no node; empty where it runs.
    probe_waits: str = ""
    #: When the last probe began that a Job of a Rollback has reported (RFC 3339); empty: there was none.
    probe_reported: str = ""
    #: The preflight needs a probe of its own: the restore's Job could not be started.
    probe_alone: bool = False
    #: The logs of Jobs cannot be read.
    logs_unreadable: bool = False
    #: With dryRun.
    preview: PreviewFacts | None = None
    #: Since when this operator has reconciled the rollback without a longer gap. Stage timers count from here: an
    #: operator that was down for an hour must try before it gives up.
    watched_since: datetime | None = None

    def job(self, kind: JobKind, attempt: int) -> JobView | None:
        """The Job of that attempt, or None."""
        return next((j for j in self.jobs if j.kind == kind and j.attempt == attempt), None)

    def switch_job(self, status: RollbackStatus, spec: RollbackSpec) -> JobView | None:
        """The Job of the present attempt at the switch. The first one is made by the Job of the restore, where nothing
        comes between."""
        job = self.job("switch", status.switch_attempt)
        if job is not None or status.switch_attempt != 1 or not goes_on(status, spec):
            return job
        return self.job("restore", status.attempt)

    def other_switch_jobs(self, status: RollbackStatus, spec: RollbackSpec) -> tuple[JobView, ...]:
        """Jobs of other attempts that could still switch: there must never be two."""
        now = self.switch_job(status, spec)
        return tuple(j for j in self.live(*SWITCHING) if j is not now)

    def live(self, *kinds: JobKind) -> tuple[JobView, ...]:
        """Jobs of these kinds that may still act."""
        return tuple(j for j in self.jobs if j.live and (not kinds or j.kind in kinds))

    def holding(self) -> tuple[JobView, ...]:
        """Jobs that mount the filestore's claim, or may do so again."""
        return tuple(j for j in self.jobs if j.holds)


# --- effects: each is idempotent, and fails with a conflict where the object has changed since it was read ----------


@dataclass(frozen=True)
class AskProbe:
    """Requests a new probe of the Environment, which begins at `since` or later; None: since the operation lock was
    taken."""

    since: datetime | None = None


@dataclass(frozen=True)
class ReportProbe:
    """Hands what a probe in one of its Jobs has found to the Environment, which writes it as that of any probe."""

    result: ProbeResult
    began: str


@dataclass(frozen=True)
class StartJob:
    """Creates the Job. A Job of that name that exists already is a success."""

    command: JobCommand
    attempt: int

    @property
    def kind(self) -> JobKind:
        """The Job's kind."""
        kinds: dict[JobCommand, JobKind] = {
            "restore": "restore",
            "neutralize": "neutralize",
            "switch": "switch",
            "switch-back": "switch",
            "inspect": "inspect",
            "inspect-only": "inspect",
            "cleanup-restored": "cleanup",
            "cleanup-previous": "cleanup",
            "preview": "preview",
        }
        return kinds[self.command]


@dataclass(frozen=True)
class SetImages:
    """Sets images and commits of pod templates. A workload that changed since it was read is a conflict."""

    changes: tuple[tuple[WorkloadView, TemplateChange], ...]


@dataclass(frozen=True)
class CreateSafetySnapshot:
    """Creates the Snapshot. One of that name that exists already is a success: the next decision sees whose it is."""


@dataclass(frozen=True)
class CancelSafetySnapshot:
    """Deletes the Snapshot, which has not ended: that stops its Job."""

    snapshot: Snapshot


@dataclass(frozen=True)
class SendSignal:
    """Annotates the switch Job's pod."""

    job: JobView
    signal: Signal
    repetition: int


@dataclass(frozen=True)
class RecordExecuted:
    """Adds the rollback to the Environment's status.executedRollbacks."""


@dataclass(frozen=True)
class TakeOver:
    """Enters the undo in the Environment's status.undoneRollbacks as the owner of what the undone Rollback has kept."""


@dataclass(frozen=True)
class SettleUndo:
    """Enters there how the undo ended, and with Undone, that it ran. `keep_until`: see the field."""

    state: Literal["Undone", "Returned"]
    keep_until: str | None = None


@dataclass(frozen=True)
class ReportDamage:
    """Writes into the status of the Snapshot that bytes of it are wrong or gone: in its own store, or in its remote
    copy. `object_key`: of the object; None: not known."""

    message: str
    in_copy: bool
    object_key: str | None = None


Effect = (
    SetFinalizer
    | SetLock
    | AskProbe
    | ReportProbe
    | StartJob
    | StopJob
    | SetReplicas
    | SetImages
    | CreateSafetySnapshot
    | CancelSafetySnapshot
    | SendSignal
    | RecordExecuted
    | TakeOver
    | SettleUndo
    | ReportDamage
)

#: What may follow the write of a status in the world that it was decided in. Each is a conflict where what it changes
#: has changed since it was read; a Job that exists is the same one. No other status: what others have announced is read
#: after the own announcement.
AFTER_STATUS: tuple[type[object], ...] = (
    *(SetFinalizer, SetLock, StartJob, SetReplicas, SendSignal, RecordExecuted, SettleUndo),
    Wait,
)
#: What may follow an effect that wrote one object, in the world with that object as written.
AFTER_EFFECT = (*AFTER_STATUS, Record)
#: Effects whose outcome is an event, which wakes the rollback: seconds until it decides again without one.
WOKEN: dict[type[object], float] = {ReportProbe: 2.0, StartJob: 2.0, SendSignal: 1.0}


# --- actions: the result of a decision ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Do:
    """Carry this effect out, then decide again."""

    effect: Effect
    #: Failpoints that are hit before and after it.
    before: str = ""
    after: str = ""

    @property
    def then(self) -> Wait | None:
        """What is waited for before the next decision; None: nothing."""
        match self.effect:
            case StopJob(job=job):
                return Wait(1.0, c.RUNNING, f"Waiting until Job {job} and its pods are gone.")
            case SetReplicas(then=Later(seconds=seconds, reason=reason, message=message)):
                return Wait(seconds, reason, message)
            case _:
                return None


Action = Record[RollbackStatus] | Do | Wait | Idle[RollbackStatus]


def until_ended(job: JobView, does: str) -> Wait:
    """Wait until the Job has ended. `does`: what it does, where it has started."""
    stalled = job.reason == c.NODE_NOT_RESPONDING
    return Wait(POLL, job.reason, job.problem or f"Job {job.name} {does}", stalled)
