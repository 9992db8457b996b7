"""``write-state``: stores pin, retention and deletionPolicy of a snapshot beside its manifest."""

from ocore_crds.commands.write_state import StateResult, WriteStateRequest
from ocore_mover import states
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime


def execute(runtime: Runtime, request: WriteStateRequest) -> StateResult:
    """As :func:`~ocore_mover.states.replace`."""
    store = runtime.guarded(opening.store(request.store))
    return StateResult(state=states.replace(store, request.environment_id, request.snapshot_id, request.state))
