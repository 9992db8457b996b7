"""The largest tables of the live database, by what the server knows without reading or locking them."""

from collections.abc import Sequence
from typing import NamedTuple

from ocore_mover.database.connect import Connection

#: Ordinary tables of users. A partitioned table has no rows of its own, and a dump has no rows of a materialized view.
_TABLES = (
    "SELECT n.nspname || '.' || c.relname AS name, c.reltuples, c.relpages FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relpersistence <> 't'"
    " AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
)


class LiveTable(NamedTuple):
    """One table."""

    name: str  # schema.table
    rows: int | None  # estimated; None: never analyzed


def largest(connection: Connection, limit: int, also: Sequence[str] = ()) -> list[LiveTable]:
    """The largest tables, by their pages at the last VACUUM or ANALYZE, and those of `also` that exist. Takes no lock: a table that a migration
    has locked delays nothing."""
    found = connection.execute(
        f"WITH t AS ({_TABLES}) (SELECT name, reltuples FROM t ORDER BY relpages DESC, name LIMIT %s)"  # noqa: S608 - our own text
        " UNION SELECT name, reltuples FROM t WHERE name = ANY(%s::text[])".encode(),
        [limit, list(also)],
    ).fetchall()
    return [LiveTable(name, int(rows) if rows >= 0 else None) for name, rows in found]
