"""Rows of tables in a closed scratch database. The text of a condition is hostile, and nothing that it does may reach
further than the choice of rows.

- It runs in a session of its own, logged in as a temporary role that is a member of no role, owns nothing and may only
  SELECT from these tables: ``RESET ROLE`` and ``SET SESSION AUTHORIZATION`` lead back to it. What an administrator may
  do (COPY PROGRAM, pg_read_file, lo_export) it may not.
- The transaction only reads, and the statement is sent by the extended protocol, which takes one statement.
- Functions of the dump that are SECURITY DEFINER are taken from it.
- Its result is a list of ``ctid``. The rows are then read by our own statements in another session. So neither a
  UNION nor a value that the condition computes comes into the result.
- A message of the server about a row may have its values: only the error's code is reported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_crds.extracted import TableFormat, WantedTable
from ocore_mover.database import copy_access
from ocore_mover.database.connect import Connection, Server, connect, query_failure, set_timeouts, translating
from ocore_mover.database.copy_access import CopyAccess
from ocore_mover.database.position import Names
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

APPLICATION = "ocore-extract"
#: For one block of a condition's rows.
FILTER_TIMEOUT = "300s"
#: Rows of a block.
_BLOCK = 5000
#: Class of SQLSTATE of a statement that cannot be planned: its message is about the text of the condition.
_SYNTAX = "42"

#: The columns of a table: name, and the type that a table without the application's types can have.
_COLUMNS = """
SELECT a.attname::text,
       CASE WHEN a.atttypid >= 16384 OR t.typname ~ '^_?reg' THEN 'text'
            ELSE pg_catalog.format_type(a.atttypid, a.atttypmod) END
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
 WHERE a.attrelid = pg_catalog.to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
#: Functions of the dump, and of its extensions, that run with their owner's rights.
_DEFINERS = "SELECT oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc WHERE prosecdef AND oid >= 16384"
_STILL = (
    "SELECT oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc WHERE prosecdef AND oid >= 16384"
    " AND pg_catalog.has_function_privilege(oid, 'EXECUTE') LIMIT 1"
)


@dataclass(frozen=True)
class Loaded:
    """A table in the scratch database."""

    wanted: WantedTable
    columns: tuple[str, ...]
    types: tuple[str, ...]  # a text of our own, or of the server

    @property
    def place(self) -> sql.Identifier:
        """Its name in SQL."""
        return sql.Identifier(self.wanted.schema_name, self.wanted.name)

    @property
    def names(self) -> sql.Composed:
        """Its columns in SQL."""
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))

    def definition(self, schema: str) -> sql.Composed:
        """The statement that makes a table with these columns in another schema."""
        columns = (
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(type_))
            for name, type_ in zip(self.columns, self.types, strict=True)
        )
        place = sql.Identifier(schema, self.wanted.name)
        return sql.SQL("CREATE TABLE {} (\n    {}\n)").format(place, sql.SQL(",\n    ").join(columns))


class Reader:
    """Reads rows of tables in the open scratch database."""

    def __init__(self, server: Server, names: Names, access: CopyAccess, session: Connection, token: Token) -> None:
        self._server = server
        self._names = names
        self._access = access
        self._session = session
        self._token = token

    def table(self, wanted: WantedTable) -> Loaded:
        """A table that was loaded."""
        place = sql.Identifier(wanted.schema_name, wanted.name).as_string()
        found = self._session.execute(_COLUMNS.encode(), [place]).fetchall()
        return Loaded(wanted, tuple(row[0] for row in found), tuple(row[1] for row in found))

    def copy(self, table: Loaded, format_: TableFormat, file: IO[bytes]) -> int:
        """Writes the rows of a table as COPY does. Returns their number. Raises MoverError RowFilterFailed,
        RestoreFailed."""
        if table.wanted.where is None:
            return self._copy(table, format_, file, sql.SQL(""), header=True)
        count, header = 0, True
        for block in self._chosen(table, table.wanted.where):
            where = sql.SQL(" WHERE ctid = ANY({}::tid[])").format(sql.Literal(block))
            count += self._copy(table, format_, file, where, header=header)
            header = False
        return count

    def _copy(
        self, table: Loaded, format_: TableFormat, file: IO[bytes], where: sql.Composable, *, header: bool
    ) -> int:
        options = f"FORMAT csv, HEADER {'true' if header else 'false'}" if format_ == "CSV" else "FORMAT text"
        statement = sql.SQL("COPY (SELECT {} FROM ONLY {}{}) TO STDOUT WITH ({})").format(
            table.names,
            table.place,
            where,
            sql.SQL(options),
        )
        with (
            translating(conditions.RESTORE_FAILED, f"reading table {table.wanted.name}"),
            self._session.cursor() as cursor,
        ):
            with cursor.copy(statement) as rows:
                for data in rows:
                    file.write(data)
            return max(cursor.rowcount, 0)

    def _chosen(self, table: Loaded, where: str) -> Iterator[list[str]]:
        """Blocks of the ``ctid`` of rows for which the condition holds; at least one, which may be empty."""
        with self._without_rights(table) as session, self._token.on_cancel(session.cancel_safe):
            statement = sql.SQL("DECLARE chosen NO SCROLL CURSOR FOR SELECT ctid FROM ONLY {} WHERE (\n").format(
                table.place
            )
            with self._filtering(table, planning=True):
                session.execute("BEGIN READ ONLY")
                # binary: by the extended protocol, which refuses a second statement.
                session.execute(statement.as_bytes(session) + where.encode() + b"\n)", binary=True)
            first = True
            while True:
                with self._filtering(table, planning=False):
                    # The condition of the block before may have changed it.
                    session.execute(f"SET LOCAL statement_timeout = '{FILTER_TIMEOUT}'".encode())
                    found = session.execute(f"FETCH FORWARD {_BLOCK} FROM chosen".encode()).fetchall()
                if found or first:
                    yield [str(row[0]) for row in found]
                first = False
                if len(found) < _BLOCK:
                    return

    @contextmanager
    def _without_rights(self, table: Loaded) -> Iterator[Connection]:
        """A session of a role that may read this table, and nothing else that is not everyone's."""
        with copy_access.without_rights(self._server, self._names, self._token) as credentials:
            role = sql.Identifier(credentials.user)
            with translating(conditions.RESTORE_FAILED, "granting the table to a role without rights"):
                schema = sql.Identifier(table.wanted.schema_name)
                self._session.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role))
                self._session.execute(sql.SQL("GRANT SELECT ON TABLE {} TO {}").format(table.place, role))
                for (function,) in self._session.execute(_DEFINERS.encode()).fetchall():
                    self._session.execute(f"REVOKE EXECUTE ON ROUTINE {function} FROM PUBLIC".encode())
            with connect(credentials, application=APPLICATION, token=self._token) as session:
                set_timeouts(session, statement=FILTER_TIMEOUT, lock="10s")
                session.execute(
                    sql.SQL("SET search_path = pg_catalog, {}, public").format(sql.Identifier(table.wanted.schema_name))
                )
                left = session.execute(_STILL.encode()).fetchone()
                if left is not None:
                    raise MoverError(
                        conditions.ROW_FILTER_FAILED,
                        f"table {table.wanted.name} needs the function {left[0]}, which runs with its owner's rights"
                        " (SECURITY DEFINER): extract the table without a condition",
                    )
                yield session

    @contextmanager
    def _filtering(self, table: Loaded, *, planning: bool) -> Iterator[None]:
        """Turns what the server says of a condition into RowFilterFailed. While it runs, a message may have values of
        rows: only the code is reported."""
        try:
            yield
        except psycopg.Error as error:
            self._token.check()
            state = error.sqlstate or ""
            if not state or state.startswith("57P"):  # the connection was lost
                raise query_failure(error, default=conditions.RESTORE_FAILED, doing="reading rows") from error
            name = f"where of table {table.wanted.schema_name}.{table.wanted.name}"
            if isinstance(error, psycopg.errors.QueryCanceled):
                text = f"{name} took longer than {FILTER_TIMEOUT} for {_BLOCK} rows. Write a simpler condition"
            elif planning and state.startswith(_SYNTAX):
                text = f"{name}: {error.diag.message_primary}. Correct the condition"
            else:
                text = f"{name} failed with SQLSTATE {state} ({type(error).__name__}). Correct the condition"
            raise MoverError(conditions.ROW_FILTER_FAILED, text) from None


@contextmanager
def reading(server: Server, names: Names, access: CopyAccess, token: Token) -> Iterator[Reader]:
    """A reader within the block."""
    with access.connect(application=APPLICATION, token=token) as session, token.on_cancel(session.cancel_safe):
        set_timeouts(session, statement="0", lock="60s")
        session.execute(
            "SELECT pg_catalog.set_config(name, value, false) FROM (VALUES ('search_path', 'pg_catalog'),"
            " ('datestyle', 'ISO, YMD'), ('intervalstyle', 'postgres'), ('extra_float_digits', '1'),"
            " ('bytea_output', 'hex')) AS s (name, value)"
        )
        yield Reader(server, names, access, session, token)
