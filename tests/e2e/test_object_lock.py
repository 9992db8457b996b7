"""Deletion from a bucket with versioning and Object Lock, by the operator and its Jobs against a real S3 server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ocore_crds import naming
from support.cluster.cluster import GROUP, Cluster, condition, is_true, wait_for
from support.cluster.plugin import ocore
from support.cluster.promises import fresh
from support.cluster.site import S3_ACCESS_KEY, S3_SECRET_KEY, Servers, Site


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


@pytest.mark.timeout(600)
def test_row_150_a_locked_snapshot_outlives_a_thief(site: Site, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bucket's key everything is deleted, overwritten and hidden, also the store's id. The operator's own
    probe puts that back, and a check reads every byte of the snapshot, also after an import of what was hidden."""
    cluster, s3, own = site.cluster, site.servers.s3_client(site.endpoint), ("SnapshotStore", "locked", site.namespace)

    def warned(text: str) -> None:
        cluster.wait(*own, lambda o: is_true(o, "Ready") and text in str(o["status"].get("warnings")), 120, text)

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET_KEY)
    cluster.patch(*own, {"spec": {"s3": {"lock": {"mode": "Governance", "days": 1}}}})
    warned("s3:BypassGovernanceRetention")
    name = site.snapshot(fresh("stolen"), deletionPolicy="Retain")
    identifier = site.completed("Snapshot", name)["status"]["id"]
    before = versions(site, bucket, identifier)
    # Another lock, and the next sweep extends that of what exists.
    cluster.patch(*own, {"spec": {"s3": {"lock": {"days": 9, "renew": True}}}})
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    cluster.patch(*own, {"metadata": {"annotations": {naming.ANNOTATION_SWEEP_REQUESTED: now}}})
    cluster.wait(*own, lambda o: o["status"].get("orphans", {}).get("locksRenewed", 0) >= 3, 120, "locks renewed")
    for each in s3.list_object_versions(Bucket=bucket, Prefix="test/")["Versions"]:
        which = {"Bucket": bucket, "Key": each["Key"]}
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": each["Key"], "VersionId": each["VersionId"]}]})
        if identifier in each["Key"]:
            s3.put_object(**which, Body=b"?" * each["Size"])
        s3.delete_object(**which)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="test/")
    assert set(before) <= set(versions(site, bucket, identifier))
    cluster.patch(*own, {"spec": {"maxConcurrentJobs": 2}})  # a probe follows; else each hour
    warned("was put back")
    cluster.patch("Snapshot", name, site.namespace, {"spec": {"verify": "Full"}})
    read = cluster.wait("Snapshot", name, site.namespace, lambda o: is_true(o, "Verified"), 120, "read back")
    assert "Older versions have the right bytes" in condition(read, "Verified")["message"]
    # The cluster is gone, too: nothing but the bucket is left.
    site.gone("Snapshot", name)
    cluster.patch(*own, {"spec": {"import": True}})
    cluster.wait(*own, lambda o: is_true(o, "Imported"), 120, "imported what can be listed")
    assert cluster.get("Snapshot", name, site.namespace) is None
    cluster.patch(*own, {"spec": {"importHidden": True}})
    found = cluster.wait("Snapshot", name, site.namespace, lambda o: is_true(o, "Complete"), 120, "imported")
    assert found["status"]["manifestSha256"] == read["status"]["manifestSha256"]
    # A person puts back what was stored, and has it read again.
    code, text = ocore(cluster, "unhide", "locked", name, "--apply", "-n", site.namespace)
    assert (code, "objects" in text) == (0, True), text
    assert s3.list_objects_v2(Bucket=bucket, Prefix=f"test/{found['status']['manifestKey']}")["KeyCount"] == 1
    code, text = ocore(cluster, "verify", name, "--wait", "--timeout", "120", "-n", site.namespace)
    assert (code, "was read and matches" in text) == (0, True), text
    # Other tests of the site find each Complete Snapshot in its own store.
    site.gone("Snapshot", name)
