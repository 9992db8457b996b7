"""Reads what the decisions about a store's contents depend on."""

from ocore_crds.stored_contents import OrphansResult
from ocore_kube.types import ENVIRONMENTS, STORES
from ocore_operator.contents import imports, plan_import, plan_sweep
from ocore_operator.contents.world import ImportWorld, SweepWorld
from ocore_operator.context import Context
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.jobs import control
from ocore_operator.jobs.outcome import Observation, Succeeded
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Environment, Store


async def for_import(ctx: Context, store: Store) -> ImportWorld:
    """What an import depends on."""
    places = imports.places(await _environments(ctx, store))
    wanted = plan_import.is_running(store.status.import_)
    return ImportWorld(store, ctx.now(), await _jobs(ctx, store, wanted=wanted), places)


async def for_sweep(ctx: Context, store: Store) -> SweepWorld:
    """What a sweep depends on."""
    interval = ctx.settings.sweep_interval
    seen = await _jobs(ctx, store, wanted=plan_sweep.needs_job(store, interval, ctx.now()))
    swept = any(isinstance(s, Succeeded) and isinstance(s.payload, OrphansResult) for s in map(seen.state, seen.jobs))
    return SweepWorld(store, ctx.now(), seen, interval, await _claimed(ctx, store) if swept else 0)


async def _jobs(ctx: Context, store: Store, *, wanted: bool) -> Observation:
    return await control.observe(ctx, store) if wanted else control.no_jobs(ctx)


async def _environments(ctx: Context, store: Store) -> list[Environment]:
    """Those of the namespace whose id is their own: one with the id of an older Environment gets nothing."""
    listed = await ctx.kube.list(ENVIRONMENTS, store.meta.namespace)
    parsed = [resources.environment(obj) for obj in listed]
    return [e for e in parsed if ctx.catalog.elder(e.key) is None]


async def _claimed(ctx: Context, store: Store) -> int:
    listed = await ctx.kube.list(STORES)
    same = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"])
        for obj in listed
        if (obj.get("status") or {}).get("storeId") == store.status.store_id
    }
    every = ctx.catalog.of_kind(SnapshotEntry)
    return sum((e.key.namespace, e.store) in same and e.phase in ("Complete", "Corrupt") for e in every)
