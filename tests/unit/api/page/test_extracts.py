"""Files and rows out of a snapshot: what is offered, where the result is, and how it comes to one's own machine."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from ocore_kube.types import ENVIRONMENTS, EXTRACTS
from support.api.serving import Serving
from support.api.visitor import Visitor
from support.api.world import NAMESPACE, World, id_of

PROJECT = id_of("project", "shop")
SHOP, SNAPSHOT = id_of(PROJECT, "shop"), id_of("snapshot", "shop", "shop-1")
VIEW = f"/ui/environments/{SHOP}/snapshots/{SNAPSHOT}"


def test_rows_are_extracted_and_copied(
    site: Callable[..., Serving], visit: Callable[..., Visitor], world: World
) -> None:
    world.environment(PROJECT, "shop")
    unknown = {"type": "RollbackReady", "status": "True", "reason": "CapacityUnknown", "message": ""}
    conditions = [{**unknown, "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    world.server.set_status(ENVIRONMENTS, NAMESPACE, "shop", {"conditions": conditions})
    served = site()
    served.call(world.snapshot, "shop", "shop-1")
    person = visit(served)
    page = person.open(VIEW)
    person.paste(served.issuer.token(projects=[PROJECT]))
    extracts = page.get_by_role("region", name="Extract files or rows")
    extracts.get_by_label(re.compile("^What")).select_option("tables")
    expect(extracts.get_by_text("set spec.database.capacity of the environment first")).to_be_visible()
    extracts.get_by_label(re.compile("^Table")).fill("res_partner")
    extracts.get_by_label(re.compile("^Only rows whose column")).fill("id")
    extracts.get_by_label("Value", exact=True).fill("7")
    extracts.get_by_label(re.compile("^Kept for")).select_option("168")
    extracts.get_by_role("button", name="Extract").click()
    result = extracts.get_by_role("listitem").filter(has_text="rows of res_partner")
    copy = "kubectl ocore cp shop-1 restored --table public.res_partner --where id=7 -n apps"
    expect(result.get_by_role("button", name=f"Copy: {copy}")).to_be_visible()
    expect(result).to_contain_text("Key in the store")
    (made,) = world.server.of(EXTRACTS)
    assert made["spec"]["expiresAfterSeconds"] == 7 * 86400
    # A name that was extracted once is offered.
    expect(extracts.locator("datalist option")).to_have_attribute("value", "res_partner")
    # Who may not is not asked.
    reader = visit(served)
    reader.open(VIEW)
    reader.paste(served.issuer.token(projects=[PROJECT], scope="read"))
    line = "To extract files or rows, sign in with a token that has the scope rollback."
    expect(reader.page.get_by_text(line)).to_be_visible()
    expect(reader.page.get_by_role("button", name="Extract")).to_have_count(0)
