"""Which decisions may rest on the last lists of Jobs and pods: to wait, and no other one."""

import asyncio
from types import SimpleNamespace
from typing import Any, get_args, get_origin

import pytest

from ocore_kube.types import ROLLBACKS, SNAPSHOTS
from ocore_operator.extract import world as extract_world
from ocore_operator.frame import loop
from ocore_operator.frame.actions import Idle, Record, Wait
from ocore_operator.jobs.observing.last_lists import AGE
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.kube.resources import Key
from ocore_operator.rollback import observe as observe_rollback
from ocore_operator.rollback import reconcile as of_rollback
from ocore_operator.rollback import world as rollback_world
from ocore_operator.rollback.memory import Memories
from ocore_operator.snapshot import observe as observe_snapshot
from ocore_operator.snapshot import reconcile as of_snapshot
from ocore_operator.snapshot import world as snapshot_world
from ocore_operator.workloads.quiesce import Later, SetReplicas
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.objects import NOW, SETTINGS, obj, snapshot_object, started

CASES = [
    pytest.param(get_origin(action) or action, id=f"{world.__name__.split('.')[1]}-{action.__name__}")
    for world in (snapshot_world, extract_world, rollback_world)
    for action in get_args(world.Action)
]


@pytest.mark.parametrize("action", CASES)
def test_only_a_wait_may_rest_on_the_last_lists(action: type[Any]) -> None:
    """Whatever creates, deletes, switches, resumes, releases or records an outcome is decided on lists of now."""
    chosen = action.__new__(action)
    assert loop.may_rest(SimpleNamespace(remembered=True), chosen) == (action.__name__ == "Wait")
    assert loop.may_rest(SimpleNamespace(remembered=False), chosen)


@pytest.mark.parametrize("action", [each for each in CASES if each.id.startswith("rollback")])
def test_the_same_of_a_rollback(action: type[Any]) -> None:
    chosen = (
        rollback_world.Do(rollback_world.RecordExecuted()) if action is rollback_world.Do else action.__new__(action)
    )
    assert of_rollback._may_rest(observed(remembered=True), chosen) == (action.__name__ == "Wait")
    assert of_rollback._may_rest(observed(), chosen)


EFFECTS = get_args(rollback_world.Effect)
#: What may follow a status that was written: each is a conflict where its object has changed, or is the same Job.
FOLLOW = {"SetFinalizer", "SetLock", "StartJob", "SetReplicas", "SendSignal", "RecordExecuted", "SettleUndo"}


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("allowed", [rollback_world.AFTER_STATUS, rollback_world.AFTER_EFFECT])
def test_what_may_follow_a_write(effect: type[Any], allowed: tuple[type[object], ...]) -> None:
    chosen = object.__new__(effect)
    object.__setattr__(chosen, "then", None)
    found = of_rollback._may_rest(observed(allowed=allowed), rollback_world.Do(chosen))
    assert found == (effect.__name__ in FOLLOW)


@pytest.mark.parametrize("kind", [Idle, Record, Wait])
def test_a_status_follows_an_effect_only(kind: type[Any]) -> None:
    """What others have announced is read after the own announcement, which is a status."""
    chosen = object.__new__(kind)
    assert of_rollback._may_rest(observed(allowed=rollback_world.AFTER_STATUS), chosen) == (kind is Wait)
    assert of_rollback._may_rest(observed(allowed=rollback_world.AFTER_EFFECT), chosen) == (kind is not Idle)


def test_what_waits_after_it_observes_again() -> None:
    again = SetReplicas((), Later(1.0, "Scaled to zero again."))
    assert not of_rollback._may_rest(observed(allowed=rollback_world.AFTER_STATUS), rollback_world.Do(again))


def observed(*, remembered: bool = False, allowed: tuple[type[object], ...] | None = None) -> Any:
    """A world of a Rollback."""
    return SimpleNamespace(remembered=remembered, allowed=allowed)


def test_a_lost_event_costs_twenty_seconds() -> None:
    """What waits for a Job is reconciled again after POLL, and then observes nothing that is older than AGE."""
    assert POLL + AGE == 20


def test_for_an_action_of_a_rollback_only_the_last_lists_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """All else was read in the same moment. After an action everything is read."""
    reused: list[Any] = []
    remembered = iter((True, False, False))

    async def read(*_: Any, fresh: bool, others: Any) -> Any:
        reused.append(others)
        return SimpleNamespace(rollback=None, remembered=next(remembered), others=f"others {len(reused)}")

    monkeypatch.setattr(of_rollback, "observe", read)
    observer = of_rollback._Observer(None, None, None)  # type: ignore[arg-type]
    for fresh in (False, True, True):
        asyncio.run(observer(fresh))
    assert reused == [None, "others 1", None]


class Read(Exception):
    """Ends an observation once the Jobs are read."""


class Reads:
    """An object that has begun, and how its Jobs are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fresh: list[bool] = []
        self.options: dict[str, Any] = {}
        server = ApiServer()
        server.put(SNAPSHOTS, snapshot_object(None, started()))
        wanted = {"snapshotRef": {"name": "before"}, "targetEnvironmentRef": {"name": "shop"}}
        server.put(ROLLBACKS, obj("Rollback", "back", wanted, {"stage": "Restore"}))
        self.ctx: Any = SimpleNamespace(
            kube=server.client(), catalog=new_catalog(), settings=SETTINGS, now=lambda: NOW, slots=None
        )
        for module in (observe_snapshot, observe_rollback):
            monkeypatch.setattr(module.lifecycle, "observe", self._control)
        monkeypatch.setattr(loop, "run", self._run)
        monkeypatch.setattr(observe_rollback, "_others", self._nothing)

    async def _control(self, *_: Any, fresh: bool = True, **__: Any) -> None:
        self.fresh.append(fresh)
        raise Read

    async def _nothing(self, *_: Any) -> None: ...

    async def _run(self, _: str, observe: Any, *__: Any, **options: Any) -> None:
        self.options = options
        for fresh in (False, True):
            with pytest.raises(Read):
                await observe(fresh)


def test_both_kinds_ask_for_the_last_lists_only_where_the_loop_does(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(monkeypatch)
    asyncio.run(of_snapshot.reconcile(reads.ctx, Key("Snapshot", "shop", "before")))
    assert (reads.fresh, reads.options["may_rest"]) == ([False, True], loop.may_rest)
    reads.fresh.clear()
    asyncio.run(of_rollback.reconcile(Memories(), reads.ctx, Key("Rollback", "shop", "back")))
    assert (reads.fresh, reads.options["may_rest"]) == ([False, True], of_rollback._may_rest)
