"""What code of the application may take of the server while it runs in a copy: PostgreSQL itself limits neither the
locks of a session nor the space that it uses.

A thread asks once a second. So the limit is exceeded for about that long, then the copy is closed and its sessions are
ended. The memory of another session cannot be asked for.

All locks of the server may be taken by then, and then most statements fail. So the thread's session asks functions
instead of views, which need locks, and has a few locks in reserve: it gives them up in the message that ends the
sessions.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_mover.database import sessions, volume
from ocore_mover.database.connect import Connection, Server, connect_maintenance
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

log = logging.getLogger(__name__)

APPLICATION = "ocore-limits"
_EVERY = 1.0
#: Sessions in a database. Not pg_stat_activity: that reads pg_database and pg_authid, which needs locks.
_SESSIONS = "pg_catalog.pg_stat_get_activity(NULL) AS a WHERE a.datid = {}"
#: Locks in the shared table that all sessions of the server have together, and those of sessions in one database.
_LOCKS = sql.SQL(f"""
SELECT pg_catalog.current_setting('max_locks_per_transaction')::bigint
       * (pg_catalog.current_setting('max_connections')::bigint
          + pg_catalog.current_setting('max_prepared_transactions')::bigint),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_lock_status() AS l
         WHERE NOT l.fastpath AND l.pid IN (SELECT a.pid FROM {_SESSIONS}))
""")  # noqa: S608 - our own text
#: The server has no room for another lock.
_NO_LOCKS = psycopg.errors.OutOfMemory
#: For what PostgreSQL reads of the catalog to end a session.
_RESERVE = sql.SQL(
    "SELECT pg_catalog.count(pg_catalog.pg_try_advisory_lock(pg_catalog.pg_backend_pid(), n))"
    " FROM pg_catalog.generate_series(1, 64) AS n"
)
#: One message: no one is faster.
_TERMINATE = sql.SQL(
    f"SELECT pg_catalog.pg_advisory_unlock_all(); SELECT pg_catalog.pg_terminate_backend(a.pid) FROM {_SESSIONS}"  # noqa: S608 - our own text
)


@contextmanager
def limited(server: Server, database: str, capacity: int | None, token: Token | None = None) -> Iterator[None]:
    """Within the block, the sessions in a copy have half of the server's locks at most; `capacity`: and leave the
    reserve of the volume free. Beyond that they are ended.

    Raises MoverError RestoreFailed, InsufficientCapacity at the end of the block where they were.
    """
    found: list[MoverError] = []
    ended = threading.Event()
    with connect_maintenance(server, application=APPLICATION, token=token) as connection:
        copy = _Copy(connection, database, volume.Watch(capacity, database) if capacity is not None else None)
        copy.prepare()

        def run() -> None:
            while not ended.wait(_EVERY):
                try:
                    copy.check()
                except MoverError as error:
                    found.append(error)
                    copy.end()  # and again: a program that has the password may come back
                except psycopg.Error as error:
                    log.warning("the copy's sessions were not watched", extra={"error": str(error)})
                    if connection.closed:
                        return

        thread = threading.Thread(target=run, name="limits", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if found:
                raise found[0]


class _Copy:
    """The sessions in a copy."""

    def __init__(self, connection: Connection, database: str, watch: volume.Watch | None) -> None:
        self._connection = connection
        self._database = database
        self._watch = watch
        self._oid: int | None = None

    def prepare(self) -> None:
        """Reads from the catalog what the statements need, and takes the reserve. Raises psycopg.Error."""
        self._execute(_LOCKS)
        self._execute(_RESERVE)

    def check(self) -> None:
        """Raises MoverError RestoreFailed, InsufficientCapacity beyond a limit; psycopg.Error."""
        self._check_locks()
        if self._watch is not None:
            self._watch(self._connection)

    def end(self) -> None:
        """Ends the sessions, then closes the copy: there are locks for that again."""
        try:
            self._execute(_TERMINATE)
            sessions.close(self._connection, self._database)
            sessions.end_all(self._connection, (self._database,))
            self._execute(_RESERVE)
        except (psycopg.Error, MoverError) as error:
            log.warning("the copy's sessions were not ended", extra={"database": self._database, "error": str(error)})

    def _check_locks(self) -> None:
        try:
            row = self._execute(_LOCKS).fetchone()
        except _NO_LOCKS as error:
            raise self._exceeded("sessions had all locks of the server") from error
        most, held = (int(row[0]), int(row[1])) if row is not None else (0, 0)
        if held > most // 2:
            raise self._exceeded(f"sessions in {self._database} had {held} locks of about {most} that the server has")

    def _exceeded(self, what: str) -> MoverError:
        return MoverError(
            conditions.RESTORE_FAILED,
            f"{what}, and those in {self._database} were ended: without locks no one can connect. Look for functions,"
            " triggers or scripts that take advisory locks, or increase max_locks_per_transaction",
        )

    def _execute(self, statement: sql.SQL) -> psycopg.Cursor[tuple[Any, ...]]:
        if self._oid is None:
            row = self._connection.execute(
                "SELECT oid FROM pg_catalog.pg_database WHERE datname = %s", [self._database]
            ).fetchone()
            self._oid = int(row[0]) if row is not None else None
        return self._connection.execute(statement.format(sql.Literal(self._oid)))
