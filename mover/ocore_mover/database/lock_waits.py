"""Which session ours wait for: what waits for a lock says so in its step, and in the failure where it waits too long.

Of that session the server's own facts are shown, never a statement of it.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from ocore_crds import conditions
from ocore_crds.text.sentences import shown
from ocore_mover.database.connect import Connection, connect, query_failure
from ocore_mover.database.credentials import Credentials
from ocore_mover.database.sessions import Session, described
from ocore_mover.errors import MoverError

log = logging.getLogger(__name__)

#: Seconds. Odoo's garbage collection holds its SHARE lock while it unlinks, and a migration locks tables. Waiting
#: behind them blocks no other session.
LOCK_TIMEOUT = 120
#: Seconds between two questions. A wait that is shorter is not reported.
EVERY = 1.0
_APPLICATION = "ocore-lock-waits"
#: The first session that blocks one of ours, directly. A prepared transaction has no session (pid 0). What another role
#: does is visible to its members only, so the time may be missing.
_BLOCKER = """
SELECT coalesce(l.relation::pg_catalog.regclass::pg_catalog.text, ''), b.pid,
       coalesce(pg_catalog.pg_get_userbyid(a.usesysid)::pg_catalog.text, ''), coalesce(a.application_name, ''),
       coalesce(pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '')
  FROM pg_catalog.pg_stat_activity w
  JOIN pg_catalog.pg_locks l ON l.pid = w.pid AND NOT l.granted
 CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS b (pid)
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
 WHERE w.application_name = %s AND w.datname = pg_catalog.current_database() AND w.usename = current_user
 ORDER BY a.xact_start, b.pid LIMIT 1
"""


class LockWaits:
    """What the sessions of one application name wait for."""

    def __init__(self, application: str, say: Callable[[str], None]) -> None:
        """`say` is called with what is waited for, and with an empty text once nothing is."""
        self._application = application
        self._say = say
        self._said = ""
        self._last = ""  # is not forgotten: the lock's own timeout ends the wait before anyone hears of it

    def ask(self, connection: Connection) -> None:
        """Reports a change. Ignores failures."""
        if connection.closed:
            return
        try:
            row = connection.execute(_BLOCKER.encode(), [self._application]).fetchone()
        except psycopg.Error as error:
            log.info("what is waited for is unknown", extra={"error": str(error)})
            connection.close()
            return
        text = _text(*row) if row is not None else ""
        self._last = text or self._last
        if text != self._said:
            self._said = text
            self._say(text)

    def ended_by(self, message: str) -> MoverError:
        """The failure of what has waited for LOCK_TIMEOUT seconds."""
        return MoverError(conditions.DUMP_FAILED, "; ".join(filter(None, (message, self._last))), retryable=True)


def _text(table: str, pid: int, role: str, application: str, since: str) -> str:
    what = f"a lock on table {shown(table)}" if table else "a lock"
    if pid == 0:
        who = "a prepared transaction, which COMMIT PREPARED or ROLLBACK PREPARED ends"
    elif not role:
        who = f"a background process of the server (pid {pid})"
    else:
        began = f", in a transaction since {since}" if since else ""
        who = f"{described(Session(pid, '', role, application, superuser=False))}{began})"
    return f"waiting for {what}, for {LOCK_TIMEOUT} s at most. It is blocked by {who}"


@contextmanager
def watched(credentials: Credentials, application: str, say: Callable[[str], None]) -> Iterator[None]:
    """Reports what the sessions of this application name wait for within the block.

    Raises MoverError DumpFailed, with the session that was last seen to block one of them, where the block ends by
    psycopg's LockNotAvailable, or by what was made of it.
    """
    waits, ended = LockWaits(application, say), threading.Event()
    threading.Thread(target=_watch, args=(waits, credentials, ended), name="lock-waits", daemon=True).start()
    try:
        yield
    except (psycopg.Error, MoverError) as error:
        timeout = error if isinstance(error, psycopg.Error) else error.__cause__
        if isinstance(timeout, psycopg.errors.LockNotAvailable):
            found = query_failure(timeout, default=conditions.DUMP_FAILED, doing="reading the database")
            raise waits.ended_by(found.message) from timeout
        raise
    finally:
        ended.set()


def _watch(waits: LockWaits, credentials: Credentials, ended: threading.Event) -> None:
    """Most blocks end before the first question, so they cost no connection."""
    if ended.wait(EVERY):
        return
    try:
        with connect(credentials, application=_APPLICATION, patience=0) as connection:
            while True:
                waits.ask(connection)
                if ended.wait(EVERY):
                    return
    except (MoverError, psycopg.Error) as error:
        log.info("what is waited for is unknown", extra={"error": str(error)})
