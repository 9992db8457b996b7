"""All entries with their indexes and subscriptions, in memory. No I/O.

An entry is served only if its object has its id: an object that the operator refused because of its id, and a younger
one that claims the id of an older one, are never found under that id and are in no list. The snapshots of an
environment are those that recorded its id and its project: an Environment that is created again under the id of a
deleted one of another project shows none of its snapshots.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar
from zlib import decompress

import structlog
from pydantic_core import from_json

from ocore_api.cache.changes import Changes
from ocore_api.cache.entries import (
    ENVIRONMENT,
    EXTRACT,
    KINDS,
    POLICY,
    ROLLBACK,
    SNAPSHOT,
    Entry,
    EnvironmentEntry,
    ExtractEntry,
    Key,
    OperationEntry,
    PreviewEntry,
    Progress,
    RollbackEntry,
    SnapshotEntry,
    environment_entry,
    event_of,
    extract_entry,
    key_of,
    packed,
    preview_entry,
    rollback_entry,
    snapshot_entry,
)
from ocore_api.cache.listing import PIECE, Listing, of_logs, of_snapshots
from ocore_api.cache.newest import Newest, page
from ocore_api.cache.pages import Pages
from ocore_api.views import events, rows
from ocore_api.views.values import Object, encode, is_id, status_of

#: Deleted objects that are remembered: a late answer about one of them does not bring it back.
GONE = 10_000

#: Bytes of an object, as JSON, that is kept as a whole. The API server takes 1.5 MB, and a tenant decides how many.
LARGEST = 256 * 1024

Callback = Callable[[Progress], None]
#: An environment's id and its project.
Home = tuple[str, str]
#: An environment's id, its type when the snapshot was taken, and the snapshot's status.
Cell = tuple[str, str, str]
#: An environment's id, its project, and what its Snapshots have proven.
Proof = tuple[str, str, str]
IndexT = TypeVar("IndexT", str, Home, Cell, Proof)
EntryT = TypeVar("EntryT", SnapshotEntry, RollbackEntry, PreviewEntry, ExtractEntry)
_NO_SNAPSHOTS: Newest[SnapshotEntry] = Newest()
_NO_ROLLBACKS: Newest[RollbackEntry] = Newest()
_NO_PREVIEWS: Newest[PreviewEntry] = Newest()
_NO_EXTRACTS: Newest[ExtractEntry] = Newest()

_log = structlog.get_logger()


class Store:
    """What the cache knows. `now` gives the current time as a timestamp."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self._entries: dict[str, dict[tuple[str, str], Entry]] = {kind: {} for kind in KINDS}
        self._policies: dict[tuple[str, str], Object] = {}
        self._by_id: dict[tuple[str, str], list[Entry]] = {}  # kind and id → entries, the holder of the id first
        self._linked: dict[Key, Entry] = {}  # operations that are in the lists, and so served
        self._snapshots: dict[Home, Newest[SnapshotEntry]] = {}
        self._project: dict[str, Newest[SnapshotEntry]] = {}
        self._cells: dict[str, dict[Cell, Newest[SnapshotEntry]]] = {}  # by project
        self._rollbacks: dict[Home, Newest[RollbackEntry]] = {}
        self._restores: dict[str, Newest[RollbackEntry]] = {}  # by snapshot id
        self._proven: dict[Proof, Newest[SnapshotEntry]] = {}
        self._previews: dict[Home, Newest[PreviewEntry]] = {}
        self._extracts: dict[Home, Newest[ExtractEntry]] = {}
        self._raw: dict[Key, tuple[bytes, tuple[Key, ...]]] = {}  # objects that lack what others have, and which others
        self._waiting: dict[Key, set[Key]] = {}  # object → those in _raw that need it
        self._hidden: set[str] = set()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._unreadable: set[Key] = set()
        self._callbacks: dict[tuple[str, str], list[Callback]] = {}
        self._pages = Pages()
        #: What changed last.
        self.changes = Changes(time.monotonic)

    # --- fed ------------------------------------------------------------------------------------------------
    def put(self, kind: str, obj: Object) -> None:
        """Takes an object of a list, a watch or an answer. One that is older than what is known changes nothing."""
        meta = obj["metadata"]
        key, version, uid = key_of(kind, obj), int(meta["resourceVersion"]), meta["uid"]
        known = self._known(key)
        if uid in self._gone or (known is not None and known[0] >= version):
            return
        try:
            self._take_with_dependents(key, obj)
        except Exception as error:
            # Whatever it is: one object must not keep the others from being served.
            _log.warning(
                "object cannot be read; it is not served", kind=kind, namespace=key[1], name=key[2], error=repr(error)
            )
            self._drop_with_dependents(key)
            self._unreadable.add(key)
            return
        self._unreadable.discard(key)
        if known is not None and known[1] != uid:
            self._remember_gone(known[1])

    def remove(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """The object is gone. With `uid`: unless another object has its name already."""
        key = (kind, namespace, name)
        self._unreadable.discard(key)
        known = self._known(key)
        if uid is not None:
            self._remember_gone(uid)
        if known is None or uid not in (None, known[1]):
            return
        self._remember_gone(known[1])
        self._hidden.discard(known[1])
        self._drop_with_dependents(key)

    def keep_only(self, kind: str, namespace: str | None, names: Collection[tuple[str, str]], version: int) -> None:
        """A full list of the kind in the namespace (None: of the cluster), read at that resourceVersion, has these
        namespaces and names: all others are gone, unless they are newer than the list."""
        self._unreadable -= {k for k in self._of(kind, namespace) if k[1:] not in names}
        for place in self._places(kind, namespace):
            if place in names:
                continue
            known = self._known((kind, *place))
            if known is not None and known[0] <= version:
                self.remove(kind, *place, uid=known[1])

    def forget(self, kind: str, namespace: str | None) -> None:
        """Nothing is known of the kind in the namespace (None: in the cluster) any more. Its objects may come back."""
        for place in self._places(kind, namespace):
            self._drop_with_dependents((kind, *place))
        self._unreadable.difference_update(self._of(kind, namespace))
        self._gone.clear()

    def newest_version(self, kind: str, namespace: str | None) -> int:
        """The highest resourceVersion of the kind in the namespace (None: in the cluster); 0 where there is none."""
        known = (self._known((kind, *place)) for place in self._places(kind, namespace))
        return max((k[0] for k in known if k is not None), default=0)

    def _places(self, kind: str, namespace: str | None) -> list[tuple[str, str]]:
        listed = self._policies if kind == POLICY else self._entries[kind]
        return [place for place in listed if namespace in (None, place[0])]

    def _of(self, kind: str, namespace: str | None) -> set[Key]:
        """The objects that cannot be read."""
        return {k for k in self._unreadable if k[0] == kind and namespace in (None, k[1])}

    def hide(self, kind: str, uid: str) -> None:
        """The object was deleted by an answer of the API server: it is not served from now on, although it may be
        listed until its data is removed."""
        self._hidden.add(uid)
        for entry in [e for e in self._entries[kind].values() if e.uid == uid]:
            self._settle(entry.kind, entry.id)

    # --- asked ----------------------------------------------------------------------------------------------
    def environment(self, environment_id: str) -> EnvironmentEntry | None:
        """The Environment that has the id."""
        found = self._holder(ENVIRONMENT, environment_id)
        return found if isinstance(found, EnvironmentEntry) else None

    def environment_at(self, namespace: str, name: str) -> EnvironmentEntry | None:
        """The Environment of that name, if it has its id."""
        found = self._entries[ENVIRONMENT].get((namespace, name))
        if not isinstance(found, EnvironmentEntry) or self._holder(ENVIRONMENT, found.id) is not found:
            return None
        return found

    def snapshot(self, snapshot_id: str) -> SnapshotEntry | None:
        """The Snapshot that has the id."""
        found = self._holder(SNAPSHOT, snapshot_id)
        return found if isinstance(found, SnapshotEntry) and self._linked.get(found.key) is found else None

    def rollback(self, rollback_id: str) -> RollbackEntry | None:
        """The Rollback that has the id."""
        found = self._holder(ROLLBACK, rollback_id)
        return found if isinstance(found, RollbackEntry) and self._linked.get(found.key) is found else None

    def preview(self, preview_id: str) -> PreviewEntry | None:
        """The preview that has the id."""
        found = self._holder(ROLLBACK, preview_id)
        return found if isinstance(found, PreviewEntry) and self._linked.get(found.key) is found else None

    def extract(self, extract_id: str) -> ExtractEntry | None:
        """The Extract that has the id."""
        found = self._holder(EXTRACT, extract_id)
        return found if isinstance(found, ExtractEntry) and self._linked.get(found.key) is found else None

    def operation_at(self, kind: str, namespace: str, name: str) -> OperationEntry | None:
        """The Snapshot, Rollback or Extract of that name, if it is served."""
        found = self._linked.get((kind, namespace, name))
        return found if isinstance(found, OperationEntry) else None

    def environments(self) -> Iterator[EnvironmentEntry]:
        """All Environments that have their id."""
        for found in self._entries[ENVIRONMENT].values():
            if isinstance(found, EnvironmentEntry) and self._holder(ENVIRONMENT, found.id) is found:
                yield found

    def known(self, kind: str, id_: str) -> SnapshotEntry | RollbackEntry | None:
        """The Snapshot or Rollback that has the id."""
        return self.snapshot(id_) if kind == SNAPSHOT else self.rollback(id_)

    def policy(self, namespace: str, name: str) -> Object | None:
        """The SnapshotPolicy, as the API server returned it."""
        return self._policies.get((namespace, name))

    def snapshots_of(self, environment_id: str) -> Sequence[SnapshotEntry]:
        """The Snapshots of an environment, newest first."""
        home = self._home(environment_id)
        return self._snapshots.get(home, _NO_SNAPSHOTS) if home is not None else _NO_SNAPSHOTS

    def rollbacks_of(self, environment_id: str) -> Sequence[RollbackEntry]:
        """The Rollbacks into an environment, newest first."""
        home = self._home(environment_id)
        return self._rollbacks.get(home, _NO_ROLLBACKS) if home is not None else _NO_ROLLBACKS

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
        """A page of an environment's Snapshots, newest first, and how many there are. `begin`, `end`: seconds as a
        timestamp has them; created from `begin` on, and before `end`."""
        home = self._home(environment_id)
        listed = self._snapshots.get(home, _NO_SNAPSHOTS) if home is not None else _NO_SNAPSHOTS
        if not (begin or end or trigger or status):
            return page((listed,), offset, limit)
        found = [e for e in listed.between(begin, end) if trigger in (None, e.trigger) and status in (None, e.status)]
        return found[offset : offset + limit], len(found)

    def previews_of(self, environment_id: str) -> Sequence[PreviewEntry]:
        """The previews for an environment, newest first."""
        home = self._home(environment_id)
        return self._previews.get(home, _NO_PREVIEWS) if home is not None else _NO_PREVIEWS

    def extracts_of(self, environment_id: str) -> Sequence[ExtractEntry]:
        """The Extracts of an environment's Snapshots, newest first."""
        home = self._home(environment_id)
        return self._extracts.get(home, _NO_EXTRACTS) if home is not None else _NO_EXTRACTS

    def newest(self, entry: EnvironmentEntry, proof: str) -> SnapshotEntry | None:
        """The newest Snapshot of an environment that has proven this."""
        found = self._proven.get((entry.id, entry.project_id, proof))
        return found[0] if found else None

    def snapshots_named(self, namespace: str, environment: str) -> list[SnapshotEntry]:
        """All Snapshots of the Environment of that name, served or not: those that its rules are about."""
        found = self._entries[SNAPSHOT].values()
        return [
            e
            for e in found
            if isinstance(e, SnapshotEntry) and e.namespace == namespace and e.environment_name == environment
        ]

    def rollbacks_known(self) -> list[RollbackEntry]:
        """All Rollbacks, served or not."""
        return [e for e in self._entries[ROLLBACK].values() if isinstance(e, RollbackEntry)]

    def rollbacks_to(self, snapshot_id: str) -> Sequence[RollbackEntry]:
        """The Rollbacks that restore a Snapshot, newest first, whatever their environments."""
        return self._restores.get(snapshot_id, _NO_ROLLBACKS)

    def snapshots_in(self, project_id: str) -> Sequence[SnapshotEntry]:
        """The Snapshots of a project, newest first."""
        return self._project.get(project_id, _NO_SNAPSHOTS)

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
        """A page of a project's Snapshots, newest first, and how many there are. `visible`: of an environment's id
        whether it counts; None: all do."""
        if visible is None and environment_type is None and status is None:
            return page((self._project.get(project_id, _NO_SNAPSHOTS),), offset, limit)
        cells = (
            found
            for (environment_id, type_, state), found in self._cells.get(project_id, {}).items()
            if environment_type in (None, type_)
            and status in (None, state)
            and (visible is None or visible(environment_id))
        )
        return page(cells, offset, limit)

    def environment_page(self, environment_id: str, limit: int, offset: int) -> bytes | Listing:
        """The page of an environment's Snapshots: :class:`ocore_api.views.models.SnapshotPage`. Encoded, if it is
        small."""
        found = self._pages.get(environment_id, limit, offset)
        if found is not None:
            return found
        snapshots = self.snapshots_of(environment_id)
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

    def deployment_of(self, entry: RollbackEntry) -> str | None:
        """The deployment that caused the Snapshot which a Rollback restores; None where that is not of the project: a
        Rollback that was imported names what its record in the store says."""
        snapshot = self.snapshot(entry.snapshot_id) if entry.snapshot_id else None
        return snapshot.deployment_id if snapshot is not None and snapshot.project_id == entry.project_id else None

    def counts(self) -> dict[str, int]:
        """Kind → number of objects, for /metrics."""
        return {kind: len(self._entries[kind]) for kind in KINDS if kind != POLICY} | {POLICY: len(self._policies)}

    def unreadable(self) -> dict[str, int]:
        """Kind → number of objects that cannot be read, for /metrics. The log has their names."""
        return {kind: len(self._of(kind, None)) for kind in KINDS}

    def subscribe(self, kind: str, id_: str, callback: Callback) -> Callable[[], None]:
        """Calls `callback` with every change of the progress of a Snapshot or Rollback, and with a final one where it
        is deleted. Returns what ends the subscription. The callback must return at once and must not raise."""
        self._callbacks.setdefault((kind, id_), []).append(callback)

        def unsubscribe() -> None:
            found = self._callbacks.get((kind, id_), [])
            if callback in found:
                found.remove(callback)
            if not found:
                self._callbacks.pop((kind, id_), None)

        return unsubscribe

    # --- taking an object -----------------------------------------------------------------------------------
    def _known(self, key: Key) -> tuple[int, str] | None:
        """resourceVersion and uid of what is known of a key."""
        if key[0] == POLICY:
            policy = self._policies.get(key[1:])
            return (int(policy["metadata"]["resourceVersion"]), policy["metadata"]["uid"]) if policy else None
        entry = self._entries[key[0]].get(key[1:])
        return (entry.version, entry.uid) if entry is not None else None

    def _remember_gone(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > GONE:
            self._gone.popitem(last=False)

    def _take_with_dependents(self, key: Key, obj: Object) -> None:
        if key[0] == POLICY:
            _whole(obj)
            self._policies[key[1:]] = obj
            self._note_environment(self.environment_at(*key[1:]))
            return
        self._refresh(self._take(key, obj))

    def _drop_with_dependents(self, key: Key) -> None:
        if key[0] == POLICY:
            if self._policies.pop(key[1:], None) is not None:
                self._note_environment(self.environment_at(*key[1:]))
            return
        self._refresh(self._replace(key, None, b"", ()))

    def _refresh(self, changed: set[Key]) -> None:
        """Reads those again that took something from a changed object, or waited for it. Each of them once, so that
        references in a circle end."""
        seen: set[Key] = set()
        open_ = list(changed)
        while open_:
            for each in tuple(self._waiting.get(open_.pop(), ())):
                if each not in seen:
                    seen.add(each)
                    open_ += self._take(each, from_json(decompress(self._raw[each][0])))

    def _take(self, key: Key, obj: Object) -> set[Key]:
        """Takes an object; returns the keys of those of which others must know."""
        entry, needs = self._entry(key[0], obj)
        raw = _whole(obj) if needs else b""
        if isinstance(entry, OperationEntry):
            _need_small(len(entry.row))
            _need_small(entry.length)
        return self._replace(key, entry, raw, needs)

    def _replace(self, key: Key, entry: Entry | None, raw: bytes, needs: tuple[Key, ...]) -> set[Key]:
        """Puts the entry in the place of the known one."""
        kind, old = key[0], self._entries[key[0]].pop(key[1:], None)
        ids = {e.id for e in (old, entry) if e is not None}
        same_id = {e.key for id_ in ids for e in self._by_id.get((kind, id_), ())} | {key}
        before = {k: self._facts(k, old if k == key else None) for k in same_id}
        if old is not None:
            claims = self._by_id[kind, old.id]
            claims.remove(old)
            if not claims:
                del self._by_id[kind, old.id]
        self._wait(key, raw, needs)
        if entry is not None:
            self._entries[kind][key[1:]] = entry
            self._by_id.setdefault((kind, entry.id), []).append(entry)
        elif key in self._linked:
            self._unlink(key)
        for id_ in ids:
            self._settle(kind, id_)
        if kind == ENVIRONMENT:
            for id_ in ids:
                self._note_environment(self.environment(id_))
            if isinstance(old, EnvironmentEntry) and old.id and self._project_of(old.id) != old.project_id:
                self.changes.note(kind, old.id, old.id, old.project_id, deleted=True)
        return {k for k in same_id if self._facts(k) != before[k]}

    def _project_of(self, environment_id: str) -> str:
        found = self.environment(environment_id)
        return found.project_id if found is not None else ""

    def _note_environment(self, entry: EnvironmentEntry | None) -> None:
        if entry is not None and is_id(entry.id):
            self.changes.note(ENVIRONMENT, entry.id, entry.id, entry.project_id, deleted=False)

    def _note(self, entry: OperationEntry, *, deleted: bool) -> None:
        """The operation changed, and with it what its environment shows."""
        preview = isinstance(entry, PreviewEntry)
        self.changes.note(
            entry.kind, entry.id, entry.environment_id, entry.project_id, deleted=deleted, preview=preview
        )
        if not preview and self._project_of(entry.environment_id) == entry.project_id:
            self._note_environment(self.environment(entry.environment_id))

    def _facts(self, key: Key, entry: Entry | None = None) -> tuple[str, ...]:
        """What others take from an object."""
        found = entry or self._entries[key[0]].get(key[1:])
        if found is None:
            return ()
        held = self._holder(found.kind, found.id) is found
        return (found.id, found.environment_id, found.project_id, found.environment_type, str(held))

    def _entry(self, kind: str, obj: Object) -> tuple[Entry | None, tuple[Key, ...]]:
        """The entry, and the objects that it took something from, or needs."""
        if kind == ENVIRONMENT:
            return environment_entry(obj), ()
        if kind == ROLLBACK:
            return self._rollback_entry(obj)
        if kind == EXTRACT:
            return self._extract_entry(obj)
        origin = rows.recorded_origin(obj)
        if origin is not None:
            return snapshot_entry(obj, origin), ()
        namespace, name = obj["metadata"]["namespace"], obj["spec"]["environmentRef"]["name"]
        return snapshot_entry(obj, self._origin(namespace, name)), ((ENVIRONMENT, namespace, name),)

    def _extract_entry(self, obj: Object) -> tuple[ExtractEntry, tuple[Key, ...]]:
        """Of the environment of its Snapshot; of that in its status where the Snapshot is deleted."""
        status, namespace = status_of(obj), obj["metadata"]["namespace"]
        needs: list[Key] = [(SNAPSHOT, namespace, obj["spec"]["snapshotRef"]["name"])]
        source = self._entries[SNAPSHOT].get(needs[0][1:])
        recorded = status.get("environmentId")
        if source is not None and source.key in self._linked and recorded in (None, source.environment_id):
            origin = rows.Origin(source.environment_id, source.project_id, "", source.environment_type)
            return extract_entry(obj, origin, source.id), tuple(needs)
        name = str(status.get("environmentName") or "")
        origin = self._origin(namespace, name) if name else rows.Origin()
        if name:
            needs.append((ENVIRONMENT, namespace, name))
        if origin.environment_id != recorded:
            origin = rows.Origin()
        return extract_entry(obj, origin, None), tuple(needs)

    def _rollback_entry(self, obj: Object) -> tuple[RollbackEntry | PreviewEntry, tuple[Key, ...]]:
        spec, status, namespace = obj["spec"], status_of(obj), obj["metadata"]["namespace"]
        needs: list[Key] = []
        ref, undo = spec.get("snapshotRef"), (spec.get("undo") or {}).get("rollbackRef")
        source: Entry | None = None
        if ref:
            needs.append((SNAPSHOT, ref.get("namespace") or namespace, ref["name"]))
        elif undo:
            needs.append((ROLLBACK, namespace, undo["name"]))
        if needs:
            source = self._entries[needs[0][0]].get(needs[0][1:])
        name = status.get("environmentName") or (spec.get("targetEnvironmentRef") or {}).get("name")
        name = str(name or (self._environment_name(source, namespace) if source is not None else ""))
        target = self._origin(namespace, name) if name else rows.Origin()
        if name:
            needs.append((ENVIRONMENT, namespace, name))
        if status.get("environmentId") not in (None, target.environment_id):
            # The Environment of that name is another one now, or not known yet.
            target = rows.Origin(environment_id=status["environmentId"])
        # The id of a Snapshot of another project is not shown: its name in a spec proves nothing.
        visible = source is not None and source.kind == SNAPSHOT and source.project_id == target.project_id
        snapshot_id = source.id if source is not None and visible and source.key in self._linked else None
        if status.get("snapshotId"):
            needs = [n for n in needs if n[0] != SNAPSHOT]
        made = preview_entry if rows.is_preview(obj) else rollback_entry
        return made(obj, target, snapshot_id), tuple(needs)

    def _environment_name(self, source: Entry, namespace: str) -> str:
        """Name of the Environment in the namespace that a Snapshot or Rollback belongs to; empty where that is
        unknown."""
        if isinstance(source, SnapshotEntry):
            return str(from_json(source.encoded)["environmentName"]) if source.namespace == namespace else ""
        found = self._holder(ENVIRONMENT, source.environment_id)
        return found.name if found is not None and found.namespace == namespace else ""

    def _origin(self, namespace: str, name: str) -> rows.Origin:
        """The Environment of that name, if it has its id; else only the name."""
        found = self.environment_at(namespace, name)
        if found is None:
            return rows.Origin(name=name)
        return rows.Origin(found.id, found.project_id, found.name, found.environment_type)

    def _wait(self, key: Key, raw: bytes, needs: tuple[Key, ...]) -> None:
        """Keeps an object, packed, that must be read again when one of those that it needs changes."""
        for each in self._raw.pop(key, (b"", ()))[1]:
            self._waiting[each].discard(key)
            if not self._waiting[each]:
                del self._waiting[each]
        if not needs:
            return
        self._raw[key] = packed(raw), needs
        for each in needs:
            self._waiting.setdefault(each, set()).add(key)

    # --- the lists ------------------------------------------------------------------------------------------
    def _home(self, environment_id: str) -> Home | None:
        found = self.environment(environment_id)
        return (found.id, found.project_id) if found is not None else None

    def _holder(self, kind: str, id_: str) -> Entry | None:
        """The one that has the id: an object whose id the operator has written comes first, then the older one. A
        refused one never has it."""
        claims = self._by_id.get((kind, id_))
        if not claims or not id_:
            return None
        if len(claims) == 1:
            return None if claims[0].refused else claims[0]
        accepted = (e for e in claims if not e.refused)
        return min(accepted, key=lambda e: (not e.recorded, e.created, e.uid), default=None)

    def _is_served(self, entry: Entry) -> bool:
        if isinstance(entry, EnvironmentEntry) or not (entry.environment_id and entry.project_id):
            return False
        if not (is_id(entry.id) and is_id(entry.environment_id)):
            return False  # no path names it
        if entry.uid in self._hidden or (entry.deleting and entry.kind == SNAPSHOT):
            return False  # a deleted Snapshot stays until its data is removed; clients have seen it deleted
        return self._holder(entry.kind, entry.id) is entry

    def _settle(self, kind: str, id_: str) -> None:
        """Puts the one that has the id into the lists, and takes all others out."""
        for entry in self._by_id.get((kind, id_), ()):
            linked, served = self._linked.get(entry.key), self._is_served(entry)
            if linked is entry and served:
                continue
            if linked is not None:
                self._unlink(entry.key, quiet=served)
            if served and isinstance(entry, OperationEntry):
                self._link(entry)
                self._note(entry, deleted=False)
                if (kind, id_) in self._callbacks:
                    progress = entry.progress
                    if not isinstance(linked, OperationEntry) or linked.progress.event != progress.event:
                        self._notify(kind, id_, progress)

    def _link(self, entry: OperationEntry) -> None:
        self._linked[entry.key] = entry
        home = entry.environment_id, entry.project_id
        if isinstance(entry, SnapshotEntry):
            _add(self._snapshots, home, entry)
            _add(self._project, entry.project_id, entry)
            cells = self._cells.setdefault(entry.project_id, {})
            _add(cells, _cell(entry), entry)
            for proof in entry.proven:
                _add(self._proven, (*home, proof), entry)
            self._pages.changed(entry.environment_id)
        elif isinstance(entry, RollbackEntry):
            _add(self._rollbacks, home, entry)
            if entry.snapshot_id:
                _add(self._restores, entry.snapshot_id, entry)
        elif isinstance(entry, PreviewEntry):
            _add(self._previews, home, entry)
        elif isinstance(entry, ExtractEntry):
            _add(self._extracts, home, entry)

    def _unlink(self, key: Key, *, quiet: bool = False) -> None:
        """Takes the entry out of the lists. Subscribers of one that had not ended get a final event; `quiet`: another
        entry follows."""
        entry = self._linked.pop(key)
        home = entry.environment_id, entry.project_id
        if isinstance(entry, SnapshotEntry):
            _discard(self._snapshots, home, entry)
            _discard(self._project, entry.project_id, entry)
            cells = self._cells[entry.project_id]
            _discard(cells, _cell(entry), entry)
            if not cells:
                del self._cells[entry.project_id]
            for proof in entry.proven:
                _discard(self._proven, (*home, proof), entry)
            self._pages.changed(entry.environment_id)
        elif isinstance(entry, RollbackEntry):
            _discard(self._rollbacks, home, entry)
            if entry.snapshot_id:
                _discard(self._restores, entry.snapshot_id, entry)
        elif isinstance(entry, PreviewEntry):
            _discard(self._previews, home, entry)
        elif isinstance(entry, ExtractEntry):
            _discard(self._extracts, home, entry)
        if isinstance(entry, OperationEntry) and not quiet:
            self._note(entry, deleted=True)
        if isinstance(entry, OperationEntry) and not quiet and not entry.final:
            last = events.deleted_event(event_of(entry.progress), entry.kind, self._now())
            self._notify(entry.kind, entry.id, Progress(entry.version + 1, encode(last), True))

    def _notify(self, kind: str, id_: str, progress: Progress) -> None:
        for callback in tuple(self._callbacks.get((kind, id_), ())):
            callback(progress)


def _whole(obj: Object) -> bytes:
    """The object as JSON, without what no view shows. Raises ValueError where it is too large to be kept."""
    meta = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    found = encode({**obj, "metadata": meta})
    _need_small(len(found))
    return found


def _need_small(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"it has {size} bytes; at most {LARGEST} are kept of one object")


def _cell(entry: SnapshotEntry) -> Cell:
    return entry.environment_id, entry.environment_type, entry.status


def _add(index: dict[IndexT, Newest[EntryT]], at: IndexT, entry: EntryT) -> None:
    found = index.get(at)
    if found is None:
        found = index[at] = Newest()
    found.add(entry)


def _discard(index: dict[IndexT, Newest[EntryT]], at: IndexT, entry: EntryT) -> None:
    index[at].discard(entry)
    if not index[at]:
        del index[at]
