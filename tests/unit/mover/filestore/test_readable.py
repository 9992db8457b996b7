"""What a snapshot's index names can be restored: the writer obeys the reader's limits, and the index is read before the
manifest is written."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from backports import zstd

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact, StoredObject
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore import index, links, packset, unpack
from ocore_mover.filestore.folders import MAX_DEPTH, ClaimFolders
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.plain import copy
from ocore_mover.filestore.plain.index_lines import plain_line
from ocore_mover.filestore.readable import check_index
from ocore_mover.store import Store
from support.mover.contents import put
from support.mover.filestore import no_links
from support.mover.plain_desk import Folder
from support.mover.plain_tree import entries_of, stage, take, tree

#: A name in no encoding: its index line has six bytes for each.
LONG = os.fsdecode(b"\xff" * 255)


def make_below(root: Path, depth: int, *, files: int) -> None:
    """Folders with long names, one in the other, and empty files and symbolic links in the last one."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(LONG, dir_fd=fd)
        below = os.open(LONG, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    for number in range(files):
        os.close(os.open(f"f{number}", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        os.symlink("f0", f"l{number}", dir_fd=fd)
    os.close(fd)


@pytest.fixture
def deep(folders: ClaimFolders) -> Iterator[ClaimFolders]:
    yield folders
    fd = os.open(folders.claim, os.O_RDONLY | os.O_DIRECTORY)
    for name in links.names_in(fd):
        links.remove(name, fd)
    os.close(fd)


@pytest.mark.parametrize(
    ("depth", "files"), [(MAX_DEPTH - 1, 2), (16, 1500)], ids=["the longest line", "many long lines"]
)
def test_row_64_long_names_that_an_uploader_makes(
    deep: ClaimFolders, folder_store: Store, depth: int, files: int
) -> None:
    make_below(deep.filestore, depth, files=files)
    artifact, _ = take(folder_store, deep)
    assert artifact.file_count == files
    check_index(folder_store, artifact, deep.claim, live=False)
    stage(folder_store, artifact, deep)


def test_row_64_a_pack_has_few_bytes_of_index(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in memory together, for the writer and the reader."""
    monkeypatch.setattr(packset, "PACK_LINES", 1000)
    for number in range(40):
        (folders.filestore / f"{number}").touch()
    artifact, _ = take(folder_store, folders, jobs=1)
    packs = [len(found) for _, found in unpack.blocks(folder_store, artifact, index.parse)]
    assert len(packs) >= 4
    assert max(packs) <= 10


def test_row_64_times_that_a_file_system_can_have(folders: ClaimFolders, folder_store: Store) -> None:
    """After the year 2262 nanoseconds do not fit into 64 bits."""
    late = 13_000_000_000 * 1_000_000_000
    (folders.filestore / "folder").mkdir()
    (folders.filestore / "folder" / "file").touch()
    for path in (folders.filestore / "folder" / "file", folders.filestore / "folder"):
        os.utime(path, ns=(late, late))
        assert path.stat().st_mtime_ns == late, "this file system has no such time"
    artifact, _ = take(folder_store, folders, consistency="BestEffort")
    assert tree(stage(folder_store, artifact, folders)) == tree(folders.filestore)


# --- without hard links: the listing of a folder that changes --------------------------------------------------


def listed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    real = links.items_in

    def twice(fd: int) -> Iterator[links.Item]:
        found = list(real(fd))
        yield from (*found, *found)

    monkeypatch.setattr(links, "items_in", twice)


def test_row_64_a_file_that_is_listed_twice_is_stored_once(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders.filestore / "file").write_bytes(b"x")
    os.utime(folders.filestore, (1, 1))
    os.utime(folders.filestore / "file", (1, 1))
    no_links(monkeypatch)
    with monkeypatch.context() as patched:
        listed_twice(patched)
        artifact, _ = take(folder_store, folders)
    assert [entry.name for entry in entries_of(folder_store, artifact)] == ["file"]
    check_index(folder_store, artifact, folders.claim, live=True)
    with monkeypatch.context() as patched:
        listed_twice(patched)
        patched.setattr(copy, "KNOWN", 0)
        artifact, _ = take(folder_store, folders)
    with pytest.raises(MoverError) as error:
        check_index(folder_store, artifact, folders.claim, live=True)
    assert (error.value.reason, error.value.retryable) == (conditions.FILESTORE_CHANGING, True)


def written(store: Store, *found: Entry) -> FilestoreArtifact:
    pack = StoredObject(key="a/p-1.tar", size=0, sha256="0" * 64)
    stored = put(store, "a/index.jsonl.zst", zstd.compress(b"".join(map(plain_line, found))))
    files = [entry for entry in found if entry.kind == "file"]
    size = sum(entry.size for entry in files)
    return FilestoreArtifact(layout="Plain", file_count=len(files), size_bytes=size, index=stored, packs=(pack,))


def file(name: str) -> Entry:
    return Entry(name, "p-1.tar", 0, None, 1, "0" * 64)


@pytest.mark.parametrize("other", [file("a"), Entry("a", "p-1.tar", 0, kind="symlink", target="b")])
def test_row_64_what_became_something_else(folder_store: Store, tmp_path: Path, other: Entry) -> None:
    """The folder had a file, and then it was no folder."""
    folder = Entry("a", "p-1.tar", 0, kind="folder")
    check_index(
        folder_store, written(folder_store, file("a.b"), file("a/x/y"), folder, file("a0")), tmp_path, live=True
    )
    with pytest.raises(MoverError, match="replaced a in the filestore"):
        check_index(folder_store, written(folder_store, file("a/x/y"), file("a.b"), other), tmp_path, live=True)


def test_row_64_an_index_that_a_restore_would_refuse(folder_store: Store, tmp_path: Path) -> None:
    good = written(folder_store, file("a"))
    check_index(folder_store, good, tmp_path, live=False)
    for bad in (
        good.model_copy(update={"file_count": 2}),
        good.model_copy(update={"size_bytes": 2}),
        good.model_copy(update={"packs": ()}),
        written(folder_store, file("../a")),
    ):
        with pytest.raises(Corrupt):
            check_index(folder_store, bad, tmp_path, live=False)


def test_row_64_the_index_is_read_before_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    real = packset.Pack.add_line
    monkeypatch.setattr(packset.Pack, "add_line", lambda pack, line: real(pack, line.replace(b'"offset"', b'"off"')))
    done = folder.snapshot()
    assert (done.code, done.reason) == (1, "Corrupt")
    assert "invalid line" in done.result["failure"]["message"]
    assert folder.objects() == []
