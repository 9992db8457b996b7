"""Wakes an operation when a pod of the workloads changes that it has stopped or started.

They are observed at intervals as well: what is missed here costs a part of a second.
"""

import asyncio
from collections.abc import Callable

import structlog

from ocore_kube.errors import ApiError
from ocore_kube.types import PODS
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Key

#: Watches at the same time. The pods of more workloads are observed at intervals only.
MOST = 20
#: Seconds of one watch, and of the pause after one that is refused. Who waits for longer begins another one.
SECONDS = 30.0
#: Seconds from a change until the owner is reconciled. A Deployment's status follows that of its pod a moment later.
WITHIN = 0.03
#: Seconds between two wakes of one watch, at least: a tenant may change its pods all the time.
PAUSE = 0.1

_log = structlog.get_logger()


class PodChanges:
    """All watches. All methods belong to the event loop's thread."""

    def __init__(self, kube: Kube, wake: Callable[[Key, float], None]) -> None:
        """`wake`: called with the owner's key, and the seconds within which it is reconciled."""
        self._kube = kube
        self._wake = wake
        self._tasks: dict[tuple[Key, str], asyncio.Task[None]] = {}

    def ensure(self, owner: Key, selector: str) -> None:
        """Watches the pods with these labels in the owner's namespace, until :meth:`forget` and for SECONDS at most."""
        watch = (owner, selector)
        if watch in self._tasks or len(self._tasks) >= MOST:
            return
        self._tasks[watch] = asyncio.create_task(self._watch(*watch), name=f"pods of {owner}")

    def forget(self, owner: Key) -> None:
        """Ends the owner's watches."""
        for watch in [each for each in self._tasks if each[0] == owner]:
            self._tasks.pop(watch).cancel()

    async def stop(self) -> None:
        """Ends all, at shutdown."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, owner: Key, selector: str) -> None:
        try:
            async for _ in self._kube.events(PODS, owner.namespace, labels=selector, seconds=SECONDS):
                self._wake(owner, WITHIN)
                await asyncio.sleep(PAUSE)
        except ApiError as error:
            _log.debug("pods not watched", owner=str(owner), error=str(error))
            await asyncio.sleep(SECONDS)
        self._tasks.pop((owner, selector), None)  # not where it was cancelled: there may be another one by then
