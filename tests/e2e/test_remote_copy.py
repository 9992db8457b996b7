"""A copy of each snapshot in another store: made, made late, and restored from when the first bucket, or its site, is
gone."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.cluster.application import drop_everything
from support.cluster.cluster import GROUP, Cluster, Object, condition, is_true, wait_for
from support.cluster.deaths import Deaths
from support.cluster.kills import OPERATOR_REMOTE_POINTS, REMOTE_POINTS, everywhere, killed_in_turn, operator_killed
from support.cluster.operator import Operator
from support.cluster.procedures import rehearsed
from support.cluster.promises import fresh, marker, set_marker
from support.cluster.site import Servers, Site, make_site

#: Seconds for a copy, and for an operator that must notice that a store is back.
COPIED, NOTICED = 180, 420


def remote_store(site: Site, bucket: str) -> dict[str, Any]:
    s3 = {"bucket": bucket, "prefix": "copies", "endpoint": site.endpoint, "credentialsSecretRef": {"name": "s3"}}
    return {
        "apiVersion": GROUP,
        "kind": "SnapshotStore",
        "metadata": {"name": "far", "namespace": site.namespace},
        "spec": {"s3": s3},
    }


def with_remote(site: Site) -> dict[str, Any]:
    return site.environment_object(remoteStoreRef={"name": "far"})


def remote(site: Site, name: str) -> dict[str, Any]:
    found = site.cluster.get("Snapshot", name, site.namespace) or {}
    return dict((found.get("status") or {}).get("remote") or {})


def contents(site: Site, bucket: str, prefix: str, snapshot_id: str) -> dict[str, bytes]:
    """Key below the store's prefix → bytes of all objects of the snapshot."""
    s3 = site.servers.s3_client(site.endpoint)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/environments/")
    keys = [o["Key"] for page in pages for o in page.get("Contents", ()) if snapshot_id in o["Key"]]
    return {k.removeprefix(prefix): s3.get_object(Bucket=bucket, Key=k)["Body"].read() for k in keys}


def is_copied(site: Site, far: str, name: str) -> None:
    """The copy is complete, and has the same bytes."""
    wait_for(f"copy of {name}", lambda: remote(site, name).get("state") == "Completed", COPIED)
    snapshot = site.cluster.get("Snapshot", name, site.namespace)
    assert snapshot is not None
    mine = contents(site, site.bucket, "test", snapshot["status"]["id"])
    assert mine
    assert contents(site, far, "copies", snapshot["status"]["id"]) == mine


def destroy(site: Site, bucket: str) -> None:
    """Everything in the bucket, and the bucket."""
    s3 = site.servers.s3_client(site.endpoint)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for obj in page.get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=obj["Key"])
    s3.delete_bucket(Bucket=bucket)


def newest(site: Site, kind: str) -> Object:
    """The object that the commands of the page have created last."""
    return max(site.cluster.objects(kind, site.namespace), key=lambda o: str(o["metadata"]["creationTimestamp"]))


@pytest.mark.timeout(900)
def test_a_bucket_is_lost_and_the_copy_is_restored(cluster: Cluster, servers: Servers, tmp_path: Path) -> None:
    """docs/recovery.md, "Loss of a bucket". The mover is killed while it copies: another attempt completes the copy, or
    finds it complete."""
    #: A snapshot that existed before the store was named, and a new one.
    killed = {"before-the-store": REMOTE_POINTS[:2], "base": REMOTE_POINTS[2:]}
    with make_site(cluster, servers) as site, Deaths(cluster, site.namespace) as deaths:
        set_marker(site, 3)
        far = servers.bucket(site.endpoint)
        for name, points in killed.items():
            site.snapshot(name, annotations=killed_in_turn(*points), filestoreMode="Full")
            site.completed("Snapshot", name)
            if name == "before-the-store":
                cluster.apply(remote_store(site, far), with_remote(site))
        for name, points in killed.items():
            is_copied(site, far, name)
            deaths.fired(site.completed("Snapshot", name), times=len(points))
        snapshot = site.completed("Snapshot", "base")
        assert is_true(snapshot, "RemoteCopied")
        # A pin that is set after the copy was made reaches it.
        cluster.patch("Snapshot", "base", site.namespace, {"spec": {"pin": {"label": "audit"}}})
        wait_for("the pin in the copy", lambda: remote(site, "base").get("storedState", {}).get("pinLabel"), COPIED)
        stored = contents(site, far, "copies", snapshot["status"]["id"])
        (state,) = [data for key, data in stored.items() if key.endswith("/state.json")]
        assert json.loads(state)["state"]["pinLabel"] == "audit"

        set_marker(site, 4)
        destroy(site, site.bucket)
        # Nothing has noticed that: the rollback itself continues with the copy.
        after = {"BUCKET": servers.bucket(site.endpoint), "PREFIX": "after", "ENDPOINT": site.endpoint}
        variables = {"ENVIRONMENT": site.environment, "CREDENTIALS": "s3", **after}
        with rehearsed(cluster, site.namespace, "Loss of a bucket", tmp_path, **variables) as page:
            page.step(2)
            done = newest(site, "Rollback")
            assert done["spec"]["snapshotRef"] == {"name": "base"}
            assert is_true(done, "Complete")
            assert marker(site) == 3
            assert done["status"]["remote"]["storeName"] == "far"
            assert "far" in done["status"]["evidence"]["proven"][0]
            assert done["status"]["recoveryEvidence"]["remoteCopyState"] == "completed"
            page.step(3)
            assert newest(site, "Snapshot")["status"]["storeName"] == "after-the-loss"


def test_a_remote_store_that_is_down_gets_the_copy_when_it_is_back(
    cluster: Cluster, servers: Servers, tmp_path: Path
) -> None:
    """Then the site is lost: docs/recovery.md, "Loss of a site"."""
    with make_site(cluster, servers) as site:
        set_marker(site, 8)
        missing = f"{site.bucket}-far"
        cluster.apply(remote_store(site, missing), with_remote(site))
        snapshot = site.completed("Snapshot", site.snapshot("base"))
        wait_for("a copy that waits", lambda: remote(site, "base").get("state") == "Pending", COPIED)
        assert is_true(snapshot, "Ready"), "a late copy does not make the Snapshot less restorable"
        site.servers.s3_client(site.endpoint).create_bucket(Bucket=missing)
        wait_for("the copy", lambda: remote(site, "base").get("state") == "Completed", NOTICED)
        found = cluster.get("Snapshot", "base", site.namespace)
        assert found is not None
        assert (condition(found, "RemoteCopied") or {})["status"] == "True"

        destroy(site, site.bucket)
        drop_everything(site)
        variables = {"ENVIRONMENT": site.environment, "REMOTE_STORE": "far"}
        with rehearsed(cluster, site.namespace, "Loss of a site", tmp_path, **variables) as page:
            page.step(2)
            page.step(3)
        done = newest(site, "Rollback")
        assert is_true(done, "Complete")
        assert (done["status"]["liveMissing"], done["status"]["remote"]["storeName"]) == (True, "far")
        assert marker(site) == 8


# --- killed ---------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(900)
def test_the_operator_is_killed_in_a_copy_and_in_a_release(
    cluster: Cluster, servers: Servers, operator: Operator
) -> None:
    """When the copy's Job exists, and when retention lets go of the data in the Snapshot's own store. The next one
    adopts the Job that the status does not name; the copy stays, and can be restored."""
    kept = {"retention": "Policy", "deletionPolicy": "Delete", "filestoreMode": "Full"}
    with make_site(cluster, servers) as site:
        far = servers.bucket(site.endpoint)
        cluster.apply(remote_store(site, far), with_remote(site))
        site.environment_ready()
        set_marker(site, 6)
        old = fresh("old")
        with operator_killed(operator, "operator-remote-job-created"):
            site.snapshot(old, annotations=everywhere(*OPERATOR_REMOTE_POINTS), **kept)
            site.completed("Snapshot", old)
            is_copied(site, far, old)
        assert remote(site, old)["attempts"] == 1
        new = site.snapshot(fresh("new"), **kept)
        site.completed("Snapshot", new)
        is_copied(site, far, new)
        with operator_killed(operator, "operator-remote-release-recorded"):
            cluster.apply(keeps_one(site))
            wait_for("the local data is deleted", lambda: remote(site, old).get("localDeletedAt"), NOTICED)
        found = cluster.get("Snapshot", old, site.namespace)
        assert found is not None
        assert contents(site, site.bucket, "test", found["status"]["id"]) == {}
        assert contents(site, far, "copies", found["status"]["id"])
        cluster.delete("SnapshotPolicy", site.environment, site.namespace)
        set_marker(site, 7)
        site.completed("Rollback", site.rollback(fresh("back"), old, undoWindowSeconds=0))
        assert marker(site) == 6


def keeps_one(site: Site) -> Object:
    """A policy that keeps the data of the newest Snapshot here, and all copies."""
    return {
        "apiVersion": GROUP,
        "kind": "SnapshotPolicy",
        "metadata": {"name": site.environment, "namespace": site.namespace},
        "spec": {"environmentRef": {"name": site.environment}, "keepLast": 1, "remoteRetentionDays": 0},
    }
