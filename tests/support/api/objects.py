"""Raw objects as the API server returns them, for tests of the facade."""

import copy
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from ocore_crds.group import API_VERSION
from ocore_crds.resources.snapshot import SnapshotSpec, SnapshotStatus
from ocore_crds.rules.evidence import of_snapshot
from ocore_crds.text.timestamps import text

Object = dict[str, Any]
PROJECT, OTHER_PROJECT = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"
ENVIRONMENT, OTHER_ENVIRONMENT = "bbbbbbbb-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
#: When the first object of a test was created.
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(seconds: float) -> str:
    """A timestamp, these seconds after BEGIN."""
    return text(BEGIN + timedelta(seconds=seconds))


def uid_of(name: str) -> str:
    """A UUID that depends on the name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def obj(
    kind: str,
    name: str,
    spec: Object,
    status: Object | None = None,
    *,
    namespace: str = "apps",
    uid: str | None = None,
    version: int = 1,
    created: float = 0,
    **metadata: Any,
) -> Object:
    """An object of one of our kinds."""
    meta = {
        "name": name,
        "namespace": namespace,
        "uid": uid or uid_of(f"{kind}/{namespace}/{name}"),
        "creationTimestamp": at(created),
        "resourceVersion": str(version),
        "generation": 1,
        **metadata,
    }
    found: Object = {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": spec}
    if status is not None:
        found["status"] = status
    return copy.deepcopy(found)


def condition(
    type_: str, status: str = "True", reason: str = "Succeeded", message: str = "", when: float = 0
) -> Object:
    """A condition."""
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": at(when),
        "observedGeneration": 1,
    }


DUPLICATE = {
    "phase": "Failed",
    "conditions": [condition("Failed", "True", "DuplicateId", "another object has this id")],
}


def environment(
    name: str = "shop",
    id_: str | None = ENVIRONMENT,
    project: str | None = PROJECT,
    type_: str = "production",
    status: Object | None = None,
    **meta: Any,
) -> Object:
    """An Environment; `id_` None: the operator has not seen it. `project` None: its namespace's."""
    declared = {"projectId": project} if project is not None else {}
    spec = {**declared, "type": type_, "storeRef": {"name": "store"}, "database": {"secretRef": {"name": "db"}}}
    written = {"id": id_, **(status or {})} if id_ else status
    return obj("Environment", name, spec, written, **meta)


def source(id_: str = ENVIRONMENT, project: str = PROJECT, name: str = "shop", type_: str = "production") -> Object:
    """What a Snapshot recorded of its environment."""
    return {
        "environmentId": id_,
        "environmentName": name,
        "environmentType": type_,
        "projectId": project,
        "image": "registry.example.org/shop:18.0",
        "imageTag": "18.0",
        "imageDigest": "sha256:" + "d" * 64,
        "commitSha": "c" * 40,
        "configSha256": "e" * 64,
        "deploymentId": "",
    }


def snapshot(name: str = "before", spec: Object | None = None, status: Object | None = None, **meta: Any) -> Object:
    """A Snapshot that the operator has not seen."""
    return obj(
        "Snapshot", name, {"environmentRef": {"name": "shop"}, "trigger": "Manual", **(spec or {})}, status, **meta
    )


def complete(name: str = "before", spec: Object | None = None, *, of: Object | None = None, **meta: Any) -> Object:
    """A Complete Snapshot of real size. `of`: what it recorded of its environment."""
    created = meta.get("created", 0)
    paths = {
        "database": f"{name}/database/",
        "filestore": f"{name}/filestore/index.json.zst",
        "config": f"{name}/config/config.json",
        "manifest": f"{name}/manifest.json",
    }
    sums = {artifact: uid_of(name + artifact).replace("-", "") * 2 for artifact in paths}
    names = ("Prepare", "DumpDatabase", "CopyFilestore", "CaptureConfig", "Publish")
    steps = [
        {"name": n, "state": "Done", "startedAt": at(created + 1), "completedAt": at(created + 60), "message": ""}
        for n in names
    ]
    found = snapshot(name, spec, {}, **meta)
    found["status"] = {
        "observedGeneration": 1,
        "id": (spec or {}).get("id") or found["metadata"]["uid"],
        "phase": "Complete",
        "conditions": [condition("Complete", when=created + 61), condition("Ready", when=created + 61)],
        "startedAt": at(created + 1),
        "consistentAt": at(created + 2),
        "completedAt": at(created + 61),
        "attempt": 1,
        "jobName": f"{name}-1",
        "source": of or source(),
        "parts": ["Database", "Filestore", "Config"],
        "storeName": "store",
        "storeId": uid_of("store"),
        "manifestKey": paths["manifest"],
        "manifestSha256": sums["manifest"],
        "serverVersion": "17.6",
        "serverMajor": 17,
        "clientVersion": "17.6",
        "sizes": {
            "databaseBytes": 2_000_000_000 + int(created),
            "databaseStoredBytes": 300_000_000,
            "databaseRestoreBytes": 300_000_000,
            "filestoreBytes": 5_000_000_000,
            "filestoreFiles": 40_000,
            "filestoreStoredBytes": 4_000_000_000,
            "storedBytes": 4_300_000_000,
        },
        "evidence": {
            "required": ["database"],
            "proven": ["database: SHA-256"],
            "missing": [],
            "warnings": [],
            "checksums": sums,
            "paths": paths,
        },
        "steps": steps,
        "residue": "None",
    }
    return found


def running(name: str = "before", percent: int = 40, **meta: Any) -> Object:
    """A Snapshot that is being taken."""
    found = complete(name, **meta)
    status = found["status"]
    for field in ("completedAt", "manifestKey", "manifestSha256", "sizes", "evidence", "residue"):
        del status[field]
    status["phase"] = "Running"
    status["conditions"] = [
        condition("Reconciling", "True", "Running", "The Job runs."),
        condition("Ready", "False", "Running"),
    ]
    status["steps"] = [
        {**status["steps"][0]},
        {"name": "DumpDatabase", "state": "Running", "startedAt": at(3), "message": ""},
    ]
    status["progress"] = {
        "step": "DumpDatabase",
        "bytesDone": percent * 1000,
        "bytesTotal": 100_000,
        "percent": percent,
        "updatedAt": at(100 + percent),
    }
    return found


def failed(name: str = "before", message: str = "pg_dump exited with code 1: disk full.", **meta: Any) -> Object:
    """A Snapshot that failed."""
    found = running(name, **meta)
    found["status"]["phase"] = "Failed"
    found["status"]["completedAt"] = at(200)
    found["status"]["conditions"] = [
        condition("Failed", "True", "DumpFailed", message),
        condition("Ready", "False", "DumpFailed", message),
    ]
    return found


def rollback(name: str = "back", spec: Object | None = None, status: Object | None = None, **meta: Any) -> Object:
    """A Rollback to the Snapshot `before` that the operator has not seen."""
    return obj("Rollback", name, spec or {"snapshotRef": {"name": "before"}}, status, **meta)


def rolled_back(
    name: str = "back",
    spec: Object | None = None,
    *,
    snapshot_id: str | None = None,
    status: Object | None = None,
    **meta: Any,
) -> Object:
    """A Complete Rollback into the Environment `shop`."""
    created = meta.get("created", 0)
    found = rollback(name, spec, {}, **meta)
    found["status"] = {
        "observedGeneration": 1,
        "id": found["spec"].get("id") or found["metadata"]["uid"],
        "phase": "Complete",
        "conditions": [condition("Complete", when=created + 90), condition("Ready", when=created + 90)],
        "startedAt": at(created + 1),
        "completedAt": at(created + 90),
        "environmentName": "shop",
        "environmentId": ENVIRONMENT,
        "snapshotName": "before",
        "snapshotId": snapshot_id or uid_of("Snapshot/apps/before"),
        "position": "New",
        "switchedAt": at(created + 80),
        **(status or {}),
    }
    return found


def evidence_of(snapshot_: Object) -> Object:
    """The recoveryEvidence that the operator writes into the status of this Snapshot."""
    spec, status = SnapshotSpec.model_validate(snapshot_["spec"]), SnapshotStatus.model_validate(snapshot_["status"])
    return of_snapshot(spec, status).model_dump(mode="json", by_alias=True, exclude_none=True)


def extract(name: str = "extract", snapshot_: str = "before", status: Object | None = None, **meta: Any) -> Object:
    """An Extract of the Snapshot of that name."""
    spec = {"snapshotRef": {"name": snapshot_}, "files": {"paths": ["a"]}, "target": {"store": {}}}
    return obj("Extract", name, spec, status, **meta)
