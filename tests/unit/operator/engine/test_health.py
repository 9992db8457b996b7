"""The operator's HTTP server: a scrape must not block the event loop."""

import asyncio
import threading
from collections.abc import Iterable

import aiohttp
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from ocore_operator.engine.health import HealthServer
from support.ports import free_port


class Slow(Collector):
    """Takes as long as the test wants."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def collect(self) -> Iterable[Metric]:
        assert self.go_on.wait(60), "nothing else was answered in the meantime"
        return ()


def test_a_long_scrape_blocks_nothing_else() -> None:
    registry, slow = CollectorRegistry(auto_describe=False), Slow()
    registry.register(slow)

    async def main() -> tuple[int, int]:
        server = HealthServer(port=free_port(), registry=registry, healthy=lambda: None, ready=lambda: None)
        url = f"http://127.0.0.1:{await server.start()}"
        try:
            async with aiohttp.ClientSession() as session:

                async def get(path: str) -> int:
                    async with session.get(url + path) as answer:
                        return answer.status

                scrape = asyncio.create_task(get("/metrics"))
                await asyncio.sleep(0.1)
                health = await get("/healthz")
                assert not scrape.done()
                slow.go_on.set()
                return health, await scrape
        finally:
            await server.stop()

    assert asyncio.run(main()) == (200, 200)
