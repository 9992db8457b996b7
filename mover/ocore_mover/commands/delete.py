"""``delete``: removes a snapshot from the store."""

from pathlib import Path

from ocore_crds import naming
from ocore_crds.commands.delete import DeleteRequest, DeleteResult
from ocore_crds.stored.snapshot_state import StoredState
from ocore_mover import dependents, manifests, states
from ocore_mover.commands import opening
from ocore_mover.commands.check_copy import check_copy
from ocore_mover.commands.runtime import Runtime
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.store.interface import Store


def delete(
    runtime: Runtime,
    store: Store,
    environment_id: str,
    snapshot_id: str,
    *,
    attempts_only: bool,
    keep_attempt: str | None,
    claim: Path | None = None,
    copy: tuple[Store, str] | None = None,
    known_state: StoredState | None = None,
) -> DeleteResult:
    """Removes a snapshot, or with `attempts_only` only the objects that no manifest names.

    With `claim` it also removes the folders that the snapshot's attempts froze there. Objects that no longer exist are
    not an error. In a bucket with versioning the objects are hidden first, then their versions are removed; the result
    reports what the store keeps. Raises MoverError HasDependents, and deletes nothing, where differentials in the store
    need the whole snapshot. With `copy` (its store, SHA-256 of its manifest), which is to outlive the snapshot in this
    store, also RemoteCopyLost where that one is not whole, and StoreError where that cannot be checked. With
    `known_state` also Pinned where the store has a pin that is not in it.
    """
    guarded = runtime.guarded(store)
    if copy is not None:
        check_copy(runtime, copy[0], environment_id, snapshot_id, copy[1])
    if not attempts_only:
        dependents.check_none(guarded, environment_id, snapshot_id)
        if known_state is not None:
            states.check_not_pinned(guarded, environment_id, snapshot_id, known_state)
    if claim is not None:
        ClaimFolders(claim, "", environment_id).remove_frozen(keep_attempt, of_snapshot=snapshot_id)
    if attempts_only:
        objects, uploads = manifests.delete_leftovers(guarded, environment_id, snapshot_id, keep_attempt=keep_attempt)
    else:
        objects, uploads = manifests.delete_snapshot(guarded, environment_id, snapshot_id)
    kept = guarded.purge(naming.snapshot_prefix(environment_id, snapshot_id))
    return DeleteResult(objects=objects, uploads_aborted=uploads, kept=kept)


def execute(runtime: Runtime, request: DeleteRequest) -> DeleteResult:
    """As :func:`delete`."""
    copy: tuple[Store, str] | None = None
    if request.source is not None and request.manifest_sha256 is not None:
        copy = opening.source(request.source), request.manifest_sha256
    return delete(
        runtime,
        opening.store(request.store),
        request.environment_id,
        request.snapshot_id,
        attempts_only=request.attempts_only,
        keep_attempt=request.keep_attempt,
        claim=opening.optional_path(request.claim),
        copy=copy,
        known_state=request.known_state,
    )
