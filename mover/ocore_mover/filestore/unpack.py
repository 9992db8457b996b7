"""Reads members from packs: whole packs with their SHA-256, or only the frames of some files."""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Self, TypeVar

from ocore_crds.stored.manifest import FilestoreArtifact, StoredObject
from ocore_mover.chunks import decompressed
from ocore_mover.errors import Corrupt
from ocore_mover.filestore import index, ranges
from ocore_mover.filestore.index import Entry
from ocore_mover.store.interface import PARALLEL_READS, Store
from ocore_mover.store.pinned_version import Pinned

T = TypeVar("T")

#: Bytes that are fetched ahead for one pack.
AHEAD = 8 * 1024 * 1024
#: Bounds of what a request may count as, in bytes.
CHEAPEST, DEAREST = 4 * 1024, 512 * 1024


@dataclass
class PacksRead:
    """How packs were read."""

    whole: int = 0  # the SHA-256 of each was compared
    in_part: int = 0  # the digest of each file was compared
    bytes_in_part: int = 0
    bytes_whole: int = 0


@dataclass(frozen=True)
class Restored:
    """The numbers of a restore."""

    files_added: int
    bytes_added: int
    packs: PacksRead
    files_replaced: int = 0  # existed with other content
    files_checked: int = 0  # existed with the right content


Content = tuple[Entry, Iterator[bytes | memoryview]]
Block = tuple[StoredObject, list[Entry]]


def entries(
    store: Store,
    artifact: FilestoreArtifact,
    parse: Callable[[bytes], Entry],
    wanted: frozenset[str] | None = None,
) -> Iterator[Entry]:
    """The index's entries; with `wanted`, those of the packs that may have such a name, or one below it. Raises Corrupt
    for a line that `parse` refuses, for a pack that is not in the manifest, and for more than the manifest states."""
    packs = _packs(artifact)
    lines = index.lines(store.read(artifact.index))
    parsed = (parse(line) for line in (lines if wanted is None else index.of_packs_with(lines, wanted)))
    for entry in index.within(parsed, artifact):
        if (entry.pack, entry.base) not in packs:
            of = " of the base" if entry.base else ""
            raise Corrupt(f"the index names the pack {entry.pack!r}{of}, which is not in the manifest")
        yield entry


def blocks(
    store: Store,
    artifact: FilestoreArtifact,
    parse: Callable[[bytes], Entry],
    wanted: frozenset[str] | None = None,
) -> Iterator[Block]:
    """As :func:`entries`, pack by pack."""
    packs = _packs(artifact)
    for key, block in groupby(entries(store, artifact, parse, wanted), key=lambda entry: (entry.pack, entry.base)):
        yield packs[key], list(block)


def _packs(artifact: FilestoreArtifact) -> dict[tuple[str, bool], StoredObject]:
    """The packs by name and whether they are of the base, where the same names occur."""
    found = {(name, False): pack for name, pack in by_name(artifact.packs).items()}
    if artifact.base is not None:
        found |= {(name, True): pack for name, pack in by_name(artifact.base.packs).items()}
    return found


def by_name(packs: Iterable[StoredObject]) -> dict[str, StoredObject]:
    """Packs by the last part of their keys, as an index names them."""
    return {pack.key.rpartition("/")[2]: pack for pack in packs}


def whole(store: Store, pack: StoredObject, wanted: Sequence[Entry], algorithm: str) -> Iterator[Content]:
    """The wanted entries with their bytes, in the order of the pack, which is read whole.

    The caller consumes the bytes of one entry before the next, to their end: there their digest is compared. The pack's
    SHA-256 is compared after the last entry: the caller makes nothing visible before the iteration ends without
    Corrupt.
    """
    chunks = store.read(pack)
    ordered = sorted(wanted, key=lambda entry: entry.offset)
    yield from _members(_tar(chunks, pack), 0, ordered, pack, algorithm)
    for _ in chunks:  # the rest, for the digest
        pass


class Pace:
    """How fast this run reads, from its requests so far. Thread-safe enough for estimates.

    A request takes its wait, and then the time of its bytes. A busy machine or link makes requests longer, which counts
    as a lower rate and never as a longer wait: gaps then become dearer, not cheaper.
    """

    def __init__(self) -> None:
        # Before the first request: a store in the same region.
        self._wait = 0.02  # seconds: the shortest one
        self._size, self._seconds = 1e6, 0.01  # of all transfers

    def note(self, wait: float, size: int, seconds: float) -> None:
        """A request of `size` bytes took `seconds`, and its first bytes came after `wait`."""
        self._wait = min(self._wait, wait)
        self._size += size
        self._seconds += max(seconds - self._wait, 0.0)

    @property
    def request_cost(self) -> int:
        """Bytes that take as long as one more request, of which PARALLEL_READS wait at the same time."""
        return int(min(max(self._wait * self._size / self._seconds / PARALLEL_READS, CHEAPEST), DEAREST))


class PackReader:
    """Reads the wanted files of packs: ranges in parallel and ahead, or whole packs where that is as cheap.

    A context manager; leaving it ends what is still being fetched. Thread-safe. `algorithm`: of the entries' digests.
    """

    def __init__(self, store: Store, algorithm: str) -> None:
        self.packs_read = PacksRead()
        self._store = store
        self._algorithm = algorithm
        self._pace = Pace()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="ranges")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def contents(self, pack: StoredObject, known: Sequence[Entry], wanted: Sequence[Entry]) -> Iterator[Content]:
        """The wanted entries with their bytes, in the order of the pack. `known` are all entries of the pack.

        The first ranges are requested before this returns. The caller consumes the bytes of one entry before the next,
        to their end: there their digest is compared, the only check of a pack that is read in part. Raises Corrupt,
        StoreError; as :func:`whole` where the pack is read whole.
        """
        plan = ranges.plan(pack, known, wanted, self._pace.request_cost)
        with self._lock:
            if plan is None:
                self.packs_read.whole += 1
                self.packs_read.bytes_whole += pack.size
            elif plan:
                self.packs_read.in_part += 1
                self.packs_read.bytes_in_part += sum(found.end - found.start for found in plan)
        if plan is None:
            return whole(self._store, pack, wanted, self._algorithm)
        return _parts(pack, plan, _Ahead(self._request(pack), plan), self._algorithm)

    def _request(self, pack: StoredObject) -> "Callable[[int, int], Future[list[bytes]]]":
        version = Pinned()

        def fetch(start: int, length: int) -> list[bytes]:
            begun = time.monotonic()
            chunks = self._store.read_range(pack, start, length, version)
            found = [next(chunks)]
            first = time.monotonic()
            found += chunks
            self._pace.note(first - begun, length, time.monotonic() - begun)
            return found

        return lambda start, length: self._pool.submit(fetch, start, length)


class _Ahead:
    """The pieces of ranges in their order. AHEAD bytes are requested before they are needed."""

    def __init__(self, request: "Callable[[int, int], Future[list[bytes]]]", plan: Sequence[ranges.Range]) -> None:
        self._request = request
        self._pieces = (piece for found in plan for piece in found.pieces())
        self._requested: deque[tuple[int, Future[list[bytes]]]] = deque()
        self._size = 0
        self._fill()

    def take(self, count: int) -> Iterator[bytes]:
        """The chunks of the next pieces."""
        for _ in range(count):
            size, piece = self._requested.popleft()
            chunks = piece.result()
            self._size -= size
            self._fill()
            yield from chunks

    def _fill(self) -> None:
        while self._size < AHEAD and (piece := next(self._pieces, None)) is not None:
            self._requested.append((piece[1], self._request(*piece)))
            self._size += piece[1]


def _parts(pack: StoredObject, plan: Sequence[ranges.Range], ahead: _Ahead, algorithm: str) -> Iterator[Content]:
    for found in plan:
        chunks = ahead.take(sum(1 for _ in found.pieces()))
        stored = _Stream(chunks, found.start, pack)
        for extent in found.extents:
            stored.skip(extent.start - stored.position)
            data = stored.take(extent.end - extent.start)
            yield from _members(_tar(data, pack), extent.offset, extent.entries, pack, algorithm)
        for _ in chunks:  # the end of the last frame, before the next range
            pass


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The items; each comes after the next one was made."""
    made: deque[T] = deque()
    for item in items:
        made.append(item)
        if len(made) > 1:
            yield made.popleft()
    yield from made


def _tar(chunks: Iterator[bytes | memoryview], pack: StoredObject) -> Iterator[bytes | memoryview]:
    """The uncompressed tar."""
    if not pack.key.endswith(".zst"):
        return chunks
    return decompressed(chunks, pack.key)


class _Stream:
    """A cursor over chunks."""

    def __init__(self, chunks: Iterator[bytes | memoryview], position: int, pack: StoredObject) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._pack = pack
        self.position = position

    def take(self, count: int) -> Iterator[memoryview]:
        """The next bytes, in pieces."""
        while count:
            piece = self._next(count)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        """Leaves out the next bytes."""
        while count:
            count -= len(self._next(count))

    def _next(self, count: int) -> memoryview:
        """Some of the next `count` bytes."""
        if not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise Corrupt(f"{self._pack.key} is shorter than the index says", self._pack.key)
            self._rest = memoryview(chunk)
        piece = self._rest[:count]
        self._rest = self._rest[len(piece) :]
        self.position += len(piece)
        return piece


def _members(
    chunks: Iterator[bytes | memoryview], offset: int, entries: Sequence[Entry], pack: StoredObject, algorithm: str
) -> Iterator[Content]:
    stream = _Stream(chunks, offset, pack)
    for entry in entries:
        if entry.offset < stream.position:
            raise Corrupt(f"the index has overlapping files in {pack.key}: {entry.name} and another")
        stream.skip(entry.offset - stream.position)
        yield entry, _compared(stream.take(entry.size), entry, pack, algorithm)


def _compared(pieces: Iterable[memoryview], entry: Entry, pack: StoredObject, algorithm: str) -> Iterator[memoryview]:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != entry.digest:
        raise Corrupt(f"{entry.name!r} in {pack.key} has another {algorithm.upper()} than the index says", pack.key)
