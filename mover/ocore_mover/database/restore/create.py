"""The database beside the live one: created, marked, and given the live one's settings."""

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from ocore_crds import conditions, failpoints
from ocore_crds.manifest import DatabaseArtifact
from ocore_mover.database import position, sessions
from ocore_mover.database.connect import Connection, quoted, set_timeouts, translating
from ocore_mover.database.position import Mark, Names, Position

_DROP_TIMEOUT = "300s"
_CREATE_TIMEOUT = "300s"
_FIRST_WITH_PROVIDERS = 15


def drop(connection: Connection, database: str) -> None:
    """Drops a database of ours, its sessions ended; nothing to do where it is not there.

    Not ``WITH (FORCE)``: that waits 5 s for the sessions that it ends, too little on a loaded server. Sessions are ended first, with
    patience; autovacuum is ended by DROP itself, and may have started again meanwhile: another try.
    """
    set_timeouts(connection, statement=_DROP_TIMEOUT, lock="60s")
    with translating(conditions.RESTORE_FAILED, f"dropping database {database}"):
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone() is None:
            return
        sessions.allow(connection, database, False)
        for last in (False, False, True):
            sessions.end_all(connection, (database,))
            try:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))
            except psycopg.errors.ObjectInUse:
                if last:
                    raise
            else:
                return


def create(connection: Connection, names: Names, now: Position, artifact: DatabaseArtifact) -> None:
    """Creates the empty database with the owner and tablespace of the live one and the snapshot's encoding and locale.

    It carries our mark, is never a template, and nobody but its owner is let in until the switch.
    """
    name = sql.Identifier(names.restored)
    owner = now.live.owner
    set_timeouts(connection, statement=_CREATE_TIMEOUT, lock="60s")
    with translating(conditions.RESTORE_FAILED, f"creating database {names.restored}"):
        options = _options(
            artifact, owner, _tablespace(connection, names.live), connection.info.server_version // 10000
        )
        connection.execute(sql.SQL("CREATE DATABASE {} {}").format(name, sql.SQL(" ").join(options)))
        # Its comment is the owner's right; the user's own comment comes with the live one's.
        position.write_mark(connection, names.restored, Mark(names.rollback_id, False, now.live.mark.comment))
        connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(name))
    failpoints.hit("restore-database-created")


def _options(artifact: DatabaseArtifact, owner: str, tablespace: str | None, major: int) -> Iterator[sql.Composable]:
    def option(keyword: str, value: str) -> sql.Composable:
        return sql.SQL("{} = {}").format(sql.SQL(keyword), sql.Literal(value))

    yield sql.SQL("OWNER = {} TEMPLATE = template0").format(sql.Identifier(owner))
    yield option("ENCODING", artifact.encoding)
    yield option("LC_COLLATE", artifact.collate)
    yield option("LC_CTYPE", artifact.ctype)
    # Named in any case: a server may have been made with another provider than the database's.
    if artifact.locale_provider == "i":
        yield option("LOCALE_PROVIDER", "icu")
        yield option("ICU_LOCALE", artifact.icu_locale)
    elif artifact.locale_provider == "b":
        yield option("LOCALE_PROVIDER", "builtin")
        yield option("BUILTIN_LOCALE", artifact.icu_locale)
    elif major >= _FIRST_WITH_PROVIDERS:
        yield option("LOCALE_PROVIDER", "libc")
    if tablespace is not None:
        yield sql.SQL("TABLESPACE = {}").format(sql.Identifier(tablespace))


def _tablespace(connection: Connection, live: str) -> str | None:
    """The live database's tablespace where it has one of its own that we may use."""
    row = connection.execute(
        "SELECT t.spcname::text FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace"
        " WHERE d.datname = %s AND t.spcname <> 'pg_default' AND has_tablespace_privilege(t.oid, 'CREATE')",
        [live],
    ).fetchone()
    return str(row[0]) if row else None


def copy_settings(connection: Connection, names: Names) -> list[str]:
    """``ALTER DATABASE … SET``, grants, connection limit as the live one has them. Returns warnings, each with its statement."""
    warnings: list[str] = []
    warnings.extend(_copy_parameters(connection, names))
    warnings.extend(_copy_grants(connection, names))
    row = connection.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", [names.live]).fetchone()
    if row is not None and row[0] >= 0:
        connection.execute(
            sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(sql.Identifier(names.restored), sql.Literal(row[0]))
        )
    return warnings


def mark_checked(connection: Connection, names: Names) -> None:
    """The restore has ended and everything was checked: from now on `switch` accepts the database."""
    now = position.read(connection, names)
    if now.restored is not None:
        mark = now.restored.mark
        position.write_mark(connection, names.restored, Mark(names.rollback_id, True, mark.comment))


def _copy_parameters(connection: Connection, names: Names) -> Iterator[str]:
    found = connection.execute(
        "SELECT coalesce(r.rolname::text, ''), s.setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
        " LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE d.datname = %s ORDER BY 1",
        [names.live],
    ).fetchall()
    for role, settings in found:
        for setting in settings:
            parameter, _, value = setting.partition("=")
            try:
                _set_parameter(connection, names.restored, role, parameter, value)
            except psycopg.Error as error:
                where = f"ROLE {quoted(role)} IN DATABASE" if role else "DATABASE"
                said = error.diag.message_primary or str(error)
                yield (
                    f"not set ({said}); after the switch a superuser can run: ALTER {where} {quoted(names.live)} SET {parameter} TO {value}"
                )


def _set_parameter(connection: Connection, database: str, role: str, parameter: str, value: str) -> None:
    """``FROM CURRENT`` stores a value exactly as the catalog has it: lists such as search_path need no quoting of ours."""
    target = (
        sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), sql.Identifier(database))
        if role
        else sql.SQL("DATABASE {}").format(sql.Identifier(database))
    )
    name = sql.SQL(".").join(sql.Identifier(part) for part in parameter.split("."))
    with connection.transaction():
        try:
            with connection.transaction():
                connection.execute("SELECT set_config(%s, %s, true)", [parameter, value])
                connection.execute(sql.SQL("ALTER {} SET {} FROM CURRENT").format(target, name))
        except psycopg.errors.CantChangeRuntimeParam:
            # Fixed at a session's start: given as text, as pg_dump does.
            connection.execute(sql.SQL("ALTER {} SET {} TO {}").format(target, name, sql.Literal(value)))


def _copy_grants(connection: Connection, names: Names) -> Iterator[str]:
    """The rights on the database itself; without any of its own it has PostgreSQL's defaults again."""
    database = sql.Identifier(names.restored)
    row = connection.execute(
        "SELECT datacl IS NULL, pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [names.live]
    ).fetchone()
    if row is None or row[0]:
        connection.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO PUBLIC").format(database))
        return
    grants: list[tuple[Any, ...]] = connection.execute(
        "SELECT r.rolname::text, a.privilege_type, a.is_grantable FROM pg_database d, aclexplode(d.datacl) a"
        " LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE d.datname = %s",
        [names.live],
    ).fetchall()
    for role, privilege, grantable in grants:
        grantee = sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
        statement = sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
            sql.SQL(privilege), database, grantee, sql.SQL(" WITH GRANT OPTION" if grantable and role else "")
        )
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            said = error.diag.message_primary or str(error)
            yield f"not granted ({said}): {statement.as_string(connection)}"
