"""Reads what the plan of an Extract depends on."""

from ocore_crds import conditions as c
from ocore_kube.types import NAMESPACES
from ocore_operator import operation_lock, sources
from ocore_operator.context import Context
from ocore_operator.entries.environments import EnvironmentEntry
from ocore_operator.entries.operations import operations, rollback_near
from ocore_operator.extract.entry import idle
from ocore_operator.extract.world import World
from ocore_operator.frame.reading import current
from ocore_operator.jobs import lifecycle
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.client import read
from ocore_operator.kube.resources import Environment, Extract, Key, Snapshot, Store
from ocore_operator.sources import Source


async def observe(ctx: Context, key: Key, fresh: bool = True) -> World | None:
    """None where the Extract is gone or idle. `fresh`: its Jobs are listed."""
    obj = await current(ctx, key)
    if obj is None or idle(obj):
        return None
    extract = resources.extract(obj)
    if extract.meta.deleted is not None:
        namespace = await ctx.kube.get(NAMESPACES, "", key.namespace)
        if namespace is None or "deletionTimestamp" in namespace["metadata"]:
            # Nothing else may be readable: the operator's Role in the namespace is deleted, too.
            return World(extract=extract, now=ctx.now(), seen=lifecycle.no_jobs(ctx), terminating=True)
    began = extract.status.started_at is not None
    seen = await lifecycle.observe(ctx, extract, fresh=fresh) if began else lifecycle.no_jobs(ctx)
    environment = await read(ctx.kube, resources.environment, key.namespace, extract.status.environment_name)
    needed = not began and not c.is_terminal(extract.status.conditions)
    snapshot = (
        await read(ctx.kube, resources.snapshot, key.namespace, extract.spec.snapshot_ref.name) if needed else None
    )
    target = environment
    if target is None and snapshot is not None:
        target = await read(ctx.kube, resources.environment, key.namespace, snapshot.spec.environment_ref.name)
    store, source = await _stores(ctx, extract, snapshot)
    return World(
        extract=extract,
        now=ctx.now(),
        seen=seen,
        snapshot=snapshot,
        environment=target,
        neighbours=neighbours(ctx.catalog, target) if target is not None else (),
        store=store,
        source=source,
        rollback_near=target is not None and _rollback_near(ctx, extract, target),
        locked=environment is not None and operation_lock.is_held_by(environment, extract),
    )


def neighbours(catalog: Catalog, environment: Environment) -> tuple[str, ...]:
    """Paths of other Environments' filestores on the same claim."""
    filestore = environment.spec.filestore
    every = catalog.of_kind(EnvironmentEntry, environment.meta.namespace)
    others = (e.target for e in every if e.key != environment.key)
    return tuple(t.path for t in others if filestore is not None and t.claim == filestore.claim_name)


def _rollback_near(ctx: Context, extract: Extract, environment: Environment) -> bool:
    others = operations(ctx.catalog, extract.meta.namespace, environment.meta.name)
    return rollback_near(environment.status.operation, others)


async def _stores(ctx: Context, extract: Extract, snapshot: Snapshot | None) -> tuple[Store | None, Source | None]:
    """The store that is read, and before the start why not another one."""
    namespace = extract.meta.namespace
    if snapshot is None:
        return await read(ctx.kube, resources.store, namespace, extract.status.store_name), None
    if not c.is_true(snapshot.status.conditions, c.COMPLETE):
        return None, None
    stores = {
        p.store_name: await read(ctx.kube, resources.store, namespace, p.store_name) for p in sources.places(snapshot)
    }
    base = snapshot.status.base
    full = await read(ctx.kube, resources.snapshot, namespace, base.name) if base is not None else None
    known = full is not None and base is not None and full.id == base.id
    source = sources.source(snapshot, base=full if known else None, stores=stores)
    return (stores[source.place.store_name] if source.place is not None else None), source
