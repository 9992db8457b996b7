"""Conditions as kstatus reads them, and what is written to a status."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ocore_crds import conditions as c
from ocore_crds.resources.environment import EnvironmentStatus, Operation
from ocore_crds.resources.snapshot import Progress, SnapshotStatus
from ocore_operator import summarize
from ocore_operator.errors import Failed, Outcome, Stalled, Waiting
from ocore_operator.summarize import Stamp
from support.operator.objects import at, snapshot, started

ENDS = st.sampled_from(
    [
        Waiting(c.WAITING_FOR_OPERATION, "waits", 1),
        Stalled(c.DUPLICATE_ID, "stalls"),
        Failed(c.NO_SPACE, "failed"),
    ]
)


def types(status: Any) -> dict[str, str]:
    return {x.type: x.status for x in status.conditions}


def kstatus(status: SnapshotStatus, generation: int) -> str:
    """kstatus's generic rules. Source:
    https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md"""
    if status.observed_generation != generation:
        return "InProgress"
    found = types(status)
    if found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    return "Current" if found.get("Ready", "True") == "True" else "InProgress"


@given(st.lists(ENDS, max_size=5), st.booleans())
def test_kstatus_reads_every_state_right(ends: list[Outcome], well: bool) -> None:
    """Whatever came before, the last outcome decides, and the abnormal conditions contradict nothing."""
    status = SnapshotStatus()
    expected = "InProgress"
    for end in ends:
        status = summarize.outcome(status, end, Stamp(at(0), 3))
        expected = "InProgress" if isinstance(end, Waiting) else "Failed"
        assert kstatus(status, 3) == expected
    if well:
        status = summarize.complete(status, c.SUCCEEDED, "done", Stamp(at(1), 3))
        assert kstatus(status, 3) == "Current"
        assert types(status) == {"Complete": "True", "Ready": "True"}
    assert not ({"Reconciling", "Stalled"} <= set(types(status)))


def test_a_failure_is_an_end() -> None:
    status = summarize.outcome(SnapshotStatus(), Failed(c.NO_SPACE, "full"), Stamp(at(5), 1))
    assert status.phase == "Failed"
    assert status.completed_at == at(5)
    assert c.is_terminal(status.conditions)
    assert types(status) == {"Failed": "True", "Ready": "False", "Stalled": "True"}


def test_transition_times_move_with_the_status_only() -> None:
    status = summarize.running(SnapshotStatus(), c.PENDING, "one", Stamp(at(0), 1))
    status = summarize.running(status, c.RUNNING, "two", Stamp(at(9), 1))
    ready = c.find(status.conditions, c.READY)
    assert ready is not None
    assert (ready.last_transition_time, ready.reason) == (at(0), c.RUNNING)
    status = summarize.complete(status, c.SUCCEEDED, "", Stamp(at(20), 1))
    ready = c.find(status.conditions, c.READY)
    assert ready is not None
    assert ready.last_transition_time == at(20)


def test_the_end_shows_100_percent_and_nothing_before_does() -> None:
    running = SnapshotStatus(progress=Progress(step="Publish", percent=97, updated_at=at(0)))
    assert "progress" not in summarize.applied(running)
    done = summarize.complete(running, c.SUCCEEDED, "", Stamp(at(5), 1))
    assert summarize.applied(done)["progress"]["percent"] == 100
    failed = summarize.outcome(running, Failed(c.NO_SPACE, ""), Stamp(at(5), 1))
    assert summarize.applied(failed)["progress"]["percent"] == 97


def test_fields_of_other_managers_are_not_applied() -> None:
    operation = Operation(kind="Snapshot", name="a", uid="u", since=at(0))
    assert summarize.applied(EnvironmentStatus(operation=operation)) == {"observedGeneration": -1, "conditions": []}


def test_completed_at_is_written_once() -> None:
    obj = snapshot(status=started(completedAt=at(1)))
    status = summarize.complete(obj.status, c.SUCCEEDED, "", Stamp(at(50), 1))
    assert status.completed_at == at(1)
