"""The operator's process and SIGTERM: the first one lets rollbacks finish, the second one does not."""

import asyncio
import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_operator.main import Operator
from ocore_operator.settings import Settings


class Process(Operator):
    """An operator whose parts run until they are cancelled, and without an API server."""

    def __init__(self, seconds: float) -> None:
        api: Any = SimpleNamespace(configuration=SimpleNamespace(host="https://none"))
        super().__init__(Settings(shutdown_seconds=seconds), api, api)
        self.events: list[str] = []
        self.finished = asyncio.Event()
        self.part_fails = asyncio.Event()
        fake: Any = SimpleNamespace(run=self._finish, admits=lambda _: True)
        self._shutdown = fake

    async def _finish(self, seconds: float) -> bool:
        self.events.append(f"finishes within {seconds:.0f} s")
        await self.finished.wait()
        self.events.append("finished")
        return True

    async def _part(self) -> None:
        await self.part_fails.wait()

    async def work(self) -> int:
        """As `run`, from where it leads: signals are handled, and the parts run."""
        loop = asyncio.get_running_loop()
        self._on_signals(loop)
        self._spawn("a part", self._part())
        try:
            return await self._until_signalled()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            for task in self._tasks:
                task.cancel()


async def soon() -> None:
    for _ in range(10):
        await asyncio.sleep(0.01)


def test_one_signal_waits_for_what_has_stopped_an_application() -> None:
    async def main() -> None:
        process = Process(150)
        working = asyncio.create_task(process.work())
        await soon()
        os.kill(os.getpid(), signal.SIGTERM)
        await soon()
        assert process.events == ["finishes within 150 s"]
        assert not working.done()
        assert not process._tasks[0].done(), "the Lease, the queue and the watches continue"
        process.finished.set()
        assert await working == 0
        assert process.events[-1] == "finished"

    asyncio.run(main())


def test_a_second_signal_ends_it_at_once() -> None:
    async def main() -> None:
        process = Process(150)
        working = asyncio.create_task(process.work())
        await soon()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            await soon()
        assert await working == 0
        assert process.events == ["finishes within 150 s"]

    asyncio.run(main())


@pytest.mark.parametrize("signalled", [False, True])
def test_a_part_that_ends_is_an_error_at_any_time(*, signalled: bool) -> None:
    async def main() -> None:
        process = Process(150)
        working = asyncio.create_task(process.work())
        await soon()
        if signalled:
            os.kill(os.getpid(), signal.SIGTERM)
            await soon()
        process.part_fails.set()
        assert await working == 1

    asyncio.run(main())
