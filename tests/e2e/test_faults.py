"""`kill -9` at every failpoint, and the promises afterwards: old or new and never half, terminal in time, nothing left over.

One site serves all tests of a module: each leaves it whole, or the next one fails.
"""

from collections.abc import Iterator

import pytest
from _pytest.mark.structures import ParameterSet

from ocore_crds.failpoints import REGISTRY
from support.cluster.cluster import Cluster, condition, is_true
from support.cluster.operator import NAMESPACE, Operator
from support.cluster.promises import (
    fresh,
    holds_all_promises,
    is_no_snapshot,
    old_or_new,
    probe_for_marker,
    roll_back,
    set_marker,
)
from support.cluster.site import Servers, Site, make_site

SNAPSHOT_POINTS = [n for n in REGISTRY if n.startswith(("snapshot-", "after-"))]
RESTORE_POINTS = [n for n in REGISTRY if n.startswith("restore-")]
SWITCH_POINTS = [n for n in REGISTRY if n.startswith("switch-") and not n.startswith("switch-back-")]
SWITCH_BACK_POINTS = [n for n in REGISTRY if n.startswith("switch-back-")]
OPERATOR_SNAPSHOT_POINTS = [n for n in REGISTRY if n.startswith("operator-snapshot-")]
OPERATOR_ROLLBACK_POINTS = [n for n in REGISTRY if n.startswith("operator-rollback-")]

#: One or two of each phase run in `make test`, the others with --long.
SHORT = {
    "snapshot-frozen",
    "after-upload-before-manifest",
    "after-manifest",
    "restore-database-created",
    "restore-checked",
    "switch-refused",
    "switch-renamed",
    "switch-back-renamed",
    "operator-snapshot-job-created",
    "operator-rollback-scaled-down",
    "operator-rollback-signalled",
}


def each(points: list[str]) -> list[ParameterSet]:
    """All of them, those that are not SHORT marked `long`."""
    return [pytest.param(p, marks=[] if p in SHORT else [pytest.mark.long]) for p in points]


def test_every_failpoint_is_driven() -> None:
    """A failpoint without a test would be a promise without proof."""
    driven = {
        *SNAPSHOT_POINTS,
        *RESTORE_POINTS,
        *SWITCH_POINTS,
        *SWITCH_BACK_POINTS,
        *OPERATOR_SNAPSHOT_POINTS,
        *OPERATOR_ROLLBACK_POINTS,
        "cleanup-database-dropped",
        "delete-manifest-gone",
    }
    assert driven == set(REGISTRY)


@pytest.fixture(scope="module")
def site(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """A site with some data and one snapshot, `base`."""
    with make_site(cluster, servers) as site:
        code, log = site.in_app("load", "--seconds", "3", "--writers", "2", "--seed", "3")
        assert code == 0, log
        site.completed("Snapshot", site.snapshot("base"))
        yield site


@pytest.mark.parametrize("point", each(SNAPSHOT_POINTS))
def test_mover_killed_in_a_snapshot(site: Site, point: str) -> None:
    """Killed in the first attempt: another attempt completes it, or the manifest that was written counts."""
    name = site.snapshot(fresh(point), annotations={"ocore.dev/failpoints": f"{point}=kill@1"}, deletionPolicy="Delete")
    status = site.completed("Snapshot", name, 120)["status"]
    assert status["attempt"] == (1 if point == "after-manifest" else 2)
    holds_all_promises(site)


def test_row_02_mover_killed_in_every_attempt(site: Site) -> None:
    """Killed again and again: Failed, said so, nothing left."""
    name = site.snapshot(fresh("all"), annotations={"ocore.dev/failpoints": "after-upload-before-manifest=kill"})
    obj = site.finished("Snapshot", name, 180)
    found = condition(obj, "Failed")
    assert found is not None
    assert found["reason"] in ("JobFailed", "JobLost")
    assert obj["status"]["attempt"] == 3
    is_no_snapshot(site, obj)
    holds_all_promises(site)


def test_mover_killed_in_a_deletion(site: Site) -> None:
    """Killed after the manifest is gone: the rest follows."""
    name = site.snapshot(
        fresh("delete"),
        annotations={"ocore.dev/failpoints": "delete-manifest-gone=kill@1"},
        deletionPolicy="Delete",
    )
    site.completed("Snapshot", name)
    site.cluster.delete("Snapshot", name, site.namespace)
    site.cluster.wait_gone("Snapshot", name, site.namespace, 120)
    holds_all_promises(site)


@pytest.mark.parametrize("point", each(RESTORE_POINTS))
def test_row_17_mover_killed_in_a_restore(site: Site, point: str) -> None:
    set_marker(site, 5)
    obj = roll_back(site, fresh(point), f"{point}=kill@1")
    assert is_true(obj, "Complete"), obj["status"]
    old_or_new(site, obj)
    holds_all_promises(site)


@pytest.mark.parametrize("point", each(SWITCH_POINTS))
def test_row_17_mover_killed_in_a_switch(site: Site, point: str) -> None:
    set_marker(site, 6)
    obj = roll_back(site, fresh(point), f"{point}=kill")
    old_or_new(site, obj)
    holds_all_promises(site)


@pytest.mark.parametrize("point", ["", *each(SWITCH_BACK_POINTS)])
def test_row_17_mover_killed_in_switching_back(site: Site, point: str) -> None:
    """The application does not come up on the restored database: switched back, whichever process dies."""
    set_marker(site, 7)
    probe_for_marker(site, "fault_marker")
    try:
        name = fresh(point or "switch-back")
        obj = roll_back(site, name, f"{point}=kill" if point else "", readyTimeoutSeconds=10)
        assert is_true(obj, "Failed"), obj["status"]
        old_or_new(site, obj)
    finally:
        probe_for_marker(site, "ir_attachment")
    holds_all_promises(site)


def test_mover_killed_in_the_cleanup(site: Site) -> None:
    obj = roll_back(site, fresh("cleanup"), "cleanup-database-dropped=kill@1")
    assert is_true(obj, "Complete")
    holds_all_promises(site)


@pytest.fixture
def armed_operator(operator: Operator, request: pytest.FixtureRequest) -> Iterator[str]:
    """The operator with one failpoint that kills it once."""
    point = str(request.param)
    operator.set_env(f"OCORE_FAILPOINTS={point}=kill", "OCORE_FAILPOINT_MARKS=/tmp")
    yield point
    restarts = operator.pod()["status"]["containerStatuses"][0]["restartCount"]  # type: ignore[index]
    operator.set_env("OCORE_FAILPOINTS-", "OCORE_FAILPOINT_MARKS-")
    assert restarts >= 1, f"{point} was never reached"


@pytest.mark.parametrize("armed_operator", each(OPERATOR_SNAPSHOT_POINTS), indirect=True)
def test_row_01_operator_killed_in_a_snapshot(site: Site, armed_operator: str) -> None:
    name = site.snapshot(fresh(armed_operator), deletionPolicy="Delete")
    status = site.completed("Snapshot", name, 150)["status"]
    assert status["attempt"] == 1
    holds_all_promises(site)


@pytest.mark.parametrize("armed_operator", each(OPERATOR_ROLLBACK_POINTS), indirect=True)
def test_row_01_operator_killed_in_a_rollback(site: Site, armed_operator: str) -> None:
    set_marker(site, 8)
    obj = roll_back(site, fresh(armed_operator), "")
    old_or_new(site, obj)
    assert is_true(obj, "Complete"), obj["status"]
    holds_all_promises(site)


def test_operator_runs_in_its_namespace(cluster: Cluster, operator: Operator) -> None:
    """The tests above killed the operator that everybody uses: it must be well."""
    operator.ready()
    assert cluster.pods(NAMESPACE, "app.kubernetes.io/component=operator")
