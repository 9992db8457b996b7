"""Snapshot: one point in time of an environment."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ocore_crds.conditions import ObjectStatus
from ocore_crds.model import LocalRef, Model, Sentence, StatusModel, Timestamp, Uuid
from ocore_crds.reports.facts import SnapshotSizes
from ocore_crds.reports.kept_versions import KeptVersions
from ocore_crds.resources.encryption import SnapshotEncryption
from ocore_crds.resources.layouts import Layout
from ocore_crds.resources.read_back import ReadBack
from ocore_crds.resources.recovery_evidence import RecoveryEvidence
from ocore_crds.resources.remote_copy import RemoteCopy
from ocore_crds.resources.restore_test import RestoreTestRequest, RestoreTestStatus
from ocore_crds.resources.signing import Signature
from ocore_crds.schema.cel_rules import immutable, rule, validations
from ocore_crds.stored.manifest import Evidence
from ocore_crds.stored.snapshot_state import StoredState

#: The trigger of a safety snapshot. It shows what a Rollback replaces, so no one may take it for a good state.
SAFETY_TRIGGER = "PreRollback"


class Pin(Model):
    """Protects the snapshot from deletion."""

    label: Annotated[str, Field(max_length=256)] = Field(default="", description="Why it is kept.")


class SnapshotSpec(Model):
    """What to take. Everything but `pin`, `deletionPolicy` and `verify` is fixed at creation."""

    id: Uuid | None = Field(
        default=None, description="Identity in manifests and in the REST API; the default is metadata.uid."
    )
    environment_ref: LocalRef = Field(description="Environment to take the snapshot of.")
    trigger: Literal["Manual", "Scheduled", "Deployment", "PreRollback"] = Field(
        default="Manual",
        description=(
            "What caused it. `PreRollback`: a Rollback with createSafetySnapshot. The operator creates it; it runs"
            " under the operation lock of its Rollback, and fails without one."
        ),
    )
    deployment_id: Uuid | None = Field(default=None, description="Deployment that caused it.")
    requested_by: Annotated[str, Field(max_length=256)] = Field(default="", description="Who asked for it.")
    timeout_seconds: Annotated[int, Field(ge=30, le=604800)] = Field(
        default=3600,
        description="The snapshot fails if it is not complete this many seconds after it started.",
    )
    pin: Pin | None = Field(default=None, description="A pinned snapshot cannot be deleted. Remove the field to unpin.")
    retention: Literal["Keep", "Policy"] = Field(
        default="Keep",
        description=(
            "`Keep`: only people delete it. `Policy`: it is deleted once no rule of the environment's SnapshotPolicy"
            " keeps it."
        ),
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description=(
            "What happens to the data in the store when this object is deleted. Data of a snapshot that is not Complete"
            " is always removed."
        ),
    )
    verify: Literal["Checksums", "Full"] = Field(
        default="Checksums",
        description=(
            "`Checksums`: the store checks every artifact when it is written. `Full`: every byte is also read again;"
            " may be set on a Complete snapshot at any time."
        ),
    )
    filestore_mode: Literal["Auto", "Full", "Differential"] = Field(
        default="Auto",
        description=(
            "`Full`: store the whole filestore. `Differential`: store what the newest usable full snapshot of the"
            " environment does not have; a full one, with a warning, where there is none. `Auto`: differential, with a"
            " new full one after `fullEvery` of the SnapshotPolicy."
        ),
    )
    quiesce: bool = Field(
        default=False,
        description=(
            "Stop the Environment's workloads while the snapshot freezes what it stores, then start them again. With"
            " layout `Plain`, or without hard links, until the files are copied: a link does not protect them from"
            " changes in place."
        ),
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            *(
                immutable(f)
                for f in (
                    "id",
                    "environmentRef",
                    "trigger",
                    "deploymentId",
                    "requestedBy",
                    "timeoutSeconds",
                    "filestoreMode",
                    "quiesce",
                )
            ),
            rule("oldSelf.verify != 'Full' || self.verify == 'Full'", "verify cannot go back from Full"),
        )
    )


class StepStatus(StatusModel):
    """One step of a snapshot or a rollback."""

    name: str = Field(description="Name of the step.")
    state: Literal["Pending", "Running", "Done", "Skipped", "Failed"] = Field(description="State of the step.")
    started_at: Timestamp | None = Field(default=None, description="When it began.")
    completed_at: Timestamp | None = Field(default=None, description="When it ended.")
    bytes_done: int | None = Field(default=None, description="Bytes that it has counted at its end; absent: none.")
    files_done: int | None = Field(default=None, description="Files that it has counted at its end; absent: none.")
    message: Sentence = Field(default="", description="What happened, for people.")

    def begun_with(self, earlier: "StepStatus") -> "StepStatus":
        """The same, begun when `earlier` says, where that is known: a Job reports a step that began with its pod."""
        return self.model_copy(update={"started_at": earlier.started_at or self.started_at})


class Progress(StatusModel):
    """Progress of the running step. Written by a separate field manager, at most once a second."""

    step: str = Field(description="The running step.")
    bytes_done: int = Field(default=0, description="Bytes of the step that are done.")
    bytes_total: int = Field(default=0, description="Bytes of the step in all, estimated; 0: not known.")
    files_done: int = Field(default=0, description="Files of the step that are done.")
    files_total: int = Field(default=0, description="Files of the step in all, estimated; 0: not known.")
    percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="Progress of the whole operation; 100 only when it is terminal."
    )
    updated_at: Timestamp = Field(description="When this was written.")


class SavedContainer(StatusModel):
    """A container's image from before the change."""

    name: str = Field(description="Name of the container.")
    init: bool = Field(default=False, description="Whether it is an init container.")
    image: str = Field(description="Its image from before the change.")


class SavedImage(StatusModel):
    """What restoreImage changes in a workload, as it was before. Recorded before the change."""

    containers: tuple[SavedContainer, ...] = Field(
        default=(), description="The containers that run the application's image."
    )
    template_commit: str | None = Field(
        default=None, description="The commit annotation of the pod template; absent: it had none."
    )
    workload_commit: str | None = Field(
        default=None, description="The commit annotation of the workload itself; absent: it had none."
    )


class SavedWorkload(StatusModel):
    """A workload's replicas from before the quiesce."""

    api_version: str | None = Field(
        default=None, description="Its apiVersion; absent for Deployment, StatefulSet and CronJob."
    )
    kind: str = Field(description="Kind of the workload.")
    name: str = Field(description="Name of the workload.")
    replicas: int = Field(
        description="Its replicas from before the quiesce. Of a CronJob: 0 if it was suspended, else 1."
    )
    image: SavedImage | None = Field(
        default=None, description="Its images from before a rollback that restores them; absent where none is changed."
    )


#: The stage of a quiesce. Written before the stage's first effect, so that a restarted operator knows what may already
#: have happened. operator/ocore_operator/snapshot/plan_quiesce.py has the transitions, docs/snapshots.md the meaning.
QuiesceStage = Literal["Announced", "Stop", "Drain", "Freeze", "Resume", "Done"]


class QuiesceStatus(StatusModel):
    """How the workloads were stopped for the freeze, and started again."""

    stage: QuiesceStage = Field(description="The current stage.")
    entered_at: Timestamp = Field(description="When the stage began.")
    attempt: int = Field(description="The attempt that it belongs to.")
    workloads: tuple[SavedWorkload, ...] = Field(default=(), description="Replicas from before the quiesce.")
    stopped_at: Timestamp | None = Field(default=None, description="When the workloads began to stop.")
    signal_deadline: Timestamp | None = Field(
        default=None, description="The Job does not obey a signal to freeze after this."
    )
    frozen_at: Timestamp | None = Field(
        default=None, description="When the workloads could start again: nothing they change is in the snapshot."
    )
    resumed_at: Timestamp | None = Field(default=None, description="When the workloads had their replicas again.")
    failure_reason: str | None = Field(default=None, description="Why it failed; a constant.")
    failure_message: str | None = Field(default=None, description="Why it failed, for people.")


#: A part of an environment that a snapshot stores.
SnapshotPart = Literal["Database", "Filestore", "Config"]


class SnapshotSource(StatusModel):
    """The environment as the snapshot recorded it; never changed later."""

    environment_id: str = Field(description="The environment's status.id.")
    environment_name: str = Field(description="The environment's name.")
    environment_type: str = Field(description="The environment's type.")
    project_id: str = Field(description="The environment's project.")
    image: str = Field(default="", description="Image of the first workload.")
    image_tag: str = Field(default="", description="Its tag.")
    image_digest: str = Field(
        default="",
        description=(
            "Its digest (sha256:…), from the pods that ran it; empty where none ran, or where they ran different ones."
        ),
    )
    commit_sha: str = Field(
        default="",
        description=(
            "Commit that the image was built from, according to the workload's annotation ocore.dev/commit-sha."
        ),
    )
    config_sha256: str = Field(
        default="",
        description=(
            "SHA-256 over the names and values of the ConfigMap's keys; empty without spec.config.configMapRef."
        ),
    )
    deployment_id: str = Field(default="", description="The deployment that triggered the snapshot.")


class EvidenceStatus(Evidence):
    """What was required, what was proven, what is missing."""

    checksums: dict[str, str] = Field(default_factory=dict, description="Artifact → SHA-256.")
    paths: dict[str, str] = Field(default_factory=dict, description="Artifact → key in the store.")

    @classmethod
    def of(cls, evidence: Evidence, checksums: dict[str, str], paths: dict[str, str]) -> "EvidenceStatus":
        """From a mover's report."""
        return cls(**dict(evidence), checksums=checksums, paths=paths)


class SnapshotBase(StatusModel):
    """The full snapshot that a differential needs."""

    name: str | None = Field(
        default=None,
        description="Its name; absent where the namespace had no Snapshot of that id when it was found in the store.",
    )
    id: str = Field(description="Its status.id.")


class SnapshotFilestore(StatusModel):
    """Where the files were. A differential needs a full snapshot of the same place."""

    claim_name: str = Field(description="Name of the claim.")
    path: str = Field(default="", description="Path below the claim's root.")
    layout: Layout = Field(description="How the files are named.")


class KeptInStore(KeptVersions):
    """Versions of deleted objects that the store does not give up (Object Lock)."""

    checked_at: Timestamp = Field(description="When the store refused to delete them.")


class ImportedStatus(StatusModel):
    """How a Snapshot was brought back from the store."""

    at: Timestamp = Field(description="When it was imported.")
    stored: StoredState = Field(description="Pin, retention and deletionPolicy as the store had them.")
    taken_over: bool = Field(
        default=False,
        description=(
            "Whether takeOver of the SnapshotStore has applied them. Until then the data is never deleted, whatever the"
            " spec says."
        ),
    )


class SnapshotStatus(ObjectStatus):
    """Observed state."""

    id: str | None = Field(default=None, description="spec.id, or metadata.uid.")
    phase: Literal["Pending", "Running", "Complete", "Failed", "Corrupt"] | None = Field(
        default=None,
        description="Summary of the conditions. `Corrupt`: it was Complete, and stored bytes were found to differ.",
    )
    queued_at: Timestamp | None = Field(default=None, description="When it began to wait for the operation lock.")
    started_at: Timestamp | None = Field(default=None, description="When it started.")
    deadline: Timestamp | None = Field(default=None, description="The snapshot fails if it is not complete by then.")
    completed_at: Timestamp | None = Field(default=None, description="When it ended.")
    consistent_at: Timestamp | None = Field(default=None, description="The point in time that the snapshot shows.")
    attempt: int = Field(default=0, description="Number of the last attempt, from 1.")
    job_name: str | None = Field(default=None, description="Job of the last attempt.")
    source: SnapshotSource | None = Field(
        default=None, description="The environment as the snapshot recorded it; never changed later."
    )
    parts: tuple[SnapshotPart, ...] | None = Field(
        default=None,
        description=(
            "What had to be stored, by the Environment as it was at the start; of an adopted snapshot, by its manifest."
        ),
    )
    store_name: str | None = Field(default=None, description="SnapshotStore that holds it.")
    store_id: str | None = Field(default=None, description="Id of that store, as recorded in the store itself.")
    manifest_key: str | None = Field(default=None, description="Key of the manifest below the store's prefix.")
    manifest_sha256: str | None = Field(default=None, description="SHA-256 of the manifest.")
    encryption: SnapshotEncryption | None = Field(
        default=None, description="To whom it is encrypted. Absent: it is not encrypted."
    )
    signature: Signature | None = Field(
        default=None, description="Who signed it, and its place among the environment's. Absent: it is not signed."
    )
    server_version: str | None = Field(default=None, description="Version of the PostgreSQL server.")
    server_major: int | None = Field(default=None, description="Its major version.")
    client_version: str | None = Field(default=None, description="Version of pg_dump.")
    sizes: SnapshotSizes | None = Field(default=None, description="Bytes and files.")
    filestore: SnapshotFilestore | None = Field(
        default=None, description="Where the files were; absent without a filestore, and of an adopted snapshot."
    )
    full_filestore: bool | None = Field(
        default=None,
        description=(
            "Whether it has every file itself. False: a differential, which also needs `base`. Absent: not decided yet,"
            " or an older version took it."
        ),
    )
    base: SnapshotBase | None = Field(default=None, description="Of a differential: the full snapshot that it needs.")
    dependents: tuple[str, ...] = Field(
        default=(),
        description=(
            "Of a full snapshot: the Snapshots that need it. It cannot be deleted while there are any. A differential"
            " is entered before anything of it is copied. Written by a separate field manager."
        ),
    )
    unfinished_modules: int | None = Field(
        default=None,
        description=(
            "Modules of Odoo whose installation, upgrade or removal had begun and not ended in the snapshot. Odoo"
            " continues with them at its next start."
        ),
    )
    neutralized: bool | None = Field(
        default=None,
        description="Whether the database was neutralised, for example by database.is_neutralized. Absent: unknown.",
    )
    evidence: EvidenceStatus | None = Field(
        default=None, description="What was required, what was proven, what is missing."
    )
    recovery_evidence: RecoveryEvidence | None = Field(
        default=None,
        description="Whether this is a clean success, and why. Derived from the other fields of the status.",
    )
    quiesce: QuiesceStatus | None = Field(default=None, description="Where spec.quiesce is set.")
    steps: tuple[StepStatus, ...] = Field(default=(), description="The steps so far, in order.")
    residue: Literal["None", "Pending", "Unknown"] | None = Field(
        default=None,
        description="Whether failed attempts left objects in the store. `Unknown`: they could not be removed.",
    )
    progress: Progress | None = Field(default=None, description="Progress of the running step.")
    kept_by: tuple[str, ...] | None = Field(
        default=None,
        description=(
            "With `retention: Policy`: the rules that keep it. None of them: it is deleted next. Written by a separate"
            " field manager."
        ),
    )
    expires_at: Timestamp | None = Field(
        default=None,
        description=(
            "When the last of these rules lets it go, if no newer snapshot takes its place before. Absent where that"
            " cannot be known yet."
        ),
    )
    rule_ends: dict[str, Timestamp] | None = Field(
        default=None,
        description=(
            "Rule → when it lets the snapshot go, where several rules keep it. A rule whose end cannot be known yet is"
            " absent. If the policy is deleted, each rule holds until then."
        ),
    )
    remote: RemoteCopy | None = Field(
        default=None,
        description="The copy in the Environment's remoteStoreRef; absent: there is none, and none is wanted yet.",
    )
    remote_kept_by: tuple[str, ...] | None = Field(
        default=None,
        description=(
            "With `retention: Policy` and a remote copy: the rules that keep the copy. None of them: it is deleted"
            " next."
        ),
    )
    remote_expires_at: Timestamp | None = Field(
        default=None,
        description="When the last of these rules lets the copy go. Absent where that cannot be known yet.",
    )
    kept_in_store: KeptInStore | None = Field(
        default=None, description="While it is being deleted: what the store keeps, and until when."
    )
    imported: ImportedStatus | None = Field(default=None, description="Of a Snapshot that was imported from a store.")
    stored_state: StoredState | None = Field(
        default=None,
        description=(
            "Pin, retention and deletionPolicy as the store has them, for an import. Absent: the Snapshot was completed"
            " by a version that did not store them; they are stored when one of them is changed."
        ),
    )
    read_back: ReadBack | None = Field(
        default=None,
        description="The newest check that the annotation `ocore.dev/verify-requested` has asked for.",
    )
    restore_test: RestoreTestStatus | None = Field(
        default=None,
        description="The newest test restore of this snapshot that gave a result: see `kubectl ocore certificate`.",
    )
    restore_test_request: RestoreTestRequest | None = Field(
        default=None,
        description="The slot of the SnapshotPolicy for which it is tested. Written by a separate field manager.",
    )
