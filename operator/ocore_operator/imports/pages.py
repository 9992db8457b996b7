"""The pages of an import: a Job lists each one, then each line of its log becomes a Snapshot or a Rollback. Every step
can be repeated after a crash.

A page is done when all its objects have their status; the SnapshotStore's status then names the next page. What a page
has already brought is found by its id, so nothing is created twice.
"""

import asyncio
import hashlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError

from ocore_crds import naming
from ocore_crds.reports.store_listing import STARTS, StoredRollback, StoredSnapshot, parse
from ocore_crds.reports.stored_contents import PAGE_BYTES, PAGE_SNAPSHOTS, ManifestsResult
from ocore_crds.resources.snapshotstore import ImportStatus, SnapshotStoreStatus
from ocore_crds.text.sentences import shortened
from ocore_kube.errors import AlreadyExists, ApiError, Forbidden, Invalid
from ocore_kube.transport import Pace
from ocore_kube.types import ROLLBACKS, SNAPSHOTS, Type
from ocore_operator import summarize
from ocore_operator.context import Context
from ocore_operator.entries.rollbacks import finished
from ocore_operator.errors import Failed, Waiting
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.imports import plan, rollbacks, rules
from ocore_operator.imports.plan import CreatePage, World
from ocore_operator.imports.rules import Counted, Place
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.building import inputs
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import UNREADABLE_ERRORS
from ocore_operator.kube.client import LOG_RATE, MANAGER_IMPORT, WHOLE_LOG
from ocore_operator.kube.resources import Key, Object, Store
from ocore_operator.rollback import entry as rollback_entry
from ocore_operator.snapshot import entry as snapshot_entry

EntryT = TypeVar("EntryT")
Written = Record[SnapshotStoreStatus] | Idle[SnapshotStoreStatus]
#: Objects that are created or changed at the same time.
PARALLEL = 12
#: Seconds of one reconcile in which objects are created or changed. The rest follows in the next one.
BUDGET = 60.0
#: Seconds in which a page's log is read.
READ = 60.0
#: Imports that are remembered at most, and bytes of the lines of differentials that wait for their full snapshot in
#: each: what a store offers, and how many there are, is not trusted.
REMEMBERED = 2
WAITING_BYTES = 16 * 1024 * 1024

_log = structlog.get_logger()


@dataclass(frozen=True)
class Known:
    """A Snapshot or Rollback of the namespace."""

    name: str
    half: bool
    imported_at: str


@dataclass
class Memory:
    """What an import remembers from page to page of a round. It can be lost: then the namespace is read again, and
    another round over the store brings the differentials that waited."""

    #: The import (uid of the store, its begin) and the round.
    of: tuple[str, str, int]
    #: By id.
    snapshots: dict[str, Known]
    rollbacks: dict[str, Known]
    #: The lines of differentials whose full snapshot no page has had yet: by its id, then by their own.
    waiting: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Whether that is so of all of this round: it was not lost, and there was room.
    whole: bool = False

    def wait(self, lines: Mapping[str, Mapping[str, str]]) -> None:
        """Keeps the lines of a page, where there is room."""
        size = sum(len(line) for each in self.waiting.values() for line in each.values())
        for base, each in lines.items():
            for id_, line in each.items():
                size += len(line)
                if size > WAITING_BYTES:
                    self.whole = False
                    return
                self.waiting.setdefault(base, {})[id_] = line


class Memories:
    """Of the imports of all stores."""

    def __init__(self) -> None:
        self._by_store: OrderedDict[Key, Memory] = OrderedDict()

    async def take(self, ctx: Context, store: Store, running: ImportStatus) -> Memory:
        """The memory of the import. It is out of here until `keep`: after an error the next reconcile reads what the
        namespace has."""
        of = (store.meta.uid, running.started_at, running.round)
        found = self._by_store.pop(store.key, None)
        if found is not None and found.of == of:
            return found
        known, ended = await _known(ctx, store, SNAPSHOTS), await _known(ctx, store, ROLLBACKS)
        return Memory(of, known, ended, whole=not running.after)

    def keep(self, store: Store, memory: Memory) -> None:
        """For the next page. With more imports than are remembered, the one whose page is longest ago is forgotten."""
        self._by_store[store.key] = memory
        if len(self._by_store) > REMEMBERED:
            self._by_store.popitem(last=False)

    def forget(self, key: Key) -> None:
        """No import of the store runs."""
        self._by_store.pop(key, None)


# --- one page ------------------------------------------------------------------------------------------------------


async def start_page(
    ctx: Context, store: Store, running: ImportStatus, found: Mapping[str, Place], attempt: int | str
) -> None:
    """Creates the Job that lists the page. Raises Stalled, Waiting or Failed where it cannot start now."""
    job_inputs = await inputs.load_for_store(ctx, store.meta.namespace, store)
    projects = {id_: place.project_id for id_, place in found.items()}
    job = JobBuilder(ctx.settings, job_inputs, attempt).list_manifests(projects, after=running.after)
    await lifecycle.start(ctx, job, waiting_since=running.started_at)


async def _start_ahead(
    ctx: Context, store: Store, running: ImportStatus, found: Mapping[str, Place], seen: Observation, after: str
) -> None:
    """Starts the Job of the page after this one: it lists while the objects of this one are created. One that cannot
    start now does so in its turn."""
    following = running.model_copy(update={"page": running.page + 1, "attempt": 1, "after": after})
    series = rules.listing(store, following)
    if following.page < rules.MAX_PAGES and series.job(1) not in seen.jobs:
        with suppress(Waiting, Failed):
            await start_page(ctx, store, following, found, series.attempt(1))


async def _lines(ctx: Context, seen: Observation, job: str, result: ManifestsResult) -> list[str] | None:
    """The lines of the page, as the Job has written them; None where the log cannot be read whole."""
    pods = seen.pods.get(job, ())
    if not pods:
        return None
    texts: list[str] = []
    size = 0
    meta = pods[-1]["metadata"]
    try:
        async for line in ctx.kube.follow_log(
            meta["namespace"], meta["name"], follow=False, seconds=READ, pace=Pace(LOG_RATE, WHOLE_LOG)
        ):
            if line.text.startswith(STARTS):
                texts.append(line.text)
                size += len(line.text)
            if len(texts) > 2 * PAGE_SNAPSHOTS or size > 2 * PAGE_BYTES:
                return None
    except ApiError as error:
        _log.warning("the log of an import's Job cannot be read", pod=meta["name"], error=str(error))
        return None
    digest = hashlib.sha256("".join(f"{text}\n" for text in sorted(texts)).encode()).hexdigest()
    return texts if (len(texts), digest) == (result.listed, result.lines_sha256) else None


async def create_page(memories: Memories, ctx: Context, world: World, action: CreatePage) -> Written:
    """Creates what the page has and the namespace lacks. Returns what to write: the import after the page, or after
    an attempt at it whose lines cannot be read. Idle where the time of this reconcile is up: the rest follows in the
    next one."""
    store, running, result = world.store, action.running, action.result
    texts = await _lines(ctx, world.seen, action.job, result)
    if texts is None:
        text = "The Job's log does not have what its result names."
        return plan.failed(world, running, text, retryable=True)
    if result.next:
        await _start_ahead(ctx, store, running, world.places, world.seen, result.next)
    memory = await memories.take(ctx, store, running)
    page = _Page(ctx, store, running, world.places, memory)
    lines = [(entry, text) for text in texts if (entry := page.parsed(text)) is not None]
    if not await page.create([(each, text) for each, text in lines if isinstance(each, StoredSnapshot)]):
        memories.keep(store, memory)
        return Idle(0.0)
    ended = [each for each, _ in lines if isinstance(each, StoredRollback)]
    if ended and not await _Rollbacks(page, memory.rollbacks).create(ended):
        memories.keep(store, memory)
        return Idle(0.0)
    page.settle()
    memories.keep(store, memory)
    after = rules.after_page(running, result, page.counted, ctx.now(), complete=memory.whole)
    _log.info(
        "import", namespace=store.meta.namespace, name=store.meta.name, page=running.page, found=after.found,
        imported=after.imported, state=after.state,
    )  # fmt: skip
    return Record(rules.with_import(store, after, ctx.now(), world.places), job=action.job)


#: Whether an import has created a Snapshot or Rollback, and has not written its status.
IS_HALF = {SNAPSHOTS: snapshot_entry.is_half, ROLLBACKS: rollback_entry.is_half}


async def _known(ctx: Context, store: Store, type_: Type) -> dict[str, Known]:
    """The Snapshots or Rollbacks of the namespace by id, from the API server."""
    found: dict[str, Known] = {}
    async for page in ctx.kube.pages(type_, store.meta.namespace):
        for obj in page:
            imported = (obj.get("status") or {}).get("imported") or {}
            known = Known(obj["metadata"]["name"], IS_HALF[type_](obj), imported.get("at") or "")
            found[(obj.get("spec") or {}).get("id") or obj["metadata"]["uid"]] = known
    return found


async def _together(
    entries: Iterable[EntryT], create: Callable[[EntryT], Coroutine[Any, Any, None]], until: float
) -> bool:
    """Creates or changes some at a time, in their order. False: the time of the event loop is past `until`, and the
    rest follows in the next reconcile."""
    loop, left = asyncio.get_running_loop(), iter(entries)

    async def work() -> None:
        for entry in left:
            await create(entry)
            if loop.time() > until:
                return

    # The first error ends the reconcile; it is repeated and finds what the others have created.
    async with asyncio.TaskGroup() as group:
        for _ in range(PARALLEL):
            group.create_task(work())
    return next(left, None) is None


class _Exists(Exception):
    """The import of another SnapshotStore of the namespace, which has the same snapshots, has created the object."""

    def __init__(self, known: Known) -> None:
        super().__init__(known.name)
        self.known = known


class _Page:
    """The Snapshots of one page, and those that waited for them."""

    def __init__(
        self, ctx: Context, store: Store, running: ImportStatus, found: Mapping[str, Place], memory: Memory
    ) -> None:
        self.ctx = ctx
        self.store = store
        self.running = running
        self.places = found
        self.known = memory.snapshots
        self.counted = Counted()
        self._memory = memory
        #: Lines of this page that wait, as in Memory.
        self._waiting: dict[str, dict[str, str]] = defaultdict(dict)

    async def create(self, entries: list[tuple[StoredSnapshot, str]]) -> bool:
        """Creates what is missing. False: time is up."""
        until = asyncio.get_running_loop().time() + BUDGET
        # All full snapshots first: a differential names the Snapshot of its full one.
        fulls = (pair for pair in entries if not pair[0].result.base_snapshot_id)
        if not await _together(fulls, self._one, until):
            return False
        differentials = [pair for pair in entries if pair[0].result.base_snapshot_id]
        before = [(entry, text) for text in self._arrived() if isinstance(entry := parse(text), StoredSnapshot)]
        return await _together(differentials + before, self._one, until)

    def _arrived(self) -> list[str]:
        """Lines of earlier pages whose full snapshot is there now."""
        waiting = self._memory.waiting
        return [text for base, lines in waiting.items() if base in self.known for text in lines.values()]

    def settle(self) -> None:
        """The page is done: what it brought does not wait any more, and what is left of it does."""
        self.counted.waiting -= len(self._arrived())
        for base in [base for base in self._memory.waiting if base in self.known]:
            del self._memory.waiting[base]
        self._memory.wait(self._waiting)

    async def made(self, type_: Type, id_: str, known: Known | None, bodies: Sequence[Object]) -> Object | None:
        """The object without a status: created under the first name that is free, or found where a crash had left it.
        Raises _Exists where another import has created it since the namespace was read: its names for the object are
        the same."""
        ctx, namespace = self.ctx, self.store.meta.namespace
        if known is not None:
            return await ctx.kube.get(type_, namespace, known.name)
        for body in bodies:
            try:
                return await ctx.kube.create(type_, body, MANAGER_IMPORT)
            except AlreadyExists:
                found = await ctx.kube.get(type_, namespace, body["metadata"]["name"])
                if found is None or ((found.get("spec") or {}).get("id") or found["metadata"]["uid"]) != id_:
                    continue
                if self._left_half(found):
                    return found
                raise _Exists(Known(found["metadata"]["name"], half=False, imported_at="")) from None
            except (Forbidden, Invalid) as error:
                self.counted.refuse(id_, f"the API server refuses the {bodies[0]['kind']}: {error.message}")
                return None
        self.counted.refuse(id_, f"other {bodies[0]['kind']}s have its names")
        return None

    def _left_half(self, found: Object) -> bool:
        """Whether this import has created it, and the answer was lost."""
        mine = (found["metadata"].get("annotations") or {}).get(naming.ANNOTATION_IMPORT) == self.store.meta.uid
        return mine and not (found.get("status") or {}).get("phase")

    def parsed(self, text: str) -> StoredSnapshot | StoredRollback | None:
        """What a line has; None, and counted, where it cannot be read."""
        found = parse(text)
        if found is None:
            self.counted.refuse(shortened(text, 80), "the operator cannot read this line of the Job's log")
        return found

    async def _one(self, line: tuple[StoredSnapshot, str]) -> None:
        entry, text = line
        try:
            await self._import(entry, text)
        except UNREADABLE_ERRORS as error:
            self.unreadable(entry.result.manifest_key, error)

    def unreadable(self, what: str, error: Exception) -> None:
        """Counts what the store has and this operator cannot read: it ends nothing else."""
        meta = self.store.meta
        _log.warning("not imported", namespace=meta.namespace, store=meta.name, object=what, exc_info=error)
        self.counted.refuse(what, f"it cannot be read ({type(error).__name__})")

    async def _import(self, entry: StoredSnapshot, text: str) -> None:
        identity, place = entry.result.identity, rules.belongs(entry, self.places)
        if identity is None or place is None:
            return
        id_ = identity.snapshot_id
        known = self.known.get(id_)
        if known is not None and not known.half:
            if known.imported_at >= self.running.started_at:
                self.counted.imported += 1
            else:
                self.counted.existing += 1
            return
        base = self.known.get(entry.result.base_snapshot_id)
        if entry.result.base_snapshot_id and base is None:
            self.counted.waiting += 1
            self._waiting[entry.result.base_snapshot_id][id_] = text
            return
        if self.ctx.catalog.is_elsewhere("Snapshot", self.store.meta.namespace, id_):
            self.counted.refuse(id_, "another namespace has a Snapshot of this id")
            return
        if known is None and len(self.known) >= self.ctx.settings.import_limit:
            self.counted.refuse(id_, f"the namespace has {len(self.known)} Snapshots (OCORE_IMPORT_LIMIT)")
            return
        bodies = [rules.body(self.store, identity, place.name, name) for name in rules.names(identity)]
        try:
            obj = await self.made(SNAPSHOTS, id_, known, bodies)
        except _Exists as other:
            self.known[id_] = other.known
            self.counted.existing += 1
            return
        if obj is not None:
            await self._complete(entry, obj, base.name if base is not None else "")

    async def _complete(self, entry: StoredSnapshot, obj: Object, base_name: str) -> None:
        snapshot = resources.snapshot(obj)
        now = self.ctx.now()
        status = rules.status(snapshot, self.store, entry, base_name, now)
        if await summarize.write_quietly(self.ctx, snapshot, status) is None:
            return
        self.known[snapshot.id] = Known(snapshot.meta.name, half=False, imported_at=self.running.started_at)
        self.counted.imported += 1


class _Rollbacks:
    """The finished rollbacks of one page, which has all of an environment."""

    def __init__(self, page: _Page, known: dict[str, Known]) -> None:
        self._page = page
        self._known = known
        self._siblings: Mapping[str, rollbacks.Siblings] = {}

    async def create(self, entries: list[StoredRollback]) -> bool:
        """Creates what is missing, within the history limit. False: time is up."""
        page, snapshots = self._page, {id_: each.name for id_, each in self._page.known.items()}
        by_environment: dict[str, list[StoredRollback]] = defaultdict(list)
        for entry in entries:
            if rollbacks.belongs(entry, page.places) is not None:
                by_environment[entry.run.environment_id].append(entry)
        self._siblings = {id_: rollbacks.siblings(each, snapshots) for id_, each in by_environment.items()}
        wanted = [entry for id_, each in by_environment.items() for entry in self._within_limit(id_, each)]
        return await _together(wanted, self._one, asyncio.get_running_loop().time() + BUDGET)

    def _within_limit(self, environment_id: str, entries: list[StoredRollback]) -> list[StoredRollback]:
        """Without those that the history limit would remove at once: the next import would bring them back."""
        page, place = self._page, self._page.places[environment_id]
        new = [each for each in entries if each.run.rollback_id not in self._known]
        existing = finished(page.ctx.catalog, page.store.meta.namespace, place.name)
        beyond = rollbacks.beyond(new, existing, page.ctx.settings.rollback_history_limit, page.ctx.now())
        page.counted.older += len(beyond)
        return [each for each in entries if each.run.rollback_id not in beyond]

    async def _one(self, entry: StoredRollback) -> None:
        try:
            await self._import(entry)
        except UNREADABLE_ERRORS as error:
            self._page.unreadable(f"rollback {entry.run.rollback_id}", error)

    async def _import(self, entry: StoredRollback) -> None:
        page, id_ = self._page, entry.run.rollback_id
        place, siblings = page.places[entry.run.environment_id], self._siblings[entry.run.environment_id]
        known = self._known.get(id_)
        if known is not None and not known.half:
            if known.imported_at >= page.running.started_at:
                page.counted.rollbacks += 1
            else:
                page.counted.rollbacks_existing += 1
            return
        if page.ctx.catalog.is_elsewhere("Rollback", page.store.meta.namespace, id_):
            page.counted.refuse(id_, "another namespace has a Rollback of this id")
            return
        now = page.ctx.now()
        names = rollbacks.names(entry, place, now)
        bodies = [rollbacks.body(page.store, entry, place, name, siblings, now) for name in names]
        try:
            obj = await page.made(ROLLBACKS, id_, known, bodies)
        except _Exists as other:
            self._known[id_] = other.known
            page.counted.rollbacks_existing += 1
            return
        if obj is None:
            return
        rollback = resources.rollback(obj)
        status = rollbacks.status(rollback, page.store, entry, place, siblings, now)
        if await summarize.write_quietly(page.ctx, rollback, status) is None:
            return
        self._known[id_] = Known(rollback.meta.name, half=False, imported_at=page.running.started_at)
        page.counted.rollbacks += 1


# --- take-over -----------------------------------------------------------------------------------------------------


async def take_over(ctx: Context, store: Store, done: ImportStatus) -> Written:
    """Gives the imported Snapshots what the store has for them. The spec first: until the status says so, the data is
    never deleted."""
    until, count = asyncio.get_running_loop().time() + BUDGET, 0
    async for page in ctx.kube.pages(SNAPSHOTS, store.meta.namespace):
        mine = [obj for obj in page if _is_mine(obj, store)]
        if not await _together(mine, partial(_take, ctx), until):
            return Idle(0.0)
        count += sum(_is_taken(obj, store) for obj in page) + len(mine)
    found = done.model_copy(update={"taken_over": count})
    # Whether it is whole does not change.
    return Record(store.status.model_copy(update={"import_": found}))


def _imported(obj: Object, store: Store) -> Object | None:
    status: Object = obj.get("status") or {}
    if status.get("storeName") != store.meta.name or "deletionTimestamp" in obj["metadata"]:
        return None
    return status.get("imported")


def _is_mine(obj: Object, store: Store) -> bool:
    imported = _imported(obj, store)
    return imported is not None and not imported.get("takenOver")


def _is_taken(obj: Object, store: Store) -> bool:
    imported = _imported(obj, store)
    return imported is not None and bool(imported.get("takenOver"))


async def _take(ctx: Context, obj: Object) -> None:
    try:
        await _take_one(ctx, obj)
    except ValidationError as error:  # its own reconcile reports it
        _log.warning(
            "not taken over", namespace=obj["metadata"]["namespace"], name=obj["metadata"]["name"], error=str(error)
        )


async def _take_one(ctx: Context, obj: Object) -> None:
    wanted = rules.spec_of_stored(resources.snapshot(obj))
    if wanted is not None:
        written = await ctx.kube.set_spec(SNAPSHOTS, obj, wanted)
        if written is None:
            return
        obj = written
    snapshot = resources.snapshot(obj)
    await summarize.write_quietly(ctx, snapshot, rules.taken_over(snapshot))
