"""An operation that waits for pods is reconciled when one of them changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from ocore_kube.errors import Forbidden
from ocore_kube.types import PODS
from ocore_operator.jobs.observing import pod_changes
from ocore_operator.jobs.observing.pod_changes import MOST, PAUSE, SECONDS, WITHIN, PodChanges
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Key

KEY = Key("Rollback", "shop", "back")


class Api:
    """Watches of pods, whose events the test sends."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.sent: list[asyncio.Queue[str]] = []
        self.error = error
        self.ended = 0

    async def events(self, *given: object, **options: object) -> AsyncIterator[str]:
        self.asked.append((*given, *options.values()))
        if self.error is not None:
            raise self.error
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.sent.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self.ended += 1


def played(api: Api, play: Callable[[PodChanges, list[tuple[Key, float]]], Any]) -> list[tuple[Key, float]]:
    """Whom the events have woken."""
    woken: list[tuple[Key, float]] = []

    async def run() -> None:
        changes = PodChanges(cast("Kube", api), lambda key, within: woken.append((key, within)))
        await play(changes, woken)
        await changes.stop()

    asyncio.run(run())
    return woken


async def holds(condition: Callable[[], object]) -> None:
    """Waits until it does."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - of what the loop runs next
            await asyncio.sleep(0)


def test_each_event_wakes_the_owner() -> None:
    api = Api()

    async def play(changes: PodChanges, woken: list[tuple[Key, float]]) -> None:
        for _ in range(2):  # as each reconcile that waits does
            changes.ensure(KEY, "app=shop")
        await holds(lambda: api.sent)
        api.sent[0].put_nowait("MODIFIED")
        await holds(lambda: woken)

    assert played(api, play) == [(KEY, WITHIN)]
    assert api.asked == [(PODS, "shop", "app=shop", SECONDS)]
    assert api.ended == 1


def test_pods_that_change_all_the_time_wake_it_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    api, slept, sleep = Api(), [], asyncio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    async def play(changes: PodChanges, woken: list[tuple[Key, float]]) -> None:
        changes.ensure(KEY, "app=shop")
        await holds(lambda: api.sent)
        with monkeypatch.context() as patched:
            patched.setattr(pod_changes.asyncio, "sleep", noted)
            for _ in range(3):
                api.sent[0].put_nowait("MODIFIED")
            while len(woken) < 3:
                await sleep(0)

    assert len(played(api, play)) == 3
    assert slept[:2] == [PAUSE] * 2


def test_what_ended_watches_nothing() -> None:
    api = Api()

    async def play(changes: PodChanges, _: object) -> None:
        other = Key("Rollback", "shop", "other")
        for key in (KEY, other):
            changes.ensure(key, "app=shop")
        await holds(lambda: len(api.sent) == 2)
        changes.forget(KEY)
        await holds(lambda: api.ended == 1)
        changes.ensure(KEY, "app=shop")
        await holds(lambda: len(api.sent) == 3)

    assert not played(api, play)
    assert api.ended == 3


def test_of_many_operations_some_are_watched() -> None:
    api = Api()

    async def play(changes: PodChanges, _: object) -> None:
        for number in range(MOST + 5):
            changes.ensure(Key("Rollback", "shop", f"r{number}"), "app=shop")
        await holds(lambda: len(api.sent) == MOST)

    played(api, play)
    assert len(api.asked) == MOST


def test_a_watch_that_is_refused_is_not_repeated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    api, slept = Api(Forbidden(403, "Forbidden", "no")), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def play(changes: PodChanges, _: object) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(pod_changes.asyncio, "sleep", sleep)
            changes.ensure(KEY, "app=shop")
            async with asyncio.timeout(10):
                await asyncio.gather(*changes._tasks.values())

    played(api, play)
    assert slept == [SECONDS]
