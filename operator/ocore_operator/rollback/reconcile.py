"""Rollback: observe, decide on one action, carry it out, observe again.

``observe.py`` reads, ``plan.py`` and its parts decide (pure), ``effects.py`` carries out, ``transitions.py`` makes the
statuses.
"""

from dataclasses import dataclass, replace
from functools import partial

import structlog

from ocore_crds import conditions as c
from ocore_crds.resources.rollback import RollbackStatus
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.errors import Outcome
from ocore_operator.frame import effects as frame
from ocore_operator.frame import loop
from ocore_operator.frame.actions import Idle, Record, Wait
from ocore_operator.frame.loop import Follow, Requeue
from ocore_operator.frame.reading import current
from ocore_operator.jobs import failpoints
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key, Rollback
from ocore_operator.rollback.conditions import summarized
from ocore_operator.rollback.effects import carry_out
from ocore_operator.rollback.entry import idle
from ocore_operator.rollback.memory import Memories, Memory
from ocore_operator.rollback.observe import FOLLOWING, Observed, observe, with_status
from ocore_operator.rollback.plan import decide
from ocore_operator.rollback.world import WOKEN, Action, Do, SettleUndo, TakeOver, World

#: Stages that wait for pods of the workloads.
POD_CHANGES = ("Drain", "HealthCheck", "BackDrain")

_log = structlog.get_logger()


async def reconcile(memories: Memories, ctx: Context, key: Key) -> float | None:
    """Reconciles one Rollback. Returns the seconds until it is requeued; None: not before it changes."""
    obj = await current(ctx, key)
    if obj is None:
        memories.forget(key)
        return None
    if idle(obj):
        return None
    rollback = resources.rollback(obj)
    memory = memories.of(key, rollback.meta.uid)
    now = ctx.now()
    if memory.is_idle(rollback.meta.resource_version, now):
        return (memory.idle_until - now).total_seconds() if memory.idle_until is not None else None
    memory.reconciled(now)
    observer = _Observer(ctx, memory, rollback)
    return await loop.run(
        str(key),
        observer,
        partial(_decide, ctx),
        partial(_carry_out, ctx, memories, observer),
        may_rest=_may_rest,
        refused=_refused,
    )


def _may_rest(observed: Observed, action: Action) -> bool:
    if observed.allowed is None:
        return loop.may_rest(observed, action)
    if isinstance(action, Do) and action.then is not None:
        return False
    return isinstance(action.effect if isinstance(action, Do) else action, observed.allowed)


def _refused(observed: Observed, _: Action, refusal: Outcome) -> Observed:
    return replace(observed, world=replace(observed.world, refused_now=refusal), allowed=None)


@dataclass
class _Observer:
    """Observes one Rollback, each time from the object as last read or written, which names the other objects."""

    ctx: Context
    memory: Memory
    last: Rollback
    #: What was read beside the last lists, on which no action may rest: only they are read again.
    others: World | None = None

    async def __call__(self, fresh: bool) -> Observed | None:
        observed = await observe(self.ctx, self.last, self.memory, fresh=fresh, others=self.others)
        if observed is None:  # deleted or replaced: the next reconcile forgets it
            self.ctx.queue.add(self.last.key)
            return None
        self.last = observed.rollback
        self.others = observed.others if observed.remembered else None
        return observed


def _decide(ctx: Context, observed: Observed) -> Action:
    rollback, status = observed.rollback, observed.status
    action = decide(status, rollback.spec, observed.world, rollback.id, ctx.now())
    _log.debug("decided", namespace=rollback.meta.namespace, name=rollback.meta.name, stage=status.stage, action=action)
    return action


async def _carry_out(
    ctx: Context, memories: Memories, observer: _Observer, observed: Observed, action: Action
) -> Requeue | Follow[Observed] | None:
    match action:
        case Record():
            return await _record(ctx, observer, observed, action)
        case Do():
            changed = await _do(ctx, observed, observer.memory, action)
            if isinstance(action.effect, (TakeOver, SettleUndo)):
                _wake_undone(ctx, memories, observed.rollback)
            if action.then is not None:
                return await _wait(ctx, observed, action.then)
            seconds = WOKEN.get(type(action.effect))
            if seconds is not None:
                return Requeue(seconds)
            return Follow(changed) if changed is not None else None
        case Wait():
            return await _wait(ctx, observed, action)
        case Idle():
            return _idle(ctx, observed, observer.memory, action)


async def _record(
    ctx: Context, observer: _Observer, observed: Observed, action: Record[RollbackStatus]
) -> Requeue | Follow[Observed] | None:
    """Writes the status. Where the rollback then only waits in the same world, what it waits for is written with it.
    Any other decision that may follow in that world (AFTER_STATUS) is made in it, the others after it was observed
    again."""
    rollback, fresh, waits = observed.rollback, action.status, None
    same = await with_status(ctx, observer.memory, observed, fresh)
    follows = _decide(ctx, same) if same is not None else None
    if same is not None and isinstance(follows, Wait) and _may_rest(same, follows):
        fresh, waits = same.status, follows
    status = _summarized(ctx, observed, fresh, waits)
    written = await frame.record(ctx, rollback, replace(action, status=status))
    if written is None:
        return Requeue()
    observer.last = written
    _report_progress(ctx, rollback, status)
    name = status.safety_snapshot_name
    if name is not None and name != rollback.status.safety_snapshot_name:
        ctx.queue.add(Key("Snapshot", rollback.meta.namespace, name))  # it waits until the status names it
    if status.stage not in FOLLOWING:
        ctx.followers.forget_owner(rollback.key)
    if status.stage == "Ended":
        ctx.pod_changes.forget(rollback.key)
    if waits is not None:
        _watch_pods(ctx, observed, status)
        return Requeue(waits.seconds)
    return Follow(replace(same, rollback=written, status=written.status)) if same is not None else None


async def _do(ctx: Context, observed: Observed, memory: Memory, action: Do) -> Observed | None:
    if action.before:
        await failpoints.hit(ctx, observed.rollback, action.before)
    async with failpoints.after(ctx, observed.rollback, action.after):
        return await carry_out(ctx, observed, memory, action.effect)


def _wake_undone(ctx: Context, memories: Memories, undo: Rollback) -> None:
    """The Rollback that is undone is idle, and its own object did not change."""
    if undo.status.undo is None:
        return
    key = Key("Rollback", undo.meta.namespace, undo.status.undo.rollback_name)
    memories.forget(key)
    ctx.queue.add(key)


async def _wait(ctx: Context, observed: Observed, action: Wait) -> Requeue | None:
    _watch_pods(ctx, observed, observed.status)
    status = _summarized(ctx, observed, observed.status, action)
    end = await frame.carry_out(ctx, observed.rollback, Idle(action.seconds, status))
    _report_progress(ctx, observed.rollback, status)
    return end


def _watch_pods(ctx: Context, observed: Observed, status: RollbackStatus) -> None:
    """Where it waits for pods that it has stopped or started."""
    for workload in observed.world.workloads if status.stage in POD_CHANGES else ():
        if workload.selector:
            ctx.pod_changes.ensure(observed.rollback.key, workload.selector)


def _idle(ctx: Context, observed: Observed, memory: Memory, action: Idle[RollbackStatus]) -> Requeue:
    until = clock.after(ctx.now(), action.seconds) if action.seconds is not None else None
    memory.set_idle(observed.rollback.meta.resource_version, until)
    return Requeue(action.seconds)


def _summarized(ctx: Context, observed: Observed, status: RollbackStatus, waits: Wait | None = None) -> RollbackStatus:
    """The status with its conditions. `waits`: what it waits for."""
    return summarized(
        status,
        generation=observed.rollback.meta.generation,
        deleting=observed.world.deleting,
        reason=waits.reason if waits is not None else "",
        message=waits.message if waits is not None else "",
        now=ctx.now(),
        stalled=waits is not None and waits.stalled,
    )


def _report_progress(ctx: Context, rollback: Rollback, status: RollbackStatus) -> None:
    if status.stage is not None and not rollback.spec.dry_run and not c.is_terminal(status.conditions):
        ctx.progress.ensure(rollback.key)
