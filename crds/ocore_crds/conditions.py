"""Condition types and reasons, each with its polarity.

The types ``Ready``, ``Reconciling`` and ``Stalled`` follow kstatus, so that ``kubectl wait``, Flux and ``kubectl
rollout``-like tools read them right. Abnormal-true types (``Reconciling``, ``Stalled``, ``Failed``) are absent when
false.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from ocore_crds.model import StatusModel, Timestamp
from ocore_crds.text.sentences import escaped, sentence, shortened

# --- types -----------------------------------------------------------------------------------------------
READY = "Ready"  # normal-true: the object does what it is for (an Environment: a snapshot would work)
RECONCILING = "Reconciling"  # abnormal-true: work is in progress; the message says which, or what it waits for
STALLED = "Stalled"  # abnormal-true: no progress without a change by a person
COMPLETE = "Complete"  # normal-true, terminal: a Snapshot is restorable, a Rollback is done
FAILED = "Failed"  # abnormal-true, terminal
VERIFIED = "Verified"  # normal-true: every byte of the snapshot was read back and matched
REMOTE_COPIED = "RemoteCopied"  # normal-true, Snapshot: the copy in the remote store is complete
RESTORE_TESTED = (
    "RestoreTested"  # normal-true, Snapshot: it was really restored into a scratch database, and every figure matched
)
RESTORE_TEST_SUCCEEDED = "RestoreTestSucceeded"  # normal-true, SnapshotPolicy: so was the newest one that was due
LAST_SNAPSHOT_SUCCEEDED = (
    "LastSnapshotSucceeded"  # normal-true, SnapshotPolicy: the newest scheduled snapshot is Complete
)
ROLLBACK_READY = "RollbackReady"  # normal-true, Environment: the grants and the space for a rollback exist
PREVIOUS_RETAINED = "PreviousRetained"  # Rollback: true while the previous database is kept for undo
SWITCHED_BACK_RETAINED = "SwitchedBackRetained"  # Rollback: true while the database that was switched back is kept
PREVIEWED = (
    "Previewed"  # normal-true, terminal: a Rollback with dryRun has its report; it never ran, so it is not Complete
)
PREFLIGHT_WARNINGS = "PreflightWarnings"  # abnormal-true, Rollback: found before it started, and blocks nothing
INCOMPLETE = "Incomplete"  # abnormal-true, Snapshot: restorable, but it lacks, or may lack, data of the application

# normal-true, SnapshotStore with import: every snapshot that belongs to an Environment of the namespace is imported
IMPORTED = "Imported"

# --- reasons ---------------------------------------------------------------------------------------------
# Progress
PENDING = "Pending"
WAITING_FOR_OPERATION = "WaitingForOperation"  # another operation has the environment's operation lock
WAITING_FOR_JOB_SLOT = "WaitingForJobSlot"  # the limit of concurrent Jobs is reached
WAITING_FOR_ENVIRONMENT = "WaitingForEnvironment"
WAITING_FOR_SNAPSHOT = "WaitingForSnapshot"
WAITING_FOR_IMAGE = "WaitingForImage"  # restoreImage WaitForGit: the workloads do not have the snapshot's image yet
RUNNING = "Running"
PROBING = "Probing"  # a probe Job is running
JOB_PENDING = "JobPending"  # a Job waits: no node fits it, its claim is not bound, or its pod is refused
VERIFYING = "Verifying"  # a Complete snapshot is being read back
TESTING = "Testing"  # a test restore of the Snapshot is running
DELETING = "Deleting"  # its data in the store is being removed
SUCCEEDED = "Succeeded"
FILES_NOT_INCLUDED = "FilesNotIncluded"  # a Snapshot is Complete without files that the application needs
UPGRADE_IN_PROGRESS = "UpgradeInProgress"  # a Snapshot was taken in the middle of an upgrade of the application
IMPORTING = "Importing"  # an import runs
IMPORT_INCOMPLETE = "ImportIncomplete"  # some snapshots in the store could not be imported
IMPORT_FAILED = "ImportFailed"  # the store could not be listed
PREVIEW_INCOMPLETE = "PreviewIncomplete"  # a preview could not read everything
ALREADY_EXECUTED = "AlreadyExecuted"
RETAINED = "Retained"
WOULD_RUN = "WouldRun"  # a preview found nothing that would refuse the rollback
WOULD_BE_REFUSED = "WouldBeRefused"  # a preview found what would refuse the rollback
UNDO_WINDOW_OVER = "UndoWindowOver"
NO_PREVIOUS = "NoPrevious"  # a rollback created the live database: there was none before
NOT_READ = "NotRead"
CHECKSUMS_ONLY = "ChecksumsOnly"
# What a person must change
SCHEDULED = "Scheduled"  # a SnapshotPolicy waits for its next slot
SUSPENDED = "Suspended"
NO_SCHEDULE = "NoSchedule"  # a SnapshotPolicy without a schedule: retention only
SCHEDULE_INVALID = "ScheduleInvalid"  # a cron expression or a time zone
RETAINED_BY_STORE = "RetainedByStore"  # Object Lock keeps the data of a Snapshot that is being deleted
PIN_LIMIT_EXCEEDED = "PinLimitExceeded"  # pins that were set at the same moment; all of them hold
ENVIRONMENT_NOT_FOUND = "EnvironmentNotFound"
STORE_NOT_FOUND = "StoreNotFound"
STORE_NOT_READY = "StoreNotReady"
STORE_UNREACHABLE = "StoreUnreachable"
STORE_ACCESS_DENIED = "StoreAccessDenied"
STORE_NOT_WRITABLE = "StoreNotWritable"
BUCKET_NOT_FOUND = "BucketNotFound"
STORE_ID_CONFLICT = "StoreIdConflict"
SNAPSHOT_NOT_FOUND = "SnapshotNotFound"
STORE_IO_ERROR = "StoreIoError"  # the disk or file server under a claim store fails
OBJECT_ARCHIVED = "ObjectArchived"  # an object was moved to an archive class (Glacier): it cannot be read
OBJECTS_MISSING = "ObjectsMissing"  # a manifest that was found in a store names objects that are not there
SNAPSHOT_NOT_COMPLETE = "SnapshotNotComplete"
OTHER_PROJECT = "OtherProject"
ACCESS_NOT_GRANTED = (
    "AccessNotGranted"  # a Snapshot in another namespace does not exist, or its Environment does not allow the rollback
)
NAMESPACE_NOT_WATCHED = "NamespaceNotWatched"  # the namespace of a Rollback's Snapshot
OTHER_STORE = "OtherStore"  # a Rollback's source store is not the store of its Snapshot
STORE_READ_ONLY = "StoreReadOnly"  # a SnapshotStore with access ReadOnly is to be written
COPYING = "Copying"  # RemoteCopied is Unknown: a Job copies
REMOTE_COPY_ONLY = (
    "RemoteCopyOnly"  # Ready, though the data in the Snapshot's own store is damaged: the remote copy is whole
)
SAME_STORE = "SameStore"  # the remote store is the store that the snapshot is in
REMOTE_COPY_CONFLICT = "RemoteCopyConflict"  # the remote store has another manifest of the snapshot
REMOTE_COPY_LOST = (
    "RemoteCopyLost"  # the remote store was asked again, and it has not every object of the copy any more
)
BASE_NOT_COPIED = "BaseNotCopied"  # the full that a differential needs is not in the remote store yet
SERVICE_ACCOUNT_CONFLICT = "ServiceAccountConflict"  # a Job's two stores have different service accounts
OTHER_ENVIRONMENT = "OtherEnvironment"
ENVIRONMENT_CHANGED = "EnvironmentChanged"  # its connection or claim, during a rollback
OTHER_VERSION = "OtherVersion"  # the snapshot was taken with another image, commit or configuration
EXPIRED = "Expired"  # past notAfter
DUPLICATE_ID = "DuplicateId"
DUPLICATE_TARGET = "DuplicateTarget"  # an older Environment has the same database or filestore
CLAIM_NOT_FOUND = "ClaimNotFound"
CLAIM_IN_USE = "ClaimInUse"  # by pods that no Job can run beside: ReadWriteOncePod, or two nodes
PINNED = "Pinned"  # a pinned Snapshot is not deleted
HAS_DEPENDENTS = "HasDependents"  # differentials need the full Snapshot, so it is not deleted
IN_USE = "InUse"  # a Rollback restores the Snapshot, so it is not deleted
CONFIG_NOT_FOUND = "ConfigNotFound"
JOB_TEMPLATE_REFUSED = "JobTemplateRefused"  # spec.jobs has what the chart does not allow, or a reserved key
JOB_USER_UNKNOWN = "JobUserUnknown"  # neither spec.jobs nor the workload names the user of the claim's files
WORKLOAD_NOT_FOUND = "WorkloadNotFound"
WORKLOAD_KIND_NOT_ALLOWED = "WorkloadKindNotAllowed"  # the chart's value workloads.kinds does not list its kind
WORKLOAD_NOT_SCALABLE = "WorkloadNotScalable"  # it has no scale subresource, or one that lacks a field
SCALING_DELETES_CLAIM = "ScalingDeletesClaim"  # a claim is deleted together with the pods of a workload
WORKLOADS_NOT_GIVEN = "WorkloadsNotGiven"  # nothing is stopped, and no one said that this is intended
WRITERS_NOT_STOPPED = "WritersNotStopped"  # layout Plain, and no workload is listed that a rollback could stop
WORKLOAD_PAUSED = "WorkloadPaused"  # a paused Deployment, which would not run the image that a rollback sets
CLUSTER_NOT_FOUND = "ClusterNotFound"  # spec.database.cnpg: the CloudNativePG Cluster
CLOUDNATIVEPG_NOT_INSTALLED = "CloudNativePGNotInstalled"  # the API server does not serve Clusters
CLUSTER_ACCESS_DENIED = "ClusterAccessDenied"  # the operator may not read Clusters and Databases (chart: rbac.cnpg)
CLUSTER_HIBERNATED = "ClusterHibernated"
CLUSTER_FENCED = "ClusterFenced"  # its primary
REPLICA_CLUSTER = "ReplicaCluster"  # a Cluster that follows another one is read-only
CLUSTER_SERVICE_DISABLED = "ClusterServiceDisabled"  # the Cluster has no Service for its primary
DATABASE_OWNER_UNKNOWN = "DatabaseOwnerUnknown"  # neither the Cluster nor a Database resource names the owner's Secret
AUTHENTICATION_FAILED = "AuthenticationFailed"
DATABASE_NOT_FOUND = "DatabaseNotFound"
DATABASE_EMPTY = "DatabaseEmpty"  # it exists and has no tables: nothing to snapshot, a rollback fills it
DATABASE_UNREACHABLE = "DatabaseUnreachable"
CONNECTION_POOLER = "ConnectionPooler"  # the Secret's host is a pooler, not the server itself
TLS_FAILED = "TlsFailed"  # the database's server: no TLS, a wrong certificate, or a password that would go in cleartext
DATABASE_NAME_TOO_LONG = "DatabaseNameTooLong"
UNSUPPORTED_SERVER = "UnsupportedServer"
SECRET_INVALID = "SecretInvalid"  # noqa: S105 - a reason
SIGNING_KEY_INVALID = "SigningKeyInvalid"  # spec.signing has a key that cannot sign or check
SIGNATURE_INVALID = "SignatureInvalid"  # a manifest in the store is not signed by a key of spec.signing
RECIPIENT_INVALID = "RecipientInvalid"  # a recipient of spec.encryption is no public key of age
IDENTITY_MISSING = "IdentityMissing"  # an encrypted Snapshot is to be read, and no identity was named
IDENTITY_INVALID = "IdentityInvalid"  # the Secret of an identity has no identity file of age
IDENTITY_WRONG = "IdentityWrong"  # the identity is for another recipient than the Snapshot is encrypted to
MISSING_GRANTS = "MissingGrants"
CAPACITY_UNKNOWN = "CapacityUnknown"
HIDDEN_ONLY = "HiddenOnly"  # RollbackReady is True; without an administrator the restored copy is hidden, not closed
PROOF_FAILED = (
    "ProofFailed"  # RollbackReady: the schema of the live database could not be restored into a scratch database
)
INSUFFICIENT_CAPACITY = "InsufficientCapacity"
FILESTORE_NOT_FOUND = "FilestoreNotFound"
FILESTORE_NOT_CREATED = "FilestoreNotCreated"  # layout Plain: a new application creates it with its first file
FILESTORE_NOT_READABLE = "FilestoreNotReadable"
FILESTORE_LAYOUT_UNSUPPORTED = "FilestoreLayoutUnsupported"
ATTACHMENTS_MISSING = "AttachmentsMissing"
ATTACHMENT_CORRUPT = "AttachmentCorrupt"
FILESTORE_CHANGING = "FilestoreChanging"
SCRATCH_FULL = "ScratchFull"
NO_SPACE = "NoSpace"
# Failures of a run
DUMP_FAILED = "DumpFailed"
RESTORE_FAILED = "RestoreFailed"
CORRUPT = "Corrupt"  # stored bytes differ from the manifest
BASE_CORRUPT = "BaseCorrupt"  # the full Snapshot that a differential needs is corrupt
MANIFEST_TOO_LARGE = "ManifestTooLarge"  # for the Job's memory
MANIFEST_EXISTS = "ManifestExists"
BASE_GONE = "BaseGone"  # the full snapshot that a differential needs was deleted while it was taken
VERIFICATION_FAILED = "VerificationFailed"
SWITCH_FAILED = "SwitchFailed"
SESSIONS_REMAIN = "SessionsRemain"
REPLICATION_ACTIVE = "ReplicationActive"  # a rollback would break logical replication of the live database
NEUTRALIZED_SNAPSHOT = "NeutralizedSnapshot"  # a snapshot of a neutralised environment, into production
NEUTRALIZES_PRODUCTION = "NeutralizesProduction"  # neutralize: Always, into production
NOT_NEUTRALIZED = "NotNeutralized"  # the restored copy must be neutralised, and is not proven to be
CANNOT_NEUTRALIZE = "CannotNeutralize"  # nothing can neutralise the copy: no database, no script, no image
NEUTRALIZE_FAILED = "NeutralizeFailed"  # the scripts, or the command in the image
# what must be off in a neutralised copy is on, or an own query returned a row or could not be run
ASSERTION_FAILED = "AssertionFailed"
ISOLATION_UNPROVEN = "IsolationUnproven"  # the neutralising pod can reach more than PostgreSQL
WORKLOAD_SCALED_UP = "WorkloadScaledUp"
QUIESCE_FAILED = "QuiesceFailed"
SWITCHED_BACK = "SwitchedBack"
UNREADABLE = "Unreadable"  # a field of the object has a value that the operator cannot use
UNDONE = "Undone"  # another Rollback has undone this one
ROLLBACK_NOT_FOUND = "RollbackNotFound"  # the Rollback that an undo names
ROLLBACK_NOT_FINISHED = "RollbackNotFinished"
NOTHING_TO_UNDO = "NothingToUndo"  # the named Rollback has switched nothing, or nothing was there before it
ALREADY_UNDONE = "AlreadyUndone"
OTHER_ROLLBACK_SINCE = "OtherRollbackSince"  # undoing the named Rollback would undo a later one too
SAFETY_SNAPSHOT_FAILED = "SafetySnapshotFailed"  # so the rollback ended before the switch
IMAGE_UNKNOWN = "ImageUnknown"  # restoreImage: the snapshot has recorded no image
IMAGE_NOT_ALLOWED = "ImageNotAllowed"  # only a manifest names it, and no workload has one of its repository
RESTORE_IMAGE_DISABLED = "RestoreImageDisabled"  # the operator may not change workloads (chart: settings.restoreImage)
RESTORE_IMAGE_FAILED = "RestoreImageFailed"  # the image could not be set, so the rollback was switched back
IMAGE_OWNED = "ImageOwned"  # a GitOps tool owns the image of a workload: it is not changed
PREVIOUS_GONE = "PreviousGone"  # someone dropped or renamed the database that an undo would make live
WORKLOAD_NOT_READY = "WorkloadNotReady"
WORKLOAD_NOT_RESUMED = "WorkloadNotResumed"  # the API server refuses the saved replicas
WORKLOAD_NOT_STOPPED = "WorkloadNotStopped"  # pods remain after the quiesce's deadline
ENVIRONMENT_NOT_READY = "EnvironmentNotReady"  # no probe found the environment ready in time
MISMATCH = "Mismatch"  # layout Plain: the databases' names and the folders give different positions
POSITION_UNKNOWN = "PositionUnknown"  # it could not be read whether the databases were switched
OUTCOME_UNKNOWN = "OutcomeUnknown"  # an earlier rollback of this name and spec may have switched
ORPHANS_CHANGED = "OrphansChanged"  # the store has another report than the one whose orphans are to be removed
RECORD_CONFLICT = "RecordConflict"  # the rollback's record in the store has other contents
DEADLINE_EXCEEDED = "DeadlineExceeded"
JOB_FAILED = "JobFailed"
JOB_LOST = "JobLost"
NODE_NOT_RESPONDING = "NodeNotResponding"  # a pod that was deleted does not end: its node is off, or cut off
CLAIM_NEEDED = "ClaimNeeded"  # a Job was stopped: the application could not start while it held their claim
OUT_OF_MEMORY = "OutOfMemory"  # the Job, or a process of it, reached the memory's limit: repeated once only
JOB_REFUSED = "JobRefused"  # quota, admission
POD_NOT_STARTED = "PodNotStarted"  # image pull, mount, scheduling
CANCELLED = "Cancelled"
INTERNAL_ERROR = "InternalError"
FILES_NOT_FOUND = "FilesNotFound"  # an Extract names files that the snapshot does not have
TABLES_NOT_FOUND = "TablesNotFound"  # an Extract names tables that the snapshot does not have
ROW_FILTER_FAILED = "RowFilterFailed"  # a condition of an Extract does not fit its table
TARGET_REFUSED = "TargetRefused"  # the folder of an Extract exists, or overlaps with the filestore
REMOVAL_FAILED = "RemovalFailed"  # what an Extract made could not be removed

#: Why the database of spec.database.cnpg cannot be used; read of the Cluster, before any Job.
OF_CLUSTER = (
    CLUSTER_NOT_FOUND,
    CLOUDNATIVEPG_NOT_INSTALLED,
    CLUSTER_ACCESS_DENIED,
    CLUSTER_HIBERNATED,
    CLUSTER_FENCED,
    REPLICA_CLUSTER,
    CLUSTER_SERVICE_DISABLED,
    DATABASE_OWNER_UNKNOWN,
)

#: Reasons that may pass without a change by a person: an Environment or SnapshotStore that is not ready for one of
#: these is Reconciling, for all others Stalled.
TRANSIENT = frozenset(
    {
        STORE_NOT_READY,
        STORE_UNREACHABLE,
        DATABASE_UNREACHABLE,
        FILESTORE_NOT_CREATED,
        JOB_FAILED,
        JOB_LOST,
        JOB_REFUSED,
        OUT_OF_MEMORY,
        CANCELLED,
        DEADLINE_EXCEEDED,
    }
)


def may_pass(reason: str, *, retryable: bool) -> bool:
    """Whether a failed probe may succeed without a change by a person. A store that answers what no retry can help
    needs one."""
    return reason in TRANSIENT and (retryable or reason not in (STORE_NOT_READY, STORE_UNREACHABLE))


class Condition(StatusModel):
    """One ``metav1.Condition``."""

    type: Annotated[str, StringConstraints(max_length=316)] = Field(description="Type of the condition, in CamelCase.")
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether the condition holds: True, False or Unknown."
    )
    reason: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", max_length=1024)] = (
        Field(description="Why, in one word, for programs.")
    )
    message: Annotated[str, StringConstraints(max_length=32768), AfterValidator(escaped)] = Field(
        default="", description="Why, for people, and what to do."
    )
    observed_generation: int | None = Field(
        default=None, ge=0, description="metadata.generation that this condition describes."
    )
    last_transition_time: Timestamp = Field(description="When the status last changed.")


#: The field `conditions` of a status: a map by type, so that two writers can own one condition each.
Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        description="Conditions by type, readable by kstatus.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]


class ObjectStatus(StatusModel):
    """What the statuses of all kinds have."""

    observed_generation: int = Field(
        default=-1, description="metadata.generation that this status describes; -1 before the first reconcile."
    )
    conditions: Conditions = ()


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((c for c in conditions if c.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether the condition exists and is ``True``."""
    found = find(conditions, type_)
    return found is not None and found.status == "True"


def raw_status(conditions: Iterable[Mapping[str, Any]], type_: str) -> str:
    """The status of the condition of that type in raw JSON; Unknown where there is none."""
    return next((str(c["status"]) for c in conditions if c["type"] == type_), "Unknown")


def set_condition(
    conditions: Iterable[Condition],
    type_: str,
    status: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
    *,
    now: str,
    generation: int | None = None,
) -> tuple[Condition, ...]:
    """The conditions with one replaced. The transition time changes only when the status changes, as in metav1."""
    old = find(conditions, type_)
    since = old.last_transition_time if old is not None and old.status == status else now
    new = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=shortened(sentence(message), 32768),
        observed_generation=generation,
        last_transition_time=since,
    )
    return tuple(sorted([c for c in conditions if c.type != type_] + [new], key=lambda c: c.type))


#: How a Snapshot or Rollback ended. `Previewed`: a Rollback with dryRun, which never ran.
End = Literal["Complete", "Failed", "Previewed"]


def outcome(conditions: Iterable[Condition | Mapping[str, Any]]) -> End | None:
    """How a Snapshot or Rollback with these conditions ended; None while it is not terminal.

    Takes parsed conditions and raw JSON alike: a resync asks it of thousands of objects that it does not parse.
    """
    true = {
        type_
        for type_, status in (
            (c.type, c.status) if isinstance(c, Condition) else (c["type"], c["status"]) for c in conditions
        )
        if status == "True"
    }
    if COMPLETE in true:
        return "Complete"
    if PREVIEWED in true:
        return "Previewed"
    return "Failed" if FAILED in true else None


def is_terminal(conditions: Iterable[Condition | Mapping[str, Any]]) -> bool:
    """Whether a Snapshot or Rollback with these conditions is terminal."""
    return outcome(conditions) is not None
