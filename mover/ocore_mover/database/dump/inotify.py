"""Events about files that are created and closed in a folder: polling thousands of files takes a whole core.

Source: inotify(7). Where the kernel gives no watch (limits, sandboxes), :func:`watch` returns None and the caller lists the folder.
"""

import ctypes
import os
import struct
from pathlib import Path

_CREATE = 0x00000100
_CLOSE_WRITE = 0x00000008
_OVERFLOW = 0x00004000
_NONBLOCK = os.O_NONBLOCK
_CLOEXEC = os.O_CLOEXEC
_HEADER = struct.Struct("iIII")


class Overflow(Exception):
    """Events were lost: list the folder."""


class Watch:
    """Events of one folder."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> tuple[set[str], set[str]]:
        """Names created, and names closed after writing, since the last call. Does not block. Raises Overflow."""
        created: set[str] = set()
        closed: set[str] = set()
        while True:
            try:
                data = os.read(self._descriptor, 64 * 1024)
            except BlockingIOError:
                return created, closed
            position = 0
            while position < len(data):
                _, mask, _, length = _HEADER.unpack_from(data, position)
                position += _HEADER.size
                name = data[position : position + length].rstrip(b"\0").decode(errors="surrogateescape")
                position += length
                if mask & _OVERFLOW:
                    raise Overflow
                (closed if mask & _CLOSE_WRITE else created).add(name)

    def close(self) -> None:
        """Ends the watch."""
        os.close(self._descriptor)


def watch(folder: Path) -> Watch | None:
    """Watches an existing folder; None where that is not possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = libc.inotify_init1(_NONBLOCK | _CLOEXEC)
    except AttributeError:
        return None
    if descriptor < 0:
        return None
    if libc.inotify_add_watch(descriptor, os.fsencode(folder), _CREATE | _CLOSE_WRITE) < 0:
        os.close(descriptor)
        return None
    return Watch(descriptor)
