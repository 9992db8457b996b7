"""ANALYZE in parallel: the application starts on the copy at once, and without statistics its queries are slow."""

import queue
from concurrent.futures import ThreadPoolExecutor

import psycopg

from ocore_mover.database.connect import Connection, set_timeouts
from ocore_mover.database.copy_access import CopyAccess
from ocore_mover.deadline import Token

APPLICATION = "ocore-analyze"
#: A partitioned table's ANALYZE reads its partitions too: only the root of each tree, and tables in no tree.
_TABLES = (
    "SELECT c.oid::bigint FROM pg_class c"
    " WHERE c.relkind IN ('r', 'm', 'p') AND NOT c.relispartition AND c.oid >= 16384 AND c.relpersistence <> 't'"
    " ORDER BY pg_total_relation_size(c.oid) DESC"
)
_ANALYZE = (
    "DO $ocore$ BEGIN EXECUTE pg_catalog.format('ANALYZE %s', {}::pg_catalog.oid::pg_catalog.regclass); END $ocore$"
)


def analyze(access: CopyAccess, token: Token, *, jobs: int) -> int:
    """Analyzes every table with the application's rights: ANALYZE calls functions of index expressions.

    The largest table first, `jobs` at a time. Returns how many.
    """
    with access.connect(application=APPLICATION, token=token) as connection:
        tables = [int(row[0]) for row in connection.execute(_TABLES.encode())]
    work: queue.SimpleQueue[int] = queue.SimpleQueue()
    for table in tables:
        work.put(table)

    def worker() -> None:
        with access.connect(application=APPLICATION, token=token) as own, token.on_cancel(own.cancel_safe):
            set_timeouts(own, statement="0", lock="60s")
            own.execute("SET synchronous_commit = off")
            _drain(own, work, token)

    with ThreadPoolExecutor(jobs, thread_name_prefix="analyze") as pool:
        for future in [pool.submit(worker) for _ in range(min(jobs, len(tables)))]:
            future.result()
    return len(tables)


def _drain(connection: Connection, work: "queue.SimpleQueue[int]", token: Token) -> None:
    while True:
        token.check()
        try:
            table = work.get_nowait()
        except queue.Empty:
            return
        try:
            # By its oid: a name may be bytes that our client's encoding does not have.
            connection.execute(_ANALYZE.format(table).encode())
        except psycopg.errors.QueryCanceled:
            token.check()
            raise
