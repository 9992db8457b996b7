"""Who may be in the restored copy before the switch: sessions of the application's rights that we open, and no others.

With an administrator the copy belongs to the administrator, and no role has CONNECT. Sessions in it log in as a
temporary role: a member of the live database's owner that inherits nothing, whose sessions begin under ``SET ROLE`` of
that owner. So code in the dump that runs ``RESET ROLE`` falls back to the owner or to a role without rights, never to
the administrator.

Without an administrator the copy belongs to the application's own role, which nothing keeps out. The copy is hidden: it
is a template while it is open, with a session of ours in it so that it cannot be cloned, and it refuses connections
otherwise.
"""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from ocore_crds import conditions, naming
from ocore_crds.text.sentences import shown
from ocore_mover import redact
from ocore_mover.database import sessions
from ocore_mover.database.connect import (
    Connection,
    Server,
    connect,
    connect_maintenance,
    is_superuser,
    translating,
    value,
)
from ocore_mover.database.credentials import Credentials
from ocore_mover.database.limits import limited
from ocore_mover.database.position import Names
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

log = logging.getLogger(__name__)

APPLICATION = "ocore-copy"
#: First part of a temporary role's name; the rollback's short id and random digits follow.
ROLE_PREFIX = "ocore_rb_"
#: Seconds for which a temporary role may log in at least, where the process that would drop it was killed; it is longer
#: where the command has more time. Without a deadline: the longest that a Rollback may have.
_VALID, _MARGIN, _LONGEST = 24 * 3600, 3600, 7 * 24 * 3600
#: Sessions beside the parallel ones: pg_restore's leader, our own.
_MORE_CONNECTIONS = 4
#: For evidence and the probe: what holds without an administrator.
HIDDEN_ONLY = (
    f"{conditions.HIDDEN_ONLY}: without adminSecretRef the restored copy belongs to the application's role and is only"
    " hidden until the switch: it does not appear in the list of databases, but a program that knows its name can"
    " connect; set adminSecretRef to close it"
)


@dataclass(frozen=True)
class CopyAccess:
    """How to connect to the copy with the rights of the live database's owner."""

    credentials: Credentials
    owner: str

    def connect(self, *, application: str, token: Token | None = None) -> Connection:
        """A session under ``SET ROLE`` of the owner. Raises as :func:`~.connect.connect`."""
        connection = connect(self.credentials, application=application, token=token)
        try:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self.owner)))
        except BaseException:
            connection.close()
            raise
        return connection


#: As a new session of the application's role in the copy would find it; null where only the server's configuration has
#: it.
_SEARCH_PATH = """
SELECT pg_catalog.substr(c, 13) FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
 WHERE pg_catalog.starts_with(c, 'search_path=')
   AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
   AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s))
 ORDER BY s.setrole <> 0 DESC, s.setdatabase <> 0 DESC LIMIT 1
"""
_CURRENT_PATH = "SELECT pg_catalog.current_setting('search_path')"


def application_search_path(server: Server, access: CopyAccess, token: Token | None = None) -> str:
    """The search path that the application has in the live database; where that does not exist, the one that it will
    have in the copy."""
    try:
        with connect(server.app, application=APPLICATION, token=token) as live:
            return str(value(live, _CURRENT_PATH))
    except MoverError as error:
        if error.reason != conditions.DATABASE_NOT_FOUND:
            raise
        with access.connect(application=APPLICATION, token=token) as session:
            configured = value(session, _SEARCH_PATH, [server.app.user])
            return str(configured if configured is not None else value(session, _CURRENT_PATH))


@contextmanager
def opened(
    server: Server,
    names: Names,
    owner: str,
    token: Token | None = None,
    *,
    jobs: int = 1,
    capacity: int | None = None,
) -> Iterator[CopyAccess]:
    """Opens the copy for our sessions within the block, `jobs` at a time and a few more; closes it on every way out.
    What they may take of the server is limited.

    Raises MoverError MissingGrants where the administrator may not create the temporary role, and as
    :func:`~.limits.limited`.
    """
    with connect_maintenance(server, application=APPLICATION, token=token) as maintenance:
        if server.admin is None:
            with (
                _hidden(server, maintenance, names, owner, token) as access,
                limited(server, names.restored, capacity, token),
            ):
                yield access
        else:
            left = token.seconds_left if token is not None else None
            valid = max(_VALID, (left if left is not None else _LONGEST) + _MARGIN)
            with (
                _temporary_role(server, maintenance, names, owner, jobs, valid) as access,
                limited(server, names.restored, capacity, token, role=access.credentials.user),
            ):
                yield access


@contextmanager
def _hidden(
    server: Server, maintenance: Connection, names: Names, owner: str, token: Token | None
) -> Iterator[CopyAccess]:
    credentials = server.app.at(names.restored)
    with translating(conditions.RESTORE_FAILED, f"opening {names.restored}"):
        sessions.hide(maintenance, names.restored)
    try:
        # While a session is in it, no one can use the template for CREATE DATABASE.
        with connect(credentials, application=APPLICATION, token=token):
            yield CopyAccess(credentials, owner)
    finally:
        _close(server, maintenance, names)


@contextmanager
def _temporary_role(
    server: Server, maintenance: Connection, names: Names, owner: str, jobs: int, valid_seconds: float
) -> Iterator[CopyAccess]:
    role = f"{ROLE_PREFIX}{naming.short_id(names.rollback_id)}_{secrets.token_hex(4)}"
    password = secrets.token_urlsafe(24)
    redact.register(password)
    try:
        with translating(conditions.RESTORE_FAILED, f"creating the temporary role {role}"):
            _create_role(maintenance, names, role, password, owner, jobs, valid_seconds)
            sessions.allow(maintenance, names.restored, True)
        base = server.actor
        yield CopyAccess(
            replace(base, params={**base.params, "user": role, "dbname": names.restored}, password=password), owner
        )
    finally:
        try:
            _empty_role(server, maintenance, names, role)
        finally:
            _close(server, maintenance, names)
            _drop_role(_usable(server, maintenance), role, owner)


_CREATE_ROLE = "CREATE ROLE {} LOGIN NOINHERIT NOCREATEDB NOCREATEROLE CONNECTION LIMIT {} PASSWORD {} VALID UNTIL {}"


def _create_role(
    maintenance: Connection, names: Names, role: str, password: str, owner: str, jobs: int, valid_seconds: float
) -> None:
    admin = maintenance.info.user
    until = str(value(maintenance, "SELECT (now() + make_interval(secs => %s))::text", [valid_seconds]))
    # The server's log may have statements: it sees the verifier, not the password.
    verifier = maintenance.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    name = sql.Identifier(role)
    try:
        with maintenance.transaction():  # CloudNativePG may reconcile its roles at any moment
            maintenance.execute(
                sql.SQL(_CREATE_ROLE).format(name, *map(sql.Literal, (jobs + _MORE_CONNECTIONS, verifier, until)))
            )
            maintenance.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(owner), name))
            # RESET ROLE returns to this, not to the role that logged in.
            maintenance.execute(sql.SQL("ALTER ROLE {} SET role = {}").format(name, sql.Identifier(owner)))
            maintenance.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(names.restored), name)
            )
            if maintenance.execute("SELECT FROM pg_database WHERE datname = %s", [names.live]).rowcount:
                # A program that connects to the wrong database finds itself without rights there.
                maintenance.execute(
                    sql.SQL("ALTER ROLE {} IN DATABASE {} SET role = 'none'").format(name, sql.Identifier(names.live))
                )
            if not is_superuser(maintenance):
                # To end its sessions and to drop what it owns.
                maintenance.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
    except psycopg.errors.InsufficientPrivilege as error:
        raise MoverError(
            conditions.MISSING_GRANTS,
            f"{shown(admin)} may not create a temporary role for the restore ({error.diag.message_primary}): it needs"
            f" CREATEROLE, and membership in {shown(owner)} with ADMIN OPTION",
        ) from error


def _usable(server: Server, maintenance: Connection) -> Connection:
    """The connection, or a new one where it was lost."""
    if maintenance.closed or maintenance.broken:
        return connect_maintenance(server, application=APPLICATION)
    return maintenance


def _empty_role(server: Server, maintenance: Connection, names: Names, role: str) -> None:
    """Ends the role's sessions, and drops what code of the dump may have created as the role in the copy."""
    connection = _usable(server, maintenance)
    try:
        _lock_out(connection, role)
        if connection.execute("SELECT FROM pg_database WHERE datname = %s AND datallowconn", [names.restored]).rowcount:
            with connect(server.actor.at(names.restored), application=APPLICATION, trusted=True) as copy:
                copy.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
    except (psycopg.Error, MoverError) as error:
        log.warning("the temporary role was not emptied", extra={"role": role, "error": str(error)})


def _lock_out(connection: Connection, role: str) -> None:
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))
    sessions.end_role(connection, role)


def _close(server: Server, maintenance: Connection, names: Names) -> None:
    connection = _usable(server, maintenance)
    try:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [names.restored]).rowcount:
            sessions.close(connection, names.restored)
            sessions.end_all(connection, (names.restored,))
    except psycopg.Error as error:
        # The next attempt, the switch and the cleanup close it as well.
        log.warning("the copy was not closed", extra={"database": names.restored, "error": str(error)})


def _drop_role(connection: Connection, role: str, owner: str = "") -> None:
    """Drops a temporary role. Where it owns something in another database, it keeps neither login nor membership."""
    try:
        if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
            return
        _lock_out(connection, role)
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))  # grants on databases
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    except psycopg.Error as error:
        log.warning("the temporary role was not dropped", extra={"role": role, "error": str(error)})
        if owner:
            connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(owner), sql.Identifier(role)))


def evict(server: Server, names: Names, owner: str, token: Token | None = None) -> None:
    """Closes the copy, ends every session in it, and drops the temporary roles that killed attempts left. What they own
    in the copy is dropped, too.

    Raises MoverError SessionsRemain.
    """
    prefix = f"{ROLE_PREFIX}{naming.short_id(names.rollback_id)}_"
    with (
        connect_maintenance(server, application=APPLICATION, token=token) as maintenance,
        translating(conditions.NEUTRALIZE_FAILED, f"closing {names.restored}"),
    ):
        sessions.close(maintenance, names.restored)
        sessions.end_all(maintenance, (names.restored,))
        found = maintenance.execute("SELECT rolname::text FROM pg_roles WHERE starts_with(rolname::text, %s)", [prefix])
        roles = [str(row[0]) for row in found.fetchall()]
        if roles and server.admin is not None:
            for role in roles:
                _lock_out(maintenance, role)
            sessions.allow(maintenance, names.restored, True)
            for role in roles:
                _empty_role(server, maintenance, names, role)
            _close(server, maintenance, names)
        for role in roles:
            _drop_role(maintenance, role, owner)


def drop_roles(connection: Connection, rollback_id: str, *, owner: str = "") -> None:
    """Drops the temporary roles that killed attempts of a rollback left. Drop the copy first: they have rights on
    it."""
    prefix = f"{ROLE_PREFIX}{naming.short_id(rollback_id)}_"
    found = connection.execute("SELECT rolname::text FROM pg_roles WHERE starts_with(rolname::text, %s)", [prefix])
    for (role,) in found.fetchall():
        _drop_role(connection, role, owner)
