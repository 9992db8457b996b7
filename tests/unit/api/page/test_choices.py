"""What a person chooses before something is deleted or replaced: rules of retention, and the environment."""

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from ocore_kube.types import ENVIRONMENTS, POLICIES
from support.api.operated import Operated
from support.api.serving import Serving
from support.api.visitor import Visitor
from support.api.world import NAMESPACE, id_of

PROJECT = id_of("project", "shop")
SHOP, SNAPSHOT = id_of(PROJECT, "shop"), id_of("snapshot", "shop", "shop-1")


@pytest.fixture
def world() -> Operated:
    world = Operated()
    world.environment(PROJECT, "shop", "production")
    return world


def come(site: Callable[..., Serving], visit: Callable[..., Visitor], path: str) -> Visitor:
    served = site()
    person = visit(served)
    person.open(path)
    person.paste(served.issuer.token(projects=[PROJECT]))
    return person


def test_every_rule_of_retention_is_tried_and_nothing_is_saved(
    site: Callable[..., Serving], visit: Callable[..., Visitor], world: Operated
) -> None:
    for number in (1, 2, 3):
        world.snapshot("shop", f"shop-{number}", retention="Policy")
    metadata = {"namespace": NAMESPACE, "name": "shop"}
    spec = {"environmentRef": {"name": "shop"}, "keepDaily": 14, "maxPinned": 5}
    policy = {"apiVersion": "ocore.dev/v1alpha1", "kind": "SnapshotPolicy", "metadata": metadata, "spec": spec}
    world.server.put(policy, manager="argocd-controller")
    person = come(site, visit, f"/ui/environments/{SHOP}/settings")
    page = person.page
    expect(page.get_by_label(re.compile("^Days that snapshots are kept"))).to_have_value("")
    # What another client owns would be refused: it is named before, and the rest is saved.
    pinned = page.get_by_label(re.compile("^Snapshots that may be pinned.*owned by argocd-controller"))
    expect(pinned).to_be_disabled()
    page.get_by_label(re.compile("^Seconds after which")).fill("600")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    rules = page.get_by_role("region", name="Try rules of retention")
    fields = rules.get_by_role("spinbutton")
    expect(fields).to_have_count(7)
    before = world.server.of(POLICIES)
    plan = rules.get_by_role("region", name="What is deleted with these rules")
    expect(plan).to_have_count(0)

    for number in range(1, 7):
        fields.nth(number).fill("1")
    expect(plan.get_by_text("2 deleted")).to_be_visible()
    rules.get_by_label("Every snapshot, for so many days").fill("9")
    expect(plan.get_by_text("0 deleted")).to_be_visible()
    asked = parse_qs(urlsplit([url for url in person.requests if "/retention?" in url][-1]).query)
    del asked["limit"]
    names = ["keepLast", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepYearly"]
    assert asked == {"retentionDays": ["9"], **{name: ["1"] for name in names}}
    rules.get_by_label("The newest of each of so many days").fill("1001")
    expect(rules.get_by_text("the others up to 1,000")).to_be_visible()
    expect(plan).to_have_count(0)

    page.reload()
    assert world.server.of(POLICIES) == before


def test_the_command_sets_what_was_tried(
    site: Callable[..., Serving], visit: Callable[..., Visitor], world: Operated
) -> None:
    person = come(site, visit, f"/ui/environments/{SHOP}/settings")
    person.page.get_by_role("button", name="Create settings with the defaults").click()
    person.page.get_by_label("The newest of each of so many days").fill("14")
    command = """kubectl -n apps patch snapshotpolicies.ocore.dev shop --type merge -p '{"spec":{"keepDaily":14}}'"""
    expect(person.page.get_by_role("button", name=f"Copy: {command}")).to_be_visible()
    assert world.server.live(POLICIES, NAMESPACE, "shop")["metadata"]["name"] == "shop"


def test_the_environment_that_is_replaced_is_found_among_many(
    site: Callable[..., Serving], visit: Callable[..., Visitor], world: Operated
) -> None:
    world.snapshot("shop", "shop-1")
    for number in range(120):
        world.environment(PROJECT, f"copy-{number:03}")
    page = come(site, visit, f"/ui/environments/{SHOP}/snapshots/{SNAPSHOT}/rollback").page
    target = page.get_by_label("Environment that is replaced")
    header = page.get_by_role("region", name="What is replaced")
    expect(header).to_contain_text("its state of")
    # Not a field that someone in a hurry changes: it is folded, below what is replaced.
    expect(target).to_be_hidden()
    instead = page.get_by_text("Roll back another environment instead …")
    assert instead.bounding_box()["y"] > header.bounding_box()["y"]  # type: ignore[index]
    instead.click()
    expect(page.get_by_text("100 of 121 environments are in the list.")).to_be_visible()
    expect(target).to_have_value(SHOP)
    find = page.get_by_label(re.compile("^Find the environment"))
    find.fill("copy-119")
    expect(page.get_by_text("1 found.")).to_be_visible()
    expect(target).to_have_value(SHOP)
    target.select_option(id_of(PROJECT, "copy-119"))
    find.fill("")
    expect(page.get_by_text("100 of 121 environments are in the list.")).to_be_visible()
    expect(target).to_have_value(id_of(PROJECT, "copy-119"))
    expect(page.get_by_role("heading", name="Replace copy-119")).to_be_visible()
    expect(header).to_contain_text(re.compile("copy-119.* the state of shop of .*All its live data is set aside"))
    previews = [r["spec"]["targetEnvironmentRef"]["name"] for r in world.rollbacks()]
    assert previews == ["shop", "copy-119"]


HOSTILE = "application 'ALTER ROLE \"x\" SUPERUSER;' is connected.\u202e\nRun: GRANT postgres TO shop;"


def test_row_125_only_what_was_made_of_data_can_be_copied(
    site: Callable[..., Serving], visit: Callable[..., Visitor], world: Operated
) -> None:
    """A message is text of a Job, and of a tenant's database."""
    when = "2026-01-01T00:00:00Z"
    missing = {"type": "RollbackReady", "status": "False", "reason": "MissingGrants", "message": HOSTILE}
    probe = {"time": when, "generation": 1, "remedies": [{"right": "EndSessions", "role": "Application"}]}
    status = {"conditions": [{**missing, "lastTransitionTime": when}], "probe": probe}
    world.server.set_status(ENVIRONMENTS, NAMESPACE, "shop", status)
    person = come(site, visit, f"/ui/environments/{SHOP}")
    attention = person.page.get_by_role("region", name="What needs attention")
    offered = attention.get_by_role("button", name=re.compile("^Copy: "))
    statements = ("GRANT pg_signal_backend TO <application>;", "kubectl ocore doctor")
    expect(offered).to_have_count(2)
    for number, text in enumerate(statements):
        expect(offered.nth(number)).to_have_attribute("aria-label", f"Copy: {text}")
    expect(attention.get_by_text("<application>: the user in Secret db.")).to_be_visible()
    expect(attention.get_by_text(r"is connected.\u202e")).to_be_visible()
