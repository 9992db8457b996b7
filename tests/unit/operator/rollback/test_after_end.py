"""The cleanup of a terminal rollback drops databases: for which environment, under which lock, how often, and beside no
other Job."""

from dataclasses import replace

import pytest

from ocore_crds import conditions as c
from ocore_crds.commands import table
from ocore_crds.protocol import CleanupResult, Failure, ProbeResult, Step, SwitchResult
from ocore_crds.resources.rollback import RollbackStatus, RollbackTarget
from ocore_operator import clock
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, SetLock, Wait
from ocore_operator.rollback.plan_after_end import (
    CLEANUP_SECONDS,
    FRESH_SECONDS,
    INSPECT_PAUSE_SECONDS,
    JOB_END_SECONDS,
    JOB_GONE_SECONDS,
    MAX_CLEANUPS_WHEN_DELETED,
    NOTICE_SECONDS,
    READ_POSITION_LIMIT_SECONDS,
    READ_UNREACHABLE_SECONDS,
)
from ocore_operator.rollback.transitions import change, stamp, step
from ocore_operator.rollback.world import (
    Do,
    JobView,
    OperationLock,
    RecordExecuted,
    ReportProbe,
    StartJob,
    StopJob,
    World,
)
from support.operator.rollback_model import START
from support.operator.rollback_objects import time_at
from support.operator.rollback_seen import altered_environment
from support.operator.terminal_rollback import FREE, LOCKED, VIEW, WINDOW, complete, decide, recorded

CLEANUP = Do(StartJob("cleanup-previous", 1), before="operator-rollback-cleanup")
OTHERS = [None, altered_environment(VIEW, id="0"), altered_environment(VIEW, id="z")]


def cleaning(**changes: object) -> RollbackStatus:
    """In its first cleanup, whose attempt began at START."""
    return complete(**{"cleanup_attempt": 1, "undo_until": stamp(START)} | changes)


def failed(kind: str = "cleanup", attempt: int = 1) -> World:
    failure = Failure(reason=c.DATABASE_UNREACHABLE, message="no answer")
    job = JobView(kind, attempt, "j", ended=True, failure=failure)  # type: ignore[arg-type]  # one of two kinds
    return replace(LOCKED, jobs=(job,))


@pytest.mark.parametrize("view", OTHERS, ids=["deleted", "replaced", "replaced by a later one"])
def test_nothing_is_dropped_for_an_environment_that_was_replaced(view: object) -> None:
    """Another one of the same name may have another database server, with databases of the same names."""
    world = replace(LOCKED, environment=view)
    end = recorded(decide(cleaning(cleanup_attempt=0), world, 10))
    assert end.residue == "Unknown"
    assert "by hand" in next(s.message for s in end.steps if s.name == "Cleanup")
    assert recorded(decide(cleaning(), world, 10)).residue == "Unknown"


@pytest.mark.parametrize("view", OTHERS, ids=["deleted", "replaced", "replaced by a later one"])
def test_the_position_is_not_read_in_an_environment_that_was_replaced(view: object) -> None:
    assert decide(complete(), replace(FREE, environment=view), 3600) == Idle(WINDOW - 3600)


def test_nothing_is_dropped_without_the_lock() -> None:
    for status in (cleaning(cleanup_attempt=0), cleaning()):
        assert decide(status, FREE, 10) == Do(SetLock(held=True))
        other = replace(FREE, lock=OperationLock("Other", "Snapshot t", START))
        waits = decide(status, other, 10)
        assert isinstance(waits, Wait)
        assert "Snapshot t" in waits.message
    assert decide(cleaning(), LOCKED, 10) == CLEANUP


def test_the_lock_is_free_while_the_next_attempt_is_not_due() -> None:
    paused = cleaning(cleanup_after=stamp(time_at(30)))
    assert decide(paused, LOCKED, 29) == Do(SetLock(held=False))
    assert decide(paused, FREE, 29) == Idle(1)
    assert decide(paused, FREE, 30) == Do(SetLock(held=True))
    later = cleaning(cleanup_after=stamp(time_at(WINDOW)))
    assert decide(later, FREE, 7200) == Idle(WINDOW - 7200), "each attempt reads the position itself"
    assert decide(complete(undo_until=stamp(time_at(30))), FREE, 29) == Idle(1)
    assert decide(complete(undo_until=stamp(time_at(30))), FREE, 30) == Do(SetLock(held=True))


@pytest.mark.parametrize("kind", ["restore", "switch"])
def test_nothing_is_dropped_beside_a_job_that_still_acts(kind: str) -> None:
    job = JobView(kind, 1, "j", pods=1)  # type: ignore[arg-type]  # one of two kinds
    world, status = replace(LOCKED, jobs=(job,)), cleaning(cleanup_attempt=0)
    for seconds in (1, JOB_END_SECONDS):
        assert isinstance(decide(status, world, seconds), Wait)
    assert decide(status, world, JOB_END_SECONDS + 1) == Do(StopJob(job.name))
    stopping = replace(LOCKED, jobs=(replace(job, stopping=True),))
    assert isinstance(decide(status, stopping, JOB_END_SECONDS + JOB_GONE_SECONDS), Wait)
    # Its pod is on a node that is lost.
    assert isinstance(decide(status, stopping, JOB_END_SECONDS + JOB_GONE_SECONDS + 1), Record)


def test_attempts_have_longer_and_longer_pauses_and_an_end() -> None:
    pauses = []
    for attempt in range(1, table.CLEANUP.attempts):
        fresh = recorded(decide(cleaning(cleanup_attempt=attempt), failed(attempt=attempt), 0))
        assert fresh.residue == "Pending"
        assert fresh.cleanup_after is not None
        pauses.append(fresh.cleanup_after)
    assert pauses[:3] == [stamp(time_at(seconds)) for seconds in (15, 30, 60)]
    assert pauses == sorted(set(pauses))
    last = recorded(decide(cleaning(cleanup_attempt=table.CLEANUP.attempts), failed(attempt=table.CLEANUP.attempts), 0))
    assert (last.residue, last.cleanup_after) == ("Unknown", None)


def test_a_rollback_that_is_deleted_has_fewer_attempts() -> None:
    for attempt in range(1, MAX_CLEANUPS_WHEN_DELETED + 1):
        deleting = replace(failed(attempt=attempt), deleting=True)
        fresh = recorded(decide(cleaning(cleanup_attempt=attempt), deleting, 0))
        assert fresh.residue == ("Unknown" if attempt == MAX_CLEANUPS_WHEN_DELETED else "Pending")
    # It was deleted after more attempts than that.
    more = MAX_CLEANUPS_WHEN_DELETED + 2
    deleting = replace(failed(attempt=more), deleting=True)
    assert recorded(decide(cleaning(cleanup_attempt=more), deleting, 0)).residue == "Unknown"


@pytest.mark.parametrize("attempt", [1, table.CLEANUP.attempts, 40])
def test_an_unknown_position_is_inspected_until_it_is_known(attempt: int) -> None:
    """The database may refuse connections until then."""
    status = cleaning(position=None, cleanup_attempt=attempt, inspect_attempt=attempt)
    fresh = recorded(decide(status, failed("inspect", attempt), 0))
    assert fresh.residue == "Pending"
    pause = 15 if attempt == 1 else INSPECT_PAUSE_SECONDS
    assert fresh.cleanup_after == stamp(time_at(pause))
    begun = recorded(decide(fresh, LOCKED, pause))
    assert decide(begun, LOCKED, pause) == Do(StartJob("inspect", attempt + 1), before="operator-rollback-cleanup"), (
        "it repairs, as the stage Inspect does"
    )


def test_a_job_that_does_not_end_is_stopped_before_the_next_attempt() -> None:
    job = JobView("cleanup", 1, "j", pods=1)
    world = replace(LOCKED, jobs=(job,))
    waits = decide(cleaning(), world, CLEANUP_SECONDS)
    assert isinstance(waits, Wait)
    assert waits.message == "Job j is running."
    pending = replace(LOCKED, jobs=(replace(job, problem="Unschedulable."),))
    assert decide(cleaning(), pending, CLEANUP_SECONDS) == replace(waits, message="Unschedulable.")
    assert decide(cleaning(), world, CLEANUP_SECONDS + 1) == Do(StopJob(job.name))
    stopping = replace(LOCKED, jobs=(replace(job, stopping=True),))
    assert isinstance(decide(cleaning(), stopping, CLEANUP_SECONDS + JOB_GONE_SECONDS), Wait)
    assert recorded(decide(cleaning(), stopping, CLEANUP_SECONDS + JOB_GONE_SECONDS + 1)).cleanup_after is not None
    # It was refused by a quota all the time.
    assert decide(cleaning(), LOCKED, CLEANUP_SECONDS) == CLEANUP
    refused = replace(LOCKED, refusal="quota exceeded")
    late = recorded(decide(cleaning(), refused, CLEANUP_SECONDS + 1))
    assert "quota exceeded" in next(s.message for s in late.steps if s.name == "Cleanup")


def test_a_failed_job_whose_pod_still_runs_is_stopped_first() -> None:
    [job] = failed().jobs
    live = replace(job, pods=1)
    assert decide(cleaning(), replace(LOCKED, jobs=(live,)), 10) == Do(StopJob(live.name))


def test_a_cleanup_without_a_result_is_no_cleanup() -> None:
    silent = replace(LOCKED, jobs=(JobView("cleanup", 1, "j", ended=True),))
    again = recorded(decide(cleaning(), silent, 10))
    assert (again.residue, again.cleanup_after is not None) == ("Pending", True)
    done = replace(LOCKED, jobs=(JobView("cleanup", 1, "j", ended=True, payload=CleanupResult()),))
    end = decide(cleaning(), done, 10)
    assert recorded(end).residue == "None"
    assert "no database" in next(s.message for s in recorded(end).steps if s.name == "Cleanup")


def test_the_position_is_read_again_unless_it_was_found_a_moment_ago() -> None:
    due = complete(undo_until=stamp(START))
    assert recorded(decide(due, LOCKED, FRESH_SECONDS)).position_read_began is None
    assert recorded(decide(due, LOCKED, FRESH_SECONDS + 1)).position_read_began is not None
    read = change(due, position_read_at=stamp(time_at(500)))
    assert recorded(decide(read, LOCKED, 500 + FRESH_SECONDS)).position_read_began is None
    assert recorded(decide(read, LOCKED, 501 + FRESH_SECONDS)).position_read_began is not None
    unknown = change(due, completed_at=None)
    assert recorded(decide(unknown, LOCKED, 2)).position_read_began is not None


def test_a_read_counts_without_the_time_in_which_no_operator_ran() -> None:
    status = complete(position_read_began=stamp(START), inspect_attempt=1)
    running = replace(FREE, jobs=(JobView("inspect", 1, "i", pods=1),))
    waits = decide(status, running, READ_POSITION_LIMIT_SECONDS)
    assert isinstance(waits, Wait)
    assert waits.message.startswith("Job i reads the position")
    pending = replace(FREE, jobs=(JobView("inspect", 1, "i", pods=1, problem="Unschedulable."),))
    assert decide(status, pending, READ_POSITION_LIMIT_SECONDS) == replace(waits, message="Unschedulable.")
    assert recorded(decide(status, running, READ_POSITION_LIMIT_SECONDS + 1)).position_read_began is None
    restarted = replace(running, watched_since=time_at(100))
    assert isinstance(decide(status, restarted, 100 + READ_POSITION_LIMIT_SECONDS), Wait)
    assert recorded(decide(status, restarted, 101 + READ_POSITION_LIMIT_SECONDS)).position_read_began is None


def reading(status: RollbackStatus, accepting: bool, position: str = "New") -> World:
    """Its read of the position has ended."""
    result = SwitchResult.model_validate(
        {"position": position, "liveDatabase": "shop", "acceptingConnections": accepting}
    )
    return replace(FREE, jobs=(JobView("inspect", status.inspect_attempt, "i", ended=True, payload=result),))


def test_row_100_a_live_database_that_refuses_connections_is_repaired() -> None:
    """In the undo window of days, after a failover: under the lock, with a new Job, and what it finds counts."""
    status = complete(position_read_began=stamp(START), inspect_attempt=1)
    found = decide(status, reading(status, accepting=False), 5)
    assert isinstance(found, Record)
    assert [note.reason for note in found.notes] == [c.DATABASE_UNREACHABLE]
    refuses = found.status
    assert (refuses.refuses_connections, refuses.position) == (True, "New")
    other = replace(FREE, lock=OperationLock("Other", "Snapshot t", START))
    assert isinstance(decide(refuses, other, 6), Wait)
    assert decide(refuses, FREE, 6) == Do(SetLock(held=True))
    begun = recorded(decide(refuses, LOCKED, 7))
    assert begun.inspect_attempt == 2
    assert decide(begun, LOCKED, 7) == Do(StartJob("inspect", 2))
    repaired = replace(LOCKED, jobs=reading(begun, accepting=True, position="Old").jobs)
    after = recorded(decide(begun, repaired, 9))
    assert (after.refuses_connections, after.position) == (False, "Old")
    assert after.undo_until == stamp(time_at(9 + WINDOW)), "the window begins again"
    assert decide(after, LOCKED, 10) == Do(SetLock(held=False))


def test_a_repair_that_fails_is_repeated_by_the_next_read() -> None:
    refuses = complete(position_read_began=stamp(START), inspect_attempt=2, refuses_connections=True)
    failure = Failure(reason=c.DATABASE_UNREACHABLE, message="no answer")
    world = replace(LOCKED, jobs=(JobView("inspect", 2, "i", ended=True, failure=failure),))
    after = recorded(decide(refuses, world, 5))
    assert (after.refuses_connections, after.position_read_at) == (False, stamp(time_at(5)))
    gone = replace(LOCKED, environment=None)
    assert not recorded(decide(refuses, gone, 5)).refuses_connections


def test_the_folder_of_a_running_application_is_not_renamed_by_itself() -> None:
    target = RollbackTarget(database_secret_name="db", claim_name="files", path="shop", layout="Plain")
    status = complete(position_read_began=stamp(START), inspect_attempt=1, target=target)
    assert not recorded(decide(status, reading(status, accepting=False), 5)).refuses_connections


def test_the_position_is_read_soon_where_the_database_cannot_be_reached() -> None:
    away = replace(FREE, environment=altered_environment(VIEW, snapshot_not_ready_reason=c.DATABASE_UNREACHABLE))
    assert decide(complete(), away, READ_UNREACHABLE_SECONDS - 1) == Idle(1)
    assert recorded(decide(complete(), away, READ_UNREACHABLE_SECONDS)).position_read_began is not None
    assert decide(complete(), FREE, READ_UNREACHABLE_SECONDS) == Idle(NOTICE_SECONDS)


def test_an_inspection_that_finds_the_snapshot_live_keeps_the_previous_data() -> None:
    """The Environment remembers the rollback first, so that it does not run again."""
    payload = SwitchResult(position="New", live_database="shop")
    job = JobView("inspect", 1, "i", ended=True, payload=payload)
    status = cleaning(position=None, inspect_attempt=1, phase="Failed", switched_at=None, undo_until=None)
    found = replace(LOCKED, jobs=(job,))
    assert decide(status, replace(found, executed=False), 10) == Do(RecordExecuted())
    known = recorded(decide(status, found, 10))
    assert (known.position, known.undo_until, known.cleanup_attempt) == ("New", stamp(time_at(10 + WINDOW)), 0)
    assert known.switched_at == stamp(time_at(10))


@pytest.mark.parametrize("reason", [c.DATABASE_UNREACHABLE, c.SWITCH_FAILED])
def test_only_a_mismatch_is_reported_as_one(reason: str) -> None:
    job = JobView("inspect", 1, "i", ended=True, failure=Failure(reason=reason, message="no answer"))
    status = complete(position_read_began=stamp(START), inspect_attempt=1)
    read = decide(status, replace(FREE, jobs=(job,)), 5)
    assert isinstance(read, Record)
    assert (read.notes, read.status.steps) == ((), status.steps)


@pytest.mark.parametrize(("position", "runs_on"), [("Old", "its previous data"), ("New", "the snapshot")])
def test_what_the_environment_runs_on_after_a_switch_by_hand_is_an_event(position: str, runs_on: str) -> None:
    result = SwitchResult.model_validate({"position": position, "liveDatabase": "shop"})
    job = JobView("inspect", 1, "i", ended=True, payload=result)
    before = "New" if position == "Old" else "Old"
    status = complete(position_read_began=stamp(START), inspect_attempt=1, position=before)
    found = decide(status, replace(FREE, jobs=(job,)), 5)
    assert isinstance(found, Record)
    assert [(note.type, note.reason) for note in found.notes] == [("Warning", "SwitchedByHand")]
    assert found.notes[0].message.endswith(f"runs on {runs_on}.")
    forgot = replace(FREE, jobs=(job,), executed=False)
    assert (decide(status, forgot, 5) == Do(RecordExecuted())) == (position == "New")


@pytest.mark.parametrize("residue", ["None", "Unknown"])
def test_after_the_cleanup_or_its_last_attempt_nothing_is_left_to_do(residue: str) -> None:
    """Also not the cleanup: a person has been asked to do it."""
    done = cleaning(residue=residue)
    assert decide(done, LOCKED, 10) == Do(SetLock(held=False))
    other = replace(FREE, lock=OperationLock("Other", "Snapshot t", START))
    for world in (FREE, other):
        assert decide(done, world, 10) == Do(SetFinalizer(present=False))
        assert decide(done, replace(world, finalizer=False), 10) == Idle()


def test_the_lock_of_another_operation_is_left_alone() -> None:
    other = replace(FREE, lock=OperationLock("Other", "Snapshot t", START))
    assert decide(cleaning(cleanup_after=stamp(time_at(30))), other, 20) == Idle(10)
    assert decide(complete(position_read_at=stamp(START)), other, 20) == decide(complete(), FREE, 20)


def test_a_cleanup_that_has_begun_does_not_wait_for_the_undo_window() -> None:
    """The Rollback was being deleted, for example, and its Environment has no lock for it."""
    status = cleaning(cleanup_after=stamp(time_at(30)), undo_until=stamp(time_at(WINDOW)))
    assert decide(status, FREE, 20) == Idle(10)
    assert decide(status, FREE, 30) == Do(SetLock(held=True))


def test_a_read_of_the_position_in_an_attempt_leaves_the_step_running() -> None:
    begun = recorded(decide(cleaning(cleanup_after=stamp(time_at(30))), LOCKED, 30))
    text = "Cleanup attempt 1 of 8 failed."
    begun = step(begun, Step.CLEANUP, "Running", time_at(30), text)
    payload = SwitchResult(position="New", live_database="shop")
    job = JobView("inspect", begun.inspect_attempt, "i", ended=True, payload=payload)
    read = recorded(decide(begun, replace(LOCKED, jobs=(job,)), 31))
    assert [(s.state, s.message) for s in read.steps if s.name == "Cleanup"] == [("Running", text)]
    in_window = change(begun, cleanup_attempt=0, undo_until=stamp(time_at(WINDOW)))
    over = recorded(decide(in_window, replace(FREE, jobs=(job,)), 31))
    assert [s.state for s in over.steps if s.name == "Cleanup"] == ["Pending"], "a mismatch that is over"
    same = recorded(decide(change(in_window, steps=()), replace(FREE, jobs=(job,)), 31))
    assert same.steps == (), "there was none"


# --- a probe in the same Job ----------------------------------------------------------------------------------------


def text(seconds: float) -> str:
    return clock.text(time_at(seconds))


def probed(kind: str, *, probed_at: float | None = 5, reported: float | None = None) -> World:
    """Its Job was created at 10 and has ended, with what a probe has found. The last probe that the Environment has is
    of the present spec, and began at `probed_at`."""
    payload = CleanupResult() if kind == "cleanup" else SwitchResult(position="New")
    job = JobView(kind, 1, "j", ended=True, payload=payload, probe=ProbeResult(), created=text(10))  # type: ignore[arg-type]
    view = altered_environment(VIEW, probed_at=time_at(probed_at) if probed_at is not None else None)
    base = LOCKED if kind == "cleanup" else FREE
    return replace(base, environment=view, jobs=(job,), probe_reported=text(reported) if reported is not None else "")


REPORT = Do(ReportProbe(ProbeResult(), text(10)))
READING = complete(inspect_attempt=1, position_read_began=stamp(time_at(9)))


@pytest.mark.parametrize(("kind", "status"), [("cleanup", cleaning()), ("inspect", READING)])
def test_the_environment_gets_what_a_probe_in_the_job_has_found(kind: str, status: RollbackStatus) -> None:
    assert decide(status, probed(kind), 20) == REPORT
    for given in (probed(kind, reported=10), probed(kind, probed_at=10)):
        assert isinstance(decide(status, given, 20), Record), "once"
    assert decide(status, probed(kind, reported=9), 20) == REPORT


@pytest.mark.parametrize(("kind", "status"), [("cleanup", cleaning()), ("inspect", READING)])
def test_a_probe_that_may_be_of_an_earlier_spec_does_not_count(kind: str, status: RollbackStatus) -> None:
    """Without a probe of the present spec before the Job, the spec may have changed while it ran."""
    for given in (probed(kind, probed_at=None), probed(kind, probed_at=11)):
        assert isinstance(decide(status, given, 20), Record)


def test_an_environment_that_was_replaced_gets_no_probe_of_the_one_before() -> None:
    given = probed("cleanup")
    assert given.environment is not None
    other = replace(given, environment=altered_environment(given.environment, id="0"))
    assert decide(cleaning(), other, 20) != REPORT
