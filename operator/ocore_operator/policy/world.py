"""What the plan of a SnapshotPolicy sees, and the actions that it may choose. Frozen values without I/O."""

from dataclasses import dataclass
from datetime import datetime

from ocore_crds.resources.environment import PinCount
from ocore_crds.resources.restore_test import RestoreTestRequest
from ocore_crds.resources.snapshotpolicy import SnapshotPolicySpec, SnapshotPolicyStatus
from ocore_crds.rules.history import Finished
from ocore_crds.rules.retention import Safety, Verdict
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.kube.resources import Key, Policy


@dataclass(frozen=True)
class World:
    """All that a decision depends on. The Snapshots are those of the catalog: what is deleted is read again before."""

    key: Key
    #: None: the environment has no policy. Its Snapshots are kept by the defaults.
    policy: Policy | None
    #: The Environment's id; None: it does not exist.
    environment_id: str | None
    #: What the Environment's status says about pins.
    pins: PinCount | None
    snapshots: tuple[SnapshotEntry, ...]
    #: Names of Snapshots that a Rollback which is not terminal uses.
    used: frozenset[str]
    #: Safety snapshots that Rollbacks protect.
    safeties: tuple[Safety, ...]
    #: The terminal Rollbacks of the environment, and how many of them stay; 0: all.
    rollbacks: tuple[Finished, ...]
    history_limit: int
    now: datetime
    #: SnapshotStore that the Environment names for copies; empty: none.
    remote_store: str = ""
    #: Its id, where it is ready.
    remote_store_id: str = ""

    @property
    def spec(self) -> SnapshotPolicySpec:
        """The policy's, or the defaults."""
        if self.policy is not None:
            return self.policy.spec
        return SnapshotPolicySpec.model_validate({"environmentRef": {"name": self.key.name}})


# --- actions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Create:
    """Create the Snapshot of a slot. Nothing happens where it exists. `status`: what is recorded then."""

    name: str
    status: SnapshotPolicyStatus


@dataclass(frozen=True)
class RequestTest:
    """Enter in a Snapshot's status the slot for which it is to be tested. Nothing happens where it says so already."""

    key: Key
    request: RestoreTestRequest


@dataclass(frozen=True)
class Explain:
    """Write into the status of Snapshots by which rules they are kept."""

    verdicts: tuple[tuple[Key, Verdict], ...]


@dataclass(frozen=True)
class Delete:
    """Delete Snapshots that no rule keeps, unless they or what protects the others has changed. `stay`: a Snapshot that
    must still be Complete and not be deleted; None: only failed ones are deleted."""

    keys: tuple[Key, ...]
    stay: Key | None


@dataclass(frozen=True)
class CountPins:
    """Write the pins of an environment without a policy into the Environment's status, where admission reads them.
    None: the field goes."""

    pins: PinCount | None


@dataclass(frozen=True)
class RequestCopies:
    """Have these Snapshots copied to the Environment's remote store, unless they have changed."""

    keys: tuple[Key, ...]
    store: str


@dataclass(frozen=True)
class CheckCopies:
    """Have the remote store asked whether it still has the copies of these Snapshots, unless they have changed."""

    keys: tuple[Key, ...]


@dataclass(frozen=True)
class DeleteRollbacks:
    """Delete finished Rollbacks beyond the history limit, unless they have changed."""

    keys: tuple[Key, ...]


Action = (
    Record[SnapshotPolicyStatus]
    | Idle[SnapshotPolicyStatus]
    | Create
    | RequestTest
    | CountPins
    | Explain
    | Delete
    | RequestCopies
    | CheckCopies
    | DeleteRollbacks
)
