"""SnapshotStore: what `readiness` does, then one action of the import and one of the sweep.

``observe.py`` reads, ``plan_import.py`` and ``plan_sweep.py`` decide (pure, with ``imports.py``, ``rollbacks.py`` and
``orphans.py``), ``effects.py`` carries out; ``importing.py`` creates the objects of a page.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from ocore_crds import conditions as c
from ocore_kube.types import STORES
from ocore_operator import reconcile_loop
from ocore_operator.contents import observe, plan_import, plan_sweep
from ocore_operator.contents.effects import carry_out_import, carry_out_sweep
from ocore_operator.contents.importing import Memories
from ocore_operator.context import Context
from ocore_operator.errors import Stalled
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key, Store
from ocore_operator.readiness import reconcile as readiness


async def reconcile(memories: Memories, ctx: Context, key: Key) -> float | None:
    """Reconciles a SnapshotStore; seconds until the next reconcile, None: when something changes."""
    times = [await readiness.store(ctx, key)]
    steps: tuple[Callable[[Context, Store], Awaitable[float | None]], ...] = (
        partial(import_once, memories),
        sweep_once,
    )
    for step in steps:
        obj = await ctx.kube.get(STORES, key.namespace, key.name)
        store = resources.store(obj) if obj is not None else None
        if store is None or not store.spec.import_:
            memories.forget(key)
        if store is not None and store.meta.deleted is None and _is_ready(store):
            times.append(await step(ctx, store))
    return min((seconds for seconds in times if seconds is not None), default=None)


async def import_once(memories: Memories, ctx: Context, store: Store) -> float | None:
    """One action of the import, where the store is to be imported. Where what its Job needs is missing, the next probe
    reports it."""
    if not store.spec.import_:
        return None
    try:
        return await reconcile_loop.run(
            f"import {store.key}",
            lambda _: observe.for_import(ctx, store),
            plan_import.decide,
            partial(carry_out_import, memories, ctx),
            max_actions=1,
        )
    except Stalled:
        return None


async def sweep_once(ctx: Context, store: Store) -> float | None:
    """One action of the sweep."""
    try:
        return await reconcile_loop.run(
            f"sweep {store.key}",
            lambda _: observe.for_sweep(ctx, store),
            plan_sweep.decide,
            partial(carry_out_sweep, ctx),
            max_actions=1,
        )
    except Stalled:
        return None


def _is_ready(store: Store) -> bool:
    ready = c.is_true(store.status.conditions, c.READY)
    return ready and store.status.observed_generation == store.meta.generation
