"""Builds the Jobs of a rollback: what each is made of, and how long it may take. A Job uses the connection and the
claim of the rollback's start, whatever the Environment names now."""

import asyncio
from dataclasses import replace

from ocore_crds import conditions as c
from ocore_crds.commands.restore import Preflight
from ocore_crds.model import LocalRef
from ocore_crds.resources.rollback import RemoteSource, RollbackTarget
from ocore_crds.resources.workloads import targets
from ocore_crds.stored.rollback_record import RollbackRun
from ocore_operator import clock, encryption, sources
from ocore_operator.context import Context
from ocore_operator.errors import Stalled
from ocore_operator.jobs import signals
from ocore_operator.jobs.building import inputs, listeners, stores
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.building.node_of_claims import node_of
from ocore_operator.kube.resources import Environment, Object, Rollback, Snapshot, Store, project_of
from ocore_operator.rollback import orphan
from ocore_operator.rollback.executed import run_of
from ocore_operator.rollback.observe import Observed
from ocore_operator.rollback.plan_preflight import space_wanted
from ocore_operator.rollback.plan_switch import finish_seconds
from ocore_operator.rollback.snapshot_and_environment import capacity_of, database_bytes
from ocore_operator.rollback.source import reads_elsewhere, store_name
from ocore_operator.rollback.transitions import unanswered
from ocore_operator.rollback.world import StartJob, goes_on
from ocore_operator.sources import Place
from ocore_operator.workloads import quiesce, scale

#: Seconds for the Job of a cleanup, and of a switch back.
CLEANUP_DEADLINE = 300.0
BACK_DEADLINE = 180.0
#: Least seconds for a restore: with less, the rollback is aborted anyway.
LEAST_DEADLINE = 10.0


async def job_of(ctx: Context, observed: Observed, start: StartJob) -> Object:
    """The Job. Raises Outcome where it cannot be built now."""
    match start.command:
        case "restore":
            return await _restore(ctx, observed, start)
        case "neutralize":
            return await _neutralize(ctx, observed, start)
        case "switch" if observed.rollback.status.undo is not None:
            return await _undo(ctx, observed, start)
        case "switch":
            return await _switch(ctx, observed, start)
        case "switch-back":
            build, record = await _build(ctx, observed, start), await _store_of_record(ctx, observed)
            return build.switch_back(observed.rollback, _run(observed), record, deadline=BACK_DEADLINE)
        case "inspect" | "inspect-only":
            return await _inspect(ctx, observed, start)
        case "cleanup-restored" | "cleanup-previous":
            return await _cleanup(ctx, observed, start)
        case "preview":
            return await _preview(ctx, observed, start)


async def _build(ctx: Context, observed: Observed, start: StartJob) -> JobBuilder:
    return JobBuilder(ctx.settings, await _inputs(ctx, observed), start.attempt)


async def _restore(ctx: Context, observed: Observed, start: StartJob) -> Object:
    owner = observed.rollback
    job_inputs = await _with_stores_of_restore(ctx, observed, await _inputs_with_store(ctx, observed))
    return JobBuilder(ctx.settings, job_inputs, start.attempt).restore(
        owner,
        _run(observed),
        identity=identity_of(owner, _snapshot(observed)),
        preflight=preflight_of(observed) if unanswered(owner.status) else None,
        deadline=_seconds_left(ctx, owner),
        switch=await _switch_of_restore(ctx, observed),
    )


async def _neutralize(ctx: Context, observed: Observed, start: StartJob) -> Object:
    given, owner = environment_of(observed).spec.neutralize, observed.rollback
    addresses = given.test_listeners if given is not None else ()
    reached = await listeners.observe(addresses, ctx.settings.cluster_networks)
    build, left = await _build(ctx, observed, start), _seconds_left(ctx, owner)
    return build.neutralize(owner, deadline=left, listeners=reached)


async def _undo(ctx: Context, observed: Observed, start: StartJob) -> Object:
    owner = observed.rollback
    build, record = await asyncio.gather(_build(ctx, observed, start), _store_of_record(ctx, observed))
    wait = _seconds_left(ctx, owner) + signals.SIGNAL_SECONDS
    deadline = wait + finish_seconds(owner.spec, 0)
    return build.undo(owner, _run(observed), record, wait=wait, deadline=deadline)


async def _switch(ctx: Context, observed: Observed, start: StartJob) -> Object:
    owner, job_inputs, place = observed.rollback, await _inputs_with_store(ctx, observed), _place_of_snapshot(observed)
    if place is not None:  # what was restored does not depend on what the store is now
        store = await inputs.load_store(ctx, job_inputs.namespace, place.store_name)
        job_inputs = await _with_store(ctx, job_inputs, store)
    wait = _seconds_left(ctx, owner) + signals.SIGNAL_SECONDS
    build, deadline = JobBuilder(ctx.settings, job_inputs, start.attempt), wait + finish_seconds(owner.spec, 0)
    return build.switch(owner, _run(observed), wait=wait, deadline=deadline)


async def _inspect(ctx: Context, observed: Observed, start: StartJob) -> Object:
    owner, job_inputs, repair = observed.rollback, await _inputs(ctx, observed), start.command == "inspect"
    # At the stage Inspect the workloads are stopped. A later inspection runs beside them.
    stopped = repair and owner.status.stage == "Inspect"
    # The Job of a cleanup that follows probes later.
    probe = not repair and owner.status.cleanup_attempt == 0 and may_probe(observed, job_inputs)
    build = JobBuilder(ctx.settings, job_inputs, start.attempt)
    return build.inspect_rollback(owner, repair=repair, stopped=stopped, probe=probe)


async def _cleanup(ctx: Context, observed: Observed, start: StartJob) -> Object:
    owner, job_inputs = observed.rollback, await _inputs(ctx, observed)
    undo = owner.status.undo
    swapped = undo is not None and undo.to == "Old"  # what is restored for it, the first rollback has kept
    return JobBuilder(ctx.settings, job_inputs, start.attempt).cleanup(
        owner,
        what="previous" if (start.command == "cleanup-previous") != swapped else "restored",
        probe=may_probe(observed, job_inputs),
        deadline=CLEANUP_DEADLINE,
    )


async def _preview(ctx: Context, observed: Observed, start: StartJob) -> Object:
    owner, snapshot, job_inputs = observed.rollback, _snapshot(observed), await _inputs_with_store(ctx, observed)
    read = store_name(owner, snapshot, environment_of(observed), _remote(observed))
    if read is None:
        job_inputs = await _with_place(ctx, job_inputs, _place_of_snapshot(observed))
    else:
        job_inputs = await _with_store(ctx, job_inputs, await _named_store(ctx, observed, read))
    return JobBuilder(ctx.settings, job_inputs, start.attempt).preview(
        owner, snapshot, identity=identity_of(owner, snapshot)
    )


def _snapshot(observed: Observed) -> Snapshot:
    if observed.world.snapshot is None:
        name = observed.rollback.status.snapshot_name
        raise Stalled(c.SNAPSHOT_NOT_FOUND, f"Snapshot {name} was deleted before it was restored.")
    return observed.world.snapshot


def identity_of(rollback: Rollback, snapshot: Snapshot) -> LocalRef | None:
    """The Secret that opens the Snapshot. A Job that reads one that is not encrypted does not get it."""
    return encryption.identity_for(snapshot, rollback.spec.identity_secret_ref, rollback.meta.namespace)


def environment_of(observed: Observed) -> Environment:
    """The Environment. Raises Stalled(EnvironmentNotFound)."""
    if observed.world.environment is None:
        raise Stalled(
            c.ENVIRONMENT_NOT_FOUND, f"Environment {observed.world.environment_name} does not exist any more."
        )
    return observed.world.environment


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
    all. None where another Job switches; also where its log cannot be read, which says that it waits."""
    rollback = observed.rollback
    if not goes_on(rollback.status, rollback.spec) or observed.world.logs_unreadable:
        return None
    wanted = targets(environment_of(observed).spec.workloads)
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
        return environment_of(observed)
    return orphan.remembered(observed.rollback) or environment_of(observed)


def with_target(environment: Environment, target: RollbackTarget | None) -> Environment:
    """The Environment with the connection and the claim of the rollback's start. They have its databases and folders,
    whatever the spec names now."""
    if target is None:
        return environment
    spec, status = target.applied_to(environment.spec, environment.status)
    return replace(environment, spec=spec, status=status)


def _seconds_left(ctx: Context, rollback: Rollback) -> float:
    """Seconds until the rollback's deadline."""
    return max(-clock.seconds_since(rollback.status.deadline or rollback.meta.created, ctx.now()), LEAST_DEADLINE)


def _run(observed: Observed) -> RollbackRun:
    return run_of(observed.rollback, project_of(_of_jobs(observed)))


async def _inputs_with_store(ctx: Context, observed: Observed) -> JobInputs:
    """With the Environment's store. That of the remote copy replaces it, where it is read: it may be gone."""
    own_store = _remote(observed) is None or reads_elsewhere(observed.rollback.status)
    return await _inputs(ctx, observed, needs_store=own_store)


async def _inputs(ctx: Context, observed: Observed, *, needs_store: bool = False) -> JobInputs:
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
    workload, store = await asyncio.gather(
        inputs.first_template(ctx, namespace, spec), _store(ctx, namespace, spec.store_ref.name, needed=needs_store)
    )
    claims += stores.claims(store) if needs_store else []
    return JobInputs(
        namespace=namespace,
        store=store,
        traits=inputs.traits(ctx.settings, workload, spec.jobs),
        environment=environment,
        node=await node_of(ctx, namespace, claims),
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
        name = environment_of(observed).spec.store_ref.name
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
    return await node_of(ctx, job_inputs.namespace, claims + stores.claims(*used))
