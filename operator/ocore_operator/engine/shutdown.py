"""What a SIGTERM finishes first: operations that have stopped an application. Everything else is left to the next
leader.

The Lease is renewed in the meantime, so no other operator acts.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from ocore_operator.context import Context
from ocore_operator.engine.access import Access
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.entries.operations import KINDS
from ocore_operator.kube.resources import Key

#: Seconds between two checks of the objects that have stopped an application.
POLL = 0.5

_log = structlog.get_logger()


class Shutdown:
    """Restricts the work queue once it has begun. All methods belong to the event loop's thread."""

    def __init__(self, ctx: Context, queue: WorkQueue, synced: Callable[[], bool], access: Access) -> None:
        """`synced`: whether the catalog knows all objects."""
        self._ctx = ctx
        self._queue = queue
        self._synced = synced
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
            # Read before the catalog: a reconcile that has ended by now has written what it did.
            busy = sum(self._active[kind] for kind in KINDS)
            self._admit()
            if self._synced() and not self._left and not busy:
                return True
            if asyncio.get_running_loop().time() >= end:
                names = sorted(str(key) for key in self._left)
                _log.error("stopping although applications are stopped; the next leader continues", left=names)
                return False
            await asyncio.sleep(POLL)

    def _admit(self) -> None:
        """Queues what has stopped an application. The catalog knows it: each reconcile puts there what it has written.
        A namespace that cannot be read is left out."""
        found = frozenset(
            e.key for e in self._ctx.catalog.busy() if e.work.critical and self._access.listed(e.key.namespace)
        )
        if found != self._left:
            _log.info("finishing before the end", objects=sorted(str(key) for key in found))
        new, self._left = found - self._left, found
        for key in new:
            self._queue.add(key)
