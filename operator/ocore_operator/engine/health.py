"""/healthz, /readyz and /metrics on one port."""

import asyncio
from collections.abc import Callable, Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

#: Content type of the text format of prometheus_client.
METRICS_TYPE = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

#: Returns what is wrong, or None.
Check = Callable[[], str | None]


class HealthServer:
    """A small HTTP server in the operator's event loop: an answer proves that the loop runs."""

    def __init__(
        self,
        *,
        port: int,
        registry: CollectorRegistry,
        healthy: Check,
        ready: Check,
        problems: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """`problems`: lines that /readyz adds, without becoming unready."""
        self._port = port
        self._registry = registry
        self._checks = {"/healthz": healthy, "/readyz": ready}
        self._problems = problems
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Starts to listen; returns the port (chosen by the system where 0 was given)."""
        app = web.Application()
        for path in self._checks:
            app.router.add_get(path, self._check)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, None, self._port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Closes the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _check(self, request: web.Request) -> web.Response:
        problem = self._checks[request.path]()
        lines = [problem or "ok", *(self._problems() if request.path == "/readyz" else ())]
        return web.Response(status=200 if problem is None else 503, text="\n".join(lines))

    async def _metrics(self, _: web.Request) -> web.Response:
        # In a thread: the text of a thousand environments takes longer than the event loop may be blocked.
        return web.Response(body=await asyncio.to_thread(generate_latest, self._registry), headers=METRICS_TYPE)
