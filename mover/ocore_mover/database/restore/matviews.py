"""Materialized views are refreshed apart from the rest: a view that cannot be read now must not make the other data
impossible to restore.

A dump has no rows of them. Each is computed from the restored tables, and from what is outside of the database: a
foreign table has today's rows, or its server does not answer. A view that cannot be refreshed stays unpopulated:
reading it is an error that names it, until someone refreshes it.
"""

import time
from collections.abc import Iterable, Mapping

import psycopg
from psycopg import sql

from ocore_mover.database import toc
from ocore_mover.database.connect import Connection, set_timeouts
from ocore_mover.database.copy_access import CopyAccess
from ocore_mover.deadline import Token

APPLICATION = "ocore-restore"
#: Seconds for all views that read foreign tables: a server that does not answer must not use up the rollback's time.
FOREIGN_SECONDS = 900.0
#: Foreign tables that a view reads, by way of other views, too.
_FOREIGN = """
WITH RECURSIVE read AS (
  SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = %s AND c.relname = %s
  UNION
  SELECT d.refobjid FROM read v
    JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.oid
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
)
SELECT t.ftrelid::pg_catalog.regclass::text,
       CASE WHEN w.fdwname = 'postgres_fdw' AND NOT EXISTS (
         SELECT FROM pg_catalog.unnest(s.srvoptions) o WHERE pg_catalog.starts_with(o, 'connect_timeout=')
       ) THEN s.srvname::text END
  FROM read JOIN pg_catalog.pg_foreign_table t ON t.ftrelid = read.oid
  JOIN pg_catalog.pg_foreign_server s ON s.oid = t.ftserver
  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw ORDER BY 1
"""
#: Before it, a backend that connects to a foreign server cannot be interrupted, and could not be ended before a switch.
_FIRST_INTERRUPTIBLE = 160000
_CONNECT_SECONDS = 10
_LIMIT = sql.SQL("ALTER SERVER {} OPTIONS ({} connect_timeout {})")


def is_data(entry: toc.Entry) -> bool:
    """Whether the entry refreshes a materialized view."""
    return entry.description == "MATERIALIZED VIEW DATA"


def refresh(access: CopyAccess, entries: Iterable[toc.Entry], encoding: str, token: Token) -> list[str]:
    """Refreshes the views in the order of the dump, with the application's rights. Returns warnings: one for each view
    that stays unpopulated, with the statement to run, and one for each that has rows of today. Raises MoverError where
    the server is lost or the command is cancelled."""
    warnings: list[str] = []
    left = FOREIGN_SECONDS
    with (
        access.connect(application=APPLICATION, token=token) as session,
        token.on_cancel(session.cancel_safe),
    ):
        session.execute("SELECT pg_catalog.set_config('default_transaction_read_only', 'off', false)")
        for entry in entries:
            token.check()
            # As pg_restore: names in the statement and in the view are qualified.
            session.execute("SELECT pg_catalog.set_config('search_path', '', false)")
            foreign: dict[str, str | None] = dict(
                session.execute(_FOREIGN.encode(), [entry.schema, entry.tag]).fetchall()
            )
            began = time.monotonic()
            warnings += _refresh_one(session, entry, encoding, foreign, max(left, 1.0))
            if foreign:
                left -= time.monotonic() - began
            token.check()
    return warnings


def _refresh_one(
    session: Connection, entry: toc.Entry, encoding: str, foreign: Mapping[str, str | None], seconds: float
) -> list[str]:
    """`foreign`: foreign table → its server, where that needs a limit for connecting."""
    unlimited = sorted({server for server in foreign.values() if server is not None})
    if session.info.server_version >= _FIRST_INTERRUPTIBLE:
        unlimited = []
    name = f"materialized view {entry.schema}.{entry.tag}"
    set_timeouts(session, statement=f"{int(seconds * 1000)}ms" if foreign else "0", lock="60s")
    try:
        with session.transaction():
            session.execute(sql.SQL("SET LOCAL client_encoding = {}").format(sql.Literal(encoding)))
            for server in unlimited:
                session.execute(
                    _LIMIT.format(sql.Identifier(server), sql.SQL("ADD"), sql.Literal(str(_CONNECT_SECONDS)))
                )
            session.execute(entry.definition)
            for server in unlimited:
                session.execute(_LIMIT.format(sql.Identifier(server), sql.SQL("DROP"), sql.SQL("")))
    except psycopg.DatabaseError as error:
        if session.closed or session.broken:
            raise
        statement = entry.definition.decode(toc.codec(encoding), "replace").strip()
        return [
            f"{name} has no rows: {error.diag.message_primary or error}. After the rollback its owner can run:"
            f" {statement}"
        ]
    if foreign:
        return [f"{name} has rows of today, not of the snapshot: it reads foreign table {', '.join(list(foreign)[:5])}"]
    return []
