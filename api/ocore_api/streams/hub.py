"""All open streams of this process: who follows what, and one clock for all: comments, expired tokens, readers that do
not read."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog
from prometheus_client import Counter

from ocore_api.cache.changes import Change
from ocore_api.cache.entries import Entry, OperationEntry
from ocore_api.cache.store import Store
from ocore_api.errors import Problem
from ocore_api.http.limits import StreamLimit
from ocore_api.streams.changes import ChangeReader
from ocore_api.streams.progress import Operation, ProgressReader, Topic
from ocore_api.streams.reader import Reader
from ocore_kube.errors import Unavailable as ApiServerUnavailable

#: Seconds without an event after which a comment is sent.
KEEP_ALIVE = 15.0
#: Seconds between two checks of the clock.
TICK = 1.0
#: Seconds after SIGTERM in which readers may take what was sent. Then their connections are dropped.
GRACE = 1.0

_log = structlog.get_logger()


class Hub:
    """All streams. `stall_seconds`: how long a reader may take nothing before it is dropped; `stale`: whether changes
    may be missed; `clock`: seconds since the epoch."""

    def __init__(
        self,
        store: Store,
        limit: StreamLimit,
        dropped: Counter,
        *,
        stall_seconds: float,
        stale: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._limit = limit
        self._dropped = dropped
        self._stall = stall_seconds
        self._clock = clock
        self._stale = stale
        self._closed = False
        #: Operations that are followed.
        self.topics: dict[Operation, Topic] = {}
        #: Readers of all changes.
        self.followers: set[ChangeReader] = set()
        #: All readers.
        self.readers: set[ChangeReader | ProgressReader] = set()
        store.changes.listeners.append(self._changed)

    def _changed(self, change: Change, entry: Entry) -> None:
        for reader in self.followers:
            if reader.sees(change.project_id, change.environment_id):
                reader.note(change.environment_id)
        topic = self.topics.get((change.type, change.id))
        if topic is not None:
            topic.changed(change, entry)

    @contextmanager
    def reading(self, reader: ChangeReader | ProgressReader) -> Iterator[None]:
        """Delivers events to the reader while the block runs. Raises Problem; ApiError where changes may be missed."""
        if self._closed:
            raise Problem(
                "ShuttingDown", "This server is shutting down. Open the stream again.", headers={"Retry-After": "1"}
            )
        with self._limit.hold(reader.principal.subject):
            if isinstance(reader, ProgressReader):
                self._follow(reader)
            elif self._stale():
                raise ApiServerUnavailable(0, "Stale", "changes are not known: the watches get no answer")
            else:
                self.followers.add(reader)
            self.readers.add(reader)
            try:
                yield
            finally:
                reader.release()
                self.readers.discard(reader)
                if isinstance(reader, ChangeReader):
                    self.followers.discard(reader)
                else:
                    reader.topic.readers.discard(reader)
                    if not reader.topic.readers:
                        del self.topics[reader.operation]

    def _follow(self, reader: ProgressReader) -> None:
        """Raises Problem (NotFound) where the operation does not exist."""
        topic = self.topics.get(reader.operation)
        if topic is None:
            type_, id_ = reader.operation
            entry = self._store.served.find(type_, id_)
            if not isinstance(entry, OperationEntry):
                raise Problem("NotFound", f"No {type_.noun} {id_} is visible to this caller.")
            topic = self.topics[reader.operation] = Topic(entry)
        reader.topic = topic
        topic.readers.add(reader)

    async def run(self) -> None:
        """Checks the clock until it is cancelled."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Ends streams whose token has expired, and those that may miss changes; drops readers that do not read, and
        sends comments."""
        now, epoch, stale = time.monotonic(), self._clock(), self._stale()
        for reader in tuple(self.readers):
            if reader.blocked_since and now - reader.blocked_since > self._stall:
                subject = reader.principal.subject
                _log.warning("a reader of a stream took nothing; dropped", subject=subject, seconds=self._stall)
                self._dropped.inc()
                reader.abort()
            elif epoch >= reader.principal.expires_at:
                reader.close("the token has expired")
            elif stale and isinstance(reader, ChangeReader):
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


def _abort(readers: Sequence[Reader]) -> None:
    """Drops the connections that are still open; those that are closed are not harmed."""
    for reader in readers:
        reader.abort()
