"""Reads that clients repeat are routed and parsed once.

FastAPI searches the route, and parses and validates path, query and headers of each request: most of the time of a read
from the cache. The result depends on nothing but path and query. So the endpoint and the values of its parameters are
remembered by both, for requests that were answered, and the endpoint is called with them. The token is verified and the
scope of the caller is checked for every request.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from ocore_api.auth import READ
from ocore_api.http.middleware import App, Receive, Scope, Send
from ocore_api.routes.access import caller_with

#: Requests that are remembered, and characters of the longest path and query of one.
REMEMBERED, LONGEST = 16_384, 256
#: Where the scope of an answered request has its :class:`Repeatable`.
ANSWERED = "ocore.answered"


@dataclass(frozen=True, slots=True)
class Repeatable:
    """What path and query of a request stand for."""

    route: "RepeatedRead"
    values: dict[str, Any]


class RepeatedRead(APIRoute):
    """For endpoints with the parameters `request` and `caller` (a ReadCaller), and others of path and query only."""

    def __init__(self, path: str, endpoint: Callable[..., Awaitable[Response]], **options: Any) -> None:
        @wraps(endpoint)
        async def recording(request: Request, **values: Any) -> Response:
            response = await endpoint(request, **values)
            request.scope[ANSWERED] = Repeatable(self, {k: v for k, v in values.items() if k != "caller"})
            return response

        #: The endpoint, without the framework.
        self.plain = endpoint
        super().__init__(path, recording, **options)


class Repeats:
    """Wraps the routes."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._known: OrderedDict[tuple[str, bytes], Repeatable] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request: by its endpoint where it is known, else by the routes."""
        if scope.get("method") != "GET":
            await self._app(scope, receive, send)
            return
        key = scope["path"], scope["query_string"]
        known = self._known.get(key)
        if known is not None:
            scope["route"] = known.route
            request = Request(scope, receive)
            response = await known.route.plain(request, caller=caller_with(request, READ), **known.values)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)
        answered = scope.get(ANSWERED)
        if answered is not None and len(key[0]) + len(key[1]) <= LONGEST:
            self._known[key] = answered
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
