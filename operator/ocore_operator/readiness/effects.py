"""Carries out the actions of Environments and SnapshotStores."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from ocore_crds import conditions as c
from ocore_crds.resources.environment import EnvironmentStatus
from ocore_crds.resources.snapshotstore import SnapshotStoreStatus
from ocore_operator import operation_lock, summarize
from ocore_operator.context import Context
from ocore_operator.entries import targets
from ocore_operator.entries.environments import EnvironmentEntry
from ocore_operator.entries.operations import operations
from ocore_operator.entries.stores import StoreEntry
from ocore_operator.errors import Outcome
from ocore_operator.frame.actions import Idle, Record, StopJob
from ocore_operator.frame.loop import Requeue
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.observing.attempts import STOP_PAUSE
from ocore_operator.kube.resources import Environment, Object, Store
from ocore_operator.readiness import plan_environment, plan_store
from ocore_operator.readiness.plan_environment import target_of
from ocore_operator.readiness.plan_probe import verdict
from ocore_operator.readiness.world import (
    EnvironmentAction,
    EnvironmentWorld,
    ReleaseLock,
    Start,
    StatusT,
    Step,
    StoreAction,
    StoreWorld,
    World,
)

WorldT = TypeVar("WorldT", bound=World[Any, Any])


async def carry_out_environment(ctx: Context, world: EnvironmentWorld, action: EnvironmentAction) -> Requeue | None:
    """One action of an Environment; None: decide again."""
    if isinstance(action, ReleaseLock):
        await operation_lock.clear(ctx, world.obj)
        return Requeue(0.0)
    return await _carry_out(ctx, world, action, partial(_write_environment, ctx, world))


async def carry_out_store(ctx: Context, world: StoreWorld, action: StoreAction) -> Requeue | None:
    """One action of a SnapshotStore; None: decide again."""
    return await _carry_out(ctx, world, action, partial(_write_store, ctx, world.obj))


async def _carry_out(
    ctx: Context,
    world: WorldT,
    action: Step[StatusT],
    write: Callable[[StatusT], Awaitable[None]],
) -> Requeue | None:
    """What both kinds do with a Job. `write`: writes the status. Raises Outcome where a Job cannot be created."""
    match action:
        case Record(status=status, job=job):
            if job:
                await lifecycle.remove(ctx, world.seen, world.obj.meta, job)
            await write(status)
            return None
        case StopJob(job=job):
            await lifecycle.stop(ctx, world.seen, world.obj.meta, job)
            return Requeue(STOP_PAUSE)
        case Start(then=then):
            await lifecycle.start(ctx, _job(ctx, action), waiting_since=action.since)
        case Idle():
            then = action
    ctx.probes.explain(world.obj.key, then.why)
    await write(then.status or world.obj.status)
    return Requeue(then.seconds)


def refused(world: WorldT, action: object, refusal: Outcome) -> WorldT:
    """The world in which the Job of that command could not be created."""
    if not isinstance(action, Start):
        raise refusal
    return replace(world, refused={**world.refused, action.command: refusal})


def _job(ctx: Context, start: Start[StatusT]) -> Object:
    build = JobBuilder(ctx.settings, start.inputs, start.attempt)
    match start.command:
        case "probe":
            return build.probe(asked=start.asked)
        case "measure":
            return build.measure()
        case "prove":
            return build.prove()
        case "probe-store":
            return build.probe_store()


async def _write_environment(ctx: Context, world: EnvironmentWorld, status: EnvironmentStatus) -> None:
    if isinstance(world.needs, JobInputs):  # it waits for its stores
        for entry in world.stores.values():
            if entry.ready != "True":
                ctx.queue.add(entry.key)
    status = plan_environment.final(world.environment, status)
    await summarize.write(ctx, world.obj, status)
    wake(ctx, world.obj, status)


def wake(ctx: Context, obj: Environment, new: EnvironmentStatus) -> None:
    """Queues what waits for the Environment, where that has changed: operations, stores that may import its snapshots,
    and other Environments with the same database or filestore."""
    if obj.status.id is None:
        for store in ctx.catalog.of_kind(StoreEntry, obj.meta.namespace):
            ctx.queue.add(store.key)
    if _verdict(obj.status) != _verdict(new):
        for waiting in operations(ctx.catalog, obj.meta.namespace, obj.meta.name):
            ctx.queue.add(waiting.key)
    if target_of(obj, obj.status) != target_of(obj, new):
        every = ctx.catalog.of_kind(EnvironmentEntry)
        for other, _ in targets.sharing(every, obj.key, target_of(obj, new)):
            ctx.queue.add(other.key)


def _verdict(status: EnvironmentStatus) -> tuple[object, ...]:
    return (*verdict(status.conditions, c.READY, c.ROLLBACK_READY), status.probe)


async def _write_store(ctx: Context, obj: Store, status: SnapshotStoreStatus) -> None:
    """Queues the Environments that store into it, where the verdict has changed."""
    status = plan_store.final(obj, status)
    await summarize.write(ctx, obj, status)
    if verdict(obj.status.conditions, c.READY) == verdict(status.conditions, c.READY):
        return
    for entry in ctx.catalog.of_kind(EnvironmentEntry, obj.meta.namespace):
        if entry.store == obj.meta.name:
            ctx.queue.add(entry.key)
