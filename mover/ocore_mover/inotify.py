"""Events about names in folders. Source: inotify(7).

Events come from this kernel only: what another node changes on a network file system raises none (:func:`sees_all`).
Where the kernel gives no watch (limits, sandboxes), the caller lists the folder.
"""

import ctypes
import os
import struct
from pathlib import Path
from typing import NamedTuple

CLOSE_WRITE = 0x00000008
MOVED_FROM = 0x00000040
MOVED_TO = 0x00000080
CREATE = 0x00000100
DELETE = 0x00000200
#: Set in an event about a folder.
IS_FOLDER = 0x40000000
#: The last event of a watch: its folder was removed.
IGNORED = 0x00008000
_OVERFLOW = 0x00004000
_ONLY_FOLDER = 0x01000000
_HEADER = struct.Struct("iIII")
#: statfs(2): ext2 to ext4, XFS, btrfs, tmpfs, F2FS, ZFS, overlayfs, bcachefs.
_LOCAL = {0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0xF2F52010, 0x2FC12FC1, 0x794C7630, 0xCA451A4E}
_STATFS_BYTES = 256
#: Bytes that are read at a time.
_READ_BYTES = 64 * 1024


class Overflow(Exception):
    """Events were lost: list the folders."""


class Unavailable(Exception):
    """The kernel gives no watch."""


class Event(NamedTuple):
    """One event."""

    watch: int
    mask: int
    cookie: int  # the same of both events of a move
    name: str


class Inotify:
    """Events of any number of folders."""

    def __init__(self) -> None:
        """Raises Unavailable."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError as error:
            raise Unavailable("no inotify") from error
        if self._descriptor < 0:
            raise Unavailable(os.strerror(ctypes.get_errno()))

    def add(self, folder: Path, mask: int) -> int:
        """Watches an existing folder. Returns the number of the watch. Raises Unavailable."""
        watch: int = self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask | _ONLY_FOLDER)
        if watch < 0:
            raise Unavailable(os.strerror(ctypes.get_errno()))
        return watch

    def read(self) -> list[Event]:
        """The events since the last call. Does not block. Raises Overflow."""
        found: list[Event] = []
        while True:
            try:
                data = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                return found
            position = 0
            while position < len(data):
                watch, mask, cookie, length = _HEADER.unpack_from(data, position)
                position += _HEADER.size
                name = os.fsdecode(data[position : position + length].rstrip(b"\0"))
                position += length
                if mask & _OVERFLOW:
                    raise Overflow
                found.append(Event(watch, mask, cookie, name))

    def close(self) -> None:
        """Ends the watches."""
        os.close(self._descriptor)


class Watch:
    """Files that are created and closed in one folder: polling thousands of files takes a whole core."""

    def __init__(self, inotify: Inotify) -> None:
        self._inotify = inotify

    def read(self) -> tuple[set[str], set[str]]:
        """Names created, and names closed after writing, since the last call. Does not block. Raises Overflow."""
        events = self._inotify.read()
        closed = {event.name for event in events if event.mask & CLOSE_WRITE}
        return {event.name for event in events if event.mask & CREATE}, closed

    def close(self) -> None:
        """Ends the watch."""
        self._inotify.close()


def watch(folder: Path) -> Watch | None:
    """Watches an existing folder; None where that is not possible."""
    try:
        inotify = Inotify()
    except Unavailable:
        return None
    try:
        inotify.add(folder, CREATE | CLOSE_WRITE)
    except Unavailable:
        inotify.close()
        return None
    return Watch(inotify)


def sees_all(folder: int) -> bool:
    """Whether events report every change in an open folder: its file system is no network file system."""
    buffer = (ctypes.c_long * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_long)))()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        failed = libc.fstatfs(folder, buffer)
    except AttributeError:
        return False
    return failed == 0 and buffer[0] & 0xFFFFFFFF in _LOCAL
