"""Carries out the actions that do not depend on a kind. Every action can be repeated; Conflict is raised where an
object has changed since."""

from typing import Any

from ocore_kube.types import Type
from ocore_operator import summarize
from ocore_operator.context import Context
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.jobs import failpoints, lifecycle
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube.resources import Meta, Resource
from ocore_operator.reconcile_loop import Requeue


async def carry_out(
    ctx: Context, obj: Resource[Any, Any], action: Idle[Any] | Record[Any], seen: Observation | None = None
) -> Requeue | None:
    """None: observe again. `seen`: the object's Jobs, where one may be removed."""
    if isinstance(action, Idle):
        if action.status is not None:
            await summarize.write(ctx, obj, action.status)
        return Requeue(action.seconds)
    if action.job and seen is not None:
        await lifecycle.remove(ctx, seen, obj.meta, action.job)
    async with failpoints.after(ctx, obj, action.failpoint):
        if await summarize.write(ctx, obj, action.status) is None:
            return Requeue()
        for note in action.notes:
            ctx.events.record(obj, note.type, note.reason, note.message)
    return None


async def set_finalizer(ctx: Context, obj: Meta, type_: Type, name: str, *, present: bool) -> None:
    """Adds or removes the finalizer, beside those of others."""
    others = [finalizer for finalizer in obj.finalizers if finalizer != name]
    await ctx.kube.set_finalizers(obj, type_, [*others, name] if present else others)
