"""All objects of our kinds, in about a kilobyte each: fed by the watches, the resync and every reconcile.

It answers questions whose answer may be a moment old: which other object has this id, which operations wait for this
environment, what /metrics shows. What must be right (the operation lock, a status) is decided against the API server.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from ocore_crds import conditions as c
from ocore_crds import layouts, timestamps
from ocore_crds.history import Finished, finished_of
from ocore_crds.restore_test import DEFAULT_TIMEOUT_SECONDS as DEFAULT_TEST_TIMEOUT
from ocore_crds.restore_test import open_run
from ocore_crds.retention import Candidate, Safety, Verdict, candidate_of, safety_of, told_of
from ocore_crds.snapshotpolicy import DEFAULT_TIMEOUT_SECONDS
from ocore_operator.kube import differentials
from ocore_operator.kube.differentials import Pairing
from ocore_operator.kube.resources import Key, Object


@dataclass(frozen=True, slots=True)
class Target:
    """What an Environment's rollbacks replace, within its namespace but for the server. Empty where it has none, or it
    is unknown."""

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
class RemoteFacts:
    """The copy of a Snapshot in a remote store, as far as it is wanted or exists."""

    state: str  # of status.remote
    store: str
    requested: str
    local_deleted: bool = False  # the data in the Snapshot's own store is gone
    only: bool = False  # nothing reads the data in the Snapshot's own store any more
    store_id: str = ""  # of a complete copy
    checked: str = ""  # when the copy was complete, or its store was last asked for it
    busy: bool = False  # a check is wanted, or another copy is replaced


@dataclass(frozen=True, slots=True)
class RestoreTested:
    """What is known of a Snapshot's test restores."""

    open: bool  # a request waits for its test
    requested: str  # the slot that its policy has requested; empty: none
    answered: tuple[str, ...]
    status: str  # of the condition RestoreTested
    reason: str
    at: str  # when the newest test with a result ended; empty: there was none


@dataclass(frozen=True, slots=True)
class Work:
    """What an object asks of the operator."""

    idle: bool = False  # it needs no reconcile
    urgent: bool = False  # its reconciles go before those of the others
    critical: bool = False  # an application is stopped until it is reconciled further
    arriving: bool = False  # an import has just created it and writes its status next


NO_WORK = Work()
#: What reading a value raises that the schema allows and this program does not.
UNREADABLE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
#: The phase of such an object.
UNREADABLE = "Unreadable"
NEEDED_META = ("namespace", "name", "uid", "creationTimestamp", "resourceVersion")
OPERATIONS = ("Snapshot", "Rollback")

#: A namespace and the name of an Environment.
Place = tuple[str, str]
IndexT = TypeVar("IndexT", str, Place)

#: What an object of a kind asks, by its raw JSON (the kinds decide: engine/kinds.py).
Judge = Callable[[str, Object], Work]


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """What /metrics shows of a SnapshotPolicy."""

    schedule: tuple[str, ...]  # none while it is suspended
    time_zone: str
    spread_minutes: int
    timeout: int  # seconds
    scheduled_from: str  # since when the schedule, or the suspension, is as it is now; empty: not observed yet
    pinned: int
    kept: int  # Complete Snapshots that its rules are about
    test_schedule: tuple[str, ...] = ()  # of test restores; none while it is suspended
    test_timeout: int = 0  # seconds
    tests_from: str = ""  # as scheduled_from, of the test restores
    last_test: str = ""  # when the newest successful test restore ended; empty: there was none
    last_test_failed: bool = False  # the newest scheduled one


@dataclass(frozen=True, slots=True)
class Entry:
    """One object."""

    key: Key
    work: Work
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
    snapshot: str  # that a Rollback names, in its own namespace
    restores: Place | None  # namespace and name of the Snapshot that a Rollback uses; None: none, or it may not
    safety: Safety | None  # of a Rollback: the safety snapshot that it protects
    preview: bool  # a Rollback with dryRun: it is no operation on its environment
    undoes: str  # the Rollback that an undo names
    store: str  # that an Environment names
    ready: str  # status of the condition Ready
    ready_reason: str
    scheduled: bool  # a SnapshotPolicy that has a next slot
    rollback_ready: str
    completed: str
    stored_bytes: int
    filestore_bytes: int  # of these, of a Snapshot's filestore
    differential: bool  # a Snapshot that needs a full one
    imported: bool  # a Snapshot that an import has brought back
    orphans: tuple[int, int] | None  # of a SnapshotStore: objects and their bytes; None: it was not swept
    target: Target | None  # of an Environment
    retention: "Retention | None"  # of a Snapshot
    pairing: Pairing | None  # of a Snapshot
    verified: str  # status of a Snapshot's condition Verified
    verify_full: bool  # a Snapshot that is to be read back
    restore: RestoreTested | None  # of a Snapshot that was tested, or is to be
    policy: PolicyFacts | None  # of a SnapshotPolicy
    cleanup_due: str  # when the cleanup of a terminal Rollback may begin; empty: none remains
    finished: Finished | None  # of a terminal Rollback: its place in the history
    remote: RemoteFacts | None  # of a Snapshot; None: no copy is wanted yet
    remote_store: str  # that an Environment names for copies
    pins: tuple[int, int] | None  # of an Environment without a policy that has pins: how many, and their limit
    skipped: int = 0  # of a SnapshotStore: what its last import could not bring back
    unreadable: bool = False  # it has a value that cannot be read: only its metadata is known

    @property
    def age_order(self) -> tuple[str, str]:
        """Older first: creationTimestamp, then uid."""
        return self.created, self.uid

    @property
    def data_order(self) -> tuple[str, str]:
        """The same by the data's age: one that was imported is older than its object."""
        return min(self.created, self.started), self.uid


def entry(kind: str, obj: Object, work: Work = NO_WORK) -> Entry:
    """The entry of an object. Pure, and it keeps nothing of the object. One that cannot be read has an entry, too: it
    must not end what lists it."""
    try:
        found = _entry(kind, obj, work)
        for time in _times(found):
            timestamps.check(time)
    except UNREADABLE_ERRORS:
        meta = obj["metadata"]
        bare = {"metadata": {name: meta[name] for name in NEEDED_META}, "spec": {}, "status": {}}
        return replace(
            _entry(kind, bare, Work(idle=False)),
            deleting="deletionTimestamp" in meta,
            phase=UNREADABLE,
            unreadable=True,
        )
    return found


def _times(e: Entry) -> Iterator[str]:
    """What /metrics and decisions parse later."""
    yield from (e.created, e.started)
    yield from (time for time in (e.completed, e.cleanup_due) if time)
    if e.restore is not None and e.restore.at:
        yield e.restore.at
    if e.remote is not None and e.remote.requested:
        yield e.remote.requested
    if e.policy is not None:
        yield from (time for time in (e.policy.scheduled_from, e.policy.tests_from, e.policy.last_test) if time)
    if e.finished is not None:
        yield from (time for time in (e.finished.time, e.finished.undo_until) if time)


def _entry(kind: str, obj: Object, work: Work) -> Entry:
    meta, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    by_type = {x["type"]: x for x in status.get("conditions") or ()}

    def is_true(type_: str) -> bool:
        return bool(by_type.get(type_, {}).get("status") == "True")

    reconciling = by_type.get(c.RECONCILING, {})
    return Entry(
        key=Key(kind, _shared(meta["namespace"]), meta["name"]),
        work=work,
        uid=meta["uid"],
        id=spec.get("id") or meta["uid"],
        created=meta["creationTimestamp"],
        version=int(meta["resourceVersion"]),
        phase=_shared(status.get("phase") or ""),
        terminal=c.is_terminal(by_type.values()),
        deleting="deletionTimestamp" in meta,
        began=kind in OPERATIONS and (status.get("phase") or "Pending") != "Pending",
        started=status.get("startedAt") or meta["creationTimestamp"],
        refused=any(is_true(t) and by_type[t].get("reason") == c.DUPLICATE_ID for t in (c.STALLED, c.FAILED)),
        waits_for_lock=is_true(c.RECONCILING) and reconciling.get("reason") == c.WAITING_FOR_OPERATION,
        environment=_shared(
            spec.get("environmentRef", {}).get("name")
            or spec.get("targetEnvironmentRef", {}).get("name")
            or status.get("environmentName")
            or ""
        ),
        snapshot=_local_snapshot(obj),
        restores=snapshot_used_by(obj) if kind == "Rollback" else None,
        safety=safety_of(obj) if kind == "Rollback" else None,
        preview=bool(spec.get("dryRun")),
        undoes=((spec.get("undo") or {}).get("rollbackRef") or {}).get("name") or "",
        store=_shared(spec.get("storeRef", {}).get("name") or status.get("storeName") or ""),
        ready=_shared(by_type.get(c.READY, {}).get("status", "Unknown")),
        ready_reason=_shared(by_type.get(c.READY, {}).get("reason", "")),
        scheduled=bool(status.get("nextScheduleTime")),
        rollback_ready=_shared(by_type.get(c.ROLLBACK_READY, {}).get("status", "Unknown")),
        completed=status.get("completedAt") or "",
        stored_bytes=_size(status, "storedBytes"),
        filestore_bytes=_size(status, "filestoreStoredBytes"),
        differential=status.get("fullFilestore") is False,
        imported=kind == "Snapshot" and status.get("imported") is not None,
        orphans=_orphans(status) if kind == "SnapshotStore" else None,
        target=_target(obj) if kind == "Environment" else None,
        retention=_retention(obj) if kind == "Snapshot" else None,
        pairing=differentials.pairing_of(obj) if kind == "Snapshot" else None,
        verified=_shared(by_type.get(c.VERIFIED, {}).get("status", "Unknown")),
        verify_full=spec.get("verify") == "Full",
        restore=_restore(obj, by_type.get(c.RESTORE_TESTED, {})) if kind == "Snapshot" else None,
        policy=_policy(obj) if kind == "SnapshotPolicy" else None,
        cleanup_due=_cleanup_due(obj) if kind == "Rollback" else "",
        finished=finished_of(obj) if kind == "Rollback" else None,
        remote=_remote(status) if kind == "Snapshot" else None,
        remote_store=_shared((spec.get("remoteStoreRef") or {}).get("name") or ""),
        pins=_pins(status) if kind == "Environment" else None,
        skipped=int((status.get("import") or {}).get("skipped") or 0) if kind == "SnapshotStore" else 0,
    )


def _local_snapshot(obj: Object) -> str:
    """Name of the Snapshot that a Rollback names in its own namespace; empty where it names none there."""
    ref = obj.get("spec", {}).get("snapshotRef") or {}
    local = ref.get("namespace") in (None, obj["metadata"]["namespace"])
    return (ref.get("name") or "") if local else ""


def snapshot_used_by(rollback: Object) -> Place | None:
    """Namespace and name of the Snapshot that a Rollback uses: it is not deleted while the Rollback runs. A Snapshot of
    another namespace counts only
    once the operator has found the grant and entered it in the status, which a tenant cannot write: else anyone could
    prevent deletions there. A preview restores nothing."""
    if rollback["spec"].get("dryRun"):
        return None
    namespace, status = rollback["metadata"]["namespace"], rollback.get("status") or {}
    name = _local_snapshot(rollback)
    if name:
        return _shared(namespace), name
    if (
        (rollback.get("spec") or {}).get("snapshotRef")
        and status.get("snapshotNamespace")
        and status.get("snapshotName")
    ):
        return _shared(status["snapshotNamespace"]), str(status["snapshotName"])
    return None


def _shared(text: str) -> str:
    """The same string for all entries: 20,000 Snapshots name some environments and stores."""
    return sys.intern(text)


def _retention(snapshot: Object) -> Retention:
    spec = snapshot.get("spec", {})
    return Retention(
        by_policy=spec.get("retention") == "Policy",
        trigger=_shared(spec.get("trigger") or "Manual"),
        pinned=spec.get("pin") is not None,
        candidate=candidate_of(snapshot, used=()),
        told=told_of(snapshot),
    )


def _remote(status: Object) -> RemoteFacts | None:
    found = status.get("remote")
    if not found:
        return None
    return RemoteFacts(
        state=_shared(found.get("state") or ""),
        store=_shared(found.get("storeName") or ""),
        requested=found.get("requestedAt") or "",
        local_deleted=bool(found.get("localDeletedAt")),
        only=bool(found.get("only")),
        store_id=_shared(found.get("storeId") or ""),
        checked=found.get("checkedAt") or found.get("completedAt") or "",
        busy=bool(found.get("checkRequestedAt") or found.get("replaces")),
    )


def _restore(snapshot: Object, condition: Object) -> RestoreTested | None:
    status = snapshot.get("status", {})
    test, request = status.get("restoreTest") or {}, status.get("restoreTestRequest") or {}
    is_open = open_run(snapshot) is not None
    if not (test or request or condition or is_open):
        return None
    return RestoreTested(
        open=is_open,
        requested=request.get("run") or "",
        answered=tuple(test.get("answered") or ()),
        status=_shared(condition.get("status", "Unknown")),
        reason=_shared(condition.get("reason", "")),
        at=test.get("testedAt") or "",
    )


def _policy(policy: Object) -> PolicyFacts:
    spec, status = policy.get("spec", {}), policy.get("status", {})
    tests = spec.get("verify") or {}
    return PolicyFacts(
        schedule=() if spec.get("suspend") else tuple(spec.get("schedule") or ()),
        time_zone=spec.get("timeZone") or "Etc/UTC",
        spread_minutes=int(spec.get("spreadMinutes") or 0),
        timeout=int(spec.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS),
        scheduled_from=status.get("scheduledFrom") or "",
        pinned=int(status.get("pinned") or 0),
        kept=int((status.get("kept") or {}).get("total") or 0),
        test_schedule=()
        if spec.get("suspend") or not tests.get("restore", True)
        else tuple(tests.get("schedule") or ()),
        test_timeout=int(tests.get("timeoutSeconds") or DEFAULT_TEST_TIMEOUT),
        tests_from=status.get("restoreTestsFrom") or "",
        last_test=status.get("lastRestoreTestTime") or "",
        last_test_failed=(status.get("restoreTest") or {}).get("result") == "Failed",
    )


def _size(status: Object, name: str) -> int:
    return int((status.get("sizes") or {}).get(name) or 0)


def _orphans(status: Object) -> tuple[int, int] | None:
    found = status.get("orphans")
    return (int(found.get("objects") or 0), int(found.get("bytes") or 0)) if found else None


def _pins(status: Object) -> tuple[int, int] | None:
    pins = status.get("pins")
    return (pins["pinned"], pins["limit"]) if pins else None


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
        layout=filestore.get("layout") or layouts.DEFAULT,
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


class Catalog:
    """All objects of our kinds that are watched. A question reads the objects that it is about, not all of them."""

    def __init__(self, judge: Judge = lambda _, __: NO_WORK) -> None:
        self._judge = judge
        self._by_kind: dict[str, dict[str, dict[Key, Entry]]] = {}  # kind → namespace
        self._by_id: dict[str, dict[str, tuple[Key, ...]]] = {}  # kind → id
        self._snapshots: dict[Place, dict[Key, Entry]] = {}  # by environment
        self._open: dict[
            Place, dict[Key, Entry]
        ] = {}  # operations that are not terminal, by environment; "": it is unknown
        self._cleanups: dict[Place, dict[Key, Entry]] = {}  # terminal Rollbacks whose cleanup remains, by environment
        self._finished: dict[Place, dict[Key, Entry]] = {}  # terminal Rollbacks, by environment
        self._needing: dict[Place, dict[Key, Entry]] = {}  # differentials, by namespace and the id of the full one
        self._protecting: dict[Place, dict[Key, Entry]] = {}  # full Snapshots, by namespace and name of a dependent
        self._busy: dict[Key, Entry] = {}  # not idle

    # --- fed ------------------------------------------------------------------------------------------------
    def entry(self, kind: str, obj: Object) -> Entry:
        """The entry of an object, which is not taken yet. From any thread."""
        try:
            work = self._judge(kind, obj)
        except UNREADABLE_ERRORS:
            work = NO_WORK
        return entry(kind, obj, work)

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
        for index, place in self._indexes(new):
            index.setdefault(place, {})[new.key] = new
        if not new.work.idle:
            self._busy[new.key] = new
        return new

    def put_own(self, kind: str, read: Object, written: Object) -> None:
        """Takes what we have written over the object that was read, so that its event brings nothing new. Not where
        something had changed before that
        the catalog does not know yet: the event of that change must be seen."""
        meta = read["metadata"]
        found = self.get(Key(kind, meta["namespace"], meta["name"]))
        if found is not None and (found.uid, found.version) == (meta["uid"], int(meta["resourceVersion"])):
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
        for index, place in self._indexes(old):
            _discard(index, place, old.key)
        self._busy.pop(old.key, None)

    def _indexes(self, e: Entry) -> Iterator[tuple[dict[Place, dict[Key, Entry]], Place]]:
        """The indexes by environment that the entry belongs to."""
        place = (e.key.namespace, e.environment)
        if e.key.kind == "Snapshot":
            yield self._snapshots, place
        if e.key.kind in OPERATIONS and not e.terminal and not e.preview:
            yield self._open, place
        if e.cleanup_due:
            yield self._cleanups, place
        if e.finished is not None:
            yield self._finished, place
        if e.pairing is not None and e.pairing.needs:
            yield self._needing, (e.key.namespace, e.pairing.needs)
        for name in e.pairing.dependents if e.pairing is not None else ():
            yield self._protecting, (e.key.namespace, name)

    # --- asked ----------------------------------------------------------------------------------------------
    def get(self, key: Key) -> Entry | None:
        """The entry, or None."""
        return self._by_kind.get(key.kind, {}).get(key.namespace, {}).get(key)

    def of_kind(self, kind: str, namespace: str | None = None) -> Iterator[Entry]:
        """All of a kind (in a namespace)."""
        kinds = self._by_kind.get(kind, {})
        found: Iterable[dict[Key, Entry]] = kinds.values() if namespace is None else (kinds.get(namespace, {}),)
        return (e for entries in found for e in entries.values())

    def listed(self, kind: str) -> list[Entry]:
        """The same in all namespaces, from any thread: each `list` of a dictionary is one step that no other thread
        interrupts."""
        return [e for entries in list(self._by_kind.get(kind, {}).values()) for e in list(entries.values())]

    def is_urgent(self, key: Key) -> bool:
        """Whether its reconciles go before those of the others."""
        found = self._busy.get(key)
        return found is not None and found.work.urgent

    def busy(self) -> list[Entry]:
        """All that are not idle."""
        return list(self._busy.values())

    def snapshots(self, namespace: str, environment: str) -> list[Entry]:
        """All Snapshots of an environment."""
        return list(self._snapshots.get((namespace, environment), {}).values())

    def is_elsewhere(self, kind: str, namespace: str, id_: str) -> bool:
        """Whether another namespace has an object of this id."""
        return any(k.namespace != namespace for k in self._by_id.get(kind, {}).get(id_, ()))

    def elder(self, key: Key) -> Entry | None:
        """Another object with the same id, in any namespace, that takes precedence; None: this one has the id.

        First comes an object that was not refused for its id, then an operation that has begun, then the one that
        started or was created first. A refused duplicate is Failed or Stalled, so its phase says nothing about the
        object that has the id.
        """
        mine = self.get(key)
        if mine is None:
            return None

        def precedence(e: Entry) -> tuple[bool, bool, str, tuple[str, str]]:
            return e.refused, not e.began, e.started, e.age_order

        others = [e for k in self._by_id[key.kind][mine.id] if k != key and (e := self.get(k)) is not None]
        first = min(others, key=precedence, default=None)
        return first if first is not None and precedence(first) < precedence(mine) else None

    def of_id(self, kind: str, namespace: str, id_: str) -> Entry | None:
        """The object of a namespace with this id; None: there is none."""
        keys = self._by_id.get(kind, {}).get(id_, ())
        return next((self.get(k) for k in keys if k.namespace == namespace), None)

    def needing(self, namespace: str, full_id: str) -> list[Entry]:
        """The Snapshots that need a full one."""
        return list(self._needing.get((namespace, full_id), {}).values())

    def protecting(self, namespace: str, dependent: str) -> list[Entry]:
        """The full Snapshots in which this name is entered."""
        return list(self._protecting.get((namespace, dependent), {}).values())

    def needed(self) -> dict[Key, Entry]:
        """The Snapshots that others need, or in which others are entered."""
        found = {key: entry for listing in self._protecting.values() for key, entry in listing.items()}
        named = (self.of_id("Snapshot", namespace, id_) for namespace, id_ in self._needing)
        return found | {full.key: full for full in named if full is not None}

    def environment_of(self, entry_: Entry) -> str:
        """Name of the Environment of a Snapshot or Rollback; empty where it is unknown."""
        if entry_.undoes and not entry_.environment:
            undone = self.get(Key("Rollback", entry_.key.namespace, entry_.undoes))
            return undone.environment if undone is not None else ""
        if entry_.environment or not entry_.snapshot:
            return entry_.environment
        snapshot = self.get(Key("Snapshot", entry_.key.namespace, entry_.snapshot))
        return snapshot.environment if snapshot is not None else ""

    def operations(self, namespace: str, environment: str) -> list[Entry]:
        """Snapshots and Rollbacks of an environment that are not terminal, oldest first."""
        named = self._open.get((namespace, environment), {}).values()
        unnamed = self._open.get((namespace, ""), {}).values() if environment else ()
        found = [*named, *(e for e in unnamed if self.environment_of(e) == environment)]
        return sorted((e for e in found if not e.deleting), key=lambda e: e.age_order)

    def restored(self, namespace: str) -> Iterator[str]:
        """Names of the namespace's Snapshots that Rollbacks of any namespace use which are not terminal."""
        rollbacks = (e for e in self._busy.values() if e.key.kind == "Rollback" and not e.terminal)
        used = (e.restores for e in rollbacks if e.restores is not None)
        return (name for where, name in used if where == namespace)

    def users(self, namespace: str, snapshot: str) -> Iterator[Entry]:
        """The Rollbacks of any namespace that use this Snapshot and are not terminal."""
        place = (namespace, snapshot)
        return (e for e in self._busy.values() if e.restores == place and not e.terminal)

    def safeties(self, namespace: str) -> Iterator[Safety]:
        """The safety snapshots that Rollbacks protect. A Rollback whose undo window is open is not idle."""
        rollbacks = (e for e in self._busy.values() if e.key.kind == "Rollback" and e.key.namespace == namespace)
        return (e.safety for e in rollbacks if e.safety is not None)

    def finished(self, namespace: str, environment: str) -> Iterator[Finished]:
        """The terminal Rollbacks of an environment: their places in the history."""
        return (e.finished for e in self._finished.get((namespace, environment), {}).values() if e.finished is not None)

    def cleanups(self, namespace: str, environment: str) -> list[Entry]:
        """Terminal Rollbacks of an environment whose cleanup remains, due or not; oldest first."""
        return sorted(self._cleanups.get((namespace, environment), {}).values(), key=lambda e: e.age_order)


def _discard(index: dict[IndexT, dict[Key, Entry]], place: IndexT, key: Key) -> None:
    del index[place][key]
    if not index[place]:
        del index[place]
