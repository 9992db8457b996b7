"""The command ``extract``: its request, its result and its row. Pure."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..extracted import (
    AttachmentName,
    Extracted,
    ExtractedFile,
    FilePath,
    FilePathOrRoot,
    ModelName,
    NewFolder,
    RecordId,
    folder_refusal,
)
from ..model import Uuid
from ..reports import Line
from .base import MANIFEST, SNAPSHOT_IDS, STORE, Command, OfSnapshot
from .parts import FilestoreAccess, Option


class ExtractRequest(OfSnapshot):
    """Extract files of a snapshot into the store, or into a new folder on the filestore's claim."""

    extract_id: Uuid = Field(description="Identity of the extract (UUID).")
    manifest_sha256: str | None = Field(default=None, description=MANIFEST)
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
    filestore: FilestoreAccess | None = None
    folder: NewFolder | None = Field(default=None, description="New folder below the claim's root. Default: the store.")

    @model_validator(mode="after")
    def _fits(self) -> "ExtractRequest":
        if [bool(self.paths), self.model is not None, self.listing is not None].count(True) != 1:
            raise ValueError("give exactly one of --path, --model, --list")
        if (self.model is None) != (self.record is None) or (self.name is not None and self.model is None):
            raise ValueError("give both --model and --record, perhaps with --name, or none of them")
        if (self.filestore is None) != (self.folder is None):
            raise ValueError("give both --claim and --folder, or neither")
        if self.listing is not None and self.folder is not None:
            raise ValueError("--list goes without --folder")
        if self.filestore is not None and self.folder is not None:
            refusal = folder_refusal(self.folder, self.filestore.path)
            if refusal:
                raise ValueError(f"--folder: {refusal}")
        return self


class ExtractResult(Line):
    """Of ``extract``."""

    kind: Literal["extract"] = "extract"
    #: Without `checked`, which does not fit into every termination message.
    extracted: Extracted
    checked: tuple[ExtractedFile, ...] = ()


ROW = Command(
    "extract",
    ExtractRequest,
    (ExtractResult,),
    "heavy",
    3,
    (f"--path documents {STORE} {SNAPSHOT_IDS} --extract-id 9c7d1f0a-1111-4222-8333-444455556666",),
)
