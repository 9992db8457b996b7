"""One stream of all changes that a caller may see.

A stream costs a task, unlike one of a single operation: people open these, one for each page. Only the newest state of
an object is sent, not more often than PACE: a flood of changes, or a slow reader, takes no memory.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import structlog
from prometheus_client import Counter
from starlette.responses import Response

from ocore_api.auth import Principal
from ocore_api.cache import console
from ocore_api.cache.changes import Change
from ocore_api.cache.store import Store
from ocore_api.errors import Unavailable
from ocore_api.http.limits import StreamLimit
from ocore_api.http.server import CONNECTION, Connection
from ocore_api.streams import frames
from ocore_api.streams.hub import GRACE, KEEP_ALIVE, TICK
from ocore_api.streams.reader import RETRY, Send
from ocore_api.streams.stream import HEADERS, Receive, Scope
from ocore_api.views.values import encode
from ocore_crds.timestamps import text
from ocore_kube.errors import Unavailable as ApiServerUnavailable

#: Seconds between two batches of events for one reader.
PACE = 0.5
#: Bytes of a batch, but for a larger event.
BATCH = 256 * 1024
#: Separators of lines that JSON leaves as they are, in UTF-8 and escaped.
_SEPARATORS = tuple((separator.encode(), b"\\u%04x" % ord(separator)) for separator in "\x85\u2028\u2029")

_log = structlog.get_logger()


class Follower:
    """One reader. `project_id`, `environment_id`: what it is restricted to; None: nothing."""

    def __init__(
        self, feed: "Feed", principal: Principal, project_id: str | None, environment_id: str | None, seen: str | None
    ) -> None:
        self.principal = principal
        self.project_id = project_id
        self.environment_id = environment_id
        #: Environments that have changed since they were read.
        self.dirty: set[str] = set()
        #: Monotonic: since when the connection takes nothing more; 0: it does.
        self.blocked_since = 0.0
        self.connection: Connection | None = None
        self._feed = feed
        self._cursor = feed.number_of(seen)
        self._woken = asyncio.Event()
        self._closing = ""

    def sees(self, project_id: str, environment_id: str) -> bool:
        """Whether what belongs to that project and environment is the reader's, and wanted."""
        return (
            self.project_id in (None, project_id)
            and self.environment_id in (None, environment_id)
            and self.principal.may_see(project_id, environment_id)
        )

    def wake(self) -> None:
        """There is something to send."""
        self._woken.set()

    def close(self, reason: str) -> None:
        """Ends the stream."""
        self._closing = self._closing or reason
        self.wake()

    def abort(self) -> None:
        """Drops the connection, with all that was not sent."""
        self._closing = self._closing or "dropped"
        if self.connection is not None:
            self.connection.abort()

    async def run(self, send: Send) -> None:
        """Sends until the stream is closed."""
        self.dirty = self._feed.environments(self)
        await self._write(send, frames.retry(random.randint(*RETRY)))  # noqa: S311 - no secret
        while not self._closing:
            self._woken.clear()
            data = self._take()
            if data:
                await self._write(send, data)
                await self._wait(PACE, closing=True)
            elif not await self._wait(KEEP_ALIVE):
                await self._write(send, frames.ALIVE)
        await self._write(send, frames.comment(self._closing), last=True)

    def _take(self) -> bytes:
        """The next events."""
        feed, changes = self._feed, self._feed.store.changes
        parts: list[bytes] = []
        if self._cursor is None or changes.floor(self.dirty) > self._cursor:
            self.dirty = feed.environments(self)
            self._cursor = changes.begin(self.dirty)
            parts.append(feed.frame(self._cursor, b"reset", encode({"time": feed.now()})))
        size, newest = 0, changes.number
        for change in changes.after(self._cursor, self.dirty):
            if not self.sees(change.project_id, change.environment_id):
                continue
            if size > BATCH:
                return b"".join(parts)
            parts.append(feed.event(change))
            size += len(parts[-1])
            self._cursor = change.number
        self.dirty.clear()
        self._cursor = newest
        return b"".join(parts)

    async def _wait(self, seconds: float, *, closing: bool = False) -> bool:
        """Whether there was something to do before the time was over. `closing`: only the end of the stream counts."""
        end = time.monotonic() + seconds
        while not self._closing and (left := end - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._woken.wait()
            except TimeoutError:
                return False
            if not closing:
                return True
            self._woken.clear()
        return True

    async def _write(self, send: Send, data: bytes, *, last: bool = False) -> None:
        self.blocked_since = time.monotonic()
        await send({"type": "http.response.body", "body": data, "more_body": not last})
        self.blocked_since = 0.0


class Feed:
    """All readers. `stall_seconds`: how long one may take nothing before it is dropped; `behind`: whether changes may
    be missed; `clock`: seconds since the epoch."""

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
        self.store = store
        self.followers: set[Follower] = set()
        self._limit = limit
        self._dropped = dropped
        self._stall = stall_seconds
        self._behind = behind
        self._clock = clock
        self._closed = False
        #: Names this process in the ids of events: another one numbers its changes in another way.
        self._boot = secrets.token_hex(6)
        store.changes.listeners.append(self._changed)

    def now(self) -> str:
        """The time."""
        return text(datetime.fromtimestamp(self._clock(), UTC))

    def number_of(self, event_id: str | None) -> int | None:
        """The change that a Last-Event-ID of this process stands for; None for any other."""
        boot, _, number = (event_id or "").partition("-")
        known = boot == self._boot and number.isascii() and number.isdecimal() and len(number) < 20
        return int(number) if known and int(number) <= self.store.changes.number else None

    def environments(self, follower: Follower) -> set[str]:
        """Those with changes that the reader may see."""
        return {e for e, project in self.store.changes.environments() if follower.sees(project, e)}

    def frame(self, number: int, name: bytes, data: bytes) -> bytes:
        """One event. Its data is one line also for parsers that take other separators for ends of lines."""
        for raw, escaped in _SEPARATORS:
            data = data.replace(raw, escaped)
        return b"id: %b-%d\nevent: %b\ndata: %b\n\n" % (self._boot.encode(), number, name, data)

    def event(self, change: Change) -> bytes:
        """The event of a change: the newest state of its object."""
        found = None if change.deleted else console.changed_object(self.store, change, self.now())
        about = {
            "id": change.id,
            "environmentId": change.environment_id,
            "projectId": change.project_id,
            "deleted": found is None,
        }
        name = b"preview" if change.preview else change.kind.lower().encode()
        return self.frame(change.number, name, encode(about)[:-1] + b',"object":' + (found or b"null") + b"}")

    @contextmanager
    def following(self, follower: Follower) -> Iterator[None]:
        """Wakes the reader for what it may see while the block runs. Raises TooManyRequests or Unavailable; of
        ocore_kube.errors, where the API server does not answer."""
        if self._closed:
            raise Unavailable(
                "ShuttingDown", "This server is shutting down. Open the stream again.", headers={"Retry-After": "1"}
            )
        if self._behind():
            raise ApiServerUnavailable(0, "Behind", "changes are not known: the watches get no answer")
        with self._limit.hold(follower.principal.subject):
            self.followers.add(follower)
            try:
                yield
            finally:
                self.followers.discard(follower)

    async def run(self) -> None:
        """Checks the clock until it is cancelled."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Ends streams whose token has expired, and all while changes are missed; drops readers that do not read."""
        now, epoch, behind = time.monotonic(), self._clock(), self._behind()
        for follower in tuple(self.followers):
            if follower.blocked_since and now - follower.blocked_since > self._stall:
                _log.warning(
                    "a reader of a stream took nothing; dropped",
                    subject=follower.principal.subject,
                    seconds=self._stall,
                )
                self._dropped.inc()
                follower.abort()
            elif epoch >= follower.principal.expires_at:
                follower.close("the token has expired")
            elif behind:
                follower.close("the API server does not answer")

    def close(self) -> None:
        """Ends all streams: at SIGTERM. Clients open them again at another replica."""
        self._closed = True
        followers = tuple(self.followers)
        for follower in followers:
            follower.close("this server is shutting down")
        asyncio.get_running_loop().call_later(GRACE, _abort, followers)

    def _changed(self, change: Change) -> None:
        for follower in self.followers:
            if follower.sees(change.project_id, change.environment_id):
                follower.dirty.add(change.environment_id)
                follower.wake()


def _abort(followers: tuple[Follower, ...]) -> None:
    """Drops the connections that are still open; those that are closed are not harmed."""
    for follower in followers:
        follower.abort()


class ChangeStream(Response):
    """The changes that a caller may see, until its token expires. Raises TooManyRequests or Unavailable before it
    starts."""

    media_type = "text/event-stream"

    def __init__(
        self,
        feed: Feed,
        principal: Principal,
        *,
        project_id: str | None = None,
        environment_id: str | None = None,
        last_event_id: str | None = None,
    ) -> None:
        self._feed = feed
        self._follower = Follower(feed, principal, project_id, environment_id, last_event_id)
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the end of the stream, or until the client leaves."""
        follower = self._follower
        follower.connection = scope.get(CONNECTION)
        with self._feed.following(follower):
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            tasks = [asyncio.create_task(follower.run(send)), asyncio.create_task(_left(receive))]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error


async def _left(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
