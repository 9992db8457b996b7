"""The command ``preview``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field

from ocore_crds.commands.base import (
    CAPACITY,
    IDENTITY,
    MANIFEST,
    SITE,
    SNAPSHOT_IDS,
    STORE,
    Capacity,
    Command,
    OnEnvironment,
)
from ocore_crds.commands.parts import StoreAccess
from ocore_crds.model import Sentence, Uuid
from ocore_crds.reports.base import Finding, Line


class PreviewRequest(OnEnvironment):
    """Report what a rollback would do: rows, files to move, space, what would refuse it. Changes nothing."""

    store: StoreAccess
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    snapshot_id: Uuid = Field(description="Identity of the snapshot (UUID).")
    manifest_sha256: str | None = Field(default=None, description=MANIFEST)
    identity: str | None = Field(default=None, description=IDENTITY)
    capacity: Capacity | None = Field(default=None, description=CAPACITY)


class TableRows(Line):
    """One of the largest tables, as ``preview`` found it."""

    name: str = Field(description="Schema and name.")
    now: int | None = Field(
        default=None, description="Estimated rows of the live table; None: never analyzed, or it does not exist."
    )
    then: int | None = Field(default=None, description="Rows counted in the dump; None: not counted, or not in it.")
    exists: bool = Field(default=True, description="Whether the live database has it.")


class PreviewResult(Line):
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


ROW = Command(
    "preview", PreviewRequest, (PreviewResult,), "asked", 2, (f"{STORE} {SITE} {SNAPSHOT_IDS}",), patience=0.0
)
