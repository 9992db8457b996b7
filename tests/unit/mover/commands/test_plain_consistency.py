"""Layout Plain beside an application that deletes: every file that the exported database names is in the snapshot."""

import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from ocore_crds.protocol import Step
from ocore_mover import inotify
from ocore_mover.commands.snapshot import export_beside
from ocore_mover.database.dump.export import export
from ocore_mover.deadline import Token
from ocore_mover.filestore import index
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.layout import CaptureOptions
from ocore_mover.filestore.plain.capture import PlainCapture
from ocore_mover.filestore.plain.copy import store_plain
from ocore_mover.filestore.plain.freeze import freeze
from ocore_mover.report import Reporter
from ocore_mover.store import Store
from support.mover.beside import ENVIRONMENT
from support.mover.deleting import FILES, DeletingApplication, beside
from support.mover.desk import Desk
from support.mover.site import Site

#: Deletions a second, and how many of them are enough for the test on a machine that is slow or has much else to do.
RATE, ENOUGH = 400.0, 50.0


@pytest.mark.parametrize(("order", "runs"), [("oldest", 20), ("any", 5)])
def test_row_38_no_file_that_the_exported_database_names_is_lost(
    site_any: Site, tmp_path: Path, store: Store, token: Token, order: str, runs: int
) -> None:
    """Only a file that is younger than the freeze when it is deleted may be in neither pass; these are counted."""
    folders = ClaimFolders(tmp_path / "claim", "data/files", ENVIRONMENT)
    folders.filestore.mkdir(parents=True)
    reporter = Reporter(Path(os.devnull))
    lost_in_all, seconds = 0, 0.0
    with DeletingApplication(site_any, folders.filestore, order) as application:
        started, deleted = time.monotonic(), application.deleted
        for run in range(runs):
            counter = reporter.counter(Step.COPY_FILESTORE)
            while application.moved < run:  # the move of the last run is over
                time.sleep(0.01)
            begin = time.monotonic()
            application.may_move.set()
            with (
                freeze(folders, f"a{run}") as frozen,
                export(site_any.target, token) as exported,
            ):
                frozen.extend()
                end = time.monotonic()
                named = {str(row[0]) for row in exported.connection.execute("SELECT path FROM file").fetchall()}
                artifact, warnings = store_plain(store, f"e/a{run}/", frozen, counter, jobs=1)
            stored = {index.parse(line).name for line in index.lines(store.read(artifact.index))}
            assert len(named) > FILES // 2
            lost = named - stored
            assert [n for n in lost if application.born[n] < begin or application.gone[n] > end] == [], f"run {run}"
            assert {"0/wanderer", "f/wanderer"} & stored, f"run {run}"
            assert all("hard links" in warning for warning in warnings), warnings  # of the file that moved
            assert not (folders.claim / ".ocore").exists()
            lost_in_all += len(lost)
            seconds += end - begin
        rate = (application.deleted - deleted) / (time.monotonic() - started)
        assert application.moved >= runs - 1
    print(f"{rate:.0f} deletions a second, {seconds / runs:.2f} s to freeze, {lost_in_all} lost in {runs} runs")
    assert rate > 20, f"only {rate:.0f} deletions a second"
    assert order == "any" or lost_in_all == 0


@pytest.mark.parametrize("events", [True, False])
def test_row_89_what_comes_and_goes_during_the_export_is_reported(
    site_any: Site, tmp_path: Path, store: Store, token: Token, monkeypatch: pytest.MonkeyPatch, events: bool
) -> None:
    """The application deletes its newest file first, 400 files a second: what it deletes is often in no listing.
    Without events it is found by what vanished. bench/plain.py does the same with more files."""
    if not events:
        monkeypatch.setattr(inotify, "sees_all", lambda _: False)
    folders = ClaimFolders(tmp_path / "claim", "data/files", ENVIRONMENT)
    folders.filestore.mkdir(parents=True)
    reporter = Reporter(Path(os.devnull))
    runs = 20 if events else 3
    reported = lost_in_all = 0
    application = DeletingApplication(site_any, folders.filestore, "newest", files=1000, rate=RATE, writers=8)
    with beside(application) as rate:
        for run in range(runs):
            with freeze(folders, f"a{run}") as frozen, ExitStack() as stack:
                capture = PlainCapture(frozen, CaptureOptions(tmp_path, consistency="BestEffort"))
                exported = export_beside(capture, site_any.target, token, stack)
                capture.complete()
                named = {str(row[0]) for row in exported.connection.execute("SELECT path FROM file").fetchall()}
                counter = reporter.counter(Step.COPY_FILESTORE)
                copied = capture.copy(store, f"e/a{run}/", counter, jobs=1)
                clean = not copied.incomplete
            stored = {index.parse(line).name for line in index.lines(store.read(copied.artifact.index))}
            lost = named - stored
            assert not (lost and clean), f"run {run}: {lost}"
            lost_in_all += len(lost)
            reported += not clean
        reached = rate.value
    print(f"{reached:.0f} deletions a second, {reported} of {runs} runs reported, {lost_in_all} lost")
    assert reached > ENOUGH, f"only {reached:.0f} deletions a second"
    assert not events or reported < runs, "a clean freeze is possible"


def test_row_38_the_command_freezes_on_both_sides_of_the_export(site_any: Site, tmp_path: Path) -> None:
    """The command itself, with dump, restore and switch."""
    desk = Desk(site_any, tmp_path, layout="Plain")
    with DeletingApplication(site_any, desk.claim / desk.path) as application:
        desk.ok("snapshot")
        desk.ok("restore")
        assert application.deleted > 0
    desk.ok("switch", "--now")
    named = {str(row[0]) for row in site_any.sql("SELECT path FROM file")}
    assert len(named) > FILES // 2
    assert [name for name in named if not (desk.claim / desk.path / name).is_file()] == []


@pytest.mark.parametrize("consistency", ["Strict", "BestEffort"])
def test_row_38_a_log_that_grows_all_the_time(site_any: Site, tmp_path: Path, consistency: str) -> None:
    desk = Desk(site_any, tmp_path, layout="Plain")
    log = desk.claim / desk.path / "busy.log"
    log.touch()
    site_any.sql("CREATE TABLE t AS SELECT 1 AS a")
    stop = threading.Event()

    def append() -> None:
        with log.open("ab", buffering=0) as file:
            while not stop.wait(0.001):
                file.write(b"line\n")

    thread = threading.Thread(target=append)
    thread.start()
    try:
        # On a busy machine the log would not always grow between the export and the copy, in each of the tries.
        done = desk.armed("snapshot", "snapshot-frozen=delay:1", "--consistency", consistency)
    finally:
        stop.set()
        thread.join()
    if consistency == "Strict":
        assert done.reason == "FilestoreChanging"
        assert "busy.log" in done.result["failure"]["message"]
        assert "BestEffort" in done.result["failure"]["message"]
        assert desk.stored() == []
        assert desk.own_folders() == set()
        return
    assert done.code == 0, done.stdout + done.stderr
    warnings = desk.manifest().evidence.warnings
    assert any("1 files changed after the database was exported" in text and "busy.log" in text for text in warnings)
    desk.ok("restore")
