"""One operation per environment, against the real API server: however many ask at once, one gets it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_kube.errors import Conflict
from ocore_kube.transport import Transport, connect
from ocore_kube.types import ENVIRONMENTS, SNAPSHOTS
from ocore_operator import clock, operation_lock
from ocore_operator.context import Context
from ocore_operator.errors import Waiting
from ocore_operator.kube import resources
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Environment, Key, Object, Snapshot
from support.cluster.cluster import GROUP, Cluster, unique
from support.operator.catalogs import new_catalog

PROJECT = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def namespace(crds: Cluster) -> Iterator[str]:
    name = crds.namespace("holds")
    yield name
    crds.delete("Namespace", name)


class JobInputs:
    """An Environment and Snapshots that want it."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace
        self.name = unique("shop")
        self.woken: list[Key] = []
        self.catalog = new_catalog()
        queue = SimpleNamespace(add=self.woken.append)
        self.ctx = cast(
            Context, SimpleNamespace(kube=kube, catalog=self.catalog, queue=queue, now=clock.now, settings=None)
        )

    async def make(self) -> None:
        spec = {
            "projectId": PROJECT,
            "type": "staging",
            "storeRef": {"name": "store"},
            "database": {"secretRef": {"name": "db"}},
        }
        await self.kube.create(ENVIRONMENTS, self._object("Environment", self.name, spec))

    def _object(self, kind: str, name: str, spec: Object) -> Object:
        return {
            "apiVersion": GROUP,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }

    async def environment(self) -> Environment:
        obj = await self.kube.get(ENVIRONMENTS, self.namespace, self.name)
        assert obj is not None
        return resources.environment(obj)

    async def snapshot(self, status: Object | None = None) -> Snapshot:
        spec = {"environmentRef": {"name": self.name}}
        obj = await self.kube.create(SNAPSHOTS, self._object("Snapshot", unique("s"), spec))
        if status is not None:
            written = await self.kube.apply_status(resources.snapshot(obj), status)
            assert written is not None
            obj = written
        self.catalog.put("Snapshot", obj)
        return resources.snapshot(obj)

    async def acquire(self, owner: Snapshot) -> str:
        """What came of it."""
        try:
            await operation_lock.acquire(self.ctx, await self.environment(), owner)
        except Conflict:
            return "conflict"
        except Waiting as end:
            return end.message
        return "held"


WAITS = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "Reconciling",
            "status": "True",
            "reason": "WaitingForOperation",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}
ENDED = {
    "phase": "Failed",
    "conditions": [
        {
            "type": "Failed",
            "status": "True",
            "reason": "NoSpace",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


def run(cluster: Cluster, namespace: str, work: Callable[[JobInputs], Awaitable[None]]) -> None:
    async def main() -> None:
        transport = Transport(await connect(Path(cluster.env["KUBECONFIG"])), timeout=20, program="test")
        try:
            job_inputs = JobInputs(Kube(transport), namespace)
            await job_inputs.make()
            await work(job_inputs)
        finally:
            await transport.close()

    asyncio.run(main())


def test_one_of_many_that_ask_at_once(crds: Cluster, namespace: str) -> None:
    async def work(job_inputs: JobInputs) -> None:
        wanting = [await job_inputs.snapshot({"phase": "Running"}) for _ in range(8)]
        environment = await job_inputs.environment()

        async def one(owner: Snapshot) -> Any:
            try:
                return await operation_lock.acquire(job_inputs.ctx, environment, owner)
            except Conflict:
                return None

        got = [x for x in await asyncio.gather(*(one(o) for o in wanting)) if x is not None]
        assert len(got) == 1
        holder = (await job_inputs.environment()).status.operation
        assert holder is not None
        answers = [await job_inputs.acquire(o) for o in wanting]
        assert answers.count("held") == 1
        assert all(a == "held" or holder.name in a for a in answers)

    run(crds, namespace, work)


def test_the_oldest_that_waits_goes_first(crds: Cluster, namespace: str) -> None:
    async def work(job_inputs: JobInputs) -> None:
        older = await job_inputs.snapshot(WAITS)
        younger = await job_inputs.snapshot(WAITS)
        order = sorted((older, younger), key=lambda s: (s.meta.created, s.meta.uid))
        assert order[0].meta.name in await job_inputs.acquire(order[1])
        assert order[0].key in job_inputs.woken
        assert await job_inputs.acquire(order[0]) == "held"

    run(crds, namespace, work)


def test_what_does_not_wait_for_the_hold_holds_up_nobody(crds: Cluster, namespace: str) -> None:
    """An older one that waits for something else, or has come to its end."""

    async def work(job_inputs: JobInputs) -> None:
        await job_inputs.snapshot({"phase": "Pending", "conditions": []})
        await job_inputs.snapshot(ENDED)
        assert await job_inputs.acquire(await job_inputs.snapshot(WAITS)) == "held"

    run(crds, namespace, work)


def test_a_holder_that_is_gone_or_has_ended_lets_go(crds: Cluster, namespace: str) -> None:
    async def work(job_inputs: JobInputs) -> None:
        first = await job_inputs.snapshot({"phase": "Running"})
        assert await job_inputs.acquire(first) == "held"
        assert not await operation_lock.stale(job_inputs.ctx, await job_inputs.environment())
        await job_inputs.kube.delete(SNAPSHOTS, namespace, first.meta.name)
        assert await operation_lock.stale(job_inputs.ctx, await job_inputs.environment())
        second = await job_inputs.snapshot({"phase": "Running"})
        assert await job_inputs.acquire(second) == "held"
        seen = await job_inputs.kube.get(SNAPSHOTS, namespace, second.meta.name)
        assert seen is not None
        await job_inputs.kube.apply_status(resources.snapshot(seen), ENDED)
        third = await job_inputs.snapshot({"phase": "Running"})
        assert await job_inputs.acquire(third) == "held"

    run(crds, namespace, work)


def test_letting_go_wakes_those_that_wait(crds: Cluster, namespace: str) -> None:
    async def work(job_inputs: JobInputs) -> None:
        first = await job_inputs.snapshot({"phase": "Running"})
        assert await job_inputs.acquire(first) == "held"
        waiting = await job_inputs.snapshot(WAITS)
        await operation_lock.release(
            job_inputs.ctx, namespace, job_inputs.name, waiting
        )  # does not hold it: nothing happens
        assert (await job_inputs.environment()).status.operation is not None
        await operation_lock.release(job_inputs.ctx, namespace, job_inputs.name, first)
        assert (await job_inputs.environment()).status.operation is None
        assert waiting.key in job_inputs.woken

    run(crds, namespace, work)
