"""The work queue: every key once, one worker at a time per key, back-off after errors, delayed reconciles.

kopf does not retry handlers of ``on.event``, and a timer of kopf dies for good when its patch fails (kopf#642). So
retries and delays are ours. The semantics are client-go's: a key that is added while it is reconciled is reconciled
again afterwards.

There are four lanes. What is urgent, a rollback under way, goes before all others and has workers of its own: 1,000
operations that wait must not make an application wait that is stopped. What is due at a time, a slot of a schedule,
goes next: the Snapshots that 1,000 schedules have just made must not delay the next ones. What only the resync has
found goes last. In each lane the namespaces take turns: a tenant may have thousands of objects that wait, and change
all of them at once.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from ocore_kube.errors import Conflict
from ocore_operator.kube.resources import Key

#: Seconds after the first error, doubled with each further one.
BACKOFF_BASE = 0.5
BACKOFF_CAP = 60.0
#: After a write conflict the object is read again at once, but not in a tight loop.
CONFLICT_PAUSE = 0.1
#: Workers that only reconcile what is urgent: all others may wait for an API server that is slow.
RESERVED = 2
#: Longest delay that a handler may ask for; the resync comes sooner.
MAX_DELAY = 3600.0
#: Seconds that one reconcile may take before it is cancelled and retried.
RECONCILE_TIMEOUT = 120.0

_log = structlog.get_logger()

#: Reconciles one object; returns the seconds until the next reconcile, None: when something changes.
Handler = Callable[[Key], Awaitable[float | None]]


def backoff(failures: int, jitter: float) -> float:
    """Seconds of pause after that many errors in a row (from 1). `jitter` in 0…1 spreads it over the upper half."""
    full = min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(failures - 1, 32))
    return full * (0.5 + 0.5 * jitter)


def _nothing() -> None:
    pass


@dataclass
class Statistics:
    """For /metrics."""

    reconciles: int = 0
    errors: int = 0
    conflicts: int = 0
    seconds: float = 0.0


#: The lanes, the first one first.
URGENT, DUE, NORMAL, LOW = range(4)


class _Lane:
    """Keys in the order of their turns, with the time since which each is queued (time.monotonic)."""

    def __init__(self) -> None:
        self._namespaces: OrderedDict[str, OrderedDict[Key, float]] = OrderedDict()  # the next one first

    def __bool__(self) -> bool:
        return bool(self._namespaces)

    def add(self, key: Key, since: float) -> None:
        """The last one of its namespace. A namespace that had none goes last."""
        self._namespaces.setdefault(key.namespace, OrderedDict())[key] = since

    def remove(self, key: Key) -> float:
        """Since when it was queued."""
        keys = self._namespaces[key.namespace]
        since = keys.pop(key)
        if not keys:
            del self._namespaces[key.namespace]
        return since

    def next(self) -> tuple[Key, float]:
        """The next one, which is removed, and since when it was queued. Its namespace goes last."""
        namespace, keys = next(iter(self._namespaces.items()))
        self._namespaces.move_to_end(namespace)
        key = next(iter(keys))
        return key, self.remove(key)


@dataclass
class _Worker:
    lanes: tuple[int, ...]
    task: asyncio.Task[None] | None = None
    #: Resolved to wake it while it waits for a key.
    wake: asyncio.Future[None] | None = None
    key: Key | None = None
    since: float = field(default_factory=time.monotonic)


class WorkQueue:
    """Keys to reconcile. All methods belong to the event loop's thread."""

    def __init__(
        self,
        *,
        workers: int,
        timeout: float,
        urgent: Callable[[Key], bool] = lambda _: False,
        punctual: Callable[[Key], bool] = lambda _: False,
        waited: Callable[[bool, float], None] = lambda _, __: None,
    ) -> None:
        """`timeout`: seconds after which one reconcile is cancelled and counted as an error. `urgent`: whether a key
        goes first. `punctual`: whether a delay of the key ends at a time that counts. `waited` is called for each
        reconcile: whether it is urgent, and for how many seconds its key was queued."""
        self._timeout = timeout
        self._urgent = urgent
        self._punctual = punctual
        self._waited = waited
        self._lanes = tuple(_Lane() for _ in range(4))
        self._lane_of: dict[Key, int] = {}
        self._active: set[Key] = set()
        #: Active keys that are reconciled again afterwards → whether their time has come.
        self._again: dict[Key, bool] = {}
        #: Active keys → what is called once the reconcile has ended.
        self._afterwards: dict[Key, Callable[[], None]] = {}
        self._delayed: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._paused = False
        self._workers = [_Worker((URGENT,)) for _ in range(RESERVED)]
        self._workers += [_Worker((URGENT, DUE, NORMAL, LOW)) for _ in range(workers)]
        self.statistics = Statistics()

    # --- adding ---------------------------------------------------------------------------------------------
    def add(self, key: Key, *, low: bool = False) -> None:
        """Reconciles the key as soon as a worker is free; `low` (resync): after everything else."""
        self._add(key, LOW if low else NORMAL)

    def pause(self) -> None:
        """Takes no key until :meth:`resume`: what a standby hears for days is in the catalog when it is needed."""
        self._paused = True

    def resume(self) -> None:
        """Takes keys again."""
        self._paused = False

    def _add(self, key: Key, lane: int) -> None:
        if self._paused:
            return
        if key in self._active:
            self._again[key] = self._again.get(key, False) or lane == DUE
            return
        if self._urgent(key):
            lane = URGENT
        known = self._lane_of.get(key)
        if known is not None and known <= lane:
            return
        since = self._lanes[known].remove(key) if known is not None else time.monotonic()
        self._lane_of[key] = lane
        self._lanes[lane].add(key, since)
        self._wake_one(lane)

    def _wake_one(self, lane: int) -> None:
        """Wakes a worker that waits and takes this lane. A worker that does not wait checks the lanes before it
        does."""
        for worker in self._workers:
            if lane in worker.lanes and worker.wake is not None and not worker.wake.done():
                worker.wake.set_result(None)
                return

    def add_after(self, key: Key, seconds: float) -> None:
        """Reconciles the key in that many seconds. An earlier time that is already set stays."""
        if seconds <= 0:
            self._due(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + min(seconds, MAX_DELAY)
        old = self._delayed.get(key)
        if old is not None:
            if old.when() <= when:
                return
            old.cancel()
        self._delayed[key] = loop.call_at(when, self._due, key)

    def when_finished(self, key: Key, call: Callable[[], None]) -> bool:
        """Calls it once the reconcile of the key that runs now has ended, and then only the last one that was given;
        False where none runs."""
        if key not in self._active:
            return False
        self._afterwards[key] = call
        return True

    def _due(self, key: Key) -> None:
        self._delayed.pop(key, None)
        self._add(key, DUE if self._punctual(key) else NORMAL)

    def scheduled(self, key: Key) -> bool:
        """Whether the key is reconciled anyway: it is active, queued or delayed."""
        return key in self._delayed or key in self._lane_of or key in self._active

    def __len__(self) -> int:
        return len(self._lane_of)

    # --- working --------------------------------------------------------------------------------------------
    async def run(self, handler: Handler) -> None:
        """Works until cancelled."""
        for worker in self._workers:
            worker.task = asyncio.create_task(self._work(worker, handler), name="worker")
        try:
            await asyncio.gather(*(w.task for w in self._workers if w.task is not None))
        finally:
            await self._stop()

    async def _stop(self) -> None:
        tasks = [w.task for w in self._workers if w.task is not None]
        for task in tasks:
            task.cancel()
        for timer in self._delayed.values():
            timer.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, worker: _Worker, handler: Handler) -> None:
        while True:
            worker.key, worker.since = None, time.monotonic()
            key = await self._next(worker)
            self._active.add(key)
            worker.key, worker.since = key, time.monotonic()
            await self._one(key, handler)
            self.statistics.seconds += time.monotonic() - worker.since
            worker.key = None
            self._finish(key)

    async def _next(self, worker: _Worker) -> Key:
        """The next key of the worker's lanes, which is taken out of its lane."""
        while True:
            for lane in worker.lanes:
                if self._lanes[lane]:
                    key, since = self._lanes[lane].next()
                    del self._lane_of[key]
                    self._waited(lane == URGENT, time.monotonic() - since)
                    return key
            worker.wake = asyncio.get_running_loop().create_future()
            await worker.wake

    async def _one(self, key: Key, handler: Handler) -> None:
        timer = self._delayed.pop(key, None)
        if timer is not None:
            timer.cancel()
        self.statistics.reconciles += 1
        try:
            async with asyncio.timeout(self._timeout):
                after = await handler(key)
        except Conflict:
            # Another writer came between our read and our write. That is no error: the next reconcile reads again.
            self.statistics.conflicts += 1
            self.add_after(key, CONFLICT_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the queue stops
            self._failed(key, error)  # something that the handler awaited was cancelled
        except Exception as error:
            self._failed(key, error)
        else:
            self._failures.pop(key, None)
            if after is not None:
                self.add_after(key, after)

    def _failed(self, key: Key, error: BaseException) -> None:
        self.statistics.errors += 1
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        pause = backoff(failures, random.random())  # noqa: S311 - jitter
        _log.warning(
            "reconcile failed; retrying", kind=key.kind, namespace=key.namespace, name=key.name, error=repr(error),
            failures=failures, pause=round(pause, 1), exc_info=error if failures == 1 else None,
        )  # fmt: skip
        self.add_after(key, pause)

    def _finish(self, key: Key) -> None:
        self._active.discard(key)
        self._afterwards.pop(key, _nothing)()
        if key in self._again:
            self._add(key, DUE if self._again.pop(key) else NORMAL)

    # --- health ---------------------------------------------------------------------------------------------
    def alive(self) -> bool:
        """Whether all workers run and none is stuck beyond its timeout, as with a blocked event loop or a lost
        cancellation."""
        limit = time.monotonic() - 2 * self._timeout
        return all(
            w.task is not None and not w.task.done() and (w.key is None or w.since > limit) for w in self._workers
        )

    def forget(self, key: Key) -> None:
        """The object is gone: its back-off is dropped."""
        self._failures.pop(key, None)
