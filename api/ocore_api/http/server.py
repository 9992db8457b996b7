"""uvicorn with uvloop and httptools, and a shutdown in which streams end first."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ocore_api.settings import Settings

#: Seconds for which an idle connection stays open: longer than the 60 s of common load balancers, so that they close
#: it, not we.
KEEP_ALIVE = 75

#: Bytes of a request's first line and headers, and seconds in which they must arrive. Beyond, the connection is
#: closed.
MAX_HEAD, HEAD_SECONDS = 65_536, 10.0
#: Bytes of an answer that wait for a slow client before the handler must wait.
WRITE_BUFFER = 16_384
#: Requests of a connection that wait for the answers before them; more end it. Browsers and HTTP libraries do not send
#: ahead.
PIPELINED = 8
#: Bytes of an answer that are written at once: the rest waits until the client has read them.
SLICE = 65_536
#: Seconds that a connection is dropped later than a stream: `streams/hub.py` drops, logs and counts the readers of
#: streams.
STREAMS_FIRST = 3.0
#: Connections beside those of streams.
CONNECTIONS = 2_000
#: Connections of the port of monitoring.
MONITORING = 100
#: Connections that wait until they are accepted.
BACKLOG = 2_048
#: Where the scope of a request has its :class:`Connection`.
CONNECTION = "ocore.connection"


class Room:
    """The connections of one port, whose number is limited. Where it is full, the connection goes that has waited the
    longest for its client: anyone can keep connections open, without a token, and would else keep out all others. One
    whose request is being answered stays."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Connection] = set()
        self._waiting: OrderedDict[Connection, None] = OrderedDict()  # the longest first

    def enter(self, connection: "Connection") -> None:
        """A new one, which waits for its first request."""
        self._open.add(connection)
        self.waits(connection)
        if len(self._open) > self._most:
            longest = next(iter(self._waiting))
            self.leave(longest)
            longest.abort()

    def waits(self, connection: "Connection") -> None:
        """It waits for its client from now on: for a request, or until an answer is read."""
        if connection in self._open:
            self._waiting[connection] = None
            self._waiting.move_to_end(connection)

    def works(self, connection: "Connection") -> None:
        """Its request is being answered."""
        self._waiting.pop(connection, None)

    def leave(self, connection: "Connection") -> None:
        """It is gone."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)


class _TooManyRequests(Exception):
    """The client sends requests and reads no answer."""


class Connection(HttpToolsProtocol):
    """httptools' protocol with what a stream needs and ASGI has no message for, and with limits that uvicorn lacks.
    These hold before a token is read: for the head of a request, for requests that are sent ahead, for answers that are
    not read, and for connections. Without them each of these uses up memory."""

    stall_seconds: float
    #: By the port of this side.
    rooms: Mapping[int | None, Room]
    _room: Room
    _stall: asyncio.TimerHandle | None = None
    _head = 0  # bytes since the head began; negative outside of a head
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._room = self.rooms.get(self.server[1] if self.server is not None else None) or self.rooms[None]
        self._room.enter(self)
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        self._stop_timer()
        self._read()
        self.pipeline.clear()
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

    def send_400_response(self, msg: str) -> None:
        if self.pipeline:  # it would come between the answers that are due
            self.transport.abort()
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._room.waits(self)
        if self._stall is None:
            self._stall = self.loop.call_later(self.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._read()
        if self.cycle is not None and not self.cycle.response_complete:
            self._room.works(self)
        super().resume_writing()

    def _read(self) -> None:
        """The client has read what was written, or is gone."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise _TooManyRequests  # ends the parser: what it was given has thousands of them
        self._head = 0
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[CONNECTION] = self

    def on_headers_complete(self) -> None:
        self._head = -1
        self._stop_timer()
        self._room.works(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline:
            self._room.waits(self)
        super().on_response_complete()

    def push(self, data: bytes) -> bool:
        """Writes a chunk of an answer that has begun at once: without a task and the layers between. False: the client
        is slow or gone."""
        if self.flow.write_paused or self.transport.is_closing():
            return False
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def abort(self) -> None:
        """Drops the connection at once, with what was not sent. (Closing it waits for a client that never reads.)"""
        self.transport.abort()

    @property
    def gone(self) -> bool:
        """Whether nothing more can be sent."""
        return self.transport.is_closing()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _protocol(settings: Settings) -> type[Connection]:
    """The protocol with these limits: uvicorn makes the instances."""
    limits = {
        "stall_seconds": settings.stream_stall_seconds + STREAMS_FIRST,
        "rooms": {None: Room(settings.max_streams + CONNECTIONS), settings.monitoring_port: Room(MONITORING)},
    }
    return type("LimitedConnection", (Connection,), limits)


def sliced(app: Any) -> Any:
    """The application, whose answers are written in slices: of a large one that is not read, no more than a slice is in
    memory twice."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        async def write(message: Any) -> None:
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) <= SLICE:
                await send(message)
                return
            for start in range(0, len(body), SLICE):
                more = start + SLICE < len(body) or message.get("more_body", False)
                await send({**message, "body": body[start : start + SLICE], "more_body": more})

        await app(scope, receive, write)

    return call


def listeners(settings: Settings) -> tuple[socket.socket, socket.socket]:
    """The sockets of the API and of monitoring. Raises OSError, which names the address."""
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    found = []
    for port in (settings.http_port, settings.monitoring_port):
        try:
            found.append(socket.create_server((settings.http_host, port), family=family, backlog=BACKLOG))
        except OSError as error:
            raise OSError(f"cannot listen on {settings.http_host}, port {port}: {error.strerror}") from error
    return found[0], found[1]


class Server(uvicorn.Server):
    """One server. `at_shutdown` is called at SIGTERM or SIGINT, before open requests are waited for."""

    def __init__(self, app: Any, settings: Settings, at_shutdown: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                sliced(app),
                http=_protocol(settings),
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
        """Ends on SIGTERM and SIGINT. uvicorn raises the signal again at the end, which would skip what is closed after
        the server."""
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
