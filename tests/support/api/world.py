"""Environments of two tenants behind the real cache: an API server in this process, and an operator that plays the part
of the real one.

For tests of the whole application from the outside. What the real API server and the real operator do is tested in
tests/integration and tests/e2e.
"""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

from ocore_api.cache import Cache
from ocore_crds.naming import ANNOTATION_PROBE_REQUESTED
from ocore_crds.text.timestamps import text
from ocore_kube.types import ENVIRONMENTS, OURS, ROLLBACKS, SNAPSHOTS
from support.api.api_server import ApiServer, Object
from support.api.matrix import Ids

NAMESPACE = "apps"
SIZES = {"databaseBytes": 10_000_000, "filestoreBytes": 20_000_000}
_STEPS = {
    "Extract": ("Read", "Write"),
    "Snapshot": ("Prepare", "DumpDatabase", "CopyFilestore", "CaptureConfig", "Publish"),
    "Rollback": (
        "Preflight",
        "RestoreDatabase",
        "RestoreFilestore",
        "Check",
        "Quiesce",
        "Switch",
        "Resume",
        "HealthCheck",
    ),
}
#: Seconds between two statuses of an operation.
_PACE = 0.01


def id_of(*names: str) -> str:
    """A UUID that is the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(names)))


def _now() -> str:
    return text(datetime.now(UTC))


def _condition(type_: str, message: str = "", reason: str = "Succeeded") -> Object:
    return {"type": type_, "status": "True", "reason": reason, "message": message, "lastTransitionTime": _now()}


class World:
    """The API server and the cache."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.cache = Cache()
        self._tasks: set[asyncio.Task[None]] = set()
        self.server.changed = self._changed

    # --- what exists ----------------------------------------------------------------------------------------------
    def environment(self, project: str, name: str, type_: str = "staging") -> str:
        """An Environment that is ready; its id."""
        id_ = id_of(project, name)
        spec = {
            "projectId": project,
            "type": type_,
            "storeRef": {"name": "store"},
            "database": {"secretRef": {"name": "db"}},
        }
        status = {
            "observedGeneration": 1,
            "id": id_,
            "conditions": [_condition("Ready"), _condition("RollbackReady")],
            "sizes": {**SIZES, "measuredAt": _now()},
        }
        self._put("Environment", name, id_, spec, status)
        return id_

    def snapshot(self, environment: str, name: str, **spec: Any) -> str:
        """A complete Snapshot of the Environment of that name; its id."""
        id_ = id_of("snapshot", environment, name)
        self._put(
            "Snapshot",
            name,
            id_,
            {"environmentRef": {"name": environment}, **spec},
            self._snapshot_status(environment, id_),
        )
        return id_

    def rollback(self, environment: str, name: str, snapshot: str) -> str:
        """A complete Rollback of the Environment to the Snapshot of that name; its id."""
        id_ = id_of("rollback", environment, name)
        spec = {"snapshotRef": {"name": snapshot}, "targetEnvironmentRef": {"name": environment}, "requestedBy": "ann"}
        self._put("Rollback", name, id_, spec, self._rollback_status(environment, snapshot, id_))
        return id_

    def preview(self, environment: str, name: str, snapshot: str) -> str:
        """A preview of a rollback of the Environment to the Snapshot of that name, which has ended; its id."""
        id_ = id_of("preview", environment, name)
        spec = {"snapshotRef": {"name": snapshot}, "targetEnvironmentRef": {"name": environment}, "dryRun": True}
        self._put("Rollback", name, id_, spec, self._preview_status(environment, snapshot, id_))
        return id_

    def extract(self, environment: str, name: str, snapshot: str) -> str:
        """A complete Extract of the Snapshot of that name; its id."""
        id_ = id_of("extract", environment, name)
        spec = {"snapshotRef": {"name": snapshot}, "files": {"paths": ["a"]}, "target": {"store": {}}}
        self._put("Extract", name, id_, spec, self._extract_status(snapshot, id_))
        return id_

    def tenant(self, name: str) -> Ids:
        """An Environment of a project of its own, with a Snapshot, a Rollback, a preview and an Extract."""
        project = id_of("project", name)
        return Ids(
            project,
            self.environment(project, name),
            self.snapshot(name, f"{name}-1"),
            self.rollback(name, f"{name}-1", f"{name}-1"),
            self.preview(name, f"{name}-preview", f"{name}-1"),
            self.extract(name, f"{name}-extract", f"{name}-1"),
        )

    def _put(self, kind: str, name: str, uid: str, spec: Object, status: Object) -> None:
        metadata = {"namespace": NAMESPACE, "name": name, "uid": uid, "generation": 1}
        self.server.put(
            {"apiVersion": "ocore.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}
        )

    # --- the operator ---------------------------------------------------------------------------------------------
    def _changed(self, kind: str, obj: Object) -> None:
        self.cache.store.put(kind, obj)
        name = obj["metadata"]["name"]
        if kind in _STEPS and not obj.get("status"):
            self._start(self._run(kind, name))
        elif kind == "Environment" and (asked := self._asks_for_sizes(obj)):
            self._start(self._measure(name, asked))
        elif kind == "Snapshot" and "deletionTimestamp" in obj["metadata"]:
            self.server.objects.pop(SNAPSHOTS.path(NAMESPACE, name), None)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _asks_for_sizes(self, obj: Object) -> str:
        """The time of an open request; empty: there is none, or a probe runs in its place, which is the test's part."""
        asked = str((obj["metadata"].get("annotations") or {}).get(ANNOTATION_PROBE_REQUESTED, ""))
        ready = all(each["status"] == "True" for each in obj["status"]["conditions"])
        return asked if ready and asked > obj["status"]["sizes"]["measuredAt"] else ""

    async def _measure(self, name: str, asked: str) -> None:
        await asyncio.sleep(_PACE)
        sizes = {**SIZES, "measuredAt": max(asked, _now())}
        self.server.set_status(ENVIRONMENTS, NAMESPACE, name, {"sizes": sizes})

    async def _run(self, kind: str, name: str) -> None:
        """An operation from its first status to its last one."""
        type_ = OURS[kind]
        obj = self.server.live(type_, NAMESPACE, name)
        id_ = obj["spec"].get("id") or obj["metadata"]["uid"]
        done: list[Object] = []
        begun = _now()
        await asyncio.sleep(_PACE)
        for index, step in enumerate(_STEPS[kind]):
            status = {
                "observedGeneration": 1,
                "id": id_,
                "phase": "Running" if kind == "Snapshot" else "Restoring",
                "startedAt": begun,
                "conditions": [_condition("Reconciling", f"{step} runs.", "Running")],
                "steps": [*done, {"name": step, "state": "Running", "startedAt": _now(), "message": ""}],
                "progress": {
                    "step": step,
                    "percent": 100 * index // len(_STEPS[kind]),
                    "bytesDone": 5,
                    "bytesTotal": 10,
                    "updatedAt": _now(),
                },
            }
            self.server.set_status(type_, NAMESPACE, name, status)
            await asyncio.sleep(_PACE)
            done.append({"name": step, "state": "Done", "startedAt": begun, "completedAt": _now(), "message": ""})
        last = self._ended(kind, obj["spec"], id_)
        self.server.set_status(type_, NAMESPACE, name, {**last, "startedAt": begun, "steps": done, "progress": None})

    def _ended(self, kind: str, spec: Object, id_: str) -> Object:
        """The last status of an operation."""
        if kind == "Snapshot":
            return self._snapshot_status(spec["environmentRef"]["name"], id_)
        if kind == "Extract":
            return self._extract_status(spec["snapshotRef"]["name"], id_)
        if "undo" in spec:
            undone = self.server.live(ROLLBACKS, NAMESPACE, spec["undo"]["rollbackRef"]["name"])["status"]
            return self._rollback_status(undone["environmentName"], undone["snapshotName"], id_)
        status = self._preview_status if spec.get("dryRun") else self._rollback_status
        return status(spec["targetEnvironmentRef"]["name"], spec["snapshotRef"]["name"], id_)

    def _preview_status(self, environment: str, snapshot: str, id_: str) -> Object:
        status = self._rollback_status(environment, snapshot, id_)
        report = {"createdAt": _now(), "wouldRun": True, "lostMinutes": 3.5}
        return {**status, "phase": "Previewed", "conditions": [_condition("Previewed")], "preview": report}

    def _extract_status(self, snapshot: str, id_: str) -> Object:
        of = self.server.live(SNAPSHOTS, NAMESPACE, snapshot)["status"]
        return {
            "observedGeneration": 1,
            "id": id_,
            "phase": "Complete",
            "conditions": [_condition("Complete", "1 file is in the store.")],
            "startedAt": _now(),
            "completedAt": _now(),
            "environmentName": of["source"]["environmentName"],
            "environmentId": of["source"]["environmentId"],
            "snapshotId": of["id"],
            "result": {"files": 1, "bytes": 5, "bytesRead": 9, "key": "k", "size": 7, "sha256": "0" * 64},
        }

    def _snapshot_status(self, environment: str, id_: str) -> Object:
        found = self.server.live(ENVIRONMENTS, NAMESPACE, environment)
        return {
            "observedGeneration": 1,
            "id": id_,
            "phase": "Complete",
            "conditions": [_condition("Complete", "The snapshot is complete."), _condition("Ready")],
            "startedAt": _now(),
            "completedAt": _now(),
            "attempt": 1,
            "source": {
                "environmentId": found["status"]["id"],
                "environmentName": environment,
                "environmentType": found["spec"]["type"],
                "projectId": found["spec"]["projectId"],
                "imageTag": "1",
            },
            "storeName": "store",
            "storeId": id_of("store"),
            "sizes": {**SIZES, "storedBytes": 9_000_000},
            "evidence": {"proven": ["DatabaseDump"], "paths": {"database": "d", "filestore": "f", "config": "c"}},
        }

    def _rollback_status(self, environment: str, snapshot: str, id_: str) -> Object:
        found = self.server.live(ENVIRONMENTS, NAMESPACE, environment)
        restored = self.server.live(SNAPSHOTS, NAMESPACE, snapshot)
        return {
            "observedGeneration": 1,
            "id": id_,
            "phase": "Complete",
            "conditions": [
                _condition("Complete", "The environment runs on the snapshot."),
                _condition("Ready"),
                _condition("PreviousRetained"),
            ],
            "stage": "Ended",
            "switchedAt": _now(),
            "undoUntil": "2099-01-01T00:00:00Z",
            "startedAt": _now(),
            "completedAt": _now(),
            "environmentName": environment,
            "environmentId": found["status"]["id"],
            "snapshotName": snapshot,
            "snapshotId": restored["status"]["id"],
            "position": "New",
        }

    # --- what tests ask -------------------------------------------------------------------------------------------
    def snapshots(self) -> list[Object]:
        """All Snapshots."""
        return self.server.of(SNAPSHOTS)

    def rollbacks(self) -> list[Object]:
        """All Rollbacks."""
        return self.server.of(ROLLBACKS)
