"""Which Snapshots need a full one: read, entered, removed. `status.dependents` of the full one is written here only, by
compare and swap.

The order makes deletion safe. A differential is entered before anything of it is copied, and only in a Snapshot that is
not being deleted: the write fails where a deletion came first. It is removed after its data, and before its finalizer.
What a crash leaves behind is corrected by the full Snapshot's own reconcile (`entries/full_snapshots.py` finds it).
"""

from collections.abc import Iterable
from dataclasses import replace

from ocore_crds.resources.snapshotpolicy import age
from ocore_crds.rules.differentials import needs_of
from ocore_kube.types import SNAPSHOTS
from ocore_operator import sources
from ocore_operator.context import Context
from ocore_operator.entries import differentials, full_snapshots
from ocore_operator.entries.snapshots import SnapshotEntry, of_environment
from ocore_operator.frame.reading import current
from ocore_operator.kube import resources
from ocore_operator.kube.client import MANAGER_DEPENDENTS, read
from ocore_operator.kube.resources import Key, Object, Snapshot
from ocore_operator.snapshot.world import FULL_EVERY, BaseView, World


async def with_base(ctx: Context, world: World) -> World:
    """With what decides about the base, before the Job of an attempt."""
    snapshot, namespace = world.snapshot, world.snapshot.meta.namespace
    if snapshot.status.full_filestore is None:
        name = snapshot.spec.environment_ref.name
        suspects = full_snapshots.suspects(ctx.catalog, namespace, name)
        fulls = (e.pairing.full for e in of_environment(ctx.catalog, namespace, name))
        usable = tuple(f for f in fulls if f is not None and f.id not in suspects)
        policy = await read(ctx.kube, resources.policy, namespace, name)
        every = age(policy.spec.full_every) if policy is not None else FULL_EVERY
        return replace(world, fulls=usable, full_every=every)
    if snapshot.status.base is None:
        return world
    obj = await _base_of(ctx, snapshot)
    if obj is None:
        return replace(world, base=BaseView(full=None, entered=False))
    found = differentials.pairing_of(obj)
    return replace(world, base=BaseView(found.full, snapshot.meta.name in found.dependents))


async def observed(ctx: Context, snapshot: Snapshot) -> tuple[str, ...] | None:
    """Names of the Snapshots that need this one; None where none is entered or known. One that the catalog does not
    know to need it is read: an entry is removed only where the API server confirms that."""
    entry = ctx.catalog.find(SnapshotEntry, snapshot.meta.namespace, snapshot.meta.name)
    if entry is None:
        return None
    unlisted, doubtful = full_snapshots.unlisted(ctx.catalog, entry), full_snapshots.released(ctx.catalog, entry)
    if not snapshot.status.dependents and not unlisted:
        return None
    gone = {name for name in doubtful if not await _needs(ctx, snapshot, name)}
    return tuple(sorted({*(n for n in snapshot.status.dependents if n not in gone), *unlisted}))


async def _needs(ctx: Context, full: Snapshot, name: str) -> bool:
    obj = await current(ctx, Key("Snapshot", full.meta.namespace, name))
    return obj is not None and needs_of(obj.get("status") or {}) == full.id


async def corrupt_base(ctx: Context, snapshot: Snapshot) -> str:
    """Name of the full Snapshot that this one needs, where that is corrupt; else empty."""
    obj = await _base_of(ctx, snapshot)
    status = (obj or {}).get("status") or {}
    return str(obj["metadata"]["name"]) if obj is not None and status.get("phase") == "Corrupt" else ""


async def whole_base(ctx: Context, snapshot: Snapshot) -> str:
    """Name of the full Snapshot that this one needs, where that is whole in its own store, as far as is known; else
    empty."""
    obj = await _base_of(ctx, snapshot)
    if obj is None or (obj.get("status") or {}).get("phase") != "Complete":
        return ""
    base = resources.snapshot(obj)
    return "" if sources.is_damaged(base) else base.meta.name


async def enter(ctx: Context, snapshot: Snapshot) -> None:
    """Enters the Snapshot in its base. Raises Conflict where that one changes at the same time, for example because its
    deletion begins. Does nothing where it is gone or being deleted: what is observed next shows that."""
    obj = await _base_of(ctx, snapshot)
    if obj is None or "deletionTimestamp" in obj["metadata"]:
        return
    base = resources.snapshot(obj)
    await write(ctx, base, {*base.status.dependents, snapshot.meta.name})


async def leave(ctx: Context, snapshot: Snapshot) -> None:
    """Removes the Snapshot from its base. Raises Conflict where that one changes at the same time."""
    obj = await _base_of(ctx, snapshot)
    if obj is None:
        return
    base = resources.snapshot(obj)
    if snapshot.meta.name in base.status.dependents:
        await write(ctx, base, {*base.status.dependents} - {snapshot.meta.name})


async def write(ctx: Context, full: Snapshot, names: Iterable[str]) -> None:
    """Writes which Snapshots need the full one. Raises Conflict where it changed since it was read."""
    status: Object = {"dependents": sorted(names)}
    written = await ctx.kube.apply_status(full, status, MANAGER_DEPENDENTS)
    if written is not None:
        ctx.catalog.put("Snapshot", written)


async def _base_of(ctx: Context, snapshot: Snapshot) -> Object | None:
    """The full Snapshot, as it is now; None where it is gone, or another one has its name. The name of one that was
    found in the store may be unknown."""
    base = snapshot.status.base
    if base is None:
        return None
    known = ctx.catalog.of_id(SnapshotEntry, snapshot.meta.namespace, base.id)
    name = base.name or (known.key.name if known is not None else None)
    obj = await ctx.kube.get(SNAPSHOTS, snapshot.meta.namespace, name) if name is not None else None
    if obj is None:
        return None
    ctx.catalog.put("Snapshot", obj)
    return obj if ((obj.get("spec") or {}).get("id") or obj["metadata"]["uid"]) == base.id else None
