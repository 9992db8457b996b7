"""Which Snapshots need a full one: entered and removed by compare and swap, and corrected after a crash."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_kube.errors import Conflict
from ocore_kube.types import SNAPSHOTS
from ocore_operator.entries import full_snapshots
from ocore_operator.errors import Stalled
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key, Object, Snapshot
from ocore_operator.snapshot import dependents
from ocore_operator.snapshot.effects import carry_out
from ocore_operator.snapshot.observe import observe
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.world import Cascade, LetGo, SetDependents, World
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.differentials import condition, differential, full, snapshot, uid
from support.operator.objects import SETTINGS, at, moment


class Bench:
    """An API server, a catalog that knows what is in it, and the keys that were queued."""

    def __init__(self, *objects: Object) -> None:
        self.server = ApiServer()
        self.catalog = new_catalog()
        self.queued: list[Key] = []
        self.ctx: Any = SimpleNamespace(
            kube=self.server.client(),
            catalog=self.catalog,
            now=lambda: moment(200),
            settings=SETTINGS,
            queue=SimpleNamespace(add_after=lambda key, _: self.queued.append(key)),
        )
        for obj in objects:
            self.put(obj)

    def put(self, obj: Object) -> None:
        self.catalog.put("Snapshot", self.server.put(SNAPSHOTS, obj))

    def remove(self, name: str) -> None:
        """Another client removed it, and the watch says so."""
        asyncio.run(self.ctx.kube.delete(SNAPSHOTS, "shop", name))
        self.catalog.remove(Key("Snapshot", "shop", name))

    def get(self, name: str) -> Snapshot:
        return resources.snapshot(self.server.read(SNAPSHOTS, "shop", name))

    def listed(self, name: str = "f") -> tuple[str, ...]:
        return self.get(name).status.dependents

    def unsettled(self) -> list[str]:
        return sorted(k.name for k in full_snapshots.all_unsettled(self.catalog))

    def world(self, name: str) -> World | None:
        return asyncio.run(observe(self.ctx, Key("Snapshot", "shop", name)))

    def reconcile(self, name: str) -> None:
        """Observes and carries out, until nothing remains."""
        for _ in range(10):
            found = self.world(name)
            if found is None:
                return
            action = decide(found)
            if isinstance(action, Idle):
                return
            asyncio.run(carry_out(self.ctx, found, action))
        raise AssertionError("no end")


@pytest.fixture(autouse=True)
def no_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(ctx: Any, _: object, **__: object) -> Observation:
        return Observation(jobs={}, pods={}, now=ctx.now(), start_deadline=1)

    async def alone(*_: object) -> Cascade:
        return Cascade.NO

    async def unused(*_: object) -> str:
        return ""

    monkeypatch.setattr("ocore_operator.snapshot.observe.lifecycle.observe", nothing)
    monkeypatch.setattr("ocore_operator.snapshot.observe.cascade_of", alone)
    monkeypatch.setattr("ocore_operator.snapshot.observe._used_by", unused)


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status is written without Events and metrics."""

    async def write(ctx: Any, obj: Snapshot, status: Any) -> Snapshot:
        raw = ctx.kube._transport.read(SNAPSHOTS, "shop", obj.meta.name)
        raw["status"] = status.wire()
        ctx.catalog.put("Snapshot", ctx.kube._transport.put(SNAPSHOTS, raw))
        return obj

    monkeypatch.setattr("ocore_operator.snapshot.effects.summarize.write", write)


RUNNING: Object = {"phase": "Running", "conditions": [], "completedAt": None}


def test_a_differential_is_entered_and_leaves() -> None:
    bench = Bench(full("f", 1), differential("d", 2, "f", 1, **RUNNING), differential("e", 3, "f", 1, **RUNNING))
    for name in ("d", "e", "d"):
        asyncio.run(dependents.enter(bench.ctx, bench.get(name)))
    assert bench.listed() == ("d", "e")
    for name in ("d", "d"):
        asyncio.run(dependents.leave(bench.ctx, bench.get(name)))
    assert bench.listed() == ("e",)


def test_it_is_not_entered_in_one_that_is_being_deleted() -> None:
    bench = Bench(full("f", 1, meta={"deletionTimestamp": at(5)}), differential("d", 2, "f", 1, **RUNNING))
    asyncio.run(dependents.enter(bench.ctx, bench.get("d")))
    assert bench.listed() == ()
    assert bench.server.writes() == []


def test_row_49_a_deletion_between_the_read_and_the_write_refuses_the_entry() -> None:
    """As everything that changes the full one: the resourceVersion is a precondition."""
    bench = Bench(full("f", 1), differential("d", 2, "f", 1, **RUNNING))
    read = bench.get("f")
    bench.put(full("f", 1, meta={"deletionTimestamp": at(5)}))
    with pytest.raises(Conflict):
        asyncio.run(dependents.write(bench.ctx, read, ["d"]))
    assert bench.listed() == ()


def test_another_object_under_the_name_is_not_the_base() -> None:
    bench = Bench(full("f", 7), differential("d", 2, "f", 1, **RUNNING))
    asyncio.run(dependents.enter(bench.ctx, bench.get("d")))
    asyncio.run(dependents.leave(bench.ctx, bench.get("d")))
    assert bench.server.writes() == []


# --- the finalizer ---------------------------------------------------------------------------------------------


def test_a_full_one_with_living_dependents_stays_until_they_are_gone() -> None:
    bench = Bench(full("f", 1, dependents=["d"], meta={"deletionTimestamp": at(5)}), differential("d", 2, "f", 1))
    found = bench.world("f")
    assert found is not None
    action = decide(found)
    assert isinstance(action, Idle)
    assert action.status is not None
    (stalled,) = [c for c in action.status.conditions if c.type == "Stalled"]
    assert (stalled.reason, "need this one: d." in stalled.message) == ("HasDependents", True)
    bench.remove("d")
    found = bench.world("f")
    assert found is not None
    assert decide(found) == SetDependents(())
    asyncio.run(carry_out(bench.ctx, found, decide(found)))
    found = bench.world("f")
    assert found is not None
    assert isinstance(decide(found), LetGo), "deletionPolicy Retain"


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_whatever_the_policy_a_needed_one_stays(policy: str) -> None:
    spec = {"deletionPolicy": policy}
    bench = Bench(
        full("f", 1, spec=spec, dependents=["d"], meta={"deletionTimestamp": at(5)}), differential("d", 2, "f", 1)
    )
    found = bench.world("f")
    assert found is not None
    assert isinstance(decide(found), Idle)


def test_a_differential_that_a_rollback_restores_protects_its_full_one() -> None:
    """Its own deletion waits for the Rollback, of whatever namespace; until then it exists, and needs its base."""
    going = {"deletionTimestamp": at(5)}
    bench = Bench(full("f", 1, dependents=["d"], meta=going), differential("d", 2, "f", 1, meta=going))
    used = bench.world("d")
    assert used is not None
    held = decide(replace(used, used_by="Rollback staging/back"))
    assert isinstance(held, Idle)
    assert held.status is not None
    assert [c.reason for c in held.status.conditions if c.type == "Stalled"] == ["InUse"]
    found = bench.world("f")
    assert found is not None
    assert isinstance(decide(found), Idle)
    assert bench.listed() == ("d",)


def test_an_adopted_differential_that_is_not_entered_counts_too() -> None:
    bench = Bench(full("f", 1, meta={"deletionTimestamp": at(5)}), differential("d", 2, "f", 1))
    found = bench.world("f")
    assert found is not None
    assert found.dependents == ("d",)


def test_an_entry_is_removed_only_where_the_api_server_confirms_it() -> None:
    """The catalog may be behind, or empty after a restart."""
    bench = Bench(full("f", 1, dependents=["d"], meta={"deletionTimestamp": at(5)}), differential("d", 2, "f", 1))
    bench.catalog.remove(Key("Snapshot", "shop", "d"))
    found = bench.world("f")
    assert found is not None
    assert found.dependents == ("d",)


# --- after a crash, and whatever was missed --------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        "gone",
        "failed without leftovers",
        "became a full one",
        "needs another one",
    ],
)
def test_an_entry_that_is_not_needed_any_more_is_removed(how: str) -> None:
    bench = Bench(full("f", 1, dependents=["d", "e"]), full("g", 9), differential("e", 3, "f", 1))
    match how:
        case "failed without leftovers":
            bench.put(differential("d", 2, "f", 1, "Failed"))
        case "became a full one":
            bench.put(full("d", 2))
        case "needs another one":
            bench.put(differential("d", 2, "g", 9))
    assert "f" in bench.unsettled()
    bench.reconcile("f")
    assert bench.listed() == ("e",)
    assert "f" not in bench.unsettled()


def test_one_whose_leftovers_remain_still_protects_its_base() -> None:
    bench = Bench(full("f", 1, dependents=["d"]), differential("d", 2, "f", 1, "Failed", residue="Pending"))
    assert bench.unsettled() == []


def test_an_adopted_differential_is_entered() -> None:
    """Whichever of the two was adopted first. The name of its base may be unknown."""
    bench = Bench(snapshot("d", 2, "Complete", fullFilestore=False, base={"id": uid(1)}))
    assert bench.unsettled() == []
    bench.put(full("f", 1))
    assert bench.unsettled() == ["f"]
    bench.reconcile("f")
    assert bench.listed() == ("d",)
    assert bench.unsettled() == []


def test_one_that_runs_is_entered_by_its_own_reconcile_only() -> None:
    bench = Bench(full("f", 1), differential("d", 2, "f", 1, **RUNNING))
    assert bench.unsettled() == []


def test_the_end_of_a_differential_queues_its_base() -> None:
    bench = Bench(full("f", 1, dependents=["d"]), differential("d", 2, "f", 1))
    bench.world("d")
    assert bench.queued == [], "it needs its base"
    bench.put(full("d", 2))
    bench.world("d")
    assert bench.queued == [Key("Snapshot", "shop", "f")]
    bench.queued.clear()
    bench.remove("d")
    bench.world("d")
    assert bench.queued == [Key("Snapshot", "shop", "f")]


# --- corrupt ---------------------------------------------------------------------------------------------------


def test_row_50_the_differentials_of_a_corrupt_one_say_so() -> None:
    bench = Bench(full("f", 1, dependents=["d"]), differential("d", 2, "f", 1))
    assert bench.unsettled() == []
    bench.put(full("f", 1, "Corrupt", dependents=["d"]))
    assert bench.unsettled() == ["d"]
    bench.world("f")
    assert bench.queued == [Key("Snapshot", "shop", "d")]
    found = bench.world("d")
    assert found is not None
    action = decide(found)
    assert isinstance(action, Record)
    by_type = {c.type: c for c in action.status.conditions}
    assert action.status.phase == "Corrupt"
    assert {(t, by_type[t].status, by_type[t].reason) for t in ("Ready", "Verified", "Stalled")} == {
        ("Ready", "False", "BaseCorrupt"),
        ("Verified", "False", "BaseCorrupt"),
        ("Stalled", "True", "BaseCorrupt"),
    }
    assert "Snapshot f, the full one" in by_type["Verified"].message
    bench.reconcile("d")
    assert bench.unsettled() == []


def test_a_full_one_with_a_corrupt_differential_is_no_base() -> None:
    """The bytes that differ may be its own. Another full one is not concerned."""
    bad = differential("d", 2, "f", 1, "Corrupt")
    mine = snapshot("mine", 4, "Complete", **{**RUNNING, "fullFilestore": None})
    bench = Bench(full("f", 1, dependents=["d"]), full("g", 0), bad, mine)
    found = asyncio.run(dependents.with_base(bench.ctx, World(bench.get("mine"), moment(1), SETTINGS, None)))  # type: ignore[arg-type]
    assert [f.name for f in found.fulls] == ["g"]


def test_row_154_the_differentials_of_one_that_is_whole_again_can_be_restored() -> None:
    """Not while it is damaged in its own store and whole in a remote one; and one that is to be read back is read."""
    read = {"spec": {"verify": "Full"}, "readBack": {"run": "1", "attempt": 1, "result": "Differs"}}
    bench = Bench(
        full("f", 1, dependents=["d", "e"]), differential("d", 2, "f", 1), differential("e", 3, "f", 1, **read)
    )
    bench.put(full("f", 1, "Corrupt", dependents=["d", "e"]))
    bench.reconcile("d")
    bench.reconcile("e")
    assert (bench.get("d").status.phase, bench.unsettled()) == ("Corrupt", [])
    only_copied = [condition("Complete"), condition("Verified", "False", "Corrupt")]
    bench.put(full("f", 1, dependents=["d", "e"], conditions=only_copied))
    assert bench.unsettled() == []
    bench.put(full("f", 1, dependents=["d", "e"]))
    assert bench.unsettled() == ["d", "e"]
    bench.world("f")
    assert bench.queued[-2:] == [Key("Snapshot", "shop", "d"), Key("Snapshot", "shop", "e")]
    bench.reconcile("d")
    with pytest.raises(Stalled, match="no SnapshotStore"):  # for the Job that reads it
        bench.reconcile("e")
    for name, again in (("d", None), ("e", ("1", 1, None))):
        status = bench.get(name).status
        by_type = {c.type: c for c in status.conditions}
        assert (status.phase, by_type["Ready"].status, "Stalled" in by_type) == ("Complete", "True", False)
        assert (by_type["Verified"].status, by_type["Verified"].reason) == ("Unknown", "ChecksumsOnly")
        assert "Snapshot f, the full one that this differential needs, is whole again" in by_type["Verified"].message
        found = status.read_back
        assert (found and (found.run, found.attempt, found.result)) == again
    assert bench.unsettled() == []


def test_row_154_the_own_damage_of_a_differential_stays() -> None:
    bench = Bench(full("f", 1, dependents=["d"]), differential("d", 2, "f", 1, "Corrupt"))
    assert bench.unsettled() == []
