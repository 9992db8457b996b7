"""Snapshot: one point in time of an environment."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from .base import LocalRef, Model, StatusModel, Timestamp, Uuid
from .conditions import Condition
from .manifest import Evidence
from .rules import immutable, rule, validations


class Pin(Model):
    """Keeps the snapshot from being deleted."""

    label: Annotated[str, Field(max_length=256)] = Field(default="", description="Why it is kept, for people.")


class SnapshotSpec(Model):
    """What to take. Everything but `pin`, `deletionPolicy` and `verify` is fixed at creation."""

    id: Uuid | None = Field(
        default=None, description="Identity in manifests and in the REST API; default is metadata.uid."
    )
    environment_ref: LocalRef = Field(description="Environment to take the snapshot of.")
    trigger: Literal["Manual", "Deployment"] = Field(default="Manual", description="What caused it.")
    deployment_id: Uuid | None = Field(default=None, description="Deployment that caused it.")
    requested_by: Annotated[str, Field(max_length=256)] = Field(default="", description="Who asked for it.")
    timeout_seconds: Annotated[int, Field(ge=30, le=604800)] = Field(
        default=3600,
        description="The snapshot fails when it is not complete this many seconds after it started.",
    )
    pin: Pin | None = Field(default=None, description="A pinned snapshot cannot be deleted. Remove the field to unpin.")
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="What becomes of the data in the store when this object is deleted. Data of a snapshot that is not Complete is always removed.",
    )
    verify: Literal["Checksums", "Full"] = Field(
        default="Checksums",
        description=(
            "`Checksums`: the store has checked every artifact as it was written. `Full`: every byte is read again; may be "
            "set on a Complete snapshot at any time."
        ),
    )

    model_config = ConfigDict(
        json_schema_extra=validations(
            *(
                immutable(f)
                for f in ("id", "environmentRef", "trigger", "deploymentId", "requestedBy", "timeoutSeconds")
            ),
            rule("oldSelf.verify != 'Full' || self.verify == 'Full'", "verify cannot go back from Full"),
        )
    )


class StepStatus(StatusModel):
    """One step of a snapshot or a rollback."""

    name: str
    state: Literal["Pending", "Running", "Done", "Skipped", "Failed"]
    started_at: Timestamp | None = None
    completed_at: Timestamp | None = None
    message: str = ""


class Progress(StatusModel):
    """How far the running step is. Written by a field manager of its own, at most once a second."""

    step: str
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="Of the whole operation; 100 only when it is over."
    )
    updated_at: Timestamp


class SnapshotSource(StatusModel):
    """What the snapshot saw, frozen."""

    environment_id: str
    environment_name: str
    environment_type: str
    project_id: str
    image: str = ""
    image_tag: str = ""
    commit_sha: str = ""
    deployment_id: str = ""


class SnapshotSizes(StatusModel):
    """Bytes and files."""

    database_bytes: int = Field(default=0, description="The live database when it was dumped.")
    database_stored_bytes: int = 0
    database_restore_bytes: int = Field(default=0, description="Scratch that a restore needs.")
    filestore_bytes: int = 0
    filestore_files: int = 0
    filestore_stored_bytes: int = 0
    stored_bytes: int = Field(default=0, description="Everything in the store.")


class EvidenceStatus(StatusModel):
    """What was required, what was proven, what is missing."""

    required: tuple[str, ...] = ()
    proven: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    checksums: dict[str, str] = Field(default_factory=dict, description="Artifact → SHA-256.")
    paths: dict[str, str] = Field(default_factory=dict, description="Artifact → key in the store.")

    @classmethod
    def of(cls, evidence: Evidence, checksums: dict[str, str], paths: dict[str, str]) -> "EvidenceStatus":
        """From a mover's report."""
        return cls(
            required=evidence.required,
            proven=evidence.proven,
            missing=evidence.missing,
            warnings=evidence.warnings,
            checksums=checksums,
            paths=paths,
        )


class SnapshotStatus(StatusModel):
    """Observed state."""

    observed_generation: int = -1
    id: str | None = Field(default=None, description="spec.id, or metadata.uid.")
    phase: Literal["Pending", "Running", "Complete", "Failed"] | None = Field(
        default=None, description="Summary of the conditions."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    queued_at: Timestamp | None = None
    started_at: Timestamp | None = None
    deadline: Timestamp | None = Field(default=None, description="When it fails if it is not complete.")
    completed_at: Timestamp | None = None
    consistent_at: Timestamp | None = Field(default=None, description="The point in time it shows.")
    attempt: int = Field(default=0, description="Number of the last attempt, from 1.")
    job_name: str | None = None
    source: SnapshotSource | None = None
    store_name: str | None = None
    store_id: str | None = None
    manifest_key: str | None = None
    manifest_sha256: str | None = None
    server_version: str | None = None
    server_major: int | None = None
    client_version: str | None = None
    sizes: SnapshotSizes | None = None
    evidence: EvidenceStatus | None = None
    steps: tuple[StepStatus, ...] = ()
    residue: Literal["None", "Pending", "Unknown"] | None = Field(
        default=None,
        description="Whether an attempt that failed left objects in the store. `Unknown`: they could not be removed.",
    )
    progress: Progress | None = None
