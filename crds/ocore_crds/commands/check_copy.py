"""The command ``check-copy``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field, model_validator

from ocore_crds.commands.base import DIGEST, SNAPSHOT_IDS, Command, OfSnapshot
from ocore_crds.reports.base import Line


class CheckCopyRequest(OfSnapshot):
    """Check that the store has every object of a copied snapshot, by one listing. Nothing is written."""

    manifest_sha256: str = Field(description="SHA-256 of the manifest.")

    @model_validator(mode="after")
    def _fits(self) -> "CheckCopyRequest":
        if self.store.id is None:
            raise ValueError("give --store-id, the store that the copy was written to")
        return self


class CopyChecked(Line):
    """Of ``check-copy``: the remote store has every object that a restore from it needs, by name and size."""

    kind: Literal["check-copy"] = "check-copy"
    objects: int = 0
    bytes: int = 0


ROW = Command(
    "check-copy",
    CheckCopyRequest,
    (CopyChecked,),
    "light",
    3,
    (
        f"--store s3://elsewhere/copies {SNAPSHOT_IDS} --store-id 7d0b5a53-2222-4333-8444-555566667777"
        f" --manifest-sha256 {DIGEST}",
    ),
)
