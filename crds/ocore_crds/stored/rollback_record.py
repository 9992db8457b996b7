"""The record of a rollback in the store: what it was asked for, and how far it came. docs/format.md describes it.

It outlives the cluster: a Rollback that GitOps creates again on a rebuilt cluster is recognised by its name and the
hash of its spec.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from ocore_crds.model import ObjectName, Timestamp, Tolerant, Uuid
from ocore_crds.reports.base import Failure
from ocore_crds.stored.manifest import Evidence

FORMAT_VERSION = 1

#: How far a run came. The values are the names of its objects in the store.
RecordState = Literal["restored", "started", "switched", "switched-back", "not-switched"]

#: How a run ended, as the live database's comment has it.
MarkedOutcome = Literal["Switched", "SwitchedBack"]


#: How a run ended, as an import reads it from its record.
RecordedOutcome = Literal["Switched", "SwitchedBack", "NotSwitched"]

#: Fields of status that a record has as they were when its Job was created. The evidence of the restore is in the
#: record itself.
RECORDED_STATUS = (
    *("startedAt", "deadline", "environmentName", "snapshotName", "snapshotNamespace"),
    *("sourceEnvironmentName", "sourceEnvironmentId", "sourceEnvironmentType", "remoteCopyState"),
    *("liveDatabase", "liveMissing", "restoredDatabase", "previousDatabase"),
    *("safetySnapshotName", "safetySnapshotId", "safetySnapshotAt"),
    *("image", "quiescedAt", "neutralize", "undo", "failureReason", "failureMessage", "target", "steps"),
)


class RecordedRollback(Tolerant):
    """What an import needs to show the Rollback again. Records of earlier versions lack it."""

    project_id: str = Field(default="", description="projectId of the Environment.")
    created_at: Timestamp = Field(description="metadata.creationTimestamp.")
    spec: dict[str, Any] = Field(description="spec, without defaults.")
    status: dict[str, Any] = Field(
        default_factory=dict, description="status when the Job was created: RECORDED_STATUS."
    )

    @classmethod
    def of(
        cls, project_id: str, created_at: str, spec: Mapping[str, Any], status: Mapping[str, Any]
    ) -> "RecordedRollback":
        """From the wire forms of spec and status."""
        known = {name: status[name] for name in RECORDED_STATUS if status.get(name) not in (None, [])}
        return cls(project_id=project_id, created_at=created_at, spec=dict(spec), status=known)


class RollbackRun(Tolerant):
    """One Rollback object, and the attempt of the Job that writes."""

    name: ObjectName = Field(description="metadata.name of the Rollback.")
    spec_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")] = Field(description="Hash of its spec.")
    uid: Uuid = Field(description="metadata.uid: differs for a Rollback that was created again.")
    rollback_id: Uuid = Field(description="status.id of the Rollback.")
    environment_id: Uuid = Field(description="status.id of the Environment.")
    undoes: Uuid | None = Field(
        default=None, description="Of an undo: status.id of the Rollback that restored the databases which it switches."
    )
    snapshot_id: Uuid = Field(description="status.id of the Snapshot.")
    manifest_sha256: str = Field(default="", description="SHA-256 of the snapshot's manifest.")
    attempt: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$")] = Field(
        description="The Job's pod; one run may have several."
    )
    rollback: RecordedRollback | None = Field(
        default=None, description="What an import needs; absent in records of earlier versions."
    )


class RollbackRecord(Tolerant):
    """One object of the record, written once."""

    format_version: int = FORMAT_VERSION
    state: RecordState
    run: RollbackRun
    time: Timestamp
    evidence: Evidence | None = Field(default=None, description="Of the restore: required, proven, missing.")
    failure: Failure | None = Field(default=None, description="Of `not-switched`: why, where the Job knows it.")
