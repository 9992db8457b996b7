"""Snapshots come back from a store, with Jobs that really run: a folder on a claim into a store on a claim."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.cluster.cluster import GROUP, Cluster, Object, is_true, wait_for
from support.operator.folder import FAST, folder_environment, folder_store
from support.operator.process import OperatorProcess

ENVIRONMENT_ID = "5b1f7f0e-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def namespace(crds: Cluster) -> Iterator[str]:
    script = "mkdir -p /files/data && head -c 30000 /dev/urandom > /files/data/a"
    with folder_environment(crds, "import", script, id=ENVIRONMENT_ID) as name:
        yield name


def completed(cluster: Cluster, namespace: str, name: str) -> Object:
    return cluster.wait("Snapshot", name, namespace, lambda o: is_true(o, "Complete"), 180, "complete")


def lose(cluster: Cluster, namespace: str, kind: str, name: str) -> None:
    """The object is gone with the old cluster: nothing is cleaned up for it."""
    cluster.patch(kind, name, namespace, {"metadata": {"finalizers": None}})
    cluster.delete(kind, name, namespace)
    cluster.wait_gone(kind, name, namespace, 30)


def imported(cluster: Cluster, namespace: str, since: str = "") -> Object:
    """The store after an import that began then or later."""

    def done(obj: Object) -> bool:
        found = obj.get("status", {}).get("import") or {}
        return found.get("state") == "Done" and found["startedAt"] >= since

    return cluster.wait("SnapshotStore", "store", namespace, done, 180, "imported")


def versions(crds: Cluster, namespace: str, *names: str) -> dict[str, str]:
    """Name → resourceVersion of each Snapshot."""
    return {name: completed(crds, namespace, name)["metadata"]["resourceVersion"] for name in names}


def settled(crds: Cluster, namespace: str, *names: str) -> dict[str, str]:
    """The same, once the operator's first reconciles of what was imported have ended: they explain what is kept."""
    seen: list[dict[str, str]] = []

    def same() -> bool:
        seen.append(versions(crds, namespace, *names))
        return len(seen) > 5 and all(each == seen[-1] for each in seen[-6:])

    wait_for("the imported Snapshots as they stay", same, 60, interval=1)
    return seen[-1]


def test_a_store_is_imported_twice_and_taken_over(crds: Cluster, namespace: str, tmp_path: Path) -> None:
    operator = OperatorProcess(crds, [namespace], tmp_path, **FAST).start()
    try:
        for name, spec in (
            ("one", {"pin": {"label": "audit"}, "retention": "Policy", "deletionPolicy": "Delete"}),
            ("two", {"filestoreMode": "Full"}),  # a differential would keep the first one from being deleted
        ):
            crds.apply(
                {
                    "apiVersion": GROUP,
                    "kind": "Snapshot",
                    "metadata": {"name": name, "namespace": namespace},
                    "spec": {"environmentRef": {"name": "shop"}, "timeoutSeconds": 180, **spec},
                }
            )
        before = {name: completed(crds, namespace, name) for name in ("one", "two")}
        assert before["one"]["status"]["storedState"] == {
            "pinLabel": "audit", "retention": "Policy", "deletionPolicy": "Delete",
        }  # fmt: skip
        operator.stop()
        for kind, name in (("Snapshot", "one"), ("Snapshot", "two"), ("SnapshotStore", "store")):
            lose(crds, namespace, kind, name)

        operator = OperatorProcess(crds, [namespace], tmp_path, **FAST).start()
        crds.apply(folder_store(namespace, **{"import": True}))
        store = imported(crds, namespace)
        assert is_true(store, "Imported"), json.dumps(store["status"], indent=1)
        assert store["status"]["import"]["imported"] == 2
        for name, old in before.items():
            new = completed(crds, namespace, name)
            for field in ("id", "manifestSha256", "manifestKey", "consistentAt", "storeId", "sizes", "source"):
                assert new["status"][field] == old["status"][field], field
            assert new["spec"]["id"] == old["status"]["id"]
            assert (new["spec"]["retention"], new["spec"]["deletionPolicy"]) == ("Keep", "Retain")
            assert "pin" not in new["spec"]
            assert is_true(new, "Ready")

        again = settled(crds, namespace, *before)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        crds.patch(
            "SnapshotStore", "store", namespace, {"metadata": {"annotations": {"ocore.dev/import-requested": now}}}
        )
        store = imported(crds, namespace, now)
        assert (store["status"]["import"]["imported"], store["status"]["import"]["existing"]) == (0, 2)
        assert versions(crds, namespace, *before) == again

        crds.patch("SnapshotStore", "store", namespace, {"spec": {"takeOver": True}})
        one = crds.wait("Snapshot", "one", namespace, lambda o: o["status"]["imported"]["takenOver"], 60, "taken over")
        assert one["spec"]["pin"] == {"label": "audit"}
        assert (one["spec"]["retention"], one["spec"]["deletionPolicy"]) == ("Policy", "Delete")
        managers = {f["manager"] for f in one["metadata"]["managedFields"] if "f:spec" in f["fieldsV1"]}
        assert managers == {"ocore-operator-import"}

        # A change is stored by a Job of its own, and the deletion works as before.
        crds.patch("Snapshot", "one", namespace, {"spec": {"pin": None}})
        crds.wait(
            "Snapshot", "one", namespace, lambda o: "pinLabel" not in o["status"]["storedState"], 120, "state stored"
        )
        crds.delete("Snapshot", "one", namespace)
        crds.wait_gone("Snapshot", "one", namespace, 120)

        # What it had stored is gone, and the sweep finds nothing that is old enough.
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        crds.patch(
            "SnapshotStore", "store", namespace, {"metadata": {"annotations": {"ocore.dev/sweep-requested": now}}}
        )
        swept = crds.wait("SnapshotStore", "store", namespace, lambda o: bool(o["status"].get("orphans")), 120, "swept")
        orphans = swept["status"]["orphans"]
        assert (orphans["objects"], orphans["manifests"], orphans["unclaimed"]) == (0, 1, 0), orphans
        assert not orphans["message"]
    finally:
        operator.stop()
