"""Differentials in a store protect their full snapshot there, with or without a Snapshot object."""

from typing import Any

import pytest

from ocore_crds import conditions, naming
from ocore_crds.commands.delete import DeleteRequest
from ocore_crds.commands.parts import StoreAccess
from ocore_mover import dependents, manifests
from ocore_mover.commands.delete import delete
from ocore_mover.errors import MoverError
from ocore_mover.store import Store
from support.mover.contents import put
from support.mover.filestore import ENVIRONMENT, Site
from support.mover.odoo_snapshot import BASE, SNAPSHOT, based, keys, snapshot


class Plain:
    """The part of a Runtime that a deletion uses."""

    def guarded(self, store: Store) -> Store:
        return store


@pytest.fixture
def full(site: Site, store: Store) -> manifests.StoredManifest:
    site.fill(20)
    return manifests.write(store, snapshot(site, store, snapshot_id=BASE))


def take(site: Site, store: Store, full: manifests.StoredManifest) -> None:
    """As the snapshot command does."""
    manifest = based(snapshot(site, store), full)
    dependents.enter(store, manifest)
    manifests.write(store, manifest)


def deleted(store: Store, snapshot_id: str) -> int:
    runtime: Any = Plain()
    place = StoreAccess(url="file:///unused")
    request = DeleteRequest(store=place, environment_id=ENVIRONMENT, snapshot_id=snapshot_id)
    return delete(runtime, store, request).objects


def test_row_49_a_full_one_that_a_stored_differential_needs_is_not_deleted(
    site: Site, store: Store, full: manifests.StoredManifest
) -> None:
    take(site, store, full)
    before = keys(store)
    with pytest.raises(MoverError) as caught:
        deleted(store, BASE)
    assert caught.value.reason == conditions.HAS_DEPENDENTS
    assert SNAPSHOT in caught.value.message
    assert not caught.value.retryable
    assert keys(store) == before
    deleted(store, SNAPSHOT)
    assert deleted(store, BASE)
    assert not keys(store)


def test_leftovers_are_removed_and_the_marker_stays(site: Site, store: Store, full: manifests.StoredManifest) -> None:
    take(site, store, full)
    before = keys(store)
    put(store, naming.attempt_prefix(ENVIRONMENT, BASE, "a9") + "left", b"x")
    manifests.delete_leftovers(store, ENVIRONMENT, BASE)
    assert keys(store) == before
    assert dependents.living(store, ENVIRONMENT, BASE) == [SNAPSHOT]


def test_a_marker_without_a_manifest_protects_nothing(site: Site, store: Store, full: manifests.StoredManifest) -> None:
    """The differential failed before its manifest, or was deleted."""
    dependents.enter(store, based(snapshot(site, store), full))
    assert dependents.living(store, ENVIRONMENT, BASE) == []
    put(store, naming.dependents_prefix(ENVIRONMENT, BASE) + "no-id", b"x")
    assert dependents.living(store, ENVIRONMENT, BASE) == []
    assert deleted(store, BASE)


def test_one_that_needs_another_base_does_not_count(site: Site, store: Store, full: manifests.StoredManifest) -> None:
    """A later attempt of the same snapshot stored the whole filestore."""
    dependents.enter(store, based(snapshot(site, store), full))
    manifests.write(store, snapshot(site, store))
    assert dependents.living(store, ENVIRONMENT, BASE) == []


def test_one_whose_manifest_is_damaged_counts(site: Site, store: Store, full: manifests.StoredManifest) -> None:
    take(site, store, full)
    key = naming.manifest_key(ENVIRONMENT, SNAPSHOT)
    store.delete([key])
    put(store, key, b"{")
    assert dependents.living(store, ENVIRONMENT, BASE) == [SNAPSHOT]
    with pytest.raises(MoverError, match="Delete them first"):
        deleted(store, BASE)


def test_a_full_one_leaves_no_marker(site: Site, store: Store) -> None:
    site.fill(2)
    dependents.enter(store, snapshot(site, store))
    assert not [k for k in keys(store) if "/dependents/" in k]
