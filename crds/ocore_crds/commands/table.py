"""The table of the mover's commands: each command's request, and its row. Pure."""

from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from .. import layouts
from .. import protocol as p
from ..layouts import Layout
from ..manifest import Identity
from ..model import Model, Uuid
from ..rollback_record import RollbackRun
from ..snapshot_state import StoredState
from ..stored_contents import ManifestsResult, OrphansResult, RemovedOrphans
from .parts import (
    TMP,
    BaseSnapshot,
    DatabaseAccess,
    FilestoreAccess,
    Option,
    SignalWait,
    SourceStore,
    StoreAccess,
)

#: Which Jobs share a limit: ``ocore_operator.jobs.limits``.
LimitsClass = Literal["heavy", "light", "proof", "test", "copy", "deletion", "contents", "free"]

Jobs = Annotated[int, Field(ge=1, le=32)]
JOBS = "Tables to dump or restore, and packs to write, in parallel."
Capacity = Annotated[int, Field(ge=1)]
CAPACITY = "Bytes that the volume of the server's databases holds."
SCRATCH = "Folder for temporary dump files."
MANIFEST = "Expected SHA-256 of the manifest."
REPLICATION = (
    "Break logical replication of the live database: after the switch drop its slots and detach its subscriptions."
)
RECORD = (
    "The Rollback for the record in the store (rollback_record.RollbackRun), so that it runs once. Default: no record."
)
SOURCE = "source-"
#: Age in seconds from which an object that no manifest names is an orphan: longer than any snapshot may run.
ORPHAN_AGE = 7 * 86400.0
#: Of a command that reports on an environment which may have no id yet.
NO_ID = "00000000-0000-0000-0000-000000000000"


class Request(Model):
    """What every command may be asked."""

    model_config = ConfigDict(defer_build=True)

    deadline: float | None = Field(default=None, ge=1, description="Seconds after which the command fails.")
    verbose: bool = Field(default=False, description="Log debug events to stderr.")


RequestT = TypeVar("RequestT", bound=Request)
ResultT = TypeVar("ResultT", bound=Model)


@dataclass(frozen=True)
class Command(Generic[RequestT]):
    """The row of one command."""

    name: str
    request: type[RequestT]
    #: What it reports: the models of ``Result.payload``.
    results: tuple[type[Model], ...]
    limits: LimitsClass
    #: Attempts in all at a Job whose failure may pass, one soon after the other. Then the object fails, or further ones
    #: are made after long pauses, as its plan says.
    attempts: int
    #: The options of a call at a shell, as examples.
    examples: tuple[str, ...]
    #: How often the kubelet restarts the container of one Job.
    restarts: int = 0
    #: Seconds for the command to clean up and end once it is cancelled.
    grace: float = 20.0


class OnEnvironment(Request):
    """A command on the environment itself: database, filestore, or both."""

    database: DatabaseAccess | None = None
    filestore: FilestoreAccess | None = None

    @model_validator(mode="after")
    def _target(self) -> "OnEnvironment":
        if self.needs_target():
            check_target(self.database, self.filestore)
        return self

    def needs_target(self) -> bool:
        """Whether the command works on the environment."""
        return True

    @property
    def layout(self) -> Layout:
        """The filestore's layout; the default without a filestore."""
        return self.filestore.layout if self.filestore is not None else layouts.DEFAULT


def check_target(database: DatabaseAccess | None, filestore: FilestoreAccess | None) -> None:
    """Raises ValueError where both are missing, or do not fit together."""
    if database is None and filestore is None:
        raise ValueError("give --database, --claim or both")
    if filestore is not None and filestore.layout in layouts.NAMED and database is None:
        raise ValueError("layout Odoo needs --database, which names the files; or give --layout Plain")
    if filestore is not None and filestore.layout in layouts.RENAMED and not filestore.path:
        raise ValueError("layout Plain needs --filestore, a path below the claim's root")


class OfSnapshot(Request):
    """A command on a stored snapshot."""

    store: StoreAccess
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    snapshot_id: Uuid = Field(description="Identity of the snapshot (UUID).")


class OfRollback(OnEnvironment):
    """A command on what a rollback has restored."""

    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    rollback_id: Uuid = Field(description="Identity of the rollback (UUID).")


class ProbeRequest(OnEnvironment):
    """Report rights, sizes, extensions and filestore of an environment. Missing rights are a result, not a failure."""

    environment_id: Uuid = Field(default=NO_ID, description="Identity of the environment (UUID).")
    rollback: bool = Field(default=True, description="Also check what a rollback needs.")
    jobs: Jobs = Field(default=2, description=JOBS)
    propose_user: bool = Field(
        default=False, description="This user is not the application's: only report the owner of the files."
    )
    store: str = Field(default="", description="file:///folder: also check that this user can store snapshots there.")
    store_name: str = Field(default="", description="What messages call the store. Default: its URL.")
    config_file: str = Field(default="", description="File with the configuration, below the claim's root.")


class MeasureRequest(OnEnvironment):
    """Report the sizes of the live database and filestore, and nothing else."""

    environment_id: Uuid = Field(default=NO_ID, description="Identity of the environment (UUID).")


class ProveRequest(Request):
    """Restore the schema of the live database into a scratch database and drop it. A restore that fails is a
    result."""

    database: DatabaseAccess
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    scratch: str = Field(default=TMP, description=SCRATCH)
    jobs: Jobs = Field(default=2, description=JOBS)


class ProbeStoreRequest(Request):
    """Check a store and write its id where it has none. Run this first for a new store. With --store-read-only it
    writes nothing."""

    store: StoreAccess


class SnapshotRequest(OnEnvironment):
    """Take a snapshot of database, filestore and configuration. The application keeps running."""

    store: StoreAccess
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    snapshot_id: Uuid = Field(description="Identity of the snapshot (UUID).")
    scratch: str = Field(default=TMP, description=SCRATCH)
    attempt: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$")] = Field(
        default="1", description="Separates two writers of one snapshot. In a pod its uid is added."
    )
    identity: Identity | None = Field(
        default=None, description="Identity for the manifest (manifest.Identity). Default: a development environment."
    )
    config: str | None = Field(default=None, description="Folder: the mounted ConfigMap to store.")
    config_file: str = Field(
        default="", description="File with the configuration, below the claim's root, in place of --config."
    )
    verify: Literal["Checksums", "Full"] = Field(
        default="Checksums", description="Full: read every byte again at the end."
    )
    jobs: Jobs = Field(default=2, description=JOBS)
    quiesce: SignalWait | None = Field(default=None, description="Freeze when the signal appears.")
    base: Annotated[BaseSnapshot | None, Option("base-")] = Field(default=None, description="Absent: a full.")
    state: StoredState | None = Field(
        default=None, description="Pin, retention and deletionPolicy for the state object (snapshot_state.StoredState)."
    )

    @model_validator(mode="after")
    def _fits(self) -> "SnapshotRequest":
        if self.config_file and (self.config is not None or self.filestore is None):
            raise ValueError("give --config-file with --claim and without --config")
        identity = self.identity
        ids = (self.environment_id, self.snapshot_id)
        if identity is not None and (identity.environment_id, identity.snapshot_id) != ids:
            raise ValueError("the ids of --identity differ from --environment-id and --snapshot-id")
        return self


class VerifyRequest(OfSnapshot):
    """Read every byte of a snapshot and compare it with the manifest."""

    manifest_sha256: str | None = Field(default=None, description=MANIFEST)
    jobs: Jobs = Field(default=2, description=JOBS)


class WriteStateRequest(OfSnapshot):
    """Store pin, retention and deletionPolicy of a snapshot beside its manifest, for an import."""

    state: StoredState = Field(
        default=StoredState(),
        description="Pin, retention and deletionPolicy for the state object (snapshot_state.StoredState).",
    )


class RestoreTestRequest(OfSnapshot):
    """Restore a snapshot into a scratch database, check every row count, index and file, and drop it. What a restore
    would lack is a result."""

    database: DatabaseAccess | None = None
    scratch: str = Field(default=TMP, description=SCRATCH)
    manifest_sha256: str | None = Field(default=None, description=MANIFEST)
    capacity: Capacity | None = Field(default=None, description=CAPACITY)
    assertions: str | None = Field(
        default=None, description="Folder with queries that must return no row in the restored database."
    )
    separate_server: bool = Field(default=False, description="The server of --database is not the environment's own.")
    jobs: Jobs = Field(default=1, description=JOBS)


class PreviewRequest(OnEnvironment):
    """Report what a rollback would do: rows, files to move, space, what would refuse it. Changes nothing."""

    store: StoreAccess
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    snapshot_id: Uuid = Field(description="Identity of the snapshot (UUID).")
    manifest_sha256: str | None = Field(default=None, description=MANIFEST)
    capacity: Capacity | None = Field(default=None, description=CAPACITY)


class RestoreRequest(OfRollback):
    """Restore a snapshot beside the live environment and check it. The live environment does not change."""

    store: StoreAccess
    source: Annotated[SourceStore | None, Option(SOURCE)] = Field(
        default=None, description="Read the snapshot from this store; --store then has only the record."
    )
    snapshot_id: Uuid = Field(description="Identity of the snapshot (UUID).")
    scratch: str = Field(default=TMP, description=SCRATCH)
    manifest_sha256: str | None = Field(default=None, description=MANIFEST)
    source_environment_id: Uuid | None = Field(
        default=None,
        description=(
            "Environment that the snapshot was taken of, where it is another one. Its database's name, owner and grants"
            " are not used."
        ),
    )
    project_id: Uuid | None = Field(default=None, description="Expected project of the snapshot, in its manifest.")
    record: RollbackRun | None = Field(default=None, description=RECORD)
    allow_replication_loss: bool = Field(default=False, description=REPLICATION)
    neutralize: bool = Field(
        default=False, description="The copy must not become live before `neutralize` has marked it."
    )
    capacity: Capacity | None = Field(default=None, description=CAPACITY)
    jobs: Jobs = Field(default=2, description=JOBS)

    @model_validator(mode="after")
    def _ids(self) -> "RestoreRequest":
        record = self.record
        if record is not None and (record.environment_id, record.rollback_id) != (
            self.environment_id,
            self.rollback_id,
        ):
            raise ValueError("the ids of --record differ from --environment-id and --rollback-id")
        return self


class NeutralizeRequest(Request):
    """Neutralise the restored copy, check that it is, and mark it, so that `switch` accepts it. The live database does
    not change."""

    database: DatabaseAccess
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    rollback_id: Uuid = Field(description="Identity of the rollback (UUID).")
    sql: str | None = Field(
        default=None, description="Folder with scripts that neutralise the copy, in the order of their names."
    )
    hand_over: str | None = Field(
        default=None,
        description="Folder through which another container of the pod gets credentials and runs its command.",
    )
    assertions: str | None = Field(default=None, description="Folder with queries that must return no row afterwards.")
    own_identity: bool = Field(default=False, description="Give the copy a new database.uuid, database.secret and URL.")
    base_url: str | None = Field(default=None, description="With --own-identity: its web.base.url.")
    isolation: Literal["Require", "BestEffort"] = Field(
        default="Require", description="With --hand-over. Require: the pod must not reach a test listener."
    )
    listeners: Annotated[tuple[str, ...], Option("listener")] = Field(
        default=(), description="HOST:PORT of a test listener beside the API server."
    )
    outside: tuple[str, ...] = Field(
        default=(),
        description=(
            "HOST:PORT of a test listener outside of the cluster's networks, which someone else has just reached."
        ),
    )

    @model_validator(mode="after")
    def _method(self) -> "NeutralizeRequest":
        if self.sql is not None and self.hand_over is not None:
            raise ValueError("give either --sql or --hand-over")
        if self.sql is None and self.hand_over is None and not self.own_identity:
            raise ValueError("give --sql, --hand-over or --own-identity")
        return self


class SwitchRequest(OfRollback):
    """Replace the live environment by the restored copy. Stop the application first: its sessions are ended."""

    store: StoreAccess | None = Field(default=None, description="Has the rollback's record.")
    signal: SignalWait | None = None
    now: bool = Field(default=False, description="Switch at once, without a signal.")
    back: bool = Field(default=False, description="With --now: switch to the previous database.")
    undo_to: Literal["Old", "New"] | None = Field(
        default=None,
        description="Undo the rollback (Old) or its undo (New): the position to reach. --back then reverses this.",
    )
    record: RollbackRun | None = Field(default=None, description=RECORD)
    allow_replication_loss: bool = Field(default=False, description=REPLICATION)
    neutralized: bool = Field(default=False, description="Refuse a copy that is not marked as neutralised.")

    @model_validator(mode="after")
    def _fits(self) -> "SwitchRequest":
        if self.now == (self.signal is not None):
            raise ValueError("give either --now or --signal-file")
        if self.back and not self.now:
            raise ValueError("--back needs --now: a switch that waits for its signal switches forward only")
        record = self.record
        if record is None:
            return self
        named = record.undoes if self.undo_to is not None else record.rollback_id
        if (record.environment_id, named) != (self.environment_id, self.rollback_id):
            raise ValueError("the ids of --record differ from --environment-id and --rollback-id")
        if self.store is None and not self.now and self.undo_to is None:
            raise ValueError("give --store with --record")
        return self


class ListManifestsRequest(Request):
    """List one page of the snapshots that a store has for these environments, one JSON line each. Writes nothing."""

    store: StoreAccess
    environments: Annotated[dict[Uuid, Uuid], Option("environment")] = Field(
        default={}, description="ENVIRONMENT:PROJECT, ids of an environment and of its project."
    )
    after: str = Field(default="", description="ENVIRONMENT/SNAPSHOT: `next` of the page before.")


class SweepRequest(Request):
    """Find objects of snapshots that no manifest names. Deletes nothing."""

    store: StoreAccess
    older_than: float = Field(default=ORPHAN_AGE, ge=0, description="Seconds: younger objects are not orphans.")
    report_id: Uuid | None = Field(
        default=None, description="Write the list into the store under this id, for `remove-orphans`."
    )


class RemoveOrphansRequest(Request):
    """Delete what a sweep has reported, where it still is an orphan."""

    store: StoreAccess
    report_id: Uuid = Field(description="Id of the report.")
    sha256: str = Field(description="SHA-256 of the report, as `sweep` has printed it.")


class DeleteRequest(OfSnapshot):
    """Delete a snapshot from the store: its manifest first, then all other objects."""

    source: Annotated[SourceStore | None, Option(SOURCE)] = Field(
        default=None, description="The store of the copy that must be whole."
    )
    attempts_only: bool = Field(
        default=False, description="Delete only objects that no manifest names (leftovers of failed attempts)."
    )
    keep_attempt: str | None = Field(
        default=None, description="With --attempts-only: keep the objects of this attempt, which is still running."
    )
    claim: str | None = Field(
        default=None,
        description=(
            "Mount point of the filestore's claim: also remove the folders that the snapshot's attempts froze."
        ),
    )
    copy_store_id: Uuid | None = Field(
        default=None,
        description=(
            "Delete only if --source-store has this id, and the whole snapshot with the manifest of --manifest-sha256."
        ),
    )
    manifest_sha256: str | None = Field(default=None, description="With --copy-store-id: SHA-256 of the manifest.")
    known_state: StoredState | None = Field(
        default=None,
        description=(
            "Delete only if the store has no pin, or this one (snapshot_state.StoredState): another cluster may have"
            " set it."
        ),
    )

    @model_validator(mode="after")
    def _fits(self) -> "DeleteRequest":
        if self.source is not None and (self.copy_store_id is None or self.manifest_sha256 is None):
            raise ValueError("give --copy-store-id and --manifest-sha256 with --source-store")
        return self


class CheckCopyRequest(OfSnapshot):
    """Check that the store has every object of a copied snapshot, by one listing. Nothing is written."""

    store_id: Uuid = Field(description="Id of the store that the copy was written to.")
    manifest_sha256: str = Field(description="SHA-256 of the manifest.")


class CopyRemoteRequest(OfSnapshot):
    """Copy a snapshot from --source-store to --store, byte for byte. What an earlier attempt has copied is not sent
    again."""

    source: Annotated[SourceStore, Option(SOURCE)]
    manifest_sha256: str | None = Field(
        default=None, description="Copy only if the manifest has this SHA-256; else the snapshot is corrupt."
    )
    jobs: Jobs = Field(default=4, description=JOBS)


class CleanupRequest(OfRollback):
    """Remove what a rollback keeps beside the live environment. The live environment itself is never removed."""

    what: p.CleanupPart = Field(
        description="previous: after the undo window. restored: the rollback ended before the switch."
    )


class InspectRequest(OnEnvironment):
    """Report a snapshot in the store, or the position of a rollback."""

    store: StoreAccess | None = None
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    snapshot_id: Uuid | None = Field(default=None, description="Report this snapshot's manifest.")
    rollback_id: Uuid | None = Field(default=None, description="Report this rollback's position.")
    repair: bool = Field(
        default=False,
        description="With --rollback-id: allow connections, and complete or undo an interrupted switch.",
    )
    workloads_stopped: bool = Field(
        default=False,
        description=(
            "With --repair, layout Plain: move the folder to the database's position. Stop every workload first."
        ),
    )
    allow_replication_loss: bool = Field(default=False, description=REPLICATION)

    def needs_target(self) -> bool:
        """The position is that of the environment; the manifest is in the store."""
        return self.rollback_id is not None

    @model_validator(mode="after")
    def _fits(self) -> "InspectRequest":
        if (self.snapshot_id is None) == (self.rollback_id is None):
            raise ValueError("give either --snapshot-id or --rollback-id")
        if self.snapshot_id is not None and self.store is None:
            raise ValueError("give --store with --snapshot-id")
        return self


_STORE = "--store file:///var/snapshots"
_IDS = "--environment-id 6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01"
_SNAPSHOT = f"{_IDS} --snapshot-id 0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c02"
_ROLLBACK_ID = "--rollback-id 9c7d1f0a-1111-4222-8333-444455556666"
_ROLLBACK = f"{_IDS} {_ROLLBACK_ID}"
_SITE = "--database ~/secret --claim /srv --filestore odoo/filestore/live"
_DIGEST = "0" * 64

PROBE = Command("probe", ProbeRequest, (p.ProbeResult,), "light", 3, (_SITE,))
MEASURE = Command("measure", MeasureRequest, (p.SizesResult,), "light", 1, (_SITE,))
PROVE = Command("prove", ProveRequest, (p.ProofResult,), "proof", 1, (f"--database ~/secret {_IDS} --scratch /tmp",))
PROBE_STORE = Command("probe-store", ProbeStoreRequest, (p.StoreProbeResult,), "light", 3, (_STORE,))
SNAPSHOT = Command(
    "snapshot", SnapshotRequest, (p.SnapshotResult,), "heavy", 3, (f"{_STORE} {_SITE} {_SNAPSHOT} --scratch /tmp",)
)
VERIFY = Command("verify", VerifyRequest, (p.VerifyResult,), "heavy", 3, (f"{_STORE} {_SNAPSHOT}",))
WRITE_STATE = Command(
    "write-state",
    WriteStateRequest,
    (p.StateResult,),
    "light",
    3,
    (f'{_STORE} {_SNAPSHOT} --state {{"pinLabel":"audit"}}',),
)
RESTORE_TEST = Command(
    "test-restore",
    RestoreTestRequest,
    (p.RestoreTestResult,),
    "test",
    3,
    (f"{_STORE} --database ~/secret {_SNAPSHOT} --scratch /tmp --capacity 50000000000",),
)
PREVIEW = Command("preview", PreviewRequest, (p.PreviewResult,), "light", 2, (f"{_STORE} {_SITE} {_SNAPSHOT}",))
RESTORE = Command(
    "restore",
    RestoreRequest,
    (p.RestoreResult,),
    "heavy",
    3,
    (f"{_STORE} {_SITE} {_SNAPSHOT} {_ROLLBACK_ID} --scratch /tmp",),
)
NEUTRALIZE = Command(
    "neutralize",
    NeutralizeRequest,
    (p.NeutralizeResult,),
    "heavy",
    3,
    (f"--database ~/secret --admin ~/admin {_ROLLBACK} --sql ~/scripts",),
)
SWITCH = Command(
    "switch",
    SwitchRequest,
    (p.SwitchResult,),
    "free",
    3,
    (f"--now {_SITE} {_ROLLBACK}", f"--back --now {_SITE} {_ROLLBACK}"),
    restarts=6,
    grace=90.0,
)
LIST_MANIFESTS = Command(
    "list-manifests",
    ListManifestsRequest,
    (ManifestsResult,),
    "contents",
    3,
    (f"{_STORE} --environment 6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01:3f0a4c52-6f1c-4f6e-9a54-0e8e0c5f6a01",),
)
SWEEP = Command("sweep", SweepRequest, (OrphansResult,), "contents", 3, (_STORE,))
REMOVE_ORPHANS = Command(
    "remove-orphans",
    RemoveOrphansRequest,
    (RemovedOrphans,),
    "contents",
    3,
    (f"{_STORE} --report-id 6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01 --sha256 {_DIGEST}",),
)
DELETE = Command("delete", DeleteRequest, (p.DeleteResult,), "deletion", 3, (f"{_STORE} {_SNAPSHOT}",))
CHECK_COPY = Command(
    "check-copy",
    CheckCopyRequest,
    (p.CopyChecked,),
    "light",
    3,
    (
        f"--store s3://elsewhere/copies {_SNAPSHOT} --store-id 7d0b5a53-2222-4333-8444-555566667777"
        f" --manifest-sha256 {_DIGEST}",
    ),
)
COPY_REMOTE = Command(
    "copy-remote",
    CopyRemoteRequest,
    (p.CopyResult,),
    "copy",
    3,
    (f"--source-store file:///var/snapshots --store s3://elsewhere/copies {_SNAPSHOT}",),
)
CLEANUP = Command("cleanup", CleanupRequest, (p.CleanupResult,), "free", 8, (f"--what previous {_SITE} {_ROLLBACK}",))
INSPECT = Command(
    "inspect",
    InspectRequest,
    (p.SnapshotResult, p.SwitchResult),
    "light",
    3,
    (f"{_STORE} {_SNAPSHOT}", f"--repair {_SITE} {_ROLLBACK}"),
)

COMMANDS: dict[str, Command[Any]] = {
    row.name: row
    for row in (
        PROBE,
        MEASURE,
        PROVE,
        PROBE_STORE,
        SNAPSHOT,
        VERIFY,
        WRITE_STATE,
        RESTORE_TEST,
        PREVIEW,
        RESTORE,
        NEUTRALIZE,
        SWITCH,
        LIST_MANIFESTS,
        SWEEP,
        REMOVE_ORPHANS,
        DELETE,
        CHECK_COPY,
        COPY_REMOTE,
        CLEANUP,
        INSPECT,
    )
}
