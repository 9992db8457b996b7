"""Rows of docs/failure-modes.md about nodes that die or lose their network, and the local cluster of two nodes that
shows them. The servers run on node1, which has the control plane; node2 is harmed."""

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from support.cluster import node
from support.cluster.cluster import Cluster, Object, condition, pod, wait_for
from support.cluster.facade import Facade
from support.cluster.failpoints import armed, at_failpoint, running_pod
from support.cluster.operator import NAMESPACE, PRODUCTION, Operator
from support.cluster.promises import fresh, holds_all_promises, marker, old_or_new, set_marker
from support.cluster.site import DEMO_IMAGE, Servers, Site, claim, make_site
from support.cluster.two_nodes import (
    HERE,
    OTHER,
    OUT_OF_SERVICE,
    does_not_respond,
    drain,
    lose,
    on,
    rather_on,
    repair,
    warnings_of,
)

pytestmark = [
    pytest.mark.nodes,
    pytest.mark.exclusive,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("repaired"),
]


# --- the cluster -----------------------------------------------------------------------------------------
@pytest.mark.long
def test_a_volume_of_one_node_is_attached_to_one(cluster: Cluster) -> None:
    namespace = cluster.namespace("attached")
    cluster.apply(claim("data", namespace, storage_class="attached"))
    first, second = (
        pod(
            name,
            namespace,
            DEMO_IMAGE,
            ["sh", "-c", f"echo {name} >>/data/names && sleep 600"],
            claims={"/data": "data"},
        )
        for name in ("first", "second")
    )
    first["spec"] |= on(OTHER)
    second["spec"] |= on("node1")
    for each in (first, second):
        each["spec"]["terminationGracePeriodSeconds"] = 1
    cluster.apply(first)
    cluster.wait("Pod", "first", namespace, lambda o: o["status"].get("phase") == "Running", 60, "running")
    cluster.apply(second)
    wait_for("it is refused", lambda: "Multi-Attach error" in warnings_of(cluster, namespace, "second"), 60)
    cluster.delete("Pod", "first", namespace)
    cluster.wait("Pod", "second", namespace, lambda o: o["status"].get("phase") == "Running", 90, "running")
    assert cluster.exec_in(namespace, "second", "cat", "/data/names") == (0, "first\nsecond\n")
    cluster.delete("Namespace", namespace)


@pytest.mark.long
def test_a_pod_on_each_node_reaches_the_other(cluster: Cluster) -> None:
    namespace = cluster.namespace("network")
    serve = ["python3", "-m", "http.server", "8080", "-d", "/tmp"]
    for name in ("node1", OTHER):
        each = pod(name, namespace, DEMO_IMAGE, serve)
        each["spec"] |= on(name)
        cluster.apply(each)
    pods = [
        cluster.wait("Pod", n, namespace, lambda o: o["status"].get("phase") == "Running", 60, "running")
        for n in ("node1", OTHER)
    ]
    for one, other in (pods, pods[::-1]):
        get = f"import urllib.request; urllib.request.urlopen('http://{other['status']['podIP']}:8080', timeout=5)"
        code, said = cluster.exec_in(namespace, one["metadata"]["name"], "python3", "-c", get)
        assert code == 0, said
    cluster.delete("Namespace", namespace)


def deleted(site: Site, found: Object) -> bool:
    """Whether the pod was deleted; it may not have ended."""
    now = site.cluster.get("Pod", found["metadata"]["name"], site.namespace)
    return now is None or "deletionTimestamp" in now["metadata"]


# --- rows ------------------------------------------------------------------------------------------------
@pytest.fixture
def shared_claim(cluster: Cluster, placed: Servers) -> Iterator[Site]:
    """A site whose claim many nodes can mount: the application on node1, its Jobs rather on the other node."""
    jobs = {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}, "affinity": rather_on(OTHER)}
    with make_site(
        cluster, placed, storage_class="attached", access_mode="ReadWriteMany", environment={"jobs": jobs}
    ) as site:
        site.patch_shop({"spec": on("node1")})
        site.environment_ready()
        site.load(5)
        yield site


@pytest.mark.parametrize("how", [pytest.param("kill", marks=pytest.mark.long), "cut"])
def test_row_102_the_node_of_the_mover_is_lost(shared_claim: Site, cluster: Cluster, how: str) -> None:
    """In mid-snapshot: no other attempt while its pod may write; with the taint, or the network back, it completes."""
    site = shared_claim
    name = site.snapshot(fresh(how), annotations=armed("after-upload-before-manifest=sleep:300@1"), timeoutSeconds=400)
    first = running_pod(site, "Snapshot", name, "snapshot")
    assert first["spec"]["nodeName"] == OTHER
    at_failpoint(site, first, "after-upload-before-manifest")
    lose(cluster, how)
    obj = cluster.wait("Snapshot", name, site.namespace, does_not_respond, 120, "waits for a person")
    assert obj["status"]["attempt"] == 1
    if how == "kill":
        cluster.kubectl("taint", "node", OTHER, OUT_OF_SERVICE)
    else:
        node.harm("repair", OTHER)
    obj = site.completed("Snapshot", name, 240)
    assert obj["status"]["attempt"] == 2
    assert obj["status"]["evidence"]["missing"] == []
    holds_all_promises(site)


@pytest.mark.long
def test_row_103_the_node_of_the_application_dies_in_mid_rollback(placed: Servers, cluster: Cluster) -> None:
    """The claim is attached there, and so the restore runs there: it waits for a person. When the node is out of
    service, application and restore continue on the other node, and the rollback completes."""
    with make_site(cluster, placed, storage_class="attached") as site:
        site.patch_shop({"spec": {"affinity": rather_on(OTHER)}})
        site.load(5)
        site.completed("Snapshot", site.snapshot("base"))
        set_marker(site, 3)
        name = site.rollback(
            fresh("dies"), "base", annotations=armed("restore-database-loaded=sleep:300@1"), undoWindowSeconds=0,
            timeoutSeconds=500,
        )  # fmt: skip
        first = running_pod(site, "Rollback", name, "restore")
        assert first["spec"]["nodeName"] == OTHER, "not on the node of the claim's user"
        at_failpoint(site, first, "restore-database-loaded")
        lose(cluster, "kill")
        obj = cluster.wait("Rollback", name, site.namespace, does_not_respond, 120, "waits for a person")
        assert obj["status"]["stage"] == "Restore"
        cluster.kubectl("taint", "node", OTHER, OUT_OF_SERVICE)
        obj = site.completed("Rollback", name, 300)
        assert obj["status"]["attempt"] == 2
        assert marker(site) == 0
        holds_all_promises(site)


@pytest.mark.long
def test_row_102_a_switch_without_network_cannot_act_when_it_is_back(shared_claim: Site, cluster: Cluster) -> None:
    """The node of the switch Job loses its network while the application is stopped: the position is read, and the
    application started, only when its pod is gone. When the network is back, the Job changes nothing."""
    site = shared_claim
    site.completed("Snapshot", site.snapshot("base"))
    set_marker(site, 3)
    name = site.rollback(
        fresh("cut"), "base", annotations=armed("switch-refused=sleep:40"), undoWindowSeconds=0, timeoutSeconds=300
    )
    switch = running_pod(site, "Rollback", name, "restore")
    assert switch["spec"]["nodeName"] == OTHER
    at_failpoint(site, switch, "switch-refused")
    lose(cluster, "cut")
    obj = cluster.wait("Rollback", name, site.namespace, does_not_respond, 240, "waits for a person")
    assert obj["status"]["stage"] == "Inspect"
    message = (condition(obj, "Stalled") or {})["message"]
    for part in ("the node node2 does not respond", "switch the machine off", "The application is stopped until then."):
        assert part in message, message
    node.harm("repair", OTHER)
    obj = site.failed("Rollback", name, "SwitchFailed", 120)
    old_or_new(site, obj)
    holds_all_promises(site)


@pytest.mark.long
def test_row_102_the_node_of_the_cleanup_dies(shared_claim: Site, cluster: Cluster) -> None:
    """The undo window is over, and the previous database is being removed. With the taint another attempt completes the
    cleanup on node1."""
    site = shared_claim
    site.completed("Snapshot", site.snapshot("base"))
    set_marker(site, 3)
    armed_ = armed("cleanup-database-dropped=sleep:300@1")
    name = site.rollback(fresh("cleanup"), "base", annotations=armed_, undoWindowSeconds=60)
    site.completed("Rollback", name)
    first = running_pod(site, "Rollback", name, "cleanup")
    assert first["spec"]["nodeName"] == OTHER
    at_failpoint(site, first, "cleanup-database-dropped")
    lose(cluster, "kill")
    wait_for("its pod was deleted", lambda: deleted(site, first), 90)
    cluster.kubectl("taint", "node", OTHER, OUT_OF_SERVICE)
    cluster.wait("Rollback", name, site.namespace, lambda o: o["status"].get("residue") == "None", 240, "cleaned up")
    assert marker(site) == 0
    holds_all_promises(site)


@pytest.mark.long
def test_row_99_each_update_leaves_the_operators_on_different_nodes(placed: Servers, cluster: Cluster) -> None:
    """No node of the local cluster has the label of a zone."""
    operator, facade = Operator(cluster), Facade(cluster)
    try:
        operator.install(*facade.values(), "--values", str(PRODUCTION))
        for _ in range(4):  # by chance, each fails in one of two
            cluster.kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{operator.deployment}")
            operator.ready()
            assert sorted(pod["spec"]["nodeName"] for pod in operator.pods()) == [HERE, OTHER]
    finally:
        cluster.kubectl("cordon", OTHER)  # it stays on node1
        operator.install(*facade.values(), "--set", "operator.replicas=1")
        cluster.kubectl("uncordon", OTHER)


@pytest.mark.long
@pytest.mark.parametrize("how", ["dies", "is drained"])
def test_row_99_the_node_of_the_operator_is_lost_before_the_resume(placed: Servers, cluster: Cluster, how: str) -> None:
    """The standby on the other node leads when the lease is over, or at once where the node is drained: the application
    is down no longer than that, beyond what the switch takes."""
    operator = Operator(cluster)
    operator.set_env("OCORE_STANDBY=true")  # as the chart does with operator.replicas
    try:
        cluster.kubectl("-n", NAMESPACE, "scale", f"deployment/{operator.deployment}", "--replicas=2")
        operator.ready()
        wait_for(
            "one on each node", lambda: {p["spec"].get("nodeName") for p in operator.pods()} == {"node1", OTHER}, 60
        )
        here = next(p for p in operator.pods() if p["spec"]["nodeName"] == "node1")
        if here["metadata"]["uid"] in operator.lease()["holderIdentity"]:
            cluster.delete("Pod", here["metadata"]["name"], NAMESPACE)
        there = next(p for p in operator.pods() if p["spec"].get("nodeName") == OTHER)
        wait_for("it leads", lambda: there["metadata"]["uid"] in operator.lease()["holderIdentity"], 60)
        operator.ready()
        with make_site(cluster, placed) as site:
            site.completed("Snapshot", site.snapshot("base"))
            set_marker(site, 3)
            name = site.rollback(fresh("led"), "base", annotations=armed("switch-refused=sleep:5"), undoWindowSeconds=0)
            cluster.wait(
                "Rollback", name, site.namespace, lambda o: o["status"].get("stage") == "Switch", 120, "switching"
            )
            begun = time.time()
            if how == "dies":
                node.harm("kill", OTHER)
            else:
                drain(cluster)
            obj = site.completed("Rollback", name, 120)
            stopped, resumed = (datetime.fromisoformat(obj["status"][k]) for k in ("quiescedAt", "resumedAt"))
            down = (resumed - stopped).total_seconds()
            print(f"downtime {down} s; complete {time.time() - begun:.1f} s after the fault began")
            assert there["metadata"]["uid"] not in operator.lease()["holderIdentity"]
            assert down <= (operator.lease()["leaseDurationSeconds"] if how == "dies" else 0) + 20
            assert marker(site) == 0
            holds_all_promises(site)
    finally:
        repair(cluster)
        cluster.kubectl("cordon", OTHER)  # it stays on node1
        operator.scale(1)
        operator.set_env("OCORE_STANDBY=false")
        cluster.kubectl("uncordon", OTHER)
