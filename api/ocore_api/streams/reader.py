"""One open stream: its response, what it sends next, and when its connection takes nothing more. `progress` and
`changes` say what that is."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any

import structlog
from starlette.responses import Response

from ocore_api.auth import Principal
from ocore_api.http.server import CONNECTION, SLICE, Connection
from ocore_api.streams import frames

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
#: Milliseconds after which clients open a lost stream again: spread, so that they do not all come at once after a
#: restart.
RETRY = (1000, 3000)

_log = structlog.get_logger()


class Reader:
    """One stream. What the connection takes now is written now, without a task: 5,000 readers of one operation get a
    change within milliseconds. Only the newest state waits for a reader that is slow."""

    __slots__ = (
        *("_alive", "_connection", "_send", "_sending", "_task"),
        *("blocked_since", "closing", "ended", "last", "principal", "quiet_since"),
    )

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self._send: Send
        self._connection: Connection | None = None
        self._sending = False
        self._task: asyncio.Task[None] | None = None
        self._alive = False
        #: Why the stream ends without a final event; empty: it continues.
        self.closing = ""
        #: Whether nothing follows what was taken.
        self.last = False
        self.ended = False
        #: Monotonic: since when the connection takes nothing more; 0: it does.
        self.blocked_since = 0.0
        #: Monotonic: when something was sent last.
        self.quiet_since = time.monotonic()

    @property
    def nothing_follows(self) -> bool:
        """Whether the client has everything already: its stream is not opened."""
        return False

    def take(self) -> bytes:
        """The next events. Sets `last` with the last ones."""
        raise NotImplementedError

    async def begin(self, send: Send, connection: Connection | None) -> None:
        """Sends what a client gets at once."""
        self._send, self._connection, self._sending = send, connection, True
        await self._work(frames.retry(random.randint(*RETRY)))  # noqa: S311 - no secret

    def wake(self) -> None:
        """There is something to send."""
        if self._sending or self.ended:
            return
        try:
            data = self._next()
            if (
                0 < len(data) <= SLICE
                and not self.last
                and self._connection is not None
                and self._connection.push(data)
            ):
                self._alive = False
                self.quiet_since = time.monotonic()
                return
        except Exception:
            self._fail()
            return
        if data or self.last:
            self._sending = True
            self._task = asyncio.get_running_loop().create_task(self._work(data))

    def keep_alive(self) -> None:
        """Sends a comment."""
        self._alive = True
        self.wake()

    def close(self, reason: str) -> None:
        """Ends the stream. What waits is sent before."""
        self.closing = self.closing or reason
        self.wake()

    def abort(self) -> None:
        """Drops the connection, with all that was not sent."""
        self.ended = True
        if self._connection is not None:
            self._connection.abort()

    def release(self) -> None:
        """The response has ended."""
        self.ended = True
        if self._task is not None:
            self._task.cancel()

    async def _work(self, data: bytes) -> None:
        """Sends this, then what has come in the meantime, until nothing is left."""
        try:
            while data or self.last:
                last, self._alive = self.last, False
                self.blocked_since = self.quiet_since = time.monotonic()
                await self._send({"type": "http.response.body", "body": data, "more_body": not last})
                self.blocked_since = 0.0
                self.ended = self.ended or last
                if self.ended:
                    return
                data = self._next()
        except Exception:
            self._fail()
        finally:
            self._sending = False

    def _fail(self) -> None:
        """An error of ours: it ends this stream, and harms no other."""
        _log.exception("a stream failed; its connection is dropped", subject=self.principal.subject)
        self.abort()

    def _next(self) -> bytes:
        """As `take`, with the end of a stream that is closed, and signs of life."""
        data = self.take()
        if self.closing and not self.last:
            self.last = True
            return data + frames.comment(self.closing)
        return frames.ALIVE if self._alive and not data else data


class EventStream(Response):
    """What a reader gets until it ends. `reading` delivers events to it, and raises where it may not begin.

    It is a response class of its own, because an idle stream must cost little: one task that waits for the client to
    leave. Nothing else exists until there is something to send. (`fastapi.sse` runs a task group and a queue for each
    stream, and cannot drop a reader that does not read.)
    """

    media_type = "text/event-stream"

    def __init__(self, reading: Callable[[Any], AbstractContextManager[None]], reader: Reader) -> None:
        self._reading, self._reader = reading, reader
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the end of the stream, or until the client leaves."""
        with self._reading(self._reader):
            if self._reader.nothing_follows:
                # An EventSource opens every stream that ended again, without end. 204 is what stops it.
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await self._reader.begin(send, scope.get(CONNECTION))
            while (await receive())["type"] != "http.disconnect":
                pass
