"""Limits how many Jobs run at once: in all, per namespace and per store.

There are classes, so that short and urgent Jobs never starve: the column `limits` of the table of commands
(``ocore_crds.commands``). Each class but `free` has a pool. `free` never waits: its environment may be stopped, and
there is at most one operation per environment. In a pool the namespaces take turns, and in a namespace the Job
that has waited longest goes first.

Only Jobs of objects that the operator knows count (``ownership.py``): Jobs with copied labels would take the slots of
everyone.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.commands.table import COMMANDS, LimitsClass
from ocore_kube.errors import UNREADABLE, ApiError
from ocore_kube.types import JOBS
from ocore_operator.context import Context
from ocore_operator.errors import Waiting
from ocore_operator.jobs.outcome import finished
from ocore_operator.jobs.ownership import owner_of_job
from ocore_operator.kube.resources import Key, Object

#: Seconds until a waiting object is requeued. It is requeued earlier when a Job ends.
PAUSE = 5.0
#: A waiter that has not asked again for so many seconds is dropped.
WAITER_TTL = 3 * PAUSE
#: Jobs that are remembered as ended. One that is forgotten is asked for again.
ENDED = 10_000


@dataclass(frozen=True)
class Load:
    """Number of Jobs of one class that have not ended."""

    by_namespace: Counter[str] = field(default_factory=Counter)
    by_store: Counter[tuple[str, str]] = field(default_factory=Counter)

    def total(self, per_namespace: int) -> int:
        """In all. A namespace never counts for more than its limit, whatever is created in it."""
        return sum(min(count, per_namespace) for count in self.by_namespace.values())

    def add(self, store: tuple[str, str]) -> None:
        """One more Job, of that namespace and store."""
        self.by_namespace[store[0]] += 1
        self.by_store[store] += 1


def job_class(job: Object) -> LimitsClass:
    """The Job's class, by its command. The inspection of a rollback is `free`: its environment is stopped."""
    labels = job["metadata"].get("labels", {})
    if labels.get(naming.LABEL_KIND) == "Rollback" and labels.get(naming.LABEL_COMMAND) == "inspect":
        return "free"
    return COMMANDS[labels[naming.LABEL_COMMAND]].limits


def store_of(job: Object) -> tuple[str, str]:
    """Namespace and name of the Job's store; the name is empty where it uses none."""
    return job["metadata"]["namespace"], job["metadata"]["labels"].get(naming.LABEL_STORE, "")


def owner_of(job: Object) -> Key:
    """The object for which a Job was built."""
    metadata = job["metadata"]
    return Key(
        metadata["labels"][naming.LABEL_KIND],
        metadata["namespace"],
        metadata["annotations"][naming.ANNOTATION_OWNER_NAME],
    )


def load(jobs: Iterable[Object], class_: LimitsClass) -> Load:
    """Counts the Jobs of the class that have not ended."""
    found = Load()
    for job in jobs:
        command = job["metadata"].get("labels", {}).get(naming.LABEL_COMMAND, "")
        if command in COMMANDS and job_class(job) == class_ and finished(job) is None:
            found.add(store_of(job))
    return found


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


class Limits:
    """Grants slots. The Lease allows one operator process at a time, so a lock in the process is enough."""

    def __init__(self, total: int, per_namespace: int) -> None:
        """Both limits apply to each class."""
        self._total = total
        self._per_namespace = per_namespace
        self._lock = asyncio.Lock()
        self._waiters: dict[tuple[str, str], _Waiter] = {}
        self._per_store: dict[tuple[str, str], int] = {}
        self._turns: dict[tuple[LimitsClass, str], int] = {}
        self._turn = 0
        self._ended: OrderedDict[str, None] = OrderedDict()

    def set_store(self, namespace: str, name: str, limit: int) -> None:
        """Sets the limit of a store (spec.maxConcurrentJobs)."""
        self._per_store[namespace, name] = limit

    def waiting(self) -> int:
        """Number of Jobs that wait for a slot."""
        return len(self._waiters)

    def waiters(self) -> tuple[Key, ...]:
        """The owners of waiting Jobs, to be requeued when a Job ends."""
        return tuple(w.owner for w in self._waiters.values())

    @asynccontextmanager
    async def slot(self, ctx: Context, job: Object, since: str) -> AsyncIterator[None]:
        """Reserves a slot while the caller creates the Job. Raises Waiting(WaitingForJobSlot). `since`: when the caller
        began to wait (RFC 3339); it decides the order in its namespace."""
        if job_class(job) == "free":
            yield
            return
        async with self._lock:
            there = await self._running(ctx, job["metadata"]["namespace"], job_class(job))
            self._admit(job, load(there, job_class(job)), since)
            yield

    async def _running(self, ctx: Context, namespace: str, class_: LimitsClass) -> list[Object]:
        """The Jobs of the class that have not ended; of a namespace as many as it may have. A list has only their
        metadata: whether one has ended is asked of each that is not known to have."""
        running: list[Object] = []
        by_namespace: dict[str, list[Object]] = {}
        for found in await _existing(ctx, namespace, class_):
            if found["metadata"]["uid"] not in self._ended:
                by_namespace.setdefault(found["metadata"]["namespace"], []).append(found)
        for each, jobs in by_namespace.items():
            count = at = 0
            while at < len(jobs) and count < self._per_namespace:
                names = [found["metadata"]["name"] for found in jobs[at : at + self._per_namespace - count]]
                at += len(names)
                for job in await asyncio.gather(*(ctx.kube.get(JOBS, each, name) for name in names)):
                    if job is not None and finished(job) is None:
                        running.append(job)
                        count += 1
                    elif job is not None:
                        self._remember(job["metadata"]["uid"])
        return running

    def _remember(self, uid: str) -> None:
        self._ended[uid] = None
        if len(self._ended) > ENDED:
            self._ended.popitem(last=False)

    def _admit(self, job: Object, there: Load, since: str) -> None:
        now = asyncio.get_running_loop().time()
        name = (job["metadata"]["namespace"], job["metadata"]["name"])
        self._waiters = {k: w for k, w in self._waiters.items() if now - w.asked < WAITER_TTL}
        mine = _Waiter(name, owner_of(job), job_class(job), store_of(job), since, now)
        self._waiters[name] = mine
        refusal = self._refusal(mine, there)
        if refusal is not None:
            raise Waiting(c.WAITING_FOR_JOB_SLOT, refusal, PAUSE)
        del self._waiters[name]
        self._turn += 1
        self._turns[mine.class_, name[0]] = self._turn

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
        others = sum(w.class_ == mine.class_ for w in self._waiters.values()) - 1
        return (
            f"{there.total(self._per_namespace)} Jobs are running and {others} others wait. Namespaces take turns; in a"
            f" namespace the oldest is next. The limit is {self._total} (OCORE_MAX_CONCURRENT_JOBS)."
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
        limit = self._per_store.get(waiter.store) if waiter.class_ == "heavy" and waiter.store[1] else None
        return limit is not None and there.by_store[waiter.store] >= limit


async def _existing(ctx: Context, namespace: str, class_: LimitsClass) -> list[Object]:
    """The metadata of all Jobs of the class that belong to known objects. Another namespace that may not be read is
    left out: it must not stop the Jobs of `namespace`."""

    def counts(job: Object) -> bool:
        command = (job["metadata"].get("labels") or {}).get(naming.LABEL_COMMAND)
        return command in COMMANDS and job_class(job) == class_ and owner_of_job(job, ctx.catalog) is not None

    found: list[Object] = []
    for each in ctx.settings.namespaces or (None,):
        try:
            found += await ctx.kube.metadata(
                JOBS, each, labels=f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}", keep=counts
            )
        except ApiError as error:
            if each in (None, namespace) or error.status not in UNREADABLE:
                raise
    return found
