"""Transitions of ``status.remote``, the copy of a Snapshot in a remote store. Pure: each returns a new status.

The Snapshot stays Ready whatever becomes of its copy; the condition RemoteCopied reports it.
"""

from datetime import datetime
from typing import Any, Literal

from ocore_crds import conditions as c
from ocore_crds.protocol import CopyResult
from ocore_crds.resources.remote_copy import CopyPlace, RemoteCopy
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.stored.snapshot_state import StoredState
from ocore_crds.text.sentences import sentence
from ocore_operator import clock, summarize
from ocore_operator.kube.resources import Snapshot
from ocore_operator.summarize import Stamp

#: Seconds from a failed attempt to the next: doubled each time, up to the longest.
FIRST_PAUSE = 30.0
LONGEST_PAUSE = 3600.0
#: Seconds between attempts while a person must change something.
FAILED_PAUSE = 6 * 3600.0
#: Seconds after which a copy that does not succeed is `Failed`: its attempts continue.
LATE = 3 * 86400.0
#: Failures that no retry can help.
PERMANENT = frozenset(
    {
        c.CORRUPT,
        c.SNAPSHOT_NOT_FOUND,
        c.SAME_STORE,
        c.REMOTE_COPY_CONFLICT,
        c.STORE_READ_ONLY,
        c.STORE_NOT_FOUND,
        c.STORE_ID_CONFLICT,
        c.SERVICE_ACCOUNT_CONFLICT,
        c.MANIFEST_TOO_LARGE,
    }
)


def requested(snapshot: Snapshot, store: str, now: datetime) -> SnapshotStatus:
    """A copy is wanted in that SnapshotStore."""
    remote = RemoteCopy(state="Pending", store_name=store, requested_at=clock.text(now))
    return _with(snapshot, remote, c.PENDING, "The copy waits to begin.", now)


def requested_elsewhere(snapshot: Snapshot, store: str, now: datetime) -> SnapshotStatus:
    """The Environment names another store now: the copy is wanted there, too. The one that exists counts until then,
    and is deleted after that."""
    remote = RemoteCopy(
        state="Pending", store_name=store, requested_at=clock.text(now), replaces=_remote(snapshot).readable
    )
    return _with(snapshot, remote, c.PENDING, f"The copy in {store} waits to begin.", now)


def check_requested(snapshot: Snapshot, now: datetime) -> SnapshotStatus:
    """The remote store is to be asked whether it still has the copy."""
    return _changed(snapshot, check_requested_at=clock.text(now))


def checked(snapshot: Snapshot, now: datetime) -> SnapshotStatus:
    """The remote store has every object of the copy."""
    return _changed(snapshot, checked_at=clock.text(now), check_requested_at=None, message="")


def lost(snapshot: Snapshot, message: str, now: datetime) -> SnapshotStatus:
    """The remote store does not have every object any more. Where the data in the Snapshot's own store exists, the copy
    is made again; else the store is asked again for it."""
    old = _remote(snapshot)
    gone = old.local_deleted_at is not None
    update: dict[str, Any] = {
        "state": "Failed" if gone else "Pending",
        "only": gone,
        "check_requested_at": clock.text(now) if gone else None,
        "completed_at": None,
        "stored_state": None,
        "message": sentence(message),
    }
    if not gone:
        update["requested_at"] = clock.text(now)  # its Jobs get other names
    return _with(snapshot, old.model_copy(update=update), c.REMOTE_COPY_LOST, message, now)


def found_again(snapshot: Snapshot, now: datetime) -> SnapshotStatus:
    """The remote store has every object of a copy that was lost."""
    remote = _remote(snapshot).model_copy(update={"state": "Completed", "completed_at": clock.text(now)})
    text = f"SnapshotStore {remote.store_name} has every object again."
    return checked(snapshot.with_status(_with(snapshot, remote, c.SUCCEEDED, text, now)), now)


def without_replaced(snapshot: Snapshot) -> SnapshotStatus:
    """The copy that was replaced is deleted, or is left where it is."""
    return _changed(snapshot, replaces=None, message="")


def restored(snapshot: Snapshot, place: CopyPlace, now: datetime) -> SnapshotStatus:
    """The copy that was to be replaced counts again: the store that should have replaced it is not wanted any more."""
    remote = RemoteCopy(
        state="Completed",
        store_name=place.store_name,
        store_id=place.store_id,
        requested_at=place.requested_at,
        completed_at=place.requested_at,
        attempts=1,
        manifest_sha256=snapshot.status.manifest_sha256,
        check_requested_at=clock.text(now),
    )
    return _with(snapshot, remote, c.SUCCEEDED, f"The copy in SnapshotStore {place.store_name} counts again.", now)


def waiting(snapshot: Snapshot, reason: str, message: str, now: datetime) -> SnapshotStatus:
    """No attempt is made now: what it waits for. Where a person must change something, the copy is Failed until
    then."""
    failed = reason in PERMANENT
    remote = _remote(snapshot).model_copy(update={"state": "Failed" if failed else "Pending", "message": message})
    return _with(snapshot, remote, reason, message, now)


def copying(
    snapshot: Snapshot, attempt: int, job: str, now: datetime, *, store_id: str | None = None
) -> SnapshotStatus:
    """The Job of the attempt exists. `store_id`: of the remote store; None: as it was recorded."""
    sizes = snapshot.status.sizes
    update = {
        "state": "Copying",
        "store_id": store_id or _remote(snapshot).store_id,
        "attempts": attempt,
        "job_name": job,
        "started_at": clock.text(now),
        "next_attempt_at": None,
        "message": "",
        "bytes": sizes.stored_bytes if sizes is not None else 0,
        "bytes_done": 0,
    }
    remote = _remote(snapshot).model_copy(update=update)
    return _with(snapshot, remote, c.COPYING, f"Job {job} copies the snapshot to {remote.store_name}.", now)


def progressed(snapshot: Snapshot, bytes_done: int) -> SnapshotStatus:
    """More bytes are copied."""
    remote = _remote(snapshot)
    done = min(max(remote.bytes_done, bytes_done), remote.bytes or bytes_done)
    return _changed(snapshot, bytes_done=done)


def failed(snapshot: Snapshot, reason: str, message: str, now: datetime) -> SnapshotStatus:
    """The attempt has failed. Another one follows: soon, or rarely where a person must change something."""
    old = _remote(snapshot)
    permanent = reason in PERMANENT
    pause = FAILED_PAUSE if permanent else min(FIRST_PAUSE * 2.0 ** min(old.attempts - 1, 20), LONGEST_PAUSE)
    late = clock.seconds_since(old.requested_at, now) > LATE
    update: dict[str, Any] = {
        "state": "Failed" if permanent or late else "Pending",
        "job_name": None,
        "message": message,
        "next_attempt_at": clock.text(clock.after(now, pause)),
    }
    return _with(snapshot, old.model_copy(update=update), reason, message, now)


def completed(snapshot: Snapshot, result: CopyResult, now: datetime) -> SnapshotStatus:
    """The remote store has every object and the manifest. Without a state object an import assumes the defaults
    there."""
    default = StoredState() if snapshot.status.stored_state is not None else None
    update: dict[str, Any] = {
        "state": "Completed",
        "store_id": result.store_id,
        "completed_at": clock.text(now),
        "checked_at": clock.text(now),
        "manifest_sha256": result.manifest_sha256,
        "bytes": result.bytes,
        "bytes_done": result.bytes,
        "job_name": None,
        "next_attempt_at": None,
        "message": "",
        "stored_state": result.state or default,
    }
    remote = _remote(snapshot).model_copy(update=update)
    text = (
        f"{result.objects} objects, {result.bytes} bytes are in SnapshotStore {remote.store_name} (id"
        f" {result.store_id}), each with the SHA-256 of the manifest."
    )
    return _with(snapshot, remote, c.SUCCEEDED, text, now)


def state_stored(snapshot: Snapshot, state: StoredState) -> SnapshotStatus:
    """The remote store has this pin, retention and deletionPolicy."""
    return _changed(snapshot, stored_state=state, message="")


def unfinished(snapshot: Snapshot, message: str) -> SnapshotStatus:
    """Of a complete copy: what is not done yet, and why."""
    return _changed(snapshot, message=sentence(message))


def only_copy(snapshot: Snapshot) -> SnapshotStatus:
    """From now on the Snapshot is restored from its copy: the data in its own store is deleted next."""
    return _changed(snapshot, only=True)


def local_deleted(snapshot: Snapshot, now: datetime) -> SnapshotStatus:
    """The data in the Snapshot's own store is gone."""
    return _changed(snapshot, local_deleted_at=clock.text(now), message="")


def without_copy(snapshot: Snapshot) -> SnapshotStatus:
    """There is no copy, and none is made."""
    status = summarize.without(snapshot.status, c.REMOTE_COPIED)
    return status.model_copy(update={"remote": None})


def _remote(snapshot: Snapshot) -> RemoteCopy:
    remote = snapshot.status.remote
    if remote is None:
        raise ValueError(f"{snapshot.key} has no remote copy")
    return remote


def _changed(snapshot: Snapshot, **update: Any) -> SnapshotStatus:
    """The conditions stay."""
    return snapshot.status.model_copy(update={"remote": _remote(snapshot).model_copy(update=update)})


def _with(snapshot: Snapshot, remote: RemoteCopy, reason: str, message: str, now: datetime) -> SnapshotStatus:
    value: Literal["True", "False", "Unknown"] = (
        "True" if remote.complete else "False" if remote.state == "Failed" else "Unknown"
    )
    stamp = Stamp.of(snapshot.meta, now)
    status = snapshot.status.model_copy(update={"remote": remote})
    observed = status.observed_generation
    status = summarize.with_condition(status, c.REMOTE_COPIED, value, reason, message, stamp)
    # The rest of the plan decides when a new generation is observed.
    return status.model_copy(update={"observed_generation": observed})
