"""A snapshot as ``snapshot``, ``inspect`` and ``list-manifests`` report it."""

from ocore_crds.commands.snapshot import SnapshotResult
from ocore_crds.stored.manifest import (
    DatabaseArtifact,
    Evidence,
    Identity,
    Ids,
    Manifest,
    OuterManifest,
    StoredObject,
)
from ocore_crds.stored.snapshot_state import StoredState
from ocore_mover.filestore.packset import FOLDER as FILESTORE_FOLDER
from ocore_mover.manifests import StoredManifest, artifact_digest

#: The folders of an attempt. An object of an encrypted snapshot is of the part that its folder names.
_PARTS = {"database": "database/", "filestore": FILESTORE_FOLDER, "config": "config/"}
_SEALED = (
    "The snapshot is encrypted. What was required and proven is in its inner manifest, which is read with an identity"
    " only. A test restore with one proves the snapshot"
)


def of(
    stored: StoredManifest,
    *,
    contents: Manifest | None = None,
    read_back: bool = False,
    state: StoredState | None = None,
) -> SnapshotResult:
    """The result of ``snapshot`` and ``inspect``, with checksums and paths. `contents`: of an encrypted snapshot, where
    they are known. `state`: what the state object in the store has."""
    named = stored.manifest
    if isinstance(named, Manifest):
        contents = named
    prefix = stored.key.rpartition("/")[0] + f"/{named.attempt}/"
    parts = {part: objects for part, objects in _parts(named, prefix).items() if objects}
    checksums = {part: artifact_digest(objects) for part, objects in parts.items()}
    paths = {part: objects[0].key.rpartition("/")[0] + "/" for part, objects in parts.items()}
    if "config" in parts:
        checksums["config"], paths["config"] = parts["config"][0].sha256, parts["config"][0].key
    found = SnapshotResult(
        attempt=named.attempt,
        identity=contents.identity if contents is not None else _unknown(named.identity),
        manifest_key=stored.key,
        manifest_sha256=stored.sha256,
        store_id=named.store_id,
        started_at=named.started_at,
        consistent_at=named.consistent_at,
        completed_at=named.completed_at,
        stored_bytes=named.stored_bytes(),
        database_stored_bytes=sum(obj.size for obj in parts.get("database", ())),
        filestore_stored_bytes=sum(obj.size for obj in parts.get("filestore", ())),
        evidence=contents.evidence if contents is not None else Evidence(warnings=(_SEALED,)),
        read_back=read_back,
        base_snapshot_id=named.base.snapshot_id if named.base is not None else "",
        encryption=named.encryption if isinstance(named, OuterManifest) else None,
        signature=named.signature,
        state=state,
        checksums={"manifest": stored.sha256, **checksums},
        paths={"manifest": stored.key, **paths},
    )
    sizes = named.sizes if isinstance(named, OuterManifest) else named.sizes()
    update: dict[str, object] = dict(sizes)
    if contents is not None and contents.database is not None:
        update |= _properties(contents.database)
    return found.model_copy(update=update)


def _parts(named: Manifest | OuterManifest, prefix: str) -> dict[str, tuple[StoredObject, ...]]:
    """The objects of each part, as they are stored."""
    if isinstance(named, OuterManifest):
        return {
            part: tuple(obj for obj in named.objects() if obj.key.startswith(prefix + folder))
            for part, folder in _PARTS.items()
        }
    database, filestore, config = named.database, named.filestore, named.config
    return {
        "database": database.files if database is not None else (),
        "filestore": (filestore.index, *filestore.packs) if filestore is not None else (),
        "config": (config.archive,) if config is not None else (),
    }


def _properties(database: DatabaseArtifact) -> dict[str, object]:
    return {
        "server_version": database.server_version,
        "client_version": database.client_version,
        "neutralized": database.neutralized,
        "unfinished_modules": database.unfinished_modules,
    }


def _unknown(ids: Ids) -> Identity:
    """Of an encrypted snapshot everyone can read its ids. Of what is not known the type is the one that is protected
    most."""
    return Identity(**dict(ids), environment_name="", environment_type="production")
