"""What makes the cache stale, and each stream of its changes: the API server does not answer.

A hung API server keeps its connections open, so that a watch notices it only by its silence. So a small request follows
the other.
"""

import asyncio
from collections.abc import Iterable

from ocore_api.cache.watch import Watch
from ocore_kube.errors import ApiError
from ocore_kube.transport import JSON, Transport

#: Seconds from an answer to the next request, and seconds in which there must be an answer. Two requests in a row
#: without one: the API server does not answer. That is within STALE_AFTER.
PERIOD, DEADLINE = 1.0, 2.0
#: Seconds of failed attempts after which changes are known to be missed: an API server that restarts is back before.
STALE_AFTER = 5.0


class Heartbeat:
    """Asks for the version of the API server, which everyone may read."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._missed = 0  # requests in a row

    @property
    def silent(self) -> bool:
        """Whether it does not answer. A request that took too long in this process is no sign of that."""
        return self._missed > 1

    async def run(self) -> None:
        """Asks until it is cancelled."""
        while True:
            if await self._asked():
                self._missed = 0
                await asyncio.sleep(PERIOD)
            else:
                self._missed += 1

    async def _asked(self) -> bool:
        """Whether there was an answer, whatever it is. Where no connection is made, the watches notice it."""
        try:
            async with asyncio.timeout(DEADLINE):
                await self._transport.request("GET", "/version", accept=JSON)
        except TimeoutError:
            return False
        except (ApiError, ValueError):
            pass
        return True


def is_stale(heartbeat: Heartbeat | None, watches: Iterable[Watch]) -> bool:
    """Whether changes may be missed, and what is read may be old."""
    if heartbeat is not None and heartbeat.silent:
        return True
    since = [watch.failing_since for watch in watches if watch.failing_since is not None]
    return bool(since) and asyncio.get_running_loop().time() - min(since) > STALE_AFTER
