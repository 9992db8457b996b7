"""Writing to the disk on Linux: early write-back, and flushing one file system."""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_RENAME_EXCHANGE = 2
#: Of a kernel or a file system that cannot exchange two names.
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
_SYNC_FILE_RANGE_WRITE = 2
#: struct statx of linux/stat.h.
_STATX_BYTES, _STATX_BTIME_OFFSET = 256, 80
_STATX_BTIME = 0x800
_AT_EMPTY_PATH = 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100


@contextmanager
def closing_fd(fd: int) -> Iterator[int]:
    """Closes the descriptor after the block."""
    try:
        yield fd
    finally:
        os.close(fd)


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Starts to write these bytes to the disk without waiting, so that a later flush is short. A hint: never fails."""
    _libc.sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Writes all bytes, in as many calls as the system needs."""
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def sync_filesystem(fd: int) -> None:
    """Flushes the file system of an open folder: one call instead of one fsync for each file.

    Raises OSError if something could not be written (reported by Linux 5.8 and newer).
    """
    if _libc.syncfs(fd) != 0:
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            os.sync()
            return
        raise OSError(code, os.strerror(code))


def exchange(name: str, folder: int, other: str, other_folder: int) -> bool:
    """Exchanges two names in open folders, in one step: neither is ever free. False where the file system cannot.

    Raises OSError.
    """
    if _libc.renameat2(folder, os.fsencode(name), other_folder, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), name, None, other)


def sync_entries(fd: int) -> None:
    """Flushes the entries of an open folder. Ignores file systems that cannot."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EROFS):
            raise


def birth_time(fd: int) -> int | None:
    """When an open file was created, in nanoseconds; None if the file system does not keep it."""
    return _birth_time(fd, b"", _AT_EMPTY_PATH)


def birth_time_of(name: str, folder: int) -> int | None:
    """The same of a name in an open folder; None also where it does not exist."""
    return _birth_time(folder, os.fsencode(name), _AT_SYMLINK_NOFOLLOW)


def _birth_time(fd: int, path: bytes, flags: int) -> int | None:
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.statx(fd, path, flags, _STATX_BTIME, buffer) != 0:
        return None
    (mask,) = struct.unpack_from("=I", buffer, 0)
    if not mask & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _STATX_BTIME_OFFSET)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
