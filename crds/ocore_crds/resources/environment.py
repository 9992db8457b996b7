"""Environment: what is snapshotted and rolled back."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from ocore_crds.conditions import ObjectStatus
from ocore_crds.model import (
    KeyRef,
    LocalRef,
    Model,
    NamespaceName,
    ObjectName,
    Quantity,
    RelativePath,
    StatusModel,
    Timestamp,
    Uuid,
)
from ocore_crds.naming import CLAIM_FOLDER
from ocore_crds.reports.facts import FileOwner
from ocore_crds.reports.replication import Replication
from ocore_crds.resources import layouts
from ocore_crds.resources.encryption import Encryption
from ocore_crds.resources.layouts import Layout
from ocore_crds.resources.neutralize import Neutralize
from ocore_crds.resources.scheduling import TEMPLATE_RULES, PodTemplate
from ocore_crds.rules import remedy
from ocore_crds.rules.remedy import Remedy
from ocore_crds.schema.cel_rules import exactly_one, immutable, rule, validations


class CertificateAuthority(Model):
    """Certificates (PEM) that the server's certificate must be signed by."""

    secret_ref: KeyRef | None = Field(
        default=None, description="Key of a Secret; CloudNativePG writes `ca.crt` into the Secret `<cluster>-ca`."
    )
    config_map_ref: KeyRef | None = Field(default=None, description="Key of a ConfigMap.")

    model_config = ConfigDict(json_schema_extra=validations(exactly_one("secretRef", "configMapRef")))


class ClientCertificate(Model):
    """Certificate that the Jobs present to the server."""

    secret_ref: LocalRef = Field(
        description="Secret of the type kubernetes.io/tls: `tls.crt` and `tls.key` (PEM, without a passphrase)."
    )


class Tls(Model):
    """TLS to the database server, for the connections of `secretRef` and `adminSecretRef`."""

    mode: Literal["disable", "require", "verify-ca", "verify-full"] | None = Field(
        default=None,
        description=(
            "As libpq's sslmode. `verify-full` (default where `ca` is given) checks the certificate and the host name,"
            " `verify-ca` the certificate only, `require` encrypts and checks nothing, `disable` never uses TLS. It"
            " replaces the `sslmode` of the Secrets."
        ),
    )
    ca: CertificateAuthority | None = Field(
        default=None, description="Certificates that the server's certificate must be signed by."
    )
    client_certificate: ClientCertificate | None = Field(
        default=None, description="Certificate that the Jobs present to the server; with it a Secret needs no password."
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "has(self.mode) || has(self.ca) || has(self.clientCertificate)",
                "give mode, ca or clientCertificate",
            ),
            rule(
                "!has(self.mode) || self.mode in ['disable', 'require'] || has(self.ca)",
                "mode verify-ca and verify-full need ca",
            ),
            rule(
                "!has(self.mode) || self.mode in ['verify-ca', 'verify-full'] || !has(self.ca)",
                "ca goes with mode verify-ca or verify-full, or without mode",
            ),
            rule(
                "!has(self.mode) || self.mode != 'disable' || !has(self.clientCertificate)",
                "clientCertificate needs TLS: choose another mode than disable",
            ),
        )
    )


class CloudNativePG(Model):
    """A database of a CloudNativePG Cluster in the Environment's namespace."""

    cluster: ObjectName = Field(description="Name of the Cluster.")
    database: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None,
        description=(
            "Name of the database. Default: the one that the Cluster's bootstrap creates. Another one needs a"
            " `Database` resource, which names its owner."
        ),
    )


class Database(Model):
    """The PostgreSQL database of the environment."""

    secret_ref: LocalRef | None = Field(
        default=None,
        description=(
            "Secret with the keys of a CloudNativePG app secret (`host`, `port`, `dbname`, `user` or `username`,"
            " `password`) or one key `uri`. The role must own the database. Give a direct connection, not a pooler."
            " `sslmode` and `sslrootcert` in the uri or as keys are used where `tls` does not say otherwise."
        ),
    )
    cnpg: CloudNativePG | None = Field(
        default=None,
        description=(
            "Instead of `secretRef`: a CloudNativePG Cluster, which names host, Secrets, CA, major version and capacity"
            " (`status.connection`). The operator needs the chart's value `rbac.cnpg`."
        ),
    )
    admin_secret_ref: LocalRef | None = Field(
        default=None,
        description=(
            "Secret of a role that may create and rename databases and end sessions. Needed where the database's own"
            " role may not. It must be a member of the database's owner. Default with `cnpg`: the superuser's Secret,"
            " if the Cluster has `enableSuperuserAccess`; of any other Secret only user and password are used."
        ),
    )
    tls: Tls | None = Field(
        default=None,
        description=(
            "TLS to the server. Without it and without `sslmode` in the Secret: TLS where the server offers it, and a"
            " password is never sent in cleartext."
        ),
    )
    capacity: Quantity | None = Field(
        default=None,
        description=(
            "Size of the volume that holds all databases of the server. Rollbacks need it: without it RollbackReady is"
            " False (CapacityUnknown). A rollback is refused if the volume cannot hold two copies of the database."
            " Default with `cnpg`: the smallest volume of the Cluster's data and tablespaces."
        ),
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            exactly_one("secretRef", "cnpg"),
            rule(
                "!has(self.cnpg) || !has(self.tls)",
                "tls goes with secretRef: with cnpg the Jobs trust the Cluster's CA and check the host name",
            ),
        )
    )


class Filestore(Model):
    """The folder of files that belongs to the database."""

    claim_name: ObjectName = Field(description="PersistentVolumeClaim that holds the folder.")
    path: RelativePath = Field(default="", description="Folder below the claim's root; empty is the root itself.")
    layout: Layout = Field(
        default=layouts.DEFAULT,
        description=(
            "`Odoo`: write-once files named by the SHA-1 of their content, named by the table ir_attachment. `Plain`:"
            " any files; not possible at the root of a claim."
        ),
    )
    missing_files: Literal["Fail", "Report"] = Field(
        default="Fail",
        description=(
            "What a snapshot does if the database names files that are already missing from the filestore: fail, or"
            " continue and list them in the manifest and in a warning."
        ),
    )

    consistency: Literal["Strict", "BestEffort"] = Field(
        default="Strict",
        description=(
            "Layout `Plain`, when the application changes a file after the database was exported. `Strict`: the"
            " snapshot fails with FilestoreChanging. `BestEffort`: the snapshot has the changed file and names it in a"
            " warning."
        ),
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "self.layout != 'Plain' || self.path != ''",
                "layout Plain needs a path below the claim's root",
            ),
            rule(
                "self.layout == 'Plain' || self.consistency == 'Strict'",
                "consistency BestEffort needs layout Plain: the files of layout Odoo never change",
            ),
        )
    )


class Config(Model):
    """The configuration that is stored with each snapshot: a ConfigMap, or a file beside the filestore."""

    config_map_ref: LocalRef | None = Field(
        default=None, description="ConfigMap whose keys are stored with each snapshot."
    )
    path: Annotated[RelativePath, Field(min_length=1)] | None = Field(
        default=None,
        description=(
            "File of at most 1 MiB below the root of the filestore's claim, for example `odoo.conf`. No symbolic link"
            " is followed."
        ),
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            exactly_one("configMapRef", "path"),
            rule(
                f"!has(self.path) || !(self.path == '{CLAIM_FOLDER}' || self.path.startsWith('{CLAIM_FOLDER}/'))",
                f"path cannot be in {CLAIM_FOLDER}: that folder belongs to ocore-snapshots",
            ),
        )
    )


class Workload(Model):
    """A workload that uses the database; stopped for the seconds of a switchover."""

    api_version: (
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9][-a-z0-9.]*/v[a-z0-9]+$", min_length=4, max_length=253)]
        | None
    ) = Field(
        default=None,
        description=(
            "Group and version of the kind, for example `argoproj.io/v1alpha1`. Default: `apps/v1`, and `batch/v1` of"
            " a CronJob. Another kind must have the scale subresource, and the chart's value `workloads.kinds` must"
            " list it."
        ),
    )
    kind: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]*$", min_length=1, max_length=63)] = Field(
        default="Deployment",
        description="Kind of the workload: Deployment, StatefulSet, CronJob (it is suspended), or one with apiVersion.",
    )
    name: ObjectName = Field(description="Name of the workload.")

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule(
                "self.kind != 'DaemonSet' || (has(self.apiVersion) && !self.apiVersion.startsWith('apps/'))",
                "a DaemonSet cannot be scaled to zero: run its pods as a Deployment, or leave it out. The switchover"
                " refuses its connections and ends its sessions in any case",
            ),
            rule(
                "has(self.apiVersion) || self.kind in ['Deployment', 'StatefulSet', 'CronJob', 'DaemonSet']",
                "give apiVersion, for example argoproj.io/v1alpha1: only Deployment, StatefulSet and CronJob need none",
            ),
        )
    )


class Scratch(Model):
    """Temporary space for dumps. A snapshot into S3 needs little; a restore needs the size of the compressed dump."""

    size: Quantity = Field(default="10Gi", description="Size limit of the scratch volume.")
    storage_class_name: ObjectName | None = Field(
        default=None,
        description="StorageClass of an ephemeral volume; without it an emptyDir on the node is used.",
    )


class Jobs(PodTemplate):
    """How this environment's Jobs run. User, groups and tolerations are inherited from the first workload; other fields
    that are not set have the chart's defaults."""

    parallelism: Annotated[int, Field(ge=1, le=32)] = Field(
        default=2, description="Tables dumped and restored, and packs written, at the same time."
    )
    run_as_user: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        default=None,
        description=(
            "User id. It must be able to read the filestore, and must own it for hard links. Required where the"
            " workload runs as root or its image decides."
        ),
    )
    run_as_group: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(default=None, description="Group id.")
    fs_group: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        default=None,
        description=(
            "Group of the volumes. The kubelet gives all files of the claims to it: set none that the workload does not"
            " have."
        ),
    )

    model_config = ConfigDict(json_schema_extra=validations(*TEMPLATE_RULES))


class RollbackGrant(Model):
    """A namespace whose Rollbacks may restore Snapshots of this Environment."""

    namespace: NamespaceName = Field(description="Name of the namespace.")


class EnvironmentSpec(Model):
    """What is snapshotted."""

    id: Uuid | None = Field(
        default=None,
        description=(
            "Identity in manifests and in the REST API; the default is metadata.uid. Keep it when a cluster is rebuilt."
        ),
    )
    project_id: Uuid | None = Field(
        default=None,
        description=(
            "Project the environment belongs to; rollbacks stay within a project. The default is derived from the"
            " namespace's name: one project for each namespace (`status.projectId`). Give it where a project has"
            " several namespaces, or where clusters that share a store or the issuer of tokens use one name for"
            " namespaces of different owners."
        ),
    )
    type: Literal["production", "staging", "development"] = Field(description="Kind of environment.")
    store_ref: LocalRef = Field(description="SnapshotStore that snapshots go to.")
    remote_store_ref: LocalRef | None = Field(
        default=None,
        description=(
            "SnapshotStore that each Complete snapshot is copied to, in the same namespace: another bucket, better"
            " another site. Existing snapshots are copied, too, the newest first. Where this is changed, they are"
            " copied to the new one, then deleted from the earlier one; where it is removed, copies stay."
        ),
    )
    encryption: Encryption | None = Field(
        default=None,
        description=(
            "The recipients of this Environment's snapshots, in place of those of the SnapshotStore: to add to them,"
            " name theirs as well."
        ),
    )
    database: Database | None = Field(default=None, description="PostgreSQL database.")
    filestore: Filestore | None = Field(default=None, description="Folder of files.")
    config: Config | None = Field(default=None, description="Configuration kept with each snapshot.")
    workloads: Annotated[tuple[Workload, ...], Field(max_length=20)] | None = Field(
        default=None,
        description=(
            "Stopped for a switchover and started again, in this order. The image of the first Deployment or"
            " StatefulSet is recorded in each snapshot. `[]` stops nothing on purpose: the switchover only ends the"
            " sessions of the database. Without the field, a Rollback warns that nothing is stopped."
        ),
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["kind", "name"]},
    )
    allow_rollback_to: Annotated[tuple[RollbackGrant, ...], Field(max_length=64)] = Field(
        default=(),
        description=(
            "Other namespaces that may restore Snapshots of this Environment into their own Environments of the same"
            " project. A Rollback in this namespace needs no entry."
        ),
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["namespace"]},
    )
    scratch: Scratch = Field(default=Scratch(), description="Temporary space for dumps.")
    jobs: Jobs = Field(default=Jobs(), description="How the Jobs run.")
    neutralize: Neutralize | None = Field(
        default=None, description="How a restored copy is neutralised. Without it: by the image of the snapshot."
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            immutable("id"),
            immutable("projectId"),
            rule(
                "!has(self.remoteStoreRef) || self.remoteStoreRef.name != self.storeRef.name",
                "remoteStoreRef must name another SnapshotStore than storeRef",
            ),
            rule(
                "!has(self.config) || !has(self.config.path) || has(self.filestore)",
                "config.path is on the filestore's claim: give filestore, or config.configMapRef",
            ),
            rule("has(self.database) || has(self.filestore)", "give a database, a filestore or both"),
            rule(
                "!has(self.filestore) || self.filestore.layout != 'Odoo' || has(self.database)",
                "layout Odoo needs the database that names the files",
            ),
        )
    )


class Operation(StatusModel):
    """The operation that has the environment's operation lock: one at a time."""

    kind: Literal["Snapshot", "Rollback", "Extract"] = Field(description="Kind of the operation.")
    name: str = Field(description="Name of the Snapshot, Rollback or Extract.")
    uid: str = Field(description="Its metadata.uid.")
    since: Timestamp = Field(description="When it took the lock.")


class ExecutedRollback(StatusModel):
    """A Rollback that ran. GitOps re-creates what it finds in Git; the same Rollback does nothing the second time."""

    name: str = Field(description="Name of the Rollback.")
    spec_hash: str = Field(description="Hash of its spec.")
    id: str = Field(description="Its status.id.")
    completed_at: Timestamp = Field(description="When it ended.")
    undoes: str | None = Field(
        default=None, description="Of an undo: status.id of the Rollback that restored the databases which it switched."
    )


#: The user of Jobs that work on no filestore.
ANY_USER = FileOwner(run_as_user=65532, run_as_group=65532)


class ProbeStatus(StatusModel):
    """What the last probe found."""

    time: Timestamp = Field(description="When it ended.")
    started_at: Timestamp | None = Field(default=None, description="When it began. Later changes were not seen.")
    generation: int = Field(description="metadata.generation that was probed.")
    server_identity: str = Field(
        default="",
        description=(
            "System identifier of the server and when it started. Two Environments must not have the same server and"
            " database."
        ),
    )
    server_version: str = Field(default="", description="Version of the PostgreSQL server.")
    server_major: int = Field(default=0, description="Its major version; it selects the mover image.")
    database_name: str = Field(default="", description="Name of the live database.")
    database_bytes: int = Field(default=0, description="Size of the live database.")
    database_used_bytes: int = Field(
        default=0, description="Bytes used by all databases on the server's default tablespace."
    )
    schema_fingerprint: str = Field(
        default="",
        description=(
            "Changes with the schema, the roles, the settings and the extensions that a restore depends on, not with"
            " data. Empty where it could not be read."
        ),
    )
    filestore_bytes: int = Field(default=0, description="Size of all files of the filestore.")
    filestore_files: int = Field(default=0, description="Number of files of the filestore.")
    hard_links: bool = Field(default=False, description="Whether the filestore can be frozen by hard links.")
    replication: Replication | None = Field(
        default=None, description="Logical replication of the live database; absent where there is none."
    )
    warnings: tuple[str, ...] = Field(default=(), description="Findings that block nothing but should be known.")
    remedies: Annotated[tuple[Remedy, ...], Field(max_length=20)] = Field(
        default=(), description="Rights that a role lacks. `kubectl ocore doctor` and the page show the statements."
    )
    file_owner: FileOwner | None = Field(
        default=None, description="The owner of the files, where the Environment names no user for its Jobs."
    )


class SizesStatus(StatusModel):
    """The sizes of the live database and filestore: measured by each probe, and by a sizes-only probe where the
    annotation `ocore.dev/probe-requested` asks for one. Says nothing about whether a snapshot would work."""

    measured_at: Timestamp | None = Field(
        default=None, description="When the sizes were measured; they are not older. Absent: never."
    )
    database_bytes: int = Field(default=0, description="Size of the live database.")
    filestore_bytes: int = Field(default=0, description="Size of all files of the filestore.")
    filestore_files: int = Field(default=0, description="Number of files of the filestore.")
    warnings: tuple[str, ...] = Field(default=(), description="Why the sizes are too low, if they are.")
    attempted_at: Timestamp | None = Field(
        default=None,
        description=(
            "When the last sizes-only probe ended, with or without a result. Requests before that are answered."
        ),
    )
    attempt_error: str = Field(
        default="", description="Why the last sizes-only probe has no result; empty where it has one."
    )


class ProofStatus(StatusModel):
    """The last schema-only restore of the live database into a scratch database."""

    attempted_at: Timestamp = Field(description="When the last attempt ended, with or without a result.")
    attempt_error: str = Field(
        default="",
        description="Why the last attempt has no result, for example a lost connection; empty where it has one.",
    )
    result: Literal["Succeeded", "Failed"] | None = Field(
        default=None, description="Result of the last attempt that has one."
    )
    time: Timestamp | None = Field(default=None, description="When that attempt ended.")
    schema_fingerprint: str = Field(
        default="", description="The schema that it restored; see `probe.schemaFingerprint`."
    )
    image: str = Field(default="", description="The mover image that it ran in.")
    message: str = Field(default="", description="Where it failed: the cause, with the server's message.")


class UndoneRollback(StatusModel):
    """To which undo the database and folders belong that a Rollback has kept. Written before the undo switches."""

    id: str = Field(description="status.id of the Rollback that is undone.")
    by_name: str = Field(description="Name of the Rollback that undoes it.")
    by_id: str = Field(description="Its status.id.")
    state: Literal["Running", "Undone", "Returned"] = Field(
        description=(
            "`Running`, `Undone`: they belong to the undo. `Returned`: it did not switch, or was switched back; they"
            " belong to the Rollback again."
        )
    )
    keep_until: Timestamp | None = Field(
        default=None,
        description=(
            "Returned after a switch back: they are kept until then at least, because users may have written to them."
        ),
    )


class PinCount(StatusModel):
    """Pins of an environment without a SnapshotPolicy."""

    pinned: int = Field(description="Pinned snapshots of the environment.")
    limit: int = Field(description="How many may be pinned: the default of `maxPinned`.")


class Connection(StatusModel):
    """How Jobs reach the database. Only names: the operator reads no Secret."""

    secret_name: str = Field(description="Secret of the database's owner.")
    admin_secret_name: str | None = Field(default=None, description="Secret of the administrator.")
    cluster: str | None = Field(default=None, description="CloudNativePG Cluster that it was read from.")
    database: str | None = Field(default=None, description="Name of the database; the Secrets' own is not used.")
    host: str | None = Field(default=None, description="Host of the server; the Secrets' own is not used.")
    ca_secret_name: str | None = Field(
        default=None, description="Secret whose key `ca.crt` has the certificates of the server's CA."
    )
    capacity: str | None = Field(
        default=None, description="The smallest volume that holds data of the server, or spec.database.capacity."
    )
    server_major: int | None = Field(default=None, description="Major version of the server.")
    managed_roles: tuple[str, ...] = Field(
        default=(), description="Roles in spec.managed.roles of the Cluster, whose rights CloudNativePG sets."
    )


class EnvironmentStatus(ObjectStatus):
    """Observed state."""

    id: str | None = Field(default=None, description="spec.id, or metadata.uid.")
    project_id: str | None = Field(
        default=None, description="spec.projectId, or the id that is derived from the namespace's name."
    )
    phase: Literal["Pending", "Ready", "NotReady"] | None = Field(
        default=None, description="Summary of the conditions."
    )
    connection: Connection | None = Field(
        default=None, description="What was last read from the Cluster of spec.database.cnpg; absent without one."
    )
    probe: ProbeStatus | None = Field(default=None, description="What the last probe found.")
    sizes: SizesStatus | None = Field(
        default=None, description="The newest sizes of the live database and filestore; absent before the first ones."
    )
    proof: ProofStatus | None = Field(
        default=None,
        description=(
            "The last schema-only restore into a scratch database: what RollbackReady rests on beside the catalogs."
        ),
    )
    operation: Operation | None = Field(
        default=None, description="The operation that has the operation lock of the environment."
    )
    executed_rollbacks: tuple[ExecutedRollback, ...] = Field(default=(), description="The last 50 Rollbacks that ran.")
    undone_rollbacks: tuple[UndoneRollback, ...] = Field(
        default=(), description="The last 50 Rollbacks that were undone."
    )
    pins: PinCount | None = Field(
        default=None,
        description=(
            "Pinned snapshots and their limit while the environment has no SnapshotPolicy. Absent with a policy, and"
            " where none is pinned."
        ),
    )


def remedy_of(obj: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """The statements that give the roles of an Environment what they lack, and what their placeholders stand for; empty
    where nothing is missing. `obj`: as the API server has it."""
    status = EnvironmentStatus.model_validate(obj.get("status") or {})
    database = EnvironmentSpec.model_validate(obj["spec"], extra="ignore").database
    if status.probe is None or database is None or not status.probe.remedies:
        return (), ""
    secret, admin = database.secret_ref, database.admin_secret_ref
    cluster = database.cnpg.cluster if database.cnpg is not None else ""
    missing = status.probe.remedies
    return (
        remedy.statements(missing, status.probe.server_major, cluster),
        remedy.legend(
            missing,
            secret.name if secret is not None else f"{cluster}-app",
            admin.name if admin is not None else f"{cluster}-superuser" if cluster else None,
            cluster,
        ),
    )


def user_of_jobs(spec: EnvironmentSpec, status: EnvironmentStatus) -> FileOwner | None:
    """The user to set in spec.jobs where none is known (JobUserUnknown); None: the files belong to root."""
    if spec.filestore is None:
        return ANY_USER
    return status.probe.file_owner if status.probe is not None else None


def connection_of(spec: EnvironmentSpec, status: EnvironmentStatus) -> Connection | None:
    """How Jobs reach the database; None without a database, and where the Cluster that the spec names was not read."""
    wanted, found = spec.database, status.connection
    if wanted is None:
        return None
    if wanted.secret_ref is not None:
        admin = wanted.admin_secret_ref
        return Connection(
            secret_name=wanted.secret_ref.name,
            admin_secret_name=admin.name if admin is not None else None,
            capacity=wanted.capacity,
        )
    if found is None or wanted.cnpg is None or found.cluster != wanted.cnpg.cluster:
        return None
    return found if wanted.cnpg.database in (None, found.database) else None
