"""All objects of our kinds, in a few hundred bytes each: fed by the watches, the resync and every reconcile.

It answers questions whose answer may be a moment old: which other object has this id, which operations wait for this environment, what /metrics
shows. What must be right (the operation lock, a status) is decided against the API server.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ocore_crds import conditions as c
from ocore_crds.retention import Candidate, Verdict, candidate_of, told_of
from ocore_operator.kube.resources import Key, Object


@dataclass(frozen=True, slots=True)
class Target:
    """What an Environment's rollbacks replace, within its namespace but for the server. Empty where it has none, or it is unknown."""

    secret: str = ""  # of the database's connection
    server: str = ""  # as the last probe found it
    database: str = ""
    claim: str = ""
    path: str = ""
    layout: str = ""


@dataclass(frozen=True, slots=True)
class Retention:
    """What the SnapshotPolicy of its environment asks of a Snapshot."""

    by_policy: bool  # spec.retention is Policy
    trigger: str
    pinned: bool
    candidate: Candidate | None  # None: the rules are not about it
    told: Verdict | None  # what its status says; None: nothing yet


@dataclass(frozen=True, slots=True)
class Entry:
    """One object."""

    key: Key
    uid: str
    id: str
    created: str
    version: int
    phase: str
    terminal: bool
    deleting: bool
    began: bool  # an operation that has left the queue
    started: str  # status.startedAt, else the creation
    refused: bool  # because of its id
    waits_for_lock: bool
    environment: str  # of a Snapshot, and of a Rollback once it is known
    snapshot: str  # that a Rollback names
    store: str  # that an Environment names
    ready: str  # status of the condition Ready
    ready_reason: str
    scheduled: bool  # a SnapshotPolicy that has a next slot
    rollback_ready: str
    completed: str
    stored_bytes: int
    target: Target | None  # of an Environment
    retention: "Retention | None"  # of a Snapshot
    cleanup_due: str  # when the cleanup of a terminal Rollback may begin; empty: none remains

    @property
    def age_order(self) -> tuple[str, str]:
        """Older first: creationTimestamp, then uid."""
        return self.created, self.uid


def entry(kind: str, obj: Object) -> Entry:
    """The entry of an object."""
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    by_type = {x["type"]: x for x in status.get("conditions") or ()}

    def is_true(type_: str) -> bool:
        return bool(by_type.get(type_, {}).get("status") == "True")

    reconciling = by_type.get(c.RECONCILING, {})
    operation = kind in ("Snapshot", "Rollback")
    return Entry(
        key=Key(kind, meta["namespace"], meta["name"]),
        uid=meta["uid"],
        id=spec.get("id") or meta["uid"],
        created=meta["creationTimestamp"],
        version=int(meta["resourceVersion"]),
        phase=status.get("phase") or "",
        terminal=c.is_terminal(by_type.values()),
        deleting="deletionTimestamp" in meta,
        began=operation and (status.get("phase") or "Pending") != "Pending",
        started=status.get("startedAt") or meta["creationTimestamp"],
        refused=any(is_true(t) and by_type[t].get("reason") == c.DUPLICATE_ID for t in (c.STALLED, c.FAILED)),
        waits_for_lock=is_true(c.RECONCILING) and reconciling.get("reason") == c.WAITING_FOR_OPERATION,
        environment=spec.get("environmentRef", {}).get("name") or status.get("environmentName") or "",
        snapshot=spec.get("snapshotRef", {}).get("name") or "",
        store=spec.get("storeRef", {}).get("name") or status.get("storeName") or "",
        ready=by_type.get(c.READY, {}).get("status", "Unknown"),
        ready_reason=by_type.get(c.READY, {}).get("reason", ""),
        scheduled=bool(status.get("nextScheduleTime")),
        rollback_ready=by_type.get(c.ROLLBACK_READY, {}).get("status", "Unknown"),
        completed=status.get("completedAt") or "",
        stored_bytes=int((status.get("sizes") or {}).get("storedBytes") or 0),
        target=_target(obj) if kind == "Environment" else None,
        retention=_retention(obj) if kind == "Snapshot" else None,
        cleanup_due=_cleanup_due(obj) if kind == "Rollback" else "",
    )


def _retention(snapshot: Object) -> Retention:
    spec = snapshot.get("spec", {})
    return Retention(
        by_policy=spec.get("retention") == "Policy",
        trigger=spec.get("trigger") or "Manual",
        pinned=spec.get("pin") is not None,
        candidate=candidate_of(snapshot, used=()),
        told=told_of(snapshot),
    )


def _target(environment: Object) -> Target:
    spec, probe = environment.get("spec", {}), environment.get("status", {}).get("probe") or {}
    filestore = spec.get("filestore") or {}
    has_database = bool(spec.get("database"))
    return Target(
        secret=spec["database"]["secretRef"]["name"] if has_database else "",
        server=probe.get("serverIdentity") or "" if has_database else "",
        database=probe.get("databaseName") or "" if has_database else "",
        claim=filestore.get("claimName") or "",
        path=filestore.get("path") or "",
        layout=filestore.get("layout") or "Odoo",
    )


def _cleanup_due(rollback: Object) -> str:
    """As the plan of a rollback decides it (plan_after_end.py), to the second."""
    meta, status = rollback["metadata"], rollback.get("status", {})
    if status.get("stage") != "Ended" or status.get("residue") != "Pending":
        return ""
    times = [status.get("cleanupAfter"), status.get("completedAt")]
    if "deletionTimestamp" in meta:
        times.append(meta["deletionTimestamp"])
    elif not status.get("cleanupAttempt"):
        times.append(status.get("undoUntil"))
    return max((str(t) for t in times if t), default=str(meta["creationTimestamp"]))


def _discard(index: dict[tuple[str, str], set[Key]], place: tuple[str, str], key: Key) -> None:
    index[place].discard(key)
    if not index[place]:
        del index[place]


class Catalog:
    """All objects of our kinds that are watched."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._by_id: dict[tuple[str, str], set[Key]] = {}
        #: Kind → namespace → entries: a question about one namespace must not look at all objects.
        self._by_kind: dict[str, dict[str, dict[Key, Entry]]] = {}
        #: Namespace and Environment → its Snapshots.
        self._snapshots: dict[tuple[str, str], dict[Key, Entry]] = {}

    # --- fed ------------------------------------------------------------------------------------------------
    def put(self, kind: str, obj: Object) -> Entry:
        """Takes an object from an event or an answer. An older version than the known one changes nothing."""
        new = entry(kind, obj)
        old = self._entries.get(new.key)
        if old is not None and old.uid == new.uid and old.version > new.version:
            return old
        if old is not None:
            self._drop(old)
        self._entries[new.key] = new
        self._by_id.setdefault((kind, new.id), set()).add(new.key)
        self._by_kind.setdefault(kind, {}).setdefault(new.key.namespace, {})[new.key] = new
        if kind == "Snapshot":
            self._snapshots.setdefault((new.key.namespace, new.environment), {})[new.key] = new
        return new

    def remove(self, key: Key, uid: str | None = None) -> None:
        """The object is gone. With `uid`: unless another object has its name already."""
        old = self._entries.get(key)
        if old is not None and uid in (None, old.uid):
            self._drop(old)

    def forget(self, namespace: str) -> list[Key]:
        """The namespace is gone, and everything in it. Returns the keys of its objects."""
        gone = [e for kind in self._by_kind for e in self.of_kind(kind, namespace)]
        for each in gone:
            self._drop(each)
        return [e.key for e in gone]

    def _drop(self, old: Entry) -> None:
        del self._entries[old.key]
        _discard(self._by_id, (old.key.kind, old.id), old.key)
        kinds = self._by_kind[old.key.kind]
        del kinds[old.key.namespace][old.key]
        if not kinds[old.key.namespace]:
            del kinds[old.key.namespace]
        if old.key.kind == "Snapshot":
            snapshots = self._snapshots[old.key.namespace, old.environment]
            del snapshots[old.key]
            if not snapshots:
                del self._snapshots[old.key.namespace, old.environment]

    # --- asked ----------------------------------------------------------------------------------------------
    def get(self, key: Key) -> Entry | None:
        """The entry, or None."""
        return self._entries.get(key)

    def of_kind(self, kind: str, namespace: str | None = None) -> Iterator[Entry]:
        """All of a kind (in a namespace)."""
        kinds = self._by_kind.get(kind, {})
        found: Iterable[dict[Key, Entry]] = kinds.values() if namespace is None else (kinds.get(namespace, {}),)
        return (e for entries in found for e in entries.values())

    def snapshots(self, namespace: str, environment: str) -> list[Entry]:
        """All Snapshots of an environment."""
        return list(self._snapshots.get((namespace, environment), {}).values())

    def elder(self, key: Key) -> Entry | None:
        """Another object with the same id, in any namespace, that takes precedence; None: this one has the id.

        First comes an object that was not refused for its id, then an operation that has begun, then the one that started or was created first. A
        refused duplicate is Failed or Stalled, so its phase says nothing about the object that has the id.
        """
        mine = self._entries.get(key)
        if mine is None:
            return None

        def precedence(e: Entry) -> tuple[bool, bool, str, tuple[str, str]]:
            return e.refused, not e.began, e.started, e.age_order

        others = [self._entries[k] for k in self._by_id.get((key.kind, mine.id), ()) if k != key]
        first = min(others, key=precedence, default=None)
        return first if first is not None and precedence(first) < precedence(mine) else None

    def environment_of(self, entry_: Entry) -> str:
        """Name of the Environment of a Snapshot or Rollback; empty where it is unknown."""
        if entry_.environment or not entry_.snapshot:
            return entry_.environment
        snapshot = self._entries.get(Key("Snapshot", entry_.key.namespace, entry_.snapshot))
        return snapshot.environment if snapshot is not None else ""

    def operations(self, namespace: str, environment: str) -> list[Entry]:
        """Snapshots and Rollbacks of an environment that are not terminal, oldest first."""
        rollbacks = (e for e in self.of_kind("Rollback", namespace) if self.environment_of(e) == environment)
        found = [e for e in (*self.snapshots(namespace, environment), *rollbacks) if not e.terminal and not e.deleting]
        return sorted(found, key=lambda e: e.age_order)

    def cleanups(self, namespace: str, environment: str) -> list[Entry]:
        """Terminal Rollbacks of an environment whose cleanup remains, due or not; oldest first."""
        found = [e for e in self.of_kind("Rollback", namespace) if e.cleanup_due and e.environment == environment]
        return sorted(found, key=lambda e: e.age_order)
