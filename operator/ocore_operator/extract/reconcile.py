"""Extract: observe, decide on one action, carry it out, observe again.

``plan.py`` decides (pure), ``transitions.py`` makes the statuses. Each action can be repeated; Conflict is raised where
an object has changed since.
"""

from dataclasses import replace
from functools import partial

from ocore_crds import conditions as c
from ocore_crds.commands.table import REMOVE_EXTRACT
from ocore_kube.types import NAMESPACES
from ocore_operator import clock, operation_lock, sources
from ocore_operator.context import Context
from ocore_operator.entries.environments import EnvironmentEntry
from ocore_operator.entries.operations import operations, rollback_near
from ocore_operator.errors import Stalled
from ocore_operator.extract import transitions
from ocore_operator.extract.entry import idle
from ocore_operator.extract.plan import decide
from ocore_operator.extract.world import Action, World
from ocore_operator.frame import effects as frame
from ocore_operator.frame import loop
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, SetLock, StartJob, StopJob, Wait
from ocore_operator.frame.loop import Requeue
from ocore_operator.frame.reading import current
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.building import inputs, stores
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.building.node_of_claims import node_of
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.client import read
from ocore_operator.kube.resources import Environment, Extract, Key, Object, Snapshot, Store
from ocore_operator.sources import Place, Source

#: Least seconds for the Job: with less, the Extract fails anyway.
LEAST_DEADLINE = 10.0


async def reconcile(ctx: Context, key: Key) -> float | None:
    """Reconciles an Extract; seconds until the next reconcile, None: when something changes."""
    return await loop.run(
        str(key),
        partial(_observe, ctx, key),
        decide,
        partial(_carry_out, ctx),
        may_rest=loop.may_rest,
        refused=loop.refused,
    )


# --- observe ---------------------------------------------------------------------------------------------------------


async def _observe(ctx: Context, key: Key, fresh: bool = True) -> World | None:
    """None where the Extract is gone or idle. `fresh`: its Jobs are listed."""
    obj = await current(ctx, key)
    if obj is None or idle(obj):
        return None
    extract = resources.extract(obj)
    if extract.meta.deleted is not None:
        namespace = await ctx.kube.get(NAMESPACES, "", key.namespace)
        if namespace is None or "deletionTimestamp" in namespace["metadata"]:
            # Nothing else may be readable: the operator's Role in the namespace is deleted, too.
            return World(extract=extract, now=ctx.now(), seen=lifecycle.no_jobs(ctx), terminating=True)
    began = extract.status.started_at is not None
    seen = await lifecycle.observe(ctx, extract, fresh=fresh) if began else lifecycle.no_jobs(ctx)
    environment = await read(ctx.kube, resources.environment, key.namespace, extract.status.environment_name)
    needed = not began and not c.is_terminal(extract.status.conditions)
    snapshot = (
        await read(ctx.kube, resources.snapshot, key.namespace, extract.spec.snapshot_ref.name) if needed else None
    )
    target = environment
    if target is None and snapshot is not None:
        target = await read(ctx.kube, resources.environment, key.namespace, snapshot.spec.environment_ref.name)
    store, source = await _stores(ctx, extract, snapshot)
    return World(
        extract=extract,
        now=ctx.now(),
        seen=seen,
        snapshot=snapshot,
        environment=target,
        neighbours=neighbours(ctx.catalog, target) if target is not None else (),
        store=store,
        source=source,
        rollback_near=target is not None and _rollback_near(ctx, extract, target),
        locked=environment is not None and operation_lock.is_held_by(environment, extract),
    )


def neighbours(catalog: Catalog, environment: Environment) -> tuple[str, ...]:
    """Paths of other Environments' filestores on the same claim."""
    filestore = environment.spec.filestore
    every = catalog.of_kind(EnvironmentEntry, environment.meta.namespace)
    others = (e.target for e in every if e.key != environment.key)
    return tuple(t.path for t in others if filestore is not None and t.claim == filestore.claim_name)


def _rollback_near(ctx: Context, extract: Extract, environment: Environment) -> bool:
    others = operations(ctx.catalog, extract.meta.namespace, environment.meta.name)
    return rollback_near(environment.status.operation, others)


async def _stores(ctx: Context, extract: Extract, snapshot: Snapshot | None) -> tuple[Store | None, Source | None]:
    """The store that is read, and before the start why not another one."""
    namespace = extract.meta.namespace
    if snapshot is None:
        return await read(ctx.kube, resources.store, namespace, extract.status.store_name), None
    if not c.is_true(snapshot.status.conditions, c.COMPLETE):
        return None, None
    stores = {
        p.store_name: await read(ctx.kube, resources.store, namespace, p.store_name) for p in sources.places(snapshot)
    }
    base = snapshot.status.base
    full = await read(ctx.kube, resources.snapshot, namespace, base.name) if base is not None else None
    known = full is not None and base is not None and full.id == base.id
    source = sources.source(snapshot, base=full if known else None, stores=stores)
    return (stores[source.place.store_name] if source.place is not None else None), source


# --- carry out -------------------------------------------------------------------------------------------------------


async def _carry_out(ctx: Context, world: World, action: Action) -> Requeue | None:
    """None: observe again. Raises Outcome where the action cannot be carried out now."""
    extract = world.extract
    match action:
        case Wait():
            return await frame.wait(ctx, extract, action, partial(transitions.waiting, world))
        case Record() | Idle() | SetFinalizer():
            end = await frame.carry_out(ctx, extract, action)
            if isinstance(action, Record) and c.is_terminal(action.status.conditions):
                ctx.followers.forget_owner(extract.key)
            return end
        case SetLock(held=held):
            if held:
                await operation_lock.acquire(ctx, _environment(world), extract)
            else:
                await operation_lock.release(ctx, extract.meta.namespace, _environment(world).meta.name, extract)
            return None
        case StopJob():
            return await frame.stop_job(ctx, extract, action, world.seen, partial(transitions.waiting, world))
        case StartJob():
            job = await _job(ctx, world, action)
            await lifecycle.start(ctx, job, waiting_since=extract.status.started_at or extract.meta.created)
            return None


def _environment(world: World) -> Environment:
    if world.environment is None:
        raise Stalled(c.ENVIRONMENT_NOT_FOUND, f"Environment {world.extract.status.environment_name} does not exist.")
    return world.environment


async def _job(ctx: Context, world: World, action: StartJob) -> Object:
    extract = world.extract
    if action.command == REMOVE_EXTRACT.name:
        found = await _removal_inputs(ctx, world)
        return JobBuilder(ctx.settings, found, action.attempt).remove_extract(extract)
    deadline = extract.status.deadline or extract.meta.created
    left = max(-clock.seconds_since(deadline, ctx.now()), LEAST_DEADLINE)
    return JobBuilder(ctx.settings, await _inputs(ctx, world), action.attempt).extract(extract, deadline=left)


async def _inputs(ctx: Context, world: World) -> JobInputs:
    extract, name = world.extract, world.extract.status.store_name or ""
    store = await inputs.load_place(ctx, extract.meta.namespace, _place(extract))
    if not world.into_claim and not world.of_tables:
        return await inputs.load_for_store(ctx, extract.meta.namespace, store, extract.status.environment_name)
    found = await inputs.load(ctx, _environment(world))
    if found.store.meta.name == name:
        return found
    claims = [extract.status.claim_name] if extract.status.claim_name is not None else []
    node = await node_of(ctx, extract.meta.namespace, claims + stores.claims(store))
    return replace(found, store=store, node=node)


def _place(extract: Extract) -> Place:
    """The store that it reads, and in which a result in the store is."""
    return Place(extract.status.store_name or "", extract.status.store_id or "")


async def _removal_inputs(ctx: Context, world: World) -> JobInputs:
    extract, namespace = world.extract, world.extract.meta.namespace
    if world.locks:
        return await inputs.load(ctx, _environment(world), lenient=True)
    store = await inputs.load_place(ctx, namespace, _place(extract))
    found = await inputs.load_for_store(ctx, namespace, store, extract.status.environment_name)
    if not world.of_tables or world.environment is None:
        return found
    # Also the scratch database that a killed attempt left.
    return replace(await inputs.load(ctx, world.environment, lenient=True), store=store, node=found.node)
