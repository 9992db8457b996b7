"""Differentials on a real cluster: a full snapshot, new files, a differential, and a rollback from both. The full one
stays as long as it is needed."""

from typing import Literal

import pytest

from ocore_crds.naming import ANNOTATION_VERIFY_REQUESTED
from support.cluster.cluster import Cluster, Object, condition, is_true
from support.cluster.promises import fresh, holds_all_promises, manifest, stored_keys
from support.cluster.site import Servers, Site, Sites, make_site

#: Orders before a full snapshot, and before a differential. That adds less than the full one has: else it would be a
#: full one, too.
MANY, FEW = 60, 8


def attachments(site: Site) -> list[tuple[object, ...]]:
    """What the database names."""
    return [
        tuple(row)
        for row in site.query(
            "SELECT id, store_fname, checksum FROM ir_attachment WHERE store_fname IS NOT NULL ORDER BY id"
        )
    ]


def tree(site: Site) -> str:
    """Every file of the filestore, with its digest."""
    script = (
        f"cd /claim/{site.path} && find . -type f -not -path './.ocore/*' | LC_ALL=C sort | xargs -r -d '\\n' sha256sum"
    )
    code, log = site.in_shop("sh", "-c", script)
    assert code == 0, log
    return log


def taken(site: Site, name: str, **spec: object) -> Object:
    """A Complete Snapshot."""
    return site.completed("Snapshot", site.snapshot(name, **spec))


def is_differential(obj: Object, base: str) -> bool:
    status = obj["status"]
    return status["fullFilestore"] is False and status["base"]["name"] == base


def dependents(site: Site, name: str) -> list[str]:
    found = site.cluster.get("Snapshot", name, site.namespace)
    assert found is not None
    return list(found["status"].get("dependents") or ())


@pytest.mark.parametrize("layout", ["Odoo", "Plain"])
@pytest.mark.timeout(900)
def test_row_49_a_rollback_to_a_differential_restores_exactly(
    cluster: Cluster, sites: Sites, layout: Literal["Odoo", "Plain"]
) -> None:
    site, name_of_full, name = sites.of(layout=layout), fresh("full"), fresh("differential")
    site.load(11, MANY)
    full = taken(site, name_of_full, filestoreMode="Full", deletionPolicy="Delete")
    assert full["status"]["fullFilestore"] is True
    assert full["status"].get("base") is None

    site.load(12, FEW)
    named, files = attachments(site), tree(site)
    differential = taken(site, name, deletionPolicy="Delete")
    assert is_differential(differential, name_of_full), differential["status"].get("evidence")
    assert dependents(site, name_of_full) == [name]
    sizes, before = differential["status"]["sizes"], full["status"]["sizes"]
    assert sizes["filestoreFiles"] > before["filestoreFiles"]
    stored = manifest(site, differential)
    assert stored["formatVersion"] == 2
    assert stored["filestore"]["base"]["snapshotId"] == full["status"]["id"]
    own = {o["key"] for o in stored["filestore"]["packs"]}
    assert all(differential["status"]["id"] in key for key in own)

    # The deletion of the full one is refused, with the name of what needs it.
    refused = cluster.kubectl("-n", site.namespace, "delete", "osnap", name_of_full, "--wait=false", check=False)
    assert f"snapshot {name_of_full} is needed by 1 differential snapshots ({name})" in refused

    site.load(13, FEW)
    site.query("DELETE FROM ir_attachment RETURNING 1")
    site.http("/api/gc", b"", "POST")
    site.completed("Rollback", site.rollback(fresh("back"), name, undoWindowSeconds=0))
    site.app_ready()
    assert attachments(site) == named
    if layout == "Plain":
        assert tree(site) == files
    site.files_fit()

    # Read back, it is whole: its own objects and those of its base.
    cluster.patch("Snapshot", name, site.namespace, {"spec": {"verify": "Full"}})
    cluster.wait("Snapshot", name, site.namespace, lambda o: is_true(o, "Verified"), 90, "verified")

    site.gone("Snapshot", name)
    assert dependents(site, name_of_full) == []
    site.gone("Snapshot", name_of_full)
    ids = (full["status"]["id"], differential["status"]["id"])
    assert [k for k in stored_keys(site) if any(f"/snapshots/{i}/" in k for i in ids)] == []
    holds_all_promises(site)


@pytest.mark.timeout(600)
def test_row_50_a_corrupt_full_one_takes_its_differentials_along(cluster: Cluster, servers: Servers) -> None:
    """They say so, nothing is stopped for a rollback to them, and the next snapshot is a full one: on a site that has
    no other."""
    with make_site(cluster, servers) as site:
        site.load(21, MANY)
        full = taken(site, "full")
        site.load(22, FEW)
        assert is_differential(taken(site, "differential"), "full")
        key = max(manifest(site, full)["filestore"]["packs"], key=lambda o: o["size"])["key"]
        s3, where = servers.s3_client(), {"Bucket": site.bucket, "Key": f"test/{key}"}
        stored = s3.get_object(**where)["Body"].read()
        data = bytearray(stored)
        data[len(data) // 2] ^= 1
        s3.put_object(**where, Body=bytes(data))
        cluster.patch("Snapshot", "full", site.namespace, {"spec": {"verify": "Full"}})
        found = cluster.wait(
            "Snapshot",
            "differential",
            site.namespace,
            lambda o: (condition(o, "Verified") or {}).get("reason") == "BaseCorrupt",
            120,
            "of a corrupt base",
        )
        assert not is_true(found, "Ready")
        assert "Snapshot full" in (condition(found, "Verified") or {})["message"]
        failed = site.failed("Rollback", site.rollback("refused", "differential"), "VerificationFailed")
        assert failed["status"].get("quiescedAt") is None
        assert site.accepts_connections()
        assert taken(site, "next")["status"]["fullFilestore"] is True

        # Row 154: the bytes are put back. Reading the full one again makes both usable.
        s3.put_object(**where, Body=stored)
        body = {"metadata": {"annotations": {ANNOTATION_VERIFY_REQUESTED: "put back"}}}
        cluster.patch("Snapshot", "full", site.namespace, body)
        whole = cluster.wait("Snapshot", "full", site.namespace, lambda o: is_true(o, "Ready"), 120, "whole again")
        assert (whole["status"]["phase"], is_true(whole, "Verified")) == ("Complete", True)
        assert whole["status"]["readBack"]["result"] == "Matched"
        cluster.wait("Snapshot", "differential", site.namespace, lambda o: is_true(o, "Ready"), 60, "usable again")
        assert site.previewed(site.rollback("look", "differential", dryRun=True))["preview"]["wouldRun"] is True
