"""The command ``extract``: its request, its result and its row. Pure."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ocore_crds.commands.base import (
    CAPACITY,
    IDENTITY,
    MANIFEST,
    SCRATCH,
    SNAPSHOT_IDS,
    STORE,
    Capacity,
    Command,
    OfSnapshot,
)
from ocore_crds.commands.parts import TMP, DatabaseAccess, FilestoreAccess, Option
from ocore_crds.model import Uuid
from ocore_crds.reports.base import Line
from ocore_crds.reports.extracted import (
    MAX_TABLES,
    AttachmentName,
    Extracted,
    ExtractedFile,
    ExtractedTable,
    FilePath,
    FilePathOrRoot,
    ModelName,
    NewFolder,
    RecordId,
    TableFormat,
    WantedTable,
    folder_refusal,
    tables_refusal,
)


class TableRequest(WantedTable):
    """One table; at a shell SCHEMA.NAME, or a JSON object with the fields of ``spec.tables``."""

    @model_validator(mode="before")
    @classmethod
    def _of_shell(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.startswith("{"):
            return json.loads(value)
        schema, dot, name = value.partition(".")
        return {"schema": schema, "name": name} if dot else {"name": value}


class ExtractRequest(OfSnapshot):
    """Extract files or tables of a snapshot into the store, files into a new folder on the filestore's claim, or tables
    into a new schema of the live database."""

    extract_id: Uuid = Field(description="Identity of the extract (UUID).")
    manifest_sha256: str | None = Field(default=None, description=MANIFEST)
    identity: str | None = Field(default=None, description=IDENTITY)
    paths: Annotated[tuple[FilePath, ...], Option("path")] = Field(
        default=(), description="File or folder as the snapshot names it; may be repeated."
    )
    model: ModelName | None = Field(default=None, description="Layout Odoo: model of a record with attachments.")
    record: RecordId | None = Field(default=None, description="With --model: id of the record.")
    name: AttachmentName | None = Field(
        default=None, description="With --model: name of the attachment. Default: every attachment of the record."
    )
    listing: Annotated[FilePathOrRoot | None, Option("list")] = Field(
        default=None, description="List the names in this folder instead; empty: the filestore itself."
    )
    list_tables: bool = Field(default=False, description="List the tables of the database instead.")
    tables: Annotated[tuple[TableRequest, ...], Option("table"), Field(max_length=MAX_TABLES)] = Field(
        default=(), description="Rows of a table instead, as SCHEMA.NAME or a JSON object; may be repeated."
    )
    format: TableFormat = Field(default="CSV", description="With --table: CSV, or SQL for psql.")
    into_database: bool = Field(
        default=False, description="With --table: into a new schema of the live database instead of the store."
    )
    database: DatabaseAccess | None = None
    scratch: str = Field(default=TMP, description=SCRATCH)
    capacity: Capacity | None = Field(default=None, description=CAPACITY)
    filestore: FilestoreAccess | None = None
    folder: NewFolder | None = Field(default=None, description="New folder below the claim's root. Default: the store.")

    @model_validator(mode="after")
    def _fits(self) -> "ExtractRequest":
        wanted = [self.paths, self.model is not None, self.listing is not None, self.list_tables, self.tables]
        if sum(map(bool, wanted)) != 1:
            raise ValueError("give exactly one of --path, --model, --list, --list-tables, --table")
        if bool(self.tables) != (self.database is not None):
            raise ValueError("give both --table and --database, or neither")
        if self.into_database and not self.tables:
            raise ValueError("--into-database goes with --table")
        refusal = tables_refusal(self.tables)
        if refusal:
            raise ValueError(f"--table: {refusal}")
        if len({table.name for table in self.tables}) < len(self.tables):
            raise ValueError("--table: two have the same name; extract them one after the other")
        if (self.model is None) != (self.record is None) or (self.name is not None and self.model is None):
            raise ValueError("give both --model and --record, perhaps with --name, or none of them")
        if (self.filestore is None) != (self.folder is None):
            raise ValueError("give both --claim and --folder, or neither")
        if (self.listing is not None or self.list_tables or self.tables) and self.folder is not None:
            raise ValueError("--list, --list-tables and --table go without --folder")
        if self.filestore is not None and self.folder is not None:
            refusal = folder_refusal(self.folder, self.filestore.path)
            if refusal:
                raise ValueError(f"--folder: {refusal}")
        return self


class ExtractResult(Line):
    """Of ``extract``."""

    kind: Literal["extract"] = "extract"
    #: Without `checked` and the tables, which do not fit into every termination message.
    extracted: Extracted
    checked: tuple[ExtractedFile, ...] = ()
    tables: tuple[ExtractedTable, ...] = ()


ROW = Command(
    "extract",
    ExtractRequest,
    (ExtractResult,),
    "heavy",
    3,
    (
        f"--path documents {STORE} {SNAPSHOT_IDS} --extract-id 9c7d1f0a-1111-4222-8333-444455556666",
        f"--table public.res_partner --database ~/secret --capacity 50000000000 {STORE} {SNAPSHOT_IDS}"
        " --extract-id 9c7d1f0a-1111-4222-8333-444455556666",
    ),
    patience=120.0,
)
