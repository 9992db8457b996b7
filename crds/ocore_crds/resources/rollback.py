"""Rollback: returns an environment to a snapshot, or leaves it unchanged."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ocore_crds.conditions import ObjectStatus
from ocore_crds.model import LocalRef, Model, NamespaceName, ObjectName, Sentence, StatusModel, Timestamp, Uuid
from ocore_crds.reports.facts import FileOwner
from ocore_crds.resources.encryption import IDENTITY_REF
from ocore_crds.resources.environment import (
    CloudNativePG,
    Connection,
    Database,
    EnvironmentSpec,
    EnvironmentStatus,
    Filestore,
    Jobs,
    Tls,
    Workload,
    connection_of,
    user_of_jobs,
)
from ocore_crds.resources.layouts import Layout
from ocore_crds.resources.neutralize import NeutralizeStatus
from ocore_crds.resources.preview import Preview
from ocore_crds.resources.recovery_evidence import RecoveryEvidence
from ocore_crds.resources.remote_copy import RemoteCopyState
from ocore_crds.resources.snapshot import EvidenceStatus, Progress, SavedWorkload, StepStatus
from ocore_crds.schema.cel_rules import exactly_one, rule, validations


class UndoSpec(Model):
    """The Rollback to undo."""

    rollback_ref: LocalRef = Field(
        description=(
            "A finished Rollback whose undo window is not over; the previous database becomes live again. It may be an"
            " undo itself."
        )
    )


class SnapshotRef(Model):
    """A Snapshot, perhaps in another namespace."""

    name: ObjectName = Field(description="Name of the Snapshot.")
    namespace: NamespaceName | None = Field(
        default=None,
        description=(
            "Its namespace; the default is the namespace of this resource. Another one needs targetEnvironmentRef, and"
            " allowRollbackTo of the Environment that the Snapshot was taken of."
        ),
    )


class RollbackSpec(Model):
    """What to return to: a snapshot, or what a Rollback has replaced. Fixed at creation."""

    id: Uuid | None = Field(default=None, description="Identity in the REST API; the default is metadata.uid.")
    snapshot_ref: SnapshotRef | None = Field(default=None, description="Complete Snapshot to restore.")
    target_environment_ref: LocalRef | None = Field(
        default=None,
        description=(
            "Environment that is replaced by the Snapshot, in the namespace of this resource; the default is the one"
            " that the Snapshot was taken of. It must have the projectId of the Snapshot."
        ),
    )
    source_store_ref: LocalRef | None = Field(
        default=None,
        description=(
            "SnapshotStore in the namespace of this resource that the Snapshot is read from: the same store as the"
            " Snapshot's, by its id. Default: the Snapshot's own SnapshotStore; for a Snapshot in another namespace the"
            " storeRef of the target Environment."
        ),
    )
    identity_secret_ref: LocalRef | None = Field(default=None, description=IDENTITY_REF)
    undo: UndoSpec | None = Field(
        default=None,
        description=(
            "Instead of snapshotRef: undo a Rollback. What is live now is then kept for the undo's own"
            " undoWindowSeconds."
        ),
    )
    requested_by: Annotated[str, Field(max_length=256)] = Field(default="", description="Who asked for it.")
    undo_window_seconds: Annotated[int, Field(ge=0, le=2592000)] = Field(
        default=86400,
        description=(
            "How long the previous database is kept after the switchover, and the restored one after a switch back."
        ),
    )
    not_after: Timestamp | None = Field(
        default=None,
        description="A rollback that has not started by then is refused (GitOps re-creates what it finds in Git).",
    )
    timeout_seconds: Annotated[int, Field(ge=60, le=604800)] = Field(
        default=7200,
        description="The rollback fails, and the environment stays unchanged, if it has not switched over by then.",
    )
    ready_timeout_seconds: Annotated[int, Field(ge=10, le=86400)] = Field(
        default=300,
        description=(
            "If the workloads are not ready this many seconds after they were started, the rollback switches back."
        ),
    )
    create_safety_snapshot: bool = Field(
        default=False,
        description=(
            "Takes a Snapshot of the environment while the restore is prepared. The rollback switches only once it is"
            " Complete, and ends with nothing changed if it fails. Retention keeps it until undoUntil at least."
        ),
    )
    restore_image: Literal["Never", "Always", "WaitForGit"] = Field(
        default="Never",
        description=(
            "Whether the workloads get the image and commit that the snapshot has recorded. `Always`: the operator sets"
            " them while the workloads are stopped, except where a GitOps tool owns the image: a warning then says what"
            " to change in Git. `WaitForGit`: the operator sets nothing and waits, before it stops anything, until the"
            " workloads have the image."
        ),
    )
    allow_replication_loss: bool = Field(
        default=False,
        description=(
            "Lets the rollback break logical replication of the database. After the switch its logical slots are"
            " dropped, its subscriptions are disabled and detached from their slots. Every consumer must be set up"
            " again. Without it the rollback is refused (ReplicationActive)."
        ),
    )
    dry_run: bool = Field(
        default=False,
        description=(
            "Preview: check everything that a rollback checks first, report in status.preview what it would do and what"
            " would refuse it, and change nothing."
        ),
    )
    neutralize: Literal["Auto", "Always", "Never"] = Field(
        default="Auto",
        description=(
            "Whether the restored copy is neutralised before the switchover. `Auto`: if the snapshot is of a production"
            " environment and the target is none. `Never` also keeps a copy of production as it is: it can send mail"
            " and charge customers."
        ),
    )
    isolation: Literal["Require", "BestEffort"] = Field(
        default="Require",
        description=(
            "Of the pod that runs the application's image to neutralise the copy. `Require`: it must fail to reach the"
            " test listeners, else the rollback fails (IsolationUnproven). `BestEffort`: it runs all the same, with a"
            " warning."
        ),
    )
    allow_neutralized_production: bool = Field(
        default=False,
        description=(
            "Lets a production environment run on neutralised data: a snapshot of a neutralised environment, or"
            " `neutralize: Always`. Mail, scheduled jobs and payments are then off in production."
        ),
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            rule("self == oldSelf", "a Rollback cannot be changed; create a new one"),
            exactly_one("snapshotRef", "undo"),
            rule(
                "has(self.snapshotRef) || !has(self.targetEnvironmentRef)", "targetEnvironmentRef goes with snapshotRef"
            ),
            rule("has(self.snapshotRef) || !has(self.sourceStoreRef)", "sourceStoreRef goes with snapshotRef"),
            rule(
                "has(self.snapshotRef) || !has(self.identitySecretRef)",
                "identitySecretRef goes with snapshotRef: an undo reads no snapshot",
            ),
            rule(
                # A keyword of CEL is escaped: API servers before 1.32 do not take it as a field's name.
                "!has(self.snapshotRef) || !has(self.snapshotRef.__namespace__) || has(self.targetEnvironmentRef)",
                "snapshotRef.namespace needs targetEnvironmentRef",
            ),
            rule(
                "!self.dryRun || has(self.snapshotRef)",
                "dryRun needs snapshotRef: an undo restores nothing, so it has no preview",
            ),
            rule(
                "!self.dryRun || !has(self.id)",
                "a preview has no id: the id belongs to the rollback that runs; remove id or dryRun",
            ),
            rule(
                "!has(self.undo) || self.neutralize == 'Auto'",
                "an undo restores nothing, so neutralize does not apply to it",
            ),
            rule(
                "!has(self.undo) || !self.createSafetySnapshot",
                "createSafetySnapshot needs snapshotRef; an undo keeps what is live now for its own undo window",
            ),
            rule(
                "!has(self.undo) || self.restoreImage == 'Never'",
                "restoreImage needs snapshotRef; an undo puts back the images that the undone rollback replaced",
            ),
        )
    )


class PreflightWarning(StatusModel):
    """Something that blocks nothing, but that can make the rollback fail or surprise its users."""

    reason: str = Field(description="Why, in one word, for programs.")
    message: Sentence = Field(description="Why, for people, and what to do.")


class RollbackTarget(StatusModel):
    """Where the environment's database and filestore were at the start of a rollback."""

    database_secret_name: str | None = Field(default=None, description="Secret of the database.")
    admin_secret_name: str | None = Field(default=None, description="Secret of the database's administrator.")
    cluster: str | None = Field(default=None, description="CloudNativePG Cluster of the database.")
    database: str | None = Field(default=None, description="Name of the database in that Cluster.")
    host: str | None = Field(default=None, description="Host of that Cluster.")
    ca_secret_name: str | None = Field(default=None, description="Secret with the certificates of its CA.")
    claim_name: str | None = Field(default=None, description="PersistentVolumeClaim of the filestore.")
    path: str | None = Field(default=None, description="Folder of the filestore on the claim.")
    layout: Layout | None = Field(default=None, description="Layout of the filestore.")

    @classmethod
    def of(cls, spec: EnvironmentSpec, status: EnvironmentStatus) -> "RollbackTarget":
        """The target that the Environment's spec names; `status`: with what was read of the database's Cluster."""
        database, filestore = connection_of(spec, status), spec.filestore
        return cls(
            database_secret_name=database.secret_name if database is not None else None,
            admin_secret_name=database.admin_secret_name if database is not None else None,
            cluster=database.cluster if database is not None else None,
            database=database.database if database is not None else None,
            host=database.host if database is not None else None,
            ca_secret_name=database.ca_secret_name if database is not None else None,
            claim_name=filestore.claim_name if filestore is not None else None,
            path=filestore.path if filestore is not None else None,
            layout=filestore.layout if filestore is not None else None,
        )

    def applied_to(self, spec: EnvironmentSpec, status: EnvironmentStatus) -> tuple[EnvironmentSpec, EnvironmentStatus]:
        """Spec and status with this target; their other fields are kept."""
        update = {"database": self._database(spec.database), "filestore": self._filestore(spec.filestore)}
        now = connection_of(spec, status)
        return spec.model_copy(update=update), status.model_copy(update={"connection": self._connection(now)})

    def _database(self, current: Database | None) -> Database | None:
        if self.database_secret_name is None:
            return None
        admin = LocalRef(name=self.admin_secret_name) if self.admin_secret_name is not None else None
        base = current or Database()
        if self.cluster is not None:
            cnpg = CloudNativePG(cluster=self.cluster, database=self.database)
            return base.model_copy(update={"secret_ref": None, "cnpg": cnpg, "admin_secret_ref": admin, "tls": None})
        secret = LocalRef(name=self.database_secret_name)
        return base.model_copy(update={"secret_ref": secret, "cnpg": None, "admin_secret_ref": admin})

    def _connection(self, current: Connection | None) -> Connection | None:
        if self.cluster is None or self.database_secret_name is None:
            return None
        return Connection(
            secret_name=self.database_secret_name,
            admin_secret_name=self.admin_secret_name,
            cluster=self.cluster,
            database=self.database,
            host=self.host,
            ca_secret_name=self.ca_secret_name,
            capacity=current.capacity if current is not None else None,
        )

    def _filestore(self, current: Filestore | None) -> Filestore | None:
        if self.claim_name is None or self.path is None or self.layout is None:
            return None
        base = current or Filestore(claim_name=self.claim_name, path=self.path, layout=self.layout)
        return base.model_copy(update={"claim_name": self.claim_name, "path": self.path, "layout": self.layout})


class JobsStatus(StatusModel):
    """What Jobs of the Environment need beside its target, frozen at the start of a rollback. Its cleanup uses it where
    the Environment was deleted."""

    store_name: str = Field(description="SnapshotStore of the Environment.")
    tls: str | None = Field(default=None, description="`spec.database.tls` of the Environment, as JSON.")
    user: FileOwner | None = Field(default=None, description="User of the Jobs, where it is known.")

    @classmethod
    def of(cls, spec: EnvironmentSpec, status: EnvironmentStatus) -> "JobsStatus":
        """Of that Environment."""
        user, group = spec.jobs.run_as_user, spec.jobs.run_as_group
        tls = spec.database.tls if spec.database is not None else None
        return cls(
            store_name=spec.store_ref.name,
            tls=tls.model_dump_json(by_alias=True, exclude_none=True) if tls is not None else None,
            user=FileOwner(run_as_user=user, run_as_group=group) if user is not None else user_of_jobs(spec, status),
        )

    def environment(
        self, environment_id: str, target: RollbackTarget, workloads: tuple[SavedWorkload, ...]
    ) -> tuple[EnvironmentSpec, EnvironmentStatus]:
        """Spec and status of an Environment that was deleted, as far as a cleanup needs them."""
        user = self.user
        spec = EnvironmentSpec(
            id=environment_id,
            type="production",
            store_ref=LocalRef(name=self.store_name),
            workloads=tuple(Workload(api_version=w.api_version, kind=w.kind, name=w.name) for w in workloads),
            jobs=Jobs(run_as_user=user.run_as_user, run_as_group=user.run_as_group) if user is not None else Jobs(),
        )
        spec, status = target.applied_to(spec, EnvironmentStatus())
        if spec.database is None or self.tls is None or target.cluster is not None:
            return spec, status
        return spec.model_copy(
            update={"database": spec.database.model_copy(update={"tls": Tls.model_validate_json(self.tls)})}
        ), status


class UndoStatus(StatusModel):
    """What an undo undoes, frozen at its start: it needs neither the other Rollback nor the Snapshot after that."""

    rollback_name: str = Field(description="Name of the Rollback that is undone.")
    rollback_id: str = Field(description="Its status.id.")
    names_id: str = Field(
        description=(
            "status.id of the Rollback that restored the databases. Their names, and those of the folders, have its"
            " first eight digits."
        )
    )
    to: Literal["Old", "New"] = Field(
        description=(
            "The position of that Rollback which this one reaches: `Old`, the data from before it; `New`, its snapshot."
        )
    )
    workloads: tuple[SavedWorkload, ...] = Field(
        default=(), description="Replicas from before the Rollback that is undone; they are set again."
    )


class ImageStatus(StatusModel):
    """The image to restore, frozen at the start."""

    mode: Literal["Always", "WaitForGit"] = Field(description="spec.restoreImage.")
    reference: str = Field(description="The image that the snapshot has recorded, with its digest where that is known.")
    commit_sha: str = Field(default="", description="The commit that the snapshot has recorded; empty: none.")


#: The current stage, finer than `phase`. Written before the stage's first effect, so that a restarted operator
#: knows what may already have happened. operator/ocore_operator/rollback/plan.py has the transitions, docs/rollback.md
#: the meaning.
RollbackStage = Literal[
    "Preview",
    "Preflight",
    "Restore",
    "Neutralize",
    "Await",
    "Prepare",
    "Stop",
    "Drain",
    "Switch",
    "Inspect",
    "Abort",
    "Resume",
    "HealthCheck",
    "Finish",
    "BackStop",
    "BackDrain",
    "BackJob",
    "Ended",
]
#: Stages in which the environment is as it was and the rollback can still be aborted.
BEFORE_THE_SWITCH: tuple[RollbackStage, ...] = ("Restore", "Neutralize", "Await", "Prepare", "Stop", "Drain")


class RemoteSource(StatusModel):
    """The Snapshot is restored from its remote copy."""

    store_name: str = Field(description="SnapshotStore of the copy. It also holds the record of the rollback.")
    store_id: str | None = Field(default=None, description="Its id.")
    reason: str = Field(description="Why not from the Snapshot's own store; a constant.")
    message: Sentence = Field(default="", description="Why, for people.")
    first_attempt: int = Field(default=1, description="The restore attempt that was the first to read the copy.")


class ImportedRollback(StatusModel):
    """How a Rollback was brought back from its record in the store."""

    at: Timestamp = Field(description="When it was imported.")
    store_name: str = Field(description="SnapshotStore that has the record.")
    name: str = Field(description="metadata.name of the Rollback that ran.")
    spec_hash: str = Field(description="Hash of its spec.")
    missing: tuple[str, ...] = Field(default=(), description="What the record lacks.")


class RollbackStatus(ObjectStatus):
    """Observed state."""

    id: str | None = Field(default=None, description="spec.id, or metadata.uid.")
    phase: (
        Literal[
            "Pending",
            "Restoring",
            "Switching",
            "Resuming",
            "SwitchingBack",
            "Complete",
            "Failed",
            "SwitchedBack",
            "Previewing",
            "Previewed",
        ]
        | None
    ) = Field(
        default=None,
        description=(
            "Summary of the conditions. `SwitchedBack`: it was Complete, and was switched back by hand later."
            " `Previewed`: with dryRun; nothing was changed."
        ),
    )
    stage: RollbackStage | None = Field(default=None, description="The current stage, finer than phase.")
    stage_since: Timestamp | None = Field(
        default=None, description="When the stage began; the stage's own deadline counts from here."
    )
    queued_at: Timestamp | None = Field(default=None, description="When it began to wait for the operation lock.")
    started_at: Timestamp | None = Field(default=None, description="When it started.")
    deadline: Timestamp | None = Field(
        default=None,
        description=(
            "Before the switchover: the rollback aborts if it has not switched over by then. After it: the rollback is"
            " terminal by then."
        ),
    )
    completed_at: Timestamp | None = Field(default=None, description="When it became terminal.")
    environment_name: str | None = Field(default=None, description="Environment that is rolled back.")
    environment_id: str | None = Field(default=None, description="Its status.id.")
    snapshot_name: str | None = Field(default=None, description="Snapshot that is restored.")
    snapshot_id: str | None = Field(default=None, description="Its status.id.")
    snapshot_namespace: str | None = Field(
        default=None,
        description=(
            "Its namespace, where that is another one. Written before the rollback waits or starts: from then on the"
            " Snapshot is not deleted."
        ),
    )
    source_environment_name: str | None = Field(
        default=None, description="Environment that the Snapshot was taken of, as the Snapshot recorded it."
    )
    source_environment_id: str | None = Field(
        default=None, description="Its status.id. Another one than environmentId: the environment becomes a copy."
    )
    source_environment_type: str | None = Field(default=None, description="Its type when the Snapshot was taken.")
    source_store_name: str | None = Field(
        default=None,
        description=(
            "SnapshotStore that the Snapshot is read from; the record of the rollback is in the Environment's own."
            " Absent: both are in the Snapshot's."
        ),
    )
    remote: RemoteSource | None = Field(
        default=None,
        description=(
            "The Snapshot is read from its remote copy, because its own store does not have it whole. Absent: from its"
            " own store."
        ),
    )
    remote_copy_state: RemoteCopyState | None = Field(
        default=None, description="State of the Snapshot's remote copy when the rollback started."
    )
    manifest_sha256: str | None = Field(
        default=None, description="SHA-256 of the manifest that is restored; a different manifest is refused."
    )
    attempt: int = Field(default=0, description="Number of the last restore attempt, from 1.")
    neutralize_attempt: int = Field(default=0, description="Number of the last neutralize Job, from 1.")
    switch_attempt: int = Field(
        default=0,
        description="Number of the last attempt at the switch, from 1. The Job of the restore makes the first one.",
    )
    inspect_attempt: int = Field(default=0, description="Number of the last inspect Job, from 1.")
    cleanup_attempt: int = Field(default=0, description="Number of the last cleanup Job, from 1.")
    cleanup_after: Timestamp | None = Field(default=None, description="When a failed cleanup is retried.")
    target: RollbackTarget | None = Field(
        default=None,
        description=(
            "Connection and claim at the start. A change of them aborts the rollback before the switchover; later it is"
            " ignored."
        ),
    )
    jobs: JobsStatus | None = Field(
        default=None,
        description="How Jobs of the Environment connect and run; for the cleanup where the Environment was deleted.",
    )
    live_database: str | None = Field(default=None, description="Name of the live database.")
    restored_database: str | None = Field(
        default=None, description="Name of the restored database until the switchover."
    )
    previous_database: str | None = Field(
        default=None, description="Name of the previous database after the switchover."
    )
    live_missing: bool | None = Field(
        default=None,
        description=(
            "The live database did not exist when the snapshot was restored: the switchover creates it, and there is no"
            " previous one."
        ),
    )
    position: Literal["Old", "New"] | None = Field(
        default=None, description="What the environment runs on: `Old`, the database from before; `New`, the snapshot."
    )
    position_read_at: Timestamp | None = Field(
        default=None,
        description=(
            "When a Job last read the position from the databases' names, while leftovers exist. Someone may have"
            " switched by hand."
        ),
    )
    position_read_began: Timestamp | None = Field(
        default=None, description="Since when such a Job is running or wanted; null where none is."
    )
    refuses_connections: bool = Field(
        default=False,
        description=(
            "Such a Job has found that the live database refuses connections: an inspection under the operation lock"
            " allows them again."
        ),
    )
    safety_snapshot_name: str | None = Field(
        default=None, description="Snapshot of the environment from before the switchover (createSafetySnapshot)."
    )
    safety_snapshot_id: str | None = Field(default=None, description="Its status.id.")
    safety_snapshot_at: Timestamp | None = Field(
        default=None, description="The point in time that it shows. Later writes are only in the previous database."
    )
    image: ImageStatus | None = Field(
        default=None, description="With restoreImage: the image that the workloads get or must have."
    )
    workloads: tuple[SavedWorkload, ...] = Field(default=(), description="Replicas from before the quiesce.")
    quiesced_at: Timestamp | None = Field(default=None, description="When the workloads were scaled to zero.")
    signal_deadline: Timestamp | None = Field(
        default=None, description="The switch Job ignores its signal after that time."
    )
    switched_at: Timestamp | None = Field(default=None, description="When the restored database became the live one.")
    switched_back_at: Timestamp | None = Field(
        default=None, description="When the previous database became the live one again."
    )
    resumed_at: Timestamp | None = Field(default=None, description="When the workloads were started again.")
    ready_at: Timestamp | None = Field(default=None, description="When the workloads were ready.")
    refused_seconds: float | None = Field(
        default=None, description="How long the database refused connections, in all; null: unknown."
    )
    undo_until: Timestamp | None = Field(
        default=None, description="The previous database, or after a switch back the restored one, is kept until then."
    )
    failure_reason: str | None = Field(default=None, description="Reason of the failure.")
    failure_message: Sentence | None = Field(default=None, description="Message of the failure: cause and remedy.")
    undo: UndoStatus | None = Field(default=None, description="Of an undo: what it undoes.")
    undone_by: str | None = Field(
        default=None,
        description="Rollback that has undone this one. It has taken over the database and folders that were kept.",
    )
    residue: Literal["None", "Pending", "Unknown"] | None = Field(
        default=None,
        description=(
            "Whether leftovers (databases, folders) of this rollback exist. `Unknown`: they could not be removed."
        ),
    )
    warnings: tuple[PreflightWarning, ...] = Field(
        default=(),
        description="What the preflight found that blocks nothing: another image, a workload that is not ready.",
    )
    preview: Preview | None = Field(default=None, description="With dryRun: what a rollback would do.")
    evidence: EvidenceStatus | None = Field(
        default=None, description="What was required, what was proven, what is missing."
    )
    neutralize: NeutralizeStatus | None = Field(
        default=None, description="What the stage Neutralize has to do. Absent: nothing."
    )
    imported: ImportedRollback | None = Field(
        default=None, description="Of a Rollback that was imported from its record in a store. It never runs."
    )
    recorded: bool | None = Field(
        default=None, description="Whether the Environment's status.executedRollbacks had this rollback when it ended."
    )
    recovery_evidence: RecoveryEvidence | None = Field(
        default=None,
        description="Whether this is a clean success, and why. Derived from the other fields of the status.",
    )
    steps: tuple[StepStatus, ...] = Field(default=(), description="The steps so far, in order.")
    progress: Progress | None = Field(default=None, description="Progress of the running step.")
