"""Reads what the decisions of a sweep depend on."""

from ocore_crds.stored_contents import OrphansResult
from ocore_kube.types import STORES
from ocore_operator.context import Context
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.jobs import control
from ocore_operator.jobs.outcome import Succeeded
from ocore_operator.kube.resources import Store
from ocore_operator.sweep import plan
from ocore_operator.sweep.world import World


async def observe(ctx: Context, store: Store) -> World:
    """What a sweep depends on."""
    interval = ctx.settings.sweep_interval
    wanted = plan.needs_job(store, interval, ctx.now())
    seen = await control.observe(ctx, store) if wanted else control.no_jobs(ctx)
    swept = any(isinstance(s, Succeeded) and isinstance(s.payload, OrphansResult) for s in map(seen.state, seen.jobs))
    return World(store, ctx.now(), seen, interval, await _claimed(ctx, store) if swept else 0)


async def _claimed(ctx: Context, store: Store) -> int:
    wanted = store.status.store_id
    listed = await ctx.kube.list(STORES, keep=lambda obj: (obj.get("status") or {}).get("storeId") == wanted)
    same = {(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in listed}
    every = ctx.catalog.of_kind(SnapshotEntry)
    return sum((e.key.namespace, e.store) in same and e.phase in ("Complete", "Corrupt") for e in every)
