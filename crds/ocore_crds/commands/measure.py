"""The command ``measure``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field

from ocore_crds.commands.base import NO_ID, SITE, Command, OnEnvironment
from ocore_crds.model import Uuid
from ocore_crds.reports.base import Line


class MeasureRequest(OnEnvironment):
    """Report the sizes of the live database and filestore, and nothing else."""

    environment_id: Uuid = Field(default=NO_ID, description="Identity of the environment (UUID).")


class SizesResult(Line):
    """Of ``measure``: a part that the environment does not have is 0."""

    kind: Literal["sizes"] = "sizes"
    database_bytes: int = 0
    filestore_bytes: int = 0
    filestore_files: int = 0
    warnings: tuple[str, ...] = Field(default=(), description="Why the sizes are too low, if they are.")


ROW = Command("measure", MeasureRequest, (SizesResult,), "light", 1, (SITE,))
