"""``delete``: removes a snapshot from the store."""

from pathlib import Path

from ocore_crds import naming
from ocore_crds.commands.delete import DeleteRequest, DeleteResult
from ocore_mover import dependents, manifests, states
from ocore_mover.commands import opening
from ocore_mover.commands.check_copy import check_copy
from ocore_mover.commands.runtime import Runtime
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.store.interface import Store


def delete(runtime: Runtime, store: Store, request: DeleteRequest) -> DeleteResult:
    """Removes a snapshot, or with `attempts_only` only the objects that no manifest names.

    With `claim` it also removes the folders that the snapshot's attempts froze there. Objects that no longer exist are
    not an error. In a bucket with versioning the objects are hidden first, then their versions are removed; the result
    reports what the store keeps. Raises MoverError HasDependents, and deletes nothing, where differentials in the store
    need the whole snapshot. With `source`, the store of a copy which is to outlive the snapshot in this store, also
    RemoteCopyLost where that one is not whole, and StoreError where that cannot be checked. With `known_state` also
    Pinned where the store has a pin that is not in it.
    """
    guarded = runtime.guarded(store)
    environment_id, snapshot_id = request.environment_id, request.snapshot_id
    if request.source is not None and request.manifest_sha256 is not None:
        check_copy(runtime, opening.source(request.source), environment_id, snapshot_id, request.manifest_sha256)
    if not request.attempts_only:
        dependents.check_none(guarded, environment_id, snapshot_id)
        if request.known_state is not None:
            states.check_not_pinned(guarded, environment_id, snapshot_id, request.known_state)
    if request.claim is not None:
        ClaimFolders(Path(request.claim), "", environment_id).remove_frozen(of_snapshot=snapshot_id)
    remove = manifests.delete_leftovers if request.attempts_only else manifests.delete_snapshot
    objects = remove(guarded, environment_id, snapshot_id)
    kept = guarded.purge(naming.snapshot_prefix(environment_id, snapshot_id))
    return DeleteResult(objects=objects, kept=kept)


def execute(runtime: Runtime, request: DeleteRequest) -> DeleteResult:
    """As :func:`delete`."""
    return delete(runtime, opening.store(request.store), request)
