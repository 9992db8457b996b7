"""A cluster is rebuilt from Git: the same manifests, and every status is lost. docs/gitops.md says what happens."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from ocore_crds.text.timestamps import parse
from support.cluster.cluster import GROUP, Cluster, Object, condition
from support.cluster.operator import Operator
from support.cluster.promises import marker, set_marker, stored_keys
from support.cluster.site import Servers, Site, make_site

ENVIRONMENT_ID, SNAPSHOT_ID, ROLLBACK_ID = (str(uuid.uuid4()) for _ in range(3))
KINDS = ("Rollback", "Snapshot", "Environment", "SnapshotStore")


@pytest.fixture(scope="module")
def site(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """A site whose Environment has the id that Git gives it."""
    with make_site(cluster, servers, environment={"id": ENVIRONMENT_ID}) as site:
        site.environment_ready()
        site.load(7)
        yield site


def in_git(site: Site, kind: str, name: str, **spec: Any) -> Object:
    """A manifest."""
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name, "namespace": site.namespace}, "spec": spec}


def lose(site: Site, kind: str, name: str) -> None:
    """The object is gone with the old cluster: nothing is cleaned up for it."""
    site.cluster.patch(kind, name, site.namespace, {"metadata": {"finalizers": None}})
    site.cluster.delete(kind, name, site.namespace)
    site.cluster.wait_gone(kind, name, site.namespace, 30)


def seen(site: Site, kind: str, name: str) -> Object:
    obj = site.cluster.get(kind, name, site.namespace)
    assert obj is not None
    return obj


def test_row_32_a_rebuilt_cluster_runs_no_rollback_again(site: Site, operator: Operator) -> None:
    store = seen(site, "SnapshotStore", site.store)
    manifests = [
        in_git(site, "SnapshotStore", site.store, **store["spec"]),
        site.environment_object(id=ENVIRONMENT_ID),
        in_git(
            site, "Snapshot", "before", environmentRef={"name": site.environment}, id=SNAPSHOT_ID, timeoutSeconds=300
        ),
        in_git(
            site,
            "Rollback",
            "to-before",
            snapshotRef={"name": "before"},
            id=ROLLBACK_ID,
            timeoutSeconds=300,
            readyTimeoutSeconds=60,
            undoWindowSeconds=3600,
        ),
    ]
    site.cluster.apply(manifests[2])
    snapshot = site.completed("Snapshot", "before")
    set_marker(site, 1)
    site.cluster.apply(manifests[3])
    rollback = site.completed("Rollback", "to-before")
    assert marker(site) == 0
    # Months of work on it, then the cluster is lost.
    set_marker(site, 77)
    databases, keys = site.databases(), stored_keys(site)
    assert databases == sorted([site.database, rollback["status"]["previousDatabase"]])
    operator.scale(0)
    try:
        for kind, name in zip(KINDS, ("to-before", "before", site.environment, site.store), strict=True):
            lose(site, kind, name)
        site.cluster.kubectl("-n", site.namespace, "delete", "job", "--all", "--wait=true")
        shop = seen(site, "Deployment", "shop")
        pods = {p["metadata"]["uid"] for p in site.cluster.pods(site.namespace, "app=shop")}
    finally:
        operator.scale(1)
    site.cluster.apply(*manifests)

    again = site.completed("Rollback", "to-before")
    assert (condition(again, "Complete") or {})["reason"] == "AlreadyExecuted", json.dumps(again["status"], indent=1)
    assert again["metadata"]["uid"] != rollback["metadata"]["uid"]
    assert again["status"]["residue"] == "None"
    assert "switchedAt" not in again["status"]
    # Nothing was restored, renamed, dropped or stopped.
    assert marker(site) == 77
    assert site.databases() == databases
    assert seen(site, "Deployment", "shop")["metadata"]["generation"] == shop["metadata"]["generation"]
    assert {p["metadata"]["uid"] for p in site.cluster.pods(site.namespace, "app=shop")} == pods
    assert all(
        not j["metadata"]["name"].startswith(("switch-", "cleanup-"))
        for j in site.cluster.objects("Job", site.namespace)
    )

    # The Snapshot adopts what the store has: the old data under the old name, and nothing is dumped.
    adopted = site.completed("Snapshot", "before")
    for field in ("id", "manifestSha256", "manifestKey", "consistentAt"):
        assert adopted["status"][field] == snapshot["status"][field], field
    times = [parse(o["status"]["completedAt"]) for o in (adopted, snapshot)]
    assert times[0] <= times[1], "as old as its data"
    assert stored_keys(site) == keys
    environment = site.environment_ready()
    assert environment["status"]["id"] == ENVIRONMENT_ID

    # A new name is a new order.
    site.cluster.apply(in_git(site, "Rollback", "once-more", **{**manifests[3]["spec"], "id": str(uuid.uuid4())}))
    site.completed("Rollback", "once-more")
    assert marker(site) == 0
