"""The kinds that are worked on: one row for each, read by the queue, by the resync and by the watches."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ocore_operator.context import Context
from ocore_operator.kube import client
from ocore_operator.kube.resources import Key, Object
from ocore_operator.readiness import environment, snapshotstore
from ocore_operator.rollback import reconcile as rollback
from ocore_operator.snapshot import reconcile as snapshot


def never(_: Object) -> bool:
    """Objects of this kind are never at their end."""
    return False


@dataclass(frozen=True)
class Reconciler:
    """How a kind is worked on."""

    type: client.Type
    #: One look; answers the seconds until the next one.
    reconcile: Callable[[Context, Key], Awaitable[float | None]]
    #: Whether an object needs no look at all, by its raw JSON: the resync asks this of thousands.
    settled: Callable[[Object], bool] = never


RECONCILERS: dict[str, Reconciler] = {
    "SnapshotStore": Reconciler(client.STORES, snapshotstore.reconcile),
    "Environment": Reconciler(client.ENVIRONMENTS, environment.reconcile),
    "Snapshot": Reconciler(client.SNAPSHOTS, snapshot.reconcile, snapshot.settled),
    "Rollback": Reconciler(client.ROLLBACKS, rollback.reconcile, rollback.settled),
}
