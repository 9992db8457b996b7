"""Snapshots with Jobs that really run: a folder on a claim into a store on a claim, so that no server is needed.

The operator is a process of the test's own. What kills it: tests/e2e/test_faults.py.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster.cluster import GROUP, Cluster, Object, condition, is_true, wait_for
from support.operator.folder import create_snapshot, folder_environment, operating, stored
from support.operator.process import OperatorProcess


@pytest.fixture(scope="module")
def namespace(crds: Cluster) -> Iterator[str]:
    """A namespace with a folder of files on a claim, and a claim for the store."""
    script = "mkdir -p /files/data/deep && head -c 300000 /dev/urandom > /files/data/a && echo b > /files/data/deep/b"
    with folder_environment(crds, "snapshots", script) as name:
        yield name


@pytest.fixture(scope="module")
def operator(crds: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator, with the Environment ready."""
    with operating(crds, namespace, tmp_path_factory.mktemp("operator")) as operator:
        yield operator


def finished(cluster: Cluster, namespace: str, name: str, timeout: float = 120) -> Object:
    """In its terminal state."""
    return cluster.wait(
        "Snapshot", name, namespace, lambda o: is_true(o, "Complete") or is_true(o, "Failed"), timeout, "terminal"
    )


def completed(cluster: Cluster, namespace: str, name: str, timeout: float = 120) -> Object:
    """The same, and well."""
    obj = finished(cluster, namespace, name, timeout)
    assert is_true(obj, "Complete"), json.dumps(obj["status"], indent=1)
    return obj


def test_a_snapshot_completes_and_is_deleted_with_its_data(
    crds: Cluster, namespace: str, operator: OperatorProcess
) -> None:
    obj = completed(crds, namespace, create_snapshot(crds, namespace, deletionPolicy="Delete"))
    status = obj["status"]
    assert condition(obj, "Reconciling") is None
    assert is_true(obj, "Ready")
    assert (condition(obj, "Verified") or {})["status"] == "Unknown"
    assert status["progress"]["percent"] == 100
    assert {s["name"]: s["state"] for s in status["steps"]}["Publish"] == "Done"
    assert status["source"]["environmentName"] == "shop"
    assert status["sizes"]["filestoreFiles"] == 2
    assert status["residue"] == "None"
    assert any(path.name == "manifest.json" for path in stored(crds, namespace, obj))
    environment = crds.wait("Environment", "shop", namespace, lambda o: not o["status"].get("operation"), 20, "free")
    assert is_true(environment, "Ready")
    crds.delete("Snapshot", obj["metadata"]["name"], namespace)
    crds.wait_gone("Snapshot", obj["metadata"]["name"], namespace, 60)
    assert stored(crds, namespace, obj) == []


def test_a_foreground_deletion_removes_the_data_too(crds: Cluster, namespace: str, operator: OperatorProcess) -> None:
    """Argo CD's default: the garbage collector deletes what the Snapshot owns while the finalizer is still at work."""
    obj = completed(crds, namespace, create_snapshot(crds, namespace, deletionPolicy="Delete"))
    crds.delete("Snapshot", obj["metadata"]["name"], namespace, propagationPolicy="Foreground")
    crds.wait_gone("Snapshot", obj["metadata"]["name"], namespace, 60)
    assert stored(crds, namespace, obj) == []


def test_a_pin_holds_a_deletion_until_it_is_removed(crds: Cluster, namespace: str, operator: OperatorProcess) -> None:
    """Where the admission policy is not there: the finalizer holds it."""
    obj = completed(crds, namespace, create_snapshot(crds, namespace, deletionPolicy="Delete", pin={"label": "keep"}))
    name = obj["metadata"]["name"]
    crds.delete("Snapshot", name, namespace)
    crds.wait("Snapshot", name, namespace, lambda o: (condition(o, "Stalled") or {}).get("reason") == "Pinned", 20)
    assert stored(crds, namespace, obj)
    crds.patch("Snapshot", name, namespace, {"spec": {"pin": None}})
    crds.wait_gone("Snapshot", name, namespace, 60)
    assert stored(crds, namespace, obj) == []


def test_a_rollback_that_has_not_ended_holds_a_deletion(
    crds: Cluster, namespace: str, operator: OperatorProcess
) -> None:
    obj = completed(crds, namespace, create_snapshot(crds, namespace, deletionPolicy="Delete"))
    name = obj["metadata"]["name"]
    crds.apply(
        {
            "apiVersion": GROUP,
            "kind": "Rollback",
            "metadata": {
                "name": f"of-{name}",
                "namespace": namespace,
                "annotations": {"ocore.dev/failpoints": "restore-start=sleep:60"},
            },
            "spec": {"snapshotRef": {"name": name}},
        }
    )
    crds.delete("Snapshot", name, namespace)
    held = crds.wait(
        "Snapshot", name, namespace, lambda o: (condition(o, "Stalled") or {}).get("reason") == "InUse", 30
    )
    assert f"of-{name}" in (condition(held, "Stalled") or {})["message"]
    crds.delete("Rollback", f"of-{name}", namespace)
    crds.wait_gone("Snapshot", name, namespace, 120)
    assert stored(crds, namespace, obj) == []


def test_a_quota_refuses_the_job(crds: Cluster, namespace: str, operator: OperatorProcess) -> None:
    hard = {"count/jobs.batch": "0"}
    crds.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none", "namespace": namespace},
            "spec": {"hard": hard},
        }
    )
    crds.wait("ResourceQuota", "none", namespace, lambda o: o.get("status", {}).get("hard"), 20)
    try:
        obj = finished(crds, namespace, create_snapshot(crds, namespace, timeoutSeconds=30), 60)
        found = condition(obj, "Failed")
        assert found is not None
        assert found["reason"] == "JobRefused"
        assert "quota" in found["message"]
    finally:
        crds.delete("ResourceQuota", "none", namespace)


def test_row_08_a_store_that_is_gone_does_not_hold_a_deletion(
    crds: Cluster, namespace: str, operator: OperatorProcess, tmp_path: Path
) -> None:
    """The SnapshotStore was deleted: after OCORE_CLEANUP_TIMEOUT the object goes, and an Event says what is left
    where."""
    obj = completed(crds, namespace, create_snapshot(crds, namespace, deletionPolicy="Delete"))
    name = obj["metadata"]["name"]
    store = crds.get("SnapshotStore", "store", namespace)
    assert store is not None
    crds.delete("SnapshotStore", "store", namespace)
    crds.delete("Snapshot", name, namespace)
    waiting = crds.wait("Snapshot", name, namespace, lambda o: condition(o, "Reconciling") is not None, 20)
    assert "store" in (condition(waiting, "Reconciling") or {})["message"]
    crds.wait_gone("Snapshot", name, namespace, 90)
    events = wait_for(
        "event",
        lambda: [
            e
            for e in crds.objects("Event", namespace)
            if e["reason"] == "DataLeft" and e["involvedObject"]["name"] == name
        ],
        10,
    )
    assert obj["status"]["id"] in events[0]["message"]
    # The other tests of this module use the same store.
    again = {"name": "store", "namespace": namespace}
    crds.apply({"apiVersion": GROUP, "kind": "SnapshotStore", "metadata": again, "spec": store["spec"]})
    crds.wait("SnapshotStore", "store", namespace, lambda o: is_true(o, "Ready"), 90, "ready")
    crds.wait("Environment", "shop", namespace, lambda o: is_true(o, "Ready"), 90, "ready")
