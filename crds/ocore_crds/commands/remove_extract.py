"""The command ``remove-extract``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field, model_validator

from ocore_crds.commands.base import IDS, STORE, Command, Request
from ocore_crds.commands.parts import DatabaseAccess, FilestoreAccess, StoreAccess
from ocore_crds.model import Uuid
from ocore_crds.reports.base import Line
from ocore_crds.reports.extracted import NewFolder
from ocore_crds.reports.kept_versions import KeptVersions


class RemoveExtractRequest(Request):
    """Remove what an extract has made, in the store, on the filestore's claim, or in the live database."""

    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    extract_id: Uuid = Field(description="Identity of the extract (UUID).")
    store: StoreAccess | None = None
    filestore: FilestoreAccess | None = None
    database: DatabaseAccess | None = None
    from_database: bool = Field(default=False, description="It made a new schema of the live database.")
    folder: NewFolder | None = Field(default=None, description="Folder below the claim's root that the extract made.")

    @model_validator(mode="after")
    def _fits(self) -> "RemoveExtractRequest":
        if (self.filestore is None) != (self.folder is None):
            raise ValueError("give both --claim and --folder, or neither")
        if [self.store is not None, self.filestore is not None, self.from_database].count(True) != 1:
            raise ValueError("give exactly one of --store, --claim, --from-database")
        if self.from_database and self.database is None:
            raise ValueError("--from-database goes with --database")
        return self


class ExtractRemoved(Line):
    """Of ``remove-extract``."""

    kind: Literal["remove-extract"] = "remove-extract"
    objects: int = 0
    folder: bool = False
    database: bool = False
    schema_dropped: bool = False
    kept: KeptVersions | None = None  # what the store does not give up


ROW = Command(
    "remove-extract",
    RemoveExtractRequest,
    (ExtractRemoved,),
    "background",
    8,
    (f"{STORE} {IDS} --extract-id 9c7d1f0a-1111-4222-8333-444455556666",),
)
