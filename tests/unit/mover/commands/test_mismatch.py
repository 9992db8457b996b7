"""Layout Plain: the databases' renames were lost or undone, and the folder stayed switched. A running application's
folder is never moved."""

import threading
import time
from pathlib import Path

import pytest

from ocore_crds import conditions
from ocore_mover.commands.switcher import RollbackTarget, Switcher
from ocore_mover.database.position import Position
from ocore_mover.database.switch.switch import DatabaseSwitch
from ocore_mover.deadline import Token
from ocore_mover.filestore.folders import ClaimFolders
from support.mover.beside import ENVIRONMENT
from support.mover.desk import Desk
from support.mover.site import Site


class Shop:
    """A desk of layout Plain with a rollback that is switched. The database and the folder each say which state they
    hold."""

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
        self.desk.ok("switch", "--now")

    def lose_the_rename(self, *, accepts: bool = True) -> None:
        """As a failover to a replica that has not received it, or as SQL by hand."""
        names, execute = self.site.names, self.site.server.execute
        for database, name in ((names.live, names.restored), (names.previous, names.live)):
            execute(f'ALTER DATABASE "{database}" RENAME TO "{name}"')
        execute(f'ALTER DATABASE "{names.restored}" ALLOW_CONNECTIONS false')
        execute(f'ALTER DATABASE "{names.live}" ALLOW_CONNECTIONS {str(accepts).lower()}')

    def switcher(self) -> Switcher:
        folders = ClaimFolders(self.desk.claim, self.desk.path, ENVIRONMENT)
        return Switcher(RollbackTarget(self.site.target, folders, "Plain", self.site.rollback_id), Token(60))

    def states(self) -> tuple[str, str]:
        """What the database and the folder hold."""
        return str(self.site.sql("SELECT which FROM t")[0][0]), (self.folder / "which").read_text()


@pytest.fixture
def shop(site_any: Site, tmp_path: Path) -> Shop:
    return Shop(site_any, tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ("cleanup", "--what", "previous"),
        ("cleanup", "--what", "restored"),
        ("inspect",),
        ("inspect", "--repair"),
        ("switch", "--now"),
        ("switch", "--now", "--back"),
        ("switch", "--now", "--undo-to", "Old"),
    ],
)
def test_row_62_a_lost_rename_is_a_mismatch_and_no_folder_is_moved(shop: Shop, command: tuple[str, ...]) -> None:
    shop.lose_the_rename()
    (shop.folder / "upload").write_text("written by the running application")
    done = shop.desk.run(*command)
    assert done.reason == "Mismatch", done.stdout
    message = done.result["failure"]["message"]
    assert "position Old" in message
    assert "inspect --repair --workloads-stopped" in message
    assert (shop.folder / "upload").exists()
    assert shop.states() == ("later", "snapshot")
    assert shop.site.databases() == {shop.site.names.live, shop.site.names.restored}
    assert any(name.startswith("prev-") for name in shop.desk.own_folders())


def test_both_ways_out_of_a_mismatch(shop: Shop) -> None:
    """The folder follows the databases where the workloads are stopped; or someone renames the databases to fit the
    folder."""
    shop.lose_the_rename()
    (shop.folder / "upload").write_text("written by the application")
    found = shop.desk.ok("inspect", "--repair", "--workloads-stopped").result["payload"]
    assert found["position"] == "Old"
    assert shop.states() == ("later", "later")
    stage = next(name for name in shop.desk.own_folders() if name.startswith("stage-"))
    assert (shop.desk.claim / ".ocore" / ENVIRONMENT / stage / "upload").exists()
    shop.desk.ok("switch", "--now")
    shop.lose_the_rename()
    names, execute = shop.site.names, shop.site.server.execute
    for database, name in ((names.live, names.previous), (names.restored, names.live)):
        execute(f'ALTER DATABASE "{database}" RENAME TO "{name}"')
    execute(f'ALTER DATABASE "{names.live}" ALLOW_CONNECTIONS true')
    shop.desk.ok("cleanup", "--what", "previous")
    assert shop.states() == ("snapshot", "snapshot")


def test_a_cleanup_moves_no_folder_where_the_database_refuses_connections(shop: Shop) -> None:
    """An inspection repairs that: the database is half of an interrupted switch."""
    shop.lose_the_rename(accepts=False)
    assert shop.desk.run("cleanup", "--what", "restored").reason == "Mismatch"
    assert (shop.folder / "which").read_text() == "snapshot"
    assert not shop.site.accepts_connections()
    assert shop.desk.ok("inspect").result["payload"]["acceptingConnections"] is False
    shop.desk.ok("inspect", "--repair")
    assert shop.states() == ("later", "later")
    shop.desk.ok("cleanup", "--what", "restored")
    assert shop.desk.own_folders() == set()


@pytest.mark.parametrize("back", [False, True])
def test_a_rename_that_is_lost_while_the_switch_runs(shop: Shop, *, back: bool) -> None:
    """The folder was moved, then the server failed over: the switch moves it back before connections are allowed."""
    names, execute = shop.site.names, shop.site.server.execute
    if not back:
        shop.desk.ok("switch", "--now", "--back")
    lost: list[str] = []
    allow = DatabaseSwitch.allow_live

    def fail_over(switch: DatabaseSwitch) -> Position:
        if not lost:
            lost.append("lost")
            moves = (
                ((names.live, names.previous), (names.restored, names.live))
                if back
                else ((names.live, names.restored), (names.previous, names.live))
            )
            for database, name in moves:
                execute(f'ALTER DATABASE "{database}" RENAME TO "{name}"')
            raise conditions_error()
        return allow(switch)

    switcher = shop.switcher()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DatabaseSwitch, "allow_live", fail_over)
            result = switcher.back() if back else switcher.forward()
    finally:
        switcher.close()
    assert lost
    assert result.position == ("New" if back else "Old")
    assert shop.states() == (("snapshot", "snapshot") if back else ("later", "later"))


def conditions_error() -> Exception:
    from ocore_mover.errors import MoverError

    return MoverError(conditions.DATABASE_UNREACHABLE, "the server failed over", retryable=True)


def test_a_switch_that_runs_beside_a_read_is_no_mismatch(shop: Shop) -> None:
    """A read without the operation lock may fall into the switch of an undo."""
    stop = threading.Event()
    found: list[str] = []

    def read() -> None:
        while not stop.is_set():
            switcher = shop.switcher()
            try:
                found.append(switcher.observe().position)
            except Exception as error:
                found.append(str(error))
            finally:
                switcher.close()
            time.sleep(0.002)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(3):
            shop.desk.ok("switch", "--now", "--back")
            shop.desk.ok("switch", "--now")
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert set(found) == {"Old", "New"}
