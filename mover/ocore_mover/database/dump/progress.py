"""Progress of a dump: bytes of tables that COPY has read, of the bytes of all tables."""

import logging
from collections.abc import Mapping

import psycopg

from ocore_mover.database.connect import Connection
from ocore_mover.report import Counter

log = logging.getLogger(__name__)


def copied_bytes(table_bytes: Mapping[int, int], active: Mapping[int, int]) -> int:
    """Bytes read so far. `active`: table → bytes that COPY has processed.

    A parallel pg_dump reads the largest tables first: a table larger than the smallest active one was read before.
    """
    if not active:
        return 0
    smallest = min(table_bytes.get(table, 0) for table in active)
    done = sum(size for table, size in table_bytes.items() if table not in active and size > smallest)
    return done + sum(min(count, table_bytes.get(table, 0)) for table, count in active.items())


class DumpProgress:
    """Reads the progress from the server (PostgreSQL 14 and newer; older servers report none)."""

    def __init__(self, counter: Counter, table_bytes: Mapping[int, int], application: str) -> None:
        self._counter = counter
        self._table_bytes = table_bytes
        self._application = application
        counter.bytes_total = sum(table_bytes.values())

    def update(self, connection: Connection) -> None:
        """Reads the progress of our dump's sessions. Ignores failures."""
        if connection.info.server_version < 140000 or connection.closed:
            return
        try:
            rows = connection.execute(
                "SELECT p.relid::bigint, p.bytes_processed FROM pg_stat_progress_copy p JOIN pg_stat_activity a USING (pid)"
                " WHERE a.application_name = %s AND p.datname = current_database()",
                [self._application],
            ).fetchall()
        except psycopg.Error as error:
            log.info("progress is unknown", extra={"error": str(error)})
            connection.close()
            return
        self._reach(copied_bytes(self._table_bytes, dict(rows)))

    def finish(self) -> None:
        """Reports that everything was read."""
        self._reach(self._counter.bytes_total)
        self._counter.report()

    def _reach(self, done: int) -> None:
        # Never backwards: a finished table is missing from the view.
        self._counter.add(bytes_=max(0, done - self._counter.bytes_done))
