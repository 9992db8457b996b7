"""Rollback: look, decide, act, and look again, until there is nothing to do for now.

What is decided stands in rollback/plan.py (pure), what is seen in rollback/observe.py, what is done in rollback/effects.py.
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
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.observe import Look, look
from ocore_operator.rollback.plan import decide
from ocore_operator.rollback.transitions import change
from ocore_operator.rollback.world import Do, Note, Record, Settled, StopJob, Wait

#: Actions of one look: more would mean that the plan goes round in circles.
MAX_ACTIONS = 60
#: Seconds until an effect that could not be carried out is tried again, where nothing better is known.
PAUSE = 5.0
#: Steps that the restore Job's log tells.
RESTORE_STEPS = (Step.RESTORE_DATABASE, Step.RESTORE_FILESTORE, Step.CHECK)

_log = structlog.get_logger()


def settled(obj: Object) -> bool:
    """Whether a Rollback needs no look at all: at its end, nothing owed. Cheap, over raw JSON: a resync asks it of thousands."""
    status, meta = obj.get("status") or {}, obj["metadata"]
    over = status.get("stage") == "Ended" and status.get("residue") != "Pending"
    return over and naming.FINALIZER_ROLLBACK not in (meta.get("finalizers") or ())


async def reconcile(ctx: Context, key: Key) -> float | None:
    """One look at a Rollback; seconds until the next one."""
    obj = await ctx.kube.get(ROLLBACKS, key.namespace, key.name)
    if obj is None:
        ctx.catalog.remove(key)
        ctx.rollbacks.forget(key)
        return None
    ctx.catalog.put("Rollback", obj)
    if settled(obj):
        return None
    rollback = resources.rollback(obj)
    memory = ctx.rollbacks.of(key, rollback.meta.uid)
    now = ctx.now()
    if memory.settled(rollback.meta.resource_version, now):
        return (memory.settled_until - now).total_seconds() if memory.settled_until is not None else None
    memory.look(now)
    return await _work(ctx, rollback, memory)


async def _work(ctx: Context, rollback: Rollback, memory: Memory) -> float | None:
    for _ in range(MAX_ACTIONS):
        at = await look(ctx, rollback, memory)
        if at is None:
            return 0.0
        rollback = at.rollback
        told = _with_log(ctx, at)
        action = decide(told, rollback.spec, at.world, rollback.id, ctx.now())
        _log.debug(
            "decided", namespace=rollback.meta.namespace, name=rollback.meta.name, stage=told.stage, action=action
        )
        match action:
            case Record():
                await _record(ctx, at, action)
            case Do():
                waits = await _do(ctx, at, memory, action)
                if waits is not None:
                    return await _wait(ctx, at, told, waits)
            case Wait():
                return await _wait(ctx, at, told, action)
            case Settled():
                return _settle(ctx, at, memory, action)
    raise RuntimeError(f"{rollback.key}: the plan goes round in circles at stage {rollback.status.stage}")


async def _record(ctx: Context, at: Look, action: Record) -> None:
    if action.failpoint:
        await failpoints.hit(ctx, at.rollback, action.failpoint)
    await _write(ctx, at, action.status, "", "")
    _tell(ctx, at, action.notes)
    if action.status.stage != "Restore":
        ctx.followers.forget_owner(at.rollback.meta.namespace, build.job_name("restore", at.rollback.meta.uid, ""))


async def _do(ctx: Context, at: Look, memory: Memory, action: Do) -> Wait | None:
    """None where it was done; what to wait for where it could not be done now."""
    if action.before:
        await failpoints.hit(ctx, at.rollback, action.before)
    try:
        await carry_out(ctx, at, memory, action.effect)
    except Outcome as end:
        return Wait(end.after if isinstance(end, Waiting) else PAUSE, end.reason, end.message)
    if action.after:
        await failpoints.hit(ctx, at.rollback, action.after)
    return (
        Wait(1.0, c.RUNNING, f"Waits until Job {action.effect.job.name} has stopped.")
        if isinstance(action.effect, StopJob)
        else None
    )


async def _wait(ctx: Context, at: Look, status: RollbackStatus, action: Wait) -> float:
    await _write(ctx, at, status, action.reason, action.message)
    return action.seconds


def _settle(ctx: Context, at: Look, memory: Memory, action: Settled) -> float | None:
    until = clock.after(ctx.now(), action.seconds) if action.seconds is not None else None
    memory.settle(at.rollback.meta.resource_version, until)
    return action.seconds


async def _write(ctx: Context, at: Look, status: RollbackStatus, reason: str, message: str) -> None:
    """With the conditions that it means. Raises Conflict where somebody wrote since it was read."""
    rollback = at.rollback
    new = summarized(
        status,
        generation=rollback.meta.generation,
        deleting=at.world.deleting,
        reason=reason,
        message=message,
        now=ctx.now(),
    )
    await summarize.write(ctx, rollback, new)


def _tell(ctx: Context, at: Look, notes: tuple[Note, ...]) -> None:
    for note in notes:
        ctx.events.record(at.rollback, note.type, note.reason, note.message)


def _with_log(ctx: Context, at: Look) -> RollbackStatus:
    """While the restore runs, its log tells the steps."""
    status = at.rollback.status
    job = at.world.job("restore", status.attempt)
    if status.stage != "Restore" or job is None or not job.pod or job.ended:
        return status
    log = ctx.followers.ensure(at.rollback.key, job.pod, ROLLBACK_STEPS)
    told: dict[str, StepStatus] = {s.name: s for s in log.step_statuses(RESTORE_STEPS)}
    steps = tuple(told.get(s.name, s) for s in status.steps)
    return status if steps == status.steps else change(status, steps=steps)
