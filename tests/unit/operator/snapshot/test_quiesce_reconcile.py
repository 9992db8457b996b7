"""A quiesce against an API server in memory: what is read in which order, what is written, and a crash at every
failpoint."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_crds import conditions as c
from ocore_crds.failpoints import FailpointError
from ocore_crds.naming import ANNOTATION_FAILPOINTS, ANNOTATION_SIGNAL, FINALIZER_DATA
from ocore_kube.errors import Conflict, Forbidden, Unavailable
from ocore_kube.types import ENVIRONMENTS, JOBS, PODS, ROLLBACKS, SNAPSHOTS, WORKLOADS, Type
from ocore_operator.context import Context
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.kube.resources import Key, Object
from ocore_operator.snapshot.reconcile import reconcile
from support.operator.catalogs import new_catalog
from support.operator.objects import OTHER_UID, SETTINGS, UID, at, environment_object, job, moment, obj, pod, started

REPLICAS = 3
NAME = job_name("snapshot", UID, 1)
KEY = Key("Snapshot", "shop", "before")
DEPLOYMENTS = WORKLOADS["Deployment"]


@dataclass
class Api:
    """Objects by type and name. The Deployment's pods follow its replicas; the Job reports when it has its signal."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    version: int = 100
    calls: list[str] = field(default_factory=list)
    forbidden: bool = False
    away: bool = False  # a webhook that the API server asks
    #: What happens before the next read of the Deployment: another client acts.
    before_workload: Any = None
    frozen_beside: int = -1  # pods of the application when the Job froze

    def put(self, type_: Type, value: Object) -> None:
        self.version += 1
        value["metadata"]["resourceVersion"] = str(self.version)
        self.objects[type_.plural, value["metadata"]["name"]] = value

    def of(self, type_: Type, name: str) -> Object:
        return self.objects[type_.plural, name]

    @property
    def replicas(self) -> int:
        return int(self.of(DEPLOYMENTS, "odoo")["spec"]["replicas"])

    async def get(self, type_: Type, namespace: str, name: str) -> Object | None:
        if type_ is DEPLOYMENTS and self.before_workload is not None:
            act, self.before_workload = self.before_workload, None
            act()
        self.calls.append(f"get {type_.plural}")
        found = self.objects.get((type_.plural, name))
        return copy.deepcopy(found)

    async def list(
        self,
        type_: Type,
        namespace: str,
        labels: str = "",
        fields: str = "",
        keep: Callable[[Object], bool] = lambda _: True,
    ) -> list[Object]:
        self.calls.append(f"list {type_.plural}")
        if type_ is PODS and "app=" in labels:
            return [{"metadata": {"name": f"odoo-{n}"}, "status": {"phase": "Running"}} for n in range(self.replicas)]
        return [copy.deepcopy(o) for (plural, _), o in self.objects.items() if plural == type_.plural and keep(o)]

    async def apply_status(self, resource: Any, body: Object, manager: str = "") -> Object | None:
        found = self.objects[resource.kind.plural, resource.meta.name]
        if found["metadata"]["resourceVersion"] != resource.meta.resource_version:
            raise Conflict(409, "Conflict", "changed")
        found = copy.deepcopy(found)
        found["status"] = found["status"] if manager else copy.deepcopy(body)
        self.put(SNAPSHOTS, found)
        return copy.deepcopy(found)

    async def set_scale(
        self, type_: Type, namespace: str, name: str, replicas: int, *, resource_version: str | None = None
    ) -> bool:
        if self.forbidden:
            raise Forbidden(403, "Forbidden", "no right to scale")
        if self.away and replicas:
            raise Unavailable(500, "InternalError", "failed calling webhook")
        found = self.of(type_, name)
        if found["metadata"]["resourceVersion"] != resource_version:
            raise Conflict(409, "Conflict", "changed")
        self.calls.append(f"scale {replicas}")
        self.scale(replicas)
        return True

    def scale(self, replicas: int) -> None:
        found = self.of(DEPLOYMENTS, "odoo")
        found["spec"]["replicas"] = replicas
        found["status"]["replicas"] = replicas
        self.put(DEPLOYMENTS, found)

    async def annotate(
        self, type_: Type, namespace: str, name: str, values: Object, *, resource_version: str | None = None
    ) -> bool:
        found = self.of(type_, name)
        if found["metadata"]["resourceVersion"] != resource_version:
            raise Conflict(409, "Conflict", "changed")
        found["metadata"]["annotations"] |= values
        self.put(type_, found)
        self.frozen_beside = self.replicas
        return True

    async def delete(self, type_: Type, namespace: str, name: str, **_: Any) -> bool:
        self.objects.pop((type_.plural, name), None)
        self.objects.pop((PODS.plural, f"{name}-x"), None)
        return True

    async def follow_log(
        self, namespace: str, name: str, *, follow: bool, seconds: float
    ) -> AsyncIterator[SimpleNamespace]:
        if ANNOTATION_SIGNAL in self.of(PODS, name)["metadata"]["annotations"]:
            yield SimpleNamespace(
                text=f'{{"type":"step","step":"Quiesce","state":"Done","message":"","time":"{at(0)}"}}'
            )


def api(*, failpoint: str = "", quiesce: Object | None = None) -> Api:
    """The Snapshot has started, and its Job waits."""
    found = Api()
    annotations = {ANNOTATION_FAILPOINTS: f"{failpoint}=error@1"} if failpoint else {}
    status = started(jobName=NAME) | ({"quiesce": quiesce} if quiesce else {})
    spec = {"environmentRef": {"name": "shop"}, "quiesce": True, "timeoutSeconds": 3600}
    found.put(SNAPSHOTS, obj("Snapshot", "before", spec, status, finalizers=[FINALIZER_DATA], annotations=annotations))
    found.put(ENVIRONMENTS, environment_object({"workloads": [{"kind": "Deployment", "name": "odoo"}]}))
    found.put(JOBS, job(NAME))
    found.put(PODS, pod(NAME, {"running": {"startedAt": at(1)}}))
    found.put(
        DEPLOYMENTS,
        {
            "metadata": {"name": "odoo", "namespace": "shop", "uid": OTHER_UID, "generation": 1},
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": {"app": "odoo"}},
                "template": {"spec": {"containers": []}},
            },
            "status": {"replicas": REPLICAS, "observedGeneration": 1, "readyReplicas": REPLICAS},
        },
    )
    return found


class Clock:
    """Half a second passes between two reconciles."""

    def __init__(self) -> None:
        self.seconds = 60.0

    def now(self) -> datetime:
        return moment(self.seconds)


def context(found: Api, clock: Clock, marks: Path) -> Context:
    nothing = SimpleNamespace(
        add=lambda *_: None,
        record=lambda *_: None,
        ended=lambda *_: None,
        ensure=lambda *_: LogState(),
        forget_owner=lambda *_: None,
    )
    settings = SETTINGS.model_copy(update={"allow_failpoints": True, "failpoint_marks": marks})
    parts = {
        "settings": settings,
        "kube": found,
        "queue": nothing,
        "catalog": new_catalog(),
        "remembered": Remembered(lambda _: True),
        "slots": nothing,
        "followers": nothing,
        "pod_changes": nothing,
        "progress": nothing,
        "events": nothing,
        "metrics": nothing,
        "probes": nothing,
        "now": clock.now,
    }
    return Context(**cast("Any", parts))


def run(found: Api, marks: Path, *, rounds: int = 40, seconds: float = 0.5) -> int:
    """Reconciles every `seconds` until the quiesce is over; returns how often the operator died."""
    deaths, clock = 0, Clock()
    for _ in range(rounds):
        try:
            asyncio.run(reconcile(context(found, clock, marks), KEY))
        except FailpointError:
            deaths += 1
        except Conflict:
            pass
        clock.seconds += seconds
        known = found.of(SNAPSHOTS, "before")["status"].get("quiesce")
        if known is not None and known["stage"] == "Done":
            break
    return deaths


def test_the_whole_way(tmp_path: Path) -> None:
    found = api()
    run(found, tmp_path)
    known = found.of(SNAPSHOTS, "before")["status"]["quiesce"]
    assert known["stage"] == "Done"
    assert known["workloads"] == [{"kind": "Deployment", "name": "odoo", "replicas": REPLICAS}]
    assert "failureReason" not in known
    assert known["stoppedAt"] <= known["frozenAt"] <= known["resumedAt"]
    assert found.replicas == REPLICAS
    assert found.frozen_beside == 0
    assert [call for call in found.calls if call.startswith("scale")] == ["scale 0", f"scale {REPLICAS}"]
    signal = json.loads(found.of(PODS, f"{NAME}-x")["metadata"]["annotations"][ANNOTATION_SIGNAL])
    assert signal["action"] == "Freeze"


QUIESCE_POINTS = [
    "operator-snapshot-replicas-saved",
    "operator-snapshot-scaled-down",
    "operator-snapshot-signalled",
    "operator-snapshot-frozen",
    "operator-snapshot-resumed",
]


@pytest.mark.parametrize("point", QUIESCE_POINTS)
def test_row_44_the_operator_dies_at_every_failpoint(tmp_path: Path, point: str) -> None:
    found = api(failpoint=point)
    assert run(found, tmp_path) == 1, f"{point} did not fire"
    known = found.of(SNAPSHOTS, "before")["status"]["quiesce"]
    assert known["stage"] == "Done"
    assert [w["replicas"] for w in known["workloads"]] == [REPLICAS]
    assert "failureReason" not in known
    assert found.replicas == REPLICAS
    assert found.frozen_beside == 0


def test_operations_are_read_before_the_workloads_and_the_snapshot_after_them(tmp_path: Path) -> None:
    """Else a replica count may be that of a workload that another operation has stopped, or a stage may be older than
    the workload."""
    found = api()
    asyncio.run(reconcile(context(found, Clock(), tmp_path), KEY))
    calls = found.calls
    workload = calls.index("get deployments")
    assert calls.index("list rollbacks") < workload
    assert calls.index("list snapshots") < workload
    assert "get snapshots" in calls[workload:]


def test_a_deposed_leader_does_not_stop_what_the_next_one_has_started(tmp_path: Path) -> None:
    """It has read the stage Stop. Before it reads the workload, the next leader finishes the quiesce."""
    saved = {"workloads": [{"kind": "Deployment", "name": "odoo", "replicas": REPLICAS}]}
    stop = {"stage": "Stop", "enteredAt": at(60), "attempt": 1, "stoppedAt": at(60), **saved}
    found = api(quiesce=stop)

    def next_leader() -> None:
        snapshot = found.of(SNAPSHOTS, "before")
        snapshot["status"]["quiesce"] = stop | {"stage": "Done"}
        found.put(SNAPSHOTS, snapshot)

    found.before_workload = next_leader
    asyncio.run(reconcile(context(found, Clock(), tmp_path), KEY))
    assert found.replicas == REPLICAS
    assert not [call for call in found.calls if call.startswith("scale")]


def test_it_waits_for_a_rollback_that_stops_the_workload(tmp_path: Path) -> None:
    found = api()
    workloads = [{"kind": "Deployment", "name": "odoo", "replicas": REPLICAS}]
    status = {"stage": "Drain", "workloads": workloads, "observedGeneration": 1}
    other = obj("Rollback", "back", {"snapshotRef": {"name": "old"}}, status, uid=OTHER_UID)
    found.put(ROLLBACKS, other)
    run(found, tmp_path, rounds=10)
    status = found.of(SNAPSHOTS, "before")["status"]
    assert "quiesce" not in status
    assert any("Rollback back also stops" in x["message"] for x in status["conditions"])
    other["status"]["stage"] = "Ended"
    found.put(ROLLBACKS, other)
    run(found, tmp_path)
    assert found.of(SNAPSHOTS, "before")["status"]["quiesce"]["stage"] == "Done"
    assert found.replicas == REPLICAS


def test_without_the_right_to_scale_it_fails_and_says_so(tmp_path: Path) -> None:
    found = api()
    found.forbidden = True
    run(found, tmp_path)
    known = found.of(SNAPSHOTS, "before")["status"]["quiesce"]
    assert known["failureReason"] == c.QUIESCE_FAILED
    assert "no right to scale" in known["failureMessage"]
    run(found, tmp_path, rounds=3)
    assert found.of(SNAPSHOTS, "before")["status"]["phase"] == "Failed"
    assert found.replicas == REPLICAS


def test_a_start_that_is_refused_is_stalled_until_it_is_accepted(tmp_path: Path) -> None:
    """A webhook that is away answers with 500: not a right that is missing."""
    found = api()
    found.away = True
    run(found, tmp_path, rounds=10, seconds=200)
    status = found.of(SNAPSHOTS, "before")["status"]
    assert (status["quiesce"]["stage"], found.replicas) == ("Resume", 0)
    stalled = next(x for x in status["conditions"] if x["type"] == c.STALLED)
    assert (stalled["status"], stalled["reason"]) == ("True", c.WORKLOAD_NOT_RESUMED)
    assert "failed calling webhook" in stalled["message"]
    found.away = False
    run(found, tmp_path)
    assert found.replicas == REPLICAS
    assert found.of(SNAPSHOTS, "before")["status"]["quiesce"]["stage"] == "Done"
