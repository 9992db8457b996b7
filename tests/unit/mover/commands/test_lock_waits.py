"""A snapshot that waits for a lock of another session says which one, and ends in time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ocore_crds import conditions
from ocore_crds.text.sentences import shown
from ocore_mover.commands import snapshot
from ocore_mover.database import lock_waits
from ocore_mover.database.dump import dump
from support.mover.application import Application
from support.mover.beside import Finished, finish, parse, start
from support.mover.desk import Desk
from support.mover.site import Site

#: Of a command that would wait longer than its locks may.
DEADLINE = ("--deadline", "30")


@pytest.fixture
def desk(site_any: Site, tmp_path: Path) -> Desk:
    return Desk(site_any, tmp_path)


@pytest.fixture
def application(desk: Desk) -> Application:
    made = Application(desk.site, desk.claim)
    made.write_many(5)
    return made


@contextmanager
def locking(site: Site, table: str) -> Iterator[psycopg.Connection[Any]]:
    """A session of the application that holds a table, as a migration does."""
    with site.server.connect(site.live, site.role.name, site.role.password) as connection:
        connection.execute("SET application_name = 'upgrade all'")
        connection.execute("BEGIN")
        connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE /* of a tenant */")
        yield connection
        connection.execute("ROLLBACK")


def said(reports: list[dict[str, Any]], step: str) -> list[str]:
    return [r["message"] for r in reports if r["type"] == "step" and r["step"] == step and r["state"] == "Running"]


def is_named(message: str, table: str, holder: psycopg.Connection[Any], site: Site) -> None:
    assert f"waiting for a lock on table {table}, for {lock_waits.LOCK_TIMEOUT} s at most" in message
    who = f"{shown(site.role.name)} (application 'upgrade all', pid {holder.info.backend_pid}, in a transaction since 2"
    assert who in message
    assert "of a tenant" not in message, "no statement is shown"


@pytest.mark.parametrize("table", ["ir_attachment", "sale_order"])
def test_row_140_the_step_names_the_session_that_holds_the_lock(
    desk: Desk, application: Application, table: str
) -> None:
    desk.site.sql("CREATE TABLE sale_order AS SELECT 1 AS id")
    with locking(desk.site, table) as holder:
        process = start(desk.site, *desk.arguments("snapshot", *DEADLINE))
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if "pid" in line:
                break
        is_named(said(parse("".join(lines)), "CopyFilestore")[-1], table, holder, desk.site)
    done = finish(process)
    assert done.code == 0, done.stdout + done.stderr
    assert said(done.reports, "CopyFilestore")[-1] == "", "nothing is waited for any more"


def test_row_140_a_lock_that_stays_ends_the_attempt_in_time_and_is_named(
    desk: Desk, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the size of a table waits for its lock: nothing ended that wait but the deadline, hours later."""
    desk.site.sql("CREATE TABLE sale_order AS SELECT 1 AS id")
    stays(desk, monkeypatch, "sale_order")


def test_row_140_so_does_one_on_the_names_of_the_attachments(
    desk: Desk, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays(desk, monkeypatch, "ir_attachment")


def stays(desk: Desk, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    monkeypatch.setattr(lock_waits, "LOCK_TIMEOUT", 8)
    monkeypatch.setattr(lock_waits, "EVERY", 0.1)
    with locking(desk.site, table) as holder:
        failed(desk.run("snapshot", *DEADLINE), table, holder, desk.site)


def test_row_140_pg_dump_that_waits_names_the_session_too(
    desk: Desk, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.site.sql("CREATE TABLE sale_order AS SELECT 1 AS id")
    monkeypatch.setattr(lock_waits, "LOCK_TIMEOUT", 8)
    original: Callable[..., Any] = dump.dump
    with locking(desk.site, "sale_order") as holder:
        holder.execute("ROLLBACK")

        def then_locked(*arguments: Any, **more: Any) -> Any:
            holder.execute("BEGIN")
            holder.execute("LOCK TABLE sale_order IN ACCESS EXCLUSIVE MODE /* of a tenant */")
            return original(*arguments, **more)

        monkeypatch.setattr(snapshot.database_dump, "dump", then_locked)
        done = desk.run("snapshot", *DEADLINE)
        is_named(said(done.reports, "DumpDatabase")[-1], "sale_order", holder, desk.site)
        failed(done, "sale_order", holder, desk.site)


def failed(done: Finished, table: str, holder: psycopg.Connection[Any], site: Site) -> None:
    assert (done.code, done.reason, done.result["failure"]["retryable"]) == (1, conditions.DUMP_FAILED, True)
    is_named(done.message, table, holder, site)
    assert "canceling statement due to" in done.message
