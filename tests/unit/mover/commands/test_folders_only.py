"""An environment without a database: layout Plain is switched alone."""

from pathlib import Path

from ocore_mover.commands.switcher import RollbackTarget, Switcher
from ocore_mover.deadline import Token
from ocore_mover.filestore.folders import ClaimFolders

ENVIRONMENT, ROLLBACK = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"


def test_row_93_no_database_refuses_connections(tmp_path: Path) -> None:
    folders = ClaimFolders(tmp_path, "files", ENVIRONMENT)
    folders.filestore.mkdir()
    folders.stage(ROLLBACK).mkdir(parents=True)
    (folders.stage(ROLLBACK) / "restored").touch()
    switcher = Switcher(RollbackTarget(None, folders, "Plain", ROLLBACK), Token(60))
    forward = switcher.forward()
    assert (forward.position, forward.refused_seconds) == ("New", None)
    assert (folders.filestore / "restored").exists()
    back = switcher.back()
    assert (back.position, back.refused_seconds) == ("Old", None)
