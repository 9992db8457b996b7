"""``status.recoveryEvidence`` of a Snapshot and a Rollback, as the REST API serves it. :mod:`ocore_crds.rules.evidence`
derives it."""

from typing import Literal

from pydantic import ConfigDict, Field

from ocore_crds.model import StatusModel
from ocore_crds.resources.remote_copy import RemoteCopyState


class EvidenceProgress(StatusModel):
    """How far the steps came. Bytes and files of the running step are in `status.progress`."""

    step: str = Field(default="", description="The running step, else the last one that ended; empty before the first.")
    done: int = Field(default=0, description="Number of required steps that are done.")
    required: int = Field(default=0, description="Number of required steps.")
    steps: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "Step → Pending, Running, Done, Skipped or Failed: the required steps, and all others that were reported."
        ),
    )


class RecoveryEvidence(StatusModel):
    """Whether the operation can be reported as a clean success, and why. Values are those of the REST API."""

    # One writer always writes it whole: one entry in metadata.managedFields instead of one for each field and key.
    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    operation: Literal["snapshot", "rollback"] = Field(description="What was done.")
    status: Literal["pending", "running", "completed", "failed"] = Field(
        description=(
            "`failed` also for a Snapshot that was found to be corrupt. A Rollback that was switched back by hand later"
            " stays `completed`."
        )
    )
    reason: str = Field(
        default="", description="Reason of the condition that decides the status, for example Succeeded or DumpFailed."
    )
    progress: EvidenceProgress = Field(default=EvidenceProgress(), description="How far the steps came.")
    required_steps: tuple[str, ...] = Field(default=(), description="Steps that must be done for a clean success.")
    missing_steps: tuple[str, ...] = Field(
        default=(), description="Required steps that are not done and have not failed."
    )
    blocking_steps: tuple[str, ...] = Field(
        default=(), description="Steps that prevent a clean success: required ones that failed, and a switch back."
    )
    optional_failed_steps: tuple[str, ...] = Field(
        default=(), description="Steps that failed and are not required. They prevent nothing."
    )
    missing_evidence: tuple[str, ...] = Field(
        default=(), description="Facts that a clean success needs and that are not recorded, as `subject: fact`."
    )
    artifact_checksums: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "Artifact → SHA-256. Of a Snapshot: manifest, database, filestore, config. Of a Rollback: the manifest that"
            " was restored; none of an undo."
        ),
    )
    artifact_paths: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "Artifact → where it is. Of a Snapshot: its key in the store. Of a Rollback: names of the databases that"
            " exist (liveDatabase, previousDatabase, restoredDatabase), and `claim/path` of the filestore."
        ),
    )
    remote_copy_state: RemoteCopyState = Field(
        default="none",
        description=(
            "State of the copy in the remote store. Of a Rollback: of the Snapshot that it restores, when the rollback"
            " started."
        ),
    )
    can_write_clean_success: bool = Field(
        default=False,
        description=(
            "True only if the operation is Complete, every required step is done, and no evidence is missing and no"
            " step blocks."
        ),
    )
    why_green: tuple[str, ...] = Field(
        default=(), description="What proves the success; empty unless canWriteCleanSuccess."
    )
    why_not_green: tuple[str, ...] = Field(
        default=(), description="What prevents a clean success; empty if canWriteCleanSuccess."
    )
