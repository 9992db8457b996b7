"""Where movers and operators are killed: failpoints by the test that is killed there, and how a test arms them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from support.cluster import failpoints
from support.cluster.cluster import TimedOutError, wait_for
from support.cluster.operator import Operator

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
#: Driven in test_extract.py.
EXTRACT_POINTS = ("extract-written",)
TABLE_POINTS = ("extract-loaded",)
SCHEMA_POINTS = ("extract-visible",)
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
#: Driven in test_undo.py.
PLAIN_SWITCH_POINTS = ("switch-filestore-moved",)
SWITCH_BACK_POINTS = ("switch-back-refused", "switch-back-renamed")
CLEANUP_POINTS = ("cleanup-database-dropped",)
OPERATOR_SNAPSHOT_POINTS = (
    "operator-snapshot-started",
    "operator-snapshot-job-created",
    "operator-snapshot-result-seen",
)
OPERATOR_DIFFERENTIAL_POINTS = ("operator-snapshot-base-chosen", "operator-snapshot-base-entered")
OPERATOR_QUIESCE_POINTS = (
    "operator-snapshot-replicas-saved",
    "operator-snapshot-scaled-down",
    "operator-snapshot-signalled",
    "operator-snapshot-frozen",
    "operator-snapshot-resumed",
)
#: These and those of safety snapshots and images are driven in test_safety_and_image.py, too.
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
OPERATOR_SAFETY_POINTS = ("operator-rollback-safety-created", "operator-rollback-safety-complete")
OPERATOR_IMAGE_POINTS = ("operator-rollback-image-saved", "operator-rollback-image-set")
OPERATOR_UNDO_POINTS = ("operator-undo-taken-over", "operator-undo-settled")
#: Driven in test_remote_copy.py and test_restore_test.py.
REMOTE_POINTS = ("copy-remote-object", "copy-remote-objects", "copy-remote-manifest")
OPERATOR_REMOTE_POINTS = ("operator-remote-job-created", "operator-remote-release-recorded")
RESTORE_TEST_POINTS = ("test-restore-loaded",)
#: Driven in tests/unit/mover/store/test_contents.py: a store's Jobs arm no failpoint.
ORPHAN_POINTS = ("orphans-some-removed",)


def in_turn(points: Sequence[str]) -> pytest.MarkDecorator:
    """Parametrizes a test with the points at which one operation dies, one after the other. A Job has three attempts:
    the third one must succeed."""
    groups = [tuple(points[i : i + 2]) for i in range(0, len(points), 2)]
    return all_but_the_last_long("points", {"+".join(group): group for group in groups})


def all_but_the_last_long(name: str, values: Mapping[str, object]) -> pytest.MarkDecorator:
    """Parametrizes a test with values, by their ids. The last one runs in `make test`: what the operator does is the
    same wherever a mover dies, and what a death leaves at each point is shown in tests/unit/mover."""
    *others, (last, value) = values.items()
    long = [pytest.param(value, id=id_, marks=pytest.mark.long) for id_, value in others]
    return pytest.mark.parametrize(name, [*long, pytest.param(value, id=last)])


def killed_in_turn(*points: str) -> dict[str, str]:
    """Killed at the first point in the first attempt, at the next one in the next attempt."""
    return failpoints.armed(",".join(f"{point}=kill@{attempt}" for attempt, point in enumerate(points, 1)))


def killed_in_each(stages: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The same at the points of several commands, whose Jobs each count their attempts. The container of a switch is
    started again in the same attempt."""
    items = [
        f"{point}=kill@{1 if command == 'switch' else attempt}"
        for command, points in stages.items()
        for attempt, point in enumerate(points, 1)
    ]
    return failpoints.armed(",".join(items))


def everywhere(*points: str) -> dict[str, str]:
    """A mover is killed there in every attempt; the operator, which dies at a point once for each object, at every one
    of them."""
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
    if silent or problem:
        started = [(p["metadata"]["name"], p["metadata"]["creationTimestamp"]) for p in operator.pods()]
        raise AssertionError(f"{problem}did not fire: {silent}; pods: {started}; log: {operator.logs()}")
