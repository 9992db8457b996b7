"""Reads what the decisions of a sweep depend on."""

from ocore_operator.context import Context
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.entries.stores import StoreEntry
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.observing.attempts import Done
from ocore_operator.kube.resources import Key, Store
from ocore_operator.sweep import plan
from ocore_operator.sweep.world import World


async def observe(ctx: Context, store: Store) -> World:
    """What a sweep depends on."""
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
