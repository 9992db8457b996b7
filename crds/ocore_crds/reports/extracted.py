"""What the Job of an Extract is asked and reports: parts that the mover loads without the kinds. Pure."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from ocore_crds.model import Model, StatusModel
from ocore_crds.schema.cel_rules import rule, validations

# Neither empty, "." nor "..", and without control characters: a line feed would forge a line of a log.
_PART = r"([^./\x00-\x1f\x7f]|\.[^./\x00-\x1f\x7f]|\.\.[^/\x00-\x1f\x7f])[^/\x00-\x1f\x7f]*"
#: A file or folder as the snapshot names it: relative, without "..".
FILE_PATH_PATTERN = rf"^{_PART}(/{_PART})*$"
FILE_PATH_OR_ROOT_PATTERN = rf"^({_PART}(/{_PART})*)?$"
FilePath = Annotated[str, StringConstraints(pattern=FILE_PATH_PATTERN, min_length=1, max_length=4096)]
FilePathOrRoot = Annotated[str, StringConstraints(pattern=FILE_PATH_OR_ROOT_PATTERN, max_length=4096)]
#: A new folder on the claim of the filestore: one component at its root. The claim may have folders that an application
#: loads programs from; none of them is named so, nor a package of Python, which has no hyphen.
NEW_FOLDER_PATTERN = r"^restored(-[A-Za-z0-9_-]*)?$"
NEW_FOLDER_RULE = "one folder at the claim's root: restored, or restored- and letters, digits, - or _"
NewFolder = Annotated[str, StringConstraints(pattern=NEW_FOLDER_PATTERN, max_length=63)]

#: Name of a model of Odoo.
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", max_length=128)]
RecordId = Annotated[int, Field(ge=1, le=2147483647)]
AttachmentName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1024)]

#: Name of a table or schema: any identifier of PostgreSQL without control characters.
Identifier = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=63)]
#: How a column is compared. A closed list: the mover has its own text of SQL for each.
Operator = Literal[
    "In",
    "NotIn",
    "LessThan",
    "AtMost",
    "GreaterThan",
    "AtLeast",
    "StartsWith",
    "NotStartsWith",
    "Contains",
    "NotContains",
    "IsNull",
    "IsNotNull",
]
#: Operators with values, and with any number of them; all others have exactly one.
LISTS: tuple[Operator, ...] = ("In", "NotIn")
#: Operators without a value.
NULLS: tuple[Operator, ...] = ("IsNull", "IsNotNull")
ComparedValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=1024)]
#: Characters of all columns and values of an Extract's conditions at most: they are passed to its Job, as JSON in
#: ASCII.
MAX_VALUES = 64_000
TableFormat = Literal["CSV", "SQL"]
#: Tables of one Extract at most.
MAX_TABLES = 20
#: What an Extract makes of a table, for people.
TABLE_CONTENTS = (
    "Of a table come the rows of its own, with the values of every column, generated ones included. Types of the"
    " application and of extensions become text. These do not come: defaults, keys, checks, indexes, triggers,"
    " policies, comments, owners, grants, sequences, rows of partitions and of tables that inherit, and large objects"
    " (of which only the oid comes)."
)

#: Files of one Extract at most: all of them are in the Job's memory together.
MAX_FILES = 100_000
#: Files that the status names with their digests.
SHOWN = 10


class ExtractedFile(StatusModel):
    """One file that was extracted."""

    name: str = Field(description="Its name in the snapshot.")
    bytes: int = Field(description="Its size.")
    digest: str = Field(description="Its digest, which the index of the snapshot names.")


_NUMBER = "values: one or more with In and NotIn, none with IsNull and IsNotNull, else exactly one"


def values_refusal(operator: Operator, number: int) -> str:
    """Why an operator does not go with so many values; empty where it does."""
    fits = number > 0 if operator in LISTS else number == (0 if operator in NULLS else 1)
    return "" if fits else _NUMBER


class Comparison(Model):
    """One comparison of a column."""

    column: Identifier = Field(description="Name of the column.")
    operator: Operator = Field(
        description=(
            "How it is compared. `In` with one value is equality. Text is compared by bytes. Types of PostgreSQL have"
            " an order (`LessThan`, …) where they are numbers, text, times, UUIDs or addresses; of all others, and"
            " with `StartsWith` and `Contains`, the text is compared. NULL meets `IsNull` only."
        )
    )
    values: Annotated[tuple[ComparedValue, ...], Field(max_length=100)] = Field(
        default=(),
        description="What it is compared with, as PostgreSQL reads the column's type; a time without a zone is UTC.",
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "self.operator in ['In', 'NotIn'] ? size(self.values) > 0 :"
                " size(self.values) == (self.operator in ['IsNull', 'IsNotNull'] ? 0 : 1)",
                _NUMBER,
            )
        )
    )

    @model_validator(mode="after")
    def _values_fit(self) -> "Comparison":
        refusal = values_refusal(self.operator, len(self.values))
        if refusal:
            raise ValueError(refusal)
        return self


class Comparisons(Model):
    """Comparisons that all hold."""

    all_of: Annotated[tuple[Comparison, ...], Field(min_length=1, max_length=10)] = Field(
        description="Comparisons; a row is chosen where each of them holds."
    )


Where = Annotated[tuple[Comparisons, ...], Field(min_length=1, max_length=10)]


class WantedTable(Model):
    """One table of the snapshot."""

    schema_name: Identifier = Field(default="public", alias="schema", description="Its schema.")
    name: Identifier = Field(description="Its name.")
    where: Where | None = Field(
        default=None,
        description="Which rows: those for which one entry holds. Without it every row.",
    )


class ExtractedTable(StatusModel):
    """One table that was extracted."""

    schema_name: str = Field(alias="schema", description="Its schema in the snapshot.")
    name: str = Field(description="Its name in the snapshot.")
    rows: int = Field(description="Rows that were extracted.")
    bytes: int = Field(description="Size of its file.")


class Extracted(StatusModel):
    """What was extracted, and what was read for it."""

    files: int = Field(default=0, description="Files; of a listing, the names in it.")
    bytes: int = Field(default=0, description="Their size.")
    rows: int = Field(default=0, description="With tables: their rows.")
    missing: int = Field(
        default=0, description="With attachments of a record: those of which the snapshot has no file."
    )
    missing_names: tuple[str, ...] = Field(default=(), description="The first of them.")
    bytes_read: int = Field(
        default=0, description="Bytes read from the store: index and parts of packs; of tables toc.dat and their rows."
    )
    algorithm: str = Field(default="", description="Of the files' digests. Each file was compared with its own.")
    checked: tuple[ExtractedFile, ...] = Field(
        default=(), description="Some of the files with their digests; none where they do not fit."
    )
    key: str | None = Field(default=None, description="Key of the object in the store, below the store's prefix.")
    size: int | None = Field(default=None, description="Bytes of that object.")
    sha256: str | None = Field(default=None, description="SHA-256 of that object, which the store has confirmed.")
    folder: str | None = Field(default=None, description="Folder on the claim.")
    schema_name: str | None = Field(default=None, alias="schema", description="New schema of the live database.")


def folder_refusal(folder: str, filestore: str) -> str:
    """Why a new folder on the claim of a filestore at that path is refused, as a clause; empty where it is not."""
    if not re.fullmatch(NEW_FOLDER_PATTERN, folder):
        return f"{folder!r} is not {NEW_FOLDER_RULE}"
    if not filestore:
        return "the filestore is the root of its claim, so every folder is in it: use target.store"
    if filestore.split("/")[0] == folder:
        return f"{folder} and the filestore's path {filestore} overlap"
    return ""


def tables_refusal(tables: Iterable[WantedTable]) -> str:
    """Why these tables are refused, as a sentence; empty where they are not."""
    comparisons = (each for table in tables for entry in table.where or () for each in entry.all_of)
    if sum(len(text) for each in comparisons for text in (each.column, *each.values)) > MAX_VALUES:
        return f"where has more than {MAX_VALUES} characters in columns and values. Use several Extracts."
    return ""
