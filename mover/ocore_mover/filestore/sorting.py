"""Sorts records on disk, from the greatest down: memory does not grow with their number."""

import heapq
import os
import secrets
import struct
from collections.abc import Iterator
from typing import Self

from ocore_mover.disk import write_all

#: Bytes of records that are sorted in memory.
RUN_BYTES = 8 * 1024 * 1024
#: Bytes of a run that are read at a time. With a run for each 8 MB, 1 GB of records needs 8 MB.
_READ_BYTES = 64 * 1024
_LENGTH = struct.Struct("=I")


class Descending:
    """Byte strings. Add all of them, then iterate. A context manager: frees the space on disk."""

    def __init__(self, folder: int) -> None:
        """The file is in this open folder, without a name."""
        name = f".sort-{secrets.token_hex(8)}"
        self._fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        os.unlink(name, dir_fd=folder)
        self._run: list[bytes] = []
        self._run_bytes = 0
        self._ends: list[int] = []  # of the runs in the file

    def add(self, record: bytes) -> None:
        """Raises OSError."""
        self._run.append(record)
        self._run_bytes += len(record) + _LENGTH.size
        if self._run_bytes >= RUN_BYTES:
            self._write_run()

    def _write_run(self) -> None:
        self._run.sort(reverse=True)
        write_all(self._fd, b"".join(_LENGTH.pack(len(record)) + record for record in self._run))
        self._ends.append((self._ends[-1] if self._ends else 0) + self._run_bytes)
        self._run.clear()
        self._run_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        self._run.sort(reverse=True)
        starts = [0, *self._ends[:-1]] if self._ends else []
        runs = [self._read(start, end) for start, end in zip(starts, self._ends, strict=True)]
        return heapq.merge(*runs, self._run, reverse=True)

    def _read(self, position: int, end: int) -> Iterator[bytes]:
        data = b""
        while position < end or data:
            more = os.pread(self._fd, min(_READ_BYTES, end - position), position)
            position += len(more)
            data += more
            start = 0
            while len(data) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(data, start)
                first = start + _LENGTH.size
                if len(data) - first < length:
                    break
                yield data[first : first + length]
                start = first + length
            data = data[start:]

    def close(self) -> None:
        """Frees the space."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
