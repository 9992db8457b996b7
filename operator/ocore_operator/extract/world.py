"""What the decisions of an Extract depend on, and its actions. Only values."""

from dataclasses import dataclass
from datetime import datetime

from ocore_crds import naming
from ocore_crds.resources.extract import ExtractStatus
from ocore_operator.errors import Outcome
from ocore_operator.frame.actions import Idle, Record, SetFinalizer, SetLock, StartJob, StopJob, Wait
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube.resources import Environment, Extract, Snapshot, Store
from ocore_operator.sources import Source


@dataclass(frozen=True)
class World:
    """What is known."""

    extract: Extract
    now: datetime
    #: Its Jobs; none where no Job is wanted.
    seen: Observation
    snapshot: Snapshot | None = None
    environment: Environment | None = None
    #: Paths of other Environments' filestores on the same claim.
    neighbours: tuple[str, ...] = ()
    #: The store that is read.
    store: Store | None = None
    #: Before the start: where the Snapshot is read from.
    source: Source | None = None
    #: Whether the namespace is being deleted: no Job can be created in it.
    terminating: bool = False
    #: Whether a Rollback of the Environment runs or waits: tables are not loaded beside it.
    rollback_near: bool = False
    #: Whether it has the operation lock.
    locked: bool = False
    #: Why the last action could not be carried out.
    refusal: Outcome | None = None

    @property
    def remembered(self) -> bool:
        """Whether its Jobs come from the last lists."""
        return self.seen.remembered

    @property
    def finalizer(self) -> bool:
        """Whether the Extract has ours."""
        return naming.FINALIZER_EXTRACT in self.extract.meta.finalizers

    @property
    def deleting(self) -> bool:
        """Whether the Extract is being deleted."""
        return self.extract.meta.deleted is not None

    @property
    def of_tables(self) -> bool:
        """Whether it loads tables on the Environment's server."""
        return self.extract.spec.tables is not None

    @property
    def into_database(self) -> bool:
        """Whether its result goes into the live database."""
        return self.extract.spec.target.database is not None

    @property
    def locks(self) -> bool:
        """Whether it changes something live, under the operation lock."""
        return self.into_claim or self.into_database

    @property
    def into_claim(self) -> bool:
        """Whether its result goes onto the claim."""
        return self.extract.spec.target.claim is not None


Action = Idle[ExtractStatus] | Wait | Record[ExtractStatus] | SetFinalizer | SetLock | StopJob | StartJob
