"""The load generator, and what it is for: garbage collection under load, and the order of a backup."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from demo_app import shop
from demo_app.check import CheckReport, check
from demo_app.database import connect
from demo_app.filestore import Filestore
from demo_app.load import Load, LoadPlan, LoadReport
from demo_app.settings import Settings
from demo_app.targets import DirectTarget
from support.demo import Postgres


class Running:
    """A load in the background, for a block."""

    def __init__(self, settings: Settings, plan: LoadPlan) -> None:
        self.lines: list[str] = []
        self.load = Load(DirectTarget(settings, plan.writers + 1), plan, self.lines.append)
        self._thread = threading.Thread(target=self.load.run)

    def __enter__(self) -> "Running":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.load.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def wait_for_orders(self, count: int) -> None:
        self.wait_for(lambda report: report.orders >= count, 30)

    def wait_for(self, done: Callable[[LoadReport], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done(self.load.report):
            assert time.monotonic() < deadline, self.load.report
            time.sleep(0.02)

    @property
    def report(self) -> LoadReport:
        return self.load.report


def test_collection_never_takes_a_file_that_a_row_names(settings: Settings) -> None:
    """Thirty writers, deletions, contents shared between orders, collection without a pause: nothing is missing."""
    plan = LoadPlan(
        seconds=180, rate=1000, writers=30, burst=300, delete_share=0.4, gc_seconds=0.05, max_bytes=2048, seed=11
    )
    with Running(settings, plan) as running:
        began = time.monotonic()
        running.wait_for(lambda report: time.monotonic() >= began + 6 and report.orders >= 300, 120)
    report = running.report
    assert report.deleted > 0
    assert report.gc_runs > 3
    assert report.gc_removed > 0
    with connect(settings) as connection:
        found = check(connection, Filestore(settings.filestore))
        assert found.ok, found.wire()
        assert found.rows > 300
        shop.collect_garbage(connection, Filestore(settings.filestore))
        assert check(connection, Filestore(settings.filestore)).ok
    assert json.loads(running.lines[-1])["orders"] == report.orders
    unexpected = set(report.errors) - {"SerializationFailure", "gc_busy", "content_differs", "PoolTimeoutError"}
    assert not unexpected, report.errors


def restored(settings: Settings, server: Postgres, dump: Path, copy: Path) -> CheckReport:
    """Restores the dump into a database of its own and checks it against the copied filestore."""
    name = settings.connection_parameters()["dbname"] + "_copy"
    server.create_database(name)
    try:
        server.tool("pg_restore", "-d", name, "--no-owner", "--exit-on-error", str(dump), database=name)
        with connect(Settings(filestore=copy, database=settings.database, dbname=name)) as connection:
            return check(connection, Filestore(copy))
    finally:
        server.drop_database(name)


def copy_files(source: Path, target: Path, names: set[str] | None = None) -> None:
    """What `cp` does to a filestore that lives: files may go while it works."""
    for fname in Filestore(source).names() if names is None else names:
        (target / fname).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source / fname, target / fname)
        except FileNotFoundError:
            if names is not None:
                raise


PLAN = LoadPlan(seconds=60, rate=400, writers=6, burst=200, delete_share=0.3, gc_seconds=0.2, max_bytes=4096, seed=5)


def test_filestore_first_then_dump_loses_attachments(settings: Settings, server: Postgres, tmp_path: Path) -> None:
    """Odoo's own order: an attachment committed between the copy and the dump is in the one and not in the other."""
    copy, dump = tmp_path / "copy", tmp_path / "dump"
    with Running(settings, PLAN) as running:
        running.wait_for_orders(250)
        copy_files(settings.filestore, copy)
        running.wait_for_orders(running.report.orders + 20)
        server.tool("pg_dump", "-Fc", "-Z0", "-f", str(dump), database=settings.connection_parameters()["dbname"])
    report = restored(settings, server, dump, copy)
    assert report.wire()["missing"] > 0
    assert report.torn_orders == []  # the database alone is consistent


def test_dump_snapshot_first_with_collection_held_off_loses_none(
    settings: Settings, server: Postgres, tmp_path: Path
) -> None:
    """The right order: hold collection off, export a snapshot, freeze the files that it names, release, dump that
    snapshot."""
    frozen, dump = tmp_path / "frozen", tmp_path / "dump"
    with Running(settings, PLAN) as running:
        running.wait_for_orders(250)
        with connect(settings) as holder, connect(settings) as exporter, exporter.transaction():
            with holder.transaction():
                holder.execute("LOCK ir_attachment IN ROW EXCLUSIVE MODE")
                exported = exporter.execute("SELECT pg_export_snapshot()").fetchone()
                named = exporter.execute("SELECT DISTINCT store_fname FROM ir_attachment").fetchall()
                assert exported is not None
                for (fname,) in named:
                    (frozen / fname).parent.mkdir(parents=True, exist_ok=True)
                    (frozen / fname).hardlink_to(settings.filestore / fname)
            running.wait_for_orders(running.report.orders + 20)
            name = settings.connection_parameters()["dbname"]
            server.tool("pg_dump", "-Fc", "-Z0", f"--snapshot={exported[0]}", "-f", str(dump), database=name)
    report = restored(settings, server, dump, frozen)
    assert report.ok, report.wire()
    assert report.rows > 250


def test_the_same_seed_writes_the_same_files(settings: Settings) -> None:
    plan = LoadPlan(seconds=20, rate=500, writers=1, gc_seconds=0, delete_share=0, seed=3)
    names: list[list[str]] = []
    for _ in range(2):
        with Running(settings, plan) as running:
            running.wait_for_orders(20)
        with connect(settings) as connection:
            rows = connection.execute("SELECT store_fname FROM ir_attachment ORDER BY id LIMIT 30").fetchall()
            names.append([r[0] for r in rows])
            connection.execute("DELETE FROM ir_attachment")
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": 0}, "seconds"),
        ({"rate": 0}, "rate"),
        ({"writers": 101}, "writers"),
        ({"burst": -1}, "burst"),
        ({"delete_share": 1.5}, "shares"),
        ({"max_bytes": 1}, "max-bytes"),
    ],
)
def test_a_load_is_bounded(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoadPlan(**{"seconds": 1, **change})  # type: ignore[arg-type]
