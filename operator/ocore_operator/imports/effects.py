"""Carries out the actions of an import. After each one the next reconcile decides again."""

from ocore_operator.context import Context
from ocore_operator.frame import effects as frame
from ocore_operator.frame.loop import Requeue
from ocore_operator.imports import pages, plan
from ocore_operator.imports.pages import Memories
from ocore_operator.imports.world import Action, CreatePage, StartPage, TakeOver, World
from ocore_operator.jobs.observing.outcome import POLL


async def carry_out(memories: Memories, ctx: Context, world: World, action: Action) -> Requeue:
    """One action. Raises Outcome where its Job cannot be created."""
    store = world.store
    if not plan.is_running(store.status.import_):
        memories.forget(store.key)
    match action:
        case StartPage(running=running, attempt=attempt):
            await pages.start_page(ctx, store, running, world.places, attempt)
            return Requeue(POLL)
        case CreatePage():
            action = await pages.create_page(memories, ctx, world, action)
        case TakeOver(done=done):
            action = await pages.take_over(ctx, store, done)
        case _:
            pass
    return await frame.carry_out(ctx, store, action, world.seen) or Requeue(0.0)
