"""Reads the Snapshot of a rollback, in this namespace or in another one, and the store that it is read from."""

from dataclasses import replace

import structlog

from ocore_crds import conditions as c
from ocore_crds.resources.rollback import RemoteSource
from ocore_kube.errors import Forbidden
from ocore_kube.types import ENVIRONMENTS, SNAPSHOTS, STORES
from ocore_operator import sources
from ocore_operator.context import Context
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Environment, Rollback, Snapshot, Store
from ocore_operator.rollback import remote_source
from ocore_operator.rollback.source import granted, other_namespace, store_name
from ocore_operator.rollback.world import SourceView, StoreView

#: Stages in which a Snapshot of another namespace is read. Later nothing of that namespace matters: it may be gone.
READING = (None, "Preflight", "Restore")
#: Stages that neither read a Snapshot nor start a Job that does.
RESTORED = ("Abort", "Inspect", "Resume", "HealthCheck", "Finish", "BackStop", "BackDrain", "Ended")

_log = structlog.get_logger()


async def snapshot_of(ctx: Context, rollback: Rollback) -> tuple[Snapshot | None, SourceView]:
    """The Snapshot, and what is known of where it comes from. None: it does not exist, or may not be used."""
    ref, namespace = rollback.spec.snapshot_ref, rollback.meta.namespace
    if ref is None:
        return None, SourceView()
    other = other_namespace(rollback)
    if not other and rollback.status.stage in RESTORED:
        return None, SourceView()
    if not other:
        obj = await ctx.kube.get(SNAPSHOTS, namespace, ref.name)
        return resources.snapshot(obj) if obj is not None else None, SourceView()
    view = SourceView(namespace=other, into=namespace)
    if rollback.status.stage not in READING:
        return None, view
    if ctx.settings.namespaces and other not in ctx.settings.namespaces:
        return None, SourceView(namespace=other, into=namespace, watched=False)
    try:
        snapshot = await _granted(ctx, other, ref.name, namespace)
    except Forbidden as error:
        _log.warning("namespace of a Snapshot not readable", rollback=str(rollback.key), error=str(error))
        return None, SourceView(namespace=other, into=namespace, watched=False)
    return snapshot, view


async def _granted(ctx: Context, namespace: str, name: str, into: str) -> Snapshot | None:
    obj = await ctx.kube.get(SNAPSHOTS, namespace, name)
    snapshot = resources.snapshot(obj) if obj is not None else None
    environment: Environment | None = None
    if snapshot is not None:
        found = await ctx.kube.get(ENVIRONMENTS, namespace, snapshot.spec.environment_ref.name)
        environment = resources.environment(found) if found is not None else None
    return snapshot if granted(snapshot, environment, into) else None


async def with_places(ctx: Context, rollback: Rollback, snapshot: Snapshot | None, view: SourceView) -> SourceView:
    """With the places that have the Snapshot, at the stages Preview and Preflight: the remote copy, where it is read
    from the start, and what prevents reading."""
    if snapshot is None or rollback.status.stage not in (None, "Preview", "Preflight"):
        return view
    base = await _base_of(ctx, snapshot)
    corrupt = base.meta.name if base is not None and sources.is_damaged(base) else ""
    view = replace(view, corrupt_base=corrupt)
    if not remote_source.names_no_store(rollback.spec, rollback.meta.namespace):
        return view
    found: dict[str, Store | None] = {}
    for place in sources.places(snapshot):
        obj = await ctx.kube.get(STORES, rollback.meta.namespace, place.store_name)
        found[place.store_name] = resources.store(obj) if obj is not None else None
    return replace(
        view,
        remote=remote_source.chosen(snapshot, found, base),
        other_store=remote_source.other_store(snapshot, found),
    )


async def _base_of(ctx: Context, snapshot: Snapshot) -> Snapshot | None:
    """The full Snapshot that a differential needs; None where there is none, or it is not known."""
    base = snapshot.status.base
    obj = await ctx.kube.get(SNAPSHOTS, snapshot.meta.namespace, base.name) if base is not None and base.name else None
    full = resources.snapshot(obj) if obj is not None else None
    return full if full is not None and base is not None and full.id == base.id else None


async def store_of(
    ctx: Context,
    rollback: Rollback,
    snapshot: Snapshot | None,
    environment: Environment | None,
    remote: RemoteSource | None,
) -> StoreView | None:
    """The store that the Snapshot is read from, at the stage Preflight; None for an ordinary rollback in place.
    `remote`: the copy, where it is read."""
    if rollback.status.stage not in (None, "Preflight") or snapshot is None or environment is None:
        return None
    name = store_name(rollback, snapshot, environment, remote)
    if name is None and remote is None:
        name = await _only_read(ctx, rollback, snapshot, environment)
    if name is None:
        return None
    obj = await ctx.kube.get(STORES, rollback.meta.namespace, name)
    if obj is None:
        return StoreView(name, exists=False)
    store = resources.store(obj)
    ready = c.find(store.status.conditions, c.READY)
    problem = ""
    if ready is None or ready.status != "True" or not store.is_current:
        problem = ready.message if ready is not None and ready.status != "True" else "it has not been probed yet."
        ctx.queue.add(store.key)
    return StoreView(
        name, problem=problem, id=store.status.store_id or "", account=store.spec.service_account_name or ""
    )


async def _only_read(ctx: Context, rollback: Rollback, snapshot: Snapshot, environment: Environment) -> str | None:
    """The Snapshot's own SnapshotStore where nothing may be written to it, such as one that was imported for a drill:
    the record of the rollback goes to the Environment's store."""
    name = snapshot.status.store_name
    if name is None or name == environment.spec.store_ref.name:
        return None
    obj = await ctx.kube.get(STORES, rollback.meta.namespace, name)
    return name if obj is not None and resources.store(obj).spec.access == "ReadOnly" else None


async def account_of(ctx: Context, environment: Environment) -> str:
    """The service account of the Environment's own store; empty where it has none, or does not exist."""
    obj = await ctx.kube.get(STORES, environment.meta.namespace, environment.spec.store_ref.name)
    return (resources.store(obj).spec.service_account_name or "") if obj is not None else ""
