"""Layout Plain: an application that was not stopped makes its folder again while the filestore is switched, on a file
system without an exchange of names. Every repair works, and what it wrote is kept."""

from pathlib import Path

import pytest

from ocore_crds import failpoints
from ocore_mover import disk
from ocore_mover.commands.switcher import RollbackTarget, Switcher
from ocore_mover.deadline import Token
from ocore_mover.filestore.folders import ClaimFolders
from support.mover.beside import ENVIRONMENT
from support.mover.desk import Desk
from support.mover.site import Site


class Shop:
    """A desk of layout Plain with a restored rollback. The database and the folder each say which state they hold."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.desk = Desk(site, folder, layout="Plain")
        self.folder = self.desk.claim / self.desk.path
        (self.folder / "which").write_text("snapshot")
        site.sql("CREATE TABLE t AS SELECT 'snapshot' AS which")
        self.desk.ok("snapshot")
        (self.folder / "which").write_text("later")
        site.sql("UPDATE t SET which = 'later'")
        self.desk.ok("restore")

    def interrupt(self, monkeypatch: pytest.MonkeyPatch, *, back: bool) -> None:
        """A switch that ends between its two renames, and an application that makes its folder again."""
        folders = ClaimFolders(self.desk.claim, self.desk.path, ENVIRONMENT)
        switcher = Switcher(RollbackTarget(self.site.target, folders, "Plain", self.site.rollback_id), Token(60))
        with monkeypatch.context() as patch:
            patch.setattr(disk, "exchange", lambda *_: False)
            if back:
                switcher.forward()
            patch.setenv(failpoints.ENVIRONMENT_VARIABLE, "switch-filestore-moved=error")
            patch.setattr(failpoints, "_fired", set())
            with pytest.raises(failpoints.FailpointError):
                switcher.back() if back else switcher.forward()
        switcher.close()
        assert not self.folder.exists()
        self.folder.mkdir()
        (self.folder / "upload").write_text("written by the application")

    def states(self) -> tuple[str, str]:
        """What the database and the folder hold."""
        return str(self.site.sql("SELECT which FROM t")[0][0]), (self.folder / "which").read_text()


@pytest.fixture
def shop(site_any: Site, tmp_path: Path) -> Shop:
    return Shop(site_any, tmp_path)


@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
@pytest.mark.parametrize(
    ("command", "position"),
    [
        (("inspect", "--repair"), None),
        (("inspect", "--repair", "--workloads-stopped"), None),
        (("switch", "--now"), "New"),
        (("switch", "--now", "--back"), "Old"),
        (("switch", "--now", "--undo-to", "Old"), "Old"),
    ],
)
def test_row_126_every_repair_works_beside_an_intruder(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], position: str | None, back: bool
) -> None:
    shop.interrupt(monkeypatch, back=back)
    found = shop.desk.ok(*command).result["payload"]
    now = position or ("Old" if back else "New")  # the databases decide
    assert found["position"] == now
    assert found["acceptingConnections"] is not False
    assert shop.states() == (("later", "later") if now == "Old" else ("snapshot", "snapshot"))
    (aside,) = found["setAside"]
    assert (shop.desk.claim / aside / "upload").read_text() == "written by the application"
    shop.desk.ok("cleanup", "--what", "previous" if now == "New" else "restored")
    assert shop.desk.own_folders() == {Path(aside).name}


def test_row_126_a_cleanup_moves_no_folder(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.interrupt(monkeypatch, back=False)
    for part in ("previous", "restored"):
        done = shop.desk.run("cleanup", "--what", part)
        assert done.reason == "Mismatch"
        assert "inspect --repair" in done.result["failure"]["message"]
    assert (shop.folder / "upload").exists()
    shop.desk.ok("inspect", "--repair")
    assert shop.states() == ("snapshot", "snapshot")
