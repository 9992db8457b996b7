"""Carries out the actions of imports and sweeps. After each one the next reconcile decides again."""

from dataclasses import replace

from ocore_crds.protocol import Failure
from ocore_operator import summarize
from ocore_operator.contents import importing, plan_import, plan_sweep
from ocore_operator.contents.importing import Memories
from ocore_operator.contents.world import (
    CreatePage,
    Idle,
    ImportAction,
    ImportWorld,
    Record,
    StartPage,
    StartRemoval,
    StartSweep,
    SweepAction,
    SweepWorld,
    TakeOver,
    World,
)
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Waiting
from ocore_operator.jobs import build, control, inputs
from ocore_operator.jobs.inputs import JobInputs
from ocore_operator.jobs.outcome import POLL
from ocore_operator.kube.resources import Object
from ocore_operator.reconcile_loop import Requeue


async def carry_out_import(memories: Memories, ctx: Context, world: ImportWorld, action: ImportAction) -> Requeue:
    """One action of an import. Raises Stalled where what its Job needs is missing."""
    store = world.store
    if not plan_import.is_running(store.status.import_):
        memories.forget(store.key)
    match action:
        case Idle(after=after):
            return Requeue(after)
        case Record():
            return await _record(ctx, world, action)
        case StartPage(running=running, attempt=attempt):
            try:
                await importing.start_page(ctx, store, running, world.places, attempt)
            except Waiting as end:
                return Requeue(end.after)
            except Failed as end:
                refused = replace(world, refusal=Failure(reason=end.reason, message=end.message))
                return await carry_out_import(memories, ctx, refused, plan_import.decide(refused))
            return Requeue(POLL)
        case CreatePage():
            return await _record(ctx, world, await importing.create_page(memories, ctx, world, action))
        case TakeOver(done=done):
            return await _record(ctx, world, await importing.take_over(ctx, store, done))


async def carry_out_sweep(ctx: Context, world: SweepWorld, action: SweepAction) -> Requeue:
    """One action of a sweep or a removal. Raises Stalled where what its Job needs is missing."""
    store = world.store
    match action:
        case Idle(after=after):
            return Requeue(after)
        case Record():
            return await _record(ctx, world, action)
        case StartSweep() | StartRemoval():
            job_inputs = await inputs.load_for_store(ctx, store.meta.namespace, store)
            try:
                await control.start(ctx, _job(ctx, job_inputs, action), waiting_since=store.meta.created)
            except Waiting as end:
                return Requeue(end.after)
            except Failed as end:
                refused = replace(world, refusal=Failure(reason=end.reason, message=end.message))
                return await carry_out_sweep(ctx, refused, plan_sweep.decide(refused))
            return Requeue(POLL)


def _job(ctx: Context, job_inputs: JobInputs, action: StartSweep | StartRemoval) -> Object:
    match action:
        case StartSweep(attempt=attempt):
            return build.sweep(ctx.settings, job_inputs, attempt=attempt)
        case StartRemoval(report=report, attempt=attempt):
            return build.remove_orphans(ctx.settings, job_inputs, report=report, attempt=attempt)


async def _record(ctx: Context, world: World, action: Record | Idle) -> Requeue:
    """The status once the Job is gone: else its result would be read again under the name of another attempt."""
    if isinstance(action, Idle):
        return Requeue(action.after)
    if action.job:
        await control.remove(ctx, world.seen, world.store.meta, action.job)
    await summarize.write(ctx, world.store, action.status)
    return Requeue(action.after)
