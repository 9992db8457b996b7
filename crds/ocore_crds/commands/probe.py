"""The command ``probe``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field

from ocore_crds.commands.base import JOBS, NO_ID, SITE, Command, Jobs, OnEnvironment
from ocore_crds.model import Uuid
from ocore_crds.reports.base import Finding, Line
from ocore_crds.reports.facts import DatabaseFacts, FileOwner, FilestoreFacts

#: Of a command with the same mounts and rights, in whose Job a probe may follow.
THEN = (
    "Then probe the environment, with this request. Its result is beside that of the command, and does not change it."
)


class ProbeRequest(OnEnvironment):
    """Report rights, sizes, extensions and filestore of an environment. Missing rights are a result, not a failure."""

    environment_id: Uuid = Field(default=NO_ID, description="Identity of the environment (UUID).")
    jobs: Jobs = Field(default=2, description=JOBS)
    propose_user: bool = Field(
        default=False, description="This user is not the application's: only report the owner of the files."
    )
    store: str = Field(default="", description="file:///folder: also check that this user can store snapshots there.")
    store_name: str = Field(default="", description="What messages call the store. Default: its URL.")
    config_file: str = Field(default="", description="File with the configuration, below the claim's root.")


class ProbeResult(Line):
    """Of ``probe``. `blocking` findings block snapshots and rollbacks, `rollback` findings block rollbacks."""

    kind: Literal["probe"] = "probe"
    database: DatabaseFacts | None = None
    filestore: FilestoreFacts | None = None
    blocking: tuple[Finding, ...] = ()
    creatable: tuple[Finding, ...] = Field(
        default=(),
        description=(
            "What does not exist and a rollback creates: the database, and with it the filestore's folder. They block"
            " snapshots only."
        ),
    )
    rollback: tuple[Finding, ...] = ()
    own_store: tuple[Finding, ...] = Field(
        default=(),
        description=(
            "Why the Jobs' user cannot use the own store. They block snapshots, and rollbacks unless a remote store is"
            " ready."
        ),
    )
    snapshots: tuple[Finding, ...] = Field(
        default=(), description="What blocks snapshots only: the configuration's file on the claim cannot be stored."
    )
    file_owner: FileOwner | None = Field(
        default=None, description="With propose_user: the owner of the files. None: root, or not asked."
    )
    warnings: tuple[str, ...] = ()


class ProbedReport(Line):
    """The probe of a restore has found nothing against it, and the restore goes on."""

    type: Literal["probed"] = "probed"
    probe: ProbeResult
    time: str


ROW = Command("probe", ProbeRequest, (ProbeResult,), "light", 3, (SITE,), patience=0.0)
