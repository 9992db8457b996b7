"""`kill -9` at every failpoint, and the promises afterwards: old or new and never half, terminal in time, nothing left over.

One site serves all tests of a module: each leaves it whole, or the next one fails.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import pytest

from ocore_crds.failpoints import REGISTRY
from support.cluster import failpoints
from support.cluster.cluster import Cluster, TimedOutError, condition, is_true, wait_for
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
    "state-written",
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
#: Driven in test_differential.py.
OPERATOR_DIFFERENTIAL_POINTS = ("operator-snapshot-base-chosen", "operator-snapshot-base-entered")
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
#: Driven in test_remote_copy.py and test_restore_test.py.
REMOTE_POINTS = ("copy-remote-object", "copy-remote-objects", "copy-remote-manifest")
OPERATOR_REMOTE_POINTS = ("operator-remote-job-created", "operator-remote-release-recorded")
RESTORE_TEST_POINTS = ("test-restore-loaded",)
#: Driven in tests/unit/mover/store/test_contents.py: a store's Jobs arm no failpoint.
ORPHAN_POINTS = ("orphans-some-removed",)


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
        *OPERATOR_DIFFERENTIAL_POINTS,
        *OPERATOR_QUIESCE_POINTS,
        *OPERATOR_ROLLBACK_POINTS,
        *OPERATOR_SAFETY_POINTS,
        *OPERATOR_IMAGE_POINTS,
        *OPERATOR_UNDO_POINTS,
        *REMOTE_POINTS,
        *OPERATOR_REMOTE_POINTS,
        *RESTORE_TEST_POINTS,
        *ORPHAN_POINTS,
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


def in_turn(points: Sequence[str], at_most: int = 2) -> pytest.MarkDecorator:
    """Parametrizes a test with the points at which one operation dies, one after the other. A Job has three attempts: the third one must succeed."""
    groups = [tuple(points[i : i + at_most]) for i in range(0, len(points), at_most)]
    return pytest.mark.parametrize("points", groups, ids=["+".join(group) for group in groups])


def armed(*points: str) -> dict[str, str]:
    """Killed at the first point in the first attempt, at the next one in the next attempt."""
    return failpoints.armed(",".join(f"{point}=kill@{attempt}" for attempt, point in enumerate(points, 1)))


@in_turn(SNAPSHOT_POINTS)
def test_mover_killed_in_a_snapshot(site: Site, points: tuple[str, ...]) -> None:
    """Killed in each attempt but the last: that one completes it, or the manifest that was written counts."""
    # A differential of files that did not change would store no pack.
    mode = {"filestoreMode": "Full"} if "snapshot-pack-stored" in points else {}
    with Deaths(site.cluster, site.namespace) as deaths:
        name = site.snapshot(fresh(points[0]), annotations=armed(*points), deletionPolicy="Delete", **mode)
        obj = site.completed("Snapshot", name, 180)
        deaths.fired(obj, times=len(points))
    assert obj["status"]["attempt"] == len(points) + (0 if "after-manifest" in points else 1)
    holds_all_promises(site)


@in_turn(QUIESCE_POINTS)
def test_row_44_mover_killed_in_a_quiesce(site: Site, points: tuple[str, ...]) -> None:
    """The workloads start again each time, and another attempt completes it."""
    with Deaths(site.cluster, site.namespace) as deaths:
        name = site.snapshot(fresh(points[0]), annotations=armed(*points), deletionPolicy="Delete", quiesce=True)
        obj = site.completed("Snapshot", name, 200)
        deaths.fired(obj, times=len(points))
    assert obj["status"]["attempt"] == len(points) + 1
    assert obj["status"]["quiesce"]["stage"] == "Done"
    holds_all_promises(site)


def test_row_02_mover_killed_in_every_attempt(site: Site) -> None:
    """Killed again and again: Failed, said so, nothing left."""
    with Deaths(site.cluster, site.namespace) as deaths:
        name = site.snapshot(fresh("all"), annotations=everywhere("after-upload-before-manifest"))
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


@in_turn(RESTORE_POINTS)
def test_row_17_mover_killed_in_a_restore(site: Site, points: tuple[str, ...]) -> None:
    set_marker(site, 5)
    with Deaths(site.cluster, site.namespace) as deaths:
        obj = roll_back(site, fresh(points[0]), armed(*points))
        deaths.fired(obj, times=len(points))
    assert is_true(obj, "Complete"), obj["status"]
    old_or_new(site, obj)
    holds_all_promises(site)


@in_turn(NEUTRALIZE_POINTS)
def test_row_17_mover_killed_while_a_copy_is_neutralised(site: Site, points: tuple[str, ...]) -> None:
    """The next attempt neutralises the copy; it is never live before that."""
    set_marker(site, 5)
    with neutralising(site), Deaths(site.cluster, site.namespace) as deaths:
        obj = roll_back(site, fresh(points[0]), armed(*points), **ALWAYS)
        deaths.fired(obj, times=len(points))
    assert is_true(obj, "Complete"), obj["status"]
    assert obj["status"]["neutralizeAttempt"] == len(points) + 1
    old_or_new(site, obj)
    is_neutralised(site)
    holds_all_promises(site)


def killed_in_a_switch(site: Site, point: str) -> None:
    """Old or new, and said so."""
    set_marker(site, 6)
    with Deaths(site.cluster, site.namespace) as deaths:
        obj = roll_back(site, fresh(point), everywhere(point))
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
            obj = roll_back(site, name, everywhere(point) if point else {}, readyTimeoutSeconds=10)
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
        obj = roll_back(site, fresh("cleanup"), armed(point))
        assert is_true(obj, "Complete")
        holds_all_promises(site)
        deaths.fired(obj)


def everywhere(*points: str) -> dict[str, str]:
    """A mover is killed there in every attempt; the operator, which dies at a point once for each object, at every one of them."""
    return failpoints.armed(",".join(f"{point}=kill" for point in points))


@contextmanager
def operator_killed(operator: Operator, *points: str) -> Iterator[None]:
    """Fails where the operator did not die at each of these failpoints while this was open."""
    before, marks = operator.restarts(operator.pod()), {point: operator.fired(point) for point in points}
    yield
    problem = ""
    try:
        wait_for("operator restarted", lambda: operator.restarts(operator.pod()) >= before + len(points))
    except TimedOutError:
        problem = f"restarts: {operator.restarts(operator.pod()) - before} of {len(points)}. "
    silent = [point for point in points if operator.fired(point) <= marks[point]]
    assert not silent, f"{problem}did not fire: {silent}"
    assert not problem, problem


@in_turn(OPERATOR_SNAPSHOT_POINTS, 3)
def test_row_01_operator_killed_in_a_snapshot(site: Site, operator: Operator, points: tuple[str, ...]) -> None:
    with operator_killed(operator, *points):
        name = site.snapshot(fresh(points[0]), annotations=everywhere(*points), deletionPolicy="Delete")
        status = site.completed("Snapshot", name, 200)["status"]
    assert status["attempt"] == 1
    holds_all_promises(site)


@in_turn(OPERATOR_QUIESCE_POINTS, 3)
def test_row_44_operator_killed_in_a_quiesce(site: Site, operator: Operator, points: tuple[str, ...]) -> None:
    with operator_killed(operator, *points):
        name = site.snapshot(fresh(points[0]), annotations=everywhere(*points), deletionPolicy="Delete", quiesce=True)
        status = site.completed("Snapshot", name, 200)["status"]
    assert status["quiesce"]["stage"] == "Done"
    assert [w["replicas"] for w in status["quiesce"]["workloads"]] == [1]
    holds_all_promises(site)


@in_turn(OPERATOR_ROLLBACK_POINTS, 4)
def test_row_01_operator_killed_in_a_rollback(site: Site, operator: Operator, points: tuple[str, ...]) -> None:
    set_marker(site, 8)
    with operator_killed(operator, *points):
        obj = roll_back(site, fresh(points[0]), everywhere(*points))
        old_or_new(site, obj)
        assert is_true(obj, "Complete"), obj["status"]
        holds_all_promises(site)


@pytest.mark.parametrize("point", OPERATOR_NEUTRALIZE_POINTS)
def test_row_01_operator_killed_while_a_copy_is_neutralised(site: Site, operator: Operator, point: str) -> None:
    set_marker(site, 8)
    with neutralising(site), operator_killed(operator, point):
        obj = roll_back(site, fresh(point), armed(point), **ALWAYS)
        old_or_new(site, obj)
        assert is_true(obj, "Complete"), obj["status"]
    is_neutralised(site)
    holds_all_promises(site)


@in_turn(OPERATOR_UNDO_POINTS)
def test_row_01_operator_killed_in_an_undo(site: Site, operator: Operator, points: tuple[str, ...]) -> None:
    """Between the entry in the Environment and its own status: what is kept has one owner afterwards, and is dropped by it."""
    set_marker(site, 9)
    back, undo = fresh("back"), fresh("undo")
    site.rollback(back, "base", undoWindowSeconds=3600)
    site.completed("Rollback", back)
    with operator_killed(operator, *points):
        site.undo(undo, back, annotations=everywhere(*points), undoWindowSeconds=0)
        site.completed("Rollback", undo, 150)
    assert marker(site) == 9
    site.cluster.wait("Rollback", back, site.namespace, lambda o: o["status"].get("undoneBy") == undo, 60, "undone")
    holds_all_promises(site)


def test_operator_runs_in_its_namespace(cluster: Cluster, operator: Operator) -> None:
    """The tests above killed the operator that everybody uses: it must be well."""
    operator.ready()
    assert cluster.pods(NAMESPACE, "app.kubernetes.io/component=operator")
