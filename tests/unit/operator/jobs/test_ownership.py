"""Forged results: what has our labels, but not the UID of our object or of our Job, is not believed."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from ocore_crds.protocol import DeleteResult, Result
from ocore_kube.errors import AlreadyExists
from ocore_kube.types import JOBS, Type
from ocore_operator.context import Context
from ocore_operator.errors import Failed
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.jobs.observing.outcome import Absent, NoResult, Observation, Running, Starting, Succeeded
from ocore_operator.kube.resources import Object, Snapshot
from support.operator.objects import (
    OTHER_UID,
    SETTINGS,
    UID,
    at,
    controller,
    ended,
    job,
    moment,
    pod,
    recorded,
    snapshot,
)

DONE = ended(Result(ok=True, payload=DeleteResult(), time=at(60)).termination_message())


class Api:
    """Stands for the API server's lists: all that it is given has the labels that are asked for."""

    def __init__(self, jobs: list[Object], pods: list[Object]) -> None:
        self._jobs = jobs
        self._pods = pods

    async def list(self, type_: Type, *_: Any, **__: Any) -> list[Object]:
        return {"jobs": self._jobs, "pods": self._pods}.get(type_.plural, [])

    async def get(self, type_: Type, namespace: str, name: str) -> Object | None:
        assert type_ == JOBS
        return next((j for j in self._jobs if j["metadata"]["name"] == name), None)

    async def create(self, type_: Type, obj: Object) -> Object:
        raise AlreadyExists(409, "AlreadyExists", "it exists")


def context(jobs: list[Object], pods: list[Object]) -> Context:
    class Fake:
        kube = Api(jobs, pods)
        settings = SETTINGS
        remembered = Remembered(lambda _: True)

        @staticmethod
        def now() -> object:
            return moment(5)

    return cast(Context, Fake())


def seen(jobs: list[Object], pods: list[Object], owner: Snapshot | None = None) -> Observation:
    return asyncio.run(lifecycle.observe(context(jobs, pods), owner or snapshot()))


def without_owner(obj: Object) -> Object:
    del obj["metadata"]["ownerReferences"]
    return obj


def owned_by(obj: Object, kind: str, name: str, uid: str) -> Object:
    obj["metadata"]["ownerReferences"] = [controller(kind, name, uid)]
    return obj


def finished_pod() -> Object:
    return pod("a", DONE, phase="Succeeded")


def test_a_pod_of_our_job_is_believed() -> None:
    assert isinstance(seen([job("a")], [finished_pod()]).state("a"), Succeeded)


def test_the_job_controllers_own_pods_are_believed() -> None:
    """As a real cluster recorded them."""
    data = recorded("succeeded")
    ours = owned_by(data["job"], "Snapshot", "before", UID)
    assert isinstance(seen([ours], data["pods"]).state("succeeded"), Succeeded)


@pytest.mark.parametrize(
    "forged",
    [
        without_owner(finished_pod()),
        owned_by(finished_pod(), "Job", "a", OTHER_UID),
        owned_by(finished_pod(), "Snapshot", "before", UID),
        {**finished_pod(), "metadata": {**finished_pod()["metadata"], "ownerReferences": [{"uid": "uid-of-a"}]}},
    ],
)
def test_row_34_a_forged_pod_of_a_living_job_counts_for_nothing(forged: Object) -> None:
    found = seen([job("a")], [forged])
    assert isinstance(found.state("a"), Starting)
    assert not found.live_pods("a")


@pytest.mark.parametrize("forged", [without_owner(job("a")), owned_by(job("a"), "Snapshot", "before", OTHER_UID)])
def test_row_34_a_forged_job_counts_for_nothing(forged: Object) -> None:
    found = seen([forged], [finished_pod()])
    assert found.state("a") == Absent()
    assert not found.jobs


def test_a_job_whose_owner_was_removed_counts_while_our_object_is_deleted() -> None:
    """Jobs that are made during a deletion have no owner: the garbage collector would delete them."""
    deleting = replace(snapshot(), meta=replace(snapshot().meta, deleted=at(0)))
    found = seen([without_owner(job("a"))], [finished_pod()], deleting)
    assert isinstance(found.state("a"), Succeeded)
    other = owned_by(job("a"), "Snapshot", "before", OTHER_UID)
    assert seen([other], [finished_pod()], deleting).state("a") == Absent()
    stranger = without_owner(job("a"))
    stranger["metadata"]["labels"]["ocore.dev/uid"] = OTHER_UID
    assert seen([stranger], [finished_pod()], deleting).state("a") == Absent()


@pytest.mark.parametrize("orphan", [True, False])
def test_row_34_a_pod_of_a_job_that_is_gone_runs_but_is_not_believed(orphan: bool) -> None:
    """Two attempts must not run at the same time."""
    running, done = pod("a", {"running": {"startedAt": at(0)}}), pod("a", DONE)
    if orphan:
        running, done = without_owner(running), without_owner(done)
    found = seen([], [running])
    assert isinstance(found.state("a"), Running)
    assert found.live_pods("a")
    assert isinstance(seen([], [done]).state("a"), NoResult)
    done["status"]["phase"] = "Succeeded"
    assert seen([], [done]).state("a") == Absent()


@pytest.mark.parametrize("kind", ["ReplicaSet", "Snapshot"])
def test_a_pod_of_another_controller_does_not_stand_for_a_job_that_is_gone(kind: str) -> None:
    running = owned_by(pod("a", {"running": {"startedAt": at(0)}}), kind, "a", OTHER_UID)
    assert seen([], [running]).gone("a")


def test_row_34_a_forged_job_is_not_adopted() -> None:
    class Slots:
        def slot(self, *_: Any) -> "Slots":
            return self

        async def __aenter__(self) -> Callable[[Object], None]:
            return lambda _: None

        async def __aexit__(self, *_: object) -> None: ...

    def start(existing: Object) -> None:
        ctx = context([existing], [])
        ctx.slots = Slots()  # type: ignore[misc,assignment]
        asyncio.run(lifecycle.start(ctx, job("a"), waiting_since=at(0)))

    start(job("a"))
    for forged in (without_owner(job("a")), owned_by(job("a"), "Snapshot", "before", OTHER_UID)):
        with pytest.raises(Failed, match="belongs to another object"):
            start(forged)
