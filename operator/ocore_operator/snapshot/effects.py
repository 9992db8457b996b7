"""Carries out what the plan of a Snapshot decides. Every action can be repeated; Conflict is raised where an object has
changed since."""

from dataclasses import replace
from functools import partial

import structlog

from ocore_crds import conditions as c
from ocore_crds.commands.parts import BaseSnapshot
from ocore_crds.resources.restore_test import DEFAULT_TIMEOUT_SECONDS
from ocore_crds.resources.snapshot import SAFETY_TRIGGER, SnapshotStatus
from ocore_crds.resources.workloads import targets
from ocore_kube.errors import Forbidden, Invalid
from ocore_operator import clock, damage, encryption, operation_lock, remote_status, sources, summarize
from ocore_operator.context import Context
from ocore_operator.entries import snapshots
from ocore_operator.entries.signed import newest
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.errors import Failed, Stalled
from ocore_operator.frame import effects as frame
from ocore_operator.frame.actions import Idle, Note, Record, SetFinalizer, StopJob, Wait
from ocore_operator.frame.loop import Requeue
from ocore_operator.jobs import failpoints, lifecycle, signals
from ocore_operator.jobs.building import inputs
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.jobs.observing.snapshot_jobs import copying, deletion, state_writing
from ocore_operator.kube import resources
from ocore_operator.kube.client import read
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot import dependents, job_identities, job_stores, plan_state, transitions
from ocore_operator.snapshot.world import (
    Action,
    Begin,
    EndJobIdentity,
    EnterInBase,
    Finish,
    GiveUp,
    Inspect,
    LetGo,
    NextAttempt,
    SendSignal,
    SetDependents,
    Start,
    StartCheckCopy,
    StartCopy,
    StartDelete,
    StartRestoreTest,
    StartsJob,
    StartState,
    StartVerify,
    World,
)
from ocore_operator.workloads import scale
from ocore_operator.workloads.quiesce import SetReplicas

_log = structlog.get_logger()


async def carry_out(ctx: Context, world: World, action: Action) -> Requeue | None:
    """None: observe again. Raises Outcome where the action cannot be carried out now, and Conflict."""
    snapshot = world.snapshot
    match action:
        case Record() | Idle() | SetFinalizer():
            return await frame.carry_out(ctx, snapshot, action)
        case SetReplicas():
            await _set_replicas(ctx, snapshot, action)
            return Requeue(action.then.seconds) if action.then is not None else None
        case SendSignal(pod=pod, pod_version=version, signal=signal, repetition=repetition):
            async with failpoints.after(ctx, snapshot, "operator-snapshot-signalled"):
                await signals.send(ctx, snapshot.meta.namespace, pod, version, signal, repetition)
            return None
        case Begin():
            return await _begin(ctx, world)
        case EnterInBase():
            async with failpoints.after(ctx, snapshot, "operator-snapshot-base-entered"):
                await dependents.enter(ctx, snapshot)
            return None
        case SetDependents(names=names):
            await dependents.write(ctx, snapshot, names)
            return None
        case EndJobIdentity():
            return await frame.carry_out(ctx, snapshot, Record(await job_identities.ended(ctx, snapshot)))
        case Start(attempt=attempt):
            return await _start(ctx, world, attempt)
        case NextAttempt(attempt=attempt, because=because):
            message = f"Attempt {attempt} begins."
            message += f" The previous attempt failed: {because.message}" if because else ""
            return await frame.carry_out(
                ctx, snapshot, Record(transitions.next_attempt(snapshot, attempt, message, ctx.now()))
            )
        case StopJob():
            return await frame.stop_job(ctx, snapshot, action, world.seen, _waiting(ctx, snapshot))
        case Wait():
            return await frame.wait(ctx, snapshot, action, _waiting(ctx, snapshot))
        case Finish():
            return await _finish(ctx, world, action)
        case GiveUp(failure=failure, stored=stored):
            status = transitions.failed(snapshot, Failed.of(failure), stored=stored, now=ctx.now())
            return await _end(ctx, snapshot, status)
        case StartCopy(attempt=attempt):
            return await _start_copy(ctx, snapshot, attempt)
        case Inspect() | StartDelete() | StartVerify() | StartState() | StartCheckCopy() | StartRestoreTest():
            job, since = await _job(ctx, snapshot, action)
            await lifecycle.start(ctx, job, waiting_since=since)
            return Requeue(POLL) if isinstance(action, Inspect) else None
        case LetGo(note=note, cascade=cascade):
            if not cascade:
                await dependents.leave(ctx, snapshot)
            return await _let_go(ctx, snapshot, note)


# --- the status ------------------------------------------------------------------------------------------------


def _waiting(ctx: Context, snapshot: Snapshot) -> frame.WaitingStatus:
    return partial(transitions.waiting, snapshot, ctx.now())


async def _finish(ctx: Context, world: World, action: Finish) -> Requeue | None:
    snapshot = world.snapshot
    await failpoints.hit(ctx, snapshot, "operator-snapshot-result-seen")
    log = await ctx.followers.whole(snapshot.meta.namespace, action.pod) if action.pod else None
    result = transitions.full_evidence(action.result, log)
    known = ctx.catalog.of_id(SnapshotEntry, snapshot.meta.namespace, result.base_snapshot_id)
    status = transitions.completed(
        snapshot,
        result,
        log,
        clean=action.clean,
        imported=action.imported,
        now=ctx.now(),
        base_name=known.key.name if known is not None else None,
    )
    requeue = await _end(ctx, snapshot, status)
    if requeue is None:
        # An injected container would keep the Job's slot until the Job's deadline.
        for name in filter(world.seen.lingering, world.seen.of_command("snapshot")):
            await lifecycle.remove(ctx, world.seen, snapshot.meta, name)
    return requeue


async def _end(ctx: Context, snapshot: Snapshot, status: SnapshotStatus) -> Requeue | None:
    """Writes the terminal status; only then stops following the log and releases the Environment."""
    status = await job_identities.settled(ctx, snapshot, status)
    written = await summarize.write(ctx, snapshot, status)
    ctx.followers.forget_owner(snapshot.key)
    if snapshot.status.started_at is not None:
        await operation_lock.release(ctx, snapshot.meta.namespace, snapshot.spec.environment_ref.name, snapshot)
    return Requeue() if written is None else None


async def _let_go(ctx: Context, snapshot: Snapshot, note: Note | None) -> Requeue:
    obj = await frame.set_finalizer(ctx, snapshot, present=False)
    _log.info(
        "finalizer removed",
        namespace=snapshot.meta.namespace,
        name=snapshot.meta.name,
        message=note.message if note is not None else "no data is left",
    )
    if note is not None:
        ctx.events.record(snapshot, note.type, note.reason, note.message)
    if obj is None or not obj["metadata"].get("finalizers"):
        ctx.catalog.remove(snapshot.key, snapshot.meta.uid)
    return Requeue()


async def _set_replicas(ctx: Context, snapshot: Snapshot, action: SetReplicas) -> None:
    stops = not any(replicas for _, replicas in action.targets)
    if stops:
        await failpoints.hit(ctx, snapshot, "operator-snapshot-replicas-saved")
    async with failpoints.after(ctx, snapshot, "" if stops else "operator-snapshot-resumed"):
        refused = await scale.set_all(ctx, snapshot.meta.namespace, action.targets)
        if refused is None:
            return
        if stops and not isinstance(refused, (Forbidden, Invalid)):
            raise refused  # an attempt is given up for lack of a right, not because the API server is away
        raise Stalled(c.QUIESCE_FAILED, refused.message) from refused


# --- the environment -------------------------------------------------------------------------------------------


async def _begin(ctx: Context, world: World) -> Requeue | None:
    if world.environment is None or world.inputs is None:
        raise ValueError(f"{world.snapshot.key}: the plan begins without an Environment")
    if world.snapshot.spec.trigger != SAFETY_TRIGGER:  # which runs under the lock of its Rollback
        await operation_lock.acquire(ctx, world.environment, world.snapshot)
    first = next((w for w in targets(world.environment.spec.workloads) if w.has_template), None)
    digest = await scale.running_digest(ctx, world.snapshot.meta.namespace, first) if first is not None else ""
    known = snapshots.of_environment(ctx.catalog, world.snapshot.meta.namespace, world.environment.meta.name)
    previous = newest((entry.signed for entry in known), world.environment.id)
    status = transitions.started(
        world.snapshot, world.environment, world.inputs, ctx.now(), image_digest=digest, previous=previous
    )
    return await frame.carry_out(ctx, world.snapshot, Record(status))


async def _start(ctx: Context, world: World, attempt: int) -> Requeue:
    snapshot, base = world.snapshot, world.base.full if world.base is not None else None
    await failpoints.hit(ctx, snapshot, "operator-snapshot-started")
    name = snapshot.spec.environment_ref.name
    environment = await read(ctx.kube, resources.environment, snapshot.meta.namespace, name)
    if environment is None:
        message = f"Environment {name} was deleted while the snapshot was running. Create it and take a new Snapshot."
        raise Failed(c.ENVIRONMENT_NOT_FOUND, message)
    job_inputs = await inputs.load(ctx, environment)
    if job_inputs.store.meta.name != snapshot.status.store_name:
        message = (
            f"The store of Environment {name} was changed from {snapshot.status.store_name} to "
            f"{job_inputs.store.meta.name} while the snapshot was running. Take a new Snapshot."
        )
        raise Failed(c.STORE_NOT_READY, message)
    left = clock.seconds_since(clock.text(ctx.now()), clock.parse(snapshot.status.deadline or snapshot.meta.created))
    needs = BaseSnapshot(snapshot_id=base.id, manifest_sha256=base.manifest_sha256) if base is not None else None
    frozen, state = transitions.identity(snapshot), plan_state.wanted(snapshot.spec)
    build = JobBuilder(ctx.settings, job_inputs, attempt)
    opens = base.job_identity or None if base is not None else None
    job = build.snapshot(snapshot, frozen, needs, base_identity=opens, state=state, deadline=left)
    await job_identities.create(ctx, snapshot)
    async with failpoints.after(ctx, snapshot, "operator-snapshot-job-created"):
        await lifecycle.start(ctx, job, waiting_since=snapshot.status.started_at or snapshot.meta.created)
    created = job["metadata"]["name"]
    starting = Wait(POLL, c.RUNNING, f"Job {created} is starting.", job=created)
    return await frame.wait(ctx, snapshot, starting, _waiting(ctx, snapshot))


# --- Jobs ------------------------------------------------------------------------------------------------------


async def _job(ctx: Context, snapshot: Snapshot, action: StartsJob) -> tuple[Object, str]:
    """The Job, and since when it waits for a slot (RFC 3339)."""
    build, now = partial(JobBuilder, ctx.settings), clock.text(ctx.now())
    match action:
        case Inspect(attempt=name):
            job = build(await job_stores.of_reading(ctx, snapshot), name).inspect_snapshot(snapshot)
            return job, snapshot.meta.created
        case StartDelete(attempt=number, deletes=deletes):
            found, name = (
                await job_stores.of_deletion(ctx, snapshot, deletes),
                deletion(snapshot, deletes).attempt(number),
            )
            job = build(found, name).delete(snapshot, deletes, deadline=ctx.settings.cleanup_timeout)
            return job, snapshot.meta.deleted or snapshot.meta.created
        case StartState(attempt=number, state=state, remote=remote):
            place = (sources.copy(snapshot) if remote else None) or sources.own(snapshot)
            series = state_writing(snapshot, remote=remote)
            found = await job_stores.of_place(ctx, snapshot, place)
            return build(found, series.attempt(number)).write_state(snapshot, state), now
        case StartVerify(attempt=number, requested=requested):
            place = sources.own(snapshot) if requested else damage.read_place(snapshot)
            found = await job_stores.of_place(ctx, snapshot, place)
            return build(found, number).verify(snapshot, deadline=snapshot.spec.timeout_seconds), now
        case StartCheckCopy(attempt=name):
            remote_copy, copy = snapshot.status.remote, sources.copy(snapshot)
            if remote_copy is None or copy is None:
                raise ValueError(f"{snapshot.key}: the plan checks the copy of a Snapshot without a remote store")
            found = await job_stores.of_place(ctx, snapshot, copy)
            since = remote_copy.check_requested_at or remote_copy.requested_at
            return build(found, name).check_copy(snapshot), since
        case StartRestoreTest():
            return await _restore_test_job(ctx, snapshot, action), now


async def _start_copy(ctx: Context, snapshot: Snapshot, attempt: int) -> Requeue | None:
    remote = snapshot.status.remote
    if remote is None:
        raise ValueError(f"{snapshot.key}: the plan copies a Snapshot without a remote store")
    namespace = snapshot.meta.namespace
    target = await inputs.load_store(ctx, namespace, remote.store_name)
    job_inputs = await inputs.load_for_store(ctx, namespace, target, snapshot.spec.environment_ref.name)
    job_inputs = await job_stores.with_source(ctx, snapshot, job_inputs, sources.own(snapshot))
    job = JobBuilder(ctx.settings, job_inputs, copying(snapshot).attempt(attempt)).copy_remote(snapshot)
    async with failpoints.after(ctx, snapshot, "operator-remote-job-created"):
        await lifecycle.start(ctx, job, waiting_since=remote.requested_at)
    status = remote_status.copying(
        snapshot, attempt, job["metadata"]["name"], ctx.now(), store_id=target.status.store_id
    )
    return await frame.carry_out(ctx, snapshot, Record(status))


async def _restore_test_job(ctx: Context, snapshot: Snapshot, action: StartRestoreTest) -> Object:
    """Raises Stalled (EnvironmentNotFound, OtherEnvironment, StoreNotFound …) where there is no server to restore it
    on, and IdentityMissing where nothing opens it."""
    namespace, name = snapshot.meta.namespace, snapshot.spec.environment_ref.name
    environment = await read(ctx.kube, resources.environment, namespace, name)
    if environment is None:
        raise Stalled(c.ENVIRONMENT_NOT_FOUND, f"Environment {name} does not exist in namespace {namespace}.")
    source = snapshot.status.source
    if source is None or source.environment_id != environment.id:
        text = f"Environment {name} is not the one that the snapshot was taken of: its id is {environment.id}."
        raise Stalled(c.OTHER_ENVIRONMENT, text)
    policy = await read(ctx.kube, resources.policy, namespace, name)
    verify = policy.spec.verify if policy is not None else None
    identity = encryption.identity_of_test(snapshot, verify)
    if verify is None or verify.server is None:
        environment = await inputs.with_cluster(ctx, environment)
    job_inputs = replace(
        await job_stores.of_reading(ctx, snapshot),
        environment=environment,
        # A server of verify.server has the same major version.
        server_major=inputs.server_major(environment),
    )
    deadline = verify.timeout_seconds if verify is not None else DEFAULT_TIMEOUT_SECONDS
    build = JobBuilder(ctx.settings, job_inputs, f"{action.run}-{action.attempt}")
    return build.restore_test(snapshot, verify, identity=identity, deadline=deadline)
