"""Carries out the actions of a sweep. After each one the next reconcile decides again."""

from dataclasses import replace

from ocore_crds.protocol import Failure
from ocore_operator import summarize
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Waiting
from ocore_operator.jobs import build, control, inputs
from ocore_operator.jobs.inputs import JobInputs
from ocore_operator.jobs.outcome import POLL
from ocore_operator.kube.resources import Object
from ocore_operator.reconcile_loop import Requeue
from ocore_operator.sweep import plan
from ocore_operator.sweep.world import Action, Idle, Record, StartRemoval, StartSweep, World


async def carry_out(ctx: Context, world: World, action: Action) -> Requeue:
    """One action. Raises Stalled where what its Job needs is missing."""
    store = world.store
    match action:
        case Idle(after=after):
            return Requeue(after)
        case Record(orphans=orphans, job=job):
            if job:  # else its result would be read again under the name of another attempt
                await control.remove(ctx, world.seen, store.meta, job)
            await summarize.write(ctx, store, store.status.model_copy(update={"orphans": orphans}))
            return Requeue(0.0)
        case StartSweep() | StartRemoval():
            job_inputs = await inputs.load_for_store(ctx, store.meta.namespace, store)
            try:
                await control.start(ctx, _job(ctx, job_inputs, action), waiting_since=store.meta.created)
            except Waiting as end:
                return Requeue(end.after)
            except Failed as end:
                refused = replace(world, refusal=Failure(reason=end.reason, message=end.message))
                return await carry_out(ctx, refused, plan.decide(refused))
            return Requeue(POLL)


def _job(ctx: Context, job_inputs: JobInputs, action: StartSweep | StartRemoval) -> Object:
    match action:
        case StartSweep(attempt=attempt):
            return build.sweep(ctx.settings, job_inputs, attempt=attempt)
        case StartRemoval(report=report, attempt=attempt):
            return build.remove_orphans(ctx.settings, job_inputs, report=report, attempt=attempt)
