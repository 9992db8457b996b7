"""Power loss: what is on the disk afterwards if it wrote only what the program has flushed.

The flushes are recorded as they happen (fsync and syncfs), with what they write: a file's bytes, or a folder's entries.
Everything else is dropped, as POSIX allows and as real file systems sometimes do. A disk may also write a name early
and the bytes never: so each rename and each link is checked at its moment, too (:attr:`PowerLoss.torn`).

Nothing is really flushed: a flush waits for what other programs wrote to the same disk, too.
"""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocore_mover import disk

Inode = tuple[int, int]


class PowerLoss:
    """Records the flushes below a folder. A context manager: what is in the folder when it is entered is on the
    disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._bytes: dict[Inode, bytes] = {}
        self._entries: dict[Inode, dict[str, Inode]] = {}
        self._pinned: dict[Inode, int] = {}  # an open descriptor: the inode's number is not used again
        self._lock = threading.RLock()
        self._patch = pytest.MonkeyPatch()
        #: Files that got a name before their bytes were flushed, in order.
        self.torn: list[str] = []
        #: Calls that flush, in order: fsync or syncfs, and the path.
        self.flushes: list[tuple[str, str]] = []

    # --- recording -----------------------------------------------------------------------------------------------

    def __enter__(self) -> "PowerLoss":
        self._note_all()
        self._patch.setattr(os, "fsync", self._recorder("fsync", self._note))
        self._patch.setattr(disk, "_libc", _Libc(disk._libc, self._recorder("syncfs", self._note_tree)))
        for name in ("rename", "replace", "link"):
            self._patch.setattr(os, name, self._naming(getattr(os, name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        for fd in self._pinned.values():
            os.close(fd)

    def _recorder(self, name: str, note: Callable[[int], None]) -> Callable[[int], int]:
        def flush(fd: int) -> int:
            with self._lock:
                self.flushes.append((name, str(Path(f"/proc/self/fd/{fd}").readlink())))
                note(fd)
            return 0

        return flush

    def _naming(self, call: Callable[..., None]) -> Callable[..., None]:
        def named(source: Any, target: Any, **options: Any) -> None:
            call(source, target, **options)
            folder = options.get("dst_dir_fd")
            path = Path(target) if folder is None else Path(f"/proc/self/fd/{folder}").readlink() / target
            with self._lock:
                if path.is_relative_to(self._root) and not path.name.startswith("."):
                    self.torn += [str(file.relative_to(self._root)) for file in _files(path) if self._is_torn(file)]

        return named

    def _is_torn(self, path: Path) -> bool:
        return self._bytes.get(_inode(path.stat())) != path.read_bytes()

    def _note(self, fd: int) -> None:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(fd) as entries:
                self._entries[_inode(status)] = {e.name: _inode(e.stat(follow_symlinks=False)) for e in entries}
        elif stat.S_ISREG(status.st_mode):
            self._bytes[_inode(status)] = Path(f"/proc/self/fd/{fd}").read_bytes()
        self._pin(fd, _inode(status))

    def _pin(self, fd: int, inode: Inode) -> None:
        if inode not in self._pinned:
            self._pinned[inode] = os.open(f"/proc/self/fd/{fd}", os.O_PATH | os.O_CLOEXEC)

    def _note_tree(self, _: int) -> None:
        self._note_all()

    def _note_all(self) -> None:
        for path in (self._root, *self._root.rglob("*")):
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                continue
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._note(fd)
            finally:
                os.close(fd)

    # --- what is left ----------------------------------------------------------------------------------------------

    def left(self, below: str = "") -> dict[str, bytes]:
        """The files after the loss, by their path below the folder: flushed names, with flushed bytes (none: empty)."""
        with self._lock:
            found = dict(self._walk(_inode(self._root.stat()), ""))
        start = f"{below}/" if below else ""
        return {path.removeprefix(start): data for path, data in found.items() if path.startswith(start)}

    def _walk(self, folder: Inode, path: str) -> Iterator[tuple[str, bytes]]:
        for name, inode in self._entries.get(folder, {}).items():
            if inode in self._entries:
                yield from self._walk(inode, f"{path}{name}/")
            else:
                yield f"{path}{name}", self._bytes.get(inode, b"")

    def write_to(self, target: Path) -> None:
        """Writes the tree that is left, empty folders included."""
        with self._lock:
            self._write(_inode(self._root.stat()), target)

    def _write(self, folder: Inode, target: Path) -> None:
        target.mkdir(parents=True)
        for name, inode in self._entries.get(folder, {}).items():
            if inode in self._entries:
                self._write(inode, target / name)
            else:
                (target / name).write_bytes(self._bytes.get(inode, b""))


class _Libc:
    """The C library with another syncfs."""

    def __init__(self, real: Any, syncfs: Callable[[int], int]) -> None:
        self._real = real
        self.syncfs = syncfs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _inode(status: os.stat_result) -> Inode:
    return status.st_dev, status.st_ino


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        yield from (file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    elif path.is_file() and not path.is_symlink():
        yield path
