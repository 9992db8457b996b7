"""Writes tar packs and their index into a store."""

import hashlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from backports.zstd import CompressionParameter, ZstdCompressor

from ocore_crds import failpoints
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.filestore import tar
from ocore_mover.filestore.index import Frame
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store, Writer

#: Largest tar of a pack. Only a single file that is larger exceeds it.
PACK_BYTES = 128 * 1000 * 1000
#: Most files of a pack: its index lines stay in memory until it is stored.
PACK_FILES = 20_000
#: Packs that are flushed and confirmed at a time, while the next ones are filled.
CLOSING = 2
#: Bytes of a pack's index lines. A line has some 300 bytes; where an uploader makes long folders, 300,000.
PACK_LINES = 16 * 1024 * 1024
#: Most bytes of tar in a zstd frame of a compressed pack; a larger member has a frame of its own. A restore of a few
#: files reads their frames only. Smaller frames compress less: see docs/decisions/0190-ranged-reads.md.
FRAME_BYTES = 128 * 1024
#: With the checksum, `zstd -t` finds damage without the index.
_ZSTD: dict[int, int] = {CompressionParameter.compression_level: 1, CompressionParameter.checksum_flag: 1}
#: Bytes from the middle of a file that show whether it can be compressed. Its head is not typical.
SAMPLE = 4096
#: A sample whose compressed size is a larger fraction than this counts as incompressible.
WORTH = 0.9

FOLDER = "filestore/"
INDEX = FOLDER + "index.jsonl.zst"


class Pack:
    """A tar that is being written. For one thread."""

    def __init__(self, name: str, writer: Writer, *, compressed: bool) -> None:
        self.name = name
        self.offset = 0  # bytes of the uncompressed tar so far
        self.lines: list[bytes] = []  # of the index
        self._line_bytes = 0
        self._stored = 0  # bytes given to the writer
        self._frame = Frame(0, 0)
        self._writer = writer
        self._zstd = ZstdCompressor(options=_ZSTD) if compressed else None

    def begin_member(self, size: int) -> "Frame | None":
        """Call before a member's header; `size` is the member's with header and padding. Returns its frame, or None in
        an uncompressed pack."""
        if self._zstd is None:
            return None
        if self.offset > self._frame.offset and self.offset + size - self._frame.offset > FRAME_BYTES:
            self._put(self._zstd.flush())
            self._frame = Frame(self._stored, self.offset)
        return self._frame

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends to the tar."""
        self.offset += len(data)
        if self._zstd is None:
            self._put(data)
        elif out := self._zstd.compress(data):
            self._put(out)

    def _put(self, data: bytes | bytearray | memoryview) -> None:
        self._stored += len(data)
        self._writer.write(data)

    def add_line(self, line: bytes) -> None:
        """The index line of the member that was written."""
        self.lines.append(line)
        self._line_bytes += len(line)

    def pad(self, size: int) -> None:
        """Fills the last block of a content of `size` bytes."""
        if rest := tar.padding(size):
            self.write(bytes(rest))

    def has_room(self, size: int) -> bool:
        """Whether a member of `size` bytes fits. An empty pack takes any member."""
        return self.offset == 0 or (
            self.offset + size <= PACK_BYTES and len(self.lines) < PACK_FILES and self._line_bytes < PACK_LINES
        )

    def commit(self) -> StoredObject:
        """Ends the tar and stores it; returns the object."""
        self.write(tar.trailer(self.offset))
        if self._zstd is not None:
            self._put(self._zstd.flush())
        return self._writer.commit()

    def abort(self) -> None:
        """Discards the pack."""
        self._writer.abort()


class PackSet:
    """Numbers packs, closes them in the background, collects their index. Thread-safe.

    A context manager: leaving it without :meth:`finish` discards everything.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._lock = threading.Lock()
        self._count = 0
        self._open: set[Pack] = set()
        self._stored: list[StoredObject] = []
        self._index = store.writer(prefix + INDEX)
        self._index_zstd = ZstdCompressor(options=_ZSTD)
        self._closer = ThreadPoolExecutor(CLOSING, thread_name_prefix="pack")
        self._closing = threading.BoundedSemaphore(CLOSING)
        self._closed: list[Future[None]] = []

    def begin(self, *, compressed: bool) -> Pack:
        """A new pack."""
        with self._lock:
            name = f"pack-{self._count:05d}.tar" + (".zst" if compressed else "")
            self._count += 1
        pack = Pack(name, self._store.writer(f"{self._prefix}{FOLDER}{name}"), compressed=compressed)
        with self._lock:
            self._open.add(pack)
        return pack

    def close(self, pack: Pack) -> None:
        """Closes a full pack in the background. Waits while two others are closing. Raises the error of an earlier
        one."""
        self._closing.acquire()
        try:
            for future in self._closed:
                if future.done():
                    future.result()
            self._closed.append(self._closer.submit(self._close, pack))
        except BaseException:
            self._closing.release()
            raise

    def _close(self, pack: Pack) -> None:
        try:
            stored = pack.commit()
        except BaseException:
            pack.abort()
            raise
        finally:
            self._closing.release()
        with self._lock:
            self._open.discard(pack)
            self._stored.append(stored)
            self._index.write(self._index_zstd.compress(b"".join(pack.lines)))
        pack.lines.clear()
        failpoints.hit("snapshot-pack-stored")

    def refer(self, lines: bytes) -> None:
        """Adds lines of packs that another snapshot has. The lines of one pack are consecutive."""
        with self._lock:
            self._index.write(self._index_zstd.compress(lines))

    def finish(self) -> tuple[StoredObject, tuple[StoredObject, ...]]:
        """Waits for all packs, stores the index: (index, packs in the order of their names)."""
        for future in self._closed:
            future.result()
        self._index.write(self._index_zstd.flush())
        return self._index.commit(), tuple(sorted(self._stored, key=lambda o: o.key))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closer.shutdown(wait=True, cancel_futures=True)
        for pack in self._open:
            pack.abort()
        self._index.abort()


class Lanes:
    """The two packs that one worker fills: compressible files and incompressible ones."""

    def __init__(self, packs: PackSet) -> None:
        self._packs = packs
        self._lanes: dict[bool, Pack] = {}
        self._sampler = ZstdCompressor(level=1)

    def pack_for(self, size: int, sample: bytes | bytearray | memoryview) -> Pack:
        """A pack with space for a member of `size` bytes. `sample` decides whether it is compressed."""
        compressed = self._worth(sample)
        pack = self._lanes.get(compressed)
        if pack is not None and not pack.has_room(size):
            del self._lanes[compressed]
            self._packs.close(pack)
            pack = None
        if pack is None:
            pack = self._lanes[compressed] = self._packs.begin(compressed=compressed)
        return pack

    def _worth(self, sample: bytes | bytearray | memoryview) -> bool:
        length = len(sample)
        return length == 0 or len(self._sampler.compress(sample, ZstdCompressor.FLUSH_FRAME)) < length * WORTH

    def close(self) -> None:
        """Closes both packs."""
        for pack in self._lanes.values():
            self._packs.close(pack)
        self._lanes.clear()


def copy_content(fd: int, size: int, pack: Pack, buffer: bytearray, digest: "hashlib._Hash", counter: Counter) -> bool:
    """Copies a member's content of `size` bytes from a file, with padding.

    Returns False if the file now has another length. The member is then filled with zeros, so that the tar stays valid.
    """
    view = memoryview(buffer)
    done = 0
    while done < size:
        read = os.preadv(fd, [view[: min(len(view), size - done)]], done)
        if read == 0:
            break
        digest.update(view[:read])
        pack.write(view[:read])
        counter.add(bytes_=read)
        done += read
    whole = done == size and not os.pread(fd, 1, size)
    while done < size:
        zeros = bytes(min(len(view), size - done))
        digest.update(zeros)
        pack.write(zeros)
        done += len(zeros)
    pack.pad(size)
    return whole
