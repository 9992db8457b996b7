"""`kill -9` of PostgreSQL, of the node's kubelet and of the operator at every failpoint: the failpoint is held open,
the victim dies, the promises hold. (tests/e2e/test_faults.py kills the process that is at the failpoint.)

The others continue in the middle of it, with their connections, their pods' statuses or their logs lost.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import pytest

from ocore_crds.failpoints import REGISTRY
from support.cluster import node
from support.cluster.cluster import Cluster, Object, is_true, wait_for
from support.cluster.failpoints import held, held_open
from support.cluster.neutralising import ALWAYS, acting, is_neutralised, neutralising
from support.cluster.operator import NAMESPACE, Operator
from support.cluster.promises import (
    fresh,
    holds_all_promises,
    is_no_snapshot,
    marker,
    old_or_new,
    ready_only_on_the_live_one,
    set_marker,
    terminal_in_time,
)
from support.cluster.site import Servers, Site, make_site

pytestmark = [pytest.mark.exclusive, pytest.mark.long, pytest.mark.timeout(900)]

POSTGRES = "postgres-killed"
SNAPSHOT_POINTS = [n for n in REGISTRY if n.startswith(("snapshot-", "after-", "operator-snapshot-"))]
BACK_POINTS = [n for n in REGISTRY if n.startswith("switch-back-")]
DELETION_POINTS = ["delete-manifest-gone"]
UNDO_ONLY = [n for n in REGISTRY if n.startswith("operator-undo-")]
#: Those of a safety snapshot and of an image are in test_safety_and_image.py.
ASKED_ONLY = [n for n in REGISTRY if n.startswith(("operator-rollback-safety-", "operator-rollback-image-"))]
NEUTRALIZE_POINTS = [n for n in REGISTRY if n.startswith(("neutralize-", "operator-rollback-neutralized"))]
#: In test_extract.py.
EXTRACT_POINTS = [n for n in REGISTRY if n.startswith("extract-")]
#: In tests/unit/mover/store/test_copy_remote.py and tests/unit/operator/snapshot/test_plan_remote.py.
REMOTE_POINTS = [n for n in REGISTRY if n.startswith(("copy-remote-", "operator-remote-"))]
OTHERS = {
    *EXTRACT_POINTS,
    *REMOTE_POINTS,
    *SNAPSHOT_POINTS,
    *BACK_POINTS,
    *DELETION_POINTS,
    *UNDO_ONLY,
    *ASKED_ONLY,
    *NEUTRALIZE_POINTS,
}
ROLLBACK_POINTS = [n for n in REGISTRY if n not in OTHERS]
#: An undo renames as a switch back does.
UNDO_POINTS = [*UNDO_ONLY, *BACK_POINTS, "switch-ready", "switch-sessions-ended", "switch-done"]
PLAIN_POINTS = {"switch-filestore-moved"}


def each(points: list[str]) -> pytest.MarkDecorator:
    """Every failpoint with every victim; the operator that stands at a failpoint of its own is killed by
    test_faults.py."""
    victims = ("postgres", "kubelet", "operator")
    pairs = [(v, p) for p in points for v in victims if v != "operator" or not p.startswith("operator-")]
    return pytest.mark.parametrize(("victim", "point"), pairs)


class Sites:
    """A site of each layout on a PostgreSQL server of their own, made when a test first asks."""

    def __init__(self, cluster: Cluster, servers: Servers, stack: ExitStack) -> None:
        self._cluster, self._servers, self._stack = cluster, servers, stack
        self._host: str | None = None
        self._made: dict[str, Site] = {}

    def of(self, layout: Literal["Odoo", "Plain"]) -> Site:
        """The site, with some data and one snapshot, `base`."""
        if self._host is None:
            self._host = self._servers.start_postgres(POSTGRES, 17, respawn=True)
        if layout not in self._made:
            made = make_site(self._cluster, self._servers, layout=layout, postgres_host=self._host)
            site = self._stack.enter_context(made)
            site.load(9)
            site.completed("Snapshot", site.snapshot("base"))
            self._made[layout] = site
        return self._made[layout]


@pytest.fixture(scope="module")
def sites(cluster: Cluster, servers: Servers) -> Iterator[Sites]:
    with ExitStack() as stack:
        yield Sites(cluster, servers, stack)


@pytest.fixture
def site(sites: Sites, point: str) -> Site:
    """The site whose layout the failpoint is about."""
    return sites.of("Plain" if point in PLAIN_POINTS else "Odoo")


def kill_postgres(cluster: Cluster, servers: Servers) -> None:
    """The postmaster; its children follow it, and it is started again in its container."""
    (pod,) = cluster.pods(servers.namespace, f"app={POSTGRES}")
    node.signal(node.processes(pod, "^postgres -D"), "KILL")


def strike(site: Site, victim: str, point: str, name: str) -> None:
    """Waits until the failpoint is held open, and kills."""
    wait_for(f"{name} at {point}", lambda: held(site, point, name), 150)
    if victim == "postgres":
        kill_postgres(site.cluster, site.servers)
    elif victim == "operator":
        Operator(site.cluster).kill()
    else:
        node.kill_component("kubelet")


def snapshot_ends(site: Site, name: str) -> Object:
    """Terminal in time, and nothing partial is listed where it failed."""
    obj = terminal_in_time(site, "Snapshot", name)
    if not is_true(obj, "Complete"):
        is_no_snapshot(site, obj)
    return obj


@each(SNAPSHOT_POINTS)
def test_killed_in_a_snapshot(site: Site, victim: str, point: str) -> None:
    # A differential of files that did not change stores no pack.
    mode = "Full" if point == "snapshot-pack-stored" else "Auto"
    name = site.snapshot(fresh(point), annotations=held_open(point), deletionPolicy="Delete", filestoreMode=mode)
    strike(site, victim, point, name)
    obj = snapshot_ends(site, name)
    assert is_true(obj, "Complete"), obj["status"]
    holds_all_promises(site, timeout=180)


@each(DELETION_POINTS)
def test_killed_in_a_deletion(site: Site, victim: str, point: str) -> None:
    name = site.snapshot(fresh(point), annotations=held_open(point), deletionPolicy="Delete")
    site.completed("Snapshot", name)
    site.cluster.delete("Snapshot", name, site.namespace)
    strike(site, victim, point, name)
    site.cluster.wait_gone("Snapshot", name, site.namespace, 180)
    holds_all_promises(site, timeout=180)


@each(ROLLBACK_POINTS)
def test_row_17_killed_in_a_rollback(site: Site, victim: str, point: str) -> None:
    set_marker(site, 3)
    name = site.rollback(fresh(point), "base", annotations=held_open(point), undoWindowSeconds=0)
    strike(site, victim, point, name)
    obj = terminal_in_time(site, "Rollback", name)
    wait_for("live database accepts connections", site.accepts_connections, 60)
    old_or_new(site, obj)
    holds_all_promises(site, timeout=180)


@each(NEUTRALIZE_POINTS)
def test_row_17_killed_while_a_copy_is_neutralised(site: Site, victim: str, point: str) -> None:
    """Old and as it was, or new and neutralised."""
    set_marker(site, 3)
    with neutralising(site):
        name = site.rollback(fresh(point), "base", annotations=held_open(point), undoWindowSeconds=0, **ALWAYS)
        strike(site, victim, point, name)
        obj = terminal_in_time(site, "Rollback", name)
        wait_for("live database accepts connections", site.accepts_connections, 60)
        old_or_new(site, obj)
        if is_true(obj, "Complete"):
            is_neutralised(site)
        else:
            assert len(acting(site)) == 3
    holds_all_promises(site, timeout=180)


@each(UNDO_POINTS)
def test_row_17_killed_in_an_undo(site: Site, victim: str, point: str) -> None:
    set_marker(site, 3)
    back, undo = fresh("back"), fresh(point)
    site.rollback(back, "base", undoWindowSeconds=3600)
    site.completed("Rollback", back)
    site.undo(undo, back, annotations=held_open(point), undoWindowSeconds=3600)
    strike(site, victim, point, undo)
    obj = terminal_in_time(site, "Rollback", undo)
    wait_for("live database accepts connections", site.accepts_connections, 60)
    assert marker(site) == (3 if is_true(obj, "Complete") else 0), obj["status"]
    assert len(site.databases()) == 2
    for name in (undo, back):
        site.cluster.delete("Rollback", name, site.namespace)
        site.cluster.wait_gone("Rollback", name, site.namespace, 180)
    holds_all_promises(site, timeout=180)


@contextmanager
def not_ready_on_the_restored_one(site: Site) -> Iterator[None]:
    """The application does not come up on the restored database."""
    set_marker(site, 4)
    with ready_only_on_the_live_one(site):
        yield


@each(BACK_POINTS)
def test_row_17_killed_in_switching_back(site: Site, victim: str, point: str) -> None:
    with not_ready_on_the_restored_one(site):
        name = site.rollback(
            fresh(point), "base", annotations=held_open(point, 2), undoWindowSeconds=0, readyTimeoutSeconds=10
        )
        strike(site, victim, point, name)
        obj = terminal_in_time(site, "Rollback", name)
        assert not is_true(obj, "Complete"), obj["status"]
        wait_for("live database accepts connections", site.accepts_connections, 60)
        old_or_new(site, obj)
    holds_all_promises(site, timeout=180)


def test_the_servers_are_well(cluster: Cluster, servers: Servers, operator: Operator) -> None:
    """What the tests above killed serves everybody else."""
    operator.ready()
    assert cluster.pods(NAMESPACE, "app.kubernetes.io/component=operator")
    assert node.component("kubelet")
