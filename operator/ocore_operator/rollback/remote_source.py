"""Whether a rollback reads the Snapshot from its own store or from its remote copy. Pure.

Its own store comes first: it is nearer. The copy is read where the own store does not have the snapshot whole: known
before the restore, or found by it. Nothing has been stopped then. A rollback that names its store (``sourceStoreRef``,
or a Snapshot of another namespace) reads from that one only.
"""

from collections.abc import Iterable
from dataclasses import replace

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Finding
from ocore_crds.resources import remote_copy
from ocore_crds.resources.rollback import PreflightWarning, RemoteSource, RollbackSpec, RollbackStatus
from ocore_operator import damage, sources
from ocore_operator.kube.resources import Snapshot
from ocore_operator.rollback.snapshot_and_environment import is_complete
from ocore_operator.rollback.world import JobView, ReportDamage, World
from ocore_operator.sources import Stores

#: Failures of a restore, or of a preview, that say that a store does not have the snapshot whole, or does not give it.
OF_THE_STORE = frozenset(
    {
        c.CORRUPT,
        c.SNAPSHOT_NOT_FOUND,
        c.BUCKET_NOT_FOUND,
        c.STORE_UNREACHABLE,
        c.STORE_ACCESS_DENIED,
        c.STORE_NOT_READY,
        c.STORE_NOT_WRITABLE,
        c.STORE_ID_CONFLICT,
        c.STORE_IO_ERROR,
        c.OBJECT_ARCHIVED,
    }
)


def names_no_store(spec: RollbackSpec, namespace: str) -> bool:
    """Whether the operator chooses the store."""
    ref = spec.snapshot_ref
    return ref is not None and ref.namespace in (None, namespace) and spec.source_store_ref is None


def chosen(snapshot: Snapshot, stores: Stores, base: Snapshot | None = None) -> RemoteSource | None:
    """The copy, where the Snapshot's own store is known not to have it whole, or cannot be read; None: the own store is
    tried. `base`: the full Snapshot that it needs."""
    found = sources.source(snapshot, base=base, stores=stores)
    place = found.place or found.unreadable
    if place is None or not place.is_copy:
        return None
    why = found.refused[0]
    return RemoteSource(store_name=place.store_name, store_id=place.store_id, reason=why.reason, message=why.message)


def other_store(snapshot: Snapshot, stores: Stores) -> str:
    """Why nothing can be read, where the SnapshotStore of the only place is another store by now; else empty."""
    found = sources.source(snapshot, stores=stores)
    why = next((each for each in found.refused if each.reason == c.STORE_ID_CONFLICT), None)
    return why.message if found.place is None and found.unreadable is not None and why is not None else ""


def is_readable(world: World, snapshot: Snapshot) -> bool:
    """Whether a Snapshot that is damaged in its own store can be restored: from its copy, which the operator chooses or
    the rollback names."""
    store, copy = world.source.store, sources.whole_copy(snapshot)
    named = store is not None and bool(store.id) and copy is not None and store.id == copy.store_id
    return world.source.remote is not None or named


def store_ids(snapshot: Snapshot) -> tuple[str, ...]:
    """Ids of the stores that the Snapshot can be read from."""
    readable = (place for place in sources.places(snapshot) if sources.lost(snapshot, place) is None)
    return tuple(place.store_id for place in readable if place.store_id)


def warning(remote: RemoteSource | None) -> tuple[PreflightWarning, ...]:
    """That the copy is read, and why."""
    if remote is None:
        return ()
    text = f"The snapshot is read from its remote copy in SnapshotStore {remote.store_name}. {remote.message}"
    return (PreflightWarning(reason=c.REMOTE_COPY_ONLY, message=text),)


def evidence(status: RollbackStatus) -> str:
    """Which copy was read, for the evidence of a restore."""
    remote = status.remote
    if remote is None:
        named = f" SnapshotStore {status.source_store_name}, which has" if status.source_store_name is not None else ""
        return f"source:{named} the data in the Snapshot's own store"
    where = f"SnapshotStore {remote.store_name} (id {remote.store_id})"
    return (
        f"source: the remote copy in {where}, with the manifest of the Snapshot; not its own store ({remote.reason}:"
        f" {remote.message})"
    )


# --- after a failure -------------------------------------------------------------------------------------------------


def after(
    status: RollbackStatus, spec: RollbackSpec, world: World, failures: Iterable[Failure | Finding]
) -> RemoteSource | None:
    """The copy, after an attempt that has found the Snapshot's own store to be missing, damaged or silent; None: that
    was not the reason, or there is no copy."""
    snapshot = world.snapshot
    failure = next((f for f in failures if f.reason in OF_THE_STORE), None)
    copy = sources.whole_copy(snapshot) if snapshot is not None else None
    if status.remote is not None or failure is None or copy is None:
        return None
    if world.source.namespace or spec.source_store_ref is not None:
        return None
    return RemoteSource(
        store_name=copy.store_name,
        store_id=copy.store_id or None,
        reason=failure.reason,
        message=failure.message,
        first_attempt=status.attempt + 1,
    )


def damage_found(
    status: RollbackStatus, spec: RollbackSpec, world: World, failures: Iterable[Failure | Finding]
) -> ReportDamage | None:
    """What the Snapshot's status does not say yet: the place that was read does not have it whole. None: nothing; or
    the rollback names its store, as from another namespace: its tenant chooses what was read (docs/decisions/0133)."""
    snapshot, ref = world.snapshot, spec.snapshot_ref
    failure = next((f for f in failures if f.reason in damage.STORED_BYTES), None)
    if (
        snapshot is None
        or failure is None
        or ref is None
        or world.source.namespace
        or spec.source_store_ref is not None
    ):
        return None
    if not is_complete(snapshot) or status.snapshot_id not in (None, snapshot.status.id):
        return None
    read = status.remote or world.source.remote
    if read is not None:
        copy, state = sources.whole_copy(snapshot), remote_copy.state_of(snapshot.status.remote)
        known = state != "completed" or copy is None or copy.store_name != read.store_name
    else:
        known = sources.is_damaged(snapshot)
    return None if known else ReportDamage(failure.message, read is not None, failure.object_key)


def attempt_of(status: RollbackStatus, job: JobView) -> int:
    """Number of the Job's attempt at the store that it read, from 1."""
    return job.attempt - (status.remote.first_attempt if status.remote is not None else 1) + 1


def naming_both(status: RollbackStatus, job: JobView) -> JobView:
    """The Job; where neither store has the snapshot whole, its failure names both."""
    remote, failure = status.remote, job.failure
    if remote is None or failure is None or failure.reason not in OF_THE_STORE:
        return job
    text = (
        f"Neither place has the snapshot whole. Its own store: {remote.message} The remote copy in SnapshotStore"
        f" {remote.store_name}: {failure.message}"
    )
    return replace(job, failure=failure.model_copy(update={"message": text}))
