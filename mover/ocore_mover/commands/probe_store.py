"""``probe-store``: checks that a store can be used."""

from ocore_crds.commands.probe_store import ProbeStoreRequest, StoreProbeResult
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.store import probe


def execute(runtime: Runtime, request: ProbeStoreRequest) -> StoreProbeResult:
    """Returns what the store guarantees, and writes its id where it has none. A store that is read-only is only read
    and listed. Raises StoreError where the store refuses that, or has no id and may not get one."""
    store = runtime.guarded(opening.store(request.store))
    return probe.read_store(store) if request.store.read_only else probe.probe_store(store)
