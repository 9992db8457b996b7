"""What has happened to an environment at times of the past: snapshots, rollbacks and undos of a world."""

from datetime import datetime, timedelta
from typing import Any

from ocore_crds.text.timestamps import text
from support.api.world import NAMESPACE, World, id_of

#: Seconds from the creation of an operation to its end.
TOOK = 20


class History:
    """Of one environment of a world, whose snapshots have that image until `image` is set."""

    def __init__(self, world: World, environment: str) -> None:
        self._world, self._environment = world, environment
        self.image = "registry.example.org/shop:1"

    def snapshot(self, name: str, when: datetime, failed: str = "", **spec: Any) -> str:
        """A Snapshot that was complete, or failed with that message; its id."""
        status = self._world._snapshot_status(self._environment, id_of("snapshot", self._environment, name))
        status["source"] |= {"image": self.image, "imageTag": self.image.rpartition(":")[2]}
        if failed:
            conditions = [{**status["conditions"][0], "type": "Failed", "reason": "DiskFull", "message": failed}]
            status |= {"phase": "Failed", "conditions": conditions}
        status["consistentAt"] = text(when)
        return self._put("Snapshot", name, when, {"environmentRef": {"name": self._environment}, **spec}, status)

    def rollback(self, name: str, when: datetime, snapshot: str) -> str:
        """A Rollback to the Snapshot of that name, which is undone; its id."""
        id_ = id_of("rollback", self._environment, name)
        spec = {"snapshotRef": {"name": snapshot}, "targetEnvironmentRef": {"name": self._environment}}
        status = self._world._rollback_status(self._environment, snapshot, id_)
        return self._put("Rollback", name, when, {**spec, "requestedBy": "ann"}, {**status, "undoneBy": f"{name}-undo"})

    def undo(self, name: str, when: datetime, snapshot: str) -> str:
        """The undo of the Rollback of that name to that Snapshot; its id."""
        undone, id_ = id_of("rollback", self._environment, name), id_of("undo", self._environment, name)
        status = self._world._rollback_status(self._environment, snapshot, id_)
        status["undo"] = {"rollbackName": name, "rollbackId": undone, "namesId": undone, "to": "Old"}
        spec = {"undo": {"rollbackRef": {"name": name}}, "requestedBy": "bob"}
        return self._put("Rollback", f"{name}-undo", when, spec, status)

    def _put(self, kind: str, name: str, when: datetime, spec: Any, status: Any) -> str:
        ended = text(when + timedelta(seconds=TOOK))
        status |= {"startedAt": text(when), "completedAt": ended}
        if "switchedAt" in status:
            status |= {"switchedAt": ended, "quiescedAt": text(when + timedelta(seconds=TOOK - 5)), "readyAt": ended}
        uid = status["id"]
        metadata = {"namespace": NAMESPACE, "name": name, "uid": uid, "generation": 1, "creationTimestamp": text(when)}
        self._world.server.put(
            {"apiVersion": "ocore.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}
        )
        return str(uid)
