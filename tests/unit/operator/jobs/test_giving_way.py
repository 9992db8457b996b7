"""Row 105: a Job whose pod keeps a pod of the application from starting gives way, and no other Job does."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from ocore_crds import conditions as c
from ocore_kube.types import Type
from ocore_operator.context import Context
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.kube.resources import Object
from support.operator.objects import SETTINGS, at, job, moment, pod, snapshot

CLAIMS = [{"name": "files", "persistentVolumeClaim": {"claimName": "files"}}]
MULTI_ATTACH = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) snapshot-1-x'
IN_USE = (
    "0/2 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access"
    " mode, 1 node(s) were unschedulable."
)


def shop(name: str, node: str, phase: str = "Pending", **status: Any) -> Object:
    """A pod of the application."""
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": {"app": "shop"}},
        "spec": {"nodeName": node, "volumes": CLAIMS},
        "status": {"phase": phase, **status},
    }


class Cluster:
    """A Job on node1 that holds the claim, and the pods of the application."""

    def __init__(self, command: str = "snapshot") -> None:
        self.holder = pod("snapshot-1", {"running": {"startedAt": at(1)}})
        self.holder["spec"]["volumes"] = CLAIMS
        self.job = job("snapshot-1", command)
        self.pods = [shop("new", "node2")]
        self.events = [{"involvedObject": {"uid": "uid-new"}, "reason": "FailedAttachVolume", "message": MULTI_ATTACH}]
        self.remembered = Remembered(lambda _: True)
        self.kube, self.settings = self, SETTINGS

    def now(self) -> object:
        return moment(5)

    async def list(
        self,
        type_: Type,
        namespace: str,
        *,
        labels: str = "",
        fields: str = "",
        keep: Callable[[Object], bool] = lambda _: True,
    ) -> list[Object]:
        if type_.plural == "jobs":
            return [self.job]
        if type_.plural == "events":
            wanted = dict(each.split("=") for each in fields.split(","))
            return [
                e for e in self.events
                if (e["involvedObject"]["uid"], e["reason"]) == (wanted["involvedObject.uid"], wanted.get("reason"))
            ]  # fmt: skip
        if labels:
            return [self.holder]
        phase = fields.removeprefix("status.phase=")
        return [p for p in (self.holder, *self.pods) if phase in ("", p["status"]["phase"]) and keep(p)]

    def gives_way(self, *, fresh: bool = True) -> bool:
        """Whether the Job does."""
        seen = asyncio.run(lifecycle.observe(cast(Context, self), snapshot(), fresh=fresh))
        assert set(seen.gives_way) <= {"snapshot-1"}
        return bool(seen.gives_way)


@pytest.mark.parametrize("command", ["snapshot", "restore"])
def test_row_105_a_pod_that_cannot_attach_the_claim(command: str) -> None:
    cluster = Cluster(command)
    seen = asyncio.run(lifecycle.observe(cast(Context, cluster), snapshot()))
    failure = seen.gives_way["snapshot-1"]
    assert (failure.reason, failure.retryable) == (c.CLAIM_NEEDED, True)
    for part in ("claim files", "node node1", "pod new", "ReadWriteMany"):
        assert part in failure.message


def test_row_105_a_pod_that_waits_for_a_claim_of_one_pod() -> None:
    cluster = Cluster()
    cluster.events = []
    cluster.pods = [shop("new", "", conditions=[{"type": "PodScheduled", "status": "False", "message": IN_USE}])]
    assert cluster.gives_way()
    cluster.pods = [shop("new", "", conditions=[{"type": "PodScheduled", "status": "False", "message": "no memory"}])]
    assert not cluster.gives_way()


def test_row_105_a_pod_that_only_starts_stops_nothing() -> None:
    cluster = Cluster()
    cluster.events = []
    assert not cluster.gives_way()


def test_row_105_a_pod_on_the_jobs_node_stops_nothing() -> None:
    cluster = Cluster()
    cluster.pods = [shop("new", "node1")]
    assert not cluster.gives_way()


def test_row_105_a_pod_of_another_claim_stops_nothing() -> None:
    cluster = Cluster()
    cluster.pods[0]["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "other"}}]
    assert not cluster.gives_way()


@pytest.mark.parametrize("phase", ["Running", "Pending"])
def test_row_105_where_the_old_pod_holds_the_claim_too_the_job_continues(phase: str) -> None:
    """Its end would not help: a rolling update that waits for the new pod never ends, with a snapshot or without."""
    cluster = Cluster()
    cluster.pods.append(shop("old", "node1", phase))
    assert not cluster.gives_way()
    cluster.pods[1] = shop("old", "node1", "Succeeded")
    assert cluster.gives_way()


def test_row_105_another_job_of_ours_stops_nothing() -> None:
    cluster = Cluster()
    cluster.pods[0]["metadata"]["labels"] = cluster.holder["metadata"]["labels"]
    assert not cluster.gives_way()


@pytest.mark.parametrize("command", ["switch", "undo", "cleanup", "verify", "probe"])
def test_row_105_only_what_runs_long_beside_the_application_gives_way(command: str) -> None:
    """A switch Job holds the claim while the application is stopped, and ends in seconds."""
    assert not Cluster(command).gives_way()


def test_row_105_a_job_that_is_being_stopped_is_left_alone() -> None:
    cluster = Cluster()
    cluster.holder["metadata"]["deletionTimestamp"] = at(4)
    assert not cluster.gives_way()


def test_row_105_nothing_is_stopped_because_of_the_last_lists() -> None:
    cluster = Cluster()
    assert cluster.gives_way()
    assert not cluster.gives_way(fresh=False)
