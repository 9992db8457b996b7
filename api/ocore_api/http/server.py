"""uvicorn with uvloop and httptools, and a shutdown in which streams end first."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ocore_api.settings import Settings

#: Seconds for which an idle connection stays open: longer than the 60 s of common load balancers, so that they close it, not we.
KEEP_ALIVE = 75

#: Bytes of a request's first line and headers.
MAX_HEAD = 65_536
#: Bytes of an answer that wait for a slow client before the handler must wait.
WRITE_BUFFER = 16_384
#: Where the scope of a request has its :class:`Connection`.
CONNECTION = "ocore.connection"


class Connection(Protocol):
    """What a stream can do that ASGI has no message for."""

    def push(self, chunk: bytes) -> bool:
        """Writes a chunk of an answer that has begun, framed as such, at once: without a task and the layers between. False: the client is slow or gone."""

    def abort(self) -> None:
        """Drops the connection at once, with what was not sent. (Closing it waits for a client that never reads.)"""


class _Protocol(HttpToolsProtocol):
    """httptools' protocol with limits for the head of a request, which uvicorn lacks: without them, slow or endless headers use up memory."""

    head_seconds: float
    _head = 0  # bytes since the head began; negative outside of a head
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head < 0 or self.transport.is_closing():
            return
        self._head += len(data)
        if self._head > MAX_HEAD:
            self.send_400_response("The headers are too large.")
        elif self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[CONNECTION] = self

    def on_headers_complete(self) -> None:
        self._head = -1
        self._stop_timer()
        super().on_headers_complete()

    def push(self, chunk: bytes) -> bool:
        """See `Connection`."""
        if self.flow.write_paused or self.transport.is_closing():
            return False
        self.transport.write(chunk)
        return True

    def abort(self) -> None:
        """See `Connection`."""
        self.transport.abort()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _protocol(head_seconds: float) -> type[_Protocol]:
    """The protocol with this limit: uvicorn makes the instances."""
    return type("Protocol", (_Protocol,), {"head_seconds": head_seconds})


class Server(uvicorn.Server):
    """One server. `at_shutdown` is called at SIGTERM or SIGINT, before open requests are waited for."""

    def __init__(self, app: Any, settings: Settings, at_shutdown: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.http_host,
                port=settings.http_port,
                http=_protocol(settings.head_seconds),
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
            )
        )
        self._at_shutdown = at_shutdown

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends streams, then waits for open requests, for `shutdown_seconds` at most."""
        self._at_shutdown()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ends on SIGTERM and SIGINT. uvicorn raises the signal again at the end, which would skip what is closed after the server."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        caught = (signal.SIGTERM, signal.SIGINT)
        for number in caught:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)
