"""To whom snapshots are encrypted, and what opens them. Pure."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ocore_crds.model import Model, StatusModel
from ocore_crds.text.age_keys import RECIPIENT_PATTERN

#: A public key of age (X25519). Its checksum is checked by age_keys: a schema cannot.
Recipient = Annotated[str, StringConstraints(pattern=RECIPIENT_PATTERN, max_length=62)]

IDENTITY_REF = (
    "Secret in the namespace of this resource with identity files of age: each key is one, of any name. Needed where"
    " the Snapshot is encrypted. Only the pod of the Job that reads the Snapshot mounts it."
)


class Encryption(Model):
    """Encryption by the Jobs, before anything leaves their pods."""

    recipients: Annotated[tuple[Recipient, ...], Field(min_length=1, max_length=20)] = Field(
        description=(
            "Public keys of age (`age1…`). An identity of any one of them opens the snapshots. Name at least two, and"
            " keep each identity outside of the cluster: without one, no snapshot can be restored by anyone."
        ),
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )

    mode: Literal["Sealed", "Current"] = Field(
        default="Sealed",
        description=(
            "What Jobs can read. `Sealed`: nothing, so each snapshot is full. `Current`: the newest full snapshot and"
            " its differentials, with an identity in a Secret of the namespace, which the next full one replaces. Needs"
            " the chart's value `rbac.jobIdentities`."
        ),
    )


class SnapshotEncryption(StatusModel):
    """How a snapshot is encrypted."""

    recipients: tuple[str, ...] = Field(
        default=(), description="Public keys of those whose identities open it, as they were at its start."
    )
    public_key: str | None = Field(
        default=None, description="Public key of the snapshot's own identity, which the recipients share."
    )
    job_key: str | None = Field(
        default=None, description="Public key of the Job identity that also opens it. Absent: only the recipients do."
    )
    job_identity_secret: str | None = Field(
        default=None,
        description=(
            "Secret with the Job identity (mode `Current`). Jobs of this namespace open the Snapshot with it where no"
            " identitySecretRef is set. Absent after the next full snapshot."
        ),
    )


def shown(recipients: Iterable[str]) -> str:
    """For people: each one by its first and last characters, enough to find it on a sheet."""
    return ", ".join(f"{each[:12]}…{each[-6:]}" for each in recipients)


def opened_by(found: SnapshotEncryption) -> str:
    """For people: who opens a snapshot beside its recipients."""
    if found.job_identity_secret is not None:
        return (
            f"its recipients, and Jobs of its namespace with Secret {found.job_identity_secret} (mode Current), until"
            " the next full snapshot"
        )
    if found.job_key is not None:
        return (
            "its recipients. The Job identity that opened it is deleted. Who kept a copy of it and of the bucket still"
            " opens it"
        )
    return "its recipients only: no Job opens it without an identitySecretRef"


def effective(own: Encryption | None, of_store: Encryption | None) -> Encryption | None:
    """What counts for an Environment. `own`: the Environment's, which replaces that of its SnapshotStore."""
    return own if own is not None else of_store
