"""Lists and watches: faults that a real API server cannot produce at will."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.aio import client

from ocore_api import __main__ as program
from ocore_api.auth import READ, Principal
from ocore_api.cache import Cache, EnvironmentEntry, SnapshotEntry, staleness, watch
from ocore_api.errors import Problem
from ocore_api.routes.access import owned_environment
from ocore_kube.errors import Unavailable
from ocore_kube.transport import Transport
from support.api import objects as o
from support.api.fake_api_server import FakeApiServer

#: Seconds after which the documents say that a silent API server is noticed.
PROMISED = staleness.STALE_AFTER

SNAPSHOT = o.uid_of("Snapshot/apps/before")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSES", (0.01, 0.05))
    monkeypatch.setattr(watch, "SILENCE", 0.5)
    monkeypatch.setattr(watch, "ROUND", 0.3)
    monkeypatch.setattr(watch, "OUT_OF_STEP", 1.0)
    monkeypatch.setattr(staleness, "STALE_AFTER", 0.3)


async def until(what: Callable[[], Any]) -> None:
    end = asyncio.get_running_loop().time() + 15
    while not what():
        assert asyncio.get_running_loop().time() < end, "the condition did not become true"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running(server: FakeApiServer, *namespaces: str) -> AsyncIterator[Cache]:
    """A cache of that server."""
    transport = Transport(client.ApiClient(client.Configuration(host=server.url)), 2, "test")
    cache = Cache(transport, namespaces)
    task = asyncio.create_task(cache.run())
    try:
        yield cache
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await transport.close()


def case(work: Callable[[FakeApiServer], Coroutine[Any, Any, None]]) -> None:
    """Runs it with a server that has one Environment and one Snapshot."""

    async def main() -> None:
        async with FakeApiServer() as server:
            server.put("environments", o.environment())
            server.put("snapshots", o.complete())
            await work(server)

    asyncio.run(main())


def names(cache: Cache) -> list[str]:
    return [e.name for e in cache.served.of(SnapshotEntry, o.ENVIRONMENT)]


def test_a_list_in_pages_then_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAGE", 2)

    async def work(server: FakeApiServer) -> None:
        for n in range(5):
            server.put("snapshots", o.complete(f"s{n}", created=n + 1))
        async with running(server) as cache:
            assert "not listed yet" in str(cache.not_ready)
            await until(lambda: cache.not_ready is None)
            assert names(cache) == ["s4", "s3", "s2", "s1", "s0", "before"]
            server.put("snapshots", o.complete("new", created=9))
            server.delete("snapshots", "apps", "s0")
            await until(lambda: names(cache) == ["new", "s4", "s3", "s2", "s1", "before"])
            assert server.listed("snapshots") == 1

    case(work)


def test_row_118_the_cache_says_that_it_misses_changes() -> None:
    """Also where nothing changes after the API server is back."""

    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            server.refuse = lambda _, __: (503, {"reason": "ServiceUnavailable", "message": "away"})
            server.disconnect()
            assert not cache.stale, "it may be back in a moment"
            await until(lambda: cache.stale)
            server.refuse = lambda _, __: None
            await until(lambda: not cache.stale)

    case(work)


def test_row_118_the_cache_says_that_the_api_server_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps all connections open and sends nothing: the watches notice that by their silence only."""
    monkeypatch.setattr(staleness, "PERIOD", 0.02)
    monkeypatch.setattr(staleness, "DEADLINE", 0.1)
    monkeypatch.setattr(watch, "SILENCE", 600)

    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None and server.versions > 1)
            server.answers.clear()
            await until(lambda: cache.stale)
            assert not any(w.failing_since for w in cache._watches), "nothing has failed"
            server.answers.set()
            await until(lambda: not cache.stale)

    case(work)


def test_a_healthy_api_server_gets_one_small_request_in_each_period() -> None:
    assert staleness.PERIOD + 2 * staleness.DEADLINE <= PROMISED

    async def work(server: FakeApiServer) -> None:
        begin = asyncio.get_running_loop().time()
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None and server.versions > 0)
            most = 1 + (asyncio.get_running_loop().time() - begin) / staleness.PERIOD
            assert server.versions <= most

    case(work)


def test_row_118_what_may_not_be_read_is_not_missed() -> None:
    async def work(server: FakeApiServer) -> None:
        server.refuse = lambda plural, _: (403, {"reason": "Forbidden"}) if plural == "extracts" else None
        async with running(server) as cache:
            await until(lambda: any(w.unreadable for w in cache._watches))
            await asyncio.sleep(0.6)
            assert not cache.stale

    case(work)


def test_all_objects_as_a_stream_then_events() -> None:
    async def work(server: FakeApiServer) -> None:
        server.streams = True
        for n in range(50):
            server.put("snapshots", o.complete(f"s{n}", created=n + 1))
        async with running(server) as cache:
            assert "not listed yet" in str(cache.not_ready)
            await until(lambda: cache.not_ready is None)
            assert names(cache) == [*(f"s{n}" for n in reversed(range(50))), "before"]
            server.put("snapshots", o.complete("new", created=60))
            server.delete("snapshots", "apps", "s0")
            await until(lambda: names(cache) == ["new", *(f"s{n}" for n in range(49, 0, -1)), "before"])
            assert server.listed("snapshots") == 0

    case(work)


def test_a_stream_that_breaks_is_followed_by_pages() -> None:
    """What was read of it does not count as all."""

    async def work(server: FakeApiServer) -> None:
        server.streams = server.breaks_stream = True
        for n in range(9):
            server.put("snapshots", o.complete(f"s{n}", created=n + 1))
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            assert len(names(cache)) == 10
            assert server.listed("snapshots") == 1

    case(work)


def test_the_next_page_is_requested_while_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAGE", 100)
    taken: list[int] = []
    page = watch.Watch._page

    async def work(server: FakeApiServer) -> None:
        for n in range(299):
            server.put("snapshots", o.complete(f"s{n}", created=n + 1))
        async with running(server) as cache:

            async def see(self: watch.Watch, query: Mapping[str, str], most: int) -> o.Object:
                if self.label.startswith("Snapshot "):
                    taken.append(len(cache.store._known["Snapshot"]))
                return await page(self, query, most)

            monkeypatch.setattr(watch.Watch, "_page", see)
            await cache.listed()
            assert len(names(cache)) == 300
        assert taken == [0, 0, 100]

    case(work)


def test_answers_are_not_compressed() -> None:
    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            await cache.listed()
            assert "\r\naccept-encoding: identity\r\n" in server.head

    case(work)


def test_what_may_not_be_read_is_not_waited_for() -> None:
    async def work(server: FakeApiServer) -> None:
        server.refuse = lambda plural, _: (403, {"reason": "Forbidden"}) if plural == "snapshots" else None
        async with running(server) as cache, asyncio.timeout(5):
            await cache.listed()

    case(work)


def test_the_collector_lets_complete_reads_be(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[int] = []

    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            monkeypatch.setattr(program.gc, "freeze", lambda: frozen.append(len(names(cache))))
            await program.keep(cache)
        assert frozen == [1]

    case(work)


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("how", ["event", "status"])
def test_410_gone_reads_all_again_and_drops_what_is_gone(how: str, *, streams: bool) -> None:
    async def work(server: FakeApiServer) -> None:
        server.streams = streams
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            before = str(server.version)
            server.delete("snapshots", "apps", "before", silent=True)
            server.put("snapshots", o.complete("after"), silent=True)
            if how == "event":
                server.error("snapshots", 410, "Expired")
            else:
                gone = (410, {"reason": "Expired", "message": "too old resource version"})
                server.refuse = lambda plural, q: (
                    gone if plural == "snapshots" and q.get("resourceVersion") == before else None
                )
                server.disconnect()
            await until(lambda: names(cache) == ["after"])

    case(work)


def test_pages_that_took_too_long_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAGE", 1)

    async def work(server: FakeApiServer) -> None:
        server.put("snapshots", o.complete("second"))
        expired = (410, {"reason": "Expired", "message": "continue token expired"})
        server.refuse = lambda p, q: expired if p == "snapshots" and "continue" in q and server.listed(p) < 2 else None
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            assert len(names(cache)) == 2

    case(work)


def test_a_watch_goes_on_after_a_broken_connection() -> None:
    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            server.disconnect()
            server.put("snapshots", o.complete("while-away", created=5))
            await until(lambda: names(cache) == ["while-away", "before"])
            assert server.listed("snapshots") == 1

    case(work)


def test_a_connection_that_is_silent_is_given_up() -> None:
    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            server.mute = True  # half open: neither events nor an end
            server.put("snapshots", o.complete("unheard", created=5))
            before = len(server.requests)
            await until(lambda: len(server.requests) > before)
            await until(lambda: cache.not_ready)
            assert "no answer from the API server" in str(cache.not_ready)
            assert names(cache) == ["before"]
            server.mute = False
            await until(lambda: names(cache) == ["unheard", "before"] and cache.not_ready is None)

    case(work)


def test_an_unreadable_namespace_does_not_stop_the_others() -> None:
    async def work(server: FakeApiServer) -> None:
        forbidden = (403, {"reason": "Forbidden", "message": "no Role"})
        server.refuse = lambda _, __: forbidden if server.namespace == "closed" else None
        async with running(server, "apps", "closed") as cache:
            await until(lambda: cache.not_ready is None)
            assert names(cache) == ["before"]

    case(work)


def test_what_may_not_be_read_any_more_is_not_served_after_a_while() -> None:
    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            forbidden = (403, {"reason": "Forbidden", "message": "the Role is gone"})
            server.refuse = lambda _, __: forbidden
            server.disconnect()
            await until(lambda: "the Role is gone" in str(cache.not_ready) and not names(cache))
            server.refuse = lambda _, __: None
            await until(lambda: cache.not_ready is None)
            assert names(cache) == ["before"]

    case(work)


@pytest.mark.parametrize("streams", [True, False])
def test_resource_versions_that_go_back_start_again(*, streams: bool) -> None:
    async def work(server: FakeApiServer) -> None:
        server.streams = streams
        server.version = 5000
        server.put("snapshots", o.complete("lost"))
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            # etcd was restored from a backup.
            server.version = 10
            server.objects["snapshots"] = {}
            server.put("snapshots", o.complete("restored"), silent=True)
            server.error("snapshots", 410, "Expired")
            await until(lambda: names(cache) == ["restored"])

    case(work)


def test_an_event_that_is_larger_than_a_network_buffer() -> None:
    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            server.put("snapshots", o.complete("large", created=5, annotations={"a": "x" * 1_000_000}))
            await until(lambda: names(cache) == ["large", "before"])

    case(work)


# --- ids that the cache lacks -------------------------------------------------------------------------------------


def asked(server: FakeApiServer) -> int:
    return sum("fieldSelector" in q for _, q in server.requests)


def test_an_id_that_the_cache_lacks_is_asked_for_once() -> None:
    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            assert await cache.find(SnapshotEntry, SNAPSHOT) is not None
            assert asked(server) == 0
            fresh = server.put("snapshots", o.complete("fresh"), silent=True)
            ids: list[Awaitable[Any]] = [cache.find(SnapshotEntry, fresh["metadata"]["uid"]) for _ in range(10)]
            assert {e.name for e in await asyncio.gather(*ids)} == {"fresh"}
            assert asked(server) == 1
            unknown = o.uid_of("nothing")
            for _ in range(3):
                assert await cache.find(SnapshotEntry, unknown) is None
            assert asked(server) == 2

    case(work)


def test_row_84_a_foreign_id_costs_what_an_unknown_one_costs() -> None:
    """Else the time of an answer, or what the API server is asked, shows which ids exist."""

    async def work(server: FakeApiServer) -> None:
        principal = Principal("another", frozenset({o.uid_of("another project")}), frozenset(), frozenset({READ}), 2e9)

        async def refused(facade: Any, environment_id: str) -> tuple[str, int]:
            before = asked(server)
            with pytest.raises(Problem, match="NotFound") as refusal:
                await owned_environment(facade, principal, environment_id)
            return refusal.value.detail.replace(environment_id, "ID"), asked(server) - before

        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            facade: Any = SimpleNamespace(cache=cache)
            assert await cache.find(EnvironmentEntry, o.ENVIRONMENT) is not None
            assert asked(server) == 0
            first = [await refused(facade, each) for each in (o.ENVIRONMENT, o.uid_of("nothing"))]
            again = [await refused(facade, each) for each in (o.ENVIRONMENT, o.uid_of("nothing"))]
            assert first[0] == first[1] == ("No environment ID is visible to this caller.", 1)
            assert again[0] == again[1] == ("No environment ID is visible to this caller.", 0)
            # Its owner is answered from the cache.
            assert await cache.find(EnvironmentEntry, o.ENVIRONMENT) is not None

    case(work)


def test_an_id_that_cannot_be_looked_up_is_unknown() -> None:
    async def work(server: FakeApiServer) -> None:
        old = (400, {"reason": "BadRequest", "message": "field label not supported: status.id"})
        server.refuse = lambda _, q: old if "fieldSelector" in q else None
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            assert await cache.find(EnvironmentEntry, o.uid_of("nothing")) is None

    case(work)


def test_an_api_server_that_does_not_answer_makes_no_id_unknown() -> None:
    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            server.refuse = lambda _, q: (503, {"reason": "ServiceUnavailable"}) if "fieldSelector" in q else None
            with pytest.raises(Unavailable):
                await cache.find(EnvironmentEntry, o.uid_of("nothing"))
            server.refuse = lambda _, __: None
            assert await cache.find(EnvironmentEntry, o.uid_of("nothing")) is None

    case(work)


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"MODIFIED","object":{"metadata":{"namespace":"apps","name":"bad","x":',
        b'{"type":"ADDED","object":"' + b"x" * 5000,
    ],
    ids=["no JSON", "too long"],
)
def test_row_77_an_event_that_cannot_be_read_is_passed(
    line: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each watch from its version on would begin with it: everything after it was never seen, and the facade said that
    it was ready."""
    monkeypatch.setattr(watch, "LONGEST_EVENT", 4000)

    async def work(server: FakeApiServer) -> None:
        async with running(server) as cache:
            await until(lambda: cache.not_ready is None)
            server.garbage("snapshots", line)
            server.put("snapshots", o.complete("later", created=5))
            await until(lambda: names(cache) == ["later", "before"])
            server.put("snapshots", o.complete("last", created=6))
            await until(lambda: names(cache) == ["last", "later", "before"])
            assert server.listed("snapshots") == 2

    case(work)
    if b"bad" in line:
        assert "bad" in capsys.readouterr().out


def test_row_77_an_answer_that_cannot_be_read_ends_no_other_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(server: FakeApiServer) -> None:
        server.refuse = lambda plural, query: (
            (200, {"items": "none"}) if plural == "rollbacks" and "watch" not in query else None
        )
        async with running(server) as cache:
            await until(lambda: names(cache) == ["before"])
            await until(lambda: "cannot be read" in str(cache.not_ready))
            server.put("snapshots", o.complete("later", created=5))
            await until(lambda: names(cache) == ["later", "before"])
            server.refuse = lambda _, __: None
            await until(lambda: cache.not_ready is None)

    case(work)
