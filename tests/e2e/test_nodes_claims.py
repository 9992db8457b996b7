"""Claims on two nodes: where the Jobs may run, what does not fit, and who gives way. The servers run on node1."""

import os

import pytest

from support.cluster.cluster import GROUP, Cluster, Object, condition, is_true, pod
from support.cluster.failpoints import armed, at_failpoint, running_pod
from support.cluster.promises import fresh, holds_all_promises, marker, set_marker
from support.cluster.site import DEMO_IMAGE, Servers, claim, make_site
from support.cluster.two_nodes import HERE, OTHER, moves_while_its_claim_is_held, nodes_of_jobs, on, reports

pytestmark = [
    pytest.mark.nodes,
    pytest.mark.exclusive,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("repaired"),
]

RESOURCES: Object = {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}


@pytest.mark.long
def test_row_105_a_snapshot_gives_way_to_the_application(placed: Servers, cluster: Cluster) -> None:
    """The application moves to the other node while a snapshot's Job holds its claim: the Job is stopped, the
    application starts, and the next attempt runs on the application's node."""
    with make_site(cluster, placed, storage_class="attached") as site:
        site.patch_shop({"spec": on(HERE)})
        site.load(5)
        name = site.snapshot(
            fresh("long"), annotations=armed("after-upload-before-manifest=sleep:300@1"), timeoutSeconds=400
        )
        first = running_pod(site, "Snapshot", name, "snapshot")
        assert first["spec"]["nodeName"] == HERE, "not on the node of the claim's user"
        at_failpoint(site, first, "after-upload-before-manifest")
        moves_while_its_claim_is_held(site)
        cluster.wait("Snapshot", name, site.namespace, reports("ClaimNeeded"), 60, "gives way")
        site.app_ready(90)
        obj = site.completed("Snapshot", name, 240)
        assert obj["status"]["attempt"] == 2
        holds_all_promises(site)


@pytest.mark.long
def test_row_105_a_restore_gives_way_to_the_application(placed: Servers, cluster: Cluster) -> None:
    """The same in mid-rollback, before the application is stopped."""
    with make_site(cluster, placed, storage_class="attached") as site:
        site.patch_shop({"spec": on(HERE)})
        site.load(5)
        site.completed("Snapshot", site.snapshot("base"))
        set_marker(site, 3)
        name = site.rollback(
            fresh("long"), "base", annotations=armed("restore-database-loaded=sleep:300@1"), undoWindowSeconds=0,
            timeoutSeconds=500,
        )  # fmt: skip
        first = running_pod(site, "Rollback", name, "restore")
        assert first["spec"]["nodeName"] == HERE, "not on the node of the claim's user"
        at_failpoint(site, first, "restore-database-loaded")
        moves_while_its_claim_is_held(site)
        site.app_ready(120)
        obj = site.completed("Rollback", name, 300)
        assert obj["status"]["attempt"] == 2
        assert "ClaimNeeded" in [e["reason"] for e in cluster.objects("Event", site.namespace)]
        assert marker(site) == 0
        holds_all_promises(site)


@pytest.mark.long
def test_row_106_a_shared_claim_is_used_from_the_other_node(placed: Servers, cluster: Cluster) -> None:
    """The application runs on node1, and its node takes no Jobs: snapshot and rollback run on the other node."""
    jobs = {"jobs": RESOURCES | on(OTHER)}
    with make_site(cluster, placed, storage_class="attached", access_mode="ReadWriteMany", environment=jobs) as site:
        site.patch_shop({"spec": on(HERE)})
        site.environment_ready()
        site.load(5)
        site.completed("Snapshot", site.snapshot("base"))
        set_marker(site, 3)
        name = site.rollback(fresh("shared"), "base", annotations=armed("switch-refused=sleep:1"), undoWindowSeconds=0)
        assert running_pod(site, "Rollback", name, "restore")["spec"]["nodeName"] == OTHER
        site.completed("Rollback", name)
        assert nodes_of_jobs(site) == {OTHER}
        assert marker(site) == 0
        holds_all_promises(site)


def test_row_106_a_claim_of_one_node_is_used_on_the_applications_node(placed: Servers, cluster: Cluster) -> None:
    """Without any setting the Jobs follow the application. A setting that contradicts is named."""
    with make_site(cluster, placed, storage_class="attached") as site:
        site.patch_shop({"spec": on(OTHER)})
        site.load(5)
        name = site.snapshot("base", annotations=armed("snapshot-start=sleep:1"))
        assert running_pod(site, "Snapshot", name, "snapshot")["spec"]["nodeName"] == OTHER
        site.completed("Snapshot", name)
        set_marker(site, 3)
        name = site.rollback(fresh("one"), "base", annotations=armed("switch-refused=sleep:1"), undoWindowSeconds=0)
        assert running_pod(site, "Rollback", name, "restore")["spec"]["nodeName"] == OTHER
        site.completed("Rollback", name)
        assert marker(site) == 0
        holds_all_promises(site)
        cluster.apply(site.environment_object(jobs=RESOURCES | on(HERE)))
        obj = cluster.wait("Environment", "shop", site.namespace, reports("JobPending"), 90, "no probe can start")
        message = (condition(obj, "Reconciling") or {})["message"]
        assert "spec.jobs.nodeSelector" in message, message
        assert "binds the Job to that node" in message, message


@pytest.mark.long
def test_row_106_filestore_and_store_on_different_nodes(placed: Servers, cluster: Cluster) -> None:
    """No node can mount both claims: the message names both nodes. With an S3 store it does not matter where the other
    claim is."""
    with make_site(cluster, placed, storage_class="attached") as site:
        site.patch_shop({"spec": on(HERE)})
        site.load(5)
        holder = pod("holder", site.namespace, DEMO_IMAGE, ["sleep", "600"], claims={"/data": "backups"})
        holder["spec"] |= on(OTHER) | {"terminationGracePeriodSeconds": 1}
        store = {
            "apiVersion": GROUP,
            "kind": "SnapshotStore",
            "metadata": {"name": "on-claim", "namespace": site.namespace},
            "spec": {"claim": {"claimName": "backups", "path": "snapshots"}},
        }
        cluster.apply(claim("backups", site.namespace, storage_class="attached"), holder)
        cluster.wait("Pod", "holder", site.namespace, lambda o: o["status"].get("phase") == "Running", 60, "running")
        cluster.apply(store)
        site.completed("Snapshot", site.snapshot(fresh("to-s3")))
        cluster.apply(site.environment_object(storeRef={"name": "on-claim"}))
        obj = cluster.wait("Environment", "shop", site.namespace, reports("ClaimInUse", "Stalled"), 90, "refused")
        message = (condition(obj, "Stalled") or {})["message"]
        for part in ("backups on the node node2", "filestore on the node node1", "ReadWriteMany", "S3"):
            assert part in message, message
        cluster.delete("Pod", "holder", site.namespace)
        site.environment_ready(150)
        site.completed("Snapshot", site.snapshot(fresh("to-claim")))
        assert nodes_of_jobs(site) == {HERE}


@pytest.mark.long
def test_row_106_a_claim_of_one_pod(placed: Servers, cluster: Cluster) -> None:
    """While the application uses a ReadWriteOncePod claim, no Job can mount it, and the Environment says so. While it
    is stopped, one can."""
    with make_site(cluster, placed, storage_class="attached", access_mode="ReadWriteOncePod", environment={}) as site:
        site.app_ready()
        obj = cluster.wait("Environment", "shop", site.namespace, reports("ClaimInUse", "Stalled"), 90, "refused")
        assert "ReadWriteOncePod and pod shop-" in (condition(obj, "Stalled") or {})["message"]
        site.scale(0)
        cluster.wait("Environment", "shop", site.namespace, lambda o: is_true(o, "Ready"), 150, "ready")
        site.completed("Snapshot", site.snapshot(fresh("stopped")))


@pytest.mark.long
def test_row_86_no_job_changes_the_group_of_live_files(placed: Servers, cluster: Cluster) -> None:
    """The kubelet gives all files of a volume that attaches to a pod's fsGroup. No pod of ours has one that the
    application does not have: files keep the group that the application gave them."""
    with make_site(cluster, placed, storage_class="attached") as site:
        site.load(5)
        files = [p for p in (site.claim_root / site.path).rglob("*") if p.is_file()]
        assert {p.stat().st_gid for p in files} == {65532}
        readable = {"name": "database", "secret": {"defaultMode": 0o444}}
        site.patch_shop({"spec": {"securityContext": {"fsGroup": None}, "volumes": [readable]}})
        for each in files:
            os.chown(each, -1, 4321)
        site.environment_ready()
        site.completed("Snapshot", site.snapshot("base"))
        set_marker(site, 3)
        site.completed("Rollback", site.rollback(fresh("groups"), "base", undoWindowSeconds=0))
        assert marker(site) == 0
        assert {p.stat().st_gid for p in files} == {4321}
        holds_all_promises(site)
        # A pod with an fsGroup shows that the kubelet would have changed it.
        site.scale(0)
        code, said = cluster.run_pod(site.namespace, DEMO_IMAGE, ["true"], claims={"/claim": site.filestore_claim})
        assert code == 0, said
        assert {p.stat().st_gid for p in files} == {65532}
