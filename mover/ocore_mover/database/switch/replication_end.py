"""Ends the logical replication of a database that is no longer live: drops its slots, detaches and drops its
subscriptions.

Only after the renames: until their commit the rollback can still fail, and the replication must then continue as
before.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_mover.database import replication, sessions
from ocore_mover.database.connect import Connection, Server, connect
from ocore_mover.database.replication import Slot, Subscription
from ocore_mover.database.rights import read_rights
from ocore_mover.database.switch import handover
from ocore_mover.errors import MoverError

log = logging.getLogger(__name__)

APPLICATION = "ocore-replication"
#: A connection that fails at once: DROP SUBSCRIPTION contacts the publisher where the first copy of a table is not
#: complete, and may wait.
_NOWHERE = "host=/nonexistent dbname=none user=none password=none"


def retire(server: Server, maintenance: Connection, database: str, *, allowed: bool) -> list[str]:
    """Drops the logical slots of a database that is not live and refuses connections, and detaches its subscriptions.

    Returns a sentence for each, also for what could not be ended and where `allowed` is false: it must not stay unseen.
    Idempotent; raises nothing, because the switch is done. ``cleanup`` drops the database, and with it what is left.
    """
    try:
        found = replication.read(maintenance, database)
        slots = [s for s in found.slots if not s.temporary]
        attached = [s for s in found.subscriptions if s.attached]
        if found.subscriptions:
            sessions.close(maintenance, database)  # a killed attempt may have left it open
        if not allowed:
            return [_left(database, s.name, "allowReplicationLoss is not set") for s in slots] + [
                f"logical replication: subscription {s.name} of {database} was not detached (allowReplicationLoss is"
                " not set); its publisher retains WAL"
                for s in attached
            ]
        done = [_drop_slot(maintenance, database, slot) for slot in slots]
        return done + _detach(server, maintenance, database, attached)
    except (psycopg.Error, MoverError) as error:
        log.warning("logical replication not ended", extra={"database": database, "error": str(error)})
        return [
            f"logical replication of {database} was not ended: {error}; see pg_replication_slots and pg_subscription"
        ]


def drop_subscriptions(server: Server, maintenance: Connection, database: str) -> None:
    """Drops the subscriptions of a database that is dropped next; they would prevent it. The publishers are not
    contacted.

    Raises MoverError MissingGrants, RestoreFailed. Raises psycopg.Error.
    """
    found = replication.read(maintenance, database)
    if not found.subscriptions:
        return
    missing = replication.missing_rights(maintenance, replication.Found((), found.subscriptions))
    if missing:
        raise MoverError(conditions.MISSING_GRANTS, replication.grants_text(database, missing))
    with _inside(server, maintenance, database) as connection:
        for subscription in found.subscriptions:
            name = sql.Identifier(subscription.name)
            _detach_one(connection, subscription)
            connection.execute(sql.SQL("ALTER SUBSCRIPTION {} CONNECTION {}").format(name, sql.Literal(_NOWHERE)))
            connection.execute(sql.SQL("DROP SUBSCRIPTION {}").format(name))
            log.info("subscription dropped", extra={"database": database, "subscription": subscription.name})


def _drop_slot(maintenance: Connection, database: str, slot: Slot) -> str:
    try:
        maintenance.execute("SELECT pg_drop_replication_slot(%s)", [slot.name])
    except psycopg.errors.UndefinedObject:
        pass  # by another session since
    except psycopg.Error as error:
        return _left(database, slot.name, str(error.diag.message_primary or error))
    return f"logical replication: slot {slot.name} ({slot.plugin}) was dropped; set its consumer up again"


def _left(database: str, slot: str, why: str) -> str:
    return (
        f"logical replication: slot {slot} of {database} was not dropped ({why}) and retains WAL: "
        f"SELECT pg_drop_replication_slot('{slot}');"
    )


def _detach(server: Server, maintenance: Connection, database: str, attached: list[Subscription]) -> list[str]:
    if not attached:
        return []
    with _inside(server, maintenance, database) as connection:
        for subscription in attached:
            _detach_one(connection, subscription)
    return [
        f"logical replication: subscription {s.name} was disabled and detached in {database}; create it again"
        + (f". Slot {s.slot} of its publisher retains WAL there until it is dropped" if s.slot else "")
        for s in attached
    ]


def _detach_one(connection: Connection, subscription: Subscription) -> None:
    name = sql.Identifier(subscription.name)
    if subscription.enabled:
        connection.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
    if subscription.slot is not None:
        connection.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name))


@contextmanager
def _inside(server: Server, maintenance: Connection, database: str) -> Iterator[Connection]:
    """A session of ours in a database that refuses connections. It is closed on every way out.

    With an administrator no other role may connect in between: the rights to connect go first, and a switch back gives
    them again.
    """
    name = sql.Identifier(database)
    if server.admin is not None:
        rights = read_rights(maintenance, database)
        for role in {grant.role for grant in rights.grants if grant.role != rights.owner}:
            maintenance.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(name, handover.grantee(role)))
    sessions.hide(maintenance, database)
    try:
        with connect(
            server.actor.at(database), application=APPLICATION, trusted=server.admin is not None, patience=5.0
        ) as connection:
            yield connection
    finally:
        sessions.close(maintenance, database)
        sessions.end_all(maintenance, (database,))
