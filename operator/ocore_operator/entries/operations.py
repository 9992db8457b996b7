"""Operations, the objects that lock their Environment: Snapshots, Rollbacks and Extracts. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from ocore_crds.resources.environment import Operation
from ocore_operator.kube.catalog import Catalog, Entry, Index, Place
from ocore_operator.kube.resources import Key

#: The kinds of operations.
KINDS: tuple[str, ...] = get_args(Operation.model_fields["kind"].annotation)
#: Operations that are not terminal, by namespace and environment; "": it is unknown.
OPEN: Index["OperationEntry"] = Index("open operations")


@dataclass(frozen=True, slots=True)
class OperationEntry(Entry):
    """What the entries of operations have in common."""

    began: bool  # it has left the queue
    started: str  # status.startedAt, else the creation
    waits_for_lock: bool
    environment: str  # of a Snapshot, and of a Rollback once it is known
    completed: str

    @property
    def precedence(self) -> tuple[bool, bool, str, tuple[str, str]]:
        """As all entries; one that has begun, or has started first, goes before."""
        return self.refused, not self.began, self.started, self.age_order

    @property
    def locks(self) -> bool:
        """Whether it is an operation on its environment, which others wait for."""
        return True

    @property
    def follows(self) -> Key | None:
        """The operation whose Environment is its own until its status names one; None: there is none."""
        return None

    def times(self) -> Iterator[str]:
        """As all entries, and when it started and ended."""
        yield from (self.created, self.started)
        if self.completed:
            yield self.completed

    def indexes(self) -> Iterator[tuple[Index[Any], Place]]:
        """Where it is found while it runs or waits."""
        if self.locks and not self.terminal:
            yield OPEN, (self.key.namespace, self.environment)


def environment_of(catalog: Catalog, entry: OperationEntry) -> str:
    """Name of the Environment of an operation; empty where it is unknown."""
    if entry.environment or entry.follows is None:
        return entry.environment
    other = catalog.get(entry.follows)
    return other.environment if isinstance(other, OperationEntry) else ""


def operations(catalog: Catalog, namespace: str, environment: str) -> list[OperationEntry]:
    """Operations of an environment that are not terminal, oldest first."""
    named = catalog.at(OPEN, (namespace, environment))
    unnamed = catalog.at(OPEN, (namespace, "")) if environment else ()
    found = [*named, *(e for e in unnamed if environment_of(catalog, e) == environment)]
    return sorted((e for e in found if not e.deleting), key=lambda e: e.age_order)


def rollback_near(operation: Operation | None, running: Iterable[Entry]) -> bool:
    """Whether a Rollback has the Environment's lock or waits for it: a proof or a test restore must not run beside it.
    Pure."""
    return (operation is not None and operation.kind == "Rollback") or any(o.key.kind == "Rollback" for o in running)
