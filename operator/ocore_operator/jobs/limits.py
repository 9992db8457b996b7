"""Limits how many Jobs run at once, in all and per store.

There are three classes, so that short and urgent Jobs never starve. `heavy` (snapshot, restore, verify) and `light` (probe, probe-store, inspect,
delete) have a pool each. `free` (switch, cleanup) never waits: its environment may be stopped, and there is at most one operation per
environment. In a pool the Job that has waited longest goes first.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_operator.context import Context
from ocore_operator.errors import Waiting
from ocore_operator.jobs.outcome import finished
from ocore_operator.kube.client import JOBS
from ocore_operator.kube.resources import Key, Object

Class = Literal["heavy", "light", "free"]

CLASSES: dict[str, Class] = {
    "snapshot": "heavy",
    "restore": "heavy",
    "verify": "heavy",
    "probe": "light",
    "probe-store": "light",
    "inspect": "light",
    "delete": "light",
    "switch": "free",
    "cleanup": "free",
}

#: Seconds until a waiting object is requeued. It is requeued earlier when a Job ends.
PAUSE = 5.0
#: A waiter that has not asked again for so many seconds is dropped.
WAITER_TTL = 3 * PAUSE


@dataclass(frozen=True)
class Load:
    """Number of Jobs of one class that have not ended."""

    total: int
    by_store: dict[tuple[str, str], int]


def job_class(job: Object) -> Class:
    """The Job's class, by its command. The inspection of a rollback is `free`: its environment is stopped."""
    labels = job["metadata"].get("labels", {})
    if labels.get(naming.LABEL_KIND) == "Rollback" and labels.get(naming.LABEL_COMMAND) == "inspect":
        return "free"
    return CLASSES[labels[naming.LABEL_COMMAND]]


def store_of(job: Object) -> tuple[str, str]:
    """Namespace and name of the Job's store; the name is empty where it uses none."""
    return job["metadata"]["namespace"], job["metadata"]["labels"].get(naming.LABEL_STORE, "")


def owner_of(job: Object) -> Key:
    """The object to which a Job or a pod of ours belongs."""
    metadata = job["metadata"]
    return Key(
        metadata["labels"][naming.LABEL_KIND],
        metadata["namespace"],
        metadata["annotations"][naming.ANNOTATION_OWNER_NAME],
    )


def load(jobs: Iterable[Object], class_: Class) -> Load:
    """Counts the Jobs of the class that have not ended."""
    total = 0
    by_store: dict[tuple[str, str], int] = {}
    for job in jobs:
        command = job["metadata"].get("labels", {}).get(naming.LABEL_COMMAND, "")
        if command not in CLASSES or job_class(job) != class_ or finished(job) is not None:
            continue
        total += 1
        by_store[store_of(job)] = by_store.get(store_of(job), 0) + 1
    return Load(total, by_store)


@dataclass(frozen=True)
class _Waiter:
    owner: Key
    class_: Class
    store: tuple[str, str]
    since: str
    asked: float


class Limits:
    """Grants slots. The Lease allows one operator process at a time, so a lock in the process is enough."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._lock = asyncio.Lock()
        self._waiters: dict[tuple[str, str], _Waiter] = {}
        self._per_store: dict[tuple[str, str], int] = {}

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
        """Reserves a slot while the caller creates the Job. Raises Waiting(WaitingForJobSlot). `since`: when the caller began to wait (RFC 3339);
        it decides the order."""
        if job_class(job) == "free":
            yield
            return
        async with self._lock:
            there = await ctx.kube.list(JOBS, labels=f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}")
            self._admit(job, load(there, job_class(job)), since)
            yield

    def _admit(self, job: Object, there: Load, since: str) -> None:
        now = asyncio.get_running_loop().time()
        name = (job["metadata"]["namespace"], job["metadata"]["name"])
        self._waiters = {k: w for k, w in self._waiters.items() if now - w.asked < WAITER_TTL}
        mine = _Waiter(owner_of(job), job_class(job), store_of(job), since, now)
        refusal = self._refusal(mine, name, there)
        if refusal is not None:
            self._waiters[name] = mine
            raise Waiting(c.WAITING_FOR_JOB_SLOT, refusal, PAUSE)
        self._waiters.pop(name, None)

    def _refusal(self, mine: _Waiter, name: tuple[str, str], there: Load) -> str | None:
        """Why there is no slot; None where there is one. Older waiters count as running Jobs."""
        older = [
            w
            for k, w in self._waiters.items()
            if k != name and w.class_ == mine.class_ and (w.since, k) < (mine.since, name)
        ]
        limit = self._per_store.get(mine.store)
        if mine.class_ == "heavy" and limit is not None and mine.store[1]:
            used = there.by_store.get(mine.store, 0) + sum(w.store == mine.store for w in older)
            if used >= limit:
                return (
                    f"Store {mine.store[1]} has its limit of {limit} Jobs (spec.maxConcurrentJobs), running or waiting; "
                    f"{used - limit + 1} must end before this one starts."
                )
        # A waiter that waits for its own store must not delay the others.
        ahead = sum(1 for w in older if not self._store_full(w, there))
        if there.total + ahead >= self._total:
            return f"{there.total} Jobs are running and {ahead} wait before this one. The limit is {self._total} (OCORE_MAX_CONCURRENT_JOBS)."
        return None

    def _store_full(self, waiter: _Waiter, there: Load) -> bool:
        limit = self._per_store.get(waiter.store)
        return limit is not None and there.by_store.get(waiter.store, 0) >= limit
