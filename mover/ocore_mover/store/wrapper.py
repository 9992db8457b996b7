"""A store over another store: what its subclasses do not change."""

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from ocore_crds.reports.kept_versions import KeptVersions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.store.interface import Guarantees, ObjectInfo, Store, Upload, Writer
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.retries import Patience


class WrappedStore(Store):
    """Passes everything on, unless one of the methods `_before_…` refuses it. Whole objects are read by
    :meth:`read_range`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def local_root(self) -> Path | None:
        return self._store.local_root

    def writer(self, key: str, *, patience: Patience | None = None) -> Writer:
        self._before_write(f"write {key}")
        return self._store.writer(key, patience=patience)

    def adopt(self, key: str, expected: StoredObject) -> StoredObject:
        self._before_write(f"write {key}")
        return self._store.adopt(key, expected)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self._before_write(f"write {key}")
        return self._store.put_if_absent(key, data)

    def guarantees(self, key: str) -> Guarantees:
        self._before_write(f"write {key}")
        return self._store.guarantees(key)

    def lock(self, keys: Collection[str]) -> None:
        self._before_write("lock objects")
        self._store.lock(keys)

    def renew(self, keys: Collection[str]) -> int:
        self._before_write("lock objects")
        return self._store.renew(keys)

    def check_lock(self, key: str) -> tuple[str, ...]:
        self._before_write(f"write {key}")
        return self._store.check_lock(key)

    def delete(self, keys: Iterable[str]) -> int:
        self._before_delete("delete objects")
        return self._store.delete(keys)

    def discard(self, upload: Upload) -> bool:
        self._before_delete("abort uploads")
        return self._store.discard(upload)

    def purge(self, prefix: str) -> KeptVersions | None:
        self._before_delete("delete versions")
        return self._store.purge(prefix)

    def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
        self._before_read()
        return self._store.get(key, limit=limit)

    def older(
        self, key: str, matches: Callable[[bytes], bool], *, limit: int, oldest_first: bool = False
    ) -> bytes | None:
        self._before_read()
        return self._store.older(key, matches, limit=limit, oldest_first=oldest_first)

    def recover(self, prefix: str, objects: Collection[StoredObject]) -> tuple[str, ...]:
        self._before_read()
        return self._store.recover(prefix, objects)

    def read_range(self, obj: StoredObject, start: int, length: int, version: Pinned | None = None) -> Iterator[bytes]:
        for chunk in self._store.read_range(obj, start, length, version):
            self._before_read()
            yield chunk

    def head(self, key: str) -> ObjectInfo | None:
        self._before_read()
        return self._store.head(key)

    def digest(self, key: str) -> str | None:
        self._before_read()
        return self._store.digest(key)

    def list(self, prefix: str, *, patience: Patience | None = None) -> Iterator[ObjectInfo]:
        self._before_read()
        return self._store.list(prefix, patience=patience)

    def folders(self, prefix: str, *, patience: Patience | None = None) -> Iterator[str]:
        for name in self._store.folders(prefix, patience=patience):
            self._before_read()
            yield name

    def all_folders(self, prefix: str) -> Iterator[str]:
        for name in self._store.all_folders(prefix):
            self._before_read()
            yield name

    def uploads(self, prefix: str) -> Iterator[Upload]:
        self._before_read()
        return self._store.uploads(prefix)

    def _before_read(self) -> None:
        """Called before each read, and after each chunk of an object."""

    def _before_write(self, doing: str) -> None:
        """Called before each write. `doing`: for messages."""

    def _before_delete(self, doing: str) -> None:
        """As :meth:`_before_write`, before each deletion."""
