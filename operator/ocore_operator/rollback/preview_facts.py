"""Reads what only a preview needs: how long earlier rollbacks and the newest test restore took, and whether a rollback
is switching the environment now."""

import asyncio

from ocore_crds.protocol import Step
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.text import quantity
from ocore_kube.types import ROLLBACKS, SNAPSHOTS
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.entries import snapshots
from ocore_operator.entries.operations import operations
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Environment, Rollback, Snapshot
from ocore_operator.rollback.prediction import (
    LATEST,
    MeasuredRestore,
    PastRollback,
    SnapshotRates,
    measured_of,
    past_of,
)
from ocore_operator.rollback.world import PreviewFacts

#: Phases in which the environment is stopped, or about to be. A pod of ours that mounts its claim would delay its
#: start.
SWITCHING = ("Switching", "Resuming", "SwitchingBack")


async def read(
    ctx: Context, rollback: Rollback, environment: Environment | None, snapshot: Snapshot | None
) -> PreviewFacts | None:
    """See World.preview; None without dryRun, and once it has ended."""
    if not rollback.spec.dry_run or rollback.status.stage != "Preview" or environment is None:
        return None
    namespace, name = rollback.meta.namespace, environment.meta.name
    running = (e for e in operations(ctx.catalog, namespace, name) if e.key.kind == "Rollback")
    switching = next((e.key.name for e in running if e.phase in SWITCHING), "")
    probe, scratch = environment.status.probe, environment.spec.scratch
    sizes = snapshot.status.sizes if snapshot is not None else None
    return PreviewFacts(
        switching=switching,
        consistent_at=(snapshot.status.consistent_at or "") if snapshot is not None else "",
        server_version_then=(snapshot.status.server_version or "") if snapshot is not None else "",
        server_version_now=probe.server_version if probe is not None else "",
        restore_bytes=sizes.database_restore_bytes if sizes is not None else 0,
        scratch_bytes=quantity.parse(scratch.size),
        rates=rates_of(snapshot.status) if snapshot is not None else SnapshotRates(),
        past=await _past(ctx, namespace, environment),
        tested=await _tested(ctx, namespace, name),
    )


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


def rates_of(status: SnapshotStatus) -> SnapshotRates:
    """What the Snapshot recorded about itself. Pure."""
    sizes = status.sizes
    return SnapshotRates(
        database_bytes=sizes.database_bytes if sizes is not None else 0,
        dump_seconds=_seconds(status, Step.DUMP_DATABASE),
        filestore_bytes=sizes.filestore_bytes if sizes is not None else 0,
        copy_seconds=_seconds(status, Step.COPY_FILESTORE),
    )


def _seconds(status: SnapshotStatus, step: Step) -> float | None:
    found = next((s for s in status.steps if s.name == step and s.state == "Done"), None)
    if found is None or found.started_at is None or found.completed_at is None:
        return None
    return clock.seconds_since(found.started_at, clock.parse(found.completed_at))
