"""The manifest of a differential: what it may name, and what a restore needs."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from ocore_crds import naming
from ocore_crds.stored.manifest import Manifest, StoredObject
from ocore_mover import manifests, snapshot_results
from ocore_mover.errors import Corrupt
from ocore_mover.store import Store
from support.mover.contents import put
from support.mover.filestore import ENVIRONMENT, Site, counter
from support.mover.odoo_snapshot import BASE, SNAPSHOT, based, keys, snapshot

OTHER = "66666666-6666-4666-8666-666666666666"


@pytest.fixture
def full(site: Site, store: Store) -> manifests.StoredManifest:
    site.fill(20)
    return manifests.write(store, snapshot(site, store, snapshot_id=BASE))


def differential(site: Site, store: Store, full: manifests.StoredManifest, **changes: Any) -> Manifest:
    """Written nowhere yet."""
    return based(snapshot(site, store), full, **changes)


def test_a_differential_is_read_back_and_names_its_base(
    site: Site, store: Store, full: manifests.StoredManifest
) -> None:
    written = manifests.write(store, differential(site, store, full))
    found = manifests.read(store, ENVIRONMENT, SNAPSHOT, sha256=written.sha256)
    assert found == written
    assert (found.manifest.format_version, full.manifest.format_version) == (2, 1)
    result = snapshot_results.of(found)
    assert found.manifest.base is not None
    assert (result.base_snapshot_id, found.manifest.base.manifest_sha256) == (BASE, full.sha256)
    own = sum(obj.size for obj in store.list(naming.attempt_prefix(ENVIRONMENT, SNAPSHOT, "a1")))
    assert result.stored_bytes == own
    manifests.check_objects(store, found.manifest)
    assert full.manifest.filestore is not None
    packs = sum(pack.size for pack in full.manifest.filestore.packs)
    assert manifests.verify_objects(store, found.manifest, counter()) == own + packs
    assert found.manifest.needed_bytes() == own + packs
    plain = snapshot_results.of(full)
    assert plain.base_snapshot_id == ""


def test_deleting_a_differential_leaves_its_base(site: Site, store: Store, full: manifests.StoredManifest) -> None:
    before = keys(store)
    manifests.write(store, differential(site, store, full))
    manifests.delete_leftovers(store, ENVIRONMENT, SNAPSHOT)
    manifests.delete_snapshot(store, ENVIRONMENT, SNAPSHOT)
    assert keys(store) == before


@pytest.mark.parametrize("version", [1, 2])
def test_the_version_says_whether_there_is_a_base(
    site: Site, store: Store, full: manifests.StoredManifest, version: int
) -> None:
    """An older reader must refuse a differential; none may call a full one so."""
    manifest = full.manifest if version == 2 else differential(site, store, full)
    lying = {**manifest.wire(), "formatVersion": version}
    with pytest.raises(ValidationError, match=f"formatVersion {version}"):
        Manifest.model_validate(lying)
    put(store, naming.manifest_key(ENVIRONMENT, manifest.identity.snapshot_id), json.dumps(lying).encode())
    with pytest.raises(Corrupt, match="not a manifest that this version can read"):
        manifests.read(store, ENVIRONMENT, manifest.identity.snapshot_id)


def test_a_full_manifest_is_as_older_versions_wrote_it(full: manifests.StoredManifest) -> None:
    wire = full.manifest.wire()
    assert wire["formatVersion"] == 1
    assert "base" not in wire["filestore"]


def moved(pack: StoredObject, key: str) -> StoredObject:
    return pack.model_copy(update={"key": key})


@pytest.mark.parametrize(
    "key",
    [
        f"environments/{OTHER}/snapshots/{BASE}/a1/filestore/{{name}}",
        f"environments/{ENVIRONMENT}/snapshots/{SNAPSHOT}/a1/filestore/{{name}}",
        f"environments/{ENVIRONMENT}/snapshots/{OTHER}/a1/filestore/{{name}}",
        f"environments/{ENVIRONMENT}/snapshots/{BASE}/a1/filestore/../../../{{name}}",
        f"environments/{ENVIRONMENT}/snapshots/{BASE}/../{BASE}/filestore/{{name}}",
        f"environments/{ENVIRONMENT}/snapshots/{BASE}/../filestore/{{name}}",
        f"environments/{ENVIRONMENT}/snapshots/{BASE}/a1/filestore//{{name}}",
        f"environments/{ENVIRONMENT}/snapshots/{BASE}/a1/database/{{name}}",
        f"environments/{ENVIRONMENT}/snapshots/{BASE}/a2/filestore/{{name}}",
        f"environments/{ENVIRONMENT}/snapshots/{BASE}/a1/filestore/more/{{name}}",
        f"environments/{ENVIRONMENT}/snapshots/{BASE}/{{name}}",
        "ocore-store.json",
        "/etc/passwd",
    ],
)
def test_packs_of_a_base_are_its_own(site: Site, folder_store: Store, key: str) -> None:
    site.fill(20)
    full = manifests.write(folder_store, snapshot(site, folder_store, snapshot_id=BASE))
    assert full.manifest.filestore is not None
    first, *others = full.manifest.filestore.packs
    lying = moved(first, key.format(name=first.key.rpartition("/")[2]))
    refused(folder_store, differential(site, folder_store, full, packs=(lying, *others)))


def refused(store: Store, manifest: Manifest) -> None:
    """Neither written nor read."""
    with pytest.raises(Corrupt, match=f"the manifest of snapshot {SNAPSHOT} names"):
        manifests.write(store, manifest)
    key = naming.manifest_key(ENVIRONMENT, SNAPSHOT)
    assert store.head(key) is None
    put(store, key, json.dumps(manifest.wire()).encode())
    with pytest.raises(Corrupt, match=f"the manifest of snapshot {SNAPSHOT} names"):
        manifests.read(store, ENVIRONMENT, SNAPSHOT)


@pytest.mark.parametrize(
    "changes",
    [
        {"snapshot_id": SNAPSHOT, "manifest_key": naming.manifest_key(ENVIRONMENT, SNAPSHOT), "packs": ()},
        {"manifest_key": naming.manifest_key(ENVIRONMENT, OTHER)},
        {"manifest_key": naming.manifest_key(OTHER, BASE)},
        {"manifest_key": "ocore-store.json"},
    ],
    ids=["itself", "other snapshot", "other environment", "no manifest"],
)
def test_the_base_is_another_snapshot_of_the_environment(
    site: Site, folder_store: Store, changes: dict[str, Any]
) -> None:
    site.fill(20)
    full = manifests.write(folder_store, snapshot(site, folder_store, snapshot_id=BASE))
    refused(folder_store, differential(site, folder_store, full, **changes))


def test_a_pack_of_the_base_is_named_once(site: Site, folder_store: Store) -> None:
    site.fill(20)
    full = manifests.write(folder_store, snapshot(site, folder_store, snapshot_id=BASE))
    assert full.manifest.filestore is not None
    pack = full.manifest.filestore.packs[0]
    refused(folder_store, differential(site, folder_store, full, packs=(pack, pack)))


@pytest.mark.parametrize("how", ["gone", "shorter"])
def test_a_pack_of_the_base_that_is_not_whole_is_named(
    site: Site, store: Store, full: manifests.StoredManifest, how: str
) -> None:
    manifest = differential(site, store, full)
    assert manifest.base is not None
    victim = manifest.base.packs[0]
    store.delete([victim.key])
    if how == "shorter":
        put(store, victim.key, b"x")
    with pytest.raises(Corrupt, match=f"{victim.key} .of the base, snapshot {BASE}"):
        manifests.check_objects(store, manifest)
    with pytest.raises(Corrupt, match=victim.key):
        manifests.verify_objects(store, manifest, counter())
