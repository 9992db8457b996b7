"""Reads what the plan of a SnapshotPolicy depends on."""

from ocore_kube.types import ENVIRONMENTS, POLICIES
from ocore_operator.context import Context
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key
from ocore_operator.policy.world import World


async def observe(ctx: Context, key: Key) -> World | None:
    """None where there is neither a policy nor an object that the defaults are about."""
    obj = await ctx.kube.get(POLICIES, key.namespace, key.name)
    if obj is None:
        ctx.catalog.remove(key)
    else:
        ctx.catalog.put(key.kind, obj)
    known = ctx.catalog.get(Key("Environment", key.namespace, key.name))
    snapshots = tuple(ctx.catalog.snapshots(key.namespace, key.name))
    finished = tuple(ctx.catalog.finished(key.namespace, key.name))
    concerned = any(e.retention is not None and (e.retention.by_policy or e.retention.pinned) for e in snapshots)
    untouched = known is None or (known.pins is None and not known.remote_store)
    if obj is None and not concerned and not finished and untouched:
        return None
    found = await ctx.kube.get(ENVIRONMENTS, key.namespace, key.name)
    environment = resources.environment(found) if found is not None else None
    return World(
        key=key,
        policy=resources.policy(obj) if obj is not None else None,
        environment_id=environment.id if environment is not None else None,
        pins=environment.status.pins if environment is not None else None,
        snapshots=snapshots,
        used=frozenset(ctx.catalog.restored(key.namespace)),
        safeties=tuple(ctx.catalog.safeties(key.namespace)),
        rollbacks=finished,
        history_limit=ctx.settings.rollback_history_limit,
        now=ctx.now(),
        remote_store=environment.spec.remote_store_ref.name
        if environment is not None and environment.spec.remote_store_ref is not None
        else "",
    )
