"""Differentials: which files of a filestore the index of a full snapshot, the base, has already.

The index is read once. Memory does not grow with the number of files but by a byte for each: what is compared is in
scratch where it is much. The lines of the files that are used go into the new index as they are, with ``"base":true``.
"""

import os
import tempfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, groupby
from pathlib import Path
from typing import IO, Self, TypeVar

from ocore_crds.stored.manifest import FilestoreArtifact, FilestoreBase, StoredObject
from ocore_crds.text.quantity import human
from ocore_mover.chunks import READ_CHUNK
from ocore_mover.disk import write_all
from ocore_mover.errors import Corrupt
from ocore_mover.filestore import index
from ocore_mover.filestore.names import scratch_errors
from ocore_mover.filestore.packset import PackSet
from ocore_mover.filestore.unpack import by_name
from ocore_mover.store.interface import Store

T = TypeVar("T")
#: Largest part of a filestore's bytes that a differential stores itself. Beyond it a full snapshot costs at most twice
#: as much, and each later differential stores only what has changed since.
MOST_NEW = 0.5
#: Bytes of an index, and of records, that stay in memory.
IN_MEMORY = 4 * 1024 * 1024
#: Value of a byte: records are grouped by one.
GROUPS = 256


@dataclass(frozen=True)
class BaseSnapshot:
    """A full snapshot that can be the base of a differential."""

    snapshot_id: str
    manifest_key: str
    manifest_sha256: str
    artifact: FilestoreArtifact


def outgrown(new: int, reused: int) -> bool:
    """Whether a full snapshot is better, by the bytes that are new and those that the base has."""
    return new > MOST_NEW * (new + reused)


def outgrown_warning(new: int, reused: int) -> str:
    """Why a full snapshot was taken."""
    return (
        f"a full snapshot was taken instead of a differential: {human(new)} of {human(new + reused)} are not in the"
        f" base, more than {MOST_NEW:.0%}"
    )


def runs(packs: Iterable[T]) -> Iterator[tuple[T, int]]:
    """Each pack of consecutive lines, and how many lines."""
    for pack, some in groupby(packs):
        yield pack, len(list(some))


class Reused:
    """The files of the base that one snapshot uses, by the number of their lines in the base's index."""

    def __init__(self, base: "BaseIndex") -> None:
        self._base = base
        self.used = bytearray(base.count)  # 1: this line
        self.files = 0
        self.size = 0

    def add(self, files: Sequence[tuple[int, int]]) -> None:
        """Files: line and size of each."""
        used = self.used
        for line, _ in files:
            used[line] = 1
        self.files += len(files)
        self.size += sum([size for _, size in files])

    def write(self, packs: PackSet) -> FilestoreBase | None:
        """Writes the lines into the index of the new packs. Returns the base for the manifest; None where nothing is
        used."""
        if not self.files:
            return None
        for lines in self._base.lines(self.used):
            packs.refer(lines)
        snapshot = self._base.snapshot
        return FilestoreBase(
            snapshot_id=snapshot.snapshot_id,
            manifest_key=snapshot.manifest_key,
            manifest_sha256=snapshot.manifest_sha256,
            packs=self._base.packs_of(self.used),
        )


class BaseIndex(ABC):
    """The index of a base, in scratch. A context manager: frees the space."""

    def __init__(self, snapshot: BaseSnapshot, scratch: Path) -> None:
        self.snapshot = snapshot
        self.count = 0
        self._scratch = scratch
        self._packs = by_name(snapshot.artifact.packs)
        self._runs: list[tuple[str, int, int]] = []  # a pack, and its lines
        self._named = self._named_bytes = 0  # files so far
        with scratch_errors(scratch):
            self._spool = tempfile.SpooledTemporaryFile(IN_MEMORY, "w+b", dir=str(scratch))  # noqa: SIM115 - see close

    @abstractmethod
    def read(self, store: Store) -> None:
        """Reads the index. Raises Corrupt, StoreError, and MoverError ScratchFull."""

    def texts(self, store: Store) -> Iterator[bytes]:
        """The lines from the store, some at a time (:func:`.index.texts`), and keeps them. The caller calls
        :meth:`note` for each text.

        Raises Corrupt if the index is damaged, or differs from what the manifest states.
        """
        yield from index.texts(self._kept(store))
        files, size = self.snapshot.artifact.file_count, self.snapshot.artifact.size_bytes
        if (self._named, self._named_bytes) != (files, size):
            raise Corrupt(
                f"the index names {self._named} files of {self._named_bytes} bytes, the manifest {files} of {size}"
            )

    def _kept(self, store: Store) -> Iterator[bytes]:
        for chunk in store.read(self.snapshot.artifact.index):
            with scratch_errors(self._scratch):
                self._spool.write(chunk)
            yield chunk

    def note(self, packs: Iterable[tuple[str, int]], *, lines: int, files: int, size: int) -> None:
        """The packs of a text's lines (:func:`runs`), and its files with their bytes. Raises Corrupt for what the
        manifest does not have."""
        start = self.count
        for name, length in packs:
            end = start + length
            if name not in self._packs:
                raise Corrupt(f"the index names the pack {name!r}, which is not in the manifest")
            if self._runs and self._runs[-1][0] == name:
                start = self._runs.pop()[1]
            if end - start > index.MAX_ENTRIES:
                raise Corrupt(f"the index has {end - start} lines of {name}")
            self._runs.append((name, start, end))
            start = end
        self.count += lines
        self._named += files
        self._named_bytes += size
        if self._named > self.snapshot.artifact.file_count:
            raise Corrupt(f"the index names more files than the manifest: {self.snapshot.artifact.file_count}")

    def lines(self, used: bytearray) -> Iterator[bytes]:
        """The used lines for the index of the new snapshot, some at a time, in their order. Raises MoverError
        ScratchFull, InternalError."""
        self._spool.seek(0)
        with scratch_errors(self._scratch):
            start = 0
            for text in index.texts(iter(lambda: self._spool.read(READ_CHUNK), b"")):
                end = start + text.count(b"\n")
                some = used.count(1, start, end)
                if some == end - start:
                    yield text.replace(b"}\n", index.BASE_END)
                elif some:
                    lines = compress(text[:-1].split(b"\n"), used[start:end])
                    yield b"".join([line[:-1] + index.BASE_END for line in lines])
                start = end

    def packs_of(self, used: bytearray) -> tuple[StoredObject, ...]:
        """The packs of the used lines, by their names."""
        needed = {name for name, start, end in self._runs if used.find(1, start, end) >= 0}
        return tuple(self._packs[name] for name in sorted(needed))

    def close(self) -> None:
        """Frees the space."""
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Grouped:
    """Records of one length, in groups by a byte: in memory, and in scratch where they are many."""

    def __init__(self, length: int, scratch: Path) -> None:
        self._length = length
        self._scratch = scratch
        self._groups = [bytearray() for _ in range(GROUPS)]
        self._bytes = 0
        self._segments: list[array[int]] = [array("Q") for _ in range(GROUPS)]  # position, length, position, …
        self._file: IO[bytes] | None = None

    def add(self, records: Iterable[bytes], group: Callable[[bytes], int]) -> None:
        """Raises MoverError ScratchFull, InternalError."""
        groups = self._groups
        count = 0
        for record in records:
            groups[group(record)] += record
            count += 1
        self._bytes += count * self._length
        if self._bytes >= IN_MEMORY:
            with scratch_errors(self._scratch):
                self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._scratch, buffering=0)  # noqa: SIM115 - close() does
        position = os.lseek(self._file.fileno(), 0, os.SEEK_END)
        for group, data in enumerate(self._groups):
            self._segments[group].extend((position, len(data)))
            position += len(data)
            write_all(self._file.fileno(), bytes(data))  # not joined: that would take as much memory once more
            data.clear()
        self._bytes = 0

    def group(self, number: int) -> bytes:
        """The records of one group. Raises MoverError InternalError."""
        parts = []
        with scratch_errors(self._scratch):
            segments = iter(self._segments[number])
            for position, length in zip(segments, segments, strict=True):
                assert self._file is not None  # noqa: S101 - it has the segments
                parts.append(os.pread(self._file.fileno(), length, position))
        return b"".join((*parts, self._groups[number]))

    def close(self) -> None:
        """Frees the space."""
        if self._file is not None:
            self._file.close()
