"""Switches and switches back by the waiting Job, and the files that only one of the two databases names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ocore_mover.commands.switcher import RollbackTarget, Switcher
from ocore_mover.deadline import Token
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.odoo.hold import HoldSet
from support.mover.application import Application
from support.mover.beside import ENVIRONMENT
from support.mover.desk import Desk
from support.mover.site import Site


@pytest.fixture
def desk(site_any: Site, tmp_path: Path) -> Desk:
    return Desk(site_any, tmp_path)


def upload_before_first(application: Application, later: list[str], hold_all: Callable[..., int]) -> Callable[..., int]:
    """A user uploads a file after the names were read."""
    pending = [1]

    def extend_late(hold: HoldSet, *names: object) -> int:
        if pending:
            later.extend(application.write_many(pending.pop()))
        return hold_all(hold, *names)

    return extend_late


def test_a_file_lost_long_ago_does_not_keep_it_from_switching_back(desk: Desk, token: Token) -> None:
    application = Application(desk.site, desk.claim)
    names = application.write_many(10)
    (application.filestore / names[0]).unlink()
    desk.ok("snapshot", "--missing-files", "Report")
    later = application.write_many(3)
    (application.filestore / later[0]).unlink()
    desk.ok("restore")
    folders = ClaimFolders(desk.claim, desk.path, ENVIRONMENT)
    switcher = Switcher(RollbackTarget(desk.site.target, folders, "Odoo", desk.site.rollback_id), token)
    try:
        switcher.prepare()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HoldSet, "hold_all", upload_before_first(application, later, HoldSet.hold_all))
            assert switcher.forward().position == "New"
        # The application's garbage collection removes what the restored database does not name.
        for name in later[1:]:
            (application.filestore / name).unlink()
        back = switcher.back()
    finally:
        switcher.close()
    assert back.position == "Old"
    assert back.accepting_connections
    assert back.relinked_files == 3
    assert sorted(application.missing()) == sorted([names[0], later[0]])


def test_a_file_that_is_written_at_the_last_moment_is_held(desk: Desk, token: Token) -> None:
    """After the names were read and the files were held, before connections are refused. The files are held again
    without sessions: after the switch only the previous database names this one, and the application's garbage
    collection removes it."""
    application = Application(desk.site, desk.claim)
    application.write_many(4)
    desk.ok("snapshot")
    desk.ok("restore")
    folders = ClaimFolders(desk.claim, desk.path, ENVIRONMENT)
    switcher = Switcher(RollbackTarget(desk.site.target, folders, "Odoo", desk.site.rollback_id), token)
    late: list[str] = []
    hold_all = HoldSet.hold_all

    def extend_early(hold: HoldSet, *names: object) -> int:
        count = hold_all(hold, *names)  # type: ignore[arg-type]
        if not late:
            late.extend(application.write_many(1))
        return count

    try:
        switcher.prepare()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HoldSet, "hold_all", extend_early)
            assert switcher.forward().position == "New"
        assert len(late) == 1
        assert late[0] in HoldSet(folders, desk.site.rollback_id).held()
        (application.filestore / late[0]).unlink()
        assert switcher.back().position == "Old"
    finally:
        switcher.close()
    assert application.missing() == []


def test_a_link_is_no_file_that_is_kept(desk: Desk, token: Token, tmp_path: Path) -> None:
    """Whether a file exists is not asked through a link."""
    application = Application(desk.site, desk.claim)
    names = application.write_many(3)
    desk.ok("snapshot")
    desk.ok("restore")
    hold = desk.claim / ".ocore" / ENVIRONMENT / f"hold-{desk.site.rollback_id[:8]}"
    outside = tmp_path / "outside"
    hold.rename(outside)
    hold.symlink_to(outside)
    folders = ClaimFolders(desk.claim, desk.path, ENVIRONMENT)
    switcher = Switcher(RollbackTarget(desk.site.target, folders, "Odoo", desk.site.rollback_id), token)
    try:
        with pytest.raises(Exception, match="run `restore` again"):
            switcher.prepare()
    finally:
        switcher.close()
    assert len(names) == 3
