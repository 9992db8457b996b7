"""The protocol between a Job's program (ocore_mover) and the operator.

Mover to operator: JSON lines on stdout (:data:`Report`), the last one a :class:`Result`. The termination message (4 KiB
at most) holds the same result. Operator to mover: the annotation ``ocore.dev/signal`` of the switch Job's pod
(:class:`Signal`), read through a downward-API volume.
"""

import json
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from .manifest import Evidence, Identity
from .model import Model, Sentence, Timestamp
from .replication import Replication
from .snapshot_state import StoredState
from .stored_contents import ManifestsResult, OrphansResult, RemovedOrphans
from .text import shortened_bytes

TERMINATION_MESSAGE_BYTES = 4096
#: Most bytes of each message in a termination message that is too long: the first one with which all fit.
_MESSAGE_LIMITS = (3000, 2000, 1500, 1000, 700, 500, 300, 200, 100, 50)
#: Where the kubelet reads the termination message.
TERMINATION_MESSAGE_PATH = "/dev/termination-log"


class Step(StrEnum):
    """Steps of a snapshot and of a rollback."""

    PREPARE = "Prepare"
    DUMP_DATABASE = "DumpDatabase"
    COPY_FILESTORE = "CopyFilestore"
    CAPTURE_CONFIG = "CaptureConfig"
    PUBLISH = "Publish"
    VERIFY = "Verify"
    PREFLIGHT = "Preflight"
    SAFETY_SNAPSHOT = "SafetySnapshot"
    RESTORE_DATABASE = "RestoreDatabase"
    RESTORE_FILESTORE = "RestoreFilestore"
    CHECK = "Check"
    NEUTRALIZE = "Neutralize"
    QUIESCE = "Quiesce"
    SWITCH = "Switch"
    RESTORE_IMAGE = "RestoreImage"
    RESUME = "Resume"
    HEALTH_CHECK = "HealthCheck"
    SWITCH_BACK = "SwitchBack"
    CLEANUP = "Cleanup"
    COPY_REMOTE = "CopyRemote"


SNAPSHOT_STEPS = (
    Step.PREPARE,
    Step.DUMP_DATABASE,
    Step.COPY_FILESTORE,
    Step.CAPTURE_CONFIG,
    Step.PUBLISH,
    Step.VERIFY,
)
ROLLBACK_STEPS = (
    Step.PREFLIGHT,
    Step.RESTORE_DATABASE,
    Step.RESTORE_FILESTORE,
    Step.CHECK,
    Step.NEUTRALIZE,
    Step.QUIESCE,
    Step.SWITCH,
    Step.RESUME,
    Step.HEALTH_CHECK,
    Step.CLEANUP,
)
#: Steps that a Rollback has only where its spec asks for them, each with the step that it comes after.
ASKED_STEPS = {Step.SAFETY_SNAPSHOT: Step.PREFLIGHT, Step.RESTORE_IMAGE: Step.SWITCH}


class _Line(Model):
    model_config = ConfigDict(extra="ignore")


class StepReport(_Line):
    """A step began or ended."""

    type: Literal["step"] = "step"
    step: Step
    state: Literal["Running", "Done", "Skipped", "Failed"]
    message: str = ""
    time: str


class ProgressReport(_Line):
    """Progress of a step. Totals are estimates, 0 where they are not known; done never exceeds a known total."""

    type: Literal["progress"] = "progress"
    step: Step
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    time: str


class ReadyReport(_Line):
    """The switch Job is connected, has checked everything and waits for its signal."""

    type: Literal["ready"] = "ready"
    time: str


class DatabaseFacts(_Line):
    """What ``probe`` found in the database."""

    name: str = ""
    missing: bool = Field(
        default=False, description="The server has no database of this name; the others are facts of the server."
    )
    server_identity: str = Field(
        default="",
        description="System identifier of the server and when it started: clones of a server differ in the latter.",
    )
    server_version: str = ""
    server_major: int = 0
    size_bytes: int = 0
    used_bytes: int = Field(default=0, description="All databases of the default tablespace.")
    owner: str = ""
    user: str = ""
    attachments: bool = Field(default=False, description="Whether the table ir_attachment exists.")
    outside_attachments: int = Field(
        default=0,
        description=(
            "Attachments among the newest and the oldest ones that the application keeps outside the filestore."
        ),
    )
    extensions: tuple[str, ...] = ()
    schema_fingerprint: str = Field(
        default="",
        description=(
            "Changes with the schema and with all else that a schema-only restore depends on; empty where it could not"
            " be read."
        ),
    )
    replication: Replication | None = Field(default=None, description="None where nothing is replicated.")


class FilestoreFacts(_Line):
    """What ``probe`` found in the filestore."""

    file_count: int = 0
    size_bytes: int = 0
    hard_links: bool = False
    free_bytes: int = 0
    uid: int = 0
    gid: int = 0


class Finding(_Line):
    """Something that blocks an operation, with the fix (for example the missing ``ALTER ROLE``)."""

    reason: str
    message: Sentence


class ProbeResult(_Line):
    """Of ``probe``. `blocking` findings block snapshots and rollbacks, `rollback` findings block rollbacks."""

    kind: Literal["probe"] = "probe"
    database: DatabaseFacts | None = None
    filestore: FilestoreFacts | None = None
    blocking: tuple[Finding, ...] = ()
    creatable: tuple[Finding, ...] = Field(
        default=(),
        description=(
            "What does not exist and a rollback creates: the database, and with it the filestore's folder. They block"
            " snapshots only."
        ),
    )
    rollback: tuple[Finding, ...] = ()
    own_store: tuple[Finding, ...] = Field(
        default=(),
        description=(
            "Why the Jobs' user cannot use the own store. They block snapshots, and rollbacks unless a remote store is"
            " ready."
        ),
    )
    snapshots: tuple[Finding, ...] = Field(
        default=(), description="What blocks snapshots only: the configuration's file on the claim cannot be stored."
    )
    warnings: tuple[str, ...] = ()


class SizesResult(_Line):
    """Of ``measure``: a part that the environment does not have is 0."""

    kind: Literal["sizes"] = "sizes"
    database_bytes: int = 0
    filestore_bytes: int = 0
    filestore_files: int = 0
    warnings: tuple[str, ...] = Field(default=(), description="Why the sizes are too low, if they are.")


class ProofResult(_Line):
    """Of ``prove``: the live database's schema was restored into a scratch database, which was dropped. No finding: it
    works."""

    kind: Literal["proof"] = "proof"
    schema_fingerprint: str = Field(default="", description="Of the schema that was restored, as in DatabaseFacts.")
    findings: tuple[Finding, ...] = Field(default=(), description="Why the restore failed.")
    warnings: tuple[str, ...] = ()


class StoreProbeResult(_Line):
    """Of ``probe-store``."""

    kind: Literal["probe-store"] = "probe-store"
    store_id: str
    checksums: Literal["Server", "ReadBack"] | None = Field(
        default=None,
        description=(
            "`Server`: the store refuses bytes that do not match their SHA-256. `ReadBack`: it does not; every object"
            " is read back. Absent: the store was probed without writing."
        ),
    )
    conditional_writes: bool = Field(default=False, description="Whether the store honours If-None-Match on a write.")
    warnings: tuple[str, ...] = ()


class SnapshotResult(_Line):
    """Of ``snapshot`` and ``inspect`` (snapshot): everything that the Snapshot's status needs."""

    kind: Literal["snapshot"] = "snapshot"
    attempt: str
    identity: Identity | None = Field(default=None, description="The identity in the manifest.")
    manifest_key: str
    manifest_sha256: str
    store_id: str
    started_at: str
    consistent_at: str
    completed_at: str
    server_version: str = ""
    server_major: int = 0
    client_version: str = ""
    database_bytes: int = Field(default=0, description="Size of the live database.")
    database_stored_bytes: int = 0
    database_restore_bytes: int = Field(default=0, description="Scratch that a restore needs.")
    neutralized: bool | None = Field(default=None, description="Whether the database was neutralised. None: unknown.")
    filestore_bytes: int = 0
    filestore_files: int = 0
    filestore_stored_bytes: int = 0
    stored_bytes: int = 0
    checksums: dict[str, str] = Field(
        default_factory=dict, description="Artifact → SHA-256 over its objects' digests, and of the manifest."
    )
    paths: dict[str, str] = Field(default_factory=dict, description="Artifact → key or key prefix in the store.")
    evidence: Evidence = Evidence()
    read_back: bool = Field(default=False, description="Every byte was read again and matched.")
    base_snapshot_id: str = Field(
        default="",
        description="Id of the full snapshot that has the files which this one does not store. Empty: a full.",
    )
    base_manifest_sha256: str = Field(default="", description="SHA-256 of its manifest. Empty: a full.")
    state: StoredState | None = Field(
        default=None,
        description="What the state object in the store has. None: it has none, or an older mover reports.",
    )


class StateResult(_Line):
    """Of ``write-state``: what the state object has now."""

    kind: Literal["state"] = "state"
    state: StoredState


class RestoreResult(_Line):
    """Of ``restore``: the restored copy exists beside the live one and is checked."""

    kind: Literal["restore"] = "restore"
    restored_database: str = ""
    live_missing: bool = Field(
        default=False, description="There was no live database: the switch creates it, and leaves no previous one."
    )
    database_bytes: int = 0
    files_added: int = 0
    bytes_added: int = 0
    evidence: Evidence = Evidence()


class NeutralizeResult(_Line):
    """Of ``neutralize``: the restored copy is neutralised, or has its own identity, and every assertion held."""

    kind: Literal["neutralize"] = "neutralize"
    neutralized: bool = Field(description="False: only its identity was changed.")
    evidence: Evidence = Evidence()


class Failure(_Line):
    """Why a command failed: a reason of conditions.py, and a message with the cause and the remedy."""

    reason: str
    message: Sentence
    retryable: bool = Field(default=False, description="A new attempt may succeed without any change.")


class SwitchResult(_Line):
    """Of ``switch`` and ``inspect`` (rollback): what the environment runs on."""

    kind: Literal["switch"] = "switch"
    position: Literal["Old", "New"]
    live_database: str = ""
    previous_database: str = ""
    restored_database: str = ""
    accepting_connections: bool = Field(
        default=True, description="False: an interrupted switch left the live database refusing them."
    )
    refused_seconds: float | None = Field(
        default=None,
        description="How long connections were refused. None: this Job did not switch, or did not see all of it.",
    )
    superseded: bool = Field(
        default=False,
        description=(
            "A later rollback has switched. The position is what this one left: New, and its previous database may"
            " exist."
        ),
    )
    relinked_files: int = 0
    replication_ended: tuple[str, ...] = Field(
        default=(), description="What happened to slots and subscriptions of the database that is not live any more."
    )
    failure: Failure | None = Field(
        default=None,
        description="Why a switch that received its signal did not switch. The Job has ended, so it never will.",
    )


class VerifyResult(_Line):
    """Of ``verify``."""

    kind: Literal["verify"] = "verify"
    objects: int
    bytes_read: int
    evidence: Evidence = Evidence()


class RestoreTestPhases(_Line):
    """Seconds that the parts of a test restore took; 0: it did not get so far, or the snapshot has no such part."""

    download_seconds: float = Field(default=0.0, description="The dump into scratch, every byte checked.")
    load_seconds: float = Field(default=0.0, description="pg_restore, indexes, ANALYZE, owners and grants.")
    check_seconds: float = Field(default=0.0, description="Indexes, extensions, rows of every table, own queries.")
    files_seconds: float = Field(default=0.0, description="Every byte of the filestore, and each file's digest.")


class RestoreTestResult(_Line):
    """Of ``test-restore``: what was restored into a scratch database and checked. No finding: the snapshot can be
    restored."""

    kind: Literal["test-restore"] = "test-restore"
    manifest_sha256: str = Field(default="", description="Of the manifest that was restored; empty: it was not read.")
    server: str = Field(default="", description="Host and port of the server; empty without a database.")
    server_version: str = ""
    separate_server: bool = Field(default=False, description="It is not the environment's own server.")
    seconds: float = 0.0
    phases: RestoreTestPhases = RestoreTestPhases()
    database_bytes: int = Field(default=0, description="Size of the restored database.")
    tables: int = Field(default=0, description="Tables whose rows were counted and compared.")
    rows: int = Field(default=0, description="Rows of these tables.")
    indexes: int = Field(default=0, description="Valid indexes.")
    constraints: int = Field(default=0, description="Validated constraints.")
    queries: int = Field(default=0, description="Assertions that returned no row.")
    attachments: int = Field(default=0, description="Files that the restored database names and the snapshot has.")
    files: int = Field(default=0, description="Files whose digest matches.")
    file_bytes: int = Field(default=0, description="Their bytes.")
    bytes_read: int = Field(default=0, description="Bytes of the snapshot that were read from the store.")
    checked: tuple[str, ...] = Field(default=(), description="What was checked and held, one sentence for each.")
    not_checked: tuple[str, ...] = Field(default=(), description="What this test cannot know.")
    findings: tuple[Finding, ...] = Field(default=(), description="What a restore of this snapshot would lack.")
    warnings: tuple[str, ...] = ()


class KeptVersions(_Line):
    """Versions of deleted objects that an S3 store does not give up. The objects themselves are hidden."""

    versions: int | None = Field(default=None, description="How many. None: the credentials may not list them.")
    bytes: int = 0
    until: Timestamp | None = Field(default=None, description="When the last retention (Object Lock) ends.")
    legal_hold: bool = Field(default=False, description="A legal hold keeps some of them, until a person removes it.")

    @property
    def locked(self) -> bool:
        """Whether Object Lock keeps them. False: the credentials may not delete versions."""
        return self.legal_hold or self.until is not None


class DeleteResult(_Line):
    """Of ``delete``."""

    kind: Literal["delete"] = "delete"
    objects: int = 0
    uploads_aborted: int = 0
    kept: KeptVersions | None = Field(default=None, description="None: nothing is left.")


class CopyResult(_Line):
    """Of ``copy-remote``: the remote store has every object and the manifest, byte for byte."""

    kind: Literal["copy-remote"] = "copy-remote"
    store_id: str = Field(description="Id of the remote store.")
    origin_store_id: str = Field(description="The manifest's storeId: the store that the snapshot was written to.")
    manifest_key: str
    manifest_sha256: str
    objects: int = 0
    bytes: int = 0
    objects_sent: int = Field(default=0, description="An earlier attempt had sent the others.")
    bytes_sent: int = 0
    state: StoredState | None = Field(
        default=None, description="What the state object in the remote store has. None: it has none."
    )


class CopyChecked(_Line):
    """Of ``check-copy``: the remote store has every object that a restore from it needs, by name and size."""

    kind: Literal["check-copy"] = "check-copy"
    objects: int = 0
    bytes: int = 0


#: Which half of a rollback ``cleanup`` removes.
CleanupPart = Literal["previous", "restored"]


class CleanupResult(_Line):
    """Of ``cleanup``: what was removed."""

    kind: Literal["cleanup"] = "cleanup"
    databases_dropped: tuple[str, ...] = ()
    folders_removed: tuple[str, ...] = ()
    #: Files in the filestore that the live database does not name, put on the application's checklist. None: they could
    #: not be, see `not_listed`.
    files_listed: int | None = 0
    not_listed: str = ""


class TableRows(_Line):
    """One of the largest tables, as ``preview`` found it."""

    name: str = Field(description="Schema and name.")
    now: int | None = Field(
        default=None, description="Estimated rows of the live table; None: never analyzed, or it does not exist."
    )
    then: int | None = Field(default=None, description="Rows counted in the dump; None: not counted, or not in it.")
    exists: bool = Field(default=True, description="Whether the live database has it.")


class PreviewResult(_Line):
    """Of ``preview``: what a restore would read and write. Each part that could not be read is None, with a message in
    `unread`."""

    kind: Literal["preview"] = "preview"
    consistent_at: str = ""
    server_version_now: str = ""
    server_version_then: str = ""
    database_missing: bool = Field(default=False, description="The server has no database of that name.")
    database_bytes_now: int | None = None
    database_bytes_then: int | None = None
    rows_counted: bool | None = Field(default=None, description="Whether the snapshot has counted rows; None: unknown.")
    tables: tuple[TableRows, ...] = ()
    table_count: int = Field(
        default=0, description="Number of `tables`: a termination message may have no room for them."
    )
    files_then: int | None = None
    file_bytes_then: int | None = None
    files_to_move: int | None = None
    bytes_to_move: int | None = None
    filestore_free_bytes: int | None = None
    filestore_needed_bytes: int | None = Field(default=None, description="The files, and what must stay free.")
    refusals: tuple[Finding, ...] = Field(
        default=(), description="What a restore would refuse before it touches anything."
    )
    unread: tuple[Sentence, ...] = ()


Payload = Annotated[
    ProbeResult
    | SizesResult
    | ProofResult
    | StoreProbeResult
    | SnapshotResult
    | StateResult
    | ManifestsResult
    | OrphansResult
    | RemovedOrphans
    | RestoreResult
    | NeutralizeResult
    | SwitchResult
    | VerifyResult
    | RestoreTestResult
    | DeleteResult
    | CopyResult
    | CopyChecked
    | CleanupResult
    | PreviewResult,
    Field(discriminator="kind"),
]


class Result(_Line):
    """The last line of every command, and its termination message."""

    type: Literal["result"] = "result"
    ok: bool
    payload: Payload | None = None
    failure: Failure | None = None
    time: str

    def termination_message(self) -> str:
        """The result as JSON of at most 4 KiB. Warnings, paths, evidence, tables and the ends of long messages are
        dropped first."""
        data = self.wire()
        payload = data.get("payload") or {}
        for victim in ("", "warnings", "checked", "notChecked", "paths", "replicationEnded", "evidence", "tables"):
            payload.pop(victim, None)
            text = json.dumps(data, separators=(",", ":"))
            if len(text.encode()) <= TERMINATION_MESSAGE_BYTES:
                return text
        replication = (payload.get("database") or {}).get("replication") or {}
        for key in replication:
            replication[key] = replication[key][:3]
        # Long messages: each as long as all of them together allow.
        findings = [
            f
            for key in ("blocking", "creatable", "rollback", "ownStore", "findings", "refusals")
            for f in payload.get(key, ())
        ]
        messages = [f for f in (data.get("failure"), payload.get("failure"), *findings) if f]
        whole = [f["message"] for f in messages]
        for limit in _MESSAGE_LIMITS:
            for holder, message in zip(messages, whole, strict=True):
                holder["message"] = shortened_bytes(message, limit)
            text = json.dumps(data, separators=(",", ":"))
            if len(text.encode()) <= TERMINATION_MESSAGE_BYTES:
                break
        return text


Report = Annotated[StepReport | ProgressReport | ReadyReport | Result, Field(discriminator="type")]
_REPORT: TypeAdapter[Any] = TypeAdapter(Report)


def parse_line(line: str) -> StepReport | ProgressReport | ReadyReport | Result | None:
    """One line of a Job's log; None if it is not a report (a log event, a stray print, a torn line)."""
    if not line.startswith("{"):
        return None
    try:
        report: StepReport | ProgressReport | ReadyReport | Result = _REPORT.validate_json(line)
    except ValueError:
        return None
    return report


class FreezeSignal(_Line):
    """The operator's order to a snapshot Job that waits: the workloads are stopped, freeze now. In the annotation
    ``ocore.dev/signal``."""

    action: Literal["Freeze"] = "Freeze"
    #: Seconds since the epoch. A signal read later than this is not obeyed.
    not_after: float


class Signal(_Line):
    """The operator's order to the waiting switch Job, as JSON in the annotation ``ocore.dev/signal``."""

    action: Literal["Switch"] = "Switch"
    #: Seconds since the epoch. A signal read later than this is not obeyed.
    not_after: float
