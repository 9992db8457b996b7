"""All open streams of this process.

One subscription for each operation that is followed, whatever the number of its readers, and one clock for all:
comments, expired tokens, readers that do not read.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import Counter

from ocore_api.cache.entries import Progress
from ocore_api.cache.store import Store
from ocore_api.errors import NotFound, Unavailable
from ocore_api.http.limits import StreamLimit
from ocore_api.streams import frames
from ocore_api.streams.reader import Reader

#: Seconds without an event after which a comment is sent.
KEEP_ALIVE = 15.0
#: Seconds between two checks of the clock.
TICK = 1.0
#: Seconds after SIGTERM in which readers may take what was sent. Then their connections are dropped.
GRACE = 1.0

_log = structlog.get_logger()


class Topic:
    """One operation that is followed, its newest event, and its readers."""

    __slots__ = ("_entry", "_kind", "_operations", "_unsubscribe", "frame", "id", "readers")

    def __init__(self, operations: Store, kind: str, id_: str) -> None:
        """Raises NotFound where the operation does not exist."""
        self._operations = operations
        self._kind = kind
        self.id = id_
        self.readers: set[Reader] = set()
        self._unsubscribe = operations.subscribe(kind, id_, self._changed)
        entry = operations.known(kind, id_)
        if entry is None:
            self.end()
            raise NotFound("NotFound", f"No {kind.lower()} {id_} is visible to this caller.")
        self._entry = entry
        self.frame = frames.frame(kind, entry.progress)

    def forbidden(self, reader: Reader) -> bool:
        """Whether the operation is not the reader's any more: then its stream ends. A deleted operation is whose it
        was."""
        if reader.may_see(self._entry.project_id, self._entry.environment_id):
            return False
        reader.closing = reader.closing or "the operation is not visible to this caller any more"
        return True

    def check(self) -> None:
        """Ends the streams of readers that may not see the operation any more."""
        self._entry = self._operations.known(self._kind, self.id) or self._entry
        for reader in tuple(self.readers):
            if self.forbidden(reader):
                reader.wake()

    def end(self) -> None:
        """The last reader has left."""
        self._unsubscribe()

    def _changed(self, progress: Progress) -> None:
        if self.frame.final:
            return
        self._entry = self._operations.known(self._kind, self.id) or self._entry
        self.frame = frames.frame(self._kind, progress)
        for reader in tuple(self.readers):
            reader.wake()


class Hub:
    """All topics. `stall_seconds`: how long a reader may take nothing before it is dropped; `clock`: seconds since the
    epoch."""

    def __init__(
        self,
        operations: Store,
        limit: StreamLimit,
        dropped: Counter,
        *,
        stall_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._operations = operations
        self._limit = limit
        self._dropped = dropped
        self._stall = stall_seconds
        self._clock = clock
        #: Operations that are followed, by kind and id.
        self.topics: dict[tuple[str, str], Topic] = {}
        self.readers: set[Reader] = set()
        self._closed = False

    @contextmanager
    def reading(self, kind: str, id_: str, reader: Reader) -> Iterator[None]:
        """Delivers an operation's events to the reader while the block runs. Raises NotFound, TooManyRequests or
        Unavailable."""
        if self._closed:
            raise Unavailable(
                "ShuttingDown", "This server is shutting down. Open the stream again.", headers={"Retry-After": "1"}
            )
        with self._limit.hold(reader.subject):
            topic = self.topics.get((kind, id_))
            if topic is None:
                topic = self.topics[kind, id_] = Topic(self._operations, kind, id_)
            reader.topic = topic
            topic.readers.add(reader)
            self.readers.add(reader)
            try:
                yield
            finally:
                reader.release()
                self.readers.discard(reader)
                topic.readers.discard(reader)
                if not topic.readers and self.topics.get((kind, id_)) is topic:
                    del self.topics[kind, id_]
                    topic.end()

    async def run(self) -> None:
        """Checks the clock until it is cancelled."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Ends streams whose token has expired or whose operation belongs to others now, drops readers that do not
        read, and sends comments."""
        for topic in tuple(self.topics.values()):
            topic.check()
        now, epoch = time.monotonic(), self._clock()
        for reader in tuple(self.readers):
            if reader.blocked_since and now - reader.blocked_since > self._stall:
                _log.warning("a reader of a stream took nothing; dropped", subject=reader.subject, seconds=self._stall)
                self._dropped.inc()
                reader.abort()
            elif epoch >= reader.expires_at:
                reader.close("the token has expired")
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
