"""A real Odoo in the cluster, where ``OCORE_ODOO`` names one.

`make test` loads its image then; by hand: localcluster/cluster images odoo:dev.
"""

import os

import pytest

from support.cluster.cluster import Cluster
from support.cluster.odoo_client import Browser
from support.cluster.other_namespace import into, store_to_read
from support.cluster.promises import fresh
from support.cluster.real_odoo import OdooSite, odoo_site
from support.cluster.site import Servers
from support.mover.real_odoo import ACT, JOBS, production_for
from support.mover.sinks import Sinks, sinks

pytestmark = [pytest.mark.odoo, pytest.mark.timeout(1200)]

#: Of the Rollbacks: a start of Odoo takes its time on a busy machine.
PATIENT = {"readyTimeoutSeconds": 180, "timeoutSeconds": 600}


def test_row_63_a_real_odoo(cluster: Cluster, servers: Servers) -> None:
    """A snapshot under users who work and Odoo's own collection, a rollback, its undo, and a staging copy that reaches
    no one."""
    with (
        sinks(node_address(cluster)) as reached,
        odoo_site(cluster, servers, filled=False, type="staging", neutralize={}) as staging,
        odoo_site(cluster, servers, granted=[staging.namespace]) as production,
    ):
        production.shell(production_for(reached))
        rolled_back_and_undone(production)
        copied(production, staging, reached)


def node_address(cluster: Cluster) -> str:
    """At which pods reach this process."""
    addresses = cluster.objects("Node")[0]["status"]["addresses"]
    return str(next(a["address"] for a in addresses if a["type"] == "InternalIP"))


def rolled_back_and_undone(site: OdooSite) -> None:
    """With a session from before, and with Odoo's collection between the two."""
    browser, text = site.app.login(), os.urandom(2000)
    before = site.app.attach(text)
    with site.app.at_work() as users:
        earlier = len(users.kept)
        site.completed("Snapshot", site.snapshot("middle"), 300)
        during = len(users.kept)
    assert users.failures == []
    assert during > earlier, "no one wrote beside the snapshot"
    site.files_fit()
    later = site.app.attach(os.urandom(2000))
    site.app.rpc("ir.attachment", "unlink", [before.id])
    site.app.collect()

    back = site.rollback(fresh("back"), "middle", undoWindowSeconds=3600, **PATIENT)
    site.completed("Rollback", back, 300)
    site.files_fit()
    site.holds(before, *users.kept[:earlier])
    site.misses(later)
    serves(site, browser)
    assert browser.page(f"/web/content/{before.id}?download=true") == text

    # What Odoo collects now is of the restored filestore alone.
    site.app.rpc("ir.attachment", "unlink", [a.id for a in (before, *users.kept[:earlier])])
    site.app.collect()
    site.completed("Rollback", site.undo(fresh("undo"), back, undoWindowSeconds=0, **PATIENT), 300)
    site.files_fit()
    site.holds(later, *users.kept)
    site.misses(before)
    serves(site, browser)


def serves(site: OdooSite, browser: Browser) -> None:
    """The page to log in, and the session from before."""
    assert b"oe_login_form" in site.app.visitor().page("/web/login")
    assert browser.call("/web/session/get_session_info")["uid"] == 2


def copied(production: OdooSite, staging: OdooSite, reached: Sinks) -> None:
    """Onto an empty database that Odoo waits for. By the image's own command and what is built in. Then both do the
    same."""
    store_to_read(production, staging)
    copy = into(production, staging, fresh("copy"), "middle", isolation="BestEffort", undoWindowSeconds=0, **PATIENT)
    status = staging.completed("Rollback", copy, 400)["status"]
    assert status["neutralize"]["method"] == "Image"
    staging.files_fit()
    serves(staging, staging.app.login())
    staging.shell(ACT + JOBS)
    assert reached.take() == ([], []), "the copy reached customers or devices"
    production.shell(ACT)
    mails, pushes = reached.take()
    assert (len(mails), pushes) == (2, ["/device"]), "what arrives from production"
