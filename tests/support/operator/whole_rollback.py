"""A snapshot, a rollback in place and its undo, from their creation to their end, against an API server in this
process. The test plays kubelet, controllers and mover, and wakes the operator as the watches do."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from ocore_crds import conditions as c
from ocore_crds.protocol import (
    ProbedReport,
    ProbeResult,
    ReadyReport,
    RestoredReport,
    RestoreResult,
    Result,
    SnapshotResult,
    Step,
    StepReport,
    SwitchResult,
)
from ocore_crds.stored.manifest import Evidence
from ocore_kube.errors import Forbidden
from ocore_kube.types import CLAIMS, DEPLOYMENTS, ENVIRONMENTS, JOBS, PODS, ROLLBACKS, SNAPSHOTS, STORES
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.jobs.slots.slots import Slots
from ocore_operator.kube.resources import Key, Object
from ocore_operator.probe_requests import ProbeRequests
from ocore_operator.rollback import reconcile as of_rollback
from ocore_operator.rollback.memory import Memories
from ocore_operator.snapshot import reconcile as of_snapshot
from support.operator import objects
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.objects import NOW, OTHER_UID, SETTINGS, UID

KEY = Key("Rollback", "shop", "back")
UNDO = Key("Rollback", "shop", "undo")
BACK_UID, UNDO_UID = "b0000000-2222-4333-8444-555555555555", "d0000000-2222-4333-8444-555555555555"
#: Seconds between two things that happen.
STEP = 1.0
NEW = SwitchResult(position="New", live_database="shop", previous_database="shop_prev", accepting_connections=True)


class Place(ApiServer):
    """The API server, with the logs of pods."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[str, list[str]] = {}
        self.refuses_jobs = False
        self._uids = itertools.count(1)

    def _create(self, path: str, body: Object) -> Object:
        if self.refuses_jobs and body["kind"] == "Job":
            raise Forbidden(403, "Forbidden", "exceeded quota")
        made = {"uid": f"uid-{next(self._uids)}", "creationTimestamp": objects.at(0), "generation": 1}
        return super()._create(path, {**body, "metadata": {**made, **body["metadata"]}})

    async def lines(self, path: str, **_: Any) -> AsyncIterator[str]:
        """The log so far."""
        self.requests.append(("LOG", path))
        for line in self.logs.get(path.split("/")[-2], []):
            yield f"{objects.at(1)} {line}"


@dataclass
class Logs:
    """The logs of pods, as they are followed."""

    place: Place
    states: dict[str, LogState] = field(default_factory=dict)
    refused: bool = False

    def unreadable(self, _: str) -> bool:
        return self.refused

    def ensure(self, _: Key, pod: str, since: datetime | None = None) -> LogState:
        return self.states.setdefault(pod, LogState())

    async def whole(self, _: str, pod: str) -> LogState:
        return self.states.setdefault(pod, LogState())

    def forget_owner(self, *_: Any) -> None: ...


class Operator:
    """The operator's own part: reconciles while there is something to do."""

    def __init__(self) -> None:
        self.place, self.now = Place(), NOW
        self.logs, self.memories = Logs(self.place), Memories()
        self.remembered = Remembered(lambda _: True, lambda: (self.now - NOW).total_seconds())
        nothing = SimpleNamespace(**dict.fromkeys(("add", "ensure", "record", "ended", "forget"), lambda *_: None))
        parts = {
            **dict.fromkeys(("queue", "progress", "events", "metrics", "pod_changes"), nothing),
            "settings": SETTINGS,
            "kube": self.place.client(),
            "catalog": new_catalog(),
            "remembered": self.remembered,
            "slots": Slots(10, 10),
            "followers": self.logs,
            "probes": ProbeRequests(),
            "now": lambda: self.now,
        }
        self.ctx = Context(**cast("Any", parts))

    def reconcile(self, key: Key) -> None:
        """Once, as after an event."""
        self.now += timedelta(seconds=STEP)
        if key.kind == "Snapshot":
            asyncio.run(of_snapshot.reconcile(self.ctx, key))
        else:
            asyncio.run(of_rollback.reconcile(self.memories, self.ctx, key))

    def stage(self, key: Key) -> str:
        """The stage of the Rollback."""
        return str(self.place.read(ROLLBACKS, "shop", key.name).get("status", {}).get("stage"))


class Site(Operator):
    """One environment with a Deployment, a Snapshot, and what happens there."""

    def __init__(self) -> None:
        super().__init__()
        self.place.put(ENVIRONMENTS, environment(self.now))
        store = objects.obj("SnapshotStore", "store", {"s3": {"bucket": "snapshots"}}, {"storeId": OTHER_UID})
        self.place.put(STORES, store)
        self.place.put(SNAPSHOTS, complete())
        claim = {"metadata": {"name": "files", "namespace": "shop"}, "spec": {"accessModes": ["ReadWriteMany"]}}
        self.place.put(CLAIMS, claim)
        self.place.put(DEPLOYMENTS, deployment())
        self.follow()

    # --- kubelet and controllers --------------------------------------------------------------------------------
    def follow(self) -> None:
        """The Deployment has the pods that it is to have."""
        found = self.place.read(DEPLOYMENTS, "shop", "shop")
        wanted = found["spec"]["replicas"]
        status = {"replicas": wanted, "readyReplicas": wanted, "observedGeneration": 1}
        self.place.put(DEPLOYMENTS, {**found, "status": status})

    def run(self, name: str, *, ready: bool = True) -> str:
        """The pod of the Job runs; its name."""
        job = self.place.read(JOBS, "shop", name)
        pod = objects.pod(name, {"running": {"startedAt": objects.at(1)}})
        pod["metadata"]["labels"] |= job["metadata"]["labels"]
        pod["metadata"]["ownerReferences"] = [objects.controller("Job", name, job["metadata"]["uid"])]
        pod["status"]["containerStatuses"][0]["ready"] = ready
        self._put(pod)
        return str(pod["metadata"]["name"])

    def end(self, pod: str, result: SwitchResult | SnapshotResult) -> None:
        """The pod has ended."""
        found = self.place.read(PODS, "shop", pod)
        text = Result(ok=True, payload=result, time=objects.at(1)).termination_message()
        found["status"] |= {"phase": "Succeeded"}
        found["status"]["containerStatuses"][0] |= {"ready": False, "state": objects.ended(text)}
        self._put(found)

    def _put(self, pod: Object) -> None:
        self.remembered.heard(self.place.put(PODS, pod))

    def log(self, pod: str, *lines: Any) -> None:
        """The Job writes these lines."""
        for line in lines:
            self.logs.ensure(KEY, pod).take(line.model_dump_json(by_alias=True))
            self.place.logs.setdefault(pod, []).append(line.model_dump_json(by_alias=True))

    def jobs(self, key: Key) -> list[str]:
        """The names of the Rollback's Jobs."""
        paths = [p.rsplit("/", 1)[1] for p in self.place.paths() if "/jobs/" in p]
        uid = self.place.read(ROLLBACKS, "shop", key.name)["metadata"]["uid"]
        return [n for n in paths if self.place.read(JOBS, "shop", n)["metadata"]["labels"]["ocore.dev/uid"] == uid]

    # --- what happens ---------------------------------------------------------------------------------------------
    def roll_back(self) -> Counter[str]:
        """A Rollback until it is Complete. Returns how many requests of which kind it took."""
        pod = self.restore()
        self.switch(KEY, pod)
        return self.counted()

    def restore(self) -> str:
        """A Rollback until its Job has restored and waits for its signal. The pod of that Job."""
        self.place.put(
            ROLLBACKS, objects.obj("Rollback", "back", {"snapshotRef": {"name": "before"}}, {}, uid=BACK_UID)
        )
        self.place.requests.clear()
        self.reconcile(KEY)
        (name,) = self.jobs(KEY)
        pod = self.run(name)
        self.reconcile(KEY)
        began = clock.text(self.now)
        self.log(pod, ProbedReport(probe=ProbeResult(), time=began))
        self.reconcile(KEY)
        self.place.put(ENVIRONMENTS, probed(self.place.read(ENVIRONMENTS, "shop", "shop"), self.now))
        self.reconcile(KEY)
        assert self.stage(KEY) == "Restore"
        result = RestoreResult(restored_database="shop_rb", evidence=Evidence(proven=("all",)))
        self.log(pod, RestoredReport(result=result, time=began))
        self.reconcile(KEY)
        self.log(pod, ReadyReport(time=began))
        return pod

    def snapshot(self) -> Counter[str]:
        """A Snapshot until it is Complete."""
        key = Key("Snapshot", "shop", "after")
        self.place.put(
            SNAPSHOTS, objects.obj("Snapshot", "after", {"environmentRef": {"name": "shop"}}, {}, uid=UNDO_UID)
        )
        self.place.requests.clear()
        self.reconcile(key)
        (name,) = (p.rsplit("/", 1)[1] for p in self.place.paths() if "/jobs/" in p)
        pod = self.run(name)
        self.reconcile(key)
        result = SnapshotResult(
            attempt="1",
            manifest_key="m",
            manifest_sha256="0" * 64,
            store_id=OTHER_UID,
            started_at=objects.at(1),
            consistent_at=objects.at(1),
            completed_at=objects.at(1),
        )
        self.end(pod, result)
        self.reconcile(key)
        status = self.place.read(SNAPSHOTS, "shop", "after")["status"]
        assert status["phase"] == "Complete", status
        return self.counted()

    def undo(self) -> Counter[str]:
        """The undo of that Rollback, until it is Complete."""
        spec = {"undo": {"rollbackRef": {"name": "back"}}}
        self.place.put(ROLLBACKS, objects.obj("Rollback", "undo", spec, {}, uid=UNDO_UID))
        self.place.requests.clear()
        self.reconcile(UNDO)
        (name,) = self.jobs(UNDO)
        pod = self.run(name)
        self.log(pod, ReadyReport(time=objects.at(1)))
        self.switch(UNDO, pod)
        return self.counted()

    def switch(self, key: Key, pod: str) -> None:
        """From the Job that is ready until the end."""
        self.reconcile(key)
        assert self.stage(key) == "Drain"
        self.follow()
        self.reconcile(key)
        assert self.stage(key) == "Switch"
        done = NEW if key == KEY else NEW.model_copy(update={"position": "Old"})
        message = done.model_dump_json(by_alias=True)
        self.log(pod, StepReport(step=Step.SWITCH, state="Done", time=objects.at(1), message=message))
        self.reconcile(key)
        assert self.stage(key) == "Resume"
        self.end(pod, done)
        self.reconcile(key)
        assert self.stage(key) == "HealthCheck"
        self.follow()
        self.reconcile(key)
        status = self.place.read(ROLLBACKS, "shop", key.name)["status"]
        assert (status["stage"], status["phase"]) == ("Ended", "Complete"), status

    def counted(self) -> Counter[str]:
        """The requests by method and resource."""
        found: Counter[str] = Counter()
        for method, path in self.place.requests:
            parts = path.split("/namespaces/shop/")[-1].split("/")
            found[f"{method} {parts[0]}"] += 1
        return found


def environment(now: datetime) -> Object:
    """Probed, and ready for everything."""
    found = objects.environment_object({"config": None}, {"id": UID, "observedGeneration": 1})
    true = {"status": "True", "reason": c.SUCCEEDED, "message": "", "lastTransitionTime": objects.at(0)}
    found["status"]["conditions"] = [{"type": t, **true} for t in (c.READY, c.ROLLBACK_READY)]
    return probed(found, now - timedelta(seconds=60))


def probed(environment: Object, now: datetime) -> Object:
    """The Environment after a probe that began just then."""
    at = clock.text(now + timedelta(seconds=1))
    probe = {"time": at, "startedAt": at, "generation": 1, "serverMajor": 17, "databaseName": "shop"}
    return {**environment, "status": {**environment["status"], "probe": probe}}


def complete() -> Object:
    """A Snapshot that can be restored."""
    found = objects.snapshot_object({}, objects.started(manifestSha256="0" * 64, serverMajor=17), uid=OTHER_UID)
    condition = {"type": c.COMPLETE, "status": "True", "reason": c.SUCCEEDED, "lastTransitionTime": objects.at(0)}
    found["status"] |= {"phase": "Complete", "id": OTHER_UID, "conditions": [{**condition, "message": ""}]}
    return found


def deployment() -> Object:
    """The application."""
    pod = {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "shop", "image": "shop:1"}]}}
    return {
        "metadata": {"name": "shop", "namespace": "shop", "uid": "app", "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "shop"}}, "template": pod},
    }
