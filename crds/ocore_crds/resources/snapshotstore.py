"""SnapshotStore: where artifacts are stored."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ocore_crds.conditions import ObjectStatus
from ocore_crds.model import KeyRef, LocalRef, Model, ObjectName, RelativePath, Sentence, StatusModel, Timestamp
from ocore_crds.reports.stored_contents import ForeignEnvironment, OrphanFigures, RemovedFigures
from ocore_crds.resources.encryption import Encryption
from ocore_crds.resources.signing import Signing
from ocore_crds.schema.cel_rules import exactly_one, immutable, rule, validations

_KEY_PART = r"\.?[A-Za-z0-9!_*'()=-][A-Za-z0-9!_.*'()=-]*"  # neither "." nor ".."


class ServerSideEncryption(Model):
    """Encryption by the store."""

    algorithm: Literal["AES256", "aws:kms"] = Field(default="AES256", description="Algorithm, as S3 names it.")
    kms_key_id: Annotated[str, Field(max_length=2048)] | None = Field(default=None, description="Key for aws:kms.")

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("!has(self.kmsKeyId) || self.algorithm == 'aws:kms'", "kmsKeyId goes with algorithm aws:kms")
        )
    )


class ObjectLock(Model):
    """Object Lock on what is written."""

    mode: Literal["Governance", "Compliance"] = Field(
        default="Governance",
        description=(
            "`Governance`: credentials with the right `s3:BypassGovernanceRetention` can delete what is locked."
            " `Compliance`: no one can, not even the owner of the account."
        ),
    )
    days: Annotated[int, Field(ge=1, le=3650)] = Field(
        description=(
            "Days for which a snapshot is locked, from when it is complete; also the full one that a differential"
            " needs. A longer time applies to new snapshots, and with `renew` to all."
        )
    )
    renew: bool = Field(
        default=False,
        description=(
            "Extend the lock of each snapshot in the store to `days` from now, before half of it has passed, for as"
            " long as the snapshot exists. What you delete stays in the bucket for up to `days` after that."
        ),
    )


class S3(Model):
    """A bucket of any S3-compatible store."""

    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$")] = Field(
        description="Name of the bucket; it must exist."
    )
    prefix: Annotated[str, Field(max_length=512, pattern=rf"^({_KEY_PART}(/{_KEY_PART})*)?$")] = Field(
        default="", description="Key prefix of everything that is stored; no slash at either end."
    )
    endpoint: Annotated[str, Field(max_length=512, pattern=r"^https?://[^/?#]+/?$")] | None = Field(
        default=None, description="URL of the store; the default is AWS S3 of the region."
    )
    region: Annotated[str, Field(min_length=1, max_length=64)] = Field(default="us-east-1", description="Region.")
    path_style: bool = Field(
        default=True,
        description="Put the bucket into the path instead of the host name; most self-hosted servers need it.",
    )
    ca_bundle: KeyRef | None = Field(
        default=None, description="CA certificates (PEM) that the endpoint's certificate is verified against."
    )
    server_side_encryption: ServerSideEncryption | None = Field(default=None, description="Encryption by the store.")
    lock: ObjectLock | None = Field(
        default=None,
        description=(
            "Object Lock: a stolen key cannot delete the data of a snapshot before its date, and neither can you. The"
            " bucket must have been created with Object Lock."
        ),
    )
    credentials_secret_ref: LocalRef | None = Field(
        default=None,
        description=(
            "Secret with the keys `accessKeyId` and `secretAccessKey`; without it the service account's workload"
            " identity is used."
        ),
    )

    instance_metadata: bool = Field(
        default=False,
        description=(
            "Also take credentials of the node, from the cloud's instance metadata service. They are shared by"
            " everything on the node; prefer a Secret or the service account's workload identity."
        ),
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            immutable("bucket"),
            immutable("prefix"),
            rule(
                "!self.instanceMetadata || !has(self.credentialsSecretRef)",
                "instanceMetadata goes without credentialsSecretRef",
            ),
        )
    )


class Claim(Model):
    """A folder on a volume claim."""

    claim_name: ObjectName = Field(description="PersistentVolumeClaim in this namespace.")
    path: RelativePath = Field(default="", description="Folder below the claim's root.")


class SnapshotStoreSpec(Model):
    """Where artifacts are stored. Stored data is never moved: bucket, prefix and claim cannot be changed."""

    s3: S3 | None = Field(default=None, description="A bucket.")
    claim: Claim | None = Field(default=None, description="A volume claim.")
    access: Literal["ReadWrite", "ReadOnly"] = Field(
        default="ReadWrite",
        description=(
            "`ReadOnly`: nothing is ever written to it or deleted from it, and its keys may be read-only. For the"
            " sourceStoreRef of a Rollback, and for an import in a drill."
        ),
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="Service account of the Jobs that use this store, for workload identity."
    )
    max_concurrent_jobs: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4, description="Jobs that use this store at the same time; the others wait."
    )
    encryption: Encryption | None = Field(
        default=None,
        description=(
            "Encrypt each snapshot that is taken into this store, so that the store's keys do not open it."
            " Applies to new snapshots; remote copies are encrypted as the Snapshot is."
        ),
    )
    signing: Signing | None = Field(
        default=None,
        description=(
            "Sign each snapshot that is taken into this store, and import only what is signed: who can write to the"
            " bucket cannot add one."
        ),
    )
    import_: bool = Field(
        default=False,
        alias="import",
        description=(
            "Create a Snapshot for each one that the store has of an Environment of this namespace, by the"
            " environment's id and project. They get `retention: Keep` and `deletionPolicy: Retain` until `takeOver` is"
            " set. Finished rollbacks that the store has records of become Rollbacks that never run."
        ),
    )
    import_hidden: bool = Field(
        default=False,
        description=(
            "Import also what was deleted or overwritten in a bucket with versioning, from the oldest valid versions:"
            " after an attack. What retention has deleted comes back, too, as long as the bucket keeps its versions."
        ),
    )
    take_over: bool = Field(
        default=False,
        description=(
            "This cluster owns the snapshots now: imported ones get the pin, retention and deletion policy that the"
            " store has for them, and are deleted by them. Set it where the other cluster is gone, never in a drill."
        ),
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            exactly_one("s3", "claim"),
            immutable("claim"),
            rule("!self.takeOver || self.__import__", "takeOver goes with import"),
            rule("!self.importHidden || self.__import__", "importHidden goes with import"),
            rule("!self.importHidden || has(self.s3)", "importHidden needs s3: a claim has no versions"),
            rule("!self.takeOver || self.access == 'ReadWrite'", "takeOver needs access ReadWrite"),
            rule("!has(self.s3) || !has(self.s3.lock) || self.access == 'ReadWrite'", "lock needs access ReadWrite"),
            rule(
                "has(self.s3) == has(oldSelf.s3)",
                "the kind of store cannot be changed; create a new SnapshotStore",
            ),
        )
    )


class ImportedRollbacks(StatusModel):
    """What an import did with the records of rollbacks."""

    found: int = Field(default=0, description="Finished rollbacks that the store has records of.")
    imported: int = Field(default=0, description="Of these, for which a Rollback was created.")
    existing: int = Field(default=0, description="Of these, which had a Rollback. It was not changed.")
    older: int = Field(default=0, description="Finished rollbacks beyond the history limit. Their records stay.")
    unfinished: int = Field(
        default=0,
        description=(
            "Rollbacks whose records have no end: they run, were aborted before the switch, or the end was lost. Not"
            " imported."
        ),
    )


class ImportStatus(StatusModel):
    """The last import, or the one that runs."""

    state: Literal["Running", "Done", "Failed"] = Field(description="Whether it runs, and how it ended.")
    started_at: Timestamp = Field(description="When it began.")
    finished_at: Timestamp | None = Field(default=None, description="When it ended.")
    scope: str = Field(default="", description="Of which environments, as a digest: another one starts another import.")
    round: int = Field(
        default=1,
        description=(
            "Another round over the store follows only where the operator has forgotten differentials that waited for"
            " their full snapshot, as at a restart."
        ),
    )
    page: int = Field(default=0, description="Jobs that have ended.")
    after: str = Field(default="", description="Where the next page begins.")
    attempt: int = Field(default=1, description="Of the Job of this page.")
    found: int = Field(default=0, description="Snapshots in the store that belong here.")
    imported: int = Field(default=0, description="Of these, for which a Snapshot was created.")
    existing: int = Field(default=0, description="Of these, which had a Snapshot. It was not changed.")
    waiting: int = Field(default=0, description="Differentials whose full snapshot has not come yet in this round.")
    skipped: int = Field(
        default=0,
        description=(
            "Manifests and records of rollbacks that cannot be read, or that are of another project, and what the API"
            " server refused."
        ),
    )
    incomplete: int = Field(
        default=0,
        description=(
            "Of the skipped ones: snapshots whose manifest names objects that are not there. The import is repeated"
            " every hour until they are."
        ),
    )
    skipped_examples: tuple[str, ...] = Field(default=(), description="Some of them, with the reason.")
    rollbacks: ImportedRollbacks | None = Field(default=None, description="What became of the records of rollbacks.")
    foreign: tuple[ForeignEnvironment, ...] = Field(
        default=(),
        description=(
            "Some environments in the store that this namespace does not have: with an Environment of that id and"
            " project, their snapshots are imported."
        ),
    )
    foreign_environments: int = Field(default=0, description="How many there are.")
    taken_over: int | None = Field(
        default=None,
        description="Snapshots to which takeOver has applied what the store has for them; absent: not done.",
    )
    message: Sentence = Field(default="", description="What happened, for people.")


class RemovalStatus(RemovedFigures):
    """The last removal of orphans."""

    report: str = Field(description="The report that it was about.")
    finished_at: Timestamp = Field(description="When it ended.")
    message: Sentence = Field(default="", description="What happened, for people.")


class OrphansStatus(OrphanFigures):
    """Objects in the store that no manifest names, by the last sweep."""

    checked_at: Timestamp = Field(description="When the sweep ended.")
    unclaimed: int = Field(
        default=0,
        description="Of `manifests`, how many have no Snapshot in this cluster. They can be imported; never orphans.",
    )
    report: str | None = Field(
        default=None,
        description=(
            "SHA-256 of the list in the store. Removed by the annotation ocore.dev/remove-orphans with this value."
            " Absent: nothing can be removed."
        ),
    )
    removal: RemovalStatus | None = Field(default=None, description="The last removal.")
    message: Sentence = Field(default="", description="Why the last sweep failed, for people; empty: it did not.")


class SnapshotStoreStatus(ObjectStatus):
    """Observed state."""

    phase: Literal["Pending", "Ready", "NotReady"] | None = Field(
        default=None, description="Summary of the conditions."
    )
    store_id: str | None = Field(
        default=None,
        description="Id written into the store at first use; the same store has the same id everywhere.",
    )
    url: str | None = Field(default=None, description="`s3://bucket/prefix` or `claim://name/path`.")
    checksums: Literal["Server", "ReadBack"] | None = Field(
        default=None,
        description=(
            "What checks the SHA-256 of written data: the store itself, or a read after each write. Absent with access"
            " ReadOnly."
        ),
    )
    probed_generation: int | None = Field(default=None, description="metadata.generation that was probed.")
    last_probe_time: Timestamp | None = Field(default=None, description="When the last probe ended.")
    warnings: tuple[str, ...] = Field(default=(), description="Findings that block nothing but should be known.")
    import_: ImportStatus | None = Field(default=None, alias="import", description="With spec.import: what it found.")
    orphans: OrphansStatus | None = Field(default=None, description="Objects that no manifest names.")
