"""The command ``sweep``: its request, and its row. Pure."""

from pydantic import Field

from ocore_crds.commands.base import STORE, Command, Request
from ocore_crds.commands.parts import StoreAccess
from ocore_crds.model import Uuid
from ocore_crds.reports.stored_contents import OrphansResult

#: Age in seconds from which an object that no manifest names is an orphan: longer than any snapshot may run.
ORPHAN_AGE = 7 * 86400.0


class SweepRequest(Request):
    """Find objects of snapshots that no manifest names, and renew locks. Deletes nothing."""

    store: StoreAccess
    older_than: float = Field(default=ORPHAN_AGE, ge=0, description="Seconds: younger objects are not orphans.")
    report_id: Uuid | None = Field(
        default=None, description="Write the list into the store under this id, for `remove-orphans`."
    )
    renew_locks: bool = Field(
        default=False, description="Extend the locks of all snapshots; goes with --s3-lock. Changes nothing else."
    )


ROW = Command("sweep", SweepRequest, (OrphansResult,), "background", 3, (STORE,), patience=300.0)
