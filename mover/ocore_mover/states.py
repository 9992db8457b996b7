"""State objects: pin, retention and deletionPolicy of a snapshot, beside its manifest. Replaced as a whole, read back
after each write."""

from pydantic import ValidationError

from ocore_crds import conditions, failpoints, naming
from ocore_crds.stored.snapshot_state import MAX_BYTES, StateObject, StoredState
from ocore_mover.errors import Corrupt, MoverError, StoreError
from ocore_mover.report import now
from ocore_mover.store.interface import Store


def write(store: Store, environment_id: str, snapshot_id: str, state: StoredState) -> StoredState:
    """Writes the state object, or replaces it, and reads it back. Returns what was written. Raises Corrupt and
    StoreError.

    Hits the failpoint state-written. A replacement is one request or one rename: a reader sees the old object or the
    new one.
    """
    key = naming.state_key(environment_id, snapshot_id)
    found = StateObject(environment_id=environment_id, snapshot_id=snapshot_id, written_at=now(), state=state)
    data = found.data()
    with store.writer(key) as writer:
        writer.write(data)
        writer.commit()
    if store.get(key, limit=MAX_BYTES) != data:
        raise Corrupt(f"{key} in {store.url} reads back other bytes than were written")
    failpoints.hit("state-written")
    return state


def read(store: Store, environment_id: str, snapshot_id: str) -> StoredState | None:
    """The state; None where there is no state object. Raises Corrupt where it cannot be read, or is another
    snapshot's."""
    key = naming.state_key(environment_id, snapshot_id)
    try:
        data = store.get(key, limit=MAX_BYTES)
    except StoreError as error:
        if error.reason != conditions.CORRUPT:
            raise
        raise Corrupt(str(error)) from error
    if data is None:
        return None
    try:
        found = StateObject.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Corrupt(f"{key} is not a state object that this version can read: {where}: {first['msg']}") from error
    if (found.environment_id, found.snapshot_id) != (environment_id, snapshot_id):
        raise Corrupt(f"{key} in {store.url} is the state of another snapshot: {found.snapshot_id}")
    return found.state


def readable(store: Store, environment_id: str, snapshot_id: str) -> StoredState | None:
    """As :func:`read`; None also where the object cannot be read: then the defaults count, which delete nothing."""
    try:
        return read(store, environment_id, snapshot_id)
    except Corrupt:
        return None


def check_not_pinned(store: Store, environment_id: str, snapshot_id: str, known: StoredState) -> None:
    """Raises MoverError Pinned for a snapshot that has a pin which the caller does not know: another cluster with the
    same store has pinned it.

    `known`: the last state that the caller has written or read. Its own pin does not count: the caller has removed it.
    """
    found = readable(store, environment_id, snapshot_id)
    if found is None or found.pin_label is None or found.pin_label == known.pin_label:
        return
    if store.head(naming.manifest_key(environment_id, snapshot_id)) is None:
        return  # nothing is left that could be restored
    raise MoverError(
        conditions.PINNED,
        f"snapshot {snapshot_id} is not deleted: another cluster that uses {store.url} has pinned it"
        f" ({found.pin_label!r}). Remove the pin there first",
    )


def replace(store: Store, environment_id: str, snapshot_id: str, state: StoredState) -> StoredState:
    """As :func:`write`, for a snapshot that exists. Raises MoverError SnapshotNotFound where the store has no manifest:
    an object without one would be left after the snapshot is deleted."""
    if store.head(naming.manifest_key(environment_id, snapshot_id)) is None:
        raise MoverError(
            conditions.SNAPSHOT_NOT_FOUND,
            f"{store.url} has no snapshot {snapshot_id} of environment {environment_id}, so its pin and retention are"
            " not stored.",
        )
    return write(store, environment_id, snapshot_id, state)
