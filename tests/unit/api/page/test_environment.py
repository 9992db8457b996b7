"""One environment: what happened on the axis of time, warnings that fold, and what the caller may do."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from ocore_kube.types import ENVIRONMENTS
from support.api.history import History
from support.api.serving import Serving
from support.api.visitor import Visitor
from support.api.world import NAMESPACE, World, id_of

Site = Callable[..., Serving]
Visit = Callable[..., Visitor]

PROJECT = id_of("project", "shop")
SHOP = f"/ui/environments/{id_of(PROJECT, 'shop')}"
#: Goes to a view without leaving the page.
GO = "(path) => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }"
#: A browser whose clock is three days ahead.
AHEAD = "const now = Date.now; Date.now = () => now() + 3 * 86400000;"
#: The time of day of a moment, as the axis shows it.
CLOCK = "(at) => new Intl.DateTimeFormat('en-GB', {hour: '2-digit', minute: '2-digit'}).format(new Date(at))"
SMALL, LONELY = "SmallDisk: 10 GiB are left.", "NoRemoteStore: all copies are in one store."


@pytest.fixture
def world() -> World:
    world = World()
    world.environment(PROJECT, "shop", "production")
    world.environment(PROJECT, "staging")
    return world


@pytest.fixture
def ids(world: World) -> dict[str, str]:
    """What happened to the shop in the last hours: name → id."""
    history, now = History(world, "shop"), datetime.now(UTC).replace(microsecond=0)

    def ago(hours: float) -> datetime:
        return now - timedelta(hours=hours)

    ids = {name: history.snapshot(name, ago(hours)) for name, hours in (("first", 6), ("second", 5), ("third", 4))}
    ids["before"] = history.snapshot("before", ago(3), trigger="Deployment", pin={"label": "before 2"})
    history.image = "registry.example.org/shop:2"
    ids["safety"] = history.snapshot("safety", ago(2.5), trigger="PreRollback")
    ids["rollback"] = history.rollback("back", ago(2.5), "before")
    ids["undo"] = history.undo("back", ago(2), "before")
    ids["failed"] = history.snapshot("failed", ago(1), failed="The disk is full.")
    ids["one"] = history.snapshot("one", ago(0.5))
    ids["two"] = history.snapshot("two", ago(0.5))
    return ids


def come(served: Serving, visit: Visit, path: str, *, scope: str = "read snapshot rollback admin") -> Visitor:
    person = visit(served, has_touch=True, timezone_id="Europe/Berlin")
    person.context.add_init_script(AHEAD)
    person.open(path)
    person.paste(served.issuer.token(projects=[PROJECT], scope=scope))
    return person


def axis(page: Page) -> Locator:
    return page.get_by_role("slider", name="Marks on the axis of time")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        axis(page).press(key)


def test_row_145_the_last_good_state_before_a_deployment_is_found_on_the_axis(
    site: Site, visit: Visit, ids: dict[str, str]
) -> None:
    """By keys, by the mouse and by touch, in a browser whose clock is wrong. The place is in the address."""
    person = come(site(), visit, SHOP)
    page = person.page
    chosen = page.get_by_role("region", name="Time").locator(".chosen")
    expect(axis(page)).to_have_attribute("aria-valuemax", "11")
    expect(page.get_by_role("region", name="Last good state")).to_contain_text("30 min")
    # Two of one second.
    press(page, "End")
    last = chosen.get_by_role("link", name="Open the snapshot")
    newest = last.get_attribute("href")
    press(page, "ArrowLeft")
    expect(last).not_to_have_attribute("href", str(newest))
    assert {str(link).rpartition("/")[2] for link in (newest, last.get_attribute("href"))} == {ids["one"], ids["two"]}
    # What is not a good state.
    press(page, "ArrowLeft")
    expect(chosen.get_by_role("heading", name=re.compile("^Failed snapshot "))).to_be_visible()
    expect(chosen.get_by_role("heading", name="Last good state before this snapshot")).to_be_visible()
    before = chosen.get_by_role("link", name=re.compile("ago"))
    expect(before).to_have_attribute("href", f"{SHOP}/snapshots/{ids['before']}")
    for text in ("Undo of a rollback", "Rollback", "Safety snapshot: the state before a rollback"):
        press(page, "ArrowLeft")
        expect(chosen.get_by_role("heading", name=re.compile(f"^{text} "))).to_be_visible()
        expect(before).to_have_attribute("href", f"{SHOP}/snapshots/{ids['before']}")
    # The deployment.
    press(page, "ArrowLeft")
    expect(axis(page)).to_have_attribute("aria-valuetext", re.compile("^Deployment, image shop:1 → shop:2, "))
    expect(chosen.get_by_text("“before 2”").first).to_be_visible()
    place = page.url
    legend = page.get_by_role("region", name="Time").locator(".legend")
    expect(legend).to_contain_text("Chosen")
    expect(legend).to_contain_text("Last good state before it")
    # What is beside it is a list with times: one place on the axis has several marks.
    near = chosen.get_by_role("listitem").get_by_role("button")
    expect(near).to_have_count(5)
    expect(near.nth(1)).to_have_text(re.compile("CES?T Full snapshot “before 2”$"))
    expect(near.nth(2)).to_have_attribute("aria-current", "true")
    near.nth(1).click()
    expect(axis(page)).to_have_attribute("aria-valuetext", re.compile("^Full snapshot “before 2”"))
    press(page, "ArrowRight")
    assert "mark=" in place
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1, name=re.compile("^Snapshot of .*before 2"))).to_be_visible()
    page.go_back()
    expect(axis(page)).not_to_have_attribute("aria-valuemax", "0")  # its marks are loaded
    press(page, "PageUp")
    expect(axis(page)).to_have_attribute("aria-valuemax", "0")
    press(page, "PageDown")
    expect(axis(page)).to_have_attribute("aria-valuetext", re.compile("^Deployment"))
    # The same by the mouse and by touch, at its place.
    ring, drawing = page.locator(".axis .is-chosen circle"), page.locator(".axis > svg")
    box = ring.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for reach in (page.mouse.click, page.touchscreen.tap):
        press(page, "End")
        assert page.url != place
        drawing.scroll_into_view_if_needed()
        reach(x, y)
        expect(axis(page)).to_have_attribute("aria-valuetext", re.compile("^(Deployment|Full)"))
    # It stays: over another view and back, and in another zoom.
    press(page, "Home", *["ArrowRight"] * 4)
    assert page.url == place
    chosen.get_by_role("link", name=re.compile("^Roll back to .*, before this deployment …$")).click()
    expect(page.get_by_role("heading", level=1, name="Roll back")).to_be_visible()
    page.go_back()
    expect(axis(page)).to_have_attribute("aria-valuetext", re.compile("^Deployment"))
    page.get_by_role("button", name="a week").click()
    expect(page.get_by_role("button", name="a week")).to_have_attribute("aria-pressed", "true")
    expect(axis(page)).to_have_attribute("aria-valuetext", re.compile("^Deployment"))
    page.get_by_role("button", name="Earlier").click()
    expect(axis(page)).to_have_attribute("aria-valuemax", "0")
    assert {"at", "zoom", "mark"} <= set(re.findall(r"[?&](\w+)=", page.url))
    page.go_back()
    expect(page.get_by_role("heading", level=1, name="Roll back")).to_have_count(0)


def test_row_145_a_deployment_has_its_time_and_leads_to_the_state_before_it(
    site: Site, visit: Visit, world: World, ids: dict[str, str]
) -> None:
    """By eye, by the keyboard, by touch and by a screen reader; what is not known is not claimed."""
    history, now = History(world, "staging"), datetime.now(UTC).replace(microsecond=0)
    old, new = (history.snapshot(name, now - timedelta(hours=hours)) for name, hours in (("old", 5), ("new", 4)))
    history.image = "registry.example.org/shop:2"
    history.snapshot("newest", now - timedelta(hours=3))
    page = come(site(), visit, SHOP).page
    table = page.get_by_role("table", name="Deployments in this time: 1")
    row = table.get_by_role("row").filter(has_text="shop:1 → shop:2")
    deployed = page.evaluate(CLOCK, (now - timedelta(hours=3)).isoformat())
    expect(page.locator(".axis .when")).to_have_text(deployed)
    expect(row.get_by_role("rowheader")).to_contain_text(f", {deployed}:")
    good = row.get_by_role("link", name=re.compile(r"^\d+ \w+ 20\d\d, "))
    expect(good).to_have_attribute("href", f"{SHOP}/snapshots/{ids['before']}")
    expect(row).to_contain_text("“before 2”")
    choice = row.get_by_role("button", name=re.compile(f", {deployed}:"))
    for reach in (lambda: choice.press("Enter"), choice.tap):
        press(page, "End")
        reach()
        expect(axis(page)).to_have_attribute("aria-valuetext", re.compile("^Deployment, image shop:1 → shop:2, "))
        expect(row).to_have_attribute("aria-current", "true")
    row.get_by_role("link", name=re.compile("^Roll back to .*, before the deployment .* …$")).press("Enter")
    expect(page.get_by_role("heading", level=1, name="Roll back")).to_be_visible()
    assert page.url.endswith(f"/snapshots/{ids['before']}/rollback")

    # Of a change of the image between two snapshots only the hours around it are known.
    staging = f"/ui/environments/{id_of(PROJECT, 'staging')}"
    page.evaluate(GO, staging)
    between = page.get_by_role("rowheader")
    expect(between).to_have_text(re.compile("^between .* and .*CES?T$"))
    expect(page.locator(".axis .when")).to_have_text(re.compile("^by "))
    expect(page.get_by_role("row").locator(f"a[href='{staging}/snapshots/{new}']")).to_be_visible()
    expect(page.get_by_role("row").locator(f"a[href='{staging}/snapshots/{old}']")).to_have_count(0)
    for width in (390, 960, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("innerWidth === " + str(width))
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.evaluate(GO, f"{staging}?at=2026-01-01T00:00:00Z")
    expect(page.get_by_text("None is known.")).to_be_visible()


def test_row_145_a_safety_snapshot_is_no_good_state_and_an_undo_is_no_rollback(
    site: Site, visit: Visit, ids: dict[str, str]
) -> None:
    """In lists, in the log, in its own view; all times are local, and filters are in the address."""
    person = come(site(), visit, f"{SHOP}/snapshots")
    page = person.page
    table = page.get_by_role("table", name="Snapshots, newest first")
    row = table.get_by_role("row").filter(has=page.locator(f"a[href$='{ids['safety']}']"))
    expect(row).to_contain_text("safety snapshot, complete")
    labelled = table.get_by_role("row").filter(has_text="before 2")
    expect(labelled).to_contain_text("before a deployment")
    expect(labelled.get_by_title("before 2")).to_be_visible()
    expect(row).not_to_contain_text("completed")
    whole = "cells => cells.every(cell => cell.scrollWidth <= cell.clientWidth)"
    for width in (390, 960, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("innerWidth === " + str(width))
        assert row.get_by_role("cell").evaluate_all(whole), f"nothing of it is cut off at {width} pixels"
        expect(page.get_by_role("link", name="Log", exact=True)).to_be_in_viewport(ratio=1)
    page.get_by_label("Status").select_option("failed")
    expect(table.get_by_role("link")).to_have_count(1)
    table.get_by_role("link").click()
    expect(page.get_by_text("The disk is full.").first).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Status")).to_have_value("failed")
    expect(table.get_by_role("link")).to_have_count(1)

    page.get_by_role("link", name="Rollbacks", exact=True).click()
    rollbacks = page.get_by_role("table", name="Rollbacks, newest first").get_by_role("row")
    expect(rollbacks.nth(1)).to_be_visible()
    for width in (390, 1130, 1220, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function("innerWidth === " + str(width))
        assert rollbacks.get_by_role("cell").evaluate_all(whole), f"nothing of them is cut off at {width} pixels"
    expect(rollbacks.nth(1)).to_contain_text("Undo of a rollback")
    verdict, undo = "completed, then undone", "completed, not all proven"
    expect(rollbacks.nth(1)).to_contain_text(undo)
    expect(rollbacks.nth(2)).to_contain_text(verdict)
    page.get_by_role("link", name="Log", exact=True).click()
    lines = page.get_by_role("region", name="Log").get_by_role("listitem")
    expect(lines.filter(has_text=re.compile(r"Undo of a rollback, by bob"))).to_contain_text(undo)
    expect(lines.filter(has_text=re.compile(r"\)Rollback, by ann"))).to_contain_text(verdict)
    page.get_by_label("What").select_option("rollback")
    expect(lines).to_have_count(2)
    assert page.url.endswith("/log?kind=rollback")

    # One verdict, wherever it stands.
    expect(lines.filter(has=page.locator(f"a[href$='{ids['safety']}']"))).to_have_count(0)
    page.get_by_label("What").select_option("snapshot")
    safety = lines.filter(has=page.locator(f"a[href$='{ids['safety']}']"))
    expect(safety).to_contain_text("safety snapshot, complete")
    page.evaluate(GO, f"{SHOP}/rollbacks/{ids['rollback']}")
    ended = page.get_by_role("status").filter(has_text=verdict)
    expect(ended).to_contain_text(re.compile("shop had the state of .*, until that was undone"))
    page.evaluate(GO, f"{SHOP}/rollbacks/{ids['undo']}")
    expect(page.get_by_role("status").filter(has_text=undo)).to_have_class("note warn")
    page.evaluate(GO, SHOP)
    press(page, "End", *["ArrowLeft"] * 3)
    expect(page.locator(".chosen")).to_contain_text(undo)
    press(page, "ArrowLeft")
    expect(page.locator(".chosen")).to_contain_text(verdict)

    page.evaluate(GO, f"{SHOP}/snapshots/{ids['safety']}")
    expect(page.get_by_text(re.compile("^This is the state before the rollback of "))).to_be_visible()
    expect(page.get_by_role("main").get_by_text(re.compile("^safety snapshot"))).to_be_visible()
    expect(page.get_by_role("region", name="Restore test")).to_contain_text(re.compile("CES?T|GMT"))
    assert re.findall(r"\d{4}-\d\d-\d\dT|UTC", page.get_by_role("main").inner_text()) == []


def test_row_145_an_address_with_a_snapshot_of_another_environment_is_not_found(
    site: Site, visit: Visit, ids: dict[str, str]
) -> None:
    """Also for a caller who may see both."""
    staging = f"/ui/environments/{id_of(PROJECT, 'staging')}"
    person = come(site(), visit, f"{staging}/snapshots/{ids['before']}")
    person.expected += ["404"]
    expect(person.page.get_by_text("is visible to this caller").first).to_be_visible()
    expect(person.page.get_by_text("before 2")).to_have_count(0)


def warn(world: World, served: Serving, *warnings: str, **status: object) -> None:
    probe = {"time": "2026-03-01T12:00:00Z", "startedAt": "2026-03-01T12:00:00Z", "generation": 1, "warnings": warnings}
    served.call(world.server.set_status, ENVIRONMENTS, NAMESPACE, "shop", {"probe": probe, **status})


def test_a_warning_that_was_read_folds_until_it_changes_and_an_error_never_folds(
    site: Site, visit: Visit, world: World
) -> None:
    served = site()
    warn(world, served, SMALL, LONELY)
    person = visit(served)

    def sign_in() -> Page:
        page = person.open(SHOP)
        person.paste(served.issuer.token(projects=[PROJECT]))
        return page

    page = sign_in()
    read = page.get_by_role("button", name="I have read these 2: fold")
    expect(page.get_by_text(LONELY)).to_be_visible()
    read.click()
    folded = page.get_by_text("2 warnings that you have read")
    expect(folded).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text=LONELY)).to_be_hidden()
    sign_in()
    expect(folded).to_be_visible()
    folded.click()
    expect(page.get_by_role("listitem").filter(has_text=LONELY)).to_be_visible()

    gone = "The grants are gone. At 2026-03-01T12:00:00Z `doctor` has seen it."
    missing = {"type": "RollbackReady", "status": "False", "reason": "MadeUpLater", "message": gone}
    ready = world.server.live(ENVIRONMENTS, NAMESPACE, "shop")["status"]["conditions"][0]
    conditions = [ready, {**missing, "lastTransitionTime": "2026-03-01T12:00:00Z"}]
    warn(world, served, "SmallDisk: 9 GiB are left.", LONELY, conditions=conditions)
    expect(page.get_by_role("button", name="I have read it: fold")).to_be_visible()
    expect(page.get_by_text("SmallDisk: 9 GiB")).to_be_visible()
    expect(page.get_by_text("1 warning that you have read")).to_be_visible()
    attention = page.get_by_role("region", name="What needs attention")
    expect(attention).to_contain_text(re.compile("The grants are gone. At 1 Mar 2026, .* doctor has seen it"))
    expect(attention.locator("p code")).to_have_text("doctor")
    page.get_by_role("button", name="I have read it: fold").click()
    sign_in()
    expect(folded).to_be_visible()
    expect(attention).to_contain_text("The grants are gone.")
    stored = page.evaluate("JSON.stringify(localStorage)")
    assert "GiB" not in stored
    assert len(stored) < 200


#: View → the scopes that it names, and controls that it has with them.
REFUSED = {
    "": {"snapshot": "Take a snapshot"},
    "/settings": {"admin": "Create settings with the defaults"},
    "/snapshots/{before}": {
        "rollback": re.compile("^Roll back to "),
        "admin": "Pin it",
        "snapshot": "Restore it as a test",
    },
}


def test_what_the_scopes_refuse_is_not_offered_and_the_scope_is_named(
    site: Site, visit: Visit, world: World, ids: dict[str, str]
) -> None:
    served = site()
    page = come(served, visit, SHOP, scope="read").page
    for view, scopes in REFUSED.items():
        page.evaluate(GO, SHOP + view.format(**ids))
        for scope, control in scopes.items():
            expect(page.get_by_text(re.compile(f"a token that has the scope {scope}")).first).to_be_visible()
            expect(page.get_by_text(control, exact=True)).to_have_count(0)
    expect(page.get_by_role("button", name="Delete …")).to_have_count(0)
    # Who may read nothing is not asked to wait.
    person = come(served, visit, SHOP, scope="rollback")
    person.expected.append("status of 403")
    refused = person.page.get_by_role("status").filter(has_text="Changes are not shown since")
    expect(refused).to_contain_text("The token lacks the scope read. Use a token that has it.")
    expect(refused).not_to_contain_text("connects again automatically")
    # What its own state refuses is named before, with every scope.
    page = come(served, visit, f"{SHOP}/snapshots/{ids['before']}").page
    expect(page.get_by_role("button", name="Restore it as a test")).to_be_visible()
    expect(page.get_by_role("region", name="Delete")).to_contain_text("It is pinned. Remove the pin first.")
    expect(page.get_by_role("button", name="Delete …")).to_have_count(0)
    verdict = page.get_by_role("status").filter(has_text="kept by a pin")
    expect(verdict).to_be_visible()
    expect(verdict).not_to_contain_text("pinned")
