"""Two safety nets: objects whose timer was lost, and what a watch has missed.

Each CHECK seconds it checks the objects that are not idle, in the catalog, without a request: one that nothing will
reconcile is queued. Full lists are rare, because 20,000 Snapshots are 100 MB for the API server, too; a watch that
breaks continues where it stopped, or lists again itself. A namespace whose watch has ended, or that cannot be listed,
is listed alone and more often; the others keep their interval.
"""

import asyncio
import random
from collections.abc import Iterable, Mapping
from contextlib import suppress

import structlog

from ocore_kube.errors import UNREADABLE, ApiError
from ocore_kube.types import NAMESPACES, Type
from ocore_operator.context import Context
from ocore_operator.engine.access import Access, Namespace
from ocore_operator.engine.kinds import Reconcilers
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.entries import full_snapshots
from ocore_operator.kube.resources import Key

#: Seconds between two checks of the catalog and of the namespaces with a problem.
CHECK = 45.0
#: Seconds until the next attempt in a namespace whose list failed.
RETRY = 5.0
#: Namespaces that are listed at the same time.
PARALLEL = 4
#: Seconds that reconciles wait for the first list at most: what it finds decides about duplicate ids and Job slots.
FIRST = 30.0

_log = structlog.get_logger()


class Resync:
    """The loop, and whether it has succeeded once."""

    def __init__(self, ctx: Context, queue: WorkQueue, reconcilers: Reconcilers, access: Access) -> None:
        self._ctx = ctx
        self._queue = queue
        self._reconcilers = reconcilers
        self._access = access
        self._tried = asyncio.Event()
        self._synced = asyncio.Event()

    def synced(self) -> bool:
        """Whether everything has been listed once, but what the API server refuses to list."""
        return self._synced.is_set()

    async def first(self) -> None:
        """Returns once everything was listed, or was tried, at the start."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), FIRST)

    async def run(self) -> None:
        """Checks and lists until cancelled."""
        loop = asyncio.get_running_loop()
        full = loop.time()  # when all namespaces are listed the next time
        failed: dict[Namespace, ApiError] = {}
        while True:
            begin = loop.time()
            if begin >= full:
                failed = await self.once(self._access.namespaces)
                self._tried.set()
                full = begin + self._ctx.settings.resync_interval * random.uniform(0.9, 1.0)  # noqa: S311 - jitter
            else:
                failed = await self.once(
                    n for n in self._access.namespaces if n in failed or not self._access.watched(n)
                )
            self.queue_forgotten()
            until = min(begin + CHECK, full)
            while failed and loop.time() < until:
                self._note(failed)
                await asyncio.sleep(min(RETRY, until - begin))
                failed = await self.once(failed)
            self._note(failed)
            await asyncio.sleep(max(until - loop.time(), 0))

    def queue_forgotten(self) -> None:
        """Queues what is not idle and would not be reconciled otherwise, and idle Snapshots that do not know yet what
        happened to another one."""
        for key in (*(e.key for e in self._ctx.catalog.busy()), *full_snapshots.all_unsettled(self._ctx.catalog)):
            if not self._queue.scheduled(key):
                self._queue.add(key, low=True)

    def _note(self, failed: Mapping[Namespace, ApiError]) -> None:
        if all(error.status in UNREADABLE for error in failed.values()):
            self._synced.set()

    async def once(self, namespaces: Iterable[Namespace]) -> dict[Namespace, ApiError]:
        """Lists all kinds in these namespaces. Returns the namespaces in which that failed."""
        slots = asyncio.Semaphore(PARALLEL)
        failed: dict[Namespace, ApiError] = {}

        async def one(namespace: Namespace) -> None:
            async with slots:
                error = await self._namespace(namespace)
            if error is not None:
                failed[namespace] = error

        await asyncio.gather(*(one(n) for n in namespaces))
        return failed

    async def _namespace(self, namespace: Namespace) -> ApiError | None:
        """Lists all kinds in one namespace; the error of the last list that failed."""
        failure: ApiError | None = None
        for kind, reconciler in self._reconcilers.items():
            try:
                await self._list(kind, reconciler.type, namespace)
            except ApiError as error:
                _log.warning("not listed", kind=kind, namespace=namespace, error=str(error))
                failure = error
        await self._access.report(namespace, "list", str(failure) if failure is not None else None)
        if failure is not None and failure.status in UNREADABLE and namespace is not None:
            await self._unreadable(namespace)
        return failure

    async def _unreadable(self, namespace: str) -> None:
        """Forgets the objects of a namespace that is gone: their ids are free. In one that is being deleted, the Roles
        go before our objects do, and finalizers remain: its objects are reconciled."""
        try:
            found = await self._ctx.kube.get(NAMESPACES, "", namespace)
        except ApiError as error:
            _log.warning("namespace not read", namespace=namespace, error=str(error))
            return
        if found is None:
            for key in self._ctx.catalog.forget(namespace):
                self._queue.forget(key)
        elif "deletionTimestamp" in found["metadata"]:
            for kind in self._reconcilers:
                for entry in list(self._ctx.catalog.of_kind(kind, namespace)):
                    self._queue.add(entry.key, low=True)

    async def _list(self, kind: str, type_: Type, namespace: Namespace) -> None:
        catalog, queue = self._ctx.catalog, self._queue
        before = {e.key for e in catalog.of_kind(kind, namespace)}
        keys: set[Key] = set()
        async for page in self._ctx.kube.pages(type_, namespace):
            for obj in page:
                key = Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
                keys.add(key)
                old = catalog.get(key)
                new = catalog.put(kind, obj)
                changed = old is None or old.uid != new.uid or old.version < new.version
                if new.work.idle or (not changed and queue.scheduled(key)):
                    continue
                queue.add(key, low=True)
            await asyncio.sleep(0)  # the event loop serves others between two pages
        for gone in before - keys:
            # Deleted, or created during the list: its reconcile finds out which.
            queue.add(gone)
