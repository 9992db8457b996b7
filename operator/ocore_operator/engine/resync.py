"""A full list of all kinds every so often: what a watch has missed, and timers that were lost, are in step again after it.

Cheap, or it could not be done often: pages of raw JSON; what is at its end costs a look at its conditions, and what has not changed and has an
appointment in the queue is left to that.
"""

import asyncio
import random

import structlog

from ocore_operator.context import Context
from ocore_operator.engine.kinds import RECONCILERS, Reconciler
from ocore_operator.errors import ApiError
from ocore_operator.kube.resources import Key

#: Seconds until the next attempt after one that failed.
RETRY = 5.0

_log = structlog.get_logger()


class Resync:
    """The loop, and whether it has succeeded yet."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._synced = asyncio.Event()

    def synced(self) -> bool:
        """Whether everything has been listed once."""
        return self._synced.is_set()

    async def run(self) -> None:
        """Lists until cancelled."""
        while True:
            try:
                await self.once()
            except ApiError as error:
                _log.warning("resync failed", error=str(error))
                await asyncio.sleep(RETRY)
                continue
            self._synced.set()
            await asyncio.sleep(self._ctx.settings.resync_interval * random.uniform(0.9, 1.0))  # noqa: S311 - jitter

    async def once(self) -> None:
        """Lists all kinds in all watched namespaces. Raises ApiError after having tried all of them."""
        failure: ApiError | None = None
        for kind, reconciler in RECONCILERS.items():
            for namespace in self._ctx.settings.namespaces or (None,):
                try:
                    await self._list(kind, reconciler, namespace)
                except ApiError as error:
                    # A namespace whose Role is gone must not keep the others from being listed.
                    _log.warning("not listed", kind=kind, namespace=namespace, error=str(error))
                    failure = error
        if failure is not None:
            raise failure

    async def _list(self, kind: str, reconciler: Reconciler, namespace: str | None) -> None:
        catalog, queue = self._ctx.catalog, self._ctx.queue
        before = {e.key for e in catalog.of_kind(kind, namespace)}
        keys: set[Key] = set()
        async for page in self._ctx.kube.pages(reconciler.type, namespace):
            for obj in page:
                key = Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
                keys.add(key)
                old = catalog.get(key)
                new = catalog.put(kind, obj)
                changed = old is None or old.uid != new.uid or old.version < new.version
                if reconciler.settled(obj) or (not changed and queue.scheduled(key)):
                    continue
                queue.add(key, low=True)
            await asyncio.sleep(0)  # the event loop serves others between two pages
        for gone in before - keys:
            # Deleted meanwhile, or created while we listed: the look itself finds out which.
            queue.add(gone)
