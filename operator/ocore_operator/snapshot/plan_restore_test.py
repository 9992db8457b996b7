"""The plan of a terminal Snapshot's test restores: when its Job starts, stops, and what its end means. Pure.

A request is the slot of the SnapshotPolicy in the status, or an annotation (``ocore_crds.resources.restore_test``). Its
Jobs are named by it, so a slot runs once. A test holds no operation lock, so snapshots continue; a Rollback of the
environment ends it, and it begins again after that.
"""

from dataclasses import replace

from ocore_crds import conditions as c
from ocore_crds.commands.table import RESTORE_TEST
from ocore_crds.protocol import Failure, RestoreTestResult
from ocore_operator.errors import Outcome, Waiting
from ocore_operator.frame.actions import Idle, Record, StopJob
from ocore_operator.jobs.observing.attempts import STOP_PAUSE, Done, Due, Failed, Series, Waits
from ocore_operator.jobs.observing.outcome import POLL, finished, may_retry
from ocore_operator.snapshot import plan_after_end, restore_tests
from ocore_operator.snapshot.stopping import stop
from ocore_operator.snapshot.world import Action, Cascade, RestoreTest, StartRestoreTest, World

#: Seconds until an attempt is repeated that gave no verdict.
RETRY_PAUSE = 60.0
#: Attempts of a test that waits for another one on its server: twelve hours. Seconds between two: as many times the
#: first as there were, up to the second.
MAX_TURNS, TURN_PAUSES = 150, (30.0, 300.0)


def decide(world: World) -> Action:
    """The next action for a Snapshot that is terminal or is being deleted: a test restore comes after everything else,
    and waits while another Job of the Snapshot runs."""
    if world.snapshot.meta.deleted is not None:
        return _stop_for_deletion(world) or plan_after_end.decide(world)
    action, asked = plan_after_end.decide(world), world.restore_test
    if asked is None or world.refusal is not None or not isinstance(action, Idle):
        return action
    if action.status is not None:  # what the others report goes with what the test reports
        world = replace(world, snapshot=world.snapshot.with_status(action.status))
    test = _test(world, asked)
    if isinstance(test, StartRestoreTest) and _another_runs(world):
        return action
    if not isinstance(test, Idle):
        return test
    pauses = [seconds for seconds in (action.seconds, test.seconds) if seconds is not None]
    return Idle(min(pauses, default=None), test.status or action.status)


def refused(world: World, action: Action, refusal: Outcome) -> World:
    """The world in which the action could not be carried out. Nothing else of the Snapshot depends on a test."""
    if isinstance(action, StartRestoreTest) and world.restore_test is not None:
        return replace(world, restore_test=replace(world.restore_test, refusal=refusal))
    return replace(world, refusal=refusal)


def _refused(world: World, run: str, refusal: Outcome) -> Action:
    """The Job cannot be created now: wait for what it needs, or end the test without a verdict."""
    if isinstance(refusal, Waiting):
        status = restore_tests.pending(world.snapshot, refusal.reason, refusal.message, world.now)
        return Idle(refusal.after, status)
    failure = Failure(reason=refusal.reason, message=refusal.message)
    return Record(restore_tests.without_verdict(world.snapshot, run, failure, world.now))


def _another_runs(world: World) -> bool:
    """Whether a Job of the Snapshot that reads or writes its data has not ended."""
    return any(finished(job) is None for job in world.seen.jobs.values())


def _stop_for_deletion(world: World) -> Action | None:
    """Stops a test that runs, before its data is deleted; None: none does, or everything around the Snapshot is deleted
    anyway."""
    if world.cascade is not Cascade.NO:
        return None
    stopping = (stop(world, name) for name in world.seen.of_command(RESTORE_TEST.name))
    return next((action for action in stopping if action is not None), None)


def _test(world: World, test: RestoreTest) -> Action:
    snapshot, now = world.snapshot, world.now
    series = Series(RESTORE_TEST, snapshot.meta.uid, RestoreTestResult, "The test restore", f"{test.run}-")
    found = series.next(world.seen, now, _pause)
    if isinstance(found, Done):
        return Record(restore_tests.tested(snapshot, test.run, found.result, found.finished, now))
    newest = series.newest(world.seen)
    if newest and world.seen.stopping(series.job(newest)):
        return Idle(STOP_PAUSE)
    if test.rollback:
        if newest:
            return StopJob(series.job(newest))
        text = "A Rollback of the environment has started or waits. The test restore begins after it."
        return Idle(POLL, restore_tests.pending(snapshot, c.WAITING_FOR_OPERATION, text, now))
    match found:
        case Due() if test.refusal is not None:
            return _refused(world, test.run, test.refusal)
        case Due(number=number):
            return StartRestoreTest(test.run, number)
        case Waits(paused=True, reason=reason, message=message, seconds=left):
            message = message if reason == c.WAITING_FOR_OPERATION else f"Retrying: {message}"
            return Idle(left, restore_tests.pending(snapshot, reason, message, now))
        case Waits(seconds=left):
            reason, message = found.says(c.TESTING, "A Job restores the snapshot into a scratch database.")
            return Idle(left, restore_tests.pending(snapshot, reason, message, now))
        case Failed(failure=failure):
            return Record(restore_tests.without_verdict(snapshot, test.run, failure, now))


def _pause(failed: Failed) -> float | None:
    if failed.failure.reason != c.WAITING_FOR_OPERATION:
        return RETRY_PAUSE if may_retry(RESTORE_TEST, failed.failure, failed.number) else None
    shortest, longest = TURN_PAUSES
    return min(shortest * failed.number, longest) if failed.number < MAX_TURNS else None
