"""Someone switches by hand in the undo window (docs/mover.md): the position is observed, not remembered (issue 9, item
26)."""

from dataclasses import replace

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import CleanupResult, Failure, SwitchResult
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.resources.snapshot import EvidenceStatus
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, Wait
from ocore_operator.rollback.conditions import summarized
from ocore_operator.rollback.plan_after_end import NOTICE_SECONDS, READ_POSITION_LIMIT_SECONDS, READ_POSITION_SECONDS
from ocore_operator.rollback.transitions import change, stamp
from ocore_operator.rollback.world import Do, JobView, RecordExecuted, StartJob
from support.operator.rollback_model import START
from support.operator.rollback_objects import conditions, time_at
from support.operator.terminal_rollback import FREE, LOCKED, WINDOW, complete, decide, recorded

OLD = SwitchResult(position="Old", live_database="shop")
NEW = SwitchResult(position="New", live_database="shop")


def inspected(status: RollbackStatus, payload: SwitchResult | None, failure: Failure | None = None) -> JobView:
    return JobView("inspect", status.inspect_attempt, "inspect-x", ended=True, payload=payload, failure=failure)


def test_the_position_is_read_at_intervals_in_the_undo_window() -> None:
    status = complete()
    assert decide(status, FREE, 10) == Idle(NOTICE_SECONDS)
    assert decide(status, FREE, READ_POSITION_SECONDS - 10) == Idle(10)
    begun = recorded(decide(status, FREE, READ_POSITION_SECONDS))
    # It changes nothing, so it needs no operation lock.
    assert decide(begun, FREE, READ_POSITION_SECONDS) == Do(StartJob("inspect-only", 1))
    running = replace(FREE, jobs=(JobView("inspect", 1, "inspect-x", pods=1),))
    assert isinstance(decide(begun, running, READ_POSITION_SECONDS + 1), Wait)
    same = recorded(decide(begun, replace(FREE, jobs=(inspected(begun, NEW),)), READ_POSITION_SECONDS + 5))
    assert (same.position, same.phase, same.undo_until) == ("New", "Complete", status.undo_until)
    assert same.position_read_at == stamp(time_at(READ_POSITION_SECONDS + 5))
    assert decide(same, FREE, 2 * READ_POSITION_SECONDS) == Idle(5)
    # Not longer than to the end of the window.
    late = change(same, position_read_at=stamp(time_at(WINDOW - 60)))
    assert decide(late, FREE, WINDOW - 50) == Idle(50)


def test_row_42_a_switch_back_by_hand_is_reported_and_what_was_live_is_kept() -> None:
    begun = recorded(decide(complete(), FREE, 3600))
    found = recorded(decide(begun, replace(FREE, jobs=(inspected(begun, OLD),)), 3605))
    assert (found.phase, found.position, found.residue) == ("SwitchedBack", "Old", "Pending")
    assert found.undo_until == stamp(time_at(3605 + WINDOW))
    said = conditions(found)
    assert said["Complete"][:2] == ("True", c.SWITCHED_BACK)
    assert said["Ready"][:2] == ("False", c.SWITCHED_BACK)
    # kstatus: Failed, not InProgress without an end.
    assert said["Stalled"][:2] == ("True", c.SWITCHED_BACK)
    assert "switched back by hand, or by a failover that lost the renames" in said["Ready"][2]
    assert said["SwitchedBackRetained"][0] == "True"
    assert "shop_rb_0a1b2c3d" in said["SwitchedBackRetained"][2]
    # The condition of before is gone.
    before = summarized(complete(), generation=1, deleting=False, reason="", message="", now=START)
    assert c.is_true(before.conditions, c.PREVIOUS_RETAINED)
    assert "PreviousRetained" not in conditions(found.model_copy(update={"conditions": before.conditions}))
    again = recorded(decide(found, FREE, 3605 + READ_POSITION_SECONDS))
    forward = recorded(decide(again, replace(FREE, jobs=(inspected(again, NEW),)), 9000))
    assert (forward.phase, forward.position, forward.undo_until) == ("Complete", "New", stamp(time_at(9000 + WINDOW)))
    assert "Stalled" not in conditions(forward)


@pytest.mark.parametrize("deleting", [False, True])
def test_row_42_it_is_read_again_before_anything_is_dropped(*, deleting: bool) -> None:
    """Deleting the Rollback after a switch back by hand left `_rb_` and `stage-` behind: the cleanup of the other one
    was refused."""
    world = replace(LOCKED, deleting=deleting)
    at = 60 if deleting else WINDOW + 1
    begun = recorded(decide(complete(), world, at))
    assert decide(begun, world, at) == Do(StartJob("inspect-only", 1))
    found = recorded(decide(begun, replace(world, jobs=(inspected(begun, OLD),)), at + 5))
    assert found.position == "Old"
    if not deleting:  # users may have written to it: kept for another window
        assert found.undo_until == stamp(time_at(at + 5 + WINDOW))
        at += WINDOW
    read = recorded(decide(found, world, at + 6))
    if not deleting:  # it is a whole window since it was read
        read = recorded(decide(read, replace(world, jobs=(inspected(read, OLD),)), at + 8))
    start = Do(StartJob("cleanup-restored", 1), before="operator-rollback-cleanup")
    assert decide(read, world, at + 8) == start
    job = JobView("cleanup", 1, "c", ended=True, payload=CleanupResult(databases_dropped=("shop_rb_0a1b2c3d",)))
    done = recorded(decide(read, replace(world, jobs=(job,)), at + 9))
    assert (done.residue, done.position) == ("None", "Old")
    assert decide(done, replace(FREE, deleting=deleting), at + 10) == Do(SetFinalizer(present=False))


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (
            155,
            (
                "155 files that the live database does not name are left in the filestore, and are on the application's"
                " checklist"
            ),
        ),
        (None, "could not be put on the application's checklist (read-only file system)"),
        (0, ""),
    ],
)
def test_row_69_left_over_files_are_in_the_evidence(listed: int | None, said: str) -> None:
    payload = CleanupResult(files_listed=listed, not_listed="" if listed is not None else "read-only file system")
    status = change(complete(), cleanup_attempt=1, position_read_at=stamp(time_at(WINDOW + 1)))
    job = JobView("cleanup", 1, "c", ended=True, payload=payload)
    done = recorded(decide(status, replace(LOCKED, jobs=(job,)), WINDOW + 2))
    assert done.residue == "None"
    before, evidence = status.evidence or EvidenceStatus(), done.evidence or EvidenceStatus()
    proven, warnings = (evidence.proven[len(before.proven) :], evidence.warnings[len(before.warnings) :])
    assert (len(proven), len(warnings)) == (1 if listed else 0, 1 if listed is None else 0)
    assert said in " ".join((*proven, *warnings))
    assert said in next(s.message for s in done.steps if s.name == "Cleanup")


def test_a_refused_cleanup_reads_the_position_before_the_next_attempt() -> None:
    """Someone switched between the read and the cleanup."""
    status = change(complete(), cleanup_attempt=1, inspect_attempt=1)
    failure = Failure(reason=c.SWITCH_FAILED, message="the position is Old: nothing was dropped")
    job = JobView("cleanup", 1, "c", ended=True, failure=failure)
    at = WINDOW + 10
    paused = recorded(decide(status, replace(LOCKED, jobs=(job,)), at))
    assert paused.cleanup_after is not None
    begun = recorded(decide(paused, LOCKED, at + 20))
    assert decide(begun, LOCKED, at + 20) == Do(StartJob("inspect-only", 2))
    found = recorded(decide(begun, replace(LOCKED, jobs=(inspected(begun, OLD),)), at + 22))
    assert found.position == "Old"


@pytest.mark.parametrize("job", ["failed", "late", "never created"])
def test_a_read_that_fails_delays_nothing(job: str) -> None:
    """The cleanup checks the position itself: nothing is dropped by a position that is not true."""
    begun = recorded(decide(complete(), LOCKED, WINDOW + 1))
    views = {
        "failed": (inspected(begun, None, Failure(reason=c.DATABASE_UNREACHABLE, message="no answer")),),
        "late": (JobView("inspect", begun.inspect_attempt, "inspect-x", pods=1),),
        "never created": (),
    }[job]
    at = WINDOW + 2 + READ_POSITION_LIMIT_SECONDS
    read = recorded(decide(begun, replace(LOCKED, jobs=views), at))
    assert (read.position, read.position_read_began) == ("New", None)
    assert decide(read, replace(LOCKED, jobs=views), at) == Do(
        StartJob("cleanup-previous", 1), before="operator-rollback-cleanup"
    )


def test_row_62_a_mismatch_is_reported_and_nothing_is_cleaned_up() -> None:
    """Someone renamed the databases, or a failover lost the renames, and the folder is the other one: the mover refuses
    to say Old or New."""
    failure = Failure(reason=c.MISMATCH, message="database and filestore do not fit: stop the workloads, then …")
    begun = recorded(decide(complete(), FREE, 3600))
    seen = decide(begun, replace(FREE, jobs=(inspected(begun, None, failure),)), 3605)
    status = recorded(seen)
    assert isinstance(seen, Record)
    assert [(n.type, n.reason, n.message) for n in seen.notes] == [("Warning", c.MISMATCH, failure.message)]
    cleanup = next(s for s in status.steps if s.name == "Cleanup")
    assert "do not fit" in cleanup.message
    assert (status.position, status.phase, status.residue) == ("New", "Complete", "Pending")
    # At the end of the window the cleanup's own refusal is repeated, and reported.
    begun = recorded(decide(status, LOCKED, WINDOW + 1))
    read = recorded(decide(begun, replace(LOCKED, jobs=(inspected(begun, None, failure),)), WINDOW + 5))
    refused = JobView("cleanup", 1, "c", ended=True, failure=failure)
    paused = recorded(decide(read, replace(LOCKED, jobs=(refused,)), WINDOW + 9))
    assert paused.residue == "Pending"
    assert paused.cleanup_after is not None
    # Fixed by hand before that.
    again = recorded(decide(status, FREE, 9000))
    right = recorded(decide(again, replace(FREE, jobs=(inspected(again, NEW),)), 9005))
    assert [s.message for s in right.steps if s.name == "Cleanup"] == [""]


def test_a_later_rollback_is_no_switch_by_hand() -> None:
    begun = recorded(decide(complete(), FREE, 3600))
    result = SwitchResult(position="New", superseded=True)
    back = change(begun, position="Old", phase="SwitchedBack", switched_back_at=stamp(START))
    for status in (begun, back):
        same = recorded(decide(status, replace(FREE, jobs=(inspected(status, result),)), 3605))
        assert (same.position, same.phase) == (status.position, status.phase)


def test_switched_forward_by_hand_after_a_failure() -> None:
    """The Environment remembers it, so that it does not run again; the previous database is what is kept then."""
    failed = change(
        complete(),
        phase="Failed",
        position="Old",
        switched_back_at=stamp(START),
        failure_reason=c.SWITCHED_BACK,
        failure_message="Not ready within 60 s.",
    )
    begun = recorded(decide(failed, FREE, 3600))
    seen = replace(FREE, jobs=(inspected(begun, NEW),))
    forgot = replace(seen, executed=False)
    assert decide(begun, forgot, 3605) == Do(RecordExecuted())
    found = recorded(decide(begun, seen, 3605))
    assert (found.phase, found.position) == ("Failed", "New")
    said = conditions(found)
    assert "switched by hand later: the environment runs on the snapshot" in said["Failed"][2]
    assert said["PreviousRetained"][0] == "True"
    assert "SwitchedBackRetained" not in said


def test_no_job_reads_what_nothing_depends_on() -> None:
    """Before a switch nothing is kept; without its Environment no Job can be built."""
    never = change(complete(), phase="Failed", position="Old", switched_at=None, undo_until=stamp(time_at(WINDOW)))
    assert decide(never, FREE, 3600) == Idle(WINDOW - 3600)
    assert decide(complete(), replace(FREE, environment=None), 3600) == Idle(WINDOW - 3600)


def test_a_position_that_was_found_a_moment_ago_is_not_read_again() -> None:
    """Without an undo window the cleanup follows at once. It refuses a position that does not fit; then it is read."""
    at_once = change(complete(), undo_until=stamp(START))
    begun = recorded(decide(at_once, LOCKED, 2))
    assert decide(begun, LOCKED, 2) == Do(StartJob("cleanup-previous", 1), before="operator-rollback-cleanup")
    later = recorded(decide(at_once, LOCKED, 31))
    assert decide(later, LOCKED, 31) == Do(StartJob("inspect-only", 1))


def test_a_refused_cleanup_reads_the_position_also_where_it_never_switched() -> None:
    """Someone switched forward by hand after the rollback was aborted."""
    status = change(complete(), phase="Failed", position="Old", switched_at=None, undo_until=None, cleanup_attempt=1)
    begun = recorded(decide(change(status, cleanup_after=stamp(time_at(10))), LOCKED, 40))
    assert decide(begun, LOCKED, 40) == Do(StartJob("inspect-only", 1))
    # The first attempt needs no read: nothing was kept.
    first = recorded(decide(change(status, cleanup_attempt=0), LOCKED, 40))
    assert decide(first, LOCKED, 40) == Do(StartJob("cleanup-restored", 1), before="operator-rollback-cleanup")
