"""One point in time for database and filestore: garbage collection is paused while the snapshot is exported.

There are two connections. One holds the lock, for a moment: the files are linked before it, and only new ones under it.
The other keeps the REPEATABLE READ transaction open, whose snapshot pg_dump imports, until pg_dump has ended.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from ocore_crds import conditions, failpoints
from ocore_crds.text.sentences import shown
from ocore_mover.database import lock_waits
from ocore_mover.database.connect import Connection, Server, connect, set_timeouts, translating, value
from ocore_mover.database.copy_access import CopyAccess, application_search_path
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.freezer import Freezer

log = logging.getLogger(__name__)

APPLICATION = "ocore-snapshot"
#: Seconds for which the lock is held at most. The server enforces it, whatever our process waits for: writers of the
#: table wait behind garbage collection, which waits for us.
HOLD_LIMIT = 60
#: Reads of the names before the lock. The second one finds what is new since the first, which takes long for many
#: files.
PASSES = 2
_ITERSIZE = 20_000
_MAX_NAME = 1000
#: The id of the oldest transaction that is not over for a snapshot.
_OLDEST = "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.xid::pg_catalog.text"


@dataclass
class Exported:
    """An exported snapshot whose transaction is open until :meth:`end`."""

    snapshot: str  # for pg_dump --snapshot
    consistent_at: datetime
    attachments: bool  # whether the attachment table exists and was locked
    connection: Connection  # in the snapshot's transaction, to read the same state
    _scope: ExitStack  # of the connection and the transaction
    _ended: bool = False

    def end(self) -> None:
        """Ends the transaction, so that the server can remove old rows again. Call when pg_dump has ended; does nothing
        the second time.

        Raises MoverError DumpFailed where the transaction was lost: the names were read in it, and the dump may show
        another state.
        """
        if self._ended:
            return
        self._ended = True
        with translating(conditions.DUMP_FAILED, "ending the snapshot's transaction"):
            self.connection.execute("SELECT 1")
            self._scope.close()


def find_attachments(connection: Connection) -> str | None:
    """The table ir_attachment with a column store_fname, on the search path, quoted for SQL; None where it does not
    exist."""
    row = connection.execute(
        "SELECT c.oid::regclass::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'store_fname' AND NOT a.attisdropped"
        " WHERE c.oid = to_regclass('ir_attachment') AND c.relkind IN ('r', 'p')"
    ).fetchone()
    return str(row[1]) if row else None


def read_names(connection: Connection, table: str, since: str | None = None) -> Iterator[str]:
    """The distinct store_fname of all attachments, sorted as bytes; needs a transaction (server-side cursor). An empty
    one is none, as in Odoo.

    `since`: only of rows that a transaction with this id (xid) or a later one wrote. The server sorts them, on its disk
    where they are many. A longer name is truncated: it cannot be a file's.
    """
    query = sql.SQL(
        'SELECT DISTINCT pg_catalog.left(store_fname::pg_catalog.text, {}) COLLATE pg_catalog."C" FROM {}'
        " WHERE store_fname::pg_catalog.text OPERATOR(pg_catalog.<>) ''{} ORDER BY 1"
    ).format(
        sql.Literal(_MAX_NAME),
        _table(table),
        # Ages compare ids across their wraparound. Of a very old row the age may be wrong: it is then read without
        # need.
        (
            sql.SQL(" AND pg_catalog.age(xmin) <= pg_catalog.age({}::pg_catalog.xid)").format(sql.Literal(since))
            if since is not None
            else sql.SQL("")
        ),
    )
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
    """The attachment names in the copy, sorted, for the block. Found by the search path that the application has in the
    live database."""
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
def export(
    server: Server,
    token: Token,
    *,
    freezer: Freezer | None = None,
    just_before: Callable[[], None] = lambda: None,
) -> Iterator[Exported]:
    """Exports a snapshot. Its transaction ends by :meth:`Exported.end`, at the latest with the block. `just_before` is
    called when all but the export is done.

    `freezer`: freezes the files that the attachment table names; garbage collection is paused for a
    moment where that table exists. What it reads waits for locks, for LOCK_TIMEOUT seconds each. Hits the failpoints
    snapshot-locked and snapshot-frozen. Raises MoverError DumpFailed, MissingGrants and those of `freezer`.
    """
    with ExitStack() as scope:
        holder = scope.enter_context(connect(server.app, application=APPLICATION, token=token))
        set_timeouts(holder, statement="0", lock=f"{lock_waits.LOCK_TIMEOUT}s")
        scope.enter_context(token.on_cancel(holder.cancel_safe))
        table = find_attachments(holder) if freezer is not None else None
        horizon = _link_ahead(holder, table, freezer, token) if freezer is not None and table is not None else None
        with _locked(server, token, table):
            scope.enter_context(holder.transaction())
            just_before()
            snapshot, consistent_at = _export(holder)
            failpoints.hit("snapshot-locked")
            if freezer is not None and table is not None and freezer.linked:
                _collect(holder, table, freezer, horizon, token)()
            under_lock = freezer is not None and not freezer.linked
            if freezer is not None and under_lock:
                freezer.finish(_exported_names(holder, table, token))
        if freezer is not None and not under_lock:
            freezer.finish(_exported_names(holder, table, token))
        failpoints.hit("snapshot-frozen")
        exported = Exported(snapshot, consistent_at, table is not None, holder, scope)
        yield exported
        exported.end()


def _link_ahead(holder: Connection, table: str, freezer: Freezer, token: Token) -> str | None:
    """Protects the files of all attachments before the lock. Returns the id (xid) since which rows may be new, None
    where nothing is protected."""
    horizon: str | None = None
    for _ in range(PASSES):
        if not freezer.linked:
            return None
        with _reading(token), holder.transaction():
            holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # Rows that this snapshot does not see have this id or a later one.
            oldest = value(holder, _OLDEST)
            link = _collect(holder, table, freezer, horizon, token)
        link()  # without a transaction: it takes long
        horizon = str(oldest)
    return horizon


@contextmanager
def _reading(token: Token) -> Iterator[None]:
    """Around reads of the attachment names. A read that the token ended raises the token's own error, not one of the
    dump."""
    try:
        with translating(conditions.DUMP_FAILED, "reading the attachment names"):
            yield
    except MoverError:
        token.check()
        raise


def _collect(holder: Connection, table: str, freezer: Freezer, since: str | None, token: Token) -> Callable[[], None]:
    with _reading(token):
        return freezer.collect(read_names(holder, table, since))


def _export(holder: Connection) -> tuple[str, datetime]:
    """The snapshot's identifier and its time."""
    with translating(conditions.DUMP_FAILED, "exporting a snapshot"):
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return str(value(holder, "SELECT pg_export_snapshot()")), datetime.now(UTC)


def _exported_names(holder: Connection, table: str | None, token: Token) -> Iterator[str]:
    """The attachment names in the exported snapshot."""
    if table is not None:
        with _reading(token):
            yield from read_names(holder, table)


@contextmanager
def _locked(server: Server, token: Token, table: str | None) -> Iterator[None]:
    """Within the block garbage collection (which takes SHARE) waits and writers continue. Nothing is locked without a
    table.

    Raises MoverError DumpFailed (retryable) where the block took longer than HOLD_LIMIT: the lock was released before
    its end.
    """
    if table is None:
        yield
        return
    with connect(server.app, application=APPLICATION, token=token) as connection:
        set_timeouts(connection, statement="0", lock=f"{lock_waits.LOCK_TIMEOUT}s")
        connection.execute(f"SET idle_in_transaction_session_timeout = '{HOLD_LIMIT}s'".encode())
        connection.execute("BEGIN")
        with token.on_cancel(connection.cancel_safe):
            _lock(connection, table, token)
            since = time.monotonic()
            yield
            seconds = time.monotonic() - since
        try:
            connection.execute("COMMIT")
        except psycopg.Error as error:
            raise MoverError(
                conditions.DUMP_FAILED,
                f"garbage collection could not be paused long enough ({seconds:.0f} s; the server allows {HOLD_LIMIT}"
                f" s) to link the new files of the filestore: {error.diag.message_primary or error}. Check whether the"
                " filestore's volume is slow",
                retryable=True,
            ) from error
        log.info("garbage collection was paused", extra={"seconds": round(seconds, 3), "table": table})


def _lock(connection: Connection, table: str, token: Token) -> None:
    try:
        connection.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(_table(table)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise MoverError(
            conditions.MISSING_GRANTS,
            f"garbage collection cannot be paused: {error.diag.message_primary}: the role needs UPDATE on"
            f" {shown(table)}",
        ) from None
    except psycopg.errors.QueryCanceled:
        token.check()
        raise


def _table(quoted_name: str) -> sql.SQL:
    # From the catalog, quoted by quote_ident.
    return sql.SQL(quoted_name)
