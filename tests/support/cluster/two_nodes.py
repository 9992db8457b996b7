"""The local cluster of two nodes, as a test harms it. The servers run on node1, which has the control plane; node2 is
killed, cut off or drained."""

from collections.abc import Callable

from . import node
from .cluster import Cluster, Object, condition, is_true, wait_for
from .operator import NAMESPACE, Operator
from .site import Site

HERE, OTHER = "node1", "node2"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"


def on(name: str) -> Object:
    """Spec of a pod that must run there."""
    return {"nodeSelector": {"kubernetes.io/hostname": name}}


def rather_on(name: str) -> Object:
    """Affinity of a pod that runs there while the node takes pods."""
    terms = [{"key": "kubernetes.io/hostname", "operator": "In", "values": [name]}]
    preferred = [{"weight": 100, "preference": {"matchExpressions": terms}}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def responds(cluster: Cluster) -> bool:
    """Whether the other node is Ready, and pods may run there."""
    found = cluster.get("Node", OTHER) or {}
    taints = [t["key"] for t in found.get("spec", {}).get("taints") or ()]
    return is_true(found, "Ready") and "node.kubernetes.io/unreachable" not in taints


def lose(cluster: Cluster, how: str) -> None:
    """Kills the other node or cuts its network, and waits until the control plane has noticed."""
    node.harm(how, OTHER)
    wait_for("the node is not ready", lambda: not responds(cluster), 60)


def drain(cluster: Cluster) -> None:
    """Evicts all pods of the other node, as for its maintenance."""
    options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=240s")
    cluster.kubectl("drain", OTHER, *options, timeout=250)


def keep_here(operator: Operator) -> None:
    """Moves the operator to node1: what is measured is the drain of the node of application and Jobs alone."""
    cluster = operator.cluster
    cluster.kubectl("cordon", OTHER)
    try:
        for pod in operator.pods():
            if pod["spec"].get("nodeName") == OTHER:
                cluster.delete("Pod", pod["metadata"]["name"], NAMESPACE)
        operator.ready()
    finally:
        cluster.kubectl("uncordon", OTHER)


def repair(cluster: Cluster) -> None:
    """Takes back what a test did to the other node."""
    node.harm("repair", OTHER)
    cluster.kubectl("taint", "node", OTHER, "node.kubernetes.io/out-of-service-", check=False)
    cluster.kubectl("uncordon", OTHER)
    wait_for("node2 is ready", lambda: responds(cluster), 90)


def reports(reason: str, kind: str = "Reconciling") -> Callable[[Object], bool]:
    """Whether the object has that reason in that condition, which is True."""

    def found(obj: Object) -> bool:
        of_kind = condition(obj, kind)
        return of_kind is not None and of_kind["status"] == "True" and of_kind["reason"] == reason

    return found


#: Whether it waits for a person because of the node.
does_not_respond = reports("NodeNotResponding", "Stalled")


def warnings_of(cluster: Cluster, namespace: str, name: str) -> str:
    """The messages of a pod's Events."""
    events = cluster.objects("Event", namespace)
    return " ".join(e.get("message", "") for e in events if e["involvedObject"]["name"] == name)


def moves_while_its_claim_is_held(site: Site) -> None:
    """The application's pod is replaced by one on the other node, which waits for the claim."""
    site.patch_shop({"spec": on(OTHER)}, ready=False)

    def refused() -> bool:
        pods = site.cluster.pods(site.namespace, "app=shop")
        names = [p["metadata"]["name"] for p in pods if p["spec"].get("nodeName") == OTHER]
        return any("Multi-Attach error" in warnings_of(site.cluster, site.namespace, name) for name in names)

    wait_for("the application's pod is refused", refused, 90)


def nodes_of_jobs(site: Site) -> set[str]:
    """Where the pods of the site's Jobs run, or ran."""
    pods = site.cluster.pods(site.namespace, "app.kubernetes.io/managed-by=ocore-snapshots")
    return {p["spec"]["nodeName"] for p in pods if p["spec"].get("nodeName")}
