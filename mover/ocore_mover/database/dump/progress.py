"""Progress of a dump: bytes of tables that COPY has read, of the bytes of all tables."""

import logging
from collections.abc import Mapping

import psycopg

from ocore_mover.database.connect import Connection
from ocore_mover.report import Counter

log = logging.getLogger(__name__)

#: A table that was seen only at its beginning says nothing about the others.
MOST_RATIO = 3.0


class Copied:
    """How much of the tables was read, from what COPY processes now.

    A table that was seen and is not read any more is done. A parallel pg_dump reads the largest tables first: a table
    larger than the smallest active one was read before, though it was never seen. COPY counts bytes of text, and the
    sizes are those on the disk: the tables that are done say how many of the one make one of the other.
    """

    def __init__(self, table_bytes: Mapping[int, int]) -> None:
        self._table_bytes = table_bytes
        self._seen: dict[int, int] = {}  # table → bytes of text, as last seen

    def read(self, active: Mapping[int, int]) -> int:
        """Bytes of the tables that are read. `active`: table → bytes of text that COPY has processed."""
        self._seen |= active
        smallest = min((self._size(table) for table in active), default=sum(self._table_bytes.values()))
        done = {
            table: size
            for table, size in self._table_bytes.items()
            if table not in active and (table in self._seen or size > smallest)
        }
        text = sum(self._seen.get(table, 0) for table in done)
        size = sum(size for table, size in done.items() if table in self._seen)
        ratio = min(max(size / text, 1 / MOST_RATIO), MOST_RATIO) if text and size else 1.0
        return sum(done.values()) + sum(min(int(count * ratio), self._size(t)) for t, count in active.items())

    def _size(self, table: int) -> int:
        return self._table_bytes.get(table, 0)


class DumpProgress:
    """Reads the progress from the server (PostgreSQL 14 and newer; older servers report none)."""

    def __init__(self, counter: Counter, table_bytes: Mapping[int, int], application: str) -> None:
        self._counter = counter
        self._copied = Copied(table_bytes)
        self._application = application
        counter.bytes_total = sum(table_bytes.values())

    def update(self, connection: Connection) -> None:
        """Reads the progress of our dump's sessions. Ignores failures."""
        if connection.info.server_version < 140000 or connection.closed:
            return
        try:
            rows = connection.execute(
                "SELECT p.relid::bigint, p.bytes_processed FROM pg_stat_progress_copy p JOIN pg_stat_activity a USING"
                " (pid) WHERE a.application_name = %s AND p.datname = current_database()",
                [self._application],
            ).fetchall()
        except psycopg.Error as error:
            log.info("progress is unknown", extra={"error": str(error)})
            connection.close()
            return
        self._reach(self._copied.read(dict(rows)))

    def finish(self) -> None:
        """Reports that everything was read."""
        self._reach(self._counter.bytes_total)
        self._counter.report()

    def _reach(self, done: int) -> None:
        # Never backwards: a finished table is missing from the view.
        self._counter.add(bytes_=max(0, done - self._counter.bytes_done))
