"""A full list of all kinds at a fixed interval. It finds what a watch has missed, and objects whose timer was lost.

It is cheap, so it can run often: it reads pages of raw JSON. An idle object costs a check of its conditions, and an object that has not changed
and is already scheduled is skipped.
"""

import asyncio
import random

import structlog

from ocore_operator.context import Context
from ocore_operator.engine.kinds import Reconciler, Reconcilers
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.errors import ApiError
from ocore_operator.kube.resources import Key

#: Seconds until the next attempt after one that failed.
RETRY = 5.0

_log = structlog.get_logger()


class Resync:
    """The loop, and whether it has succeeded once."""

    def __init__(self, ctx: Context, queue: WorkQueue, reconcilers: Reconcilers) -> None:
        self._ctx = ctx
        self._queue = queue
        self._reconcilers = reconcilers
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
        for kind, reconciler in self._reconcilers.items():
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
        catalog, queue = self._ctx.catalog, self._queue
        before = {e.key for e in catalog.of_kind(kind, namespace)}
        keys: set[Key] = set()
        async for page in self._ctx.kube.pages(reconciler.type, namespace):
            for obj in page:
                key = Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
                keys.add(key)
                old = catalog.get(key)
                new = catalog.put(kind, obj)
                changed = old is None or old.uid != new.uid or old.version < new.version
                if reconciler.idle(obj) or (not changed and queue.scheduled(key)):
                    continue
                queue.add(key, low=True)
            await asyncio.sleep(0)  # the event loop serves others between two pages
        for gone in before - keys:
            # Deleted, or created during the list: its reconcile finds out which.
            queue.add(gone)
