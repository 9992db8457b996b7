"""SnapshotStores, as the catalog knows them. Pure."""

from dataclasses import dataclass
from typing import ClassVar

from ocore_operator.kube.catalog import Entry


@dataclass(frozen=True, slots=True)
class StoreEntry(Entry):
    """One SnapshotStore."""

    KIND: ClassVar[str] = "SnapshotStore"

    ready: str  # status of the condition Ready
    ready_reason: str
    store_id: str  # empty before its first probe
    orphans: tuple[int, int] | None  # objects and their bytes; None: it was not swept
    skipped: int  # what its last import could not bring back
