"""Limits of rates and of open streams. Their memory is bounded."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import IPv6Address, ip_address

from prometheus_client import Gauge

from ocore_api.errors import Problem

#: Keys that a limit remembers. The one that was used least recently is forgotten first: its allowance is the fullest.
CAPACITY = 10_000


class RateLimit:
    """A token bucket for each key, kept as one number: the time at which the bucket would be full (GCRA). `clock`:
    seconds that never go back."""

    def __init__(
        self, rate: float, burst: int, *, capacity: int = CAPACITY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = 1 / rate
        self._tolerance = (burst - 1) * self._interval
        self._capacity = capacity
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str) -> float:
        """Takes one. Returns 0, or the seconds until one can be taken again."""
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at - now - self._tolerance
        if wait > 1e-9:
            return wait
        self._full_at[key] = full_at + self._interval
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        return 0.0


def address_key(address: str) -> str:
    """What a client's address is counted by: itself, or its /64 network in IPv6, which one client owns as a whole."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped else address


class Turns:
    """One piece of work at a time in this process. The subjects take turns: who asks for many at once holds up
    itself."""

    def __init__(self, waiting: int = 8) -> None:
        """`waiting`: pieces of one subject that may run or wait."""
        self._most = waiting
        self._all = asyncio.Lock()
        self._subjects: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, subject: str) -> AsyncIterator[None]:
        """Waits for the subject's turn. Raises Problem where too many of its own wait."""
        lock, count = self._subjects.get(subject) or (asyncio.Lock(), 0)
        if count >= self._most:
            raise Problem(
                "TooManyRequests",
                f"{count} such requests of this caller are not answered yet. Wait for them.",
                headers={"Retry-After": "2"},
            )
        self._subjects[subject] = lock, count + 1
        try:
            async with lock, self._all:
                yield
        finally:
            lock, count = self._subjects[subject]
            if count == 1:
                del self._subjects[subject]
            else:
                self._subjects[subject] = lock, count - 1


class StreamLimit:
    """Open streams of this process and of each subject."""

    def __init__(self, total: int, per_subject: int, gauge: Gauge) -> None:
        self._total = total
        self._per_subject = per_subject
        self._gauge = gauge
        self._open: Counter[str] = Counter()
        #: Open streams of all subjects.
        self.count = 0

    @contextmanager
    def hold(self, subject: str) -> Iterator[None]:
        """Counts one stream while the block runs. Raises Problem: with status 429 for this subject, 503 for all."""
        mine = self._open[subject]
        if mine >= self._per_subject:
            raise Problem(
                "TooManyStreams",
                f"{mine} streams of this caller are open. Close some of them.",
                headers={"Retry-After": "5"},
            )
        if self.count >= self._total:
            raise Problem(
                "TooManyStreams",
                "This server has no room for another stream. Try again later.",
                status=503,
                headers={"Retry-After": "5"},
            )
        self._open[subject] += 1
        self.count += 1
        self._gauge.set(self.count)
        try:
            yield
        finally:
            self.count -= 1
            self._gauge.set(self.count)
            self._open[subject] -= 1
            if not self._open[subject]:
                del self._open[subject]
