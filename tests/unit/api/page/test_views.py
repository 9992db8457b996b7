"""Every view with hostile text in every field, for people who see and who do not, in dark and light, on a desk and on a
phone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from support.api.hostile import SEEN, Document
from support.api.serving import Serving
from support.api.visitor import Visitor

ENVIRONMENT = "/ui/environments/497f6eca-6276-4993-bfeb-53cbbbba6f08"
SNAPSHOT = f"{ENVIRONMENT}/snapshots/0c7a6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11"
#: View: its path, and what shows that all of it is loaded.
VIEWS = {
    "environments": ("/ui/", "Newest restored as a test"),
    "environment": (ENVIRONMENT, "Line: live size at each snapshot."),
    "settings": (f"{ENVIRONMENT}/settings", "without a rule"),
    "log": (f"{ENVIRONMENT}/log", "Rollback, by"),
    "snapshot": (SNAPSHOT, "Restore it as a test"),
    "rollback-to": (f"{SNAPSHOT}/rollback", "Environment that is replaced"),
    "rollback": (f"{ENVIRONMENT}/rollbacks/7d0a3f52-1c44-4a5e-8a53-2f7b9e6c4d20", "Steps"),
    "unknown": ("/ui/<script>hacked=1</script>", "This address has no view"),
}
LOOKS = {"light, on a desk": ("light", 1280), "dark, on a phone": ("dark", 360)}


@pytest.fixture(scope="module")
def axe(built: Path) -> str:
    """The checks of axe-core."""
    return (built.parent / "node_modules/axe-core/axe.min.js").read_text()


def violations(page: Page, axe: str) -> list[Any]:
    """What axe-core finds. Not `page.evaluate`: the page's policy would forbid the script, rightly."""
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": axe})
    expression = (
        "axe.run().then(({violations: v}) => JSON.stringify(v.map(({id, nodes}) => [id, nodes.map((n) => n.html)])))"
    )
    found = session.send("Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True})
    return list(json.loads(found["result"]["value"]))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_accessible_and_text_is_never_html(
    view: str, look: str, site: Callable[..., Serving], visit: Callable[..., Visitor], axe: str
) -> None:
    scheme, width = LOOKS[look]
    served = site()
    person = visit(served, color_scheme=scheme, viewport={"width": width, "height": 800})
    Document().plant(person.context)
    path, loaded = VIEWS[view]
    page = person.open(path)
    person.paste(served.issuer.token())
    expect(page.get_by_text(loaded).first).to_be_visible()
    if view == "rollback-to":
        page.get_by_role("button", name="Preview: what would be lost").click()
        expect(page.get_by_label("Type the environment's name to confirm")).to_be_visible()
    expect(page.get_by_text("Loading …")).to_have_count(0)

    assert violations(page, axe) == []
    assert page.locator("body img, body script, [href^='javascript:'], [onerror]").count() == 0
    assert page.evaluate("window.hacked") is None
    if view != "unknown":
        assert page.get_by_text(SEEN).count() >= 3
    assert not {"\u202e", "\u0007"} & set(page.locator("html").inner_text()), "control characters are visible"
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
