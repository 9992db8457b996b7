"""SnapshotStore: what `readiness` does, then one step of the import and of the sweep."""

from dataclasses import replace
from functools import partial

from ocore_crds import conditions as c
from ocore_kube.types import STORES
from ocore_operator import summarize
from ocore_operator.contents import importing, sweeping
from ocore_operator.context import Context
from ocore_operator.errors import Stalled
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key, Store
from ocore_operator.readiness import snapshotstore


async def reconcile(memories: importing.Memories, ctx: Context, key: Key) -> float | None:
    """Reconciles a SnapshotStore; seconds until the next reconcile, None: when something changes."""
    after = await snapshotstore.reconcile(ctx, key)
    obj = await ctx.kube.get(STORES, key.namespace, key.name)
    store = resources.store(obj) if obj is not None else None
    if store is None or not store.spec.import_:
        memories.forget(key)
    if store is None:
        return after
    if store.meta.deleted is not None or not _is_ready(store):
        return after
    times = [after]
    for step in (partial(importing.run, memories), sweeping.run) if store.spec.import_ else (sweeping.run,):
        try:
            status, again = await step(ctx, store)
        except Stalled:
            continue  # what its Job needs is missing: the next probe reports it
        written = await summarize.write(ctx, store, status)
        if written is None:
            return None
        store = replace(store, meta=written.meta, status=written.status)
        times.append(again)
    return min((seconds for seconds in times if seconds is not None), default=None)


def _is_ready(store: Store) -> bool:
    ready = c.is_true(store.status.conditions, c.READY)
    return ready and store.status.observed_generation == store.meta.generation
