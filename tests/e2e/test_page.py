"""The page in a browser, with the facade's real image and the real operator. tests/unit/api/page has the whole story,
against an operator that a test can hold."""

import re

import pytest
from playwright.sync_api import Page, expect

from support.api.visitor import WITHOUT_TLS, chromium, type_to_confirm, visitor
from support.cluster.facade import Facade
from support.cluster.promises import holds_all_promises, marker, set_marker
from support.cluster.site import PROJECT, Sites

#: Milliseconds for an operation on a machine that other tests use as well.
OPERATION = 240_000


@pytest.mark.timeout(900)
def test_snapshot_preview_rollback_and_undo_by_clicks(sites: Sites, facade: Facade) -> None:
    site = sites.of()
    set_marker(site, 1)
    host = facade.url.removeprefix("http://")
    with chromium(host) as browser, visitor(browser, facade.url) as person:
        # The browser is in the network of the node, where the interfaces of pods come and go.
        person.expected += [WITHOUT_TLS, "net::ERR_NETWORK_CHANGED"]
        page = person.open("/ui/")
        person.paste(facade.token("ann@example.org", projects=(PROJECT,)))
        page.get_by_label("Name, namespace or id").fill(site.namespace)
        found = page.get_by_role("row").filter(has_text=site.namespace)
        found.get_by_role("link", name=site.environment, exact=True).click()
        click(page, "Take a snapshot")
        expect(page.get_by_role("heading", level=1, name=re.compile("^Snapshot of "))).to_be_visible()
        expect(page.get_by_role("link", name=re.compile("^Roll back to "))).to_be_visible(timeout=OPERATION)
        set_marker(site, 5)

        page.get_by_role("link", name=re.compile("^Roll back to ")).click()
        expect(page.get_by_text("The rollback would run")).to_be_visible(timeout=OPERATION)
        type_to_confirm(page, f"production {site.namespace}/{site.environment}")
        page.get_by_label("Take a safety snapshot of it first").uncheck()
        click(page, "Roll back now")
        outcome = page.get_by_text(re.compile(f"^{site.environment} has the state of "))
        expect(outcome).to_be_visible(timeout=OPERATION)
        assert marker(site) == 1

        click(page, "Undo the rollback …")
        dialog = page.get_by_role("dialog", name="Undo the rollback?")
        type_to_confirm(dialog, f"production {site.namespace}/{site.environment}")
        dialog.get_by_role("button", name="Undo it").click()
        expect(page.get_by_text("The rollback is undone")).to_be_visible(timeout=OPERATION)
        assert marker(site) == 5
    site.gone("Rollback", *(o["metadata"]["name"] for o in site.cluster.objects("Rollback", site.namespace)))
    holds_all_promises(site)


def click(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
