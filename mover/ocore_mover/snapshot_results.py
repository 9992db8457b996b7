"""A snapshot as ``snapshot``, ``inspect`` and ``list-manifests`` report it."""

from ocore_crds.commands.snapshot import SnapshotResult
from ocore_crds.stored.snapshot_state import StoredState
from ocore_mover.filestore.packset import FOLDER as FILESTORE_FOLDER
from ocore_mover.manifests import StoredManifest, artifact_digest


def of(stored: StoredManifest, *, read_back: bool = False, state: StoredState | None = None) -> SnapshotResult:
    """The result of ``snapshot`` and ``inspect``, with checksums and paths. `state`: what the state object in the store
    has."""
    manifest = stored.manifest
    prefix = stored.key.rpartition("/")[0] + f"/{manifest.attempt}/"
    checksums, paths = {"manifest": stored.sha256}, {"manifest": stored.key}
    found = SnapshotResult(
        attempt=manifest.attempt,
        identity=manifest.identity,
        manifest_key=stored.key,
        manifest_sha256=stored.sha256,
        store_id=manifest.store_id,
        started_at=manifest.started_at,
        consistent_at=manifest.consistent_at,
        completed_at=manifest.completed_at,
        stored_bytes=manifest.stored_bytes(),
        evidence=manifest.evidence,
        read_back=read_back,
        base_snapshot_id=manifest.base.snapshot_id if manifest.base is not None else "",
        state=state,
    )
    more: dict[str, object] = {}
    if database := manifest.database:
        checksums["database"] = artifact_digest(database.files)
        paths["database"] = database.files[0].key.rpartition("/")[0] + "/" if database.files else prefix
        more |= {
            "server_version": database.server_version,
            "server_major": database.server_major,
            "client_version": database.client_version,
            "neutralized": database.neutralized,
            "unfinished_modules": database.unfinished_modules,
            "database_bytes": database.size_bytes,
            "database_stored_bytes": sum(file.size for file in database.files),
            "database_restore_bytes": database.raw_bytes,
        }
    if filestore := manifest.filestore:
        objects = (filestore.index, *filestore.packs)
        checksums["filestore"] = artifact_digest(objects)
        paths["filestore"] = prefix + FILESTORE_FOLDER
        more |= {
            "filestore_bytes": filestore.size_bytes,
            "filestore_files": filestore.file_count,
            "filestore_stored_bytes": sum(obj.size for obj in objects),
        }
    if config := manifest.config:
        checksums["config"] = config.archive.sha256
        paths["config"] = config.archive.key
    return found.model_copy(update={**more, "checksums": checksums, "paths": paths})
