"""The bodies of the console's requests."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from ocore_api.views.models import source
from ocore_api.views.requests import WHOLE, Body, OptionalUuid, UuidText, unset_text
from ocore_crds.reports.extracted import (
    MAX_TABLES,
    AttachmentName,
    ComparedValue,
    FilePath,
    Identifier,
    ModelName,
    NewFolder,
    Operator,
    values_refusal,
)


class PreviewRequest(Body):
    """Which snapshot a rollback would restore, and where."""

    snapshot_id: UuidText = source(
        "Rollback spec.snapshotRef", "The snapshot; a completed one of the environment in the path."
    )
    target_environment_id: Annotated[OptionalUuid | None, BeforeValidator(unset_text)] = source(
        "Rollback spec.targetEnvironmentRef",
        "UUID of the environment that it would replace, of the same project. Empty or null: the one in the path.",
        default=None,
    )


class FilesToExtract(Body):
    """Files and folders of the snapshot's filestore."""

    paths: Annotated[list[FilePath], Field(min_length=1, max_length=200)] = source(
        "Extract spec.files.paths", "Names as the snapshot has them. A folder stands for all that is below it."
    )


class AttachmentsToExtract(Body):
    """Attachments of a record of Odoo."""

    model: ModelName = source("Extract spec.attachments.model", "Model of the record, for example res.partner.")
    record_id: Annotated[int, Field(ge=1, le=2147483647), WHOLE] = source(
        "Extract spec.attachments.recordId", "Id of the record."
    )
    name: AttachmentName | None = source(
        "Extract spec.attachments.name", "Name of the attachment. Null: all of the record.", default=None
    )


class ColumnCompared(Body):
    """One comparison of a column."""

    column: Identifier = source("Extract spec.tables.where.allOf.column", "Name of the column.")
    operator: Operator = source(
        "Extract spec.tables.where.allOf.operator", "How it is compared. `In` with one value is equality."
    )
    values: Annotated[list[ComparedValue], Field(max_length=100)] | None = source(
        "Extract spec.tables.where.allOf.values",
        "What it is compared with: one or more with In and NotIn, none with IsNull and IsNotNull, else"
        " exactly one. Null: none.",
        default=None,
    )

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        refusal = values_refusal(self.operator, len(self.values or ()))
        if refusal:
            raise ValueError(refusal)
        return self


class RowsThat(Body):
    """Comparisons that all hold."""

    all_of: Annotated[list[ColumnCompared], Field(min_length=1, max_length=10)] = source(
        "Extract spec.tables.where.allOf", "The comparisons."
    )


class RowsToExtract(Body):
    """Rows of one table of the snapshot's database."""

    schema_: Identifier | None = source(
        "Extract spec.tables.schema", "Its schema. Null: public.", default=None, alias="schema"
    )
    name: Identifier = source("Extract spec.tables.name", "Its name.")
    where: Annotated[list[RowsThat], Field(min_length=1, max_length=10)] | None = source(
        "Extract spec.tables.where", "Which rows: those for which one entry holds. Null: every row.", default=None
    )


_PARTS = ("files", "attachments", "tables")
_ABSENT = {"type": "null"}
#: What the validators of ExtractRequest demand, for clients.
_ONE_OF: dict[str, Any] = {
    "oneOf": [
        {
            "required": [part],
            "properties": {each: {"not": _ABSENT} if each == part else _ABSENT for each in _PARTS},
        }
        for part in _PARTS
    ],
    "allOf": [
        {
            "if": {"required": ["target"], "properties": {"target": {"const": "claim"}}},
            "then": {
                "required": ["folder"],
                "properties": {"folder": {"not": _ABSENT}, "tables": _ABSENT},
            },
            "else": {"properties": {"folder": _ABSENT}},
        },
        {
            "if": {"properties": {"tables": _ABSENT}},
            "then": {"properties": {"format": _ABSENT, "target": {"enum": ["store", "claim", None]}}},
        },
        {
            "if": {"required": ["target"], "properties": {"target": {"const": "database"}}},
            "then": {"properties": {"format": _ABSENT}},
        },
    ],
}


class ExtractRequest(Body):
    """What to extract, and where to."""

    files: FilesToExtract | None = source(
        "Extract spec.files", "Files of the filestore. Null: something else is given.", default=None
    )
    attachments: AttachmentsToExtract | None = source(
        "Extract spec.attachments", "Attachments of a record. Null: something else is given.", default=None
    )
    tables: Annotated[list[RowsToExtract], Field(min_length=1, max_length=MAX_TABLES)] | None = source(
        "Extract spec.tables", "Rows of tables, each table once. Null: something else is given.", default=None
    )
    format: Literal["csv", "sql"] | None = source(
        "Extract spec.target.store.format", "With tables: the format of their files. Null: csv.", default=None
    )
    target: Literal["store", "claim", "database"] | None = source(
        "Extract spec.target",
        "`store` or null: a tar file in the snapshot's store. `claim`: a new folder on the filestore's"
        " claim. `database`, with tables: a new schema of the live database.",
        default=None,
    )
    folder: NewFolder | None = source(
        "Extract spec.target.claim.path",
        "With `claim`: the folder at the root of the claim: `restored`, or `restored-` and letters, digits,"
        " `-` or `_`. Null for the store.",
        default=None,
    )
    expires_after_seconds: Annotated[int, Field(ge=60, le=2592000), WHOLE] | None = source(
        "Extract spec.expiresAfterSeconds",
        "Seconds after its end in which the result is kept. Null: a day.",
        default=None,
    )

    model_config = ConfigDict(json_schema_extra=_ONE_OF)

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if sum(each is not None for each in (self.files, self.attachments, self.tables)) != 1:
            raise ValueError("give exactly one of files, attachments and tables")
        if (self.target == "claim") != (self.folder is not None):
            raise ValueError("folder goes with target claim, and with it only")
        if self.format is not None and (self.tables is None or self.target == "database"):
            raise ValueError("format goes with tables in the store")
        if self.target is not None and self.target == ("database" if self.tables is None else "claim"):
            raise ValueError("tables go into the store or the database, and nothing else goes into the database")
        return self

    def spec(self) -> dict[str, Any]:
        """The part of an Extract's spec that it stands for."""
        kept = ("files", "attachments", "tables", "expiresAfterSeconds")
        found = {k: v for k, v in self.given().items() if k in kept}
        store = {"format": self.format.upper()} if self.format is not None else {}
        if self.target == "database":
            return {**found, "target": {"database": {}}}
        return {**found, "target": {"claim": {"path": self.folder}} if self.folder is not None else {"store": store}}
