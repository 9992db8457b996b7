"""One growing file of a dump: read and uploaded while pg_dump writes it, and its disk space freed."""

import ctypes
import hashlib
import os
from pathlib import Path
from typing import Protocol

from backports import zstd

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.store.interface import Store, Writer

STEP = 8 * 1024 * 1024
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
#: Holes are punched in whole blocks; a partial block would only be zeroed.
_BLOCK = 4096
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Sink(Protocol):
    """Receives the bytes of a file, as a writer of a store does. Used by one thread at a time."""

    def write(self, data: bytes) -> None:
        """The next bytes of the file."""

    def commit(self) -> StoredObject:
        """The file is complete: stores it and returns the object."""

    def abort(self) -> None:
        """Discards what was written."""


class CompressedUpload:
    """Uploads the file as one zstd frame with a checksum, which `zstd -d` reads. Level 1 is as fast as the dump."""

    def __init__(self, writer: Writer, *, workers: int) -> None:
        self._writer = writer
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: 1,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        if zstd.CompressionParameter.nb_workers.bounds()[1] > 0:
            options[zstd.CompressionParameter.nb_workers] = workers
        self._compressor = zstd.ZstdCompressor(options=options)

    def write(self, data: bytes) -> None:
        self._upload(self._compressor.compress(data))

    def commit(self) -> StoredObject:
        self._upload(self._compressor.flush())
        return self._writer.commit()

    def abort(self) -> None:
        self._writer.abort()

    def _upload(self, data: bytes) -> None:
        if data:
            self._writer.write(data)


class Adoption:
    """The file is already in the store under its key: hashes it while it grows; the store then reads it back."""

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)

    def commit(self) -> StoredObject:
        expected = StoredObject(key=self._key, size=self._size, sha256=self._hash.hexdigest())
        return self._store.adopt(self._key, expected)

    def abort(self) -> None:
        """Does nothing: the caller removes the whole folder."""


class Follower:
    """Follows one file. Used by one thread at a time, except for :attr:`read`."""

    def __init__(self, path: Path, sink: Sink, *, punch: bool) -> None:
        self.path = path
        self.read = 0  # bytes given to the sink
        self._descriptor = os.open(path, (os.O_RDWR if punch else os.O_RDONLY) | os.O_CLOEXEC)
        self._punch = punch
        self._punched = 0
        self._sink = sink
        self._stored = False

    def advance(self, *, whole: bool, eager: bool = False) -> StoredObject | None:
        """Gives new bytes to the sink: full steps while the file grows, everything where it is `whole` or with `eager`.

        Returns the stored object where the file is `whole`, else None.
        """
        while True:
            ready = os.fstat(self._descriptor).st_size - self.read
            if ready <= 0 or (ready < STEP and not whole and not eager):
                break
            data = os.pread(self._descriptor, min(ready, STEP), self.read)
            self._sink.write(data)
            self.read += len(data)
            self._free_blocks()
        if not whole:
            return None
        stored = self._sink.commit()
        self._stored = True
        self.close()
        return stored

    def close(self) -> None:
        """Closes the file, and discards the object where it was not stored."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if not self._stored:
            self._sink.abort()

    def _free_blocks(self) -> None:
        """Frees the blocks that were read. The file keeps its size, and pg_dump continues at its end."""
        end = self.read - self.read % _BLOCK
        if not self._punch or end <= self._punched:
            return
        mode = _PUNCH_HOLE | _KEEP_SIZE
        if _libc.fallocate(self._descriptor, mode, self._punched, end - self._punched) != 0:
            # A file system without holes: scratch then needs space for the whole dump (docs/mover.md).
            self._punch = False
            return
        self._punched = end
