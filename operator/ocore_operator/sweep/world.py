"""What the decisions of a sweep depend on, and its actions. Only values."""

from dataclasses import dataclass
from datetime import datetime

from ocore_crds.resources.snapshotstore import SnapshotStoreStatus
from ocore_operator.errors import Outcome
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube.resources import Store


@dataclass(frozen=True)
class World:
    """What a sweep, or a removal of orphans, depends on."""

    store: Store
    now: datetime
    #: The store's Jobs; none where no Job is wanted.
    seen: Observation
    #: Seconds between two sweeps; 0: only when asked.
    interval: float
    #: Complete Snapshots, of all watched namespaces, whose data is in this store. Counted where a sweep has ended.
    claimed: int = 0
    #: Why the Job cannot be created.
    refusal: Outcome | None = None


# --- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StartSweep:
    """Creates the Job that finds orphans."""

    attempt: str


@dataclass(frozen=True)
class StartRemoval:
    """Creates the Job that removes the orphans of a report."""

    report: str
    attempt: str


Action = Idle[SnapshotStoreStatus] | Record[SnapshotStoreStatus] | StartSweep | StartRemoval
