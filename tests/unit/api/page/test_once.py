"""A person starts an operation once, however often they click, and none without meaning it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from support.api.serving import Serving
from support.api.visitor import Visitor
from support.api.world import World

PROJECT = "9b1f4a60-3a52-4b4d-9a06-0e5f2d7c8a11"


@pytest.fixture
def ann(site: Callable[..., Serving], visit: Callable[..., Visitor], world: World) -> Visitor:
    """Signed in, at an environment with one snapshot."""
    environment = world.environment(PROJECT, "shop")
    served = site()
    served.call(world.snapshot, "shop", "shop-1")
    person = visit(served)
    person.open(f"/ui/environments/{environment}")
    person.paste(served.issuer.token(environments=[environment]))
    return person


def test_row_116_a_double_click_takes_one_snapshot(ann: Visitor, world: World) -> None:
    ann.page.get_by_role("button", name="Take a snapshot").dblclick()
    expect(ann.page.get_by_role("heading", level=1)).to_contain_text("Snapshot ")
    assert len(world.snapshots()) == 2


def losing(person: Visitor, answers: int) -> list[str]:
    """The first answers to the request for a snapshot are lost, after it has arrived; the keys of those requests."""
    person.expected.append("net::ERR_FAILED")
    lost: list[str] = []

    def lose(route: Route) -> None:
        if route.request.method == "POST" and len(lost) < answers:
            lost.append(route.request.headers["idempotency-key"])
            route.fetch()
            route.abort()
        else:
            route.continue_()

    person.page.route("**/api/environments/*/snapshots", lose)
    return lost


def test_row_116_the_page_repeats_a_request_whose_answer_is_lost(ann: Visitor, world: World) -> None:
    """As where the network changes."""
    (lost, button) = losing(ann, 1), ann.page.get_by_role("button", name="Take a snapshot")
    with ann.page.expect_request(lambda asked: asked.method == "POST" and bool(lost)) as again:
        button.click()
    assert again.value.headers["idempotency-key"] == lost[0]
    expect(ann.page.get_by_role("heading", level=1)).to_contain_text("Snapshot ")
    assert len(world.snapshots()) == 2


def test_row_116_a_click_after_a_lost_answer_repeats_the_same_request(ann: Visitor, world: World) -> None:
    lost = losing(ann, 2)
    button = ann.page.get_by_role("button", name="Take a snapshot")
    button.click()
    expect(ann.page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    assert len(world.snapshots()) == 2, "the request had arrived"
    with ann.page.expect_request(lambda asked: asked.method == "POST") as again:
        button.click()
    assert {again.value.headers["idempotency-key"]} == set(lost)
    expect(ann.page.get_by_role("heading", level=1)).to_contain_text("Snapshot ")
    assert len(world.snapshots()) == 2


def test_two_snapshots_that_are_wanted_are_two(ann: Visitor, world: World) -> None:
    for count in (2, 3):
        ann.page.get_by_role("button", name="Take a snapshot").click()
        expect(ann.page.get_by_role("heading", level=1)).to_contain_text("Snapshot ")
        assert len(world.snapshots()) == count
        ann.page.go_back()
