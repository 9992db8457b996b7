"""A snapshot of an Odoo filestore in a store, and its manifest, which is not written yet."""

from typing import Any

from ocore_crds import naming
from ocore_crds.stored.manifest import ConfigArtifact, FilestoreBase, Manifest
from ocore_mover import manifests
from ocore_mover.filestore.odoo.copy import store_odoo
from ocore_mover.store import Store
from support.mover.contents import dumped, of_production, put
from support.mover.filestore import ENVIRONMENT, Site, counter, frozen_files

SNAPSHOT = "33333333-3333-4333-8333-333333333333"
TIME = "2026-01-02T03:04:05Z"


def snapshot(site: Site, store: Store, *, attempt: str = "a1", snapshot_id: str = SNAPSHOT) -> Manifest:
    """Everything but the manifest is in the store afterwards."""
    prefix = naming.attempt_prefix(ENVIRONMENT, snapshot_id, attempt)
    with frozen_files(site, attempt) as frozen:
        filestore = store_odoo(store, prefix, frozen, counter())
    dump = (put(store, f"{prefix}database/toc.dat", b"toc"), put(store, f"{prefix}database/1.dat.zst", b"data"))
    return of_production(
        ENVIRONMENT,
        snapshot_id,
        time=TIME,
        store_id="s",
        attempt=attempt,
        database=dumped(*dump, raw_bytes=30),
        filestore=filestore,
        config=ConfigArtifact(archive=put(store, f"{prefix}config.tar", b"tar"), file_count=1),
    )


def keys(store: Store) -> set[str]:
    return {found.key for found in store.list("")}


BASE = "44444444-4444-4444-8444-444444444444"


def based(manifest: Manifest, full: manifests.StoredManifest, **changes: Any) -> Manifest:
    """The manifest with all packs of the full one as its base."""
    assert full.manifest.filestore is not None
    assert manifest.filestore is not None
    fields: dict[str, Any] = {
        "snapshot_id": BASE,
        "manifest_key": full.key,
        "manifest_sha256": full.sha256,
        "packs": full.manifest.filestore.packs,
    }
    base = FilestoreBase.model_construct(**{**fields, **changes})
    return manifest.model_copy(
        update={"format_version": 2, "filestore": manifest.filestore.model_copy(update={"base": base})}
    )
