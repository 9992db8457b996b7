"""A kind of store is one class in jobs/building/stores.py and one row there. No other module of the operator asks for
one."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.resources.snapshotstore import SnapshotStoreSpec
from ocore_operator.jobs.building import stores
from ocore_operator.jobs.building.request_parts import Volumes
from support.operator.jobs import CLAIM_STORE, READY_CLAIM_STORE, store

OPERATOR = Path(stores.__file__).parents[1]
#: As the models of the CRD have them.
FIELDS = {"s3", "claim"}
HTTP = store({"s3": {"bucket": "snapshots", "endpoint": "http://minio:9000", "caBundle": {"name": "ca", "key": "x"}}})


def test_each_kind_of_the_crd_has_a_row() -> None:
    """The fields of which the API server accepts exactly one."""
    assert set(stores.KINDS) == FIELDS <= set(SnapshotStoreSpec.model_fields)


def asked(tree: ast.AST) -> Iterator[str]:
    """`….spec.s3` and `spec.claim`, whatever comes before."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in FIELDS:
            owner = node.value
            name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            if name == "spec":
                yield f"{name}.{node.attr}"


def test_no_other_module_asks_for_the_kind() -> None:
    found = {
        path.relative_to(OPERATOR).as_posix(): names
        for path in sorted(OPERATOR.rglob("*.py"))
        if (names := list(asked(ast.parse(path.read_text()))))
    }
    assert found == {}


@pytest.mark.parametrize("source", ["store.spec.claim", "found.spec.s3.bucket", "spec.s3"])
def test_one_that_asks_is_found(source: str) -> None:
    assert list(asked(ast.parse(source)))


def mounted(volumes: Volumes) -> dict[str, Any]:
    return {mount["name"]: mount.get("readOnly", False) for mount in volumes.mounts}


def test_a_claim_is_mounted_and_must_exist() -> None:
    found, volumes = stores.of(CLAIM_STORE), Volumes()
    assert found.claim == "backups"
    assert [(each.name, each.reason, each.field) for each in found.needs()] == [
        ("backups", c.CLAIM_NOT_FOUND, "spec.claim")
    ]
    assert (found.access(volumes).url, mounted(volumes)) == ("file:///store/eu/shop", {"store": False})
    volumes = Volumes()
    assert (found.source(volumes).url, mounted(volumes)) == ("file:///source-store/eu/shop", {"source-store": True})
    assert found.warnings() == ()


def test_a_job_that_starts_without_its_store_mounts_no_claim() -> None:
    """A pod does not start while a claim is missing; a Secret and a ConfigMap may be."""
    volumes = Volumes()
    assert (stores.of(CLAIM_STORE).optional(volumes), volumes.volumes) == (None, [])
    access = stores.of(HTTP).optional(volumes)
    assert access is not None
    assert volumes.volumes[0]["configMap"]["optional"] is True


@pytest.mark.parametrize(
    ("found", "url"), [(CLAIM_STORE, ""), (HTTP, ""), (READY_CLAIM_STORE, "file:///store/eu/shop")]
)
def test_only_a_claim_that_is_ready_is_probed_with_the_environment(found: Any, url: str) -> None:
    volumes = Volumes()
    assert stores.of(found).probed(volumes)[0] == url
    assert bool(volumes.volumes) == bool(url)


def test_a_bucket_needs_its_certificates_and_warns_without_tls() -> None:
    found = stores.of(HTTP)
    assert found.claim is None
    assert [(each.name, each.reason, each.field) for each in found.needs()] == [
        ("ca", c.CONFIG_NOT_FOUND, "spec.s3.caBundle")
    ]
    assert found.warnings() == (stores.UNENCRYPTED,)
    assert stores.of(store()).needs() == ()
    assert stores.of(store()).warnings() == ()


def test_a_store_that_does_not_exist_has_its_name() -> None:
    assert (stores.missing("shop", "main").meta.name, stores.missing("shop", "main").meta.namespace) == ("main", "shop")
