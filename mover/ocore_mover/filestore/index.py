"""The index of a filestore's packs: JSON lines, zstd-compressed. The lines of one pack are consecutive."""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from backports.zstd import ZstdError

from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover import chunks as chunk_sizes
from ocore_mover.chunks import DECOMPRESSED_CHUNK
from ocore_mover.errors import Corrupt

#: How the line ends of a file that is stored in the base.
BASE_END = b',"base":true}\n'
#: A line with the longest path that a snapshot takes (MAX_DEPTH folders of 255 bytes), each byte escaped as six, and a
#: link's target is shorter.
MAX_LINE = 512 * 1024
#: An index becomes this much larger at most when it is decompressed (measured: 3 to 60 times), or it is none of ours.
MAX_RATIO = 1000
#: Lines that are longer on average do not count: long paths that have the same beginning compress to almost nothing.
LONG_LINE = 4096
#: Entries of one pack, which are in memory together; packs of ours are closed at 20,000.
MAX_ENTRIES = 100_000


class Frame(NamedTuple):
    """The zstd frame of a compressed pack that a member is in."""

    start: int  # where it starts in the stored pack
    offset: int  # position of its first byte in the uncompressed tar


class Entry(NamedTuple):
    """One file, symbolic link or folder. Names are text with undecodable bytes as surrogates (os.fsdecode)."""

    name: str
    pack: str
    offset: int  # of the content in the uncompressed tar
    frame: Frame | None = None  # None in a pack that is not compressed
    size: int = 0
    digest: str = ""  # SHA-1 (Odoo) or SHA-256 (Plain) of the content
    kind: Literal["file", "folder", "symlink"] = "file"
    mode: int = 0o644
    mtime_ns: int = 0
    target: str = ""  # of a symbolic link
    base: bool = False  # whether the pack is one of the base
    inode: int = 0  # of layout Plain: which file it was; 0 where it is not recorded
    born_ns: int = 0  # when that was created
    ctime_ns: int = 0  # only where no hard links of ours change it

    @property
    def folder(self) -> str:
        """The first part of the name."""
        return self.name.partition("/")[0]


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without their line feeds. Raises Corrupt as :func:`texts`."""
    for text in texts(chunks):
        yield from text[:-1].split(b"\n")


def texts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompresses. Each text is some whole lines with their line feeds: DECOMPRESSED_CHUNK and a line at most.

    Raises Corrupt if the data is not zstd, is truncated, expands beyond MAX_RATIO, or has a line that is too long.
    """
    decompressor = chunk_sizes.decompressor()
    rest = b""
    allowed = MAX_LINE  # bytes that may still come out of what was read
    for chunk in chunks:
        data = chunk
        allowed += len(chunk) * MAX_RATIO
        while data or not decompressor.needs_input:
            try:
                if decompressor.eof:
                    raise Corrupt("the filestore's index has data after its end")
                piece = decompressor.decompress(data, DECOMPRESSED_CHUNK)
            except ZstdError as error:
                raise Corrupt(f"the filestore's index cannot be decompressed: {error}") from error
            data = b""
            if piece.count(b"\n") * LONG_LINE > len(piece):
                allowed -= len(piece)
            if allowed < 0:
                raise Corrupt(f"the filestore's index expands to more than {MAX_RATIO} times its size")
            text = rest + piece
            end = text.rfind(b"\n") + 1
            rest = text[end:]
            if end:
                yield text[:end]
            if len(rest) > MAX_LINE:
                raise Corrupt("the filestore's index has a line that is too long")
            if decompressor.eof:
                data = decompressor.unused_data
                if not data:
                    break
    if rest or not decompressor.eof:
        raise Corrupt("the filestore's index is truncated")


def of_packs_with(lines: Iterable[bytes], wanted: frozenset[str]) -> Iterator[bytes]:
    """The lines of each pack that may have one of these names, or a name below one. No line is parsed: that takes five
    times as long."""
    for _, block in groupby(lines, key=_pack_of):
        held = list(islice(block, MAX_ENTRIES + 1))  # more are refused by :func:`within`
        if any(_may_be(line, wanted) for line in held):
            yield from held


def _pack_of(line: bytes) -> tuple[bytes, bool]:
    return line.rpartition(b'"pack":"')[2].partition(b'"')[0], line.endswith(BASE_END[:-1])


def _may_be(line: bytes, wanted: frozenset[str]) -> bool:
    start, _, rest = line.partition(b'"name":"')
    name = rest.partition(b'"')[0]
    # A name with an escape, or a line of another form, is left to the parser.
    return start != b"{" or b"\\" in name or not wanted.isdisjoint(with_parents(name.decode(errors="replace")))


def with_parents(name: str) -> Iterator[str]:
    """The name, and the folders that it is in."""
    end = len(name)
    while end > 0:
        yield name[:end]
        end = name.rfind("/", 0, end)


def within(entries: Iterable[Entry], artifact: FilestoreArtifact) -> Iterator[Entry]:
    """The entries. Raises Corrupt at the first one that exceeds the files and bytes in the manifest, or MAX_ENTRIES in
    a pack."""
    files = size = in_pack = 0
    pack = ("", False)
    for entry in entries:
        in_pack = in_pack + 1 if (entry.pack, entry.base) == pack else 1
        pack = entry.pack, entry.base
        files += entry.kind == "file"
        size += entry.size
        if files > artifact.file_count or size > artifact.size_bytes or in_pack > MAX_ENTRIES:
            raise Corrupt(
                f"the index names more than the manifest does: {artifact.file_count} files of {artifact.size_bytes}"
                f" bytes, at most {MAX_ENTRIES} in a pack; found {files} files of {size} bytes, {in_pack} entries in"
                f" {pack}"
            )
        yield entry


def parse(line: bytes) -> Entry:
    """Parses one line. Raises Corrupt if a field is missing or has the wrong type. The caller checks the name."""
    try:
        data = json.loads(line)
        kind = data.get("type", "file")
        entry = Entry(
            name=_text(data["name"]),
            pack=_text(data["pack"]),
            offset=_count(data["offset"]),
            frame=_frame(data.get("frame")),
            size=_count(data["size"]) if kind == "file" else 0,
            digest=_text(data.get("sha1") or data["sha256"]) if kind == "file" else "",
            kind=kind,
            mode=int(data.get("mode", "0644"), 8) & 0o7777,
            mtime_ns=int(data.get("mtimeNs", 0)),
            target=_text(data["target"]) if kind == "symlink" else "",
            base=_flag(data.get("base", False)),
            inode=_count(data.get("inode", 0)),
            born_ns=int(data.get("bornNs", 0)),
            ctime_ns=int(data.get("ctimeNs", 0)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"the filestore's index has an invalid line: {line[:100]!r}") from error
    if kind not in ("file", "folder", "symlink"):
        raise Corrupt(f"the filestore's index has an entry of an unknown type: {line[:100]!r}")
    return entry


def check_name(entry: Entry) -> Entry:
    """Raises Corrupt for a name that leads out of the folder: names come from the store."""
    parts = PurePosixPath(entry.name).parts
    if (
        not entry.name
        or entry.name != "/".join(parts)
        or ".." in parts
        or entry.name.startswith("/")
        or parts == (".",)
    ):
        raise Corrupt(f"the index has the name {entry.name!r}, which could lead out of the folder")
    return entry


def _frame(value: object) -> Frame | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError(value)
    return Frame(_count(value[0]), _count(value[1]))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(value)
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value
