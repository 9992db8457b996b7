"""Writing to the disk: what cannot be flushed is an error, except where a file system has no flush for it."""

import ctypes
import errno
import os
import subprocess
from pathlib import Path

import pytest

from ocore_mover import disk


class Libc:
    """A C library whose calls fail with this error, and one that is real."""

    def __init__(self, code: int) -> None:
        self._code = code

    def syncfs(self, _: int) -> int:
        ctypes.set_errno(self._code)
        return -1

    def renameat2(self, *_: object) -> int:
        ctypes.set_errno(self._code)
        return -1

    def statx(self, *_: object) -> int:
        ctypes.set_errno(self._code)
        return -1


@pytest.fixture
def folder(tmp_path: Path) -> int:
    return os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_file_system_that_cannot_be_flushed_is_an_error(
    folder: int, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(disk, "_libc", Libc(code))
    with pytest.raises(OSError, match=os.strerror(code)) as raised:
        disk.sync_filesystem(folder)
    assert raised.value.errno == code


def test_a_kernel_without_syncfs_flushes_everything(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bool] = []
    monkeypatch.setattr(disk, "_libc", Libc(errno.ENOSYS))
    monkeypatch.setattr(os, "sync", lambda: flushed.append(True))
    disk.sync_filesystem(folder)
    assert flushed == [True]


def test_the_real_error_of_syncfs_is_reported() -> None:
    """errno comes from the call itself."""
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        disk.sync_filesystem(-1)
    assert raised.value.errno == errno.EBADF


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.EROFS, errno.EIO, errno.ENOSPC])
def test_entries_that_cannot_be_flushed(folder: int, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    if code in (errno.EIO, errno.ENOSPC):
        with pytest.raises(OSError, match=os.strerror(code)):
            disk.sync_entries(folder)
    else:
        disk.sync_entries(folder)


def test_a_hint_never_fails() -> None:
    disk.start_writeback(-1, 0, 100)


def test_all_bytes_are_written_where_the_system_takes_few_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:7])))
    with (tmp_path / "x").open("wb") as file:
        disk.write_all(file.fileno(), bytes(range(100)))
    assert (tmp_path / "x").read_bytes() == bytes(range(100))


def test_the_time_of_creation_is_that_of_stat(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    os.utime(path, (1, 1))
    said = subprocess.run(["stat", "-c", "%W %w", path], capture_output=True, text=True, check=True).stdout.split()
    fd = os.open(path, os.O_RDONLY)
    found = disk.birth_time(fd)
    os.close(fd)
    if said[0] in ("0", "-"):  # the file system does not keep it
        assert found is None
        return
    fraction = said[2].partition(".")[2]
    assert found == int(said[0]) * 1_000_000_000 + int(fraction)


def test_the_time_of_creation_is_unknown_where_the_call_fails(monkeypatch: pytest.MonkeyPatch, folder: int) -> None:
    monkeypatch.setattr(disk, "_libc", Libc(errno.ENOSYS))
    assert disk.birth_time(folder) is None


def test_the_time_of_creation_is_unknown_where_it_is_not_kept(monkeypatch: pytest.MonkeyPatch, folder: int) -> None:
    class Without:
        def statx(self, *_: object) -> int:
            return 0  # the mask says that nothing was filled in

    monkeypatch.setattr(disk, "_libc", Without())
    assert disk.birth_time(folder) is None


def test_two_names_are_exchanged(tmp_path: Path, folder: int) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert disk.exchange("a", folder, "b", folder)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(FileNotFoundError):
        disk.exchange("a", folder, "missing", folder)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM])
def test_a_file_system_without_an_exchange_is_no_error(folder: int, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(disk, "_libc", Libc(code))
    assert not disk.exchange("a", folder, "b", folder)


def test_an_exchange_that_fails_is_an_error(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_libc", Libc(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        disk.exchange("a", folder, "b", folder)
