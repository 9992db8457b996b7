"""``inspect``: reports a stored snapshot, or the position of a rollback."""

from collections.abc import Sequence
from contextlib import closing

from ocore_crds import conditions
from ocore_crds.commands.inspect import InspectRequest
from ocore_crds.commands.snapshot import SnapshotResult
from ocore_crds.commands.switch import SwitchResult
from ocore_mover import manifests, snapshot_results, states
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.errors import MoverError
from ocore_mover.store.interface import Store


def inspect_snapshot(
    runtime: Runtime, store: Store, environment_id: str, snapshot_id: str, signers: Sequence[str] = ()
) -> SnapshotResult:
    """The result that `snapshot` reported. Raises MoverError SnapshotNotFound; SignatureInvalid where none of the
    `signers` has signed it; ObjectsMissing, retryable, where the
    store lacks an object that a restore needs."""
    guarded = runtime.guarded(store)
    stored = manifests.read(guarded, environment_id, snapshot_id, signers=signers)
    missing = manifests.missing_object(guarded, stored.manifest)
    if missing:
        raise MoverError(
            conditions.OBJECTS_MISSING,
            f"The manifest of snapshot {snapshot_id} exists, but not all of its objects: {missing}. Wait until the"
            " store has all of them, or copy them",
            retryable=True,
        )
    return snapshot_results.of(stored, state=states.readable(guarded, environment_id, snapshot_id))


def execute(runtime: Runtime, request: InspectRequest) -> SnapshotResult | SwitchResult:
    """The result of the snapshot, or the position of the rollback, whichever the request names.

    With `repair`, an interrupted switch is completed or undone first; with `workloads_stopped` as well, the folder
    follows the databases in any case. Raises MoverError Mismatch.
    """
    if request.snapshot_id is not None and request.store is not None:
        store, signers = opening.store(request.store), request.store.signers
        return inspect_snapshot(runtime, store, request.environment_id, request.snapshot_id, signers)
    from ocore_mover.commands.switcher import Switcher

    target = opening.rollback_target(
        request, request.rollback_id or "", allow_replication_loss=request.allow_replication_loss
    )
    with closing(Switcher(target, runtime.token)) as switcher:
        return switcher.repair(workloads_stopped=request.workloads_stopped) if request.repair else switcher.observe()
