"""Environment: what is referenced is there, nobody else has its id, and a probe Job says whether a snapshot and a rollback would work."""

from ocore_crds import conditions as c
from ocore_crds.environment import EnvironmentStatus
from ocore_crds.protocol import ProbeResult

from . import clock, holds, jobs, observe, probing, resources, summarize
from . import site as sites
from .context import Context
from .environment_verdict import broken, found, unprobed
from .errors import Failed, Outcome, Stalled, Waiting
from .kube import ENVIRONMENTS
from .resources import Environment, Key, Object
from .runs import Absent, Broken, Ended, Running, Starting, Succeeded
from .site import Site

#: Seconds until a running probe is looked at again; its events come sooner.
POLL = 10.0
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
    if await holds.stale(ctx, environment):
        await holds.clear(ctx, environment)
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
    site = await sites.load(ctx, environment)
    _need_store(ctx, site)
    probe, now = environment.status.probe, ctx.now()
    due = probing.due_in(
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
    return await _probe(ctx, environment, site)


def _need_store(ctx: Context, site: Site) -> None:
    ready = c.find(site.store.status.conditions, c.READY)
    if ready is not None and ready.status == "True":
        return
    ctx.queue.add(site.store.key)
    words = f"{ready.reason}: {ready.message}" if ready is not None else "it has not been probed yet."
    raise Waiting(c.STORE_NOT_READY, f"The SnapshotStore {site.store.meta.name} is not ready: {words}", 30)


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


async def _probe(ctx: Context, environment: Environment, site: Site) -> tuple[EnvironmentStatus, float | None]:
    """A probe is due: starts its Job, or looks at the one that runs, or takes its result."""
    probe = environment.status.probe
    attempt = probing.attempt_name(environment.meta.generation, probe.time if probe is not None else None)
    job = jobs.probe(ctx.settings, site, attempt=attempt)
    name, now = job["metadata"]["name"], clock.text(ctx.now())
    seen = await observe.observe(ctx, environment)
    state = seen.state(name)
    began = seen.jobs[name]["metadata"]["creationTimestamp"] if name in seen.jobs else now
    match state:
        case Absent():
            return await _start(ctx, environment, job, now)
        case Starting(reason=reason, message=message):
            return _probing(environment, f"The probe Job starts ({reason}: {message}).", now), POLL
        case Running():
            return _probing(environment, "A probe Job looks at the database and the filestore.", now), POLL
        case Succeeded(payload=ProbeResult() as result):
            status = found(environment, result, ctx.settings.mover_majors, began=began, now=now)
            await observe.remove(ctx, seen, environment.meta.namespace, name)
            return status, 0.0
        case Broken(failure=failure):
            return broken(environment, failure.reason, failure.message, began=began, now=now), 0.0
        case Ended(message=message):
            return broken(environment, c.JOB_LOST, f"The probe left no result: {message}.", began=began, now=now), 0.0
        case _:
            raise Stalled(c.INTERNAL_ERROR, f"The Job {name} answered with something that is no probe's result.")


async def _start(ctx: Context, environment: Environment, job: Object, now: str) -> tuple[EnvironmentStatus, float]:
    try:
        await observe.start(ctx, job, waiting_since=environment.meta.created)
    except Failed as end:
        return broken(environment, end.reason, end.message, began=now, now=now), ctx.settings.probe_backoff_min
    except Waiting as end:
        if _current(environment):  # a probe by the clock can wait; what is known stands
            return environment.status, end.after
        raise
    return _probing(environment, "A probe Job looks at the database and the filestore.", now), POLL


def _probing(environment: Environment, message: str, now: str) -> EnvironmentStatus:
    """While it is probed: what was known stands, unless nothing is known of the present spec."""
    status = environment.status
    if _current(environment):
        return status
    status = summarize.running(status, c.PROBING, message, now=now, generation=environment.meta.generation)
    return status.model_copy(update={"phase": "Pending"})
