"""Which operation takes the lock next: a cleanup that is due, then the oldest. What a real API server answers is tested
in tests/integration."""

import asyncio
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_kube.errors import Conflict
from ocore_kube.types import ENVIRONMENTS, EXTRACTS, ROLLBACKS, SNAPSHOTS
from ocore_operator import operation_lock
from ocore_operator.errors import Waiting
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Environment, Key, Object, Rollback
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.objects import at, environment_object, moment, obj

COMPLETE = [{"type": "Complete", "status": "True", "reason": "X", "lastTransitionTime": at(0)}]
WAITING = [{"type": "Reconciling", "status": "True", "reason": c.WAITING_FOR_OPERATION, "lastTransitionTime": at(0)}]


def rollback(number: int, status: Object, **meta: Any) -> Object:
    return obj(
        "Rollback", f"r{number}", {"snapshotRef": {"name": "s1"}}, {"environmentName": "shop", **status},
        uid=f"{number:08x}-0000-4000-8000-000000000000", creationTimestamp=at(number), **meta,
    )  # fmt: skip


def kept(number: int, until: float, **status: Any) -> Object:
    return rollback(
        number,
        {
            "stage": "Ended",
            "phase": "Complete",
            "conditions": COMPLETE,
            "residue": "Pending",
            "completedAt": at(until - 20),
            "undoUntil": at(until),
            **status,
        },
    )


def waiting(number: int) -> Object:
    return rollback(number, {"stage": "Preflight", "phase": "Pending", "conditions": WAITING})


class Queue:
    def __init__(self) -> None:
        self.added: list[Key] = []

    def add(self, key: Key) -> None:
        self.added.append(key)


def context(now: datetime, *rollbacks: Object) -> Any:
    catalog = new_catalog()
    for x in rollbacks:
        catalog.put("Rollback", x)
    return SimpleNamespace(catalog=catalog, now=lambda: now, queue=Queue())


def first(ctx: Any, owner: Object) -> str:
    found, _ = operation_lock.goes_first(ctx, environment(), resources.rollback(owner))
    return found.key.name if found is not None else ""


def environment() -> Environment:
    return resources.environment(environment_object())


def test_a_due_cleanup_goes_before_the_next_operation() -> None:
    """Older or younger: ten rollbacks in a row left ten previous databases beside the live one."""
    for next_one, cleanup in ((waiting(1), kept(2, until=100)), (waiting(2), kept(1, until=100))):
        ctx = context(moment(101), next_one, cleanup)
        assert first(ctx, next_one) == cleanup["metadata"]["name"]
        # The cleanup does not wait for the operation that waits for it.
        assert first(ctx, cleanup) == ""


def test_inside_the_undo_window_it_does_not() -> None:
    ctx = context(moment(99), waiting(2), kept(1, until=100))
    assert first(ctx, waiting(2)) == ""


def test_a_failed_attempt_waits_for_its_pause() -> None:
    cleanup = kept(1, until=100, cleanupAttempt=1, cleanupAfter=at(150))
    assert first(context(moment(149), waiting(2), cleanup), waiting(2)) == ""
    assert first(context(moment(151), waiting(2), cleanup), waiting(2)) == "r1"


def test_a_deleted_rollback_cleans_up_before_its_window_ends() -> None:
    deleted = kept(1, until=100)
    deleted["metadata"]["deletionTimestamp"] = at(90)
    assert first(context(moment(91), waiting(2), deleted), waiting(2)) == "r1"


def test_cleanups_go_in_the_order_of_their_age() -> None:
    ctx = context(moment(200), kept(1, until=100), kept(2, until=90))
    assert first(ctx, kept(2, until=90)) == "r1"
    assert first(ctx, kept(1, until=100)) == ""


def test_a_cleanup_that_never_begins_does_not_block_the_environment() -> None:
    late = 100 + operation_lock.CLEANUP_FIRST_SECONDS
    assert first(context(moment(late - 1), waiting(2), kept(1, until=100)), waiting(2)) == "r1"
    assert first(context(moment(late + 1), waiting(2), kept(1, until=100)), waiting(2)) == ""


@pytest.mark.parametrize("status", [{"residue": "None"}, {"residue": "Unknown"}, {"stage": "Finish"}])
def test_without_a_remaining_cleanup_the_oldest_goes_first(status: Object) -> None:
    ctx = context(moment(101), waiting(2), waiting(3), kept(1, until=100, **status))
    assert first(ctx, waiting(2)) == ""
    assert first(ctx, waiting(3)) == "r2"


def test_the_message_names_the_cleanup_and_wakes_it() -> None:
    ctx = context(moment(101), waiting(2), kept(1, until=100))
    owner: Rollback = resources.rollback(waiting(2))
    with pytest.raises(
        operation_lock.Waiting, match="Rollback r1 also waits for Environment shop to clean up and goes first"
    ):
        asyncio.run(operation_lock.acquire(ctx, environment(), owner))
    assert [k.name for k in ctx.queue.added] == ["r1"]


@pytest.mark.parametrize(("seconds", "goes_first"), [(-0.001, ""), (0, "r1"), (899.9, "r1"), (900, ""), (5000, "")])
def test_a_cleanup_goes_first_from_its_time_on_for_a_limited_time(seconds: float, goes_first: str) -> None:
    assert first(context(moment(100 + seconds), waiting(2), kept(1, until=100)), waiting(2)) == goes_first


@pytest.mark.parametrize(("age", "goes_first"), [(0, "r1"), (59.9, "r1"), (60, ""), (600, "")])
def test_an_older_operation_that_was_never_reconciled_counts_for_a_limited_time(age: float, goes_first: str) -> None:
    """Something prevents its reconcile; the others do not wait for it."""
    unseen = rollback(1, {})
    assert first(context(moment(1 + age), unseen, waiting(2)), waiting(2)) == goes_first


def test_of_two_cleanups_that_are_due_the_older_goes_first() -> None:
    assert first(context(moment(101), waiting(3), kept(1, until=100), kept(2, until=90)), waiting(3)) == "r1"


def test_a_younger_operation_does_not_go_first() -> None:
    """Also where the catalog does not have this one yet."""
    assert first(context(moment(60), waiting(2)), waiting(1)) == ""


# --- the writes ----------------------------------------------------------------------------------------------------


def running(number: int) -> Object:
    return rollback(number, {"stage": "Restore", "phase": "Restoring"})


class Locking:
    """An Environment and two rollbacks that run, in an API server."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.server.put(ENVIRONMENTS, environment_object())
        self.owners = [resources.rollback(self.server.put(ROLLBACKS, running(number))) for number in (1, 2)]
        self.ctx: Any = context(moment(60))
        self.ctx.kube = self.server.client()

    def read(self) -> Environment:
        return resources.environment(self.server.read(ENVIRONMENTS, "shop", "shop"))

    def acquire(self, number: int, seen: Environment | None = None) -> Environment:
        return asyncio.run(operation_lock.acquire(self.ctx, seen or self.read(), self.owners[number]))

    @property
    def holder(self) -> str:
        operation = self.read().status.operation
        return operation.name if operation is not None else ""


@pytest.mark.parametrize(("holder", "other"), [(0, 1), (1, 0)])
def test_a_lock_that_is_held_is_not_taken(holder: int, other: int) -> None:
    """Whichever is older: once it is held, age counts for nothing."""
    locking = Locking()
    locking.acquire(holder)
    name, before = f"r{holder + 1}", locking.server.writes()
    with pytest.raises(Waiting) as raised:
        locking.acquire(other)
    assert raised.value.reason == c.WAITING_FOR_OPERATION
    assert f"Rollback {name} holds the operation lock" in raised.value.message
    assert (locking.holder, locking.server.writes()) == (name, before)
    assert locking.acquire(holder).meta == locking.read().meta  # it has it already: nothing is written
    assert locking.server.writes() == before


def test_a_snapshot_holds_it_as_a_snapshot() -> None:
    """By kind and name the holder is looked up later."""
    locking = Locking()
    mine = locking.server.put(SNAPSHOTS, obj("Snapshot", "s1", {"environmentRef": {"name": "shop"}}))
    asyncio.run(operation_lock.acquire(locking.ctx, locking.read(), resources.snapshot(mine)))
    with pytest.raises(Waiting, match="Snapshot s1 holds the operation lock"):
        locking.acquire(0)
    assert not asyncio.run(operation_lock.stale(locking.ctx, locking.read()))
    asyncio.run(locking.ctx.kube.delete(SNAPSHOTS, "shop", "s1"))
    locking.acquire(0)
    assert locking.holder == "r1"


@pytest.mark.parametrize(
    ("attempt", "residue", "stale"), [(1, "Pending", False), (0, "Pending", True), (1, "None", True)]
)
def test_row_129_an_extract_that_drops_its_schema_holds_it(attempt: int, residue: str, stale: bool) -> None:
    locking, spec = Locking(), {"snapshotRef": {"name": "s1"}, "tables": [{"name": "a"}], "target": {"database": {}}}
    status = {"conditions": COMPLETE, "residue": residue, "removalAttempt": attempt}
    made = obj("Extract", "e1", spec, status)
    mine = locking.server.put(EXTRACTS, made)
    asyncio.run(operation_lock.acquire(locking.ctx, locking.read(), resources.extract(mine)))
    assert asyncio.run(operation_lock.stale(locking.ctx, locking.read())) is stale


def test_of_two_that_saw_it_free_one_gets_it() -> None:
    locking = Locking()
    free = locking.read()
    locking.acquire(0, free)
    with pytest.raises(Conflict):
        locking.acquire(1, free)
    assert locking.holder == "r1"


def test_only_the_holder_releases_it() -> None:
    locking = Locking()
    locking.acquire(0)
    asyncio.run(operation_lock.release(locking.ctx, "shop", "shop", locking.owners[1]))
    assert locking.holder == "r1"
    locking.ctx.catalog.put("Rollback", waiting(3))
    asyncio.run(operation_lock.release(locking.ctx, "shop", "shop", locking.owners[0]))
    assert locking.holder == ""
    assert [key.name for key in locking.ctx.queue.added] == ["r3"]  # its turn


@pytest.mark.parametrize("uid", ["00000000-0000-4000-8000-000000000000", "ffffffff-0000-4000-8000-000000000000"])
def test_a_successor_of_the_same_name_does_not_hold_it(uid: str) -> None:
    """The holder was deleted and created again: it has another uid, and has not asked for the lock."""
    locking = Locking()
    locking.acquire(0)
    again = running(1)
    again["metadata"]["uid"] = uid
    locking.server.put(ROLLBACKS, again)
    assert asyncio.run(operation_lock.stale(locking.ctx, locking.read()))
    locking.acquire(1)
    assert locking.holder == "r2"


def test_a_lock_that_no_one_holds_is_not_stale() -> None:
    locking = Locking()
    assert not asyncio.run(operation_lock.stale(locking.ctx, locking.read()))


@pytest.mark.parametrize(
    ("status", "taken"),
    [
        ({"stage": "Restore"}, False),
        ({"stage": "Ended", "conditions": COMPLETE, "residue": "Pending"}, False),  # it cleans up under the lock
        ({"stage": "Ended", "conditions": COMPLETE, "residue": "None"}, True),
        (None, True),  # deleted
    ],
)
def test_a_lock_is_taken_over_only_from_a_holder_that_is_done(status: Object | None, taken: bool) -> None:
    locking = Locking()
    locking.acquire(0)
    if status is None:
        asyncio.run(locking.ctx.kube.delete(ROLLBACKS, "shop", "r1"))
    else:
        locking.server.put(ROLLBACKS, rollback(1, status))
    if taken:
        locking.acquire(1)
    else:
        with pytest.raises(Waiting):
            locking.acquire(1)
    assert locking.holder == ("r2" if taken else "r1")


@pytest.mark.parametrize(("kind", "known"), [("Snapshot", True), ("Rollback", False)])
def test_the_environment_is_reconciled_for_a_rollback_that_takes_its_lock(kind: str, *, known: bool) -> None:
    """A proof of it stops. For another operation its reconcile has nothing to do."""
    server, ctx = ApiServer(), context(moment(0))
    found = server.put(ENVIRONMENTS, environment_object())
    ctx.kube = server.client()
    ctx.catalog.put("Environment", found)
    spec = {"environmentRef": {"name": "shop"}} if kind == "Snapshot" else {"snapshotRef": {"name": "s1"}}
    owner: Any = resources.any_kind(kind, obj(kind, "one", spec))
    held = asyncio.run(operation_lock.acquire(ctx, resources.environment(found), owner))
    entry = ctx.catalog.get(held.key)
    assert entry is not None
    assert (entry.version == int(held.meta.resource_version)) is known
