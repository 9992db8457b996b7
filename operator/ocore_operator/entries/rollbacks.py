"""Rollbacks, as the catalog knows them. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ocore_crds.rules.history import Finished
from ocore_crds.rules.retention import Safety
from ocore_operator.entries.operations import OperationEntry
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.kube.catalog import Catalog, Index, Place
from ocore_operator.kube.resources import Key

#: Terminal Rollbacks whose cleanup remains, by namespace and environment.
CLEANUPS: Index["RollbackEntry"] = Index("cleanups")
#: Terminal Rollbacks, by namespace and environment.
FINISHED: Index["RollbackEntry"] = Index("finished")


@dataclass(frozen=True, slots=True)
class RollbackEntry(OperationEntry):
    """One Rollback."""

    KIND: ClassVar[str] = "Rollback"

    snapshot: str  # that it names, in its own namespace
    restores: Place | None  # namespace and name of the Snapshot that it uses; None: none, or it may not
    safety: Safety | None  # the safety snapshot that it protects
    preview: bool  # dryRun: it is no operation on its environment
    undoes: str  # the Rollback that an undo names
    cleanup_due: str  # when the cleanup of a terminal one may begin; empty: none remains
    finished: Finished | None  # of a terminal one: its place in the history

    @property
    def locks(self) -> bool:
        """A preview changes nothing: no operation waits for it."""
        return not self.preview

    @property
    def follows(self) -> Key | None:
        """The Rollback that it undoes, or the Snapshot that it names."""
        if self.undoes:
            return Key(RollbackEntry.KIND, self.key.namespace, self.undoes)
        return Key(SnapshotEntry.KIND, self.key.namespace, self.snapshot) if self.snapshot else None

    def times(self) -> Iterator[str]:
        """As all operations, those of the cleanup and of the undo window."""
        yield from OperationEntry.times(self)
        if self.cleanup_due:
            yield self.cleanup_due
        if self.finished is not None:
            yield from (time for time in (self.finished.time, self.finished.undo_until) if time)

    def indexes(self) -> Iterator[tuple[Index[Any], Place]]:
        """Also by what remains after its end."""
        yield from OperationEntry.indexes(self)
        place = (self.key.namespace, self.environment)
        if self.cleanup_due:
            yield CLEANUPS, place
        if self.finished is not None:
            yield FINISHED, place


def _running(catalog: Catalog) -> Iterator[RollbackEntry]:
    return (e for e in catalog.busy() if isinstance(e, RollbackEntry) and not e.terminal)


def restored(catalog: Catalog, namespace: str) -> Iterator[str]:
    """Names of the namespace's Snapshots that Rollbacks of any namespace use which are not terminal."""
    used = (e.restores for e in _running(catalog) if e.restores is not None)
    return (name for where, name in used if where == namespace)


def users(catalog: Catalog, namespace: str, snapshot: str) -> Iterator[RollbackEntry]:
    """The Rollbacks of any namespace that use this Snapshot and are not terminal."""
    return (e for e in _running(catalog) if e.restores == (namespace, snapshot))


def safeties(catalog: Catalog, namespace: str) -> Iterator[Safety]:
    """The safety snapshots that Rollbacks protect. A Rollback whose undo window is open is not idle."""
    found = (e for e in catalog.busy() if isinstance(e, RollbackEntry) and e.key.namespace == namespace)
    return (e.safety for e in found if e.safety is not None)


def finished(catalog: Catalog, namespace: str, environment: str) -> Iterator[Finished]:
    """The terminal Rollbacks of an environment: their places in the history."""
    return (e.finished for e in catalog.at(FINISHED, (namespace, environment)) if e.finished is not None)


def cleanups(catalog: Catalog, namespace: str, environment: str) -> list[RollbackEntry]:
    """Terminal Rollbacks of an environment whose cleanup remains, due or not; oldest first."""
    return sorted(catalog.at(CLEANUPS, (namespace, environment)), key=lambda e: e.age_order)
