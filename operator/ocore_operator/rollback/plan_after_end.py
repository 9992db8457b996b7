"""The plan after the end: the remaining cleanup of a terminal rollback. Pure.

- Failed before the switch: the restored copy is removed at once; the operation lock is still ours.
- Complete: the previous database and folders are removed when the undo window ends, or at once when the Rollback is
  deleted.
- Switched back: the same with the restored copy, because users may have written to it.
- Position unknown: the inspection is repeated until it succeeds, then one of the two.

The position is observed, not remembered: someone may switch by hand (docs/mover.md), and a failover may lose what the
switch has written. A Job reads it at intervals during the undo window, and before the cleanup that ends it. Where it
has changed, the window begins again, because what was live may have users' changes. Where the live database refuses
connections, as a replica may have seen it last, an inspection that repairs follows at once.

Each attempt takes the operation lock, runs its Jobs and records the result. A failed attempt is retried with a growing
pause, a limited number of times (the inspection without a limit), and the lock is released in between. When no cleanup
remains, the lock is released and the finalizer removed.

Where the Environment was deleted before, no lock exists: what the status remembers of it suffices for the Jobs, and
nothing is removed that another Environment uses by then.
"""

from datetime import datetime, timedelta

from ocore_crds import conditions as c
from ocore_crds.commands.table import CLEANUP
from ocore_crds.protocol import CleanupResult, Step, SwitchResult
from ocore_crds.resources import layouts
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_operator.clock import parse
from ocore_operator.frame.actions import Idle, Note, Record, SetFinalizer, SetLock, Wait
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.kube.resources import Environment
from ocore_operator.rollback import plan_undo
from ocore_operator.rollback.plan_switch import stop_jobs
from ocore_operator.rollback.snapshot_and_environment import probed_at
from ocore_operator.rollback.transitions import (
    change,
    cleaned,
    elapsed,
    enter,
    given_back,
    stamp,
    state_of,
    step,
    switched_by_hand,
)
from ocore_operator.rollback.world import (
    Action,
    Do,
    JobCommand,
    JobKind,
    JobView,
    RecordExecuted,
    ReportProbe,
    StartJob,
    World,
    until_ended,
)

#: Cleanup attempts of a rollback that is being deleted.
MAX_CLEANUPS_WHEN_DELETED = 3
#: Seconds for an attempt's Job from its creation to its end: its start deadline and its own.
CLEANUP_SECONDS = 600
#: Seconds of the pause after the first failed attempt; doubled each time.
CLEANUP_PAUSE_SECONDS = 15
#: Most seconds between two inspections of an unknown position. They end only with a result, or with the Environment:
#: until then the live database may refuse connections, and the inspect Job allows them again.
INSPECT_PAUSE_SECONDS = 300
#: Seconds between two reads of the position in the undo window: by default, and while the Environment's database cannot
#: be reached. And for the Job of one: its start deadline and its own.
READ_POSITION_SECONDS = 1800
READ_UNREACHABLE_SECONDS = 60
READ_POSITION_LIMIT_SECONDS = 360
#: Seconds after which an Environment whose database cannot be reached is noticed.
NOTICE_SECONDS = 300
#: Seconds after which a position counts as remembered, not as found.
FRESH_SECONDS = 30
#: Seconds until every Job must have ended; then it is deleted, with these seconds for its pod to go.
JOB_END_SECONDS = 30
JOB_GONE_SECONDS = 120


def after_end(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """The next action of the remaining cleanup. An imported rollback has none: it ran on another cluster, and its
    status is what a bucket says."""
    if status.imported is not None:
        return Do(SetFinalizer(present=False)) if world.finalizer else Idle()
    leftover = _running_jobs(status, world, now)
    if leftover is not None:
        return leftover
    taken = plan_undo.settle(status, spec, world, now) or plan_undo.while_taken_over(status, world, now)
    if taken is not None:
        return taken
    if status.residue == "Pending":
        due = _due(status, world, now)
        if due <= 0:
            return _clean_up(status, spec, world, now)
        if status.refuses_connections:
            return _allow_connections(status, spec, world, now)
        if world.lock.state == "Ours":
            return Do(SetLock(held=False))
        return _watch_position(status, spec, world, now, due)
    if world.lock.state == "Ours":
        return Do(SetLock(held=False))
    return Do(SetFinalizer(present=False)) if world.finalizer else Idle()


def _running_jobs(status: RollbackStatus, world: World, now: datetime) -> Action | None:
    """Waits for the end of Jobs that may still change something. Until then no cleanup begins and the lock is kept."""
    since = elapsed(status, world, now)
    live = world.live("restore", "switch")
    if status.position is None and not _begun(status):
        live += world.live("inspect")  # that of the stage Inspect: it repairs, as the next one does
    if not live or since > JOB_END_SECONDS + JOB_GONE_SECONDS:
        return None
    if since > JOB_END_SECONDS:
        return stop_jobs(live)
    return Wait(POLL, c.RUNNING, f"Waiting for the end of Job {live[0].name}.")


def _due(status: RollbackStatus, world: World, now: datetime) -> float:
    """Seconds until the next cleanup attempt; 0 or less: now."""
    times = cleanup_times(status.cleanup_after, status.cleanup_attempt, status.undo_until, deleting=world.deleting)
    return max(((parse(t) - now).total_seconds() for t in times), default=0.0)


def cleanup_times(after: str | None, attempt: int, undo_until: str | None, *, deleting: bool) -> tuple[str, ...]:
    """The times that must have passed before the next cleanup attempt: `after` of the status, the pause of a failed
    one; the undo window, for the first attempt of a Rollback that is not being deleted."""
    window = undo_until if attempt == 0 and not deleting else None
    return tuple(time for time in (after, window) if time)


def _watch_position(
    status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime, due_seconds: float
) -> Action:
    """Reads the position at intervals until the cleanup is due. Without the operation lock: the Job changes nothing."""
    if status.position_read_began is not None:
        return _read_position(status, spec, world, now)
    since, environment = status.position_read_at or status.completed_at, _environment(status, world)
    if status.switched_at is None or status.cleanup_attempt > 0 or environment is None or since is None:
        return Idle(due_seconds)
    ready = c.find(environment.status.conditions, c.READY)
    unreachable = ready is not None and ready.reason == c.DATABASE_UNREACHABLE
    interval = READ_UNREACHABLE_SECONDS if unreachable else READ_POSITION_SECONDS
    left = interval - (now - parse(since)).total_seconds()
    return Idle(min(left, due_seconds, NOTICE_SECONDS)) if left > 0 else Record(_begin_read(status, now))


def _allow_connections(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Puts right what a failover has left of the switch, under the operation lock. The inspection that does it reads
    the position, too; if it fails, the next read finds the same."""
    if _environment(status, world) is None:
        return Record(change(status, refuses_connections=False))
    lock = _lock(world, "The repair")
    if lock is not None:
        return lock
    if status.position_read_began is None:
        return Record(_begin_read(status, now))
    return _read_position(status, spec, world, now, command="inspect")


def _environment(status: RollbackStatus, world: World) -> Environment | None:
    """The Environment of the rollback; None where it was deleted, or replaced by another one of its name."""
    found = world.environment
    return found if found is not None and found.status.id == status.environment_id else None


def _begin_read(status: RollbackStatus, now: datetime) -> RollbackStatus:
    return change(status, position_read_began=stamp(now), inspect_attempt=status.inspect_attempt + 1)


def _read_position(
    status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime, *, command: JobCommand = "inspect-only"
) -> Action:
    """One read of the position. A read that fails changes nothing: a cleanup checks the position itself."""
    job = world.job("inspect", status.inspect_attempt)
    began = parse(status.position_read_began or stamp(now))
    late = (now - max(began, world.watched_since or began)).total_seconds() > READ_POSITION_LIMIT_SECONDS
    read = change(status, position_read_began=None, position_read_at=stamp(now), refuses_connections=False)
    probed = _probed(status, job, world)
    if probed is not None:
        return probed
    if job is not None and job.ended and isinstance(job.payload, SwitchResult):
        if state_of(read, Step.CLEANUP) == "Running" and read.cleanup_attempt == 0:
            read = step(read, Step.CLEANUP, "Pending", now)  # a Mismatch is over
        return _position_read(read, spec, job.payload, world, now)
    if job is not None and job.ended and job.failure is not None and job.failure.reason == c.MISMATCH:
        text = f"Nothing is removed while {job.failure.message}."
        mismatch = step(read, Step.CLEANUP, "Running", now, text)
        return Record(mismatch, (Note("Warning", c.MISMATCH, job.failure.message),))
    if late or (job is not None and job.ended):
        return Record(read)
    if job is None:
        return Do(StartJob(command, status.inspect_attempt))
    return until_ended(job, "reads the position from the databases' names.")


def _probed(status: RollbackStatus, job: JobView | None, world: World) -> Action | None:
    """Hands the Environment what the probe has found that followed in the Job; None where it has that, or it may be of
    another spec: the last probe is not of the present one, or is newer than the Job."""
    environment = _environment(status, world)
    probed = probed_at(environment) if environment is not None else None
    if job is None or job.probe is None or not job.created or probed is None:
        return None
    newer = world.probe_reported >= job.created or probed >= parse(job.created)
    return None if newer else Do(ReportProbe(job.probe, job.created))


def _position_read(
    status: RollbackStatus, spec: RollbackSpec, result: SwitchResult, world: World, now: datetime
) -> Action:
    if result.superseded:
        return Record(status)
    # The application runs: its folder is renamed only where a person says so.
    renamed = status.target is not None and status.target.layout in layouts.RENAMED
    if not result.accepting_connections and world.lock.state != "Ours" and not renamed:
        text = (
            "The live database refuses connections: a failover may have lost the end of the switch. An inspection"
            " allows them again."
        )
        return Record(change(status, refuses_connections=True), (Note("Warning", c.DATABASE_UNREACHABLE, text),))
    if result.position == status.position:
        return Record(status)
    environment = _environment(status, world)
    if result.position == "New" and environment is not None and not world.executed:
        return Do(RecordExecuted())
    runs_on = "the snapshot" if result.position == "New" else "its previous data"
    text = (
        "Switched by hand, or by a failover that lost the renames: by the databases' names, the environment runs on"
        f" {runs_on}."
    )
    by_hand = switched_by_hand(status, result.position, spec.undo_window_seconds, now)
    return Record(by_hand, (Note("Warning", "SwitchedByHand", text),))


def _command(status: RollbackStatus) -> JobCommand:
    if status.position is None:
        return "inspect"
    return "cleanup-previous" if status.position == "New" else "cleanup-restored"


def _clean_up(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    command = _command(status)
    job = world.job(*_job_of(status, command))
    begun = _begun(status)
    reading = begun and status.position_read_began is not None
    if begun and job is not None and not reading:
        return _result(status, spec, job, world, now)
    orphan = _environment(status, world) is None
    blocked = _blocked(status, world, now) if orphan else _lock(world, "Cleanup")
    if blocked is not None:
        return blocked
    if not begun:
        return Record(_begin_attempt(status, now))
    if reading:
        return _read_position(status, spec, world, now)
    if elapsed(status, world, now) > CLEANUP_SECONDS:
        return _failed(status, world.refusal or "its Job could not be started", world, now)
    return Do(StartJob(command, _job_of(status, command)[1]), before="operator-rollback-cleanup")


def _blocked(status: RollbackStatus, world: World, now: datetime) -> Action | None:
    """Why a rollback whose Environment was deleted removes nothing, or not now; None where it may. No lock protects
    it."""
    if status.position is None or status.target is None or status.jobs is None:
        return _give_up(status, "the Environment was deleted, and what it runs on is not known", now)
    if world.used_by:
        return _give_up(status, f"the Environment was deleted, and {world.used_by}", now)
    if world.under_way:
        return Wait(15, c.WAITING_FOR_OPERATION, f"Cleanup waits for Rollback {world.under_way}, which has not ended.")
    return None


def _lock(world: World, what: str) -> Action | None:
    """Takes the operation lock; None where it is ours."""
    if world.lock.state == "Other":
        text = f"{what} waits for {world.lock.holder}, which has locked the environment."
        return Wait(15, c.WAITING_FOR_OPERATION, text)
    return Do(SetLock(held=True)) if world.lock.state == "Free" else None


def _job_of(status: RollbackStatus, command: JobCommand) -> tuple[JobKind, int]:
    """Kind and number of the Job of the current attempt."""
    return ("inspect", status.inspect_attempt) if command == "inspect" else ("cleanup", status.cleanup_attempt)


def _begun(status: RollbackStatus) -> bool:
    """Whether an attempt runs."""
    return status.cleanup_attempt > 0 and status.cleanup_after is None


def _begin_attempt(status: RollbackStatus, now: datetime) -> RollbackStatus:
    """The next attempt. It reads the position first where it may have changed: after an undo window, or after a refused
    cleanup. Not where it was found a moment ago: the cleanup itself refuses a position that does not fit."""
    attempt = status.cleanup_attempt + 1
    fresh = enter(status, "Ended", now, cleanup_attempt=attempt, cleanup_after=None, refuses_connections=False)
    if status.position is None:
        return change(fresh, inspect_attempt=status.inspect_attempt + 1, position_read_began=None)
    found = max(filter(None, (status.position_read_at, status.completed_at)), default=None)
    old = found is None or (now - parse(found)).total_seconds() > FRESH_SECONDS
    kept = status.switched_at is not None and old
    return _begin_read(fresh, now) if kept or status.cleanup_attempt > 0 else fresh


def _result(status: RollbackStatus, spec: RollbackSpec, job: JobView, world: World, now: datetime) -> Action:
    """What to do with the attempt's Job. The lock was taken before the Job was created."""
    if job.ended and job.failure is None:
        return _probed(status, job, world) or _done(status, spec, job, world, now)
    if not job.ended and elapsed(status, world, now) <= CLEANUP_SECONDS:
        return until_ended(job, "is running.")
    if job.live and elapsed(status, world, now) <= CLEANUP_SECONDS + JOB_GONE_SECONDS:
        return stop_jobs((job,))
    why = f"{job.failure.reason}: {job.failure.message}" if job.failure else "it did not end in time"
    return _failed(status, why, world, now)


def _done(status: RollbackStatus, spec: RollbackSpec, job: JobView, world: World, now: datetime) -> Action:
    if isinstance(job.payload, SwitchResult):
        return _position_known(status, spec, job.payload, world, now)
    if not isinstance(job.payload, CleanupResult):
        return _failed(status, f"Job {job.name} ended without a result", world, now)
    what = ", ".join(job.payload.databases_dropped) or "no database"
    text = f"Dropped {what}, removed {len(job.payload.folders_removed)} folders."
    proven = warning = ""
    if job.payload.files_listed:
        proven = (
            f"{job.payload.files_listed} files that the live database does not name are left in the filestore, and are"
            " on the application's checklist: its garbage collection deletes those that no row names then"
        )
    elif job.payload.files_listed is None:
        warning = (
            "files that no row names may be left in the filestore: they could not be put on the application's"
            f" checklist ({job.payload.not_listed})"
        )
    text = " ".join(filter(None, (text, proven or warning)))
    return Record(cleaned(status, now, text, proven=proven, warning=warning), (Note("Normal", "CleanedUp", text),))


def _position_known(
    status: RollbackStatus, spec: RollbackSpec, result: SwitchResult, world: World, now: datetime
) -> Action:
    """The inspection has succeeded. The next cleanup is the one for this position."""
    text = f"{status.failure_message} A later inspection found the position {result.position}."
    known = change(status, position=result.position, failure_message=text, cleanup_attempt=0, cleanup_after=None)
    if result.position == "Old" and (status.switched_at is None or status.undo is not None):
        return Record(given_back(known), (Note("Normal", "Inspected", text),))
    until = stamp(now + timedelta(seconds=spec.undo_window_seconds))
    if result.position == "Old":
        back = change(known, undo_until=until, switched_back_at=status.switched_back_at or stamp(now))
        return Record(back, (Note("Warning", "Inspected", text),))
    environment = _environment(status, world)
    if environment is not None and not world.executed:
        return Do(RecordExecuted())
    return Record(change(known, undo_until=until, switched_at=stamp(now)), (Note("Warning", "Inspected", text),))


def _failed(status: RollbackStatus, why: str, world: World, now: datetime) -> Action:
    limit = _most_attempts(status, world)
    pause = CLEANUP_PAUSE_SECONDS * 2 ** min(status.cleanup_attempt - 1, CLEANUP.attempts)
    text = f"Cleanup attempt {status.cleanup_attempt} of {limit} failed ({why}). Retrying in {pause} s."
    if status.position is None:
        pause = min(pause, INSPECT_PAUSE_SECONDS)
        text = f"It is unknown what the environment runs on ({why}). Inspecting again in {pause} s."
    elif status.cleanup_attempt >= limit:
        return _give_up(status, f"{status.cleanup_attempt} attempts failed, the last one: {why}", now)
    fresh = change(status, cleanup_after=stamp(now + timedelta(seconds=pause)))
    return Record(step(fresh, Step.CLEANUP, "Running", now, text), (Note("Warning", "CleanupFailed", text),))


def _most_attempts(status: RollbackStatus, world: World) -> int:
    """Of a Rollback that is deleted after its Environment, one: Secret and claim are often deleted with them."""
    if not world.deleting:
        return CLEANUP.attempts
    return 1 if _environment(status, world) is None else MAX_CLEANUPS_WHEN_DELETED


def _give_up(status: RollbackStatus, why: str, now: datetime) -> Record[RollbackStatus]:
    text = f'Not removed: {why}. Remove it by hand: docs/guides/rollback-failed.md, "Repairs by hand".'
    fresh = step(change(status, residue="Unknown", cleanup_after=None), Step.CLEANUP, "Failed", now, text)
    return Record(fresh, (Note("Warning", "CleanupFailed", text),))
