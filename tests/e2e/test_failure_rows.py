"""Rows of docs/failure-modes.md about Jobs and their pods. Dumps and stores are in test_failure_rows_store.py, the
operator's own in test_failure_rows_operator.py.

One site serves all tests: each leaves it whole.
"""

import copy
import json
import uuid

import pytest
from kubernetes import client

from support.cluster.cluster import Cluster, Object, condition, is_true, unique
from support.cluster.failpoints import armed, at_failpoint, job_of, running_pod
from support.cluster.operator import Operator
from support.cluster.promises import (
    fresh,
    holds_all_promises,
    is_no_snapshot,
    manifest,
    old_or_new,
    set_marker,
    stored_keys,
)
from support.cluster.site import Site
from support.operator.jobs import request_of

# --- 2: the Job's pod dies ------------------------------------------------------------------------------------


def test_row_02_pods_deleted(site: Site) -> None:
    """The pod of every attempt is deleted when it has stored all: Failed, and said why, and nothing of it stays. The
    first one is ended as a drained node would, by SIGTERM; the others go at once, with their logs and their termination
    messages."""
    name = site.snapshot(fresh("deleted"), annotations=armed("after-upload-before-manifest=sleep:60"))
    seen: set[str] = set()
    for seconds in (2, 0, 0):
        pod = running_pod(site, "Snapshot", name, "snapshot", but=frozenset(seen))
        seen.add(pod["metadata"]["name"])
        at_failpoint(site, pod, "after-upload-before-manifest")
        site.cluster.delete("Pod", pod["metadata"]["name"], site.namespace, gracePeriodSeconds=seconds)
    obj = site.finished("Snapshot", name, 120)
    found = condition(obj, "Failed")
    assert found is not None, obj["status"]
    assert found["reason"] in ("JobLost", "JobFailed")
    assert "attempt 3" in found["message"].lower()
    is_no_snapshot(site, obj)
    holds_all_promises(site)


@pytest.mark.exclusive  # no pod of any other test would start
@pytest.mark.long
def test_row_02_pod_pending(site: Site) -> None:
    """No node takes the pod: Failed at the deadline, with the scheduler's words."""
    (name_of_node,) = [n["metadata"]["name"] for n in site.cluster.objects("Node")]
    site.cluster.kubectl("cordon", name_of_node)
    try:
        obj = site.failed("Snapshot", site.snapshot(fresh("pending"), timeoutSeconds=30), "PodNotStarted", 30 + 60)
        assert "nodes are available" in str(condition(obj, "Failed"))
        is_no_snapshot(site, obj)
    finally:
        site.cluster.kubectl("uncordon", name_of_node)
    holds_all_promises(site)


# --- 16, 17: placement and eviction ---------------------------------------------------------------------------


def test_row_16_volume_that_never_mounts(cluster: Cluster, site: Site, operator: Operator) -> None:
    """A volume that the node cannot bring: Failed at the start deadline, with the kubelet's words."""
    name = unique("stuck")
    source = {"hostPath": {"path": f"/{name}", "type": "Directory"}}
    size, modes = {"storage": "1Gi"}, ["ReadWriteOnce"]
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": size, "accessModes": modes, "storageClassName": "none", **source,
                "claimRef": {"namespace": site.namespace, "name": name},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": site.namespace},
            "spec": {"accessModes": modes, "storageClassName": "none", "resources": {"requests": size}},
        },
    )  # fmt: skip
    environment = site.environment_object(
        database=None, filestore={"claimName": name, "path": site.path, "layout": "Plain"}
    )
    environment["metadata"]["name"] = name
    operator.set_env("OCORE_START_DEADLINE=20")
    try:
        cluster.apply(environment)
        obj = site.failed(
            "Snapshot", site.snapshot(fresh("stuck"), environmentRef={"name": name}), "PodNotStarted", 150
        )
        message = str(condition(obj, "Failed"))
        assert "FailedMount" in message
        assert f"/{name}" in message
    finally:
        operator.set_env("OCORE_START_DEADLINE-")
        cluster.delete("Environment", name, site.namespace)
        cluster.delete("PersistentVolumeClaim", name, site.namespace)
        cluster.delete("PersistentVolume", name)
    holds_all_promises(site)


@pytest.mark.long
def test_row_17_evicted_in_mid_restore(site: Site) -> None:
    """The restore's pod is evicted while the database beside the live one is half there."""
    set_marker(site, 17)
    name = site.rollback(
        fresh("evicted"), "base", annotations=armed("restore-database-loaded=sleep:60@1"), undoWindowSeconds=0
    )
    pod = running_pod(site, "Rollback", name, "restore")
    at_failpoint(site, pod, "restore-database-loaded")
    meta = client.V1ObjectMeta(name=pod["metadata"]["name"], namespace=site.namespace)
    options = client.V1DeleteOptions(grace_period_seconds=1)
    site.cluster.core.create_namespaced_pod_eviction(
        meta.name, site.namespace, client.V1Eviction(metadata=meta, delete_options=options)
    )
    assert site.accepts_connections()
    obj = site.completed("Rollback", name, 240)
    assert obj["status"]["attempt"] == 2
    old_or_new(site, obj)
    holds_all_promises(site)


# --- 18 -----------------------------------------------------------------------------------------------


def twin(site: Site, job: Object, identity: str, failpoint: str) -> Object:
    """A pod as that snapshot's Job makes it, but for a snapshot of another id, once it is at the failpoint."""
    name, spec = unique("twin"), copy.deepcopy(job["spec"]["template"]["spec"])
    container = spec["containers"][0]
    old = request_of(job)["snapshotId"]
    container["env"] = [
        {**e, **({"value": e["value"].replace(old, identity)} if "value" in e else {})} for e in container["env"]
    ]
    other = {"name": "OCORE_FAILPOINTS", "value": failpoint}
    container["env"] = [e for e in container["env"] if e["name"] != other["name"]] + [other]
    meta = {"name": name, "namespace": site.namespace}
    site.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    pod = site.cluster.wait("Pod", name, site.namespace, lambda p: p["status"].get("phase") == "Running", 60, "runs")
    at_failpoint(site, pod, failpoint.partition("=")[0])
    return pod


def test_row_18_two_pods_of_one_snapshot(cluster: Cluster, site: Site) -> None:
    """Both have stored everything when the first writes its manifest: the other says so and takes its own objects
    away."""
    model = site.snapshot(fresh("model"), annotations=armed("snapshot-start=sleep:3@1"))
    job = job_of(site, model)
    site.completed("Snapshot", model)
    identity = str(uuid.uuid4())
    # One after the other to the same point: each removes frozen folders that no other Job should use when it starts.
    pods = [twin(site, job, identity, f"after-upload-before-manifest=sleep:{seconds}") for seconds in (15, 4)]

    results: dict[bool, list[Object]] = {True: [], False: []}
    for pod in pods:
        name = pod["metadata"]["name"]
        ended = cluster.wait(
            "Pod", name, site.namespace, lambda p: p["status"].get("phase") in ("Succeeded", "Failed"), 120, "ended"
        )
        result = json.loads(ended["status"]["containerStatuses"][0]["state"]["terminated"]["message"])
        results[result["ok"]].append({**result, "uid": pod["metadata"]["uid"]})
        cluster.delete("Pod", name, site.namespace)
    (winner,), (loser,) = results[True], results[False]
    assert loser["failure"]["reason"] == "ManifestExists"

    # The operator finds what the winner stored, as after a rebuilt cluster; nothing of the loser is left.
    obj = site.completed("Snapshot", site.snapshot(fresh("winner"), id=identity, deletionPolicy="Delete"))
    assert manifest(site, obj)["attempt"].endswith(winner["uid"])
    assert obj["status"]["manifestSha256"] == winner["payload"]["manifestSha256"]
    assert [k for k in stored_keys(site) if loser["uid"] in k] == []
    cluster.patch("Snapshot", obj["metadata"]["name"], site.namespace, {"spec": {"verify": "Full"}})
    cluster.wait("Snapshot", obj["metadata"]["name"], site.namespace, lambda o: is_true(o, "Verified"), 60)
    holds_all_promises(site)
