"""What the decisions of an import depend on, and its actions. Only values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ocore_crds.reports.stored_contents import ManifestsResult
from ocore_crds.resources.snapshotstore import ImportStatus, SnapshotStoreStatus
from ocore_operator.errors import Outcome
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.imports.rules import Place
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube.resources import Store


@dataclass(frozen=True)
class World:
    """What an import depends on."""

    store: Store
    now: datetime
    #: The store's Jobs; none where no Job is wanted.
    seen: Observation
    #: The Environments of the namespace by id, without those that have the id of another one.
    places: Mapping[str, Place]
    #: Why the Job of the page cannot be created.
    refusal: Outcome | None = None


# --- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StartPage:
    """Creates the Job that lists a page of the store's manifests."""

    running: ImportStatus
    attempt: str


@dataclass(frozen=True)
class CreatePage:
    """Creates the Snapshots and Rollbacks of a page that a Job has listed."""

    running: ImportStatus
    result: ManifestsResult
    job: str


@dataclass(frozen=True)
class TakeOver:
    """Gives the imported Snapshots what the store has for them."""

    done: ImportStatus


Action = Idle[SnapshotStoreStatus] | Record[SnapshotStoreStatus] | StartPage | CreatePage | TakeOver
