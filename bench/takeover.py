"""The time without a leader: from what happens to the operator that leads until the one that stands by has the Lease
(`operator.replicas: 2`). Beside it, the same with one operator.

Run by `make bench` in the node's network.
"""

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from figures import Figure, report

from support.cluster import node
from support.cluster.cluster import Cluster, Object, wait_for
from support.cluster.facade import Facade
from support.cluster.node import PodNetwork
from support.cluster.operator import NAMESPACE, PRODUCTION, Operator

#: Seconds beside the Lease's in which the other one sees that it has expired.
SEEN_WITHIN = 2.0


def evicted(operator: Operator, pod: Object) -> Callable[[], object]:
    """As `kubectl drain` and a rolling update do it: it is told, and ends by itself."""
    operator.cluster.kubectl("-n", NAMESPACE, "delete", "pod", pod["metadata"]["name"], "--wait=false")
    return lambda: None


def killed(operator: Operator, pod: Object) -> Callable[[], object]:
    """`kill -9`, and its pod is gone at once."""
    operator.vanish(pod)
    return lambda: None


def stopped(operator: Operator, pod: Object) -> Callable[[], object]:
    """SIGSTOP: it continues after the other one leads, and ends itself."""
    pids = operator.processes(pod)
    node.signal(pids, "STOP")
    return lambda: node.signal(pids, "CONT")


def unreachable(operator: Operator, pod: Object) -> Callable[[], object]:
    """Its pod does not reach the API server any more."""
    service = operator.cluster.get("Service", "kubernetes", "default")
    assert service is not None
    network = PodNetwork(pod, service["spec"]["clusterIP"])
    network.block()
    return lambda: network.__exit__()


FAULTS = {"evicted": evicted, "kill -9": killed, "SIGSTOP": stopped, "no network": unreachable}


def takeover(operator: Operator, fault: Callable[[Operator, Object], Callable[[], object]]) -> float:
    """Seconds from the fault until another process has acquired the Lease."""
    pod, holder = operator.leader(), operator.lease()["holderIdentity"]
    begin = datetime.now(UTC)
    undo = fault(operator, pod)
    try:
        lease = operator.next_leader(holder)
    finally:
        undo()
    return float((datetime.fromisoformat(lease["acquireTime"]) - begin).total_seconds())


def settled(operator: Operator, replicas: int) -> None:
    """Waits until as many are ready, and lets a pod that was killed often start again without a pause."""
    operator.ready()
    wait_for("all of them", lambda: len(operator.pods()) == replicas, 60)
    time.sleep(2)


def runs(operator: Operator, replicas: int, count: int, fault: str) -> list[float]:
    """The take-overs, one after the other, each by fresh pods."""
    found = []
    for _ in range(count):
        operator.cluster.kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{operator.deployment}")
        settled(operator, replicas)
        found.append(takeover(operator, FAULTS[fault]))
        print(f"{replicas} operators, {fault}: {found[-1]:.1f} s", flush=True)
    return found


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cluster = Cluster()
    operator = Operator(cluster)
    values, production = Facade(cluster).values(), ("--values", str(PRODUCTION))
    two, one = {}, {}
    operator.install(*values, *production)
    for fault in arguments.faults:
        two[fault] = runs(operator, 2, arguments.runs, fault)
    operator.install(*values, "--set", "operator.replicas=1")
    for fault in {"evicted", "kill -9"}.intersection(arguments.faults):
        one[fault] = runs(operator, 1, max(arguments.runs // 3, 1), fault)
    lease = float(operator.lease()["leaseDurationSeconds"])
    most = {"evicted": 5.0}  # it releases the Lease
    figures = [
        Figure(
            f"Take-over, {fault}", "s", found, f"at most {most.get(fault, lease + SEEN_WITHIN):g} s",
            most.get(fault, lease + SEEN_WITHIN), one.get(fault), "one operator",
        )
        for fault, found in two.items()
    ]  # fmt: skip
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
