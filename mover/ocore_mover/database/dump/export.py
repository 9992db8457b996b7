"""One point in time for database and filestore: garbage collection is paused while the snapshot is exported and frozen.

There are two connections. One holds the lock, for seconds. The other keeps the REPEATABLE READ transaction open, whose snapshot
pg_dump imports, until the dump has ended.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import psycopg
from psycopg import sql

from ocore_crds import conditions, failpoints
from ocore_mover.database.connect import Connection, Server, connect, set_timeouts, translating
from ocore_mover.database.copy_access import CopyAccess, application_search_path
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

APPLICATION = "ocore-snapshot"
#: Seconds. Odoo's garbage collection holds its SHARE lock while it unlinks; waiting behind it blocks no other session.
LOCK_TIMEOUT = 120
_ITERSIZE = 20_000
_MAX_NAME = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class Exported(Generic[T]):
    """An exported snapshot whose transaction is open."""

    snapshot: str  # for pg_dump --snapshot
    consistent_at: datetime
    attachments: bool  # whether the attachment table exists and was locked
    frozen: T  # what `freeze` returned
    connection: Connection  # in the snapshot's transaction, to read the same state


def find_attachments(connection: Connection) -> str | None:
    """The table ir_attachment with a column store_fname, on the search path, quoted for SQL; None where it does not exist."""
    row = connection.execute(
        "SELECT c.oid::regclass::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'store_fname' AND NOT a.attisdropped"
        " WHERE c.oid = to_regclass('ir_attachment') AND c.relkind IN ('r', 'p')"
    ).fetchone()
    return str(row[1]) if row else None


def read_names(connection: Connection, table: str) -> Iterator[str]:
    """The distinct store_fname of all attachments, sorted as bytes; needs a transaction (server-side cursor).

    The server sorts them, on its disk where they are many. A longer name is truncated: it cannot be a file's.
    """
    query = sql.SQL(
        'SELECT DISTINCT pg_catalog.left(store_fname::pg_catalog.text, {}) COLLATE pg_catalog."C" FROM {}'
        " WHERE store_fname IS NOT NULL ORDER BY 1"
    ).format(sql.Literal(_MAX_NAME), _table(table))
    with connection.cursor(name="ocore_names") as cursor:
        cursor.itersize = _ITERSIZE
        cursor.execute(query)
        for row in cursor:
            yield row[0]


@contextmanager
def live_names(server: Server, token: Token | None = None) -> Iterator[Iterator[str]]:
    """The attachment names in the live database now, sorted, for the block; none where it has no attachment table."""
    with (
        translating(conditions.DATABASE_UNREACHABLE, f"reading the attachment names of {server.live}"),
        connect(server.app, application=APPLICATION, token=token) as connection,
        connection.transaction(),
    ):
        table = find_attachments(connection)
        yield read_names(connection, table) if table else iter(())


@contextmanager
def copy_names(server: Server, access: CopyAccess, token: Token | None = None) -> Iterator[Iterator[str]]:
    """The attachment names in the copy, sorted, for the block. Found by the search path that the application has in the live database."""
    with (
        translating(conditions.DATABASE_UNREACHABLE, f"reading the attachment names of {access.credentials.dbname}"),
        access.connect(application=APPLICATION, token=token) as connection,
        connection.transaction(),
    ):
        path = application_search_path(server, access, token)
        connection.execute("SELECT pg_catalog.set_config('search_path', %s, false)", [path])
        table = find_attachments(connection)
        yield read_names(connection, table) if table else iter(())


@contextmanager
def export(server: Server, token: Token, *, lock: bool, freeze: Callable[[Iterator[str]], T]) -> Iterator[Exported[T]]:
    """Exports a snapshot, whose transaction stays open within the block.

    `lock`: pause garbage collection and read the attachment names, where the table exists (layout Odoo). `freeze` is called with the
    names, without duplicates and sorted, while the lock is held; its result is in `frozen`. Hits the failpoints snapshot-locked and
    snapshot-frozen. Raises MoverError DumpFailed, MissingGrants and those of `freeze`.
    """
    with connect(server.app, application=APPLICATION, token=token) as holder:
        set_timeouts(holder, statement="0", lock="0")
        with token.on_cancel(holder.cancel_safe), holder.transaction():
            with _locked(server, token, holder, enabled=lock) as table:
                snapshot, consistent_at = _export(holder)
                failpoints.hit("snapshot-locked")
                frozen = freeze(_exported_names(holder, table))
            failpoints.hit("snapshot-frozen")
            yield Exported(snapshot, consistent_at, table is not None, frozen, holder)
            # The names were read in this transaction. Where it was lost, the dump may show another state.
            with translating(conditions.DUMP_FAILED, "ending the snapshot's transaction"):
                holder.execute("SELECT 1")


def _export(holder: Connection) -> tuple[str, datetime]:
    """The snapshot's identifier and its time."""
    with translating(conditions.DUMP_FAILED, "exporting a snapshot"):
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = holder.execute("SELECT pg_export_snapshot()").fetchone()
        consistent_at = datetime.now(UTC)
    return (str(row[0]) if row else ""), consistent_at


def _exported_names(holder: Connection, table: str | None) -> Iterator[str]:
    """The attachment names in the exported snapshot."""
    if table is not None:
        with translating(conditions.DUMP_FAILED, "reading the attachment names"):
            yield from read_names(holder, table)


@contextmanager
def _locked(server: Server, token: Token, finder: Connection, *, enabled: bool) -> Iterator[str | None]:
    """Within the block garbage collection (which takes SHARE) waits and writers continue."""
    if not enabled:
        yield None
        return
    with connect(server.app, application=APPLICATION, token=token) as connection:
        table = find_attachments(connection)
        if table is None:
            yield None
            return
        set_timeouts(connection, statement="0", lock=f"{LOCK_TIMEOUT}s")
        with token.on_cancel(connection.cancel_safe), connection.transaction():
            _lock(connection, table, token)
            yield table


def _lock(connection: Connection, table: str, token: Token) -> None:
    try:
        connection.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(_table(table)))
    except psycopg.errors.LockNotAvailable:
        raise MoverError(
            conditions.DUMP_FAILED,
            f"another session (garbage collection, or a migration) locked table {table} for more than {LOCK_TIMEOUT} s; "
            "retry when it has finished",
            retryable=True,
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise MoverError(
            conditions.MISSING_GRANTS,
            f"garbage collection cannot be paused: {error.diag.message_primary}: GRANT UPDATE ON {table} TO the role",
        ) from None
    except psycopg.errors.QueryCanceled:
        token.check()
        raise


def _table(quoted_name: str) -> sql.SQL:
    # From the catalog, quoted by quote_ident.
    return sql.SQL(quoted_name)
