"""A store in memory, which only the tests have: a third kind, for what a new one has to do."""

import hashlib
import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from ocore_crds import conditions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.chunks import READ_CHUNK
from ocore_mover.errors import Corrupt, StoreError
from ocore_mover.store.interface import Guarantees, ObjectInfo, Store, Upload
from ocore_mover.store.keys import checked
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.retries import Patience


class MemoryStore(Store):
    """Objects in a dictionary."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self.objects: dict[str, tuple[bytes, float]] = {}  # content and time of each
        self.begun: dict[str, Upload] = {}  # by their ids

    @property
    def url(self) -> str:
        return self._url

    def writer(self, key: str, *, patience: Patience | None = None) -> "MemoryWriter":
        return MemoryWriter(self, checked(key), str(next(self._numbers)))

    def put(self, key: str, data: bytes, *, replace: bool) -> bool:
        with self._lock:
            if not replace and key in self.objects:
                return False
            self.objects[key] = data, time.time()
        return True

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self.put(checked(key), data, replace=False)

    def guarantees(self, key: str) -> Guarantees:
        self.put_if_absent(key, b"probe")
        conditional = not self.put_if_absent(key, b"another")
        self.delete([key])
        return Guarantees("Server", conditional)

    def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
        data, _ = self.objects.get(checked(key), (None, 0.0))
        if data is not None and len(data) > limit:
            raise StoreError(conditions.CORRUPT, f"{key} in {self.url} is larger than {limit} bytes")
        return data

    def read_range(self, obj: StoredObject, start: int, length: int, version: Pinned | None = None) -> Iterator[bytes]:
        data = self.get(obj.key, limit=1 << 40)
        if data is None:
            raise Corrupt(f"{obj.key} is missing in {self.url}")
        if len(data) != obj.size:
            raise Corrupt(f"{obj.key} in {self.url} has {len(data)} bytes instead of {obj.size}")
        if version is not None and not version.is_same(str(id(data))):
            raise Corrupt(f"{obj.key} in {self.url} was replaced while it was read")
        for position in range(start, start + length, READ_CHUNK):
            yield data[position : min(position + READ_CHUNK, start + length)]

    def head(self, key: str) -> ObjectInfo | None:
        found = self.objects.get(checked(key))
        return ObjectInfo(key, len(found[0]), found[1]) if found is not None else None

    def digest(self, key: str) -> str | None:
        data = self.get(key)
        return hashlib.sha256(data).hexdigest() if data is not None else None

    def list(self, prefix: str, *, patience: Patience | None = None) -> Iterator[ObjectInfo]:
        with self._lock:
            found = sorted(item for item in self.objects.items() if item[0].startswith(prefix))
        return (ObjectInfo(key, len(data), modified) for key, (data, modified) in found)

    def folders(self, prefix: str, *, patience: Patience | None = None) -> Iterator[str]:
        rest = (found.key.removeprefix(prefix) for found in self.list(prefix))
        yield from sorted({name.partition("/")[0] for name in rest if "/" in name})

    def delete(self, keys: Iterable[str]) -> int:
        return sum(self.objects.pop(checked(key), None) is not None for key in keys)

    def uploads(self, prefix: str) -> Iterator[Upload]:
        return iter([upload for upload in self.begun.values() if upload.key.startswith(prefix)])

    def discard(self, upload: Upload) -> bool:
        return self.begun.pop(upload.id, None) is not None


class MemoryWriter:
    """Bytes until they have a key."""

    def __init__(self, store: MemoryStore, key: str, number: str) -> None:
        self._store = store
        self._upload = Upload(key, number, time.time())
        self._data = bytearray()
        store.begun[number] = self._upload

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._data += data

    def commit(self) -> StoredObject:
        data = bytes(self._data)
        self._store.put(self._upload.key, data, replace=True)
        self._store.begun.pop(self._upload.id, None)
        return StoredObject(key=self._upload.key, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    def abort(self) -> None:
        self._store.begun.pop(self._upload.id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()
