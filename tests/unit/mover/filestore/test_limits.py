"""What a damaged or hostile store may make the restore of a filestore do: bounded memory, bounded size."""

import hashlib
from collections.abc import Iterator

import pytest
from backports import zstd

from ocore_crds.stored.manifest import FilestoreArtifact, StoredObject
from ocore_mover.errors import Corrupt
from ocore_mover.filestore import index, unpack
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.odoo.index_lines import odoo_line, parse_odoo
from ocore_mover.store import Store
from support.mover.contents import put

SHA1 = "0123456789abcdef0123456789abcdef01234567"
LINE = odoo_line(f"01/{SHA1}", 10, "p-1.tar", 512, None)


def artifact(files: int, size: int, store: Store | None = None, data: bytes = b"") -> FilestoreArtifact:
    nothing = StoredObject(key="a/p-1.tar", size=0, sha256="0" * 64)
    stored = put(store, "a/index.jsonl.zst", data) if store is not None else nothing
    return FilestoreArtifact(layout="Odoo", file_count=files, size_bytes=size, index=stored, packs=(nothing,))


def wide(data: bytes) -> bytes:
    """One frame that asks for a window of 128 MiB."""
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    frame = zstd.ZstdCompressor(options=options)
    return frame.compress(data) + frame.flush()


def test_an_index_that_expands_without_end() -> None:
    bomb = zstd.compress(LINE * 1_000_000)
    assert len(bomb) < 20_000
    seen: list[bytes] = []
    with pytest.raises(Corrupt, match="expands to more than 1000 times its size"):
        seen.extend(index.lines([bomb]))
    assert len(seen) * len(LINE) <= len(bomb) * index.MAX_RATIO + index.MAX_LINE
    honest = b"".join(odoo_line(f"01/{i:040x}", i, "p-1.tar", 512 * i, None) for i in range(50_000))
    assert sum(1 for _ in index.lines([zstd.compress(honest, level=19)])) == 50_000


def test_an_index_with_a_huge_window() -> None:
    with pytest.raises(Corrupt, match="cannot be decompressed"):
        list(index.lines([wide(LINE)]))
    assert list(index.lines([zstd.compress(LINE)])) == [LINE.rstrip()]


def test_a_pack_with_a_huge_window(store: Store) -> None:
    digest = hashlib.sha256(bytes(1000)).hexdigest()
    entry = Entry("a", "p-1.tar.zst", 0, index.Frame(0, 0), 1000, digest)

    def restored(data: bytes) -> list[bytes]:
        pack = put(store, "a/p-1.tar.zst", data)
        with unpack.PackReader(store, "sha256") as reader:
            return [b"".join(pieces) for _, pieces in reader.contents(pack, [entry], [entry])]

    assert restored(zstd.compress(bytes(1000))) == [bytes(1000)]
    with pytest.raises(Corrupt, match="cannot be decompressed"):
        restored(wide(bytes(1000)))


def entries(count: int, *, size: int = 10, packs: int = 1, kind: str = "file") -> Iterator[Entry]:
    for i in range(count):
        yield Entry(f"{i}", f"p-{i * packs // count}", 0, None, size, kind=kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "stated"),
    [
        (entries(4), artifact(3, 40)),
        (entries(4), artifact(4, 39)),
        (entries(index.MAX_ENTRIES + 1, size=0), artifact(10**9, 10**9)),
        (entries(index.MAX_ENTRIES + 1, size=0, kind="folder"), artifact(0, 0)),
    ],
    ids=["files", "bytes", "entries in a pack", "folders in a pack"],
)
def test_an_index_with_more_than_the_manifest_states(found: Iterator[Entry], stated: FilestoreArtifact) -> None:
    with pytest.raises(Corrupt, match="names more than the manifest does"):
        list(index.within(found, stated))


def test_an_index_with_what_the_manifest_states() -> None:
    assert len(list(index.within(entries(4), artifact(4, 40)))) == 4
    many = index.MAX_ENTRIES + 2
    assert len(list(index.within(entries(many, packs=2), artifact(many, many * 10)))) == many


def test_the_restore_stops_at_the_first_entry_too_many(store: Store) -> None:
    data = zstd.compress(LINE * 3)
    found = unpack.entries(store, artifact(2, 100, store, data), parse_odoo)
    assert [next(found).size, next(found).size] == [10, 10]
    with pytest.raises(Corrupt, match="names more than the manifest does"):
        next(found)
