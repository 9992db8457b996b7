"""After SIGTERM only what has stopped an application is reconciled, until nothing has."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_operator.engine import shutdown
from ocore_operator.engine.access import Access
from ocore_operator.engine.kinds import Reconciler
from ocore_operator.engine.shutdown import Shutdown
from ocore_operator.errors import ApiError
from ocore_operator.kube import client
from ocore_operator.kube.resources import Key, Object
from ocore_operator.rollback.reconcile import critical

R1, R2 = Key("Rollback", "shop", "r1"), Key("Rollback", "shop", "r2")


class Cluster:
    """Rollbacks by their stage, and what was queued."""

    def __init__(self) -> None:
        self.stages: dict[str, str] = {}
        self.queued: list[Key] = []
        self.failures = 0
        row = Reconciler(client.ROLLBACKS, self._never, critical=critical)
        snapshots = Reconciler(client.SNAPSHOTS, self._never)
        ctx: Any = SimpleNamespace(kube=self)
        queue: Any = SimpleNamespace(add=self.queued.append)
        self.shutdown = Shutdown(ctx, queue, {"Rollback": row, "Snapshot": snapshots}, Access(["shop"]))

    async def _never(self, *_: Any) -> None: ...

    async def pages(self, type_: Any, namespace: str) -> AsyncIterator[list[Object]]:
        assert type_ == client.ROLLBACKS
        if self.failures:
            self.failures -= 1
            raise ApiError(503, "", "down")
        yield [
            {"metadata": {"namespace": namespace, "name": n}, "status": {"stage": stage, "workloads": [{"name": "w"}]}}
            for n, stage in self.stages.items()
        ]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "POLL", 0.01)


def test_everything_is_admitted_before_and_nothing_without_need_after() -> None:
    async def main() -> None:
        cluster = Cluster()
        assert cluster.shutdown.admits(R1)
        assert await cluster.shutdown.run(5)
        assert not cluster.shutdown.admits(R1)
        assert cluster.queued == []

    asyncio.run(main())


@pytest.mark.parametrize("failures", [0, 3])
def test_a_stopped_application_is_started_first(failures: int) -> None:
    async def main() -> None:
        cluster = Cluster()
        cluster.stages, cluster.failures = {"r1": "Drain", "r2": "Restore"}, failures
        run = asyncio.create_task(cluster.shutdown.run(5))
        await asyncio.sleep(0.1)
        assert not run.done()
        assert cluster.shutdown.admits(R1)
        assert not cluster.shutdown.admits(R2), "nothing new begins"
        assert not cluster.shutdown.admits(Key("Snapshot", "shop", "s"))
        assert cluster.queued == [R1]
        cluster.stages["r1"] = "HealthCheck"
        assert await run
        assert not cluster.shutdown.admits(R1)

    asyncio.run(main())


def test_a_reconcile_that_runs_may_be_about_to_stop_an_application() -> None:
    async def main() -> None:
        cluster = Cluster()
        cluster.stages = {"r1": "Prepare"}
        with cluster.shutdown.reconciling(R1), cluster.shutdown.reconciling(Key("Snapshot", "shop", "s")):
            run = asyncio.create_task(cluster.shutdown.run(5))
            await asyncio.sleep(0.1)
            assert not run.done()
            cluster.stages["r1"] = "Stop"
        await asyncio.sleep(0.1)
        assert not run.done()
        assert cluster.shutdown.admits(R1)
        cluster.stages["r1"] = "Ended"
        with cluster.shutdown.reconciling(Key("Snapshot", "shop", "s")):
            assert await run, "a Snapshot stops nothing"

    asyncio.run(main())


@pytest.mark.parametrize("failures", [0, 10**6])
def test_it_ends_at_its_limit(failures: int) -> None:
    async def main() -> None:
        cluster = Cluster()
        cluster.stages, cluster.failures = {"r1": "Switch"}, failures
        begun = asyncio.get_running_loop().time()
        assert not await cluster.shutdown.run(0.2)
        assert asyncio.get_running_loop().time() - begun < 5

    asyncio.run(main())


@pytest.mark.parametrize(
    ("stage", "workloads", "down"),
    [
        (None, True, False), ("Restore", True, False), ("Prepare", True, False), ("Stop", True, True),
        ("Drain", True, True), ("Switch", True, True), ("Switch", False, True), ("Inspect", False, True),
        ("Abort", True, True), ("Abort", False, False), ("Resume", True, True), ("HealthCheck", True, False),
        ("Finish", True, False), ("BackStop", True, True), ("BackDrain", True, True), ("BackJob", False, True),
        ("Ended", True, False),
    ],
)  # fmt: skip
def test_which_rollbacks_have_stopped_an_application(stage: str | None, *, workloads: bool, down: bool) -> None:
    status = {"stage": stage, "workloads": [{"name": "shop"}] if workloads else []}
    assert critical({"status": status}) is down
    assert critical({}) is False
