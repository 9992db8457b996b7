"""Snapshots and rollback logs as the API serves them, from raw objects. Pure; JSON-ready; every field is present."""

from dataclasses import dataclass
from typing import get_args

from ocore_api.views.evidence import recovery_evidence
from ocore_api.views.models import EnvironmentType
from ocore_api.views.values import Object, Resource, identity, milliseconds
from ocore_crds.resources import remote_copy

#: Of an environment. A status can have another text: its schema allows any.
TYPES = get_args(EnvironmentType)
#: By `spec.trigger`.
_TRIGGERS = {"Manual": "manual", "Scheduled": "scheduled", "Deployment": "deployment", "PreRollback": "pre_rollback"}


@dataclass(frozen=True, slots=True)
class Origin:
    """The environment that a Snapshot belongs to. Empty where it is unknown."""

    environment_id: str = ""
    project_id: str = ""
    name: str = ""
    type: str = ""


def snapshot_view(obj: Resource, origin: Origin) -> Object:
    """The fields of :class:`ocore_api.views.models.SnapshotView`."""
    spec, status = obj.spec, obj.status
    source, sizes = status.get("source") or {}, status.get("sizes") or {}
    paths = (status.get("evidence") or {}).get("paths") or {}
    pin, remote, ended = spec.get("pin"), status.get("remote") or {}, status.get("completedAt")
    trigger = spec.get("trigger") or "Manual"
    return {
        "commitSha": source.get("commitSha") or None,
        "completedAt": ended or None,
        "configPath": paths.get("config") or None,
        "createdAt": obj.created_at,
        "dbDumpPath": paths.get("database") or None,
        "dbSizeBytes": sizes.get("databaseBytes"),
        "deploymentId": identity(source, "deploymentId") or identity(spec, "deploymentId"),
        "durationMs": milliseconds(status.get("startedAt"), ended) if ended else None,
        "environmentId": origin.environment_id,
        "environmentName": origin.name,
        "environmentType": origin.type or None,
        "errorMessage": obj.error,
        "expiresAt": status.get("expiresAt") or None,
        "filestorePath": paths.get("filestore") or None,
        "filestoreSizeBytes": sizes.get("filestoreBytes"),
        "id": obj.id,
        "imageTag": source.get("imageTag") or None,
        "isFullFilestore": status.get("fullFilestore") is not False,
        "isPinned": pin is not None,
        "pinLabel": pin.get("label") or None if pin else None,
        "recoveryEvidence": recovery_evidence("Snapshot", obj),
        "remoteStatus": remote_copy.named(remote.get("state")) if remote else "none",
        "startedAt": status.get("startedAt") or None,
        "status": obj.state,
        "totalSizeBytes": sizes.get("storedBytes"),
        "trigger": _TRIGGERS.get(trigger, trigger.lower()),
    }


def rollback_log(obj: Resource, environment_id: str, snapshot_id: str | None) -> Object:
    """The fields of :class:`ocore_api.views.models.RollbackLog`, but for deploymentId, which belongs to the Snapshot.
    `environment_id` is the target; `snapshot_id` is used where the status has none."""
    spec, status = obj.spec, obj.status
    return {
        "completedAt": status.get("completedAt") or None,
        "createdAt": obj.created_at,
        "environmentId": environment_id,
        "errorMessage": obj.error,
        "id": obj.id,
        "neutralizationTriggered": bool((status.get("neutralize") or {}).get("required")),
        "performedBy": spec.get("requestedBy") or None,
        "recoveryEvidence": recovery_evidence("Rollback", obj),
        "rollbackDeploymentId": obj.id,
        "safetySnapshotCreated": bool(status.get("safetySnapshotAt")),
        "safetySnapshotId": identity(status, "safetySnapshotId"),
        "snapshotId": identity(status, "snapshotId") or snapshot_id,
        "startedAt": status.get("startedAt") or None,
        "status": obj.state,
    }
