"""All entries, as lists, watches and answers bring their objects. No I/O.

An entry is served only if its object has its id: an object that the operator refused because of its id, and a younger
one that claims the id of an older one, are never found under that id and are in no list.
"""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Collection
from operator import attrgetter

import structlog

from ocore_api.cache.changes import Changes
from ocore_api.cache.dependents import Dependents
from ocore_api.cache.entries import (
    ENVIRONMENT,
    KINDS,
    ROLLBACK,
    SNAPSHOT,
    Entry,
    EnvironmentEntry,
    Key,
    OperationEntry,
    PolicyEntry,
    PreviewEntry,
    RollbackEntry,
    SnapshotEntry,
)
from ocore_api.cache.queries import Served
from ocore_api.cache.references import READERS
from ocore_api.views.values import Object, Resource, is_id

#: Deleted objects that are remembered: a late answer about one of them does not bring it back.
GONE = 10_000
#: What others take from an object.
_FACTS = attrgetter("id", "environment_id", "project_id", "environment_type")

_log = structlog.get_logger()


class Store:
    """What the cache knows."""

    def __init__(self) -> None:
        self._known: dict[str, dict[Key, Entry]] = {kind: {} for kind in KINDS}  # served or not
        self._claims: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)  # by kind and id
        self._dependents = Dependents()
        self._moved: list[Key] = []  # those from which others take something that is another one now
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
        meta = obj["metadata"]
        key, uid = (kind, meta["namespace"], meta["name"]), meta["uid"]
        known = self._known[kind].get(key)
        if uid in self._gone or (known is not None and known.version >= int(meta["resourceVersion"])):
            return
        self._take(key, obj)
        if self._moved:
            self._refresh()
        if known is not None and known.uid != uid:
            self._remember_gone(known.uid)

    def remove(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """The object is gone. With `uid`: unless another object has its name already."""
        key = (kind, namespace, name)
        self._unreadable.discard(key)
        known = self._known[kind].get(key)
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
        for known in self._in(kind, namespace):
            if known.key[1:] not in names and known.version <= version:
                self.remove(*known.key, uid=known.uid)

    def forget(self, kind: str, namespace: str | None) -> None:
        """Nothing is known of the kind in the namespace (None: in the cluster) any more. Its objects may come back."""
        for known in self._in(kind, namespace):
            self._drop(known.key)
        self._unreadable -= self._unreadable_in(kind, namespace)
        self._gone.clear()

    def hide(self, kind: str, uid: str) -> None:
        """The object was deleted by an answer of the API server: it is not served from now on, although it may be
        listed until its data is removed."""
        self._hidden.add(uid)
        for entry in [e for e in self._known[kind].values() if e.uid == uid]:
            self._settle(kind, entry.id)
        self._refresh()

    # --- what is known, served or not
    def newest_version(self, kind: str, namespace: str | None) -> int:
        """The highest resourceVersion of the kind in the namespace (None: in the cluster); 0 where there is none."""
        return max((known.version for known in self._in(kind, namespace)), default=0)

    def snapshots_named(self, namespace: str, environment: str) -> list[SnapshotEntry]:
        """All Snapshots of the Environment of that name: those that its rules are about."""
        found = (e for e in self._in(SNAPSHOT, namespace) if isinstance(e, SnapshotEntry))
        return [e for e in found if e.environment_name == environment]

    def rollbacks_known(self) -> list[RollbackEntry]:
        """All Rollbacks."""
        return [e for e in self._in(ROLLBACK, None) if isinstance(e, RollbackEntry)]

    def unreadable(self) -> dict[str, int]:
        """Kind → number of objects that cannot be read, for /metrics. The log has their names."""
        return {kind: len(self._unreadable_in(kind, None)) for kind in KINDS}

    def _in(self, kind: str, namespace: str | None) -> list[Entry]:
        return [known for known in self._known[kind].values() if namespace in (None, known.key[1])]

    def _unreadable_in(self, kind: str, namespace: str | None) -> set[Key]:
        return {k for k in self._unreadable if k[0] == kind and namespace in (None, k[1])}

    def _at(self, key: Key) -> Entry | None:
        return self._known[key[0]].get(key)

    def _remember_gone(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > GONE:
            self._gone.popitem(last=False)

    # --- an object becomes an entry
    def _take(self, key: Key, obj: Object) -> None:
        """Takes an object. One that cannot be read is not served, and keeps no other from being served."""
        entry: Entry | None = None
        try:
            entry, needs = READERS[key[0]](Resource(obj), self.served, self._at)
            if needs or key in self._dependents.objects:
                self._dependents.keep(key, obj, needs)
            self._unreadable.discard(key)
        except Exception as error:
            _log.warning(
                "object cannot be read; it is not served", kind=key[0], namespace=key[1], name=key[2], error=repr(error)
            )
            self._dependents.keep(key, obj, ())
            self._unreadable.add(key)
            entry = None
        self._place(key, entry)

    def _drop(self, key: Key) -> None:
        """The object is not known any more."""
        self._dependents.keep(key, {}, ())
        self._place(key, None)
        self._refresh()

    def _refresh(self) -> None:
        """Takes those again that took something from a changed object, or waited for it. Each of them once, so that
        references in a circle end."""
        seen: set[Key] = set()
        while self._moved:
            for key, obj in self._dependents.of(self._moved.pop()):
                if key not in seen:
                    seen.add(key)
                    self._take(key, obj)

    def _place(self, key: Key, entry: Entry | None) -> None:
        """Puts the entry in the place of the known one; None: the object is not known any more."""
        kind, known = key[0], self._known[key[0]]
        old = known.pop(key, None)
        if old is not None:
            self._claims[kind, old.id].remove(old)
        if entry is not None:
            known[entry.key] = entry
            self._claims[kind, entry.id].append(entry)
        elif self.served.at(key) is not None:
            self._withdraw(key)
        if (old and _FACTS(old)) != (entry and _FACTS(entry)):
            self._moved.append(key)
        for id_ in {e.id for e in (old, entry) if e is not None}:
            self._settle(kind, id_)
        if isinstance(old, EnvironmentEntry) and old.id and self.served.project_of(old.id) != old.project_id:
            self.changes.note(old, deleted=True)

    def _settle(self, kind: str, id_: str) -> None:
        """Serves the one that has the id, and no other: an object whose id the operator has written comes first, then
        the older one. A refused one never has it."""
        claims = self._claims[kind, id_]
        if not claims:
            del self._claims[kind, id_]
        accepted = (e for e in claims if id_ and not e.refused)
        holder = min(accepted, key=lambda e: (not e.recorded, e.created, e.uid), default=None)
        for entry in claims:
            former, serves = self.served.at(entry.key), entry is holder
            if serves and isinstance(entry, OperationEntry):
                named = is_id(entry.id) and is_id(entry.environment_id) and entry.project_id  # else no path names it
                # A deleted Snapshot stays until its data is removed; clients have seen it deleted.
                deleted = entry.uid in self._hidden or (entry.deleting and isinstance(entry, SnapshotEntry))
                serves = bool(named) and not deleted
            if serves and former is not entry:
                self.served.add(entry)
                self._note(entry)
            elif former is not None and not serves:
                self._withdraw(entry.key)
            if serves != (former is not None):
                self._moved.append(entry.key)

    def _withdraw(self, key: Key) -> None:
        self._note(self.served.discard(key), deleted=True)

    def _note(self, entry: Entry, *, deleted: bool = False) -> None:
        """The object changed, and with it what its environment shows."""
        environment: Entry | None = entry
        if isinstance(entry, OperationEntry):
            self.changes.note(entry, deleted=deleted)
            environment = self.served.environment(entry.environment_id)
            if isinstance(entry, PreviewEntry) or (environment and environment.project_id != entry.project_id):
                return
        elif isinstance(entry, PolicyEntry):
            environment = self.served.at((ENVIRONMENT, *entry.key[1:]))
        elif deleted:
            return
        if environment is not None and is_id(environment.id):
            self.changes.note(environment)
