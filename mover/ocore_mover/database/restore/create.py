"""The database beside the live one: created closed, marked, and given the live one's settings."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import psycopg
from psycopg import sql

from ocore_crds import conditions, failpoints
from ocore_crds.stored.manifest import DatabaseArtifact, DatabaseSetting
from ocore_crds.text.sentences import shown
from ocore_mover.database import position, sessions
from ocore_mover.database.connect import Connection, Server, set_timeouts, translating
from ocore_mover.database.position import Mark, Names, Position
from ocore_mover.database.rights import Rights

_DROP_TIMEOUT = "300s"
_CREATE_TIMEOUT = "300s"
_FIRST_WITH_PROVIDERS = 15
#: datconnlimit of a database whose DROP was interrupted (PostgreSQL 15.4 and newer): it can only be dropped.
#: DATCONNLIMIT_INVALID_DB in pg_database.h.
_INVALID = -2


def drop(connection: Connection, database: str) -> None:
    """Ends the sessions of a database of ours and drops it. Does nothing where it does not exist.

    Not ``WITH (FORCE)``: that waits 5 s for the sessions that it ends, too little on a loaded server. DROP itself ends
    autovacuum, which may start again, so it is tried three times. Raises MoverError SessionsRemain, RestoreFailed.
    """
    set_timeouts(connection, statement=_DROP_TIMEOUT, lock="60s")
    with translating(conditions.RESTORE_FAILED, f"dropping database {database}"):
        row = connection.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", [database]).fetchone()
        if row is None:
            return
        if row[0] != _INVALID:  # else an earlier attempt has closed it, and ALTER DATABASE is refused
            sessions.close(connection, database)
        for last in (False, False, True):
            sessions.end_all(connection, (database,))
            try:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database)))
            except psycopg.errors.ObjectInUse:
                if last:
                    raise
            else:
                return


def create(
    connection: Connection,
    server: Server,
    names: Names,
    now: Position,
    artifact: DatabaseArtifact,
    rights: Rights,
    *,
    neutralize: bool = False,
) -> None:
    """Creates the empty copy, with the tablespace of the live database (where it does not exist, of the snapshot) and
    the snapshot's encoding and locale.

    It has our mark and refuses connections until :func:`~.copy_access.opened`. With an administrator it belongs to the
    administrator, and the owner in `rights` may create objects in it; without one it belongs to that owner.
    `neutralize`: it must not become live before ``neutralize`` has marked it.
    """
    name = sql.Identifier(names.restored)
    owner = rights.owner if server.admin is None else connection.info.user
    if now.live is not None:
        mark = Mark(names.rollback_id, False, now.live.mark.comment)
    else:
        mark = Mark(names.rollback_id, False, Mark.parse(artifact.comment).comment, creates=rights)
    mark = replace(mark, neutralize="pending" if neutralize else ("neutralized" if artifact.neutralized else ""))
    set_timeouts(connection, statement=_CREATE_TIMEOUT, lock="60s")
    with translating(conditions.RESTORE_FAILED, f"creating database {names.restored}"):
        options = _options(
            artifact, owner, _tablespace(connection, names.live, artifact), connection.info.server_version // 10000
        )
        connection.execute(sql.SQL("CREATE DATABASE {} {}").format(name, sql.SQL(" ").join(options)))
        # A comment needs the owner's rights; the user's own comment comes with the live database's.
        position.write_mark(connection, names.restored, mark)
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        if server.admin is not None:
            connection.execute(
                sql.SQL("GRANT CREATE, TEMPORARY ON DATABASE {} TO {}").format(name, sql.Identifier(rights.owner))
            )
    failpoints.hit("restore-database-created")


def _options(artifact: DatabaseArtifact, owner: str, tablespace: str | None, major: int) -> Iterator[sql.Composable]:
    def option(keyword: str, value: str) -> sql.Composable:
        return sql.SQL("{} = {}").format(sql.SQL(keyword), sql.Literal(value))

    yield sql.SQL("OWNER = {} TEMPLATE = template0 ALLOW_CONNECTIONS = false").format(sql.Identifier(owner))
    yield option("ENCODING", artifact.encoding)
    yield option("LC_COLLATE", artifact.collate)
    yield option("LC_CTYPE", artifact.ctype)
    # Always named: the server's default provider may differ from the database's.
    if artifact.locale_provider == "i":
        yield option("LOCALE_PROVIDER", "icu")
        yield option("ICU_LOCALE", artifact.icu_locale)
        if artifact.icu_rules:
            yield option("ICU_RULES", artifact.icu_rules)
    elif artifact.locale_provider == "b":
        yield option("LOCALE_PROVIDER", "builtin")
        yield option("BUILTIN_LOCALE", artifact.icu_locale)
    elif major >= _FIRST_WITH_PROVIDERS:
        yield option("LOCALE_PROVIDER", "libc")
    if tablespace is not None:
        yield sql.SQL("TABLESPACE = {}").format(sql.Identifier(tablespace))


def _tablespace(connection: Connection, live: str, artifact: DatabaseArtifact) -> str | None:
    """The live database's tablespace (the snapshot's where there is no live database), where it is not the default one
    and we may use it."""
    row = connection.execute(
        "SELECT t.spcname::text FROM pg_tablespace t LEFT JOIN pg_database d ON d.datname = %s"
        " WHERE (d.dattablespace = t.oid OR d.oid IS NULL AND t.spcname = %s)"
        " AND t.spcname <> 'pg_default' AND has_tablespace_privilege(t.oid, 'CREATE')",
        [live, artifact.tablespace],
    ).fetchone()
    return str(row[0]) if row else None


def mark_checked(connection: Connection, names: Names) -> None:
    """Marks the copy as complete and checked: `switch` accepts it from now on."""
    now = position.read(connection, names)
    if now.restored is not None:
        position.write_mark(connection, names.restored, replace(now.restored.mark, checked=True))


def copy_settings(connection: Connection, names: Names, wanted: Iterable[DatabaseSetting]) -> Iterator[str]:
    """Gives the copy these ``ALTER DATABASE … SET``. Yields warnings.

    Owner, grants and the connection limit are given at the switch: until then they would open the copy.
    """
    for setting in wanted:
        try:
            _set_parameter(connection, names.restored, setting.role, setting.name, setting.value)
        except psycopg.Error as error:
            yield not_set(names, setting, error.diag.message_primary or str(error))


def not_set(names: Names, setting: DatabaseSetting, why: str) -> str:
    """The warning for a setting that the copy does not have."""
    where = f"role {shown(setting.role)} in database" if setting.role else "database"
    return (
        f"setting {shown(setting.name)} of {where} {shown(names.live)} was not set ({why}). It was"
        f" {shown(setting.value)};"
        " a superuser can set it after the switch"
    )


def _set_parameter(connection: Connection, database: str, role: str, parameter: str, value: str) -> None:
    """``FROM CURRENT`` stores a value exactly as the catalog has it: lists such as search_path need no quoting."""
    target = (
        sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), sql.Identifier(database))
        if role
        else sql.SQL("DATABASE {}").format(sql.Identifier(database))
    )
    name = sql.SQL(".").join(sql.Identifier(part) for part in parameter.split("."))
    with connection.transaction():
        try:
            with connection.transaction():
                connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", [parameter, value])
                connection.execute(sql.SQL("ALTER {} SET {} FROM CURRENT").format(target, name))
        except psycopg.errors.CantChangeRuntimeParam:
            # Fixed at the start of a session: given as text, as pg_dump does.
            connection.execute(sql.SQL("ALTER {} SET {} TO {}").format(target, name, sql.Literal(value)))
