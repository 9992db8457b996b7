"""``inspect``: reports a stored snapshot, or the position of a rollback."""

from ocore_crds.protocol import SnapshotResult, SwitchResult
from ocore_mover import manifests, states
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switcher import Switcher
from ocore_mover.store.base import Store


def inspect_snapshot(runtime: Runtime, store: Store, environment_id: str, snapshot_id: str) -> SnapshotResult:
    """The result that `snapshot` reported. Raises MoverError SnapshotNotFound."""
    guarded = runtime.guarded(store)
    stored = manifests.read(guarded, environment_id, snapshot_id)
    return manifests.result(stored, state=states.readable(guarded, environment_id, snapshot_id))


def inspect_rollback(switcher: Switcher, *, repair: bool) -> SwitchResult:
    """The position. With `repair`, an interrupted switch is completed or undone first."""
    try:
        return switcher.repair() if repair else switcher.observe()
    finally:
        switcher.close()
