"""A rollback on two nodes beside one: its length and the downtime, with the claim's user and the Jobs on node1, where
PostgreSQL, the store and the operator run, on node2, and on one node each. And the take-over when node2 is killed with
the operator that leads.

Run in the network of a local cluster of two nodes (`localcluster/cluster up --nodes 2`, `... images`).
"""

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from figures import Figure, report

from support.cluster import node
from support.cluster.cluster import Cluster, Object, unique, wait_for
from support.cluster.facade import Facade
from support.cluster.operator import NAMESPACE, PRODUCTION, Operator
from support.cluster.shared import Shared
from support.cluster.site import Servers, make_site
from support.cluster.two_nodes import HERE, OTHER, on, repair

#: Seconds beside the Lease's in which the other one sees that it has expired.
SEEN_WITHIN = 2.0
RESOURCES: Object = {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}


def between(status: Object, begin: str, end: str) -> float:
    """Seconds."""
    return float((datetime.fromisoformat(status[end]) - datetime.fromisoformat(status[begin])).total_seconds())


def rollbacks(cluster: Cluster, servers: Servers, count: int, shop: str, **options: Any) -> list[Object]:
    """The statuses of that many rollbacks, with the application on the node `shop`."""
    with make_site(cluster, servers, storage_class="attached", **options) as site:
        site.patch_shop({"spec": on(shop)})
        site.environment_ready()
        site.load(1, orders=200)
        site.completed("Snapshot", site.snapshot("base"))
        found = []
        for _ in range(count):
            name = site.rollback(unique("bench"), "base", undoWindowSeconds=0)
            found.append(dict(site.completed("Rollback", name)["status"]))
            cluster.wait("Rollback", name, site.namespace, lambda o: o["status"].get("residue") == "None", 60, "clean")
        return found


def takeover(operator: Operator) -> float:
    """Seconds from the death of node2, with the operator that leads, until the other one has the Lease."""
    wait_for("the operator of node2 to lead", lambda: _leads(operator, OTHER), 120)
    holder, begin = operator.lease()["holderIdentity"], datetime.now(UTC)
    node.harm("kill", OTHER)
    try:
        lease = operator.next_leader(holder)
    finally:
        repair(operator.cluster)
    return float((datetime.fromisoformat(lease["acquireTime"]) - begin).total_seconds())


def _leads(operator: Operator, where: str) -> bool:
    """Whether the operator of that node leads beside one of the other node. Where not, ends a pod that is in the way,
    so that the next answer may be yes."""
    operator.ready()
    pods, leader = operator.pods(), operator.leader()
    leads = leader["spec"]["nodeName"] == where
    apart = len({pod["spec"]["nodeName"] for pod in pods}) == len(pods)
    if leads and apart:
        return True
    in_the_way = next(p for p in pods if p["metadata"]["uid"] != leader["metadata"]["uid"]) if not apart else leader
    operator.cluster.delete("Pod", in_the_way["metadata"]["name"], NAMESPACE)
    return False


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cluster = Cluster()
    operator = Operator(cluster)
    jobs = {"jobs": RESOURCES | on(OTHER)}
    with tempfile.TemporaryDirectory() as folder:
        cluster.kubectl("cordon", OTHER)
        operator.install(*Facade(cluster).values())
        servers = Servers(cluster, Shared(Path(folder)))
        try:
            servers.postgres(17)
            servers.s3()
            cluster.kubectl("uncordon", OTHER)
            one = rollbacks(cluster, servers, arguments.runs, HERE)
            two = rollbacks(cluster, servers, arguments.runs, OTHER)
            each = rollbacks(cluster, servers, arguments.runs, HERE, access_mode="ReadWriteMany", environment=jobs)
        finally:
            servers.remove()
    operator.install(*Facade(cluster).values(), "--values", str(PRODUCTION))
    lost = [takeover(operator) for _ in range(arguments.runs)]
    operator.install(*Facade(cluster).values(), "--set", "operator.replicas=1")
    figures = []
    for what, begin, end in (("Rollback", "startedAt", "completedAt"), ("Downtime", "quiescedAt", "readyAt")):
        peer = [between(status, begin, end) for status in one]
        for where, found in (("application and Jobs on the other node", two), ("Jobs on the other node", each)):
            ours = [between(status, begin, end) for status in found]
            figures.append(Figure(f"{what}, {where}", "s", ours, "", None, peer, "all on one node"))
    most = float(operator.lease()["leaseDurationSeconds"]) + SEEN_WITHIN
    figures.append(Figure("Take-over, the leader's node is killed", "s", lost, f"at most {most:g} s", most))
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
