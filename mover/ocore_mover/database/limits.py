"""What code of the application may take of the server while it runs in a copy: PostgreSQL itself limits neither the
locks of a session nor the space that it uses.

A thread asks once a second. So the limit is exceeded for about that long, then the copy's sessions are ended. The
memory of another session cannot be asked for.
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
    with connect_maintenance(server, application=APPLICATION, token=token) as connection:
        watch = volume.Watch(capacity, database) if capacity is not None else None
        _check(connection, database, None)  # the first one reads the catalog, which needs locks

        def run() -> None:
            while not ended.wait(_EVERY):
                try:
                    _check(connection, database, watch)
                except MoverError as error:
                    found.append(error)
                    _end(connection, database)
                    return
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


def _check(connection: Connection, database: str, watch: volume.Watch | None) -> None:
    most, held = connection.execute(_LOCKS.encode(), [database]).fetchone() or (0, 0)
    if held > most // 2:
        raise MoverError(
            conditions.RESTORE_FAILED,
            f"sessions in {database} had {held} locks of about {most} that the server has, and were ended: without"
            " locks no one can connect. Look for functions, triggers or scripts that take advisory locks, or increase"
            " max_locks_per_transaction",
        )
    if watch is not None:
        watch(connection)


def _end(connection: Connection, database: str) -> None:
    try:
        sessions.end_all(connection, (database,))
    except (psycopg.Error, MoverError) as error:
        log.warning("the copy's sessions were not ended", extra={"database": database, "error": str(error)})
