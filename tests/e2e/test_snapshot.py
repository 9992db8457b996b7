"""Snapshots: complete with evidence on every kind of store, layout and server; deletion, pins, reading back, restarts."""

import itertools
import json
import time
from typing import Literal

import pytest

from support.cluster.cluster import Cluster, Object, condition, is_true, wait_for
from support.cluster.operator import Operator
from support.cluster.site import Servers, Site, make_site


def keys(site: Site) -> list[str]:
    """All keys of the site's bucket."""
    pages = site.servers.s3_client().get_paginator("list_objects_v2").paginate(Bucket=site.bucket)
    return [o["Key"] for page in pages for o in page.get("Contents", [])]


def uploads(site: Site) -> list[object]:
    """Unfinished multipart uploads of the site's bucket."""
    answer = site.servers.s3_client().list_multipart_uploads(Bucket=site.bucket)
    return list(answer.get("Uploads", []))


def clean(obj: Object) -> Object:
    """The recoveryEvidence of an operation that is a clean success. Server-side apply owns it as one value."""
    found: Object = obj["status"]["recoveryEvidence"]
    assert found["canWriteCleanSuccess"], found["whyNotGreen"]
    assert found["status"] == "completed"
    assert found["missingEvidence"] == found["missingSteps"] == found["blockingSteps"] == []
    managed = [f["fieldsV1"] for f in obj["metadata"]["managedFields"] if "f:recoveryEvidence" in str(f)]
    assert [f["f:status"]["f:recoveryEvidence"] for f in managed] == [{}]
    return found


@pytest.mark.parametrize(
    ("major", "store", "layout"),
    [
        (17, "S3", "Odoo"),
        (15, "Claim", "Odoo"),
        (15, "S3", "Plain"),
        (17, "Claim", "Plain"),
    ],
)
def test_snapshot_completes_and_rolls_back(
    cluster: Cluster,
    servers: Servers,
    major: int,
    store: Literal["S3", "Claim"],
    layout: Literal["Odoo", "Plain"],
) -> None:
    """Each pair of major, store and layout: a snapshot, damage, a rollback; every attachment and every order is back."""
    with make_site(cluster, servers, major=major, store=store, layout=layout) as site:
        code, log = site.in_app("load", "--seconds", "5", "--writers", "2", "--seed", "7")
        assert code == 0, log
        before = site.query(
            "SELECT count(*), coalesce(sum(file_size), 0) FROM ir_attachment WHERE store_fname IS NOT NULL"
        )
        assert before[0][0] > 0

        obj = site.completed("Snapshot", site.snapshot("before"))
        status = obj["status"]
        assert status["phase"] == "Complete"
        assert is_true(obj, "Ready")
        assert condition(obj, "Reconciling") is None
        assert status["observedGeneration"] == obj["metadata"]["generation"]
        assert status["serverMajor"] == major
        assert status["clientVersion"].startswith(str(major))
        assert status["sizes"]["storedBytes"] > 0
        assert status["evidence"]["missing"] == []
        assert set(status["evidence"]["checksums"]) >= {"database", "filestore", "config", "manifest"}
        assert status["progress"]["percent"] == 100
        assert status["source"]["imageTag"] == "dev"
        found = clean(obj)
        assert found["requiredSteps"] == ["Prepare", "DumpDatabase", "CopyFilestore", "CaptureConfig", "Publish"]
        assert found["artifactChecksums"] == status["evidence"]["checksums"]

        site.query("DELETE FROM ir_attachment RETURNING 1")
        site.http("/api/gc", b"", "POST")
        obj = site.completed("Rollback", site.rollback("back", "before"))
        site.app_ready()
        after = site.query(
            "SELECT count(*), coalesce(sum(file_size), 0) FROM ir_attachment WHERE store_fname IS NOT NULL"
        )
        assert after[0][0] >= before[0][0]
        code, log = site.in_app("check")
        assert code == 0, log
        assert obj["status"]["position"] == "New"
        assert obj["status"]["refusedSeconds"] < 20
        previous = obj["status"]["previousDatabase"]
        assert site.databases() == sorted([site.database, previous])
        found = clean(obj)
        assert found["artifactChecksums"] == {"manifest": status["manifestSha256"]}
        assert (found["artifactPaths"]["liveDatabase"], found["artifactPaths"]["previousDatabase"]) == (
            site.database,
            previous,
        )


def test_delete_policies_and_pin(cluster: Cluster, servers: Servers) -> None:
    """Retain keeps the data, Delete removes every object, a pin refuses both."""
    with make_site(cluster, servers) as site:
        site.completed("Snapshot", site.snapshot("kept"))
        site.completed("Snapshot", site.snapshot("gone", deletionPolicy="Delete", pin={"label": "before migration"}))
        kept = {k for k in keys(site) if cluster.get("Snapshot", "kept", site.namespace)["status"]["id"] in k}  # type: ignore[index]
        assert kept

        refused = cluster.kubectl("-n", site.namespace, "delete", "osnap", "gone", "--wait=false", check=False)
        assert "pin" in refused
        assert cluster.get("Snapshot", "gone", site.namespace) is not None

        cluster.patch("Snapshot", "gone", site.namespace, {"spec": {"pin": None}})
        cluster.delete("Snapshot", "gone", site.namespace)
        cluster.wait_gone("Snapshot", "gone", site.namespace, 90)
        cluster.delete("Snapshot", "kept", site.namespace)
        cluster.wait_gone("Snapshot", "kept", site.namespace, 30)
        left = set(keys(site))
        assert kept <= left
        assert all("kept" in k or k in kept or k.endswith("ocore-store.json") for k in left)


def test_read_back_finds_a_flipped_bit(cluster: Cluster, servers: Servers) -> None:
    """`verify: Full` on a Complete snapshot reads every byte; one flipped bit makes it not Ready, and a rollback is refused."""
    with make_site(cluster, servers) as site:
        obj = site.completed("Snapshot", site.snapshot("good"))
        cluster.patch("Snapshot", "good", site.namespace, {"spec": {"verify": "Full"}})
        cluster.wait("Snapshot", "good", site.namespace, lambda o: is_true(o, "Verified"), 60, "verified")

        identity = obj["status"]["id"]
        site.completed("Snapshot", site.snapshot("bad"))
        bad = cluster.get("Snapshot", "bad", site.namespace)
        assert bad is not None
        s3 = servers.s3_client()
        victim = max(
            (k for k in keys(site) if bad["status"]["id"] in k and "/database/" in k),
            key=lambda k: s3.head_object(Bucket=site.bucket, Key=k)["ContentLength"],
        )
        assert identity not in victim
        data = bytearray(s3.get_object(Bucket=site.bucket, Key=victim)["Body"].read())
        data[len(data) // 2] ^= 1
        s3.put_object(Bucket=site.bucket, Key=victim, Body=bytes(data))

        # Not known yet: the rollback finds it before anything is switched.
        site.failed("Rollback", site.rollback("refused", "bad"), "Corrupt")
        assert site.accepts_connections()
        wait_for("left-overs removed", lambda: site.databases() == [site.database], 60)

        cluster.patch("Snapshot", "bad", site.namespace, {"spec": {"verify": "Full"}})

        def found(o: Object) -> bool:
            verified = condition(o, "Verified")
            return verified is not None and verified["status"] == "False" and verified["reason"] == "Corrupt"

        obj = cluster.wait("Snapshot", "bad", site.namespace, found, 60, "Verified=False")
        assert not is_true(obj, "Ready")
        site.failed("Rollback", site.rollback("refused-again", "bad"), "VerificationFailed")


def test_one_operation_at_a_time(cluster: Cluster, servers: Servers) -> None:
    """Three snapshots at once: they run one after the other, the oldest first, and the ones that wait say for whom."""
    with make_site(cluster, servers) as site:
        for name in ("first", "second", "third"):
            site.snapshot(name, annotations={"ocore.dev/failpoints": "snapshot-frozen=sleep:3"})
            time.sleep(1.1)  # creation timestamps have whole seconds: among those of the same one, chance decides
        waiting = cluster.wait(
            "Snapshot",
            "third",
            site.namespace,
            lambda o: (condition(o, "Reconciling") or {}).get("reason") == "WaitingForOperation",
            60,
        )
        message = (condition(waiting, "Reconciling") or {})["message"]
        assert "first" in message or "second" in message
        spans = []
        for name in ("first", "second", "third"):
            status = site.completed("Snapshot", name)["status"]
            spans.append((status["startedAt"], status["completedAt"]))
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans)), spans


def test_cancelled_by_deletion(cluster: Cluster, servers: Servers) -> None:
    """Deleting a running Snapshot stops its Job and leaves nothing in the store."""
    with make_site(cluster, servers) as site:
        site.snapshot("slow", annotations={"ocore.dev/failpoints": "after-upload-before-manifest=sleep:60"})
        wait_for("something stored", lambda: len(keys(site)) > 1, 60)
        cluster.delete("Snapshot", "slow", site.namespace)
        cluster.wait_gone("Snapshot", "slow", site.namespace, 90)
        assert [k for k in keys(site) if not k.endswith("ocore-store.json")] == []
        assert uploads(site) == []
        site.completed("Snapshot", site.snapshot("next"))


def test_row_01_operator_killed_in_the_middle(cluster: Cluster, servers: Servers, operator: Operator) -> None:
    """`kill -9` of the operator while the dump runs: the next one takes the running Job up; there is one attempt only."""
    with make_site(cluster, servers) as site:
        site.snapshot("before", annotations={"ocore.dev/failpoints": "after-upload-before-manifest=sleep:6"})
        cluster.wait("Snapshot", "before", site.namespace, lambda o: o.get("status", {}).get("phase") == "Running", 60)
        operator.kill()
        status = site.completed("Snapshot", "before")["status"]
        assert status["attempt"] == 1


def test_row_26_children_carry_no_foreign_labels(cluster: Cluster, servers: Servers) -> None:
    """Argo CD and Flux mark what they apply; our Jobs must not carry the marks, or they would be pruned (velero#2975)."""
    with make_site(cluster, servers) as site:
        name = "marked"
        site.snapshot(
            name,
            annotations={
                "argocd.argoproj.io/tracking-id": f"shop:ocore.dev/Snapshot:{site.namespace}/{name}",
                "ocore.dev/failpoints": "snapshot-start=sleep:3",
            },
        )
        cluster.kubectl("-n", site.namespace, "label", "osnap", name, "app.kubernetes.io/instance=shop")
        jobs = wait_for(
            "snapshot Job", lambda: cluster.objects("Job", site.namespace, "ocore.dev/command=snapshot"), 60
        )
        text = json.dumps([jobs, cluster.objects("Pod", site.namespace, "ocore.dev/command=snapshot")], default=str)
        assert "argocd.argoproj.io" not in text
        assert "app.kubernetes.io/instance" not in text
        site.completed("Snapshot", name)


def test_progress_is_visible(cluster: Cluster, servers: Servers) -> None:
    """The step and its bytes are there while it runs; 100 % only at the end."""
    with make_site(cluster, servers) as site:
        site.snapshot("before", annotations={"ocore.dev/failpoints": "after-upload-before-manifest=sleep:5"})
        running = cluster.wait(
            "Snapshot",
            "before",
            site.namespace,
            lambda o: o.get("status", {}).get("phase") == "Running" and bool(o["status"].get("progress")),
            60,
        )
        assert running["status"]["progress"]["percent"] < 100
        done = site.completed("Snapshot", "before")["status"]
        assert done["progress"]["percent"] == 100
        states = {s["name"]: s["state"] for s in done["steps"]}
        assert states["DumpDatabase"] == "Done"
        assert states["Publish"] == "Done"
