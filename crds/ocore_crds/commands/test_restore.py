"""The command ``test-restore``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field

from ..reports import Finding, Line
from .base import CAPACITY, JOBS, MANIFEST, SCRATCH, SNAPSHOT_IDS, STORE, Capacity, Command, Jobs, OfSnapshot
from .parts import TMP, DatabaseAccess


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


class RestoreTestPhases(Line):
    """Seconds that the parts of a test restore took; 0: it did not get so far, or the snapshot has no such part."""

    download_seconds: float = Field(default=0.0, description="The dump into scratch, every byte checked.")
    load_seconds: float = Field(default=0.0, description="pg_restore, indexes, ANALYZE, owners and grants.")
    check_seconds: float = Field(default=0.0, description="Indexes, extensions, rows of every table, own queries.")
    files_seconds: float = Field(default=0.0, description="Every byte of the filestore, and each file's digest.")


class RestoreTestResult(Line):
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


ROW = Command(
    "test-restore",
    RestoreTestRequest,
    (RestoreTestResult,),
    "background",
    3,
    (f"{STORE} --database ~/secret {SNAPSHOT_IDS} --scratch /tmp --capacity 50000000000",),
    patience=120.0,
)
