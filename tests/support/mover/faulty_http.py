"""An HTTP proxy before an S3 server that spoils, cuts, refuses and records what goes through it."""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "expect"}
PIECE = 64 * 1024
#: In place of a status: closes the connection without an answer, and does not ask the server.
CLOSE = 0


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Faults:
    """What the proxy does; each is off by default. Decisions get the request and are asked in the order of arrival."""

    #: Turns over one bit in the middle of the body.
    flip: Callable[[Request], bool] = lambda _: False
    #: Answers with this status (or :data:`CLOSE`) instead of asking the server.
    refuse: Callable[[Request], int | None] = lambda _: None
    #: Closes the connection after so many bytes of the answer's body.
    cut: Callable[[Request], int | None] = lambda _: None
    #: Asks the server, and closes the connection without its answer.
    lose_answer: Callable[[Request], bool] = lambda _: False
    #: Headers of requests that are left out (in lower case).
    strip: frozenset[str] = frozenset()


@dataclass
class _State:
    host: str
    port: int
    faults: Faults = field(default_factory=Faults)
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class FaultyProxy:
    """A context manager; `endpoint` is its URL. It listens on `address`, loopback or one that pods reach."""

    def __init__(self, target_port: int, *, target_host: str = "127.0.0.1", address: str = "127.0.0.1") -> None:
        self._state = _State(target_host, target_port)
        self._server = ThreadingHTTPServer((address, 0), _handler(self._state))
        self._server.daemon_threads = True
        self.endpoint = f"http://{address}:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        """All that came so far."""
        with self._state.lock:
            return list(self._state.requests)

    def set(self, faults: Faults) -> None:
        """From now on."""
        with self._state.lock:
            self._state.faults = faults
            self._state.requests.clear()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def times(count: int, when: Callable[[Request], bool] = lambda _: True) -> Callable[[Request], bool]:
    """True for the first `count` requests that fit."""
    left = [count]

    def decide(request: Request) -> bool:
        if left[0] and when(request):
            left[0] -= 1
            return True
        return False

    return decide


def _handler(state: _State) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            with state.lock:
                state.requests.append(request)
                faults = state.faults
                refused, flip = faults.refuse(request), faults.flip(request)
                cut, lose = faults.cut(request), faults.lose_answer(request)
            if refused is not None:
                self._refuse(refused)
                return
            if flip and body:
                spoiled = bytearray(body)
                spoiled[len(spoiled) // 2] ^= 0x10
                request.body = bytes(spoiled)
            self._forward(request, cut, lose, faults.strip)

        def _refuse(self, status: int) -> None:
            if status == CLOSE:
                self.close_connection = True
                return
            text = b"<Error><Code>SlowDown</Code><Message>later</Message></Error>" if status == 503 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def _forward(self, request: Request, cut: int | None, lose: bool, strip: frozenset[str]) -> None:
            headers = {k: v for k, v in request.headers.items() if k not in HOP_BY_HOP and k not in strip}
            connection = http.client.HTTPConnection(state.host, state.port, timeout=60)
            try:
                connection.request(request.method, request.path, request.body, headers)
                answer = connection.getresponse()
                if lose:
                    answer.read()
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                chunked = answer.getheader("Content-Length") is None and request.method != "HEAD"
                body = answer.read() if chunked else b""
                if chunked:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if body:
                    self.wfile.write(body)
                self._pass_on(answer, cut)
            finally:
                connection.close()

        def _pass_on(self, answer: http.client.HTTPResponse, cut: int | None) -> None:
            sent = 0
            while piece := answer.read(PIECE):
                if cut is not None and sent + len(piece) > cut:
                    self.wfile.write(piece[: cut - sent])
                    self.close_connection = True
                    return
                self.wfile.write(piece)
                sent += len(piece)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _relay  # noqa: N815

    return Handler
