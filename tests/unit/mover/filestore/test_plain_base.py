"""Layout Plain: which file of a base is the same as one of the filestore, and which decides by its content. By tables;
test_differential.py takes whole snapshots."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ocore_crds.stored.manifest import FilestoreArtifact, StoredObject
from ocore_mover.errors import Corrupt
from ocore_mover.filestore.base import BaseSnapshot
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.plain.base import BATCH, Compared, Difference, PlainBase
from ocore_mover.filestore.plain.index_lines import plain_line
from ocore_mover.store.interface import Store

FROZEN = 5_000_000_000
DIGEST = "ab" * 32
OLD = Entry("file", "pack", 0, None, 5, DIGEST, mode=0o644, mtime_ns=1_500_000_007, inode=11, born_ns=22, ctime_ns=33)


class Base(PlainBase):
    """Whose index is here."""

    def __init__(self, scratch: Path, entries: tuple[Entry, ...], frozen_ns: int | None = FROZEN) -> None:
        pack = StoredObject(key="a/pack", size=1, sha256="0" * 64)
        files = [entry for entry in entries if entry.kind == "file"]
        artifact = FilestoreArtifact(
            layout="Plain",
            file_count=len(files),
            size_bytes=sum(entry.size for entry in files),
            index=pack,
            packs=(pack,),
            frozen_ns=frozen_ns,
        )
        super().__init__(BaseSnapshot("id", "key", "0" * 64, artifact), scratch)
        self._text = b"".join(map(plain_line, entries))

    def texts(self, store: Store) -> Iterator[bytes]:
        middle = self._text.find(b"\n", len(self._text) // 2) + 1
        yield from (text for text in (self._text[:middle], self._text[middle:]) if text)


def status(size: int = 5, mtime_ns: int = OLD.mtime_ns, mode: int = stat.S_IFREG | 0o644, inode: int = 11) -> Any:
    seconds = mtime_ns // 10**9
    values = (mode, inode, 0, 1, 0, 0, size, 0, seconds, 0)
    return os.stat_result(values, {"st_mtime_ns": mtime_ns})


def compared(
    scratch: Path, entries: tuple[Entry, ...], files: list[tuple[str, Any, dict[str, Any]]]
) -> tuple[list[Compared], Difference]:
    """All files, and the difference, which is still open."""
    base = Base(scratch, entries)
    base.read(cast(Store, None))
    found = Difference(base)
    for name, seen, times in files:
        found.add(name, seen, **{"born_ns": 22, "ctime_ns": 33, "late": False, **times})
    return list(found), found


SAME, READ, NEW = (0, ""), (0, DIGEST), (None, "")


@pytest.mark.parametrize(
    ("old", "new", "times", "result"),
    [
        ({}, {}, {}, SAME),
        ({}, {"size": 6}, {}, NEW),
        ({}, {"mtime_ns": OLD.mtime_ns + 1}, {}, NEW),
        ({}, {"mtime_ns": OLD.mtime_ns + 10**9}, {}, NEW),
        ({}, {"mode": stat.S_IFREG | 0o600}, {}, NEW),
        ({}, {"mode": stat.S_IFREG | 0o4644}, {}, NEW),
        ({}, {"mode": stat.S_IFIFO | 0o644}, {}, NEW),
        # Another file under the same name, or one whose change time is known: its content decides.
        ({}, {"inode": 12}, {}, READ),
        ({}, {}, {"born_ns": 23}, READ),
        ({}, {}, {"ctime_ns": 34}, READ),
        ({}, {"size": 6, "inode": 12}, {}, NEW),
        # What either side does not know is not compared.
        ({"inode": 0}, {"inode": 12}, {}, SAME),
        ({"born_ns": 0}, {}, {"born_ns": 23}, SAME),
        ({"ctime_ns": 0}, {}, {"ctime_ns": 34}, SAME),
        ({}, {"inode": 0}, {"born_ns": 0, "ctime_ns": 0}, SAME),
        ({"inode": 0}, {"inode": 12}, {"ctime_ns": 34}, READ),
        # From the freeze on it may have changed again within one step of the clock.
        ({"mtime_ns": FROZEN - 1}, {"mtime_ns": FROZEN - 1}, {}, SAME),
        ({"mtime_ns": FROZEN}, {"mtime_ns": FROZEN}, {}, NEW),
        ({"mtime_ns": -1}, {"mtime_ns": -1}, {}, SAME),
        ({"mode": 0o7777}, {"mode": stat.S_IFREG | 0o7777}, {}, SAME),
    ],
)
def test_what_decides_whether_a_file_is_the_same(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any], times: dict[str, int], result: tuple[int | None, str]
) -> None:
    (found,), _ = compared(tmp_path, (OLD._replace(**old),), [("file", status(**new), times)])
    assert (found.path, found.size, found.late) == (b"file", new.get("size", 5), False)
    assert (found.line, found.expected) == result


def test_without_a_time_of_the_freeze_no_file_is_the_same(tmp_path: Path) -> None:
    base = Base(tmp_path, (OLD,), frozen_ns=None)
    base.read(cast(Store, None))
    assert list(base.files()) == []


def test_files_are_compared_by_their_whole_paths_from_the_greatest_down(tmp_path: Path) -> None:
    names = ["a", "a/b", "a/b/c", "a-b", "ab", "b", "é", os.fsdecode(b"\xff")]
    kinds = [Entry("folder", "pack", 0, kind="folder"), Entry("link", "pack", 0, kind="symlink", target="a")]
    entries = (*kinds, *(OLD._replace(name=name) for name in names))
    mine = [*names, "a/a", "aa", "c", "folder", "link", "z"]
    found, _ = compared(tmp_path, entries, [(name, status(), {}) for name in mine])
    assert [file.path for file in found] == sorted(map(os.fsencode, mine), reverse=True)
    lines = {os.fsdecode(file.path): file.line for file in found}
    assert lines == {**{name: number + 2 for number, name in enumerate(names)}, **dict.fromkeys(mine[len(names) :])}


def test_what_is_used_and_what_is_new_are_counted(tmp_path: Path) -> None:
    entries = tuple(OLD._replace(name=name) for name in ("same", "read", "changed"))
    files = [
        ("same", status(), {}),
        ("read", status(inode=12), {}),
        ("changed", status(size=7), {}),
        ("new", status(size=11), {"late": True}),
    ]
    found, difference = compared(tmp_path, entries, files)
    reused, new, unread = difference.sizes()
    assert (reused.files, reused.size, list(reused.used)) == (1, 5, [1, 0, 0])
    assert (new, unread) == (18, 5), "a file whose content decides is neither"
    assert {file.path: file.late for file in found}[b"new"]
    assert sum(file.late for file in found) == 1


def test_folders_come_with_some_files_each(tmp_path: Path) -> None:
    count = BATCH + 1
    many = [(f"many/{number:03}", status(), {}) for number in range(count)]
    entries = (OLD, OLD._replace(name="sub/read"))
    files = [*many, ("file", status(), {}), ("sub/read", status(inode=1), {}), ("sub/late", status(), {"late": True})]
    _, difference = compared(tmp_path, entries, files)
    found = list(difference.to_store(None))
    assert [(folder, late, len(few)) for folder, late, few in found] == [
        ("sub/", False, 1),
        ("sub/", True, 1),
        ("many/", False, BATCH),
        ("many/", False, 1),
        ("", False, 1),
    ]
    reused, _, _ = difference.sizes()
    stored = [(folder, late, len(few)) for folder, late, few in difference.to_store(reused)]
    assert stored == [(folder, late, len(few)) for folder, late, few in found if folder]
    assert [(folder, late, len(few)) for folder, late, few in difference.to_read()] == [("sub/", False, 1)]
    reused.add([(1, 5)])  # its content was the same
    assert [folder for folder, late, _ in difference.to_store(reused) if folder == "sub/" and not late] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"base": True},
        {"digest": "zz" * 32},
        {"digest": "a"},
        {"size": 1 << 64},
        {"inode": 1 << 64},
        {"born_ns": 1 << 63},
    ],
)
def test_an_index_that_no_filestore_has_is_damaged(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(Corrupt):
        Base(tmp_path, (OLD._replace(**changes),)).read(cast(Store, None))


def test_the_lines_files_and_bytes_of_an_index_are_counted(tmp_path: Path) -> None:
    entries = (OLD, Entry("folder", "pack", 0, kind="folder"), OLD._replace(name="other", size=8))
    base = Base(tmp_path, entries)
    base.read(cast(Store, None))
    assert (base.count, base._named, base._named_bytes) == (3, 2, 13)
    assert base._runs == [("pack", 0, 3)]
    assert len(list(base.files())) == 2


def test_the_space_is_freed(tmp_path: Path) -> None:
    base = Base(tmp_path, (OLD,))
    with base, Difference(base) as difference:
        pass
    assert base._spool.closed
    for records in (base._files, difference._files):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(records._fd)
