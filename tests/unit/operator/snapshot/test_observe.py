"""What is read for a Snapshot that waits for the operation lock: thousands may wait, and each tries again."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_kube.types import ENVIRONMENTS, SNAPSHOTS
from ocore_operator.frame.actions import Wait
from ocore_operator.jobs.building import inputs
from ocore_operator.kube.resources import Key
from ocore_operator.snapshot.observe import observe
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.world import World
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.objects import SETTINGS, UID, at, environment_object, moment, obj

HOLDER = "22222222-2222-4333-8444-555555555555"


def read(ready: str, holder: str, phase: str = "Running") -> World:
    """The world of a Snapshot whose Environment is locked by `holder`, a Snapshot of that uid."""
    server = ApiServer()
    condition = {"type": "Ready", "status": ready, "reason": "X", "message": "why", "lastTransitionTime": at(-9)}
    status: dict[str, Any] = {"observedGeneration": 1, "conditions": [condition]}
    if holder:
        status["operation"] = {"kind": "Snapshot", "name": "running", "uid": holder, "since": at(-5)}
    server.put(ENVIRONMENTS, environment_object(status=status))
    spec = {"environmentRef": {"name": "shop"}}
    server.put(SNAPSHOTS, obj("Snapshot", "running", spec, {"phase": phase}, uid=HOLDER))
    mine = obj("Snapshot", "mine", spec, {"phase": "Pending"}, uid=UID, finalizers=["ocore.dev/data"])
    server.put(SNAPSHOTS, mine)
    ctx: Any = SimpleNamespace(
        kube=server.client(), catalog=new_catalog(), now=lambda: moment(0), settings=SETTINGS, queue=SimpleNamespace()
    )
    found = asyncio.run(observe(ctx, Key("Snapshot", "shop", "mine")))
    assert found is not None
    return found


class LoadedError(Exception):
    """What a Job needs was read."""


@pytest.fixture(autouse=True)
def loading(monkeypatch: pytest.MonkeyPatch) -> None:
    async def load(*_: object) -> None:
        raise LoadedError

    monkeypatch.setattr(inputs, "load", load)


def test_while_another_operation_holds_the_lock_nothing_more_is_read() -> None:
    action = decide(read("True", HOLDER))
    assert isinstance(action, Wait)
    assert (action.reason, action.wake) == (c.WAITING_FOR_OPERATION, None)
    assert "Snapshot running holds the operation lock" in action.message


@pytest.mark.parametrize(
    ("ready", "holder"),
    [("True", ""), ("True", UID), ("True", "33333333-2222-4333-8444-555555555555"), ("False", HOLDER)],
)
def test_its_turn_or_an_environment_that_is_not_ready(ready: str, holder: str) -> None:
    """The lock is free, its own, or its holder is gone; or the Environment's own state decides."""
    with pytest.raises(LoadedError):
        read(ready, holder)
