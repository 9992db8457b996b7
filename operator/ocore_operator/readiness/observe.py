"""Reads what the decisions about an Environment and a SnapshotStore depend on."""

from dataclasses import replace

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure
from ocore_crds.resources.workloads import targets
from ocore_operator import operation_lock
from ocore_operator.context import Context
from ocore_operator.entries.environments import EnvironmentEntry
from ocore_operator.entries.operations import OperationEntry, operations
from ocore_operator.entries.stores import StoreEntry
from ocore_operator.errors import Outcome, Waiting
from ocore_operator.frame.reading import current
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.building import inputs, stores
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.building.required import need
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Environment, Key, Object, Store
from ocore_operator.readiness import plan_environment, plan_store
from ocore_operator.readiness.plan_probe import duplicate
from ocore_operator.readiness.world import EnvironmentWorld, StoreWorld
from ocore_operator.workloads import data_loss


async def environment(ctx: Context, key: Key) -> EnvironmentWorld | None:
    """None where the Environment is gone or is being deleted."""
    raw = await _read(ctx, key)
    if raw is None:
        return None
    obj = resources.environment(raw)
    if await operation_lock.stale(ctx, obj):
        return _stale(ctx, obj)
    names = [ref.name for ref in (obj.spec.store_ref, obj.spec.remote_store_ref) if ref is not None]
    found = (ctx.catalog.find(StoreEntry, key.namespace, name) for name in names)
    needs = await _needs_of_environment(ctx, obj)
    world = EnvironmentWorld(
        obj=obj,
        settings=ctx.settings,
        needs=needs,
        seen=lifecycle.no_jobs(ctx),
        requested=ctx.probes.wanted(key),
        outdated=ctx.probes.outdated(key),
        operations=tuple(operations(ctx.catalog, key.namespace, key.name)),
        stores={e.key.name: e for e in found if e is not None},
        environments=tuple(ctx.catalog.of_kind(EnvironmentEntry)),
        loses=await _loses(ctx, obj) if isinstance(needs, JobInputs) else None,
        other_probe=ctx.probes.reported(key),
        now=ctx.now(),
    )
    if not plan_environment.needs_jobs(world):
        return world
    seen = await lifecycle.observe(ctx, obj)
    return replace(world, seen=seen, now=seen.now)


async def _loses(ctx: Context, obj: Environment) -> Failure | None:
    filestore = obj.spec.filestore
    claim = filestore.claim_name if filestore is not None else ""
    return await data_loss.of_targets(ctx, obj.meta.namespace, targets(obj.spec.workloads), claim)


def _stale(ctx: Context, obj: Environment) -> EnvironmentWorld:
    """Nothing else is read before its lock is released."""
    seen, end = lifecycle.no_jobs(ctx), Waiting(c.WAITING_FOR_OPERATION, "The operation lock is released first.", 0)
    return EnvironmentWorld(obj=obj, now=seen.now, settings=ctx.settings, needs=end, seen=seen, stale_lock=True)


async def store(ctx: Context, key: Key) -> StoreWorld | None:
    """None where the SnapshotStore is gone or is being deleted."""
    raw = await _read(ctx, key)
    if raw is None:
        return None
    obj = resources.store(raw)
    needs = await _needs_of_store(ctx, obj)
    world = StoreWorld(
        obj=obj,
        settings=ctx.settings,
        needs=needs,
        seen=lifecycle.no_jobs(ctx),
        requested=ctx.probes.wanted(key),
        operations=tuple(_waiting(ctx, obj)),
        now=ctx.now(),
    )
    if not plan_store.needs_jobs(world):
        return world
    seen = await lifecycle.observe(ctx, obj)
    return replace(world, seen=seen, now=seen.now)


async def _read(ctx: Context, key: Key) -> Object | None:
    raw = await current(ctx, key)
    if raw is None:
        ctx.probes.forget(key)
    return raw if raw is not None and "deletionTimestamp" not in raw["metadata"] else None


async def _needs_of_environment(ctx: Context, obj: Environment) -> JobInputs | Outcome:
    elder = ctx.catalog.elder(obj.key)
    if elder is not None:
        return duplicate(obj, elder)
    try:
        return await inputs.load(ctx, obj)
    except Outcome as end:
        return end


async def _needs_of_store(ctx: Context, obj: Store) -> JobInputs | Outcome:
    """What the store needs exists, and the user that writes to its claim is known."""
    elder = ctx.catalog.elder(obj.key)
    if elder is not None:
        return duplicate(obj, elder)
    namespace = obj.meta.namespace
    try:
        for each in stores.of(obj).needs():
            await need(ctx, each.type, namespace, each.name, each.reason, each.field)
        return await inputs.load_for_store(ctx, namespace, obj)
    except Outcome as end:
        return end


def _waiting(ctx: Context, obj: Store) -> list[OperationEntry]:
    """The operations whose Environment stores into it."""
    users = (e for e in ctx.catalog.of_kind(EnvironmentEntry, obj.meta.namespace) if e.store == obj.meta.name)
    return [waiting for e in users for waiting in operations(ctx.catalog, obj.meta.namespace, e.key.name)]
