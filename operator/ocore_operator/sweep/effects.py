"""Carries out the actions of a sweep. After each one the next reconcile decides again."""

from ocore_operator.context import Context
from ocore_operator.frame import effects as frame
from ocore_operator.frame.loop import Requeue
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.building import build, inputs
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.kube.resources import Object
from ocore_operator.sweep.world import Action, StartRemoval, StartSweep, World


async def carry_out(ctx: Context, world: World, action: Action) -> Requeue:
    """One action. Raises Outcome where its Job cannot be created."""
    store = world.store
    if not isinstance(action, (StartSweep, StartRemoval)):
        return await frame.carry_out(ctx, store, action, world.seen) or Requeue(0.0)
    job_inputs = await inputs.load_for_store(ctx, store.meta.namespace, store)
    await lifecycle.start(ctx, _job(ctx, job_inputs, action), waiting_since=store.meta.created)
    return Requeue(POLL)


def _job(ctx: Context, job_inputs: JobInputs, action: StartSweep | StartRemoval) -> Object:
    match action:
        case StartSweep(attempt=attempt):
            return build.sweep(ctx.settings, job_inputs, attempt=attempt)
        case StartRemoval(report=report, attempt=attempt):
            return build.remove_orphans(ctx.settings, job_inputs, report=report, attempt=attempt)
