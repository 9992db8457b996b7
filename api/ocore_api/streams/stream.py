"""One open stream.

It is a response class of its own, because an idle stream must cost little: one task that waits for the client to leave.
Nothing else exists until there is something to send. (`fastapi.sse` runs a task group and a queue for each stream, and
cannot drop a reader that does not read.)
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import Response

from ocore_api.http.server import CONNECTION
from ocore_api.streams.hub import Hub
from ocore_api.streams.progress import Operation
from ocore_api.streams.reader import Message, Reader, Send

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """What a reader gets, of an operation or of all changes (None), until it ends. See `Hub.reading` for
    what it raises before it starts."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, operation: Operation | None, reader: Reader) -> None:
        self._hub = hub
        self._operation = operation
        self._reader = reader
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the end of the stream, or until the client leaves."""
        reader = self._reader
        with self._hub.reading(self._operation, reader):
            if reader.nothing_follows:
                # An EventSource opens every stream that ended again, without end. 204 is what stops it.
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await reader.begin(send, scope.get(CONNECTION))
            while (await receive())["type"] != "http.disconnect":
                pass
