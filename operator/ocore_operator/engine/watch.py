"""kopf's watches: one kopf operator per namespace, in a thread with an event loop of its own, started again when it
ends.

kopf ends for good at a watch error other than 410, for example 403 after a Role was deleted, and its tasks are then
cancelled with all others of its event loop. So it gets a loop of its own, and the watches of one namespace end alone.
In the main event loop there are only the queue and the reconciles.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import structlog

from ocore_operator.engine.access import Access, Namespace
from ocore_operator.engine.queue import backoff

#: Seconds after which a watch that ran counts as healthy: the next pause is short again.
HEALTHY = 60.0
#: Seconds that a watch may take to stop.
STOP = 3.0

#: Seconds that the tasks of a kopf that failed may take to end, and seconds between two cancellations of them.
END, AGAIN = 10.0, 1.0

#: Starts kopf for one namespace, in the thread. One of its tasks ends where kopf fails or the event is set.
Kopf = Callable[[Namespace, asyncio.Event], Coroutine[Any, Any, Collection[asyncio.Task[Any]]]]

_log = structlog.get_logger()


class Watch:
    """The watches of one namespace (None: of the whole cluster)."""

    def __init__(self, namespace: Namespace, kopf: Kopf, access: Access) -> None:
        self._namespace = namespace
        self._kopf = kopf
        self._access = access

    async def run(self) -> None:
        """Watches until cancelled. A watch that ended is started again once the namespace can be listed."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            healthy = asyncio.create_task(self._healthy())
            try:
                error = await self._once()
            finally:
                healthy.cancel()
            failures = 1 if loop.time() - began >= HEALTHY else failures + 1
            pause = backoff(failures, random.random())  # noqa: S311 - jitter
            message = f"{type(error).__name__}: {error}" if error is not None else "kopf ended"
            _log.warning("watch ended; restarting", namespace=self._namespace, error=message, pause=round(pause, 1))
            await self._report(message)
            await asyncio.sleep(pause)
            await self._access.wait_listed(self._namespace)

    async def _healthy(self) -> None:
        await asyncio.sleep(HEALTHY)
        await self._report(None)

    async def _report(self, problem: str | None) -> None:
        await self._access.report(self._namespace, "watch", problem)

    async def _once(self) -> BaseException | None:
        """Runs kopf until it ends; the error with which it ended. Stops it where this task is cancelled."""
        thread = _Thread(self._namespace, self._kopf)
        thread.start()
        try:
            return await asyncio.shield(thread.ended)
        except asyncio.CancelledError:
            thread.stop()
            await asyncio.wait({thread.ended}, timeout=STOP)
            raise


class _Thread:
    """One run of kopf. The thread is a daemon: one that does not stop in time does not keep the process alive."""

    def __init__(self, namespace: Namespace, kopf: Kopf) -> None:
        self._namespace = namespace
        self._kopf = kopf
        self._main = asyncio.get_running_loop()
        self._own: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self.ended: asyncio.Future[BaseException | None] = self._main.create_future()

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"watch {self._namespace or 'cluster'}", daemon=True).start()

    def stop(self) -> None:
        """Asks kopf to end. Harmless where it has ended."""
        own = self._own
        if own is not None:
            _call(own, self._stop.set)

    def _run(self) -> None:
        error: BaseException | None = None
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._watch())
        except BaseException as caught:  # the thread's end is reported, whatever it was
            error = caught
        try:
            loop.run_until_complete(_end_tasks())
        finally:
            loop.close()  # not asyncio.run: that waits for a task that is never cancelled
            _call(self._main, self._set_ended, error)

    async def _watch(self) -> None:
        self._own = asyncio.get_running_loop()
        tasks = await self._kopf(self._namespace, self._stop)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled():
                task.result()

    def _set_ended(self, error: BaseException | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)


async def _end_tasks() -> None:
    """Cancels all other tasks of the event loop, again and again until they have ended, for END seconds at most.

    Once is not enough: `kopf.run_tasks` waits without a limit where a watcher swallows the cancellation and then waits
    for credentials that are not renewed any more (kopf 1.45: `streaming_block` in clients/watching.py suppresses
    CancelledError, `stream` in clients/api.py returns on it).
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + END
    while (tasks := asyncio.all_tasks() - {asyncio.current_task()}) and loop.time() < deadline:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=AGAIN)
    if tasks:
        _log.warning("tasks of kopf did not end", tasks=sorted(t.get_name() for t in tasks))


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object) -> None:
    """Calls the function in the loop's thread; does nothing where the loop is closed."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        _log.debug("event loop is closed", function=repr(function))
