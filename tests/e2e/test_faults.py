"""`kill -9` at every failpoint, and the promises afterwards: old or new and never half, terminal in time, nothing left
over.

One site of each layout serves all tests: each leaves it whole.
"""

from dataclasses import dataclass

import pytest

from ocore_crds.failpoints import REGISTRY
from support.cluster import failpoints
from support.cluster.cluster import Cluster, Object, is_true, wait_for
from support.cluster.deaths import Deaths
from support.cluster.kills import (
    CLEANUP_POINTS,
    DELETION_POINTS,
    EXTRACT_POINTS,
    NEUTRALIZE_POINTS,
    OPERATOR_DIFFERENTIAL_POINTS,
    OPERATOR_IMAGE_POINTS,
    OPERATOR_NEUTRALIZE_POINTS,
    OPERATOR_QUIESCE_POINTS,
    OPERATOR_REMOTE_POINTS,
    OPERATOR_ROLLBACK_POINTS,
    OPERATOR_SAFETY_POINTS,
    OPERATOR_SNAPSHOT_POINTS,
    OPERATOR_UNDO_POINTS,
    ORPHAN_POINTS,
    PLAIN_SWITCH_POINTS,
    QUIESCE_POINTS,
    REMOTE_POINTS,
    RESTORE_POINTS,
    RESTORE_TEST_POINTS,
    SCHEMA_POINTS,
    SNAPSHOT_POINTS,
    SWITCH_BACK_POINTS,
    SWITCH_POINTS,
    TABLE_POINTS,
    all_but_the_last_long,
    everywhere,
    in_turn,
    killed_in_each,
    killed_in_turn,
    operator_killed,
)
from support.cluster.neutralising import ALWAYS, acting, is_neutralised, neutralising
from support.cluster.operator import NAMESPACE, Operator
from support.cluster.promises import (
    fresh,
    holds_all_promises,
    marker,
    old_or_new,
    ready_only_on_the_live_one,
    roll_back,
    set_marker,
    terminal_in_time,
)
from support.cluster.site import Site, Sites

#: Orders before a full snapshot, so that the next one is a differential.
MANY = 60


def test_every_failpoint_is_driven() -> None:
    """A failpoint without a test would be a promise without proof."""
    driven = [
        *SNAPSHOT_POINTS,
        *QUIESCE_POINTS,
        *DELETION_POINTS,
        *EXTRACT_POINTS,
        *TABLE_POINTS,
        *SCHEMA_POINTS,
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


# What a kill leaves at each single point: tests/unit/mover/commands/test_snapshot_and_rollback.py.
@in_turn(SNAPSHOT_POINTS)
def test_mover_killed_in_a_snapshot(site: Site, points: tuple[str, ...]) -> None:
    """Killed in each attempt but the last: that one completes it, or the manifest that was written counts. The last one
    of them is deleted, and killed in that."""
    # A differential of files that did not change would store no pack.
    mode = {"filestoreMode": "Full"} if "snapshot-pack-stored" in points else {}
    with Deaths(site.cluster, site.namespace) as deaths:
        name = site.snapshot(fresh(points[0]), annotations=killed_in_turn(*points), deletionPolicy="Delete", **mode)
        obj = site.completed("Snapshot", name, 180)
        deaths.fired(obj, times=len(points))
        assert obj["status"]["attempt"] == len(points) + (0 if "after-manifest" in points else 1)
        if "after-manifest" in points:
            deleted_although_killed(site, name, deaths)
    holds_all_promises(site)


def deleted_although_killed(site: Site, name: str, deaths: Deaths) -> None:
    """The mover dies after the manifest is gone: the rest follows."""
    body = {"metadata": {"annotations": killed_in_turn(*DELETION_POINTS)}}
    site.cluster.patch("Snapshot", name, site.namespace, body)
    obj = site.completed("Snapshot", name)
    killed = deaths.times(obj)
    site.gone("Snapshot", name)
    deaths.fired(obj, times=killed + len(DELETION_POINTS))


@in_turn(QUIESCE_POINTS)
def test_row_44_mover_killed_in_a_quiesce(site: Site, points: tuple[str, ...]) -> None:
    """The workloads start again each time, and another attempt completes it."""
    with Deaths(site.cluster, site.namespace) as deaths:
        name = site.snapshot(
            fresh(points[0]), annotations=killed_in_turn(*points), deletionPolicy="Delete", quiesce=True
        )
        obj = site.completed("Snapshot", name, 200)
        deaths.fired(obj, times=len(points))
    assert obj["status"]["attempt"] == len(points) + 1
    assert obj["status"]["quiesce"]["stage"] == "Done"
    holds_all_promises(site)


#: Where the movers of three Rollbacks die, by command: twice in restores and in neutralising, whose third attempt must
#: succeed. The kubelet starts the container of a switch again, so that one Job dies at several points.
STAGES: tuple[dict[str, tuple[str, ...]], ...] = (
    {"restore": RESTORE_POINTS[:2], "neutralize": NEUTRALIZE_POINTS[:2], "switch": SWITCH_POINTS[:1]},
    {"restore": RESTORE_POINTS[4:], "neutralize": NEUTRALIZE_POINTS[4:], "switch": SWITCH_POINTS[1:2]},
    {
        "restore": RESTORE_POINTS[2:4],
        "neutralize": NEUTRALIZE_POINTS[2:4],
        "switch": SWITCH_POINTS[2:4],
        "cleanup": CLEANUP_POINTS,
    },
)
#: The last point of a switch, and those of the switch back that follows it.
BACK_STAGES = (*SWITCH_POINTS[4:], *SWITCH_BACK_POINTS)


def test_every_point_of_a_rollback_is_in_a_stage() -> None:
    """What the Rollbacks below share among them is all that a mover can die at."""
    driven = [point for stages in STAGES for points in stages.values() for point in points]
    points = (*RESTORE_POINTS, *NEUTRALIZE_POINTS, *SWITCH_POINTS, *SWITCH_BACK_POINTS, *CLEANUP_POINTS)
    assert sorted([*driven, *BACK_STAGES]) == sorted(points)


# What a kill leaves at each single point: test_snapshot_and_rollback.py, test_neutralize.py and test_switch.py below
# tests/unit/mover.
@pytest.mark.timeout(900)
@all_but_the_last_long("stages", {"+".join(stages["switch"]): stages for stages in STAGES})
def test_row_17_mover_killed_at_every_stage_of_a_rollback(site: Site, stages: dict[str, tuple[str, ...]]) -> None:
    """The next attempt restores and neutralises the copy, and it is never live before that. Old or new after the
    switch, and said so; new in any case where both databases were renamed."""
    set_marker(site, 5)
    with neutralising(site), Deaths(site.cluster, site.namespace) as deaths:
        name = fresh(stages["switch"][0])
        obj = roll_back(site, name, killed_in_each(stages), timeoutSeconds=900, **ALWAYS)
        old_or_new(site, obj)
        holds_all_promises(site)
        deaths.fired_in(obj, {command: len(points) for command, points in stages.items()})
    states = {s["name"]: s["state"] for s in obj["status"]["steps"]}
    assert (states["RestoreDatabase"], states["Neutralize"]) == ("Done", "Done"), obj["status"]
    assert obj["status"]["attempt"] == len(stages["restore"]) + 1
    assert obj["status"]["neutralizeAttempt"] == len(stages["neutralize"]) + 1
    assert is_true(obj, "Complete") or "switch-renamed" not in stages["switch"], obj["status"]
    if is_true(obj, "Complete"):
        is_neutralised(site)
    else:
        assert len(acting(site)) == 3


def test_row_17_mover_killed_in_switching_back(site: Site) -> None:
    """The application does not come up on the restored database: switched back, though the mover has died at the end of
    the switch, and at each point of the switch back."""
    set_marker(site, 7)
    done, *back = BACK_STAGES
    points = failpoints.armed(",".join([f"{done}=kill@1", *(f"{point}=kill" for point in back)]))
    with ready_only_on_the_live_one(site):
        with Deaths(site.cluster, site.namespace) as deaths:
            obj = roll_back(site, fresh("switch-back"), points, readyTimeoutSeconds=10)
            deaths.fired(obj, times=len(BACK_STAGES))
        assert is_true(obj, "Failed"), obj["status"]
        old_or_new(site, obj)
    holds_all_promises(site)


#: An operator that dies right after the signal to freeze finds the Snapshot beyond the next point: this one has a
#: Snapshot of its own.
SIGNALLED = ("operator-snapshot-signalled",)


@pytest.fixture(scope="module")
def differentials(sites: Sites, operator: Operator) -> list[Object]:
    """Two Snapshots at every step of which the operator was killed, Complete. They quiesce, and they are differentials:
    between the choice of the base and the Job the next operator continues with the same one."""
    site, full = sites.of(), fresh("full")
    site.load(31, MANY)
    site.completed("Snapshot", site.snapshot(full, filestoreMode="Full", deletionPolicy="Delete"))
    every = (*OPERATOR_SNAPSHOT_POINTS, *OPERATOR_DIFFERENTIAL_POINTS, *OPERATOR_QUIESCE_POINTS)
    found = []
    for points in (tuple(point for point in every if point not in SIGNALLED), SIGNALLED):
        with operator_killed(operator, *points):
            name = fresh("killed")
            site.snapshot(
                name, annotations=everywhere(*points), deletionPolicy="Delete", quiesce=True, timeoutSeconds=900
            )
            found.append(site.completed("Snapshot", name, 300))
        assert (found[-1]["status"]["fullFilestore"], found[-1]["status"]["base"]["name"]) == (False, full)
        assert dependents(site, full) == [name]
        holds_all_promises(site)
        site.gone("Snapshot", name)
        wait_for("nothing needs it any more", lambda: dependents(site, full) == [], 60)
    holds_all_promises(site)
    return found


def dependents(site: Site, name: str) -> list[str]:
    """The differentials that need that Snapshot."""
    found = site.cluster.get("Snapshot", name, site.namespace)
    assert found is not None
    return list(found["status"].get("dependents") or ())


@pytest.mark.exclusive
@pytest.mark.timeout(900)
def test_row_01_operator_killed_in_a_snapshot(differentials: list[Object]) -> None:
    assert [obj["status"]["attempt"] for obj in differentials] == [1, 1]


@pytest.mark.exclusive
@pytest.mark.timeout(900)
def test_row_44_operator_killed_in_a_quiesce(differentials: list[Object]) -> None:
    for quiesce in (obj["status"]["quiesce"] for obj in differentials):
        assert quiesce["stage"] == "Done"
        assert [w["replicas"] for w in quiesce["workloads"]] == [1]


@dataclass(frozen=True)
class Undone:
    """A Rollback of one Job that was switched, and its state after its undo."""

    switched: Object
    later: Object
    undo: str


@pytest.fixture(scope="module")
def undone(sites: Sites, operator: Operator) -> Undone:
    """The operator is killed at each step until the Job has its signal, and the Job once the databases are renamed. The
    undo is killed between the entry in the Environment and its own status."""
    site, undo = sites.of(), fresh("undo")
    set_marker(site, 4)
    points = OPERATOR_ROLLBACK_POINTS[:4]
    killed = failpoints.armed(",".join([*(f"{point}=kill" for point in points), "switch-renamed=kill@1"]))
    with Deaths(site.cluster, site.namespace) as deaths, operator_killed(operator, *points):
        back = site.rollback(fresh("one-job"), "base", annotations=killed, timeoutSeconds=900, undoWindowSeconds=3600)
        switched = terminal_in_time(site, "Rollback", back)
        deaths.fired_in(switched, {"restore": 1})
        old_or_new(site, switched)
    assert is_true(switched, "Complete"), switched["status"]
    with operator_killed(operator, *OPERATOR_UNDO_POINTS):
        site.undo(undo, back, annotations=everywhere(*OPERATOR_UNDO_POINTS), undoWindowSeconds=0)
        site.completed("Rollback", undo, 150)
    assert marker(site) == 4
    later = site.cluster.wait(
        "Rollback", back, site.namespace, lambda o: o["status"].get("residue") == "None", 60, "keeps nothing"
    )
    holds_all_promises(site)
    return Undone(switched, later, undo)


@pytest.mark.exclusive
@pytest.mark.timeout(900)
def test_row_142_one_job_restores_and_switches_whoever_is_killed(undone: Undone) -> None:
    """Nothing is restored again, and another Job says that it is switched."""
    assert (undone.switched["status"]["attempt"], undone.switched["status"]["switchAttempt"]) == (1, 2)


@pytest.mark.exclusive
@pytest.mark.timeout(900)
def test_row_01_operator_killed_in_an_undo(undone: Undone) -> None:
    """What is kept has one owner afterwards, and was dropped by it."""
    assert undone.later["status"]["undoneBy"] == undone.undo


def test_row_01_operator_killed_in_an_extract(site: Site, operator: Operator) -> None:
    """While its Job has the operation lock and writes into the claim, and right after it was deleted."""
    oldest = "SELECT store_fname FROM ir_attachment WHERE store_fname IS NOT NULL ORDER BY id LIMIT 1"  # `base` has it
    name, files = fresh("restored"), {"paths": [site.query(oldest)[0][0]]}
    held = failpoints.held_open("extract-written")
    site.extract(name, annotations=held, files=files, target={"claim": {"path": name}}, expiresAfterSeconds=3600)
    failpoints.at_failpoint(site, failpoints.running_pod(site, "Extract", name, "extract"), "extract-written")
    operator.kill()
    obj = site.completed("Extract", name)
    assert (obj["status"]["attempt"], obj["status"]["result"]["files"]) == (1, 1)
    holds_all_promises(site)
    site.cluster.delete("Extract", name, site.namespace)
    operator.kill()
    site.gone("Extract", name)
    assert site.in_shop("test", "-e", f"/claim/{name}")[0] == 1


def test_operator_runs_in_its_namespace(cluster: Cluster, operator: Operator) -> None:
    """The tests above killed the operator that everybody uses: it must be well."""
    operator.ready()
    assert cluster.pods(NAMESPACE, "app.kubernetes.io/component=operator")
