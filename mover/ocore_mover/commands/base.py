"""The base of a differential: the full snapshot whose files it does not store again."""

from pathlib import Path

from ocore_crds.commands import parts
from ocore_crds.stored.manifest import FilestoreArtifact, Manifest
from ocore_mover import manifests
from ocore_mover.errors import Cancelled, Corrupt, MoverError, StoreError
from ocore_mover.filestore import layouts
from ocore_mover.filestore.base import BaseIndex, BaseSnapshot
from ocore_mover.store.interface import Store


class Unusable(Exception):
    """A full snapshot is taken instead; the message says why."""


def opened(
    store: Store,
    environment_id: str,
    snapshot_id: str,
    layout: str,
    choice: parts.BaseSnapshot,
    *,
    scratch: Path,
) -> BaseIndex:
    """The index of the base, in scratch. The caller closes it.

    Raises Unusable for what is missing, damaged or refused, and after the store's patience. A store that fails
    altogether fails the full snapshot, too, with its own reason. Raises MoverError ScratchFull.
    """
    try:
        return read(store, find(store, environment_id, snapshot_id, layout, choice), scratch)
    except StoreError as error:
        raise Unusable(error.message) from error


def find(store: Store, environment_id: str, snapshot_id: str, layout: str, choice: parts.BaseSnapshot) -> BaseSnapshot:
    """Reads the manifest of the base and checks that its filestore is whole, by the sizes of its objects. Raises
    Unusable, StoreError."""
    if choice.snapshot_id == snapshot_id:
        raise Unusable("a snapshot cannot be its own base")
    try:
        found = manifests.find(store, environment_id, choice.snapshot_id, sha256=choice.manifest_sha256)
        if found is None:
            raise Unusable(f"{store.url} has no snapshot {choice.snapshot_id} of this environment")
        manifest = found.manifest
        if not isinstance(manifest, Manifest):
            raise Unusable(f"snapshot {choice.snapshot_id} is encrypted")
        artifact = _usable(manifest.filestore, choice.snapshot_id, layout)
        manifests.check_filestore(store, manifest)
    except (StoreError, Cancelled):
        raise
    except MoverError as error:
        raise Unusable(error.message) from error
    return BaseSnapshot(choice.snapshot_id, found.key, found.sha256, artifact)


def _usable(artifact: FilestoreArtifact | None, snapshot_id: str, layout: str) -> FilestoreArtifact:
    if artifact is None:
        raise Unusable(f"snapshot {snapshot_id} has no filestore")
    if artifact.base is not None:
        raise Unusable(f"snapshot {snapshot_id} is itself a differential")
    if artifact.layout != layout:
        raise Unusable(
            f"the filestore of snapshot {snapshot_id} has layout {artifact.layout}, the environment's {layout}"
        )
    if why := layouts.of(layout).unusable_base(artifact):
        raise Unusable(f"snapshot {snapshot_id} {why}")
    return artifact


def read(store: Store, snapshot: BaseSnapshot, scratch: Path) -> BaseIndex:
    """Reads the index of the base into scratch. The caller closes it. Raises Unusable, StoreError, and MoverError
    ScratchFull."""
    base = layouts.of(snapshot.artifact.layout).base(snapshot, scratch)
    try:
        base.read(store)
    except Corrupt as error:
        base.close()
        raise Unusable(error.message) from error
    except BaseException:
        base.close()
        raise
    return base


def unused_warning(snapshot_id: str, error: Unusable) -> str:
    """Why a full snapshot was taken."""
    return f"a full snapshot was taken instead of a differential: the base {snapshot_id} cannot be used: {error}"
