"""All open streams of this process: who follows what, and one clock for all: comments, expired tokens, readers that do
not read."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import Counter

from ocore_api.cache.changes import Change
from ocore_api.cache.entries import Entry
from ocore_api.cache.store import Store
from ocore_api.errors import Problem
from ocore_api.http.limits import StreamLimit
from ocore_api.streams.changes import Feed
from ocore_api.streams.progress import Operation, Topic
from ocore_api.streams.reader import Reader, Source
from ocore_kube.errors import Unavailable as ApiServerUnavailable

#: Seconds without an event after which a comment is sent.
KEEP_ALIVE = 15.0
#: Seconds between two checks of the clock.
TICK = 1.0
#: Seconds after SIGTERM in which readers may take what was sent. Then their connections are dropped.
GRACE = 1.0

_log = structlog.get_logger()


class Hub:
    """All streams. `stall_seconds`: how long a reader may take nothing before it is dropped; `behind`: whether changes
    may be missed; `clock`: seconds since the epoch."""

    def __init__(
        self,
        store: Store,
        limit: StreamLimit,
        dropped: Counter,
        *,
        stall_seconds: float,
        behind: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._limit = limit
        self._dropped = dropped
        self._stall = stall_seconds
        self._clock = clock
        self._closed = False
        #: Operations that are followed.
        self.topics: dict[tuple[type[Entry], str], Topic] = {}
        #: All changes.
        self.feed = Feed(store, behind)
        self.readers: set[Reader] = set()
        store.changes.listeners.append(self._changed)

    def _changed(self, change: Change) -> None:
        self.feed.changed(change)
        topic = self.topics.get((change.type, change.id))
        if topic is not None:
            topic.changed(change)

    @contextmanager
    def reading(self, operation: Operation | None, reader: Reader) -> Iterator[None]:
        """Delivers events to the reader while the block runs: of one operation, or of all changes (None). Raises
        Problem; ApiError where changes may be missed."""
        if self._closed:
            raise Problem(
                "ShuttingDown", "This server is shutting down. Open the stream again.", headers={"Retry-After": "1"}
            )
        with self._limit.hold(reader.principal.subject):
            source: Source = self.feed
            if operation is not None:
                source = self.topics.get(operation) or Topic(self._store.served, operation)
                self.topics[operation] = source
            if source.missed:
                raise ApiServerUnavailable(0, "Behind", "changes are not known: the watches get no answer")
            reader.source = source
            source.readers.add(reader)
            self.readers.add(reader)
            try:
                yield
            finally:
                reader.release()
                self.readers.discard(reader)
                source.readers.discard(reader)
                if operation is not None and not source.readers and self.topics.get(operation) is source:
                    del self.topics[operation]

    async def run(self) -> None:
        """Checks the clock until it is cancelled."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Ends streams whose token has expired, and those that may miss changes; drops readers that do not read, and
        sends comments."""
        now, epoch = time.monotonic(), self._clock()
        for reader in tuple(self.readers):
            if reader.blocked_since and now - reader.blocked_since > self._stall:
                subject = reader.principal.subject
                _log.warning("a reader of a stream took nothing; dropped", subject=subject, seconds=self._stall)
                self._dropped.inc()
                reader.abort()
            elif epoch >= reader.principal.expires_at:
                reader.close("the token has expired")
            elif reader.source.missed:
                reader.close("the API server does not answer")
            elif now - reader.quiet_since >= KEEP_ALIVE:
                reader.keep_alive()

    def close(self) -> None:
        """Ends all streams: at SIGTERM. Clients open them again at another replica."""
        self._closed = True
        readers = tuple(self.readers)
        for reader in readers:
            reader.close("this server is shutting down")
        asyncio.get_running_loop().call_later(GRACE, _abort, readers)


def _abort(readers: tuple[Reader, ...]) -> None:
    """Drops the connections that are still open; those that are closed are not harmed."""
    for reader in readers:
        reader.abort()
