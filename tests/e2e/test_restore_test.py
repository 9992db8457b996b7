"""Test restores: a policy's slot really restores the newest snapshot, and a damaged pack is found."""

import json
import time
from typing import Any

import pytest

from support.cluster.cluster import GROUP, Cluster, Object, condition, is_true, wait_for
from support.cluster.deaths import Deaths
from support.cluster.kills import RESTORE_TEST_POINTS, killed_in_turn
from support.cluster.plugin import ocore
from support.cluster.promises import fresh
from support.cluster.site import Servers, Site

EVERY_MINUTE = "* * * * *"


def policy(site: Site, **verify: Any) -> Object:
    return {
        "apiVersion": GROUP,
        "kind": "SnapshotPolicy",
        "metadata": {"name": site.environment, "namespace": site.namespace},
        "spec": {
            "environmentRef": {"name": site.environment},
            "verify": {"schedule": [EVERY_MINUTE], "timeoutSeconds": 300, **verify},
        },
    }


def keys(site: Site, part: str) -> list[str]:
    pages = site.servers.s3_client().get_paginator("list_objects_v2").paginate(Bucket=site.bucket)
    return [o["Key"] for page in pages for o in page.get("Contents", []) if part in o["Key"]]


def shows(obj: Object, status: str) -> bool:
    found = condition(obj, "RestoreTested")
    return found is not None and found["status"] == status


def request(site: Site, name: str) -> None:
    """As `kubectl ocore certificate --now`."""
    body = {"metadata": {"annotations": {"ocore.dev/restore-test-requested": f"{time.time()}"}}}
    site.cluster.patch("Snapshot", name, site.namespace, body)


@pytest.mark.timeout(600)
def test_row_51_a_policy_really_restores_the_newest_snapshot(cluster: Cluster, site: Site) -> None:
    """The mover is killed in its first attempt: the next one drops the scratch database of that, and completes the
    test."""
    site.load(7)
    name = site.snapshot(fresh("newest"), annotations=killed_in_turn(*RESTORE_TEST_POINTS))
    site.completed("Snapshot", name)
    rows = site.query("SELECT count(*) FROM ir_attachment")
    script = {"attachments.sql": "SELECT id FROM ir_attachment WHERE store_fname = 'none'"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "queries", "namespace": site.namespace}}
    cluster.apply({**config, "data": script})
    with Deaths(cluster, site.namespace) as deaths:
        cluster.apply(policy(site, assertions={"configMapRef": {"name": "queries"}}))
        obj = cluster.wait("Snapshot", name, site.namespace, lambda o: shows(o, "True"), 240, "tested")
        deaths.fired(obj)
    test = obj["status"]["restoreTest"]
    assert test["manifestSha256"] == obj["status"]["manifestSha256"]
    assert (test["files"], test["attachments"]) == (obj["status"]["sizes"]["filestoreFiles"],) * 2
    assert test["rows"] >= rows[0][0]
    assert test["queries"] == 1
    assert test["predictedRollbackSeconds"] > 0
    assert is_true(obj, "Ready")
    done = cluster.wait(
        "SnapshotPolicy",
        site.environment,
        site.namespace,
        # The times follow the condition in a write of their own.
        lambda o: (
            is_true(o, "RestoreTestSucceeded")
            and o["status"].get("lastRestoreTestTime", "") >= test["testedAt"]
            and "nextRestoreTestTime" in o["status"]
        ),
        60,
        "noted",
    )
    assert done["status"]["nextRestoreTestTime"] > test["testedAt"]
    code, text = ocore(cluster, "certificate", name, "-o", "json", "-n", site.namespace)
    assert code == 0, text
    certificate = json.loads(text)
    assert (certificate["valid"], certificate["test"]["rows"]) == (True, test["rows"])
    cluster.delete("SnapshotPolicy", site.environment, site.namespace)
    wait_for("nothing is left", lambda: site.databases(scratch=True) == [site.database], 120)


@pytest.mark.timeout(600)
def test_row_51_a_damaged_pack_makes_the_snapshot_corrupt(cluster: Cluster, servers: Servers, site: Site) -> None:
    name = site.snapshot(fresh("bad"), filestoreMode="Full", deletionPolicy="Delete")
    identity = site.completed("Snapshot", name)["status"]["id"]
    s3, packs = servers.s3_client(), keys(site, "/filestore/pack-")
    victim = next(key for key in packs if identity in key)
    data = bytearray(s3.get_object(Bucket=site.bucket, Key=victim)["Body"].read())
    data[len(data) // 2] ^= 1
    s3.put_object(Bucket=site.bucket, Key=victim, Body=bytes(data))

    request(site, name)
    obj = cluster.wait("Snapshot", name, site.namespace, lambda o: shows(o, "False"), 180, "found")
    assert obj["status"]["phase"] == "Corrupt"
    found = condition(obj, "RestoreTested")
    assert found is not None
    assert found["reason"] == "Corrupt"
    assert victim.rpartition("/")[2] in found["message"]
    code, text = ocore(cluster, "certificate", name, "-n", site.namespace)
    assert (code, "Corrupt" in text) == (1, True)
    assert site.accepts_connections()
    wait_for("nothing is left", lambda: site.databases(scratch=True) == [site.database], 60)
    site.gone("Snapshot", name)


@pytest.mark.timeout(600)
def test_row_51_a_rollback_stops_a_test_and_it_runs_after_that(cluster: Cluster, site: Site) -> None:
    name = site.snapshot(fresh("tested"), annotations={"ocore.dev/failpoints": "test-restore-loaded=sleep:120"})
    uid = site.completed("Snapshot", name)["metadata"]["uid"]
    request(site, name)
    label = f"ocore.dev/uid={uid},ocore.dev/command=test-restore"
    wait_for(
        "it is loaded",
        lambda: any("_test_" in name for name in site.databases(scratch=True)),
        120,
    )
    site.completed("Rollback", site.rollback(fresh("back"), name, undoWindowSeconds=0))
    # The failpoint fires once in each pod, so the second run sleeps, too.
    cluster.patch("Snapshot", name, site.namespace, {"metadata": {"annotations": {"ocore.dev/failpoints": None}}})
    obj = cluster.wait("Snapshot", name, site.namespace, lambda o: shows(o, "True"), 240, "tested")
    assert obj["status"]["phase"] == "Complete"
    wait_for("the Job that was stopped is gone", lambda: len(cluster.objects("Job", site.namespace, label)) == 1, 60)
