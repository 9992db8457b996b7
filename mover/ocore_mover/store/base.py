"""What the rest of the mover sees of a store: objects with keys, written once, checked as they are written.

Two implementations: :mod:`ocore_mover.store.s3` and :mod:`ocore_mover.store.folder` (a volume claim or any folder).
Keys are relative to the store's prefix. Every method is thread-safe and raises
:class:`~ocore_mover.errors.StoreError` with a reason of conditions.py; transient errors were retried before.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from ocore_crds.manifest import StoredObject


@dataclass(frozen=True)
class Guarantees:
    """What a store does by itself, found out by trying."""

    checksums: Literal["Server", "ReadBack"]  # see protocol.StoreProbeResult
    conditional_writes: bool


@dataclass(frozen=True)
class ObjectInfo:
    """One object in a listing."""

    key: str
    size: int


class Writer(Protocol):
    """Streams one object. Nothing is visible under the key before :meth:`commit`; leaving the ``with`` without it aborts.

    The writer hashes what it is given; the store checks the same SHA-256 (S3: per part) or the object is read back.
    """

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends. May return before the bytes are stored; errors come at the next call or at commit."""

    def commit(self) -> StoredObject:
        """Makes the object visible; returns its key, size and SHA-256 once the store has confirmed all of it."""

    def abort(self) -> None:
        """Gives up; nothing is left behind, no multipart upload either. Does nothing after commit."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """A place for objects."""

    @property
    def url(self) -> str:
        """For people: ``s3://bucket/prefix`` or ``file:///folder``."""

    @property
    def local_root(self) -> Path | None:
        """The folder, where the store is one: a caller may read objects in place. None for S3."""

    def writer(self, key: str) -> Writer:
        """Streams a new object; replaces one of the same key at commit."""

    def adopt(self, key: str, expected: StoredObject) -> StoredObject:
        """Folder stores only: takes a file that a program (pg_dump) has written at the key's place. It is flushed, read back
        from the disk and compared with what was hashed while it grew. Raises Corrupt where they differ."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Writes a small object (the manifest); False where the key exists already, which is left as it was."""

    def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
        """A small object whole; None where there is none; StoreError where it is larger than `limit` bytes."""

    def read(self, obj: StoredObject) -> Iterator[bytes]:
        """An object in chunks; after the last chunk raises Corrupt where size or SHA-256 differ. Never retries by
        starting over silently: a broken connection is resumed at the byte it broke."""

    def read_range(self, obj: StoredObject, start: int, length: int) -> Iterator[bytes]:
        """`length` bytes of an object from `start` on, in chunks; resumed as :meth:`read`. Nothing compares them: the caller
        knows a digest of what is in them. Raises Corrupt where the object is missing or has another size."""

    def head(self, key: str) -> ObjectInfo | None:
        """Whether the object is there, and its size."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose key begins with the prefix."""

    def delete(self, keys: Iterable[str]) -> int:
        """Deletes; absent keys do not matter. Needs no write of new data. Returns how many were there."""

    def abort_uploads(self, prefix: str, *, spare: str = "") -> int:
        """Aborts unfinished multipart uploads (removes temporary files) below the prefix, but for those below `spare`, where
        that is not empty. Returns how many."""

    def guarantees(self, key: str) -> Guarantees:
        """Tries, with `key` as the test object's, which is there afterwards as little as before."""
