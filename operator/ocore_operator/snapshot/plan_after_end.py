"""The plan of a Snapshot that is terminal or is being deleted: leftovers, deletion of its data. Pure.

Every path of a deletion ends in bounded time, except for a pin and a legal hold, which only a person sets and removes,
and for a retention (Object Lock), which ends when the store says.
"""

from functools import partial

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.commands.table import DELETE, WRITE_STATE
from ocore_crds.protocol import DeleteResult, Failure, KeptVersions
from ocore_crds.resources.snapshot import KeptInStore, SnapshotStatus
from ocore_crds.text.quantity import human
from ocore_operator import clock, summarize
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.frame.actions import Idle, Note, Record
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing.attempts import Done, Due, Failed, Waits
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.jobs.observing.snapshot_jobs import Deletes, deletion
from ocore_operator.kube.resources import Snapshot
from ocore_operator.snapshot import plan_read_back, plan_remote, plan_state, transitions
from ocore_operator.snapshot.stopping import alone, stop
from ocore_operator.snapshot.world import (
    Action,
    Cascade,
    EndJobIdentity,
    GiveUp,
    LetGo,
    SetDependents,
    StartDelete,
    World,
)
from ocore_operator.summarize import Stamp

#: Seconds until a failed Job is retried: the first times, and later, so that a store that does not answer is not
#: overloaded.
RETRY_PAUSE = 2.0
DELETE_PAUSE = 30.0
#: Seconds until one of two copies is tried again that is kept for differentials without a Snapshot: a person must
#: delete them.
DEPENDENTS_PAUSE = 6 * 3600.0
#: Seconds that a running Job has to stop when its Snapshot is deleted. Its data is deleted after that in any case.
STOP_WITHIN = 60.0
#: Seconds after the end of a retention until the deletion is tried again; and between two attempts at least, whatever
#: the store's clock says.
AFTER_RETENTION = 5.0
RETENTION_PAUSE = 60.0
#: Seconds between two attempts while a legal hold keeps data.
LEGAL_HOLD_PAUSE = 3600.0
#: Longest pause before a retention ends, in seconds: timers of years are not needed.
LONGEST_PAUSE = 86400.0
#: Names of differentials in a message.
DEPENDENTS_SHOWN = 5
#: Why a store keeps a snapshot for others: differentials without a Snapshot need it, or another cluster has pinned it.
KEPT_BY_OTHERS = (c.HAS_DEPENDENTS, c.PINNED)
#: Why the data of an imported Snapshot stays.
NOT_TAKEN_OVER = "The Snapshot was imported, and its SnapshotStore has not taken over"
#: Reasons of Reconciling while the data is being deleted: its transition time is when that began.
REMOVING = (c.DELETING, c.JOB_PENDING, c.JOB_REFUSED, c.WAITING_FOR_JOB_SLOT, c.NODE_NOT_RESPONDING)


def decide(world: World) -> Action:
    """The next action. The Snapshot is terminal or is being deleted."""
    return alone(world, _decide(world))


def _decide(world: World) -> Action:
    snapshot = world.snapshot
    if snapshot.meta.deleted is not None:
        return _deletion(world)
    if world.corrupt_base:
        return Record(transitions.of_corrupt_base(snapshot, world.corrupt_base, world.now))
    if world.whole_base:
        return Record(
            transitions.of_whole_base(snapshot, world.whole_base, plan_read_back.next_attempt(world), world.now)
        )
    if world.dependents is not None and set(world.dependents) != set(snapshot.status.dependents):
        return SetDependents(world.dependents)
    if world.replaced:
        return EndJobIdentity()
    if snapshot.status.residue == "Pending":
        return _residue(world)
    state = plan_state.decide(world)
    if state is not None:
        return state
    copy = plan_remote.decide(world, partial(_delete_data, world))
    return copy.action if copy.action is not None else plan_remote.within(_after_copy(world), copy.wait)


def _after_copy(world: World) -> Action:
    """What is to do beside the remote copy."""
    snapshot, reading = world.snapshot, plan_read_back.decide(world)
    if reading is not None:
        return reading
    again = plan_state.seconds_left(world)
    return Idle(again, snapshot.status.model_copy(update={"observed_generation": snapshot.meta.generation}))


# --- deleting data ----------------------------------------------------------------------------------------------


def _delete_data(world: World, deletes: Deletes) -> StartDelete | Outcome | None:
    """None once a delete Job has succeeded; a Waiting while one runs or until the next one."""
    if _of_another_cluster(world.snapshot):
        return Waiting(c.RETAINED, NOT_TAKEN_OVER, LONGEST_PAUSE)
    if world.refusal is not None:
        return world.refusal
    found = deletion(world.snapshot, deletes).next(world.seen, world.now, partial(_delete_pause, deletes))
    match found:
        case Due(number=number):
            return StartDelete(number, deletes)
        case Done(result=DeleteResult(kept=kept), finished=ended, number=number):
            left = _seconds_until_retry(kept, ended or clock.text(world.now), world) if kept is not None else 0.0
            if kept is not None and left > 0:
                return Waiting(c.RETAINED_BY_STORE if kept.locked else c.DELETING, _kept_text(kept), left)
            return StartDelete(number + 1, deletes) if kept is not None else None
        case Waits(paused=False):
            return Waiting(*found.says(c.DELETING, "A Job deletes data from the store."), found.seconds)
        case Waits(reason=reason, message=message) if reason in KEPT_BY_OTHERS:
            return Stalled(reason, message)
        case Waits(message=message, seconds=left):
            return Waiting(c.DELETING, f"Data could not be deleted from the store: {message}", left)
        case Failed(failure=failure):
            return Stalled(failure.reason, failure.message)


def _delete_pause(deletes: Deletes, failed: Failed) -> float | None:
    """A person must delete what others need. In the Snapshot's own store the deletion is given up then."""
    if failed.failure.reason in KEPT_BY_OTHERS:
        return None if deletes in (Deletes.ALL, Deletes.LEFTOVERS) else DEPENDENTS_PAUSE
    return RETRY_PAUSE if failed.number < DELETE.attempts else DELETE_PAUSE


def _of_another_cluster(snapshot: Snapshot) -> bool:
    """Whether another cluster may own the data: a drill never deletes it, whatever people or rules do here."""
    imported = snapshot.status.imported
    return imported is not None and not imported.taken_over


def _seconds_until_retry(kept: KeptVersions, checked: str, world: World) -> float:
    """Seconds until the store may give up what it keeps; 0 or less: now. `checked`: when it refused."""
    pause = DELETE_PAUSE if not kept.locked else LEGAL_HOLD_PAUSE if kept.legal_hold else RETENTION_PAUSE
    due = clock.after(clock.parse(checked), pause)
    if kept.until is not None:
        due = max(due, clock.after(clock.parse(kept.until), AFTER_RETENTION))
    return (due - world.now).total_seconds()


def _kept_text(kept: KeptVersions) -> str:
    what = "older versions"
    if kept.versions is not None:
        what = f"{kept.versions} version{'s' if kept.versions != 1 else ''} ({human(kept.bytes)})"
    if not kept.locked:
        return (
            f"The bucket has versioning, and {what} of the deleted objects remain. Allow the credentials to list and"
            " delete versions."
        )
    why = [f"their retention until {kept.until}"] if kept.until is not None else []
    why += ["a legal hold, until it is removed"] if kept.legal_hold else []
    return f"The store keeps {what} of the deleted objects because of {' and '.join(why)} (Object Lock)."


# --- leftovers -------------------------------------------------------------------------------------------------


def _residue(world: World) -> Action:
    """Deletes the leftovers of failed attempts: everything, where the Snapshot is Failed."""
    snapshot = world.snapshot
    stopping = _stop_attempt(world)
    if stopping is not None:
        return stopping
    attempts_only = c.is_true(snapshot.status.conditions, c.COMPLETE)
    step = _delete_data(world, Deletes.LEFTOVERS if attempts_only else Deletes.ALL)
    if isinstance(step, StartDelete):
        return step
    if step is None:
        return Record(_with_residue(snapshot, "None"))
    # Not completedAt: that of an adopted snapshot is older than its adoption.
    ended = c.find(snapshot.status.conditions, c.COMPLETE if attempts_only else c.FAILED)
    since_end = clock.seconds_since(
        ended.last_transition_time if ended is not None else snapshot.meta.created, world.now
    )
    if since_end < world.settings.cleanup_timeout:
        pause = step.after if isinstance(step, Waiting) else DELETE_PAUSE
        return Idle(min(pause, world.settings.cleanup_timeout - since_end))
    note = Note("Warning", "ResidueLeft", f"{location(snapshot)} may hold leftovers: {step.message}")
    return Record(_with_residue(snapshot, "Unknown"), (note,))


def _stop_attempt(world: World) -> Action | None:
    """Stops the last attempt's Job."""
    name = world.snapshot.status.job_name
    return stop(world, name) if name is not None else None


def _with_residue(snapshot: Snapshot, residue: str) -> SnapshotStatus:
    update = {"residue": residue, "observed_generation": snapshot.meta.generation}
    return snapshot.status.model_copy(update=update)


# --- deletion --------------------------------------------------------------------------------------------------


def _deletion(world: World) -> Action:
    """The finalizer's work."""
    snapshot = world.snapshot
    if naming.FINALIZER_DATA not in snapshot.meta.finalizers:
        return Idle()
    if world.cascade is not Cascade.NO:
        return LetGo(_retained(snapshot, world.cascade.value) if _has_data(snapshot) else None, cascade=True)
    if not world.terminal:
        return _cancel(world)
    return _remove(world)


def _has_data(snapshot: Snapshot) -> bool:
    """Whether the store holds data of the Snapshot, or may."""
    return snapshot.status.manifest_key is not None or snapshot.status.residue in ("Pending", "Unknown")


def _has_copy(snapshot: Snapshot) -> bool:
    """Whether the remote store holds a copy, or a part of one."""
    return snapshot.status.remote is not None and snapshot.status.remote.attempts > 0


def _cancel(world: World) -> Action:
    """It was deleted while running: its Job is stopped, then it is Failed, and what it stored is deleted as for any
    that failed."""
    snapshot = world.snapshot
    name = snapshot.status.job_name or job_name("snapshot", snapshot.meta.uid, max(snapshot.status.attempt, 1))
    since = clock.seconds_since(snapshot.meta.deleted or snapshot.meta.created, world.now)
    stopping = stop(world, name) if since < STOP_WITHIN else None
    if stopping is not None:
        return stopping
    stored = snapshot.status.attempt > 1 or snapshot.status.job_name is not None or name in world.seen.jobs
    return GiveUp(Failure(reason=c.CANCELLED, message="The Snapshot was deleted before it was complete."), stored)


def _remove(world: World) -> Action:
    """Deletes the data or keeps it, as spec.deletionPolicy says."""
    snapshot = world.snapshot
    complete = c.is_true(snapshot.status.conditions, c.COMPLETE)
    if complete and snapshot.spec.pin is not None:
        message = "The Snapshot is pinned and is not deleted. Remove spec.pin to continue the deletion."
        return Idle(None, _deleting(world, Stalled(c.PINNED, message)))
    if world.used_by:
        message = f"{world.used_by} reads this Snapshot. The deletion continues after that has ended."
        return Idle(POLL, _deleting(world, Waiting(c.IN_USE, message, POLL)))
    if world.dependents is not None and set(world.dependents) != set(snapshot.status.dependents):
        return SetDependents(world.dependents)
    if world.dependents:
        return _has_dependents(world, world.dependents)
    if complete and snapshot.spec.deletion_policy == "Retain":
        return LetGo(_retained(snapshot, "deletionPolicy Retain"))
    if _of_another_cluster(snapshot):
        return LetGo(_retained(snapshot, NOT_TAKEN_OVER))
    if not _has_data(snapshot):
        return LetGo()
    stopping = plan_remote.stop_attempts(world)
    return stopping or _retained_by_store(world) or _delete(world)


def _has_dependents(world: World, names: tuple[str, ...]) -> Action:
    """Differentials cannot be restored without it. The last one that is deleted continues the deletion."""
    shown = ", ".join(names[:DEPENDENTS_SHOWN]) + (", …" if len(names) > DEPENDENTS_SHOWN else "")
    message = (
        f"{len(names)} Snapshots (differentials) need this one: {shown}. The deletion continues after the last of them"
        " is deleted."
    )
    return Idle(POLL, _deleting(world, Waiting(c.HAS_DEPENDENTS, message, POLL)))


def _delete(world: World) -> Action:
    """The data in the Snapshot's own store, then the remote copy."""
    # They write to the stores: they would leave objects behind.
    for name in world.seen.of_command(WRITE_STATE.name):
        stopping = stop(world, name)
        if stopping is not None:
            return stopping
    remote, deletes = world.snapshot.status.remote, Deletes.ALL
    step: StartDelete | Outcome | None = None
    if remote is None or remote.local_deleted_at is None:
        step = _delete_data(world, deletes)
    if step is None and remote is not None and _has_copy(world.snapshot):
        deletes = Deletes.COPY
        step = _delete_data(world, deletes)
    if step is None and remote is not None and remote.replaces is not None:
        deletes = Deletes.REPLACED
        step = plan_remote.replaced_blocked(world, remote.replaces) or _delete_data(world, deletes)
    if step is None:
        return LetGo()
    if isinstance(step, StartDelete):
        return step
    if step.reason in KEPT_BY_OTHERS:
        # Differentials without a Snapshot object were deleted with deletionPolicy Retain, or belong to another cluster.
        text = (
            f"{step.message} {location(world.snapshot)} is"
            f" kept{' for them' if step.reason == c.HAS_DEPENDENTS else ''}."
        )
        return LetGo(Note("Warning", "DataRetained", text))
    if step.reason != c.RETAINED_BY_STORE:
        return _blocked(world, step)
    series = deletion(world.snapshot, deletes)
    found = series.at(world.seen, series.newest(world.seen))
    kept = found.result.kept if isinstance(found, Done) else None
    if not isinstance(found, Done) or kept is None:
        raise ValueError(f"{world.snapshot.key}: no Job has found what the store keeps")
    keeps = KeptInStore(**dict(kept), checked_at=found.finished or clock.text(world.now))
    return Record(world.snapshot.status.model_copy(update={"kept_in_store": keeps}))


def _retained_by_store(world: World) -> Action | None:
    """Waits until the retention ends that the store has reported, without a Job; None: nothing is known, or it is time
    to try again.

    The object stays: it reports until when the data is kept, and nothing else would delete it then.
    """
    snapshot, kept = world.snapshot, world.snapshot.status.kept_in_store
    if kept is None:
        return None
    if snapshot.spec.deletion_policy == "Retain":
        return LetGo(_retained(snapshot, f"deletionPolicy Retain. {_kept_text(kept)}"))
    left = _seconds_until_retry(kept, kept.checked_at, world)
    if left <= 0:
        return None
    text = (
        f"{_kept_text(kept)} The deletion continues then. To remove the object before that, set spec.deletionPolicy to"
        " Retain."
    )
    return Idle(min(left, LONGEST_PAUSE), _deleting(world, Waiting(c.RETAINED_BY_STORE, text, left)))


def _blocked(world: World, end: Outcome) -> Action:
    """Reports why the deletion waits. After cleanup_timeout the Snapshot is let go, and a Warning says what is left
    where."""
    snapshot = world.snapshot
    deleting = c.find(snapshot.status.conditions, c.RECONCILING)
    if deleting is not None and deleting.reason in REMOVING:
        tried = clock.seconds_since(deleting.last_transition_time, world.now)
        if tried > world.settings.cleanup_timeout:
            message = f"{location(snapshot)} could not be deleted: {end.message} Delete it in the store by hand."
            return LetGo(Note("Warning", "DataLeft", message))
    if not isinstance(end, Waiting):
        end = Waiting(c.DELETING, f"Data cannot be deleted from the store: {end.message}", DELETE_PAUSE)
    return Idle(end.after, _deleting(world, end))


def _retained(snapshot: Snapshot, why: str) -> Note:
    return Note("Normal", "DataRetained", f"{why}: {location(snapshot)} is kept.")


def _deleting(world: World, end: Outcome) -> SnapshotStatus:
    """Beside Complete or Failed, which stay: what the deletion waits for."""
    stamp, status = Stamp.of(world.snapshot.meta, world.now), world.snapshot.status
    if end.reason == c.RETAINED_BY_STORE:
        status = summarize.with_condition(status, c.READY, "False", c.RETAINED_BY_STORE, end.message, stamp)
    if end.reason in (c.PINNED, c.IN_USE, c.HAS_DEPENDENTS, c.RETAINED_BY_STORE):
        status = summarize.without(status, c.RECONCILING)
        return summarize.with_condition(status, c.STALLED, "True", end.reason, end.message, stamp)
    if not c.is_true(status.conditions, c.FAILED):
        status = summarize.without(status, c.STALLED)
    # Data that is being deleted must not be restored.
    status = summarize.with_condition(status, c.READY, "False", c.DELETING, end.message, stamp)
    return summarize.with_condition(status, c.RECONCILING, "True", end.reason, end.message, stamp)


def location(snapshot: Snapshot) -> str:
    """Where the Snapshot's data is, for messages."""
    source = snapshot.status.source
    prefix = naming.snapshot_prefix(source.environment_id, snapshot.id) if source is not None else snapshot.id
    places = [f"SnapshotStore {snapshot.status.store_name} (id {snapshot.status.store_id})"]
    remote = snapshot.status.remote
    if remote is not None and _has_copy(snapshot):
        copy = f"SnapshotStore {remote.store_name} (id {remote.store_id or 'unknown'})"
        places = [copy] if remote.local_deleted_at is not None else [*places, copy]
    if remote is not None and remote.replaces is not None:
        places.append(f"SnapshotStore {remote.replaces.store_name} (id {remote.replaces.store_id})")
    return f"{prefix} in {' and '.join(places)}"
