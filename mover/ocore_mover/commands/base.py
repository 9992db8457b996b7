"""The base of a differential: the full snapshot whose files it does not store again."""

from pathlib import Path

from ocore_crds.commands import parts
from ocore_crds.stored.manifest import FilestoreArtifact, Manifest, OuterManifest
from ocore_mover import manifests
from ocore_mover.encryption import Encrypting, Opened
from ocore_mover.errors import Cancelled, Corrupt, MoverError, StoreError
from ocore_mover.filestore import layouts
from ocore_mover.filestore.base import BaseIndex, BaseSnapshot
from ocore_mover.manifests import StoredManifest
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
    encrypting: Encrypting | None = None,
    identity: str | None = None,
) -> BaseIndex:
    """The index of the base, in scratch. The caller closes it. `encrypting`: of an encrypted snapshot. `identity`: what
    opens its base.

    Raises Unusable for what is missing, damaged or refused, and after the store's patience. A store that fails
    altogether fails the full snapshot, too, with its own reason. Raises MoverError ScratchFull.
    """
    try:
        view, found = find(store, environment_id, snapshot_id, layout, choice, encrypting, identity)
        return read(view, found, scratch)
    except StoreError as error:
        raise Unusable(error.message) from error


def find(
    store: Store,
    environment_id: str,
    snapshot_id: str,
    layout: str,
    choice: parts.BaseSnapshot,
    encrypting: Encrypting | None = None,
    identity: str | None = None,
) -> tuple[Store, BaseSnapshot]:
    """Reads the manifest of the base and checks that its filestore is whole, by the sizes of its objects. Returns the
    store in which it is not encrypted, too. Raises Unusable, StoreError."""
    if choice.snapshot_id == snapshot_id:
        raise Unusable("a snapshot cannot be its own base")
    try:
        found = manifests.find(store, environment_id, choice.snapshot_id, sha256=choice.manifest_sha256)
        if found is None:
            raise Unusable(f"{store.url} has no snapshot {choice.snapshot_id} of this environment")
        base = _contents(store, found, encrypting, identity)
        artifact = _usable(base.manifest.filestore, choice.snapshot_id, layout)
        stored = encrypting.converted(base.manifest) if encrypting is not None else base.manifest
        manifests.check_filestore(store, stored)
    except (StoreError, Cancelled):
        raise
    except MoverError as error:
        raise Unusable(error.message) from error
    return base.store, BaseSnapshot(choice.snapshot_id, found.key, found.sha256, artifact)


def _contents(store: Store, found: StoredManifest, encrypting: Encrypting | None, identity: str | None) -> Opened:
    manifest = found.manifest
    own = f"snapshot {manifest.identity.snapshot_id}"
    if encrypting is None:
        if not isinstance(manifest, Manifest):
            raise Unusable(f"{own} is encrypted")
        return Opened(store, manifest, found, store)
    if not isinstance(manifest, OuterManifest) or manifest.encryption.job_key is None:
        raise Unusable(f"{own} is not encrypted to a Job identity")
    # Who opens the differential opens the files in its base, too.
    others = set(encrypting.recipients) - set(manifest.encryption.recipients)
    if others:
        raise Unusable(f"{own} is not encrypted to {', '.join(sorted(others))}")
    return encrypting.open_base(store, found, identity)


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
