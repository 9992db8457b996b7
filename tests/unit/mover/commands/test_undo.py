"""An undo by the waiting Job, its reversal, and the undo of an undo: database and filestore, for both layouts, on a
real PostgreSQL."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from ocore_crds.protocol import SwitchResult
from ocore_crds.stored.rollback_record import RollbackRun
from ocore_mover.commands import switch
from ocore_mover.database import blockers, position
from ocore_mover.database.connect import connect_maintenance
from ocore_mover.database.position import RollbackMark
from ocore_mover.errors import MoverError, StoreError
from ocore_mover.rollback_records import RollbackRecords
from support.mover.application import Application
from support.mover.beside import ENVIRONMENT, Finished, start, was_killed
from support.mover.desk import Desk
from support.mover.records import option, run_of, states
from support.mover.site import Site
from support.mover.waiting import WaitingSwitch, until


class Undoes:
    """A desk with a rollback that is done, and the commands of its undos."""

    def __init__(self, site: Site, folder: Path, layout: str) -> None:
        self.desk = Desk(site, folder, layout=layout)
        self.files = folder / "files"
        self.application = Application(site, self.desk.claim)
        self.before = self.application.write_many(6)
        self.desk.ok("snapshot")
        # Written after the snapshot, so only the previous database has it.
        self.later = self.application.write_many(3)
        self.desk.ok("restore")
        self.desk.ok("switch", "--now")
        # Written to the restored database while it is live.
        self.after = self.application.write_many(2)

    @property
    def site(self) -> Site:
        return self.desk.site

    def run(self, name: str = "undo-monday") -> RollbackRun:
        run = run_of(str(uuid.uuid4()), ENVIRONMENT, name=name)
        return run.model_copy(update={"undoes": self.site.rollback_id})

    def job(self, run: RollbackRun, to: str, store: str = "") -> list[str]:
        """Options of a switch that waits for its signal."""
        return [
            "--store", store or self.desk.store.as_uri(), *option(run), "--undo-to", to,
            "--signal-file", str(self.files / "signal"), "--ready-file", str(self.files / "ready"), "--wait", "60",
        ]  # fmt: skip

    @contextmanager
    def waiting(self, run: RollbackRun, to: str, *, store: str = "", failpoints: str = "") -> Iterator[WaitingSwitch]:
        self.files.mkdir(exist_ok=True)
        for left in self.files.iterdir():
            left.unlink()
        process = start(self.site, *self.desk.arguments("switch"), *self.job(run, to, store), failpoints=failpoints)
        try:
            yield WaitingSwitch(process, self.files)
        finally:
            process.kill()
            process.wait()

    def undo(self, run: RollbackRun, to: str = "Old", *, store: str = "") -> Finished:
        with self.waiting(run, to, store=store) as job:
            until(lambda: job.is_ready or job.process.poll() is not None, 90)
            job.signal("Switch")
            return job.finish()

    def at_once(self, run: RollbackRun, to: str, *more: str) -> Finished:
        return self.desk.run("switch", "--now", "--undo-to", to, *option(run), *more)

    def names(self) -> set[str]:
        """What the live database names."""
        return {str(row[0]) for row in self.site.sql("SELECT store_fname FROM ir_attachment")}

    def check(self, live: list[str], *, kept: str) -> None:
        """The database, the filestore and what is kept beside them fit together."""
        names = self.site.names
        aside = names.restored if kept == "restored" else names.previous
        assert self.site.databases() == {names.live, aside}
        assert self.site.accepts_connections()
        assert self.names() == set(live)
        assert self.application.missing() == []
        found = self.site.server.execute(f"SELECT datallowconn FROM pg_database WHERE datname = '{aside}'")
        assert found == [(False,)], "the kept database accepts connections"


@pytest.fixture(params=["Odoo", "Plain"])
def undoes(request: pytest.FixtureRequest, site_any: Site, tmp_path: Path) -> Undoes:
    return Undoes(site_any, tmp_path, request.param)


def result(done: Finished) -> SwitchResult:
    assert done.code == 0, done.stdout + done.stderr
    return SwitchResult.model_validate(done.result["payload"])


def collect_garbage(undoes: Undoes) -> None:
    """As Odoo's autovacuum: unlinks what no row of the live database names."""
    if undoes.desk.layout == "Odoo":
        named = undoes.names()
        for file in undoes.application.filestore.glob("??/*"):
            if file.relative_to(undoes.application.filestore).as_posix() not in named:
                file.unlink()


def outcomes(site: Site) -> list[tuple[str, str]]:
    with connect_maintenance(site.target, application="test") as connection:
        return [(m.name, m.outcome) for m in position.rows(connection, site.names)[site.live].mark.rollbacks]


def test_undo_and_the_undo_of_it(undoes: Undoes) -> None:
    """Each keeps what was live before it, with what users wrote; nothing is lost, whatever garbage collection
    unlinks."""
    old, new = [*undoes.before, *undoes.later], [*undoes.before, *undoes.after]
    undoes.check(new, kept="previous")
    collect_garbage(undoes)
    run = undoes.run()
    back = result(undoes.undo(run))
    assert (back.position, back.restored_database) == ("Old", undoes.site.names.restored)
    assert back.refused_seconds is not None
    undoes.check(old, kept="restored")
    assert states(undoes.desk.store, run) == {"started", "switched"}
    assert outcomes(undoes.site) == [("undo-monday", "Switched")]

    collect_garbage(undoes)
    while_undone = undoes.application.write_many(2)
    again = undoes.run("undo-the-undo")
    forward = result(undoes.undo(again, "New"))
    assert (forward.position, forward.previous_database) == ("New", undoes.site.names.previous)
    undoes.check(new, kept="previous")
    assert outcomes(undoes.site)[-1] == ("undo-the-undo", "Switched")

    collect_garbage(undoes)
    result(undoes.undo(undoes.run("a-third-time")))
    undoes.check([*old, *while_undone], kept="restored")


def test_the_end_of_the_undo_window(undoes: Undoes) -> None:
    """The previous database of the undone rollback's undo is the restored one: it is dropped, with the folders. The
    live one is refused."""
    result(undoes.undo(undoes.run()))
    refused = undoes.desk.run("cleanup", "--what", "previous")
    assert refused.result["failure"]["reason"] == "SwitchFailed"
    done = undoes.desk.ok("cleanup", "--what", "restored")
    assert done.result["payload"]["databasesDropped"] == [undoes.site.names.restored]
    assert undoes.site.databases() == {undoes.site.live}
    assert undoes.desk.own_folders() == set()
    assert undoes.names() == {*undoes.before, *undoes.later}
    assert undoes.application.missing() == []


def test_an_undo_that_is_switched_back(undoes: Undoes) -> None:
    """The workloads did not become ready on it."""
    run = undoes.run()
    result(undoes.undo(run))
    collect_garbage(undoes)
    back = result(undoes.at_once(run, "Old", "--back", "--store", undoes.desk.store.as_uri()))
    assert back.position == "New"
    undoes.check([*undoes.before, *undoes.after], kept="previous")
    assert states(undoes.desk.store, run) == {"started", "switched", "switched-back"}
    assert outcomes(undoes.site)[-1] == ("undo-monday", "SwitchedBack")
    # The same in the other direction.
    result(undoes.undo(undoes.run("again")))
    other = undoes.run("undo-the-undo")
    result(undoes.undo(other, "New"))
    assert result(undoes.at_once(other, "New", "--back")).position == "Old"
    undoes.check([*undoes.before, *undoes.later], kept="restored")


KILLS = ("ready", "refused", "switch-sessions-ended", "renamed", "switch-filestore-moved", "switch-done")


@pytest.mark.parametrize("to", ["Old", "New"])
@pytest.mark.parametrize(
    ("layout", "failpoint"), [*(("Plain", failpoint) for failpoint in KILLS), ("Odoo", "refused"), ("Odoo", "renamed")]
)
def test_row_17_an_undo_killed_at_any_point(
    site_any: Site, tmp_path: Path, layout: str, to: str, failpoint: str
) -> None:
    """`kill -9` and `inspect --repair`: old or new, and whole. Then the container starts again with a signal: new."""
    undoes = Undoes(site_any, tmp_path, layout)
    at = {"ready": "switch-ready", "refused": "switch-back-refused" if to == "Old" else "switch-refused",
          "renamed": "switch-back-renamed" if to == "Old" else "switch-renamed"}.get(failpoint, failpoint)  # fmt: skip
    if to == "New":
        result(undoes.undo(undoes.run("first")))
    run = undoes.run()
    with undoes.waiting(run, to, failpoints=f"{at}=kill") as job:
        if failpoint != "ready":
            until(lambda: job.is_ready, 60)
            job.signal("Switch")
        assert was_killed(job.finish())
    old, new = [*undoes.before, *undoes.later], [*undoes.before, *undoes.after]
    repaired = result(undoes.desk.run("inspect", "--repair"))
    switched = failpoint in ("renamed", "switch-filestore-moved", "switch-done")
    assert repaired.position == (to if switched else {"Old": "New", "New": "Old"}[to])
    for where in (repaired.position, to):
        undoes.check(old if where == "Old" else new, kept="restored" if where == "Old" else "previous")
        # A restarted container: it switches, or reports that an earlier one has.
        assert result(undoes.undo(run, to)).position == to
    assert "switched" in states(undoes.desk.store, run)


@pytest.mark.parametrize("gone", ["database", "files"])
def test_what_was_kept_is_gone(undoes: Undoes, gone: str) -> None:
    """Nothing is touched: the application still runs on the restored database."""
    site, own = undoes.site, undoes.desk.claim / ".ocore" / ENVIRONMENT
    if gone == "database":
        site.server.execute(f'DROP DATABASE "{site.names.previous}"')
    else:
        kept = own / (
            f"hold-{site.rollback_id[:8]}" if undoes.desk.layout == "Odoo" else f"prev-{site.rollback_id[:8]}"
        )
        kept.rename(own / "elsewhere")
    done = undoes.undo(undoes.run())
    assert done.code == 1
    assert done.result["failure"]["reason"] == "PreviousGone"
    assert "create a Rollback to a snapshot instead" in done.result["failure"]["message"]
    assert site.accepts_connections()
    assert undoes.names() == {*undoes.before, *undoes.after}


@pytest.mark.parametrize("state", ["Switched", "SwitchedBack"])
def test_an_undo_runs_once(undoes: Undoes, state: str) -> None:
    """By the record in the store and by the database's comment: another object of the same name and spec does
    nothing."""
    run = undoes.run()
    result(undoes.undo(run))
    if state == "SwitchedBack":
        result(undoes.at_once(run, "Old", "--back", "--store", undoes.desk.store.as_uri()))
    second = undoes.undo(undoes.run())
    wanted = "AlreadyExecuted" if state == "Switched" else "SwitchedBack"
    assert second.result["failure"]["reason"] == wanted
    assert not (undoes.files / "ready").exists()
    # Without the store the comment shows it. And another undo needs no store.
    lost = (undoes.files / "lost").as_uri()
    other = "New" if state == "Switched" else "Old"
    done = result(undoes.undo(undoes.run("another"), other, store=lost))
    assert done.position == other


def test_a_session_that_may_not_be_ended_refuses_it_before_anything(
    undoes: Undoes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the workloads are stopped: a session of a superuser in the live database."""
    monkeypatch.setattr(blockers, "PATIENCE", 0.2)
    with undoes.site.server.connect(undoes.site.live):
        done = undoes.desk.run("switch", *undoes.job(undoes.run(), "Old"))
    assert done.result["failure"]["reason"] == "SessionsRemain"
    assert not (undoes.files / "ready").exists()
    undoes.check([*undoes.before, *undoes.after], kept="previous")


def test_an_expired_signal_changes_nothing(undoes: Undoes) -> None:
    with undoes.waiting(undoes.run(), "Old") as job:
        until(lambda: job.is_ready, 60)
        (undoes.files / "signal").write_text(json.dumps({"action": "Switch", "notAfter": 1.0}))
        answer = result(job.finish())
    assert (answer.position, answer.failure.reason if answer.failure else "") == ("New", "SwitchFailed")
    undoes.check([*undoes.before, *undoes.after], kept="previous")


def test_replication_is_checked_in_the_direction_of_the_undo(undoes: Undoes) -> None:
    """A slot of the database that is live now would be lost. Switching back from an undo is not refused because of
    one."""
    server, slot = undoes.site.server, f"slot_{undoes.site.live}"
    server.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')", undoes.site.live)
    try:
        done = undoes.undo(undoes.run())
        assert done.result["failure"]["reason"] == "ReplicationActive"
        undoes.check([*undoes.before, *undoes.after], kept="previous")
    finally:
        server.execute(f"SELECT pg_drop_replication_slot('{slot}')")
    run = undoes.run()
    result(undoes.undo(run))
    server.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')", undoes.site.live)
    try:
        assert result(undoes.at_once(run, "Old", "--back")).position == "New"
    finally:
        server.execute(f"SELECT pg_drop_replication_slot('{slot}')")


class Store:
    """A store that hangs, or fails at once."""

    url = "s3://nowhere"

    def __init__(self, released: threading.Event | None) -> None:
        self._released = released

    def list(self, prefix: str) -> list[object]:
        if self._released is not None:
            self._released.wait(30)
        raise StoreError("StoreUnreachable", "no answer")


@pytest.mark.parametrize("hangs", [True, False])
def test_a_store_that_does_not_answer_delays_an_undo_for_seconds(
    monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    """The marks of the live database decide then."""
    monkeypatch.setattr(switch, "_STORE_SECONDS", 0.3)
    released = threading.Event()
    run = run_of(str(uuid.uuid4()), ENVIRONMENT)
    records = RollbackRecords(cast(Any, Store(released if hangs else None)), run)
    switch.check_runs_once(records, ())
    mark = RollbackMark(run.name, run.spec_hash, str(uuid.uuid4()), ENVIRONMENT, "Switched")
    try:
        with pytest.raises(MoverError, match="has run before"):
            switch.check_runs_once(records, (mark,))
    finally:
        released.set()
