"""What the decisions about an Environment and a SnapshotStore depend on, and the actions. Only values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, TypeVar

from ocore_crds.model import Model
from ocore_crds.protocol import Failure
from ocore_crds.resources.environment import EnvironmentSpec, EnvironmentStatus
from ocore_crds.resources.snapshotstore import SnapshotStoreSpec, SnapshotStoreStatus
from ocore_operator.entries.environments import EnvironmentEntry
from ocore_operator.entries.operations import OperationEntry
from ocore_operator.entries.stores import StoreEntry
from ocore_operator.errors import Outcome
from ocore_operator.frame.actions import Idle, Record, StopJob
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube.resources import Environment, Resource
from ocore_operator.probe_requests import OtherProbe
from ocore_operator.settings import Settings
from ocore_operator.summarize import Stamp

SpecT = TypeVar("SpecT", bound=Model)
StatusT = TypeVar("StatusT", EnvironmentStatus, SnapshotStoreStatus)

#: Jobs of an Environment and of a SnapshotStore.
Command = Literal["probe", "measure", "prove", "probe-store"]


@dataclass(frozen=True)
class World(Generic[SpecT, StatusT]):
    """What both kinds depend on."""

    obj: Resource[SpecT, StatusT]
    now: datetime
    settings: Settings
    #: What its Jobs need; else why they cannot run: something is missing, or another object has the id.
    needs: JobInputs | Outcome
    #: Its Jobs; none where the next action depends on none.
    seen: Observation
    #: Since when a probe is requested (RFC 3339); empty: none is.
    requested: str = ""
    #: Since when what the last probe found is out of date (RFC 3339); empty: it is not.
    outdated: str = ""
    #: Operations that wait for it.
    operations: tuple[OperationEntry, ...] = ()
    #: Why a Job could not be created in this reconcile.
    refused: Mapping[Command, Outcome] = field(default_factory=dict)

    @property
    def stamp(self) -> Stamp:
        """For what is written now."""
        return Stamp.of(self.obj.meta, self.now)


@dataclass(frozen=True)
class EnvironmentWorld(World[EnvironmentSpec, EnvironmentStatus]):
    """Of an Environment."""

    #: Of the SnapshotStores that it names, those that are known, by name.
    stores: Mapping[str, StoreEntry] = field(default_factory=dict)
    #: All Environments that are known.
    environments: tuple[EnvironmentEntry, ...] = ()
    #: The operation lock has a holder that is gone or has ended. Nothing else is read then.
    stale_lock: bool = False
    #: Why no rollback may stop its workloads: data would be deleted.
    loses: Failure | None = None
    #: The last probe that the Job of a Rollback has made; None where there was none.
    other_probe: OtherProbe | None = None

    @property
    def environment(self) -> Environment:
        """With what was read of the database's Cluster."""
        needs = self.needs
        return needs.environment if isinstance(needs, JobInputs) and needs.environment is not None else self.obj


StoreWorld = World[SnapshotStoreSpec, SnapshotStoreStatus]

# --- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReleaseLock:
    """Releases an operation lock whose holder is gone or has ended."""


@dataclass(frozen=True)
class Start(Generic[StatusT]):
    """Creates a Job."""

    command: Command
    attempt: str
    inputs: JobInputs
    #: Of those that wait for a slot, the one that has waited longest goes first (RFC 3339).
    since: str
    then: Idle[StatusT]
    #: A Rollback or a person waits for it.
    asked: bool = False


Step = Idle[StatusT] | Record[StatusT] | Start[StatusT] | StopJob
EnvironmentAction = ReleaseLock | Step[EnvironmentStatus]
StoreAction = Idle[SnapshotStoreStatus] | Record[SnapshotStoreStatus] | Start[SnapshotStoreStatus]
