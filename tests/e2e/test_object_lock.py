"""Deletion from a bucket with versioning and Object Lock, by the operator and its Jobs against a real S3 server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from support.cluster.cluster import GROUP, Cluster, condition, wait_for
from support.cluster.promises import fresh
from support.cluster.site import Servers, Site


@pytest.fixture
def bucket(cluster: Cluster, servers: Servers, site: Site) -> Iterator[str]:
    """The bucket of the Environment's store, with versioning and Object Lock, without a default retention."""
    name, s3 = servers.bucket(site.endpoint), servers.s3_client(site.endpoint)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
    own = cluster.get("SnapshotStore", site.store, site.namespace)
    assert own is not None
    spec = {"s3": {**own["spec"]["s3"], "bucket": name}}
    metadata = {"name": "locked", "namespace": site.namespace}
    cluster.apply({"apiVersion": GROUP, "kind": "SnapshotStore", "metadata": metadata, "spec": spec})
    cluster.apply(site.environment_object(storeRef={"name": "locked"}))
    yield name
    cluster.apply(site.environment_object())
    cluster.delete("SnapshotStore", "locked", site.namespace)
    site.environment_ready()


def versions(site: Site, bucket: str, snapshot: str) -> list[str]:
    """Keys of all versions and delete markers of the snapshot with this id."""
    s3 = site.servers.s3_client(site.endpoint)
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    entries = [e for page in pages for kind in ("Versions", "DeleteMarkers") for e in page.get(kind, ())]
    return sorted(e["Key"] for e in entries if snapshot in e["Key"])


@pytest.mark.timeout(600)
def test_a_locked_snapshot_reports_its_end_and_is_deleted_then(site: Site, bucket: str) -> None:
    """One object is locked. The snapshot is hidden at once; the object stays with the end of the lock, and goes with
    the last version after it."""
    name = site.snapshot(fresh("locked"), deletionPolicy="Delete")
    done = site.completed("Snapshot", name)
    identifier, key = done["status"]["id"], f"test/{done['status']['manifestKey']}"
    s3 = site.servers.s3_client(site.endpoint)
    until = (datetime.now(UTC) + timedelta(seconds=45)).replace(microsecond=0)
    s3.put_object_retention(Bucket=bucket, Key=key, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    site.cluster.delete("Snapshot", name, site.namespace)

    def retained(o: dict[str, object]) -> bool:
        found = condition(o, "Stalled")
        return found is not None and found["reason"] == "RetainedByStore"

    waits = site.cluster.wait("Snapshot", name, site.namespace, retained, 60, "retained by the store")
    kept = waits["status"]["keptInStore"]
    assert (kept["versions"], kept["until"]) == (1, until.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert versions(site, bucket, identifier) == [key, key], "the version, and the marker that hides it"
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix=key)
    site.cluster.wait_gone("Snapshot", name, site.namespace, 180)
    assert datetime.now(UTC) >= until
    wait_for("no version is left", lambda: versions(site, bucket, identifier) == [])
