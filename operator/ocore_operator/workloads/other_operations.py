"""The other operations of a namespace that may stop workloads."""

import asyncio

from ocore_kube.types import ROLLBACKS, SNAPSHOTS
from ocore_operator.context import Context
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object, Rollback, Snapshot


async def others(ctx: Context, namespace: str, uid: str) -> list[Rollback | Snapshot]:
    """The Rollbacks and Snapshots that may stop workloads, but the one with this uid, from the API server: the catalog
    may be a moment old."""
    rollbacks, snapshots = await asyncio.gather(
        # A namespace may have thousands of each, and only those that have announced what they stop matter.
        ctx.kube.list(
            ROLLBACKS,
            namespace,
            keep=lambda o: _may_stop(o.get("status") or {}, "Ended") and o["metadata"]["uid"] != uid,
        ),
        ctx.kube.list(
            SNAPSHOTS,
            namespace,
            keep=lambda o: (
                _may_stop((o.get("status") or {}).get("quiesce") or {}, "Done") and o["metadata"]["uid"] != uid
            ),
        ),
    )
    return [*map(resources.rollback, rollbacks), *map(resources.snapshot, snapshots)]


def _may_stop(announced: Object, last: str) -> bool:
    """Whether workloads are announced and the stage is not the last one."""
    return bool(announced.get("workloads")) and announced.get("stage") != last
