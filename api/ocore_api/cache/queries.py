"""What is served: the one entry that has an id, and sorted lists of them. No I/O.

The snapshots of an environment are those that recorded its id and its project: an Environment that is created again
under the id of a deleted one of another project shows none of its snapshots.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ocore_api.cache.entries import (
    Entry,
    EnvironmentEntry,
    Key,
    OperationEntry,
    PolicyEntry,
    PreviewEntry,
    RollbackEntry,
    SnapshotEntry,
)
from ocore_api.cache.listing import PIECE, Listing, of_logs, of_snapshots
from ocore_api.cache.newest import Newest, page
from ocore_api.views.values import Object

EntryT = TypeVar("EntryT", bound=Entry)
OperationT = TypeVar("OperationT", bound=OperationEntry)
#: Environments of which an encoded page is kept until a Snapshot of it changes: 16 MiB.
PAGES = 256
#: What names a sorted list; see `Served._lists`.
Name = tuple[str, ...]
_NOTHING: Newest[Any] = Newest()


class Served:
    """Entries by id, by name and in lists."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Entry] = {}
        self._by_id: defaultdict[type[Entry], dict[str, Entry]] = defaultdict(dict)
        self._listed: defaultdict[Name, Newest[Any]] = defaultdict(Newest)
        self._cells: defaultdict[str, set[Name]] = defaultdict(set)  # by project: lists with one status
        self._pages: OrderedDict[str, tuple[int, int, bytes]] = OrderedDict()  # by environment: limit, offset, page
        self._environments: dict[str, EnvironmentEntry] = {}
        #: SnapshotPolicies by namespace and name, as the API server returned them.
        self.policies: dict[tuple[str, str], Object] = {}
        #: The entry of that kind, namespace and name.
        self.at = self._by_key.get
        #: The Environment that has the id.
        self.environment = self._environments.get

    def add(self, entry: Entry) -> None:
        """Serves the entry, in the place of the one with its key."""
        former, lists = self._by_key.get(entry.key), [*self._lists(entry)]
        if former is not None and (former.order != entry.order or [*self._lists(former)] != lists):
            self.discard(entry.key)
        self._by_key[entry.key] = self._by_id[type(entry)][entry.id] = entry
        for name in lists:
            self._listed[name].put(entry)
        if isinstance(entry, SnapshotEntry):
            self._cells[entry.project_id].add(lists[-1])
            self._pages.pop(entry.environment_id, None)
        elif isinstance(entry, EnvironmentEntry):
            self._environments[entry.id] = entry
        elif isinstance(entry, PolicyEntry):
            self.policies[entry.key[1:]] = entry.object

    def discard(self, key: Key) -> Entry:
        """Serves the entry of that key no more, and returns it."""
        entry = self._by_key.pop(key)
        if self._by_id[type(entry)].get(entry.id) is entry:
            del self._by_id[type(entry)][entry.id]
        for name in self._lists(entry):
            self._listed[name].discard(entry)
            if not self._listed[name]:
                del self._listed[name]
                self._cells[entry.project_id].discard(name)
        if not self._cells[entry.project_id]:
            del self._cells[entry.project_id]
        if isinstance(entry, SnapshotEntry):
            self._pages.pop(entry.environment_id, None)
        elif isinstance(entry, EnvironmentEntry) and self._environments.get(entry.id) is entry:
            del self._environments[entry.id]
        elif isinstance(entry, PolicyEntry):
            del self.policies[key[1:]]
        return entry

    def _lists(self, entry: Entry) -> Iterator[Name]:
        """The names of the lists that have the entry."""
        if not isinstance(entry, OperationEntry):
            return
        yield entry.noun, entry.environment_id, entry.project_id
        if isinstance(entry, SnapshotEntry):
            for mark in entry.marks:
                yield mark, entry.environment_id, entry.project_id
            yield "project", entry.project_id
            yield "project", entry.project_id, entry.environment_id, entry.environment_type, entry.status
        elif isinstance(entry, RollbackEntry) and entry.snapshot_id:
            yield "restores", entry.snapshot_id

    # --- single entries
    def find(self, type_: type[EntryT], id_: str) -> EntryT | None:
        """The one that has the id."""
        found = self._by_id[type_].get(id_)
        return found if isinstance(found, type_) else None

    def environments(self) -> list[EnvironmentEntry]:
        """All Environments."""
        return [*self._environments.values()]

    def previews(self) -> list[PreviewEntry]:
        """All previews."""
        return [e for e in self._by_id[PreviewEntry].values() if isinstance(e, PreviewEntry)]

    def project_of(self, environment_id: str) -> str:
        """The project of an environment; empty where that is not known."""
        found = self.environment(environment_id)
        return found.project_id if found is not None else ""

    def newest(self, environment: EnvironmentEntry, mark: str) -> SnapshotEntry | None:
        """The newest Snapshot of an environment that has this mark."""
        return next(iter(self._listed.get((mark, environment.id, environment.project_id), ())), None)

    def deployment_of(self, entry: RollbackEntry) -> str | None:
        """The deployment that caused the Snapshot which a Rollback restores; None where that is not of the project: a
        Rollback that was imported names what its record in the store says."""
        snapshot = self.find(SnapshotEntry, entry.snapshot_id) if entry.snapshot_id else None
        return snapshot.deployment_id if snapshot is not None and snapshot.project_id == entry.project_id else None

    # --- lists, newest first
    def of(self, type_: type[OperationT], environment_id: str) -> Newest[OperationT]:
        """The operations of an environment."""
        return self._listed.get((type_.noun, environment_id, self.project_of(environment_id)), _NOTHING)

    def rollbacks_to(self, snapshot_id: str) -> Newest[RollbackEntry]:
        """The Rollbacks that restore a Snapshot, whatever their environments."""
        return self._listed.get(("restores", snapshot_id), _NOTHING)

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
            return page((self._listed.get(("project", project_id), _NOTHING),), offset, limit)
        cells = (
            self._listed[name]
            for name in self._cells.get(project_id, ())
            if environment_type in (None, name[3])
            and status in (None, name[4])
            and (visible is None or visible(name[2]))
        )
        return page(cells, offset, limit)

    # --- answers
    def environment_page(self, environment_id: str, limit: int, offset: int) -> bytes | Listing:
        """The page of an environment's Snapshots: :class:`ocore_api.views.models.SnapshotPage`. Encoded, if it is
        small."""
        kept = self._pages.get(environment_id)
        if kept is not None and kept[:2] == (limit, offset):
            self._pages.move_to_end(environment_id)
            return kept[2]
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
        self._pages[environment_id] = limit, offset, found
        self._pages.move_to_end(environment_id)
        if len(self._pages) > PAGES:
            self._pages.popitem(last=False)
        return found

    def logs(self, head: bytes, entries: Sequence[RollbackEntry], tail: bytes) -> Listing:
        """An answer with rollback logs: each is a :class:`ocore_api.views.models.RollbackLog`."""
        return of_logs(head, entries, [self.deployment_of(e) for e in entries], tail)
