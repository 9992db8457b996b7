"""The frozen tree while the kernel reports what changes: hard links of all files that have a name when the database is
exported.

- :meth:`Mirror.walk` links a folder. Each folder is watched from before it is listed, so a change that the listing does
  not show is an event.
- :meth:`Mirror.approach`, before the export, looks at each name that has arrived since. After it, each live name is in
  the tree, or its event has not been read yet. A name that the application removed stays in the tree.
- :meth:`Mirror.confirm`, after the export, finds the names that have arrived since. A name of one file, still there, is
  linked. Where the export may have seen another file than the one that is linked now, or one that nothing names any
  more, it says so, and the next :meth:`Mirror.approach` looks again: no event is forgotten.

All file systems and events are reached through :class:`Calls` and :class:`.watch.FolderWatch`.
`tests/unit/mover/filestore/test_plain_model.py` runs this module on a model of both, in every order of the steps.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

from ocore_crds import conditions
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import MAX_DEPTH
from ocore_mover.filestore.links import (
    Item,
    LinksUnsupported,
    Subfolders,
    ensure_folder,
    items_in,
    items_to_copy,
    link,
    open_folder,
    remove,
)
from ocore_mover.filestore.plain.watch import Changes, FolderWatch

#: Names of a folder that are kept in memory, to spare a stat of each file that is linked already.
KNOWN = 50_000
#: Times that the tree is brought up to date before the export. The last ones find what changed during the others.
ROUNDS = 10
#: Names of one folder between two reads of the events: the kernel's queue holds 16,384.
COLLECT_EVERY = 2_000
_FOLDER_MODE = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO | stat.S_ISGID | stat.S_ISVTX


class Calls:
    """What the mirror asks of the file system. Folders are descriptors."""

    def open(self, name: str, folder: int) -> int:
        """A folder in an open one. Raises FileNotFoundError, NotADirectoryError."""
        return open_folder(name, folder)

    def close(self, folder: int) -> None:
        """Closes a folder."""
        os.close(folder)

    def items(self, folder: int) -> Iterator[Item]:
        """The names in a folder."""
        return items_to_copy(folder)

    def item(self, name: str, folder: int) -> Item:
        """Raises FileNotFoundError."""
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        kinds: dict[int, Literal["file", "folder", "symlink"]] = {
            stat.S_IFREG: "file",
            stat.S_IFDIR: "folder",
            stat.S_IFLNK: "symlink",
        }
        return Item(name, kinds.get(stat.S_IFMT(status.st_mode), "other"), status.st_ino)

    def copy(self, item: Item, source: int, target: int, name: str) -> None:
        """Links a file. Makes the same symbolic link again: some systems refuse a hard link of one.

        Raises FileNotFoundError if the name vanished, FileExistsError, LinksUnsupported, OSError.
        """
        if item.kind == "file":
            try:
                link(item.name, source, target, name)
            except LinksUnsupported as error:
                if self.item(item.name, source).kind != "folder":
                    raise
                raise FileNotFoundError(errno.ENOENT, "is a folder now", item.name) from error
            return
        status = os.stat(item.name, dir_fd=source, follow_symlinks=False)
        os.symlink(self.text(item.name, source), name, dir_fd=target)
        os.utime(name, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def text(self, name: str, folder: int) -> str:
        """Of a symbolic link. Raises FileNotFoundError where it is none any more."""
        try:
            return os.readlink(name, dir_fd=folder)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise FileNotFoundError(errno.ENOENT, "is not a symbolic link any more", name) from error

    def settle(self, folder: int) -> None:
        """Waits for a change of a name in a folder that is visible and has raised no event yet: the kernel holds the
        folder's lock until it has, and a listing takes that lock."""
        with contextlib.closing(items_in(folder)) as items:
            next(items, None)

    def make(self, name: str, folder: int) -> None:
        """A folder of ours, where the name is free."""
        ensure_folder(name, folder, 0o700)

    def replace(self, name: str, folder: int, new_name: str) -> None:
        """Renames a file of ours over another one."""
        os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=folder)

    def remove(self, name: str, folder: int) -> None:
        """Of ours, with all that is below."""
        remove(name, folder)

    @contextmanager
    def finished_like(self, target: int, source: int | None) -> Iterator[None]:
        """Makes a folder of ours writable for the block, then gives it mode and time of the live one, which go into the
        snapshot."""
        before = os.fstat(source if source is not None else target)
        os.fchmod(target, 0o700)
        yield
        finish_folder(target, before)


@dataclass
class Doubts:
    """What the export may have seen, and the tree may lack."""

    gone: list[str] = field(default_factory=list)  # files that came and went about the export
    replaced: list[str] = field(default_factory=list)  # names of two files about the export
    unseen: list[str] = field(default_factory=list)  # folders that were new about it; empty: any, events were dropped

    def __bool__(self) -> bool:
        return bool(self.gone or self.replaced or self.unseen)

    def clear(self) -> None:
        """Before another export."""
        self.gone.clear()
        self.replaced.clear()
        self.unseen.clear()


class Mirror:
    """Live folders, and the links of their files. `watch` may be blind: then only :meth:`walk` finds changes."""

    def __init__(self, watch: FolderWatch, is_own: Callable[[str], bool], calls: Calls | None = None) -> None:
        """`is_own`: whether a path below the filestore is our folder."""
        self.watch = watch
        self.doubts = Doubts()
        self._calls = calls or Calls()
        self._is_own = is_own
        self._again = Changes()  # to look at in the next approach

    # --- a folder and those below --------------------------------------------------------------------------------

    def walk(self, source: int, target: int, path: str = "", depth: int = 0) -> None:
        """Links everything in an open folder, and watches it."""
        with self._calls.finished_like(target, source):
            self.watch.add(source, path)  # before it is listed
            known = known_in(target, self._calls)
            below = Subfolders(source)
            for number, item in enumerate(self._calls.items(source)):
                below.note(item)
                if item.kind in ("file", "symlink") and known.get(item.name) != item.inode:
                    self._put(item, source, target)
                if number % COLLECT_EVERY == COLLECT_EVERY - 1:
                    self.watch.collect()
            self.watch.collect()
            for name in below:
                self._descend(name, source, target, path, depth)

    def _descend(self, name: str, source: int, target: int, path: str, depth: int) -> None:
        if self._is_own(path + name):
            return
        if depth == MAX_DEPTH:
            raise too_deep(path + name)
        # The application removed or replaced what is not found: that is an event.
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            self._opened(name, source) as child,
            self._made(name, target) as twin,
        ):
            self.walk(child, twin, f"{path}{name}/", depth + 1)

    def _put(self, item: Item, source: int, target: int) -> None:
        """Links a name, in place of what had it."""
        with contextlib.suppress(FileNotFoundError):  # it vanished
            try:
                self._calls.copy(item, source, target, item.name)
            except FileExistsError:
                if not self._is_same(item, source, target):
                    temporary = f".new-{secrets.token_hex(8)}"
                    self._calls.copy(item, source, target, temporary)
                    if self._calls.item(item.name, target).kind == "folder":
                        self._calls.remove(item.name, target)
                    self._calls.replace(temporary, target, item.name)

    def _is_same(self, item: Item, source: int, target: int) -> bool:
        """Whether the tree has a live name's file. Raises FileNotFoundError where one of them has none."""
        twin = self._calls.item(item.name, target)
        if item.kind == twin.kind == "symlink":
            return self._calls.text(item.name, source) == self._calls.text(item.name, target)
        return item.inode == twin.inode

    @contextmanager
    def _opened(self, name: str, folder: int) -> Iterator[int]:
        fd = self._calls.open(name, folder)
        try:
            yield fd
        finally:
            self._calls.close(fd)

    @contextmanager
    def _made(self, name: str, target: int) -> Iterator[int]:
        """A folder of ours, in place of what had its name."""
        self._calls.make(name, target)
        try:
            fd = self._calls.open(name, target)
        except NotADirectoryError:
            self._calls.remove(name, target)
            self._calls.make(name, target)
            fd = self._calls.open(name, target)
        try:
            yield fd
        finally:
            self._calls.close(fd)

    # --- the export --------------------------------------------------------------------------------------------------

    def approach(self, source: int, tree: int) -> None:
        """Call right before the database is exported. Links the names that arrived since the last call."""
        self.doubts.clear()
        for _ in range(ROUNDS):
            changes, self._again = _both_of(self._again, self.watch.take()), Changes()
            if not changes and not self.watch.blind:
                return
            if not changes.overflowed:
                for path in changes.folders:
                    self._walk_new(path, source, tree)
                for path in changes.arrived:
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        self._put_path(path, source, tree)
            if changes.overflowed or self.watch.blind:
                self.walk(source, tree)
            if self.watch.blind:
                return

    def _walk_new(self, path: str, source: int, tree: int) -> None:
        if self._is_own(path):
            return
        depth = path.count("/") + 1
        if depth > MAX_DEPTH:
            raise too_deep(path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), ExitStack() as stack:
            folder, twin = self._both(path, source, tree, stack)
            self.walk(folder, twin, f"{path}/", depth)

    def _put_path(self, path: str, source: int, tree: int) -> None:
        parent, _, name = path.rpartition("/")
        with ExitStack() as stack:
            folder, twin = self._both(parent, source, tree, stack)
            item = self._calls.item(name, folder)
            if item.kind in ("file", "symlink"):
                self._put(item, folder, twin)

    def _both(self, path: str, source: int, tree: int, stack: ExitStack) -> tuple[int, int]:
        """A live folder and the one of the tree, which is made. Raises FileNotFoundError, NotADirectoryError."""
        stack.enter_context(self._calls.finished_like(tree, source))
        for part in filter(None, path.split("/")):
            source = stack.enter_context(self._opened(part, source))
            tree = stack.enter_context(self._made(part, tree))
            stack.enter_context(self._calls.finished_like(tree, source))
        return source, tree

    def confirm(self, source: int, tree: int, late: int) -> bool:
        """Call right after the export. Links the files that arrived since :meth:`approach` into `late`. False where the
        export may have seen what is in neither: :attr:`doubts`."""
        changes = self.watch.take()
        linked: set[str] = set()
        self.doubts.replaced += changes.replaced
        self.doubts.gone += changes.lost
        for path in changes.here:
            try:
                if self._put_late(path, source, tree, late):
                    linked.add(path)
                else:
                    self.doubts.replaced.append(path)
            except (FileNotFoundError, NotADirectoryError):
                self.doubts.gone.append(path)
        self._check_linked(linked, since := self.watch.take())
        self.doubts.unseen += [path for path in changes.folders if not self._is_own(path)]
        if changes.overflowed or since.overflowed:
            self.doubts.unseen.append("")
        self._again = _both_of(changes, since)
        return not self.doubts

    def _put_late(self, path: str, source: int, tree: int, late: int) -> bool:
        """False where the tree has another file of this name. Raises FileNotFoundError and NotADirectoryError where the
        live one is gone."""
        parent, _, name = path.rpartition("/")
        with ExitStack() as stack:
            folder, twin = self._both(parent, source, tree, stack)
            item = self._calls.item(name, folder)
            if item.kind == "folder":
                raise FileNotFoundError(errno.ENOENT, "is a folder now", path)
            try:
                return self._is_same(item, folder, twin)
            except FileNotFoundError:
                if item.kind == "other":
                    return True
            if item.kind == "file":
                twin = late
                for part in filter(None, parent.split("/")):
                    twin = stack.enter_context(self._made(part, twin))
            self._calls.copy(item, folder, twin, name)
            self._calls.settle(folder)
            return True

    def _check_linked(self, linked: set[str], since: Changes) -> None:
        """A name that arrived again while it was linked, or below a folder that arrived: which file was linked is
        unknown."""
        for path in sorted(linked):
            parts = path.split("/")
            above = ("/".join(parts[:count]) for count in range(1, len(parts)))
            if path in since.arrived or any(folder in since.folders for folder in above):
                self.doubts.replaced.append(path)


def finish_folder(target: int, live: os.stat_result) -> None:
    """Gives a frozen folder the mode and time of the live one, which go into the snapshot."""
    os.fchmod(target, live.st_mode & _FOLDER_MODE)
    os.utime(target, ns=(live.st_mtime_ns, live.st_mtime_ns))


def known_in(folder: int, calls: Calls) -> dict[str, int]:
    """Name → inode of the files in a folder of ours; empty where they are too many to keep."""
    found: dict[str, int] = {}
    for item in calls.items(folder):
        if item.kind == "file":
            found[item.name] = item.inode
            if len(found) > KNOWN:
                return {}
    return found


def _both_of(first: Changes, second: Changes) -> Changes:
    """What two windows leave to look at."""
    return Changes(
        arrived=first.arrived | second.arrived,
        folders=first.folders | second.folders,
        overflowed=first.overflowed or second.overflowed,
    )


def too_deep(path: str) -> MoverError:
    """For a folder below MAX_DEPTH others."""
    return MoverError(
        conditions.FILESTORE_LAYOUT_UNSUPPORTED,
        f"{path} is nested deeper than {MAX_DEPTH} folders. Move it to a higher level.",
    )
