"""Rollback: observe, decide, carry out, and again, until there is nothing to do for now.

``plan.py`` decides (pure), ``observe.py`` reads, ``effects.py`` carries out.
"""

import structlog

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import ROLLBACK_STEPS, Step
from ocore_crds.rollback import RollbackStatus
from ocore_crds.snapshot import StepStatus
from ocore_operator import clock, summarize
from ocore_operator.context import Context
from ocore_operator.errors import Outcome, Waiting
from ocore_operator.jobs import build, failpoints
from ocore_operator.kube import resources
from ocore_operator.kube.client import ROLLBACKS
from ocore_operator.kube.resources import Key, Object, Rollback
from ocore_operator.rollback.conditions import summarized
from ocore_operator.rollback.effects import carry_out
from ocore_operator.rollback.memory import Memories, Memory
from ocore_operator.rollback.observe import Observed, observe
from ocore_operator.rollback.plan import decide
from ocore_operator.rollback.transitions import change
from ocore_operator.rollback.world import Do, Idle, Record, StopJob, Wait

#: Actions of one reconcile at most: more would mean that the plan repeats itself.
MAX_ACTIONS = 60
#: Seconds until an effect that could not be carried out is tried again, unless its error says otherwise.
PAUSE = 5.0
#: Steps that the restore Job's log reports.
RESTORE_STEPS = (Step.RESTORE_DATABASE, Step.RESTORE_FILESTORE, Step.CHECK)

_log = structlog.get_logger()


def idle(obj: Object) -> bool:
    """Whether a Rollback needs no reconcile: terminal, without remaining cleanup. Reads raw JSON: a resync asks this of thousands of objects."""
    status, meta = obj.get("status") or {}, obj["metadata"]
    terminal = status.get("stage") == "Ended" and status.get("residue") != "Pending"
    return terminal and naming.FINALIZER_ROLLBACK not in (meta.get("finalizers") or ())


async def reconcile(memories: Memories, ctx: Context, key: Key) -> float | None:
    """Reconciles one Rollback. Returns the seconds until it is requeued; None: not before it changes."""
    obj = await ctx.kube.get(ROLLBACKS, key.namespace, key.name)
    if obj is None:
        ctx.catalog.remove(key)
        memories.forget(key)
        return None
    ctx.catalog.put("Rollback", obj)
    if idle(obj):
        return None
    rollback = resources.rollback(obj)
    memory = memories.of(key, rollback.meta.uid)
    now = ctx.now()
    if memory.is_idle(rollback.meta.resource_version, now):
        return (memory.idle_until - now).total_seconds() if memory.idle_until is not None else None
    memory.reconciled(now)
    return await _work(ctx, rollback, memory)


async def _work(ctx: Context, rollback: Rollback, memory: Memory) -> float | None:
    for _ in range(MAX_ACTIONS):
        observed = await observe(ctx, rollback, memory)
        if observed is None:
            return 0.0
        rollback = observed.rollback
        status = _with_steps_of_log(ctx, observed)
        action = decide(status, rollback.spec, observed.world, rollback.id, ctx.now())
        _log.debug(
            "decided", namespace=rollback.meta.namespace, name=rollback.meta.name, stage=status.stage, action=action
        )
        match action:
            case Record():
                await _record(ctx, observed, action)
            case Do():
                wait = await _do(ctx, observed, memory, action)
                if wait is not None:
                    return await _wait(ctx, observed, status, wait)
            case Wait():
                return await _wait(ctx, observed, status, action)
            case Idle():
                return _idle(ctx, observed, memory, action)
    raise RuntimeError(f"{rollback.key}: the plan repeats itself at stage {rollback.status.stage}")


async def _record(ctx: Context, observed: Observed, action: Record) -> None:
    rollback = observed.rollback
    if action.failpoint:
        await failpoints.hit(ctx, rollback, action.failpoint)
    await _write(ctx, observed, action.status, "", "")
    for event in action.events:
        ctx.events.record(rollback, event.type, event.reason, event.message)
    if action.status.stage != "Restore":
        ctx.followers.forget_owner(rollback.meta.namespace, build.job_name("restore", rollback.meta.uid, ""))


async def _do(ctx: Context, observed: Observed, memory: Memory, action: Do) -> Wait | None:
    """Carries the effect out. Returns what to wait for; None: decide again at once."""
    if action.before:
        await failpoints.hit(ctx, observed.rollback, action.before)
    try:
        await carry_out(ctx, observed, memory, action.effect)
    except Outcome as end:
        return Wait(end.after if isinstance(end, Waiting) else PAUSE, end.reason, end.message)
    if action.after:
        await failpoints.hit(ctx, observed.rollback, action.after)
    if isinstance(action.effect, StopJob):
        return Wait(1.0, c.RUNNING, f"Waiting until Job {action.effect.job.name} and its pods are gone.")
    return None


async def _wait(ctx: Context, observed: Observed, status: RollbackStatus, action: Wait) -> float:
    await _write(ctx, observed, status, action.reason, action.message)
    return action.seconds


def _idle(ctx: Context, observed: Observed, memory: Memory, action: Idle) -> float | None:
    until = clock.after(ctx.now(), action.seconds) if action.seconds is not None else None
    memory.set_idle(observed.rollback.meta.resource_version, until)
    return action.seconds


async def _write(ctx: Context, observed: Observed, status: RollbackStatus, reason: str, message: str) -> None:
    """Writes the status with its conditions. Raises Conflict where the Rollback was written since it was read."""
    rollback = observed.rollback
    new = summarized(
        status,
        generation=rollback.meta.generation,
        deleting=observed.world.deleting,
        reason=reason,
        message=message,
        now=ctx.now(),
    )
    await summarize.write(ctx, rollback, new)


def _with_steps_of_log(ctx: Context, observed: Observed) -> RollbackStatus:
    """The status with the steps that the restore Job's log reports while it runs."""
    status = observed.rollback.status
    job = observed.world.job("restore", status.attempt)
    if status.stage != "Restore" or job is None or not job.pod or job.ended:
        return status
    log = ctx.followers.ensure(observed.rollback.key, job.pod, ROLLBACK_STEPS)
    reported: dict[str, StepStatus] = {s.name: s for s in log.step_statuses(RESTORE_STEPS)}
    steps = tuple(reported.get(s.name, s) for s in status.steps)
    return status if steps == status.steps else change(status, steps=steps)
