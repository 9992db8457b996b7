"""The command ``prove``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field

from ocore_crds.commands.base import IDS, JOBS, SCRATCH, Command, Jobs, Request
from ocore_crds.commands.parts import TMP, DatabaseAccess
from ocore_crds.model import Uuid
from ocore_crds.reports.base import Finding, Line


class ProveRequest(Request):
    """Restore the schema of the live database into a scratch database and drop it. A restore that fails is a
    result."""

    database: DatabaseAccess
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    scratch: str = Field(default=TMP, description=SCRATCH)
    jobs: Jobs = Field(default=2, description=JOBS)


class ProofResult(Line):
    """Of ``prove``: the live database's schema was restored into a scratch database, which was dropped. No finding: it
    works."""

    kind: Literal["proof"] = "proof"
    schema_fingerprint: str = Field(default="", description="Of the schema that was restored, as in DatabaseFacts.")
    findings: tuple[Finding, ...] = Field(default=(), description="Why the restore failed.")
    warnings: tuple[str, ...] = ()


ROW = Command("prove", ProveRequest, (ProofResult,), "background", 1, (f"--database ~/secret {IDS} --scratch /tmp",))
