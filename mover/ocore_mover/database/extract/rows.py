"""Rows of tables in a closed scratch database, by one statement of ours for each table."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_crds.reports.extracted import TableFormat, WantedTable
from ocore_mover.database.connect import Connection, set_timeouts, translating
from ocore_mover.database.copy_access import CopyAccess
from ocore_mover.database.extract.where import Column, compiled, literals
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

APPLICATION = "ocore-extract"

#: The columns of a table: name, the type that a table without the application's types can have, and the type of
#: PostgreSQL that it is or that its domains are based on.
_COLUMNS = """
WITH RECURSIVE based (attnum, type) AS (
  SELECT attnum, atttypid FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass(%s) AND attnum > 0
   UNION ALL
  SELECT b.attnum, t.typbasetype FROM based b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
)
SELECT a.attname::text,
       CASE WHEN a.atttypid >= 16384 OR t.typname ~ '^_?reg' THEN 'text'
            ELSE pg_catalog.format_type(a.atttypid, a.atttypmod) END,
       (SELECT CASE WHEN d.oid < 16384 AND d.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
                    THEN d.typname::text ELSE '' END
          FROM based b JOIN pg_catalog.pg_type d ON d.oid = b.type WHERE b.attnum = a.attnum AND d.typtype <> 'd')
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = pg_catalog.to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
#: So that values are written and read the same way whatever the server's configuration says.
SETTINGS = (
    "SELECT pg_catalog.set_config(name, value, false) FROM (VALUES ('search_path', 'pg_catalog'),"
    " ('datestyle', 'ISO, YMD'), ('intervalstyle', 'postgres'), ('timezone', 'UTC'), ('extra_float_digits', '1'),"
    " ('lc_monetary', 'C'), ('array_nulls', 'on'), ('bytea_output', 'hex'), ('xmloption', 'content'),"
    " ('jit', 'off'), ('max_parallel_workers_per_gather', '0')) AS s (name, value)"
)


@dataclass(frozen=True)
class Loaded:
    """A table in the scratch database."""

    wanted: WantedTable
    columns: tuple[Column, ...]

    @property
    def place(self) -> sql.Identifier:
        """Its name in SQL."""
        return sql.Identifier(self.wanted.schema_name, self.wanted.name)

    @property
    def names(self) -> sql.Composed:
        """Its columns in SQL."""
        return sql.SQL(", ").join(sql.Identifier(column.name) for column in self.columns)

    def loading(self, place: sql.Identifier) -> sql.Composed:
        """The statement that loads its rows into a table with these columns. A table may have none."""
        columns = sql.SQL(" ({})").format(self.names) if self.columns else sql.SQL("")
        return sql.SQL("COPY {}{} FROM stdin").format(place, columns)

    def definition(self, schema: str) -> sql.Composed:
        """The statement that makes a table with these columns in another schema."""
        columns = (
            sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in self.columns
        )
        place = sql.Identifier(schema, self.wanted.name)
        return sql.SQL("CREATE TABLE {} (\n    {}\n)").format(place, sql.SQL(",\n    ").join(columns))


class Reader:
    """Reads rows of tables in the open scratch database."""

    def __init__(self, session: Connection) -> None:
        self._session = session

    def table(self, wanted: WantedTable) -> Loaded:
        """A table that was loaded."""
        place = sql.Identifier(wanted.schema_name, wanted.name).as_string()
        found = self._session.execute(_COLUMNS.encode(), [place, place]).fetchall()
        return Loaded(wanted, tuple(Column(*row) for row in found))

    def copy(self, table: Loaded, format_: TableFormat, file: IO[bytes]) -> int:
        """Writes the rows of a table as COPY does. Returns their number. Raises MoverError RowFilterFailed,
        RestoreFailed."""
        where = self._where(table)
        options = "FORMAT csv, HEADER true" if format_ == "CSV" else "FORMAT text"
        statement = sql.SQL("COPY (SELECT {} FROM ONLY {}{}) TO STDOUT WITH ({})").format(
            table.names, table.place, where, sql.SQL(options)
        )
        with (
            translating(conditions.RESTORE_FAILED, f"reading table {table.wanted.name}"),
            self._session.cursor() as cursor,
        ):
            with cursor.copy(statement) as rows:
                for data in rows:
                    file.write(data)
            return max(cursor.rowcount, 0)

    def _where(self, table: Loaded) -> sql.Composable:
        """The condition. Its values are checked first, so that an error of theirs is told from one of a row."""
        where, name = table.wanted.where, f"{table.wanted.schema_name}.{table.wanted.name}"
        if where is None:
            return sql.SQL("")
        try:
            for comparison, values in literals(table.columns, where):
                try:
                    self._session.execute(sql.SQL("SELECT {}").format(values))
                except (psycopg.errors.DataError, UnicodeEncodeError) as error:
                    raise MoverError(
                        conditions.ROW_FILTER_FAILED, f"values of column {comparison.column!r}: {_said(error)}"
                    ) from error
            return sql.SQL(" WHERE {}").format(compiled(table.columns, where))
        except MoverError as error:
            raise MoverError(
                error.reason, f"where of table {name}: {error.message}. Correct it in a new Extract."
            ) from error


def _said(error: psycopg.Error | UnicodeEncodeError) -> str:
    return (error.diag.message_primary or "") if isinstance(error, psycopg.Error) else error.reason


@contextmanager
def reading(access: CopyAccess, token: Token) -> Iterator[Reader]:
    """A reader within the block."""
    with access.connect(application=APPLICATION, token=token) as session, token.on_cancel(session.cancel_safe):
        set_timeouts(session, statement="0", lock="60s")
        session.execute(SETTINGS.encode())
        yield Reader(session)
