"""Carries out what the plan of a rollback decided. Every effect is idempotent, and raises Conflict where its object
changed since it was read."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.commands.restore import Preflight
from ocore_crds.resources.environment import ExecutedRollback, UndoneRollback
from ocore_crds.resources.rollback import RemoteSource, RollbackTarget
from ocore_crds.resources.workloads import targets
from ocore_kube.errors import AlreadyExists, Forbidden, Invalid
from ocore_kube.types import ENVIRONMENTS, ROLLBACKS, SNAPSHOTS
from ocore_operator import clock, damage, operation_lock, sources, summarize
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.frame import effects as frame
from ocore_operator.frame.actions import SetFinalizer
from ocore_operator.jobs import lifecycle, signals
from ocore_operator.jobs.building import build, inputs, listeners, stores
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.kube import resources
from ocore_operator.kube.client import MANAGER_EXECUTED
from ocore_operator.kube.resources import Environment, Key, Object, Rollback, Snapshot, Store, project_of
from ocore_operator.probe_requests import OtherProbe
from ocore_operator.rollback import orphan
from ocore_operator.rollback.executed import entry_about, remembered, run_of, with_undo
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.observe import Observed, lock_view
from ocore_operator.rollback.plan_preflight import space_wanted
from ocore_operator.rollback.plan_switch import finish_seconds
from ocore_operator.rollback.safety import safety_snapshot
from ocore_operator.rollback.snapshot_and_environment import capacity_of, database_bytes
from ocore_operator.rollback.source import reads_elsewhere, store_name
from ocore_operator.rollback.transitions import unanswered
from ocore_operator.rollback.world import (
    AcquireLock,
    AskProbe,
    CancelSafetySnapshot,
    CreateSafetySnapshot,
    Effect,
    RecordExecuted,
    ReleaseLock,
    ReportDamage,
    ReportProbe,
    SafetyView,
    SendSignal,
    SetImages,
    SettleUndo,
    StartJob,
    StopJob,
    TakeOver,
    goes_on,
)
from ocore_operator.sources import Place
from ocore_operator.workloads import quiesce, scale
from ocore_operator.workloads.quiesce import Refused, SetReplicas

#: Seconds for the Job of a cleanup, and of a switch back.
CLEANUP_DEADLINE = 300.0
BACK_DEADLINE = 180.0
#: Least seconds for a restore: with less, the rollback is aborted anyway.
LEAST_DEADLINE = 10.0


async def carry_out(ctx: Context, observed: Observed, memory: Memory, effect: Effect) -> None:
    """Carries the effect out. Raises Outcome where it is not possible now, Conflict where its object has changed."""
    match effect:
        case SetFinalizer(present=present):
            await frame.set_finalizer(
                ctx, observed.rollback.meta, ROLLBACKS, naming.FINALIZER_ROLLBACK, present=present
            )
        case AcquireLock():
            await operation_lock.acquire(ctx, _environment(observed), observed.rollback)
        case ReleaseLock():
            await _release_lock(ctx, observed)
        case AskProbe(since=since):
            key = _environment(observed).key
            ctx.probes.ask(key, clock.text(since or observed.world.lock.since or ctx.now()))
            ctx.queue.add(key)
        case ReportProbe(result=result, began=began):
            environment = _environment(observed)
            ctx.probes.report(environment.key, OtherProbe(result, began, environment.meta.generation))
            ctx.queue.add(environment.key)
        case RecordExecuted():
            await _record_executed(ctx, observed)
        case TakeOver():
            await _write_undo(ctx, observed, None)
        case SettleUndo():
            await _write_undo(ctx, observed, effect)
        case SetReplicas():
            await _set_replicas(ctx, observed.rollback, memory, effect)
        case SetImages():
            await _set_images(ctx, observed.rollback, memory, effect)
        case CreateSafetySnapshot():
            await _create_safety_snapshot(ctx, observed.rollback)
        case CancelSafetySnapshot(snapshot=view):
            await _cancel_safety_snapshot(ctx, observed.rollback, view)
        case SendSignal(job=job):
            namespace = observed.rollback.meta.namespace
            await signals.send(ctx, namespace, job.pod, job.pod_version, effect.signal, effect.repetition)
        case StopJob(job=job):
            await lifecycle.delete(ctx, observed.rollback.meta, job.name, job.uid, "Foreground")
        case ReportDamage():
            await _report_damage(ctx, observed.rollback, effect)
        case StartJob():
            await _start_job(ctx, observed, memory, effect)


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
        key = _environment(observed).key
        ctx.probes.expire(key, clock.text(clock.parse(ended) if ended is not None else ctx.now()))
        ctx.queue.add(key)


async def _report_damage(ctx: Context, rollback: Rollback, effect: ReportDamage) -> None:
    """Writes it into the Snapshot's status. Where the object that was found is one of the full Snapshot that it needs,
    that one is damaged: its differentials follow. Raises Conflict where the Snapshot has changed."""
    ref = rollback.spec.snapshot_ref
    obj = await ctx.kube.get(SNAPSHOTS, rollback.meta.namespace, ref.name) if ref is not None else None
    if obj is None:
        return
    snapshot = resources.snapshot(obj)
    base = snapshot.status.base
    if base is not None and base.name and f"/snapshots/{base.id}/" in effect.message:
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


async def _record_executed(ctx: Context, observed: Observed) -> None:
    environment = _environment(observed)
    entries = remembered(environment, observed.rollback, clock.text(ctx.now()))
    await _write_history(ctx, environment, entries, environment.status.undone_rollbacks)


async def _write_undo(ctx: Context, observed: Observed, end: SettleUndo | None) -> None:
    """The undo's entry in status.undoneRollbacks: taken over, or (`end`) how it ended. Raises Conflict where the
    Environment has changed."""
    environment, rollback = _environment(observed), observed.rollback
    undo = rollback.status.undo
    known = entry_about(environment, undo.rollback_id) if undo is not None else None
    if end is not None and (known is None or known.by_id != rollback.id):
        return
    if end is None:
        entries = with_undo(environment, rollback, "Running")
    else:
        entries = with_undo(environment, rollback, end.state, end.keep_until)
    await _write_history(ctx, environment, environment.status.executed_rollbacks, entries)


async def _write_history(
    ctx: Context,
    environment: Environment,
    executed: Sequence[ExecutedRollback],
    undone: Sequence[UndoneRollback],
) -> None:
    """Both lists of the field manager: it would drop the one that it leaves out."""
    lists = {"executedRollbacks": [e.wire() for e in executed], "undoneRollbacks": [e.wire() for e in undone]}
    written = await ctx.kube.apply_status(environment, lists, MANAGER_EXECUTED)
    if written is not None:  # no reconcile of the Environment follows from its history
        ctx.catalog.put_own("Environment", environment.meta, written)


async def _set_replicas(ctx: Context, rollback: Rollback, memory: Memory, effect: SetReplicas) -> None:
    memory.scale_refused = None
    refused = await scale.set_all(ctx, rollback.meta.namespace, effect.targets)
    if refused is not None:
        memory.scale_refused = Refused(ctx.now(), refused.message)


def _snapshot(observed: Observed) -> Snapshot:
    if observed.world.snapshot is None:
        name = observed.rollback.status.snapshot_name
        raise Stalled(c.SNAPSHOT_NOT_FOUND, f"Snapshot {name} was deleted before it was restored.")
    return observed.world.snapshot


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


async def _cancel_safety_snapshot(ctx: Context, rollback: Rollback, view: SafetyView) -> None:
    """Deletes it unless it has changed: it may be Complete now."""
    namespace = rollback.meta.namespace
    await ctx.kube.delete(SNAPSHOTS, namespace, view.name, uid=view.uid, resource_version=view.version)
    ctx.queue.add(Key("Snapshot", namespace, view.name))


def _environment(observed: Observed) -> Environment:
    if observed.world.environment is None:
        raise Stalled(
            c.ENVIRONMENT_NOT_FOUND, f"Environment {observed.world.environment_name} does not exist any more."
        )
    return observed.world.environment


# --- Jobs ------------------------------------------------------------------------------------------------------------


async def _start_job(ctx: Context, observed: Observed, memory: Memory, effect: StartJob) -> None:
    rollback = observed.rollback
    try:
        job = await _build(ctx, observed, effect)
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


async def _build(ctx: Context, observed: Observed, effect: StartJob) -> Object:
    settings, owner, attempt = ctx.settings, observed.rollback, effect.attempt
    undo = owner.status.undo
    # The store of the remote copy replaces that of the Environment, which may be gone.
    own_store = _remote(observed) is None or reads_elsewhere(owner.status)
    job_inputs = await _job_inputs(
        ctx, observed, needs_store=effect.command in ("restore", "switch", "preview") and undo is None and own_store
    )
    left = max(_seconds_left(owner, ctx.now()), LEAST_DEADLINE)
    project = project_of(_of_jobs(observed))
    match effect.command:
        case "restore":
            return build.restore(
                settings,
                await _with_stores_of_restore(ctx, observed, job_inputs),
                owner,
                run_of(owner, project),
                preflight=preflight_of(observed) if unanswered(owner.status) else None,
                attempt=attempt,
                deadline=left,
                switch=await _switch_of_restore(ctx, observed),
            )
        case "neutralize":
            given = _environment(observed).spec.neutralize
            reached = await listeners.observe(
                given.test_listeners if given is not None else (), settings.cluster_networks
            )
            return build.neutralize(settings, job_inputs, owner, attempt=attempt, deadline=left, listeners=reached)
        case "switch":
            wait = left + signals.SIGNAL_SECONDS
            deadline = wait + finish_seconds(owner.spec, 0)
            if undo is not None:
                return build.undo(
                    settings,
                    job_inputs,
                    owner,
                    run_of(owner, project),
                    store_of_record=await _store_of_record(ctx, observed),
                    attempt=attempt,
                    wait=wait,
                    deadline=deadline,
                )
            place = _place_of_snapshot(observed)
            if place is not None:  # what was restored does not depend on what the store is now
                store = await inputs.load_store(ctx, job_inputs.namespace, place.store_name)
                job_inputs = await _with_store(ctx, job_inputs, store)
            return build.switch(
                settings, job_inputs, owner, run_of(owner, project), attempt=attempt, wait=wait, deadline=deadline
            )
        case "preview":
            read = store_name(owner, _snapshot(observed), _environment(observed), _remote(observed))
            if read is None:
                with_store = await _with_place(ctx, job_inputs, _place_of_snapshot(observed))
            else:
                with_store = await _with_store(ctx, job_inputs, await _named_store(ctx, observed, read))
            return build.preview(settings, with_store, owner, _snapshot(observed), attempt=attempt)
        case "switch-back":
            return build.switch_back(
                settings,
                job_inputs,
                owner,
                run_of(owner, project),
                store_of_record=await _store_of_record(ctx, observed),
                attempt=attempt,
                deadline=BACK_DEADLINE,
            )
        case "inspect":
            # At the stage Inspect the workloads are stopped. A later inspection runs beside them.
            stopped = owner.status.stage == "Inspect"
            return build.inspect_rollback(settings, job_inputs, owner, repair=True, stopped=stopped, attempt=attempt)
        case "inspect-only":
            # The Job of a cleanup that follows probes later.
            probe = owner.status.cleanup_attempt == 0 and may_probe(observed, job_inputs)
            return build.inspect_rollback(settings, job_inputs, owner, repair=False, probe=probe, attempt=attempt)
        case "cleanup-restored":
            return build.cleanup(
                settings,
                job_inputs,
                owner,
                what="previous" if undo is not None and undo.to == "Old" else "restored",
                probe=may_probe(observed, job_inputs),
                attempt=attempt,
                deadline=CLEANUP_DEADLINE,
            )
        case "cleanup-previous":
            return build.cleanup(
                settings,
                job_inputs,
                owner,
                what="restored" if undo is not None and undo.to == "Old" else "previous",
                probe=may_probe(observed, job_inputs),
                attempt=attempt,
                deadline=CLEANUP_DEADLINE,
            )


def may_probe(observed: Observed, job_inputs: JobInputs) -> bool:
    """Whether a probe follows in the Job of a rollback that has stopped the workloads: the Job is of the Environment as
    a probe would see it, not of what the status remembers, and not of a Cluster, which a probe reads again."""
    found, used = observed.world.environment, job_inputs.environment
    if found is None or used is None or (found.id, found.spec) != (used.id, used.spec):
        return False
    if observed.rollback.status.quiesced_at is None:
        return False
    return found.spec.database is None or found.spec.database.cnpg is None


async def _switch_of_restore(ctx: Context, observed: Observed) -> tuple[float, float] | None:
    """Seconds that the Job of the restore waits for its signal: until the workloads are stopped; and for the switch in
    all. None where another Job switches."""
    rollback = observed.rollback
    if not goes_on(rollback.status, rollback.spec):
        return None
    wanted = targets(_environment(observed).spec.workloads)
    workloads = observed.world.workloads or await scale.observe(ctx, rollback.meta.namespace, wanted)
    wait = quiesce.STOP_SECONDS + quiesce.drain_seconds(workloads)
    return wait, wait + finish_seconds(rollback.spec, 0)


def preflight_of(observed: Observed) -> Preflight | None:
    """What the last probe has found, which the restore's own probe must find again."""
    environment, snapshot = observed.world.environment, observed.world.snapshot
    probe = environment.status.probe if environment is not None else None
    if environment is None or snapshot is None or probe is None:
        return None
    most, capacity = None, capacity_of(environment)
    if environment.spec.database is not None and capacity is not None and database_bytes(snapshot) > 0:
        most = max(capacity - space_wanted(snapshot), 0)
    return Preflight(
        server_major=probe.server_major,
        server_identity=probe.server_identity,
        database_name=probe.database_name,
        most_used=most,
    )


def _of_jobs(observed: Observed) -> Environment:
    """The Environment that a Job is built from; for the cleanup of a rollback whose Environment was deleted, what its
    status remembers of it. Raises Stalled(EnvironmentNotFound)."""
    status, found = observed.rollback.status, observed.world.environment
    if status.stage != "Ended" or (found is not None and found.id == status.environment_id):
        return _environment(observed)
    return orphan.remembered(observed.rollback) or _environment(observed)


def with_target(environment: Environment, target: RollbackTarget | None) -> Environment:
    """The Environment with the connection and the claim of the rollback's start. They have its databases and folders,
    whatever the spec names now."""
    if target is None:
        return environment
    spec, status = target.applied_to(environment.spec, environment.status)
    return replace(environment, spec=spec, status=status)


def _seconds_left(rollback: Rollback, now: datetime) -> float:
    """Seconds until the rollback's deadline."""
    return -clock.seconds_since(rollback.status.deadline or rollback.meta.created, now)


async def _job_inputs(ctx: Context, observed: Observed, *, needs_store: bool) -> JobInputs:
    """As for any Job of the Environment. But a missing workload or ConfigMap must not prevent a switch from being
    finished or repaired, and neither must a missing store where the Job does not need it, nor what spec.jobs must not
    have: that is left out."""
    environment = with_target(_of_jobs(observed), observed.rollback.status.target)
    if needs_store:
        try:
            return await inputs.load(ctx, environment, lenient=True)
        except Stalled as end:
            if end.reason not in (*inputs.OF_WORKLOADS, c.CONFIG_NOT_FOUND):
                raise
    namespace, spec = environment.meta.namespace, environment.spec
    claims = [spec.filestore.claim_name] if spec.filestore is not None else []
    workload = await inputs.first_template(ctx, namespace, spec)
    store = await _store(ctx, namespace, spec.store_ref.name, needed=needs_store)
    claims += stores.claims(store) if needs_store else []
    return JobInputs(
        namespace=namespace,
        store=store,
        traits=inputs.traits(ctx.settings, workload, spec.jobs),
        environment=environment,
        node=await inputs.node_of(ctx, namespace, claims),
        server_major=inputs.server_major(environment),
        template=inputs.template_of(ctx.settings, workload, spec.jobs),
    )


async def _store(ctx: Context, namespace: str, name: str, *, needed: bool) -> Store:
    """The store. Where it is not needed and does not exist: only its name, which is a label of the Job."""
    try:
        return await inputs.load_store(ctx, namespace, name)
    except Stalled:
        if needed:
            raise
    return stores.missing(namespace, name)


async def _store_of_record(ctx: Context, observed: Observed) -> Store | None:
    """The store that has the rollback's record: the snapshot's, for an undo or another source the Environment's; None
    where it is missing."""
    remote = _remote(observed)
    snapshot = observed.world.snapshot
    name = snapshot.status.store_name if snapshot is not None else None
    name = remote.store_name if remote is not None else name
    if observed.rollback.spec.undo is not None or reads_elsewhere(observed.rollback.status):
        name = _environment(observed).spec.store_ref.name
    try:
        return await inputs.load_store(ctx, observed.rollback.meta.namespace, name) if name is not None else None
    except Stalled:
        return None


def _remote(observed: Observed) -> RemoteSource | None:
    """The remote copy, where it is read. A preview has not recorded yet what is known before its Job."""
    return observed.rollback.status.remote or observed.world.source.remote


def _place_of_snapshot(observed: Observed) -> Place | None:
    """The store that the snapshot was written to, or that of its remote copy, which the Environment may not name any
    more. It also holds the record. None for a rollback that reads from elsewhere."""
    if reads_elsewhere(observed.rollback.status):
        return None
    remote = _remote(observed)
    if remote is not None:
        return Place(remote.store_name, remote.store_id or "", is_copy=True)
    return sources.own(_snapshot(observed))


async def _with_place(ctx: Context, job_inputs: JobInputs, place: Place | None) -> JobInputs:
    """With that store in the place of the Environment's; None: unchanged. Raises Stalled(StoreIdConflict)."""
    if place is None:
        return job_inputs
    if place.store_name == job_inputs.store.meta.name and job_inputs.store.meta.uid:  # read just now
        inputs.need_place(place, job_inputs.store)
        return job_inputs
    return await _with_store(ctx, job_inputs, await inputs.load_place(ctx, job_inputs.namespace, place))


async def _with_store(ctx: Context, job_inputs: JobInputs, store: Store) -> JobInputs:
    return replace(job_inputs, store=store, node=await _node(ctx, job_inputs, store))


async def _with_stores_of_restore(ctx: Context, observed: Observed, job_inputs: JobInputs) -> JobInputs:
    """With the store of the record, and the one that the snapshot is read from where that is another one."""
    name = observed.rollback.status.source_store_name
    if name is None:
        return await _with_place(ctx, job_inputs, _place_of_snapshot(observed))
    source = await _named_store(ctx, observed, name)
    return replace(job_inputs, source=source, node=await _node(ctx, job_inputs, job_inputs.store, source))


async def _named_store(ctx: Context, observed: Observed, name: str) -> Store:
    """A SnapshotStore of the Rollback's namespace that is the Snapshot's own store, or has its copy. Raises
    Stalled(StoreIdConflict) where it is another one by now."""
    store = await inputs.load_store(ctx, observed.rollback.meta.namespace, name)
    places = tuple(sources.places(_snapshot(observed)))
    if store.status.store_id not in {place.store_id for place in places}:
        inputs.need_place(replace(places[0], store_name=name), store)
    return store


async def _node(ctx: Context, job_inputs: JobInputs, *used: Store) -> str | None:
    """The node on which the filestore and these stores can be mounted."""
    filestore = job_inputs.environment.spec.filestore if job_inputs.environment is not None else None
    claims = [filestore.claim_name] if filestore is not None else []
    return await inputs.node_of(ctx, job_inputs.namespace, claims + stores.claims(*used))
