"""From which store a Snapshot is read, and why not from another. Pure.

The one rule for rollbacks, previews, Extracts, test restores, reading back, deletions and verdicts. A Snapshot has data
in its own store, in the remote copy, or in both; its own store comes first, because it is nearer. A store counts only
by its id: a SnapshotStore of the same name may name another bucket by now. A differential needs its full Snapshot in
the same store.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure
from ocore_operator.errors import Stalled
from ocore_operator.kube.resources import Snapshot, Store

#: SnapshotStores of the Snapshot's namespace by name; None: there is none of that name.
Stores = Mapping[str, Store | None]


@dataclass(frozen=True)
class Place:
    """A store that has data of a Snapshot."""

    store_name: str
    #: Empty: unknown.
    store_id: str
    #: The remote copy, not the Snapshot's own store.
    is_copy: bool = False


@dataclass(frozen=True)
class Source:
    """Where a Snapshot is read from."""

    #: None: from nowhere.
    place: Place | None
    #: Why not from the places before it. Without a place: why from none.
    refused: tuple[Failure, ...] = ()
    #: Without a place: the one that has the Snapshot whole, as far as is known, and cannot be read now.
    unreadable: Place | None = None


def own(snapshot: Snapshot) -> Place:
    """The store that the Snapshot was written to."""
    return Place(snapshot.status.store_name or "", snapshot.status.store_id or "")


def copy(snapshot: Snapshot) -> Place | None:
    """The remote copy: whole, or begun."""
    remote = snapshot.status.remote
    return Place(remote.store_name, remote.store_id or "", is_copy=True) if remote is not None else None


def replaced(snapshot: Snapshot) -> Place | None:
    """The whole copy that another one replaces."""
    remote = snapshot.status.remote
    found = remote.replaces if remote is not None else None
    return Place(found.store_name, found.store_id, is_copy=True) if found is not None else None


def whole_copy(snapshot: Snapshot) -> Place | None:
    """The remote copy that is whole; while it is replaced, the earlier one."""
    remote = snapshot.status.remote
    return copy(snapshot) if remote is not None and remote.complete else replaced(snapshot)


def damage_of(snapshot: Snapshot) -> str | None:
    """How the data in the Snapshot's own store is damaged; None: it is not, as far as is known."""
    verified = c.find(snapshot.status.conditions, c.VERIFIED)
    return verified.message if verified is not None and verified.status == "False" else None


def is_damaged(snapshot: Snapshot) -> bool:
    """Whether the data in the Snapshot's own store is known to be damaged."""
    return damage_of(snapshot) is not None


def places(snapshot: Snapshot) -> Iterator[Place]:
    """Where the whole Snapshot is, or was: the nearest first."""
    yield own(snapshot)
    found = whole_copy(snapshot)
    if found is not None:
        yield found


def source(snapshot: Snapshot, *, base: Snapshot | None = None, stores: Stores | None = None) -> Source:
    """Where the Snapshot is read from. `base`: the full Snapshot of a differential, where it is known. Without `stores`
    it is not asked whether a store can be read now."""
    refused: list[Failure] = []
    unreadable: Place | None = None
    for place in places(snapshot):
        found = lost(snapshot, place) or _without_base(place, base)
        if found is None and stores is not None:
            found = unusable(place, stores.get(place.store_name))
            unreadable = unreadable or (place if found is not None else None)
        if found is None:
            return Source(place, tuple(refused))
        refused.append(found)
    return Source(None, tuple(refused), unreadable)


def lost(snapshot: Snapshot, place: Place) -> Failure | None:
    """Why the place is known not to have the Snapshot whole; None: it has, as far as is known."""
    if place.is_copy:
        return None if place == whole_copy(snapshot) else _failure(c.REMOTE_COPY_LOST, "The remote copy is not whole.")
    remote = snapshot.status.remote
    if remote is not None and remote.only:
        return _failure(c.REMOTE_COPY_ONLY, f"Retention has deleted the data in SnapshotStore {place.store_name}.")
    damage = damage_of(snapshot)
    if damage is not None:
        return _failure(c.CORRUPT, f"The data in SnapshotStore {place.store_name} is damaged: {damage}")
    return None


def _without_base(place: Place, base: Snapshot | None) -> Failure | None:
    """Why the full Snapshot is not whole in the place of its differential."""
    if base is None:
        return None
    here = [each for each in places(base) if each.store_id == place.store_id]
    if any(lost(base, each) is None for each in here):
        return None
    if here and is_damaged(base):
        text = f"The full Snapshot {base.meta.name}, which it needs, is damaged in SnapshotStore {place.store_name}."
        return _failure(c.CORRUPT, text)
    text = f"The full Snapshot {base.meta.name}, which it needs, is not in SnapshotStore {place.store_name}."
    return _failure(c.BASE_GONE, text)


def unusable(place: Place, store: Store | None) -> Failure | None:
    """Why the place cannot be read now."""
    other = elsewhere(place, store)
    if other is not None or store is None:
        return _failure(other.reason, other.message) if other is not None else None
    ready = c.find(store.status.conditions, c.READY)
    if ready is not None and ready.status == "False":
        return _failure(c.STORE_NOT_READY, f"SnapshotStore {place.store_name} is not ready: {ready.message}")
    return None


def elsewhere(place: Place, store: Store | None) -> Stalled | None:
    """Why the SnapshotStore is not the store of the place: nothing is deleted in it or concluded from it. None: it is
    that store, by the id that its last probe has found. The Job asks again."""
    name = place.store_name
    if store is None:
        return Stalled(c.STORE_NOT_FOUND, f"There is no SnapshotStore {name} any more. Create it again.")
    if (store.status.store_id or "") == place.store_id:
        return None
    text = (
        f"SnapshotStore {name} has {f'the id {store.status.store_id}' if store.status.store_id else 'no id yet'}, and"
        f" the data is in the store {place.store_id or 'of an unknown id'}. Correct the SnapshotStore."
    )
    return Stalled(c.STORE_ID_CONFLICT, text)


def _failure(reason: str, message: str) -> Failure:
    return Failure(reason=reason, message=message)
