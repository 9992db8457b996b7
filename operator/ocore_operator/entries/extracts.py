"""Extracts, as the catalog knows them. Pure."""

from dataclasses import dataclass
from typing import ClassVar

from ocore_operator.entries.operations import OperationEntry
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Key


@dataclass(frozen=True, slots=True)
class ExtractEntry(OperationEntry):
    """One Extract."""

    KIND: ClassVar[str] = "Extract"

    snapshot: str  # that it reads
    live: bool  # it changes something live, and locks its environment

    @property
    def locks(self) -> bool:
        """One into the store changes nothing of the environment: no operation waits for it."""
        return self.live

    @property
    def follows(self) -> Key | None:
        """Its environment is that of the Snapshot."""
        return Key(SnapshotEntry.KIND, self.key.namespace, self.snapshot)


def reading(catalog: Catalog, namespace: str, snapshot: str) -> list[ExtractEntry]:
    """The Extracts that read this Snapshot and are not terminal."""
    found = (e for e in catalog.busy() if isinstance(e, ExtractEntry) and not e.terminal)
    return [e for e in found if (e.key.namespace, e.snapshot) == (namespace, snapshot)]
