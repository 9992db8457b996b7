"""The other operations of a namespace that may stop workloads."""

import asyncio

from ocore_operator.context import Context
from ocore_operator.kube import resources
from ocore_operator.kube.client import ROLLBACKS, SNAPSHOTS
from ocore_operator.kube.resources import Rollback, Snapshot


async def others(ctx: Context, namespace: str, uid: str) -> list[Rollback | Snapshot]:
    """All Rollbacks and Snapshots but the one with this uid, from the API server: the catalog may be a moment old."""
    rollbacks, snapshots = await asyncio.gather(
        ctx.kube.list(ROLLBACKS, namespace), ctx.kube.list(SNAPSHOTS, namespace)
    )
    found: list[Rollback | Snapshot] = [resources.rollback(obj) for obj in rollbacks if obj["metadata"]["uid"] != uid]
    # A namespace may have thousands of Snapshots, and only those that quiesce matter.
    quiescing = [o for o in snapshots if "quiesce" in o.get("status", {}) and o["metadata"]["uid"] != uid]
    return found + [resources.snapshot(obj) for obj in quiescing]
