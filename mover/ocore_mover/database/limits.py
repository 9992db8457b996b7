"""What code of the application may take of the server while it runs in a copy: PostgreSQL itself limits neither the
locks of a session nor the space that it uses.

A thread asks once a second. So the limit is exceeded for about that long, then the sessions are ended and shut out. The
memory of another session cannot be asked for.

All locks of the server may be taken by then, and then most statements fail. So the thread's session asks functions
instead of views, and each time also what PostgreSQL reads of the catalogs to end a session: what a session has read
before needs no lock. It has a few locks in reserve, for roles that have changed since and for shutting out.
"""

import contextlib
import logging
import secrets
import threading
import time
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
#: Ended sessions hold their locks for a moment, and new ones may come before they are shut out.
_TRIES, _PAUSE = 20, 0.05
#: Sessions in the copy, and those of its temporary role in any database. Not pg_stat_activity: that reads pg_database
#: and pg_authid, which needs locks.
_SESSIONS = "pg_catalog.pg_stat_get_activity(NULL) AS a WHERE (a.datid = {database} OR a.usesysid = {role})"
#: Locks in the shared table that all sessions of the server have together, and those of these sessions.
_LOCKS = sql.SQL(f"""
SELECT pg_catalog.current_setting('max_locks_per_transaction')::bigint
       * (pg_catalog.current_setting('max_connections')::bigint
          + pg_catalog.current_setting('max_prepared_transactions')::bigint),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_lock_status() AS l
         WHERE NOT l.fastpath AND l.pid IN (SELECT a.pid FROM {_SESSIONS}))
""")  # noqa: S608 - our own text
#: Those that have a role, unlike autovacuum. Their roles are what PostgreSQL reads to end them.
_PIDS = sql.SQL(f"""
SELECT a.pid, pg_catalog.pg_get_userbyid(a.usesysid), pg_catalog.pg_has_role(a.usesysid, 'USAGE')
  FROM {_SESSIONS} AND a.usesysid IS NOT NULL
""")  # noqa: S608 - our own text
_TERMINATE = sql.SQL("SELECT pg_catalog.pg_terminate_backend({pid})")
#: The server has no room for another lock.
_NO_LOCKS = psycopg.errors.OutOfMemory
_RESERVE = sql.SQL(
    "SELECT pg_catalog.count(pg_catalog.pg_try_advisory_lock(pg_catalog.pg_backend_pid(), n))"
    " FROM pg_catalog.generate_series(1, 64) AS n"
)
_GIVE_UP = sql.SQL("SELECT pg_catalog.pg_advisory_unlock_all()")


@contextmanager
def limited(
    server: Server, database: str, capacity: int | None, token: Token | None = None, *, role: str = ""
) -> Iterator[None]:
    """Within the block, the sessions in a copy have half of the server's locks at most; `capacity`: and leave the
    reserve of the volume free. Beyond that they are ended. `role`: the temporary role, whose sessions count in other
    databases as well.

    Raises MoverError RestoreFailed, InsufficientCapacity at the end of the block where they were; DatabaseUnreachable
    (retryable) where the session that watches them was ended.
    """
    found: list[MoverError] = []
    ended = threading.Event()
    watch = volume.Watch(capacity, database) if capacity is not None else None
    with _Copy(server, database, role, watch, token) as copy:

        def run() -> None:
            while not ended.wait(_EVERY):
                try:
                    copy.check()
                except MoverError as error:
                    found.append(error)
                except psycopg.Error as error:
                    log.warning("the copy's sessions were not watched", extra={"error": str(error)})
                if found:
                    copy.end()  # and again: a program that has the password may come back

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
    """The sessions in a copy. A context manager."""

    def __init__(
        self, server: Server, database: str, role: str, watch: volume.Watch | None, token: Token | None
    ) -> None:
        self._server = server
        self._database = database
        self._role = role
        self._watch = watch
        self._token = token
        self._ids: dict[str, sql.Literal] = {}
        self._connection = self._connected()

    def __enter__(self) -> "_Copy":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _connected(self) -> Connection:
        """A session that has read what it needs of the catalogs, and has the reserve. Raises MoverError,
        psycopg.Error."""
        connection = connect_maintenance(self._server, application=APPLICATION, token=self._token)
        try:
            row = connection.execute(
                "SELECT (SELECT oid FROM pg_catalog.pg_database WHERE datname = %s), r.oid,"
                " pg_catalog.pg_get_userbyid(r.oid), pg_catalog.pg_has_role(r.oid, 'USAGE')"
                " FROM (VALUES ((SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s))) AS r (oid)",
                [self._database, self._role],
            ).fetchone()
            database, role = row[:2] if row is not None else (None, None)
            self._ids = {"database": sql.Literal(database), "role": sql.Literal(role)}
            for statement in (_LOCKS, _PIDS, _TERMINATE, _GIVE_UP, _RESERVE):
                connection.execute(statement.format(**self._ids, pid=0))
        except BaseException:
            connection.close()
            raise
        return connection

    def check(self) -> None:
        """Raises MoverError RestoreFailed, InsufficientCapacity beyond a limit, DatabaseUnreachable where this session
        was ended: by the code in the copy, where that has the same role; psycopg.Error."""
        try:
            self._check_locks()
        except psycopg.Error as error:
            if not self._connection.closed:
                raise
            raise MoverError(
                conditions.DATABASE_UNREACHABLE,
                f"the session that watches what {self._database} takes of the server was ended, and so were those in"
                f" {self._database}",
                retryable=True,
            ) from error
        if self._watch is not None:
            self._watch(self._connection)

    def end(self) -> None:
        """Ends the sessions and shuts them out."""
        failure: Exception | None = None
        for _ in range(_TRIES):
            try:
                if self._connection.closed:
                    self._connection = self._connected()
                self._terminate()
                self._execute(_GIVE_UP)
                self._shut_out()
                self._execute(_RESERVE)
            except (psycopg.Error, MoverError) as error:
                failure = error
                time.sleep(_PAUSE)
            else:
                return
        log.warning("the copy's sessions were not ended", extra={"database": self._database, "error": str(failure)})

    def _terminate(self) -> None:
        try:
            pids = [int(row[0]) for row in self._execute(_PIDS)]
        except _NO_LOCKS:
            self._execute(_GIVE_UP)
            raise
        for pid in pids:
            # Not ours to end, and no reason to spare the others: a superuser who monitors all databases.
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                self._execute(_TERMINATE, pid)

    def _shut_out(self) -> None:
        sessions.close(self._connection, self._database)
        if self._role:
            self._connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(self._role)))
        # Only a superuser may end autovacuum, which calls functions of the copy. PostgreSQL ends it for a rename.
        other = sql.Identifier(f"ocore_{secrets.token_hex(8)}")
        with (
            contextlib.suppress(psycopg.errors.ObjectInUse),
            self._connection.transaction(force_rollback=True),
        ):
            self._connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(self._database), other)
            )

    def _check_locks(self) -> None:
        try:
            self._execute(_PIDS)  # what is read now needs no lock later
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

    def _execute(self, statement: sql.SQL, pid: int = 0) -> psycopg.Cursor[tuple[Any, ...]]:
        return self._connection.execute(statement.format(**self._ids, pid=pid))
