"""`preview` against a real server, claim and store: its numbers are right, it lists what a restore would refuse, and it
changes nothing."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import TERMINATION_MESSAGE_BYTES, PreviewResult, Result, TableRows
from support.mover.application import Application
from support.mover.beside import Finished
from support.mover.desk import Desk
from support.mover.site import Site
from support.mover.waiting import until


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> Desk:
    return Desk(site, tmp_path)


@pytest.fixture
def application(desk: Desk) -> Application:
    return Application(desk.site, desk.claim)


def previewed(done: Finished) -> PreviewResult:
    assert done.code == 0, done.stdout + done.stderr
    return PreviewResult.model_validate(done.reports[-1]["payload"])


def everything(desk: Desk) -> dict[str, str]:
    """Names, sizes, times and digests of all files on claim and store, and all databases with their comments."""
    found: dict[str, str] = {}
    for root in (desk.claim, desk.store):
        for path in sorted(root.rglob("*")):
            status = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = f"{status.st_size} {status.st_mtime_ns} {status.st_nlink} {content}"
    rows = desk.site.sql("SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database ORDER BY 1")
    return {**found, "databases": str(rows)}


def test_its_numbers_are_right_and_it_changes_nothing(desk: Desk, application: Application) -> None:
    kept = application.write_many(20)
    site = desk.site
    site.sql("CREATE TABLE sales AS SELECT generate_series(1, 500) AS id")
    site.sql("CREATE TABLE gone AS SELECT generate_series(1, 90) AS id")
    desk.ok("snapshot")
    site.sql("INSERT INTO sales SELECT generate_series(501, 800)")
    site.sql("DROP TABLE gone")
    site.sql("CREATE TABLE later AS SELECT generate_series(1, 3) AS id")
    site.sql("CREATE TABLE never_analyzed (id int)")
    for table in ("sales", "later", "ir_attachment"):
        site.sql(f"ANALYZE {table}")
    lost = sorted(kept)[:3]
    sizes = [(application.filestore / name).stat().st_size for name in lost]
    for name in lost:
        (application.filestore / name).unlink()
    before = everything(desk)
    found = previewed(desk.run("preview"))
    assert everything(desk) == before

    tables = {t.name: t for t in found.tables}
    assert tables["public.sales"] == TableRows(name="public.sales", now=800, then=500)
    assert tables["public.gone"] == TableRows(name="public.gone", now=None, then=90, exists=False)
    assert tables["public.later"] == TableRows(name="public.later", now=3, then=None)
    assert tables["public.never_analyzed"].now is None
    assert found.tables[0].name == "public.sales"
    assert (found.rows_counted, found.table_count) == (True, len(found.tables))
    assert (found.files_to_move, found.bytes_to_move) == (3, sum(sizes))
    assert (found.files_then, found.consistent_at) == (20, desk.manifest().consistent_at)
    assert found.server_version_now == found.server_version_then == site.sql("SHOW server_version")[0][0].split()[0]  # type: ignore[attr-defined]
    assert found.database_bytes_then == desk.manifest().database.size_bytes  # type: ignore[union-attr]
    assert found.filestore_free_bytes
    assert found.filestore_needed_bytes
    assert found.filestore_needed_bytes > sum(sizes)
    assert (found.refusals, found.unread) == ((), ())

    # What was predicted is what a restore does.
    restored = desk.ok("restore").reports[-1]["payload"]
    assert (restored["filesAdded"], restored["bytesAdded"]) == (3, sum(sizes))


def test_row_69_rows_follow_the_statistics_since_the_last_analyze(desk: Desk, application: Application) -> None:
    """What was written since a rollback is often less than autovacuum analyzes for."""
    application.write_many(2)
    site = desk.site
    counted = "SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'sales'"
    # A session reports what it wrote at its end: after the ANALYZE of the next one, its rows would count twice.
    site.sql("CREATE TABLE sales WITH (autovacuum_enabled = off) AS SELECT generate_series(1, 500) AS id")
    until(lambda: site.sql(counted) == [(500,)], 30)
    site.sql("ANALYZE sales")
    desk.ok("snapshot")
    site.sql("INSERT INTO sales SELECT generate_series(501, 507)")
    until(lambda: site.sql(counted) == [(507,)], 30)
    assert site.sql("SELECT reltuples FROM pg_class WHERE relname = 'sales'") == [(500,)]
    tables = {t.name: t for t in previewed(desk.run("preview")).tables}
    assert tables["public.sales"] == TableRows(name="public.sales", now=507, then=500)


def test_old_snapshots_have_no_counts(desk: Desk, application: Application) -> None:
    application.write_many(2)
    desk.ok("snapshot")
    path = next(desk.store.rglob("manifest.json"))
    data = json.loads(path.read_text())
    assert data["database"].pop("tableRows")["public.ir_attachment"] == 2
    path.chmod(0o644)
    path.write_text(json.dumps(data))
    found = previewed(desk.run("preview"))
    assert (found.rows_counted, found.unread) == (False, ())
    assert all(t.then is None for t in found.tables)


def test_all_that_a_restore_would_refuse_is_listed_with_the_reason_it_fails_with(
    desk: Desk, application: Application
) -> None:
    application.write_many(2)
    desk.ok("snapshot")
    pack = next(path for path in desk.stored() if "filestore" in path.parts and path.name != "index.jsonl.zst")
    pack.unlink()
    desk.layout = "Plain"
    found = previewed(desk.run("preview"))
    assert [r.reason for r in found.refusals] == [c.FILESTORE_LAYOUT_UNSUPPORTED, c.CORRUPT]
    restored = desk.run("restore")
    assert restored.reports[-1]["failure"]["reason"] == found.refusals[0].reason
    desk.layout = "Odoo"
    restored = desk.run("restore")
    assert restored.reports[-1]["failure"]["reason"] == found.refusals[1].reason


def test_a_full_volume(desk: Desk, application: Application) -> None:
    application.write_many(2)
    desk.ok("snapshot")
    index = next(path for path in desk.stored() if path.name == "index.jsonl.zst")
    manifest = next(desk.store.rglob("manifest.json"))
    data = json.loads(manifest.read_text())
    assert data["filestore"]["index"]["key"].endswith(index.name)
    data["filestore"]["sizeBytes"] = 10**18
    manifest.chmod(0o644)
    manifest.write_text(json.dumps(data))
    shutil.rmtree(application.filestore)
    application.filestore.mkdir()
    found = previewed(desk.run("preview"))
    assert [r.reason for r in found.refusals] == [c.NO_SPACE]
    assert desk.run("restore").reports[-1]["failure"]["reason"] == c.NO_SPACE


def test_parts_that_cannot_be_read_leave_the_others(desk: Desk, application: Application) -> None:
    application.write_many(2)
    desk.ok("snapshot")
    secret = Path(desk.site.secret)
    password = next(p for p in secret.iterdir() if p.name == "password")
    kept = password.read_text()
    password.write_text("wrong")
    found = previewed(desk.run("preview"))
    password.write_text(kept)
    assert found.database_bytes_now is None
    assert found.files_to_move == 0
    assert len(found.unread) == 1
    assert "live database" in found.unread[0]
    assert "wrong" not in found.unread[0]
    # The counted rows stay, and nothing says that their tables are gone.
    assert [(t.name, t.then, t.exists) for t in found.tables] == [("public.ir_attachment", 2, True)]

    manifest = next(desk.store.rglob("manifest.json"))
    manifest.unlink()
    found = previewed(desk.run("preview"))
    assert [r.reason for r in found.refusals] == [c.SNAPSHOT_NOT_FOUND]
    assert (found.rows_counted, found.files_to_move) == (None, None)
    assert found.database_bytes_now


def test_a_live_database_that_does_not_exist(desk: Desk, application: Application) -> None:
    application.write_many(2)
    desk.ok("snapshot")
    with desk.site.server.connect() as superuser:
        superuser.execute(f'DROP DATABASE "{desk.site.live}" WITH (FORCE)'.encode())
    found = previewed(desk.run("preview"))
    assert (found.database_missing, found.database_bytes_now, found.unread) == (True, 0, ())
    assert found.server_version_now
    assert [(t.name, t.exists) for t in found.tables] == [("public.ir_attachment", False)]


def test_a_termination_message_drops_the_tables_first() -> None:
    tables = tuple(TableRows(name="s" * 63 + "." + "ü" * 60 + str(i), now=10**9, then=10**9) for i in range(20))
    payload = PreviewResult(consistent_at="2026-01-01T00:00:00Z", tables=tables, table_count=20, files_to_move=7)
    text = Result(ok=True, payload=payload, time="2026-01-01T00:00:00Z").termination_message()
    assert len(text) <= TERMINATION_MESSAGE_BYTES
    found = Result.model_validate_json(text).payload
    assert isinstance(found, PreviewResult)
    assert (found.tables, found.table_count, found.files_to_move) == ((), 20, 7)
