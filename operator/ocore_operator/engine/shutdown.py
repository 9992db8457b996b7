"""What a SIGTERM finishes first: operations that have stopped an application. Everything else is left to the next leader.

The Lease is renewed in the meantime, so no other operator acts.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from ocore_operator.context import Context
from ocore_operator.engine.access import Access
from ocore_operator.engine.kinds import Reconcilers
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.errors import ApiError
from ocore_operator.kube.resources import Key

#: Seconds between two lists of the objects that have stopped an application.
POLL = 0.5

_log = structlog.get_logger()


class Shutdown:
    """Restricts the work queue once it has begun. All methods belong to the event loop's thread."""

    def __init__(self, ctx: Context, queue: WorkQueue, reconcilers: Reconcilers, access: Access) -> None:
        self._ctx = ctx
        self._queue = queue
        self._critical = {kind: row for kind, row in reconcilers.items() if row.critical is not None}
        self._access = access
        self._begun = False
        self._left: frozenset[Key] = frozenset()
        self._active: Counter[str] = Counter()

    def admits(self, key: Key) -> bool:
        """Whether the object may be reconciled: after the beginning only where it has stopped an application."""
        return not self._begun or key in self._left

    @contextmanager
    def reconciling(self, key: Key) -> Iterator[None]:
        """Around each reconcile. One that runs at the beginning may be about to stop an application."""
        self._active[key.kind] += 1
        try:
            yield
        finally:
            self._active[key.kind] -= 1

    async def run(self, seconds: float) -> bool:
        """Returns True once no application is stopped, False after `seconds`."""
        self._begun = True
        end = asyncio.get_running_loop().time() + seconds
        while True:
            # Read before the list: a reconcile that has ended by now has written what it did.
            busy = sum(self._active[kind] for kind in self._critical)
            listed = await self._list(end)
            if listed is not None:
                self._admit(listed)
            if listed is not None and not listed and not busy:
                return True
            if asyncio.get_running_loop().time() >= end:
                names = sorted(str(key) for key in self._left)
                _log.error("stopping although applications are stopped; the next leader continues", left=names)
                return False
            await asyncio.sleep(POLL)

    def _admit(self, found: frozenset[Key]) -> None:
        if found != self._left:
            _log.info("finishing before the end", objects=sorted(str(key) for key in found))
        new, self._left = found - self._left, found
        for key in new:
            self._queue.add(key)

    async def _list(self, end: float) -> frozenset[Key] | None:
        """The objects that have stopped an application; None where that is unknown. A namespace that cannot be read is left out."""
        found: set[Key] = set()
        try:
            async with asyncio.timeout_at(end + POLL):
                for namespace in filter(self._access.listed, self._access.namespaces):
                    for kind, row in self._critical.items():
                        async for page in self._ctx.kube.pages(row.type, namespace):
                            found |= {
                                Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
                                for obj in page
                                if row.critical is not None and row.critical(obj)
                            }
        except (ApiError, TimeoutError) as error:
            _log.warning("not listed", error=str(error) or type(error).__name__)
            return None
        return frozenset(found)
