"""Snapshot: an ordered list of steps from the first look to its end. What comes after the end is in snapshot/after_end.py."""

from collections.abc import Awaitable, Callable

import structlog

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import SNAPSHOT_STEPS
from ocore_crds.snapshot import SnapshotStatus
from ocore_operator import clock, operation_lock, summarize
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.jobs import build, control, failpoints, inputs
from ocore_operator.jobs.inputs import JobInputs
from ocore_operator.jobs.log import LogState
from ocore_operator.kube import resources
from ocore_operator.kube.client import ENVIRONMENTS, SNAPSHOTS, STORES
from ocore_operator.kube.resources import Environment, Key, Object, Snapshot
from ocore_operator.snapshot import after_end, plan, transitions

#: Passes of the list in one look: more would mean that two steps undo one another.
MAX_PASSES = 20

_log = structlog.get_logger()


class _Again(Exception):
    """The object was written: go through the list again with what it is now."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class _Done(Exception):
    """Nothing more to do in this look; `after`: seconds until the next one."""

    def __init__(self, after: float | None = None) -> None:
        super().__init__()
        self.after = after


def settled(obj: Object) -> bool:
    """Whether a Snapshot needs no look at all: at its end, nothing owed. Cheap, over raw JSON: a resync asks it of thousands."""
    status, meta, spec = obj.get("status") or {}, obj["metadata"], obj.get("spec") or {}
    true = {x["type"] for x in status.get("conditions") or () if x["status"] == "True"}
    if (
        "deletionTimestamp" in meta
        or not c.is_terminal(status.get("conditions") or ())
        or status.get("residue") == "Pending"
    ):
        return False
    if status.get("observedGeneration") != meta.get("generation"):
        return False
    return c.FAILED in true or spec.get("verify") != "Full" or c.VERIFIED in true or _known_corrupt(status)


def _known_corrupt(status: Object) -> bool:
    return any(x["type"] == c.VERIFIED and x["status"] == "False" for x in status.get("conditions") or ())


async def reconcile(ctx: Context, key: Key) -> float | None:
    """One look at a Snapshot; seconds until the next one."""
    obj = await ctx.kube.get(SNAPSHOTS, key.namespace, key.name)
    if obj is None:
        ctx.catalog.remove(key)
        return None
    ctx.catalog.put("Snapshot", obj)
    if settled(obj):
        return None
    snapshot = resources.snapshot(obj)
    if snapshot.meta.deleted is not None or c.is_terminal(snapshot.status.conditions):
        return await after_end.reconcile(ctx, snapshot)
    for _ in range(MAX_PASSES):
        try:
            await _pass(ctx, snapshot)
        except _Again as again:
            snapshot = again.snapshot
        except _Done as done:
            return done.after
    raise RuntimeError(f"{key}: the steps undo one another")


async def _pass(ctx: Context, snapshot: Snapshot) -> None:
    steps: tuple[Callable[[Context, Snapshot], Awaitable[None]], ...] = (_finalizer, _early, _unique, _begin, _attempt)
    try:
        for step in steps:
            await step(ctx, snapshot)
    except Failed as end:
        stored = snapshot.status.attempt > 1 or snapshot.status.job_name is not None
        await _fail(ctx, snapshot, end, stored=stored)
    except Waiting as end:
        await _write(ctx, snapshot, transitions.waiting(snapshot, end, ctx.now()), end.after)


async def _write(ctx: Context, snapshot: Snapshot, status: SnapshotStatus, after: float | None) -> None:
    """Writes, and ends this look."""
    await summarize.write(ctx, snapshot, status)
    raise _Done(after)


async def _advance(ctx: Context, snapshot: Snapshot, status: SnapshotStatus) -> None:
    """Writes, and goes through the list again."""
    written = await summarize.write(ctx, snapshot, status)
    if written is None:
        raise _Done
    raise _Again(written)


async def _fail(ctx: Context, snapshot: Snapshot, end: Failed, *, stored: bool) -> None:
    written = await summarize.write(ctx, snapshot, transitions.failed(snapshot, end, stored=stored, now=ctx.now()))
    await _ended(ctx, snapshot)
    # What it left in the store is removed by the looks that follow.
    raise _Done(0.0 if stored and written is not None else None)


async def _ended(ctx: Context, snapshot: Snapshot) -> None:
    """After the status says so: the log is let go, and the environment."""
    ctx.followers.forget_owner(snapshot.meta.namespace, build.job_name("snapshot", snapshot.meta.uid, ""))
    if snapshot.status.started_at is not None:
        await operation_lock.release(ctx, snapshot.meta.namespace, snapshot.spec.environment_ref.name, snapshot)


# --- steps, in their order -------------------------------------------------------------------------------------


async def _finalizer(ctx: Context, snapshot: Snapshot) -> None:
    """Nothing is stored before the finalizer is there that will remove it."""
    if naming.FINALIZER_DATA in snapshot.meta.finalizers:
        return
    finalizers = (*snapshot.meta.finalizers, naming.FINALIZER_DATA)
    obj = await ctx.kube.set_finalizers(snapshot.meta, SNAPSHOTS, finalizers)
    if obj is None:
        raise _Done
    raise _Again(resources.snapshot(obj))


async def _early(ctx: Context, snapshot: Snapshot) -> None:
    """A status as soon as possible: whoever watches sees that somebody is there."""
    if snapshot.status.phase is None:
        await _advance(ctx, snapshot, transitions.queued(snapshot, ctx.now()))


async def _unique(ctx: Context, snapshot: Snapshot) -> None:
    """Nobody older has its id."""
    if snapshot.status.started_at is not None:
        return
    elder = ctx.catalog.elder(snapshot.key)
    if elder is not None:
        raise Failed(
            c.DUPLICATE_ID,
            f"The Snapshot {elder.key.namespace}/{elder.key.name} has the same id {snapshot.id}. Give this one another spec.id, or none.",
        )


async def _begin(ctx: Context, snapshot: Snapshot) -> None:
    """Waits for the Environment to be there, to be ready and to be free; then the snapshot's time runs."""
    if snapshot.status.started_at is not None:
        return
    environment = await _environment(ctx, snapshot)
    job_inputs = await _job_inputs(ctx, snapshot, environment)
    await _need_ready(ctx, snapshot, environment)
    await operation_lock.acquire(ctx, environment, snapshot)
    await _advance(ctx, snapshot, transitions.started(snapshot, environment, job_inputs, ctx.now()))


async def _environment(ctx: Context, snapshot: Snapshot) -> Environment:
    name, namespace = snapshot.spec.environment_ref.name, snapshot.meta.namespace
    obj = await ctx.kube.get(ENVIRONMENTS, namespace, name)
    if obj is not None:
        return resources.environment(obj)
    message = f"There is no Environment {name} in the namespace {namespace}."
    left = _grace_left(ctx, snapshot)
    if left <= 0:
        raise Failed(c.ENVIRONMENT_NOT_FOUND, f"{message} Create it, or name another one in a new Snapshot.")
    raise Waiting(c.ENVIRONMENT_NOT_FOUND, f"{message} Waiting for it.", min(left, 5.0))


async def _job_inputs(ctx: Context, snapshot: Snapshot, environment: Environment) -> JobInputs:
    """What the Environment names may be on its way, where all of it is applied at once."""
    try:
        return await inputs.load(ctx, environment)
    except Stalled as end:
        left = _grace_left(ctx, snapshot)
        if left <= 0:
            raise Failed(end.reason, end.message) from None
        raise Waiting(end.reason, end.message, min(left, 5.0)) from None


def _grace_left(ctx: Context, snapshot: Snapshot) -> float:
    return ctx.settings.environment_wait - clock.seconds_since(snapshot.meta.created, ctx.now())


async def _need_ready(ctx: Context, snapshot: Snapshot, environment: Environment) -> None:
    """The Environment is ready, or a probe that began after the Snapshot was created says that it is not."""
    ready = c.find(environment.status.conditions, c.READY)
    current = environment.status.observed_generation == environment.meta.generation
    if ready is not None and ready.status == "True" and current:
        return
    ctx.queue.add(environment.key)
    name = environment.meta.name
    if ready is None or not current:
        words, reason = f"The Environment {name} has not been probed yet.", c.WAITING_FOR_ENVIRONMENT
    else:
        words, reason = f"The Environment {name} is not ready: {ready.message}", ready.reason
        evidence = await _evidence(ctx, environment, ready.reason)
        if evidence is not None and evidence >= snapshot.meta.created and ready.reason != c.PROBING:
            raise Failed(reason, words)
    left = ctx.settings.probe_wait - clock.seconds_since(snapshot.meta.created, ctx.now())
    if left <= 0:
        raise Failed(c.ENVIRONMENT_NOT_READY, f"Not within {ctx.settings.probe_wait:.0f} s: {words}")
    raise Waiting(c.WAITING_FOR_ENVIRONMENT, words, min(left, 10.0))


async def _evidence(ctx: Context, environment: Environment, reason: str) -> str | None:
    """When the probe began that found what stands in the way."""
    if reason == c.DUPLICATE_ID:
        return clock.text(ctx.now())
    if reason == c.STORE_NOT_READY:
        obj = await ctx.kube.get(STORES, environment.meta.namespace, environment.spec.store_ref.name)
        return resources.store(obj).status.last_probe_time if obj is not None else None
    probe = environment.status.probe
    return probe.started_at if probe is not None else None


async def _attempt(ctx: Context, snapshot: Snapshot) -> None:
    """One decision of snapshot/plan.py, carried out."""
    seen = await control.observe(ctx, snapshot)
    decision = plan.decide(snapshot, seen, ctx.now())
    match decision:
        case plan.Start(attempt=attempt):
            await _start(ctx, snapshot, attempt)
        case plan.NextAttempt(attempt=attempt, because=because):
            message = f"Attempt {attempt} begins." + (f" The one before failed: {because.message}" if because else "")
            await _advance(ctx, snapshot, transitions.next_attempt(snapshot, attempt, message, ctx.now()))
        case plan.Inspect(attempt=inspection):
            job_inputs = await _store_inputs(ctx, snapshot)
            job = build.inspect_snapshot(ctx.settings, job_inputs, snapshot, attempt=inspection)
            await control.start(ctx, job, waiting_since=snapshot.meta.created)
            raise _Done(plan.POLL)
        case plan.Stop(job=name, because=failure):
            status = transitions.under_way(snapshot, failure.reason, failure.message, name, None, ctx.now())
            if await summarize.write(ctx, snapshot, status) is not None:
                await control.stop(ctx, seen, snapshot.meta.namespace, name)
            raise _Done(1.0)
        case plan.Wait():
            log = _log_of(ctx, snapshot, decision.pod)
            status = transitions.under_way(snapshot, decision.reason, decision.message, decision.job, log, ctx.now())
            await _write(ctx, snapshot, status, decision.seconds)
        case plan.Finish():
            await _finish(ctx, snapshot, decision)
        case plan.GiveUp(failure=failure, stored=stored):
            await _fail(ctx, snapshot, Failed.of(failure), stored=stored)


async def _start(ctx: Context, snapshot: Snapshot, attempt: int) -> None:
    await failpoints.hit(ctx, snapshot, "operator-snapshot-started")
    obj = await ctx.kube.get(ENVIRONMENTS, snapshot.meta.namespace, snapshot.spec.environment_ref.name)
    if obj is None:
        raise Failed(
            c.ENVIRONMENT_NOT_FOUND, f"The Environment {snapshot.spec.environment_ref.name} was deleted meanwhile."
        )
    try:
        job_inputs = await inputs.load(ctx, resources.environment(obj))
    except Stalled as end:
        raise Failed(end.reason, end.message) from None
    if job_inputs.store.meta.name != snapshot.status.store_name:
        message = (
            f"The Environment's store was changed from {snapshot.status.store_name} meanwhile. Take a new Snapshot."
        )
        raise Failed(c.STORE_NOT_READY, message)
    left = clock.seconds_since(clock.text(ctx.now()), clock.parse(snapshot.status.deadline or snapshot.meta.created))
    frozen = transitions.identity(snapshot)
    job = build.snapshot(ctx.settings, job_inputs, snapshot, frozen, attempt=attempt, deadline=left)
    await control.start(ctx, job, waiting_since=snapshot.status.started_at or snapshot.meta.created)
    await failpoints.hit(ctx, snapshot, "operator-snapshot-job-created")
    name = job["metadata"]["name"]
    status = transitions.under_way(snapshot, c.RUNNING, f"The Job {name} starts.", name, None, ctx.now())
    await _write(ctx, snapshot, status, plan.POLL)


async def _store_inputs(ctx: Context, snapshot: Snapshot) -> JobInputs:
    """The store that the snapshot began in, whatever the Environment says by now."""
    name = snapshot.status.store_name or ""
    try:
        store = await inputs.load_store(ctx, snapshot.meta.namespace, name)
        return await inputs.load_for_store(ctx, snapshot.meta.namespace, store, snapshot.spec.environment_ref.name)
    except Stalled as end:
        raise Failed(end.reason, end.message) from None


def _log_of(ctx: Context, snapshot: Snapshot, pod: str) -> LogState | None:
    return ctx.followers.ensure(snapshot.key, pod, SNAPSHOT_STEPS) if pod else None


async def _finish(ctx: Context, snapshot: Snapshot, decision: plan.Finish) -> None:
    await failpoints.hit(ctx, snapshot, "operator-snapshot-result-seen")
    log = await ctx.followers.whole(snapshot.meta.namespace, decision.pod) if decision.pod else None
    result = transitions.full_evidence(decision.result, log)
    status = transitions.completed(
        snapshot, result, log, clean=decision.clean, imported=decision.imported, now=ctx.now()
    )
    await summarize.write(ctx, snapshot, status)
    await _ended(ctx, snapshot)
    raise _Done(None if decision.clean else 0.0)
