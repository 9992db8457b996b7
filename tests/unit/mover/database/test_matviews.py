"""Materialized views: refreshed apart, because what they read may be outside of the database, or gone."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocore_mover.database.restore import matviews
from support.mover.postgres_majors import Server, create_role
from support.mover.rollback import Shell, superuser_secret
from support.mover.site import Site


@pytest.fixture
def silent() -> Iterator[int]:
    """Port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def reads(site: Site, port: int) -> None:
    """A foreign table over `port`, and materialized views that read it: directly, by a view, and not at all."""
    site.server.execute("CREATE EXTENSION postgres_fdw", site.live)
    site.server.execute(f'GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO "{site.role.name}"', site.live)
    site.sql("CREATE TABLE rates AS SELECT 1 AS a")
    site.sql(
        f"CREATE SERVER bank FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{site.server.port}',"
        f" dbname '{site.live}');CREATE USER MAPPING FOR \"{site.role.name}\" SERVER bank OPTIONS (user"
        f" '{site.role.name}', password '{site.role.password}');CREATE FOREIGN TABLE outside (a int) SERVER bank"
        " OPTIONS (schema_name 'public', table_name 'rates');CREATE VIEW between AS SELECT a FROM outside;CREATE"
        " MATERIALIZED VIEW direct AS SELECT a FROM outside; CREATE MATERIALIZED VIEW indirect AS SELECT a FROM"
        " between;CREATE UNIQUE INDEX ON direct (a);CREATE MATERIALIZED VIEW own AS SELECT a + 1 AS a FROM rates;"
        " CREATE MATERIALIZED VIEW second AS SELECT a FROM own;CREATE MATERIALIZED VIEW empty AS SELECT 1 AS a WITH NO"
        " DATA"
    )
    if port:
        site.sql(f"ALTER SERVER bank OPTIONS (SET port '{port}')")


def told(warnings: list[str], view: str) -> str:
    (found,) = [w for w in warnings if w.startswith(f"materialized view public.{view} ")]
    return found


def test_row_67_rows_of_today_are_reported(site: Site, tmp_path: Path) -> None:
    """What is outside of the database has no snapshot."""
    reads(site, 0)
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    shell.ok("snapshot")
    site.sql("UPDATE rates SET a = 5")
    warnings = shell.warnings(shell.ok("restore"))
    for view in ("direct", "indirect"):
        assert "has rows of today, not of the snapshot: it reads foreign table public.outside" in told(warnings, view)
    assert not any("public.own" in w or "public.second" in w or "public.empty" in w for w in warnings)
    shell.ok("switch", "--now")
    assert site.sql("SELECT a FROM direct") == [(5,)]
    assert site.sql("SELECT a FROM second") == [(2,)]
    populated = dict(site.sql("SELECT matviewname::text, ispopulated FROM pg_matviews"))
    assert populated == {"direct": True, "indirect": True, "own": True, "second": True, "empty": False}


def test_row_67_a_dead_foreign_server_stops_no_rollback(
    site_any: Site, tmp_path: Path, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The views stay unpopulated, with the statement to run; everything else is there."""
    site = site_any
    reads(site, silent)
    monkeypatch.setattr(matviews, "FOREIGN_SECONDS", 2.0)
    monkeypatch.setattr(matviews, "_CONNECT_SECONDS", 2)
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    shell.ok("snapshot")
    warnings = shell.warnings(shell.ok("restore"))
    assert told(warnings, "direct").endswith("can run: REFRESH MATERIALIZED VIEW public.direct;")
    assert "has no rows" in told(warnings, "indirect")
    shell.ok("switch", "--now")
    assert site.sql("SELECT a FROM second") == [(2,)]
    assert site.sql("SELECT matviewname::text FROM pg_matviews WHERE NOT ispopulated ORDER BY 1") == [
        ("direct",),
        ("empty",),
        ("indirect",),
    ]
    site.sql(f"ALTER SERVER bank OPTIONS (SET port '{site.server.port}')")
    site.sql(told(warnings, "direct").rpartition("can run: ")[2])
    assert site.sql("SELECT a FROM direct") == [(1,)]


def test_a_view_that_fails_is_left_out_alone(site_any: Site, tmp_path: Path) -> None:
    """Of a superuser, over what the application may not read; and one that fails on the restored rows."""
    site = site_any
    site.server.execute("CREATE MATERIALIZED VIEW secrets AS SELECT rolname FROM pg_catalog.pg_authid", site.live)
    site.sql("CREATE TABLE t AS SELECT 1 AS a; CREATE MATERIALIZED VIEW own AS SELECT a FROM t")
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    shell.ok("snapshot")
    warnings = shell.warnings(shell.ok("restore"))
    assert "permission denied" in told(warnings, "secrets")
    shell.ok("switch", "--now")
    assert site.sql("SELECT a FROM own") == [(1,)]


def test_row_67_staging_needs_no_foreign_server(server_any: Server, site_any: Site, tmp_path: Path) -> None:
    """The mapping with the source's credentials stays behind, and the views that would need it are unpopulated."""
    from support.mover.desk import Desk
    from support.mover.other_environment import Into, ok
    from support.mover.postgres_majors import write_secret
    from support.mover.site import drop_all, make_site

    desk = Desk(site_any, tmp_path, layout="Plain")
    reads(site_any, 0)
    desk.ok("snapshot")
    admin = create_role(server_any, f"root-{site_any.live}", "SUPERUSER")
    site = make_site(server_any, tmp_path / "staging")
    into = Into(site, tmp_path / "staging", desk, layout="Plain")
    secret = write_secret(tmp_path / "admin", server_any, admin, "postgres")
    try:
        warnings = ok(into.restored("--admin", str(secret)))["evidence"]["warnings"]
        assert "has no rows: user mapping not found" in told(warnings, "direct")
        assert site.copy_sql("SELECT a FROM own", superuser=True) == [(2,)]
    finally:
        drop_all(site)
