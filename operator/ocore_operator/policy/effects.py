"""Carries out what the plan of a SnapshotPolicy decides. Every action can be repeated."""

from collections.abc import Iterable

import structlog

from ocore_crds import conditions as c
from ocore_crds.kinds import SNAPSHOT
from ocore_crds.resources.environment import PinCount
from ocore_crds.resources.restore_test import RestoreTestRequest
from ocore_crds.rules import history, retention
from ocore_crds.rules.retention import Verdict
from ocore_kube.errors import AlreadyExists
from ocore_kube.types import ROLLBACKS, SNAPSHOTS
from ocore_operator import remote_status, summarize
from ocore_operator.context import Context
from ocore_operator.frame import effects as frame
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.frame.loop import Requeue
from ocore_operator.frame.reading import current
from ocore_operator.kube import resources
from ocore_operator.kube.client import MANAGER_PINS, MANAGER_RESTORE_TEST, MANAGER_RETENTION, read
from ocore_operator.kube.resources import Key, Object, Snapshot
from ocore_operator.policy.world import (
    Action,
    CheckCopies,
    CountPins,
    Create,
    Delete,
    DeleteRollbacks,
    Explain,
    RequestCopies,
    RequestTest,
    World,
)

_log = structlog.get_logger()


async def carry_out(ctx: Context, world: World, action: Action) -> Requeue | None:
    """None: observe again. Raises Conflict where an object has changed since."""
    match action:
        case Record() | Idle() if world.policy is not None:
            return await frame.carry_out(ctx, world.policy, action)
        case Create():
            return await _create(ctx, world, action)
        case RequestTest(key=key, request=request):
            return await _request_test(ctx, key, request)
        case CountPins(pins=pins):
            return await _count_pins(ctx, world.key, pins)
        case Explain(verdicts=verdicts):
            for key, verdict in verdicts:
                await _explain(ctx, key, verdict)
            return Requeue(0.0)
        case Delete():
            return await _delete(ctx, action)
        case RequestCopies(keys=keys, store=store):
            return await _request_copies(ctx, keys, store)
        case CheckCopies(keys=keys):
            return await _check_copies(ctx, keys)
        case DeleteRollbacks(keys=keys):
            return await _delete_rollbacks(ctx, keys)
        case Idle(seconds=seconds):
            return Requeue(seconds)
        case Record():
            raise ValueError(f"{world.key}: there is no policy whose status could be written")


async def _create(ctx: Context, world: World, action: Create) -> Requeue | None:
    """The status follows the Snapshot: a crash between them, or a lost answer, creates nothing twice, because the slot
    decides the name."""
    try:
        obj = await ctx.kube.create(SNAPSHOTS, scheduled_snapshot(world, action.name))
    except AlreadyExists:
        _log.info("the slot's Snapshot exists", namespace=world.key.namespace, name=action.name)
    else:
        ctx.catalog.put("Snapshot", obj)
        ctx.queue.add(Key("Snapshot", world.key.namespace, action.name))
    return await carry_out(ctx, world, Record(action.status))


def scheduled_snapshot(world: World, name: str) -> Object:
    """Owned by nothing: neither the policy nor the Environment takes its snapshots along when it is deleted."""
    spec = {
        "environmentRef": {"name": world.key.name},
        "trigger": "Scheduled",
        "retention": "Policy",
        "deletionPolicy": "Delete",
        "timeoutSeconds": world.spec.timeout_seconds,
    }
    return SNAPSHOT.new(world.key.namespace, spec, name=name)


async def _request_test(ctx: Context, key: Key, request: RestoreTestRequest) -> Requeue | None:
    """The Snapshot's own reconcile runs the test. It is read again: one that has changed is left to the plan."""
    snapshot = await _read(ctx, key)
    if snapshot is None or snapshot.meta.deleted is not None or snapshot.status.phase != "Complete":
        return None
    if snapshot.status.restore_test_request == request:
        return None
    written = await ctx.kube.apply_status(snapshot, {"restoreTestRequest": request.wire()}, MANAGER_RESTORE_TEST)
    if written is not None:
        ctx.catalog.put("Snapshot", written)
        ctx.queue.add(key)
    return None


async def _count_pins(ctx: Context, key: Key, pins: PinCount | None) -> Requeue | None:
    """Pins that were set at the same moment may exceed the limit: all of them stay, and an Event reports it."""
    environment = await read(ctx.kube, resources.environment, key.namespace, key.name)
    if environment is None:
        return None
    body: Object = {"pins": pins.wire()} if pins is not None else {}
    written = await ctx.kube.apply_status(environment, body, MANAGER_PINS)
    if written is None:
        return None
    ctx.catalog.put("Environment", written)
    before = environment.status.pins
    if pins is not None and pins.pinned > pins.limit and (before is None or before.pinned <= before.limit):
        text = (
            f"{pins.pinned} snapshots are pinned, and the default limit is {pins.limit}. All of them stay; unpin some,"
            " or set maxPinned in a SnapshotPolicy."
        )
        ctx.events.record(environment, "Warning", c.PIN_LIMIT_EXCEEDED, text)
    return None


async def _explain(ctx: Context, key: Key, verdict: Verdict) -> None:
    snapshot = await _read(ctx, key)
    if snapshot is None:
        return
    wanted = retention.status_of(verdict)
    written = await ctx.kube.apply_status(snapshot, wanted, MANAGER_RETENTION)
    foreign = retention.beyond(written, wanted) if written is not None else {}
    if written is not None and foreign:
        written = await ctx.kube.patch_status(SNAPSHOTS, written, foreign)
    if written is not None:
        ctx.catalog.put("Snapshot", written)


async def _delete(ctx: Context, action: Delete) -> Requeue | None:
    """The catalog may be a moment old. So each Snapshot is read again, and one that was pinned or kept since then
    stays; and nothing is deleted while the newest Complete one is not seen to exist."""
    if action.stay is not None:
        stays = await _read(ctx, action.stay)
        if stays is None or stays.meta.deleted is not None or c.outcome(stays.status.conditions) != "Complete":
            return Requeue(1.0)
    for key in action.keys:
        snapshot = await _read(ctx, key)
        if snapshot is None or snapshot.meta.deleted is not None or not _may_go(snapshot, action.stay):
            continue
        _log.info("retention deletes a Snapshot", namespace=key.namespace, name=key.name)
        ctx.events.record(
            snapshot, "Normal", "RetentionExpired", "No rule of the SnapshotPolicy keeps it: it is deleted."
        )
        meta = snapshot.meta
        await ctx.kube.delete(SNAPSHOTS, key.namespace, key.name, uid=meta.uid, resource_version=meta.resource_version)
        await current(ctx, key)
    return Requeue(0.0)


async def _request_copies(ctx: Context, keys: Iterable[Key], store: str) -> Requeue:
    """From then on the Snapshot's own reconciles make the copy."""
    for key in keys:
        snapshot = await _read(ctx, key)
        if snapshot is None or snapshot.meta.deleted is not None or c.outcome(snapshot.status.conditions) != "Complete":
            continue
        remote = snapshot.status.remote
        if remote is None:
            status = remote_status.requested(snapshot, store, ctx.now())
        elif remote.complete and not remote.only and remote.replaces is None:
            status = remote_status.requested_elsewhere(snapshot, store, ctx.now())
        else:
            continue
        await summarize.write(ctx, snapshot, status)
        ctx.queue.add(key)
    return Requeue(0.0)


async def _check_copies(ctx: Context, keys: Iterable[Key]) -> Requeue:
    """From then on the Snapshot's own reconciles make the check."""
    for key in keys:
        snapshot = await _read(ctx, key)
        if snapshot is None or snapshot.meta.deleted is not None:
            continue
        remote = snapshot.status.remote
        if remote is not None and remote.complete and remote.check_requested_at is None:
            await summarize.write(ctx, snapshot, remote_status.check_requested(snapshot, ctx.now()))
            ctx.queue.add(key)
    return Requeue(0.0)


async def _delete_rollbacks(ctx: Context, keys: Iterable[Key]) -> Requeue:
    """Each one is read again: one that has changed, or that a tool has taken over, stays."""
    for key in keys:
        obj = await current(ctx, key)
        finished = history.finished_of(obj) if obj is not None else None
        if obj is None or finished is None or not finished.removable:
            continue
        rollback = resources.rollback(obj)
        uid, version = rollback.meta.uid, rollback.meta.resource_version
        if not await ctx.kube.delete(ROLLBACKS, key.namespace, key.name, uid=uid, resource_version=version):
            continue
        limit = ctx.settings.rollback_history_limit
        why = "a preview that was left behind" if finished.temporary else f"{limit} newer Rollbacks are listed"
        _log.info("the history removes a Rollback", namespace=key.namespace, name=key.name, why=why)
        ctx.events.record(rollback, "Normal", "HistoryLimit", f"Removed: {why}.")
        ctx.catalog.remove(key, uid)
    return Requeue(0.0)


def _may_go(snapshot: Snapshot, stay: Key | None) -> bool:
    """Whether the Snapshot, as it was just read, is still one that retention may delete. A Complete one only beside the
    one that stays."""
    if snapshot.spec.pin is not None or snapshot.spec.retention != "Policy" or snapshot.status.dependents:
        return False
    ended = c.outcome(snapshot.status.conditions)
    return ended == "Failed" or (ended == "Complete" and stay is not None and stay != snapshot.key)


async def _read(ctx: Context, key: Key) -> Snapshot | None:
    """The Snapshot as it is now, which the catalog learns."""
    obj = await current(ctx, key)
    return resources.snapshot(obj) if obj is not None else None
