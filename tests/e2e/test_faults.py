"""`kill -9` at every failpoint, and the promises afterwards: old or new and never half, terminal in time, nothing left over.

One site serves all tests of a module: each leaves it whole, or the next one fails.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import pytest

from ocore_crds.failpoints import REGISTRY
from support.cluster.cluster import Cluster, condition, is_true, wait_for
from support.cluster.deaths import Deaths
from support.cluster.neutralising import ALWAYS, is_neutralised, neutralising
from support.cluster.operator import NAMESPACE, Operator
from support.cluster.promises import (
    fresh,
    holds_all_promises,
    is_no_snapshot,
    marker,
    old_or_new,
    probe_for_marker,
    roll_back,
    set_marker,
)
from support.cluster.site import Servers, Site, make_site

#: Failpoints by the test that is killed there. Each of these tests fails where its failpoint does not fire.
SNAPSHOT_POINTS = (
    "snapshot-start",
    "snapshot-locked",
    "snapshot-frozen",
    "snapshot-dump-running",
    "snapshot-pack-stored",
    "after-upload-before-manifest",
    "after-manifest",
)
QUIESCE_POINTS = ("snapshot-waiting", "snapshot-may-resume")
DELETION_POINTS = ("delete-manifest-gone",)
RESTORE_POINTS = (
    "restore-start",
    "restore-hold-made",
    "restore-database-created",
    "restore-database-loaded",
    "restore-files-added",
    "restore-checked",
)
NEUTRALIZE_POINTS = (
    "neutralize-start",
    "neutralize-opened",
    "neutralize-applied",
    "neutralize-asserted",
    "neutralize-marked",
)
SWITCH_POINTS = ("switch-ready", "switch-refused", "switch-sessions-ended", "switch-renamed", "switch-done")
PLAIN_SWITCH_POINTS = ("switch-filestore-moved",)
SWITCH_BACK_POINTS = ("switch-back-refused", "switch-back-renamed")
CLEANUP_POINTS = ("cleanup-database-dropped",)
OPERATOR_SNAPSHOT_POINTS = (
    "operator-snapshot-started",
    "operator-snapshot-job-created",
    "operator-snapshot-result-seen",
)
OPERATOR_QUIESCE_POINTS = (
    "operator-snapshot-replicas-saved",
    "operator-snapshot-scaled-down",
    "operator-snapshot-signalled",
    "operator-snapshot-frozen",
    "operator-snapshot-resumed",
)
OPERATOR_ROLLBACK_POINTS = (
    "operator-rollback-restored",
    "operator-rollback-replicas-saved",
    "operator-rollback-scaled-down",
    "operator-rollback-signalled",
    "operator-rollback-switched",
    "operator-rollback-resumed",
    "operator-rollback-cleanup",
)
OPERATOR_NEUTRALIZE_POINTS = ("operator-rollback-neutralized",)
#: Driven in test_safety_and_image.py.
OPERATOR_SAFETY_POINTS = ("operator-rollback-safety-created", "operator-rollback-safety-complete")
OPERATOR_IMAGE_POINTS = ("operator-rollback-image-saved", "operator-rollback-image-set")
OPERATOR_UNDO_POINTS = ("operator-undo-taken-over", "operator-undo-settled")


def test_every_failpoint_is_driven() -> None:
    """A failpoint without a test would be a promise without proof."""
    driven = [
        *SNAPSHOT_POINTS,
        *QUIESCE_POINTS,
        *DELETION_POINTS,
        *RESTORE_POINTS,
        *NEUTRALIZE_POINTS,
        *OPERATOR_NEUTRALIZE_POINTS,
        *SWITCH_POINTS,
        *PLAIN_SWITCH_POINTS,
        *SWITCH_BACK_POINTS,
        *CLEANUP_POINTS,
        *OPERATOR_SNAPSHOT_POINTS,
        *OPERATOR_QUIESCE_POINTS,
        *OPERATOR_ROLLBACK_POINTS,
        *OPERATOR_SAFETY_POINTS,
        *OPERATOR_IMAGE_POINTS,
        *OPERATOR_UNDO_POINTS,
    ]
    assert sorted(driven) == sorted(REGISTRY)


@contextmanager
def made(cluster: Cluster, servers: Servers, layout: Literal["Odoo", "Plain"]) -> Iterator[Site]:
    """A site with some data and one snapshot, `base`."""
    with make_site(cluster, servers, layout=layout) as site:
        code, log = site.in_app("load", "--seconds", "3", "--writers", "2", "--seed", "3")
        assert code == 0, log
        site.completed("Snapshot", site.snapshot("base"))
        yield site


@pytest.fixture(scope="module")
def site(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """With the layout Odoo."""
    with made(cluster, servers, "Odoo") as site:
        yield site


@pytest.fixture(scope="module")
def plain_site(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """With the layout Plain."""
    with made(cluster, servers, "Plain") as site:
        yield site


def armed(point: str) -> dict[str, str]:
    """Killed there in the first attempt."""
    return {"ocore.dev/failpoints": f"{point}=kill@1"}


@pytest.mark.parametrize("point", SNAPSHOT_POINTS)
def test_mover_killed_in_a_snapshot(site: Site, point: str) -> None:
    """Killed in the first attempt: another attempt completes it, or the manifest that was written counts."""
    with Deaths(site.cluster, site.namespace) as deaths:
        name = site.snapshot(fresh(point), annotations=armed(point), deletionPolicy="Delete")
        obj = site.completed("Snapshot", name, 120)
        deaths.fired(obj)
    assert obj["status"]["attempt"] == (1 if point == "after-manifest" else 2)
    holds_all_promises(site)


@pytest.mark.parametrize("point", QUIESCE_POINTS)
def test_row_44_mover_killed_in_a_quiesce(site: Site, point: str) -> None:
    """The workloads start again, and another attempt completes it."""
    with Deaths(site.cluster, site.namespace) as deaths:
        name = site.snapshot(fresh(point), annotations=armed(point), deletionPolicy="Delete", quiesce=True)
        obj = site.completed("Snapshot", name, 150)
        deaths.fired(obj)
    assert obj["status"]["attempt"] == 2
    assert obj["status"]["quiesce"]["stage"] == "Done"
    holds_all_promises(site)


def test_row_02_mover_killed_in_every_attempt(site: Site) -> None:
    """Killed again and again: Failed, said so, nothing left."""
    with Deaths(site.cluster, site.namespace) as deaths:
        name = site.snapshot(fresh("all"), annotations={"ocore.dev/failpoints": "after-upload-before-manifest=kill"})
        obj = site.finished("Snapshot", name, 180)
        deaths.fired(obj, times=3)
    found = condition(obj, "Failed")
    assert found is not None
    assert found["reason"] in ("JobFailed", "JobLost")
    assert obj["status"]["attempt"] == 3
    is_no_snapshot(site, obj)
    holds_all_promises(site)


@pytest.mark.parametrize("point", DELETION_POINTS)
def test_mover_killed_in_a_deletion(site: Site, point: str) -> None:
    """Killed after the manifest is gone: the rest follows."""
    with Deaths(site.cluster, site.namespace) as deaths:
        name = site.snapshot(fresh("delete"), annotations=armed(point), deletionPolicy="Delete")
        obj = site.completed("Snapshot", name)
        site.cluster.delete("Snapshot", name, site.namespace)
        site.cluster.wait_gone("Snapshot", name, site.namespace, 120)
        deaths.fired(obj)
    holds_all_promises(site)


@pytest.mark.parametrize("point", RESTORE_POINTS)
def test_row_17_mover_killed_in_a_restore(site: Site, point: str) -> None:
    set_marker(site, 5)
    with Deaths(site.cluster, site.namespace) as deaths:
        obj = roll_back(site, fresh(point), f"{point}=kill@1")
        deaths.fired(obj)
    assert is_true(obj, "Complete"), obj["status"]
    old_or_new(site, obj)
    holds_all_promises(site)


@pytest.mark.parametrize("point", NEUTRALIZE_POINTS)
def test_row_17_mover_killed_while_a_copy_is_neutralised(site: Site, point: str) -> None:
    """The next attempt neutralises the copy; it is never live before that."""
    set_marker(site, 5)
    with neutralising(site), Deaths(site.cluster, site.namespace) as deaths:
        obj = roll_back(site, fresh(point), f"{point}=kill@1", **ALWAYS)
        deaths.fired(obj)
    assert is_true(obj, "Complete"), obj["status"]
    assert obj["status"]["neutralizeAttempt"] == 2
    old_or_new(site, obj)
    is_neutralised(site)
    holds_all_promises(site)


def killed_in_a_switch(site: Site, point: str) -> None:
    """Old or new, and said so."""
    set_marker(site, 6)
    with Deaths(site.cluster, site.namespace) as deaths:
        obj = roll_back(site, fresh(point), f"{point}=kill")
        deaths.fired(obj)
    old_or_new(site, obj)
    holds_all_promises(site)


@pytest.mark.parametrize("point", SWITCH_POINTS)
def test_row_17_mover_killed_in_a_switch(site: Site, point: str) -> None:
    killed_in_a_switch(site, point)


@pytest.mark.parametrize("point", PLAIN_SWITCH_POINTS)
def test_row_17_mover_killed_in_a_switch_of_a_plain_filestore(plain_site: Site, point: str) -> None:
    killed_in_a_switch(plain_site, point)


@pytest.mark.parametrize("point", ["", *SWITCH_BACK_POINTS])
def test_row_17_mover_killed_in_switching_back(site: Site, point: str) -> None:
    """The application does not come up on the restored database: switched back, whichever process dies."""
    set_marker(site, 7)
    probe_for_marker(site, "fault_marker")
    try:
        with Deaths(site.cluster, site.namespace) as deaths:
            name = fresh(point or "switch-back")
            obj = roll_back(site, name, f"{point}=kill" if point else "", readyTimeoutSeconds=10)
            if point:
                deaths.fired(obj)
        assert is_true(obj, "Failed"), obj["status"]
        old_or_new(site, obj)
    finally:
        probe_for_marker(site, "ir_attachment")
    holds_all_promises(site)


@pytest.mark.parametrize("point", CLEANUP_POINTS)
def test_mover_killed_in_the_cleanup(site: Site, point: str) -> None:
    with Deaths(site.cluster, site.namespace) as deaths:
        obj = roll_back(site, fresh("cleanup"), f"{point}=kill@1")
        assert is_true(obj, "Complete")
        holds_all_promises(site)
        deaths.fired(obj)


@contextmanager
def operator_killed(operator: Operator, point: str) -> Iterator[None]:
    """Fails where the operator did not die at that failpoint while this was open."""
    before, marks = operator.restarts(operator.pod()), operator.fired(point)
    yield
    wait_for("operator restarted", lambda: operator.restarts(operator.pod()) > before, 30)
    assert operator.fired(point) > marks, f"{point} did not fire"


@pytest.mark.parametrize("point", OPERATOR_SNAPSHOT_POINTS)
def test_row_01_operator_killed_in_a_snapshot(site: Site, operator: Operator, point: str) -> None:
    with operator_killed(operator, point):
        name = site.snapshot(fresh(point), annotations=armed(point), deletionPolicy="Delete")
        status = site.completed("Snapshot", name, 150)["status"]
    assert status["attempt"] == 1
    holds_all_promises(site)


@pytest.mark.parametrize("point", OPERATOR_QUIESCE_POINTS)
def test_row_44_operator_killed_in_a_quiesce(site: Site, operator: Operator, point: str) -> None:
    with operator_killed(operator, point):
        name = site.snapshot(fresh(point), annotations=armed(point), deletionPolicy="Delete", quiesce=True)
        status = site.completed("Snapshot", name, 150)["status"]
    assert status["quiesce"]["stage"] == "Done"
    assert [w["replicas"] for w in status["quiesce"]["workloads"]] == [1]
    holds_all_promises(site)


@pytest.mark.parametrize("point", OPERATOR_ROLLBACK_POINTS)
def test_row_01_operator_killed_in_a_rollback(site: Site, operator: Operator, point: str) -> None:
    set_marker(site, 8)
    with operator_killed(operator, point):
        obj = roll_back(site, fresh(point), f"{point}=kill@1")
        old_or_new(site, obj)
        assert is_true(obj, "Complete"), obj["status"]
        holds_all_promises(site)


@pytest.mark.parametrize("point", OPERATOR_NEUTRALIZE_POINTS)
def test_row_01_operator_killed_while_a_copy_is_neutralised(site: Site, operator: Operator, point: str) -> None:
    set_marker(site, 8)
    with neutralising(site), operator_killed(operator, point):
        obj = roll_back(site, fresh(point), f"{point}=kill@1", **ALWAYS)
        old_or_new(site, obj)
        assert is_true(obj, "Complete"), obj["status"]
    is_neutralised(site)
    holds_all_promises(site)


@pytest.mark.parametrize("point", OPERATOR_UNDO_POINTS)
def test_row_01_operator_killed_in_an_undo(site: Site, operator: Operator, point: str) -> None:
    """Between the entry in the Environment and its own status: what is kept has one owner afterwards, and is dropped by it."""
    set_marker(site, 9)
    back, undo = fresh("back"), fresh(point)
    site.rollback(back, "base", undoWindowSeconds=3600)
    site.completed("Rollback", back)
    with operator_killed(operator, point):
        site.undo(undo, back, annotations=armed(point), undoWindowSeconds=0)
        site.completed("Rollback", undo, 150)
    assert marker(site) == 9
    site.cluster.wait("Rollback", back, site.namespace, lambda o: o["status"].get("undoneBy") == undo, 60, "undone")
    holds_all_promises(site)


def test_operator_runs_in_its_namespace(cluster: Cluster, operator: Operator) -> None:
    """The tests above killed the operator that everybody uses: it must be well."""
    operator.ready()
    assert cluster.pods(NAMESPACE, "app.kubernetes.io/component=operator")
