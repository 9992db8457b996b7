"""An environment without a database: layout Plain is switched alone."""

from pathlib import Path

import pytest

from ocore_mover.commands.switcher import RollbackTarget, Switcher
from ocore_mover.deadline import Token
from ocore_mover.filestore.folders import ClaimFolders
from support.mover.beside import call
from support.mover.plain_desk import Folder

ENVIRONMENT, ROLLBACK = "6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01", "99999999-2222-4333-8444-555555555555"


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


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("path", ["files", "data/files"])
def test_row_127_a_rollback_creates_the_folder_on_a_new_claim(tmp_path: Path, path: str) -> None:
    """The cluster was lost, the claim is new and empty: no one creates the folder by hand."""
    desk, where = Folder(tmp_path), ("--layout", "Plain", "--filestore")
    (desk.claim / "files/sub").mkdir()
    (desk.claim / "files/sub/b").write_bytes(b"b")
    before = files(desk.claim / "files")
    assert desk.snapshot().code == 0
    new = tmp_path / "new"
    new.mkdir(mode=0o750)
    site = ("--claim", str(new), *where, path, "--environment-id", ENVIRONMENT)
    probed = call("probe", *site).result["payload"]
    assert ([f["reason"] for f in probed["creatable"]], probed["blocking"]) == (["FilestoreNotCreated"], [])
    assert probed.get("rollback", []) == []
    assert "A Rollback creates the folder" in probed["creatable"][0]["message"]
    assert list(new.iterdir()) == [], "a probe creates nothing"
    rollback = ("--rollback-id", ROLLBACK, "--scratch", str(tmp_path))
    preview = call("preview", *desk.which, "--claim", str(new), *where, path)
    assert preview.code == 0, preview.stdout
    restored = call("restore", *site, "--store", desk.store.as_uri(), "--snapshot-id", desk.snapshot_id, *rollback)
    assert restored.code == 0, restored.stdout
    assert call("switch", *site, "--rollback-id", ROLLBACK, "--now").result["payload"]["position"] == "New"
    assert files(new / path) == before
    assert (new / path).stat().st_mode & 0o777 == 0o750


def test_row_127_a_claim_with_other_files_is_not_new(tmp_path: Path) -> None:
    """The path or the claim may be wrong."""
    desk = Folder(tmp_path)
    assert desk.snapshot().code == 0
    site = (
        "--claim",
        str(desk.claim),
        "--layout",
        "Plain",
        "--filestore",
        "other/files",
        "--environment-id",
        ENVIRONMENT,
    )
    assert [f["reason"] for f in call("probe", *site).result["payload"]["blocking"]] == ["FilestoreNotFound"]
    end = call(
        "restore", *site, "--store", desk.store.as_uri(), "--snapshot-id", desk.snapshot_id, "--rollback-id", ROLLBACK,
        "--scratch", str(tmp_path),
    )  # fmt: skip
    assert end.reason == "FilestoreNotFound"
    assert not (desk.claim / "other").exists()
