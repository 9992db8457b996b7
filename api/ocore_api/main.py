"""From settings to a running application."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware

from ocore_api.auth import Authenticator
from ocore_api.cache import Cache
from ocore_api.cache.entries import KINDS
from ocore_api.examples import describe_examples
from ocore_api.facade import Facade
from ocore_api.http import problems
from ocore_api.http.middleware import API, CONSOLE, App, Edge
from ocore_api.http.problem_docs import describe_problems
from ocore_api.routes import (
    console_events,
    console_evidence,
    console_reads,
    console_rollbacks,
    docs,
    health,
    reads,
    rollback_writes,
    settings,
    size,
    snapshot_writes,
    streams,
    ui,
)
from ocore_api.routes.fast_reads import Repeats
from ocore_api.routes.parameters import describe_parameters
from ocore_api.settings import Settings
from ocore_api.streams.docs import describe_streams
from ocore_kube.transport import CONNECTIONS, Transport, connect

#: Routers, made with `APIRouter(prefix=API)` or `prefix=CONSOLE`. The first route is found fastest: those that are
#: asked most often come first.
ROUTERS: tuple[APIRouter, ...] = (
    reads.router,
    rollback_writes.router,
    settings.router,
    size.router,
    snapshot_writes.router,
    streams.router,
    console_reads.router,
    console_rollbacks.router,
    console_evidence.router,
    console_events.router,
)
TITLE = "ocore snapshots"

_log = structlog.get_logger()


class _Application(FastAPI):
    """FastAPI with fewer layers. The edge replaces the framework's own layers for unexpected errors, sizes of bodies
    and telemetry."""

    facade: Facade

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the errors of every operation and the events of every stream."""
        if self.openapi_schema is None:
            _unfold(super().openapi())
            describe_parameters(super().openapi())
            describe_problems(super().openapi())
            describe_streams(super().openapi())
            describe_examples(super().openapi())
        return super().openapi()

    def build_middleware_stack(self) -> Any:
        """The whole stack: CORS where origins are set, the edge, repeated reads, the errors of the framework, the
        routes. Without what `add_middleware` adds."""
        facade = self.facade
        routes = ExceptionMiddleware(AsyncExitStackMiddleware(self.router), handlers=self.exception_handlers)
        stack: App = Edge(Repeats(routes), facade.settings, facade.authenticator, facade.metrics, facade.audit)
        if facade.settings.cors_origins:
            return CORSMiddleware(
                stack,
                allow_origins=facade.settings.cors_origins,
                allow_methods=("GET", "POST", "PUT", "DELETE"),
                allow_headers=("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"),
                expose_headers=("Location", "Retry-After", "Age", "X-Request-Id"),
                max_age=600,
            )
        return stack


def create_app(facade: Facade) -> FastAPI:
    """The application. It starts nothing: see `running`."""
    app = _Application(
        title=TITLE,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if facade.settings.docs else None,
        redirect_slashes=False,
        servers=[{"url": "/", "description": "The server that served this document."}],
        telemetry={"tracing": False, "metrics": False, "logs": False},
        separate_input_output_schemas=False,
    )
    app.facade = facade
    open_to_all = [health.router]
    open_to_all += [docs.router] if facade.settings.docs else []
    open_to_all += [ui.router] if facade.settings.ui else []
    problems.install(app, _methods([*ROUTERS, *open_to_all]))
    routes = (route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute))
    if not all(route.path.startswith((f"{API}/", f"{CONSOLE}/")) for route in routes):
        raise ValueError("a router in ROUTERS is not made with `APIRouter(prefix=API)` or `prefix=CONSOLE`")
    # Not `include_router`: that makes a tree, which takes longer to search. Before the framework's own routes, which
    # are asked rarely.
    app.router.routes[:0] = [route for router in (*ROUTERS, *open_to_all) for route in router.routes]
    for route in app.router.routes:
        if isinstance(route, APIRoute):
            route.operation_id = route.name
    return app


def _unfold(node: Any) -> None:
    """Joins the lines of each paragraph of the descriptions: docstrings are wrapped for the source."""
    if isinstance(node, dict):
        if isinstance(text := node.get("description"), str):
            node["description"] = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            _unfold(child)


def _methods(routers: Iterable[APIRouter]) -> dict[str, str]:
    """For each path, its methods."""
    found: dict[str, set[str]] = {}
    for route in (r for router in routers for r in router.routes if isinstance(r, APIRoute)):
        found.setdefault(route.path, set()).update(route.methods or ())
    return {path: ", ".join(sorted(methods)) for path, methods in found.items()}


@contextlib.asynccontextmanager
async def running(facade: Facade) -> AsyncIterator[None]:
    """Runs the parts of a facade that work in the background, and closes them at the end."""
    tasks = [asyncio.create_task(_supervised(facade, part.__qualname__, part)) for part in facade.background]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _supervised(facade: Facade, name: str, part: Any) -> None:
    """Runs one part. If it fails, `/healthz` says so, and the kubelet restarts the process."""
    try:
        await part()
    except Exception:
        _log.exception("a part of the program failed; waiting for a restart", part=name)
        facade.failed = f"{name} failed; see the log"


@contextlib.asynccontextmanager
async def open_facade(settings: Settings) -> AsyncIterator[Facade]:
    """The parts of one process, with connections to the API server and the key server. Closes them at the end."""
    watches = len(KINDS) * max(1, len(settings.namespaces))
    client = Transport(await connect(settings.kubeconfig, CONNECTIONS + watches), settings.request_timeout, "ocore-api")
    authenticator = Authenticator(settings)
    cache = Cache(client, settings.namespaces, seconds=settings.request_timeout)
    facade = Facade(settings=settings, authenticator=authenticator, cache=cache, client=client)
    facade.background.append(cache.run)
    try:
        yield facade
    finally:
        await authenticator.close()
        await client.close()
