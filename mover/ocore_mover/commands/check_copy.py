"""``check-copy``: whether the copy of a snapshot in a remote store is whole, by its manifest and one listing of its
objects. Reads none of their bytes."""

from ocore_crds import conditions, naming
from ocore_crds.commands.check_copy import CheckCopyRequest, CopyChecked
from ocore_mover import manifests
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.store.interface import Store


def check_copy(
    runtime: Runtime, store: Store, environment_id: str, snapshot_id: str, manifest_sha256: str
) -> CopyChecked:
    """Raises MoverError RemoteCopyLost where the store lacks something that a restore from it needs. Raises StoreError
    where it cannot be read, or is another store than the request names: that says nothing about the copy."""
    guarded = runtime.guarded(store)
    try:
        stored = manifests.find(guarded, environment_id, snapshot_id, sha256=manifest_sha256)
        if stored is None:
            raise _lost(store, f"{naming.manifest_key(environment_id, snapshot_id)} is missing")
        manifests.check_objects(guarded, stored.manifest)
        for key in stored.manifest.signature_keys():
            if guarded.head(key) is None:
                raise _lost(store, f"{key} is missing, without which it is not imported")
        _check_base(guarded, stored)
    except Corrupt as error:
        raise _lost(store, error.message) from error
    objects = stored.manifest.needed()
    return CopyChecked(objects=len(objects), bytes=stored.manifest.needed_bytes())


def _check_base(store: Store, stored: manifests.StoredManifest) -> None:
    try:
        manifests.check_base(store, stored.manifest)
    except MoverError as error:
        if error.reason != conditions.BASE_GONE:
            raise
        base = stored.manifest.base
        raise _lost(
            store, f"its base, snapshot {base.snapshot_id if base is not None else ''}, is not whole there"
        ) from error


def _lost(store: Store, why: str) -> MoverError:
    return MoverError(
        conditions.REMOTE_COPY_LOST, f"The copy in {store.url} is not whole: {why.rstrip('.')}. Nothing was deleted."
    )


def execute(runtime: Runtime, request: CheckCopyRequest) -> CopyChecked:
    """As :func:`check_copy`."""
    store = opening.store(request.store)
    return check_copy(runtime, store, request.environment_id, request.snapshot_id, request.manifest_sha256)
