"""Dropping a database while autovacuum is at work in it, as a role that is no superuser."""

from ocore_mover.database.connect import connect_maintenance
from ocore_mover.database.restore import create
from ocore_mover.errors import MoverError
from support.cluster.cluster import wait_for
from support.mover.site import Site


def autovacuum_works(site: Site, database: str) -> bool:
    """Whether a worker is in the database."""
    query = f"SELECT 1 FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND datname = '{database}'"
    return bool(site.server.execute(query))


def test_autovacuum_does_not_keep_a_database(site: Site) -> None:
    """A worker is a superuser's process that the role may not end; the drop must get rid of it all the same."""
    database = site.names.restored
    site.sql(f'CREATE DATABASE "{database}"', "postgres")
    site.sql(
        "CREATE TABLE busy (n int, t text) WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)",
        database,
    )
    site.sql("INSERT INTO busy SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g", database)
    site.sql("DELETE FROM busy WHERE n % 2 = 0", database)
    site.server.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    site.server.execute("SELECT pg_reload_conf()")
    try:
        wait_for("autovacuum in the database", lambda: autovacuum_works(site, database), 60)
        with connect_maintenance(site.target, application="test") as connection:
            create.drop(connection, database)
    finally:
        site.server.execute("ALTER SYSTEM RESET autovacuum_naptime")
        site.server.execute("SELECT pg_reload_conf()")
    assert database not in site.databases()


def test_a_database_whose_drop_was_interrupted_is_dropped(site_any: Site) -> None:
    """A kill in DROP DATABASE leaves a database that refuses ALTER DATABASE. It must not block the next rollback."""
    database = site_any.names.restored
    site_any.sql(f'CREATE DATABASE "{database}"', "postgres")
    site_any.server.execute(f"UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{database}'")
    refused = ""
    with connect_maintenance(site_any.target, application="test") as connection:
        try:
            create.drop(connection, database)
        except MoverError as error:
            refused = error.message
    assert refused == ""
    assert database not in site_any.databases()
