"""The default limit of pins: the operator counts in the Environment's status, and reports more pins than allowed."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

from ocore_kube.types import ENVIRONMENTS, POLICIES, SNAPSHOTS
from ocore_operator.context import Context
from ocore_operator.kube.resources import Key, Object
from ocore_operator.policy import reconcile
from ocore_operator.settings import Settings
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.objects import environment_object, obj

KEY = Key("SnapshotPolicy", "shop", "shop")


class Events:
    """Remembers what was reported, and about which object."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def record(self, about: object, type_: str, reason: str, message: str) -> None:
        self.seen.append((type(about).__name__, reason))

    def changed(self, *_: object) -> None:
        """Of a condition."""


class Bench:
    """An API server with an Environment without a policy, and an operator's catalog."""

    def __init__(self) -> None:
        self.server, self.catalog, self.events = ApiServer(), new_catalog(), Events()
        self.catalog.put("Environment", self.server.put(ENVIRONMENTS, environment_object()))
        parts = SimpleNamespace(
            kube=self.server.client(),
            catalog=self.catalog,
            events=self.events,
            settings=Settings(),
            now=lambda: datetime(2026, 6, 15, 12, tzinfo=UTC),
        )
        self.ctx = cast(Context, parts)

    def pin(self, count: int) -> None:
        """So many Snapshots are pinned; the others that exist are not."""
        for number in range(15):
            spec: Object = {"environmentRef": {"name": "shop"}, "retention": "Keep"}
            if number < count:
                spec["pin"] = {"label": "audit"}
            snapshot = obj("Snapshot", f"s{number}", spec, {}, uid=f"11111111-2222-4333-8444-{number:012}")
            self.catalog.put("Snapshot", self.server.put(SNAPSHOTS, snapshot))

    def run(self) -> None:
        asyncio.run(reconcile.reconcile(self.ctx, KEY))

    @property
    def pins(self) -> Object | None:
        found: Object | None = self.server.read(ENVIRONMENTS, "shop", "shop")["status"].get("pins")
        return found


def test_counted_while_there_is_no_policy() -> None:
    bench = Bench()
    bench.run()
    assert bench.server.writes() == [], "no pin, nothing to say"
    bench.pin(3)
    bench.run()
    assert bench.pins == {"pinned": 3, "limit": 10}
    bench.run()
    assert len(bench.server.writes()) == 1, "written once"
    bench.pin(0)
    bench.run()
    assert bench.pins is None, "the last pin is gone"


def test_more_than_allowed_are_honoured_and_reported_once() -> None:
    bench = Bench()
    reported = [("Resource", "PinLimitExceeded")]
    for count, times in ((9, 0), (10, 0), (12, 1), (13, 1), (9, 1), (11, 2)):
        bench.pin(count)
        bench.run()
        assert bench.pins == {"pinned": count, "limit": 10}
        assert bench.events.seen == reported * times, count
    assert [m for m, path in bench.server.writes() if "/snapshots/" in path] == [], "no pin is taken away"


def test_a_policy_takes_over() -> None:
    bench = Bench()
    bench.pin(3)
    bench.run()
    policy = obj("SnapshotPolicy", "shop", {"environmentRef": {"name": "shop"}, "maxPinned": 2}, {}, uid="1" * 8)
    bench.server.put(POLICIES, policy)
    bench.run()
    assert bench.pins is None
    assert bench.server.read(POLICIES, "shop", "shop")["status"]["pinned"] == 3
