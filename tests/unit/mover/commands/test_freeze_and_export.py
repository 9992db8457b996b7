"""What a snapshot holds up: garbage collection for the new files only, and old rows only while pg_dump runs."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions
from ocore_mover.database.dump import export
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.filestore.odoo import capture, freeze
from ocore_mover.filestore.odoo.files import OdooFiles
from support.mover.application import Application
from support.mover.desk import Desk
from support.mover.site import Site


@pytest.fixture
def desk(site_any: Site, tmp_path: Path) -> Desk:
    return Desk(site_any, tmp_path)


@pytest.fixture
def application(desk: Desk) -> Application:
    return Application(desk.site, desk.claim)


def lock_is_held(site: Site) -> bool:
    """Whether garbage collection would wait for us."""
    return bool(
        site.server.execute(
            "SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database JOIN pg_stat_activity a USING (pid)"
            f" WHERE d.datname = '{site.live}' AND l.mode = 'RowExclusiveLock' AND a.application_name ="
            " 'ocore-snapshot' AND l.relation IS NOT NULL"
        )
    )


class Linking:
    """Records which names are linked, and whether garbage collection is paused then."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch, after_first: Callable[[], None]) -> None:
        self.calls: list[tuple[bool, list[str]]] = []
        original = OdooFiles.link_into

        def link_into(live: OdooFiles, target: OdooFiles, names: Iterable[str]) -> Iterator[str]:
            listed = list(names)
            self.calls.append((lock_is_held(site), listed))
            missing = list(original(live, target, listed))
            if len(self.calls) == 1:
                after_first()
            return iter(missing)

        monkeypatch.setattr(OdooFiles, "link_into", link_into)

    def walked(self, *, locked: bool) -> set[str]:
        return {name for held, names in self.calls if held is locked for name in names}


def test_only_new_files_are_linked_while_garbage_collection_is_paused(
    desk: Desk, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    application.write_many(300)
    old = set(names(desk.site))
    # New after the second pass: the failpoint is hit when the lock is held and the snapshot is not exported yet.
    passes: list[str] = []
    original = export._link_ahead

    def then_more(*arguments: Any) -> str | None:
        horizon = original(*arguments)
        application.write_many(3)
        passes.append("done")
        return horizon

    monkeypatch.setattr(export, "_link_ahead", then_more)
    linking = Linking(desk.site, monkeypatch, after_first=lambda: application.write_many(5))
    desk.ok("snapshot")
    assert passes == ["done"]
    everything = set(names(desk.site))
    assert len(everything) == 308
    assert linking.calls[0] == (False, sorted(old))
    assert len(linking.calls[1][1]) == 5, "the second pass reads what is new since the first"
    assert len(linking.walked(locked=True)) == 3
    assert linking.walked(locked=True) == everything - linking.walked(locked=False)
    assert desk.manifest().filestore is not None
    assert desk.manifest().filestore.file_count == 308  # type: ignore[union-attr]


def names(site: Site) -> list[str]:
    return [str(row[0]) for row in site.sql("SELECT DISTINCT store_fname FROM ir_attachment ORDER BY 1")]


def test_a_row_of_a_transaction_that_was_open_at_the_first_pass(
    desk: Desk, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has an older id than rows that the first pass saw, and is committed after it."""
    application.write_many(10)
    site = desk.site
    late = desk.claim / desk.path
    digest = hashlib.sha1(b"late", usedforsecurity=False).hexdigest()
    with site.server.connect(site.live, site.role.name, site.role.password) as connection:
        connection.execute("BEGIN")
        (late / digest[:2]).mkdir(exist_ok=True)
        (late / digest[:2] / digest).write_bytes(b"late")
        connection.execute("INSERT INTO ir_attachment (store_fname) VALUES (%s)", [f"{digest[:2]}/{digest}"])
        application.write_many(10)  # newer transactions, which the first pass sees
        original = export._link_ahead

        def then_commit(*arguments: Any) -> str | None:
            horizon = original(*arguments)
            connection.execute("COMMIT")
            return horizon

        monkeypatch.setattr(export, "_link_ahead", then_commit)
        linking = Linking(site, monkeypatch, after_first=lambda: None)
        desk.ok("snapshot")
    assert f"{digest[:2]}/{digest}" in linking.walked(locked=True)


def test_garbage_collection_is_not_paused_for_longer_than_the_limit(
    desk: Desk, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that hangs: the server ends our lock, and the snapshot fails instead of missing files."""
    application.write_many(5)
    monkeypatch.setattr(export, "HOLD_LIMIT", 1)
    held: list[bool] = []

    def hang(*_: object) -> None:
        held.append(lock_is_held(desk.site))
        time.sleep(2.5)
        held.append(lock_is_held(desk.site))

    monkeypatch.setattr(export.failpoints, "hit", lambda name: hang() if name == "snapshot-locked" else None)
    done = desk.run("snapshot")
    assert held == [True, False]
    assert (done.code, done.reason, done.result["failure"]["retryable"]) == (1, conditions.DUMP_FAILED, True)
    assert "the server allows 1 s" in done.message
    assert desk.stored() == []
    assert desk.own_folders() == set()


def test_old_rows_are_held_only_while_pg_dump_runs(
    desk: Desk, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filestore takes longer than the dump: no session of ours has an xmin any more."""
    application.write_many(5)
    seen: list[tuple[Any, ...]] = []
    original = capture.store_odoo
    holding = (
        "SELECT a.pid, a.application_name FROM pg_stat_activity a WHERE a.backend_xmin IS NOT NULL AND a.pid <>"
        f" pg_backend_pid() AND a.datname = '{desk.site.live}'"
    )

    def slow(*arguments: Any, **more: Any) -> Any:
        until = time.monotonic() + 30
        while desk.site.server.execute(holding) and time.monotonic() < until:
            time.sleep(0.05)
        seen.extend(desk.site.server.execute(holding))
        return original(*arguments, **more)

    monkeypatch.setattr(capture, "store_odoo", slow)
    desk.ok("snapshot")
    assert seen == []


def test_old_rows_are_not_held_while_the_rest_is_stored(site_any: Site, token: Token) -> None:
    with export.export(site_any.target, token) as exported:
        holding = (
            f"SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND datname = '{site_any.live}'"
        )
        assert site_any.server.execute(holding) == [(1,)]
        exported.end()
        assert site_any.server.execute(holding) == [(0,)]
        exported.end()
        # The server may restart while the files are still being stored.
        site_any.server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{site_any.live}'"
        )


def test_a_snapshot_whose_transaction_was_lost_is_none(site_any: Site, token: Token) -> None:
    """The names were read in it: the dump may show another state."""
    with contextlib.ExitStack() as stack:
        exported = stack.enter_context(export.export(site_any.target, token))
        site_any.server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{site_any.live}'"
        )
        with pytest.raises(MoverError) as failure:
            exported.end()
    assert failure.value.reason in (conditions.DUMP_FAILED, conditions.DATABASE_UNREACHABLE)
    assert failure.value.retryable


def test_a_file_system_without_hard_links_is_listed_while_garbage_collection_is_paused(
    desk: Desk, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing protects a file then, so what is missing is decided while none is removed."""
    application.write_many(5)
    held: list[bool] = []
    original = freeze._unfrozen

    def unfrozen(*arguments: Any) -> Any:
        held.append(lock_is_held(desk.site))
        return original(*arguments)

    def refuse(*_: object) -> Iterator[str]:
        raise freeze.LinksUnsupported("Operation not permitted")

    monkeypatch.setattr(freeze, "_unfrozen", unfrozen)
    monkeypatch.setattr(OdooFiles, "link_into", refuse)
    done = desk.ok("snapshot")
    assert held == [True]
    assert any("no hard links" in w for w in done.result["payload"]["evidence"]["warnings"])
