"""Carries out what the plan of a rollback asks for. Every effect can be done again, and raises Conflict where the world has moved on."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_operator import clock, operation_lock
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.jobs import build, control, inputs
from ocore_operator.jobs.inputs import JobInputs
from ocore_operator.kube import resources
from ocore_operator.kube.client import ENVIRONMENTS, JOBS, MANAGER_EXECUTED, ROLLBACKS, WORKLOADS
from ocore_operator.kube.resources import Environment, Object, Rollback
from ocore_operator.rollback import signal, workloads
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.observe import Look, environment_name
from ocore_operator.rollback.plan_switch import SIGNAL_SECONDS, finish_seconds
from ocore_operator.rollback.sources import lock_view, remembered
from ocore_operator.rollback.world import (
    AcquireLock,
    AddFinalizer,
    AskProbe,
    Effect,
    RecordExecuted,
    ReleaseLock,
    RemoveFinalizer,
    Scale,
    SendSignal,
    StartJob,
    StopJob,
)

#: Seconds that a cleanup and a switch back of its own may take.
CLEANUP_DEADLINE = 300.0
BACK_DEADLINE = 180.0
#: Least seconds that a restore is given: with less it is called off anyway.
LEAST_DEADLINE = 10.0


async def carry_out(ctx: Context, at: Look, memory: Memory, effect: Effect) -> None:
    """Does it. Raises Outcome where it cannot be done now, Conflict where something has moved on."""
    await _EFFECTS[type(effect)](ctx, at, memory, effect)


# --- the rollback and its environment -----------------------------------------------------------------------------------------


async def _finalizer(ctx: Context, at: Look, memory: Memory, effect: Effect) -> None:
    meta = at.rollback.meta
    others = [f for f in meta.finalizers if f != naming.FINALIZER_ROLLBACK]
    wanted = [*others, naming.FINALIZER_ROLLBACK] if isinstance(effect, AddFinalizer) else others
    await ctx.kube.set_finalizers(meta, ROLLBACKS, wanted)


async def _acquire_lock(ctx: Context, at: Look, memory: Memory, effect: Effect) -> None:
    await operation_lock.acquire(ctx, _environment(at), at.rollback)


async def _release_lock(ctx: Context, at: Look, memory: Memory, effect: Effect) -> None:
    """Only the hold that was seen: this rollback may have taken it again meanwhile, for another errand."""
    name, namespace = environment_name(at.rollback, at.snapshot), at.rollback.meta.namespace
    obj = await ctx.kube.get(ENVIRONMENTS, namespace, name)
    if obj is None or lock_view(resources.environment(obj), at.rollback).since != at.world.lock.since:
        return
    await operation_lock.release(ctx, namespace, name, at.rollback)


async def _ask_probe(ctx: Context, at: Look, memory: Memory, effect: Effect) -> None:
    key = _environment(at).key
    ctx.probes.ask(key, clock.text(at.world.lock.since or ctx.now()))
    ctx.queue.add(key)


async def _record_executed(ctx: Context, at: Look, memory: Memory, effect: Effect) -> None:
    environment = _environment(at)
    entries = [e.wire() for e in remembered(environment, at.rollback, clock.text(ctx.now()))]
    await ctx.kube.apply_status(environment, {"executedRollbacks": entries}, MANAGER_EXECUTED)


def _environment(at: Look) -> Environment:
    if at.environment is None:
        raise Stalled(c.ENVIRONMENT_NOT_FOUND, f"Environment {at.world.environment_name} is gone.")
    return at.environment


# --- workloads and pods -------------------------------------------------------------------------------------------------------


async def _scale(ctx: Context, at: Look, memory: Memory, effect: Effect) -> None:
    assert isinstance(effect, Scale)  # noqa: S101 - by the table below
    for workload, replicas in effect.targets:
        await workloads.scale(ctx, at.rollback.meta.namespace, workload, replicas)


async def _send_signal(ctx: Context, at: Look, memory: Memory, effect: Effect) -> None:
    assert isinstance(effect, SendSignal)  # noqa: S101 - by the table below
    job = effect.job
    await signal.send(ctx, at.rollback.meta.namespace, job.pod, job.pod_version, effect.signal)


# --- Jobs ----------------------------------------------------------------------------------------------------------------------


async def _stop_job(ctx: Context, at: Look, memory: Memory, effect: Effect) -> None:
    assert isinstance(effect, StopJob)  # noqa: S101 - by the table below
    await ctx.kube.delete(
        JOBS, at.rollback.meta.namespace, effect.job.name, uid=effect.job.uid, propagation="Foreground"
    )


async def _start_job(ctx: Context, at: Look, memory: Memory, effect: Effect) -> None:
    assert isinstance(effect, StartJob)  # noqa: S101 - by the table below
    try:
        job = await _build(ctx, at, effect)
        await control.start(ctx, job, waiting_since=at.rollback.status.started_at or at.rollback.meta.created)
    except Waiting as end:
        if end.reason == c.JOB_REFUSED:
            memory.refused(end.reason, end.message, ctx.now())
        raise
    except (Stalled, Failed) as end:
        memory.refused(end.reason, end.message, ctx.now())
        raise
    memory.accepted()


async def _build(ctx: Context, at: Look, effect: StartJob) -> Object:
    settings, owner, attempt = ctx.settings, at.rollback, effect.attempt
    job_inputs = await _job_inputs(ctx, at)
    match effect.command:
        case "restore":
            return build.restore(
                settings,
                await _with_store_of_snapshot(ctx, at, job_inputs),
                owner,
                snapshot_id=owner.status.snapshot_id or "",
                manifest_sha256=owner.status.manifest_sha256 or "",
                attempt=attempt,
                deadline=max(_left(owner, ctx.now()), LEAST_DEADLINE),
            )
        case "switch":
            wait = max(_left(owner, ctx.now()), LEAST_DEADLINE) + SIGNAL_SECONDS
            deadline = wait + finish_seconds(owner.spec, 0)
            return build.switch(settings, job_inputs, owner, attempt=attempt, wait=wait, deadline=deadline)
        case "switch-back":
            return build.switch_now(settings, job_inputs, owner, back=True, attempt=attempt, deadline=BACK_DEADLINE)
        case "inspect":
            return build.inspect_rollback(settings, job_inputs, owner, repair=True, attempt=attempt)
        case "cleanup-restored" | "cleanup-previous":
            what = "restored" if effect.command == "cleanup-restored" else "previous"
            return build.cleanup(settings, job_inputs, owner, what=what, attempt=attempt, deadline=CLEANUP_DEADLINE)  # type: ignore[arg-type]


def _left(rollback: Rollback, now: datetime) -> float:
    """Seconds until the rollback's deadline."""
    return -clock.seconds_since(rollback.status.deadline or rollback.meta.created, now)


async def _job_inputs(ctx: Context, at: Look) -> JobInputs:
    """As for any Job of the environment; but a workload or a ConfigMap that is gone by now must not keep a switch from being put right."""
    environment = _environment(at)
    try:
        return await inputs.load(ctx, environment)
    except Stalled as end:
        if end.reason not in (c.WORKLOAD_NOT_FOUND, c.CONFIG_NOT_FOUND):
            raise
    namespace, spec = environment.meta.namespace, environment.spec
    found = [await ctx.kube.get(WORKLOADS[w.kind], namespace, w.name) for w in spec.workloads]
    claims = [spec.filestore.claim_name] if spec.filestore is not None else []
    probe = environment.status.probe
    return JobInputs(
        namespace=namespace,
        store=await inputs.load_store(ctx, namespace, spec.store_ref.name),
        traits=inputs.traits(ctx.settings, next((w for w in found if w is not None), None), spec.jobs),
        environment=environment,
        node=await inputs.node_of(ctx, namespace, claims),
        server_major=probe.server_major if probe is not None else 0,
    )


async def _with_store_of_snapshot(ctx: Context, at: Look, job_inputs: JobInputs) -> JobInputs:
    """The snapshot stays where it was stored, whatever store the Environment names by now."""
    if at.snapshot is None:
        text = f"Snapshot {at.rollback.spec.snapshot_ref.name} was deleted while it was to be restored."
        raise Stalled(c.SNAPSHOT_NOT_FOUND, text)
    name = at.snapshot.status.store_name
    if name is None or name == job_inputs.store.meta.name:
        return job_inputs
    store = await inputs.load_store(ctx, job_inputs.namespace, name)
    claims = (
        [job_inputs.environment.spec.filestore.claim_name]
        if job_inputs.environment and job_inputs.environment.spec.filestore
        else []
    )
    if store.spec.claim is not None:
        claims.append(store.spec.claim.claim_name)
    return replace(job_inputs, store=store, node=await inputs.node_of(ctx, job_inputs.namespace, claims))


_EFFECTS: dict[type, Callable[[Context, Look, Memory, Effect], Awaitable[None]]] = {
    AddFinalizer: _finalizer,
    RemoveFinalizer: _finalizer,
    AcquireLock: _acquire_lock,
    ReleaseLock: _release_lock,
    AskProbe: _ask_probe,
    RecordExecuted: _record_executed,
    Scale: _scale,
    SendSignal: _send_signal,
    StartJob: _start_job,
    StopJob: _stop_job,
}
