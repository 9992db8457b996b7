"""Snapshots: complete with evidence on every kind of store, layout and server; deletion, pins, reading back,
restarts."""

import itertools
import json
import time
from typing import Literal

import pytest

from support.cluster.cluster import Cluster, Object, condition, is_true, wait_for
from support.cluster.failpoints import armed, job_of
from support.cluster.operator import Operator
from support.cluster.promises import fresh, manifest
from support.cluster.site import Servers, Site, Sites


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
    sites: Sites,
    major: int,
    store: Literal["S3", "Claim"],
    layout: Literal["Odoo", "Plain"],
) -> None:
    """Each pair of major, store and layout: a snapshot, damage, a rollback; every attachment and every order is
    back."""
    site = sites.of(major=major, store=store, layout=layout)
    site.load(7)
    before = site.query("SELECT count(*), coalesce(sum(file_size), 0) FROM ir_attachment WHERE store_fname IS NOT NULL")
    assert before[0][0] > 0

    before_name, back = fresh("before"), fresh("back")
    obj = site.completed("Snapshot", site.snapshot(before_name, filestoreMode="Full"))
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
    obj = site.completed("Rollback", site.rollback(back, before_name))
    site.app_ready()
    after = site.query("SELECT count(*), coalesce(sum(file_size), 0) FROM ir_attachment WHERE store_fname IS NOT NULL")
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
    site.gone("Rollback", back)  # with its previous database


def test_delete_policies_and_pin(cluster: Cluster, site: Site) -> None:
    """Retain keeps the data, Delete removes every object, a pin refuses both."""
    kept, gone = fresh("kept"), fresh("gone")
    id_of_kept = site.completed("Snapshot", site.snapshot(kept, filestoreMode="Full"))["status"]["id"]
    site.completed("Snapshot", site.snapshot(gone, deletionPolicy="Delete", pin={"label": "before migration"}))
    id_of_gone = site.completed("Snapshot", gone)["status"]["id"]
    before = set(keys(site))
    of_gone, of_kept = ({k for k in before if f"/snapshots/{i}/" in k} for i in (id_of_gone, id_of_kept))
    assert of_gone
    assert of_kept

    refused = cluster.kubectl("-n", site.namespace, "delete", "osnap", gone, "--wait=false", check=False)
    assert "pin" in refused
    assert cluster.get("Snapshot", gone, site.namespace) is not None

    cluster.patch("Snapshot", gone, site.namespace, {"spec": {"pin": None}})
    site.gone("Snapshot", gone)
    site.gone("Snapshot", kept)
    assert set(keys(site)) == before - of_gone
    # The next test finds a store in which Snapshots name everything.
    for key in of_kept:
        site.servers.s3_client().delete_object(Bucket=site.bucket, Key=key)


def test_read_back_finds_a_flipped_bit(cluster: Cluster, servers: Servers, site: Site) -> None:
    """`verify: Full` on a Complete snapshot reads every byte; one flipped bit makes it not Ready, and a rollback is
    refused."""
    good, bad_one = fresh("good"), fresh("bad")
    obj = site.completed("Snapshot", site.snapshot(good))
    cluster.patch("Snapshot", good, site.namespace, {"spec": {"verify": "Full"}})
    cluster.wait("Snapshot", good, site.namespace, lambda o: is_true(o, "Verified"), 60, "verified")

    identity = obj["status"]["id"]
    bad = site.completed("Snapshot", site.snapshot(bad_one, deletionPolicy="Delete"))
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
    site.failed("Rollback", site.rollback(fresh("refused"), bad_one), "Corrupt")
    assert site.accepts_connections()
    wait_for("left-overs removed", lambda: site.databases() == [site.database], 60)

    cluster.patch("Snapshot", bad_one, site.namespace, {"spec": {"verify": "Full"}})

    def found(o: Object) -> bool:
        verified = condition(o, "Verified")
        return verified is not None and verified["status"] == "False" and verified["reason"] == "Corrupt"

    obj = cluster.wait("Snapshot", bad_one, site.namespace, found, 60, "Verified=False")
    assert not is_true(obj, "Ready")
    site.failed("Rollback", site.rollback(fresh("refused-again"), bad_one), "VerificationFailed")
    site.gone("Snapshot", bad_one)


def test_one_operation_at_a_time(cluster: Cluster, site: Site) -> None:
    """Three snapshots at once: they run one after the other, the oldest first, and the ones that wait say for whom."""
    first, second, third = names = [fresh(name) for name in ("first", "second", "third")]
    for name in names:
        site.snapshot(name, annotations={"ocore.dev/failpoints": "snapshot-frozen=sleep:3"})
        time.sleep(1.1)  # creation timestamps have whole seconds: among those of the same one, chance decides
    waiting = cluster.wait(
        "Snapshot",
        third,
        site.namespace,
        lambda o: (condition(o, "Reconciling") or {}).get("reason") == "WaitingForOperation",
        60,
    )
    message = (condition(waiting, "Reconciling") or {})["message"]
    assert first in message or second in message
    spans = []
    for name in names:
        status = site.completed("Snapshot", name)["status"]
        spans.append((status["startedAt"], status["completedAt"]))
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans)), spans


def test_cancelled_by_deletion(cluster: Cluster, site: Site) -> None:
    """Deleting a running Snapshot stops its Job and leaves nothing in the store."""
    before, slow = set(keys(site)), fresh("slow")
    failpoints = {"ocore.dev/failpoints": "after-upload-before-manifest=sleep:60"}
    site.snapshot(slow, annotations=failpoints, filestoreMode="Full")
    wait_for("something stored", lambda: set(keys(site)) > before, 60)
    site.gone("Snapshot", slow)
    assert set(keys(site)) == before
    assert uploads(site) == []
    site.completed("Snapshot", site.snapshot(fresh("next")))


def test_row_01_operator_killed_in_the_middle(cluster: Cluster, site: Site, operator: Operator) -> None:
    """`kill -9` of the operator while the dump runs: the next one takes the running Job up; there is one attempt
    only."""
    name = fresh("before")
    site.snapshot(name, annotations={"ocore.dev/failpoints": "after-upload-before-manifest=sleep:6"})
    cluster.wait("Snapshot", name, site.namespace, lambda o: o.get("status", {}).get("phase") == "Running", 60)
    operator.kill()
    status = site.completed("Snapshot", name)["status"]
    assert status["attempt"] == 1


def test_row_26_children_carry_no_foreign_labels(cluster: Cluster, site: Site) -> None:
    """Argo CD and Flux mark what they apply; our Jobs must not carry the marks, or they would be pruned
    (velero#2975)."""
    name = fresh("marked")
    site.snapshot(
        name,
        annotations={
            "argocd.argoproj.io/tracking-id": f"shop:ocore.dev/Snapshot:{site.namespace}/{name}",
            "ocore.dev/failpoints": "snapshot-start=sleep:3",
        },
    )
    cluster.kubectl("-n", site.namespace, "label", "osnap", name, "app.kubernetes.io/instance=shop")
    marked = cluster.get("Snapshot", name, site.namespace)
    assert marked is not None
    selector = f"ocore.dev/uid={marked['metadata']['uid']},ocore.dev/command=snapshot"
    jobs = wait_for("snapshot Job", lambda: cluster.objects("Job", site.namespace, selector), 60)
    text = json.dumps([jobs, cluster.objects("Pod", site.namespace, selector)], default=str)
    assert "argocd.argoproj.io" not in text
    assert "app.kubernetes.io/instance" not in text
    site.completed("Snapshot", name)


def test_progress_is_visible(cluster: Cluster, site: Site) -> None:
    """The step and its bytes are there while it runs; 100 % only at the end."""
    name = fresh("before")
    site.snapshot(name, annotations={"ocore.dev/failpoints": "after-upload-before-manifest=sleep:5"})
    running = cluster.wait(
        "Snapshot",
        name,
        site.namespace,
        lambda o: o.get("status", {}).get("phase") == "Running" and bool(o["status"].get("progress")),
        60,
    )
    assert running["status"]["progress"]["percent"] < 100
    done = site.completed("Snapshot", name)["status"]
    assert done["progress"]["percent"] == 100
    states = {s["name"]: s["state"] for s in done["steps"]}
    assert states["DumpDatabase"] == "Done"
    assert states["Publish"] == "Done"


@pytest.mark.parametrize(("major", "layout"), [(15, "Plain"), (17, "Odoo")])
def test_row_20_client_of_the_servers_major(
    servers: Servers, sites: Sites, major: int, layout: Literal["Odoo", "Plain"]
) -> None:
    """The mover's image and pg_dump are of the server's major version, and the manifest says so."""
    site = sites.of(major=major, layout=layout)
    name = site.snapshot(fresh("taken"), annotations=armed("snapshot-start=sleep:3@1"))
    job = job_of(site, name)
    assert job["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f"mover:{major}")
    obj = site.completed("Snapshot", name)
    found = manifest(site, obj)["database"]
    with servers.admin(site.host) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    assert (found["serverVersion"], found["serverMajor"]) == (row[0].split()[0], major)
    assert found["clientVersion"].split(".")[0] == str(major)
    assert obj["status"]["clientVersion"] == found["clientVersion"]
