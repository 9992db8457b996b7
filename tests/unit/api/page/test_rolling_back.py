"""Before a rollback: it says what it replaces, is meant, and starts once whatever happens to its answer."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from ocore_crds.resources.rollback import RollbackSpec
from ocore_kube.types import ENVIRONMENTS, ROLLBACKS
from support.api.history import History
from support.api.operated import Operated
from support.api.serving import Serving
from support.api.visitor import Visitor, type_to_confirm, until
from support.api.world import NAMESPACE, _condition, id_of

PROJECT = id_of("project", "shop")
SHOP, STAGING, SNAPSHOT = id_of(PROJECT, "shop"), id_of(PROJECT, "staging"), id_of("snapshot", "shop", "shop-1")
PLAN = f"/ui/environments/{SHOP}/snapshots/{SNAPSHOT}/rollback"
PHRASE = f"production {NAMESPACE}/shop"
#: Goes to a view without leaving the page.
GO = "(path) => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }"
#: What a program in the page does to a field.
FILL = """(field, text) => {
  field.value = text;
  field.dispatchEvent(new InputEvent("input", {inputType: "insertText", bubbles: true}));
}"""


@pytest.fixture
def world() -> Operated:
    world = Operated()
    world.environment(PROJECT, "shop", "production")
    world.environment(PROJECT, "staging")
    world.snapshot("shop", "shop-1")
    return world


@pytest.fixture
def served(site: Callable[..., Serving]) -> Serving:
    return site()


Come = Callable[..., Visitor]


@pytest.fixture
def come(visit: Callable[..., Visitor], served: Serving) -> Come:
    """Someone with a token for the project, before the rollback."""

    def at(**token: object) -> Visitor:
        person = visit(served)
        person.open(PLAN)
        person.paste(bearer(served, **token))
        return person

    return at


def bearer(served: Serving, **token: Any) -> str:
    return served.issuer.token(projects=[PROJECT], **token)


def button(page: Page) -> Locator:
    return page.get_by_role("button", name="Roll back now")


def dry(world: Operated) -> list[bool]:
    """Of each Rollback whether it is a preview, in the order of their creation."""
    return [bool(r["spec"].get("dryRun")) for r in world.rollbacks()]


def test_row_116_no_rollback_starts_before_the_name_is_typed(come: Come, served: Serving, world: Operated) -> None:
    person = come()
    page = person.page
    replaced = page.get_by_role("region", name="What is replaced")
    expect(replaced).to_contain_text(re.compile(r"shop.*production.*namespace apps → its state of \d+ \w+ 20\d\d"))
    expect(page.get_by_text("The rollback would run")).to_be_visible()
    expect(replaced).to_contain_text(
        re.compile(r"Replaces the database and the files\. .* of work are set aside, about 8 s down")
    )
    zone = page.get_by_role("region", name="Replace shop")
    hours = RollbackSpec.model_fields["undo_window_seconds"].default // 3600
    expect(zone).to_contain_text(f"can be undone for {hours} h after its switch")
    expect(zone).to_contain_text("the image that runs now stays")
    assert dry(world) == [True]
    safety = zone.get_by_label("Take a safety snapshot of it first")
    safety.uncheck()
    expect(zone.get_by_text("Without a safety snapshot")).to_be_visible()
    safety.check()
    expect(zone.get_by_text("Without a safety snapshot")).to_be_hidden()
    field = page.get_by_role("textbox", name=re.compile("to confirm$"))
    refused = page.get_by_role("status").filter(has_text="pasted, dropped or filled in does not count")
    # Not by another hand than the person's.
    field.fill(PHRASE)
    expect(refused).to_be_visible()
    expect(field).to_have_value("")
    field.evaluate(FILL, PHRASE)
    expect(field).to_have_value("")
    # What identifies another environment too is not enough.
    for wrong in ("shop", f"{NAMESPACE}/shop", f"production {NAMESPACE}/staging"):
        type_to_confirm(page, wrong)
        expect(refused).to_be_hidden()
        expect(button(page)).to_be_disabled()
    # Pasted over what was typed.
    type_to_confirm(page, PHRASE[:-1] + "q")
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("(text) => navigator.clipboard.writeText(text)", PHRASE)
    field.select_text()
    field.press("Control+V")
    expect(refused).to_be_visible()
    expect(button(page)).to_be_disabled()
    type_to_confirm(page, PHRASE)
    field.press("Enter")
    expect(button(page)).to_be_enabled()
    assert dry(world) == [True], "Enter sends nothing"
    # The same view again has the same preview.
    page.reload()
    person.paste(bearer(served))
    expect(page.get_by_text("The rollback would run")).to_be_visible()
    assert dry(world) == [True]
    type_to_confirm(page, PHRASE)
    button(page).dblclick()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Rollback of")
    assert dry(world) == [True, False]


class Losing:
    """What becomes of the requests for a rollback, or an undo. Each takes the next of `answers`: `lost` after the
    server has it, `never` sent, `stalled` after the server has it, or a status that something else answers with. Then
    all arrive."""

    def __init__(self, person: Visitor, start: str = "**/api/environments/*/rollback") -> None:
        person.expected += ["net::ERR_FAILED", "status of (404|409|503)"]
        self.answers: list[str | int] = []
        self.keys: list[str] = []
        self.stalls = False
        self.held: list[Route] = []
        person.page.route(start, self._take)
        person.page.route("**/console/v1/environments/*/rollbacks?*", self._look)

    def release(self) -> None:
        """What the page asks about the rollbacks of an environment is answered again."""
        self.stalls = False
        while self.held:
            self.held.pop().continue_()

    def _look(self, route: Route) -> None:
        if self.stalls:
            self.held.append(route)
        else:
            route.continue_()

    def _take(self, route: Route) -> None:
        self.keys.append(route.request.headers["idempotency-key"])
        how = self.answers.pop(0) if self.answers else "arrives"
        if isinstance(how, int):
            route.fulfill(status=how, content_type="application/json", body='{"detail": "Something between."}')
            return
        if how in ("lost", "stalled"):
            route.fetch()
        if how in ("lost", "never"):
            route.abort()
        elif how == "arrives":
            route.continue_()


def ask(page: Page, served: Serving, world: Operated) -> None:
    """Asks for the rollback, which is held while its database is restored."""
    served.call(world.hold, "RestoreDatabase")
    type_to_confirm(page, PHRASE)
    button(page).click()


def end(page: Page, served: Serving, world: Operated) -> None:
    served.call(world.release, "RestoreDatabase")
    expect(page.get_by_text(re.compile("^shop has the state of "))).to_be_visible()
    page.get_by_role("link", name="Back to shop").click()


def test_row_116_a_rollback_is_found_whatever_becomes_of_the_answer(
    come: Come, served: Serving, world: Operated
) -> None:
    person = come()
    page, losing = person.page, Losing(person)
    runs = page.get_by_role("status").filter(has_text="It runs: your request was received")
    started = 0
    for answers in (["lost", 409], ["lost", 404], ["lost", 503], ["lost", "lost"], ["stalled"]):
        losing.answers, losing.keys = list(answers), []
        losing.stalls = answers == ["stalled"]  # as the whole network does
        ask(page, served, world)
        if losing.stalls:
            expect(page.get_by_text("The answer takes long. The request is repeated with the same key")).to_be_visible()
            until(lambda: bool(losing.held), page)
            losing.release()
        expect(runs).to_be_visible()
        expect(page.get_by_text("does not answer")).to_have_count(0)
        expect(button(page)).to_have_count(0)
        started += 1
        assert dry(world).count(False) == started
        assert len(set(losing.keys)) == 1
        page.get_by_role("link", name="Watch it").click()
        end(page, served, world)
        page.evaluate(GO, PLAN)
    # Nothing of it arrived: it is repeated, and started once.
    losing.answers, losing.keys = ["never", "never", "never"], []
    ask(page, served, world)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Rollback of")
    assert len(set(losing.keys)) == 1
    assert dry(world).count(False) == started + 1


def test_row_116_a_rollback_is_found_after_a_reload(come: Come, served: Serving, world: Operated) -> None:
    person = come()
    page, losing = person.page, Losing(person)
    losing.answers = ["stalled"]
    ask(page, served, world)
    until(lambda: dry(world).count(False) == 1, page)
    page.reload()
    person.paste(bearer(served))
    expect(page.get_by_role("status").filter(has_text="It runs: your request was received")).to_be_visible()
    page.get_by_role("link", name="Watch it").click()
    end(page, served, world)
    page.evaluate(GO, PLAN)
    # Refused at once, that is an answer: the next request is another one.
    losing.answers, losing.keys = [409, "arrives"], []
    ask(page, served, world)
    expect(page.get_by_role("alert").filter(has_text="Something between.")).to_be_visible()
    button(page).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Rollback of")
    assert len(set(losing.keys)) == 2
    assert dry(world).count(False) == 2


def test_a_token_that_may_not_roll_back_starts_no_preview(come: Come, served: Serving, world: Operated) -> None:
    person = come(scope="read")
    page = person.page
    person.expected.append("status of 404")
    expect(page.get_by_text("To roll back, sign in with a token that has the scope rollback.")).to_be_visible()
    back = served.call(world.rollback, "shop", "back", "shop-1")
    page.evaluate(GO, f"/ui/environments/{SHOP}/rollbacks/{back}")
    expect(page.get_by_text("To undo it, sign in with a token that has the scope rollback.")).to_be_visible()
    expect(page.get_by_role("button", name="Undo the rollback …")).to_have_count(0)
    # What it has not is said, and what proves the state that it restored is one click away.
    expect(page.get_by_role("region", name="Undo")).to_contain_text("No safety snapshot was taken.")
    expect(page.get_by_role("button", name=f"Copy: kubectl ocore certificate shop-1 -n {NAMESPACE}")).to_be_visible()
    page.get_by_role("link", name="its certificate").click()
    expect(page.get_by_role("heading", name="Restore test")).to_be_in_viewport()
    # Another environment's address shows nothing of it.
    page.evaluate(GO, f"/ui/environments/{STAGING}/rollbacks/{back}")
    expect(page.get_by_text("is visible to this caller").first).to_be_visible()
    expect(page.get_by_role("region", name="Steps")).to_have_count(0)
    # The snapshot of another environment is named, without a link or a command that would not find it.
    copied = served.call(world.rollback, "staging", "copied", "shop-1")
    page.evaluate(GO, f"/ui/environments/{STAGING}/rollbacks/{copied}")
    expect(page.get_by_text("staging has the data of snapshot shop-1.")).to_be_visible()
    expect(page.get_by_text("Logs of its pods:")).to_be_visible()
    expect(page.get_by_role("link", name="its certificate")).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("ocore certificate"))).to_have_count(0)
    assert dry(world) == [False, False]


#: View of a Rollback: its status, and what it says besides its message.
NEEDS = {
    "failed": ({"phase": "Failed", "stage": "Ended", "failureReason": "NoSpace"}, "Failed", "NoSpace"),
    "waiting": ({"phase": "Switching", "stage": "Switch", "completedAt": None}, "Stalled", "NodeNotResponding"),
}


@pytest.mark.parametrize("how", NEEDS)
def test_a_rollback_that_needs_a_person_leads_to_what_to_do(
    how: str, come: Come, served: Serving, world: Operated
) -> None:
    """Its message is shown, its reason has a command, and the page of the documentation is named."""
    person = come()
    page = person.page
    status, type_, reason = NEEDS[how]
    back = served.call(world.rollback, "shop", "now", "shop-1")
    conditions = [_condition(each, "The node `n1` is away.", reason) for each in {type_, "Stalled"}]
    served.call(world.server.set_status, ROLLBACKS, NAMESPACE, "now", {**status, "conditions": conditions})
    page.evaluate(GO, f"/ui/environments/{SHOP}/rollbacks/{back}")
    needs = page.get_by_role("status").filter(has_text="The node n1 is away.")
    expect(needs).to_have_class("note bad")
    expect(needs).to_contain_text("My rollback failed")
    expect(needs).to_contain_text("docs/guides/rollback-failed.md")
    expect(needs.get_by_role("button", name=f"Copy: kubectl ocore explain {reason}")).to_be_visible()


def test_a_name_is_not_read_as_a_word_of_its_sentence(come: Come, served: Serving, world: Operated) -> None:
    person = come()
    page = person.page
    replaced = page.get_by_role("region", name="What is replaced")
    expect(replaced.get_by_role("code").first).to_have_text("shop")
    expect(page.get_by_role("heading", name="Replace shop").get_by_role("code")).to_have_text("shop")
    first = served.call(world.rollback, "shop", "back", "shop-1")
    served.call(History(world, "shop").rollback, "now", datetime.now(UTC) + timedelta(seconds=5), "shop-1")
    served.call(world.server.set_status, ROLLBACKS, NAMESPACE, "now", {"undoneBy": None})
    proven = {"operation": "rollback", "status": "completed", "canWriteCleanSuccess": True}
    evidence = {"recoveryEvidence": {**proven, "whyGreen": ["It shows 2026-03-01T12:00:00Z."]}}
    served.call(world.server.set_status, ROLLBACKS, NAMESPACE, "back", evidence)
    page.evaluate(GO, f"/ui/environments/{SHOP}/rollbacks/{first}")
    refused = page.get_by_text(re.compile("^No undo: Rollback now ran after it"))
    expect(refused.get_by_role("code").first).to_have_text("now")
    expect(page.get_by_role("heading", level=1).get_by_role("code")).to_have_text("shop")
    outcome = page.get_by_text(re.compile("^shop has the state of "))
    expect(outcome.get_by_role("code")).to_have_text("shop")
    # Nor is a time in the evidence one of another time zone.
    expect(page.get_by_role("region", name="Evidence")).to_contain_text("It shows 1 Mar 2026, ")


def test_row_116_an_undo_is_typed_and_found_after_a_lost_answer(come: Come, served: Serving, world: Operated) -> None:
    person = come()
    page, losing = person.page, Losing(person, "**/rollbacks/*/undo")
    back = served.call(world.rollback, "shop", "back", "shop-1")
    page.evaluate(GO, f"/ui/environments/{SHOP}/rollbacks/{back}")
    hours = RollbackSpec.model_fields["undo_window_seconds"].default // 3600
    cost = rf"An undo sets aside the work since the switch of .* \(.*\)\. It is kept for {hours} h after the undo"
    expect(page.get_by_role("region", name="Undo", exact=True)).to_contain_text(re.compile(cost))
    page.get_by_role("button", name="Undo the rollback …").click()
    dialog = page.get_by_role("dialog", name="Undo the rollback?")
    expect(dialog).to_contain_text("shop · production · namespace apps → the data from before the rollback")
    do = dialog.get_by_role("button", name="Undo it")
    dialog.get_by_role("textbox").fill(PHRASE)
    expect(do).to_be_disabled()
    type_to_confirm(dialog, PHRASE)
    losing.answers = ["lost", 409]
    served.call(world.hold, "Switch")
    do.click()
    expect(page.get_by_role("status").filter(has_text="It runs: your request was received")).to_be_visible()
    expect(dialog).to_be_hidden()
    assert len(set(losing.keys)) == 1
    page.get_by_role("link", name="Watch it").click()
    # What a person needs while it runs.
    expect(page.get_by_role("list", name="Stages").get_by_role("listitem")).to_have_text(
        ["Check it can rundone", "Stopdone, down", "Switchnow, down", "Startnext, down", "Wait until readynext, down"]
    )
    expect(page.get_by_text(re.compile(r"about \d+ s more"))).to_be_visible()
    expect(page.get_by_role("timer", name="Downtime")).to_contain_text("so far")
    (undo,) = (r for r in world.rollbacks() if "undo" in r["spec"])
    logs = f"kubectl ocore logs rollback/{undo['metadata']['name']} -n {NAMESPACE}"
    expect(page.get_by_role("button", name=f"Copy: {logs}")).to_be_visible()
    expect(page.get_by_text("If it hangs, it ends at the limit of its stage.")).to_be_visible()
    # Its sign is not that of a warning.
    expect(page.get_by_role("region", name="Steps").get_by_text("running", exact=True)).to_have_class("mark active")
    served.call(world.release, "Switch")
    # Its evidence is not complete: that is no green bar.
    ended = page.get_by_role("status").filter(has_text="The rollback is undone: shop has the data from before it.")
    expect(ended).to_have_class("note warn")
    expect(ended).to_contain_text("Not everything that was required is proven. Check the application")
    expect(ended.get_by_role("listitem").first).to_be_visible()
    expect(page.get_by_role("timer", name="Undo window")).to_be_visible()


def test_what_is_typed_outlives_a_token_and_waits_for_what_runs(come: Come, served: Serving, world: Operated) -> None:
    person = come()
    page, losing = person.page, Losing(person)
    type_to_confirm(page, PHRASE)
    # Someone else has started something.
    running = {"kind": "Snapshot", "name": "other", "since": "2026-01-01T00:00:00Z"}
    served.call(world.server.set_status, ENVIRONMENTS, NAMESPACE, "shop", {"operation": running})
    expect(page.get_by_text("A snapshot of shop runs since")).to_be_visible()
    expect(button(page)).to_be_disabled()
    served.call(world.server.set_status, ENVIRONMENTS, NAMESPACE, "shop", {"operation": None})
    expect(button(page)).to_be_enabled()
    # The token ends at the click.
    person.expected.append("status of 401")
    losing.answers = [401]
    button(page).click()
    expect(page.get_by_role("region", name="Sign in again")).to_be_visible()
    expect(page.get_by_text("Shown is what was known at")).to_have_count(1)
    person.paste(bearer(served))
    expect(page.get_by_role("region", name="Sign in again")).to_be_hidden()
    expect(page.get_by_role("textbox", name=re.compile("to confirm$"))).to_have_value(PHRASE)
    button(page).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Rollback of")
    assert len(set(losing.keys)) == 1
    assert dry(world).count(False) == 1


def test_another_version_on_the_restored_data_is_a_warning_below_the_verdict(come: Come, world: Operated) -> None:
    world.report = {"version": {"imageNow": "registry/shop:18.0.6", "imageInSnapshot": "registry/shop:18.0.5"}}
    page = come().page
    warning = page.get_by_role("note", name="Another image")
    expect(warning).to_contain_text("Another version would run on the restored data")
    expect(warning).to_contain_text(re.compile(r"shop:18\.0\.6 runs now and stays\..* from registry/shop:18\.0\.5\."))
    expect(warning).to_contain_text("kubectl ocore rollback --restore-image Always")
    verdict, facts = page.get_by_text("The rollback would run"), page.get_by_text("How that is known")
    top = [found.bounding_box()["y"] for found in (verdict, warning, facts)]  # type: ignore[index]
    assert top == sorted(top)
    colour = "e => getComputedStyle(e).getPropertyValue('--tone')"
    assert warning.evaluate(colour) != verdict.evaluate(colour)


@pytest.mark.parametrize("now", ["", "registry/shop:18.0.5"])
def test_no_warning_of_an_image_that_is_the_same_or_not_known(now: str, come: Come, world: Operated) -> None:
    world.report = {"version": {"imageNow": now, "imageInSnapshot": "registry/shop:18.0.5"}}
    page = come().page
    expect(page.get_by_text("How that is known")).to_be_visible()
    expect(page.get_by_role("note", name="Another image")).to_have_count(0)


def test_an_earlier_rollback_counts_in_what_is_set_aside_and_loses_its_undo(
    visit: Callable[..., Visitor], served: Serving, world: Operated
) -> None:
    now = datetime.now(UTC)
    history = History(world, "shop")
    old = history.snapshot("old", now - timedelta(hours=6))
    history.rollback("before", now - timedelta(minutes=25), "old")
    obj = world.find("Rollback", "before")
    del obj["status"]["undoneBy"]
    obj["status"]["undoUntil"] = (now + timedelta(hours=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    world.server.put(obj)
    person = visit(served)
    page = person.open(f"/ui/environments/{SHOP}/snapshots/{old}/rollback")
    person.paste(bearer(served))
    header = page.get_by_role("region", name="What is replaced")
    expect(header).to_contain_text(
        re.compile(r"The work since the rollback of .* \(24 min .*\) is set aside, about 8 s down")
    )
    zone = page.get_by_role("region", name="Replace shop")
    expect(zone).to_contain_text(
        re.compile("The rollback of .* to .* can be undone now. While the new rollback is in effect it cannot")
    )
    page.evaluate(GO, f"/ui/environments/{SHOP}")
    expect(page.get_by_text(re.compile("^The rollback of .* to .* can be undone until"))).to_be_visible()


def test_a_preview_ends_with_its_view(come: Come, served: Serving, world: Operated) -> None:
    served.call(world.hold, "Preview")
    page = come().page
    expect(page.get_by_role("progressbar", name="The preview runs")).to_be_visible()
    page.get_by_role("link", name="Back to the snapshot").click()
    until(lambda: dry(world) == [], page)
    # The same view again has another one: that one is gone.
    page.evaluate(GO, PLAN)
    expect(page.get_by_text("The rollback would run")).to_be_visible()
    # One that has ended stays for the next visit.
    page.get_by_role("link", name="Back to the snapshot").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Snapshot")
    page.evaluate(GO, PLAN)
    expect(page.get_by_text("The rollback would run")).to_be_visible()
    assert dry(world) == [True]
