"""Carries out the actions of an import. After each one the next reconcile decides again."""

from dataclasses import replace

from ocore_crds.protocol import Failure
from ocore_operator import summarize
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Waiting
from ocore_operator.imports import pages, plan
from ocore_operator.imports.pages import Memories
from ocore_operator.imports.world import Action, CreatePage, Idle, Record, StartPage, TakeOver, World
from ocore_operator.jobs import control
from ocore_operator.jobs.outcome import POLL
from ocore_operator.reconcile_loop import Requeue


async def carry_out(memories: Memories, ctx: Context, world: World, action: Action) -> Requeue:
    """One action. Raises Stalled where what its Job needs is missing."""
    store = world.store
    if not plan.is_running(store.status.import_):
        memories.forget(store.key)
    match action:
        case Idle(after=after):
            return Requeue(after)
        case Record(status=status, after=after, job=job):
            if job:  # else its result would be read again under the name of another attempt
                await control.remove(ctx, world.seen, store.meta, job)
            await summarize.write(ctx, store, status)
            return Requeue(after)
        case StartPage(running=running, attempt=attempt):
            try:
                await pages.start_page(ctx, store, running, world.places, attempt)
            except Waiting as end:
                return Requeue(end.after)
            except Failed as end:
                refused = replace(world, refusal=Failure(reason=end.reason, message=end.message))
                return await carry_out(memories, ctx, refused, plan.decide(refused))
            return Requeue(POLL)
        case CreatePage():
            return await carry_out(memories, ctx, world, await pages.create_page(memories, ctx, world, action))
        case TakeOver(done=done):
            return await carry_out(memories, ctx, world, await pages.take_over(ctx, store, done))
