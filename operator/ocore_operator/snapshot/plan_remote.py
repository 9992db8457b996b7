"""The plan of a Complete Snapshot's copy in a remote store: made, repeated for days, and let go of by retention. Pure.

The copy's Job takes no operation lock and delays nothing. Its attempts have numbers; an attempt that finds objects of
an earlier one continues it. What retention has let go of is deleted here: the data in the Snapshot's own store, while
the copy stays, or the copy.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ocore_crds import conditions as c
from ocore_crds.commands.table import CHECK_COPY, DELETE
from ocore_crds.protocol import CopyChecked
from ocore_crds.resources.remote_copy import CopyPlace, RemoteCopy, releases
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_operator import clock, damage, remote_status
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.frame.actions import Idle, Note, Record
from ocore_operator.jobs.observing.attempts import Done, Due, Failed, Series, Waits
from ocore_operator.jobs.observing.outcome import POLL, finished
from ocore_operator.jobs.observing.snapshot_jobs import Deletes, copying, deletion
from ocore_operator.kube.resources import Snapshot
from ocore_operator.snapshot.stopping import stop
from ocore_operator.snapshot.world import Action, RemoteView, StartCheckCopy, StartCopy, StartDelete, World

#: Seconds until it is checked again whether the remote store, or the base of a differential, is ready.
STORE_PAUSE = 30.0
#: Seconds until it is checked again whether what uses or needs the Snapshot is done.
USED_PAUSE = 30.0
#: Seconds until a deletion that a person must make possible is tried again.
DELETE_PAUSE = 600.0

#: Seconds until a check of a copy that could not be made is tried again: the first times, and later.
CHECK_RETRY = 30.0
CHECK_PAUSE = 6 * 3600.0
#: Seconds after which a replaced copy that cannot be deleted is left where it is.
REPLACED_WITHIN = 3 * 86400.0

#: Deletes that: None once it is deleted; an Outcome while that takes.
Delete = Callable[[Deletes], StartDelete | Outcome | None]


@dataclass(frozen=True)
class Step:
    """What to do now; or for how many seconds nothing is to do (None: until something changes)."""

    action: Action | None = None
    wait: float | None = None


def checking(snapshot: Snapshot, requested: str) -> Series[CopyChecked]:
    """The Jobs that carry out the check that was requested at that time."""
    prefix = f"{int(clock.parse(requested).timestamp())}-"
    return Series(CHECK_COPY, snapshot.meta.uid, CopyChecked, "The check of the copy", prefix)


def within(action: Action, wait: float | None) -> Action:
    """The action; where it only waits, not longer than `wait`."""
    if wait is None or not isinstance(action, Idle):
        return action
    return Idle(wait if action.seconds is None else min(action.seconds, wait), action.status)


def decide(world: World, delete: Delete) -> Step:
    """The next step of the copy. The Snapshot is terminal and is not being deleted."""
    remote, view = world.snapshot.status.remote, world.remote
    if remote is None or view is None or not c.is_true(world.snapshot.status.conditions, c.COMPLETE):
        return Step()
    if remote.only and remote.local_deleted_at is None:
        return _delete_local(world, remote, view, delete)
    if remote.check_requested_at is not None:
        return _check(world, remote, view, remote.check_requested_at)
    if remote.only:
        return Step()
    if remote.complete:
        return (
            _delete_replaced(world, remote, remote.replaces, delete)
            if remote.replaces
            else _release(world, remote, view, delete)
        )
    begun = _begun(world, remote, view.target_id)
    if begun is not None:
        return Step(begun)
    if view.wanted is not None and view.wanted != remote.store_name:
        return _withdraw(world, remote, delete)
    return _copying(world, remote, view) if remote.state == "Copying" else _waiting(world, remote, view)


# --- attempts --------------------------------------------------------------------------------------------------


def _copying(world: World, remote: RemoteCopy, view: RemoteView) -> Step:
    snapshot, now = world.snapshot, world.now
    match copying(snapshot).at(world.seen, remote.attempts):
        case Waits():
            status = remote_status.progressed(snapshot, view.bytes_done)
            return Step(Record(status)) if status != snapshot.status else Step(wait=POLL)
        case Done(result=result) if result.manifest_sha256 == snapshot.status.manifest_sha256:
            note = Note("Normal", "RemoteCopied", f"The snapshot is copied to {remote.store_name}.")
            return Step(Record(remote_status.completed(snapshot, result, now), (note,)))
        case Done():
            text = "The Job reported the copy of another manifest. Check the operator's mover image."
            return _failed(world, c.JOB_FAILED, text)
        case Failed(failure=failure):
            return _failed(world, failure.reason, failure.message)
        case Due():
            return _failed(world, c.JOB_LOST, "The Job of the copy was deleted before it ended.")


def _failed(world: World, reason: str, message: str) -> Step:
    """The attempt has failed. Bytes that differ in the Snapshot's own store are found here as by reading them back."""
    status = remote_status.failed(world.snapshot, reason, message, world.now)
    if reason in (c.CORRUPT, c.SNAPSHOT_NOT_FOUND):
        status = damage.corrupt(world.snapshot.with_status(status), message, world.now)
    return Step(Record(status, (Note("Warning", "RemoteCopyFailed", message),)))


def _begun(world: World, remote: RemoteCopy, target_id: str = "") -> Record[SnapshotStatus] | None:
    """Records an attempt whose Job was created before a crash: the status does not have it yet, and it may have copied
    everything."""
    attempt, series = remote.attempts + 1, copying(world.snapshot)
    if isinstance(series.at(world.seen, attempt), Due):
        return None
    store_id = target_id or None
    return Record(remote_status.copying(world.snapshot, attempt, series.job(attempt), world.now, store_id=store_id))


def _waiting(world: World, remote: RemoteCopy, view: RemoteView) -> Step:
    """Pending or Failed."""
    left = -clock.seconds_since(remote.next_attempt_at, world.now) if remote.next_attempt_at is not None else 0.0
    if left > 0:
        return Step(wait=left)
    if world.refusal is not None:
        return _wait_for(world, world.refusal)
    if view.blocked is not None:
        return _wait_for(world, view.blocked)
    return Step(StartCopy(remote.attempts + 1))


def _wait_for(world: World, end: Outcome) -> Step:
    """Shows what the copy waits for. It needs no attempt, so nothing is lost when that takes days."""
    status = remote_status.waiting(world.snapshot, end.reason, end.message, world.now)
    pause = end.after if isinstance(end, Waiting) else STORE_PAUSE
    # Written by what waits, not by Record: after a refusal no other action may follow in this decision.
    return Step(Idle(pause, status)) if status != world.snapshot.status else Step(wait=pause)


# --- checks of a complete copy ---------------------------------------------------------------------------------


def _check(world: World, remote: RemoteCopy, view: RemoteView, requested: str) -> Step:
    """The remote store is asked whether it still has every object. A copy that is lost is made again; without other
    data the Snapshot is Corrupt, and the store is asked again from time to time: it may be whole again."""
    series = checking(world.snapshot, requested)
    found = series.next(world.seen, world.now, _check_pause)
    match found:
        case Waits(paused=True, message=message, seconds=left):
            return _unfinished(world, f"The copy could not be checked; retrying: {message}", left)
        case Waits(reason=reason, message=message, seconds=left) if reason:
            return _unfinished(world, message, left)
        case Waits(seconds=left):
            return Step(wait=left)
        case Done() if remote.state == "Failed":
            note = Note("Normal", "RemoteCopyFound", f"SnapshotStore {remote.store_name} has the whole copy again.")
            return Step(Record(damage.copy_found(world.snapshot, world.now), (note,)))
        case Done():
            return Step(Record(remote_status.checked(world.snapshot, world.now)))
        case Failed(failure=failure):
            return _lost(world, remote, failure.message)
        case Due(number=1) if remote.state == "Failed":
            left = CHECK_PAUSE - clock.seconds_since(requested, world.now)
            if left > 0:
                return Step(wait=left)
    blocked = world.refusal or view.unreadable
    if blocked is not None:
        pause = blocked.after if isinstance(blocked, Waiting) and world.refusal is not None else DELETE_PAUSE
        return _unfinished(world, f"The copy cannot be checked: {blocked.message}", pause)
    return Step(StartCheckCopy(series.attempt(found.number)))


def _check_pause(failed: Failed) -> float | None:
    if failed.failure.reason == c.REMOTE_COPY_LOST:
        return None
    return CHECK_RETRY if failed.number < CHECK_COPY.attempts else CHECK_PAUSE


def _lost(world: World, remote: RemoteCopy, message: str) -> Step:
    """The remote store does not have the copy any more."""
    notes = (Note("Warning", "RemoteCopyLost", message),) if remote.complete else ()
    return Step(Record(damage.found(world.snapshot, message, world.now, in_copy=True), notes))


def _unfinished(world: World, message: str, pause: float) -> Step:
    status = remote_status.unfinished(world.snapshot, message)
    return Step(Record(status)) if status != world.snapshot.status else Step(wait=pause)


# --- the end of a copy -----------------------------------------------------------------------------------------


def _withdraw(world: World, remote: RemoteCopy, delete: Delete) -> Step:
    """The Environment does not name the store any more, and the copy is not complete: what was copied is deleted."""
    stopping = stop(world, copying(world.snapshot).job(remote.attempts))
    if stopping is not None:
        return Step(stopping)
    end = Record(_as_before(world, remote))
    if remote.attempts == 0:
        return Step(end)
    return _deleted(world, delete(Deletes.COPY), end)


def _as_before(world: World, remote: RemoteCopy) -> SnapshotStatus:
    """Without the copy that was begun; with the one that it should have replaced."""
    if remote.replaces is None:
        return remote_status.without_copy(world.snapshot)
    return remote_status.restored(world.snapshot, remote.replaces, world.now)


def replaced_blocked(world: World, place: CopyPlace) -> Outcome | None:
    """Why nothing may be deleted in the store of the replaced copy: it may be another store by now, perhaps that of the
    new copy."""
    view = world.remote
    if view is None:
        return Waiting(c.STORE_NOT_READY, f"SnapshotStore {place.store_name} has not been read yet.", USED_PAUSE)
    return view.replaced_blocked


def _delete_replaced(world: World, remote: RemoteCopy, place: CopyPlace, delete: Delete) -> Step:
    """The new copy is complete: the one in the store before is deleted, or is left there with a Warning where that is
    impossible."""
    if place.store_id == remote.store_id:  # two SnapshotStores of one store: it is the new copy
        return Step(Record(remote_status.without_replaced(world.snapshot)))
    blocked = replaced_blocked(world, place)
    found = blocked or delete(Deletes.REPLACED)
    if found is None:
        return Step(Record(remote_status.without_replaced(world.snapshot)))
    if isinstance(found, StartDelete):
        return Step(found)
    late = clock.seconds_since(remote.completed_at or remote.requested_at, world.now) > REPLACED_WITHIN
    if late or (blocked is not None and isinstance(blocked, Stalled)):
        text = (
            f"The earlier copy in SnapshotStore {place.store_name} (store {place.store_id}) is left there:"
            f" {found.message} Delete it by hand."
        )
        return Step(Record(remote_status.without_replaced(world.snapshot), (Note("Warning", "DataLeft", text),)))
    return Step(wait=found.after if isinstance(found, Waiting) else DELETE_PAUSE)


def stop_attempts(world: World) -> Action | None:
    """Stops the copy's Jobs: before the Snapshot's data is deleted. None once nothing of them is left that can act."""
    remote = world.snapshot.status.remote
    if remote is None:
        return None
    return _begun(world, remote) or stop(world, copying(world.snapshot).job(remote.attempts))


def _release(world: World, remote: RemoteCopy, view: RemoteView, delete: Delete) -> Step:
    """Deletes what retention has let go of, once nothing uses the Snapshot."""
    released = releases({"spec": world.snapshot.spec.wire(), "status": world.snapshot.status.wire()})
    if released is None:
        return Step()
    if view.used_by or view.needed_by:
        return Step(wait=USED_PAUSE)  # differentials go first: they are restored with the files of this one
    deletions = world.seen.of_command(DELETE.name)
    others = [name for name, job in world.seen.jobs.items() if finished(job) is None and name not in deletions]
    if others:  # they read one of the copies
        return Step(wait=USED_PAUSE)
    if released == "Local":
        doubt = view.unreadable
        if doubt is not None:
            return _deleted(world, doubt, Idle())
        note = Note(
            "Normal", "RetentionExpired", "No rule keeps the data in the Snapshot's own store; the remote copy stays."
        )
        status = remote_status.only_copy(world.snapshot)
        return Step(Record(status, (note,), failpoint="operator-remote-release-recorded"))
    if view.damaged_base:
        text = f"The copy stays: its full Snapshot {view.damaged_base} is damaged in its own store."
        return _unfinished(world, text, USED_PAUSE)
    note = Note("Normal", "RetentionExpired", f"No rule keeps the copy in {remote.store_name}: it is deleted.")
    return _deleted(world, delete(Deletes.COPY), Record(remote_status.without_copy(world.snapshot), (note,)))


def _delete_local(world: World, remote: RemoteCopy, view: RemoteView, delete: Delete) -> Step:
    """The status says that only the copy counts: nothing reads the data in the Snapshot's own store any more. Its Job
    asks the remote store before."""
    series = deletion(world.snapshot, Deletes.LOCAL)
    found = series.at(world.seen, series.newest(world.seen))
    if isinstance(found, Failed) and found.failure.reason == c.REMOTE_COPY_LOST:
        return _lost(world, remote, found.failure.message)
    done = Record(remote_status.local_deleted(world.snapshot, world.now))
    return _deleted(world, view.unreadable or delete(Deletes.LOCAL), done)


def _deleted(world: World, found: StartDelete | Outcome | None, done: Action) -> Step:
    if found is None:
        return Step(done)
    if isinstance(found, StartDelete):
        return Step(found)
    if isinstance(found, Stalled):
        status = remote_status.unfinished(world.snapshot, found.message)
        return Step(Record(status)) if status != world.snapshot.status else Step(wait=DELETE_PAUSE)
    return Step(wait=found.after if isinstance(found, Waiting) else DELETE_PAUSE)
