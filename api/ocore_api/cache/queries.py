"""What is served: the one entry that has an id, and sorted lists of them. No I/O.

The snapshots of an environment are those that recorded its id and its project: an Environment that is created again
under the id of a deleted one of another project shows none of its snapshots.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ocore_api.cache.entries import (
    ENVIRONMENT,
    Entry,
    EnvironmentEntry,
    Key,
    OperationEntry,
    RollbackEntry,
    SnapshotEntry,
)
from ocore_api.cache.listing import PIECE, Listing, of_logs, of_snapshots
from ocore_api.cache.newest import Newest, page
from ocore_api.cache.pages import Pages
from ocore_api.views.values import Object

EntryT = TypeVar("EntryT", bound=Entry)
OperationT = TypeVar("OperationT", bound=OperationEntry)
#: A sorted list for each value of some fields.
Index = dict[Any, Newest[Any]]
_NOTHING: Newest[Any] = Newest()


class Served:
    """Entries by id, by name and in lists."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Entry] = {}
        self._by_id: defaultdict[type[Entry], dict[str, Entry]] = defaultdict(dict)
        self._homes: Index = {}  # by type of the entry, environment and project
        self._projects: Index = {}  # snapshots by project
        self._cells: dict[str, Index] = {}  # of a project: snapshots by environment, its type, and status
        self._restores: Index = {}  # rollbacks by snapshot
        self._proven: Index = {}  # snapshots by environment, project, and what they have proven
        self._pages = Pages()
        #: SnapshotPolicies by namespace and name, as the API server returned them. The store keeps them current.
        self.policies: dict[tuple[str, str], Object] = {}

    def add(self, entry: Entry) -> None:
        """Serves the entry, in the place of the one with its key."""
        if entry.key in self._by_key:
            self.discard(entry.key)
        self._by_key[entry.key] = entry
        self._by_id[type(entry)][entry.id] = entry
        for index, at in self._indexes(entry):
            index.setdefault(at, Newest()).add(entry)

    def discard(self, key: Key) -> Entry:
        """Serves the entry of that key no more, and returns it."""
        entry = self._by_key.pop(key)
        if self._by_id[type(entry)].get(entry.id) is entry:
            del self._by_id[type(entry)][entry.id]
        for index, at in self._indexes(entry):
            index[at].discard(entry)
            if not index[at]:
                del index[at]
        return entry

    def _indexes(self, entry: Entry) -> Iterator[tuple[Index, Any]]:
        """The lists that have the entry."""
        if not isinstance(entry, OperationEntry):
            return
        project_id, home = entry.project_id, (entry.environment_id, entry.project_id)
        yield self._homes, (type(entry), *home)
        if isinstance(entry, SnapshotEntry):
            self._pages.changed(entry.environment_id)
            yield self._projects, project_id
            yield self._cells.setdefault(project_id, {}), (entry.environment_id, entry.environment_type, entry.status)
            if not self._cells[project_id]:
                del self._cells[project_id]
            yield from ((self._proven, (*home, proof)) for proof in entry.proven)
        elif isinstance(entry, RollbackEntry) and entry.snapshot_id:
            yield self._restores, entry.snapshot_id

    # --- single entries
    def find(self, type_: type[EntryT], id_: str) -> EntryT | None:
        """The one that has the id."""
        found = self._by_id[type_].get(id_)
        return found if isinstance(found, type_) else None

    def at(self, key: Key) -> Entry | None:
        """The one of that kind, namespace and name."""
        return self._by_key.get(key)

    def environment_at(self, namespace: str, name: str) -> EnvironmentEntry | None:
        """The Environment of that name."""
        found = self._by_key.get((ENVIRONMENT, namespace, name))
        return found if isinstance(found, EnvironmentEntry) else None

    def environments(self) -> list[EnvironmentEntry]:
        """All Environments."""
        return [e for e in self._by_id[EnvironmentEntry].values() if isinstance(e, EnvironmentEntry)]

    def project_of(self, environment_id: str) -> str:
        """The project of an environment; empty where that is not known."""
        found = self.find(EnvironmentEntry, environment_id)
        return found.project_id if found is not None else ""

    def newest(self, environment: EnvironmentEntry, proof: str) -> SnapshotEntry | None:
        """The newest Snapshot of an environment that has proven this."""
        return next(iter(self._proven.get((environment.id, environment.project_id, proof), ())), None)

    def deployment_of(self, entry: RollbackEntry) -> str | None:
        """The deployment that caused the Snapshot which a Rollback restores; None where that is not of the project: a
        Rollback that was imported names what its record in the store says."""
        snapshot = self.find(SnapshotEntry, entry.snapshot_id) if entry.snapshot_id else None
        return snapshot.deployment_id if snapshot is not None and snapshot.project_id == entry.project_id else None

    # --- lists, newest first
    def of(self, type_: type[OperationT], environment_id: str) -> Newest[OperationT]:
        """The operations of an environment."""
        return self._homes.get((type_, environment_id, self.project_of(environment_id)), _NOTHING)

    def rollbacks_to(self, snapshot_id: str) -> Newest[RollbackEntry]:
        """The Rollbacks that restore a Snapshot, whatever their environments."""
        return self._restores.get(snapshot_id, _NOTHING)

    def snapshot_page(
        self,
        environment_id: str,
        offset: int,
        limit: int,
        *,
        begin: str = "",
        end: str = "",
        trigger: str | None = None,
        status: str | None = None,
    ) -> tuple[list[SnapshotEntry], int]:
        """A page of an environment's Snapshots, and how many there are. `begin`, `end`: seconds as a timestamp has
        them; created from `begin` on, and before `end`."""
        listed = self.of(SnapshotEntry, environment_id)
        if not (begin or end or trigger or status):
            return page((listed,), offset, limit)
        found = [e for e in listed.between(begin, end) if trigger in (None, e.trigger) and status in (None, e.status)]
        return found[offset : offset + limit], len(found)

    def project_page(
        self,
        project_id: str,
        offset: int,
        limit: int,
        *,
        visible: Callable[[str], bool] | None = None,
        environment_type: str | None = None,
        status: str | None = None,
    ) -> tuple[list[SnapshotEntry], int]:
        """A page of a project's Snapshots, and how many there are. `visible`: of an environment's id whether it counts;
        None: all do."""
        if visible is None and environment_type is None and status is None:
            return page((self._projects.get(project_id, _NOTHING),), offset, limit)
        cells = (
            found
            for (environment_id, type_, state), found in self._cells.get(project_id, {}).items()
            if environment_type in (None, type_)
            and status in (None, state)
            and (visible is None or visible(environment_id))
        )
        return page(cells, offset, limit)

    # --- answers
    def environment_page(self, environment_id: str, limit: int, offset: int) -> bytes | Listing:
        """The page of an environment's Snapshots: :class:`ocore_api.views.models.SnapshotPage`. Encoded, if it is
        small."""
        found = self._pages.get(environment_id, limit, offset)
        if found is not None:
            return found
        snapshots = self.of(SnapshotEntry, environment_id)
        shown = snapshots[offset : offset + limit]
        listing = of_snapshots(
            b'{"limit":%d,"offset":%d,"snapshots":[' % (limit, offset), shown, b'],"total":%d}' % len(snapshots)
        )
        # A kept page lives as long as the slowest of its readers. Empty ones could be many: there is one for each
        # offset.
        if not shown or listing.length > PIECE:
            return listing
        found = b"".join(listing.pieces())
        self._pages.keep(environment_id, limit, offset, found)
        return found

    def logs(self, head: bytes, entries: Sequence[RollbackEntry], tail: bytes) -> Listing:
        """An answer with rollback logs: each is a :class:`ocore_api.views.models.RollbackLog`."""
        return of_logs(head, entries, [self.deployment_of(e) for e in entries], tail)
