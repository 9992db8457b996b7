"""The command ``remove-orphans``: its request, and its row. Pure."""

from pydantic import Field

from ocore_crds.commands.base import DIGEST, STORE, Command, Request
from ocore_crds.commands.parts import StoreAccess
from ocore_crds.model import Uuid
from ocore_crds.reports.stored_contents import RemovedOrphans


class RemoveOrphansRequest(Request):
    """Delete what a sweep has reported, where it still is an orphan."""

    store: StoreAccess
    report_id: Uuid = Field(description="Id of the report.")
    sha256: str = Field(description="SHA-256 of the report, as `sweep` has printed it.")


ROW = Command(
    "remove-orphans",
    RemoveOrphansRequest,
    (RemovedOrphans,),
    "background",
    3,
    (f"{STORE} --report-id 6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01 --sha256 {DIGEST}",),
)
