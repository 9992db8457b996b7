"""The command ``test-restore``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field

from ocore_crds.commands.base import (
    CAPACITY,
    IDENTITY,
    JOBS,
    MANIFEST,
    SCRATCH,
    SNAPSHOT_IDS,
    STORE,
    Capacity,
    Command,
    Jobs,
    OfSnapshot,
)
from ocore_crds.commands.parts import TMP, DatabaseAccess
from ocore_crds.model import StatusModel
from ocore_crds.reports.base import Finding


class RestoreTestRequest(OfSnapshot):
    """Restore a snapshot into a scratch database, check every row count, index and file, and drop it. What a restore
    would lack is a result."""

    database: DatabaseAccess | None = None
    scratch: str = Field(default=TMP, description=SCRATCH)
    manifest_sha256: str | None = Field(default=None, description=MANIFEST)
    identity: str | None = Field(default=None, description=IDENTITY)
    capacity: Capacity | None = Field(default=None, description=CAPACITY)
    assertions: str | None = Field(
        default=None, description="Folder with queries that must return no row in the restored database."
    )
    separate_server: bool = Field(default=False, description="The server of --database is not the environment's own.")
    jobs: Jobs = Field(default=1, description=JOBS)


class RestoreTestFigures(StatusModel):
    """What a test restore has measured and checked. Figures that were not measured are 0."""

    manifest_sha256: str = Field(
        default="", description="SHA-256 of the manifest that was restored; empty: it was not read."
    )
    duration_seconds: float = Field(default=0.0, description="How long the test took.")
    download_seconds: float = Field(default=0.0, description="Reading the dump from the store.")
    load_seconds: float = Field(default=0.0, description="Loading the dump, building indexes, ANALYZE.")
    check_seconds: float = Field(default=0.0, description="Indexes, rows of every table, own queries.")
    files_seconds: float = Field(default=0.0, description="Reading the filestore's packs and comparing digests.")
    server: str = Field(default="", description="Host and port of the server that it was restored on.")
    server_version: str = Field(default="", description="Version of that server.")
    separate_server: bool = Field(default=False, description="It is the server of `verify.server`.")
    database_bytes: int = Field(default=0, description="Size of the restored database.")
    tables: int = Field(default=0, description="Tables whose rows were counted and compared with the dump.")
    rows: int = Field(default=0, description="Rows of these tables.")
    indexes: int = Field(default=0, description="Valid indexes.")
    constraints: int = Field(default=0, description="Validated constraints.")
    queries: int = Field(default=0, description="Scripts of `verify.assertions` of which no query returned a row.")
    attachments: int = Field(
        default=0, description="Layout `Odoo`: files that the restored database names; all are in the snapshot."
    )
    files: int = Field(default=0, description="Files whose digest matched.")
    file_bytes: int = Field(default=0, description="Bytes of these files.")
    bytes: int = Field(default=0, description="Bytes of the snapshot that were read from the store.")
    checked: tuple[str, ...] = Field(default=(), description="What was checked and held.")
    not_checked: tuple[str, ...] = Field(
        default=(), description="What the test cannot know: nothing affirms it, and nothing speaks against it."
    )
    warnings: tuple[str, ...] = Field(default=(), description="What should be known, and blocks nothing.")


class RestoreTestResult(RestoreTestFigures):
    """Of ``test-restore``: what was restored into a scratch database and checked. No finding: the snapshot can be
    restored."""

    kind: Literal["test-restore"] = "test-restore"
    findings: tuple[Finding, ...] = Field(default=(), description="What a restore of this snapshot would lack.")


ROW = Command(
    "test-restore",
    RestoreTestRequest,
    (RestoreTestResult,),
    "background",
    3,
    (f"{STORE} --database ~/secret {SNAPSHOT_IDS} --scratch /tmp --capacity 50000000000",),
    patience=120.0,
)
