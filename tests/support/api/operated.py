"""The world, with an operator that a test can slow down and hold, for a person who looks on while an operation runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from ocore_crds.text.timestamps import text
from ocore_kube.types import OURS, ROLLBACKS
from support.api.api_server import Object
from support.api.world import NAMESPACE, SIZES, World, _condition, _now

#: Step of a rollback → its stage.
_STAGES = {
    "Preflight": "Preflight",
    "RestoreDatabase": "Restore",
    "RestoreFilestore": "Restore",
    "Check": "Await",
    "Quiesce": "Stop",
    "Switch": "Switch",
    "Resume": "Resume",
    "HealthCheck": "HealthCheck",
}
_REPORT: Object = {
    "wouldRun": True,
    "lostMinutes": 42.0,
    "database": {
        "bytesNow": 11_000_000,
        "bytesInSnapshot": SIZES["databaseBytes"],
        "rowsCounted": True,
        "tables": [{"name": "public.sale_order", "rowsNowEstimated": 120, "rowsInSnapshotCounted": 100}],
    },
    "files": {
        "layout": "Odoo",
        "filesInSnapshot": 10,
        "bytesInSnapshot": SIZES["filestoreBytes"],
        "filesToMove": 2,
        "bytesToMove": 2000,
    },
    "prediction": {"durationSeconds": 60.0, "downtimeSeconds": 8.0, "explanation": "From 3 rollbacks."},
}


class Operated(World):
    """`pace`: seconds of one step. Its methods are called in the server's event loop (`Serving.call`)."""

    def __init__(self) -> None:
        super().__init__()
        self.pace = 0.01
        self._held: dict[str, asyncio.Event] = {}
        #: Merged into the report of each preview.
        self.report: Object = {}

    def hold(self, step: str) -> None:
        """The step of a rollback, or each preview (`Preview`), does not end before it is released."""
        self._held[step] = asyncio.Event()

    def release(self, step: str) -> None:
        """See `hold`."""
        self._held.pop(step).set()

    def remove(self, kind: str, name: str) -> None:
        """As the API server does, once no finalizer is left."""
        self.server.objects.pop(OURS[kind].path(NAMESPACE, name), None)
        self.cache.store.remove(kind, NAMESPACE, name)

    def find(self, kind: str, name: str) -> Object:
        """The object as it is now."""
        return self.server.live(OURS[kind], NAMESPACE, name)

    def _changed(self, kind: str, obj: Object) -> None:
        """The operator's part of a change."""
        if kind == "Rollback" and "deletionTimestamp" in obj["metadata"]:
            for held in self._held.values():
                held.set()
        super()._changed(kind, obj)

    async def _run(self, kind: str, name: str) -> None:
        """An operation from its first status to its last one."""
        if kind != "Rollback":
            await super()._run(kind, name)
            return
        obj = self.server.live(ROLLBACKS, NAMESPACE, name)
        if obj["spec"].get("dryRun"):
            await self._preview(obj)
        elif not await self._roll_back(obj):
            await asyncio.sleep(1)  # Jobs are stopped, and what was restored is removed
            self.remove("Rollback", name)

    async def _preview(self, obj: Object) -> None:
        await asyncio.sleep(self.pace)
        if "Preview" in self._held:
            await self._held["Preview"].wait()
        if self._deleted(obj["metadata"]["name"]):
            self.remove("Rollback", obj["metadata"]["name"])
            return
        report = {**_REPORT, "createdAt": _now(), "pointInTime": _now(), **self.report}
        done = [_condition("Previewed", "Nothing was changed."), _condition("Ready")]
        self._set(obj, {"phase": "Previewed", "preview": report, "completedAt": _now(), "conditions": done})

    async def _roll_back(self, obj: Object) -> bool:
        """Whether it came to its end; else it was cancelled."""
        name, begun = obj["metadata"]["name"], _now()
        undone = self._undone(obj)
        fields: Object = {
            "startedAt": begun,
            "position": "Old",
            "environmentName": self._target(obj)["metadata"]["name"],
        }
        if undone is not None:
            fields["undo"] = {
                "rollbackName": undone["metadata"]["name"],
                "rollbackId": undone["status"]["id"],
                "namesId": undone["status"]["id"],
                "to": "Old",
            }
        done: list[Object] = []
        for index, (step, stage) in enumerate(_STAGES.items()):
            fields |= self._at(step)
            fields["steps"] = [*done, {"name": step, "state": "Running", "startedAt": _now(), "message": ""}]
            fields |= {"phase": "Restoring", "stage": stage, "stageSince": _now()}
            percent = 100 * index // len(_STAGES)
            fields["progress"] = {
                "step": step,
                "percent": percent,
                "bytesDone": 5,
                "bytesTotal": 10,
                "updatedAt": _now(),
            }
            fields["conditions"] = [_condition("Reconciling", f"{step} runs.", "Running")]
            self._set(obj, fields)
            await asyncio.sleep(self.pace)
            if step in self._held:
                await self._held[step].wait()
            if self._deleted(name) and stage in ("Preflight", "Restore", "Await"):
                return False
            done.append({"name": step, "state": "Done", "startedAt": begun, "completedAt": _now(), "message": ""})
        kept = _condition("PreviousRetained", "The previous database is kept.", "Kept")
        complete = [_condition("Complete", "The environment runs on the snapshot."), _condition("Ready"), kept]
        until = text(datetime.now(UTC) + timedelta(days=1))
        fields |= {"phase": "Complete", "stage": "Ended", "steps": done, "progress": None, "conditions": complete}
        self._set(obj, fields | {"completedAt": _now(), "readyAt": _now(), "undoUntil": until})
        if undone is not None:
            status = {"undoneBy": name, "undoUntil": None, "conditions": [_condition("Complete"), _condition("Ready")]}
            self.server.set_status(ROLLBACKS, NAMESPACE, undone["metadata"]["name"], status)
        return True

    @staticmethod
    def _at(step: str) -> Object:
        """What is known from a step on."""
        if step == "Quiesce":
            return {"quiescedAt": _now()}
        return {"switchedAt": _now(), "position": "New", "refusedSeconds": 0.4} if step == "Resume" else {}

    def _undone(self, obj: Object) -> Object | None:
        ref = (obj["spec"].get("undo") or {}).get("rollbackRef")
        return None if ref is None else self.server.live(ROLLBACKS, NAMESPACE, ref["name"])

    def _target(self, obj: Object) -> Object:
        undone = self._undone(obj)
        ref = (undone or obj)["spec"].get("targetEnvironmentRef")
        if ref is None:
            snapshot = self.find("Snapshot", (undone or obj)["spec"]["snapshotRef"]["name"])
            ref = snapshot["spec"]["environmentRef"]
        return self.find("Environment", ref["name"])

    @staticmethod
    def _id(obj: Object) -> Any:
        return obj["spec"].get("id") or obj["metadata"]["uid"]

    def _deleted(self, name: str) -> bool:
        return "deletionTimestamp" in self.find("Rollback", name)["metadata"]

    def _set(self, obj: Object, status: Object) -> None:
        environment = self._target(obj)
        known = {
            "observedGeneration": 1,
            "id": self._id(obj),
            "environmentId": environment["status"]["id"],
            "environmentName": environment["metadata"]["name"],
        }
        ref = obj["spec"].get("snapshotRef")
        if ref is not None:
            snapshot = self.find("Snapshot", ref["name"])
            known |= {"snapshotName": ref["name"], "snapshotId": snapshot["status"]["id"]}
        self.server.set_status(ROLLBACKS, NAMESPACE, obj["metadata"]["name"], {**known, **status})
