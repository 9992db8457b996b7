"""Logical replication of a database: what a probe finds, what the status of an Environment shows."""

from pydantic import Field

from ocore_crds.model import StatusModel


class ReplicationSlot(StatusModel):
    """A logical replication slot of the live database."""

    name: str = Field(description="Name of the slot.")
    plugin: str = Field(default="", description="Output plugin.")
    active: bool = Field(default=False, description="Whether a consumer was connected.")
    retained_bytes: int = Field(default=0, description="WAL that the slot retained.")


class ReplicationSubscription(StatusModel):
    """A subscription of the live database."""

    name: str = Field(description="Name of the subscription.")
    enabled: bool = Field(default=False, description="Whether it receives changes.")
    slot_name: str | None = Field(default=None, description="Its slot on the publisher.")


class Replication(StatusModel):
    """Logical replication of the live database; the first ten of each."""

    slots: tuple[ReplicationSlot, ...] = Field(
        default=(), description="Logical slots. With one, a rollback needs allowReplicationLoss."
    )
    publications: tuple[str, ...] = Field(default=(), description="Publications. A rollback restores them as dumped.")
    subscriptions: tuple[ReplicationSubscription, ...] = Field(
        default=(),
        description="Subscriptions. With one that is enabled or has a slot, a rollback needs allowReplicationLoss.",
    )
    missing_rights: tuple[str, ...] = Field(
        default=(), description="What a rollback with allowReplicationLoss needs first, as SQL where possible."
    )
