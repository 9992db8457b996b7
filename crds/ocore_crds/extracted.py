"""What the Job of an Extract is asked and reports: parts that the mover loads without the kinds. Pure."""

from typing import Annotated

from pydantic import Field, StringConstraints

from .model import RelativePath, StatusModel
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

#: Files of one Extract at most: all of them are in the Job's memory together.
MAX_FILES = 100_000
#: Files that the status names with their digests.
SHOWN = 10


class ExtractedFile(StatusModel):
    """One file that was extracted."""

    name: str = Field(description="Its name in the snapshot.")
    bytes: int = Field(description="Its size.")
    digest: str = Field(description="Its digest, which the index of the snapshot names.")


class Extracted(StatusModel):
    """What was extracted, and what was read for it."""

    files: int = Field(default=0, description="Files; of a listing, the names in it.")
    bytes: int = Field(default=0, description="Their size.")
    bytes_read: int = Field(default=0, description="Bytes read from the store: index and parts of packs.")
    algorithm: str = Field(default="", description="Of the files' digests. Each file was compared with its own.")
    checked: tuple[ExtractedFile, ...] = Field(
        default=(), description="Some of the files with their digests; none where they do not fit."
    )
    key: str | None = Field(default=None, description="Key of the object in the store, below the store's prefix.")
    size: int | None = Field(default=None, description="Bytes of that object.")
    sha256: str | None = Field(default=None, description="SHA-256 of that object, which the store has confirmed.")
    folder: str | None = Field(default=None, description="Folder on the claim.")


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
