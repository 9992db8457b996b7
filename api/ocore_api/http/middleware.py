"""The one layer around the application. Pure ASGI: it costs a few microseconds per request.

A path under `/api/` or `/console/` needs a valid token before anything else of the request is read: no route can
forget it. What the token may do is checked by the routes.
"""

import asyncio
import math
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from itertools import count
from typing import Any

import structlog
from starlette.exceptions import HTTPException

from ocore_api.auth import Authenticator, Principal
from ocore_api.errors import Problem
from ocore_api.http import refusals
from ocore_api.http.audit import NOTES, Audit
from ocore_api.http.limits import RateLimit, address_key
from ocore_api.http.metrics import Metrics
from ocore_api.http.problems import MEDIA_TYPE, REQUEST_ID, body, internal_error, of_api_server
from ocore_api.settings import Settings
from ocore_kube.errors import ApiError
from ocore_kube.errors import Unavailable as ApiServerUnavailable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

#: Where the caller is kept in the scope of a request.
PRINCIPAL = "ocore.principal"
API = "/api"
CONSOLE = "/console/v1"
#: Below these paths nothing is served without a token.
_TOKENS = (f"{API}/", "/console/")
METRICS = "/metrics"
#: What load balancers and kubelets ask.
HEALTH = frozenset({"/healthz", "/readyz"})
DOCS = "/docs"
UI = "/ui"
READS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Bytes of the largest body; beyond: 413. Seconds in which a body must arrive; beyond: 408.
MAX_BODY, BODY_SECONDS = 65_536, 10.0

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_NO_STORE = (b"cache-control", b"no-store")
_CSP = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
#: Tokens are pasted on the page: only what this program serves runs there, and nothing may be sent elsewhere. The icons
#: are in the style sheet.
_DOCS_CSP = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
#: Of the page, beside its policy. Sign-in opens a window of the provider, which must not reach this one.
_UI_HEADERS = (
    (b"cross-origin-opener-policy", b"same-origin-allow-popups"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), publickey-credentials-get=(),"
        b" serial=(), usb=()",
    ),
)

_log = structlog.get_logger()


class Edge:
    """Wraps the application. Requests of other protocols (lifespan) pass unchanged."""

    def __init__(
        self, app: App, settings: Settings, authenticator: Authenticator, metrics: Metrics, audit: Audit
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._metrics = metrics
        self._audit = audit
        self._subjects = RateLimit(settings.rate_per_second, settings.rate_burst)
        self._addresses = RateLimit(settings.anonymous_rate_per_second, settings.anonymous_rate_burst)
        # Of their own: failed requests of others behind the same proxy must not keep the page from its users,
        # and its users no load balancer from the health of the facade.
        self._pages = RateLimit(settings.page_rate_per_second, settings.page_rate_burst)
        self._health = RateLimit(settings.page_rate_per_second, settings.page_rate_burst)
        self._monitoring_port = settings.monitoring_port
        self._ui_headers = (*_UI_HEADERS, (b"content-security-policy", ui_policy(settings).encode()))
        self._prefix = secrets.token_hex(4)
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request. An error of the application is logged and answered, never raised."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request = _Exchange(scope, send, self._prefix, self._numbers, self._ui_headers)
        principal: Principal | None = None
        api = scope["path"].startswith(_TOKENS) or scope["path"] in (API, "/console")
        try:
            request.check_length()
            if not self._monitoring(scope):
                if api:
                    principal = await self._caller(scope, request.authorization)
                    scope[PRINCIPAL] = principal
                else:
                    self._anonymous(scope)
            if request.has_body:
                receive = _Limited(receive)
            await self._app(scope, receive, request.send)
        except Problem as problem:
            await request.refuse(problem)
        except ApiServerUnavailable as error:
            _log.warning("the API server did not answer", error=str(error), request_id=request.id)
            await request.refuse(of_api_server())
        except ApiError as error:
            await request.refuse(refusals.problem(error))
        except Exception:
            _log.exception("request failed", request_id=request.id, method=scope["method"], route=_route(scope))
            await request.refuse(internal_error())
        finally:
            route = _route(scope)
            seconds = time.perf_counter() - started
            self._metrics.record(route, scope["method"], request.status, seconds, stream=request.stream)
            if api and (scope["method"] not in READS or NOTES in scope):
                self._audit.write(scope, principal=principal, route=route, status=request.status, request_id=request.id)

    async def _caller(self, scope: Scope, authorization: str | None) -> Principal:
        """The caller, within its rate. A valid token is never refused for the failures of others."""
        try:
            principal = await self._authenticator.authenticate(authorization)
        except Problem as problem:
            if problem.status == HTTPStatus.UNAUTHORIZED:
                self._take(self._addresses, scope, "without a valid token")
            raise
        wait = self._subjects.take(principal.subject)
        if wait:
            raise _too_many("of this caller", wait)
        return principal

    def _monitoring(self, scope: Scope) -> bool:
        """Whether the request came to the port of kubelets and Prometheus, which has no limit. Raises Problem where the
        path is served on the other port only."""
        server = scope.get("server")
        here = server is not None and server[1] == self._monitoring_port
        path = scope["path"]
        if path == METRICS if not here else path not in HEALTH | {METRICS}:
            raise Problem("NotFound", f"This port does not serve {path if path == METRICS else 'this path'}.")
        return here

    def _anonymous(self, scope: Scope) -> None:
        path = scope["path"]
        if path in HEALTH:
            self._take(self._health, scope, "for the health")
        elif path == UI or path.startswith(f"{UI}/"):
            self._take(self._pages, scope, "for the page")
        else:
            self._take(self._addresses, scope, "without a valid token")

    @staticmethod
    def _take(limit: RateLimit, scope: Scope, what: str) -> None:
        client = scope.get("client")
        wait = limit.take(address_key(client[0]) if client else "")
        if wait:
            raise _too_many(f"{what} from this address", wait)


class _Exchange:
    """One request's headers, and its answer as it is sent."""

    __slots__ = ("_length", "_policy", "_send", "authorization", "has_body", "id", "status", "stream")

    def __init__(self, scope: Scope, send: Send, prefix: str, numbers: "count[int]", ui_headers: Headers) -> None:
        self._send = send
        self._length: bytes | None = None
        self._policy: Headers = (_DOCS_CSP if scope["path"] == DOCS else _CSP,)
        if scope["path"] == UI or scope["path"].startswith(f"{UI}/"):
            self._policy = ui_headers
        self.authorization: str | None = None
        self.has_body = False
        self.status = 0
        self.stream = False
        request_id: bytes | None = None
        tokens = 0
        for name, value in scope["headers"]:
            if name == b"authorization":
                tokens += 1
                self.authorization = value.decode("latin-1")
            elif name == b"content-length":
                self._length = value
                self.has_body = True
            elif name == b"transfer-encoding":
                self.has_body = True
            elif name == b"x-request-id":
                request_id = value
        if tokens > 1:
            self.authorization = ""  # two tokens: neither counts
        valid = request_id is not None and _REQUEST_ID.fullmatch(request_id)
        self.id = request_id.decode() if request_id and valid else f"{prefix}-{next(numbers):x}"
        scope[REQUEST_ID] = self.id

    def check_length(self) -> None:
        """Refuses a body whose announced length is too large."""
        if self._length is not None and self._length.isdigit() and int(self._length[:20]) > MAX_BODY:
            raise Problem("BodyTooLarge", f"The body is larger than {MAX_BODY} bytes.", headers={"Connection": "close"})

    async def send(self, message: Message) -> None:
        """Sends a part of the answer, with our headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            cached = False
            for name, value in headers:
                if name == b"cache-control":
                    cached = True
                elif name == b"content-type" and value.startswith(b"text/event-stream"):
                    self.stream = True
            headers += _HEADERS
            if not cached:
                headers.append(_NO_STORE)
            headers += self._policy
            headers.append((b"x-request-id", self.id.encode()))
            message["headers"] = headers
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Answers with a problem, unless an answer has begun: then the server closes the connection, and the client
        sees an incomplete answer."""
        if self.status:
            return
        content = body(problem, self.id)
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(content)).encode())]
        headers += [(k.lower().encode(), v.encode("latin-1", "replace")) for k, v in problem.headers.items()]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})


class _Limited:
    """Receives a body up to a size, within a time. The framework turns exceptions other than HTTPException into 400."""

    __slots__ = ("_complete", "_deadline", "_left", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = MAX_BODY
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:  # what comes now is the end of the connection, whenever that is
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, headers={"Connection": "close"}) from None
        if message["type"] == "http.request":
            self._complete = not message.get("more_body", False)
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise HTTPException(413, headers={"Connection": "close"})
        return message


def ui_policy(settings: Settings) -> str:
    """The Content-Security-Policy of the page: nothing from elsewhere, no code in the page, and connections to the API
    and the provider only. Pure."""
    connect = ["'self'"]
    if settings.ui_client_id:
        connect += [settings.issuer_origin or "", *settings.ui_provider_origins]
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        f"connect-src {' '.join(connect)}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _route(scope: Scope) -> str:
    """The template of the route that matched."""
    return getattr(scope.get("route"), "path", "unmatched")


def _too_many(whose: str, wait: float) -> Problem:
    return Problem(
        "TooManyRequests",
        f"Too many requests {whose}. Try again after the time in Retry-After.",
        headers={"Retry-After": str(max(1, math.ceil(wait)))},
    )
