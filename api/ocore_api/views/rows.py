"""Snapshots and rollback logs as the API serves them, from raw objects. Pure; JSON-ready; every field is present."""

from dataclasses import dataclass
from typing import get_args

from ocore_api.views.evidence import recovery_evidence
from ocore_api.views.models import EnvironmentType
from ocore_api.views.values import Object, Resource, identity, lower_snake, milliseconds, text
from ocore_crds.resources import remote_copy

#: Of an environment. A status can have another text: its schema allows any.
TYPES = get_args(EnvironmentType)


@dataclass(frozen=True, slots=True)
class Origin:
    """The environment that a Snapshot belongs to. Empty where it is unknown."""

    environment_id: str = ""
    project_id: str = ""
    name: str = ""
    type: str = ""


def recorded_origin(snapshot: Resource) -> Origin | None:
    """The environment as the Snapshot recorded it; None before that."""
    source = snapshot.status.get("source")
    if not source:
        return None
    type_ = source["environmentType"]
    known = type_ if type_ in TYPES else ""
    return Origin(source["environmentId"], source["projectId"], source["environmentName"], known)


def deployment_of(snapshot: Resource) -> str | None:
    """The deployment that caused a Snapshot."""
    source = snapshot.status.get("source") or {}
    return identity(source, "deploymentId") or identity(snapshot.spec, "deploymentId")


def snapshot_view(obj: Resource, origin: Origin) -> Object:
    """The fields of :class:`ocore_api.views.models.SnapshotView`."""
    spec, status = obj.spec, obj.status
    source, sizes = status.get("source") or {}, status.get("sizes") or {}
    paths = (status.get("evidence") or {}).get("paths") or {}
    pin = spec.get("pin")
    return {
        "commitSha": text(source, "commitSha"),
        "completedAt": text(status, "completedAt"),
        "configPath": text(paths, "config"),
        "createdAt": obj.created_at,
        "dbDumpPath": text(paths, "database"),
        "dbSizeBytes": sizes.get("databaseBytes"),
        "deploymentId": deployment_of(obj),
        "durationMs": milliseconds(status.get("startedAt"), status.get("completedAt")),
        "environmentId": origin.environment_id,
        "environmentName": origin.name,
        "environmentType": origin.type or None,
        "errorMessage": obj.error,
        "expiresAt": text(status, "expiresAt"),
        "filestorePath": text(paths, "filestore"),
        "filestoreSizeBytes": sizes.get("filestoreBytes"),
        "id": obj.id,
        "imageTag": text(source, "imageTag"),
        "isFullFilestore": status.get("fullFilestore") is not False,
        "isPinned": pin is not None,
        "pinLabel": text(pin, "label") if pin else None,
        "recoveryEvidence": recovery_evidence("Snapshot", obj),
        "remoteStatus": remote_copy.named((status.get("remote") or {}).get("state")),
        "startedAt": text(status, "startedAt"),
        "status": obj.state,
        "totalSizeBytes": sizes.get("storedBytes"),
        "trigger": lower_snake(spec.get("trigger") or "Manual"),
    }


def rollback_log(obj: Resource, environment_id: str, snapshot_id: str | None, deployment_id: str | None) -> Object:
    """The fields of :class:`ocore_api.views.models.RollbackLog`. `environment_id` is the target; `snapshot_id` is used
    where the status has none."""
    spec, status = obj.spec, obj.status
    return {
        "completedAt": text(status, "completedAt"),
        "createdAt": obj.created_at,
        "deploymentId": deployment_id,
        "environmentId": environment_id,
        "errorMessage": obj.error,
        "id": obj.id,
        "neutralizationTriggered": bool((status.get("neutralize") or {}).get("required")),
        "performedBy": text(spec, "requestedBy"),
        "recoveryEvidence": recovery_evidence("Rollback", obj),
        "rollbackDeploymentId": obj.id,
        "safetySnapshotCreated": bool(status.get("safetySnapshotAt")),
        "safetySnapshotId": identity(status, "safetySnapshotId"),
        "snapshotId": identity(status, "snapshotId") or snapshot_id,
        "startedAt": text(status, "startedAt"),
        "status": obj.state,
    }


def is_preview(rollback: Resource) -> bool:
    """Whether a Rollback changes nothing: it is no log entry."""
    return bool(rollback.spec.get("dryRun"))
