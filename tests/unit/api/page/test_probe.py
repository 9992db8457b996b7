"""What does not work is checked again by a click."""

from collections.abc import Callable

from playwright.sync_api import expect

from ocore_crds.naming import ANNOTATION_PROBE_REQUESTED
from ocore_kube.types import ENVIRONMENTS
from support.api.api_server import Object
from support.api.serving import Serving
from support.api.visitor import Visitor, until
from support.api.world import NAMESPACE, World, id_of

PROJECT = id_of("project", "shop")
SHOP = id_of(PROJECT, "shop")
#: Milliseconds of the patience of the page, and some.
LATE = 130_000


def conditions(ready: str, message: str) -> list[Object]:
    since = {"lastTransitionTime": "2026-03-01T12:00:00Z", "reason": "DatabaseUnreachable", "message": message}
    return [{"type": "Ready", "status": ready, **since}, {"type": "RollbackReady", "status": "True", **since}]


def answer(served: Serving, world: World, ready: str, message: str, began: str) -> None:
    """The operator's part: a probe has ended that began then."""
    status = {"conditions": conditions(ready, message), "probe": {"time": began, "startedAt": began, "generation": 1}}
    served.call(world.server.set_status, ENVIRONMENTS, NAMESPACE, "shop", status)


def requested(world: World) -> str:
    annotations = world.server.live(ENVIRONMENTS, NAMESPACE, "shop")["metadata"].get("annotations") or {}
    return str(annotations.get(ANNOTATION_PROBE_REQUESTED, ""))


def test_a_click_has_what_does_not_work_checked_again(
    site: Callable[..., Serving], visit: Callable[..., Visitor], world: World
) -> None:
    world.environment(PROJECT, "shop")
    served = site()
    answer(served, world, "False", "It refuses connections.", "2026-03-01T12:00:00Z")

    guest = visit(served)
    guest.open(f"/ui/environments/{SHOP}")
    guest.paste(served.issuer.token(environments=[SHOP], scope="read rollback admin"))
    expect(guest.page.get_by_role("heading", name="What needs attention")).to_be_visible()
    expect(guest.page.get_by_text("(admin, read, rollback)")).to_be_visible()
    button = "Check again now"
    expect(guest.page.get_by_role("button", name=button)).to_have_count(0)

    ann = visit(served)
    ann.page.clock.install()
    page = ann.open(f"/ui/environments/{SHOP}")
    ann.paste(served.issuer.token(environments=[SHOP]))
    page.get_by_role("button", name=button).click()
    expect(page.get_by_text("Requested at")).to_be_visible()
    expect(page.get_by_role("button", name=button)).to_be_disabled()
    first = requested(world)
    assert first

    answer(served, world, "False", "The password is wrong.", first)
    expect(page.get_by_text("Checked again at")).to_be_visible()
    expect(page.get_by_role("region", name="What needs attention")).to_contain_text("The password is wrong.")

    page.get_by_role("button", name=button).click()
    expect(page.get_by_text("Requested at")).to_be_visible()
    second = requested(world)
    assert second > first
    page.clock.fast_forward(LATE)
    expect(page.get_by_text("No check has ended within 2 minutes")).to_be_visible()
    expect(page.get_by_role("button", name=button)).to_be_enabled()

    answer(served, world, "True", "", second)
    expect(page.get_by_role("region", name="What needs attention")).to_have_count(0)
    expect(page.get_by_text("Checked again at")).to_be_visible()
    expect(page.get_by_role("button", name=button)).to_have_count(0)
    until(lambda: requested(world) == second, page)
