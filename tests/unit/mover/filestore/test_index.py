"""The lines of a filestore's index: what is written is read back, and what no version of ours writes is refused."""

import json
from typing import Any

import pytest
from backports import zstd

from ocore_crds.stored.manifest import FilestoreArtifact, StoredObject
from ocore_mover.errors import Corrupt
from ocore_mover.filestore import index
from ocore_mover.filestore.index import Entry, Frame
from ocore_mover.filestore.odoo.index_lines import odoo_line, parse_odoo, parse_odoo_lines
from ocore_mover.filestore.plain.index_lines import plain_line

SHA1 = "01" + "23456789abcdef" * 2 + "0123456789"
SHA256 = "ab" * 32
NAME = f"01/{SHA1}"
FILE = {
    "name": "a/b",
    "type": "file",
    "pack": "p",
    "offset": 512,
    "size": 3,
    "sha256": SHA256,
    "mode": "0640",
    "mtimeNs": 5,
}


def line(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in {**FILE, **changes}.items() if v is not ...}).encode()


def written(name: str, pack: str, **more: Any) -> bytes:
    return plain_line(Entry(name, pack, 0, size=1, digest=SHA256, **more))[:-1]


# --- one line ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        Entry("a/b", "p", 512, size=3, digest=SHA256, mode=0o640, mtime_ns=7),
        Entry("a/b", "p", 0, Frame(3, 4), size=3, digest=SHA256, mode=0o7777, mtime_ns=-7, base=True),
        Entry("a/b", "p", 1, size=0, digest=SHA256, inode=1, born_ns=2, ctime_ns=3),
        Entry("a/b", "p", 1, size=0, digest=SHA256, born_ns=-2),
        Entry("a", "p", 1, kind="folder", mode=0o755, mtime_ns=7, inode=9),
        Entry("a/l", "p", 1, Frame(0, 0), kind="symlink", target="../x", mtime_ns=7),
        Entry("a/\udcff\n", "p", 1, kind="folder", mode=0),
    ],
)
def test_what_is_written_is_read_back(entry: Entry) -> None:
    written = plain_line(entry)
    assert (written.count(b"\n"), written[-1:]) == (1, b"\n")
    assert index.parse(written) == entry


def test_what_a_line_has_is_only_what_its_kind_has() -> None:
    file = json.loads(plain_line(Entry("a", "p", 1, size=3, digest=SHA256, mode=0o640)))
    assert file == {
        "name": "a",
        "type": "file",
        "pack": "p",
        "offset": 1,
        "size": 3,
        "sha256": SHA256,
        "mode": "0640",
        "mtimeNs": 0,
    }
    folder = json.loads(plain_line(Entry("a", "p", 1, kind="folder", mode=0o755)))
    assert folder == {"name": "a", "type": "folder", "pack": "p", "offset": 1, "mode": "0755", "mtimeNs": 0}
    link = json.loads(plain_line(Entry("a", "p", 1, kind="symlink", target="t")))
    assert link == {"name": "a", "type": "symlink", "pack": "p", "offset": 1, "target": "t", "mtimeNs": 0}


def test_what_an_earlier_version_did_not_write_has_a_default() -> None:
    short = {"name": "a", "pack": "p", "offset": 1, "size": 3, "sha1": SHA1}
    assert index.parse(json.dumps(short).encode()) == Entry("a", "p", 1, size=3, digest=SHA1, mode=0o644)
    assert index.parse(line(mode="17777")).mode == 0o7777, "only the bits of a mode"


@pytest.mark.parametrize(
    "changes",
    [
        *({name: ...} for name in ("name", "pack", "offset", "size", "sha256")),
        *({name: 3} for name in ("name", "pack", "sha256", "mode")),
        *({name: "x"} for name in ("offset", "size", "inode", "mtimeNs", "bornNs", "ctimeNs", "frame", "base", "mode")),
        *({name: -1} for name in ("offset", "size", "inode")),
        *({name: 1.0} for name in ("offset", "size", "inode")),
        {"name": "a\0b"},
        {"type": "symlink", "target": ...},
        {"type": "symlink", "target": "a\0"},
        {"type": "device"},
        {"type": "a"},
        {"type": None},
        {"type": []},
        *({"frame": value} for value in ([], [1], [1, 2, 3], [-1, 0], [0, -1], [0, None], {"a": 1, "b": 2})),
        {"base": 1},
    ],
)  # fmt: skip
def test_a_line_that_no_version_writes_is_refused(changes: dict[str, Any]) -> None:
    assert index.parse(line()).digest == SHA256
    with pytest.raises(Corrupt):
        index.parse(line(**changes))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"3", b'{"name":"\xff"}'])
def test_what_is_no_line_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt, match="invalid line"):
        index.parse(data)


@pytest.mark.parametrize("name", ["a", "a/b", "..a", "a/b..", "...", "a b", "a/.b"])
def test_a_name_within_the_folder(name: str) -> None:
    entry = Entry(name, "p", 0)
    assert index.check_name(entry) is entry


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/", "/a", "//a", "a/", "a//b", "./a", "a/.", "../a", "a/..", "a/../b", "a/../../b"]
)
def test_a_name_that_could_lead_out_of_the_folder_is_refused(name: str) -> None:
    with pytest.raises(Corrupt, match="could lead out"):
        index.check_name(Entry(name, "p", 0))


def test_the_folder_of_an_entry() -> None:
    assert [Entry(name, "p", 0).folder for name in ("a/b/c", "a")] == ["a", "a"]


# --- Odoo -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [None, Frame(0, 0), Frame(7, 1024)])
@pytest.mark.parametrize("name", [NAME, f"{SHA1[:3]}/{SHA1}"])
def test_a_line_of_odoo_is_read_back(name: str, frame: Frame | None) -> None:
    written = odoo_line(name, 10, "p-1.tar", 512, frame)
    expected = Entry(name, "p-1.tar", 512, frame, 10, SHA1)
    assert parse_odoo(written[:-1]) == index.parse(written) == expected
    of_base = written.removesuffix(b"}\n") + index.BASE_END
    assert parse_odoo(of_base[:-1]) == expected._replace(base=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"01/{SHA1}", f"02/{SHA1}"),
        (f"01/{SHA1}", SHA1),
        (f'"sha1":"{SHA1}"', f'"sha1":"{SHA1[::-1]}"'),
        ("512", "-512"),
        ('"p-1.tar"', '"../p"'),
        ("}", "} "),
    ],
)
def test_another_line_is_none_of_odoo(old: str, new: str) -> None:
    written = odoo_line(NAME, 10, "p-1.tar", 512, None)
    wrong = written.replace(old.encode(), new.encode(), 1)
    assert wrong != written
    with pytest.raises(Corrupt, match="invalid for an Odoo filestore"):
        parse_odoo(wrong[:-1])
    assert len(parse_odoo_lines(written * 2)) == 2
    for lines in (written + wrong + written, written + wrong):
        with pytest.raises(Corrupt, match="invalid for a full Odoo filestore") as refused:
            parse_odoo_lines(lines)
        assert repr(wrong[:-1]) in str(refused.value)


def test_many_lines_of_odoo_are_read_at_once() -> None:
    both = odoo_line(NAME, 10, "p-1", 0, None) + odoo_line(f"{SHA1[:3]}/{SHA1}", 11, "p-2", 1, Frame(0, 0))
    rest = (SHA1.encode(), b"10", b"p-1")
    assert parse_odoo_lines(both) == [
        (b"01", b"", *rest),
        (b"", SHA1[:3].encode(), SHA1.encode(), b"11", b"p-2"),
    ]
    assert parse_odoo_lines(b"") == []


# --- many lines -------------------------------------------------------------------------------------------------------


def chunks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_are_whole_whatever_the_chunks_are(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(index, "DECOMPRESSED_CHUNK", 5)
    lines = [str(n).encode() * (n % 4) for n in range(50)]
    packed = zstd.compress(b"".join(x + b"\n" for x in lines))
    assert list(index.lines(chunks(packed, size))) == lines
    assert all(text.endswith(b"\n") for text in index.texts(chunks(packed, size)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "truncated"),
        (zstd.compress(b"a\nb\n" * 99)[:-1], "truncated"),
        (zstd.compress(b"a\nb"), "truncated"),
        (b"no zstd", "cannot be decompressed"),
        (zstd.compress(b"a\n") + b"x", "data after its end"),
        (zstd.compress(b"a\n") * 2, "data after its end"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_an_index_that_is_not_whole_is_refused(data: bytes, says: str, size: int) -> None:
    with pytest.raises(Corrupt, match=says):
        list(index.lines(chunks(data, size)))


def test_an_index_of_nothing_is_whole() -> None:
    assert list(index.lines([zstd.compress(b"")])) == []


@pytest.mark.parametrize(("length", "fits"), [(100, True), (101, False)])
def test_a_line_has_a_greatest_length(monkeypatch: pytest.MonkeyPatch, *, length: int, fits: bool) -> None:
    monkeypatch.setattr(index, "MAX_LINE", 100)
    monkeypatch.setattr(index, "DECOMPRESSED_CHUNK", 1)
    packed = [zstd.compress(b"x" * length + b"\n")]
    if fits:
        assert [len(found) for found in index.lines(packed)] == [length]
    else:
        with pytest.raises(Corrupt, match="line that is too long"):
            list(index.lines(packed))


@pytest.mark.parametrize(("more", "fits"), [(0, True), (-1, False)])
def test_an_index_expands_as_far_as_its_size_allows(monkeypatch: pytest.MonkeyPatch, *, more: int, fits: bool) -> None:
    data = b"short line\n" * 1000
    packed = zstd.compress(data)
    monkeypatch.setattr(index, "MAX_RATIO", 3)
    monkeypatch.setattr(index, "MAX_LINE", len(data) - 3 * len(packed) + more)
    if fits:
        assert len(list(index.lines([packed]))) == 1000
    else:
        with pytest.raises(Corrupt, match="expands to more than 3 times"):
            list(index.lines([packed]))


@pytest.mark.parametrize(("length", "counts"), [(4096, False), (4097, False), (4095, True)])
def test_long_lines_do_not_count(monkeypatch: pytest.MonkeyPatch, *, length: int, counts: bool) -> None:
    """Long paths with the same beginning compress to almost nothing."""
    monkeypatch.setattr(index, "MAX_RATIO", 3)
    monkeypatch.setattr(index, "MAX_LINE", 5000)
    packed = [zstd.compress((b"x" * (length - 1) + b"\n") * 16)]
    if counts:
        with pytest.raises(Corrupt, match="expands"):
            list(index.lines(packed))
    else:
        assert len(list(index.lines(packed))) == 16


# --- beside the manifest ----------------------------------------------------------------------------------------------

NOTHING = StoredObject(key="a/p", size=0, sha256="0" * 64)


def artifact(files: int, size: int) -> FilestoreArtifact:
    return FilestoreArtifact(layout="Plain", file_count=files, size_bytes=size, index=NOTHING, packs=(NOTHING,))


TWO = (Entry("a", "p", 0, size=4), Entry("d", "p", 0, kind="folder"), Entry("b", "q", 0, size=6))


@pytest.mark.parametrize(("files", "size", "fits"), [(2, 10, True), (3, 11, True), (1, 10, False), (2, 9, False)])
def test_an_index_has_at_most_what_the_manifest_has(*, files: int, size: int, fits: bool) -> None:
    found = index.within(TWO, artifact(files, size))
    if fits:
        assert tuple(found) == TWO
    else:
        assert (next(found), next(found)) == TWO[:2]
        with pytest.raises(Corrupt, match="found 2 files of 10 bytes, 1 entries in"):
            next(found)


def test_a_pack_has_a_greatest_number_of_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one pack are in memory together. A pack of the base with the same name is another one."""
    monkeypatch.setattr(index, "MAX_ENTRIES", 2)
    one, of_base, other = Entry("a", "p", 0), Entry("a", "p", 0, base=True), Entry("a", "q", 0)
    fitting = [one, one, of_base, of_base, other, other, one, one]
    assert list(index.within(fitting, artifact(100, 0))) == fitting
    for start in ([], [other], [other, other, of_base]):
        with pytest.raises(Corrupt, match="3 entries in"):
            list(index.within([*start, one, one, one], artifact(100, 0)))


# --- lines of some packs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [({"a/b"}, 1, 0), ({"a"}, 1, 1), ({"c", "é\n"}, 0, 1), ({"a/b/c", "b", "a/"}, 0, 0)],
)
def test_lines_of_the_packs_with_a_name(wanted: set[str], first: int, last: int) -> None:
    """A name with an escape is left to the parser."""
    one = [written("z", "p"), written("a/b", "p")]
    escaped = [written("y", "q"), written("é\n/x", "q")]
    other = [written("a/c", "r"), written("c", "r")]
    found = list(index.of_packs_with([*one, *escaped, *other], frozenset(wanted)))
    assert found == one * first + escaped + other * last


def test_a_line_of_another_form_is_left_to_the_parser() -> None:
    other = json.dumps({"pack": "p", "name": "b"}).encode()
    assert list(index.of_packs_with([other, b"{}", b""], frozenset({"a"}))) == [other, b"{}", b""]


def test_a_pack_of_the_base_is_another_one() -> None:
    lines = [written("a", "p"), written("b", "p"), written("c", "p", base=True), written("d", "p", base=True)]
    assert list(index.of_packs_with(lines, frozenset({"c"}))) == lines[2:]


def test_few_lines_of_a_pack_without_end_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than :func:`within` takes, so that it refuses them."""
    monkeypatch.setattr(index, "MAX_ENTRIES", 2)
    assert len(list(index.of_packs_with([written("a", "p")] * 9, frozenset({"a"})))) == 3
