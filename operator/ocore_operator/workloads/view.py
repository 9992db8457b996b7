"""Workloads as the plans see them, and whose turn it is to stop them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ocore_crds.protocol import Failure
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.resources.snapshot import SavedWorkload
from ocore_crds.resources.workloads import Target
from ocore_operator.kube.resources import Rollback, Snapshot


@dataclass(frozen=True)
class ContainerView:
    """A container of a workload's pod template."""

    name: str
    init: bool
    image: str
    #: The tool that sets its image again (images.owner); empty where none does.
    owner: str = ""


@dataclass(frozen=True)
class Commit:
    """The commit annotation, by its name; None where it is absent."""

    annotation: str = ""
    template: str | None = None
    workload: str | None = None


@dataclass(frozen=True)
class WorkloadView:
    """A workload of the environment."""

    kind: str
    name: str
    exists: bool = True
    #: spec.replicas. Of a CronJob: 0 where it is suspended, else 1.
    replicas: int = 0
    #: Number of its pods, terminating ones included; at least 1 while its controller has not observed the last change.
    pods: int = 0
    #: Number of its ready pods; 0 while its controller has not observed the last change.
    ready_replicas: int = 0
    #: Why pods are not ready, with their reasons.
    problem: str = ""
    #: Of its first container, and of its annotation; empty where unknown.
    image: str = ""
    commit: str = ""
    #: The containers of its pod template, and its commit annotations.
    containers: tuple[ContainerView, ...] = ()
    commits: Commit = Commit()
    #: The longest terminationGracePeriodSeconds of its pods.
    grace_seconds: int = 30
    #: The pod that ends last of those that are being deleted, and when its grace period is over.
    leaving: str = ""
    leaves_by: datetime | None = None
    #: Label selector of its pods; empty where that is not known.
    selector: str = ""
    #: Precondition of a write: its resourceVersion.
    version: str = ""
    api_version: str = "apps/v1"
    #: A Deployment with spec.paused: a change of its pod template starts no pods.
    paused: bool = False
    #: Why it can be neither read nor scaled: its kind is not listed, or has no usable scale. It then counts as stopped
    #: with pods left: an operation that has stopped it never ends before it was started.
    refusal: Failure | None = None
    #: Why it must not be scaled to zero: a claim would be deleted with its data (``data_loss.py``).
    loses: Failure | None = None

    @property
    def target(self) -> Target:
        """What is named by it."""
        return Target(self.kind, self.name, self.api_version)

    @property
    def label(self) -> str:
        """Kind and name, for messages."""
        return f"{self.kind} {self.name}"


def labels(workloads: Iterable[WorkloadView]) -> str:
    """Their kinds and names, for messages."""
    return ", ".join(w.label for w in workloads)


@dataclass(frozen=True)
class Peer:
    """Another operation, of another Environment, that has announced that it stops one of these workloads
    (docs/decisions/0008)."""

    #: Kind and name: ``Rollback r1``.
    name: str
    #: It stops them now, or has not restored their replicas for good.
    stopping: bool
    #: It was created first.
    older: bool


def saved(workloads: Iterable[WorkloadView]) -> tuple[SavedWorkload, ...]:
    """The workloads with their replicas, for a status."""
    return tuple(
        SavedWorkload(
            api_version=None if w.target.built_in else w.api_version, kind=w.kind, name=w.name, replicas=w.replicas
        )
        for w in workloads
    )


def first_with_template(workloads: Iterable[WorkloadView]) -> WorkloadView | None:
    """The one whose image a snapshot records."""
    return next((w for w in workloads if w.target.has_template), None)


def peer_of(mine: Rollback | Snapshot, others: Iterable[Rollback | Snapshot], targets: Sequence[Target]) -> Peer | None:
    """The one of the others that `mine` has to wait for; None where no other one has announced any of these
    workloads."""
    age = (mine.meta.created, mine.meta.uid)
    names = {(t.kind, t.name) for t in targets}
    announced = []
    for other in others:
        found = _announced(other)
        if found is not None and other.meta.uid != mine.meta.uid and {(w.kind, w.name) for w in found[0]} & names:
            older = (other.meta.created, other.meta.uid) < age
            announced.append(Peer(f"{other.kind.kind} {other.meta.name}", stopping=found[1], older=older))
    return max(announced, key=lambda p: (p.stopping, p.older), default=None)


def _announced(operation: Rollback | Snapshot) -> tuple[tuple[SavedWorkload, ...], bool] | None:
    """The workloads that it has announced, and whether it may have stopped them; None where it stops none any more."""
    status = operation.status
    if isinstance(status, RollbackStatus):
        return (status.workloads, status.stage != "Prepare") if status.stage != "Ended" else None
    quiesce = status.quiesce
    return (
        (quiesce.workloads, quiesce.stage != "Announced") if quiesce is not None and quiesce.stage != "Done" else None
    )
