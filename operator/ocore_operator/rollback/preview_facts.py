"""Reads what only a preview needs: how long earlier rollbacks and the newest test restore took, and whether a rollback
is switching the environment now."""

import asyncio

from ocore_crds.resources.rollback import RollbackStatus
from ocore_kube.types import ROLLBACKS, SNAPSHOTS
from ocore_operator.context import Context
from ocore_operator.entries import snapshots
from ocore_operator.entries.operations import operations
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Environment, Rollback
from ocore_operator.rollback.prediction import (
    LATEST,
    MeasuredRestore,
    PastRollback,
    measured_of,
    past_of,
)
from ocore_operator.rollback.world import PreviewFacts

#: Phases in which the environment is stopped, or about to be. A pod of ours that mounts its claim would delay its
#: start.
SWITCHING = ("Switching", "Resuming", "SwitchingBack")


async def read(ctx: Context, rollback: Rollback, environment: Environment | None) -> PreviewFacts | None:
    """See World.preview; None without dryRun, and once it has ended."""
    if not rollback.spec.dry_run or rollback.status.stage != "Preview" or environment is None:
        return None
    namespace, name = rollback.meta.namespace, environment.meta.name
    running = (e for e in operations(ctx.catalog, namespace, name) if e.key.kind == "Rollback")
    switching = next((e.key.name for e in running if e.phase in SWITCHING), "")
    past, tested = await _past(ctx, namespace, environment), await _tested(ctx, namespace, name)
    return PreviewFacts(switching, past, tested)


async def _past(ctx: Context, namespace: str, environment: Environment) -> tuple[PastRollback, ...]:
    """The newest rollbacks of the Environment that switched, with the sizes of their Snapshots."""
    wanted = environment.status.id
    newest: list[RollbackStatus] = []
    async for page in ctx.kube.pages(ROLLBACKS, namespace):
        of_page = [o for o in page if (o.get("status") or {}).get("environmentId") == wanted]
        statuses = [resources.rollback(obj).status for obj in of_page]
        ended = [s for s in statuses if s.stage == "Ended" and past_of(s, None) is not None]
        newest = sorted([*newest, *ended], key=lambda s: s.ready_at or "", reverse=True)[:LATEST]
    sizes = await asyncio.gather(*(_database_bytes(ctx, namespace, s.snapshot_name, s.snapshot_id) for s in newest))
    found = (past_of(status, size) for status, size in zip(newest, sizes, strict=True))
    return tuple(p for p in found if p is not None)


async def _tested(ctx: Context, namespace: str, environment: str) -> MeasuredRestore | None:
    """The newest test restore of the environment's Snapshots that succeeded. None also where that Snapshot is gone."""
    entries = [
        e
        for e in snapshots.of_environment(ctx.catalog, namespace, environment)
        if e.restore is not None and e.restore.status == "True"
    ]
    newest = max(entries, key=lambda e: e.restore.at if e.restore is not None else "", default=None)
    obj = await ctx.kube.get(SNAPSHOTS, namespace, newest.key.name) if newest is not None else None
    return measured_of(obj["metadata"]["name"], resources.snapshot(obj).status) if obj is not None else None


async def _database_bytes(ctx: Context, namespace: str, name: str | None, id_: str | None) -> int | None:
    obj = await ctx.kube.get(SNAPSHOTS, namespace, name) if name is not None else None
    status = resources.snapshot(obj).status if obj is not None else None
    if status is None or status.id != id_ or status.sizes is None:
        return None
    return status.sizes.database_bytes
