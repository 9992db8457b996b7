"""``verify``, ``delete`` and ``inspect --snapshot-id``: a snapshot that is in the store."""

from pathlib import Path

from ocore_crds.protocol import DeleteResult, SnapshotResult, Step, VerifyResult
from ocore_mover import manifests
from ocore_mover.commands import evidence
from ocore_mover.commands.runtime import Runtime
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.store.base import Store


def verify(
    runtime: Runtime, store: Store, environment_id: str, snapshot_id: str, *, sha256: str | None, jobs: int
) -> VerifyResult:
    """Reads every byte again. Raises Corrupt naming the object, MoverError SnapshotNotFound."""
    guarded = runtime.guarded(store)
    with runtime.step(Step.VERIFY):
        stored = manifests.read(guarded, environment_id, snapshot_id, sha256=sha256)
        counter = runtime.counter(Step.VERIFY)
        counter.bytes_total = stored.manifest.stored_bytes()
        count = manifests.verify_objects(guarded, stored.manifest, counter, jobs=jobs)
    return VerifyResult(
        objects=len(stored.manifest.objects()),
        bytes_read=count,
        evidence=evidence.of_verification(stored.manifest, count),
    )


def delete(
    runtime: Runtime,
    store: Store,
    environment_id: str,
    snapshot_id: str,
    *,
    attempts_only: bool,
    keep_attempt: str | None,
    claim: Path | None = None,
) -> DeleteResult:
    """Removes a snapshot, or only what no manifest names; with `claim` also what its attempts froze there. What is gone already does not
    matter."""
    guarded = runtime.guarded(store)
    if claim is not None:
        ClaimFolders(claim, "", environment_id).remove_frozen(keep_attempt, of_snapshot=snapshot_id)
    if attempts_only:
        objects, uploads = manifests.delete_leftovers(guarded, environment_id, snapshot_id, keep_attempt=keep_attempt)
    else:
        objects, uploads = manifests.delete_snapshot(guarded, environment_id, snapshot_id)
    return DeleteResult(objects=objects, uploads_aborted=uploads)


def inspect_snapshot(runtime: Runtime, store: Store, environment_id: str, snapshot_id: str) -> SnapshotResult:
    """What `snapshot` would have reported. Raises MoverError SnapshotNotFound."""
    return manifests.result(manifests.read(runtime.guarded(store), environment_id, snapshot_id))
