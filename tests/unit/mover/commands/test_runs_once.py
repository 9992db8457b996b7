"""A rollback runs once, even when the cluster that ran it is gone: by the command line, with a store and a database
that remain."""

import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from ocore_crds.stored.rollback_record import RollbackRun
from ocore_mover.database import position
from ocore_mover.database.connect import Connection
from ocore_mover.database.position import Mark, RollbackMark
from ocore_mover.database.switch.switch import DatabaseSwitch
from ocore_mover.errors import MoverError
from support.mover import beside
from support.mover.beside import ENVIRONMENT, Finished, call, command, stand_beside, was_killed, which
from support.mover.records import option, run_of, states
from support.mover.site import Site
from support.mover.waiting import WaitingSwitch, until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store."""
    store = tmp_path / "snapshots"
    store.mkdir()
    assert call("probe-store", "--store", store.as_uri()).code == 0
    return store


@pytest.fixture
def run(site_any: Site) -> RollbackRun:
    return run_of(site_any.rollback_id, ENVIRONMENT)


@contextmanager
def switching(
    site: Site, store: Path, run: RollbackRun, files: Path, *, failpoints: str = ""
) -> Iterator[WaitingSwitch]:
    files.mkdir(exist_ok=True)
    process = beside.start(
        site, "switch", *beside.rollback_options(site), "--store", store.as_uri(), *option(run),
        "--signal-file", str(files / "signal"), "--ready-file", str(files / "ready"), "--wait", "60",
        failpoints=failpoints,
    )  # fmt: skip
    try:
        yield WaitingSwitch(process, files)
    finally:
        process.kill()
        process.wait()


def restore_again(site: Site, store: Path, run: RollbackRun, scratch: Path) -> Finished:
    """The same Rollback, created again: its restore Job. The snapshot does not exist: it must not even be looked
    for."""
    fresh = {"uid": str(uuid.uuid4()), "attempt": str(uuid.uuid4()), "rollback_id": site.rollback_id}
    again = run.model_copy(update=fresh)
    return command(
        site,
        "restore",
        "--store",
        store.as_uri(),
        "--snapshot-id",
        run.snapshot_id,
        "--scratch",
        str(scratch),
        *option(again),
    )


def test_row_32_started_is_in_the_store_before_it_is_ready(
    site_any: Site, folder: Path, run: RollbackRun, tmp_path: Path
) -> None:
    stand_beside(site_any)
    with switching(site_any, folder, run, tmp_path / "job") as job:
        until(lambda: job.is_ready)
        assert states(folder, run) == {"started"}
        job.signal("Switch")
        until(lambda: "switched" in states(folder, run))
        assert which(site_any) == "new"
        again = restore_again(site_any, folder, run, tmp_path)
        assert again.reason == "AlreadyExecuted"
        assert job.finish().result["payload"]["position"] == "New"
    back = run.model_copy(update={"attempt": str(uuid.uuid4())})
    done = command(site_any, "switch", "--now", "--back", "--store", folder.as_uri(), *option(back))
    assert done.code == 0
    assert states(folder, run) == {"started", "switched", "switched-back"}
    assert which(site_any) == "old"
    assert restore_again(site_any, folder, run, tmp_path).reason == "SwitchedBack"
    # What was switched back is still there: a refused restore removes nothing.
    assert site_any.names.restored in site_any.databases()


def test_row_32_without_its_record_it_never_waits_for_the_signal(
    site_any: Site, folder: Path, run: RollbackRun, tmp_path: Path
) -> None:
    stand_beside(site_any)
    files = tmp_path / "job"
    files.mkdir()
    where = folder / "environments" / ENVIRONMENT / "rollbacks" / run.name / run.spec_hash / run.uid / run.attempt
    where.mkdir(parents=True)
    (where / "started.json").write_text("{}")
    (files / "signal").write_text(f'{{"action": "Switch", "notAfter": {time.time() + 60}}}')
    with switching(site_any, folder, run, files) as job:
        done = job.finish()
    assert (done.code, done.reason) == (1, "RecordConflict")
    assert not (files / "ready").exists()
    assert which(site_any) == "old"


def test_row_32_a_store_that_refuses_the_record_refuses_the_switch(
    site_any: Site, folder: Path, run: RollbackRun, tmp_path: Path
) -> None:
    stand_beside(site_any)
    (folder / "environments").write_text("not a folder")
    with switching(site_any, folder, run, tmp_path / "job") as job:
        done = job.finish()
    assert done.code == 1
    assert "environments" in done.message
    assert not job.is_ready
    assert which(site_any) == "old"


def test_row_32_the_comment_decides_a_switch_that_was_killed(
    site_any: Site, folder: Path, run: RollbackRun, tmp_path: Path
) -> None:
    """Killed between the renames and the answer: `started` stays open in the store."""
    stand_beside(site_any)
    with switching(site_any, folder, run, tmp_path / "job", failpoints="switch-renamed=kill") as job:
        until(lambda: job.is_ready)
        job.signal("Switch")
        assert was_killed(job.finish())
    assert states(folder, run) == {"started"}
    assert command(site_any, "inspect", "--repair").result["payload"]["position"] == "New"
    assert restore_again(site_any, folder, run, tmp_path).reason == "AlreadyExecuted"
    # A switch back by a Job of its own, which has no store: the comment changes again.
    assert command(site_any, "switch", "--now", "--back", *option(run)).code == 0
    assert which(site_any) == "old"
    assert restore_again(site_any, folder, run, tmp_path).reason == "SwitchedBack"


def test_row_32_neither_store_nor_database_shows_the_outcome(
    site_any: Site, folder: Path, run: RollbackRun, tmp_path: Path
) -> None:
    stand_beside(site_any)
    with switching(site_any, folder, run, tmp_path / "job", failpoints="switch-refused=kill") as job:
        until(lambda: job.is_ready)
        job.signal("Switch")
        assert was_killed(job.finish())
    done = restore_again(site_any, folder, run, tmp_path)
    assert done.reason == "OutcomeUnknown"
    assert "create it under another name" in done.message
    # The live database refuses connections since the kill; the check needs none to it.
    assert command(site_any, "inspect", "--repair").result["payload"]["position"] == "Old"
    other = run_of(site_any.rollback_id, ENVIRONMENT, name="another-name")
    assert restore_again(site_any, folder, other, tmp_path).reason == "SnapshotNotFound"


def test_row_32_a_switch_that_was_stopped_before_its_signal_may_run_again(
    site_any: Site, folder: Path, run: RollbackRun, tmp_path: Path
) -> None:
    stand_beside(site_any)
    with switching(site_any, folder, run, tmp_path / "job") as job:
        until(lambda: job.is_ready)
        job.process.send_signal(signal.SIGTERM)
        assert job.finish().reason == "Cancelled"
    assert states(folder, run) == {"started", "not-switched"}
    # It gets past the record, to the snapshot, which does not exist in this test.
    assert restore_again(site_any, folder, run, tmp_path).reason == "SnapshotNotFound"


def test_row_32_stopped_after_the_switch_is_not_unswitched(
    site_any: Site, folder: Path, run: RollbackRun, tmp_path: Path
) -> None:
    stand_beside(site_any)
    with switching(site_any, folder, run, tmp_path / "job", failpoints="switch-done=sleep:3") as job:
        until(lambda: job.is_ready)
        job.signal("Switch")
        until(lambda: site_any.names.previous in site_any.databases() and site_any.accepts_connections())
        job.process.send_signal(signal.SIGTERM)
        job.finish()
    assert states(folder, run) == {"started", "switched"}


def test_row_32_a_switch_back_that_was_stopped_is_not_unswitched(
    site_any: Site, folder: Path, run: RollbackRun, tmp_path: Path
) -> None:
    """Only a switch that is stopped before its signal writes that it has not switched."""
    stand_beside(site_any)
    assert command(site_any, "switch", "--now", *option(run)).code == 0
    options = ("--now", "--back", "--store", folder.as_uri(), *option(run))
    process = beside.start(
        site_any, "switch", *beside.rollback_options(site_any), *options, failpoints="switch-back-renamed=sleep:3"
    )
    try:
        until(lambda: site_any.names.previous not in site_any.databases())
        process.send_signal(signal.SIGTERM)
        beside.finish(process, timeout=60)
    finally:
        process.kill()
        process.wait()
    assert "not-switched" not in states(folder, run)
    assert which(site_any) == "old"


@pytest.mark.parametrize("store", ["file:///does/not/exist", "s3://bucket/prefix"])
def test_a_switch_back_does_not_need_its_store(site_any: Site, run: RollbackRun, tmp_path: Path, store: str) -> None:
    stand_beside(site_any)
    assert command(site_any, "switch", "--now", *option(run)).code == 0
    (tmp_path / "credentials").mkdir()
    where = ["--store", store, "--s3-endpoint", "http://127.0.0.1:9", "--s3-credentials", str(tmp_path / "credentials")]
    begun = time.monotonic()
    done = command(site_any, "switch", "--now", "--back", *where, *option(run))
    assert done.code == 0, done.stderr
    assert done.result["payload"]["position"] == "Old"
    assert time.monotonic() - begun < 20
    assert which(site_any) == "old"


def test_row_32_the_renames_and_the_comment_are_one_transaction(
    site_any: Site, run: RollbackRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_beside(site_any)
    switch = DatabaseSwitch(site_any.target, site_any.rollback_id, run)
    written = position.write_mark

    def refuse(connection: Connection, database: str, mark: Mark) -> None:
        written(connection, database, mark)
        raise psycopg.errors.InsufficientPrivilege("must be owner of the database")

    with monkeypatch.context() as patched:
        patched.setattr(position, "write_mark", refuse)
        with pytest.raises(MoverError):
            switch.switch(lambda: None, lambda _: None)
    assert which(site_any) == "old"
    assert site_any.databases() == {site_any.live, site_any.names.restored}

    site_any.sql(f"COMMENT ON DATABASE {site_any.live} IS 'of the user'")
    assert switch.switch(lambda: None, lambda _: None).position.live.mark.rollbacks == (
        RollbackMark.of(run, "Switched"),
    )
    back = switch.switch_back(lambda: None, lambda _: None).position.live.mark
    assert (back.comment, back.rollbacks) == ("of the user", (RollbackMark.of(run, "SwitchedBack"),))
    switch.close()


def test_row_32_a_later_rollback_keeps_what_the_database_remembers(
    site_any: Site, run: RollbackRun, folder: Path, tmp_path: Path
) -> None:
    stand_beside(site_any)
    assert command(site_any, "switch", "--now", *option(run)).code == 0
    assert command(site_any, "cleanup", "--what", "previous").code == 0
    later = run_of(str(uuid.uuid4()), ENVIRONMENT, name="later")
    site_any.rollback_id = later.rollback_id
    site_any.sql("DROP TABLE which")
    stand_beside(site_any)
    assert command(site_any, "switch", "--now", *option(later)).code == 0
    # The store is a new one: only the database remembers both.
    for each in (run, later):
        assert restore_again(site_any, folder, each, tmp_path).reason == "AlreadyExecuted"


def test_a_record_of_other_ids_is_wrong_usage(site_any: Site, run: RollbackRun) -> None:
    other = run.model_copy(update={"rollback_id": str(uuid.uuid4())})
    for text in (option(other), ["--record", "{}"]):
        done = command(site_any, "switch", "--now", *text)
        assert done.code == 2
        assert "--record" in done.stderr


def test_a_waiting_switch_with_a_record_needs_the_store(site_any: Site, run: RollbackRun, tmp_path: Path) -> None:
    done = command(site_any, "switch", "--signal-file", f"{tmp_path}/signal", *option(run))
    assert done.code == 2
    assert "--store" in done.stderr
