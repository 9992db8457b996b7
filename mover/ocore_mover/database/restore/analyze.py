"""ANALYZE in parallel: a database without statistics is a slow one, and the application starts on it at once."""

import queue
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import sql

from ocore_mover.database.connect import Connection, connect, set_timeouts
from ocore_mover.database.credentials import Credentials
from ocore_mover.deadline import Token

APPLICATION = "ocore-analyze"
#: A partitioned table's ANALYZE reads its partitions too: only the root of each tree, and what is in none.
_TABLES = (
    "SELECT c.oid::bigint, n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'm', 'p') AND NOT c.relispartition AND c.oid >= 16384 AND c.relpersistence <> 't'"
    " ORDER BY pg_total_relation_size(c.oid) DESC"
)


def analyze(credentials: Credentials, owner: str, token: Token, *, jobs: int) -> int:
    """Analyzes every table as the owner; returns how many. The largest first, `jobs` at a time."""
    with connect(credentials, application=APPLICATION, token=token) as connection:
        tables = [(schema, name) for _, schema, name in connection.execute(_TABLES.encode())]
    work: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    for table in tables:
        work.put(table)

    def worker() -> None:
        with connect(credentials, application=APPLICATION, token=token) as own, token.on_cancel(own.cancel_safe):
            set_timeouts(own, statement="0", lock="60s")
            own.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
            own.execute("SET synchronous_commit = off")
            _drain(own, work, token)

    with ThreadPoolExecutor(jobs, thread_name_prefix="analyze") as pool:
        for future in [pool.submit(worker) for _ in range(min(jobs, len(tables)))]:
            future.result()
    return len(tables)


def _drain(connection: Connection, work: "queue.SimpleQueue[tuple[str, str]]", token: Token) -> None:
    while True:
        token.check()
        try:
            schema, name = work.get_nowait()
        except queue.Empty:
            return
        try:
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema, name)))
        except psycopg.errors.QueryCanceled:
            token.check()
            raise
