"""Snapshots, as the catalog knows them. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ocore_crds.resources.snapshot import SAFETY_TRIGGER
from ocore_crds.rules.retention import Candidate, Verdict
from ocore_operator.entries.differentials import Pairing
from ocore_operator.entries.operations import OperationEntry
from ocore_operator.entries.signed import Signed
from ocore_operator.kube.catalog import Catalog, Index, Place
from ocore_operator.kube.resources import Key

#: All Snapshots, by namespace and environment.
BY_ENVIRONMENT: Index["SnapshotEntry"] = Index("snapshots")
#: Differentials, by namespace and the id of the full one.
NEEDING: Index["SnapshotEntry"] = Index("needing")
#: Snapshots that a Job identity opens, by namespace and environment.
HOLDING: Index["SnapshotEntry"] = Index("holding")
#: Full Snapshots, by namespace and name of a dependent.
PROTECTING: Index["SnapshotEntry"] = Index("protecting")


@dataclass(frozen=True, slots=True)
class Retention:
    """What the SnapshotPolicy of its environment asks of a Snapshot."""

    by_policy: bool  # spec.retention is Policy
    trigger: str
    pinned: bool
    candidate: Candidate | None  # None: the rules are not about it
    told: Verdict | None  # what its status says; None: nothing yet


@dataclass(frozen=True, slots=True)
class RemoteFacts:
    """The copy of a Snapshot in a remote store, as far as it is wanted or exists."""

    state: str  # of status.remote
    store: str
    requested: str
    local_deleted: bool = False  # the data in the Snapshot's own store is gone
    only: bool = False  # nothing reads the data in the Snapshot's own store any more
    store_id: str = ""  # of a complete copy
    checked: str = ""  # when the copy was complete, or its store was last asked for it
    busy: bool = False  # a check is wanted, or another copy is replaced

    @property
    def lost(self) -> bool:
        """Whether it was the only data, and its store lacks it: it is asked for again from time to time."""
        return self.only and self.state == "Failed"


@dataclass(frozen=True, slots=True)
class RestoreTested:
    """What is known of a Snapshot's test restores."""

    open: bool  # a request waits for its test
    requested: str  # the slot that its policy has requested; empty: none
    answered: tuple[str, ...]
    status: str  # of the condition RestoreTested
    reason: str
    at: str  # when the newest test with a result ended; empty: there was none


@dataclass(frozen=True, slots=True)
class SnapshotEntry(OperationEntry):
    """One Snapshot."""

    KIND: ClassVar[str] = "Snapshot"

    store: str  # that has its data
    stored_bytes: int
    filestore_bytes: int  # of these, of the filestore
    differential: bool  # it needs a full one
    imported: bool  # an import has brought it back
    retention: Retention
    pairing: Pairing
    signed: Signed | None
    verified: str  # status of the condition Verified
    of_corrupt: bool  # it is Corrupt because the full one is that it needs
    verify_full: bool  # it is to be read back
    restore: RestoreTested | None  # of one that was tested, or is to be
    remote: RemoteFacts | None  # None: no copy is wanted yet

    @property
    def good(self) -> bool:
        """Whether it is a state to return to: Complete, and no safety snapshot, which shows what a Rollback
        replaced."""
        return self.phase == "Complete" and not self._safety

    @property
    def _safety(self) -> bool:
        return self.retention.trigger == SAFETY_TRIGGER

    @property
    def proved_at(self) -> str:
        """When the newest test restore of it ended, if that succeeded; empty: none did. That of a safety snapshot says
        nothing of the states to return to."""
        if self.restore is None or self.restore.status != "True" or self._safety:
            return ""
        return self.restore.at

    @property
    def counted_as(self) -> str:
        """One that is damaged in its own store, and restorable from its remote copy, is Complete, and counts as
        Corrupt."""
        return "Corrupt" if self.phase == "Complete" and self.verified == "False" else self.phase

    @property
    def has_data(self) -> bool:
        """Whether its data is in its store."""
        return self.phase in ("Complete", "Corrupt")

    @property
    def data_order(self) -> tuple[str, str]:
        """As age_order, by the data's age: one that was imported is older than its object."""
        return min(self.created, self.started), self.uid

    def times(self) -> Iterator[str]:
        """As all operations, its newest test, and when its copy was requested."""
        yield from OperationEntry.times(self)
        if self.restore is not None and self.restore.at:
            yield self.restore.at
        if self.remote is not None and self.remote.requested:
            yield self.remote.requested

    def indexes(self) -> Iterator[tuple[Index[Any], Place]]:
        """Also by its environment, and by the Snapshots that it needs or that need it."""
        yield from OperationEntry.indexes(self)
        yield BY_ENVIRONMENT, (self.key.namespace, self.environment)
        if self.pairing.needs:
            yield NEEDING, (self.key.namespace, self.pairing.needs)
        if self.pairing.held is not None:
            yield HOLDING, (self.key.namespace, self.environment)
        for name in self.pairing.dependents:
            yield PROTECTING, (self.key.namespace, name)


def of_environment(catalog: Catalog, namespace: str, environment: str) -> list[SnapshotEntry]:
    """All Snapshots of an environment."""
    return catalog.at(BY_ENVIRONMENT, (namespace, environment))


def holding(catalog: Catalog, namespace: str, environment: str) -> list[SnapshotEntry]:
    """The Snapshots of an environment that a Job identity opens."""
    return catalog.at(HOLDING, (namespace, environment))


def all_holding(catalog: Catalog) -> list[SnapshotEntry]:
    """Those of all environments."""
    return [entry for place in catalog.places(HOLDING) for entry in catalog.at(HOLDING, place)]


def needing(catalog: Catalog, namespace: str, full_id: str) -> list[SnapshotEntry]:
    """The Snapshots that need a full one."""
    return catalog.at(NEEDING, (namespace, full_id))


def protecting(catalog: Catalog, namespace: str, dependent: str) -> list[SnapshotEntry]:
    """The full Snapshots in which this name is entered."""
    return catalog.at(PROTECTING, (namespace, dependent))


def needed(catalog: Catalog) -> dict[Key, SnapshotEntry]:
    """The Snapshots that others need, or in which others are entered."""
    found = {e.key: e for place in catalog.places(PROTECTING) for e in catalog.at(PROTECTING, place)}
    named = (catalog.of_id(SnapshotEntry, namespace, id_) for namespace, id_ in catalog.places(NEEDING))
    return found | {full.key: full for full in named if full is not None}
