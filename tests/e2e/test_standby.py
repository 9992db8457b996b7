"""Two operators, as the chart's `values-production.yaml` has them: an update of the operator, and the death of the one
that leads, lose no operation."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from support.cluster import node
from support.cluster.cluster import is_true, wait_for
from support.cluster.facade import Facade
from support.cluster.operator import NAMESPACE, PRODUCTION, Operator
from support.cluster.promises import fresh, holds_all_promises, marker, set_marker
from support.cluster.site import Site

pytestmark = pytest.mark.long

OPERATIONS = 20
#: Seconds until the one that stands by sees that the Lease has expired, and has taken it.
SEEN_WITHIN = 5


@pytest.fixture
def two(operator: Operator, site: Site) -> Iterator[Operator]:
    """Two operators; afterwards there is one again, as the other tests expect."""
    facade = Facade(operator.cluster).values()
    operator.install(*facade, "--values", str(PRODUCTION))
    wait_for("a leader and one that stands by", lambda: len(operator.pods()) == 2, 60)
    yield operator
    operator.install(*facade, "--set", "operator.replicas=1")
    holds_all_promises(site)


@pytest.mark.timeout(900)
def test_a_rolling_update_loses_none_of_20_operations(two: Operator, site: Site) -> None:
    """Every Snapshot is Complete by its first Job. Both pods are replaced while they run."""
    before = {p["metadata"]["uid"] for p in two.pods()}
    names = [site.snapshot(fresh("rolling"), deletionPolicy="Delete") for _ in range(OPERATIONS)]

    def states() -> list[bool]:
        objects = [site.cluster.get("Snapshot", name, site.namespace) for name in names]
        return [o is not None and is_true(o, "Complete") for o in objects]

    wait_for("some of them are Complete", lambda: any(states()), 120)
    site.cluster.kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{two.deployment}")
    assert not all(states()), "the update came after the operations"
    two.ready()
    assert not before & {p["metadata"]["uid"] for p in two.pods()}
    for name in names:
        obj = site.completed("Snapshot", name, 300)
        assert obj["status"]["attempt"] == 1
        assert obj["status"]["evidence"]["missing"] == []
        site.cluster.delete("Snapshot", name, site.namespace)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", ["killed with its pod", "stopped"])
def test_the_leader_dies_while_the_application_is_stopped(two: Operator, site: Site, fault: str) -> None:
    """The application is started again by the other operator, within the Lease: it waits for no process to start. A
    leader that is stopped without a word, and continues later, changes nothing."""
    set_marker(site, 1)
    name = fresh("led")
    site.rollback(name, "base", annotations={"ocore.dev/failpoints": "switch-refused=sleep:4"}, undoWindowSeconds=0)
    site.cluster.wait(
        "Rollback", name, site.namespace, lambda o: o.get("status", {}).get("stage") == "Switch", 120, "at Switch"
    )
    holder, leader = two.lease()["holderIdentity"], two.leader()
    pids, begun = two.processes(leader), datetime.now(UTC)
    assert pids
    if fault == "stopped":
        node.signal(pids, "STOP")
    else:
        two.vanish(leader)
    try:
        lease = two.next_leader(holder)
        obj = site.completed("Rollback", name)
    finally:
        node.signal(pids, "CONT")
    assert marker(site) == 0
    acquired, status = datetime.fromisoformat(lease["acquireTime"]), obj["status"]
    assert begun < acquired < datetime.fromisoformat(status["resumedAt"])
    assert (acquired - begun).total_seconds() <= lease["leaseDurationSeconds"] + SEEN_WITHIN
    site.cluster.delete("Rollback", name, site.namespace)
