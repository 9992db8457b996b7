"""Carries out the actions that do not depend on a kind. Every action can be repeated; Conflict is raised where an
object has changed since."""

from collections.abc import Callable
from typing import Any

from ocore_crds import naming
from ocore_kube.types import OPERATIONS
from ocore_operator import summarize
from ocore_operator.context import Context
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, StopJob, Wait
from ocore_operator.frame.loop import Requeue
from ocore_operator.jobs import failpoints, lifecycle
from ocore_operator.jobs.observing.attempts import STOP_PAUSE
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.kube.resources import Object, Resource

#: The status of a kind while it waits; with what the log of the pod has reported, where that is followed.
WaitingStatus = Callable[[Wait, LogState | None], Any]


async def carry_out(
    ctx: Context,
    obj: Resource[Any, Any],
    action: Idle[Any] | Record[Any] | SetFinalizer,
    seen: Observation | None = None,
) -> Requeue | None:
    """None: observe again. `seen`: the object's Jobs, where one may be removed."""
    if isinstance(action, Idle):
        if action.status is not None:
            await summarize.write(ctx, obj, action.status)
        return Requeue(action.seconds)
    if isinstance(action, SetFinalizer):
        await set_finalizer(ctx, obj, present=action.present)
        return None if action.present else Requeue()
    return Requeue() if await record(ctx, obj, action, seen) is None else None


async def record(
    ctx: Context, obj: Resource[Any, Any], action: Record[Any], seen: Observation | None = None
) -> Resource[Any, Any] | None:
    """Returns the object as written; None where it is gone. `seen`: as in :func:`carry_out`."""
    if action.before:
        await failpoints.hit(ctx, obj, action.before)
    if action.job and seen is not None:
        await lifecycle.remove(ctx, seen, obj.meta, action.job)
    async with failpoints.after(ctx, obj, action.failpoint):
        written = await summarize.write(ctx, obj, action.status)
        for note in action.notes if written is not None else ():
            ctx.events.record(obj, note.type, note.reason, note.message)
    return written


async def wait(ctx: Context, obj: Resource[Any, Any], action: Wait, status: WaitingStatus) -> Requeue:
    """Reports what is waited for, follows the log of the pod, and shows the progress of an operation that has
    started."""
    if action.wake is not None:
        ctx.queue.add(action.wake)
    log = ctx.followers.ensure(obj.key, action.pod) if action.pod else None
    new = status(action, log)
    await summarize.write(ctx, obj, new)
    if new.started_at is not None:
        ctx.progress.ensure(obj.key)
    return Requeue(action.seconds)


async def stop_job(
    ctx: Context, obj: Resource[Any, Any], action: StopJob, seen: Observation, status: WaitingStatus
) -> Requeue:
    """Deletes the Job. Its end is seen by the next reconcile."""
    if action.because is not None:
        reported = Wait(STOP_PAUSE, action.because.reason, action.because.message, job=action.job)
        if await summarize.write(ctx, obj, status(reported, None)) is None:
            return Requeue(STOP_PAUSE)
    await lifecycle.stop(ctx, seen, obj.meta, action.job)
    return Requeue(STOP_PAUSE)


async def set_finalizer(ctx: Context, obj: Resource[Any, Any], *, present: bool) -> Object | None:
    """Adds or removes the finalizer of its kind, beside those of others. Returns the object; None: it is gone."""
    kind = obj.kind.kind
    name = naming.FINALIZERS[kind]
    others = [finalizer for finalizer in obj.meta.finalizers if finalizer != name]
    return await ctx.kube.set_finalizers(obj.meta, OPERATIONS[kind], [*others, name] if present else others)
