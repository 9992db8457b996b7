"""One open stream.

It is a response class of its own, because an idle stream must cost little: one task that waits for the client to leave.
Nothing else exists until there is something to send. (`fastapi.sse` runs a task group and a queue for each stream, and
cannot drop a reader that does not read.)
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import Response

from ocore_api.auth import Principal
from ocore_api.http.server import CONNECTION
from ocore_api.streams import frames
from ocore_api.streams.hub import Hub
from ocore_api.streams.reader import Message, Reader, Send

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """The progress of one operation, for one caller: the current state, each change, and a final event, after which it
    ends.

    `environment_id`: the environment that the caller named; None: it named none. Raises NotFound, TooManyRequests or
    Unavailable before it starts.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        hub: Hub,
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
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await reader.begin()
            while (await receive())["type"] != "http.disconnect":
                pass
