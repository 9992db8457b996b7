"""Logical replication of a database: what a rollback would break, and which rights are missing to end it. Reads only.

A slot and a subscription belong to the database's oid, so a rename takes them to the previous database. A slot there
retains WAL that no one reads. A subscription keeps its database from being dropped (PostgreSQL: "is being used by
logical replication subscription").
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ocore_crds import conditions
from ocore_crds.reports.replication import Replication, ReplicationSlot, ReplicationSubscription
from ocore_crds.text.sentences import shown
from ocore_mover.database.connect import Connection
from ocore_mover.errors import MoverError

#: Names in a message, and entries of each kind in a report: a termination message has 4 KiB.
_NAMED = 10
_REPORTED = 10


@dataclass(frozen=True)
class Slot:
    """A logical slot. `temporary`: it ends with its session. `retained`: bytes of WAL that it keeps."""

    name: str
    plugin: str
    active: bool
    temporary: bool
    retained: int


@dataclass(frozen=True)
class Subscription:
    """A subscription. `slot`: the publisher's slot; None where it has none."""

    name: str
    enabled: bool
    slot: str | None
    owner: str

    @property
    def attached(self) -> bool:
        """Whether it receives changes, or a slot of the publisher waits for it."""
        return self.enabled or self.slot is not None


@dataclass(frozen=True)
class Found:
    """What one database has."""

    slots: tuple[Slot, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()

    @property
    def in_use(self) -> bool:
        """Whether a rollback breaks it. Inactive slots count: their consumer continues later, and they retain WAL until
        then."""
        return bool(self.slots) or any(s.attached for s in self.subscriptions)

    def names(self) -> list[str]:
        """Each slot and subscription with its state."""
        slots = [
            f"slot {shown(s.name)} ({shown(s.plugin)}, {'active' if s.active else 'inactive'})" for s in self.slots
        ]
        return slots + [
            f"subscription {shown(s.name)} ({'enabled' if s.enabled else 'disabled'}, "
            f"{f'slot {shown(s.slot)} of the publisher' if s.slot else 'without a slot'})"
            for s in self.subscriptions
        ]


def read(connection: Connection, database: str) -> Found:
    """Slots and subscriptions of a database; `connection` may be to another one. Raises psycopg.Error."""
    slots = connection.execute(
        "SELECT slot_name::text, plugin::text, active, temporary, CASE WHEN pg_is_in_recovery() THEN 0"
        " ELSE coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0) END::bigint"
        " FROM pg_replication_slots WHERE slot_type = 'logical' AND database = %s ORDER BY 1",
        [database],
    ).fetchall()
    subscriptions = connection.execute(
        "SELECT s.subname::text, s.subenabled, s.subslotname::text, pg_get_userbyid(s.subowner)::text FROM"
        " pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = %s ORDER BY 1",
        [database],
    ).fetchall()
    return Found(tuple(Slot(*row) for row in slots), tuple(Subscription(*row) for row in subscriptions))


def report(connection: Connection, actor: Connection, database: str) -> Replication | None:
    """For the Environment's status; None where nothing is replicated. `connection`: to the database. `actor`: the role
    that would roll back."""
    found = read(connection, database)
    publications = [row[0] for row in connection.execute("SELECT pubname::text FROM pg_publication ORDER BY 1")]
    if not (found.slots or found.subscriptions or publications):
        return None
    return Replication(
        slots=tuple(
            ReplicationSlot(name=s.name, plugin=s.plugin, active=s.active, retained_bytes=max(s.retained, 0))
            for s in found.slots[:_REPORTED]
        ),
        publications=tuple(publications[:_REPORTED]),
        subscriptions=tuple(
            ReplicationSubscription(name=s.name, enabled=s.enabled, slot_name=s.slot)
            for s in found.subscriptions[:_REPORTED]
        ),
        missing_rights=tuple(missing_rights(actor, found)[:_REPORTED]),
    )


def missing_rights(actor: Connection, found: Found) -> list[str]:
    """Why `actor` cannot drop these slots and subscriptions; empty where nothing is missing. No statement: REPLICATION
    lets a role copy the whole server."""
    row = actor.execute(
        "SELECT rolname::text, rolsuper, rolreplication FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    assert row is not None  # noqa: S101 - our own role
    role, superuser, replication = row
    if superuser:
        return []
    slots = any(not s.temporary for s in found.slots)
    missing = [f"{shown(role)} needs the attribute REPLICATION to drop slots."] if slots and not replication else []
    return missing + list(dict.fromkeys(_of_subscriptions(actor, role, found)))


def _of_subscriptions(actor: Connection, role: str, found: Found) -> Iterator[str]:
    for subscription in found.subscriptions:
        row = actor.execute(
            "SELECT rolsuper, pg_has_role(oid, 'USAGE') FROM pg_roles WHERE rolname = %s", [subscription.owner]
        ).fetchone()
        owner_is_superuser, member = row or (True, False)
        if owner_is_superuser or _superusers_only(actor, subscription):
            yield (
                f"Only a superuser can drop subscription {shown(subscription.name)}: set adminSecretRef to a"
                f" superuser's"
                " Secret, or drop the subscription."
            )
        elif not member:
            yield f"{shown(role)} is not a member of {shown(subscription.owner)}, the owner of a subscription."


def _superusers_only(actor: Connection, subscription: Subscription) -> bool:
    """From PostgreSQL 16 on, one with ``password_required = false``."""
    if actor.info.server_version < 160000:
        return False
    found = actor.execute(
        "SELECT bool_and(subpasswordrequired) FROM pg_subscription WHERE subname = %s", [subscription.name]
    ).fetchone()
    return found is not None and found[0] is False


def refusal(database: str, found: Found, missing: list[str]) -> str:
    """Why a rollback is refused, and what to do."""
    names = found.names()
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    first = f" Before that: {' '.join(missing)}" if missing else ""
    return (
        f"database {shown(database)} uses logical replication, which a rollback breaks:"
        f" {', '.join(names[:_NAMED])}{more}."
        " Drop what is not needed. Or create the Rollback with allowReplicationLoss: true: its switch drops the slots"
        f" and detaches the subscriptions, and every consumer must be set up again.{first}"
    )


def grants_text(database: str, missing: list[str]) -> str:
    """The message for missing rights."""
    return f"logical replication of database {shown(database)} cannot be ended: {' '.join(missing)}"


def check(actor: Connection, database: str, *, allowed: bool) -> Found:
    """What the database has. `allowed`: the rollback may break it.

    Raises MoverError ReplicationActive where it has something and that is not allowed, MissingGrants where `actor`
    cannot end it. Raises psycopg.Error.
    """
    found = read(actor, database)
    missing = missing_rights(actor, found)
    if found.in_use and not allowed:
        raise MoverError(
            conditions.REPLICATION_ACTIVE,
            f"{refusal(database, found, missing)} The live database is unchanged. Then create a new Rollback",
        )
    if missing:  # also for a detached subscription: the previous database could not be dropped
        raise MoverError(conditions.MISSING_GRANTS, grants_text(database, missing))
    return found


def announced(found: Found) -> list[str]:
    """What the switch will end, for the evidence of a restore."""
    slots = [
        f"logical replication: slot {s.name} ({s.plugin}) is dropped at the switch; its consumer must be set up again"
        for s in found.slots
    ]
    return slots + [
        f"logical replication: subscription {s.name} is disabled and detached at the switch"
        + (f"; slot {s.slot} of its publisher stays: drop it there" if s.slot else "")
        for s in found.subscriptions
        if s.attached
    ]
