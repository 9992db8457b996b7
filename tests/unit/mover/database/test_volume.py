"""Space on the server's volume: WAL, tablespaces and what slots retain are counted; a load that fills it is stopped and
its copy dropped."""

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocore_mover.database import volume
from ocore_mover.database.connect import connect_maintenance
from ocore_mover.errors import MoverError
from support.mover.rollback import Shell, superuser_secret
from support.mover.site import Site

MIB = 1 << 20


@pytest.fixture
def shell(site_any: Site, tmp_path: Path) -> Shell:
    return Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path))


@pytest.fixture
def down_slot(site_any: Site) -> Iterator[str]:
    """Of a replica that is down."""
    name = f"down_{uuid.uuid4().hex[:8]}"
    site_any.server.execute(f"SELECT pg_create_physical_replication_slot('{name}', true)")
    yield name
    site_any.server.execute(f"SELECT pg_drop_replication_slot('{name}')")


def used(site: Site, *, superuser: bool = True) -> volume.Used:
    if superuser:
        with site.server.connect() as connection:
            return volume.used(connection)
    with connect_maintenance(site.target, application="test") as connection:
        return volume.used(connection)


def test_row_61_wal_and_tablespaces_are_counted(site_any: Site) -> None:
    """Both are on the volume of the live database."""
    server, name = site_any.server, f"extra_{uuid.uuid4().hex[:6]}"
    before = used(site_any)
    (row,) = server.execute("SELECT sum(size) FROM pg_ls_waldir()")
    assert before.wal == int(str(row[0])) >= 16 * MIB
    assert before.warnings == ()
    with server.connect() as connection:
        connection.execute("SET allow_in_place_tablespaces = true")
        connection.execute(f"CREATE TABLESPACE {name} LOCATION ''".encode())
    try:
        server.execute(
            f"CREATE TABLE big TABLESPACE {name} AS SELECT repeat('x', 1000) AS a FROM generate_series(1, 20000)",
            site_any.live,
        )
        assert used(site_any).tables - before.tables > 20 * MIB
        probed = used(site_any, superuser=False)
        assert len(probed.warnings) == 2
        for warning, role in zip(probed.warnings, ("pg_read_all_stats", "pg_monitor"), strict=True):
            assert f"a member of {role}" in warning
        assert probed.tables > 20 * MIB
    finally:
        server.execute("DROP TABLE IF EXISTS big", site_any.live)
        server.execute(f"DROP TABLESPACE {name}")


def test_row_61_what_a_slot_will_retain_is_needed_too(site_any: Site, down_slot: str) -> None:
    """A load writes as much WAL as data; a slot without a client retains all of it."""
    with site_any.server.connect() as connection:
        now = volume.used(connection)
        size = 8 << 30
        without = int(size * 1.5) + now.total
        capacity = without + (2 << 30)  # for max_wal_size and the reserve
        with pytest.raises(
            MoverError, match=f"retained by replication slots without a client: .*{down_slot}"
        ) as refused:
            volume.check(connection, size, capacity + size - (3 << 30), setting="spec.database.capacity")
        assert refused.value.reason == "InsufficientCapacity"
        volume.check(connection, size, capacity + size, setting="spec.database.capacity")
        connection.execute("SELECT pg_drop_replication_slot(%s)", [down_slot])
        try:
            volume.check(connection, size, capacity, setting="spec.database.capacity")
        finally:
            connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [down_slot])


@pytest.mark.parametrize("command", ["restore", "test-restore"])
def test_row_61_a_load_is_stopped_before_the_reserve_is_used(
    site_any: Site, shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Something else fills the volume while it loads. The live database keeps its reserve, and the copy is gone."""
    site = site_any
    # Loading takes a while: each row waits, but not in the live database.
    site.sql(
        "CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql AS $body$ BEGIN IF current_database() <>"
        f" '{site.live}' THEN PERFORM pg_catalog.pg_sleep(0.1); END IF; RETURN true; END $body$;CREATE TABLE t (a int"
        " CHECK (public.slow())); INSERT INTO t SELECT generate_series(1, 250)"
    )
    shell.ok("snapshot")
    monkeypatch.setattr(volume, "_EVERY", 0.2)
    monkeypatch.setattr(volume, "check", lambda *_, **__: ())
    capacity = int((used(site).total + 40 * MIB) / (1 - volume.RESERVE_SHARE))
    stop = threading.Event()

    def fill() -> None:
        while not stop.wait(0.1):
            site.server.execute(
                "CREATE TABLE IF NOT EXISTS filler (a text); INSERT INTO filler SELECT repeat('x', 1000) FROM"
                " generate_series(1, 10000)",
                site.live,
            )

    filler = threading.Thread(target=fill)
    filler.start()
    try:
        more = ["--capacity", str(capacity)]
        done = shell.run(command, *more)
    finally:
        stop.set()
        filler.join()
    assert done.reason == "InsufficientCapacity", done.stdout
    assert "was stopped, and it is dropped" in done.message
    assert site.databases() == {site.live}
    assert site.accepts_connections()


def test_row_61_one_test_restore_at_a_time_on_a_server(site_any: Site, shell: Shell) -> None:
    """Ten at once were each measured against the same free space."""
    from ocore_mover.commands.test_restore import ONE_AT_A_TIME

    site_any.sql("CREATE TABLE t ()")
    shell.ok("snapshot")
    capacity = ["--capacity", str(10**12)]
    with site_any.server.connect() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [ONE_AT_A_TIME])
        waits = shell.run("test-restore", *capacity)
        assert (waits.reason, waits.result["failure"]["retryable"]) == ("WaitingForOperation", True)
        # The server learns later that a session was closed.
        other.execute("SELECT pg_advisory_unlock(%s)", [ONE_AT_A_TIME])
    shell.ok("test-restore", *capacity)
