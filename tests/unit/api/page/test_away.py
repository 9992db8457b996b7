"""What the page depends on is away while it is open: the API server, or the facade at the moment of a click."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kubernetes.aio import client
from playwright.sync_api import Page, expect

from ocore_api.cache import Cache, staleness, watch
from ocore_api.facade import Facade
from ocore_kube.transport import Transport
from support.api import objects as o
from support.api.fake_api_server import FakeApiServer
from support.api.operated import Operated
from support.api.serving import Serving, serving
from support.api.visitor import Visitor, type_to_confirm
from support.api.world import World, id_of
from support.operator.process import Proxy

Site = Callable[..., Serving]
Visit = Callable[..., Visitor]

ENVIRONMENT = f"/ui/environments/{o.ENVIRONMENT}"
ROLLBACK = f"{ENVIRONMENT}/rollbacks/{o.uid_of('Rollback/apps/back')}"
PROJECT = id_of("project", "shop")
SHOP, SNAPSHOT = id_of(PROJECT, "shop"), id_of("snapshot", "shop", "shop-1")
AWAY = "The Kubernetes API server does not answer."


def running() -> o.Object:
    """A Rollback that restores."""
    now = [o.condition("Reconciling", "True", "Running", "RestoreDatabase runs."), o.condition("Ready", "False")]
    status = {"phase": "Restoring", "stage": "Restore", "conditions": now, "position": "Old", "completedAt": None}
    return o.rolled_back(status={**status, "switchedAt": None})


class Away:
    """A facade whose API server can be away."""

    def __init__(self, served: Serving, network: Proxy, api_server: FakeApiServer) -> None:
        self.served = served
        self.api_server = api_server
        self._network = network

    def leave(self) -> None:
        """From now on the API server refuses connections, and those that are open break."""
        self._network.refusing = True
        self._network.cut()

    def hang(self) -> None:
        """From now on it keeps all connections, and says nothing."""
        self.served.call(self.api_server.answers.clear)

    def come_back(self) -> None:
        """It answers again."""
        self._network.refusing = False
        self.served.call(self.api_server.answers.set)


@pytest.fixture
def away(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
    monkeypatch.setattr(staleness, "STALE_AFTER", 0.5)
    monkeypatch.setattr(watch, "PAUSES", (0.05, 0.2))
    monkeypatch.setattr(staleness, "PERIOD", 0.2)
    monkeypatch.setattr(staleness, "DEADLINE", 1.0)
    api_server = FakeApiServer()
    for plural, obj in (("environments", o.environment()), ("snapshots", o.complete()), ("rollbacks", running())):
        api_server.put(plural, obj)
    with closing(Proxy(("127.0.0.1", 0))) as network:
        transport = Transport(client.ApiClient(client.Configuration(f"http://127.0.0.1:{network.port}")), 2, "test")
        cache = Cache(transport)

        async def serve() -> None:
            async with api_server:
                network.target = address(api_server.url)
                await asyncio.Event().wait()

        def prepare(facade: Facade) -> None:
            facade.background += [serve, cache.run]

        with serving(cache=cache, client=transport, prepare=prepare, ui=True, ui_folder=built) as served:
            yield Away(served, network, api_server)
            served.run(transport.close())


def address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def come(visit: Visit, served: Serving, path: str, **how: str) -> Visitor:
    """Someone who is signed in, at a path. The page must stay the same one."""
    person = visit(served, **how)
    person.open(path)
    person.paste(served.issuer.token(projects=[o.PROJECT, PROJECT]))
    person.page.evaluate("window.same = true")
    return person


def changes_are_missed(page: Page) -> None:
    broken = page.get_by_role("status").filter(has_text="Changes are not shown since")
    expect(broken).to_contain_text(AWAY)


def test_row_118_an_api_server_that_is_away_while_a_rollback_runs(away: Away, visit: Visit) -> None:
    """The page says what it knows and since when, and then how the rollback ended."""
    person = come(visit, away.served, ROLLBACK)
    page = person.page
    expect(page.get_by_text("RestoreDatabase runs.", exact=True)).to_be_visible()
    person.expected += ["503"]
    away.leave()
    changes_are_missed(page)
    expect(page.get_by_text("RestoreDatabase runs.", exact=True)).to_be_visible()
    page.get_by_role("button", name="Cancel the rollback …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel the rollback").click()
    expect(dialog.get_by_role("alert")).to_contain_text(AWAY)
    dialog.get_by_role("button", name="No, let it run").click()
    away.served.call(away.api_server.put, "rollbacks", o.rolled_back())
    away.come_back()
    expect(page.get_by_text(re.compile("^shop has the (state of|data of snapshot before)"))).to_be_visible()
    expect(page.get_by_text("Changes are not shown since")).to_be_hidden()
    assert page.evaluate("window.same") is True


@pytest.mark.parametrize("how", [Away.leave, Away.hang])
def test_row_118_an_api_server_that_is_away_at_a_click(how: Callable[[Away], None], away: Away, visit: Visit) -> None:
    """It is noticed, and the same click then starts one snapshot. Where no request arrived, nothing was started."""
    person = come(visit, away.served, ENVIRONMENT)
    page, before = person.page, len(away.api_server.objects["snapshots"])
    button = page.get_by_role("button", name="Take a snapshot")
    expect(button).to_be_visible()
    person.expected += ["503"]
    how(away)
    changes_are_missed(page)
    button.click()
    expect(page.get_by_role("alert").filter(has_text=AWAY)).to_be_visible()
    expect(page.get_by_role("heading", level=1, name="shop")).to_be_visible()
    assert len(away.api_server.objects["snapshots"]) == before
    away.come_back()
    expect(page.get_by_text("Changes are not shown since")).to_be_hidden()
    button.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Snapshot ")
    assert len(away.api_server.objects["snapshots"]) == before + 1
    assert page.evaluate("window.same") is True


@pytest.fixture
def world() -> World:
    world = Operated()
    world.environment(PROJECT, "shop", "production")
    world.snapshot("shop", "shop-1")
    return world


def test_a_facade_that_is_away_at_a_click(site: Site, visit: Visit, world: Operated) -> None:
    """Nothing is started, the request is repeated, and starts it once."""
    served = site()
    with closing(Proxy(address(served.url))) as network:
        path = f"/ui/environments/{SHOP}/snapshots/{SNAPSHOT}/rollback"
        person = come(visit, served, path, base_url=f"http://127.0.0.1:{network.port}")
        page = person.page
        type_to_confirm(page, "production apps/shop")
        person.expected += ["net::ERR"]
        network.refusing = True
        network.cut()
        page.get_by_role("button", name="Roll back now").click()
        expect(page.get_by_text("The answer takes long. The request is repeated")).to_be_visible()
        expect(page.get_by_text("Changes are not shown since")).to_be_visible()
        assert [r["spec"].get("dryRun") for r in world.rollbacks()] == [True]
        network.refusing = False
        expect(page.get_by_text(re.compile("^shop has the state of "))).to_be_visible(timeout=60_000)
        assert [r["spec"].get("dryRun") for r in world.rollbacks()] == [True, None]
        assert page.evaluate("window.same") is True
