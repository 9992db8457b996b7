"""The sending side of one open stream: what it sends next, and when its connection takes nothing more. `progress` and
`changes` say what that is."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

from ocore_api.auth import Principal
from ocore_api.cache.changes import Change
from ocore_api.http.server import SLICE, Connection
from ocore_api.streams import frames

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

#: Milliseconds after which clients open a lost stream again: spread, so that they do not all come at once after a
#: restart.
RETRY = (1000, 3000)

_log = structlog.get_logger()


class Source:
    """What streams are of: one operation, or all changes."""

    def __init__(self) -> None:
        self.readers: set[Any] = set()

    @property
    def missed(self) -> bool:
        """Whether events may be missing: then no stream of it is open."""
        return False

    def changed(self, change: Change) -> None:
        """An object changed. Must return at once."""
        raise NotImplementedError


class Reader:
    """One stream. What the connection takes now is written now, without a task: 5,000 readers of one operation get a
    change within milliseconds. Only the newest state waits for a reader that is slow."""

    __slots__ = (
        *("_alive", "_connection", "_send", "_sending", "_task"),
        *("blocked_since", "closing", "ended", "principal", "quiet_since", "source"),
    )

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self._send: Send
        self._connection: Connection | None = None
        self._sending = False
        self._task: asyncio.Task[None] | None = None
        self._alive = False
        #: Set by the hub.
        self.source: Source
        #: Why the stream ends without a final event; empty: it continues.
        self.closing = ""
        self.ended = False
        #: Monotonic: since when the connection takes nothing more; 0: it does.
        self.blocked_since = 0.0
        #: Monotonic: when something was sent last.
        self.quiet_since = time.monotonic()

    @property
    def nothing_follows(self) -> bool:
        """Whether the client has everything already: its stream is not opened."""
        return False

    def take(self) -> tuple[bytes, bytes | None, bool]:
        """The next events, the same as a chunk if it is known, and whether they are the last ones."""
        raise NotImplementedError

    async def begin(self, send: Send, connection: Connection | None) -> None:
        """Sends what a client gets at once."""
        self._send, self._connection, self._sending = send, connection, True
        await self._work(frames.retry(random.randint(*RETRY)), last=False)  # noqa: S311 - no secret

    def wake(self) -> None:
        """There is something to send."""
        if self._sending or self.ended:
            return
        try:
            data, chunk, last = self._next()
            connection = self._connection if data and len(data) <= SLICE else None
            if connection is not None and connection.push(chunk or frames.chunk(data)):
                self._alive = False
                self.quiet_since = time.monotonic()
                data = b""
        except Exception:
            self._fail()
            return
        if data or last:
            self._sending = True
            self._task = asyncio.get_running_loop().create_task(self._work(data, last=last))

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

    async def _work(self, data: bytes, *, last: bool) -> None:
        """Sends this, then what has come in the meantime, until nothing is left."""
        try:
            while data or last:
                await self._write(data, last=last)
                if self.ended:
                    return
                data, _, last = self._next()
        except Exception:
            self._fail()
        finally:
            self._sending = False

    def _fail(self) -> None:
        """An error of ours: it ends this stream, and harms no other."""
        _log.exception("a stream failed; its connection is dropped", subject=self.principal.subject)
        self.abort()

    def _next(self) -> tuple[bytes, bytes | None, bool]:
        """As `take`, with the end of a stream that is closed, and signs of life."""
        data, chunk, last = self.take()
        if self.closing and not last:
            return data + frames.comment(self.closing), None, True
        if self._alive and not data:
            data = frames.ALIVE
        return data, chunk, last

    async def _write(self, data: bytes, *, last: bool) -> None:
        self._alive = False
        self.blocked_since = self.quiet_since = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        self.blocked_since = 0.0
        self.ended = self.ended or last
