"""Limits how many Jobs run at once: in all, per namespace and per store.

There are classes, so that short and urgent Jobs never starve: the column `limits` of the table of commands
(``ocore_crds.commands``). Each class but `free` has a pool. `free` never waits: its environment may be stopped, and
there is at most one operation per environment. In a pool the namespaces take turns, and in a namespace the Job
that has waited longest goes first.

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
from ocore_crds.commands.table import LimitsClass
from ocore_operator.context import Context
from ocore_operator.errors import Waiting
from ocore_operator.jobs.running import Load, RunningJobs, Started, job_class, store_of
from ocore_operator.kube.resources import Key, Object

#: Seconds until a waiting object is requeued. It is requeued earlier when a Job ends.
PAUSE = 5.0
#: A waiter that has not asked again for so many seconds is dropped.
WAITER_TTL = 3 * PAUSE


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
    asked: float

    @property
    def age_order(self) -> tuple[str, tuple[str, str]]:
        """The one that has waited longest first."""
        return self.since, self.name


class Slots:
    """Grants slots. The Lease allows one operator process at a time, so a lock in the process is enough."""

    def __init__(self, total: int, per_namespace: int, now: Callable[[], float] = time.monotonic) -> None:
        """Both limits apply to each class."""
        self._total = total
        self._per_namespace = per_namespace
        self._lock = asyncio.Lock()
        self._waiters: dict[tuple[str, str], _Waiter] = {}
        self._per_store: dict[tuple[str, str], int] = {}
        self._turns: dict[tuple[LimitsClass, str], int] = {}
        self._turn = 0
        self._running = RunningJobs(per_namespace, now)

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
        """The owners of waiting Jobs, to be requeued when a Job ends."""
        return tuple(w.owner for w in self._waiters.values())

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
        self._waiters = {k: w for k, w in self._waiters.items() if now - w.asked < WAITER_TTL}
        mine = _Waiter(name, owner_of(job), job_class(job), store_of(job), since, now)
        self._waiters[name] = mine
        refusal = self._refusal(mine, self._running.load(mine.class_))
        if refusal is not None or self._others(mine):
            # More may be remembered than run: that must neither refuse a Job nor change whose turn it is.
            await self._running.check(ctx, name[0], mine.class_)
            refusal = self._refusal(mine, self._running.load(mine.class_))
        if refusal is not None:
            raise Waiting(c.WAITING_FOR_JOB_SLOT, refusal, PAUSE)
        del self._waiters[name]
        self._turn += 1
        self._turns[mine.class_, name[0]] = self._turn

    def _others(self, mine: _Waiter) -> int:
        """How many others of its class wait."""
        return sum(w.class_ == mine.class_ for w in self._waiters.values()) - 1

    def _refusal(self, mine: _Waiter, there: Load) -> str | None:
        """Why there is no slot; None where there is one."""
        if mine in self._next(mine.class_, there):
            return None
        namespace, store = mine.store
        in_namespace, in_store = there.by_namespace[namespace], there.by_store[mine.store]
        if in_namespace >= self._per_namespace:
            return (
                f"Namespace {namespace} has {in_namespace} running Jobs. Its limit is {self._per_namespace} "
                "(OCORE_MAX_CONCURRENT_JOBS_PER_NAMESPACE)."
            )
        if self._store_full(mine, there):
            limit = self._per_store[mine.store]
            return f"Store {store} has {in_store} running Jobs. Its limit is {limit} (spec.maxConcurrentJobs)."
        return (
            f"{there.total(self._per_namespace)} Jobs are running and {self._others(mine)} others wait. Namespaces "
            f"take turns; in a namespace the oldest is next. The limit is {self._total} (OCORE_MAX_CONCURRENT_JOBS)."
        )

    def _next(self, class_: LimitsClass, there: Load) -> Iterator[_Waiter]:
        """The waiters of the class that have a slot, in the order of their turns."""
        running = Load(there.by_namespace.copy(), there.by_store.copy())
        turns, turn = dict(self._turns), self._turn
        waiting = sorted((w for w in self._waiters.values() if w.class_ == class_), key=lambda w: w.age_order)

        def fits(waiter: _Waiter) -> bool:
            return running.by_namespace[waiter.name[0]] < self._per_namespace and not self._store_full(waiter, running)

        while running.total(self._per_namespace) < self._total:
            # A waiter that waits for its own namespace or store must not delay the others.
            able = [w for w in waiting if fits(w)]
            chosen = min(able, key=lambda w: (turns.get((class_, w.name[0]), 0), *w.age_order), default=None)
            if chosen is None:
                return
            yield chosen
            waiting.remove(chosen)
            running.add(chosen.store)
            turn += 1
            turns[class_, chosen.name[0]] = turn

    def _store_full(self, waiter: _Waiter, there: Load) -> bool:
        limit = self._per_store.get(waiter.store) if waiter.class_ == "heavy" else None
        return limit is not None and there.by_store[waiter.store] >= limit
