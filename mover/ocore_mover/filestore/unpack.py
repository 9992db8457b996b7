"""Reads members from packs: whole packs with their SHA-256, or only the frames of some files."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from backports.zstd import ZstdError

from ocore_crds.manifest import FilestoreArtifact, StoredObject
from ocore_mover.chunks import DECOMPRESSED_CHUNK, decompressor
from ocore_mover.disk import write_all
from ocore_mover.errors import Corrupt
from ocore_mover.filestore import index, tar
from ocore_mover.filestore.index import Entry
from ocore_mover.store.interface import Store

#: A pack is read whole if more than this fraction of it is needed.
WORTH_WHOLE = 0.5
#: Most requests for parts of one pack; more would cost more than they save.
MAX_RANGES = 32


@dataclass(frozen=True)
class Restored:
    """The numbers of a restore."""

    files_added: int
    bytes_added: int
    files_replaced: int = 0  # existed with other content
    files_checked: int = 0  # existed with the right content


Content = tuple[Entry, Iterator[bytes | memoryview]]
Block = tuple[StoredObject, list[Entry]]


def entries(store: Store, artifact: FilestoreArtifact, parse: Callable[[bytes], Entry]) -> Iterator[Entry]:
    """The index's entries. Raises Corrupt for a line that `parse` refuses, for a pack that is not in the manifest, and
    for more than the manifest states."""
    packs = _packs(artifact)
    parsed = (parse(line) for line in index.lines(store.read(artifact.index)))
    for entry in index.within(parsed, artifact):
        if (entry.pack, entry.base) not in packs:
            of = " of the base" if entry.base else ""
            raise Corrupt(f"the index names the pack {entry.pack!r}{of}, which is not in the manifest")
        yield entry


def blocks(store: Store, artifact: FilestoreArtifact, parse: Callable[[bytes], Entry]) -> Iterator[Block]:
    """The index's entries, pack by pack. Raises Corrupt as :func:`entries` does."""
    packs = _packs(artifact)
    for key, block in groupby(entries(store, artifact, parse), key=lambda entry: (entry.pack, entry.base)):
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


def write_content(fd: int, pieces: Iterable[bytes | memoryview], digest: "hashlib._Hash") -> str:
    """Writes a member's bytes to a file; returns their digest in hexadecimal."""
    for piece in pieces:
        digest.update(piece)
        write_all(fd, piece)
    return digest.hexdigest()


def contents(store: Store, pack: StoredObject, known: Sequence[Entry], wanted: Sequence[Entry]) -> Iterator[Content]:
    """The wanted entries with their bytes, in the order of the pack. `known` are all entries of the pack.

    The caller consumes the bytes of one entry before the next. If the pack is read whole, its SHA-256 is compared after
    the last entry: the caller makes nothing visible before the iteration ends without Corrupt. If only parts are read,
    only the entries' own digests protect them.
    """
    ordered = sorted(wanted, key=lambda entry: entry.offset)
    for part in _parts(pack, known, ordered):
        if part is None:
            chunks = store.read(pack)
            yield from _members(_tar(chunks, pack), 0, ordered, pack)
            for _ in chunks:  # the rest, for the digest
                pass
        else:
            start, length, offset, entries = part
            yield from _members(_tar(store.read_range(pack, start, length), pack), offset, entries, pack)


def whole(store: Store, pack: StoredObject, wanted: Sequence[Entry]) -> Iterator[Content]:
    """As :func:`contents`, but the pack is always read whole and its SHA-256 compared, also where nothing of it is
    wanted."""
    chunks = store.read(pack)
    yield from _members(_tar(chunks, pack), 0, sorted(wanted, key=lambda entry: entry.offset), pack)
    for _ in chunks:  # the rest, for the digest
        pass


_Part = tuple[int, int, int, list[Entry]]  # start and length in the stored pack, offset in the tar, entries


def _parts(pack: StoredObject, known: Sequence[Entry], wanted: list[Entry]) -> list[_Part | None]:
    """The parts to read; None is the whole pack."""
    if not wanted:
        return []
    parts = _frames(pack, known, wanted) if wanted[0].frame is not None else _spans(wanted)
    if len(parts) > MAX_RANGES or sum(length for _, length, _, _ in parts) > pack.size * WORTH_WHOLE:
        return [None]
    return [*parts]


def _spans(wanted: list[Entry]) -> list[_Part]:
    """Parts of an uncompressed pack, where stored bytes are tar bytes. Neighbours are read together."""
    parts: list[_Part] = []
    for entry in wanted:
        if parts:
            start, length, offset, entries = parts[-1]
            if entry.offset - (start + length) <= 2 * tar.BLOCK:
                entries.append(entry)
                parts[-1] = (start, entry.offset + entry.size - start, offset, entries)
                continue
        parts.append((entry.offset, entry.size, entry.offset, [entry]))
    return parts


def _frames(pack: StoredObject, known: Sequence[Entry], wanted: list[Entry]) -> list[_Part]:
    """The frames of the wanted entries. Neighbouring frames are read together."""
    starts = sorted({entry.frame.start for entry in known if entry.frame is not None})
    ends = dict(zip(starts, [*starts[1:], pack.size], strict=True))
    parts: list[_Part] = []
    for entry in wanted:
        frame = entry.frame
        if frame is None or frame.start >= pack.size:
            raise Corrupt(f"the index places {entry.name} outside {pack.key}")
        end = ends[frame.start]
        if parts and frame.start <= parts[-1][0] + parts[-1][1]:
            start, _, offset, entries = parts[-1]
            entries.append(entry)
            parts[-1] = (start, end - start, offset, entries)
        else:
            parts.append((frame.start, end - frame.start, frame.offset, [entry]))
    return parts


def _tar(chunks: Iterator[bytes], pack: StoredObject) -> Iterator[bytes]:
    """The uncompressed tar."""
    if not pack.key.endswith(".zst"):
        return chunks
    return _decompressed(chunks, pack)


def _decompressed(chunks: Iterator[bytes], pack: StoredObject) -> Iterator[bytes]:
    frame = decompressor()
    for chunk in chunks:
        data = chunk
        while data or not (frame.needs_input or frame.eof):
            try:
                if frame.eof:
                    frame = decompressor()
                piece = frame.decompress(data, DECOMPRESSED_CHUNK)
            except ZstdError as error:
                raise Corrupt(f"{pack.key} cannot be decompressed: {error}") from error
            data = frame.unused_data if frame.eof else b""
            if piece:
                yield piece
    if not frame.eof:
        raise Corrupt(f"{pack.key} is truncated")


class _Stream:
    """A cursor over chunks."""

    def __init__(self, chunks: Iterator[bytes], position: int, pack: StoredObject) -> None:
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
                raise Corrupt(f"{self._pack.key} is shorter than the index says")
            self._rest = memoryview(chunk)
        piece = self._rest[:count]
        self._rest = self._rest[len(piece) :]
        self.position += len(piece)
        return piece


def _members(chunks: Iterator[bytes], offset: int, entries: list[Entry], pack: StoredObject) -> Iterator[Content]:
    stream = _Stream(chunks, offset, pack)
    for entry in entries:
        if entry.offset < stream.position:
            raise Corrupt(f"the index has overlapping files in {pack.key}: {entry.name} and another")
        stream.skip(entry.offset - stream.position)
        yield entry, stream.take(entry.size)
