"""Retention lets go of one of two copies of a full Snapshot and of the differential that needs it, in any order and at
the same moment."""

import asyncio
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ocore_crds import conditions as c
from ocore_crds.protocol import DeleteResult, Failure
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.jobs.observing.outcome import finished
from ocore_operator.jobs.observing.snapshot_jobs import deletion
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key, Object
from ocore_operator.snapshot import observe_remote, plan_after_end
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.plan_remote import USED_PAUSE
from ocore_operator.snapshot.world import Action, StartDelete, World
from support.operator.catalogs import new_catalog
from support.operator.differentials import differential, full
from support.operator.objects import SETTINGS, at, job, moment, obj, observation, pod
from support.operator.remote_copies import DONE
from support.operator.terminal_snapshot import RUNNING, said

SPEC = {"retention": "Policy", "deletionPolicy": "Delete"}
LOCAL = {"keptBy": [], "remoteKeptBy": ["forever"]}
REMOTE = {"keptBy": ["keepLast"], "remoteKeptBy": []}
KEPT = {"keptBy": ["keepLast"], "remoteKeptBy": ["forever"]}
READY = {"type": "Ready", "status": "True", "reason": "X", "message": "", "lastTransitionTime": at(0)}
NEEDED = Failure(reason=c.HAS_DEPENDENTS, message="1 differentials need it.")


async def _the_remote_store(*_: Any) -> Object:
    return obj("SnapshotStore", "far", {"claim": {"claimName": "far"}}, {"storeId": "far", "conditions": [READY]})


class Pair:
    """Both Snapshots with their Jobs, and what the two stores have. A store refuses to delete a full one that a
    differential there needs, as the mover does."""

    def __init__(self, released: Object, **of_differential: Any) -> None:
        self.catalog = new_catalog()
        self.ctx: Any = SimpleNamespace(catalog=self.catalog, kube=SimpleNamespace(get=_the_remote_store))
        self.stores = {"own": {"f", "d"}, "far": {"f", "d"}}
        self.objects: dict[str, Object] = {}
        self.jobs: dict[str, dict[str, Object]] = {"f": {}, "d": {}}
        self.refused = 0
        self.version = 10
        self.put("f", full("f", 1, spec=SPEC, remote=DONE.wire(), **released))
        self.put("d", differential("d", 2, "f", 1, spec=SPEC, remote=DONE.wire(), **(KEPT | of_differential)))

    def put(self, name: str, obj: Object) -> None:
        self.version += 1
        meta = obj["metadata"] | {"resourceVersion": str(self.version), "generation": 1}
        self.objects[name] = {**obj, "metadata": meta}
        self.catalog.put("Snapshot", self.objects[name])

    def release(self, verdict: Object) -> None:
        """The policy lets go of the differential, too."""
        self.put("d", self.objects["d"] | {"status": self.objects["d"]["status"] | verdict})

    def delete_differential(self) -> None:
        """Its Snapshot, and its data before that."""
        for store in self.stores.values():
            store.discard("d")
        del self.objects["d"]
        self.catalog.remove(Key("Snapshot", "shop", "d"))

    def world(self, name: str, seconds: float) -> World:
        snap, jobs = resources.snapshot(self.objects[name]), self.jobs[name]
        found = [job(n, "delete", condition="Failed" if "terminated" in state else "") for n, state in jobs.items()]
        pods = {n: [pod(n, s, phase="Failed" if "terminated" in s else "Running")] for n, s in jobs.items()}
        world = World(snap, moment(seconds), SETTINGS, observation(found, pods, seconds=seconds))
        return world if snap.status.remote is None else self._with_view(world)

    def _with_view(self, world: World) -> World:
        async def unused() -> str:
            return ""

        view = asyncio.run(observe_remote.view(self.ctx, world, unused))
        return World(**{f: getattr(world, f) for f in world.__dataclass_fields__} | {"remote": view})

    def step(self, name: str, seconds: float = 101) -> Action | None:
        """One reconcile, as far as one action."""
        if name not in self.objects:
            return None
        action = decide(self.world(name, seconds))
        if isinstance(action, Record):
            self.put(name, self.objects[name] | {"status": action.status.wire()})
        elif isinstance(action, StartDelete):
            snapshot = resources.snapshot(self.objects[name])
            self.jobs[name][deletion(snapshot, action.deletes).job(action.attempt)] = RUNNING
        return action

    def end_jobs(self, name: str) -> None:
        for each, state in self.jobs[name].items():
            if "terminated" in state:
                continue
            store = self.stores["far" if "-remote-" in each else "own"]
            if name == "f" and "d" in store:
                self.refused += 1
                self.jobs[name][each] = said(NEEDED)
            else:
                store.discard(name)
                self.jobs[name][each] = said(DeleteResult(objects=1))

    def restorable(self) -> bool:
        """Whether the differential, while it exists, has one place with all that it needs."""
        return "d" not in self.objects or any({"f", "d"} <= store for store in self.stores.values())


@settings(max_examples=60, deadline=None)
@given(
    local=st.booleans(),
    steps=st.lists(st.sampled_from(["f", "d", "end f", "end d", "release", "delete"]), max_size=25),
)
def test_the_differential_goes_first_whatever_the_order(local: bool, steps: list[str]) -> None:
    verdict = LOCAL if local else REMOTE
    pair = Pair(verdict)
    for step in [*steps, "release", *["d", "end d", "f", "end f"] * 4]:
        match step.split():
            case ["release"] if "d" in pair.objects:
                pair.release(verdict)
            case ["delete"] if "d" in pair.objects:
                pair.delete_differential()
            case ["end", name]:
                pair.end_jobs(name)
            case [name] if name in ("f", "d"):
                pair.step(name)
        assert pair.restorable(), step
        assert pair.refused == 0, "no Job is started that the store must refuse"
    assert pair.stores["own" if local else "far"] == set()
    assert "f" in pair.stores["far" if local else "own"]


def test_both_at_once_take_two_rounds_not_ten_minutes() -> None:
    pair = Pair(LOCAL, **LOCAL)
    waits = pair.step("f")
    assert isinstance(waits, Idle)
    assert waits.seconds == USED_PAUSE
    for _ in range(2):
        pair.step("d")
    pair.end_jobs("d")
    pair.step("d")
    for _ in range(2):
        pair.step("f")
    pair.end_jobs("f")
    pair.step("f")
    assert pair.stores == {"own": set(), "far": {"f", "d"}}
    assert all(o["status"]["remote"]["localDeletedAt"] for o in pair.objects.values())


def test_a_differential_that_is_taken_now_keeps_the_data() -> None:
    pair = Pair(LOCAL)
    running = pair.objects["d"]["status"] | {"phase": "Running", "conditions": []}
    del running["remote"]
    pair.put("d", pair.objects["d"] | {"status": running})
    assert isinstance(pair.step("f"), Idle)


def test_one_without_a_snapshot_is_reported_and_tried_rarely() -> None:
    """It was deleted with deletionPolicy Retain, or belongs to another cluster: only the store knows it."""
    pair = Pair(LOCAL)
    del pair.objects["d"]
    pair.catalog.remove(Key("Snapshot", "shop", "d"))
    pair.step("f")
    assert isinstance(pair.step("f"), StartDelete)
    pair.end_jobs("f")
    assert pair.refused == 1
    assert isinstance(pair.step("f"), Record)
    assert "1 differentials need it" in pair.objects["f"]["status"]["remote"]["message"]
    assert isinstance(pair.step("f"), Idle)
    assert isinstance(pair.step("f", 60 + plan_after_end.DEPENDENTS_PAUSE), StartDelete)
    pair.stores["own"].discard("d")
    pair.end_jobs("f")
    assert isinstance(pair.step("f", 61 + plan_after_end.DEPENDENTS_PAUSE), Record)
    assert "message" not in {k for k, v in pair.objects["f"]["status"]["remote"].items() if v}
    assert all(finished(j) is not None for j in pair.world("f", 200).seen.jobs.values())
