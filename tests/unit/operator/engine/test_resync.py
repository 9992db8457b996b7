"""Lists and watches: trouble in one namespace stays there, and the namespace is picked up again."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from ocore_kube.errors import ApiError, Forbidden, Unavailable
from ocore_kube.types import SNAPSHOTS, Type
from ocore_operator.context import Context
from ocore_operator.engine import resync as resync_module
from ocore_operator.engine import watch as watch_module
from ocore_operator.engine.access import Access
from ocore_operator.engine.kinds import Reconciler
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.engine.resync import Resync
from ocore_operator.engine.watch import Watch
from ocore_operator.kube.catalog import Work
from ocore_operator.kube.resources import Key, Object
from ocore_operator.settings import Settings
from support.operator.catalogs import MAKERS, asking
from support.operator.objects import UID, snapshot_object

REFUSED = Forbidden(403, "Forbidden", "no Role")
SILENT = Unavailable(0, "NoAnswer", "no answer")


class Api:
    """Stands for the API server: two namespaces with a Snapshot each."""

    def __init__(self) -> None:
        self.errors: dict[str, ApiError] = {}
        self.namespaces: dict[str, Object] = {n: {"metadata": {"name": n}} for n in ("first", "second")}
        self.lists: list[str] = []

    async def pages(self, _: Type, namespace: str) -> AsyncIterator[list[Object]]:
        self.lists.append(namespace)
        if namespace in self.errors:
            raise self.errors[namespace]
        yield [snapshot_object(namespace=namespace, uid=f"{UID[:-1]}{len(namespace)}")]

    async def get(self, _: Type, __: str, name: str) -> Object | None:
        return self.namespaces.get(name)


class Parts:
    """A Resync and what it works with."""

    def __init__(self, resync_interval: float = 0.2) -> None:
        self.api = Api()
        self.idle: set[str] = set()
        self.catalog = asking(lambda obj: Work(idle=obj["metadata"]["namespace"] in self.idle))
        self.access = Access(("first", "second"))
        self.queue = WorkQueue(workers=1, timeout=1)
        self.added: list[str] = []
        self.queue.add = self._add  # type: ignore[method-assign]
        api, catalog = self.api, self.catalog

        class Fake:
            kube = api
            settings = Settings(resync_interval=resync_interval)

        Fake.catalog = catalog  # type: ignore[attr-defined]

        async def never(_: Context, __: Key) -> None: ...

        kinds = {"Snapshot": Reconciler(SNAPSHOTS, never, MAKERS["Snapshot"])}
        self.resync = Resync(cast(Context, Fake()), self.queue, kinds, self.access)

    def _add(self, key: Key, *, low: bool = False) -> None:
        self.added.append(key.namespace)

    async def until(self, true: Callable[[], bool]) -> None:
        """Runs the resync until something is true; TimeoutError after 5 s."""
        task = asyncio.create_task(self.resync.run())
        try:
            async with asyncio.timeout(5):
                while not true():  # noqa: ASYNC110 - what is waited for has no event
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync_module, "RETRY", 0.01)
    monkeypatch.setattr(watch_module, "backoff", lambda *_: 0.01)


@pytest.mark.parametrize("broken", ["first", "second"])
def test_a_namespace_that_is_refused_is_reported_and_the_other_is_listed(broken: str) -> None:
    async def main() -> None:
        parts = Parts()
        parts.api.errors[broken] = REFUSED
        await parts.until(parts.resync.synced)
        (other,) = {"first", "second"} - {broken}
        assert set(parts.added) == {other}
        assert list(parts.access.problems()) == [f"cannot list namespace {broken}: no Role"]
        assert dict(parts.access.readable()) == {broken: False, other: True}
        assert parts.access.any_listed()

    asyncio.run(main())


def test_no_answer_is_not_ready_at_the_start() -> None:
    """The namespace may hold the original of an id, and Jobs that count."""

    async def main() -> None:
        parts = Parts()
        parts.api.errors["first"] = SILENT
        await parts.until(lambda: len(parts.api.lists) > 6)
        assert not parts.resync.synced()
        del parts.api.errors["first"]
        await parts.until(parts.resync.synced)

    asyncio.run(main())


def test_only_the_broken_namespace_is_tried_again_before_the_interval() -> None:
    async def main() -> None:
        parts = Parts(resync_interval=60)
        parts.api.errors["first"] = REFUSED
        await parts.until(lambda: parts.api.lists.count("first") > 5)
        assert parts.api.lists.count("second") == 1

    asyncio.run(main())


def test_an_object_whose_timer_was_lost_is_queued_without_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync_module, "CHECK", 0.05)

    async def main() -> None:
        parts = Parts(resync_interval=60)
        await parts.until(lambda: parts.added.count("first") >= 3 and parts.added.count("second") >= 3)
        assert sorted(parts.api.lists) == ["first", "second"]

    asyncio.run(main())


def test_one_that_is_scheduled_or_idle_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync_module, "CHECK", 0.05)

    async def main() -> None:
        parts = Parts(resync_interval=60)
        parts.idle.add("second")
        parts.queue.add_after(Key("Snapshot", "first", "before"), 30)
        task = asyncio.create_task(parts.resync.run())
        await asyncio.sleep(0.3)
        task.cancel()
        assert parts.added == ["first"], "as it was listed"

    asyncio.run(main())


def test_a_namespace_whose_watch_has_ended_is_listed_before_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Role may be gone, or the namespace itself."""
    monkeypatch.setattr(resync_module, "CHECK", 0.05)

    async def main() -> None:
        parts = Parts(resync_interval=60)
        await parts.access.report("first", "watch", "it ended")
        await parts.until(lambda: parts.api.lists.count("first") > 3)
        assert parts.api.lists.count("second") == 1

    asyncio.run(main())


def test_a_namespace_that_comes_back_is_picked_up() -> None:
    async def main() -> None:
        parts = Parts()
        parts.api.errors["first"] = REFUSED
        await parts.until(parts.resync.synced)
        waiting = asyncio.create_task(parts.access.wait_listed("first"))
        await asyncio.sleep(0)
        assert not waiting.done()
        del parts.api.errors["first"]
        await parts.until(lambda: "first" in parts.added)
        await asyncio.wait_for(waiting, 5)
        assert list(parts.access.problems()) == []

    asyncio.run(main())


@pytest.mark.parametrize(("found", "known"), [(None, False), ({"metadata": {}}, True)])
def test_the_ids_of_a_namespace_that_is_gone_are_free(found: Object | None, known: bool) -> None:
    async def main() -> None:
        parts = Parts()
        await parts.until(parts.resync.synced)
        parts.api.errors["first"] = REFUSED
        parts.api.namespaces["first"] = cast(Object, found)
        await parts.until(lambda: not parts.access.listed("first"))
        assert (parts.catalog.get(Key("Snapshot", "first", "before")) is not None) == known
        assert parts.catalog.get(Key("Snapshot", "second", "before")) is not None

    asyncio.run(main())


def test_objects_are_reconciled_while_their_namespace_is_deleted() -> None:
    """Its Role goes first, and our finalizers are left."""

    async def main() -> None:
        parts = Parts()
        await parts.until(parts.resync.synced)
        parts.added.clear()
        parts.api.errors["first"] = REFUSED
        parts.api.namespaces["first"] = {"metadata": {"deletionTimestamp": "2026-03-01T12:00:00Z"}}
        await parts.until(lambda: "first" in parts.added)

    asyncio.run(main())


@pytest.mark.parametrize("error", [REFUSED, SILENT])
def test_an_object_whose_namespace_cannot_be_read_makes_no_permanent_work(error: ApiError) -> None:
    async def main() -> None:
        access = Access(("first", "second"))

        async def reconcile() -> float | None:
            raise error

        await access.report("second", "list", "no Role")
        with pytest.raises(type(error)):
            await access.unless_refused("first", reconcile())
        if error is REFUSED:
            assert await access.unless_refused("second", reconcile()) is None
        else:
            with pytest.raises(Unavailable):
                await access.unless_refused("second", reconcile())

    asyncio.run(main())


class Kopf:
    """Stands for kopf: ends with what it is given, one after the other, then runs until it is stopped."""

    def __init__(self, *ends: BaseException | None) -> None:
        self.ends = list(ends)
        self.threads: list[str] = []
        self.called = threading.Event()
        self.running = threading.Event()
        self.stopped = threading.Event()

    async def __call__(self, namespace: Any, stop: asyncio.Event) -> list[asyncio.Task[None]]:
        self.threads.append(threading.current_thread().name)
        self.called.set()
        return [asyncio.create_task(self.run(stop)), asyncio.create_task(asyncio.sleep(60))]

    async def run(self, stop: asyncio.Event) -> None:
        if self.ends:
            end = self.ends.pop(0)
            if end is not None:
                raise end
            return
        self.running.set()
        await stop.wait()
        self.stopped.set()


class Deaf(Kopf):
    """Has a task that swallows so many cancellations."""

    def __init__(self, times: int, *ends: BaseException | None) -> None:
        super().__init__(*ends)
        self.left = times

    async def __call__(self, namespace: Any, stop: asyncio.Event) -> list[asyncio.Task[None]]:
        tasks = await super().__call__(namespace, stop)
        self.deaf = asyncio.create_task(self.swallow())
        await asyncio.sleep(0)
        return tasks

    async def swallow(self) -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.left -= 1
                if self.left < 0:
                    raise


@pytest.mark.parametrize("times", [1, 1_000_000])
def test_a_watch_ends_although_a_task_swallows_its_cancellation(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """It ends where the second cancellation works, and after some time where none does."""
    monkeypatch.setattr(watch_module, "END", 0.5)
    monkeypatch.setattr(watch_module, "AGAIN", 0.1)

    async def main() -> None:
        access = Access(("first",))
        kopf = Deaf(times, ValueError("403"))
        task = asyncio.create_task(Watch("first", kopf, access).run())
        assert await asyncio.to_thread(kopf.running.wait, 10)
        assert list(access.problems()) == ["cannot watch namespace first: ValueError: 403"]
        assert (kopf.left < 0) == (times == 1)
        task.cancel()

    asyncio.run(main())


def test_a_watch_that_ends_is_started_again_and_stopped_at_last() -> None:
    async def main() -> None:
        access = Access(("first", "second"))
        kopf = Kopf(ValueError("403"), None, SystemExit(1))
        task = asyncio.create_task(Watch("first", kopf, access).run())
        assert await asyncio.to_thread(kopf.running.wait, 5)
        assert kopf.threads == ["watch first"] * 4
        assert list(access.problems()) == ["cannot watch namespace first: SystemExit: 1"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert kopf.stopped.is_set()

    asyncio.run(main())


def test_a_watch_that_runs_for_a_while_is_a_problem_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "HEALTHY", 0.1)

    async def main() -> None:
        access = Access(("first",))
        await access.report("first", "watch", "it ended")
        task = asyncio.create_task(Watch("first", Kopf(), access).run())
        async with asyncio.timeout(5):
            while list(access.problems()):  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(main())


def test_what_ends_with_a_watch_does_not_end_with_it_here() -> None:
    """All tasks of kopf's event loop are cancelled when it ends."""

    async def cancels_all(_: Any, __: asyncio.Event) -> list[asyncio.Task[None]]:
        for task in asyncio.all_tasks():
            task.cancel()
        return [asyncio.create_task(asyncio.sleep(60))]

    async def main() -> None:
        bystander = asyncio.create_task(asyncio.sleep(30))
        access = Access(("first",))
        task = asyncio.create_task(Watch("first", cancels_all, access).run())
        async with asyncio.timeout(5):
            while not list(access.problems()):  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.01)
        assert not bystander.done()
        task.cancel()

    asyncio.run(main())


def test_a_watch_waits_until_its_namespace_can_be_listed() -> None:
    async def main() -> None:
        access = Access(("first",))
        await access.report("first", "list", "no Role")
        kopf = Kopf(ValueError("403"))
        task = asyncio.create_task(Watch("first", kopf, access).run())
        assert await asyncio.to_thread(kopf.called.wait, 60)
        await asyncio.sleep(0.3)
        assert len(kopf.threads) == 1
        await access.report("first", "list", None)
        assert await asyncio.to_thread(kopf.running.wait, 5)
        task.cancel()

    asyncio.run(main())
