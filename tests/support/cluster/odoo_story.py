"""A real Odoo in use, a snapshot of it, and a rollback."""

import os

from ocore_crds.naming import EXTRACT_MARKER

from .odoo_client import Attachment, Browser
from .promises import fresh
from .real_odoo import OdooSite

#: What an upgrade of the module `contacts` sets back.
CHANGED_TO = 77
CHANGED = f"env.ref('contacts.menu_contacts').sequence = {CHANGED_TO}"
SEQUENCE = (
    "SELECT m.sequence FROM ir_ui_menu m JOIN ir_model_data d ON d.model = 'ir.ui.menu' AND d.res_id = m.id"
    " WHERE d.module = 'contacts' AND d.name = 'menu_contacts'"
)
#: Of the Rollbacks: a start of Odoo takes its time on a busy machine.
PATIENT = {"readyTimeoutSeconds": 180, "timeoutSeconds": 600}


def rolled_back_and_undone(site: OdooSite, seconds: float = 300) -> None:
    """With a session from before, over an upgrade, and with Odoo's collection between the two. `seconds`: for each
    operation at most."""
    browser, text = site.app.login(), os.urandom(2000)
    before = site.app.attach(text)
    site.shell(CHANGED)
    with site.app.at_work() as users:
        earlier = len(users.kept)
        site.completed("Snapshot", site.snapshot("middle"), seconds)
        during = len(users.kept)
    assert users.failures == []
    assert during > earlier, "no one wrote beside the snapshot"
    site.files_fit()
    later = site.app.attach(os.urandom(2000))
    site.app.rpc("ir.attachment", "unlink", [before.id])
    site.app.collect()
    comes_back_alone(site, before, text)
    site.upgrade("contacts")
    assert site.query(SEQUENCE) != [(CHANGED_TO,)], "the upgrade wrote nothing"

    back = site.rollback(fresh("back"), "middle", undoWindowSeconds=3600, **PATIENT)
    site.completed("Rollback", back, seconds)
    site.files_fit()
    site.holds(before, *users.kept[:earlier])
    site.misses(later)
    serves(site, browser)
    assert browser.page(f"/web/content/{before.id}?download=true") == text
    assert site.query(SEQUENCE) == [(CHANGED_TO,)], "the upgrade was not taken back"

    # What Odoo collects now is of the restored filestore alone.
    site.app.rpc("ir.attachment", "unlink", [a.id for a in (before, *users.kept[:earlier])])
    site.app.collect()
    site.completed("Rollback", site.undo(fresh("undo"), back, undoWindowSeconds=0, **PATIENT), seconds)
    site.files_fit()
    site.holds(later, *users.kept)
    site.misses(before)
    assert site.query(SEQUENCE) != [(CHANGED_TO,)]
    serves(site, browser)


def comes_back_alone(site: OdooSite, lost: Attachment, text: bytes) -> None:
    """By model, record and name, beside what is live."""
    wanted = {"model": "res.partner", "recordId": lost.record, "name": "a.bin"}
    target = {"claim": {"path": "restored"}}
    site.completed("Extract", site.extract("one", snapshotRef={"name": "middle"}, attachments=wanted, target=target))
    found = [path for path in (site.claim_root / "restored").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in found if path.name != EXTRACT_MARKER] == [text]
    site.misses(lost)


def serves(site: OdooSite, browser: Browser) -> None:
    """The page to log in, and the session from before."""
    assert b"oe_login_form" in site.app.visitor().page("/web/login")
    assert browser.call("/web/session/get_session_info")["uid"] == 2
