"""The plan after the end: whatever a terminal rollback still owes. Pure.

- Failed: the restored copy is removed at once, under the hold that is still ours.
- Complete: the previous database and folders are removed when the undo window is over, or at once when the Rollback is deleted.
- Position unknown: the databases' names are asked again until they tell, then one of the two.

Each is an errand: take the hold, run one Job, note the outcome; failed errands are repeated with a growing pause, a bounded number of
times (all but the question for the position), and the hold is released in between. Nothing owed: the hold is released and the finalizer removed.
"""

from datetime import datetime, timedelta

from ocore_crds import conditions as c
from ocore_crds.protocol import CleanupResult, Step, SwitchResult
from ocore_crds.rollback import RollbackSpec, RollbackStatus
from ocore_operator.clock import parse
from ocore_operator.rollback.transitions import change, cleaned, elapsed, enter, stamp, step
from ocore_operator.rollback.world import (
    AcquireLock,
    Action,
    Command,
    Do,
    JobView,
    Note,
    Record,
    RecordExecuted,
    ReleaseLock,
    RemoveFinalizer,
    Settled,
    StartJob,
    StopJob,
    Wait,
    World,
)

#: Errands of one rollback at most, and when it is being deleted.
MAX_ERRANDS = 8
MAX_ERRANDS_WHEN_DELETED = 3
#: Seconds that an errand's Job may take from its creation: its start deadline and its own.
ERRAND_SECONDS = 600
#: Seconds until the next errand after the first one failed; doubled each time.
ERRAND_PAUSE_SECONDS = 15
#: Seconds between two questions for an unknown position. They end only with an answer, or with the Environment: until then the live database
#: may refuse connections, and the answer's Job is what allows them again.
QUESTION_PAUSE_SECONDS = 300
#: Seconds in which the waiting switch Job must end by itself after `Finish`; then until its pod is gone.
JOB_END_SECONDS = 30
JOB_GONE_SECONDS = 120


def after_end(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """What is owed, in its order."""
    leftover = _running_jobs(status, world, now)
    if leftover is not None:
        return leftover
    if status.residue == "Pending":
        due = _due(status, world, now)
        if due <= 0:
            return _errand(status, spec, world, now)
        return Do(ReleaseLock()) if world.lock.state == "Ours" else Settled(due)
    if world.lock.state == "Ours":
        return Do(ReleaseLock())
    return Do(RemoveFinalizer()) if world.finalizer else Settled()


def _running_jobs(status: RollbackStatus, world: World, now: datetime) -> Action | None:
    """The switch Job ends by itself after `Finish`; nothing else begins, and nobody else gets in, before."""
    since = elapsed(status, world, now)
    live = world.live("restore", "switch")
    if not live or since > JOB_END_SECONDS + JOB_GONE_SECONDS:
        return None
    if since > JOB_END_SECONDS and not live[0].stopping:
        return Do(StopJob(live[0]))
    return Wait(1, c.RUNNING, f"Waits until Job {live[0].name} has ended.")


def _due(status: RollbackStatus, world: World, now: datetime) -> float:
    """Seconds until the next errand; 0 or less: now."""
    times = [status.cleanup_after]
    if status.position == "New" and not world.deleting and status.cleanup_attempt == 0:
        times.append(status.undo_until)
    return max(((parse(t) - now).total_seconds() for t in times if t), default=0.0)


def _command(status: RollbackStatus) -> Command:
    if status.position is None:
        return "inspect"
    return "cleanup-previous" if status.position == "New" else "cleanup-restored"


def _errand(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    command = _command(status)
    job = world.job("inspect" if command == "inspect" else "cleanup", status.cleanup_attempt)
    begun = status.cleanup_attempt > 0 and status.cleanup_after is None
    if begun and job is not None:
        return _outcome(status, spec, job, world, now)
    if world.environment is None or world.environment.id != status.environment_id:
        text = "The Environment is gone, so nobody knows the way to its database: remove what is left by hand."
        return _give_up(status, text, now)
    if world.lock.state == "Other":
        return Wait(15, c.WAITING_FOR_OPERATION, f"Cleaning up waits for {world.lock.holder}.")
    if world.lock.state == "Free":
        return Do(AcquireLock())
    if not begun:
        return Record(enter(status, "Ended", now, cleanup_attempt=status.cleanup_attempt + 1, cleanup_after=None))
    if elapsed(status, world, now) > ERRAND_SECONDS:
        return _failed(status, world.refusal or "its Job could not be started", world, now)
    return Do(StartJob(command, status.cleanup_attempt), before="operator-rollback-cleanup")


def _outcome(status: RollbackStatus, spec: RollbackSpec, job: JobView, world: World, now: datetime) -> Action:
    """Of the errand's Job, which has the hold since before it began."""
    if job.ended and job.failure is None:
        return _done(status, spec, job, world, now)
    if not job.ended and elapsed(status, world, now) <= ERRAND_SECONDS:
        return Wait(2, c.RUNNING, job.problem or f"Job {job.name} runs.")
    if job.live and elapsed(status, world, now) <= ERRAND_SECONDS + JOB_GONE_SECONDS:
        return Wait(1, c.RUNNING, f"Waits until Job {job.name} has stopped.") if job.stopping else Do(StopJob(job))
    why = f"{job.failure.reason}: {job.failure.message}" if job.failure else "it did not end in time"
    return _failed(status, why, world, now)


def _done(status: RollbackStatus, spec: RollbackSpec, job: JobView, world: World, now: datetime) -> Action:
    if isinstance(job.payload, SwitchResult):
        return _position_known(status, spec, job.payload, world, now)
    if not isinstance(job.payload, CleanupResult):
        return _failed(status, f"Job {job.name} ended without a result", world, now)
    what = ", ".join(job.payload.databases_dropped) or "no database"
    text = f"Dropped {what}, removed {len(job.payload.folders_removed)} folders."
    return Record(cleaned(status, now, text), (Note("Normal", "CleanedUp", text),))


def _position_known(
    status: RollbackStatus, spec: RollbackSpec, result: SwitchResult, world: World, now: datetime
) -> Action:
    """The databases answer again and say what the environment runs on; the next errand is the one that fits."""
    text = f"{status.failure_message} Later the databases' names said: {result.position}."
    known = change(status, position=result.position, failure_message=text, cleanup_attempt=0, cleanup_after=None)
    if result.position == "Old":
        return Record(known, (Note("Normal", "Inspected", text),))
    if world.environment is not None and not world.environment.executed:
        return Do(RecordExecuted())
    until = stamp(now + timedelta(seconds=spec.undo_window_seconds))
    return Record(change(known, undo_until=until, switched_at=stamp(now)), (Note("Warning", "Inspected", text),))


def _failed(status: RollbackStatus, why: str, world: World, now: datetime) -> Action:
    limit = MAX_ERRANDS_WHEN_DELETED if world.deleting else MAX_ERRANDS
    pause = ERRAND_PAUSE_SECONDS * 2 ** min(status.cleanup_attempt - 1, MAX_ERRANDS)
    text = f"Attempt {status.cleanup_attempt} of {limit} failed ({why}); tried again in {pause} s."
    if status.position is None:
        pause = min(pause, QUESTION_PAUSE_SECONDS)
        text = f"Nobody could tell what the environment runs on ({why}); asked again in {pause} s."
    elif status.cleanup_attempt >= limit:
        return _give_up(status, f"Tried {status.cleanup_attempt} times, last: {why}", now)
    fresh = change(status, cleanup_after=stamp(now + timedelta(seconds=pause)))
    return Record(step(fresh, Step.CLEANUP, "Running", now, text), (Note("Warning", "CleanupFailed", text),))


def _give_up(status: RollbackStatus, why: str, now: datetime) -> Record:
    text = f"Not removed: {why}. docs/rollback.md says how to remove it by hand."
    fresh = step(change(status, residue="Unknown", cleanup_after=None), Step.CLEANUP, "Failed", now, text)
    return Record(fresh, (Note("Warning", "CleanupFailed", text),))
