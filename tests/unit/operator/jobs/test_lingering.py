"""A Job whose mover has ended ends, although an injected container of its pod still runs."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_kube.errors import Unavailable
from ocore_operator.jobs.observing.lingering import AFTER, Lingering, only_lingers
from ocore_operator.jobs.observing.outcome import mover_ended
from ocore_operator.kube.resources import Object
from support.operator.objects import OTHER_UID, UID, controller

TTL = 600.0
PROXY: Object = {"name": "istio-proxy", "state": {"running": {"startedAt": "2026-03-01T12:00:00Z"}}}
OURS = {"ocore.dev/uid": UID, "ocore.dev/kind": "Snapshot"}


def job(**status: Any) -> Object:
    owner = controller("Snapshot", "before", UID)
    metadata = {"name": "a", "namespace": "shop", "uid": "job", "labels": OURS, "ownerReferences": [owner]}
    return {"metadata": metadata, "status": status}


def pod(code: int | None, *, phase: str = "Running", restarts: bool = False, name: str = "a-1") -> Object:
    """`code`: of the mover; None: it runs."""
    state: Object = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": name,
            "ownerReferences": [controller("Job", "a", "job")],
        },
        "spec": {"restartPolicy": "OnFailure" if restarts else "Never"},
        "status": {"phase": phase, "containerStatuses": [PROXY, {"name": "mover", "state": state}]},
    }


class World:
    """An API server with one Job and its pods, and a clock."""

    def __init__(self, *pods: Object, found: Object | None = None) -> None:
        self.now, self.pods, self.job = 0.0, list(pods), found or job()
        self.deleted: Any = []
        self.failing = False
        self.lingering = Lingering(TTL, lambda: self.now)
        entry = SimpleNamespace(key="known", uid=UID, deleting=False)
        self.ctx: Any = SimpleNamespace(
            kube=self,
            catalog=SimpleNamespace(get=lambda _: entry),
            remembered=SimpleNamespace(changed=lambda _: None),
        )
        for each in pods:
            self.lingering.heard(each, deleted=False)

    async def get(self, *_: Any) -> Object | None:
        return self.job

    async def list(self, *_: Any, **__: Any) -> Sequence[Object]:
        return self.pods

    async def delete(self, *what: Any, **how: Any) -> None:
        if self.failing:
            raise Unavailable(503, "ServiceUnavailable", "no answer")
        self.deleted.append((what[-1], how["uid"]))

    def at(self, seconds: float) -> Sequence[Any]:
        """What was deleted by then."""
        self.now = seconds
        asyncio.run(self.lingering.once(self.ctx))
        return self.deleted


def test_a_job_with_a_result_ends_after_a_minute() -> None:
    world = World(pod(0))
    assert world.at(AFTER - 1) == []
    assert world.at(AFTER) == [("a", "job")]
    assert world.at(TTL) == [("a", "job")], "once"


def test_a_job_that_failed_stays_as_long_as_one_that_has_ended() -> None:
    """Plans count attempts by the Jobs that exist."""
    world = World(pod(1))
    assert world.at(AFTER) == []
    assert world.at(TTL) == [("a", "job")]


@pytest.mark.parametrize(
    "running",
    [pod(None), pod(0, phase="Succeeded"), pod(1, phase="Failed"), pod(1, restarts=True)],
    ids=["runs", "succeeded", "failed", "restarts"],
)
def test_what_runs_or_has_ended_is_left_alone(running: Object) -> None:
    assert World(running).at(10 * TTL) == []


def test_a_mover_that_runs_in_another_pod_of_the_job_keeps_it() -> None:
    """Labels can be copied: a pod that only looks ended must not end a Job that runs."""
    assert World(pod(0), pod(None, name="a-2")).at(TTL) == []


def test_another_job_of_that_name_is_left_alone() -> None:
    assert World(pod(0), found={**job(), "metadata": {**job()["metadata"], "uid": "new"}}).at(TTL) == []


def test_a_job_that_is_not_ours_is_left_alone() -> None:
    foreign = {**job()["metadata"], "ownerReferences": [controller("Snapshot", "before", OTHER_UID)]}
    assert World(pod(0), found={"metadata": foreign, "status": {}}).at(TTL) == []


def test_row_122_a_forged_job_does_not_end_the_loop_of_all() -> None:
    """With our object as its controller, and without our labels. The chart's policies refuse it, where they are on."""
    forged = job()

    def deleted() -> Sequence[Any]:
        try:
            return World(pod(0), found=forged).at(AFTER)
        except LookupError as error:
            return [f"the loop ends: {error!r}"]

    forged["metadata"]["labels"] = {}
    assert deleted() == [("a", "job")]
    del forged["metadata"]["name"]  # stands for anything that is not as it is expected
    assert deleted() == []


def test_a_job_that_has_ended_or_is_being_deleted_is_left_to_others() -> None:
    ended = job(conditions=[{"type": "Complete", "status": "True"}])
    assert World(pod(0), found=ended).at(TTL) == []
    going = {**job(), "metadata": {**job()["metadata"], "deletionTimestamp": "2026-03-01T12:00:00Z"}}
    assert World(pod(0), found=going).at(TTL) == []


def test_a_deletion_that_failed_is_repeated() -> None:
    world = World(pod(0))
    world.failing = True
    assert world.at(AFTER) == []
    world.failing = False
    assert world.at(AFTER + 5) == [("a", "job")]


def test_a_pod_that_ends_in_time_is_forgotten() -> None:
    world = World(pod(0))
    world.lingering.heard(pod(0, phase="Succeeded"), deleted=False)
    assert world.at(TTL) == []
    world = World(pod(0))
    world.lingering.heard(pod(0), deleted=True)
    assert world.at(TTL) == []


def test_the_first_event_counts() -> None:
    """Each event of the sidecar would put it off."""
    world = World(pod(0))
    world.now = AFTER - 1
    world.lingering.heard(pod(0), deleted=False)
    assert world.at(AFTER) == [("a", "job")]


def test_when_a_mover_has_ended() -> None:
    assert [mover_ended(p) for p in (pod(None), pod(0), pod(1), pod(1, restarts=True), pod(0, restarts=True))] == [
        False, True, True, False, True,
    ]  # fmt: skip
    assert not only_lingers(job(), [])
    assert not only_lingers(job(), [pod(0, phase="Succeeded")])
