"""Snapshots and rollback logs as the API serves them, from raw objects. Pure; JSON-ready; every field is present."""

from dataclasses import dataclass
from typing import get_args

from ocore_api.views.evidence import recovery_evidence
from ocore_api.views.models import EnvironmentType
from ocore_api.views.values import (
    Object,
    created_at,
    error_message,
    identity,
    lower_snake,
    milliseconds,
    number,
    operation_status,
    status_of,
    text,
)
from ocore_crds import remote_copy

#: Of an environment. A status can have another text: its schema allows any.
TYPES = get_args(EnvironmentType)


@dataclass(frozen=True, slots=True)
class Origin:
    """The environment that a Snapshot belongs to. Empty where it is unknown."""

    environment_id: str = ""
    project_id: str = ""
    name: str = ""
    type: str = ""


def recorded_origin(snapshot: Object) -> Origin | None:
    """The environment as the Snapshot recorded it; None before that."""
    source = status_of(snapshot).get("source")
    if not source:
        return None
    type_ = source["environmentType"]
    known = type_ if type_ in TYPES else ""
    return Origin(source["environmentId"], source["projectId"], source["environmentName"], known)


def operation_id(obj: Object) -> str:
    """status.id; before the operator has written it, what it will be."""
    found = status_of(obj).get("id") or (obj.get("spec") or {}).get("id") or obj["metadata"]["uid"]
    return str(found)


def deployment_of(snapshot: Object) -> str | None:
    """The deployment that caused a Snapshot."""
    source = status_of(snapshot).get("source") or {}
    return identity(source, "deploymentId") or identity(snapshot.get("spec") or {}, "deploymentId")


def snapshot_view(obj: Object, origin: Origin) -> Object:
    """The fields of :class:`ocore_api.views.models.SnapshotView`."""
    spec, status = obj.get("spec") or {}, status_of(obj)
    source, sizes = status.get("source") or {}, status.get("sizes") or {}
    paths = (status.get("evidence") or {}).get("paths") or {}
    pin = spec.get("pin")
    return {
        "commitSha": text(source, "commitSha"),
        "completedAt": text(status, "completedAt"),
        "configPath": text(paths, "config"),
        "createdAt": created_at(obj),
        "dbDumpPath": text(paths, "database"),
        "dbSizeBytes": number(sizes, "databaseBytes"),
        "deploymentId": deployment_of(obj),
        "durationMs": milliseconds(status.get("startedAt"), status.get("completedAt")),
        "environmentId": origin.environment_id,
        "environmentName": origin.name,
        "environmentType": origin.type or None,
        "errorMessage": error_message(obj),
        "expiresAt": text(status, "expiresAt"),
        "filestorePath": text(paths, "filestore"),
        "filestoreSizeBytes": number(sizes, "filestoreBytes"),
        "id": operation_id(obj),
        "imageTag": text(source, "imageTag"),
        "isFullFilestore": status.get("fullFilestore") is not False,
        "isPinned": pin is not None,
        "pinLabel": text(pin, "label") if pin else None,
        "recoveryEvidence": recovery_evidence("Snapshot", obj),
        "remoteStatus": remote_copy.named((status.get("remote") or {}).get("state")),
        "startedAt": text(status, "startedAt"),
        "status": operation_status(obj),
        "totalSizeBytes": number(sizes, "storedBytes"),
        "trigger": lower_snake(spec.get("trigger") or "Manual"),
    }


def rollback_log(obj: Object, environment_id: str, snapshot_id: str | None, deployment_id: str | None) -> Object:
    """The fields of :class:`ocore_api.views.models.RollbackLog`. `environment_id` is the target; `snapshot_id` is used
    where the status has none."""
    spec, status = obj.get("spec") or {}, status_of(obj)
    return {
        "completedAt": text(status, "completedAt"),
        "createdAt": created_at(obj),
        "deploymentId": deployment_id,
        "environmentId": environment_id,
        "errorMessage": error_message(obj),
        "id": operation_id(obj),
        "neutralizationTriggered": bool((status.get("neutralize") or {}).get("required")),
        "performedBy": text(spec, "requestedBy"),
        "recoveryEvidence": recovery_evidence("Rollback", obj),
        "rollbackDeploymentId": operation_id(obj),
        "safetySnapshotCreated": bool(status.get("safetySnapshotAt")),
        "safetySnapshotId": identity(status, "safetySnapshotId"),
        "snapshotId": identity(status, "snapshotId") or snapshot_id,
        "startedAt": text(status, "startedAt"),
        "status": operation_status(obj),
    }


def is_preview(rollback: Object) -> bool:
    """Whether a Rollback changes nothing: it is no log entry."""
    return bool((rollback.get("spec") or {}).get("dryRun"))
