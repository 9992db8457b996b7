"""Layout Plain: the base has a file if it has one of the same path, size, modification time and mode.

What is trusted is that a file that was changed in place has another modification time or size, as rsync and restic
trust it. A file that took another one's place has another inode or time of creation, whatever size and modification
time it was given (packages have all of one year): where these are recorded and differ, the file is read, and stored if
its digest differs. The change time is compared only where no hard links of ours change it. A file of the base with a
modification time from its freeze on is never used: it may have been changed again within the same step of the clock.
"""

import os
import stat
import struct
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple, Self

from ocore_mover.disk import closing_fd
from ocore_mover.errors import Corrupt
from ocore_mover.filestore.base import BaseIndex, BaseSnapshot, Reused, runs
from ocore_mover.filestore.index import Entry, parse
from ocore_mover.filestore.names import scratch_errors
from ocore_mover.filestore.sorting import Descending
from ocore_mover.store.interface import Store

#: After a path and a zero byte, in the base: size, modification time (seconds, nanoseconds), mode; inode, times of
#: creation and change (0: not recorded); digest, number of the line.
_OF_BASE = struct.Struct("=QqIHQqq32sI")
#: The same of a file of the filestore: size, modification time, mode; inode, times; whether only the second pass saw
#: it.
_OF_FILE = struct.Struct("=QqIHQqq?")
#: Values of both that must be equal, and those of which a difference makes it read the content.
_EQUAL, _ASK = slice(0, 4), slice(4, 7)
#: A mode that no file has: the application has just replaced the file by something else.
_NO_FILE = 0xFFFF
#: Files of one folder that are copied together.
BATCH = 64
_SECOND = 1_000_000_000


class PlainBase(BaseIndex):
    """The files that a base has, by their paths."""

    def __init__(self, snapshot: BaseSnapshot, scratch: Path) -> None:
        super().__init__(snapshot, scratch)
        self.scratch = scratch
        self._files = _sorted_in(scratch)

    def read(self, store: Store) -> None:
        """Reads the index. Raises Corrupt, StoreError, and MoverError ScratchFull."""
        frozen_ns = self.snapshot.artifact.frozen_ns or 0
        for text in self.texts(store):
            lines = text[:-1].split(b"\n")
            found = [parse(line) for line in lines]
            with scratch_errors(self._scratch):
                for number, entry in enumerate(found, start=self.count):
                    if entry.base or not lines[number - self.count].endswith(b"}"):
                        raise Corrupt(f"the index of the base has a line of another kind: {entry.name!r}")
                    if entry.kind == "file" and entry.mtime_ns < frozen_ns:
                        rest = _of_base(entry, number)
                        self._files.add(os.fsencode(entry.name) + b"\0" + rest)
            files = sum(entry.kind == "file" for entry in found)
            size = sum(entry.size for entry in found)
            self.note(runs(entry.pack for entry in found), lines=len(found), files=files, size=size)

    def files(self) -> Iterator[bytes]:
        """The records, from the greatest path down."""
        return iter(self._files)

    def close(self) -> None:
        """Frees the space."""
        super().close()
        self._files.close()


class Compared(NamedTuple):
    """A file of the filestore."""

    path: bytes
    late: bool
    size: int
    line: int | None  # of the same file in the base's index
    expected: str = ""  # SHA-256 of the base's file, where the content decides whether it is the same; empty: it is


#: Folder (with a slash at its end, or empty), late, files in it. A folder may come several times, with few files.
Group = tuple[str, bool, list[Compared]]


class Difference:
    """The files of a filestore beside those of a base. Add all of them, then iterate. A context manager: frees the
    space in scratch."""

    def __init__(self, base: PlainBase) -> None:
        self._base = base
        self._files = _sorted_in(base.scratch)

    def add(self, path: str, status: os.stat_result, *, born_ns: int, ctime_ns: int, late: bool) -> None:
        """Times that are 0 are not compared. Raises MoverError ScratchFull, InternalError."""
        mode = stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else _NO_FILE
        mtime = divmod(status.st_mtime_ns, _SECOND)
        rest = _OF_FILE.pack(status.st_size, *mtime, mode, status.st_ino, born_ns, ctime_ns, late)
        with scratch_errors(self._base.scratch):
            self._files.add(os.fsencode(path) + b"\0" + rest)

    def __iter__(self) -> Iterator[Compared]:
        """The files, from the greatest path down."""
        known = self._base.files()
        following = next(known, None)
        for record in self._files:
            path = record[: -_OF_FILE.size - 1]
            while following is not None and following[: -_OF_BASE.size - 1] > path:
                following = next(known, None)
            *mine, late = _OF_FILE.unpack(record[-_OF_FILE.size :])
            line, expected = None, ""
            if following is not None and following[: -_OF_BASE.size - 1] == path:
                *base, digest, number = _OF_BASE.unpack(following[-_OF_BASE.size :])
                if base[_EQUAL] == mine[_EQUAL]:
                    line = number
                    differs = any(a and b and a != b for a, b in zip(base[_ASK], mine[_ASK], strict=True))
                    expected = digest.hex() if differs else ""
            yield Compared(path, late, mine[0], line, expected)

    def sizes(self) -> tuple[Reused, int, int]:
        """The files of the base that are used without a read of their content; the bytes of the files that the base
        does not have; and those of the files whose content decides."""
        found, new, unread = Reused(self._base), 0, 0
        for file in self:
            if file.line is None:
                new += file.size
            elif file.expected:
                unread += file.size
            else:
                found.add([(file.line, file.size)])
        return found, new, unread

    def to_read(self) -> Iterator[Group]:
        """The files whose content decides."""
        return _grouped(file for file in self if file.expected)

    def to_store(self, reused: Reused | None) -> Iterator[Group]:
        """The files that are not used of the base; None: all."""
        return _grouped(file for file in self if reused is None or file.line is None or not reused.used[file.line])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()


def _grouped(files: Iterable[Compared]) -> Iterator[Group]:
    for (folder, late), some in groupby(files, lambda file: (file.path.rpartition(b"/")[0], file.late)):
        while few := list(islice(some, BATCH)):
            yield os.fsdecode(folder + b"/") if folder else "", late, few


def _sorted_in(scratch: Path) -> Descending:
    with scratch_errors(scratch), closing_fd(os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        return Descending(fd)


def _of_base(entry: Entry, number: int) -> bytes:
    try:
        mtime, digest = divmod(entry.mtime_ns, _SECOND), bytes.fromhex(entry.digest)
        return _OF_BASE.pack(entry.size, *mtime, entry.mode, entry.inode, entry.born_ns, entry.ctime_ns, digest, number)
    except (struct.error, ValueError) as error:
        raise Corrupt(f"the index of the base has values that no file has: {entry}") from error
