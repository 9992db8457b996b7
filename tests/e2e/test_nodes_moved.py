"""Rows of docs/failure-modes.md about a node that is drained, and about the node of the database that dies: database or
application starts again on the other node of two."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from support.cluster.cluster import Cluster, Object, is_true, unique, wait_for
from support.cluster.failpoints import armed, at_failpoint, running_pod
from support.cluster.operator import Operator
from support.cluster.promises import fresh, holds_all_promises, old_or_new, set_marker, terminal_in_time
from support.cluster.site import Servers, Site, claim, make_site
from support.cluster.two_nodes import HERE, OTHER, OUT_OF_SERVICE, drain, keep_here, lose, on, rather_on

pytestmark = [
    pytest.mark.nodes,
    pytest.mark.exclusive,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("repaired"),
]

#: Kind, command and failpoint: in mid-snapshot, in mid-restore, between Stop and Resume.
MOMENTS = [
    pytest.param("Snapshot", "snapshot", "snapshot-dump-running", id="mid-snapshot"),
    pytest.param("Rollback", "restore", "restore-database-loaded", id="mid-restore", marks=pytest.mark.long),
    pytest.param("Rollback", "restore", "switch-refused", id="between-stop-and-resume", marks=pytest.mark.long),
]


def begin(site: Site, kind: str, point: str, seconds: int) -> str:
    """A Snapshot, or a Rollback to `base`, whose first Job waits so many seconds at the failpoint."""
    annotations = armed(f"{point}=sleep:{seconds}@1")
    if kind == "Snapshot":
        return site.snapshot(fresh("moved"), annotations=annotations, timeoutSeconds=500)
    return site.rollback(fresh("moved"), "base", annotations=annotations, undoWindowSeconds=0, timeoutSeconds=500)


@pytest.fixture
def moving_database(cluster: Cluster, placed: Servers) -> Iterator[str]:
    """Host name of a PostgreSQL server on the other node. Its volume can be attached to any node."""
    name = unique("moving")
    cluster.apply(claim(name, placed.namespace, storage_class="attached"))
    security = {"fsGroupChangePolicy": "OnRootMismatch"}  # or PostgreSQL would refuse the mode of its folder
    volume = {"name": "data", "emptyDir": None, "persistentVolumeClaim": {"claimName": name}}
    host = placed.start_postgres(
        name, 17, spec={"securityContext": security, "affinity": rather_on(OTHER), "volumes": [volume]}
    )
    selector = f"app={name}"  # the first pod, which had no such volume, may still be ending
    wait_for(
        "the server is on node2",
        lambda: {p["spec"]["nodeName"] for p in cluster.pods(placed.namespace, selector)} == {OTHER},
    )
    yield host
    cluster.delete("Deployment", name, placed.namespace)
    cluster.delete("PersistentVolumeClaim", name, placed.namespace)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "command", "point"), MOMENTS)
def test_row_107_the_node_of_the_database_dies(
    moving_database: str, placed: Servers, cluster: Cluster, kind: str, command: str, point: str
) -> None:
    """It is out of service, and the server starts again on node1 with its volume. The operation completes, or fails
    and changes nothing; the application runs again; and the next operation completes."""
    with make_site(cluster, placed, storage_class="attached", postgres_host=moving_database) as site:
        site.patch_shop({"spec": on(HERE)})
        site.load(5)
        site.completed("Snapshot", site.snapshot("base"))
        set_marker(site, 3)
        name = begin(site, kind, point, 30)
        at_failpoint(site, running_pod(site, kind, name, command), point)
        lose(cluster, "kill")
        assert not site.accepts_connections()
        cluster.kubectl("taint", "node", OTHER, OUT_OF_SERVICE)
        obj = terminal_in_time(site, kind, name)
        wait_for("the server is back", site.accepts_connections, 180)
        if kind == "Rollback":
            old_or_new(site, obj)
        holds_all_promises(site)
        site.completed("Snapshot", site.snapshot(fresh("after")))


@pytest.mark.parametrize(("kind", "command", "point"), MOMENTS[:2])
def test_row_107_the_node_of_application_and_jobs_is_drained(
    placed: Servers, cluster: Cluster, kind: str, command: str, point: str
) -> None:
    """Application and Jobs are evicted and continue on node1, to which the claim is attached then."""
    with make_site(cluster, placed, storage_class="attached") as site:
        site.patch_shop({"spec": {"affinity": rather_on(OTHER)}})
        site.load(5)
        site.completed("Snapshot", site.snapshot("base"))
        set_marker(site, 3)
        name = begin(site, kind, point, 300)
        first = running_pod(site, kind, name, command)
        assert first["spec"]["nodeName"] == OTHER, "not on the node of the claim's user"
        at_failpoint(site, first, point)
        drain(cluster)
        obj = terminal_in_time(site, kind, name)
        assert is_true(obj, "Complete")
        assert obj["status"]["switchAttempt" if point == "switch-refused" else "attempt"] == 2
        if kind == "Rollback":
            old_or_new(site, obj)
        holds_all_promises(site)
        assert {p["spec"]["nodeName"] for p in cluster.pods(site.namespace, "app=shop")} == {HERE}


def downtime(obj: Object) -> float:
    """Seconds from the stop of the workloads until they were ready."""
    stopped, ready = (datetime.fromisoformat(obj["status"][name]) for name in ("quiescedAt", "readyAt"))
    return (ready - stopped).total_seconds()


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "seconds"),
    [
        pytest.param("operator-rollback-replicas-saved", 10, id="before-the-signal"),
        pytest.param("switch-refused", 20, id="in-the-switch"),
    ],
)
def test_row_107_a_drain_between_stop_and_resume_costs_the_start_of_one_job(
    placed: Servers, operator: Operator, cluster: Cluster, point: str, seconds: int
) -> None:
    """The switch Job is evicted; another one switches on node1. Beside the same rollback without a drain it takes at
    most 15 s more."""
    keep_here(operator)
    with make_site(cluster, placed, storage_class="attached") as site:
        site.patch_shop({"spec": {"affinity": rather_on(OTHER)}})
        site.load(5)
        site.completed("Snapshot", site.snapshot("base"))
        set_marker(site, 3)
        without = site.completed("Rollback", begin(site, "Rollback", point, seconds))
        set_marker(site, 3)
        name = begin(site, "Rollback", point, seconds)
        first = running_pod(site, "Rollback", name, "restore")
        assert first["spec"]["nodeName"] == OTHER, "not on the node of the claim's user"
        cluster.wait("Rollback", name, site.namespace, lambda o: "quiescedAt" in o["status"], 60, "stopping")
        if point == "switch-refused":
            at_failpoint(site, first, point)
        drain(cluster)
        obj = site.completed("Rollback", name)
        old_or_new(site, obj)
        assert obj["status"]["switchAttempt"] == 2
        assert downtime(obj) - downtime(without) <= 15
        holds_all_promises(site)
        assert {p["spec"]["nodeName"] for p in cluster.pods(site.namespace, "app=shop")} == {HERE}
