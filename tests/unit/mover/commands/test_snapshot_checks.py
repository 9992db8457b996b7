"""What a snapshot checks before and after its manifest: damage that happens in the store while it is taken. No database
is needed for it."""

import json
import shutil
from pathlib import Path

import pytest

from ocore_mover import manifests
from ocore_mover.commands import config_archive
from support.mover.beside import call
from support.mover.plain_desk import Folder, damage_first


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_snapshot_that_does_not_read_back_is_deleted(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its manifest was published: without the deletion it would be found, adopted and restored."""

    def flip() -> None:
        data = bytearray(folder.pack().read_bytes())
        data[len(data) // 2] ^= 1
        folder.pack().write_bytes(data)

    damage_first(manifests, "verify_objects", flip, monkeypatch)
    done = folder.snapshot("--verify", "Full")
    assert done.code == 1, done.stdout
    assert done.reason == "Corrupt"
    assert folder.is_none()
    assert folder.objects() == []


@pytest.mark.parametrize("how", ["gone", "shorter"])
def test_no_manifest_names_an_object_that_the_store_lost(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def lose() -> None:
        path = folder.pack()
        path.unlink() if how == "gone" else path.write_bytes(path.read_bytes()[:-1])

    damage_first(config_archive, "capture", lose, monkeypatch)
    done = folder.snapshot()
    assert done.code == 1, done.stdout
    assert done.reason == "Corrupt"
    assert "pack-" in done.message
    assert folder.is_none()
    assert folder.objects() == []


def test_without_damage_it_is_complete(folder: Folder) -> None:
    """The two tests above fail by the damage alone."""
    assert folder.snapshot("--verify", "Full").code == 0
    assert call("inspect", *folder.which).code == 0
    shutil.rmtree(folder.claim)
    assert call("verify", *folder.which).code == 0


# --- the state object ------------------------------------------------------------------------------------------------


def test_the_state_is_stored_with_the_snapshot_and_replaced_later(folder: Folder) -> None:
    first = {"pinLabel": "audit", "retention": "Keep", "deletionPolicy": "Retain"}
    assert folder.snapshot("--state", json.dumps(first)).result["payload"]["state"] == first
    assert call("inspect", *folder.which).result["payload"]["state"] == first
    second = {"retention": "Policy", "deletionPolicy": "Delete"}
    assert call("write-state", *folder.which, "--state", json.dumps(second)).result["payload"]["state"] == second
    assert call("inspect", *folder.which).result["payload"]["state"] == second


def test_leftovers_are_removed_without_the_state_and_a_deletion_removes_it(folder: Folder) -> None:
    assert folder.snapshot("--state", "{}").code == 0
    assert call("delete", *folder.which, "--attempts-only").code == 0
    assert "state.json" in folder.objects()
    assert call("delete", *folder.which).code == 0
    assert folder.objects() == []


def test_no_state_is_written_after_the_deletion(folder: Folder) -> None:
    assert folder.snapshot("--state", "{}").code == 0
    assert call("delete", *folder.which).code == 0
    refused = call("write-state", *folder.which, "--state", "{}")
    assert (refused.code, refused.reason) == (1, "SnapshotNotFound")
    assert folder.objects() == []


def test_a_state_that_is_not_valid_is_refused(folder: Folder) -> None:
    assert call("write-state", *folder.which, "--state", '{"retention": "Burn"}').code == 2


def test_a_configuration_on_the_claim_is_in_the_snapshot_and_a_rollback_reads_it(folder: Folder) -> None:
    (folder.claim / "app.conf").write_text("key = value\n")
    site = ("--claim", str(folder.claim), "--filestore", "files", "--layout", "Plain")
    done = call("snapshot", *folder.which, *site, "--config-file", "app.conf")
    assert done.code == 0, done.stdout
    manifest = json.loads(next(folder.store.rglob("manifest.json")).read_text())
    assert manifest["config"]["path"] == "app.conf"
    assert "configuration: the file app.conf" in manifest["evidence"]["required"]
    restore = ("restore", *folder.which, *site, "--rollback-id", "9c7d1f0a-1111-4222-8333-444455556666")
    assert call(*restore).code == 0
    archive = next(folder.store.rglob("config.tar"))
    archive.write_bytes(archive.read_bytes().replace(b"value", b"other"))
    assert call(*restore).reason == "Corrupt"


def test_a_configuration_is_given_once(folder: Folder) -> None:
    assert folder.snapshot("--config-file", "app.conf").code == 2
