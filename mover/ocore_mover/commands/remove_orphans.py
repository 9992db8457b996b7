"""``remove-orphans``: deletes what a sweep has reported (:mod:`~ocore_mover.commands.sweep`)."""

from ocore_crds.commands.remove_orphans import RemoveOrphansRequest
from ocore_crds.reports.stored_contents import RemovedOrphans
from ocore_mover.commands import opening, sweep
from ocore_mover.commands.runtime import Runtime


def execute(runtime: Runtime, request: RemoveOrphansRequest) -> RemovedOrphans:
    """As :func:`~ocore_mover.commands.sweep.remove`."""
    return sweep.remove(runtime, opening.store(request.store), report_id=request.report_id, sha256=request.sha256)
