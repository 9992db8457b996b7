"""Which files of a tree are opened, by any process: inotify(7). It watches the inodes, so it also sees what a shell or
a server opens, another user, and a process in another mount namespace."""

import ctypes
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

_OPEN, _OVERFLOW = 0x20, 0x4000  # linux/inotify.h
_EVENT = struct.Struct("iIII")


class Opened:
    """Raises OSError where the kernel does not watch, or not so many folders."""

    def __init__(self, folders: Mapping[str, Iterable[Path]]) -> None:
        """`folders`: each folder's name, and where it is (more than one place for one name)."""
        #: What was opened since the last `forget`: a file by its name, a folder whose names were read with "/" at the
        #: end. `lost` where the kernel dropped some.
        self.names: set[str] = set()
        self.lost = False
        self._folder: dict[int, str] = {}
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        for name, places in folders.items():
            for place in places:
                watch = libc.inotify_add_watch(self.descriptor, os.fsencode(place), _OPEN)
                if watch < 0:
                    raise OSError(ctypes.get_errno(), f"inotify_add_watch {place}")
                self._folder[watch] = name

    def close(self) -> None:
        os.close(self.descriptor)

    def forget(self) -> None:
        """From now on only what is opened later."""
        self.read()
        self.names, self.lost = set(), False

    def read(self) -> None:
        """Takes the events that have come. They are there when the call that opened a file returns."""
        while events := self._events():
            at = 0
            while at < len(events):
                watch, mask, _, length = _EVENT.unpack_from(events, at)
                at += _EVENT.size + length
                self.lost |= bool(mask & _OVERFLOW)
                if mask & _OPEN:
                    file = os.fsdecode(events[at - length : at].rstrip(b"\0"))
                    self.names.add(os.path.join(self._folder[watch], _source(file)))  # noqa: PTH118 - "/" at the end

    def _events(self) -> bytes:
        try:
            return os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return b""


def _source(file: str) -> str:
    """The module of a compiled file (module.cpython-311.pyc); another file itself."""
    return f"{file.partition('.')[0]}.py" if ".pyc" in file else file
