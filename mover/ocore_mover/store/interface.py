"""The interface of a store: objects with keys, written once and checked while they are written.

:mod:`ocore_mover.store.kinds` has a row for each kind: :mod:`ocore_mover.store.s3`, and :mod:`ocore_mover.store.folder`
for a volume claim or any folder.
Keys are relative to the store's prefix. Every method is thread-safe and raises
:class:`~ocore_mover.errors.StoreError` with a reason of conditions.py, after retries of transient errors.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, Self

from ocore_crds.reports.kept_versions import KeptVersions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import Corrupt
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.retries import Patience

#: Names that are sorted in memory.
MAX_FOLDERS = 200_000
#: Ranges of objects that are read at once. A round trip of 20 ms then counts as 1.3 ms.
PARALLEL_READS = 16


@dataclass(frozen=True)
class Guarantees:
    """What a store checks itself, found by requests that it must refuse."""

    checksums: Literal["Server", "ReadBack"]  # see protocol.StoreProbeResult
    conditional_writes: bool


@dataclass(frozen=True)
class ObjectInfo:
    """One object in a listing."""

    key: str
    size: int
    #: When it was written, by the store: seconds since the epoch. Only in a listing.
    modified: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Upload:
    """An object that was begun and not finished."""

    key: str
    id: str
    modified: float


class Writer(Protocol):
    """Streams one object. It is invisible before :meth:`commit`; leaving the ``with`` without it aborts.

    The writer computes the SHA-256. The store checks it (S3: for each part), or the object is read back.
    """

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends. May return before the bytes are stored; then the next call or commit raises the error."""

    def commit(self) -> StoredObject:
        """Makes the object visible. Returns its key, size and SHA-256 after the store has confirmed all of it."""

    def abort(self) -> None:
        """Discards the object and its multipart upload. Does nothing after commit."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Store(ABC):
    """A place for objects. A store implements what is abstract, and the rest where it can do more than what stands
    here. `tests/unit/mover/store/test_conformance.py` has what each one must do.

    Wrappers (:mod:`.wrapped`) pass everything on.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL for messages: ``s3://bucket/prefix`` or ``file:///folder``. Without credentials."""

    # --- writing -------------------------------------------------------------------------------------------------

    @abstractmethod
    def writer(self, key: str, *, patience: Patience | None = None) -> Writer:
        """Streams a new object. Commit replaces an object of the same key. `patience`: for a store that fails for a
        time."""

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Writes a small object (the manifest). Returns False if the key exists; that object is left unchanged."""

    @abstractmethod
    def guarantees(self, key: str) -> Guarantees:
        """Tests what the store checks, with an object of this key, and deletes it."""

    def lock(self, keys: Collection[str]) -> None:
        """Keeps objects until the date of this store's lock, whatever the credentials allow; without one it does
        nothing. Raises StoreError where the store refuses that."""
        del keys

    def renew(self, keys: Collection[str]) -> int:
        """As :meth:`lock`, of objects whose lock ends before half of its days; of each the version that is read (see
        :meth:`recover`). Passes over what does not exist. Returns how many it has locked."""
        del keys
        return 0

    def check_lock(self, key: str) -> tuple[str, ...]:
        """With a lock: tests that the store enforces it, with an object of this key. Returns what these credentials can
        do against it, as warnings. Raises StoreError where the store does not lock."""
        del key
        return ()

    # --- reading -------------------------------------------------------------------------------------------------

    @abstractmethod
    def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
        """A small object, or None if it does not exist. Raises StoreError if it is larger than `limit` bytes."""

    def older(
        self, key: str, matches: Callable[[bytes], bool], *, limit: int, oldest_first: bool = False
    ) -> bytes | None:
        """With versioning: the contents of a version of a small object that match, also where another one was written
        over it or a delete marker hides it. The newest version is asked first, then the oldest ones; `oldest_first`:
        the oldest ones, then the newest. None: there is none of at most `limit` bytes."""
        del key, matches, limit, oldest_first
        return None

    def recover(self, prefix: str, objects: Collection[StoredObject]) -> tuple[str, ...]:
        """With versioning: of each object below the prefix, the version that was stored is read from now on, also where
        another one was written over it or a delete marker hides it. :meth:`list` shows what it showed before.

        Returns the keys of which an older version is read.
        """
        del prefix, objects
        return ()

    @abstractmethod
    def read_range(self, obj: StoredObject, start: int, length: int, version: Pinned | None = None) -> Iterator[bytes]:
        """`length` bytes of an object from `start` on, in chunks.

        Resumes a broken connection at the byte where it broke; never starts over. The bytes are not compared: the
        caller knows a digest of their contents. Raises Corrupt if the object does not exist, has another size, or was
        replaced since another call with the same `version`.
        """

    def read(self, obj: StoredObject) -> Iterator[bytes]:
        """An object in chunks. Raises Corrupt, at the latest after the last chunk, if size or SHA-256 differ."""
        return compared(self.read_range(obj, 0, obj.size), obj, self.url)

    @abstractmethod
    def head(self, key: str) -> ObjectInfo | None:
        """The object's size, or None if it does not exist."""

    def digest(self, key: str) -> str | None:
        """SHA-256 (hex) of the object's contents as the store itself has checked it; None if the store does not know it
        or the object does not exist.

        None asks the caller to read the object back.
        """
        del key
        return None

    @abstractmethod
    def list(self, prefix: str, *, patience: Patience | None = None) -> Iterator[ObjectInfo]:
        """All objects whose key starts with the prefix, in an order of the store's own. `patience`: for each page of a
        store that fails for a time."""

    @abstractmethod
    def folders(self, prefix: str, *, patience: Patience | None = None) -> Iterator[str]:
        """The first parts of all keys below the prefix that have more parts, sorted. The prefix ends with a slash.
        `patience`: as for :meth:`list`.

        Raises StoreError where a store has to sort more than MAX_FOLDERS of them: they would not fit into memory.
        """

    def all_folders(self, prefix: str) -> Iterator[str]:
        """As :meth:`folders`. With versioning also those in which every object is deleted, as long as an older version
        of one exists."""
        return self.folders(prefix)

    # --- deleting ------------------------------------------------------------------------------------------------

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> int:
        """Deletes objects; ignores keys that do not exist. Writes no data. Returns how many existed (S3: the number of
        keys)."""

    @abstractmethod
    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Objects below the prefix that were begun and not finished (S3: multipart uploads, folders: temporary files),
        also those of a process that was killed."""

    @abstractmethod
    def discard(self, upload: Upload) -> bool:
        """Removes one of them; returns False if the store says that it does not exist any more."""

    def purge(self, prefix: str) -> KeptVersions | None:
        """Removes what a deletion left below the prefix: with versioning, every version and delete marker of the
        objects that are deleted.

        Objects that exist, and older versions of them, are not touched. Returns what the store keeps; None: nothing.
        """
        del prefix
        return None

    # --- files in place ------------------------------------------------------------------------------------------

    @property
    def local_root(self) -> Path | None:
        """The folder whose files are the objects, so that programs may write and read them in place; None: there is
        none."""
        return None

    def adopt(self, key: str, expected: StoredObject) -> StoredObject:
        """With `local_root`: accepts a file that a program (pg_dump) has written at the key's place.

        Flushes it, reads it back from the disk and compares it with the digest of what was written. Raises Corrupt.
        """
        raise NotImplementedError(f"{self.url} has no folder for {key} of {expected.size} bytes")


def compared(chunks: Iterable[bytes], obj: StoredObject, url: str) -> Iterator[bytes]:
    """The chunks of a whole object. Raises Corrupt after the last one if their SHA-256 differs."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != obj.sha256:
        raise Corrupt(f"{obj.key} in {url} is not what was stored: its SHA-256 differs from the manifest", obj.key)


def small(store: Store, key: str, limit: int) -> bytes | None:
    """An object that no manifest names by its digest; None where it does not exist, or has more than `limit` bytes: who
    can write to the store may have put anything there."""
    found = store.head(key)
    return store.get(key, limit=limit) if found is not None and found.size <= limit else None


def abort_uploads(store: Store, prefix: str) -> int:
    """Discards everything below the prefix that was begun and not finished; returns how much that was. It ends with a
    slash, or is empty."""
    # All of them first: what is discarded while pages are listed would make the listing skip some.
    return sum(store.discard(upload) for upload in list(store.uploads(prefix)))
