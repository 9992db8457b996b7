"""A new application: its database exists, its filestore's folder does not (issue 9, item 27)."""

import shutil
from pathlib import Path

import pytest

from support.mover.application import Application
from support.mover.desk import Desk
from support.mover.site import Site


@pytest.fixture
def desk(site_any: Site, tmp_path: Path) -> Desk:
    return Desk(site_any, tmp_path)


@pytest.mark.parametrize("gone", ["odoo/filestore/live", "odoo"])
def test_a_snapshot_before_the_first_file(desk: Desk, gone: str) -> None:
    application = Application(desk.site, desk.claim)
    shutil.rmtree(desk.claim / gone)
    probed = desk.ok("probe").result["payload"]
    assert probed["blocking"] == []
    assert probed.get("rollback", []) == []
    assert any("does not exist yet" in w and "or a rollback does" in w for w in probed["warnings"])
    taken = desk.ok("snapshot").result["payload"]
    assert taken.get("filestoreFiles", 0) == 0
    assert any("does not exist yet" in w for w in taken["evidence"]["warnings"])
    # Nothing of ours is left, and nothing was created for the application.
    assert not (desk.claim / gone).exists()
    assert desk.own_folders() == set()
    desk.ok("verify")

    # The application writes files; the rollback to the empty snapshot works, and back.
    application.filestore.mkdir(parents=True)
    names = application.write_many(5)
    assert [f["reason"] for f in desk.ok("probe").result["payload"].get("rollback", ())] == []
    desk.ok("restore")
    assert desk.ok("switch", "--now").result["payload"]["position"] == "New"
    assert desk.ok("switch", "--now", "--back").result["payload"]["position"] == "Old"
    assert application.missing() == []
    assert all((application.filestore / name).exists() for name in names)


def test_a_database_that_names_files_needs_its_folder(desk: Desk) -> None:
    """A wrong path must never be taken for an empty filestore."""
    application = Application(desk.site, desk.claim)
    application.write_many(3)
    application.filestore.rename(desk.claim / "elsewhere")
    assert [f["reason"] for f in desk.ok("probe").result["payload"]["blocking"]] == ["FilestoreNotFound"]
    assert desk.run("snapshot").reason == "FilestoreNotFound"


def test_a_link_is_not_an_absent_folder(desk: Desk) -> None:
    application = Application(desk.site, desk.claim)
    (desk.claim / "real").mkdir()
    application.filestore.rmdir()
    application.filestore.symlink_to(desk.claim / "real")
    assert [f["reason"] for f in desk.ok("probe").result["payload"]["blocking"]] == ["FilestoreNotFound"]
    assert desk.run("snapshot").reason == "FilestoreNotFound"


def test_row_127_a_rollback_creates_the_folder_on_a_new_claim(desk: Desk) -> None:
    """The cluster was lost: the application's empty database exists, its claim is new."""
    application = Application(desk.site, desk.claim)
    names = application.write_many(5)
    desk.ok("snapshot")
    desk.site.sql("DELETE FROM ir_attachment")
    shutil.rmtree(desk.claim)
    desk.claim.mkdir(mode=0o750)
    assert desk.ok("probe").result["payload"].get("rollback", []) == []
    desk.ok("restore")
    assert desk.ok("switch", "--now").result["payload"]["position"] == "New"
    assert application.missing() == []
    assert all((application.filestore / name).exists() for name in names)
    assert application.filestore.stat().st_mode & 0o777 == 0o750
