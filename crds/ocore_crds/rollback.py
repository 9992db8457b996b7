"""Rollback: brings an environment back to a snapshot, or leaves it as it was."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .base import LocalRef, Model, StatusModel, Timestamp, Uuid
from .conditions import Condition
from .rules import rule, validations
from .snapshot import EvidenceStatus, Progress, StepStatus


class RollbackSpec(Model):
    """What to bring back. Fixed at creation."""

    id: Uuid | None = Field(default=None, description="Identity in the REST API; default is metadata.uid.")
    snapshot_ref: LocalRef = Field(description="Complete Snapshot to go back to; its Environment is the target.")
    requested_by: Annotated[str, Field(max_length=256)] = Field(default="", description="Who asked for it.")
    undo_window_seconds: Annotated[int, Field(ge=0, le=2592000)] = Field(
        default=86400, description="How long the previous database is kept after the switch."
    )
    not_after: Timestamp | None = Field(
        default=None,
        description="A rollback that has not started by then is refused (GitOps re-creates what it finds in Git).",
    )
    timeout_seconds: Annotated[int, Field(ge=60, le=604800)] = Field(
        default=7200,
        description="The rollback fails, and the environment stays as it was, when it has not switched by then.",
    )
    ready_timeout_seconds: Annotated[int, Field(ge=10, le=86400)] = Field(
        default=300,
        description="Workloads that are not ready this many seconds after the switch are switched back.",
    )

    model_config = ConfigDict(
        json_schema_extra=validations(rule("self == oldSelf", "a Rollback cannot be changed; create a new one"))
    )


class SavedWorkload(StatusModel):
    """A workload's replicas from before the quiesce."""

    kind: Literal["Deployment", "StatefulSet"]
    name: str
    replicas: int


class RollbackStatus(StatusModel):
    """Observed state."""

    observed_generation: int = -1
    id: str | None = Field(default=None, description="spec.id, or metadata.uid.")
    phase: Literal["Pending", "Restoring", "Switching", "Resuming", "SwitchingBack", "Complete", "Failed"] | None = (
        Field(default=None, description="Summary of the conditions.")
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    queued_at: Timestamp | None = None
    started_at: Timestamp | None = None
    deadline: Timestamp | None = Field(default=None, description="The switch must have happened by then.")
    completed_at: Timestamp | None = None
    environment_name: str | None = None
    environment_id: str | None = None
    snapshot_name: str | None = None
    snapshot_id: str | None = None
    manifest_sha256: str | None = None
    attempt: int = Field(default=0, description="Number of the last restore attempt, from 1.")
    restore_job_name: str | None = None
    switch_job_name: str | None = None
    live_database: str | None = None
    restored_database: str | None = None
    previous_database: str | None = None
    position: Literal["Old", "New"] | None = Field(default=None, description="What the environment runs on.")
    workloads: tuple[SavedWorkload, ...] = Field(default=(), description="Replicas from before the quiesce.")
    quiesced_at: Timestamp | None = Field(default=None, description="When the workloads were asked to stop.")
    signal_deadline: Timestamp | None = Field(default=None, description="The switch Job obeys its signal until then.")
    switched_at: Timestamp | None = None
    resumed_at: Timestamp | None = Field(default=None, description="When the workloads were started again.")
    ready_at: Timestamp | None = Field(default=None, description="When they were ready.")
    refused_seconds: float | None = Field(default=None, description="How long the database refused connections.")
    undo_until: Timestamp | None = Field(default=None, description="The previous database is kept until then.")
    failure_reason: str | None = Field(default=None, description="Why it is being switched back or ended.")
    failure_message: str | None = None
    residue: Literal["None", "Pending", "Unknown"] | None = Field(
        default=None,
        description="Whether databases or folders of this rollback are left. `Unknown`: they could not be removed.",
    )
    evidence: EvidenceStatus | None = None
    steps: tuple[StepStatus, ...] = ()
    progress: Progress | None = None
