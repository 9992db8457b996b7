"""Examples of requests and answers for the OpenAPI document. A test validates each one. Pure."""

from typing import Any

from ocore_api.views.console.examples import examples as console_examples
from ocore_crds.recovery_evidence import EvidenceProgress, RecoveryEvidence

Object = dict[str, Any]

_ENVIRONMENT = "497f6eca-6276-4993-bfeb-53cbbbba6f08"
_SNAPSHOT = "0c7a6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11"
_DEPLOYMENT = "7d0a3f52-1c44-4a5e-8a53-2f7b9e6c4d20"
_STEPS = ("Prepare", "DumpDatabase", "CopyFilestore", "CaptureConfig", "Publish")
_EVIDENCE = RecoveryEvidence(
    operation="snapshot",
    status="completed",
    reason="Succeeded",
    progress=EvidenceProgress(step="Publish", done=5, required=5, steps=dict.fromkeys(_STEPS, "Done")),
    required_steps=_STEPS,
    artifact_checksums={"manifest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
    artifact_paths={"manifest": f"snapshots/{_SNAPSHOT}/manifest.json"},
    can_write_clean_success=True,
    why_green=("The manifest was read back.",),
).model_dump(mode="json", by_alias=True)

_SNAPSHOT_ROW: Object = {
    "commitSha": "4f2a9d0c1b7e6a5d3c8f0e9b2a1d4c7f6e5b3a90",
    "completedAt": "2026-03-01T12:01:07.204Z",
    "configPath": f"snapshots/{_SNAPSHOT}/config/config.json",
    "createdAt": "2026-03-01T12:00:00.118Z",
    "dbDumpPath": f"snapshots/{_SNAPSHOT}/database/",
    "dbSizeBytes": 2147483648,
    "deploymentId": None,
    "durationMs": 66103,
    "environmentId": _ENVIRONMENT,
    "environmentName": "shop",
    "environmentType": "production",
    "errorMessage": None,
    "expiresAt": "2026-03-31T12:01:07Z",
    "filestorePath": f"snapshots/{_SNAPSHOT}/filestore/index.json.zst",
    "filestoreSizeBytes": 5368709120,
    "id": _SNAPSHOT,
    "imageTag": "18.0-3",
    "isFullFilestore": True,
    "isPinned": False,
    "pinLabel": None,
    "recoveryEvidence": _EVIDENCE,
    "remoteStatus": "none",
    "startedAt": "2026-03-01T12:00:01.101Z",
    "status": "completed",
    "totalSizeBytes": 4617089843,
    "trigger": "manual",
}
_LOG: Object = {
    "completedAt": "2026-03-02T08:04:10.870Z",
    "createdAt": "2026-03-02T08:00:00.340Z",
    "deploymentId": None,
    "environmentId": _ENVIRONMENT,
    "errorMessage": None,
    "id": _DEPLOYMENT,
    "neutralizationTriggered": False,
    "performedBy": "ann@example.org",
    "recoveryEvidence": None,
    "rollbackDeploymentId": _DEPLOYMENT,
    "safetySnapshotCreated": False,
    "safetySnapshotId": None,
    "snapshotId": _SNAPSHOT,
    "startedAt": "2026-03-02T08:00:01.020Z",
    "status": "completed",
}

#: Name of a schema → an example of it.
EXAMPLES: dict[str, Object] = {
    **console_examples(_SNAPSHOT_ROW, _LOG),
    "SnapshotDetails": {**_SNAPSHOT_ROW, "rollbackLogs": [_LOG]},
    "SnapshotPage": {"limit": 20, "offset": 0, "snapshots": [_SNAPSHOT_ROW], "total": 1},
    "ProjectSnapshotPage": {"snapshots": [_SNAPSHOT_ROW], "total": 1},
    "RollbackLogs": {"rollbackLogs": [_LOG], "total": 1},
    "SettingsView": {
        "autoEnabled": True,
        "createdAt": "2026-02-01T09:00:00Z",
        "environmentId": _ENVIRONMENT,
        "failurePolicy": "block",
        "id": "b0f5e2a4-0f0d-4b8e-9a43-6c9f0b1d7e35",
        "maxPinned": 10,
        "retentionDays": 30,
        "timeoutSeconds": 3600,
        "updatedAt": "2026-02-01T09:00:00Z",
    },
    "SettingsUpdate": {"retentionDays": 14, "maxPinned": 5},
    "SnapshotSize": {"dbSizeBytes": 2147483648, "filestoreSizeBytes": 5368709120, "totalSizeBytes": 7516192768},
    "SnapshotAccepted": {"environmentId": _ENVIRONMENT, "message": "Snapshot shop-5f0c was created."},
    "RollbackRequest": {"snapshotId": _SNAPSHOT, "createSafetySnapshot": True},
    "RollbackAccepted": {
        "deploymentId": _DEPLOYMENT,
        "environmentId": _ENVIRONMENT,
        "message": "Rollback shop-91ad was created.",
        "snapshotId": _SNAPSHOT,
    },
    "PinRequest": {"label": "before the upgrade"},
    "MessageAnswer": {"message": "Snapshot shop-5f0c is pinned."},
    "ProgressEvent": {
        "id": _SNAPSHOT,
        "status": "running",
        "step": "DumpDatabase",
        "percent": 42,
        "bytesDone": 901775360,
        "bytesTotal": 2147483648,
        "message": "The database is dumped.",
        "time": "2026-03-01T12:00:31Z",
    },
}


def describe_examples(document: Object) -> None:
    """Adds the examples to the requests and answers of the OpenAPI document."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                for content in part.get("content", {}).values():
                    name = content.get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
                    if name in EXAMPLES:
                        content["example"] = EXAMPLES[name]
