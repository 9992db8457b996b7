"""An ordinary Snapshot and Rollback: what the rows of all of them have in common (see `packing`)."""

from typing import Any

_TIME = "2026-01-31T12:00:00Z"
_META = {"name": "a", "namespace": "a", "uid": "", "creationTimestamp": _TIME, "resourceVersion": "1"}
_PARTS = {
    "database": "database/",
    "filestore": "filestore/index.json.zst",
    "config": "config/config.json",
    "manifest": "manifest.json",
}
_DONE = {"status": "True", "reason": "Succeeded", "lastTransitionTime": _TIME, "message": ""}


def _steps(*names: str) -> list[dict[str, str]]:
    return [{"name": n, "state": "Done", "startedAt": _TIME, "completedAt": _TIME, "message": ""} for n in names]


EXAMPLE: dict[str, dict[str, Any]] = {
    "Snapshot": {
        "metadata": _META,
        "spec": {"environmentRef": {"name": "a"}, "trigger": "Scheduled"},
        "status": {
            "id": "",
            "phase": "Complete",
            "conditions": [{"type": "Complete", **_DONE}, {"type": "Ready", **_DONE}],
            "startedAt": _TIME,
            "completedAt": _TIME,
            "consistentAt": _TIME,
            "parts": ["Database", "Filestore", "Config"],
            "storeId": "a",
            "manifestKey": "manifest.json",
            "manifestSha256": "0",
            "serverVersion": "17.6",
            "source": {"environmentId": "", "environmentName": "", "environmentType": "production", "projectId": ""},
            "sizes": {
                "databaseBytes": 10**9,
                "databaseStoredBytes": 10**9,
                "filestoreBytes": 10**9,
                "filestoreFiles": 1000,
                "filestoreStoredBytes": 10**9,
                "storedBytes": 10**9,
            },
            "evidence": {"proven": ["a"], "checksums": dict.fromkeys(_PARTS, "0"), "paths": _PARTS},
            "steps": _steps("Prepare", "DumpDatabase", "CopyFilestore", "CaptureConfig", "Publish"),
        },
    },
    "Rollback": {
        "metadata": _META,
        "spec": {"snapshotRef": {"name": "a"}},
        "status": {
            "id": "",
            "phase": "Complete",
            "conditions": [{"type": "Complete", **_DONE}, {"type": "Ready", **_DONE}],
            "startedAt": _TIME,
            "completedAt": _TIME,
            "position": "New",
            "switchedAt": _TIME,
            "readyAt": _TIME,
            "snapshotId": "",
            "snapshotName": "a",
            "manifestSha256": "0",
            "liveDatabase": "a",
            "previousDatabase": "a_prev_00000000",
            "undoUntil": _TIME,
            "residue": "Pending",
            "recorded": True,
            "evidence": {"proven": ["a"]},
            "steps": _steps(
                *("Preflight", "RestoreDatabase", "RestoreFilestore", "Check"),
                *("Quiesce", "Switch", "Resume", "HealthCheck"),
            ),
        },
    },
}
