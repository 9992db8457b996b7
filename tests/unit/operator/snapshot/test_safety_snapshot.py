"""A safety snapshot runs under the operation lock of its Rollback, and only while that waits for it."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.naming import safety_snapshot
from ocore_kube.types import ENVIRONMENTS, ROLLBACKS, SNAPSHOTS
from ocore_operator.frame.actions import Wait
from ocore_operator.kube.resources import Environment
from ocore_operator.snapshot import effects, observe
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.world import Begin, GiveUp
from support.operator import objects
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.pending_snapshot import WAIT, loaded, pending, ready, world

ROLLBACK_UID = "77777777-2222-4333-8444-555555555555"
NAME = safety_snapshot("r1", ROLLBACK_UID)


@pytest.mark.parametrize(
    ("rollback", "seconds", "expected"),
    [
        ("Waits", 1, Begin),
        ("Creates", 1, Wait),
        ("Creates", 10 * WAIT, Wait),  # the operator was down: the Rollback still holds the lock and will name it
        (None, 1, Wait),
        (None, WAIT + 1, GiveUp),
    ],
)
def test_it_begins_only_for_its_rollback(rollback: Any, seconds: float, expected: type) -> None:
    action = decide(world(pending(trigger="PreRollback"), seconds, rollback=rollback))
    assert isinstance(action, expected)
    if isinstance(action, GiveUp):
        assert (action.failure.reason, action.stored) == (c.ROLLBACK_NOT_FOUND, False)


def test_another_snapshot_needs_no_rollback() -> None:
    assert decide(world(pending(trigger="Manual"), rollback=None)) == Begin()


def environment(operation: dict[str, str] | None) -> Environment:
    status = {"operation": {"since": objects.at(0), **operation}} if operation else {}
    return objects.environment(status=status)


HELD = {"kind": "Rollback", "name": "r1", "uid": ROLLBACK_UID}


@pytest.mark.parametrize(
    ("operation", "meta", "status", "expected"),
    [
        (HELD, {}, {"stage": "Restore", "safetySnapshotId": objects.UID}, "Waits"),
        (HELD, {}, {"stage": "Neutralize", "safetySnapshotId": objects.UID}, "Waits"),
        (HELD, {}, {"stage": "Await", "safetySnapshotId": objects.UID}, "Waits"),
        (HELD, {}, {"stage": "Restore"}, "Creates"),
        (HELD, {}, {"stage": "Restore", "safetySnapshotId": objects.OTHER_UID}, None),  # its own one is another
        (HELD, {}, {"stage": "Abort", "safetySnapshotId": objects.UID}, None),
        (HELD, {}, {"stage": "Switch", "safetySnapshotId": objects.UID}, None),
        (HELD, {}, {"stage": "Ended", "safetySnapshotId": objects.UID}, None),  # it holds the lock for a cleanup
        (HELD, {"deletionTimestamp": objects.at(1)}, {"stage": "Restore", "safetySnapshotId": objects.UID}, None),
        (HELD, {"uid": objects.OTHER_UID}, {"stage": "Restore", "safetySnapshotId": objects.UID}, None),
        ({**HELD, "name": "gone"}, {}, {"stage": "Restore", "safetySnapshotId": objects.UID}, None),
        ({**HELD, "kind": "Snapshot"}, {}, {"stage": "Restore", "safetySnapshotId": objects.UID}, None),
        (None, {}, {"stage": "Restore", "safetySnapshotId": objects.UID}, None),
    ],
)
def test_which_rollback_is_its_own(
    operation: dict[str, str] | None, meta: dict[str, Any], status: dict[str, Any], expected: str | None
) -> None:
    server = ApiServer()
    server.put(ROLLBACKS, objects.obj("Rollback", "r1", {}, status, **{"uid": ROLLBACK_UID, **meta}))
    ctx: Any = SimpleNamespace(kube=server.client())
    found = objects.snapshot({"trigger": "PreRollback"}, name=NAME)
    assert asyncio.run(observe._rollback(ctx, found, environment(operation))) == expected


def test_a_name_that_is_not_derived_from_the_rollback_is_foreign() -> None:
    server = ApiServer()
    server.put(ROLLBACKS, objects.obj("Rollback", "r1", {}, {"stage": "Restore"}, uid=ROLLBACK_UID))
    ctx: Any = SimpleNamespace(kube=server.client())
    found = objects.snapshot({"trigger": "PreRollback"}, name="r1-safety-00000000")
    assert asyncio.run(observe._rollback(ctx, found, environment(HELD))) is None


@pytest.mark.parametrize(("trigger", "takes"), [("PreRollback", False), ("Manual", True)])
def test_it_does_not_take_the_operation_lock(trigger: str, *, takes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is its Rollback's, which still needs it."""
    server = ApiServer()
    snap = objects.snapshot_object({"trigger": trigger}, {"phase": "Pending"}, finalizers=["ocore.dev/data"])
    server.put(SNAPSHOTS, snap)
    server.put(ENVIRONMENTS, objects.environment_object())
    taken: list[str] = []

    async def acquire(*_: object) -> None:
        taken.append("lock")

    async def digest(*_: object) -> str:
        return f"sha256:{'1' * 64}"

    async def hit(*_: object) -> None:
        return None

    monkeypatch.setattr(effects.operation_lock, "acquire", acquire)
    monkeypatch.setattr(effects.scale, "running_digest", digest)
    written: list[Any] = []

    async def record(_: object, __: object, action: Any) -> None:
        written.append(action.status)

    monkeypatch.setattr(effects.frame, "carry_out", record)
    ctx: Any = SimpleNamespace(kube=server.client(), now=lambda: objects.moment(1), catalog=new_catalog())
    seen = world(objects.snapshot({"trigger": trigger}), environment=ready(), inputs=loaded())
    asyncio.run(effects._begin(ctx, seen))
    assert (taken == ["lock"]) is takes
    assert written[0].source.image_digest == f"sha256:{'1' * 64}"


@pytest.mark.parametrize(
    ("complete", "terminal", "used"),
    [
        (True, False, "Rollback r1"),  # Complete, and its Rollback has not ended: it stays
        (True, True, ""),
        (False, False, ""),  # its Rollback cancels it
    ],
)
def test_a_complete_one_stays_while_its_rollback_runs(*, complete: bool, terminal: bool, used: str) -> None:
    server = ApiServer()
    ended = [{"type": "Complete", "status": "True", "reason": "X", "lastTransitionTime": objects.at(0)}]
    status = {"safetySnapshotId": objects.UID, "conditions": ended if terminal else []}
    rollback = objects.obj("Rollback", "r1", {"snapshotRef": {"name": "s1"}}, status, uid=ROLLBACK_UID)

    class Kube:
        async def list(self, *_: object, keep: Callable[[Any], bool]) -> list[dict[str, Any]]:
            return [rollback] if keep(rollback) else []

        async def get(self, *_: object) -> None:
            """There is no Environment."""

    ctx: Any = SimpleNamespace(kube=Kube(), catalog=new_catalog(), settings=objects.SETTINGS)
    found = objects.snapshot({"trigger": "PreRollback"}, {"conditions": ended if complete else []}, name=NAME)
    assert asyncio.run(observe._used_by(ctx, found)) == used
    assert server.writes() == []
