"""Limits how many Jobs run at once: in all, per namespace and per store.

There are classes: the column `limits` of the table of commands (``ocore_crds.commands``). Each class but `free` has a
pool, so what a Rollback needs waits for nothing else. `free` never waits: its environment may be stopped, and there is
at most one operation per environment. In a pool the namespaces take turns, and in a namespace the Job that has waited
longest goes first.

A slot is for a pod that runs (``running.py``). A Job whose pod does not run keeps it for a short time only: a tenant
decides by a node selector and a start deadline how long that lasts. Such Jobs have a limit in each namespace.

Only Jobs of objects that the operator knows count (``ownership.py``): Jobs with copied labels would take the slots of
everyone.

Which Jobs run is remembered (``running.py``): a request for a slot lists no Jobs, and reads those that count only where
it would be refused.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.commands.base import LimitsClass
from ocore_operator.context import Context
from ocore_operator.errors import Waiting
from ocore_operator.jobs.slots.running import Load, RunningJobs, Started, job_class, store_of
from ocore_operator.kube.resources import Key, Object

#: Seconds until a waiting object is requeued, at least and at most. It is requeued earlier when a Job ends and it is
#: next.
PAUSE = 5.0
LONGEST_PAUSE = 60.0
#: Requests per second, at most, of all that wait: each is a reconcile. Thousands may wait.
REQUESTS = 20
#: The classes that the limit of a store is for: what reads or writes much there.
OF_STORE: tuple[LimitsClass, ...] = ("heavy", "rollback")
#: A waiter that has not asked again for so many pauses is dropped.
WAITER_PAUSES = 3


def owner_of(job: Object) -> Key:
    """The object for which a Job was built."""
    metadata = job["metadata"]
    return Key(
        metadata["labels"][naming.LABEL_KIND],
        metadata["namespace"],
        metadata["annotations"][naming.ANNOTATION_OWNER_NAME],
    )


@dataclass(frozen=True)
class _Waiter:
    name: tuple[str, str]  # namespace and name of the Job
    owner: Key
    class_: LimitsClass
    store: tuple[str, str]
    since: str
    until: float  # it is dropped then

    @property
    def age_order(self) -> tuple[str, tuple[str, str]]:
        """The one that has waited longest first."""
        return self.since, self.name


class Slots:
    """Grants slots. The Lease allows one operator process at a time, so a lock in the process is enough."""

    def __init__(
        self, total: int, per_namespace: int, patience: float = 180.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Both limits apply to each class. In a namespace at most `total` more wait for their pods to run, after
        `patience` seconds."""
        self._total = total
        self._per_namespace = per_namespace
        self._lock = asyncio.Lock()
        self._waiters: dict[tuple[str, str], _Waiter] = {}
        self._per_store: dict[tuple[str, str], int] = {}
        self._turns: dict[tuple[LimitsClass, str], int] = {}
        self._turn = 0
        self._running = RunningJobs(per_namespace, total, patience, now)

    def set_store(self, namespace: str, name: str, limit: int) -> None:
        """Sets the limit of a store (spec.maxConcurrentJobs)."""
        self._per_store[namespace, name] = limit

    def waiting(self) -> int:
        """Number of Jobs that wait for a slot."""
        return len(self._waiters)

    def changed(self, job: Object, *, deleted: bool) -> None:
        """An event of the watch about a Job of an object that the operator knows, or about any Job that was deleted."""
        self._running.changed(job, deleted=deleted)

    def waiters(self) -> tuple[Key, ...]:
        """The owners of the waiting Jobs that have a slot now, to be requeued when a Job ends."""
        classes = dict.fromkeys(w.class_ for w in self._waiters.values())
        return tuple(w.owner for each in classes for w in self._next(each, self._running.load(each)))

    @asynccontextmanager
    async def slot(self, ctx: Context, job: Object, since: str) -> AsyncIterator[Started]:
        """Reserves a slot while the caller creates the Job, which it reports. Raises Waiting(WaitingForJobSlot).
        `since`: when the caller began to wait (RFC 3339); it decides the order in its namespace."""
        if job_class(job) == "free":
            yield lambda _: None
            return
        async with self._lock:
            await self._running.count(ctx, job["metadata"]["namespace"])
            await self._admit(ctx, job, since)
            with self._running.starting(job) as started:
                yield started

    async def _admit(self, ctx: Context, job: Object, since: str) -> None:
        now = asyncio.get_running_loop().time()
        name = (job["metadata"]["namespace"], job["metadata"]["name"])
        self._waiters = {k: w for k, w in self._waiters.items() if now < w.until}
        pause = min(max(PAUSE, len(self._waiters) / REQUESTS), LONGEST_PAUSE)
        until = now + WAITER_PAUSES * pause
        mine = _Waiter(name, owner_of(job), job_class(job), store_of(job), since, until)
        self._waiters[name] = mine
        refusal = self._refusal(mine, self._running.load(mine.class_))
        if refusal is not None or self._others(mine):
            # More may be remembered than run: that must neither refuse a Job nor change whose turn it is.
            await self._running.check(ctx, name[0], mine.class_)
            refusal = self._refusal(mine, self._running.load(mine.class_))
        if refusal is not None:
            raise Waiting(c.WAITING_FOR_JOB_SLOT, refusal, pause)
        del self._waiters[name]
        self._turn += 1
        self._turns[mine.class_, name[0]] = self._turn

    def _others(self, mine: _Waiter) -> int:
        """How many others of its class wait."""
        return sum(w.class_ == mine.class_ for w in self._waiters.values()) - 1

    def _refusal(self, mine: _Waiter, there: Load) -> str | None:
        """Why there is no slot; None where there is one. What is full is asked first: thousands may wait then."""
        full = self._full(mine, there)
        if full is None and mine in self._next(mine.class_, there):
            return None
        return full or (
            f"{there.total(self._per_namespace)} Jobs are running and {self._others(mine)} others wait. Namespaces "
            f"take turns; in a namespace the oldest is next. The limit is {self._total} (OCORE_MAX_CONCURRENT_JOBS)."
        )

    def _full(self, mine: _Waiter, there: Load) -> str | None:
        """Which limit is reached; empty text: that of all namespaces."""
        namespace, store = mine.store
        if there.by_namespace[namespace] >= self._per_namespace:
            return (
                f"Namespace {namespace} has {there.by_namespace[namespace]} running Jobs. Its limit is"
                f" {self._per_namespace} (OCORE_MAX_CONCURRENT_JOBS_PER_NAMESPACE)."
            )
        if there.waiting[namespace] >= self._total:
            return (
                f"Namespace {namespace} has {there.waiting[namespace]} Jobs whose pods do not run. Its limit is"
                f" {self._total} (OCORE_MAX_CONCURRENT_JOBS). See `kubectl -n {namespace} get pods -l"
                f" {naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}`, and correct what their Events name."
            )
        if self._store_full(mine, there):
            limit = self._per_store[mine.store]
            return (
                f"Store {store} has {there.by_store[mine.store]} running Jobs. Its limit is {limit}"
                " (spec.maxConcurrentJobs)."
            )
        return "" if there.total(self._per_namespace) >= self._total else None

    def _next(self, class_: LimitsClass, there: Load) -> Iterator[_Waiter]:
        """The waiters of the class that have a slot, in the order of their turns."""
        running = Load(there.by_namespace.copy(), there.by_store.copy(), there.waiting)
        turns, turn = dict(self._turns), self._turn
        waiting = sorted((w for w in self._waiters.values() if w.class_ == class_), key=lambda w: w.age_order)
        while True:
            # A waiter that waits for its own namespace or store must not delay the others.
            waiting = [w for w in waiting if self._full(w, running) is None]
            chosen = min(waiting, key=lambda w: (turns.get((class_, w.name[0]), 0), *w.age_order), default=None)
            if chosen is None:
                return
            yield chosen
            waiting.remove(chosen)
            running.add(chosen.store)
            turn += 1
            turns[class_, chosen.name[0]] = turn

    def _store_full(self, waiter: _Waiter, there: Load) -> bool:
        limit = self._per_store.get(waiter.store) if waiter.class_ in OF_STORE else None
        return limit is not None and there.by_store[waiter.store] >= limit
