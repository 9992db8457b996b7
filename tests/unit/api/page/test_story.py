"""The whole story by clicks, as someone who answers for all environments and as a customer whose token names one."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from support.api.api_server import Object
from support.api.operated import Operated
from support.api.provider import Provider, provider
from support.api.serving import Serving
from support.api.visitor import Visitor, type_to_confirm, until
from support.api.world import id_of
from support.operator.process import Proxy

Site = Callable[..., Serving]
Visit = Callable[..., Visitor]

PROJECT = id_of("project", "shop")
SHOP, STAGING = id_of(PROJECT, "shop"), id_of(PROJECT, "staging")
SNAPSHOT = id_of("snapshot", "shop", "shop-1")
#: Goes to a view without leaving the page.
GO = "(path) => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }"
#: The title of a snapshot.
TAKEN = re.compile(r"^Snapshot of \d+ \w+ 20\d\d, \d\d:\d\d:\d\d \S+")
EVERYTHING = ["read", "snapshot", "rollback", "admin"]
CLAIMS: dict[str, dict[str, Any]] = {
    "operator@example.org": {"projects": [PROJECT], "permissions": EVERYTHING},
    "customer@example.org": {"environments": [SHOP], "permissions": EVERYTHING},
    "guest@example.org": {"environments": [SHOP], "permissions": ["read"]},
}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with provider(tmp_path_factory.mktemp("provider"), CLAIMS) as found:
        yield found


@pytest.fixture
def world() -> Operated:
    """Two environments of one project, one of them with a snapshot, and one of another project."""
    world = Operated()
    world.environment(PROJECT, "shop", "production")
    world.environment(PROJECT, "staging")
    world.snapshot("shop", "shop-1")
    world.tenant("other")
    return world


@pytest.fixture
def served(site: Site, issuer: Provider) -> Serving:
    return site(**issuer.settings)


@pytest.fixture
def come(visit: Visit, served: Serving) -> Callable[[str, str], Visitor]:
    """Someone, signed in, at a path."""

    def at(path: str, subject: str = "operator@example.org") -> Visitor:
        person = visit(served)
        person.open(path)
        person.sign_in(subject)
        expect(person.page.get_by_role("button", name="Sign out")).to_be_visible()
        return person

    return at


def of_the_shop(world: Operated) -> list[Object]:
    """The Rollbacks, the oldest first."""
    return [r for r in world.rollbacks() if r["spec"].get("targetEnvironmentRef", {}).get("name") == "shop"]


def click(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def start_rollback(page: Page, served: Serving, world: Operated) -> None:
    """From the view before a rollback. It is held while the database is restored."""
    type_to_confirm(page, "production apps/shop")
    served.call(world.hold, "RestoreDatabase")
    click(page, "Roll back now")
    expect(page.get_by_text("RestoreDatabase runs.", exact=True)).to_be_visible()


def address(served: Serving) -> tuple[str, int]:
    host, _, port = served.url.removeprefix("http://").partition(":")
    return host, int(port)


def heading(page: Page, name: "str | re.Pattern[str]") -> None:
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()


def test_look_pin_snapshot_preview_rollback_undo_settings(
    come: Callable[[str], Visitor], served: Serving, world: Operated
) -> None:
    person = come("/ui/")
    page = person.page
    # Look.
    heading(page, "Environments")
    expect(page.get_by_role("table", name="Environments").get_by_role("link")).to_have_count(2)
    page.get_by_role("link", name="shop", exact=True).click()
    heading(page, "shop")
    # Pin what exists.
    page.get_by_role("link", name="Snapshots", exact=True).click()
    page.get_by_role("table", name="Snapshots, newest first").get_by_role("link").first.click()
    heading(page, TAKEN)
    page.get_by_label("Why it is kept (optional)").fill("before <b>the</b> migration")
    click(page, "Pin it")
    expect(page.get_by_text("Pinned: before <b>the</b> migration.")).to_be_visible()
    assert world.find("Snapshot", "shop-1")["spec"]["pin"]["label"] == "before <b>the</b> migration"
    # A snapshot more.
    page.get_by_role("link", name="Back to shop").click()
    click(page, "Take a snapshot")
    heading(page, re.compile(f"{TAKEN.pattern}$"))  # without the label of the other one
    expect(page.get_by_role("status").filter(has_text="completed")).to_be_visible()
    assert len(world.snapshots()) == 3
    taken = page.url.rsplit("/", 1)[-1]
    # What a rollback would lose; nothing starts by that.
    page.get_by_role("link", name=re.compile("^Roll back to ")).click()
    heading(page, "Roll back")
    expect(page.get_by_text("The rollback would run")).to_be_visible()
    assert [r["spec"].get("dryRun") for r in of_the_shop(world)] == [True]
    go = page.get_by_role("button", name="Roll back now")
    expect(go).to_be_disabled()
    type_to_confirm(page, "production apps/shop")
    # The rollback, watched.
    served.call(world.hold, "RestoreDatabase")
    served.call(world.hold, "Switch")
    go.dblclick()
    heading(page, "Rollback of shop")
    expect(page.get_by_text("RestoreDatabase runs.", exact=True)).to_be_visible()
    expect(page.get_by_role("progressbar", name="Progress of the rollback")).to_be_visible()
    (started,) = (r for r in of_the_shop(world) if not r["spec"].get("dryRun"))  # two clicks start one
    assert started["spec"]["requestedBy"] == "operator@example.org"
    served.call(world.release, "RestoreDatabase")
    downtime = page.get_by_role("timer", name="Downtime")
    expect(downtime).to_contain_text("so far")
    served.call(world.release, "Switch")
    expect(page.get_by_text(re.compile("^shop has the state of "))).to_be_visible()
    expect(downtime).not_to_contain_text("so far")
    # Undone.
    expect(page.get_by_role("timer", name="Undo window")).to_contain_text("in 23 h")
    click(page, "Undo the rollback …")
    dialog = page.get_by_role("dialog", name="Undo the rollback?")
    expect(dialog.get_by_role("button", name="Undo it")).to_be_disabled()
    type_to_confirm(dialog, "production apps/shop")
    dialog.get_by_role("button", name="Undo it").click()
    heading(page, "Undo of shop")
    expect(page.get_by_text("The rollback is undone")).to_be_visible()
    # Settings, with what they would delete.
    page.get_by_role("link", name="Back to shop").click()
    page.get_by_role("link", name="Settings").click()
    click(page, "Create settings with the defaults")
    days = page.get_by_label(re.compile("^Days that snapshots are kept"))
    days.fill("7")
    expect(page.get_by_role("heading", name="What is deleted if you save this")).to_be_visible()
    click(page, "Save")
    expect(page.get_by_text("Saved.")).to_be_visible()
    # Who did what.
    page.get_by_role("link", name="Log", exact=True).click()
    expect(
        page.get_by_role("listitem").filter(has_text=re.compile(r"\)Rollback, by operator@example.org"))
    ).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="Undo of a rollback")).to_be_visible()
    assert taken in {s["status"]["id"] for s in world.snapshots()}


#: Counts what a person does in the page.
COUNT = """window.done = { clicks: 0, fields: new Set() };
addEventListener("click", ({ isTrusted }) => (done.clicks += isTrusted), { capture: true });
addEventListener("input", ({ target }) => done.fields.add(target), { capture: true });"""


def test_from_sign_in_to_a_rollback_that_runs_in_four_clicks_and_one_field(
    visit: Visit, served: Serving, world: Operated
) -> None:
    person = visit(served)
    person.context.add_init_script(COUNT)
    page = person.open("/ui/")
    person.sign_in("operator@example.org")
    page.get_by_role("row").filter(has_text="production").get_by_role("button", name="what to do").click()
    page.get_by_role("link", name="Roll back to the last good state …").click()
    type_to_confirm(page, "production apps/shop")
    click(page, "Roll back now")
    heading(page, "Rollback of shop")
    assert page.evaluate("[done.clicks, done.fields.size]") == [4, 1]
    assert [r["spec"].get("dryRun") for r in of_the_shop(world)] == [True, None]


def test_a_rollback_is_cancelled_before_the_switch(
    come: Callable[[str], Visitor], served: Serving, world: Operated
) -> None:
    person = come(f"/ui/environments/{SHOP}/snapshots/{SNAPSHOT}/rollback")
    page = person.page
    start_rollback(page, served, world)
    click(page, "Cancel the rollback …")
    person.expected += ["404"]
    page.get_by_role("dialog").get_by_role("button", name="Cancel the rollback").click()
    expect(page.get_by_text("The rollback was cancelled.")).to_be_visible()


def test_row_120_a_late_answer_shows_nothing_older(
    come: Callable[[str], Visitor], served: Serving, world: Operated
) -> None:
    """A change comes by the stream while the view is read."""
    page = come(f"/ui/environments/{SHOP}/snapshots/{SNAPSHOT}/rollback").page
    runs = page.get_by_text("RestoreDatabase runs.", exact=True)
    reads: list[Route] = []

    def read(route: Route) -> None:
        """The first answer is late, the others are held."""
        if "/rollbacks/" not in page.url:
            route.continue_()  # the preview
            return
        reads.append(route)
        if len(reads) == 1:
            older = route.fetch()
            served.call(world.release, "Preflight")
            expect(runs).to_be_visible()
            route.fulfill(response=older)

    page.route("**/console/v1/rollbacks/*", read)
    served.call(world.hold, "Preflight")
    start_rollback(page, served, world)
    until(lambda: len(reads) > 1, page)
    assert runs.is_visible()
    reads[1].continue_()


def test_what_would_be_refused_cannot_be_started(come: Callable[[str], Visitor], world: Operated) -> None:
    world.report = {"wouldRun": False, "refusals": [{"reason": "NoSpace", "message": "<i>The volume</i> is full."}]}
    person = come(f"/ui/environments/{SHOP}/snapshots/{SNAPSHOT}/rollback")
    expect(person.page.get_by_text("NoSpace: <i>The volume</i> is full.")).to_be_visible()
    expect(person.page.get_by_role("button", name="Roll back now")).to_have_count(0)


def test_a_customer_sees_one_environment(come: Callable[[str, str], Visitor]) -> None:
    page = come("/ui/", "customer@example.org").page
    expect(page.get_by_role("status").filter(has_text="1 environment")).to_be_visible()
    page.get_by_role("link", name="shop", exact=True).click()
    page.get_by_role("link", name="Snapshots", exact=True).click()
    page.get_by_role("table", name="Snapshots, newest first").get_by_role("link").first.click()
    page.get_by_role("link", name=re.compile("^Roll back to ")).click()
    page.get_by_text("Roll back another environment instead …").click()
    expect(page.get_by_label("Environment that is replaced").get_by_role("option")).to_have_count(1)


#: Of others, or of no one.
HIDDEN = (
    f"/ui/environments/{STAGING}",
    f"/ui/environments/{id_of(id_of('project', 'other'), 'other')}",
    f"/ui/environments/{id_of('nothing')}",
    f"/ui/environments/{SHOP}/snapshots/{id_of('snapshot', 'other', 'other-1')}",
    f"/ui/environments/{SHOP}/snapshots/{id_of('nothing')}",
    f"/ui/environments/{SHOP}/snapshots/{id_of('nothing')}/rollback",
    f"/ui/environments/{SHOP}/rollbacks/{id_of('rollback', 'other', 'other-1')}",
    f"/ui/environments/{STAGING}/settings",
    f"/ui/environments/{STAGING}/log",
)


def test_what_is_not_the_customers_is_as_what_does_not_exist(
    come: Callable[[str, str], Visitor], world: Operated
) -> None:
    """A sentence, a way back, and nothing starts."""
    person = come("/ui/", "customer@example.org")
    person.expected += ["404"]
    before = world.rollbacks()
    for path in HIDDEN:
        person.page.evaluate(GO, path)
        expect(person.page.get_by_text("is visible to this caller").first).to_be_visible()
        expect(person.page.get_by_role("heading", level=1, name="shop", exact=True)).to_have_count(0)
        person.page.get_by_role("link", name="Environments", exact=True).click()
        heading(person.page, "Environments")
    assert world.rollbacks() == before


@pytest.mark.parametrize(
    "path", ["/ui/environments/x", "/ui/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/ui/environments/..%2f..", "/ui/a"]
)
def test_an_address_without_a_view(path: str, come: Callable[[str], Visitor]) -> None:
    page = come(path).page
    heading(page, "This address has no view")
    page.get_by_role("main").get_by_role("link", name="all environments").click()
    heading(page, "Environments")


def test_a_stream_that_breaks_and_a_facade_that_restarts(
    site: Site, issuer: Provider, visit: Visit, world: Operated
) -> None:
    """The page says since when it knows nothing new, and continues without a reload."""
    served = site(**issuer.settings)
    with closing(Proxy(address(served))) as network:
        person = visit(served, base_url=f"http://127.0.0.1:{network.port}")
        page = person.open(f"/ui/environments/{SHOP}/snapshots/{SNAPSHOT}/rollback")
        person.sign_in("operator@example.org")
        page.evaluate("window.same = true")
        start_rollback(page, served, world)
        person.expected += ["net::ERR"]
        network.refusing = True
        network.cut()
        broken = page.get_by_role("status").filter(has_text="Changes are not shown since")
        expect(broken).to_be_visible()
        served.call(world.release, "RestoreDatabase")
        until(lambda: of_the_shop(world)[-1]["status"]["phase"] == "Complete", page)
        expect(page.get_by_text("RestoreDatabase runs.", exact=True)).to_be_visible()
        served.stop()
        network.target = address(site(**issuer.settings))
        network.refusing = False
        expect(page.get_by_text(re.compile("^shop has the state of "))).to_be_visible(timeout=60_000)
        expect(broken).to_be_hidden()
        assert page.evaluate("window.same") is True


def test_a_token_that_ends_in_mid_rollback(site: Site, tmp_path: Path, visit: Visit, world: Operated) -> None:
    """What is known stays, the rollback continues, and the next sign-in continues there."""
    with provider(tmp_path, CLAIMS) as own:
        own.stop()
        own.start(lifetime="12s")
        served = site(**own.settings, jwt_leeway=0)
        person = visit(served)
        page = person.page
        person.open(f"/ui/environments/{SHOP}/snapshots/{SNAPSHOT}/rollback")
        person.sign_in("operator@example.org")
        start_rollback(page, served, world)
        person.expected += ["401"]
        expect(page.get_by_role("alert").filter(has_text="The sign-in has ended")).to_be_visible()
        expect(page.get_by_text("RestoreDatabase runs.", exact=True)).to_be_visible()
        place = page.url
        served.call(world.release, "RestoreDatabase")
        until(lambda: [r["status"]["phase"] for r in of_the_shop(world)] == ["Previewed", "Complete"], page)
        person.sign_in("operator@example.org")
        expect(page.get_by_text(re.compile("^shop has the state of "))).to_be_visible()
        assert page.url == place
