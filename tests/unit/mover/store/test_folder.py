"""A folder that is full, read-only, without hard links, or broken."""

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.errors import Corrupt, StoreError
from ocore_mover.store import Store, open_store
from ocore_mover.store import folder as folder_module
from ocore_mover.store.interface import abort_uploads
from support.mover.stored import put


def tree(store: Store) -> list[str]:
    assert store.local_root is not None
    return sorted(path.relative_to(store.local_root).as_posix() for path in store.local_root.rglob("*"))


def test_empty_folders_go_and_the_root_stays(folder: Store) -> None:
    put(folder, "a/b/c/1", b"x")
    put(folder, "a/d/2", b"x")
    assert folder.delete(["a/b/c/1"]) == 1
    assert tree(folder) == ["a", "a/d", "a/d/2"]
    assert folder.delete(["a/d/2", "a/d/3"]) == 1
    assert tree(folder) == []
    assert folder.local_root is not None
    assert folder.local_root.is_dir()


def test_left_over_temporary_files_are_never_listed_and_are_removed(folder: Store) -> None:
    put(folder, "s/old/1", b"x")
    writer = folder.writer("s/old/2")
    writer.write(b"x" * 3_000_000)
    other = folder.writer("s/new/3")
    assert [found.key for found in folder.list("")] == ["s/old/1"]
    assert abort_uploads(folder, "s/old/") == 1
    assert abort_uploads(folder, "s/") == 1
    assert tree(folder) == ["s", "s/old", "s/old/1"]
    writer.abort()
    other.abort()


def test_a_file_of_another_program_is_adopted(folder: Store, tmp_path: Path) -> None:
    assert folder.local_root is not None
    path = folder.local_root / "dump" / "1.dat.zst"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"dumped")
    expected = StoredObject(key="elsewhere", size=6, sha256=hashlib.sha256(b"dumped").hexdigest())
    assert folder.adopt("dump/1.dat.zst", expected) == expected.model_copy(update={"key": "dump/1.dat.zst"})
    for data in (b"dumpex", b"dumped more", b""):
        path.write_bytes(data)
        with pytest.raises(Corrupt, match="reads back other bytes"):
            folder.adopt("dump/1.dat.zst", expected)


def test_a_disk_that_changes_bytes_is_found(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def spoil(fd: int) -> None:
        real(fd)
        if os.fstat(fd).st_size == 5:
            os.pwrite(fd, b"X", 2)

    monkeypatch.setattr(folder_module.os, "fsync", spoil)
    with pytest.raises(Corrupt, match="The volume is broken"):
        put(folder, "object", b"right")
    monkeypatch.undo()
    assert tree(folder) == []


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(folder_module.os, "link", refuse)


def test_the_first_one_wins_without_hard_links(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    without_links(monkeypatch)
    assert folder.put_if_absent("m/manifest", b"first")
    assert not folder.put_if_absent("m/manifest", b"second")
    assert folder.get("m/manifest") == b"first"
    assert tree(folder) == ["m", "m/manifest"]


def test_a_guard_that_a_crash_left_is_broken(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    without_links(monkeypatch)
    assert folder.local_root is not None
    guard = folder.local_root / ".tmp-guard-manifest"
    guard.parent.mkdir(parents=True)
    guard.touch()
    assert not folder.put_if_absent("manifest", b"x")  # another writer has it
    os.utime(guard, (1, 1))
    assert folder.put_if_absent("manifest", b"x")


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A real file system of 4 MiB (root only)."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(mount)], check=False).returncode:
        pytest.skip("no mounts here")
    yield open_store(mount.as_uri()), mount
    subprocess.run(["umount", str(mount)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))


def test_a_full_disk(small_disk: tuple[Store, Path]) -> None:
    store, mount = small_disk
    put(store, "old/object", bytes(1_000_000))
    with pytest.raises(StoreError) as error:
        put(store, "new/object", os.urandom(5_000_000))
    assert error.value.reason == conditions.NO_SPACE
    assert "Enlarge" in error.value.message
    assert tree(store) == ["old", "old/object"]
    fill(mount / "filler")
    assert store.delete(["old/object"]) == 1  # needs no room
    assert not (mount / "old").exists()


def test_a_read_only_disk(small_disk: tuple[Store, Path]) -> None:
    store, mount = small_disk
    stored = put(store, "object", b"x")
    subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
    for write in (lambda: put(store, "other", b"x"), lambda: store.delete(["object"])):
        with pytest.raises(StoreError) as error:
            write()
        assert error.value.reason == conditions.STORE_NOT_WRITABLE
    assert list(store.read(stored)) == [b"x"]


def test_row_71_a_failing_disk_has_its_own_reason(tmp_path: Path) -> None:
    store = folder_module.FolderStore(tmp_path)
    with pytest.raises(StoreError) as caught, store.translated("read a"):
        raise OSError(errno.EIO, "Input/output error")
    assert (caught.value.reason, caught.value.retryable) == (conditions.STORE_IO_ERROR, False)


REASONS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), conditions.NO_SPACE),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), conditions.STORE_NOT_WRITABLE),
    errno.ESTALE: conditions.STORE_UNREACHABLE,
}


@pytest.mark.parametrize("number", REASONS, ids=errno.errorcode.get)
def test_only_an_error_that_may_pass_is_retried(tmp_path: Path, number: int) -> None:
    store = folder_module.FolderStore(tmp_path)
    with pytest.raises(StoreError, match="cannot write a in file://") as caught, store.translated("write a"):
        raise OSError(number, os.strerror(number))
    assert caught.value.reason == REASONS[number]
    assert caught.value.retryable == (number == errno.ESTALE)


def test_a_failed_write_leaves_nothing_under_the_name(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is full, or fails otherwise, is not one without hard links: no other way is tried."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder_module.os, "link", full)
    with pytest.raises(StoreError) as error:
        folder.put_if_absent("m/manifest", b"first")
    assert error.value.reason == conditions.NO_SPACE
    assert tree(folder) == ["m"]


def test_a_name_that_comes_while_the_file_is_written_is_kept(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hard links, and where a guard decides."""
    flush = folder_module._flush
    assert folder.local_root is not None
    root = folder.local_root

    def beaten(fd: int) -> None:
        flush(fd)
        (root / "manifest").write_bytes(b"first")

    monkeypatch.setattr(folder_module, "_flush", beaten)
    for _ in ("links", "guard"):
        assert not folder.put_if_absent("manifest", b"second")
        assert (folder.get("manifest"), tree(folder)) == (b"first", ["manifest"])
        folder.delete(["manifest"])
        without_links(monkeypatch)


def test_a_file_at_its_limit_is_read_and_a_larger_one_is_not(folder: Store) -> None:
    put(folder, "object", b"12345")
    assert folder.get("object", limit=5) == b"12345"
    with pytest.raises(StoreError, match="larger than 4 bytes") as error:
        folder.get("object", limit=4)
    assert error.value.reason == conditions.CORRUPT
    assert folder.get("absent") is folder.get("object/below") is None
    assert folder.head("absent") is folder.head("object/below") is None


def test_a_part_of_a_file_is_exactly_that_part(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "READ_CHUNK", 3)
    stored = put(folder, "object", b"0123456789")
    assert list(folder.read_range(stored, 2, 7)) == [b"234", b"567", b"8"]
    assert list(folder.read_range(stored, 0, 10)) == [b"012", b"345", b"678", b"9"]
    assert list(folder.read_range(stored, 10, 0)) == []
    assert folder.local_root is not None
    path = folder.local_root / "object"
    reading = folder.read_range(stored, 0, 10)
    assert next(reading) == b"012"
    os.truncate(path, 3)
    with pytest.raises(Corrupt, match="became shorter while it was read"):
        next(reading)
    with pytest.raises(Corrupt, match="has 3 bytes instead of 10"):
        list(folder.read_range(stored, 0, 1))
    path.unlink()
    with pytest.raises(Corrupt, match="object is missing"):
        list(folder.read_range(stored, 0, 1))


def test_what_is_written_in_pieces_is_one_object(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that are smaller and larger than the buffer, and one that ends with it; the disk takes some bytes of each
    write."""
    monkeypatch.setattr(folder_module, "CHUNK", 4096)
    monkeypatch.setattr(folder_module, "WRITEBACK", 8192)
    write = os.write
    monkeypatch.setattr(folder_module.os, "write", lambda fd, data: write(fd, data[:1000]))
    pieces = [b"a" * 100, b"b" * 3996, b"c" * 4096, b"d" * 20_000, b"", b"e"]
    with folder.writer("object") as writer:
        for piece in pieces:
            writer.write(piece)
        stored = writer.commit()
    data = b"".join(pieces)
    assert (stored.size, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert folder.get("object") == data


def test_a_write_that_is_abandoned_leaves_nothing_and_a_finished_one_stays(folder: Store) -> None:
    with folder.writer("a/b/object") as writer:
        writer.write(b"half")
    assert tree(folder) == []
    with folder.writer("a/b/object") as writer:
        writer.write(b"whole")
        writer.commit()
        writer.abort()
    assert tree(folder) == ["a", "a/b", "a/b/object"]


def test_a_folder_that_another_job_removes_is_made_again(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It deleted its last snapshot, and the empty folder: three times in a row is no reason to fail, four times is."""
    assert folder.local_root is not None
    root = folder.local_root
    make = folder_module.FolderStore._make_folder
    removals = 3

    def removed(store: folder_module.FolderStore, made: Path) -> None:
        nonlocal removals
        make(store, made)
        if removals:
            removals -= 1
            shutil.rmtree(root / "s")

    monkeypatch.setattr(folder_module.FolderStore, "_make_folder", removed)
    put(folder, "s/a/object", b"x")
    assert folder.get("s/a/object") == b"x"
    removals = 4
    with pytest.raises(StoreError, match="cannot write s/b/object"):
        put(folder, "s/b/object", b"x")


def test_only_a_temporary_file_is_discarded_as_an_upload(folder: Store) -> None:
    put(folder, "s/object", b"x")
    writer = folder.writer("s/other")
    (upload,) = folder.uploads("s/")
    assert not folder.discard(replace(upload, key="s/object"))
    assert folder.discard(upload)
    assert not folder.discard(upload)
    assert tree(folder) == ["s", "s/object"]
    writer.abort()


def test_more_folders_than_ours_are_refused(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("c", "a", "b"):
        put(folder, f"s/{name}/object", b"x")
    put(folder, "s/file", b"x")
    monkeypatch.setattr(folder_module, "MAX_FOLDERS", 3)
    assert list(folder.folders("s/")) == ["a", "b", "c"]
    assert list(folder.folders("absent/")) == list(folder.folders("s/file/")) == []
    monkeypatch.setattr(folder_module, "MAX_FOLDERS", 2)
    with pytest.raises(StoreError, match="more than 2 folders") as error:
        list(folder.folders("s/"))
    assert error.value.reason == conditions.CORRUPT


def test_the_rights_are_tried_without_a_trace(folder: Store) -> None:
    put(folder, "s/object", b"x")
    before = tree(folder)
    folder.try_create("s/a/b/")
    folder.try_create("absent/")
    assert (folder.try_read("s/object"), folder.try_read("s/absent"), folder.try_read("s/object/x")) == (
        True,
        False,
        False,
    )
    assert tree(folder) == before


def test_a_direct_read_that_fails_is_not_taken_for_one_that_is_impossible(
    folder: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system wants another alignment, the file is read again by the page cache. An error of the disk is
    one."""
    real = folder_module._digest
    calls: list[int] = []

    def failing(number: int) -> Any:
        def digest(fd: int) -> tuple[int, str]:
            calls.append(fd)
            if len(calls) == 1:
                raise OSError(number, os.strerror(number))
            return real(fd)

        return digest

    monkeypatch.setattr(folder_module, "_reopened_direct", os.dup)
    monkeypatch.setattr(folder_module, "_digest", failing(errno.EINVAL))
    put(folder, "a", b"x")
    assert len(calls) == 2
    calls.clear()
    monkeypatch.setattr(folder_module, "_digest", failing(errno.EIO))
    with pytest.raises(StoreError) as error:
        put(folder, "b", b"x")
    assert error.value.reason == conditions.STORE_IO_ERROR
    assert tree(folder) == ["a"]


def test_a_planted_link_is_neither_listed_nor_followed(folder: Store, tmp_path: Path) -> None:
    """A pod with the claim can plant one. If it were listed, a deletion by prefix would remove files elsewhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1").write_bytes(b"live")
    put(folder, "s/own/1", b"x")
    assert folder.local_root is not None
    (folder.local_root / "s" / "linked").symlink_to(outside)
    (folder.local_root / "s" / "file").symlink_to(outside / "1")
    assert [found.key for found in folder.list("s/")] == ["s/own/1"]
    assert list(folder.folders("s/")) == ["own"]
    assert folder.delete(found.key for found in folder.list("s/")) == 1
    assert (outside / "1").read_bytes() == b"live"


def test_a_prefix_with_a_slash_is_a_folder(folder: Store) -> None:
    put(folder, "s/a/1", b"x")
    put(folder, "s/ab/2", b"x")
    assert [found.key for found in folder.list("s/a/")] == ["s/a/1"]
    assert sorted(found.key for found in folder.list("s/a")) == ["s/a/1", "s/ab/2"]


def test_a_folder_that_goes_during_a_list_hides_no_other(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        put(folder, f"s/{name}/1", b"x")
    scan = os.scandir

    def scandir(path: Path) -> Any:
        if Path(path).name == "b":
            raise FileNotFoundError(errno.ENOENT, "gone")
        return scan(path)

    with monkeypatch.context() as patch:
        patch.setattr(folder_module.os, "scandir", scandir)
        assert sorted(found.key for found in folder.list("s/")) == ["s/a/1", "s/c/1"]


def test_an_object_that_has_grown_is_corrupt(folder: Store) -> None:
    """Its first bytes would have the right digest."""
    stored = put(folder, "object", b"right")
    assert folder.local_root is not None
    with (folder.local_root / "object").open("ab") as file:
        file.write(b"!")
    with pytest.raises(Corrupt, match="has 6 bytes instead of 5"):
        b"".join(folder.read(stored))


def test_what_is_missing_stops_no_deletion(folder: Store) -> None:
    put(folder, "a/1", b"x")
    assert folder.delete(["a/0", "a/1"]) == 1
    assert tree(folder) == []


def test_the_folder_that_was_changed_last_comes_first(folder: Store) -> None:
    assert folder.local_root is not None
    assert isinstance(folder, folder_module.FolderStore)
    for name, time in (("old", 1), ("new", 3), ("middle", 2)):
        put(folder, f"s/{name}/1", b"x")
        os.utime(folder.local_root / "s" / name, (time, time))
    assert list(folder.newest_folders("s/")) == ["new", "middle", "old"]


def test_a_file_is_tried_in_the_last_folder_that_exists(folder: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "s/a/1", b"x")
    assert isinstance(folder, folder_module.FolderStore)
    assert folder.local_root is not None
    tried, create = [], folder.create_temporary

    def noted(path: Path) -> tuple[Path, int]:
        tried.append(path.parent)
        return create(path)

    monkeypatch.setattr(folder, "create_temporary", noted)
    for prefix in ("s/a/b/c/", "s/a/", "other/"):
        folder.try_create(prefix)
    root = folder.local_root
    assert tried == [root / "s" / "a", root / "s" / "a", root]


def test_what_is_no_error_of_the_disk_is_not_called_one(folder: Store) -> None:
    assert isinstance(folder, folder_module.FolderStore)
    for number in (errno.ENOENT, errno.ESRCH, errno.ENXIO):
        with pytest.raises(StoreError) as error, folder.translated("read it"):
            raise OSError(number, os.strerror(number))
        assert error.value.reason != conditions.STORE_IO_ERROR
