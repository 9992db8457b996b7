"""Reads what the plan of a Snapshot depends on. Only what the Snapshot's state needs is read."""

from dataclasses import replace

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_operator.context import Context
from ocore_operator.errors import Stalled
from ocore_operator.jobs import control, inputs
from ocore_operator.jobs.outcome import Observation
from ocore_operator.kube import resources
from ocore_operator.kube.client import ENVIRONMENTS, ROLLBACKS, SNAPSHOTS
from ocore_operator.kube.resources import Key, Object, Snapshot
from ocore_operator.snapshot.cascade import cascade_of
from ocore_operator.snapshot.world import Cascade, World


def idle(obj: Object) -> bool:
    """Whether a Snapshot needs no reconcile: it is terminal and nothing remains to be done. Cheap, over raw JSON: a resync asks for thousands."""
    status, meta, spec = obj.get("status") or {}, obj["metadata"], obj.get("spec") or {}
    conditions = status.get("conditions") or ()
    if "deletionTimestamp" in meta or not c.is_terminal(conditions) or status.get("residue") == "Pending":
        return False
    if status.get("observedGeneration") != meta.get("generation"):
        return False
    verified = any(x["type"] == c.VERIFIED and x["status"] != "Unknown" for x in conditions)
    return c.outcome(conditions) == "Failed" or spec.get("verify") != "Full" or verified


async def observe(ctx: Context, key: Key) -> World | None:
    """None where the Snapshot is gone or idle. Raises Stalled where it is unknown why the Snapshot is deleted."""
    obj = await ctx.kube.get(SNAPSHOTS, key.namespace, key.name)
    if obj is None:
        ctx.catalog.remove(key)
        return None
    ctx.catalog.put("Snapshot", obj)
    if idle(obj):
        return None
    snapshot = resources.snapshot(obj)
    world = World(snapshot, ctx.now(), ctx.settings, _nothing(ctx))
    if snapshot.meta.deleted is not None:
        world = await _deleted(ctx, world)
    elif world.terminal or snapshot.status.started_at is not None:
        world = replace(world, seen=await control.observe(ctx, snapshot))
    elif naming.FINALIZER_DATA in snapshot.meta.finalizers and snapshot.status.phase is not None:
        world = await _before_start(ctx, world)
    return replace(world, now=ctx.now())


def _nothing(ctx: Context) -> Observation:
    return Observation(jobs={}, pods={}, now=ctx.now(), start_deadline=ctx.settings.start_deadline)


async def _deleted(ctx: Context, world: World) -> World:
    snapshot = world.snapshot
    if naming.FINALIZER_DATA not in snapshot.meta.finalizers:
        return world
    cascade = await cascade_of(ctx, snapshot.meta.namespace)
    if cascade is not Cascade.NO:
        return replace(world, cascade=cascade)
    used_by = await _used_by(ctx, snapshot) if world.terminal else ""
    return replace(world, used_by=used_by, seen=await control.observe(ctx, snapshot))


async def _used_by(ctx: Context, snapshot: Snapshot) -> str:
    """Name of a Rollback that restores the Snapshot and is not terminal; empty where there is none."""
    for obj in await ctx.kube.list(ROLLBACKS, snapshot.meta.namespace):
        named = obj["spec"].get("snapshotRef", {}).get("name") == snapshot.meta.name
        if named and not c.is_terminal(obj.get("status", {}).get("conditions") or ()):
            return str(obj["metadata"]["name"])
    return ""


async def _before_start(ctx: Context, world: World) -> World:
    snapshot = world.snapshot
    elder = ctx.catalog.elder(snapshot.key)
    if elder is not None:
        return replace(world, elder=f"{elder.key.namespace}/{elder.key.name}")
    obj = await ctx.kube.get(ENVIRONMENTS, snapshot.meta.namespace, snapshot.spec.environment_ref.name)
    if obj is None:
        return world
    environment = resources.environment(obj)
    try:
        loaded = await inputs.load(ctx, environment)
    except Stalled as end:
        return replace(world, environment=environment, missing=end)
    return replace(world, environment=environment, inputs=loaded)
