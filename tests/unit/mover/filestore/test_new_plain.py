"""``probe`` of a new application of layout Plain, which has written no file yet, and of a path that is wrong."""

from pathlib import Path

import pytest

from ocore_crds import conditions
from ocore_mover.filestore import facts, layouts
from ocore_mover.filestore.folders import ClaimFolders
from support.mover.filestore import ENVIRONMENT


def blocking(claim: Path, path: str, layout: str = "Plain") -> tuple[str, str]:
    """Reason and message of the one finding that blocks a snapshot. Nothing is created."""
    before = sorted(claim.rglob("*"))
    found, against, _, _ = facts.collect(ClaimFolders(claim, path, ENVIRONMENT), layouts.of(layout))
    assert found is None
    assert sorted(claim.rglob("*")) == before
    (finding,) = against
    return finding.reason, finding.message


@pytest.mark.parametrize("folders", [(), ("lost+found",), ("lost+found", ".ocore/x")])
def test_row_93_an_empty_claim_may_get_its_first_file(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for each in folders:
        (tmp_path / each).mkdir(parents=True)
    reason, message = blocking(tmp_path, "shop/data/files")
    assert reason in conditions.TRANSIENT
    assert "does not exist yet" in message
    assert "Nothing to do for a new application" in message
    assert "spec.filestore.path" in message


def test_only_the_last_folder_is_missing(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "config").touch()
    reason, _ = blocking(tmp_path, "shop/files")
    assert reason == conditions.FILESTORE_NOT_CREATED
    assert blocking(tmp_path, "files")[0] == conditions.FILESTORE_NOT_CREATED


@pytest.mark.parametrize("layout", ["Plain", "Odoo"])
def test_row_93_a_path_without_its_parents_is_wrong(tmp_path: Path, layout: str) -> None:
    """Layout Odoo: the database knows whether files are missing (test_new_application.py)."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "file").touch()
    for path in ("other/files", "shop/data/files", "shop/file/files"):
        reason, message = blocking(tmp_path, path, layout)
        assert reason == conditions.FILESTORE_NOT_FOUND
        assert reason not in conditions.TRANSIENT
        assert "spec.filestore.path" in message


def test_a_link_is_no_new_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "files").symlink_to(tmp_path / "real")
    assert blocking(tmp_path, "files")[0] == conditions.FILESTORE_NOT_FOUND


def test_layout_odoo_asks_its_database(tmp_path: Path) -> None:
    """A database that names files, and no folder: that does not pass."""
    assert blocking(tmp_path, "filestore/shop", "Odoo")[0] == conditions.FILESTORE_NOT_FOUND
