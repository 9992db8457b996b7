"""The web process: a page, an API, probes. Ends within a second or two of SIGTERM."""

import base64
import binascii
import json
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg

from . import page, shop, state
from .database import Connection, Pool, connect
from .filestore import ContentDiffersError, Filestore
from .settings import Settings, SettingsError

#: The largest request body, in bytes.
MAX_BODY = 32 * 1024 * 1024
#: How long requests that run may take to end at SIGTERM, in seconds.
DRAIN_SECONDS = 1.0
_HTML = "text/html; charset=utf-8"


class RequestError(Exception):
    """An answer other than success; the message goes to the client."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """What goes back to the client."""

    status: HTTPStatus
    content: bytes
    kind: str
    headers: dict[str, str] = field(default_factory=dict)


class App:
    """The application behind the HTTP handler: one database pool and one filestore."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.filestore = Filestore(settings.filestore)
        self.pool = Pool(lambda: connect(settings))
        self._scanner = state.Scanner(self.filestore)

    def state(self) -> dict[str, Any]:
        """Everything that it holds."""
        with self.pool.connection() as connection:
            return state.gather(connection, self.filestore, self._scanner, self.settings.title)

    def ready(self) -> str | None:
        """None if the database answers and the filestore can be written; else what is wrong."""
        problem = self.filestore.usable()
        if problem is not None:
            return problem
        with self.pool.connection(wait=1.0) as connection:
            connection.execute("SELECT 1 FROM ir_attachment LIMIT 1")
            key = self.settings.require
            if key and not connection.execute("SELECT 1 FROM ir_config_parameter WHERE key = %s", [key]).fetchone():
                return f"ir_config_parameter has no key {key}, which DEMO_REQUIRE asks for"
        return None

    def with_connection(self, work: Callable[[Connection], Any]) -> Any:
        """The work's answer."""
        with self.pool.connection() as connection:
            return work(connection)


class Server(ThreadingHTTPServer):
    """Counts running requests, so that the server can stop as soon as they have ended."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], app: App) -> None:
        self.app = app
        self.stopping = False
        self._running = 0
        self._changed = threading.Condition()
        super().__init__(address, Handler)

    def begin(self) -> None:
        """A request has come in."""
        with self._changed:
            self._running += 1

    def end(self) -> None:
        """It is answered."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def drain(self, seconds: float) -> None:
        """Waits until no request runs, for that many seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: self._running == 0, timeout=seconds)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that disconnected."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Routes; every answer has a length, so connections are kept."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "demo_app"
    sys_version = ""
    timeout = 30
    wbufsize = -1  # one segment for head and body
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Reads."""
        self._serve("GET")

    def do_POST(self) -> None:
        """Writes."""
        self._serve("POST")

    def do_DELETE(self) -> None:
        """Deletes."""
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        self.server.begin()
        try:
            self._answer(method)
        finally:
            self.server.end()

    def _answer(self, method: str) -> None:
        retry = {"Retry-After": "1"}
        try:
            answer = self._route(method, self._body() if method == "POST" else b"")
        except RequestError as error:
            answer = _json(error.status, {"error": str(error)})
        except psycopg.DataError as error:
            answer = _json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except (shop.GarbageCollectionBusyError, ContentDiffersError, shop.OrderConfirmedError) as error:
            answer = _json(HTTPStatus.CONFLICT, {"error": str(error)})
        except (psycopg.Error, SettingsError, OSError) as error:
            self.log_error("%s %s: %s", method, self.path, " ".join(str(error).split()))
            answer = replace(_json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)}), headers=retry)
        self._send(answer)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
        if int(length) > MAX_BODY:
            self.close_connection = True
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send {MAX_BODY} bytes at most")
        return self.rfile.read(int(length))

    def _route(self, method: str, body: bytes) -> Answer:
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        parts = [p for p in url.path.split("/") if p]
        app = self.server.app
        match method, parts:
            case "GET", []:
                return self._page()
            case "GET", ["part"]:
                return Answer(HTTPStatus.OK, page.render_part(app.state()).encode(), _HTML)
            case "GET", ["healthz"]:
                return Answer(HTTPStatus.OK, b"ok\n", "text/plain")
            case "GET", ["readyz"]:
                return self._ready()
            case "GET", ["api", "state"]:
                return _json(HTTPStatus.OK, app.state())
            case "GET", ["api", "orders"]:
                last = _integer(query.get("up_to", ""), "up_to")
                return _json(HTTPStatus.OK, app.with_connection(lambda c: state.orders_up_to(c, last)))
            case "POST", ["api", "orders"]:
                return self._place_order(body)
            case "DELETE", ["api", "orders", order_id]:
                number = _integer(order_id, "order")
                if not app.with_connection(lambda c: shop.delete_order(c, app.filestore, number)):
                    raise RequestError(HTTPStatus.NOT_FOUND, f"there is no order {number}")
                return _json(HTTPStatus.OK, {"deleted": number})
            case "POST", ["api", "attachments"]:
                kind = self.headers.get("Content-Type", "application/octet-stream")
                new = shop.NewAttachment(query.get("name", "unnamed"), body, kind)
                made = app.with_connection(lambda c: shop.add_attachment(c, app.filestore, new))
                return _json(HTTPStatus.CREATED, asdict(made))
            case "POST", ["api", "gc"]:
                return _json(
                    HTTPStatus.OK, asdict(app.with_connection(lambda c: shop.collect_garbage(c, app.filestore)))
                )
            case _:
                raise RequestError(HTTPStatus.NOT_FOUND, f"there is no {method} {url.path}")

    def _page(self) -> Answer:
        nonce = secrets.token_urlsafe(12)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self';"
            " img-src data:; base-uri 'none'; frame-ancestors 'none'"
        )
        content = page.render(self.server.app.state(), nonce).encode()
        return Answer(HTTPStatus.OK, content, _HTML, {"Content-Security-Policy": policy})

    def _ready(self) -> Answer:
        if self.server.stopping:
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "stopping")
        problem = self.server.app.ready()
        if problem is not None:
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, problem)
        return _json(HTTPStatus.OK, {"ready": True})

    def _place_order(self, body: bytes) -> Answer:
        partner, amount, order_state, attachments = parse_order(body)
        app = self.server.app
        order = app.with_connection(
            lambda c: shop.place_order(c, app.filestore, partner, amount, order_state, attachments)
        )
        return _json(HTTPStatus.CREATED, asdict(order))

    # --- answers -----------------------------------------------------------------------------------------
    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if self.server.stopping:
            self.send_header("Connection", "close")
        for name, value in {
            "Content-Type": answer.kind,
            "Content-Length": str(len(answer.content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'",
            "X-Content-Type-Options": "nosniff",
            **answer.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs nothing: only errors are logged, by log_error."""


def _json(status: HTTPStatus, data: Any) -> Answer:
    return Answer(status, (json.dumps(data) + "\n").encode(), "application/json")


def _integer(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"{name}: give a number of at most nine digits")
    return int(text)


def parse_order(body: bytes) -> tuple[str, Decimal, shop.OrderState, list[shop.NewAttachment]]:
    """partner, amount, state (draft or sale), attachments (name, mimetype, data in base64). Raises RequestError."""
    try:
        data = json.loads(body)
        partner, amount, order_state = str(data["partner"]), Decimal(str(data["amount"])), data.get("state", "draft")
        attachments = [
            shop.NewAttachment(
                str(a["name"]), base64.b64decode(a["data"], validate=True), str(a.get("mimetype", "text/plain"))
            )
            for a in data.get("attachments", [])
        ]
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation, binascii.Error) as error:
        raise RequestError(
            HTTPStatus.BAD_REQUEST,
            "send JSON: partner, amount, state (draft or sale), attachments (a list of name, mimetype and data in"
            f" base64): {error!r}",
        ) from error
    if order_state not in ("draft", "sale"):
        raise RequestError(HTTPStatus.BAD_REQUEST, f"state {order_state!r}: draft or sale")
    if not amount.is_finite() or not 0 <= amount < Decimal(10) ** 10:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"amount {amount}: 0 or more, and less than ten digits")
    return partner, amount, order_state, attachments


def serve(settings: Settings, *, host: str = "0.0.0.0") -> None:  # noqa: S104 - a container's port
    """Serves until SIGTERM or SIGINT."""
    server = Server((host, settings.port), App(settings))

    def stop(signum: int, _frame: Any) -> None:
        server.stopping = True
        # shutdown() waits for the loop that this very thread runs.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    started = time.monotonic()
    print(f"demo_app: serving on {host}:{server.server_port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    server.drain(DRAIN_SECONDS)
    server.app.pool.close()
    print(f"demo_app: stopped after {time.monotonic() - started:.0f} s", flush=True)
