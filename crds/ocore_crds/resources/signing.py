"""Who signs snapshots, and whose signatures count. Pure."""

from typing import Annotated

from pydantic import Field, StringConstraints

from ocore_crds.model import LocalRef, Model, Sha256, Tolerant, Uuid
from ocore_crds.text.ssh_keys import PUBLIC_KEY_PATTERN

#: An Ed25519 public key as OpenSSH writes it, with or without a comment.
PublicKey = Annotated[str, StringConstraints(pattern=PUBLIC_KEY_PATTERN, max_length=300)]


class Signing(Model):
    """Signatures of snapshots."""

    public_keys: Annotated[tuple[PublicKey, ...], Field(min_length=1, max_length=10)] = Field(
        description=(
            "Ed25519 public keys (`ssh-ed25519 …`). A snapshot that is imported, or that a lost Job may have left in"
            " the store, counts only with a signature of one of them. Keep old ones for older snapshots. Write them"
            " down outside of the cluster: on an empty one they come from there, and never from the store."
        ),
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    secret_ref: LocalRef | None = Field(
        default=None,
        description=(
            "Secret in the namespace of this resource with the private key that signs new snapshots, under"
            " `ssh-privatekey` (type `kubernetes.io/ssh-auth`), without a passphrase. Only the pods of the Jobs that"
            " take snapshots mount it. Absent: nothing is signed, for a store that is only imported."
        ),
    )


class Predecessor(Tolerant):
    """The signed snapshot of the same environment before this one."""

    snapshot_id: Uuid = Field(description="Its id.")
    manifest_sha256: Sha256 = Field(description="SHA-256 of its manifest.")
    sequence: Annotated[int, Field(ge=1)] = Field(description="Its number.")


class Signature(Tolerant):
    """Who signed a snapshot, and its place among the signed ones of its environment."""

    signer: Annotated[str, Field(max_length=60)] = Field(
        default="", description="SHA-256 fingerprint of the public key, as `ssh-keygen -l` prints it."
    )
    sequence: Annotated[int, Field(ge=1)] = Field(
        description="1 for the first signed snapshot of the environment, and one more for each that follows."
    )
    previous: Predecessor | None = Field(
        default=None, description="The signed snapshot before it. Absent: it is the first one."
    )


def place_after(previous: Predecessor | None, signer: str = "") -> Signature:
    """Of the next snapshot. `signer`: empty before it is signed."""
    sequence = previous.sequence + 1 if previous is not None else 1
    return Signature(signer=signer, sequence=sequence, previous=previous)
