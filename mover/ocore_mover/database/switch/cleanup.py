"""Drops the databases that a rollback leaves on the server; never the live database."""

from ocore_crds import conditions, naming
from ocore_crds.commands.parts import CleanupPart
from ocore_mover.database import copy_access, position, sessions
from ocore_mover.database.connect import Connection, Server, translating
from ocore_mover.database.restore import create
from ocore_mover.database.switch import replication_end
from ocore_mover.database.switch.switch import DatabaseSwitch
from ocore_mover.errors import MoverError


def cleanup(server: Server, rollback_id: str, part: CleanupPart) -> tuple[str, ...]:
    """Drops the previous database (after the undo window) or the restored one (no switch happened). Returns the dropped
    names.

    Allows connections to the live database first: an interrupted switch may have refused them. Raises MoverError
    SwitchFailed where the environment runs on the database to drop.
    """
    switch = DatabaseSwitch(server, rollback_id)
    try:
        if part == "previous" and switch.is_superseded():
            return _drop_superseded(server, switch)
        now = switch.allow_live()
        wanted = "New" if part == "previous" else "Old"
        if now.position != wanted:
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"the position is {now.position}: {server.live} is the {part} database, and nothing was dropped; switch"
                f" first, or clean up --what {'restored' if part == 'previous' else 'previous'}",
            )
        victim = now.previous if part == "previous" else now.restored
        if victim is not None:
            _drop(server, switch, victim.name)
        copy_access.drop_roles(switch.connection(), rollback_id, owner=now.owner)
        return (victim.name,) if victim is not None else ()
    finally:
        switch.close()


def superseded(server: Server, rollback_id: str) -> bool:
    """Whether a later rollback has switched: the live database has another rollback's mark.

    Then no database of this rollback can become live, unless the later one is undone first.
    """
    switch = DatabaseSwitch(server, rollback_id)
    try:
        return switch.is_superseded()
    finally:
        switch.close()


def _drop_superseded(server: Server, switch: DatabaseSwitch) -> tuple[str, ...]:
    names, connection = switch.names, switch.connection()
    found = position.rows(connection, names)
    if not found[names.live].allows_connections:
        sessions.allow(connection, names.live, True)
    if names.previous not in found:
        return ()
    _check_whole_id(connection, names)
    _drop(server, switch, names.previous)
    return (names.previous,)


def _check_whole_id(connection: Connection, names: position.Names) -> None:
    """Raises MoverError SwitchFailed where another rollback has the same short id, and so the same name for what it
    keeps. The previous database has no mark of the rollback that set it aside; the one that was live then has, and so
    has the list of the rollbacks that ran."""
    rows = connection.execute("SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database").fetchall()
    marks = [(name, position.Mark.parse(text)) for name, text in rows]
    known = {(name, id_) for name, mark in marks for id_ in (mark.rollback_id, *(each.uid for each in mark.rollbacks))}
    same = sorted(
        (name, id_) for name, id_ in known if id_ and naming.short_id(id_) == naming.short_id(names.rollback_id)
    )
    if names.rollback_id in (id_ for _, id_ in same) or not same:
        return
    raise MoverError(
        conditions.SWITCH_FAILED,
        f"database {names.previous} may belong to rollback {same[0][1]}, which database {same[0][0]} names in its"
        f" comment; this is rollback {names.rollback_id}, with the same first digits. Nothing was dropped. If the"
        " database is not needed, drop it by hand",
    )


def _drop(server: Server, switch: DatabaseSwitch, database: str) -> None:
    """Drops the database with its slots and subscriptions."""
    with translating(conditions.SWITCH_FAILED, f"dropping the subscriptions of {database}"):
        replication_end.drop_subscriptions(server, switch.connection(), database)
    create.drop(switch.connection(), database)
