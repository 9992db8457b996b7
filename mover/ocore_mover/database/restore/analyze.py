"""ANALYZE in parallel: the application starts on the copy at once, and without statistics its queries are slow."""

from collections.abc import Iterator

import psycopg

from ocore_mover.database.connect import set_timeouts
from ocore_mover.database.copy_access import CopyAccess
from ocore_mover.deadline import Token
from ocore_mover.workers import run_workers

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

    def work(some: Iterator[int]) -> None:
        with access.connect(application=APPLICATION, token=token) as own, token.on_cancel(own.cancel_safe):
            set_timeouts(own, statement="0", lock="60s")
            own.execute("SET synchronous_commit = off")
            for table in some:
                token.check()
                try:
                    # By its oid: a name may be bytes that our client's encoding does not have.
                    own.execute(_ANALYZE.format(table).encode())
                except psycopg.errors.QueryCanceled:
                    token.check()
                    raise

    if tables:
        run_workers(min(jobs, len(tables)), tables, work)
    return len(tables)
