"""The command ``cleanup``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field

from ocore_crds.commands.base import ROLLBACK_IDS, SITE, Command, OfRollback, Request
from ocore_crds.commands.parts import CleanupPart
from ocore_crds.commands.probe import THEN, ProbeRequest
from ocore_crds.reports.base import Line


class CleanupRequest(OfRollback):
    """Remove what a rollback keeps beside the live environment. The live environment itself is never removed."""

    what: CleanupPart = Field(
        description="previous: after the undo window. restored: the rollback ended before the switch."
    )
    then: ProbeRequest | None = Field(default=None, description=THEN)

    @property
    def following(self) -> tuple[str, Request] | None:
        """The probe that was asked for."""
        return ("probe", self.then) if self.then is not None else None


class CleanupResult(Line):
    """Of ``cleanup``: what was removed."""

    kind: Literal["cleanup"] = "cleanup"
    databases_dropped: tuple[str, ...] = ()
    folders_removed: tuple[str, ...] = ()
    #: Files in the filestore that the live database does not name, put on the application's checklist. None: they could
    #: not be, see `not_listed`.
    files_listed: int | None = 0
    not_listed: str = ""


ROW = Command("cleanup", CleanupRequest, (CleanupResult,), "free", 8, (f"--what previous {SITE} {ROLLBACK_IDS}",))
