"""The history limit against an API server: every Rollback is read again before it is removed."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_kube.types import ENVIRONMENTS, ROLLBACKS
from ocore_operator.context import Context
from ocore_operator.kube.resources import Key, Object
from ocore_operator.policy import reconcile
from ocore_operator.settings import Settings
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.objects import environment_object, obj

KEY = Key("SnapshotPolicy", "shop", "shop")
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


class Events:
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.messages: list[str] = []

    def record(self, _: object, type_: str, reason: str, message: str) -> None:
        self.reasons.append(reason)
        self.messages.append(message)


class Bench:
    """An API server with an Environment and finished Rollbacks, and an operator's catalog."""

    def __init__(self, count: int, limit: int) -> None:
        self.server, self.catalog, self.events = ApiServer(), new_catalog(), Events()
        self.server.put(ENVIRONMENTS, environment_object())
        for number in range(count):
            self.catalog.put("Rollback", self.server.put(ROLLBACKS, rollback(f"r{number:02}", number)))
        parts = SimpleNamespace(
            kube=self.server.client(),
            catalog=self.catalog,
            events=self.events,
            settings=Settings(rollback_history_limit=limit),
            now=lambda: NOW,
        )
        self.ctx = cast(Context, parts)

    def run(self) -> float | None:
        """Reconciles until nothing is left to be done."""
        for _ in range(10):
            pause = asyncio.run(reconcile.reconcile(self.ctx, KEY))
            if pause is None or pause > 1:
                return pause
        raise AssertionError("no end")

    def left(self) -> list[str]:
        paths = [path for path in self.server.paths() if "/rollbacks/" in path]
        return sorted(path.rpartition("/")[2] for path in paths)


def rollback(name: str, number: int) -> Object:
    """The higher the number, the newer."""
    time = f"2026-01-01T00:{number:02}:00Z"
    status = {
        "stage": "Ended",
        "phase": "Complete",
        "environmentName": "shop",
        "completedAt": time,
        "switchedAt": time,
        "undoUntil": time,
        "residue": "None",
        "evidence": {"required": ["r"], "proven": ["r"]},
        "conditions": [{"type": "Complete", "status": "True", "reason": "Succeeded", "lastTransitionTime": time}],
    }
    return obj("Rollback", name, {"snapshotRef": {"name": "s"}}, status, uid=f"11111111-2222-4333-8444-{number:012}")


def test_the_oldest_are_removed_and_reported() -> None:
    bench = Bench(30, 4)
    bench.run()
    assert bench.left() == ["r26", "r27", "r28", "r29"]
    assert [e.key.name for e in bench.catalog.of_kind("Rollback")] == bench.left()
    assert bench.events.reasons == ["HistoryLimit"] * 26
    assert set(bench.events.messages) == {"Removed: 4 newer Rollbacks are listed."}


def apply_again(o: Object) -> None:
    o["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "shop"}


def window_opened(o: Object) -> None:
    o["status"]["residue"] = "Pending"


@pytest.mark.parametrize("change", [apply_again, window_opened])
def test_one_that_changed_since_the_catalog_saw_it_stays(change: Callable[[Object], None]) -> None:
    bench = Bench(3, 1)
    changed = bench.server.read(ROLLBACKS, "shop", "r00")
    change(changed)
    bench.server.put(ROLLBACKS, changed)
    bench.run()
    assert bench.left() == ["r00", "r02"]


def test_one_that_changes_between_the_read_and_the_deletion_stays() -> None:
    bench = Bench(2, 1)
    read = bench.ctx.kube.get

    async def and_then_changed(*where: Any) -> Object | None:
        found = await read(*where)
        if where[0] == ROLLBACKS and found is not None and "labels" not in found["metadata"]:
            changed = {**found, "metadata": {**found["metadata"], "labels": {"kapp.k14s.io/app": "1"}}}
            bench.server.put(ROLLBACKS, changed)
        return found

    object.__setattr__(bench.ctx.kube, "get", and_then_changed)
    bench.run()
    assert bench.left() == ["r00", "r01"]


def test_a_replaced_one_stays() -> None:
    """Another object has the name: it is judged on its own."""
    bench = Bench(2, 1)
    fresh = rollback("r00", 5)
    fresh["status"] = {}
    bench.server.put(ROLLBACKS, fresh)
    bench.run()
    assert bench.left() == ["r00", "r01"]


def test_nothing_to_do_below_the_limit() -> None:
    bench = Bench(3, 1000)
    bench.run()
    assert bench.server.writes() == []
