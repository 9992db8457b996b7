"""The kinds of the group: one table for the CRD generator, the operator and the CLI.

The models of a kind are loaded when they are asked for: a program that only lists names needs none of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ocore_crds.group import API_VERSION, GROUP
from ocore_crds.schema.cel_rules import Rule, rule

if TYPE_CHECKING:
    from ocore_crds.conditions import ObjectStatus
    from ocore_crds.model import Model

    Models = tuple[type[Model], type[ObjectStatus]]


@dataclass(frozen=True)
class Column:
    """A printer column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


#: Characters of the longest name of an object: it goes into the names of Jobs (63 with their suffixes) and pods.
MAX_NAME = 200


@dataclass(frozen=True)
class Kind:
    """One custom resource."""

    kind: str
    plural: str
    short: str
    #: Loads the models of spec and status.
    models: "Callable[[], Models]"
    columns: tuple[Column, ...]
    description: str
    #: CEL rules of the whole object, which see its name.
    rules: tuple[Rule, ...] = ()

    @cached_property
    def spec(self) -> "type[Model]":
        """The model of its spec."""
        return self.models()[0]

    @cached_property
    def status(self) -> "type[ObjectStatus]":
        """The model of its status."""
        return self.models()[1]

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{GROUP}"

    @property
    def api_version(self) -> str:
        return API_VERSION

    def new(self, namespace: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
        """An object to create. `metadata`: its name or generateName, and more."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"namespace": namespace, **metadata},
            "spec": spec,
        }


def _environment() -> "Models":
    from ocore_crds.resources.environment import EnvironmentSpec, EnvironmentStatus

    return EnvironmentSpec, EnvironmentStatus


def _snapshot_store() -> "Models":
    from ocore_crds.resources.snapshotstore import SnapshotStoreSpec, SnapshotStoreStatus

    return SnapshotStoreSpec, SnapshotStoreStatus


def _snapshot() -> "Models":
    from ocore_crds.resources.snapshot import SnapshotSpec, SnapshotStatus

    return SnapshotSpec, SnapshotStatus


def _rollback() -> "Models":
    from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus

    return RollbackSpec, RollbackStatus


def _snapshot_policy() -> "Models":
    from ocore_crds.resources.snapshotpolicy import SnapshotPolicySpec, SnapshotPolicyStatus

    return SnapshotPolicySpec, SnapshotPolicyStatus


def _extract() -> "Models":
    from ocore_crds.resources.extract import ExtractSpec, ExtractStatus

    return ExtractSpec, ExtractStatus


_READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')
_REASON = Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True)
_AGE = Column("Age", ".metadata.creationTimestamp", "date")

ENVIRONMENT = Kind(
    kind="Environment",
    models=_environment,
    plural="environments",
    short="oenv",
    columns=(
        Column("Type", ".spec.type"),
        _READY,
        Column("RollbackReady", '.status.conditions[?(@.type=="RollbackReady")].status'),
        Column("Operation", ".status.operation.name"),
        Column("PostgreSQL", ".status.probe.serverVersion", wide=True),
        _REASON,
        _AGE,
    ),
    description="What is snapshotted: a database, a filestore, a configuration and the workloads that use them.",
)
SNAPSHOT_STORE = Kind(
    kind="SnapshotStore",
    models=_snapshot_store,
    plural="snapshotstores",
    short="ostore",
    columns=(
        Column("URL", ".status.url"),
        _READY,
        Column("Checksums", ".status.checksums", wide=True),
        _REASON,
        _AGE,
    ),
    description="A bucket or a volume claim that holds snapshots.",
)
SNAPSHOT = Kind(
    kind="Snapshot",
    models=_snapshot,
    plural="snapshots",
    short="osnap",
    columns=(
        Column("Environment", ".spec.environmentRef.name"),
        Column("Phase", ".status.phase"),
        Column("Step", ".status.progress.step"),
        Column("%", ".status.progress.percent", "integer"),
        Column("Stored", ".status.sizes.storedBytes", "integer"),
        Column("Full", ".status.fullFilestore", "boolean", wide=True),
        Column("Base", ".status.base.name", wide=True),
        Column("Pin", ".spec.pin.label", wide=True),
        _REASON,
        Column("Verified", '.status.conditions[?(@.type=="Verified")].status', wide=True),
        Column("Remote", ".status.remote.state", wide=True),
        Column("Expires", ".status.expiresAt", wide=True),
        _AGE,
    ),
    description="One point in time of an environment, restorable as one unit.",
)
ROLLBACK = Kind(
    kind="Rollback",
    models=_rollback,
    plural="rollbacks",
    short="orb",
    columns=(
        Column("Snapshot", ".spec.snapshotRef.name"),
        Column("Undoes", ".spec.undo.rollbackRef.name", wide=True),
        Column("Environment", ".status.environmentName"),
        Column("Phase", ".status.phase"),
        Column("Step", ".status.progress.step"),
        Column("%", ".status.progress.percent", "integer"),
        Column("Position", ".status.position", wide=True),
        Column("Undo-Until", ".status.undoUntil", wide=True),
        _REASON,
        _AGE,
    ),
    description="Returns an environment to a snapshot, or leaves it unchanged.",
)
SNAPSHOT_POLICY = Kind(
    kind="SnapshotPolicy",
    models=_snapshot_policy,
    plural="snapshotpolicies",
    short="opol",
    columns=(
        Column("Phase", ".status.phase"),
        Column("Last-Succeeded", '.status.conditions[?(@.type=="LastSnapshotSucceeded")].status'),
        Column("Last", ".status.lastSuccessfulTime", "date"),
        Column("Next", ".status.nextScheduleTime"),
        Column("Kept", ".status.kept.total", "integer"),
        Column("Pinned", ".status.pinned", "integer", wide=True),
        _REASON,
        _AGE,
    ),
    description="When snapshots of an environment are taken, and how long they are kept.",
    rules=(
        rule(
            "self.metadata.name == self.spec.environmentRef.name",
            "the policy of an environment has the environment's name; set metadata.name to spec.environmentRef.name",
        ),
    ),
)
EXTRACT = Kind(
    kind="Extract",
    models=_extract,
    plural="extracts",
    short="oext",
    columns=(
        Column("Snapshot", ".spec.snapshotRef.name"),
        Column("Phase", ".status.phase"),
        Column("%", ".status.progress.percent", "integer"),
        Column("Files", ".status.result.files", "integer"),
        Column("Bytes", ".status.result.bytes", "integer"),
        Column("Read", ".status.result.bytesRead", "integer", wide=True),
        Column("Key", ".status.result.key", wide=True),
        Column("Folder", ".status.result.folder", wide=True),
        Column("Expires", ".status.resultExpiresAt"),
        _REASON,
        _AGE,
    ),
    description="Some files of a snapshot, beside what is live.",
)
KINDS = (ENVIRONMENT, SNAPSHOT_STORE, SNAPSHOT, SNAPSHOT_POLICY, ROLLBACK, EXTRACT)
