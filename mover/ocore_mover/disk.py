"""Writing to the disk on Linux: early write-back, and flushing one file system."""

import ctypes
import errno
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_SYNC_FILE_RANGE_WRITE = 2


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Starts to write these bytes to the disk without waiting, so that a later flush is short. A hint: never fails."""
    _libc.sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Writes all bytes, in as many calls as the system needs."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_filesystem(folder: Path) -> None:
    """Flushes the file system that holds the folder: one call instead of one fsync for each file.

    Raises OSError if something could not be written (reported by Linux 5.8 and newer).
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            if code == errno.ENOSYS:
                os.sync()
                return
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(fd)
