"""The kinds that are worked on: one row for each, read by the queue, by the resync and by the watches."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from . import environment, kube, rollback, snapshot, snapshotstore
from .context import Context
from .resources import Key, Object


def never(_: Object) -> bool:
    """Objects of this kind are never at their end."""
    return False


@dataclass(frozen=True)
class Reconciler:
    """How a kind is worked on."""

    type: kube.Type
    #: One look; answers the seconds until the next one.
    reconcile: Callable[[Context, Key], Awaitable[float | None]]
    #: Whether an object needs no look at all, by its raw JSON: the resync asks this of thousands.
    settled: Callable[[Object], bool] = never


RECONCILERS: dict[str, Reconciler] = {
    "SnapshotStore": Reconciler(kube.STORES, snapshotstore.reconcile),
    "Environment": Reconciler(kube.ENVIRONMENTS, environment.reconcile),
    "Snapshot": Reconciler(kube.SNAPSHOTS, snapshot.reconcile, snapshot.settled),
    "Rollback": Reconciler(kube.ROLLBACKS, rollback.reconcile, rollback.settled),
}
