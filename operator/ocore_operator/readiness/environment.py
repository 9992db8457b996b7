"""Environment: its references exist, its id is unique, and a probe Job finds whether a snapshot and a rollback would
work."""

from dataclasses import replace
from functools import partial

from ocore_crds import conditions as c
from ocore_crds import layouts
from ocore_crds.commands.table import PROBE
from ocore_crds.environment import EnvironmentSpec, EnvironmentStatus
from ocore_crds.protocol import Failure, Finding, ProbeResult, ProofResult, SizesResult
from ocore_kube.types import ENVIRONMENTS
from ocore_operator import clock, operation_lock
from ocore_operator.context import Context
from ocore_operator.entries.environments import EnvironmentEntry, Target
from ocore_operator.entries.operations import operations, rollback_near
from ocore_operator.entries.stores import StoreEntry
from ocore_operator.errors import Failed, Outcome, Stalled, Waiting
from ocore_operator.jobs import build, control, inputs
from ocore_operator.jobs.outcome import Absent, Done, JobFailed, Running, Starting, finished, read
from ocore_operator.jobs.shape import job_name
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Environment, Object, Store, project_of
from ocore_operator.readiness import probed, proof, sizing, targets
from ocore_operator.readiness.probed import BuildJob, LastProbe, ProbedKind
from ocore_operator.readiness.verdict import catalogs_agree, found, probe_failed, proven, unprobed
from ocore_operator.summarize import Stamp

#: Seconds until it is checked again whether the SnapshotStore is ready; its own reconcile comes sooner.
STORE_PAUSE = 30.0
#: Seconds until a proof that is due is tried again beside an operation; the end of the operation comes sooner.
PROOF_PAUSE = 30.0


class EnvironmentKind(ProbedKind[EnvironmentSpec, EnvironmentStatus, ProbeResult]):
    """What is special about an Environment."""

    resource = ENVIRONMENTS
    before_probe = (
        c.PROBING,
        c.WAITING_FOR_JOB_SLOT,
        c.STORE_NOT_FOUND,
        c.STORE_NOT_READY,
        c.STORE_READ_ONLY,
        c.CLAIM_NOT_FOUND,
        c.CLAIM_IN_USE,
        c.CONFIG_NOT_FOUND,
        c.WORKLOAD_NOT_FOUND,
        c.DUPLICATE_ID,
        c.DUPLICATE_TARGET,
    )
    does = "A probe Job checks the database and the filestore."
    command = PROBE
    result = ProbeResult

    def parse(self, obj: Object) -> Environment:
        """The Environment."""
        return resources.environment(obj)

    async def prepare(self, ctx: Context, obj: Environment) -> bool:
        """Releases an operation lock whose holder is gone or has ended."""
        if not await operation_lock.stale(ctx, obj):
            return False
        await operation_lock.clear(ctx, obj)
        return True

    async def references(self, ctx: Context, obj: Environment) -> BuildJob:
        """The store is ready, the claim, ConfigMap and workloads exist, and no other Environment has the target."""
        job_inputs = await inputs.load(ctx, obj)
        refs = (obj.spec.store_ref, obj.spec.remote_store_ref)
        for ref in (each for each in refs if each is not None):
            entry = ctx.catalog.find(StoreEntry, obj.meta.namespace, ref.name)
            if entry is not None and entry.ready != "True":
                ctx.queue.add(entry.key)
        if job_inputs.user_unknown:  # its store, if on a claim, waits for the same
            need_filestore_to_propose_user(obj)
        else:
            _need_a_store(ctx, obj, job_inputs.store)
        _need_own_target(ctx, obj, obj.status)

        async def job(attempt: str) -> Object:
            return build.probe(ctx.settings, job_inputs, attempt=attempt)

        return job

    def last_probe(self, status: EnvironmentStatus) -> LastProbe:
        """From status.probe."""
        probe = status.probe
        return LastProbe(probe.time, probe.started_at, probe.generation) if probe is not None else LastProbe()

    def wanted(self, ctx: Context, obj: Environment) -> str:
        """Asked for directly, or by an operation that waits because a condition is not True."""
        wanted = ctx.probes.wanted(obj.key)
        if c.is_true(obj.status.conditions, c.READY) and _store_problem(ctx, obj) is not None:
            wanted = clock.text(ctx.now())  # Ready is not true any more, and RollbackReady stays
        for waiting in operations(ctx.catalog, obj.meta.namespace, obj.meta.name):
            needs = (c.READY, c.ROLLBACK_READY) if waiting.key.kind == "Rollback" else (c.READY,)
            if not all(c.is_true(obj.status.conditions, t) for t in needs):
                wanted = max(wanted, waiting.created)
        return wanted

    def watched(self, status: EnvironmentStatus) -> tuple[str, ...]:
        """A capacity that is missing in the spec does not appear by probing more often."""
        rollback = c.find(status.conditions, c.ROLLBACK_READY)
        if rollback is not None and rollback.reason == c.CAPACITY_UNKNOWN:
            return (c.READY,)
        return (c.READY, c.ROLLBACK_READY)

    def found(self, ctx: Context, obj: Environment, result: ProbeResult, began: str) -> EnvironmentStatus:
        """See verdict.py. What the probe found may show that another Environment has the same database."""
        status = found(
            obj,
            result,
            ctx.settings.mover_majors,
            began=began,
            now=clock.text(ctx.now()),
            without_store=_store_problem(ctx, obj),
            has_remote=_has_remote_store(ctx, obj),
        )
        status = sizing.probed(obj.spec, status, result, began=began)
        try:
            _need_own_target(ctx, obj, status)
        except Stalled as end:
            return unprobed(obj.with_status(status), end, Stamp.of(obj.meta, ctx.now()))
        return status

    def probe_failed(self, ctx: Context, obj: Environment, failure: Failure, began: str) -> EnvironmentStatus:
        """See verdict.py."""
        return probe_failed(obj, failure.reason, failure.message, began=began, now=clock.text(ctx.now()))

    async def beside(
        self, ctx: Context, obj: Environment, status: EnvironmentStatus
    ) -> tuple[EnvironmentStatus, float | None]:
        """Sizes that were requested, then the proof that a rollback works."""
        status, sizes_after = await _measure_when_due(ctx, obj, status)
        status, proof_after = await _prove_when_due(ctx, obj, status)
        return status, min((each for each in (sizes_after, proof_after) if each is not None), default=None)

    def unprobed(self, obj: Environment, end: Outcome, stamp: Stamp) -> EnvironmentStatus:
        """See verdict.py."""
        return unprobed(obj, end, stamp)

    def final(self, obj: Environment, status: EnvironmentStatus) -> EnvironmentStatus:
        """With its id and project."""
        update = {"id": obj.id, "project_id": project_of(obj), "observed_generation": obj.meta.generation}
        return status.model_copy(update=update)

    def wake(self, ctx: Context, obj: Environment, new: EnvironmentStatus) -> None:
        """The operations that wait for the Environment, and the stores that may import its snapshots."""
        if obj.status.id is None:
            for store in ctx.catalog.of_kind(StoreEntry, obj.meta.namespace):
                ctx.queue.add(store.key)
        if _verdict(obj.status) != _verdict(new):
            for waiting in operations(ctx.catalog, obj.meta.namespace, obj.meta.name):
                ctx.queue.add(waiting.key)
        if target_of(obj, obj.status) != target_of(obj, new):
            for other, _ in targets.sharing(ctx.catalog.of_kind(EnvironmentEntry), obj.key, target_of(obj, new)):
                ctx.queue.add(other.key)


def need_filestore_to_propose_user(obj: Environment) -> None:
    """Raises Stalled(JobUserUnknown) where the store's claim is the only one: no file of the application shows its
    user. Pure."""
    if obj.spec.filestore is None:
        raise Stalled(
            c.JOB_USER_UNKNOWN,
            "The user of the Jobs is unknown: spec.jobs.runAsUser is not set, and the first workload sets none but"
            f" root. Add to Environment {obj.meta.name}: spec.jobs: {{runAsUser: 65532, runAsGroup: 65532}}, or the"
            f" owner of the files on the claim of SnapshotStore {obj.spec.store_ref.name}. Where that claim belongs to"
            " root, add fsGroup as well.",
        )


def _need_a_store(ctx: Context, obj: Environment, store: Store) -> None:
    """Raises Waiting or Stalled (need_store) where neither the own store nor the remote one is ready."""
    try:
        need_store(store)
    except Waiting:
        if not _has_remote_store(ctx, obj):
            raise
    except Stalled as end:
        if end.reason != c.STORE_NOT_READY or not _has_remote_store(ctx, obj):
            raise


def _has_remote_store(ctx: Context, obj: Environment) -> bool:
    """Whether Snapshots can be restored though the Environment's own store is not ready: then everything else is
    probed."""
    ref = obj.spec.remote_store_ref
    entry = ctx.catalog.find(StoreEntry, obj.meta.namespace, ref.name) if ref is not None else None
    return entry is not None and entry.ready == "True"


def _store_problem(ctx: Context, obj: Environment) -> Finding | None:
    """What prevents snapshots, and not rollbacks: the own store is not ready, and the remote one is."""
    name = obj.spec.store_ref.name
    entry = ctx.catalog.find(StoreEntry, obj.meta.namespace, name)
    if entry is None or entry.ready == "True" or not _has_remote_store(ctx, obj):
        return None
    text = (
        f"SnapshotStore {name} is not ready ({entry.ready_reason or 'not probed yet'}). Snapshots that have a remote"
        " copy can be restored from it."
    )
    return Finding(reason=c.STORE_NOT_READY, message=text)


async def _measure_when_due(
    ctx: Context, obj: Environment, status: EnvironmentStatus
) -> tuple[EnvironmentStatus, float | None]:
    """Sizes that were requested: starts a Job that only measures, or waits for the one that runs, or reads its result.
    The status, and seconds until the next reconcile. Never beside a Rollback, whose workloads may wait for the
    claim."""
    due = sizing.due_in(ctx.now(), status.sizes, sizing.requested(obj.meta.annotations))
    if due is None or status.probe is None:
        return status, None
    name = job_name("measure", obj.meta.uid, sizing.attempt_name(status))
    namespace = obj.meta.namespace
    rollback = rollback_near(obj.status.operation, operations(ctx.catalog, namespace, obj.meta.name))
    seen = await control.observe(ctx, obj)
    if seen.stopping(name):
        return status, probed.POLL
    match read(seen.state(name), SizesResult, "The Job that measures"):
        case Absent():
            if due > 0:
                return status, due
            others = (*seen.of_command("probe"), *seen.of_command("measure"))
            if rollback or any(finished(seen.jobs[other]) is None for other in others):
                return status, probed.POLL
            return await _start_measuring(ctx, obj, status), probed.POLL
        case Starting() | Running():
            if rollback:
                await control.stop(ctx, seen, obj.meta, name)
            return status, probed.POLL
        case Done(result=result, finished=ended):
            status = sizing.measured(status, result, ended=ended)
        case JobFailed(failure=failure, finished=ended):
            status = sizing.not_measured(status, f"{failure.reason}: {failure.message}", ended=ended)
    await control.remove(ctx, seen, obj.meta, name)
    return status, 0.0


async def _start_measuring(ctx: Context, obj: Environment, status: EnvironmentStatus) -> EnvironmentStatus:
    """Creates the Job. Where it must wait for a slot or a quota, the next reconcile tries again."""
    job_inputs = replace(await inputs.load(ctx, obj), server_major=status.probe.server_major if status.probe else 0)
    now = clock.text(ctx.now())
    try:
        # The newest in its namespace: probes and inspections, which decide whether operations run, go first.
        await control.start(
            ctx, build.measure(ctx.settings, job_inputs, attempt=sizing.attempt_name(status)), waiting_since=now
        )
    except Waiting:
        return status
    except Failed as end:
        return sizing.not_measured(status, f"{end.reason}: {end.message}", ended=now)
    return status


async def _prove_when_due(
    ctx: Context, obj: Environment, status: EnvironmentStatus
) -> tuple[EnvironmentStatus, float | None]:
    """The proof that a rollback works: a Job that restores the schema into a scratch database. Never beside a
    Rollback."""
    if obj.spec.database is None or status.probe is None or not c.is_true(status.conditions, c.READY):
        return status, None
    if status.probe.generation != obj.meta.generation or not catalogs_agree(status):
        return status, None
    image = ctx.settings.image(status.probe.server_major)
    fingerprint = status.probe.schema_fingerprint
    due = proof.due_in(ctx.settings, ctx.now(), status.proof, fingerprint=fingerprint, image=image)
    if due is None or due > 0:
        return status, due
    return await _prove(ctx, obj, status, image)


async def _prove(
    ctx: Context, obj: Environment, status: EnvironmentStatus, image: str
) -> tuple[EnvironmentStatus, float]:
    """Starts the proof's Job, or waits for the one that runs, or reads its result. The status, and seconds until the
    next reconcile."""
    name = job_name("prove", obj.meta.uid, proof.attempt_name(status))
    namespace = obj.meta.namespace
    running = operations(ctx.catalog, namespace, obj.meta.name)
    seen, now = await control.observe(ctx, obj), clock.text(ctx.now())
    if seen.stopping(name):
        return status, probed.POLL
    match read(seen.state(name), ProofResult, "The proof"):
        case Absent():
            if obj.status.operation is not None or running:
                return status, PROOF_PAUSE
            return await _start_proof(ctx, obj, status), probed.POLL
        case Starting() | Running():
            if rollback_near(obj.status.operation, running):
                await control.stop(ctx, seen, obj.meta, name)
            return status, probed.POLL
        case Done(result=result):
            status = proof.recorded(status, result, image=image, now=now)
            await control.remove(ctx, seen, obj.meta, name)
        case JobFailed(failure=failure):
            status = proof.not_made(status, f"{failure.reason}: {failure.message}", now=now)
    return proven(obj, status, now), 0.0


async def _start_proof(ctx: Context, obj: Environment, status: EnvironmentStatus) -> EnvironmentStatus:
    """Creates the Job. Where it must wait for a slot or a quota, the next reconcile tries again: nothing depends on
    it."""
    job_inputs = replace(await inputs.load(ctx, obj), server_major=status.probe.server_major if status.probe else 0)
    job = build.prove(ctx.settings, job_inputs, attempt=proof.attempt_name(status))
    since = status.proof.attempted_at if status.proof is not None else obj.meta.created
    try:
        await control.start(ctx, job, waiting_since=since)
    except Waiting:
        return status
    except Failed as end:
        now = clock.text(ctx.now())
        return proven(obj, proof.not_made(status, f"{end.reason}: {end.message}", now=now), now)
    return status


def target_of(obj: Environment, status: EnvironmentStatus) -> Target:
    """What the Environment's rollbacks replace, as this status describes it."""
    database, filestore, probe = obj.spec.database, obj.spec.filestore, status.probe
    return Target(
        secret=database.secret_ref.name if database is not None else "",
        server=probe.server_identity if database is not None and probe is not None else "",
        database=probe.database_name if database is not None and probe is not None else "",
        claim=filestore.claim_name if filestore is not None else "",
        path=filestore.path if filestore is not None else "",
        layout=filestore.layout if filestore is not None else layouts.DEFAULT,
    )


def _need_own_target(ctx: Context, obj: Environment, status: EnvironmentStatus) -> None:
    """Raises Stalled(DuplicateTarget) where an older Environment has the same database or filestore."""
    found_ = targets.first(ctx.catalog.of_kind(EnvironmentEntry), obj.key, target_of(obj, status))
    if found_ is not None:
        first, what = found_
        raise Stalled(
            c.DUPLICATE_TARGET,
            f"Environment {first.key.namespace}/{first.key.name} has {what}, too. A rollback of one would replace what"
            " the other one runs on. Delete one of the two Environments, or correct its spec.database or"
            " spec.filestore.",
        )


def _verdict(status: EnvironmentStatus) -> tuple[object, ...]:
    return (*probed.verdict(status.conditions, c.READY, c.ROLLBACK_READY), status.probe)


def need_store(store: Store) -> None:
    """Raises Stalled(StoreReadOnly), or StoreNotReady: Stalled where a person must change the store, Waiting where that
    may pass. Pure."""
    if store.spec.access == "ReadOnly":
        raise Stalled(
            c.STORE_READ_ONLY,
            f"SnapshotStore {store.meta.name} has access ReadOnly, and snapshots are written to storeRef. Name one with"
            " access ReadWrite. A ReadOnly store can be the sourceStoreRef of a Rollback.",
        )
    ready, stalled = (c.find(store.status.conditions, t) for t in (c.READY, c.STALLED))
    if ready is not None and ready.status == "True":
        return
    why = f"{ready.reason}: {ready.message}" if ready is not None else "it has not been probed yet."
    message = f"SnapshotStore {store.meta.name} is not ready: {why}"
    if stalled is not None and stalled.status == "True":
        raise Stalled(c.STORE_NOT_READY, message)
    raise Waiting(c.STORE_NOT_READY, message, STORE_PAUSE)


reconcile = partial(probed.reconcile, EnvironmentKind())
