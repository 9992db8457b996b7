"""A folder that is full, read-only, without hard links, or broken."""

import contextlib
import errno
import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions
from ocore_crds.manifest import StoredObject
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
    assert abort_uploads(folder, "s/", spare="s/new/") == 1
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
