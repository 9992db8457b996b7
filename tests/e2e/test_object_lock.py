"""Deletion from a bucket with versioning and Object Lock, by the operator and its Jobs against a real S3 server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from support.cluster.cluster import Cluster, condition, wait_for
from support.cluster.site import Servers, Site, make_site


@pytest.fixture(scope="module")
def site(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """A site whose bucket has versioning and Object Lock, without a default retention."""
    with make_site(cluster, servers, application=False) as site:
        s3 = servers.s3_client(site.endpoint)
        s3.put_bucket_versioning(Bucket=site.bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_object_lock_configuration(Bucket=site.bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
        yield site


def versions(site: Site, snapshot: str) -> list[str]:
    """Keys of all versions and delete markers of the snapshot with this id."""
    s3 = site.servers.s3_client(site.endpoint)
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=site.bucket)
    entries = [e for page in pages for kind in ("Versions", "DeleteMarkers") for e in page.get(kind, ())]
    return sorted(e["Key"] for e in entries if snapshot in e["Key"])


@pytest.mark.timeout(600)
def test_a_locked_snapshot_reports_its_end_and_is_deleted_then(site: Site) -> None:
    """One object is locked. The snapshot is hidden at once; the object stays with the end of the lock, and goes with
    the last version after it."""
    name = site.snapshot("locked", deletionPolicy="Delete")
    done = site.completed("Snapshot", name)
    identifier, key = done["status"]["id"], f"test/{done['status']['manifestKey']}"
    s3 = site.servers.s3_client(site.endpoint)
    until = (datetime.now(UTC) + timedelta(seconds=45)).replace(microsecond=0)
    s3.put_object_retention(Bucket=site.bucket, Key=key, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    site.cluster.delete("Snapshot", name, site.namespace)

    def retained(o: dict[str, object]) -> bool:
        found = condition(o, "Stalled")
        return found is not None and found["reason"] == "RetainedByStore"

    waits = site.cluster.wait("Snapshot", name, site.namespace, retained, 60, "retained by the store")
    kept = waits["status"]["keptInStore"]
    assert (kept["versions"], kept["until"]) == (1, until.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert versions(site, identifier) == [key, key], "the version, and the marker that hides it"
    assert "Contents" not in s3.list_objects_v2(Bucket=site.bucket, Prefix=key)
    site.cluster.wait_gone("Snapshot", name, site.namespace, 180)
    assert datetime.now(UTC) >= until
    wait_for("no version is left", lambda: versions(site, identifier) == [])
