"""One open stream.

It is a response class of its own, because an idle stream must cost little: one task that waits for the client to leave. Nothing else exists until there is
something to send. (`fastapi.sse` runs a task group and a queue for each stream, and cannot drop a reader that does not read.)
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import structlog
from starlette.responses import Response

from ocore_api.auth import Principal
from ocore_api.http.server import CONNECTION, Connection
from ocore_api.streams import frames

if TYPE_CHECKING:
    from ocore_api.streams.hub import Hub, Topic

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Milliseconds after which clients open a lost stream again: spread, so that they do not all come at once after a restart.
RETRY = (1000, 3000)
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]

_log = structlog.get_logger()


class EventStream(Response):
    """The progress of one operation, for one caller: the current state, each change, and a final event, after which it ends.

    `environment_id`: the environment that the caller named; None: it named none. Raises NotFound, TooManyRequests or Unavailable before it starts.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        hub: "Hub",
        kind: str,
        id_: str,
        principal: Principal,
        *,
        environment_id: str | None = None,
        last_event_id: str | None = None,
    ) -> None:
        self._hub = hub
        self._kind = kind
        self._id = id_
        self._principal = principal
        self._environment_id = environment_id
        self._seen = frames.seen(last_event_id)
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the end of the stream, or until the client leaves."""
        reader = Reader(self._principal, self._environment_id, self._seen, send, scope.get(CONNECTION))
        with self._hub.reading(self._kind, self._id, reader):
            if self._seen is not None and self._seen.ends_with(reader.topic.frame):
                # An EventSource opens every stream that ended again, without end. 204 is what stops it.
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await reader.begin()
            while (await receive())["type"] != "http.disconnect":
                pass


class Reader:
    """The sending side of a stream. Only the newest event waits for a reader that is slow; a final one is never replaced."""

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
        """There is something to send. What the connection takes now is written now: 5,000 readers of one operation get a change within milliseconds."""
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
