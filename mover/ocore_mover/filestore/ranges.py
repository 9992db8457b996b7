"""Which bytes of a pack are read for some of its files. Pure: no I/O."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import Corrupt
from ocore_mover.filestore.index import Entry, Frame

#: Most bytes of one request: what arrives ahead is in memory.
PIECE = 1024 * 1024
#: A pack is read whole, and its SHA-256 compared, if ranges cost more than this fraction of it.
WORTH_WHOLE = 0.8


class Extent(NamedTuple):
    """Bytes of a stored pack that are needed: a zstd frame, or the content of a file in a pack that is not
    compressed."""

    start: int
    end: int
    offset: int  # of its first byte in the uncompressed tar
    entries: tuple[Entry, ...]  # the wanted ones, in the order of the tar


class Range(NamedTuple):
    """Bytes that are read in one go: extents, and the gaps between them."""

    start: int
    end: int
    extents: tuple[Extent, ...]

    def pieces(self) -> Iterator[tuple[int, int]]:
        """The requests: start and length of each."""
        for start in range(self.start, self.end, PIECE):
            yield start, min(PIECE, self.end - start)


def plan(
    pack: StoredObject, known: Sequence[Entry], wanted: Sequence[Entry], request_cost: int
) -> tuple[Range, ...] | None:
    """The ranges to read for the wanted entries, in the order of the pack; None: the whole pack costs little more.

    `known` are all entries of the pack, for the ends of its frames. `request_cost`: bytes that take as long to read as
    one more request. A smaller gap is read through. Raises Corrupt where the index contradicts itself or the pack's
    size.
    """
    ranges = tuple(_joined(extents(pack, known, wanted), request_cost))
    cost = sum(found.end - found.start + request_cost for found in ranges)
    return None if ranges and cost >= (pack.size + request_cost) * WORTH_WHOLE else ranges


def extents(pack: StoredObject, known: Sequence[Entry], wanted: Sequence[Entry]) -> list[Extent]:
    """What is needed of the pack, ascending and without overlap. Raises Corrupt as :func:`plan`."""
    ordered = sorted(wanted, key=lambda entry: (entry.offset, entry.size))
    for before, entry in pairwise(ordered):
        if entry.offset < before.offset + before.size:
            raise Corrupt(f"the index has overlapping files in {pack.key}: {before.name} and {entry.name}")
    compressed = pack.key.endswith(".zst")
    for entry in known:
        if (entry.frame is not None) is not compressed:
            raise Corrupt(f"the index has {entry.name} in a frame of {pack.key}, or in none, against the pack's name")
    return _frames(pack, known, ordered) if compressed else _contents(pack, ordered)


def _contents(pack: StoredObject, ordered: Sequence[Entry]) -> list[Extent]:
    for entry in ordered:
        if entry.offset + entry.size > pack.size:
            raise _outside(entry, pack)
    return [Extent(entry.offset, entry.offset + entry.size, entry.offset, (entry,)) for entry in ordered]


def _frames(pack: StoredObject, known: Sequence[Entry], ordered: Sequence[Entry]) -> list[Extent]:
    frames = sorted({entry.frame for entry in known if entry.frame is not None})
    for frame, following in pairwise(frames):
        if not (frame.start < following.start and frame.offset < following.offset):
            raise Corrupt(f"the index has overlapping frames in {pack.key}: {list(frame)} and {list(following)}")
    ends = dict(pairwise(frames))
    members: dict[Frame, list[Entry]] = {}
    for entry in ordered:
        if entry.frame is None or entry.frame.start >= pack.size or entry.offset < entry.frame.offset:
            raise _outside(entry, pack)
        end = ends.get(entry.frame)
        if end is not None and entry.offset + entry.size > end.offset:
            raise Corrupt(f"the index places {entry.name} beyond the end of its frame in {pack.key}")
        members.setdefault(entry.frame, []).append(entry)
    found = []
    for frame, entries in members.items():
        end = ends.get(frame)
        stop = pack.size if end is None else min(end.start, pack.size)
        found.append(Extent(frame.start, stop, frame.offset, tuple(entries)))
    return found


def _outside(entry: Entry, pack: StoredObject) -> Corrupt:
    return Corrupt(f"the index places {entry.name} outside {pack.key}")


def _joined(found: Sequence[Extent], gap: int) -> Iterator[Range]:
    """Neighbours with a gap of at most so many bytes are one range."""
    group: list[Extent] = []
    for extent in found:
        if group and extent.start - group[-1].end > gap:
            yield Range(group[0].start, group[-1].end, tuple(group))
            group = []
        group.append(extent)
    if group:
        yield Range(group[0].start, group[-1].end, tuple(group))
