"""SnapshotStore: where artifacts are stored."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .base import KeyRef, LocalRef, Model, ObjectName, RelativePath, StatusModel, Timestamp
from .conditions import Conditions
from .rules import exactly_one, immutable, rule, validations

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
    credentials_secret_ref: LocalRef | None = Field(
        default=None,
        description="Secret with the keys `accessKeyId` and `secretAccessKey`; without it the service account's workload identity is used.",
    )

    instance_metadata: bool = Field(
        default=False,
        description=(
            "Also take credentials of the node, from the cloud's instance metadata service. They are shared by everything on the node; "
            "prefer a Secret or the service account's workload identity."
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
            "`ReadOnly`: nothing is ever written to it or deleted from it, and its keys may be read-only. It can only be the sourceStoreRef of a "
            "Rollback."
        ),
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="Service account of the Jobs that use this store, for workload identity."
    )
    max_concurrent_jobs: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4, description="Jobs that use this store at the same time; the others wait."
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            exactly_one("s3", "claim"),
            immutable("claim"),
            rule(
                "has(self.s3) == has(oldSelf.s3)",
                "the kind of store cannot be changed; create a new SnapshotStore",
            ),
        )
    )


class SnapshotStoreStatus(StatusModel):
    """Observed state."""

    observed_generation: int = Field(
        default=-1, description="metadata.generation that this status describes; -1 before the first reconcile."
    )
    phase: Literal["Pending", "Ready", "NotReady"] | None = Field(
        default=None, description="Summary of the conditions."
    )
    conditions: Conditions = ()
    store_id: str | None = Field(
        default=None,
        description="Id written into the store at first use; the same store has the same id everywhere.",
    )
    url: str | None = Field(default=None, description="`s3://bucket/prefix` or `claim://name/path`.")
    checksums: Literal["Server", "ReadBack"] | None = Field(
        default=None,
        description="What checks the SHA-256 of written data: the store itself, or a read after each write. Absent with access ReadOnly.",
    )
    probed_generation: int | None = Field(default=None, description="metadata.generation that was probed.")
    last_probe_time: Timestamp | None = Field(default=None, description="When the last probe ended.")
    warnings: tuple[str, ...] = Field(default=(), description="Findings that block nothing but should be known.")
