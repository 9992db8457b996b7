"""The command ``delete``: its request, its result and its row. Pure."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ocore_crds.commands.base import SNAPSHOT_IDS, SOURCE, STORE, Command, OfSnapshot
from ocore_crds.commands.parts import Option, SourceStore
from ocore_crds.reports.base import Line
from ocore_crds.reports.kept_versions import KeptVersions
from ocore_crds.stored.snapshot_state import StoredState


class DeleteRequest(OfSnapshot):
    """Delete a snapshot from the store: its manifest first, then all other objects."""

    source: Annotated[SourceStore | None, Option(SOURCE)] = Field(
        default=None, description="The store of the copy that must be whole."
    )
    attempts_only: bool = Field(
        default=False, description="Delete only objects that no manifest names (leftovers of failed attempts)."
    )
    claim: str | None = Field(
        default=None,
        description=(
            "Mount point of the filestore's claim: also remove the folders that the snapshot's attempts froze."
        ),
    )
    manifest_sha256: str | None = Field(
        default=None,
        description="With --source-store: delete only if that store has the whole snapshot with this manifest.",
    )
    known_state: StoredState | None = Field(
        default=None,
        description=(
            "Delete only if the store has no pin, or this one (snapshot_state.StoredState): another cluster may have"
            " set it."
        ),
    )

    @model_validator(mode="after")
    def _fits(self) -> "DeleteRequest":
        if self.source is not None and (self.source.id is None or self.manifest_sha256 is None):
            raise ValueError("give --source-store-id and --manifest-sha256 with --source-store")
        return self


class DeleteResult(Line):
    """Of ``delete``."""

    kind: Literal["delete"] = "delete"
    objects: int = 0
    kept: KeptVersions | None = Field(default=None, description="None: nothing is left.")


ROW = Command("delete", DeleteRequest, (DeleteResult,), "background", 3, (f"{STORE} {SNAPSHOT_IDS}",))
