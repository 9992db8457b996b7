"""The stores of a Snapshot's Jobs: which one a Job reads, writes, or deletes in, and what else the Job needs.

Each function raises Stalled(StoreIdConflict) where the SnapshotStore is another store by now.
"""

from dataclasses import replace

import structlog

from ocore_operator import damage, sources
from ocore_operator.context import Context
from ocore_operator.errors import Stalled
from ocore_operator.jobs.building import inputs, stores
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.building.node_of_claims import node_of
from ocore_operator.jobs.observing.snapshot_jobs import Deletes
from ocore_operator.kube import resources
from ocore_operator.kube.client import read
from ocore_operator.kube.resources import Snapshot
from ocore_operator.sources import Place

_log = structlog.get_logger()


async def of_deletion(ctx: Context, snapshot: Snapshot, deletes: Deletes) -> JobInputs:
    """The store in which that is deleted."""
    own, copy, replaced = sources.own(snapshot), sources.copy(snapshot), sources.replaced(snapshot)
    match deletes:
        case Deletes.ALL | Deletes.LEFTOVERS:
            return await _with_claim(ctx, snapshot)
        case Deletes.LOCAL if copy is not None:
            return await with_source(ctx, snapshot, await of_place(ctx, snapshot, own), copy)
        case Deletes.COPY if copy is not None:
            return await of_place(ctx, snapshot, copy)
        case Deletes.REPLACED if replaced is not None:
            return await of_place(ctx, snapshot, replaced)
    raise ValueError(f"{snapshot.key}: nothing of the kind {deletes.name} can be deleted")


async def of_reading(ctx: Context, snapshot: Snapshot) -> JobInputs:
    """The store that a rollback would read, whichever store the Environment names now. Raises Stalled(StoreNotFound,
    StoreIdConflict, ClaimNotFound …)."""
    return await of_place(ctx, snapshot, damage.read_place(snapshot))


async def of_place(ctx: Context, snapshot: Snapshot, place: Place) -> JobInputs:
    """That store."""
    namespace = snapshot.meta.namespace
    store = await inputs.load_place(ctx, namespace, place)
    return await inputs.load_for_store(ctx, namespace, store, snapshot.spec.environment_ref.name)


async def _with_claim(ctx: Context, snapshot: Snapshot) -> JobInputs:
    """With the Environment's claim, where the Environment is unchanged: attempts that were killed left frozen folders
    on it."""
    namespace, name, source = snapshot.meta.namespace, snapshot.spec.environment_ref.name, snapshot.status.source
    environment = await read(ctx.kube, resources.environment, namespace, name)
    unchanged = environment is not None and source is not None and environment.id == source.environment_id
    if environment is not None and unchanged and environment.spec.store_ref.name == snapshot.status.store_name:
        try:
            found = await inputs.load(ctx, environment, lenient=True)
        except Stalled as end:
            _log.info("leftovers are deleted from the store only", name=snapshot.meta.name, reason=end.reason)
        else:
            inputs.need_place(sources.own(snapshot), found.store)
            return found
    return await of_place(ctx, snapshot, sources.own(snapshot))


async def with_source(ctx: Context, snapshot: Snapshot, job_inputs: JobInputs, place: Place) -> JobInputs:
    """With a second store, which the Job only reads."""
    source = await inputs.load_place(ctx, snapshot.meta.namespace, place)
    claims = stores.claims(job_inputs.store, source)
    node = await node_of(ctx, snapshot.meta.namespace, claims)
    return replace(job_inputs, source=source, node=node)
