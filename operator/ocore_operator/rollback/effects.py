"""Carries out what the plan of a rollback decided. Every effect is idempotent, and raises Conflict where its object
changed since it was read."""

from collections.abc import Sequence

from ocore_crds import conditions as c
from ocore_crds.resources.environment import ExecutedRollback, UndoneRollback
from ocore_kube.errors import AlreadyExists, Forbidden, Invalid
from ocore_kube.types import ENVIRONMENTS, SNAPSHOTS
from ocore_operator import clock, damage, operation_lock, sources, summarize
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.frame import effects as frame
from ocore_operator.frame.actions import SetFinalizer, SetLock, StopJob
from ocore_operator.jobs import lifecycle, signals
from ocore_operator.kube import resources
from ocore_operator.kube.client import MANAGER_EXECUTED
from ocore_operator.kube.resources import Environment, Key, Object, Rollback, Snapshot
from ocore_operator.probe_requests import OtherProbe
from ocore_operator.rollback import building
from ocore_operator.rollback.building import environment_of
from ocore_operator.rollback.executed import entry_about, remembered, with_undo
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.observe import Observed, lock_view, with_environment, with_finalizer
from ocore_operator.rollback.safety import safety_snapshot
from ocore_operator.rollback.transitions import unanswered
from ocore_operator.rollback.world import (
    AskProbe,
    CancelSafetySnapshot,
    CreateSafetySnapshot,
    Effect,
    RecordExecuted,
    ReportDamage,
    ReportProbe,
    SendSignal,
    SetImages,
    SettleUndo,
    StartJob,
    TakeOver,
)
from ocore_operator.workloads import scale
from ocore_operator.workloads.quiesce import Refused, SetReplicas


async def carry_out(ctx: Context, observed: Observed, memory: Memory, effect: Effect) -> Observed | None:
    """Carries the effect out. Returns the observation with what it has written; None: observe again. Raises Outcome
    where it is not possible now, Conflict where its object has changed."""
    match effect:
        case SetFinalizer(present=present):
            changed = await frame.set_finalizer(ctx, observed.rollback, present=present)
            return with_finalizer(observed, changed) if present else None
        case SetLock(held=held):
            if held:
                await operation_lock.acquire(ctx, environment_of(observed), observed.rollback)
            else:
                await _release_lock(ctx, observed)
        case AskProbe(since=since):
            key = environment_of(observed).key
            ctx.probes.ask(key, clock.text(since or observed.world.lock.since or ctx.now()))
            ctx.queue.add(key)
        case ReportProbe(result=result, began=began):
            environment = environment_of(observed)
            ctx.probes.report(environment.key, OtherProbe(result, began, environment.meta.generation))
            ctx.queue.add(environment.key)
        case RecordExecuted():
            return await with_environment(ctx, memory, observed, await _record_executed(ctx, observed))
        case TakeOver():
            return await with_environment(ctx, memory, observed, await _write_undo(ctx, observed, None))
        case SettleUndo():
            return await with_environment(ctx, memory, observed, await _write_undo(ctx, observed, effect))
        case SetReplicas():
            await _set_replicas(ctx, observed.rollback, memory, effect)
        case SetImages():
            await _set_images(ctx, observed.rollback, memory, effect)
        case CreateSafetySnapshot():
            await _create_safety_snapshot(ctx, observed.rollback)
        case CancelSafetySnapshot(snapshot=snapshot):
            await _cancel_safety_snapshot(ctx, observed.rollback, snapshot)
        case SendSignal(job=job):
            namespace = observed.rollback.meta.namespace
            await signals.send(ctx, namespace, job.pod, job.pod_version, effect.signal, effect.repetition)
        case StopJob(job=name):
            if observed.seen is not None:
                await lifecycle.stop(ctx, observed.seen, observed.rollback.meta, name)
        case ReportDamage():
            await _report_damage(ctx, observed.rollback, effect)
        case StartJob():
            await _start_job(ctx, observed, memory, effect)
    return None


# --- the Rollback and its Environment --------------------------------------------------------------------------------


async def _release_lock(ctx: Context, observed: Observed) -> None:
    """Releases only the lock that was observed: this rollback may have released and acquired it again since, for
    another cleanup attempt. Where databases were renamed, the Environment is probed again: the last probe found another
    database, or none. The cleanup of a Complete rollback only removes what was kept: a probe since its end suffices."""
    rollback = observed.rollback
    name, namespace = observed.world.environment_name, rollback.meta.namespace
    obj = await ctx.kube.get(ENVIRONMENTS, namespace, name)
    if obj is None or lock_view(resources.environment(obj), rollback).since != observed.world.lock.since:
        return
    await operation_lock.release(ctx, namespace, name, rollback)
    if observed.status.quiesced_at is not None:  # the switch began, also where it failed
        ended = observed.status.completed_at if observed.status.phase == "Complete" else None
        key = environment_of(observed).key
        ctx.probes.expire(key, clock.text(clock.parse(ended) if ended is not None else ctx.now()))
        ctx.queue.add(key)


async def _report_damage(ctx: Context, rollback: Rollback, effect: ReportDamage) -> None:
    """Writes it into the Snapshot's status. Where the object is one of the full Snapshot that it needs, that one is
    damaged: its differentials follow. Raises Conflict where the Snapshot has changed."""
    ref = rollback.spec.snapshot_ref
    obj = await ctx.kube.get(SNAPSHOTS, rollback.meta.namespace, ref.name) if ref is not None else None
    if obj is None:
        return
    snapshot = resources.snapshot(obj)
    base = snapshot.status.base
    if base is not None and base.name and f"/snapshots/{base.id}/" in (effect.object_key or ""):
        full = await ctx.kube.get(SNAPSHOTS, rollback.meta.namespace, base.name)
        if full is not None and resources.snapshot(full).id == base.id:
            await _write_damage(ctx, resources.snapshot(full), rollback, effect)
    await _write_damage(ctx, snapshot, rollback, effect)


async def _write_damage(ctx: Context, snapshot: Snapshot, rollback: Rollback, effect: ReportDamage) -> None:
    remote = snapshot.status.remote
    known = remote is None or not remote.complete if effect.in_copy else sources.is_damaged(snapshot)
    if known or not c.is_true(snapshot.status.conditions, c.COMPLETE):
        return
    text = f"Found by Rollback {rollback.meta.name}: {effect.message}"
    status = damage.found(snapshot, text, ctx.now(), in_copy=effect.in_copy)
    # Whether a change of the spec was observed is for the Snapshot's own plan to say.
    await summarize.write(
        ctx, snapshot, status.model_copy(update={"observed_generation": snapshot.status.observed_generation})
    )
    ctx.events.record(snapshot, "Warning", c.CORRUPT, text)
    ctx.queue.add(snapshot.key)


async def _record_executed(ctx: Context, observed: Observed) -> Object | None:
    environment = environment_of(observed)
    entries = remembered(environment, observed.rollback, clock.text(ctx.now()))
    return await _write_history(ctx, environment, entries, environment.status.undone_rollbacks)


async def _write_undo(ctx: Context, observed: Observed, end: SettleUndo | None) -> Object | None:
    """The undo's entry in status.undoneRollbacks: taken over, or (`end`) how it ended. Raises Conflict where the
    Environment has changed."""
    environment, rollback = environment_of(observed), observed.rollback
    undo = rollback.status.undo
    known = entry_about(environment, undo.rollback_id) if undo is not None else None
    if end is not None and (known is None or known.by_id != rollback.id):
        return None
    executed = environment.status.executed_rollbacks
    if end is None:
        entries = with_undo(environment, rollback, "Running")
    else:
        entries = with_undo(environment, rollback, end.state, end.keep_until)
        executed = remembered(environment, rollback, clock.text(ctx.now())) if end.state == "Undone" else executed
    return await _write_history(ctx, environment, executed, entries)


async def _write_history(
    ctx: Context,
    environment: Environment,
    executed: Sequence[ExecutedRollback],
    undone: Sequence[UndoneRollback],
) -> Object | None:
    """Both lists of the field manager: it would drop the one that it leaves out. The Environment as written; None where
    it is gone."""
    lists = {"executedRollbacks": [e.wire() for e in executed], "undoneRollbacks": [e.wire() for e in undone]}
    written = await ctx.kube.apply_status(environment, lists, MANAGER_EXECUTED)
    if written is not None:  # no reconcile of the Environment follows from its history
        ctx.catalog.put_own("Environment", environment.meta, written)
    return written


async def _set_replicas(ctx: Context, rollback: Rollback, memory: Memory, effect: SetReplicas) -> None:
    memory.scale_refused = None
    refused = await scale.set_all(ctx, rollback.meta.namespace, effect.targets)
    if refused is not None:
        memory.scale_refused = Refused(ctx.now(), refused.message)


async def _set_images(ctx: Context, rollback: Rollback, memory: Memory, effect: SetImages) -> None:
    for workload, wanted in effect.changes:
        try:
            await scale.set_image(ctx, rollback.meta.namespace, workload, wanted)
        except (Forbidden, Invalid) as error:
            memory.refused(c.RESTORE_IMAGE_FAILED, error.message, ctx.now())
            text = (
                f"The image of {workload.label} cannot be changed: {error.message}. Correct the operator's rights, or"
                " what refuses it."
            )
            raise Stalled(c.RESTORE_IMAGE_FAILED, text) from error
    memory.accepted()


async def _create_safety_snapshot(ctx: Context, rollback: Rollback) -> None:
    """Nothing happens where an object of that name exists: whose it is, the next decision sees."""
    obj = safety_snapshot(rollback)
    try:
        created = await ctx.kube.create(SNAPSHOTS, obj)
    except AlreadyExists:
        return
    except (Forbidden, Invalid) as error:
        text = (
            f"The safety snapshot cannot be created: {error.message}. Correct the operator's rights, or what"
            " refuses it."
        )
        raise Stalled(c.SAFETY_SNAPSHOT_FAILED, text) from error
    ctx.catalog.put("Snapshot", created)
    ctx.queue.add(Key("Snapshot", rollback.meta.namespace, obj["metadata"]["name"]))


async def _cancel_safety_snapshot(ctx: Context, rollback: Rollback, snapshot: Snapshot) -> None:
    """Deletes it unless it has changed: it may be Complete now."""
    namespace, meta = rollback.meta.namespace, snapshot.meta
    await ctx.kube.delete(SNAPSHOTS, namespace, meta.name, uid=meta.uid, resource_version=meta.resource_version)
    ctx.queue.add(Key("Snapshot", namespace, meta.name))


# --- Jobs ------------------------------------------------------------------------------------------------------------


async def _start_job(ctx: Context, observed: Observed, memory: Memory, effect: StartJob) -> None:
    rollback = observed.rollback
    try:
        job = await building.job_of(ctx, observed, effect)
        await lifecycle.start(ctx, job, waiting_since=rollback.status.started_at or rollback.meta.created)
    except (Waiting, Stalled, Failed) as end:
        if unanswered(rollback.status):  # a probe of its own says why, or waits with its own patience
            memory.probe_alone = True
            return
        if isinstance(end, Waiting) and end.reason != c.JOB_REFUSED:
            raise
        memory.refused(end.reason, end.message, ctx.now())
        raise
    memory.accepted()
