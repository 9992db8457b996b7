"""Refuses connections to databases, and ends their sessions."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_crds.text.sentences import shown
from ocore_mover.database.connect import Connection, value
from ocore_mover.errors import MoverError

#: Seconds until terminated sessions must have ended.
END_TIMEOUT = 20.0
#: Seconds to wait for sessions that we may not end (a monitoring query): the application is down during this time.
_GRACE = 5.0
#: Seconds until the sessions are read again, at first and at most: one that ends takes some milliseconds.
_FIRST_POLL, _POLL = 0.005, 0.05


@dataclass(frozen=True)
class Session:
    """A session that is not ours."""

    pid: int
    database: str
    role: str
    application: str
    superuser: bool


def allow(connection: Connection, database: str, allowed: bool) -> None:
    """Allows or refuses new connections, those of superusers included. Existing sessions stay."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.Literal(allowed))
    )


def close(connection: Connection, database: str) -> None:
    """Refuses new connections to a database that is not live, and ends its use as a template."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false IS_TEMPLATE false").format(sql.Identifier(database))
    )


def hide(connection: Connection, database: str) -> None:
    """Allows connections to a database and makes it a template: programs that list databases leave templates out."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true IS_TEMPLATE true").format(sql.Identifier(database))
    )


def end_role(connection: Connection, role: str) -> None:
    """Ends a role's sessions in every database."""
    connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role])


def others(connection: Connection, databases: Sequence[str]) -> list[Session]:
    """Sessions in these databases except our own. Autovacuum has no role and yields to a rename, so it is left out."""
    found = connection.execute(
        "SELECT a.pid, a.datname, coalesce(r.rolname, a.usesysid::text), coalesce(a.application_name, ''),"
        " coalesce(r.rolsuper, false)"
        " FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid"
        " WHERE a.datname = ANY(%s) AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL ORDER BY a.pid",
        [list(databases)],
    )
    return [Session(*row) for row in found]


def prepared(connection: Connection, databases: Sequence[str]) -> list[str]:
    """Prepared transactions, which block a rename as sessions do; only their coordinator should end them."""
    found = connection.execute("SELECT gid FROM pg_prepared_xacts WHERE database = ANY(%s)", [list(databases)])
    return [row[0] for row in found]


def end_all(connection: Connection, databases: Sequence[str]) -> int:
    """Ends sessions until none remains, for at most END_TIMEOUT seconds; refuse connections first. Returns how many
    were ended.

    Raises MoverError SessionsRemain, which names the role and application of each remaining session and the missing
    grant.
    """
    since, pause = time.monotonic(), _FIRST_POLL
    ended: set[int] = set()
    denied: set[str] = set()
    while left := others(connection, databases):
        all_denied = all(session.role in denied for session in left)
        if time.monotonic() - since >= (_GRACE if all_denied else END_TIMEOUT):
            raise _sessions_remain(connection, left, denied, time.monotonic() - since)
        for session in left:
            if session.role in denied:
                continue
            try:
                connection.execute("SELECT pg_terminate_backend(%s)", [session.pid])
                ended.add(session.pid)
            except psycopg.errors.InsufficientPrivilege:
                denied.add(session.role)
        time.sleep(pause)
        pause = min(2 * pause, _POLL)
    if transactions := prepared(connection, databases):
        raise MoverError(
            conditions.SESSIONS_REMAIN,
            f"prepared transactions remain: {', '.join(map(shown, transactions[:10]))}; end them with COMMIT"
            f" PREPARED or ROLLBACK"
            " PREPARED",
        )
    return len(ended)


def _sessions_remain(connection: Connection, left: Sequence[Session], denied: set[str], waited: float) -> MoverError:
    actor = str(value(connection, "SELECT current_user"))
    named = ", ".join(f"{described(s)}, database {shown(s.database)})" for s in left[:10])
    parts = [f"sessions remain after {waited:.0f} s: {named}"]
    parts.extend(
        denial(actor, role, superuser=any(s.role == role and s.superuser for s in left)) for role in sorted(denied)
    )
    return MoverError(conditions.SESSIONS_REMAIN, "; ".join(parts), retryable=True)


def described(session: Session) -> str:
    """Role, application and process, with the parenthesis left open."""
    return f"{shown(session.role)} (application {shown(session.application or 'unknown')}, pid {session.pid}"


def denial(actor: str, role: str, *, superuser: bool) -> str:
    """Why `actor` cannot end the sessions of `role`, and what to do."""
    if superuser:
        return f"only a superuser can end sessions of the superuser {shown(role)}: stop that program"
    return (
        f"{shown(actor)} may not end sessions of {shown(role)}: stop that program, or make {shown(actor)} a member of"
        " pg_signal_backend"
    )
