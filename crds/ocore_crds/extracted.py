"""What the Job of an Extract is asked and reports: parts that the mover loads without the kinds. Pure."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from .model import Model, RelativePath, StatusModel
from .naming import CLAIM_FOLDER

# Neither empty, "." nor "..", and without control characters: a line feed would forge a line of a log.
_PART = r"([^./\x00-\x1f\x7f]|\.[^./\x00-\x1f\x7f]|\.\.[^/\x00-\x1f\x7f])[^/\x00-\x1f\x7f]*"
#: A file or folder as the snapshot names it: relative, without "..".
FILE_PATH_PATTERN = rf"^{_PART}(/{_PART})*$"
FILE_PATH_OR_ROOT_PATTERN = rf"^({_PART}(/{_PART})*)?$"
FilePath = Annotated[str, StringConstraints(pattern=FILE_PATH_PATTERN, min_length=1, max_length=4096)]
FilePathOrRoot = Annotated[str, StringConstraints(pattern=FILE_PATH_OR_ROOT_PATTERN, max_length=4096)]
NewFolder = Annotated[RelativePath, Field(min_length=1)]

#: Name of a model of Odoo.
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", max_length=128)]
RecordId = Annotated[int, Field(ge=1, le=2147483647)]
AttachmentName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1024)]

#: Name of a table or schema: any identifier of PostgreSQL without control characters.
Identifier = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=63)]
RowFilter = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+$", max_length=4096)]
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


class WantedTable(Model):
    """One table of the snapshot."""

    schema_name: Identifier = Field(default="public", alias="schema", description="Its schema.")
    name: Identifier = Field(description="Its name.")
    where: RowFilter | None = Field(
        default=None,
        description=(
            "Condition in SQL on the columns; the default is every row. It runs in a scratch database as a role without"
            " rights. Without semicolon, comment, backslash and dollar quoting."
        ),
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
    new, live = folder.split("/"), filestore.split("/") if filestore else []
    if any(part in ("", ".", "..") for part in new):
        return f"{folder!r} is not a path below the claim's root"
    if new[0] == CLAIM_FOLDER:
        return f"{CLAIM_FOLDER} belongs to ocore-snapshots"
    if not live:
        return "the filestore is the root of its claim, so every folder is in it: use target.store"
    if new[: len(live)] == live or live[: len(new)] == new:
        return f"{folder} and the filestore's path {filestore} overlap"
    return ""


#: A string or a name in quotes, which may have anything.
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")


def filter_refusal(text: str) -> str:
    """Why a row filter is not one expression of SQL, as a clause; empty where it may be one.

    What remains between quotes is compared: a comment or a dollar quote could hide a quote or a parenthesis, and a
    backslash a quote.
    """
    if "\\" in text:
        return "it has a backslash"
    bare = _QUOTED.sub("", text)
    for part, name in (("'", "an open quote"), ('"', "an open quote"), (";", "a semicolon"), ("$", "a dollar sign")):
        if part in bare:
            return f"it has {name}"
    if "--" in bare or "/*" in bare:
        return "it has a comment"
    depth = 0
    for character in bare:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            break
    return "its parentheses do not match" if depth else ""


def tables_refusal(tables: Iterable[WantedTable]) -> str:
    """Why these tables are refused, as a sentence; empty where they are not."""
    for table in tables:
        refusal = filter_refusal(table.where) if table.where is not None else ""
        if refusal:
            return f"where of table {table.schema_name}.{table.name} is not one condition: {refusal}."
    return ""
