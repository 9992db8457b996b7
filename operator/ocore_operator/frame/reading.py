"""Reads an object of ours for its reconcile."""

from ocore_kube.types import OURS
from ocore_operator.context import Context
from ocore_operator.kube.resources import Key, Object


async def current(ctx: Context, key: Key) -> Object | None:
    """The object as it is now, which the catalog learns; None where it does not exist."""
    obj = await ctx.kube.get(OURS[key.kind], key.namespace, key.name)
    if obj is None:
        ctx.catalog.remove(key)
    else:
        ctx.catalog.put(key.kind, obj)
    return obj
