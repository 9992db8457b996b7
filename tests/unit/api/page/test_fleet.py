"""All environments in one table: which are safe, which are not, and how one finds them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from ocore_crds.text.timestamps import text
from ocore_kube.types import ENVIRONMENTS, SNAPSHOTS
from support.api.serving import Serving
from support.api.visitor import Visitor
from support.api.world import NAMESPACE, World, _condition, id_of

PROJECT = id_of("project", "shop")
#: Environments that are fine, beside the four of which each has another state.
FINE = 300


def ago(**how: float) -> str:
    return text(datetime.now(UTC) - timedelta(**how))


@pytest.fixture
def world() -> World:
    """One environment of each kind, and many that are fine. Names say how they stand."""
    world = World()
    names = ["broken", "late", "never", "off", *(f"fine-{number:03}" for number in range(FINE))]
    for name in names:
        world.environment(PROJECT, name, "production" if name == "late" else "staging")
        spec = {"environmentRef": {"name": name}, "schedule": ["0 * * * *"], "suspend": name == "off"}
        metadata = {"namespace": NAMESPACE, "name": name, "creationTimestamp": ago(days=91 if name == "late" else 0)}
        policy = {"apiVersion": "ocore.dev/v1alpha1", "kind": "SnapshotPolicy", "metadata": metadata, "spec": spec}
        world.server.put(policy)
        if name != "never":
            world.snapshot(name, f"{name}-1")
    old = world.server.live(SNAPSHOTS, NAMESPACE, "late-1")
    old["metadata"]["creationTimestamp"] = old["status"]["consistentAt"] = old["status"]["completedAt"] = ago(days=90)
    world.server.put(old)
    wrong = _condition("Ready", "The password is wrong.", "DatabaseUnreachable") | {"status": "False"}
    conditions = [wrong, _condition("RollbackReady")]
    world.server.set_status(ENVIRONMENTS, NAMESPACE, "broken", {"conditions": conditions})
    return world


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def names(page: Page) -> list[str]:
    """Of the first rows, as they are shown."""
    links = page.get_by_role("row").get_by_role("link")
    expect(links.first).to_be_visible()
    return links.all_inner_texts()[:5]


def test_row_145_the_fleet_says_what_is_not_safe_and_back_brings_the_place_back(
    site: Callable[..., Serving], visit: Callable[..., Visitor], world: World
) -> None:
    served = site()
    person = visit(served, viewport={"width": 1440, "height": 900})
    page = person.open("/ui/")
    person.paste(served.issuer.token(projects=[PROJECT], scope="read"))
    # The worst first. Nothing that could not be rolled back to now looks safe.
    expect(row(page, "broken")).to_contain_text("Not ready")
    assert names(page) == ["broken", "never", "late", "off", "fine-000"]
    expect(row(page, "never")).to_contain_text("No snapshot")
    expect(row(page, "late")).to_contain_text(re.compile("Overdue.*production.*90 d ago, late by 89 d every 1 h", re.S))
    expect(row(page, "off")).to_contain_text("Suspended")
    expect(row(page, "fine-000")).to_contain_text("Fine")
    shown = page.get_by_role("row").filter(has=page.get_by_role("link"))
    inside = "rows => rows.filter(r => r.getBoundingClientRect().bottom <= innerHeight).length"
    assert shown.evaluate_all(inside) >= 25
    assert page.evaluate("document.documentElement.scrollHeight / innerHeight") < 12 * FINE / 200
    assert page.evaluate("document.querySelectorAll('*').length") < 2000, "only what is in view exists"

    # Neither by how much it is late nor its schedule is cut off. What is late has another sign than what is off.
    uncut = "cells => cells.every(cell => cell.scrollWidth <= cell.clientWidth)"
    # As wide as "23 h 59 min ago, late by 22 h 59 min".
    row(page, "late").locator(".late time").evaluate("age => { age.textContent = '23 h 59 min ago, 59 min' }")
    for width in (390, 1280, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("innerWidth === " + str(width))
        assert row(page, "late").get_by_role("cell").evaluate_all(uncut), f"cut off at {width} pixels"
    sign = "mark => getComputedStyle(mark, '::before').content"
    signs = [row(page, name).locator(".mark").first.evaluate(sign) for name in ("late", "off", "fine-000")]
    assert len(set(signs)) == 3
    expect(row(page, "off")).to_contain_text("schedule suspended")

    # What to do is beside the row, by keyboard alone, and names a scope that is missing.
    page.get_by_role("button", name="Overdue: what to do").focus()
    page.keyboard.press("Enter")
    brief = page.get_by_role("complementary", name="What to do")
    expect(brief.get_by_role("heading", name="late")).to_be_focused()
    expect(brief).to_contain_text("older than its schedule allows. It is late by 89 d")
    expect(brief).to_contain_text("To roll back, sign in with a token that has the scope rollback.")
    expect(brief.get_by_role("link", name="Roll back to the last good state …")).to_have_count(0)
    # Beside it the row is not cut off; a schedule whose next time is not known is no missing schedule.
    expect(brief).to_contain_text("Next snapshotnot known")
    whole = "cells => cells.every(cell => cell.scrollWidth <= cell.clientWidth)"
    for width in (1344, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("innerWidth === " + str(width))
        expect(brief).to_be_visible()
        assert row(page, "late").get_by_role("cell").evaluate_all(whole), f"cut off at {width} pixels"
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Overdue: what to do")).to_be_focused()
    expect(brief).to_have_count(0)

    # The counts filter; so does what is typed. Both are in the address, and `Back` brings them back.
    page.get_by_role("button", name=f"{FINE} fine").click()
    expect(row(page, "late")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("fine-1")
    expect(page.get_by_role("status").filter(has_text="100 environments")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/ui/\?state=fine&text=fine-1$"))
    for order in ("ascending", "descending"):
        page.get_by_role("button", name="Name", exact=True).click()
        head = page.get_by_role("columnheader", name="Name", exact=True)
        expect(head).to_have_attribute("aria-sort", order)
    expect(page.get_by_role("row").get_by_role("link").first).to_have_text("fine-199")
    page.get_by_role("link", name="fine-199").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="fine-197")).to_be_focused()
    page.mouse.wheel(0, 1200)
    last = page.get_by_role("link", name="fine-150")
    expect(last).to_be_in_viewport()
    page.wait_for_function("scrollY === 1200")
    last.click()
    expect(page.get_by_role("heading", level=1, name="fine-150")).to_be_visible()
    assert page.evaluate("scrollY") == 0
    page.go_back()
    expect(page.get_by_role("link", name="fine-150")).to_be_in_viewport()
    assert page.evaluate("scrollY") == 1200
    expect(page.get_by_label("Name, namespace or id")).to_have_value("fine-1")
    expect(page.get_by_role("button", name="100 fine")).to_have_attribute("aria-pressed", "true")


def test_on_a_phone_what_to_do_is_below_the_row(
    site: Callable[..., Serving], visit: Callable[..., Visitor], world: World
) -> None:
    served = site()
    person = visit(served, viewport={"width": 360, "height": 740}, has_touch=True)
    page = person.open("/ui/?state=nothing&sort=nothing&text=&open=")  # what it does not know is not asked for
    person.paste(served.issuer.token(projects=[PROJECT]))
    page.get_by_role("button", name="Overdue: what to do").tap()
    roll_back = page.get_by_role("link", name="Roll back to the last good state …")
    expect(roll_back).to_be_visible()

    def box(found: Locator) -> dict[str, float]:
        return dict(found.bounding_box() or {})

    opened, after = page.get_by_role("heading", name="late"), row(page, "off")
    page.wait_for_function("document.querySelector('.below').offsetHeight > 100")
    expect(after).to_be_attached()
    assert box(row(page, "late").first)["y"] < box(opened)["y"] < box(roll_back)["y"] < box(after)["y"]
    page.get_by_role("button", name="Close").tap()
    expect(roll_back).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
