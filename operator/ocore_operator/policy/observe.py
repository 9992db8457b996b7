"""Reads what the plan of a SnapshotPolicy depends on."""

from ocore_crds import conditions as c
from ocore_operator.context import Context
from ocore_operator.entries import rollbacks
from ocore_operator.entries.environments import EnvironmentEntry
from ocore_operator.entries.snapshots import of_environment
from ocore_operator.frame.reading import current
from ocore_operator.kube import resources
from ocore_operator.kube.client import read
from ocore_operator.kube.resources import Key
from ocore_operator.policy.world import World


async def observe(ctx: Context, key: Key) -> World | None:
    """None where there is neither a policy nor an object that the defaults are about."""
    obj = await current(ctx, key)
    known = ctx.catalog.find(EnvironmentEntry, key.namespace, key.name)
    snapshots = tuple(of_environment(ctx.catalog, key.namespace, key.name))
    finished = tuple(rollbacks.finished(ctx.catalog, key.namespace, key.name))
    concerned = any(e.retention.by_policy or e.retention.pinned for e in snapshots)
    untouched = known is None or (known.pins is None and not known.remote_store)
    if obj is None and not concerned and not finished and untouched:
        return None
    environment = await read(ctx.kube, resources.environment, key.namespace, key.name)
    remote = environment.spec.remote_store_ref if environment is not None else None
    return World(
        key=key,
        policy=resources.policy(obj) if obj is not None else None,
        environment_id=environment.id if environment is not None else None,
        pins=environment.status.pins if environment is not None else None,
        snapshots=snapshots,
        used=frozenset(rollbacks.restored(ctx.catalog, key.namespace)),
        safeties=tuple(rollbacks.safeties(ctx.catalog, key.namespace)),
        rollbacks=finished,
        history_limit=ctx.settings.rollback_history_limit,
        now=ctx.now(),
        remote_store=remote.name if remote is not None else "",
        remote_store_id=await _ready_id(ctx, key.namespace, remote.name) if remote is not None else "",
    )


async def _ready_id(ctx: Context, namespace: str, name: str) -> str:
    """Id of a SnapshotStore that is ready; else empty."""
    store = await read(ctx.kube, resources.store, namespace, name)
    ready = store is not None and c.is_true(store.status.conditions, c.READY)
    return (store.status.store_id or "") if store is not None and ready else ""
