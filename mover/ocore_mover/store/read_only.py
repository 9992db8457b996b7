"""A store that is never written: whatever its keys allow."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.manifest import StoredObject
from ocore_crds.protocol import KeptVersions
from ocore_mover.errors import StoreError
from ocore_mover.store.base import Guarantees, ObjectInfo, Store, Writer


class ReadOnlyStore:
    """Implements :class:`~ocore_mover.store.base.Store` over another store. Everything that writes or deletes raises StoreError StoreReadOnly."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def local_root(self) -> Path | None:
        return self._store.local_root

    @property
    def encrypted(self) -> bool:
        return self._store.encrypted

    def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
        return self._store.get(key, limit=limit)

    def read(self, obj: StoredObject) -> Iterator[bytes]:
        return self._store.read(obj)

    def read_range(self, obj: StoredObject, start: int, length: int) -> Iterator[bytes]:
        return self._store.read_range(obj, start, length)

    def head(self, key: str) -> ObjectInfo | None:
        return self._store.head(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._store.list(prefix)

    def writer(self, key: str) -> Writer:
        raise self._refused(f"write {key}")

    def adopt(self, key: str, expected: StoredObject) -> StoredObject:
        raise self._refused(f"write {key}")

    def put_if_absent(self, key: str, data: bytes) -> bool:
        raise self._refused(f"write {key}")

    def delete(self, keys: Iterable[str]) -> int:
        raise self._refused("delete objects")

    def abort_uploads(self, prefix: str, *, spare: str = "") -> int:
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
