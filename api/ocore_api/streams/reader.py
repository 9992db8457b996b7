"""The sending side of one open stream: what it sends next, and when its connection takes nothing more."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import structlog

from ocore_api.auth import Principal
from ocore_api.http.server import Connection
from ocore_api.streams import frames

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

#: Milliseconds after which clients open a lost stream again: spread, so that they do not all come at once after a
#: restart.
RETRY = (1000, 3000)

_log = structlog.get_logger()


class Topic(Protocol):
    """The part of the hub's topic that a reader uses."""

    frame: frames.Frame

    def forbidden(self, reader: "Reader") -> bool:
        """Whether the reader may not see the operation any more. Then its stream ends."""


class Reader:
    """The sending side of a stream. Only the newest event waits for a reader that is slow; a final one is never
    replaced."""

    __slots__ = (
        "_alive",
        "_connection",
        "_environment_id",
        "_principal",
        "_seen",
        "_send",
        "_sending",
        "_sent",
        "_task",
        "blocked_since",
        "closing",
        "ended",
        "quiet_since",
        "topic",
    )

    def __init__(
        self,
        principal: Principal,
        environment_id: str | None,
        seen: frames.Seen | None,
        send: Send,
        connection: Connection | None,
    ) -> None:
        self._principal = principal
        self._environment_id = environment_id
        self._seen = seen
        self._send = send
        self._connection = connection
        self._sent: frames.Frame | None = None
        self._sending = False
        self._task: asyncio.Task[None] | None = None
        self._alive = False
        #: Set by the hub.
        self.topic: Topic
        #: Why the stream ends without a final event; empty: it continues.
        self.closing = ""
        self.ended = False
        #: Monotonic: since when the connection takes nothing more; 0: it does.
        self.blocked_since = 0.0
        #: Monotonic: when something was sent last.
        self.quiet_since = time.monotonic()

    @property
    def subject(self) -> str:
        """Whose stream it is."""
        return self._principal.subject

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch at which the token expires."""
        return self._principal.expires_at

    def may_see(self, project_id: str, environment_id: str) -> bool:
        """Whether an operation of that project and environment is one that the caller named, and the caller's."""
        return self._environment_id in (None, environment_id) and self._principal.may_see(project_id, environment_id)

    async def begin(self) -> None:
        """Sends what a client gets at once."""
        self._sending = True
        await self._work(frames.retry(random.randint(*RETRY)), last=False)  # noqa: S311 - no secret

    def wake(self) -> None:
        """There is something to send. What the connection takes now is written now: 5,000 readers of one operation get
        a change within milliseconds."""
        if self._sending or self.ended:
            return
        try:
            data, chunk, last = self._next()
            if data and self._connection is not None and self._connection.push(chunk or frames.chunk(data)):
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
        _log.exception("a stream failed; its connection is dropped", subject=self.subject)
        self.abort()

    def _next(self) -> tuple[bytes, bytes | None, bool]:
        """What to send now, the same as a chunk if it is known, and whether the stream ends with it."""
        frame, data, chunk = self.topic.frame, b"", None
        if frame is not self._sent and not self.topic.forbidden(self):
            self._sent = frame
            if self._seen is None or not self._seen.covers(frame):
                self._seen, data, chunk = None, frame.data, frame.chunk
            if frame.final:
                return data, chunk, True
        if self.closing:
            return data + frames.comment(self.closing), None, True
        if self._alive and not data:
            data = frames.ALIVE
        return data, chunk, False

    async def _write(self, data: bytes, *, last: bool) -> None:
        self._alive = False
        self.blocked_since = self.quiet_since = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        self.blocked_since = 0.0
        self.ended = self.ended or last
