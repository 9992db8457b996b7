"""Refusing connections to databases, and ending the sessions that are there."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_mover.database.connect import Connection, quoted
from ocore_mover.errors import MoverError

#: How long sessions get to end (seconds): they are terminated, not asked.
END_TIMEOUT = 20.0
#: Those that we may not end may still end by themselves (a monitoring query), but the application is down meanwhile.
_GRACE = 5.0
_POLL = 0.05


@dataclass(frozen=True)
class Session:
    """A session of somebody else."""

    pid: int
    database: str
    role: str
    application: str
    superuser: bool


def allow(connection: Connection, database: str, allowed: bool) -> None:
    """Lets new connections in, or refuses them, superusers included. Sessions that are there stay."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.Literal(allowed))
    )


def others(connection: Connection, databases: Sequence[str]) -> list[Session]:
    """Sessions in these databases but our own; autovacuum has no role and yields to a rename by itself."""
    found = connection.execute(
        "SELECT a.pid, a.datname, coalesce(r.rolname, a.usesysid::text), coalesce(a.application_name, ''),"
        " coalesce(r.rolsuper, false)"
        " FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid"
        " WHERE a.datname = ANY(%s) AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL ORDER BY a.pid",
        [list(databases)],
    )
    return [Session(*row) for row in found]


def prepared(connection: Connection, databases: Sequence[str]) -> list[str]:
    """Prepared transactions: they hold a database as a session does, and nobody but their coordinator may end them."""
    found = connection.execute("SELECT gid FROM pg_prepared_xacts WHERE database = ANY(%s)", [list(databases)])
    return [row[0] for row in found]


def end_all(connection: Connection, databases: Sequence[str], *, timeout: float = END_TIMEOUT) -> int:
    """Ends sessions until none is left; refuse connections first. Returns how many were ended.

    Raises MoverError SessionsRemain that names the role and application of each that is left, and the grant that is missing.
    """
    since = time.monotonic()
    ended: set[int] = set()
    denied: set[str] = set()
    while left := others(connection, databases):
        hopeless = all(session.role in denied for session in left)
        if time.monotonic() - since >= (min(_GRACE, timeout) if hopeless else timeout):
            raise _remain(connection, left, denied, time.monotonic() - since)
        for session in left:
            if session.role in denied:
                continue
            try:
                connection.execute("SELECT pg_terminate_backend(%s)", [session.pid])
                ended.add(session.pid)
            except psycopg.errors.InsufficientPrivilege:
                denied.add(session.role)
        time.sleep(_POLL)
    if transactions := prepared(connection, databases):
        raise MoverError(
            conditions.SESSIONS_REMAIN,
            f"prepared transactions are left: {', '.join(transactions[:10])}; end them with COMMIT PREPARED or ROLLBACK PREPARED",
        )
    return len(ended)


def _remain(connection: Connection, left: Sequence[Session], denied: set[str], waited: float) -> MoverError:
    row = connection.execute("SELECT current_user").fetchone()
    actor = str(row[0]) if row else ""
    named = ", ".join(
        f"{s.role} (application {s.application or 'unknown'}, pid {s.pid}, database {s.database})" for s in left[:10]
    )
    words = [f"sessions are left after {waited:.0f} s: {named}"]
    words.extend(
        cure(actor, role, superuser=any(s.role == role and s.superuser for s in left)) for role in sorted(denied)
    )
    return MoverError(conditions.SESSIONS_REMAIN, "; ".join(words), retryable=True)


def cure(actor: str, role: str, *, superuser: bool) -> str:
    """What lets `actor` end the sessions of `role`."""
    if superuser:
        return f"only a superuser can end sessions of the superuser {role}: stop that program, or give adminSecretRef of a superuser"
    return f"{actor} may not end sessions of {role}: GRANT pg_signal_backend TO {quoted(actor)};"
