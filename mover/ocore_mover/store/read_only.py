"""A store that is never written: whatever its keys allow."""

from collections.abc import Iterable

from ocore_crds import conditions
from ocore_crds.reports.kept_versions import KeptVersions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import StoreError
from ocore_mover.store.interface import Guarantees, Upload, Writer
from ocore_mover.store.retries import Patience
from ocore_mover.store.wrapper import WrappedStore


class ReadOnlyStore(WrappedStore):
    """A store over another store. Everything that writes or deletes raises StoreError StoreReadOnly."""

    def writer(self, key: str, *, patience: Patience | None = None) -> Writer:
        raise self._refused(f"write {key}")

    def adopt(self, key: str, expected: StoredObject) -> StoredObject:
        raise self._refused(f"write {key}")

    def put_if_absent(self, key: str, data: bytes) -> bool:
        raise self._refused(f"write {key}")

    def delete(self, keys: Iterable[str]) -> int:
        raise self._refused("delete objects")

    def discard(self, upload: Upload) -> bool:
        raise self._refused("abort uploads")

    def purge(self, prefix: str) -> KeptVersions | None:
        raise self._refused("delete versions")

    def guarantees(self, key: str) -> Guarantees:
        raise self._refused(f"write {key}")

    def _refused(self, doing: str) -> StoreError:
        return StoreError(
            conditions.STORE_READ_ONLY,
            f"cannot {doing} in {self.url}: the SnapshotStore has access ReadOnly. Use one with access ReadWrite.",
        )
