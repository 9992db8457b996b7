"""All entries, as lists, watches and answers bring their objects. No I/O.

An entry is served only if its object has its id: an object that the operator refused because of its id, and a younger
one that claims the id of an older one, are never found under that id and are in no list.
"""

import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from ocore_api.cache.changes import Changes
from ocore_api.cache.dependents import Dependents
from ocore_api.cache.entries import (
    KINDS,
    POLICY,
    ROLLBACK,
    SNAPSHOT,
    Entry,
    EnvironmentEntry,
    Key,
    OperationEntry,
    PreviewEntry,
    RollbackEntry,
    SnapshotEntry,
    key_of,
)
from ocore_api.cache.queries import Served
from ocore_api.cache.references import entry_of
from ocore_api.views.values import Object, Resource, encode, is_id

#: Deleted objects that are remembered: a late answer about one of them does not bring it back.
GONE = 10_000

#: Bytes of an object, as JSON, that is kept as a whole. The API server takes 1.5 MB, and a tenant decides how many.
LARGEST = 256 * 1024

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Policy:
    """A SnapshotPolicy that is known."""

    uid: str
    version: int


class Store:
    """What the cache knows."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[tuple[str, str], Entry]] = {kind: {} for kind in KINDS if kind != POLICY}
        self._policies: dict[tuple[str, str], _Policy] = {}
        self._claims: dict[tuple[str, str], list[Entry]] = {}  # by kind and id
        self._dependents = Dependents()
        self._hidden: set[str] = set()
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._unreadable: set[Key] = set()
        #: Those that have their ids.
        self.served = Served()
        #: What changed last.
        self.changes = Changes(time.monotonic)

    # --- fed
    def put(self, kind: str, obj: Object) -> None:
        """Takes an object of a list, a watch or an answer. One that is older than what is known changes nothing."""
        key, uid = key_of(kind, obj), obj["metadata"]["uid"]
        known = self._known(kind).get(key[1:])
        if uid in self._gone or (known is not None and known.version >= int(obj["metadata"]["resourceVersion"])):
            return
        try:
            self._take(key, obj)
        except Exception as error:
            # Whatever it is: one object must not keep the others from being served.
            _log.warning(
                "object cannot be read; it is not served", kind=kind, namespace=key[1], name=key[2], error=repr(error)
            )
            self._drop(key)
            self._unreadable.add(key)
            return
        self._unreadable.discard(key)
        if known is not None and known.uid != uid:
            self._remember_gone(known.uid)

    def remove(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """The object is gone. With `uid`: unless another object has its name already."""
        key = (kind, namespace, name)
        self._unreadable.discard(key)
        known = self._known(kind).get((namespace, name))
        if uid is not None:
            self._remember_gone(uid)
        if known is None or uid not in (None, known.uid):
            return
        self._remember_gone(known.uid)
        self._hidden.discard(known.uid)
        self._drop(key)

    def keep_only(self, kind: str, namespace: str | None, names: Collection[tuple[str, str]], version: int) -> None:
        """A full list of the kind in the namespace (None: of the cluster), read at that resourceVersion, has these
        namespaces and names: all others are gone, unless they are newer than the list."""
        self._unreadable -= {k for k in self._unreadable_in(kind, namespace) if k[1:] not in names}
        for place, known in self._in(kind, namespace):
            if place not in names and known.version <= version:
                self.remove(kind, *place, uid=known.uid)

    def forget(self, kind: str, namespace: str | None) -> None:
        """Nothing is known of the kind in the namespace (None: in the cluster) any more. Its objects may come back."""
        for place, _ in self._in(kind, namespace):
            self._drop((kind, *place))
        self._unreadable -= self._unreadable_in(kind, namespace)
        self._gone.clear()

    def hide(self, kind: str, uid: str) -> None:
        """The object was deleted by an answer of the API server: it is not served from now on, although it may be
        listed until its data is removed."""
        self._hidden.add(uid)
        for entry in [e for e in self._entries[kind].values() if e.uid == uid]:
            self._settle(entry.kind, entry.id)

    # --- what is known, served or not
    def newest_version(self, kind: str, namespace: str | None) -> int:
        """The highest resourceVersion of the kind in the namespace (None: in the cluster); 0 where there is none."""
        return max((known.version for _, known in self._in(kind, namespace)), default=0)

    def snapshots_named(self, namespace: str, environment: str) -> list[SnapshotEntry]:
        """All Snapshots of the Environment of that name: those that its rules are about."""
        found = (e for e in self._entries[SNAPSHOT].values() if isinstance(e, SnapshotEntry))
        return [e for e in found if e.namespace == namespace and e.environment_name == environment]

    def rollbacks_known(self) -> list[RollbackEntry]:
        """All Rollbacks."""
        return [e for e in self._entries[ROLLBACK].values() if isinstance(e, RollbackEntry)]

    def unreadable(self) -> dict[str, int]:
        """Kind → number of objects that cannot be read, for /metrics. The log has their names."""
        return {kind: len(self._unreadable_in(kind, None)) for kind in KINDS}

    def _known(self, kind: str) -> dict[tuple[str, str], Entry] | dict[tuple[str, str], _Policy]:
        return self._policies if kind == POLICY else self._entries[kind]

    def _in(self, kind: str, namespace: str | None) -> list[tuple[tuple[str, str], Entry | _Policy]]:
        return [(place, known) for place, known in self._known(kind).items() if namespace in (None, place[0])]

    def _unreadable_in(self, kind: str, namespace: str | None) -> set[Key]:
        return {k for k in self._unreadable if k[0] == kind and namespace in (None, k[1])}

    def _entry_at(self, key: Key) -> Entry | None:
        return self._entries[key[0]].get(key[1:])

    def _remember_gone(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > GONE:
            self._gone.popitem(last=False)

    # --- an object becomes an entry
    def _take(self, key: Key, obj: Object) -> None:
        """Takes an object, and reads those again that took something from it."""
        if key[0] == POLICY:
            _whole(obj)
            self._policies[key[1:]] = _Policy(obj["metadata"]["uid"], int(obj["metadata"]["resourceVersion"]))
            self.served.policies[key[1:]] = obj
            self._note_environment(self.served.environment_at(*key[1:]))
            return
        self._refresh(self._enter(key, obj))

    def _drop(self, key: Key) -> None:
        """The object is not known any more."""
        if key[0] == POLICY:
            if self._policies.pop(key[1:], None) is not None:
                del self.served.policies[key[1:]]
                self._note_environment(self.served.environment_at(*key[1:]))
            return
        self._dependents.keep(key, b"", ())
        self._refresh(self._replace(key, None))

    def _refresh(self, changed: set[Key]) -> None:
        """Reads those again that took something from a changed object, or waited for it. Each of them once, so that
        references in a circle end."""
        seen: set[Key] = set()
        open_ = list(changed)
        while open_:
            for key, obj in self._dependents.of(open_.pop()):
                if key not in seen:
                    seen.add(key)
                    open_ += self._enter(key, obj)

    def _enter(self, key: Key, obj: Object) -> set[Key]:
        """Takes an object; returns the keys of those of which others must know."""
        entry, needs = entry_of(key[0], Resource(obj), self.served, self._entry_at)
        raw = _whole(obj) if needs else b""
        if isinstance(entry, OperationEntry):
            _need_small(max(len(entry.row), entry.length))
        self._dependents.keep(key, raw, needs)
        return self._replace(key, entry)

    def _replace(self, key: Key, entry: Entry | None) -> set[Key]:
        """Puts the entry in the place of the known one. Returns the keys of those from which others take something that
        is another one now."""
        kind, known = key[0], self._entries[key[0]]
        old = known.pop(key[1:], None)
        ids = {e.id for e in (old, entry) if e is not None}
        same_id = {e.key for id_ in ids for e in self._claims.get((kind, id_), ())} | {key}
        before = {k: self._facts(old if k == key else self._entry_at(k)) for k in same_id}
        if old is not None:
            claims = self._claims[kind, old.id]
            claims.remove(old)
            if not claims:
                del self._claims[kind, old.id]
        if entry is not None:
            known[key[1:]] = entry
            self._claims.setdefault((kind, entry.id), []).append(entry)
        elif self.served.at(key) is not None:
            self._withdraw(key)
        for id_ in ids:
            self._settle(kind, id_)
        if isinstance(old, EnvironmentEntry) and old.id and self.served.project_of(old.id) != old.project_id:
            self.changes.note(old, deleted=True)
        return {k for k in same_id if self._facts(self._entry_at(k)) != before[k]}

    def _facts(self, entry: Entry | None) -> tuple[object, ...]:
        """What others take from an object."""
        if entry is None:
            return ()
        holds = self._holder(entry.kind, entry.id) is entry
        return entry.id, entry.environment_id, entry.project_id, entry.environment_type, holds

    # --- who has an id
    def _holder(self, kind: str, id_: str) -> Entry | None:
        """The one that has the id: an object whose id the operator has written comes first, then the older one. A
        refused one never has it."""
        claims = self._claims.get((kind, id_))
        if not claims or not id_:
            return None
        if len(claims) == 1:
            return None if claims[0].refused else claims[0]
        accepted = (e for e in claims if not e.refused)
        return min(accepted, key=lambda e: (not e.recorded, e.created, e.uid), default=None)

    def _is_served(self, entry: Entry) -> bool:
        if self._holder(entry.kind, entry.id) is not entry:
            return False
        if isinstance(entry, EnvironmentEntry):
            return True
        if not (is_id(entry.id) and is_id(entry.environment_id)):
            return False  # no path names it
        if not entry.project_id or entry.uid in self._hidden:
            return False
        # A deleted Snapshot stays until its data is removed; clients have seen it deleted.
        return not (entry.deleting and isinstance(entry, SnapshotEntry))

    def _settle(self, kind: str, id_: str) -> None:
        """Serves the one that has the id, and no other."""
        for entry in self._claims.get((kind, id_), ()):
            former, serves = self.served.at(entry.key), self._is_served(entry)
            if former is entry and serves:
                continue
            if serves:
                self.served.add(entry)
                self._note(entry)
            elif former is not None:
                self._withdraw(entry.key)

    def _withdraw(self, key: Key) -> None:
        self._note(self.served.discard(key), deleted=True)

    def _note(self, entry: Entry, *, deleted: bool = False) -> None:
        """The object changed, and with it what its environment shows."""
        if isinstance(entry, EnvironmentEntry):
            if not deleted:
                self._note_environment(entry)
            return
        self.changes.note(entry, deleted=deleted)
        if not isinstance(entry, PreviewEntry):
            environment = self.served.find(EnvironmentEntry, entry.environment_id)
            if environment is not None and environment.project_id == entry.project_id:
                self._note_environment(environment)

    def _note_environment(self, entry: EnvironmentEntry | None) -> None:
        if entry is not None and is_id(entry.id):
            self.changes.note(entry)


def _whole(obj: Object) -> bytes:
    """The object as JSON, without what no view shows. Raises ValueError where it is too large to be kept."""
    meta = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    found = encode({**obj, "metadata": meta})
    _need_small(len(found))
    return found


def _need_small(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"it has {size} bytes; at most {LARGEST} are kept of one object")
