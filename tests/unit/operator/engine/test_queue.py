"""The work queue: nothing is lost, one worker at a time per key, errors back off, no handler can end a worker."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocore_kube.errors import Conflict
from ocore_operator.engine import queue as queue_module
from ocore_operator.engine.queue import BACKOFF_CAP, WorkQueue, backoff
from ocore_operator.kube.resources import Key


def key(number: int) -> Key:
    return Key("Snapshot", "shop", f"s{number}")


async def until(predicate: Callable[[], bool], seconds: float = 5) -> None:
    """Polls with a deadline."""
    async with asyncio.timeout(seconds):
        while True:
            if predicate():
                return
            await asyncio.sleep(0.005)


def run(work: Callable[[WorkQueue], Awaitable[None]], handler: queue_module.Handler, **options: float) -> WorkQueue:
    """Runs a queue with the handler until `work` ends."""

    async def main() -> WorkQueue:
        queue = WorkQueue(workers=int(options.get("workers", 4)), timeout=options.get("timeout", 5))
        task = asyncio.create_task(queue.run(handler))
        try:
            await work(queue)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return queue

    return asyncio.run(main())


def test_what_is_to_follow_a_reconcile_is_called_once_at_its_end() -> None:
    """Whether it succeeds or fails. Of several calls the last one counts."""
    called: list[str] = []
    reconciled: list[Key] = []

    async def handler(k: Key) -> None:
        reconciled.append(k)
        for name in ("first", "last"):
            assert queues[0].when_finished(k, lambda name=name: called.append(f"{name} {k.name}"))  # type: ignore[misc]
        assert called == [f"last s{number}" for number in range(len(reconciled) - 1)]
        if len(reconciled) == 2:
            raise ValueError

    queues: list[WorkQueue] = []

    async def work(queue: WorkQueue) -> None:
        queues.append(queue)
        assert not queue.when_finished(key(0), lambda: called.append("never"))
        for number in range(2):
            queue.add(key(number))
            await until(lambda number=number: len(called) == number + 1)  # type: ignore[misc]

    run(work, handler, workers=1)
    assert called == ["last s0", "last s1"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 6))
def test_one_worker_per_key_and_nothing_lost(numbers: list[int], workers: int) -> None:
    """After the last change of a key it is reconciled once more, and never by two at a time."""
    active: Counter[Key] = Counter()
    version: Counter[Key] = Counter()
    seen: dict[Key, int] = {}
    overlaps = []

    async def handler(k: Key) -> None:
        active[k] += 1
        if active[k] > 1:
            overlaps.append(k)
        at_begin = version[k]
        await asyncio.sleep(0.001)
        seen[k] = at_begin
        active[k] -= 1

    async def work(queue: WorkQueue) -> None:
        for n in numbers:
            version[key(n)] += 1
            queue.add(key(n), low=bool(n % 2))
            if n % 3 == 0:
                await asyncio.sleep(0)
        await until(lambda: all(seen.get(k) == v for k, v in version.items()))

    run(work, handler, workers=workers)
    assert overlaps == []


def test_adding_twice_is_one_reconcile() -> None:
    reconciles: Counter[Key] = Counter()

    async def handler(k: Key) -> None:
        reconciles[k] += 1

    async def work(queue: WorkQueue) -> None:
        for _ in range(10):
            queue.add(key(1))
        assert len(queue) == 1
        await until(lambda: reconciles[key(1)] > 0 and len(queue) == 0)

    run(work, handler)
    assert reconciles[key(1)] == 1


def test_a_standby_keeps_no_keys() -> None:
    """For weeks of events: what is to be done it knows from the catalog."""
    queue = WorkQueue(workers=1, timeout=1)
    queue.pause()
    queue.add(key(1))
    queue.add(key(2), low=True)
    assert (len(queue), queue.scheduled(key(1))) == (0, False)
    queue.resume()
    queue.add(key(1))
    assert queue.scheduled(key(1))


def test_the_resync_comes_after_what_happened() -> None:
    order: list[Key] = []

    async def handler(k: Key) -> None:
        order.append(k)

    async def work(queue: WorkQueue) -> None:
        queue.add(key(1), low=True)
        queue.add(key(2), low=True)
        queue.add(key(3))
        queue.add(key(2))  # something happened to it after all
        await until(lambda: len(order) == 3)

    run(work, handler, workers=1)
    assert order == [key(3), key(2), key(1)]


@pytest.mark.parametrize("urgent", [False, True])
@pytest.mark.parametrize("low", [False, True])
def test_row_36_namespaces_take_turns(urgent: bool, low: bool) -> None:
    """A tenant may have thousands of objects that wait, and change all of them at once."""
    done: list[str] = []

    async def main() -> None:
        queue = WorkQueue(workers=1, timeout=5, urgent=lambda _: urgent)
        for number in range(1000):
            queue.add(key(number), low=low)
        for name in ("one", "two"):
            queue.add(Key("Snapshot", "other", name), low=low)

        async def handler(k: Key) -> None:
            done.append(k.name)

        task = asyncio.create_task(queue.run(handler))
        try:
            await until(lambda: len(done) == 1002)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert done[:5] == ["s0", "one", "s1", "two", "s2"]
    assert done[5:] == [f"s{number}" for number in range(3, 1000)]


def test_what_is_urgent_goes_first_and_has_workers_of_its_own() -> None:
    """1,000 operations wait for an API server that does not answer: the rollback under way is reconciled at once, each
    time."""
    order: list[Key] = []
    stuck = asyncio.Event

    async def main() -> None:
        release = stuck()

        async def handler(k: Key) -> None:
            order.append(k)
            if k != key(0):
                await release.wait()

        queue = WorkQueue(workers=2, timeout=5, urgent=lambda k: k == key(0))
        task = asyncio.create_task(queue.run(handler))
        for n in range(1, 1000):
            queue.add(key(n))
        queue.add(key(0), low=True)
        await until(lambda: len(order) == 3)
        assert order == [key(0), key(1), key(2)]
        queue.add(key(0))
        await until(lambda: len(order) == 4)
        assert order[3] == key(0)
        release.set()
        await until(lambda: len(order) == 1001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_a_key_that_becomes_urgent_moves_to_the_front() -> None:
    urgent: set[Key] = set()

    async def main() -> None:
        order: list[Key] = []
        waited: list[tuple[bool, float]] = []

        async def handler(k: Key) -> None:
            order.append(k)

        queue = WorkQueue(
            workers=1,
            timeout=5,
            urgent=urgent.__contains__,
            waited=lambda first, seconds: waited.append((first, seconds)),
        )
        for n in range(5):
            queue.add(key(n))
        urgent.add(key(4))
        queue.add(key(4))
        assert len(queue) == 5
        await asyncio.sleep(0.05)
        task = asyncio.create_task(queue.run(handler))
        await until(lambda: len(order) == 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert order[0] == key(4)
        assert [first for first, _ in waited] == [True, False, False, False, False]
        assert all(seconds >= 0.05 for _, seconds in waited), "since it was queued first"

    asyncio.run(main())


def test_a_time_that_counts_goes_before_what_is_queued() -> None:
    done: list[Key] = []

    async def handler(reconciled: Key) -> float | None:
        done.append(reconciled)
        await asyncio.sleep(0.01)
        return 0.0 if reconciled == key(7) and done.count(key(7)) == 1 else None

    async def work() -> None:
        queue = WorkQueue(workers=1, timeout=5, punctual=lambda k: k.name in (key(5).name, key(7).name))
        queue.add(key(7))  # it is due again at once when its first reconcile ends
        for number in range(20, 60):
            queue.add(key(number))
        queue.add_after(key(4), 0.05)
        queue.add_after(key(5), 0.05)
        task = asyncio.create_task(queue.run(handler))
        try:
            await until(lambda: len(done) == 44)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(work())
    assert done[:2] == [key(7), key(7)]
    assert done.index(key(5)) < 30, "a slot waited for everything that was queued before it"
    assert done[-1] == key(4), "a delay whose end does not count went first, too"


def test_an_error_is_retried_until_it_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "BACKOFF_BASE", 0.01)
    reconciles: Counter[Key] = Counter()

    async def handler(k: Key) -> None:
        reconciles[k] += 1
        if reconciles[k] < 4:
            raise RuntimeError("no")

    async def work(queue: WorkQueue) -> None:
        queue.add(key(1))
        await until(lambda: reconciles[key(1)] == 4 and not queue.scheduled(key(1)))

    assert run(work, handler).statistics.errors == 3


def test_a_conflict_is_no_error() -> None:
    reconciles: Counter[Key] = Counter()

    async def handler(k: Key) -> None:
        reconciles[k] += 1
        if reconciles[k] == 1:
            raise Conflict(409, "Conflict", "the object has been modified")

    async def work(queue: WorkQueue) -> None:
        queue.add(key(1))
        await until(lambda: reconciles[key(1)] == 2)

    queue = run(work, handler)
    assert (queue.statistics.errors, queue.statistics.conflicts) == (0, 1)


def test_a_reconcile_that_takes_too_long_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "BACKOFF_BASE", 0.01)
    reconciles: Counter[Key] = Counter()

    async def handler(k: Key) -> None:
        reconciles[k] += 1
        if reconciles[k] == 1:
            await asyncio.sleep(60)

    async def work(queue: WorkQueue) -> None:
        queue.add(key(1))
        await until(lambda: reconciles[key(1)] == 2)

    assert run(work, handler, timeout=0.05).statistics.errors == 1


def test_a_cancellation_inside_a_handler_is_an_error_and_ends_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "BACKOFF_BASE", 0.01)
    reconciles: Counter[Key] = Counter()

    async def handler(k: Key) -> None:
        reconciles[k] += 1
        if reconciles[k] == 1:
            raise asyncio.CancelledError  # not an Exception

    async def work(queue: WorkQueue) -> None:
        queue.add(key(1))
        await until(lambda: reconciles[key(1)] == 2)
        await until(queue.alive)

    assert run(work, handler, workers=1).statistics.errors == 1


def test_health_reports_a_stuck_worker() -> None:
    async def handler(_: Key) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.3)  # does not let itself be cancelled
            raise

    async def work(queue: WorkQueue) -> None:
        await until(queue.alive)
        queue.add(key(1))
        await until(lambda: not queue.alive())

    run(work, handler, timeout=0.05)


def test_the_earlier_time_stays() -> None:
    times: list[float] = []

    async def handler(_: Key) -> None:
        times.append(asyncio.get_running_loop().time())

    async def work(queue: WorkQueue) -> None:
        begin = asyncio.get_running_loop().time()
        queue.add_after(key(1), 0.05)
        queue.add_after(key(1), 30)
        assert queue.scheduled(key(1))
        await until(lambda: len(times) == 1)
        assert 0.04 <= times[0] - begin < 2
        queue.add_after(key(2), 30)
        queue.add_after(key(2), 0.05)
        await until(lambda: len(times) == 2)

    run(work, handler)


def test_a_handler_sets_its_own_delay() -> None:
    reconciles: Counter[Key] = Counter()

    async def handler(k: Key) -> float | None:
        reconciles[k] += 1
        return 0.01 if reconciles[k] < 3 else None

    async def work(queue: WorkQueue) -> None:
        queue.add(key(1))
        await until(lambda: reconciles[key(1)] == 3)
        await until(lambda: not queue.scheduled(key(1)))

    run(work, handler)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_backoff_grows_to_its_cap(failures: int, jitter: float) -> None:
    pause = backoff(failures, jitter)
    assert 0 < pause <= BACKOFF_CAP
    assert backoff(failures + 1, 0) >= backoff(failures, 0)
    assert backoff(failures, 0) * 2 >= backoff(failures, 1) - 1e-9


def test_the_time_of_reconciles_is_summed_also_of_failed_ones() -> None:
    ended: Counter[Key] = Counter()
    spent = 0.0

    async def handler(k: Key) -> None:
        nonlocal spent
        began = time.monotonic()
        await asyncio.sleep(0.05)
        spent += time.monotonic() - began
        ended[k] += 1
        if ended[k] == 1:
            raise RuntimeError("once")

    async def work(queue: WorkQueue) -> None:
        queue.add(key(1))
        await until(lambda: ended[key(1)] == 2)
        await until(lambda: not queue.scheduled(key(1)))
        await asyncio.sleep(4)  # a worker that waits takes no time

    statistics = run(work, handler).statistics
    assert statistics.reconciles == 2
    assert spent <= statistics.seconds < spent + 4
