"""Every view with hostile text in every field, for people who see and who do not, in dark and light, on a desk and on a
phone."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from support.api.hostile import SEEN, TEXT, Document
from support.api.serving import Serving
from support.api.visitor import Visitor

ENVIRONMENT = "/ui/environments/497f6eca-6276-4993-bfeb-53cbbbba6f08"
SNAPSHOT = f"{ENVIRONMENT}/snapshots/0c7a6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11"
#: View: its path, and what shows that all of it is loaded.
VIEWS = {
    "environments": (f"/ui/?open={ENVIRONMENT.rsplit('/', 1)[1]}", "Newest restored as a test"),
    "environment": (ENVIRONMENT, "As tables: "),
    "snapshots": (f"{ENVIRONMENT}/snapshots", "All snapshots: "),
    "rollbacks": (f"{ENVIRONMENT}/rollbacks", "All rollbacks: "),
    "settings": (f"{ENVIRONMENT}/settings", "without a rule"),
    "log": (f"{ENVIRONMENT}/log", "Rollback, by"),
    "snapshot": (SNAPSHOT, "Restore it as a test"),
    "rollback-to": (f"{SNAPSHOT}/rollback", "Roll back another environment instead"),
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


def come(visit: Callable[..., Visitor], served: Serving, look: str) -> Visitor:
    """A person with a screen and colours of that kind."""
    scheme, width = LOOKS[look]
    return visit(served, color_scheme=scheme, viewport={"width": width, "height": 800})


def show(person: Visitor, served: Serving, view: str) -> Page:
    """Signs in at a view, and waits until all of it is loaded."""
    path, loaded = VIEWS[view]
    page = person.open(path)
    person.paste(served.issuer.token())
    expect(page.get_by_text(loaded).first).to_be_visible()
    if view == "rollback-to":
        expect(page.get_by_role("button", name="Roll back now")).to_be_visible()
    expect(page.get_by_text("Loading …")).to_have_count(0)
    return page


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_accessible_and_text_is_never_html(
    view: str, look: str, site: Callable[..., Serving], visit: Callable[..., Visitor], axe: str
) -> None:
    served = site()
    person = come(visit, served, look)
    Document().plant(person.context)
    page = show(person, served, view)

    assert violations(page, axe) == []
    assert page.locator("body img, body script, [href^='javascript:'], [onerror]").count() == 0
    assert page.evaluate("window.hacked") is None
    if view != "unknown":
        assert page.get_by_text(SEEN).count() >= 3
    assert not {"\u202e", "\u0007"} & set(page.locator("html").inner_text()), "control characters are visible"
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("look", LOOKS)
def test_the_sign_in_is_accessible(
    look: str, site: Callable[..., Serving], visit: Callable[..., Visitor], axe: str
) -> None:
    """Also with the reason why a token is refused."""
    person = come(visit, site(ui_client_id="page"), look)
    page = person.open()
    expect(page.get_by_role("button", name=re.compile("^Sign in at "))).to_be_visible()
    assert violations(page, axe) == []
    person.paste(TEXT)
    expect(page.get_by_text("This is no JSON Web Token")).to_be_visible()
    assert violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


#: Button that opens a dialog: the view, and what differs in its answer from the example.
DIALOGS: dict[str, tuple[str, dict[str, Any]]] = {
    "Delete …": (SNAPSHOT, {"dependents": 0}),
    "Undo the rollback …": (VIEWS["rollback"][0], {}),
    "Cancel the rollback …": (
        VIEWS["rollback"][0],
        {"status": "running", "cancel": {"possible": True, "reason": None}},
    ),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("button", DIALOGS)
def test_a_dialog_is_accessible(
    button: str, look: str, site: Callable[..., Serving], visit: Callable[..., Visitor], axe: str
) -> None:
    served = site()
    person = come(visit, served, look)
    document = Document()
    document.plant(person.context)
    path, differs = DIALOGS[button]

    read = re.sub("^/ui/(environments/[^/]+/(?=rollbacks/))?", "/console/v1/", path)

    def differing(route: Route) -> None:
        found = document.answer("GET", read)
        assert found is not None
        route.fulfill(content_type="application/json", body=json.dumps({**found[1], **differs}))

    person.context.route(f"**{read}*", differing)  # with its query
    page = person.open(path)
    person.paste(served.issuer.token())
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("dialog", name=re.compile(r"\?$"))).to_be_visible()
    expect(page.get_by_text("Loading …")).to_have_count(0)
    assert violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


#: Operation of the document whose answer is the object of an event.
EVENTS = {
    "environment": ENVIRONMENT,
    "snapshot": SNAPSHOT,
    "rollback": VIEWS["rollback"][0],
    "preview": "/ui/rollback-previews/5a0f6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11",
    "extract": "/ui/extracts/3e0f6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11",
}


def events(hostile: Document, clean: Document) -> Iterator[str]:
    """An event of each kind, as the stream of changes has them. What decides whether the page reads again is as it
    was."""
    for number, (kind, place) in enumerate(EVENTS.items()):
        path = re.sub("^/ui/(environments/[^/]+/)?(?=rollbacks/)|^/ui/", "/console/v1/", place)
        (_, found), (_, before) = hostile.answer("GET", path) or (0, {}), clean.answer("GET", path) or (0, {})
        if kind == "environment":
            found["problem"] = {**found["problem"], "reason": before["problem"]["reason"]}
        about = {"id": found["id"], "environmentId": found.get("environmentId", found["id"]), "deleted": False}
        data = json.dumps({**about, "projectId": before.get("projectId", ""), "object": found})
        yield f"id: test-{number}\nevent: {kind}\ndata: {data}\n\n"


@pytest.mark.parametrize("view", ["environments", "snapshots", "rollbacks", "snapshot", "rollback-to", "rollback"])
def test_text_that_arrives_by_the_stream_is_never_html(
    view: str, site: Callable[..., Serving], visit: Callable[..., Visitor]
) -> None:
    """What was read first is harmless."""
    served = site()
    person = visit(served)
    hostile, clean = Document(), Document("")
    clean.plant(person.context)
    come = False

    def stream(route: Route) -> None:
        body = "".join(events(hostile, clean)) if come else ": nothing yet\n\n"
        route.fulfill(content_type="text/event-stream", body=f"retry: 200\n\n{body}")

    person.context.route("**/console/v1/events", stream)
    page = show(person, served, view)
    assert page.get_by_text(SEEN).count() == 0
    come = True
    expect(page.get_by_text(SEEN).filter(visible=True).first).to_be_visible()
    assert page.locator("body img, body script, [href^='javascript:'], [onerror]").count() == 0
    assert page.evaluate("window.hacked") is None
    assert not {"\u202e", "\u0007"} & set(page.locator("html").inner_text()), "control characters are visible"
