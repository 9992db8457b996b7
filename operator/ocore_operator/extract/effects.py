"""Carries out the actions of an Extract. Each can be repeated; Conflict is raised where an object has changed since."""

from dataclasses import replace
from functools import partial

from ocore_crds import conditions as c
from ocore_operator import clock, operation_lock
from ocore_operator.context import Context
from ocore_operator.errors import Stalled
from ocore_operator.extract import transitions
from ocore_operator.extract.world import Action, StartJob, World
from ocore_operator.frame import effects as frame
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, SetLock, StopJob, Wait
from ocore_operator.frame.loop import Requeue
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.building import build, inputs, stores
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.kube.resources import Environment, Extract, Object
from ocore_operator.sources import Place

#: Least seconds for the Job: with less, the Extract fails anyway.
LEAST_DEADLINE = 10.0


async def carry_out(ctx: Context, world: World, action: Action) -> Requeue | None:
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
    if action.command == "remove-extract":
        return build.remove_extract(ctx.settings, await _removal_inputs(ctx, world), extract, attempt=action.attempt)
    deadline = extract.status.deadline or extract.meta.created
    left = max(-clock.seconds_since(deadline, ctx.now()), LEAST_DEADLINE)
    job_inputs = await _inputs(ctx, world)
    return build.extract(ctx.settings, job_inputs, extract, attempt=action.attempt, deadline=left)


async def _inputs(ctx: Context, world: World) -> JobInputs:
    extract, name = world.extract, world.extract.status.store_name or ""
    store = await inputs.load_place(ctx, extract.meta.namespace, _place(extract))
    if not world.into_claim and not world.of_tables:
        return await inputs.load_for_store(ctx, extract.meta.namespace, store, extract.status.environment_name)
    found = await inputs.load(ctx, _environment(world))
    if found.store.meta.name == name:
        return found
    claims = [extract.status.claim_name] if extract.status.claim_name is not None else []
    node = await inputs.node_of(ctx, extract.meta.namespace, claims + stores.claims(store))
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
