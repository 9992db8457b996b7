"""Environment: what is referenced is there, nobody else has its id, and a probe Job says whether a snapshot and a rollback would work."""

from ocore_crds import conditions as c
from ocore_crds.environment import EnvironmentStatus
from ocore_crds.protocol import ProbeResult
from ocore_operator import clock, operation_lock, summarize
from ocore_operator.context import Context
from ocore_operator.errors import Outcome, Stalled, Waiting
from ocore_operator.jobs import build, inputs
from ocore_operator.jobs.inputs import JobInputs
from ocore_operator.kube import resources
from ocore_operator.kube.client import ENVIRONMENTS
from ocore_operator.kube.resources import Environment, Key
from ocore_operator.readiness import probe as probejob
from ocore_operator.readiness import schedule
from ocore_operator.readiness.probe import Probe
from ocore_operator.readiness.verdict import broken, found, unprobed

#: Reasons that say something of what the probe needs or how far it is, not of what it found: once they are mended, it is probed at once.
BEFORE_PROBE = (
    c.PROBING,
    c.WAITING_FOR_JOB_SLOT,
    c.STORE_NOT_FOUND,
    c.STORE_NOT_READY,
    c.CLAIM_NOT_FOUND,
    c.CLAIM_IN_USE,
    c.CONFIG_NOT_FOUND,
    c.WORKLOAD_NOT_FOUND,
    c.DUPLICATE_ID,
)


async def reconcile(ctx: Context, key: Key) -> float | None:
    """One look at an Environment; seconds until the next one."""
    obj = await ctx.kube.get(ENVIRONMENTS, key.namespace, key.name)
    if obj is None:
        ctx.catalog.remove(key)
        ctx.probes.forget(key)
        return None
    ctx.catalog.put("Environment", obj)
    environment = resources.environment(obj)
    if environment.meta.deleted is not None:
        return None
    if await operation_lock.stale(ctx, environment):
        await operation_lock.clear(ctx, environment)
        return 0.0
    now = clock.text(ctx.now())
    after: float | None
    try:
        status, after = await _look(ctx, environment)
    except Outcome as end:
        status, after = unprobed(environment, end, now=now), end.after if isinstance(end, Waiting) else None
    status = status.model_copy(update={"id": environment.id, "observed_generation": environment.meta.generation})
    await summarize.write(ctx, environment, status)
    if _verdict(environment.status) != _verdict(status):
        _wake(ctx, environment)
    return after


def _verdict(status: EnvironmentStatus) -> tuple[object, ...]:
    """What those who wait for the Environment look at."""
    ready, rollback = (c.find(status.conditions, t) for t in (c.READY, c.ROLLBACK_READY))
    return ready and (ready.status, ready.reason), rollback and (rollback.status, rollback.reason), status.probe


def _wake(ctx: Context, environment: Environment) -> None:
    for waiting in ctx.catalog.operations(environment.meta.namespace, environment.meta.name):
        ctx.queue.add(waiting.key)


async def _look(ctx: Context, environment: Environment) -> tuple[EnvironmentStatus, float | None]:
    elder = ctx.catalog.elder(environment.key)
    if elder is not None:
        raise Stalled(
            c.DUPLICATE_ID,
            f"The Environment {elder.key.namespace}/{elder.key.name} has the same id {environment.id}. Give one of them another spec.id.",
        )
    job_inputs = await inputs.load(ctx, environment)
    _need_store(ctx, job_inputs)
    probe, now = environment.status.probe, ctx.now()
    due = schedule.due_in(
        ctx.settings,
        now,
        probed=probe.time if probe is not None else None,
        began=probe.started_at if probe is not None else None,
        current=_current(environment),
        wanted=_wanted(ctx, environment),
        conditions=environment.status.conditions,
        watched=_watched(environment),
    )
    if due > 0:
        return environment.status, due
    return await _probe(ctx, environment, job_inputs)


def _need_store(ctx: Context, job_inputs: JobInputs) -> None:
    ready = c.find(job_inputs.store.status.conditions, c.READY)
    if ready is not None and ready.status == "True":
        return
    ctx.queue.add(job_inputs.store.key)
    words = f"{ready.reason}: {ready.message}" if ready is not None else "it has not been probed yet."
    raise Waiting(c.STORE_NOT_READY, f"The SnapshotStore {job_inputs.store.meta.name} is not ready: {words}", 30)


def _current(environment: Environment) -> bool:
    """The last probe saw the present spec, and nothing that it needs was missing since."""
    status = environment.status
    ready = c.find(status.conditions, c.READY)
    if ready is None or ready.reason in BEFORE_PROBE:
        return False
    return status.probe is not None and status.probe.generation == environment.meta.generation


def _watched(environment: Environment) -> tuple[str, ...]:
    """A capacity that nobody has written down is not found by probing more often."""
    rollback = c.find(environment.status.conditions, c.ROLLBACK_READY)
    if rollback is not None and rollback.reason == c.CAPACITY_UNKNOWN:
        return (c.READY,)
    return (c.READY, c.ROLLBACK_READY)


def _wanted(ctx: Context, environment: Environment) -> str:
    """Since when somebody wants to know how things are: who asked, and operations that a condition which is not True holds up."""
    wanted = ctx.probes.wanted(environment.key)
    conditions = environment.status.conditions
    for waiting in ctx.catalog.operations(environment.meta.namespace, environment.meta.name):
        needs = (c.READY, c.ROLLBACK_READY) if waiting.key.kind == "Rollback" else (c.READY,)
        if not all(c.is_true(conditions, t) for t in needs):
            wanted = max(wanted, waiting.created)
    return wanted


async def _probe(
    ctx: Context, environment: Environment, job_inputs: JobInputs
) -> tuple[EnvironmentStatus, float | None]:
    """A probe is due."""
    probe = environment.status.probe
    attempt = schedule.attempt_name(environment.meta.generation, probe.time if probe is not None else None)
    now = clock.text(ctx.now())
    return await probejob.look(
        ctx,
        Probe(
            owner=environment,
            status=environment.status,
            job=build.probe(ctx.settings, job_inputs, attempt=attempt),
            does="A probe Job looks at the database and the filestore.",
            current=_current(environment),
            result=ProbeResult,
            found=lambda result, began: found(environment, result, ctx.settings.mover_majors, began=began, now=now),
            broken=lambda reason, message, began: broken(environment, reason, message, began=began, now=now),
        ),
    )
