"""Carries out sweeps and removals: one Job each."""

from typing import TypeVar

from ocore_crds.protocol import Failure
from ocore_crds.snapshotstore import OrphansStatus, SnapshotStoreStatus
from ocore_crds.stored_contents import OrphansResult, RemovedOrphans
from ocore_kube.types import STORES
from ocore_operator.contents import orphans
from ocore_operator.context import Context
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.errors import Failed, Waiting
from ocore_operator.jobs import build, control, inputs
from ocore_operator.jobs.outcome import Absent, Done, JobFailed, Running, Starting, read
from ocore_operator.kube.resources import Object, Store

POLL = 10.0
ResultT = TypeVar("ResultT", OrphansResult, RemovedOrphans)


async def run(ctx: Context, store: Store) -> tuple[SnapshotStoreStatus, float | None]:
    """One step: the status, and seconds until the next one; None: when something changes."""
    report, last = orphans.removal_wanted(store), store.status.orphans
    if report is not None and last is not None:
        return await _removal(ctx, store, last, report)
    due = orphans.due_in(store, ctx.settings.sweep_interval, ctx.now())
    if due is None or due > 0:
        return store.status, due
    attempt = orphans.attempt(store, "sweep")
    job_inputs = await inputs.load_for_store(ctx, store.meta.namespace, store)
    found = await _job(ctx, store, build.sweep(ctx.settings, job_inputs, attempt=attempt), OrphansResult)
    if isinstance(found, float):
        return store.status, found
    if isinstance(found, Failure):
        return _with(store, orphans.not_swept(store, found.message, ctx.now())), 0.0
    return _with(store, orphans.swept(store, found, await _claimed(ctx, store), ctx.now())), 0.0


async def _removal(
    ctx: Context, store: Store, last: OrphansStatus, report: str
) -> tuple[SnapshotStoreStatus, float | None]:
    attempt = orphans.attempt(store, f"remove {report}")
    job_inputs = await inputs.load_for_store(ctx, store.meta.namespace, store)
    job = build.remove_orphans(ctx.settings, job_inputs, report=report, attempt=attempt)
    found = await _job(ctx, store, job, RemovedOrphans)
    if isinstance(found, float):
        return store.status, found
    if isinstance(found, Failure):
        return _with(store, orphans.not_removed(last, found, ctx.now())), 0.0
    return _with(store, orphans.removed(last, found, ctx.now())), 0.0


def _with(store: Store, found: OrphansStatus) -> SnapshotStoreStatus:
    return store.status.model_copy(update={"orphans": found})


async def _job(ctx: Context, store: Store, job: Object, result: type[ResultT]) -> ResultT | Failure | float:
    """The Job's result, why it has none, or seconds until it may have one."""
    seen = await control.observe(ctx, store)
    name = str(job["metadata"]["name"])
    match read(seen.state(name), result, "The Job"):
        case Absent():
            try:
                await control.start(ctx, job, waiting_since=store.meta.created)
            except Waiting as end:
                return end.after
            except Failed as end:
                return Failure(reason=end.reason, message=end.message)
            return POLL
        case Starting() | Running():
            return POLL
        case Done(result=found):
            await control.remove(ctx, seen, store.meta, name)
            return found
        case JobFailed(failure=failure):
            return failure


async def _claimed(ctx: Context, store: Store) -> int:
    """Complete Snapshots, of all watched namespaces, whose data is in this store."""
    listed = await ctx.kube.list(STORES)
    same = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"])
        for obj in listed
        if (obj.get("status") or {}).get("storeId") == store.status.store_id
    }
    every = ctx.catalog.of_kind(SnapshotEntry)
    return sum((e.key.namespace, e.store) in same and e.phase in ("Complete", "Corrupt") for e in every)
