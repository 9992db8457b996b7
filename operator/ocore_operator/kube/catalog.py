"""The catalog: one small entry for each object of our kinds, fed by the watches, the resync and every reconcile.

It knows no kind: what an entry holds, and by what it is found, is decided where entries are made (the kinds'
`entry.py`, types in `entries`). It answers questions whose answer may be a moment old: which other object has this id,
which operations wait for this environment, what /metrics shows. What must be right (the operation lock, a status) is
decided against the API server.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar, cast, overload

from ocore_crds import conditions as c
from ocore_crds.text import timestamps
from ocore_operator.kube.resources import Key, Meta, Object

#: What reading a value raises that the schema allows and this program does not.
UNREADABLE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
#: The phase of such an object.
UNREADABLE = "Unreadable"
NEEDED_META = ("namespace", "name", "uid", "creationTimestamp", "resourceVersion")

#: A namespace and a name or id in it.
Place = tuple[str, str]
IndexT = TypeVar("IndexT", str, Place)


@dataclass(frozen=True, slots=True)
class Work:
    """What an object asks of the operator."""

    idle: bool = False  # it needs no reconcile
    urgent: bool = False  # its reconciles go before those of the others
    critical: bool = False  # an application is stopped until it is reconciled further
    arriving: bool = False  # an import has just created it and writes its status next


NO_WORK = Work()


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of one object, whatever its kind."""

    KIND: ClassVar[str] = ""

    key: Key
    work: Work
    uid: str
    id: str
    created: str
    version: int
    phase: str
    terminal: bool
    deleting: bool
    refused: bool  # because of its id
    unreadable: bool  # it has a value that cannot be read: only its metadata is known

    @property
    def counted_as(self) -> str:
        """The phase that /metrics counts it in."""
        return self.phase

    @property
    def age_order(self) -> tuple[str, str]:
        """Older first: creationTimestamp, then uid."""
        return self.created, self.uid

    @property
    def precedence(self) -> tuple[bool, bool, str, tuple[str, str]]:
        """Of objects with one id, the first one has it: one that was not refused for its id, then an operation that
        has begun, then the one that started or was created first. A refused duplicate is Failed or Stalled, so its
        phase says nothing about the object that has the id."""
        return self.refused, True, self.created, self.age_order

    def times(self) -> Iterator[str]:
        """What /metrics and decisions parse later."""
        yield self.created

    def indexes(self) -> "Iterator[tuple[Index[Any], Place]]":
        """Where the catalog finds it, besides by its key and its id."""
        return iter(())


EntryT = TypeVar("EntryT", bound=Entry)
#: The entry of an object, by its raw JSON. Pure, and it keeps nothing of the object.
Maker = Callable[[Object], Entry]


@dataclass(frozen=True)
class Index(Generic[EntryT]):
    """Entries by a place. The type says which entries it has."""

    name: str


def common(kind: str, obj: Object, asks: Callable[[Object], Work] = lambda _: NO_WORK) -> dict[str, Any]:
    """The fields of Entry, for the kinds' `entry.py`. `asks`: what it asks of the operator; nothing in particular where
    that cannot be read."""
    try:
        work = asks(obj)
    except UNREADABLE_ERRORS:
        work = NO_WORK
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    conditions = status.get("conditions") or ()
    return {
        "key": Key(kind, shared(meta["namespace"]), meta["name"]),
        "work": work,
        "uid": meta["uid"],
        "id": spec.get("id") or meta["uid"],
        "created": meta["creationTimestamp"],
        "version": int(meta["resourceVersion"]),
        "phase": shared(status.get("phase") or ""),
        "terminal": c.is_terminal(conditions),
        "deleting": "deletionTimestamp" in meta,
        "refused": any(
            x["type"] in (c.STALLED, c.FAILED) and x.get("status") == "True" and x.get("reason") == c.DUPLICATE_ID
            for x in conditions
        ),
        "unreadable": False,
    }


def shared(text: str) -> str:
    """The same string for all entries: 20,000 Snapshots name some environments and stores."""
    return sys.intern(text)


class Catalog:
    """All objects of our kinds that are watched. A question reads the objects that it is about, not all of them."""

    def __init__(self, makers: Mapping[str, Maker]) -> None:
        self._makers = makers
        self._by_kind: dict[str, dict[str, dict[Key, Entry]]] = {}  # kind → namespace
        self._by_id: dict[str, dict[str, tuple[Key, ...]]] = {}  # kind → id
        self._indexes: dict[str, dict[Place, dict[Key, Entry]]] = {}  # name of the index → place
        self._busy: dict[Key, Entry] = {}  # not idle

    # --- fed ------------------------------------------------------------------------------------------------
    def entry(self, kind: str, obj: Object) -> Entry:
        """The entry of an object, which is not taken yet. From any thread. One that cannot be read has an entry, too:
        it must not end what lists it."""
        make = self._makers[kind]
        try:
            found = make(obj)
            for time in found.times():
                timestamps.check(time)
        except UNREADABLE_ERRORS:
            meta = obj["metadata"]
            bare = {"metadata": {name: meta[name] for name in NEEDED_META}, "spec": {}, "status": {}}
            deleting = "deletionTimestamp" in meta
            return replace(make(bare), work=NO_WORK, deleting=deleting, phase=UNREADABLE, unreadable=True)
        return found

    def put(self, kind: str, obj: Object) -> Entry:
        """Takes an object from a list or an answer: see :meth:`take`."""
        return self.take(self.entry(kind, obj))

    def take(self, new: Entry) -> Entry:
        """Takes an entry and returns it. One that is older than the known one changes nothing: that one is returned."""
        old = self.get(new.key)
        if old is not None and old.uid == new.uid and old.version > new.version:
            return old
        if old is not None:
            self._drop(old)
        ids = self._by_id.setdefault(new.key.kind, {})
        ids[new.id] = (*ids.get(new.id, ()), new.key)
        self._by_kind.setdefault(new.key.kind, {}).setdefault(new.key.namespace, {})[new.key] = new
        for index, place in new.indexes():
            self._indexes.setdefault(index.name, {}).setdefault(place, {})[new.key] = new
        if not new.work.idle:
            self._busy[new.key] = new
        return new

    def put_own(self, kind: str, read: Meta, written: Object) -> None:
        """Takes what we have written over the object that was read, so that its event brings nothing new. Not where
        something had changed before that the catalog does not know yet: the event of that change must be seen."""
        found = self.get(Key(kind, read.namespace, read.name))
        if found is not None and (found.uid, found.version) == (read.uid, int(read.resource_version)):
            self.put(kind, written)

    def remove(self, key: Key, uid: str | None = None) -> None:
        """The object is gone. With `uid`: unless another object has its name already."""
        old = self.get(key)
        if old is not None and uid in (None, old.uid):
            self._drop(old)

    def forget(self, namespace: str) -> list[Key]:
        """The namespace is gone, and everything in it. Returns the keys of its objects."""
        gone = [e for kind in self._by_kind for e in self.of_kind(kind, namespace)]
        for each in gone:
            self._drop(each)
        return [e.key for e in gone]

    def _drop(self, old: Entry) -> None:
        ids = self._by_id[old.key.kind]
        ids[old.id] = tuple(k for k in ids[old.id] if k != old.key)
        if not ids[old.id]:
            del ids[old.id]
        _discard(self._by_kind[old.key.kind], old.key.namespace, old.key)
        for index, place in old.indexes():
            _discard(self._indexes[index.name], place, old.key)
        self._busy.pop(old.key, None)

    # --- asked ----------------------------------------------------------------------------------------------
    def get(self, key: Key) -> Entry | None:
        """The entry, or None."""
        return self._by_kind.get(key.kind, {}).get(key.namespace, {}).get(key)

    def find(self, type_: type[EntryT], namespace: str, name: str) -> EntryT | None:
        """The same, by the type of its entry."""
        return cast("EntryT | None", self.get(Key(type_.KIND, namespace, name)))

    @overload
    def of_kind(self, kind: str, namespace: str | None = None) -> Iterator[Entry]: ...
    @overload
    def of_kind(self, kind: type[EntryT], namespace: str | None = None) -> Iterator[EntryT]: ...
    def of_kind(self, kind: str | type[Entry], namespace: str | None = None) -> Iterator[Entry]:
        """All of a kind, or of the kind of an entry's type (in a namespace)."""
        kinds = self._by_kind.get(kind if isinstance(kind, str) else kind.KIND, {})
        found: Iterable[dict[Key, Entry]] = kinds.values() if namespace is None else (kinds.get(namespace, {}),)
        return (e for entries in found for e in entries.values())

    @overload
    def listed(self, kind: str) -> list[Entry]: ...
    @overload
    def listed(self, kind: type[EntryT]) -> list[EntryT]: ...
    def listed(self, kind: str | type[Entry]) -> list[Any]:
        """The same in all namespaces, from any thread: each `list` of a dictionary is one step that no other thread
        interrupts."""
        kinds = self._by_kind.get(kind if isinstance(kind, str) else kind.KIND, {})
        return [e for entries in list(kinds.values()) for e in list(entries.values())]

    def at(self, index: Index[EntryT], place: Place) -> list[EntryT]:
        """The entries of a place."""
        return cast("list[EntryT]", list(self._indexes.get(index.name, {}).get(place, {}).values()))

    def places(self, index: Index[Any]) -> list[Place]:
        """The places that have entries."""
        return list(self._indexes.get(index.name, ()))

    def is_urgent(self, key: Key) -> bool:
        """Whether its reconciles go before those of the others."""
        found = self._busy.get(key)
        return found is not None and found.work.urgent

    def busy(self) -> list[Entry]:
        """All that are not idle."""
        return list(self._busy.values())

    def is_elsewhere(self, kind: str, namespace: str, id_: str) -> bool:
        """Whether another namespace has an object of this id."""
        return any(k.namespace != namespace for k in self._by_id.get(kind, {}).get(id_, ()))

    def elder(self, key: Key) -> Entry | None:
        """Another object with the same id, in any namespace, that takes precedence; None: this one has the id."""
        mine = self.get(key)
        if mine is None:
            return None
        others = [e for k in self._by_id[key.kind][mine.id] if k != key and (e := self.get(k)) is not None]
        first = min(others, key=lambda e: e.precedence, default=None)
        return first if first is not None and first.precedence < mine.precedence else None

    def of_id(self, type_: type[EntryT], namespace: str, id_: str) -> EntryT | None:
        """The object of a namespace with this id; None: there is none."""
        keys = self._by_id.get(type_.KIND, {}).get(id_, ())
        return next((self.find(type_, namespace, k.name) for k in keys if k.namespace == namespace), None)


def _discard(index: dict[IndexT, dict[Key, Entry]], place: IndexT, key: Key) -> None:
    del index[place][key]
    if not index[place]:
        del index[place]
