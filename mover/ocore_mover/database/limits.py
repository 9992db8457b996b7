"""What code of the application may take of the server while it runs in a copy: PostgreSQL itself limits neither the
locks of a session nor the space that it uses.

A thread asks once a second. So the limit is exceeded for about that long, then the copy's sessions are ended. The
memory of another session cannot be asked for.

Where all locks are taken, the thread gets none. So it asks, and ends sessions, in one transaction that has every lock
that this needs from its start. The transaction has no snapshot between two statements: it holds up no VACUUM.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from ocore_crds import conditions
from ocore_mover.database import sessions, volume
from ocore_mover.database.connect import Connection, Server, connect_maintenance
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

log = logging.getLogger(__name__)

APPLICATION = "ocore-limits"
_EVERY = 1.0
#: Needs the locks that the other statements and the check of their rights need. Catalogs that databases share have no
#: locks of the fast path.
_HOLD = """
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity), (SELECT pg_catalog.count(*) FROM
 pg_catalog.pg_roles), (SELECT pg_catalog.count(*) FROM pg_catalog.pg_auth_members),
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks)
"""
#: In a transaction the list of sessions is that of the first statement that has read it.
_FRESH = "SELECT pg_catalog.pg_stat_clear_snapshot()"
_END = """
SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
 WHERE a.datname = %s AND a.pid <> pg_catalog.pg_backend_pid() AND a.usesysid IS NOT NULL
"""
#: Locks in the shared table that all sessions of the server have together, and those of sessions in one database.
_LOCKS = """
SELECT pg_catalog.current_setting('max_locks_per_transaction')::bigint
       * (pg_catalog.current_setting('max_connections')::bigint
          + pg_catalog.current_setting('max_prepared_transactions')::bigint),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks l WHERE NOT l.fastpath AND l.pid IN
         (SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.datname = %s))
"""


@contextmanager
def limited(server: Server, database: str, capacity: int | None, token: Token | None = None) -> Iterator[None]:
    """Within the block, the sessions in a copy have half of the server's locks at most; `capacity`: and leave the
    reserve of the volume free. Beyond that they are ended.

    Raises MoverError RestoreFailed, InsufficientCapacity at the end of the block where they were.
    """
    found: list[MoverError] = []
    ended = threading.Event()
    with (
        connect_maintenance(server, application=APPLICATION, token=token) as connection,
        connect_maintenance(server, application=APPLICATION, token=token) as holder,
    ):
        watch = volume.Watch(capacity, database) if capacity is not None else None
        for text in ("BEGIN", _HOLD, _FRESH):
            holder.execute(text.encode())
        _check(holder, database)  # the first one reads the catalog, which needs locks

        def run() -> None:
            while not ended.wait(_EVERY):
                try:
                    _check(holder, database)
                    if watch is not None:
                        watch(connection)
                except MoverError as error:
                    found.append(error)
                    _end(holder, connection, database)
                    return
                except psycopg.errors.OutOfMemory:
                    continue  # locks were taken since the check: the next one sees it
                except psycopg.Error as error:
                    log.warning("the copy's sessions are not watched any more", extra={"error": str(error)})
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


def _check(holder: Connection, database: str) -> None:
    holder.execute(_FRESH.encode())
    most, held = holder.execute(_LOCKS.encode(), [database]).fetchone() or (0, 0)
    if held > most // 2:
        raise MoverError(
            conditions.RESTORE_FAILED,
            f"sessions in {database} had {held} locks of about {most} that the server has, and were ended: without"
            " locks no one can connect. Look for functions, triggers or scripts that take advisory locks, or increase"
            " max_locks_per_transaction",
        )


def _end(holder: Connection, connection: Connection, database: str) -> None:
    try:
        holder.execute(_FRESH.encode())
        holder.execute(_END.encode(), [database])
        sessions.end_all(connection, (database,))
    except (psycopg.Error, MoverError) as error:
        log.warning("the copy's sessions were not ended", extra={"database": database, "error": str(error)})
