"""The application on a real server (uvicorn, uvloop, httptools) on loopback, in a thread of its own."""

import asyncio
import contextlib
import io
import json
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import uvloop
from fastapi import FastAPI

from ocore_api.auth import Authenticator
from ocore_api.cache import Cache
from ocore_api.facade import Facade
from ocore_api.http.audit import Audit
from ocore_api.http.server import Server
from ocore_api.main import create_app, running
from ocore_api.settings import Settings
from support.api.issuer import AUDIENCE, ISSUER, Issuer

DEADLINE = 20.0


class Serving:
    """A running application."""

    def __init__(self, facade: Facade, issuer: Issuer, loop: asyncio.AbstractEventLoop, audit: io.StringIO) -> None:
        self.facade = facade
        self.issuer = issuer
        self.url = ""
        self.monitoring_url = ""
        self.server: Server | None = None
        self._loop = loop
        self._audit = audit

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine in the server's event loop, and returns its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function in the server's event loop, and returns its result."""

        async def work() -> Any:
            return function(*arguments)

        return self.run(work())

    def client(self, subject: str = "alice", **how: Any) -> httpx.Client:
        """A client whose requests have a token."""
        return httpx.Client(base_url=self.url, headers=self.issuer.bearer(subject, **how), timeout=DEADLINE)

    def anonymous(self) -> httpx.Client:
        """A client without a token."""
        return httpx.Client(base_url=self.url, timeout=DEADLINE)

    def metrics(self) -> str:
        """What Prometheus reads."""
        return httpx.get(f"{self.monitoring_url}/metrics", timeout=DEADLINE).text

    def audit_lines(self) -> list[dict[str, Any]]:
        """All audit lines so far."""
        # Through the loop: a request's line is written after its answer.
        text = self.call(self._audit.getvalue)
        return [json.loads(line) for line in text.splitlines()]

    def stop(self) -> None:
        """What SIGTERM does. Returns at once; the server ends when the block of `serving` ends."""
        assert self.server is not None
        self.server.should_exit = True


@contextlib.contextmanager
def serving(
    *,
    issuer: Issuer | None = None,
    cache: Cache | None = None,
    objects: Iterable[dict[str, Any]] = (),
    client: Any = None,
    extend: Callable[[FastAPI], None] | None = None,
    prepare: Callable[[Facade], None] | None = None,
    **settings: Any,
) -> Iterator[Serving]:
    """Serves on a free port. `objects` are put into the cache. `prepare` changes the facade in the server's event loop
    before the application is made, `extend` the application."""
    issuer = issuer or Issuer()
    with tempfile.TemporaryDirectory() as folder:
        values: dict[str, Any] = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "http_host": "127.0.0.1", **settings}
        if not {"jwks_url", "jwks_file", "jwt_secret_file"} & settings.keys():
            values["jwks_file"] = issuer.write_jwks(Path(folder))
        listener, monitoring = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        parsed = Settings(**values, monitoring_port=monitoring.getsockname()[1])
        audit = io.StringIO()
        started = threading.Event()
        failures: list[BaseException] = []
        made: list[Serving] = []

        async def serve() -> None:
            loop = asyncio.get_running_loop()
            facade = Facade(
                settings=parsed,
                authenticator=Authenticator(parsed),
                cache=Cache() if cache is None else cache,
                client=client,
                audit=Audit(audit),
            )
            for o in objects:
                facade.cache.store.put(o["kind"], o)
            if prepare is not None:
                prepare(facade)
            app = create_app(facade)
            if extend is not None:
                served = list(app.router.routes)
                extend(app)
                # A route of a test comes before the facade's own of that path.
                app.router.routes.sort(key=lambda route: route in served)
            serving = Serving(facade, issuer, loop, audit)
            serving.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            serving.monitoring_url = f"http://127.0.0.1:{parsed.monitoring_port}"
            serving.server = Server(app, parsed, facade.stop)
            made.append(serving)
            try:
                async with running(facade):
                    loop.call_soon(started.set)
                    await serving.server.serve([listener, monitoring])
            finally:
                await facade.authenticator.close()

        def work() -> None:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(serve())
            except BaseException as error:
                failures.append(error)
            finally:
                started.set()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            assert started.wait(DEADLINE)
            if failures:
                raise failures[0]
            yield made[0]
        finally:
            if made:
                made[0].stop()
            thread.join(DEADLINE)
            assert not thread.is_alive(), "the server did not end"
