"""Whether the Jobs' user can use the store on a claim: asked by ``probe`` as that user."""

import errno
import os
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions
from ocore_crds.naming import STORE_ID_KEY, manifest_key
from ocore_mover.store import access, probe
from ocore_mover.store import folder as folder_module
from ocore_mover.store.folder import FolderStore
from support.mover.beside import call
from support.mover.filestore import ENVIRONMENT
from support.mover.stored import put
from support.mover.users import in_child, open_to_others

NAME = "claim://backups/eu/shop"
OLD, NEW = 12345, 23456
#: The first by name is not the newest.
FIRST, LAST = "0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c02", "9c7d1f0a-1111-4222-8333-444455556666"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A new store that the user OLD has made."""
    if os.geteuid() != 0:
        pytest.skip("needs to become another user")
    open_to_others(tmp_path)
    folder = tmp_path / "store"
    folder.mkdir()
    os.chown(folder, OLD, OLD)
    in_child(OLD, lambda: probe.probe_store(FolderStore(folder)))
    (folder / STORE_ID_KEY).chmod(0o644)
    return folder


def asked(root: Path, uid: int) -> str:
    return in_child(uid, lambda: access.check(FolderStore(root, NAME), ENVIRONMENT))


def snapshot(root: Path, uid: int, snapshot_id: str) -> None:
    in_child(uid, lambda: put(FolderStore(root), manifest_key(ENVIRONMENT, snapshot_id), b"{}"))


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


NOTHING = repr(access.Access())


def test_row_75_the_claim_of_another_user_is_found_by_the_probe(root: Path) -> None:
    """spec.jobs.runAsUser was changed."""
    snapshot(root, OLD, FIRST)
    before = tree(root)
    assert asked(root, OLD) == NOTHING
    found = asked(root, NEW)
    assert conditions.STORE_NOT_WRITABLE in found
    for part in (f"environments/{ENVIRONMENT}/snapshots", NAME, f"Uid {NEW}", "chown -R", "spec.jobs.runAsUser"):
        assert part in found
    assert root.as_uri() not in found
    assert tree(root) == before


@pytest.mark.parametrize("exists", ["nothing", "environments", f"environments/{ENVIRONMENT}"])
def test_what_does_not_exist_yet_is_asked_of_its_parent(root: Path, exists: str) -> None:
    if exists != "nothing":
        in_child(OLD, lambda: (root / exists).mkdir(parents=True))
    before = tree(root)
    assert asked(root, OLD) == NOTHING
    assert conditions.STORE_NOT_WRITABLE in asked(root, NEW)
    assert tree(root) == before


def test_only_what_a_snapshot_needs_is_asked(root: Path) -> None:
    """The environment's folder was given to the new user; its parents belong to the user of another environment."""
    snapshot(root, OLD, FIRST)
    for path in (root / "environments" / ENVIRONMENT, *(root / "environments" / ENVIRONMENT).rglob("*")):
        os.chown(path, NEW, NEW)
    assert asked(root, NEW) == NOTHING
    (root / STORE_ID_KEY).chmod(0o640)  # a snapshot reads it
    assert f"cannot read {STORE_ID_KEY} in {NAME}" in asked(root, NEW)


def test_a_manifest_that_cannot_be_read(root: Path) -> None:
    snapshot(root, OLD, FIRST)
    snapshots = root / "environments" / ENVIRONMENT / "snapshots"
    snapshots.chmod(0o777)
    found = asked(root, NEW)
    assert conditions.STORE_NOT_WRITABLE in found
    assert f"cannot read {manifest_key(ENVIRONMENT, FIRST)} in {NAME}" in found
    # The newest one that is complete counts: the new user has taken a snapshot since.
    snapshot(root, NEW, LAST)
    (snapshots / "unfinished").mkdir()
    os.utime(snapshots / FIRST, (1, 1))
    assert asked(root, NEW) == NOTHING


def test_row_75_the_command_reports_it(root: Path) -> None:
    files = root.parent / "claim" / "files"
    files.mkdir(parents=True)
    arguments = ["probe", "--claim", str(files.parent), "--filestore", "files", "--layout", "Plain"]
    arguments += ["--environment-id", ENVIRONMENT, "--store", root.as_uri(), "--store-name", NAME]
    assert call(*arguments).result["payload"]["ownStore"] == []  # it loads the modules, which the others may not read
    for uid, reasons in ((OLD, []), (NEW, [conditions.STORE_NOT_WRITABLE])):
        payload = literal_eval(in_child(uid, lambda: call(*arguments).result["payload"]))
        assert [f["reason"] for f in payload["ownStore"]] == reasons
        assert payload["blocking"] == []
    assert call("probe", "--claim", "/x", "--filestore", "x", "--layout", "Plain", "--store", "s3://bucket").code == 2
    assert call("probe", "--claim", "/x", "--filestore", "x", "--layout", "Plain", "--store", "ftp://x").code == 2


def test_a_store_without_a_folder_is_left_to_its_own_probe(tmp_path: Path) -> None:
    assert access.check(FolderStore(tmp_path / "none", NAME), ENVIRONMENT) == access.Access()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_a_full_or_failing_store_is_not_taken_for_one_without_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """It is a warning: rollbacks and deletions work on a full store, and its own probe reports the rest."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(folder_module.os, "open", refuse)
    found = access.check(FolderStore(tmp_path, NAME), ENVIRONMENT)
    assert found.findings == ()
    (warning,) = found.warnings
    assert os.strerror(code) in warning
    assert NAME in warning


def test_a_read_only_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(folder_module.os, "open", refuse)
    (finding,) = access.check(FolderStore(tmp_path, NAME), ENVIRONMENT).findings
    assert finding.reason == conditions.STORE_NOT_WRITABLE
    assert "mounted read-only" in finding.message
    assert "chown" not in finding.message
