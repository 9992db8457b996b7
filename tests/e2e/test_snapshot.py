"""Snapshots: complete with evidence on every kind of store, layout and server; deletion, pins, reading back, restarts;
what a store on a claim needs; the proof that a rollback works."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
import yaml

from support.cluster.cluster import Cluster, Object, condition, is_true, unique, wait_for
from support.cluster.failpoints import armed, job_of, running_pod
from support.cluster.kubectl_ocore import ocore
from support.cluster.promises import fresh, manifest
from support.cluster.site import DEMO_IMAGE, Servers, Site, Sites


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


# The others are shown in part elsewhere: a rollback from a store on a claim in test_row_30 below, one of major 15 with
# layout Odoo in test_preview.py.
@pytest.mark.parametrize(
    ("major", "store", "layout"),
    [
        (17, "S3", "Odoo"),
        pytest.param(15, "Claim", "Odoo", marks=pytest.mark.long),
        (15, "S3", "Plain"),
        pytest.param(17, "Claim", "Plain", marks=pytest.mark.long),
    ],
)
def test_snapshot_completes_and_rolls_back(
    sites: Sites,
    major: int,
    store: Literal["S3", "Claim"],
    layout: Literal["Odoo", "Plain"],
) -> None:
    """A snapshot, damage, a rollback; every attachment and every order is back. `make test-all`: each pair of major,
    store and layout."""
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
    site.files_fit()
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


def test_read_back_finds_a_flipped_bit(cluster: Cluster, servers: Servers, site: Site) -> None:
    """`verify: Full` on a Complete snapshot reads every byte; one flipped bit makes it not Ready, and a rollback is
    refused."""
    bad_one = fresh("bad")
    bad = site.completed("Snapshot", site.snapshot(bad_one, deletionPolicy="Delete"))
    s3 = servers.s3_client()
    victim = max(
        (k for k in keys(site) if bad["status"]["id"] in k and "/database/" in k),
        key=lambda k: s3.head_object(Bucket=site.bucket, Key=k)["ContentLength"],
    )
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


@dataclass(frozen=True)
class Seen:
    """What was seen of a Snapshot: its Jobs, and their pods, while they ran, the application's pod, the Snapshot's
    status in the middle of it, and at its end."""

    jobs: list[Object]
    pods: list[Object]
    application: Object
    running: Object
    done: Object


@pytest.fixture(scope="module")
def seen(cluster: Cluster, sites: Sites) -> Seen:
    """Of a Snapshot that Argo CD and Flux have marked."""
    site, name = sites.of(), fresh("marked")
    points = "snapshot-start=sleep:3,after-upload-before-manifest=sleep:5"
    marks = {"argocd.argoproj.io/tracking-id": f"shop:ocore.dev/Snapshot:{site.namespace}/{name}"}
    site.snapshot(name, annotations={**marks, **armed(points)})
    cluster.kubectl("-n", site.namespace, "label", "osnap", name, "app.kubernetes.io/instance=shop")
    job_of(site, name)
    running_pod(site, "Snapshot", name, "snapshot")
    obj = cluster.get("Snapshot", name, site.namespace)
    assert obj is not None
    selector = f"ocore.dev/uid={obj['metadata']['uid']},ocore.dev/command=snapshot"
    jobs, pods = cluster.objects("Job", site.namespace, selector), cluster.pods(site.namespace, selector)
    (application,) = cluster.pods(site.namespace, "app=shop")
    running = cluster.wait(
        "Snapshot",
        name,
        site.namespace,
        lambda o: o.get("status", {}).get("phase") == "Running" and bool(o["status"].get("progress")),
        60,
    )
    return Seen(jobs, pods, application, running, site.completed("Snapshot", name))


def test_row_16_node_of_the_claims_user(seen: Seen) -> None:
    """The application has mounted the claim on a node: the Job must go there, or it would hang in the attach."""
    (job,) = seen.jobs
    terms = job["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    (term,) = terms["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    (field,) = term["matchFields"]
    assert (field["key"], field["operator"], list(field["values"])) == (
        "metadata.name",
        "In",
        [seen.application["spec"]["nodeName"]],
    )


def test_row_26_children_carry_no_foreign_labels(seen: Seen) -> None:
    """Argo CD and Flux mark what they apply; our Jobs must not carry the marks, or they would be pruned
    (velero#2975)."""
    assert seen.jobs
    assert seen.pods
    text = json.dumps([seen.jobs, seen.pods], default=str)
    assert "argocd.argoproj.io" not in text
    assert "app.kubernetes.io/instance" not in text


def test_progress_is_visible(seen: Seen) -> None:
    """The step and its bytes are there while it runs; 100 % only at the end."""
    assert seen.running["status"]["progress"]["percent"] < 100
    done = seen.done["status"]
    assert done["progress"]["percent"] == 100
    states = {s["name"]: s["state"] for s in done["steps"]}
    assert states["DumpDatabase"] == "Done"
    assert states["Publish"] == "Done"


@pytest.mark.parametrize(("major", "layout"), [(15, "Plain"), (17, "Odoo")])
def test_row_20_client_of_the_servers_major(
    servers: Servers, sites: Sites, major: int, layout: Literal["Odoo", "Plain"]
) -> None:
    """pg_dump is of the server's major version, so the mover's image is, too, and the manifest says so."""
    site = sites.of(major=major, layout=layout)
    obj = site.completed("Snapshot", "base")
    found = manifest(site, obj)["database"]
    with servers.admin(site.host) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    assert (found["serverVersion"], found["serverMajor"]) == (row[0].split()[0], major)
    assert found["clientVersion"].split(".")[0] == str(major)
    assert obj["status"]["clientVersion"] == found["clientVersion"]


# --- a store on a claim, and layout Plain --------------------------------------------------------------------------


def test_a_preview_of_layout_plain_and_a_store_on_a_claim(sites: Sites) -> None:
    """Both claims are mounted read-only."""
    site = sites.of(store="Claim", layout="Plain")
    look = site.rollback(fresh("look"), "base", dryRun=True)
    preview = site.previewed(look)["preview"]
    assert (preview["wouldRun"], preview.get("unread")) == (True, []), preview
    files = preview["files"]
    assert files["layout"] == "Plain"
    assert files["filesToMove"] == files["filesInSnapshot"] > 0
    assert preview["database"]["rowsCounted"] is True


def test_files_come_out_of_a_store_on_a_claim(cluster: Cluster, sites: Sites, tmp_path: Path) -> None:
    """To a tenant with the role `edit`, by a pod of their own; with the role `view` nothing is created."""
    site = sites.of(store="Claim", layout="Plain")
    config = yaml.safe_load(Path(cluster.env["KUBECONFIG"]).read_text())
    for role in ("edit", "view"):
        user = unique(role)
        cluster.kubectl("-n", site.namespace, "create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}")
        as_user = [{**each, "user": {**each["user"], "as": user}} for each in config["users"]]
        (tmp_path / role).write_text(yaml.safe_dump({**config, "users": as_user}))

    def left() -> set[str]:
        found = cluster.kubectl("-n", site.namespace, "get", "pods,extracts.ocore.dev", "-o", "name").split()
        return {name for name in found if "ocore-reader-" in name or name.startswith("extract.")}

    code, listed, errors = ocore(site, "ls", "base", "--kubeconfig", str(tmp_path / "edit"))
    assert code == 0, errors
    folder = next(line.split()[-1] for line in listed.splitlines() if line.startswith("folder"))
    code, text, errors = ocore(
        site, "cp", f"base:{folder}", str(tmp_path / "out"), "--kubeconfig", str(tmp_path / "edit")
    )
    assert code == 0, errors + text
    sums = f"cd /claim/{site.path}/{folder} && find . -type f -exec sha256sum {{}} +"
    live = dict(reversed(line.split("  ./", 1)) for line in site.in_shop("sh", "-c", sums)[1].splitlines())
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    copied = {str(f.relative_to(tmp_path / "out")): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    assert copied
    assert copied.items() <= live.items()

    code, text, errors = ocore(site, "ls", "base", "--kubeconfig", str(tmp_path / "view"))
    assert (code, text) == (3, ""), errors
    assert "permission denied" in errors
    wait_for("the pods and Extracts are gone", lambda: left() == set(), 60)


def test_orphans_are_reported_and_removed_on_request(cluster: Cluster, sites: Sites) -> None:
    """The snapshot beside them stays whole."""
    site = sites.of(store="Claim", layout="Plain")
    base = site.completed("Snapshot", "base")
    folder = f"/store/snapshots/environments/{base['status']['source']['environmentId']}/snapshots"
    lost = [f"{folder}/{uuid.uuid4()}/attempt-1/filestore" for _ in range(2)]
    made = " && ".join(f"mkdir -p {p} && touch -d '9 days ago' {p}/pack-00000.tar" for p in lost)
    code, log = cluster.run_pod(site.namespace, DEMO_IMAGE, ["sh", "-c", made], claims={"/store": "store"})
    assert code == 0, log

    def annotate(**annotations: str) -> None:
        body = {"metadata": {"annotations": {f"ocore.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}}}
        cluster.patch("SnapshotStore", site.store, site.namespace, body)

    def found(obj: Object, **fields: object) -> bool:
        orphans = obj.get("status", {}).get("orphans") or {}
        return all(orphans.get(name) == value for name, value in fields.items())

    annotate(sweep_requested=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
    swept = cluster.wait("SnapshotStore", site.store, site.namespace, lambda o: found(o, objects=2), 120, "swept")
    annotate(remove_orphans=swept["status"]["orphans"]["report"])
    cluster.wait("SnapshotStore", site.store, site.namespace, lambda o: found(o, objects=0), 240, "removed")
    cluster.patch("Snapshot", "base", site.namespace, {"spec": {"verify": "Full"}})
    cluster.wait("Snapshot", "base", site.namespace, lambda o: is_true(o, "Verified"), 120, "read back")


def test_row_30_rollback_ready_is_proven_by_a_restore(cluster: Cluster, sites: Sites) -> None:
    """The condition names when, the status remembers the schema, and nothing is left beside the live database."""

    def proven(obj: Object) -> bool:
        return (obj["status"].get("proof") or {}).get("result") is not None

    site = sites.of(store="Claim", layout="Plain")
    obj = cluster.wait("Environment", site.environment, site.namespace, proven, 300, "proven")
    proof, ready = obj["status"]["proof"], condition(obj, "RollbackReady")
    assert proof["result"] == "Succeeded", proof
    assert len(proof["schemaFingerprint"]) == 64
    assert ready is not None
    assert ready["status"] == "True"
    # An earlier test on this site may have changed the schema since.
    assert f"A schema-only restore proved it at {proof['time']}" in ready["message"]
    assert site.databases(scratch=True) == [site.database]
    wait_for("its Job is removed", lambda: not cluster.objects("Job", site.namespace, "ocore.dev/command=prove"), 60)

    # A rollback and the probe after it: within the same day there is no other proof.
    site.load(7)
    site.completed("Rollback", site.rollback(fresh("back"), "base", undoWindowSeconds=0))
    site.files_fit()
    now = cluster.get("Environment", site.environment, site.namespace)
    assert now is not None
    assert now["status"]["probe"]["time"] > obj["status"]["probe"]["time"]
    assert now["status"]["proof"] == proof
