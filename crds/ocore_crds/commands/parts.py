"""Parts of requests. A folder or file is a path in the mover's file system. Pure."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from ocore_crds.model import Model, Uuid
from ocore_crds.reports.base import Line
from ocore_crds.resources import layouts
from ocore_crds.resources.layouts import Layout
from ocore_crds.resources.signing import PublicKey

#: What a scratch folder is where none is given: an emptyDir of the pod.
TMP = "/tmp"  # noqa: S108 - only the command's own folder below it is used

#: Which half of a rollback ``cleanup`` removes.
CleanupPart = Literal["previous", "restored"]


@dataclass(frozen=True)
class Option:
    """The name of a field's option at a shell, without hyphens at its start. Default: the field's name. Of a part: what
    the names of its options begin with."""

    name: str


class Part(Model):
    """A part of a request. At a shell each of its fields is an option. A part that may be absent is so where none of
    them is given."""

    model_config = ConfigDict(defer_build=True)


class S3Access(Part):
    """How an S3 store is reached."""

    endpoint: str | None = Field(default=None, description="Endpoint. Default: AWS S3 in the region.")
    region: str = Field(default="us-east-1", description="Region.")
    credentials: str | None = Field(
        default=None,
        description=(
            "Folder with the files accessKeyId and secretAccessKey. Default: boto3's own chain (workload identity)."
        ),
    )
    ca: str | None = Field(default=None, description="File with the CA certificates of the endpoint.")
    path_style: bool = Field(default=True, description="Put the bucket in the path instead of the host name.")
    instance_metadata: bool = Field(
        default=False, description="Also take the node's credentials, from instance metadata."
    )


class SourceStore(Part):
    """A store that is only read."""

    url: Annotated[str, Option("store")] = Field(description="s3://bucket/prefix or file:///folder.")
    id: Annotated[Uuid | None, Option("store-id")] = Field(
        default=None,
        description=(
            "Id of the store. One with another id is neither written to nor believed: nothing is deleted, and what it"
            " lacks is no verdict."
        ),
    )
    s3: Annotated[S3Access, Option("s3-")] = S3Access()


class StoreAccess(SourceStore):
    """The store."""

    sse: Annotated[Literal["AES256", "aws:kms"] | None, Option("s3-sse")] = Field(
        default=None, description="Server-side encryption."
    )
    kms_key: Annotated[str | None, Option("s3-kms-key")] = Field(default=None, description="Key id for aws:kms.")
    lock: Annotated[Literal["Governance", "Compliance"] | None, Option("s3-lock")] = Field(
        default=None, description="Mode of Object Lock, for the data of snapshots."
    )
    lock_days: Annotated[int | None, Option("s3-lock-days")] = Field(
        default=None, ge=1, description="Days for which a snapshot is locked; goes with --s3-lock."
    )
    signers: Annotated[tuple[PublicKey, ...], Option("signer")] = Field(
        default=(),
        description=(
            "Ed25519 public key (ssh-ed25519 …); may be repeated. A manifest whose SHA-256 is not known counts only"
            " with a signature of one of them."
        ),
    )
    read_only: Annotated[bool, Option("store-read-only")] = Field(
        default=False, description="Never write to the store, whatever the credentials allow."
    )

    @model_validator(mode="after")
    def _locked_for(self) -> "StoreAccess":
        if (self.lock is None) != (self.lock_days is None):
            raise ValueError("give both --s3-lock and --s3-lock-days, or neither")
        return self


class DatabaseTls(Part):
    """TLS to the database server."""

    mode: Literal["disable", "require", "verify-ca", "verify-full"] | None = Field(
        default=None, description="As libpq's sslmode; overrides the Secret's. Default with --tls-ca: verify-full."
    )
    ca: str | None = Field(default=None, description="File with the CA certificates of the database server.")
    cert: str | None = Field(
        default=None, description="File with the client certificate; with it the password is optional."
    )
    key: str | None = Field(default=None, description="File with its private key, without a passphrase.")

    @model_validator(mode="after")
    def _pair(self) -> "DatabaseTls":
        if (self.cert is None) != (self.key is None):
            raise ValueError("give both --tls-cert and --tls-key, or neither")
        return self


class DatabaseAccess(Part):
    """The database's server, and the roles on it."""

    secret: Annotated[str, Option("database")] = Field(
        description=(
            "A mounted Secret: folder with the files host, port, dbname, user (or username), password, or one file uri."
        )
    )
    admin: str | None = Field(
        default=None,
        description="The same for an administrator, who creates and renames databases and ends sessions.",
    )
    host: Annotated[str | None, Option("database-host")] = Field(
        default=None,
        description="Host of the server, at port 5432; of the Secrets then only user and password are used.",
    )
    dbname: Annotated[str | None, Option("database-name")] = Field(
        default=None, description="Name of the database; goes with --database-host."
    )
    cluster: Annotated[str | None, Option("cnpg-cluster")] = Field(
        default=None,
        description="CloudNativePG Cluster of the server: findings about roles name a field of its spec.managed.roles.",
    )
    managed_roles: Annotated[tuple[str, ...], Option("cnpg-role")] = Field(
        default=(), description="Role in spec.managed.roles of that Cluster; may be repeated."
    )
    tls: Annotated[DatabaseTls, Option("tls-")] = DatabaseTls()

    @model_validator(mode="after")
    def _together(self) -> "DatabaseAccess":
        if (self.host is None) != (self.dbname is None):
            raise ValueError("give both --database-host and --database-name, or neither")
        return self


class FilestoreAccess(Part):
    """The filestore on its claim."""

    claim: str = Field(description="Mount point of the filestore's claim.")
    path: Annotated[str, Option("filestore")] = Field(
        default="", description="The filestore's path below the claim's root."
    )
    layout: Layout = Field(
        default=layouts.DEFAULT, description="Odoo: ir_attachment names the files. Plain: any folder."
    )
    missing_files: Literal["Fail", "Report"] = Field(
        default="Fail", description="What to do where the database names files that do not exist."
    )
    consistency: Literal["Strict", "BestEffort"] = Field(
        default="Strict",
        description=(
            "Layout Plain, files that change after the database is exported: fail, or store them as they are later."
        ),
    )


class BaseSnapshot(Part):
    """The base of a differential."""

    snapshot_id: Uuid = Field(
        description="Store only the files that this full snapshot lacks. Takes a full one where it cannot be used."
    )
    manifest_sha256: Annotated[str, Field(min_length=1)] = Field(description="SHA-256 of its manifest.")


class Signal(Line):
    """The operator's order to a Job that waits, as JSON in the annotation ``ocore.dev/signal``: the workloads are
    stopped, freeze or switch now."""

    action: Literal["Freeze", "Switch"] = "Switch"
    #: The Job that it is for. Its name has the uid of the Snapshot or Rollback, and the attempt.
    job: str = ""
    #: Seconds since the epoch. A signal read later than this is not obeyed.
    not_after: float


class SignalWait(Part):
    """How the command waits for a signal of the operator."""

    signal_file: str = Field(description="File in which the signal appears (downward API).")
    ready_file: str | None = Field(default=None, description="File to create when the command waits for its signal.")
    wait: float = Field(default=600.0, ge=1, description="Seconds to wait for the signal.")
    job: Annotated[str, Option("signal-job")] = Field(
        default="", description="Name of the Job: a signal that names another one is not obeyed."
    )
