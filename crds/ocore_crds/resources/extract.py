"""Extract: some files or tables of a snapshot, beside what is live."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ocore_crds.conditions import ObjectStatus
from ocore_crds.model import LocalRef, Model, Sentence, Timestamp
from ocore_crds.reports.extracted import (
    MAX_TABLES,
    NEW_FOLDER_PATTERN,
    NEW_FOLDER_RULE,
    AttachmentName,
    Extracted,
    ExtractedTable,
    FilePath,
    FilePathOrRoot,
    ModelName,
    NewFolder,
    RecordId,
    TableFormat,
    WantedTable,
)
from ocore_crds.resources.encryption import IDENTITY_REF
from ocore_crds.resources.snapshot import Progress, StepStatus
from ocore_crds.schema.cel_rules import exactly_one, rule, validations


class ExtractFiles(Model):
    """Files and folders of the snapshot's filestore."""

    paths: Annotated[tuple[FilePath, ...], Field(min_length=1, max_length=200)] = Field(
        description=(
            "Names as the snapshot has them, below the filestore's folder. A folder stands for all that is below it."
        )
    )


class ExtractAttachments(Model):
    """Attachments of a record of Odoo, by the rows of `ir_attachment` in the dump."""

    model: ModelName = Field(description="Model of the record, for example res.partner.")
    record_id: RecordId = Field(description="Id of the record.")
    name: AttachmentName | None = Field(
        default=None, description="Name of the attachment; the default is every attachment of the record."
    )


class ExtractListing(Model):
    """What one folder of the snapshot's filestore contains, or which tables its database has."""

    path: FilePathOrRoot = Field(default="", description="Folder below the filestore's; empty: the filestore itself.")
    tables: bool = Field(default=False, description="List the tables of the database instead, with their rows.")

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("!has(self.tables) || !self.tables || !has(self.path) || self.path == ''", "path goes without tables")
        )
    )


class ClaimTarget(Model):
    """A new folder on the claim of the Environment's filestore."""

    path: NewFolder = Field(
        description=(
            "One new folder at the claim's root: `restored`, or `restored-` and letters, digits, `-` or `_`. So none"
            " that an application loads programs from. It does not exist yet, or is empty."
        )
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(f"self.path.matches({NEW_FOLDER_PATTERN!r})", f"path is {NEW_FOLDER_RULE}", fieldPath=".path")
        )
    )


class StoreTarget(Model):
    """One object in the store that the snapshot is read from."""

    format: TableFormat | None = Field(
        default=None,
        description=(
            "With tables. `CSV` (the default): a line with the names of the columns, then the rows. `SQL`: a script for"
            " psql that makes a new schema."
        ),
    )


class DatabaseTarget(Model):
    """A new schema `restored_<digits>` of the Environment's live database, with the digits of the Extract's uid."""


class ExtractTarget(Model):
    """Where the files go."""

    claim: ClaimTarget | None = Field(
        default=None, description="The claim of the Environment's filestore, under its operation lock."
    )
    store: StoreTarget | None = Field(
        default=None, description="A tar file in the snapshot's store, under a key of its own, without the lock."
    )

    database: DatabaseTarget | None = Field(
        default=None, description="With tables: a new schema of the live database, under the operation lock."
    )

    model_config = ConfigDict(json_schema_extra=validations(exactly_one("claim", "store", "database")))


class ExtractSpec(Model):
    """What to extract, and where to. Fixed at creation."""

    snapshot_ref: LocalRef = Field(description="Complete Snapshot to read.")
    files: ExtractFiles | None = Field(default=None, description="Files of the filestore.")
    attachments: ExtractAttachments | None = Field(
        default=None,
        description="Instead of files: attachments of a record. Needs a snapshot of layout Odoo with its database.",
    )
    tables: Annotated[tuple[WantedTable, ...], Field(min_length=1, max_length=MAX_TABLES)] | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Instead of files: rows of tables, through a scratch database on the Environment's server.",
    )
    listing: ExtractListing | None = Field(
        default=None,
        description="Instead of files: the names in one folder, or the tables, as JSON lines in the store.",
    )
    target: ExtractTarget = Field(description="Where the result goes.")
    identity_secret_ref: LocalRef | None = Field(default=None, description=IDENTITY_REF)
    requested_by: Annotated[str, Field(max_length=256)] = Field(default="", description="Who asked for it.")
    timeout_seconds: Annotated[int, Field(ge=60, le=604800)] = Field(
        default=3600, description="It fails if it is not Complete so many seconds after its start."
    )
    expires_after_seconds: Annotated[int, Field(ge=60, le=2592000)] = Field(
        default=86400, description="The result is removed so many seconds after the end; the Extract stays as a record."
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("self == oldSelf", "an Extract cannot be changed; create a new one"),
            exactly_one("files", "attachments", "tables", "listing"),
            rule("!has(self.listing) || has(self.target.store)", "a listing goes into target.store"),
            rule("!has(self.tables) || !has(self.target.claim)", "tables go into target.store or target.database"),
            rule("has(self.tables) || !has(self.target.database)", "only tables go into target.database"),
            rule(
                "has(self.tables) || !has(self.target.store) || !has(self.target.store.format)",
                "target.store.format goes with tables",
            ),
        )
    )


class ExtractStatus(ObjectStatus):
    """Observed state."""

    id: str | None = Field(default=None, description="metadata.uid.")
    phase: Literal["Pending", "Running", "Complete", "Failed", "Expired"] | None = Field(
        default=None,
        description="Summary of the conditions. `Expired`: it was Complete, and its result is removed.",
    )
    queued_at: Timestamp | None = Field(default=None, description="When it was first observed.")
    started_at: Timestamp | None = Field(default=None, description="When it started.")
    deadline: Timestamp | None = Field(default=None, description="It fails if it is not Complete by then.")
    completed_at: Timestamp | None = Field(default=None, description="When it ended.")
    result_expires_at: Timestamp | None = Field(default=None, description="When the result is removed.")
    environment_name: str | None = Field(default=None, description="Environment that the Snapshot was taken of.")
    environment_id: str | None = Field(default=None, description="Its status.id.")
    snapshot_id: str | None = Field(default=None, description="status.id of the Snapshot.")
    manifest_sha256: str | None = Field(default=None, description="SHA-256 of the manifest that is read.")
    encrypted: bool = Field(default=False, description="Whether the Snapshot is encrypted.")
    job_identity_secret: str | None = Field(
        default=None, description="Secret with the Job identity that opens the Snapshot, where the spec names none."
    )
    store_name: str | None = Field(default=None, description="SnapshotStore that is read.")
    store_id: str | None = Field(
        default=None, description="Id of that store. A result in another store is not removed."
    )
    claim_name: str | None = Field(default=None, description="With target.claim: the claim.")
    attempt: int = Field(default=0, description="Number of the last attempt, from 1.")
    contents: Sentence | None = Field(
        default=None, description="With tables, before it starts: what comes of a table, and what does not."
    )
    result: Extracted | None = Field(default=None, description="What was extracted.")
    tables: tuple[ExtractedTable, ...] = Field(
        default=(), description="The tables that were extracted; none where they do not fit."
    )
    residue: Literal["None", "Pending", "Unknown"] | None = Field(
        default=None, description="Whether something remains to be removed. `Unknown`: it could not be removed."
    )
    removal_attempt: int = Field(default=0, description="Number of the last removal Job, from 1.")
    removal_after: Timestamp | None = Field(default=None, description="When a failed removal is retried.")
    removal_message: Sentence | None = Field(default=None, description="Why the last removal failed.")
    steps: tuple[StepStatus, ...] = Field(default=(), description="The steps so far, in order.")
    progress: Progress | None = Field(default=None, description="Progress of the running step.")
