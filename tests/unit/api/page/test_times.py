"""Times on the page: they tick, by the server's clock, and their UTC is reached by all."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from playwright.sync_api import expect

from ocore_crds.text.timestamps import text
from ocore_kube.types import SNAPSHOTS
from support.api.serving import Serving
from support.api.visitor import Visitor
from support.api.world import NAMESPACE, World, id_of

PROJECT = id_of("project", "shop")
#: The clock of this browser is an hour ahead.
WRONG = "const now = Date.now; Date.now = () => now() + 3_600_000;"


def test_row_145_times_tick_by_the_servers_clock_and_nothing_that_has_happened_lies_ahead(
    site: Callable[..., Serving], visit: Callable[..., Visitor], world: World
) -> None:
    environment, snapshot = world.environment(PROJECT, "shop"), world.snapshot("shop", "shop-1")
    served = site()
    ahead = text(datetime.now(UTC) + timedelta(hours=2))  # so does the clock of the node that wrote it
    served.call(world.server.set_status, SNAPSHOTS, NAMESPACE, "shop-1", {"consistentAt": ahead})
    person = visit(served, has_touch=True, timezone_id="Asia/Kolkata")
    person.context.add_init_script(WRONG)
    page = person.open(f"/ui/environments/{environment}/snapshots/{snapshot}")
    person.paste(served.issuer.token(environments=[environment]))

    created = page.locator("dt", has_text="Created").locator("+ dd").get_by_role("button")
    expect(created).to_have_text(re.compile(r"GMT\+5:30 \((just now|\d+ s ago|1 min( \d+ s)? ago)\)"))
    for _ in range(3):  # what is still being read may render it again, too
        before = created.inner_text()
        expect(created).not_to_have_text(before)
    expect(page.get_by_text("(just now)").first).to_be_visible()
    expect(page.get_by_text("(in ")).to_have_count(0)

    utc = page.get_by_role("tooltip").filter(has_text=re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"))
    for reach, leave in (
        (created.hover, lambda: page.mouse.move(0, 0)),
        (created.focus, lambda: page.keyboard.press("Escape")),
        (created.tap, lambda: page.get_by_role("heading", level=1).tap()),
    ):
        reach()
        expect(utc).to_be_visible()
        leave()
        expect(page.get_by_role("tooltip")).to_have_count(0)
