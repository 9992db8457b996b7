"""A store over another store: what its subclasses do not change."""

from collections.abc import Iterator
from pathlib import Path

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.store.interface import ObjectInfo, Store, Upload, Version
from ocore_mover.store.retries import Patience


class WrappedStore(Store):
    """Passes on what reads; :meth:`_before_read` may refuse it. Whole objects are read by :meth:`read_range`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def local_root(self) -> Path | None:
        return self._store.local_root

    def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
        self._before_read()
        return self._store.get(key, limit=limit)

    def read_range(self, obj: StoredObject, start: int, length: int, version: Version | None = None) -> Iterator[bytes]:
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

    def uploads(self, prefix: str) -> Iterator[Upload]:
        self._before_read()
        return self._store.uploads(prefix)

    def _before_read(self) -> None:
        """Called before each read, and after each chunk of an object."""
