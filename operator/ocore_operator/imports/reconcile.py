"""The import of a SnapshotStore: one action at a time.

``plan.py`` decides (pure, with ``rules.py`` and ``rollbacks.py``); ``pages.py`` creates the objects of a page. After
each action the next reconcile decides again.
"""

from functools import partial

from ocore_kube.types import ENVIRONMENTS
from ocore_operator.context import Context
from ocore_operator.frame import effects as frame
from ocore_operator.frame import loop
from ocore_operator.frame.actions import StartJob
from ocore_operator.frame.loop import Requeue
from ocore_operator.imports import pages, plan, rules
from ocore_operator.imports.pages import Memories
from ocore_operator.imports.plan import Action, CreatePage, TakeOver, World
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Environment, Store


async def once(memories: Memories, ctx: Context, store: Store) -> float | None:
    """One action of the import, where the store is to be imported. Where what its Job needs is missing, the next probe
    reports it."""
    if not store.spec.import_:
        return None
    return await loop.run(
        f"import {store.key}",
        lambda _: _observe(ctx, store),
        plan.decide,
        partial(_carry_out, memories, ctx),
        refused=loop.refused,
    )


async def _observe(ctx: Context, store: Store) -> World:
    places = rules.places(await _environments(ctx, store))
    wanted = plan.is_running(store.status.import_)
    seen = await lifecycle.observe(ctx, store) if wanted else lifecycle.no_jobs(ctx)
    return World(store, ctx.now(), seen, places)


async def _environments(ctx: Context, store: Store) -> list[Environment]:
    """Those of the namespace whose id is their own: one with the id of an older Environment gets nothing."""
    listed = await ctx.kube.list(ENVIRONMENTS, store.meta.namespace)
    parsed = [resources.environment(obj) for obj in listed]
    return [e for e in parsed if ctx.catalog.elder(e.key) is None]


async def _carry_out(memories: Memories, ctx: Context, world: World, action: Action) -> Requeue:
    """Raises Outcome where a Job cannot be created."""
    store, running = world.store, world.store.status.import_
    if not plan.is_running(running):
        memories.forget(store.key)
    match action:
        case StartJob(attempt=attempt):
            if running is not None:
                await pages.start_page(ctx, store, running, world.places, attempt)
            return Requeue(POLL)
        case CreatePage():
            action = await pages.create_page(memories, ctx, world, action)
        case TakeOver(done=done):
            action = await pages.take_over(ctx, store, done)
        case _:
            pass
    return await frame.carry_out(ctx, store, action, world.seen) or Requeue(0.0)
