"""An environment with 20,000 snapshots: only what is in view exists and is read. The axis of time has 2,000 of them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Route, expect

from ocore_crds.text.timestamps import text
from support.api.serving import Serving
from support.api.visitor import Visitor
from support.api.world import World

NOW = datetime.now(UTC)
MANY = 20_000
MARKS = 2000


def at(number: int) -> str:
    """When: two each second."""
    return text(NOW - timedelta(seconds=number // 2 + 1))


def test_the_last_of_20_000_snapshots_is_reached(
    site: Callable[..., Serving], visit: Callable[..., Visitor], world: World
) -> None:
    environment = world.environment("9b1f4a60-3a52-4b4d-9a06-0e5f2d7c8a11", "shop")
    served = site()
    served.call(world.snapshot, "shop", "shop-1")
    person = visit(served)

    def pages(route: Route) -> None:
        """The facade's only snapshot, as often as it is wanted."""
        query = parse_qs(urlsplit(route.request.url).query)
        found = route.fetch(url=route.request.url.split("?")[0]).json()
        offset, (snapshot,) = int(query["offset"][0]), found["snapshots"]
        many = 0 if "to" in query else MANY  # none is older than the axis
        rows = [
            {**snapshot, "id": f"{snapshot['id'][:24]}{n:012}", "consistentAt": at(n)}
            for n in range(offset, min(many, offset + int(query["limit"][0])))
        ]
        route.fulfill(content_type="application/json", body=json.dumps({**found, "total": many, "snapshots": rows}))

    person.context.route("**/console/v1/environments/*/snapshots?*", pages)
    page = person.open(f"/ui/environments/{environment}")
    person.paste(served.issuer.token(environments=[environment]))
    axis = page.get_by_role("slider", name="Marks on the axis of time")
    expect(axis).to_have_attribute("aria-valuemax", str(MARKS))
    expect(page.get_by_text("the newest 2000")).to_be_visible()
    axis.press("Home")
    for key, place in (("ArrowRight", 2), ("ArrowRight", 3), ("End", MARKS), ("ArrowLeft", MARKS - 1)):
        axis.press(key)
        expect(axis).to_have_attribute("aria-valuenow", str(place))
    assert page.evaluate("document.querySelectorAll('*').length") < 500, "2,000 marks are few elements"

    page.get_by_role("link", name="Snapshots", exact=True).click()
    expect(page.get_by_role("heading", name="All snapshots: 20,000")).to_be_visible()
    table = page.get_by_role("table", name="Snapshots, newest first")
    expect(table.get_by_role("link").first).to_be_visible()
    before = len(person.requests)

    page.evaluate("""async () => {
      for (let part = 1; part <= 100; part++) {
        scrollTo(0, document.documentElement.scrollHeight * part / 100);
        await new Promise(requestAnimationFrame);
      }
    }""")
    last = table.locator(f"[aria-rowindex='{MANY + 1}']")
    expect(last.get_by_role("link")).to_be_visible()

    assert table.get_attribute("aria-rowcount") == str(MANY + 1)
    assert page.evaluate("document.querySelectorAll('*').length") < 4000
    assert len(person.requests) - before < 40, "pages that only fly past are not read"
