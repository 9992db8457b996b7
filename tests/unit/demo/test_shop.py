"""Attachments as Odoo keeps them: the order of a write, deletion, garbage collection."""

import threading
import time
from dataclasses import replace
from decimal import Decimal

import psycopg
import pytest

from demo_app import shop
from demo_app.check import check
from demo_app.damage import DamageReport, damage
from demo_app.database import Connection, Pool, connect, create_schema
from demo_app.filestore import CHECKLIST, ContentDiffersError, Filestore, sha1
from demo_app.settings import Settings
from demo_app.state import provenance
from support.demo import Postgres

HELLO = shop.NewAttachment("hello.txt", b"hello", "text/plain")
HELLO_SHA1 = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"


def rows(connection: Connection) -> list[tuple[str, int, str]]:
    found = connection.execute("SELECT store_fname, file_size, checksum FROM ir_attachment ORDER BY id").fetchall()
    return [(r[0], r[1], r[2]) for r in found]


def test_a_file_lies_where_odoo_puts_it(connection: Connection, filestore: Filestore) -> None:
    made = shop.add_attachment(connection, filestore, HELLO)
    assert made.store_fname == f"aa/{HELLO_SHA1}"
    assert rows(connection) == [(f"aa/{HELLO_SHA1}", 5, HELLO_SHA1)]
    assert (filestore.root / "aa" / HELLO_SHA1).read_bytes() == b"hello"
    assert (filestore.root / CHECKLIST / "aa" / HELLO_SHA1).read_bytes() == b""
    assert sorted(p.name for p in (filestore.root / "aa").iterdir()) == [HELLO_SHA1]  # no temporary file


def test_the_row_is_flushed_before_the_file_and_committed_after(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the file is written the row's lock is held (garbage collection is out) and no other session sees the
    row."""
    seen: list[tuple[int, int]] = []

    class Watching(Filestore):
        def write(self, data: bytes) -> str:
            with connect(settings) as other:
                visible = other.execute("SELECT count(*) FROM ir_attachment").fetchone()
                locks = other.execute(
                    "SELECT count(*) FROM pg_locks WHERE relation = 'ir_attachment'::regclass AND mode ="
                    " 'RowExclusiveLock'"
                ).fetchone()
            assert visible is not None
            assert locks is not None
            seen.append((visible[0], locks[0]))
            return super().write(data)

    shop.add_attachment(connection, Watching(settings.filestore), HELLO)
    assert seen == [(0, 1)]


def test_a_write_that_fails_leaves_no_row(connection: Connection, filestore: Filestore) -> None:
    (filestore.root / "aa").write_text("in the way of the folder")
    with pytest.raises(OSError, match="aa"):
        shop.add_attachment(connection, filestore, HELLO)
    assert rows(connection) == []


def test_a_torn_file_is_not_taken_for_the_content(connection: Connection, filestore: Filestore) -> None:
    (filestore.root / "aa").mkdir()
    (filestore.root / "aa" / HELLO_SHA1).write_bytes(b"hel")
    with pytest.raises(ContentDiffersError, match="try again"):
        shop.add_attachment(connection, filestore, HELLO)
    assert rows(connection) == []


def test_equal_content_is_one_file_that_lives_as_long_as_one_row(connection: Connection, filestore: Filestore) -> None:
    first = shop.place_order(connection, filestore, "A", Decimal(1), "draft", [HELLO])
    second = shop.place_order(connection, filestore, "B", Decimal(1), "draft", [HELLO])
    assert len(list(filestore.names())) == 1
    assert shop.delete_order(connection, filestore, first.id)
    assert shop.collect_garbage(connection, filestore).removed == 0
    assert filestore.size(f"aa/{HELLO_SHA1}") == 5
    assert shop.delete_order(connection, filestore, second.id)
    assert filestore.size(f"aa/{HELLO_SHA1}") == 5  # a deletion takes no file: the transaction may still be undone
    assert shop.collect_garbage(connection, filestore).removed == 1
    assert list(filestore.names()) == []
    assert filestore.checklist() == {}


def test_a_confirmed_order_stays(connection: Connection, filestore: Filestore) -> None:
    order = shop.place_order(connection, filestore, "A", Decimal(1), "sale", [HELLO])
    with pytest.raises(shop.OrderConfirmedError):
        shop.delete_order(connection, filestore, order.id)
    assert not shop.delete_order(connection, filestore, order.id + 1)
    assert check(connection, filestore).ok


def test_collection_gives_up_while_a_snapshot_holds_it_off(
    settings: Settings, connection: Connection, filestore: Filestore
) -> None:
    """ROW EXCLUSIVE keeps collection out and lets writers in: what a snapshot builds on."""
    filestore.write(b"no row names this")
    with connect(settings) as holder, holder.transaction():
        holder.execute("LOCK ir_attachment IN ROW EXCLUSIVE MODE")
        shop.add_attachment(connection, filestore, HELLO)
        with pytest.raises(shop.GarbageCollectionBusyError):
            shop.collect_garbage(connection, filestore, lock_timeout=0.2)
        assert len(list(filestore.names())) == 2
    report = shop.collect_garbage(connection, filestore)
    assert (report.checked, report.removed) == (2, 1)


def test_collection_sees_a_row_committed_while_it_waited(
    settings: Settings, connection: Connection, filestore: Filestore
) -> None:
    """The writer commits while collection waits for its lock: the file must stay."""
    started, release = threading.Event(), threading.Event()

    def write() -> None:
        with connect(settings) as writer, writer.transaction():
            writer.execute(
                "INSERT INTO ir_attachment (name, store_fname, file_size, checksum) VALUES ('x', %s, 5, %s)",
                [f"aa/{HELLO_SHA1}", HELLO_SHA1],
            )
            filestore.write(b"hello")
            started.set()
            release.wait(10)

    writer = threading.Thread(target=write)
    writer.start()
    assert started.wait(10)
    outcome: list[shop.GcReport] = []
    collector = threading.Thread(target=lambda: outcome.append(shop.collect_garbage(connection, filestore)))
    collector.start()
    with connect(settings) as watcher:
        waiting = "SELECT 1 FROM pg_locks WHERE relation = 'ir_attachment'::regclass AND NOT granted"
        deadline = time.monotonic() + 10
        while not watcher.execute(waiting).fetchone():
            assert time.monotonic() < deadline, "collection does not wait for the writer"
            time.sleep(0.01)
    release.set()
    collector.join(20)
    writer.join(20)
    assert outcome[0].removed == 0
    assert check(connection, filestore).ok


def test_init_changes_nothing_that_is_there(connection: Connection, filestore: Filestore) -> None:
    def parameters() -> list[tuple[str, ...]]:
        return connection.execute("SELECT key, value FROM ir_config_parameter ORDER BY key").fetchall()

    shop.add_attachment(connection, filestore, HELLO)
    before = parameters()
    create_schema(connection)
    assert parameters() == before
    assert [p[0] for p in before] == ["database.secret", "database.uuid"]
    assert len(rows(connection)) == 1


def test_check_finds_every_kind_of_fault(connection: Connection, filestore: Filestore) -> None:
    files = [shop.NewAttachment(f"{n}", f"content {n}".encode()) for n in range(5)]
    order = shop.place_order(connection, filestore, "A", Decimal(1), "sale", files)
    names = [a.store_fname for a in order.attachments]
    assert check(connection, filestore).wire()["rows"] == 5
    filestore.unlink(names[0])
    filestore.path(names[1]).write_bytes(b"short")
    filestore.path(names[2]).write_bytes(b"CONTENT 2")
    connection.execute("UPDATE ir_attachment SET checksum = %s WHERE store_fname = %s", [sha1(b"?"), names[3]])
    connection.execute(
        "INSERT INTO ir_attachment (name, store_fname, file_size, checksum) VALUES ('far', 's3://bucket/key', 1, '')"
    )
    connection.execute("UPDATE sale_order SET attachment_count = 6")
    report = check(connection, filestore).wire()
    assert not report["ok"]
    assert {k: report[k] for k in ("missing", "size", "sha1", "name", "torn_orders", "skipped_uris")} == {
        "missing": 1, "size": 1, "sha1": 1, "name": 1, "torn_orders": 1, "skipped_uris": 1,
    }  # fmt: skip
    assert {e["store_fname"] for e in report["examples"]} == set(names[:4])


def test_a_switched_database_is_reconnected_to_and_known(settings: Settings, server: Postgres) -> None:
    """A pool outlives the switch of a rollback: its connections were ended, the next one is new and says where it is
    from."""
    live = settings.connection_parameters()["dbname"]
    rollback = "9c1f77aa-0000-4000-8000-000000000000"
    pool = Pool(lambda: connect(settings))
    with pool.connection() as first:
        assert provenance(first)["rollback_id"] is None
    server.create_database(f"{live}_rb_9c1f77aa")
    with connect(replace(settings, dbname=f"{live}_rb_9c1f77aa")) as restored:
        create_schema(restored)
    with server.connect() as admin:
        admin.execute(f"COMMENT ON DATABASE {live}_rb_9c1f77aa IS 'the shop\nocore.rollback_id={rollback}'")
        with pool.connection() as first:
            assert [(b["name"], b["kind"]) for b in provenance(first)["beside"]] == [
                (f"{live}_rb_9c1f77aa", "restored")
            ]
        admin.execute(f"ALTER DATABASE {live} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [live])
        with pytest.raises(psycopg.OperationalError), pool.connection():
            pass  # refused, not hanging
        admin.execute(f"ALTER DATABASE {live} RENAME TO {live}_prev_9c1f77aa")
        admin.execute(f"ALTER DATABASE {live}_rb_9c1f77aa RENAME TO {live}")
    try:
        with pool.connection() as fresh:
            found = provenance(fresh)
            assert found["rollback_id"] == rollback
            assert [(b["name"], b["kind"]) for b in found["beside"]] == [(f"{live}_prev_9c1f77aa", "previous")]
    finally:
        pool.close()
        server.drop_database(f"{live}_prev_9c1f77aa")


def test_damage_beside_customers_who_delete_the_same_rows(
    settings: Settings, connection: Connection, filestore: Filestore
) -> None:
    connection.execute(
        "INSERT INTO sale_order (id, partner_name, amount_total, state, attachment_count) SELECT n, 'Azur', 1, 'sale',"
        " 0 FROM generate_series(1, 4) n"
    )
    connection.execute(
        "INSERT INTO ir_attachment (name, res_model, res_id, mimetype, store_fname, file_size, checksum)"
        " SELECT 'a', 'sale.order', n, 'text/plain', 'aa/' || n, 1, 'aa' FROM generate_series(1, 4) n"
    )
    with connect(settings) as customer:
        found: list[DamageReport] = []
        thread = threading.Thread(target=lambda: found.append(damage(connection, filestore)))
        with customer.transaction():
            customer.execute("DELETE FROM sale_order WHERE id = 1")
            thread.start()
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            deadline = time.monotonic() + 20
            while customer.execute(waits).fetchone() != (1,):
                assert time.monotonic() < deadline, "the damage did not wait for the customer"
                time.sleep(0.05)
            # Then its attachments, as the shop does: a deadlock if the damage has them and waits for the order.
            customer.execute("DELETE FROM ir_attachment WHERE res_model = 'sale.order' AND res_id = 1")
        thread.join(20)
    lost = [(report.orders_deleted, report.attachments_deleted) for report in found]
    assert lost == [(2, 2)]  # 2 and 4: the customer has deleted 1
