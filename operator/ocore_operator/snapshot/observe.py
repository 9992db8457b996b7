"""Reads what the plan of a Snapshot depends on. Only what the Snapshot's state needs is read."""

from dataclasses import replace
from functools import partial
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.resources.restore_test import open_run
from ocore_crds.resources.snapshot import SAFETY_TRIGGER
from ocore_crds.resources.workloads import Target, targets
from ocore_crds.rules.retention import snapshot_used_by
from ocore_kube.errors import UNREADABLE, ApiError
from ocore_kube.types import ROLLBACKS
from ocore_operator import operation_lock
from ocore_operator.context import Context
from ocore_operator.entries import full_snapshots
from ocore_operator.entries.extracts import reading
from ocore_operator.entries.operations import operations, rollback_near
from ocore_operator.entries.rollbacks import users
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.errors import Stalled
from ocore_operator.frame.reading import current
from ocore_operator.jobs import lifecycle, signals
from ocore_operator.jobs.building import inputs
from ocore_operator.jobs.building.job import job_name
from ocore_operator.kube import resources
from ocore_operator.kube.client import read
from ocore_operator.kube.resources import Environment, Key, Object, Snapshot
from ocore_operator.snapshot import dependents, freeze_signal, observe_remote, plan_state
from ocore_operator.snapshot.cascade import cascade_of
from ocore_operator.snapshot.entry import idle
from ocore_operator.snapshot.world import Cascade, RemoteView, RestoreTest, World, is_ready
from ocore_operator.workloads import other_operations, scale
from ocore_operator.workloads.view import peer_of

#: Seconds until the end of a Snapshot is seen by those that need it, or that it needs.
SETTLE = 1.0


async def observe(ctx: Context, key: Key, fresh: bool = True) -> World | None:
    """None where the Snapshot is gone or idle. `fresh`: its Jobs are listed. Raises Stalled where it is unknown why the
    Snapshot is deleted."""
    obj = await current(ctx, key)
    if obj is None or (idle(obj) and not full_snapshots.unsettled(ctx.catalog, key)):
        _settle(ctx, key)
        return None
    snapshot = resources.snapshot(obj)
    world = World(snapshot, ctx.now(), ctx.settings, lifecycle.no_jobs(ctx))
    if snapshot.meta.deleted is not None:
        found = await _deleted(ctx, world, fresh)
        return replace(found, now=ctx.now()) if found is not None else None
    if world.terminal or snapshot.status.started_at is not None:
        world = replace(world, seen=await lifecycle.observe(ctx, snapshot, fresh=fresh))
        if snapshot.status.remote is not None:
            world = replace(world, remote=await observe_remote.view(ctx, world, partial(_used_by, ctx, snapshot)))
        if world.terminal:
            world = await _with_others(ctx, world)
        elif _before_job(world):
            world = await dependents.with_base(ctx, world)
        if _quiesces(snapshot):
            return await _with_workloads(ctx, world, fresh)
        if world.terminal and any(not place.remote for place in plan_state.differing(snapshot)):
            world = replace(world, store_writable=await _store_writable(ctx, snapshot))
        run = open_run(obj)
        if run is not None:
            world = replace(world, restore_test=await _restore_test(ctx, snapshot, run))
    elif naming.FINALIZER_DATA in snapshot.meta.finalizers and snapshot.status.phase is not None:
        world = await _before_start(ctx, world)
    return replace(world, now=ctx.now())


async def _store_writable(ctx: Context, snapshot: Snapshot) -> bool:
    """Whether the Snapshot's store exists and takes its state object."""
    store = await read(ctx.kube, resources.store, snapshot.meta.namespace, snapshot.status.store_name)
    return store is not None and observe_remote.takes_states(store)


def _settle(ctx: Context, key: Key) -> None:
    """Queues the Snapshots for which something follows from the end of this one: see entries/full_snapshots.py. After a
    moment: an import brings the differentials of a full Snapshot one after the other, and they are entered in it
    together."""
    for other in full_snapshots.related(ctx.catalog, key):
        if other != key and full_snapshots.unsettled(ctx.catalog, other):
            ctx.queue.add_after(other, SETTLE)


async def _with_others(ctx: Context, world: World) -> World:
    """With what is known of the Snapshots that need this one, and of the one that it needs."""
    entry = ctx.catalog.find(SnapshotEntry, world.snapshot.meta.namespace, world.snapshot.meta.name)
    found = await dependents.observed(ctx, world.snapshot)
    replaced = entry is not None and full_snapshots.is_replaced(ctx.catalog, entry)
    world = replace(world, dependents=found, replaced=replaced)
    if entry is not None and full_snapshots.is_of_corrupt(ctx.catalog, entry):
        return replace(world, corrupt_base=await dependents.corrupt_base(ctx, world.snapshot))
    if entry is not None and full_snapshots.is_of_whole(ctx.catalog, entry):
        return replace(world, whole_base=await dependents.whole_base(ctx, world.snapshot))
    return world


def _before_job(world: World) -> bool:
    """Whether the Job of the current attempt is not created yet, as far as is known."""
    status, uid = world.snapshot.status, world.snapshot.meta.uid
    name = job_name("snapshot", uid, status.attempt)
    return status.attempt > 0 and status.job_name != name and name not in world.seen.jobs


async def _deleted(ctx: Context, world: World, fresh: bool) -> World | None:
    snapshot = world.snapshot
    if naming.FINALIZER_DATA not in snapshot.meta.finalizers:
        return world
    cascade = await cascade_of(ctx, snapshot.meta.namespace)
    if cascade is Cascade.NAMESPACE or (cascade is Cascade.CRD and not _quiesces(snapshot)):
        return replace(world, cascade=cascade)
    used_by = await _used_by(ctx, snapshot) if world.terminal else ""
    seen = await lifecycle.observe(ctx, snapshot, fresh=fresh)
    world = replace(world, used_by=used_by, cascade=cascade, seen=seen)
    world = replace(world, dependents=await dependents.observed(ctx, snapshot))
    world = replace(world, remote=await observe_remote.with_replaced(ctx, snapshot, RemoteView()))
    return await _with_workloads(ctx, world, fresh) if _quiesces(snapshot) else world


def _quiesces(snapshot: Snapshot) -> bool:
    """Whether it may stop workloads, or has to start them again."""
    quiesce = snapshot.status.quiesce
    if c.is_terminal(snapshot.status.conditions) or not snapshot.spec.quiesce or snapshot.status.attempt == 0:
        return False
    return quiesce is None or quiesce.attempt != snapshot.status.attempt or quiesce.stage != "Done"


async def _with_workloads(ctx: Context, world: World, fresh: bool) -> World | None:
    """With what a quiesce depends on; None where the Snapshot is gone.

    The Snapshot is read again as the last one: a deposed leader must not scale by a status that is older than the
    workloads it has read.
    """
    snapshot, namespace = world.snapshot, world.snapshot.meta.namespace
    job = job_name("snapshot", snapshot.meta.uid, snapshot.status.attempt)
    live = world.seen.live_pods(job)
    if len(live) == 1:
        meta = live[0]["metadata"]
        resumes = await freeze_signal.may_resume(ctx, namespace, meta["name"]) if _is_freezing(snapshot) else False
        world = replace(
            world,
            pod=meta["name"],
            pod_version=meta["resourceVersion"],
            signal=signals.sent(live[0]),
            repetition=signals.repetition_of(live[0]),
            may_resume=resumes,
        )
    wanted, claim = await _targets(ctx, snapshot)
    quiesce = snapshot.status.quiesce
    if quiesce is None or quiesce.stage in ("Announced", "Done"):
        world = replace(
            world, peer=peer_of(snapshot, await other_operations.others(ctx, namespace, snapshot.meta.uid), wanted)
        )
    world = replace(world, workloads=await scale.observe(ctx, namespace, wanted, claim))
    newest = await read(ctx.kube, resources.snapshot, namespace, snapshot.meta.name)
    if newest is None or newest.meta.uid != snapshot.meta.uid:
        return None
    if newest.status.quiesce != quiesce or newest.status.attempt != snapshot.status.attempt:
        return await observe(ctx, snapshot.key, fresh)
    return replace(world, snapshot=newest, now=ctx.now())


async def _restore_test(ctx: Context, snapshot: Snapshot, run: str) -> RestoreTest:
    namespace, name = snapshot.meta.namespace, snapshot.spec.environment_ref.name
    environment = await read(ctx.kube, resources.environment, namespace, name)
    operation = environment.status.operation if environment is not None else None
    return RestoreTest(run, rollback_near(operation, operations(ctx.catalog, namespace, name)))


def _is_freezing(snapshot: Snapshot) -> bool:
    return snapshot.status.quiesce is not None and snapshot.status.quiesce.stage == "Freeze"


async def _targets(ctx: Context, snapshot: Snapshot) -> tuple[list[Target], str]:
    """The workloads, and the filestore's claim. The saved workloads once they are saved: the Environment may have
    changed since."""
    quiesce, environment = snapshot.status.quiesce, await _environment(ctx, snapshot)
    spec = environment.spec if environment is not None else None
    claim = spec.filestore.claim_name if spec is not None and spec.filestore is not None else ""
    if quiesce is not None and quiesce.stage != "Done" and quiesce.workloads:
        return targets(quiesce.workloads), claim
    return targets(spec.workloads) if spec is not None else [], claim


async def _used_by(ctx: Context, snapshot: Snapshot) -> str:
    """Kind and name of an Extract that reads the Snapshot, or of a Rollback that restores it or whose safety snapshot
    it is, and that is not terminal, in this namespace or in another one; empty where there is none. A safety snapshot
    that is not Complete is deleted by its own Rollback.

    Lists are read where a Rollback may be: in this namespace, and in those that the Environment allows. Where a grant
    was removed since, or a Role is gone, what the catalog knows counts.
    """
    safety = snapshot.meta.uid if c.is_true(snapshot.status.conditions, c.COMPLETE) else None
    namespace, place = snapshot.meta.namespace, (snapshot.meta.namespace, snapshot.meta.name)
    known = {e.key.namespace: e.key.name for e in users(ctx.catalog, *place)}
    for other in dict.fromkeys((namespace, *known, *await _allowed(ctx, snapshot))):
        try:
            found = await ctx.kube.list(ROLLBACKS, other, keep=lambda obj: _uses(obj, place, safety))
        except ApiError as error:
            if other == namespace or error.status not in UNREADABLE:
                raise
            found = [{"metadata": {"name": known[other]}}] if other in known else []
        if found:
            name = str(found[0]["metadata"]["name"])
            return f"Rollback {name if other == namespace else f'{other}/{name}'}"
    return next((f"Extract {e.key.name}" for e in reading(ctx.catalog, *place)), "")


async def _allowed(ctx: Context, snapshot: Snapshot) -> list[str]:
    """The watched namespaces that may restore Snapshots of this one's Environment."""
    environment = await _environment(ctx, snapshot)
    grants = environment.spec.allow_rollback_to if environment is not None else ()
    watched = ctx.settings.namespaces
    return [g.namespace for g in grants if not watched or g.namespace in watched]


def _uses(rollback: Object, place: tuple[str, str], safety: str | None) -> bool:
    """`safety`: uid of the Snapshot where it may be a safety snapshot."""
    status = rollback.get("status", {})
    saved = safety is not None and status.get("safetySnapshotId") == safety
    return not c.is_terminal(status.get("conditions") or ()) and (saved or snapshot_used_by(rollback) == place)


async def _before_start(ctx: Context, world: World) -> World:
    snapshot = world.snapshot
    elder = ctx.catalog.elder(snapshot.key)
    if elder is not None:
        return replace(world, elder=f"{elder.key.namespace}/{elder.key.name}")
    environment = await _environment(ctx, snapshot)
    if environment is None:
        return world
    if snapshot.spec.trigger == SAFETY_TRIGGER:
        world = replace(world, rollback=await _rollback(ctx, snapshot, environment))
    elif is_ready(environment):  # thousands may wait: what they need to begin is read when it is their turn
        blocked = await operation_lock.blocked(ctx, environment, snapshot)
        if blocked is not None:
            return replace(world, environment=environment, blocked=blocked)
    try:
        loaded = await inputs.load(ctx, environment)
    except Stalled as end:
        return replace(world, environment=environment, missing=end)
    return replace(world, environment=environment, inputs=loaded)


async def _environment(ctx: Context, snapshot: Snapshot) -> Environment | None:
    return await read(ctx.kube, resources.environment, snapshot.meta.namespace, snapshot.spec.environment_ref.name)


async def _rollback(ctx: Context, snapshot: Snapshot, environment: Environment) -> Literal["Waits", "Creates"] | None:
    """See World.rollback. By the uids that the Environment and the Rollback have in their status, which only the
    operator writes."""
    operation = environment.status.operation
    if operation is None or operation.kind != "Rollback":
        return None
    obj = await ctx.kube.get(ROLLBACKS, snapshot.meta.namespace, operation.name)
    if obj is None or obj["metadata"]["uid"] != operation.uid or "deletionTimestamp" in obj["metadata"]:
        return None
    status = obj.get("status", {})
    if status.get("stage") not in ("Restore", "Neutralize", "Await"):
        return None
    if status.get("safetySnapshotId") is None:
        own = naming.safety_snapshot(operation.name, operation.uid) == snapshot.meta.name
        return "Creates" if own else None
    return "Waits" if status["safetySnapshotId"] == snapshot.meta.uid else None
