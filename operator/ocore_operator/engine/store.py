"""SnapshotStore: what `readiness` does, then one action of the import and one of the sweep."""

from collections.abc import Awaitable, Callable
from functools import partial

from ocore_crds import conditions as c
from ocore_operator.context import Context
from ocore_operator.imports import reconcile as imports
from ocore_operator.imports.pages import Memories
from ocore_operator.kube import resources
from ocore_operator.kube.client import read
from ocore_operator.kube.resources import Key, Store
from ocore_operator.readiness import reconcile as readiness
from ocore_operator.sweep import reconcile as sweep


async def reconcile(memories: Memories, ctx: Context, key: Key) -> float | None:
    """Reconciles a SnapshotStore; seconds until the next reconcile, None: when something changes."""
    times = [await readiness.store(ctx, key)]
    steps: tuple[Callable[[Context, Store], Awaitable[float | None]], ...] = (
        partial(imports.once, memories),
        sweep.once,
    )
    for step in steps:
        store = await read(ctx.kube, resources.store, key.namespace, key.name)
        if store is None or not store.spec.import_:
            memories.forget(key)
        if store is not None and store.meta.deleted is None and _is_ready(store):
            times.append(await step(ctx, store))
    return min((seconds for seconds in times if seconds is not None), default=None)


def _is_ready(store: Store) -> bool:
    return store.is_current and c.is_true(store.status.conditions, c.READY)
