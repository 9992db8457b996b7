"""Which bytes of a pack are read, and that they are read in parallel, in order and in little memory."""

import hashlib
import threading
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import Corrupt
from ocore_mover.filestore import ranges, unpack
from ocore_mover.filestore.index import Entry, Frame
from ocore_mover.filestore.unpack import PackReader, one_ahead
from ocore_mover.store.interface import Store
from ocore_mover.store.pinned_version import Pinned
from support.mover.memory_store import MemoryStore
from support.mover.stored import put

MIB = 1024 * 1024


def pack_of(size: int, name: str = "pack-00000.tar") -> StoredObject:
    return StoredObject(key=f"a/{name}", size=size, sha256="0" * 64)


@st.composite
def packs(draw: st.DrawFn) -> tuple[StoredObject, list[Entry], list[Entry]]:
    """A pack that is compressed or not, its entries, and some of them."""
    compressed = draw(st.booleans())
    name = "pack-00000.tar.zst" if compressed else "pack-00000.tar"
    known, stored, tar = [], 0, 0
    for members in draw(st.lists(st.lists(st.integers(0, 3000), min_size=1, max_size=4), max_size=12)):
        frame = Frame(stored, tar) if compressed else None
        begun = tar
        for size in members:
            known.append(Entry(f"{len(known)}", name, tar + 512, frame, size))
            tar += 512 + size + -size % 512
        stored += draw(st.integers(1, 2000)) if compressed else tar - begun
    wanted = [entry for entry in known if draw(st.booleans())]
    return pack_of(stored + draw(st.integers(0, 3000)), name), known, wanted


@given(packs(), st.integers(0, 10_000))
def test_every_wanted_file_is_in_one_range(
    found: tuple[StoredObject, list[Entry], list[Entry]], request_cost: int
) -> None:
    pack, known, wanted = found
    planned = ranges.plan(pack, known, wanted, request_cost)
    needed = ranges.extents(pack, known, wanted)
    if planned is None:
        gaps = sum(b.start - a.end for a, b in pairwise(needed) if b.start - a.end <= request_cost)
        assert sum(e.end - e.start for e in needed) + gaps + len(needed) * request_cost >= pack.size * 0.8
        return
    assert [extent for part in planned for extent in part.extents] == needed
    assert [entry for extent in needed for entry in extent.entries] == wanted
    for part in planned:
        assert 0 <= part.start == part.extents[0].start
        assert part.extents[-1].end == part.end <= pack.size
        assert all(b.start - a.end <= request_cost for a, b in pairwise(part.extents))
        pieces = list(part.pieces())
        assert sum(length for _, length in pieces) == part.end - part.start
        assert all(a + length == b for (a, length), (b, _) in pairwise(pieces))
        assert all(0 < length <= ranges.PIECE for _, length in pieces)
    # Ascending, and another request is cheaper than each gap between them.
    assert all(b.start - a.end > request_cost for a, b in pairwise(planned))


def test_a_pack_of_which_most_is_needed_is_read_whole() -> None:
    known = [Entry(f"{i}", "p", i * 1000 + 512, None, 400) for i in range(10)]
    assert ranges.plan(pack_of(10_000), known, known, 1) == tuple(
        ranges.Range(e.offset, e.offset + 400, (ranges.Extent(e.offset, e.offset + 400, e.offset, (e,)),))
        for e in known
    )
    assert ranges.plan(pack_of(10_000), known, known, 600) is None  # one request costs as much as the gaps
    assert ranges.plan(pack_of(10_000), known, [], 600) == ()


Z = "pack-00000.tar.zst"


@pytest.mark.parametrize(
    ("name", "entries", "message"),
    [
        ("p.tar", [Entry("a", "p", 9_900, None, 101)], "places a outside"),
        ("p.tar", [Entry("a", "p", 0, None, 100), Entry("b", "p", 99, None, 1)], "overlapping files"),
        ("p.tar", [Entry("a", "p", 0, Frame(0, 0), 100)], "in a frame"),
        (Z, [Entry("a", Z, 0, None, 100)], "or in none"),
        (Z, [Entry("a", Z, 0, Frame(10_000, 0), 100)], "places a outside"),
        (Z, [Entry("a", Z, 99, Frame(0, 100), 100)], "places a outside"),
        (Z, [Entry("a", Z, 0, Frame(0, 0), 1), Entry("b", Z, 9, Frame(0, 5), 1)], "overlapping frames"),
        (Z, [Entry("a", Z, 0, Frame(0, 0), 1), Entry("b", Z, 9, Frame(5, 0), 1)], "overlapping frames"),
        (Z, [Entry("a", Z, 0, Frame(0, 0), 101), Entry("b", Z, 200, Frame(5, 100), 1)], "beyond the end of its frame"),
    ],
)
def test_row_104_an_index_that_contradicts_itself(name: str, entries: list[Entry], message: str) -> None:
    with pytest.raises(Corrupt, match=message):
        ranges.plan(pack_of(10_000, name), entries, entries, 100)


def file_at(data: bytes, offset: int, size: int, name: str = "a") -> Entry:
    digest = hashlib.sha256(memoryview(data)[offset : offset + size]).hexdigest()
    return Entry(name, "pack-00000.tar", offset, None, size, digest)


def test_other_bytes_than_those_of_the_index_are_refused(store: Store) -> None:
    """Read whole or in part: each file has its own digest, as the last check."""
    data = hashlib.shake_128(b"some").digest(MIB)
    stored, found = put(store, "a/pack-00000.tar", data), file_at(data, 512, 10)
    for known in ([found], [found, file_at(data, 1024, MIB - 1024, "b")]):
        with PackReader(store, "sha256") as reader:
            for entry, pieces in reader.contents(stored, known, known):
                assert b"".join(pieces) == data[entry.offset : entry.offset + entry.size]
            other = [found._replace(digest="0" * 64), *known[1:]]
            _, first = next(reader.contents(stored, other, other))
            with pytest.raises(
                Corrupt, match=r"'a' in a/pack-00000\.tar has another SHA256 than the index says"
            ) as raised:
                list(first)
            assert raised.value.object_key == stored.key
            assert (reader.packs_read.whole, reader.packs_read.in_part) == ((0, 2) if len(known) == 1 else (2, 0))


def test_ranges_are_read_in_parallel_and_in_order() -> None:
    data = hashlib.shake_128(b"some").digest(8 * MIB)
    store = _Counting()
    stored = put(store, "a/pack-00000.tar", data)
    known = [file_at(data, i * 400_000, 10, f"{i}") for i in range(20)]
    with PackReader(store, "sha256") as reader:
        found = [(entry.name, b"".join(pieces)) for entry, pieces in reader.contents(stored, known, known)]
    assert found == [(f"{i}", data[i * 400_000 : i * 400_000 + 10]) for i in range(20)]
    assert (store.requests, store.size) == (20, 200)
    assert store.most > 1
    assert (reader.packs_read.whole, reader.packs_read.in_part, reader.packs_read.bytes_in_part) == (0, 1, 200)


class _Counting(MemoryStore):
    """Counts requests, and waits until two are made at the same time."""

    requests = size = now = most = 0

    def __init__(self) -> None:
        super().__init__("memory:///packs")
        self._two = threading.Condition()

    def read_range(self, obj: StoredObject, start: int, length: int, version: Pinned | None = None) -> Iterator[bytes]:
        with self._two:
            self.requests += 1
            self.size += length
            self.now += 1
            self.most = max(self.most, self.now)
            self._two.notify_all()
            self._two.wait_for(lambda: self.most > 1, timeout=10)
        yield from super().read_range(obj, start, length, version)
        with self._two:
            self.now -= 1


def test_a_gap_is_read_through_where_that_is_cheaper() -> None:
    far, near = unpack.Pace(), unpack.Pace()
    assert far.request_cost == 0.02 * 100e6 / 16  # nothing is measured
    for _ in range(1000):
        far.note(0.01, MIB, 0.01 + MIB / 200e6)  # 10 ms, 200 MB/s
        near.note(0.0001, MIB, 0.0001 + MIB / 200e6)
    assert far.request_cost == pytest.approx(0.01 * 200e6 / 16, rel=0.01)
    assert near.request_cost == unpack.CHEAPEST


def test_a_busy_machine_does_not_make_gaps_cheaper() -> None:
    """Its requests wait longer, and what has arrived until then is read at once."""
    pace = unpack.Pace()
    pace.note(0.02, MIB, 0.03)
    before = pace.request_cost
    for _ in range(100):
        pace.note(0.5, MIB, 0.5001)
    assert pace.request_cost < before


def test_row_104_a_pack_that_is_replaced_between_two_requests(store: Store) -> None:
    data = bytes(5 * MIB)
    stored = put(store, "a/pack-00000.tar", data)
    version = Pinned()
    assert b"".join(store.read_range(stored, 0, 10, version)) == bytes(10)
    put(store, "a/pack-00000.tar", b"\1" * len(data))
    assert b"".join(store.read_range(stored, 0, 10)) == b"\1" * 10
    with pytest.raises(Corrupt, match="was replaced while it was read"):
        list(store.read_range(stored, 10, 10, version))


def test_row_104_a_frame_that_expands_without_end_takes_little_memory(folder_store: Store) -> None:
    bomb = zstd.compress(bytes(512 * MIB))
    rest = hashlib.shake_128(b"rest").digest(MIB)
    stored = put(folder_store, f"a/{Z}", bomb + rest)
    digest = hashlib.sha256(bytes(10)).hexdigest()
    known = [
        Entry("a", Z, 511 * MIB, Frame(0, 0), 10, digest),
        Entry("b", Z, 600 * MIB, Frame(len(bomb), 600 * MIB), 10, digest),
    ]
    tracemalloc.start()
    try:
        with PackReader(folder_store, "sha256") as reader:
            assert [b"".join(pieces) for _, pieces in reader.contents(stored, known, known[:1])] == [bytes(10)]
            known[0] = known[0]._replace(offset=599 * MIB)
            with pytest.raises(Corrupt, match="shorter than the index says"):
                [b"".join(pieces) for _, pieces in reader.contents(stored, known, known[:1])]
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_row_104_little_arrives_ahead(folder_store: Store) -> None:
    """A file of 64 MiB in a pack of 128 MiB is read in pieces."""
    data = bytes(128 * MIB)
    stored, entry = put(folder_store, "a/pack-00000.tar", data), file_at(data, 512, 64 * MIB)
    del data
    tracemalloc.start()
    try:
        with PackReader(folder_store, "sha256") as reader:
            size = sum(len(p) for _, pieces in reader.contents(stored, [entry], [entry]) for p in pieces)
        assert size == 64 * MIB
        assert tracemalloc.get_traced_memory()[1] < unpack.AHEAD + 4 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_one_ahead(count: int) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(count):
            made.append(number)
            yield number

    seen = []
    for number in one_ahead(items()):
        seen.append(number)
        assert len(made) == min(number + 2, count)
    assert seen == list(range(count))
