"""The sweep of a SnapshotStore: one action at a time.

``plan.py`` decides (pure, with ``orphans.py``). After each action the next reconcile decides again.
"""

from functools import partial

from ocore_crds.commands.table import SWEEP
from ocore_operator.context import Context
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.entries.stores import StoreEntry
from ocore_operator.frame import effects as frame
from ocore_operator.frame import loop
from ocore_operator.frame.actions import StartJob
from ocore_operator.frame.loop import Requeue
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.building import inputs
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.observing.attempts import Done
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.kube.resources import Key, Object, Store
from ocore_operator.sweep import orphans, plan
from ocore_operator.sweep.plan import Action, World


async def once(ctx: Context, store: Store) -> float | None:
    """One action of the sweep. Where what its Job needs is missing, the next probe reports it."""
    return await loop.run(
        f"sweep {store.key}",
        lambda _: _observe(ctx, store),
        plan.decide,
        partial(_carry_out, ctx),
        refused=loop.refused,
    )


async def _observe(ctx: Context, store: Store) -> World:
    interval = ctx.settings.sweep_interval
    wanted = plan.needs_job(store, interval, ctx.now())
    seen = await lifecycle.observe(ctx, store) if wanted else lifecycle.no_jobs(ctx)
    swept = isinstance(plan.sweeps(store).at(seen, 1), Done)
    return World(store, ctx.now(), seen, interval, _claimed(ctx, store) if swept else 0)


def _claimed(ctx: Context, store: Store) -> int:
    """From the catalog: one tenant could make a list of the stores of all too large."""
    wanted = store.status.store_id
    same = {e.key for e in ctx.catalog.of_kind(StoreEntry) if wanted and e.store_id == wanted} | {store.key}
    every = ctx.catalog.of_kind(SnapshotEntry)
    return sum(Key(store.key.kind, e.key.namespace, e.store) in same and e.has_data for e in every)


async def _carry_out(ctx: Context, world: World, action: Action) -> Requeue:
    """Raises Outcome where a Job cannot be created."""
    store = world.store
    if not isinstance(action, StartJob):
        return await frame.carry_out(ctx, store, action, world.seen) or Requeue(0.0)
    await lifecycle.start(ctx, await _job(ctx, store, action), waiting_since=store.meta.created)
    return Requeue(POLL)


async def _job(ctx: Context, store: Store, action: StartJob) -> Object:
    job_inputs = await inputs.load_for_store(ctx, store.meta.namespace, store)
    build = JobBuilder(ctx.settings, job_inputs, action.attempt)
    if action.command == SWEEP.name:
        return build.sweep(renew_locks=orphans.renews(store))
    return build.remove_orphans(report=orphans.removal_wanted(store) or "")
