"""The models of every answer. `source(...)` names the resource field that a field comes from;
docs/rest-api-fields.md is made from them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ocore_crds.resources.recovery_evidence import RecoveryEvidence

#: Name of the member of a field's JSON schema that has its source.
SOURCE = "x-ocore-source"

Status = Literal["pending", "running", "completed", "failed"]
Trigger = Literal["manual", "scheduled", "deployment", "pre_rollback"]
EnvironmentType = Literal["production", "staging", "development"]
RemoteStatus = Literal["none", "pending", "copying", "completed", "failed"]
FailurePolicy = Literal["block", "continue"]


class Answer(BaseModel):
    """A frozen value with camelCase names. Every field is always present: an absent value is null, [] or {}."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", serialize_by_alias=True
    )


def source(text: str, description: str, **more: Any) -> Any:
    """A field of an answer or a body: where it comes from, or is written to, and what it means."""
    return Field(description=description, json_schema_extra={SOURCE: text}, **more)


_UUID = {"format": "uuid"}
_TIME = {"format": "date-time"}


def identity(text: str, description: str) -> Any:
    """A field with a UUID."""
    return Field(description=description, json_schema_extra={SOURCE: text, **_UUID})


def moment(text: str, description: str) -> Any:
    """A field with a timestamp: RFC 3339 in UTC."""
    return Field(description=description, json_schema_extra={SOURCE: text, **_TIME})


class SnapshotView(Answer):
    """A snapshot."""

    commit_sha: str | None = source(
        "Snapshot status.source.commitSha",
        "Commit that the environment's image was built from. Null where its workload names none.",
    )
    completed_at: str | None = moment("Snapshot status.completedAt", "When it ended. Null before that.")
    config_path: str | None = source(
        "Snapshot status.evidence.paths.config",
        "Key of the configuration in the store. Null before it is stored, and where the environment has none.",
    )
    created_at: str = moment(
        "Snapshot annotation ocore.dev/requested-at, else metadata.creationTimestamp; status.startedAt if that is"
        " earlier",
        "When it was created; with milliseconds if the API created it. An imported snapshot keeps the time at which it"
        " was taken.",
    )
    db_dump_path: str | None = source(
        "Snapshot status.evidence.paths.database", "Key of the database dump in the store. Null before it is stored."
    )
    db_size_bytes: int | None = source(
        "Snapshot status.sizes.databaseBytes", "Bytes of the live database when it was dumped. Null before that."
    )
    deployment_id: str | None = identity(
        "Snapshot status.source.deploymentId, else spec.deploymentId",
        "The deployment that caused it. Null where none did.",
    )
    duration_ms: int | None = source(
        "Snapshot status.startedAt and status.completedAt",
        "Milliseconds from its start to its end. Null before the end, and where it never started.",
    )
    environment_id: str = identity(
        "Snapshot status.source.environmentId, else the Environment's status.id",
        "The environment that it was taken of.",
    )
    environment_name: str = source(
        "Snapshot status.source.environmentName, else spec.environmentRef.name",
        "Name of the environment when the snapshot was taken.",
    )
    environment_type: EnvironmentType | None = source(
        "Snapshot status.source.environmentType, else the Environment's spec.type",
        "Type of the environment when the snapshot was taken. Null where the environment does not exist and the"
        " snapshot has recorded none.",
    )
    error_message: str | None = source(
        "Snapshot status.conditions: message of Failed; of a corrupt one, of Stalled, Ready or Verified",
        "Why it failed, and what to do. Null unless status is `failed`.",
    )
    expires_at: str | None = moment(
        "Snapshot status.expiresAt", "When retention deletes it. Null where no rule says so."
    )
    filestore_path: str | None = source(
        "Snapshot status.evidence.paths.filestore",
        "Key of the filestore's index in the store. Null before it is stored, and where the environment has no"
        " filestore.",
    )
    filestore_size_bytes: int | None = source(
        "Snapshot status.sizes.filestoreBytes", "Bytes of the files of the filestore. Null before they are counted."
    )
    id: str = identity("Snapshot status.id", "Id of the snapshot.")
    image_tag: str | None = source(
        "Snapshot status.source.imageTag",
        "Tag of the image that the environment ran. Null before it is recorded, and where the image has none.",
    )
    is_full_filestore: bool = source(
        "Snapshot status.fullFilestore",
        "Whether it stores the whole filestore. False: a differential, which also needs a full snapshot. True where it"
        " is not decided yet, or an older version took it.",
    )
    is_pinned: bool = source("Snapshot spec.pin", "Whether a pin protects it from deletion.")
    pin_label: str | None = source(
        "Snapshot spec.pin.label", "Label of the pin, as it was set: show it as text. Null without a pin or a label."
    )
    recovery_evidence: RecoveryEvidence | None = source(
        "Snapshot status.recoveryEvidence",
        "What was required, what is proven and what is missing. Derived from the status where the operator has not"
        " written it. Null where that cannot be done.",
    )
    remote_status: RemoteStatus = source(
        "Snapshot status.remote.state",
        "State of the copy in the remote store. `failed` is still tried a few times a day.",
    )
    started_at: str | None = moment("Snapshot status.startedAt", "When it started. Null before that.")
    status: Status = source("Snapshot status.phase and status.conditions", "A corrupt snapshot is `failed`.")
    total_size_bytes: int | None = source(
        "Snapshot status.sizes.storedBytes", "Bytes that it takes in the store. Null before it is stored."
    )
    trigger: Trigger = source("Snapshot spec.trigger", "What caused it.")


class RollbackLog(Answer):
    """One rollback, for the environment that it replaced. A preview (dryRun) is none."""

    completed_at: str | None = moment("Rollback status.completedAt", "When it ended. Null before that.")
    created_at: str = moment(
        "Rollback annotation ocore.dev/requested-at, else metadata.creationTimestamp; status.startedAt if that is"
        " earlier",
        "When it was asked for; with milliseconds if the API created it.",
    )
    deployment_id: str | None = identity(
        "the Snapshot's status.source.deploymentId, else its spec.deploymentId",
        "The deployment that caused the snapshot. Null where there is none, or the snapshot is deleted.",
    )
    environment_id: str = identity(
        "Rollback status.environmentId, else the Environment's status.id", "The environment that is replaced."
    )
    error_message: str | None = source(
        "Rollback status.failureMessage, else the message of the condition Failed",
        "Why it failed, and what to do. Null unless status is `failed`.",
    )
    id: str = identity("Rollback status.id", "Id of the rollback.")
    neutralization_triggered: bool = source(
        "Rollback status.neutralize.required", "Whether the copy had to be neutralised before it became live."
    )
    performed_by: str | None = source(
        "Rollback spec.requestedBy",
        "Who asked for it: the subject of the token. Null where it was created without a name.",
    )
    recovery_evidence: RecoveryEvidence | None = source(
        "Rollback status.recoveryEvidence",
        "What was required, what is proven and what is missing. Derived from the status where the operator has not"
        " written it. Null where that cannot be done.",
    )
    rollback_deployment_id: str = identity("Rollback status.id", "The same as `id`: the path of the progress stream.")
    safety_snapshot_created: bool = source(
        "Rollback status.safetySnapshotAt", "Whether a safety snapshot of the environment is complete."
    )
    safety_snapshot_id: str | None = identity(
        "Rollback status.safetySnapshotId", "The safety snapshot. Null where there is none."
    )
    snapshot_id: str | None = identity(
        "Rollback status.snapshotId, else the id of the Snapshot in spec.snapshotRef",
        "The snapshot that is restored. Null for an undo.",
    )
    started_at: str | None = moment("Rollback status.startedAt", "When it started. Null before that.")
    status: Status = source(
        "Rollback status.phase and status.conditions", "One that was switched back by hand later stays `completed`."
    )


class SnapshotDetails(SnapshotView):
    """A snapshot with its rollback logs."""

    rollback_logs: tuple[RollbackLog, ...] = source(
        "Rollbacks that restore the Snapshot", "The rollbacks to it that the caller may see, newest first."
    )


class Page(Answer):
    """What every page has."""

    limit: int = source("query parameter limit", "Page size.")
    offset: int = source("query parameter offset", "Entries before this page.")
    total: int = source("number of entries", "Number of entries on all pages, after the filters.")


class SnapshotPage(Page):
    """A page of the snapshots of an environment, newest first."""

    snapshots: tuple[SnapshotView, ...] = source("Snapshots of the environment", "The page.")


class ProjectSnapshotPage(Answer):
    """A page of the snapshots of a project, newest first."""

    snapshots: tuple[SnapshotView, ...] = source("Snapshots of the project that the caller may see", "The page.")
    total: int = source("number of Snapshots", "Number of snapshots on all pages, after the filters.")


class RollbackLogs(Answer):
    """All rollback logs of an environment, newest first."""

    rollback_logs: tuple[RollbackLog, ...] = source("Rollbacks into the environment", "The logs.")
    total: int = source("length of rollbackLogs", "Number of logs in this answer: the newest 1,000 at most.")


class SettingsView(Answer):
    """The snapshot settings of an environment."""

    auto_enabled: bool = source("SnapshotPolicy spec.autoEnabled", "Whether deployments take a snapshot first.")
    created_at: str = moment("SnapshotPolicy metadata.creationTimestamp", "When the settings were created.")
    environment_id: str = identity("Environment status.id", "The environment.")
    failure_policy: FailurePolicy = source(
        "SnapshotPolicy spec.failurePolicy", "What a failed snapshot does to the deployment."
    )
    id: str = identity("SnapshotPolicy metadata.uid", "Id of the settings.")
    max_pinned: int = source("SnapshotPolicy spec.maxPinned", "Snapshots that may be pinned; 0: no limit.")
    retention_days: int | None = source(
        "SnapshotPolicy spec.retentionDays",
        "Days that snapshots are kept; 0: no limit; 30 without any rule. Null where only rules by number apply.",
    )
    timeout_seconds: int = source("SnapshotPolicy spec.timeoutSeconds", "Seconds after which a snapshot fails.")
    updated_at: str = moment(
        "newest time in SnapshotPolicy metadata.managedFields that owns a field of spec", "When the settings changed."
    )


class SnapshotSize(Answer):
    """The sizes that a snapshot would have."""

    db_size_bytes: int = source("Environment status.sizes.databaseBytes", "Bytes of the live database.")
    filestore_size_bytes: int = source("Environment status.sizes.filestoreBytes", "Bytes of the files.")
    total_size_bytes: int = source("sum of both", "Bytes of both.")


class MessageAnswer(Answer):
    """What was done."""

    message: str = source("text", "What was done, or happens now.")


class RollbackAccepted(MessageAnswer):
    """A rollback was created."""

    deployment_id: str = identity("Rollback status.id", "Id of the rollback: the path of its progress stream.")
    environment_id: str = identity("Environment status.id", "The environment that is replaced.")
    snapshot_id: str = identity("Snapshot status.id", "The snapshot that is restored.")


class SnapshotAccepted(MessageAnswer):
    """A snapshot was created. The header Location has its URL."""

    environment_id: str = identity("Environment status.id", "The environment.")


class ProgressEvent(Answer):
    """The data of a server-sent event."""

    id: str = identity("status.id of the Snapshot or Rollback", "Id of the operation.")
    status: Status = source("status.phase and status.conditions", "`completed` and `failed` are final.")
    step: str | None = source(
        "status.progress.step, else the step that runs in status.steps",
        "The running step, of steps side by side the one that began first; else the one that ended last. Null before"
        " the first.",
    )
    percent: Annotated[int, Field(ge=0, le=100)] = source(
        "status.progress.percent",
        "Share of the operation's time that has passed, estimated; 100 once it is completed, not before.",
    )
    bytes_done: int = source("status.progress.bytesDone", "Bytes of the step that are done; 0 where it counts none.")
    bytes_total: int = source("status.progress.bytesTotal", "Bytes of the step in all, estimated; 0: not known yet.")
    message: str = source(
        "message of the condition Reconciling, Stalled, Failed or Complete", "What happens, for people; may be empty."
    )
    time: str = moment(
        "newest of status.progress.updatedAt, the conditions' and steps' times, metadata.creationTimestamp",
        "When it was so.",
    )
