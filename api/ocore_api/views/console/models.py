"""The models of every answer of `/console/v1`. The pages of their fields are made from
them: `ocore_api/openapi.py` names the first class of each page."""

from typing import Annotated, Literal

from pydantic import Field

from ocore_api.views.console.requests import AttachmentsToExtract, FilesToExtract, RowsToExtract
from ocore_api.views.models import (
    Answer,
    EnvironmentType,
    FailurePolicy,
    MessageAnswer,
    Page,
    RemoteStatus,
    RollbackLog,
    SnapshotView,
    Status,
    identity,
    moment,
    source,
)
from ocore_crds.resources.preview import Preview
from ocore_crds.resources.restore_test import RestoreTestStatus

ConditionStatus = Literal["True", "False", "Unknown"]
#: Of an environment, the worst first.
State = Literal["notReady", "none", "overdue", "newestFailed", "rollbackNotReady", "suspended", "fine", "unknown"]
#: With `-` the other way round.
Sort = Literal[
    "state", "name", "namespace", "age", "next", "size",
    "-state", "-name", "-namespace", "-age", "-next", "-size",
]  # fmt: skip
OperationKind = Literal["snapshot", "rollback", "extract"]
Percent = Annotated[int, Field(ge=0, le=100)]
_PERCENT = "Share of the operation's time that has passed, estimated; 100 once it is completed, not before."
_STEP = "status.progress.step, else the step that runs in status.steps"


class Me(Answer):
    """The caller, as the token states it."""

    subject: str = source("token claim sub", "The token's subject: what `performedBy` will be.")
    scopes: tuple[str, ...] = source("token claim scope", "What the caller may do.")
    projects: tuple[str, ...] = source("token claim projects", "Ids of the projects that the token names.")
    environments: tuple[str, ...] = source(
        "token claim environments", "Ids of the environments that the token names, without those of its projects."
    )
    expires_at: str = moment("token claim exp", "When the token expires.")
    time: str = moment("clock of the server", "The server's time, for a client whose clock differs.")


class Fix(Answer):
    """What fixes a condition."""

    text: str = source(
        "docs/troubleshooting.md, the entry of the reason", "What happened and what to do, as plain text."
    )
    commands: tuple[str, ...] = source(
        "Environment status.probe.remedies as SQL, then the commands of the entry", "What to run, to be copied."
    )


class EnvironmentProblem(Answer):
    """The condition that matters most."""

    condition: str = source("Environment status.conditions: type", "Type of the condition.")
    reason: str = source("Environment status.conditions: reason", "Why, in one word.")
    message: str = source("Environment status.conditions: message", "Why, for people, and what to do.")
    since: str = moment("Environment status.conditions: lastTransitionTime", "Since when.")
    fix: Fix | None = source("see Fix", "What fixes it. Null where the reason is unknown to this version.")


class ConditionView(Answer):
    """One condition."""

    type: str = source("Environment status.conditions: type", "Type of the condition.")
    status: ConditionStatus = source("Environment status.conditions: status", "Whether it holds.")
    reason: str = source("Environment status.conditions: reason", "Why, in one word.")
    message: str = source("Environment status.conditions: message", "Why, for people, and what to do.")
    since: str = moment("Environment status.conditions: lastTransitionTime", "Since when.")
    fix: Fix | None = source("see Fix", "What fixes it. Null where nothing is wrong, or the reason is unknown.")


class OperationView(Answer):
    """The operation that has the operation lock of an environment."""

    kind: OperationKind = source("Environment status.operation.kind", "What runs.")
    id: str | None = identity("status.id of the operation", "Its id. Null until the facade has read it.")
    name: str = source("Environment status.operation.name", "Its name.")
    since: str = moment("Environment status.operation.since", "Since when it has the lock.")
    step: str | None = source(_STEP, "Its step. Null before the first.")
    percent: Percent = source("status.progress.percent", _PERCENT)


class SnapshotRefView(Answer):
    """One snapshot, in short."""

    id: str = identity("Snapshot status.id", "Id of the snapshot.")
    name: str = source("Snapshot metadata.name", "Its name.")
    time: str = moment(
        "Snapshot status.consistentAt, else status.completedAt, else metadata.creationTimestamp",
        "The point in time that it shows.",
    )


class GoodSnapshotView(SnapshotRefView):
    """The newest good snapshot."""

    label: str | None = source("Snapshot spec.pin.label", "Label of its pin. Null without one.")
    proof: Literal["incomplete", "complete", "verified", "restoreTested"] = source(
        "Snapshot status.conditions: Incomplete, Complete, Verified, RestoreTested",
        "`incomplete`: it lacks, or may lack, data of the application. `complete`: checksums as it was written."
        " `verified`: every byte was read again. `restoreTested`: it was restored as a test.",
    )


class EnvironmentRow(Answer):
    """An environment, as a list shows it."""

    id: str = identity("Environment status.id", "Id of the environment.")
    name: str = source("Environment metadata.name", "Its name.")
    namespace: str = source("Environment metadata.namespace", "Its namespace.")
    project_id: str = identity("Environment spec.projectId, else its namespace's", "Its project.")
    type: EnvironmentType = source("Environment spec.type", "Its type.")
    ready: bool | None = source(
        "Environment status.conditions: Ready", "Whether a snapshot would work. Null while that is not known."
    )
    rollback_ready: bool | None = source(
        "Environment status.conditions: RollbackReady", "Whether a rollback would work. Null while that is not known."
    )
    problem: EnvironmentProblem | None = source(
        "Environment status.conditions: Stalled, Ready, RollbackReady", "The worst problem. Null: there is none."
    )
    probed_at: str | None = moment(
        "Environment status.probe.startedAt, else status.probe.time",
        "When the newest probe that has ended began. Null before the first.",
    )
    operation: OperationView | None = source("Environment status.operation", "What runs. Null: nothing.")
    state: State = source("see States", "Its state, the worst that holds.")
    last_good: GoodSnapshotView | None = source(
        "Snapshots of the environment",
        "The newest complete snapshot that is not damaged, safety snapshots apart. Null: there is none.",
    )
    newest_verified: SnapshotRefView | None = source(
        "Snapshots of the environment: Verified", "The newest one of which every byte was read again. Null: none."
    )
    newest_restore_tested: SnapshotRefView | None = source(
        "Snapshots of the environment: RestoreTested", "The newest one that a test restore has proven. Null: none."
    )
    safety: SnapshotRefView | None = source(
        "Snapshots of the environment: spec.trigger PreRollback",
        "The newest complete safety snapshot: what a rollback replaced. Null: there is none.",
    )
    overdue_at: str | None = moment(
        "the schedule and `lastGood`, see States",
        "From when on the next good snapshot is overdue; may be past. Null: none is scheduled.",
    )
    overdue_since: str | None = moment("overdueAt", "Since when it is overdue. Null: it is not.")
    expected_every_seconds: int | None = source(
        "SnapshotPolicy spec.schedule", "Nominal seconds between two snapshots. Null: none are scheduled."
    )
    size_bytes: int | None = source(
        "Environment status.sizes", "Bytes of the live database and files. Null before they were measured."
    )
    next_snapshot_at: str | None = moment(
        "SnapshotPolicy status.nextScheduleTime", "When the next one is due. Null: none is scheduled."
    )
    snapshots: int = source("number of Snapshots", "Number of its snapshots.")


class EnvironmentSummary(Answer):
    """Number of environments, by state."""

    not_ready: int = source("state", "A snapshot would not work.")
    none: int = source("state", "There is no good snapshot.")
    overdue: int = source("state", "The next good snapshot is overdue.")
    newest_failed: int = source("state", "The newest snapshot failed.")
    rollback_not_ready: int = source("state", "A rollback would not work.")
    suspended: int = source("state", "The schedule is suspended.")
    fine: int = source("state", "All is well.")
    unknown: int = source("state", "The probe has not ended, and nothing else is wrong.")
    running: int = source("operation", "An operation runs, whatever the state.")


class EnvironmentPage(Page):
    """A page of the environments that the caller may see, sorted, then by name."""

    summary: EnvironmentSummary = source(
        "Environments", "Of all that the caller may see, and projectId, type and text leave."
    )
    environments: tuple[EnvironmentRow, ...] = source("Environments", "The page.")


class ProbeAccepted(MessageAnswer):
    """A probe was asked for."""

    environment_id: str = identity("Environment status.id", "The environment.")
    requested_at: str = moment(
        "Environment annotation ocore.dev/probe-requested",
        "A probe with this `probedAt`, or a later one, is the answer.",
    )


class SizesView(Answer):
    """Sizes of the live environment."""

    database_bytes: int = source("Environment status.sizes.databaseBytes", "Bytes of the database.")
    filestore_bytes: int = source("Environment status.sizes.filestoreBytes", "Bytes of the files.")
    filestore_files: int = source("Environment status.sizes.filestoreFiles", "Number of the files.")
    measured_at: str = moment("Environment status.sizes.measuredAt", "When they were measured.")


class StoreView(Answer):
    """A store of the environment."""

    role: Literal["store", "remote"] = source(
        "Environment spec.storeRef or spec.remoteStoreRef", "`store`: snapshots go there. `remote`: copies."
    )
    name: str = source("Environment spec.storeRef.name or spec.remoteStoreRef.name", "Name of the SnapshotStore.")


class RetentionRules(Answer):
    """Rules of retention: of a policy, or those that a plan is made with."""

    retention_days: int | None = source(
        "SnapshotPolicy spec.retentionDays",
        "Days that snapshots are kept; 0: no limit. Null where only rules by number apply.",
    )
    keep_last: int = source("SnapshotPolicy spec.keepLast", "Newest snapshots that are kept.")
    keep_hourly: int = source("SnapshotPolicy spec.keepHourly", "Hours of which the newest snapshot is kept.")
    keep_daily: int = source("SnapshotPolicy spec.keepDaily", "The same for days.")
    keep_weekly: int = source("SnapshotPolicy spec.keepWeekly", "The same for weeks.")
    keep_monthly: int = source("SnapshotPolicy spec.keepMonthly", "The same for months.")
    keep_yearly: int = source("SnapshotPolicy spec.keepYearly", "The same for years.")


class PolicyView(RetentionRules):
    """The SnapshotPolicy of an environment, with its defaults."""

    schedule: tuple[str, ...] = source("SnapshotPolicy spec.schedule", "When snapshots are taken: cron expressions.")
    time_zone: str = source("SnapshotPolicy spec.timeZone", "Time zone of the schedule and of the rules.")
    suspended: bool = source("SnapshotPolicy spec.suspend", "Whether no snapshots are scheduled.")
    auto_enabled: bool = source("SnapshotPolicy spec.autoEnabled", "Whether deployments take a snapshot first.")
    failure_policy: FailurePolicy = source(
        "SnapshotPolicy spec.failurePolicy", "What a failed snapshot does to the deployment."
    )
    remote_retention_days: int | None = source(
        "SnapshotPolicy spec.remoteRetentionDays",
        "Days that remote copies are kept; 0: no limit. Null: as long as the snapshot.",
    )
    max_pinned: int = source("SnapshotPolicy spec.maxPinned", "Snapshots that may be pinned; 0: no limit.")
    pinned: int = source("SnapshotPolicy status.pinned", "Snapshots that are pinned.")
    full_every: str = source("SnapshotPolicy spec.fullEvery", "Age of a full snapshot from which the next one is full.")
    timeout_seconds: int = source("SnapshotPolicy spec.timeoutSeconds", "Seconds after which a snapshot fails.")
    test_schedule: tuple[str, ...] = source(
        "SnapshotPolicy spec.verify.schedule", "When the newest snapshot is restored as a test."
    )
    last_snapshot_at: str | None = moment(
        "SnapshotPolicy status.lastScheduleTime", "The newest slot that was dealt with. Null: none."
    )
    next_snapshot_at: str | None = moment(
        "SnapshotPolicy status.nextScheduleTime", "When the next snapshot is due. Null: none is scheduled."
    )
    last_restore_test_at: str | None = moment(
        "SnapshotPolicy status.lastRestoreTestTime", "When the newest successful test restore ended. Null: none has."
    )
    next_restore_test_at: str | None = moment(
        "SnapshotPolicy status.nextRestoreTestTime", "When the next test restore is due. Null: none is scheduled."
    )
    next_expiry_at: str | None = moment(
        "SnapshotPolicy status.kept.nextExpiry", "When the next snapshot is deleted. Null where that is not known."
    )
    owners: dict[str, str] = source(
        "SnapshotPolicy metadata.managedFields",
        "Settings that another client of the API server owns, with its field manager. `PUT …/snapshot-settings` with"
        " another value of such a field is 409 `FieldOwned`.",
    )


class UndoWindow(Answer):
    """A rollback that can be undone."""

    deployment_id: str = identity("Rollback status.id", "Id of the rollback.")
    kind: Literal["rollback", "undo"] = source("Rollback spec.undo", "What it is.")
    switched_at: str | None = moment("Rollback status.switchedAt", "When it switched. Null: not recorded.")
    snapshot_at: str | None = moment(
        "Snapshot status.consistentAt, else its end",
        "The state that it restored. Null for an undo, and where the snapshot is deleted or of another environment.",
    )
    until: str = moment("Rollback status.undoUntil", "Until when.")
    completed_at: str | None = moment("Rollback status.completedAt", "When it ended. Null before that.")


class EnvironmentDetails(EnvironmentRow):
    """An environment with all that is known of it."""

    created_at: str = moment("Environment metadata.creationTimestamp", "When it was created.")
    conditions: tuple[ConditionView, ...] = source("Environment status.conditions", "All conditions.")
    sizes: SizesView | None = source("Environment status.sizes", "Its sizes. Null before they were measured.")
    database_name: str | None = source(
        "Environment status.probe.databaseName", "Name of the live database. Null before the first probe."
    )
    server_version: str | None = source(
        "Environment status.probe.serverVersion", "Version of the PostgreSQL server. Null before the first probe."
    )
    stores: tuple[StoreView, ...] = source("Environment spec.storeRef and spec.remoteStoreRef", "Its stores.")
    policy: PolicyView | None = source("SnapshotPolicy of the environment", "Its policy. Null: it has none.")
    undo_windows: tuple[UndoWindow, ...] = source(
        "Rollbacks into the environment: status.undoUntil", "Rollbacks that can be undone now, newest first."
    )
    warnings: tuple[str, ...] = source(
        "Environment status.probe.warnings", "Findings of the last probe that block nothing."
    )


class RemoteView(Answer):
    """The copy of a snapshot in the remote store."""

    state: RemoteStatus = source("Snapshot status.remote.state", "How far it is.")
    store_name: str = source("Snapshot status.remote.storeName", "Name of the SnapshotStore.")
    message: str = source("Snapshot status.remote.message", "What it waits for, or why the last attempt failed.")
    completed_at: str | None = moment("Snapshot status.remote.completedAt", "When it was complete. Null before that.")
    bytes: int = source("Snapshot status.remote.bytes", "Bytes of the copy.")
    bytes_done: int = source("Snapshot status.remote.bytesDone", "Bytes that are copied.")
    kept_by: tuple[str, ...] | None = source(
        "Snapshot status.remoteKeptBy", "Rules that keep the copy. Null where no rule is about it."
    )
    expires_at: str | None = moment(
        "Snapshot status.remoteExpiresAt", "When the last of them ends. Null where that is not known."
    )
    only_copy: bool = source("Snapshot status.remote.only", "Whether the snapshot's own store has let go of the data.")


class RestoreTestView(Answer):
    """The test restore of a snapshot, in short."""

    result: Literal["pending", "succeeded", "failed"] = source(
        "Snapshot status.conditions: RestoreTested", "`pending`: it is asked for, or runs."
    )
    reason: str = source("Snapshot status.conditions: RestoreTested, reason", "Why, in one word; may be empty.")
    message: str = source("Snapshot status.conditions: RestoreTested, message", "Why, for people; may be empty.")
    tested_at: str | None = moment(
        "Snapshot status.restoreTest.testedAt", "When the newest test with a result ended. Null before the first."
    )
    duration_seconds: float | None = source(
        "Snapshot status.restoreTest.durationSeconds", "How long it took. Null before the first."
    )
    predicted_rollback_seconds: float | None = source(
        "Snapshot status.restoreTest.predictedRollbackSeconds",
        "How long a rollback would take at most, by that test. Null where that is not known.",
    )


class ConsoleSnapshot(SnapshotView):
    """A snapshot with what keeps it and what proves it."""

    name: str = source("Snapshot metadata.name", "Its name.")
    is_safety: bool = source(
        "Snapshot spec.trigger", "Whether a rollback took it of what it replaces: it is no state to return to."
    )
    is_incomplete: bool = source(
        "Snapshot status.conditions: Incomplete", "Whether it lacks, or may lack, data of the application."
    )
    image: str | None = source("Snapshot status.source.image", "Image that the environment ran. Null: unknown.")
    consistent_at: str | None = moment(
        "Snapshot status.consistentAt", "The point in time that it shows. Null before it is known."
    )
    requested_by: str | None = source("Snapshot spec.requestedBy", "Who asked for it. Null where no one is named.")
    step: str | None = source(_STEP, "Its step. Null before the first.")
    percent: Percent = source("Snapshot status.progress.percent", _PERCENT)
    filestore_files: int | None = source(
        "Snapshot status.sizes.filestoreFiles", "Number of files. Null before they are counted."
    )
    base_id: str | None = identity("Snapshot status.base.id", "The full snapshot that it needs. Null: none.")
    dependents: int = source("number of Snapshot status.dependents", "Differentials that need it.")
    verified: bool | None = source(
        "Snapshot status.conditions: Verified", "Whether every byte was read again and matched. Null: not read again."
    )
    retention: Literal["keep", "policy"] = source(
        "Snapshot spec.retention", "`keep`: only people delete it. `policy`: rules do."
    )
    deletion_policy: Literal["retain", "delete"] = source(
        "Snapshot spec.deletionPolicy", "What happens to its data when it is deleted."
    )
    kept_by: tuple[str, ...] | None = source(
        "Snapshot status.keptBy", "The rules that keep it. Null where no rule is about it."
    )
    rule_ends: dict[str, str] = source("Snapshot status.ruleEnds", "Rule: when it lets go, where there are several.")
    deleted_next: bool = source(
        "Snapshot status.keptBy and status.remoteKeptBy", "Whether no rule keeps it: it is deleted next."
    )
    remote: RemoteView | None = source("Snapshot status.remote", "Its copy in the remote store. Null: there is none.")
    restore_test: RestoreTestView | None = source(
        "Snapshot status.restoreTest and status.conditions", "Its test restore. Null: it was never asked for."
    )
    store_name: str | None = source("Snapshot status.storeName", "Its SnapshotStore. Null before it is known.")
    manifest_sha256: str | None = source(
        "Snapshot status.manifestSha256", "SHA-256 of its manifest. Null before it is stored."
    )
    server_version: str | None = source(
        "Snapshot status.serverVersion", "Version of the PostgreSQL server. Null before it is known."
    )
    warnings: tuple[str, ...] = source("Snapshot status.evidence.warnings", "Findings that block nothing.")


class ConsoleSnapshotPage(Page):
    """A page of the snapshots of an environment, newest first."""

    snapshots: tuple[ConsoleSnapshot, ...] = source("Snapshots of the environment", "The page.")


class RetentionVerdict(Answer):
    """What the rules do with one snapshot."""

    id: str = identity("Snapshot status.id", "Id of the snapshot.")
    name: str = source("Snapshot metadata.name", "Its name.")
    time: str = moment("Snapshot status.consistentAt, else its end", "The point in time that it shows.")
    status: Status = source("Snapshot status.phase and status.conditions", "A corrupt snapshot is `failed`.")
    stored_bytes: int = source("Snapshot status.sizes.storedBytes", "Bytes that it takes in the store.")
    kept_by: tuple[str, ...] = source("the rules", "The rules that would keep it.")
    until: str | None = moment("the rules", "When the last of them ends. Null where that is not known.")
    copy_kept_by: tuple[str, ...] | None = source(
        "the rules", "The rules that would keep its remote copy. Null: there is no copy."
    )
    deleted_next: bool = source("the rules", "Whether it would be deleted: neither data nor copy is kept.")


class RetentionPlan(Page):
    """What the rules keep and delete. Nothing was saved."""

    environment_id: str = identity("Environment status.id", "The environment.")
    is_trial: bool = source("query", "Whether a value was given: else this is what happens now.")
    time_zone: str = source("SnapshotPolicy spec.timeZone", "Time zone of days, weeks and months.")
    rules: RetentionRules = source("query, else SnapshotPolicy", "The rules.")
    kept: int = source("the rules", "Number of snapshots that are kept.")
    deleted: int = source("the rules", "Number of snapshots that would be deleted.")
    deleted_bytes: int = source("Snapshot status.sizes.storedBytes", "Bytes that these take in the store.")
    unaffected: int = source(
        "Snapshots of the environment", "Others: retention `Keep`, running, or being deleted already."
    )
    snapshots: tuple[RetentionVerdict, ...] = source(
        "the rules", "The page: those that are deleted first, then newest first."
    )


class CertifiedSnapshot(Answer):
    """The snapshot that a certificate is about."""

    name: str = source("Snapshot metadata.name", "Its name.")
    namespace: str = source("Snapshot metadata.namespace", "Its namespace.")
    id: str | None = identity("Snapshot status.id", "Its id. Null before the operator has seen it.")
    environment: str = source("Snapshot status.source.environmentName", "Name of its environment; may be empty.")
    environment_id: str = source("Snapshot status.source.environmentId", "Id of its environment; may be empty.")
    consistent_at: str | None = moment("Snapshot status.consistentAt", "What it shows. Null before that is known.")
    manifest_key: str | None = source("Snapshot status.manifestKey", "Key of its manifest. Null before it is stored.")
    manifest_sha256: str | None = source(
        "Snapshot status.manifestSha256", "SHA-256 of its manifest. Null before it is stored."
    )
    store_id: str | None = source("Snapshot status.storeId", "Id of its store. Null before it is known.")
    phase: str | None = source("Snapshot status.phase", "Its phase. Null before the operator has seen it.")
    recipients: tuple[str, ...] | None = source(
        "Snapshot status.encryption.recipients", "The age recipients whose identities open it. Null: not encrypted."
    )
    opened_by: str | None = source(
        "Snapshot status.encryption", "Who opens it, for people: whether Jobs do. Null: not encrypted."
    )


class CertificateLine(Answer):
    """One line of the certificate as people read it."""

    label: str = source("text", "What it is.")
    value: str = source("text", "The value.")


class RestoreCertificate(Answer):
    """The certificate of the newest test restore of a snapshot, as `kubectl ocore certificate` gives it."""

    valid: bool = source(
        "Snapshot status", "Whether the snapshot, as it is now, was restored and every figure matched."
    )
    problem: str = source("Snapshot status", "Why there is no valid certificate, and what to do; empty: there is one.")
    running: bool = source("Snapshot status and annotations", "Whether a test is asked for or runs.")
    run_id: str | None = source("Snapshot status and annotations", "Names that test. Null: there is none.")
    snapshot: CertifiedSnapshot = source("Snapshot", "What was tested.")
    test: RestoreTestStatus | None = source(
        "Snapshot status.restoreTest", "Every figure of the newest test that gave a result. Null: there is none."
    )
    lines: tuple[CertificateLine, ...] = source("Snapshot status", "The same for people.")


class RestoreTestAccepted(MessageAnswer):
    """A test restore was asked for, or one is under way already."""

    run_id: str = source("Snapshot annotation ocore.dev/restore-test-requested", "Names the test.")
    environment_id: str = identity("Environment status.id", "The environment.")
    snapshot_id: str = identity("Snapshot status.id", "The snapshot.")


class Finding(Answer):
    """Something that blocks nothing but should be known."""

    reason: str = source("Rollback status.warnings: reason", "Why, in one word.")
    message: str = source("Rollback status.warnings: message", "Why, for people, and what to do.")


class StepView(Answer):
    """One step of an operation."""

    name: str = source("status.steps: name", "Name of the step.")
    state: Literal["pending", "running", "done", "skipped", "failed"] = source("status.steps: state", "Its state.")
    started_at: str | None = moment("status.steps: startedAt", "When it began. Null before that.")
    completed_at: str | None = moment("status.steps: completedAt", "When it ended. Null before that.")
    message: str = source("status.steps: message", "What happened; may be empty.")
    bytes_done: int | None = source("status.steps: bytesDone", "Bytes that it has counted. Null: none.")
    files_done: int | None = source("status.steps: filesDone", "Files that it has counted. Null: none.")


class Downtime(Answer):
    """For how long the application was stopped."""

    started_at: str | None = moment("Rollback status.quiescedAt", "When it was stopped. Null: it was not.")
    ended_at: str | None = moment("Rollback status.readyAt", "When it was ready again. Null before that.")
    seconds: float | None = source("the two times", "The time between. Null before the end.")
    refused_seconds: float | None = source(
        "Rollback status.refusedSeconds", "For how long the database refused connections. Null: unknown."
    )


class UndoView(Answer):
    """Whether a rollback can be undone."""

    possible: bool = source("Rollback status", "Whether it can be undone now.")
    until: str | None = moment("Rollback status.undoUntil", "End of the window. Null: there is none.")
    reason: str | None = source("Rollback status", "Why not. Null where it is possible.")
    sets_aside: str | None = source(
        "Rollback status", "What an undo sets aside, for people. Null where it is not possible."
    )


class CancelView(Answer):
    """Whether a rollback can be cancelled."""

    possible: bool = source("Rollback status.stage", "Whether it can be cancelled now.")
    reason: str | None = source("Rollback status.stage", "Why not. Null where it is possible.")


class RollbackDetails(RollbackLog):
    """A rollback with its steps, its downtime and what can be done about it."""

    name: str = source("Rollback metadata.name", "Its name.")
    kind: Literal["rollback", "undo"] = source("Rollback spec.undo", "What it is.")
    direction: Literal["back", "forward"] = source(
        "Rollback spec.undo",
        "`back`: to an earlier state, as a rollback or an undo of an undo. `forward`: to what a rollback had replaced.",
    )
    environment_name: str | None = source(
        "Rollback status.environmentName, else spec.targetEnvironmentRef.name", "Name of its target. Null: unknown."
    )
    snapshot_at: str | None = moment(
        "Snapshot status.consistentAt, else its end",
        "The point in time that the snapshot shows. Null for an undo, and where the snapshot is deleted or of another"
        " environment.",
    )
    snapshot_name: str | None = source(
        "Rollback status.snapshotName, else spec.snapshotRef.name", "Name of the snapshot. Null for an undo."
    )
    phase: str | None = source("Rollback status.phase", "Summary of the conditions. Null before the first status.")
    stage: str | None = source("Rollback status.stage", "The stage, finer than phase. Null before the first status.")
    stage_since: str | None = moment("Rollback status.stageSince", "Since when. Null before the first status.")
    step: str | None = source(_STEP, "The step. Null before the first.")
    percent: Percent = source("Rollback status.progress.percent", _PERCENT)
    bytes_done: int = source("Rollback status.progress.bytesDone", "Bytes of the step that are done.")
    bytes_total: int = source("Rollback status.progress.bytesTotal", "Bytes of the step in all; 0: not known.")
    message: str = source(
        "message of the condition Reconciling, Stalled, Failed or Complete", "What happens, for people."
    )
    deadline: str | None = moment(
        "Rollback status.deadline", "By when it must have switched, then be terminal. Null before its start."
    )
    failure_reason: str | None = source(
        "Rollback status.failureReason", "Why it failed, in one word. Null: it did not."
    )
    stalled_reason: str | None = source(
        "Rollback status.conditions: Stalled, reason",
        "Why it does not continue without a person, in one word. Null: it needs none.",
    )
    steps: tuple[StepView, ...] = source("Rollback status.steps", "Its steps, in order.")
    position: Literal["old", "new"] | None = source(
        "Rollback status.position", "What the environment runs on: data from before, or the snapshot. Null: unknown."
    )
    switched_at: str | None = moment("Rollback status.switchedAt", "When it switched. Null before that.")
    switched_back_at: str | None = moment("Rollback status.switchedBackAt", "When it was switched back. Null: never.")
    downtime: Downtime = source("Rollback status", "For how long the application was stopped.")
    undo: UndoView = source("Rollback status", "Whether it can be undone.")
    cancel: CancelView = source("Rollback status", "Whether it can be cancelled.")
    is_cancelling: bool = source("Rollback metadata.deletionTimestamp", "Whether it is being cancelled or removed.")
    undoes_id: str | None = identity("Rollback status.undo.rollbackId", "Of an undo: what it undoes. Null: it is none.")
    undone_by_id: str | None = identity(
        "status.id of the Rollback in status.undoneBy", "The rollback that has undone it. Null: none."
    )
    warnings: tuple[Finding, ...] = source("Rollback status.warnings", "Findings that block nothing.")


class RollbackDetailsPage(Page):
    """A page of the rollbacks into an environment, newest first."""

    rollbacks: tuple[RollbackDetails, ...] = source("Rollbacks into the environment", "The page.")


class UndoAccepted(MessageAnswer):
    """An undo was created. The header Location has its URL."""

    deployment_id: str = identity("Rollback status.id", "Id of the undo, itself a rollback.")
    environment_id: str = identity("Environment status.id", "The environment.")
    undoes_id: str = identity("Rollback status.id", "The rollback that is undone.")


class PreviewAccepted(MessageAnswer):
    """A preview was created. The header Location has its URL."""

    preview_id: str = identity("Rollback metadata.uid", "Id of the preview.")
    environment_id: str = identity("Environment status.id", "The environment that a rollback would replace.")
    snapshot_id: str = identity("Snapshot status.id", "The snapshot that it would restore.")


class RollbackPreview(Answer):
    """What a rollback would do. Nothing is changed. The operator removes a preview ten minutes after its end."""

    id: str = identity("Rollback status.id", "Id of the preview.")
    name: str = source("Rollback metadata.name", "Its name.")
    environment_id: str = identity("Rollback status.environmentId", "The environment that a rollback would replace.")
    snapshot_id: str | None = identity(
        "Rollback status.snapshotId, else the id of the Snapshot in spec.snapshotRef",
        "The snapshot that it would restore. Null where it is deleted.",
    )
    created_at: str = moment("Rollback metadata.creationTimestamp", "When it was asked for.")
    status: Status = source("Rollback status.phase and status.conditions", "`completed`: the report is there.")
    message: str = source("message of the condition Reconciling", "What it waits for; may be empty.")
    error_message: str | None = source(
        "Rollback status.failureMessage", "Why it failed, and what to do. Null unless status is `failed`."
    )
    warnings: tuple[Finding, ...] = source("Rollback status.warnings", "Findings that block nothing.")
    report: Preview | None = source("Rollback status.preview", "The report. Null before it is made.")


class ExtractedListing(Answer):
    """The names in a folder, or the tables of the database."""

    path: str = source("Extract spec.listing.path", "The folder; empty: the filestore itself.")
    tables: bool = source("Extract spec.listing.tables", "Whether the tables are listed instead.")


class ExtractResult(Answer):
    """What was extracted."""

    files: int = source("Extract status.result.files", "Number of files.")
    rows: int = source("Extract status.result.rows", "With tables: their rows.")
    bytes: int = source("Extract status.result.bytes", "Their bytes.")
    bytes_read: int = source("Extract status.result.bytesRead", "Bytes that were read from the store.")
    key: str | None = source("Extract status.result.key", "Key of the object in the store. Null elsewhere.")
    size: int | None = source("Extract status.result.size", "Bytes of that object. Null elsewhere.")
    sha256: str | None = source("Extract status.result.sha256", "SHA-256 of that object. Null elsewhere.")
    folder: str | None = source("Extract status.result.folder", "Folder on the claim. Null elsewhere.")
    schema_: str | None = source(
        "Extract status.result.schema", "New schema of the live database. Null elsewhere.", alias="schema"
    )


class ExtractView(Answer):
    """Some files or tables of a snapshot, beside what is live."""

    id: str = identity("Extract status.id", "Id of the extract.")
    name: str = source("Extract metadata.name", "Its name.")
    environment_id: str = identity("Extract status.environmentId", "The environment of the snapshot.")
    snapshot_id: str | None = identity(
        "Extract status.snapshotId, else the id of the Snapshot in spec.snapshotRef",
        "The snapshot. Null where it is deleted and was not read.",
    )
    requested_by: str | None = source("Extract spec.requestedBy", "Who asked for it. Null where no one is named.")
    status: Status = source("Extract status.phase and status.conditions", "How far it is.")
    is_expired: bool = source("Extract status.phase", "Whether its result is removed.")
    created_at: str = moment(
        "Extract annotation ocore.dev/requested-at, else metadata.creationTimestamp", "When it was asked for."
    )
    started_at: str | None = moment("Extract status.startedAt", "When it started. Null before that.")
    completed_at: str | None = moment("Extract status.completedAt", "When it ended. Null before that.")
    expires_at: str | None = moment("Extract status.resultExpiresAt", "When its result is removed. Null: not known.")
    step: str | None = source(_STEP, "Its step. Null before the first.")
    percent: Percent = source("Extract status.progress.percent", _PERCENT)
    message: str = source(
        "message of the condition Reconciling, Stalled, Failed or Complete", "What happens, for people."
    )
    error_message: str | None = source(
        "message of the condition Failed", "Why it failed, and what to do. Null unless status is `failed`."
    )
    files: FilesToExtract | None = source("Extract spec.files", "The files. Null: something else is extracted.")
    attachments: AttachmentsToExtract | None = source(
        "Extract spec.attachments", "The attachments. Null: something else is extracted."
    )
    tables: tuple[RowsToExtract, ...] | None = source(
        "Extract spec.tables", "The tables. Null: something else is extracted."
    )
    format: Literal["csv", "sql"] | None = source(
        "Extract spec.target.store.format", "With tables in the store: the format of their files. Null elsewhere."
    )
    listing: ExtractedListing | None = source(
        "Extract spec.listing", "The folder that is listed. Null: something else is extracted."
    )
    target: Literal["store", "claim", "database"] = source("Extract spec.target", "Where the result goes.")
    folder: str | None = source("Extract spec.target.claim.path", "New folder on the claim. Null elsewhere.")
    result: ExtractResult | None = source("Extract status.result", "What was extracted. Null before the end.")


class ExtractPage(Page):
    """A page of the extracts of an environment, newest first."""

    extracts: tuple[ExtractView, ...] = source("Extracts of the environment's Snapshots", "The page.")


class ExtractAccepted(MessageAnswer):
    """An extract was created. The header Location has its URL."""

    extract_id: str = identity("Extract metadata.uid", "Id of the extract.")
    environment_id: str = identity("Environment status.id", "The environment.")
    snapshot_id: str = identity("Snapshot status.id", "The snapshot.")


class ChangeEvent(Answer):
    """The data of an event of the stream of all changes, but for `reset`."""

    id: str = identity("status.id", "Id of the object.")
    environment_id: str = identity("status.id of the Environment", "Its environment.")
    project_id: str = identity("Environment spec.projectId", "Its project.")
    deleted: bool = source("watch", "Whether it does not exist any more.")
    object: EnvironmentRow | ConsoleSnapshot | RollbackDetails | RollbackPreview | ExtractView | None = source(
        "the object", "Its newest state. Null where it is deleted."
    )


class ResetEvent(Answer):
    """The data of the event `reset`: read again all that is shown. Changes follow."""

    time: str = moment("clock of the server", "When it was sent.")
