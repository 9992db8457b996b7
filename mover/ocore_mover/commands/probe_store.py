"""``probe-store``: checks that a store can be used."""

from ocore_crds.protocol import StoreProbeResult
from ocore_mover.commands.runtime import Runtime
from ocore_mover.store import probe
from ocore_mover.store.base import Store


def probe_store(runtime: Runtime, store: Store) -> StoreProbeResult:
    """Returns what the store guarantees, and writes its id where it has none. Raises StoreError where writing fails."""
    return probe.probe_store(runtime.guarded(store))


def read_store(runtime: Runtime, store: Store) -> StoreProbeResult:
    """Returns the store's id; writes nothing. Raises StoreError where it has none, or cannot be read or listed."""
    return probe.read_store(runtime.guarded(store))
