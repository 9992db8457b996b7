"""Examples of the console's requests and answers for the OpenAPI document. A test validates each one. Pure."""

from typing import Any

from ocore_crds.preview import Preview, PreviewDatabase, PreviewPrediction, PreviewSpace, PreviewTable
from ocore_crds.restore_test import RestoreTestStatus

Object = dict[str, Any]

PROJECT = "9b1f4a60-3a52-4b4d-9a06-0e5f2d7c8a11"
ENVIRONMENT = "497f6eca-6276-4993-bfeb-53cbbbba6f08"
SNAPSHOT = "0c7a6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11"
DEPLOYMENT = "7d0a3f52-1c44-4a5e-8a53-2f7b9e6c4d20"
UNDO = "c1c8d9b2-4f7e-4b53-8d3a-5a1e0f9b6c33"
EXTRACT = "3e0f6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11"
PREVIEW = "5a0f6d3e-5b1f-4f0e-9b0a-6f1c7a3e2d11"

_FIX: Object = {
    "text": "`RollbackReady` is False: the size of the database volume is unknown. Do: set `spec.database.capacity`.",
    "commands": [],
}
_PROBLEM: Object = {
    "condition": "RollbackReady",
    "reason": "CapacityUnknown",
    "message": "The capacity of the database volume is unknown. Set spec.database.capacity.",
    "since": "2026-03-01T10:00:00Z",
    "fix": _FIX,
}
_SHORT: Object = {"id": SNAPSHOT, "name": "shop-5f0c", "time": "2026-03-01T12:00:02Z"}
_ROW: Object = {
    "id": ENVIRONMENT,
    "name": "shop",
    "namespace": "apps",
    "projectId": PROJECT,
    "type": "production",
    "ready": True,
    "rollbackReady": False,
    "problem": _PROBLEM,
    "probedAt": "2026-03-01T11:30:00Z",
    "operation": {
        "kind": "snapshot",
        "id": SNAPSHOT,
        "name": "shop-5f0c",
        "since": "2026-03-01T12:00:00Z",
        "step": "DumpDatabase",
        "percent": 42,
    },
    "newestComplete": _SHORT,
    "newestVerified": None,
    "newestRestoreTested": _SHORT,
    "nextSnapshotAt": "2026-03-02T02:00:00Z",
    "snapshots": 31,
}
_CONDITION: Object = {"type": "RollbackReady", "status": "False"}
_RULES: Object = {
    "retentionDays": None,
    "keepLast": 0,
    "keepHourly": 0,
    "keepDaily": 14,
    "keepWeekly": 0,
    "keepMonthly": 0,
    "keepYearly": 0,
}
_SNAPSHOT: Object = {
    "name": "shop-5f0c",
    "consistentAt": "2026-03-01T12:00:02Z",
    "requestedBy": "ann@example.org",
    "step": "Publish",
    "percent": 100,
    "filestoreFiles": 40000,
    "baseId": None,
    "dependents": 3,
    "verified": None,
    "retention": "policy",
    "deletionPolicy": "delete",
    "keptBy": ["latest", "keepDaily"],
    "ruleEnds": {"keepDaily": "2026-03-15T00:00:00Z"},
    "deletedNext": False,
    "remote": {
        "state": "completed",
        "storeName": "offsite",
        "message": "",
        "completedAt": "2026-03-01T12:05:00Z",
        "bytes": 4617089843,
        "bytesDone": 4617089843,
        "keptBy": ["latest"],
        "expiresAt": None,
        "onlyCopy": False,
    },
    "restoreTest": {
        "result": "succeeded",
        "reason": "Succeeded",
        "message": "Restored and checked.",
        "testedAt": "2026-03-01T14:00:00Z",
        "durationSeconds": 310.5,
        "predictedRollbackSeconds": 280.0,
    },
    "storeName": "store",
    "manifestSha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "serverVersion": "17.6",
    "warnings": [],
}


_REPORT: Object = Preview(
    created_at="2026-03-02T08:00:09Z",
    would_run=True,
    point_in_time="2026-03-01T12:00:02Z",
    lost_minutes=1200.1,
    database=PreviewDatabase(
        bytes_now=2147483648,
        bytes_in_snapshot=2040109465,
        server_version_now="17.6",
        server_version_in_snapshot="17.6",
        rows_counted=True,
        tables=(PreviewTable(name="public.res_partner", rows_now_estimated=10250, rows_in_snapshot_counted=10117),),
    ),
    space=(PreviewSpace(volume="Database", needed_bytes=3060164197, free_bytes=8589934592, source="spec"),),
    prediction=PreviewPrediction(
        duration_seconds=60.0,
        duration_source="Rollbacks",
        downtime_seconds=8.0,
        downtime_source="Rollbacks",
        rollbacks=3,
        explanation="The median of the last 3 rollbacks.",
    ),
).model_dump(mode="json", by_alias=True)
_TEST: Object = RestoreTestStatus(
    answered=("1a2b3c4d",),
    tested_at="2026-03-01T14:00:00Z",
    manifest_sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    duration_seconds=310.5,
    predicted_rollback_seconds=280.0,
    server_version="17.6",
    tables=412,
    rows=1850221,
    checked=("Rows of 412 tables.",),
).model_dump(mode="json", by_alias=True)
_EXTRACTED: Object = {
    "id": EXTRACT,
    "name": "shop-77aa",
    "environmentId": ENVIRONMENT,
    "snapshotId": SNAPSHOT,
    "requestedBy": "ann@example.org",
    "status": "completed",
    "isExpired": False,
    "createdAt": "2026-03-01T15:00:00.118Z",
    "startedAt": "2026-03-01T15:00:01Z",
    "completedAt": "2026-03-01T15:00:06Z",
    "expiresAt": "2026-03-02T15:00:06Z",
    "step": "Extract",
    "percent": 100,
    "message": "1 file is in the store.",
    "errorMessage": None,
    "files": {"paths": ["documents/a.pdf"]},
    "attachments": None,
    "tables": None,
    "format": None,
    "listing": None,
    "target": "store",
    "folder": None,
    "result": {
        "files": 1,
        "rows": 0,
        "bytes": 18211,
        "bytesRead": 260113,
        "key": f"extracts/{EXTRACT}.tar",
        "size": 20480,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "folder": None,
        "schema": None,
    },
}
_ROLLBACK: Object = {
    "name": "shop-91ad",
    "kind": "rollback",
    "environmentName": "shop",
    "snapshotName": "shop-5f0c",
    "phase": "Complete",
    "stage": "Ended",
    "stageSince": "2026-03-02T08:04:10Z",
    "step": "HealthCheck",
    "percent": 100,
    "bytesDone": 0,
    "bytesTotal": 0,
    "message": "The environment runs on the snapshot.",
    "deadline": "2026-03-02T10:00:00Z",
    "failureReason": None,
    "steps": [
        {
            "name": "Preflight",
            "state": "done",
            "startedAt": "2026-03-02T08:00:01Z",
            "completedAt": "2026-03-02T08:00:20Z",
            "message": "",
            "bytesDone": None,
            "filesDone": None,
        }
    ],
    "position": "new",
    "switchedAt": "2026-03-02T08:03:58Z",
    "switchedBackAt": None,
    "downtime": {
        "startedAt": "2026-03-02T08:03:50Z",
        "endedAt": "2026-03-02T08:04:08Z",
        "seconds": 18.0,
        "refusedSeconds": 3.2,
    },
    "undo": {
        "possible": True,
        "until": "2026-03-03T08:04:10Z",
        "reason": None,
        "setsAside": "All that was written since 2026-03-02T08:03:58Z is set aside with the data that is live now.",
    },
    "cancel": {"possible": False, "reason": "The rollback has ended. To return to the data from before, undo it."},
    "isCancelling": False,
    "undoesId": None,
    "undoneById": None,
    "warnings": [],
}


def examples(snapshot: Object, log: Object) -> dict[str, Object]:
    """Name of a schema → an example of it. `snapshot`, `log`: the examples of a snapshot and of a rollback log."""
    whole = {**snapshot, **_SNAPSHOT}
    return {
        "Me": {
            "subject": "ann@example.org",
            "scopes": ["read", "rollback"],
            "projects": [PROJECT],
            "environments": [],
            "expiresAt": "2026-03-01T13:00:00Z",
            "time": "2026-03-01T12:00:00Z",
        },
        "EnvironmentPage": {"limit": 20, "offset": 0, "environments": [_ROW], "total": 1},
        "EnvironmentDetails": {
            **_ROW,
            "createdAt": "2026-01-01T00:00:00Z",
            "conditions": [_CONDITION | {k: v for k, v in _PROBLEM.items() if k != "condition"}],
            "sizes": {
                "databaseBytes": 2147483648,
                "filestoreBytes": 5368709120,
                "filestoreFiles": 40000,
                "measuredAt": "2026-03-01T11:58:00Z",
            },
            "databaseName": "shop",
            "serverVersion": "17.6",
            "stores": [{"role": "store", "name": "store"}, {"role": "remote", "name": "offsite"}],
            "policy": {
                "schedule": ["0 2 * * *"],
                "timeZone": "Europe/Berlin",
                "suspended": False,
                "autoEnabled": True,
                "failurePolicy": "block",
                **_RULES,
                "remoteRetentionDays": None,
                "maxPinned": 10,
                "pinned": 1,
                "fullEvery": "7d",
                "timeoutSeconds": 3600,
                "testSchedule": ["0 4 * * 0"],
                "lastSnapshotAt": "2026-03-01T01:00:00Z",
                "nextSnapshotAt": "2026-03-02T01:00:00Z",
                "lastRestoreTestAt": None,
                "nextRestoreTestAt": "2026-03-08T03:00:00Z",
                "nextExpiryAt": "2026-03-05T01:00:00Z",
            },
            "undoWindows": [
                {
                    "deploymentId": DEPLOYMENT,
                    "until": "2026-03-02T08:04:10Z",
                    "completedAt": "2026-03-01T08:04:10Z",
                }
            ],
            "warnings": [],
        },
        "PreviewRequest": {"snapshotId": SNAPSHOT},
        "PreviewAccepted": {
            "previewId": PREVIEW,
            "environmentId": ENVIRONMENT,
            "snapshotId": SNAPSHOT,
            "message": "Preview shop-1a2b was created.",
        },
        "RollbackPreview": {
            "id": PREVIEW,
            "name": "shop-1a2b",
            "environmentId": ENVIRONMENT,
            "snapshotId": SNAPSHOT,
            "createdAt": "2026-03-02T08:00:00Z",
            "status": "completed",
            "message": "",
            "errorMessage": None,
            "warnings": [{"reason": "OtherVersion", "message": "The workload runs another image than the snapshot."}],
            "report": _REPORT,
        },
        "RollbackDetails": {**log, **_ROLLBACK},
        "UndoAccepted": {
            "deploymentId": UNDO,
            "environmentId": ENVIRONMENT,
            "undoesId": DEPLOYMENT,
            "message": "Rollback shop-77b0 was created. It undoes shop-91ad.",
        },
        "RestoreCertificate": {
            "valid": True,
            "problem": "",
            "running": False,
            "runId": None,
            "snapshot": {
                "name": "shop-5f0c",
                "namespace": "apps",
                "id": SNAPSHOT,
                "environment": "shop",
                "environmentId": ENVIRONMENT,
                "consistentAt": "2026-03-01T12:00:02Z",
                "manifestKey": f"snapshots/{SNAPSHOT}/manifest.json",
                "manifestSha256": _SNAPSHOT["manifestSha256"],
                "storeId": "2b1d7c55-8a3e-4d0c-9a3f-6c2e5b7f1a99",
                "phase": "Complete",
            },
            "test": _TEST,
            "lines": [{"label": "Environment", "value": f"shop (production, id {ENVIRONMENT})"}],
        },
        "ProbeAccepted": {
            "environmentId": ENVIRONMENT,
            "requestedAt": "2026-03-01T12:00:05Z",
            "message": "A probe of environment shop is requested.",
        },
        "RestoreTestAccepted": {
            "runId": "1a2b3c4d",
            "environmentId": ENVIRONMENT,
            "snapshotId": SNAPSHOT,
            "message": "A test restore of snapshot shop-5f0c is requested.",
        },
        "ExtractRequest": {"files": {"paths": ["documents/a.pdf"]}},
        "ExtractAccepted": {
            "extractId": EXTRACT,
            "environmentId": ENVIRONMENT,
            "snapshotId": SNAPSHOT,
            "message": "Extract shop-77aa was created.",
        },
        "ExtractPage": {"limit": 20, "offset": 0, "extracts": [_EXTRACTED], "total": 1},
        "ExtractView": _EXTRACTED,
        "ChangeEvent": {
            "id": EXTRACT,
            "environmentId": ENVIRONMENT,
            "projectId": PROJECT,
            "deleted": False,
            "object": _EXTRACTED,
        },
        "ResetEvent": {"time": "2026-03-01T12:00:00Z"},
        "ConsoleSnapshotPage": {"limit": 20, "offset": 0, "snapshots": [whole], "total": 1},
        "ConsoleSnapshot": whole,
        "RetentionPlan": {
            "environmentId": ENVIRONMENT,
            "isTrial": True,
            "timeZone": "Europe/Berlin",
            "rules": _RULES,
            "kept": 14,
            "deleted": 1,
            "deletedBytes": 4617089843,
            "unaffected": 1,
            "limit": 20,
            "offset": 0,
            "snapshots": [
                {
                    "id": SNAPSHOT,
                    "name": "shop-5f0c",
                    "time": "2026-03-01T12:00:02Z",
                    "status": "completed",
                    "storedBytes": 4617089843,
                    "keptBy": [],
                    "until": None,
                    "copyKeptBy": None,
                    "deletedNext": True,
                }
            ],
            "total": 15,
        },
    }
