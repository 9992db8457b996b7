"""The largest tables of the live database, by what the server knows without reading or locking them."""

from collections.abc import Sequence
from typing import NamedTuple

from ocore_mover.database.connect import Connection

#: Rows of a table. The statistics follow each transaction, if they know of an ANALYZE: after a crash of the server they
#: count from 0. What ANALYZE has written into the catalog is older.
_ROWS = (
    "CASE WHEN coalesce(pg_catalog.pg_stat_get_last_analyze_time(c.oid),"
    " pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)) IS NOT NULL THEN"
    " pg_catalog.pg_stat_get_live_tuples(c.oid)::float8 ELSE c.reltuples END"
)
#: Ordinary tables of users. A partitioned table has no rows of its own, and a dump has no rows of a materialized view.
_TABLES = (
    f"SELECT n.nspname || '.' || c.relname AS name, {_ROWS} AS rows, c.relpages FROM pg_catalog.pg_class c"  # noqa: S608 - our own text
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relpersistence <> 't'"
    " AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
)


class LiveTable(NamedTuple):
    """One table."""

    name: str  # schema.table
    rows: int | None  # estimated; None: never analyzed


def largest(connection: Connection, limit: int, also: Sequence[str] = ()) -> list[LiveTable]:
    """The largest tables, by their pages at the last VACUUM or ANALYZE, and those of `also` that exist. Takes no lock:
    a table that a migration has locked delays nothing."""
    found = connection.execute(
        f"WITH t AS ({_TABLES}) (SELECT name, rows FROM t ORDER BY relpages DESC, name LIMIT %s)"  # noqa: S608 - our own text
        " UNION SELECT name, rows FROM t WHERE name = ANY(%s::text[])".encode(),
        [limit, list(also)],
    ).fetchall()
    return [LiveTable(name, int(rows) if rows >= 0 else None) for name, rows in found]
