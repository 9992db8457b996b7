"""The other operations of a namespace that may stop workloads."""

import asyncio

from ocore_kube.types import ROLLBACKS, SNAPSHOTS
from ocore_operator.context import Context
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Rollback, Snapshot


async def others(ctx: Context, namespace: str, uid: str) -> list[Rollback | Snapshot]:
    """All Rollbacks and Snapshots but the one with this uid, from the API server: the catalog may be a moment old."""
    rollbacks, snapshots = await asyncio.gather(
        ctx.kube.list(ROLLBACKS, namespace, keep=lambda o: o["metadata"]["uid"] != uid),
        # A namespace may have thousands of Snapshots, and only those that quiesce matter.
        ctx.kube.list(
            SNAPSHOTS, namespace, keep=lambda o: "quiesce" in o.get("status", {}) and o["metadata"]["uid"] != uid
        ),
    )
    return [*map(resources.rollback, rollbacks), *map(resources.snapshot, snapshots)]
