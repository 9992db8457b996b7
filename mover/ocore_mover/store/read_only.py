"""A store that is never written: whatever its keys allow."""

from ocore_crds import conditions
from ocore_mover.errors import StoreError
from ocore_mover.store.wrapper import WrappedStore


class ReadOnlyStore(WrappedStore):
    """A store over another store. Everything that writes or deletes raises StoreError StoreReadOnly."""

    def _before_write(self, doing: str) -> None:
        raise StoreError(
            conditions.STORE_READ_ONLY,
            f"cannot {doing} in {self.url}: the SnapshotStore has access ReadOnly. Use one with access ReadWrite.",
        )

    def _before_delete(self, doing: str) -> None:
        self._before_write(doing)
