"""After SIGTERM only what has stopped an application is reconciled, until nothing has."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_operator.engine import shutdown
from ocore_operator.engine.access import Access
from ocore_operator.engine.shutdown import Shutdown
from ocore_operator.kube.resources import Key
from ocore_operator.rollback.entry import critical
from support.operator.catalogs import new_catalog
from support.operator.objects import obj

R1, R2 = Key("Rollback", "shop", "r1"), Key("Rollback", "shop", "r2")


class Cluster:
    """Rollbacks by their stage, and what was queued."""

    def __init__(self) -> None:
        self.queued: list[Key] = []
        self.synced = True
        self.catalog = new_catalog()
        ctx: Any = SimpleNamespace(catalog=self.catalog)
        queue: Any = SimpleNamespace(add=self.queued.append)
        self.access = Access(["shop"])
        self.shutdown = Shutdown(ctx, queue, lambda: self.synced, self.access)

    def stage(self, name: str, stage: str) -> None:
        """The Rollback is at that stage: its reconcile has written it."""
        status = {"stage": stage, "workloads": [{"name": "w"}]}
        self.catalog.put("Rollback", obj("Rollback", name, {}, status, uid=name))


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


def test_a_stopped_application_is_started_first() -> None:
    async def main() -> None:
        cluster = Cluster()
        cluster.stage("r1", "Drain")
        cluster.stage("r2", "Restore")
        run = asyncio.create_task(cluster.shutdown.run(5))
        await asyncio.sleep(0.1)
        assert not run.done()
        assert cluster.shutdown.admits(R1)
        assert not cluster.shutdown.admits(R2), "nothing new begins"
        assert not cluster.shutdown.admits(Key("Snapshot", "shop", "s"))
        assert cluster.queued == [R1]
        cluster.stage("r1", "HealthCheck")
        assert await run
        assert not cluster.shutdown.admits(R1)

    asyncio.run(main())


def test_it_waits_until_it_knows_all_objects() -> None:
    """A SIGTERM just after the start: a Rollback of the leader before may have stopped an application."""

    async def main() -> None:
        cluster = Cluster()
        cluster.synced = False
        run = asyncio.create_task(cluster.shutdown.run(5))
        await asyncio.sleep(0.1)
        assert not run.done()
        cluster.synced = True
        assert await run

    asyncio.run(main())


def test_a_namespace_that_cannot_be_read_is_left_out() -> None:
    async def main() -> None:
        cluster = Cluster()
        cluster.stage("r1", "Drain")
        await cluster.access.report("shop", "list", "no Role")
        assert await cluster.shutdown.run(5)

    asyncio.run(main())


def test_a_reconcile_that_runs_may_be_about_to_stop_an_application() -> None:
    async def main() -> None:
        cluster = Cluster()
        cluster.stage("r1", "Prepare")
        with cluster.shutdown.reconciling(R1), cluster.shutdown.reconciling(Key("Environment", "shop", "e")):
            run = asyncio.create_task(cluster.shutdown.run(5))
            await asyncio.sleep(0.1)
            assert not run.done()
            cluster.stage("r1", "Stop")
        await asyncio.sleep(0.1)
        assert not run.done()
        assert cluster.shutdown.admits(R1)
        cluster.stage("r1", "Ended")
        with cluster.shutdown.reconciling(Key("Environment", "shop", "e")):
            assert await run, "an Environment stops nothing"

    asyncio.run(main())


@pytest.mark.parametrize("synced", [True, False])
def test_it_ends_at_its_limit(*, synced: bool) -> None:
    async def main() -> None:
        cluster = Cluster()
        cluster.synced = synced
        cluster.stage("r1", "Switch")
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
