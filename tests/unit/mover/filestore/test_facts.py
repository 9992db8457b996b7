"""What ``probe`` says of a filestore."""

import os
from pathlib import Path

import pytest

from ocore_crds import conditions
from ocore_mover.filestore import facts, layouts, owner
from ocore_mover.filestore.folders import ClaimFolders
from support.mover.filestore import ENVIRONMENT, Site, no_links
from support.mover.users import in_child, open_to_others


def test_a_healthy_filestore(site: Site) -> None:
    site.fill(20)
    (site.filestore / "checklist" / "ab").mkdir(parents=True)
    (site.filestore / "checklist" / "ab" / "x").touch()
    found, blocking, rollback, warnings = facts.collect(site.folders, layouts.of("Odoo"))
    assert found is not None
    assert (found.file_count, found.size_bytes) == (20, sum(map(len, site.contents.values())))
    assert found.hard_links
    assert found.free_bytes > 0
    status = site.filestore.stat()
    assert (found.uid, found.gid) == (status.st_uid, status.st_gid)
    assert (blocking, rollback, warnings) == ((), (), ())
    assert not (site.claim / ".ocore").exists()


@pytest.mark.parametrize("make", ["nothing", "file"])
def test_no_folder(site: Site, make: str) -> None:
    site.filestore.rmdir()
    if make == "file":
        site.filestore.touch()
    found, blocking, _, _ = facts.collect(site.folders, layouts.of("Odoo"))
    assert found is None
    assert [finding.reason for finding in blocking] == [conditions.FILESTORE_NOT_FOUND]
    assert "spec.filestore.path" in blocking[0].message


def test_without_hard_links(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fill(3)
    no_links(monkeypatch)
    found, blocking, rollback, warnings = facts.collect(site.folders, layouts.of("Odoo"))
    assert found is not None
    assert not found.hard_links
    assert (blocking, rollback) == ((), ())
    assert "space for a copy" in warnings[0]


def test_a_folder_above_the_filestore(site: Site) -> None:
    site.fill(3)
    above = ClaimFolders(site.claim, "data", ENVIRONMENT)
    found, _, _, warnings = facts.collect(above, layouts.of("Odoo"))
    assert found is not None
    assert found.file_count == 0
    assert "is not an Odoo filestore" in warnings[0]


def test_plain_at_the_root_of_its_claim(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folders = ClaimFolders(tmp_path, "", ENVIRONMENT)
    found, blocking, rollback, _ = facts.collect(folders, layouts.of("Plain"))
    assert found is not None
    assert found.file_count == 1
    assert blocking == ()
    assert [finding.reason for finding in rollback] == [conditions.FILESTORE_LAYOUT_UNSUPPORTED]


@pytest.mark.parametrize("path", ["/abs", "../up", "a/../../b", ".ocore", ".ocore/x"])
def test_paths_that_leave_the_claim_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match=r"filestore"):
        ClaimFolders(tmp_path, path, ENVIRONMENT)


@pytest.fixture
def as_nobody() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to become another user")


@pytest.mark.usefixtures("as_nobody")
def test_another_user(site: Site, tmp_path: Path) -> None:
    open_to_others(tmp_path)
    site.fill(3)
    answer = in_child(12345, lambda: facts.collect(site.folders, layouts.of("Odoo"))[2])
    assert conditions.FILESTORE_NOT_READABLE in answer
    assert "runAsUser" in answer
    for file in site.filestore.rglob("*"):
        if file.is_file():
            file.chmod(0o600)
    assert "cannot read" in in_child(12345, lambda: facts.collect(site.folders, layouts.of("Odoo"))[1])
    site.filestore.chmod(0o700)
    assert conditions.FILESTORE_NOT_READABLE in in_child(
        12345, lambda: facts.collect(site.folders, layouts.of("Odoo"))[1]
    )


def test_a_folder_that_becomes_a_link_after_it_was_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application replaces it between two of our steps: a finding, not an error."""
    folders = site.folders
    found = ClaimFolders.require_filestore

    def replaced_afterwards(self: ClaimFolders) -> None:
        found(self)
        folders.filestore.rename(folders.filestore.with_name("moved"))
        folders.filestore.symlink_to(folders.filestore.with_name("moved"))

    monkeypatch.setattr(ClaimFolders, "require_filestore", replaced_afterwards)
    seen, blocking, _, _ = facts.collect(folders, layouts.of("Odoo"))
    assert seen is None
    assert len(blocking) == 1


@pytest.mark.usefixtures("as_nobody")
def test_row_86_the_owner_of_the_files_is_proposed(site: Site, tmp_path: Path) -> None:
    """By a user that may not read them."""
    open_to_others(tmp_path)
    site.fill(3)
    files = [each for each in site.filestore.rglob("*") if each.is_file()]
    before = [(f.stat().st_uid, f.stat().st_gid, f.stat().st_mode, f.stat().st_ctime_ns) for f in files]

    def proposed() -> str:
        return in_child(12345, lambda: owner.find(site.folders))

    found = proposed()
    assert conditions.JOB_USER_UNKNOWN in found
    assert "belong to root" in found
    assert "run_as_user" not in found
    assert [(f.stat().st_uid, f.stat().st_gid, f.stat().st_mode, f.stat().st_ctime_ns) for f in files] == before
    # The folders are root's, the files are not: a start script made them.
    for file in files:
        os.chown(file, 1001, 1002)
    assert "FileOwner(run_as_user=1001, run_as_group=1002)" in proposed()
    # Files that only their owner can see: the folder's owner.
    os.chown(site.filestore, 1003, 0)
    site.filestore.chmod(0o700)
    assert "FileOwner(run_as_user=1003, run_as_group=None)" in proposed()
    assert not (site.claim / ".ocore").exists()
