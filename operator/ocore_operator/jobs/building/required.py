"""An object that a Job cannot be built without."""

from ocore_kube.types import Type
from ocore_operator.context import Context
from ocore_operator.errors import Stalled
from ocore_operator.kube.resources import Object


async def need(ctx: Context, type_: Type, namespace: str, name: str, reason: str, field: str) -> Object:
    """The object. Raises Stalled(reason) where it does not exist."""
    obj = await ctx.kube.get(type_, namespace, name)
    if obj is None:
        raise Stalled(
            reason, f"There is no {type_.kind} {name} in the namespace {namespace}. Create it, or correct {field}."
        )
    return obj
