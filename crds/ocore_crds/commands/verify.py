"""The command ``verify``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field

from ocore_crds.commands.base import JOBS, MANIFEST, SNAPSHOT_IDS, STORE, Command, Jobs, OfSnapshot
from ocore_crds.reports.base import Line
from ocore_crds.stored.manifest import Evidence


class VerifyRequest(OfSnapshot):
    """Read every byte of a snapshot and compare it with the manifest."""

    manifest_sha256: str | None = Field(default=None, description=MANIFEST)
    jobs: Jobs = Field(default=2, description=JOBS)


class VerifyResult(Line):
    """Of ``verify``."""

    kind: Literal["verify"] = "verify"
    objects: int
    bytes_read: int
    evidence: Evidence = Evidence()


ROW = Command("verify", VerifyRequest, (VerifyResult,), "heavy", 3, (f"{STORE} {SNAPSHOT_IDS}",), patience=300.0)
