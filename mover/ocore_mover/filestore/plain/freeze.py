"""A frozen view of a folder of any files: hard links of the whole tree.

The database is exported between two passes:

1. `freeze` links the tree as it is. A file that a row of the export names existed at that time, or was created later.
2. :meth:`Frozen.extend` links what is new. A file that the application deletes after the export has a link from pass 1.

So no write-once file is lost that either pass saw. A link does not protect the content of a file that the application changes
in place: from :attr:`Frozen.since_ns` on, a modification counts as one after the export. A file that was created after
:attr:`Frozen.begin_ns` is still being written for the first time: it is complete before a row that names it is committed.
"""

import contextlib
import errno
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocore_crds import conditions
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import MAX_DEPTH, ClaimFolders, FolderNotWritable, filesystem_error
from ocore_mover.filestore.frozen import FrozenFolder
from ocore_mover.filestore.links import (
    Item,
    LinksUnsupported,
    Subfolders,
    ensure_folder,
    filesystem_time,
    items_in,
    items_to_copy,
    link,
    open_folder,
    opened,
)

log = logging.getLogger(__name__)

#: The tree of pass 1 with the folders and symbolic links of both, and the files that only pass 2 saw.
TREE, LATE = "tree", "late"
#: Seconds that the clock of a file system may stand still: some count in steps of two seconds.
CLOCK_STEP = 3.0
CLOCK_PAUSE = 0.002
#: The second time nearly all files are linked: it takes a fraction of the time, and so the last look at a folder is closer
#: to the export. Only a file that lives between that and the second pass is in neither.
FIRST_PASSES = 2
_FOLDER_MODE = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO | stat.S_ISGID | stat.S_ISVTX


class Frozen(FrozenFolder):
    """The frozen tree of a snapshot. Where there are no hard links, the tree is the live folder."""

    def __init__(self, folders: ClaimFolders, root: Path, begin_ns: int, since_ns: int, *, linked: bool) -> None:
        super().__init__(folders, root, linked=linked)
        self.begin_ns = begin_ns
        self.since_ns = since_ns
        self.replaced: list[str] = []  # replaced about when the database was exported: which one it saw is unknown

    @contextmanager
    def opened(self, *, late: bool = False) -> Iterator[int]:
        """The descriptor of the tree, or of the files that only pass 2 saw. Raises OSError."""
        with self._folders.opened(self.root) as root:
            if not self.linked:
                yield root
                return
            with opened(LATE if late else TREE, dir_fd=root) as fd:
                yield fd

    @property
    def parts(self) -> tuple[bool, ...]:
        """The values of `late` for which there are files."""
        return (False, True) if self.linked else (False,)

    def is_own(self, path: str) -> bool:
        """Whether this is our folder on a claim whose root is the filestore."""
        return not self.linked and _is_own(self._folders, path)

    def extend(self) -> None:
        """Pass 2: call after the database was exported. Raises MoverError FilestoreChanging, FilestoreNotReadable, NoSpace."""
        if not self.linked:
            return
        try:
            with (
                _translated(),
                self._folders.opened(self.root) as root,
                self._folders.opened(self._folders.filestore) as source,
                opened(TREE, dir_fd=root) as tree,
                opened(LATE, dir_fd=root) as late,
            ):
                _Second(self, self._folders, filesystem_time(root)).run(source, tree, late)
        except LinksUnsupported as error:
            raise MoverError(
                conditions.FILESTORE_CHANGING,
                f"the application created a file that cannot have a hard link ({error}). The snapshot starts again and reads the live files.",
                retryable=True,
            ) from error


def freeze(folders: ClaimFolders, attempt: str) -> Frozen:
    """Pass 1: call before the database is exported. Links the tree into ``freeze-<attempt>``.

    Takes about 20 µs for each file. Removes leftovers of the same attempt first. Raises MoverError FilestoreNotFound,
    FilestoreNotReadable, FilestoreLayoutUnsupported, NoSpace.
    """
    folders.require_filestore()
    target = folders.freeze(attempt)
    try:
        folders.remove(target)
        folders.make_own(target)
        with _translated(), folders.opened(folders.filestore) as source, folders.opened(target) as root:
            for name in (TREE, LATE):
                ensure_folder(name, root)
            begin_ns = _next_filesystem_time(root)
            with opened(TREE, dir_fd=root) as tree:
                for _ in range(FIRST_PASSES):
                    _First(folders).run(source, tree)
            since_ns = _next_filesystem_time(root)
    except (LinksUnsupported, FolderNotWritable) as error:
        log.warning(
            "cannot make hard links on the filestore's claim: reading the live files", extra={"error": str(error)}
        )
        since_ns = _time_without_links(folders, target)
        return Frozen(folders, folders.filestore, since_ns, since_ns, linked=False)
    except BaseException:
        folders.remove(target)
        folders.drop_own_if_empty()
        raise
    return Frozen(folders, target, begin_ns, since_ns, linked=True)


class _Pass:
    """Walks the live tree and the frozen one together. Folders are read as they come: one may have millions of names."""

    def __init__(self, folders: ClaimFolders) -> None:
        self._folders = folders

    def _open_child(self, name: str, source: int, path: str, depth: int) -> int | None:
        """The descriptor of a folder of the live tree; None for ours, and if the application removed or replaced it."""
        if depth == 0 and _is_own(self._folders, name):
            return None
        if depth == MAX_DEPTH:
            raise MoverError(
                conditions.FILESTORE_LAYOUT_UNSUPPORTED,
                f"{path}{name} is nested deeper than {MAX_DEPTH} folders. Move it to a higher level.",
            )
        try:
            return open_folder(name, source)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _open_twin(self, name: str, target: int, path: str) -> int:
        """The descriptor of a folder of the frozen tree, created if necessary. Raises MoverError FilestoreChanging."""
        ensure_folder(name, target, 0o700)
        try:
            return open_folder(name, target)
        except NotADirectoryError as error:
            raise _other_kind(path + name) from error


class _First(_Pass):
    """Links everything."""

    def run(self, source: int, target: int, path: str = "", depth: int = 0) -> None:
        """One folder and those below."""
        before = os.fstat(source)
        os.fchmod(target, 0o700)
        below = Subfolders(source)
        for item in items_to_copy(source):
            if item.kind == "folder":
                below.note(item)
            elif item.kind != "other":
                # A listing of a folder that changes may name a file twice, or one that vanished.
                with contextlib.suppress(FileNotFoundError, FileExistsError):
                    _copy_name(item, source, target)
        for name in below:
            child = self._open_child(name, source, path, depth)
            if child is None:
                continue
            try:
                twin = self._open_twin(name, target, path)
                try:
                    self.run(child, twin, f"{path}{name}/", depth + 1)
                finally:
                    os.close(twin)
            finally:
                os.close(child)
        _finish_folder(target, before)


class _Second(_Pass):
    """Links what is new, and replaces what the application replaced before the export."""

    def __init__(self, frozen: Frozen, folders: ClaimFolders, until_ns: int) -> None:
        super().__init__(folders)
        self._frozen = frozen
        self._until_ns = until_ns

    def run(self, source: int, tree: int, late: int, path: str = "", depth: int = 0) -> None:
        """One folder and those below."""
        before = os.fstat(source)
        os.fchmod(tree, 0o700)
        below = Subfolders(source)
        for item in items_in(source):
            if item.kind == "folder":
                below.note(item)
            elif item.kind == "other":
                self._frozen.unkept.note_special(path + item.name)
            else:
                with contextlib.suppress(FileNotFoundError, FileExistsError):
                    self._add(item, source, tree, late, path)
        for name in below:
            child = self._open_child(name, source, path, depth)
            if child is not None:
                try:
                    self._descend(name, child, tree, late, path, depth)
                finally:
                    os.close(child)
        _finish_folder(tree, before)

    def _descend(self, name: str, child: int, tree: int, late: int, path: str, depth: int) -> None:
        self._frozen.unkept.note_folder(path + name, child)
        twin = self._open_twin(name, tree, path)
        try:
            ensure_folder(name, late, 0o700)
            with opened(name, dir_fd=late) as below:
                self.run(child, twin, below, f"{path}{name}/", depth + 1)
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(name, dir_fd=late)
        finally:
            os.close(twin)

    def _add(self, item: Item, source: int, tree: int, late: int, path: str) -> None:
        """A file or a symbolic link."""
        try:
            twin = os.stat(item.name, dir_fd=tree, follow_symlinks=False)
        except FileNotFoundError:
            _copy_name(item, source, late if item.kind == "file" else tree)
            return
        if stat.S_ISDIR(twin.st_mode):
            raise _other_kind(path + item.name)
        if not self._replaces(item, twin, source, tree, path):
            return
        temporary = f".new-{secrets.token_hex(8)}"
        _copy_name(item, source, tree, temporary)
        os.rename(temporary, item.name, src_dir_fd=tree, dst_dir_fd=tree)

    def _replaces(self, item: Item, twin: os.stat_result, source: int, tree: int, path: str) -> bool:
        """Whether the live file took the place of the frozen one before the export.

        Its change time is when it got this name. Nothing of ours has changed it: it is not linked yet.
        """
        if item.kind == "file" and item.inode == twin.st_ino:
            return False
        live = os.stat(item.name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISLNK(live.st_mode) and stat.S_ISLNK(twin.st_mode):
            texts = {os.readlink(item.name, dir_fd=folder) for folder in (source, tree)}
            if len(texts) == 1:
                return False
        if self._frozen.since_ns <= live.st_ctime_ns <= self._until_ns:
            self._frozen.replaced.append(path + item.name)
        return live.st_ctime_ns < self._frozen.since_ns


def _other_kind(path: str) -> MoverError:
    return MoverError(
        conditions.FILESTORE_CHANGING,
        f"the application replaced {path} by something of another kind while the filestore was frozen. The snapshot starts again.",
        retryable=True,
    )


def _copy_name(item: Item, source: int, target: int, target_name: str | None = None) -> None:
    """Links a file. Makes the same symbolic link again: some systems refuse a hard link of one.

    Raises FileNotFoundError if the name vanished, FileExistsError, LinksUnsupported, OSError.
    """
    made = target_name or item.name
    if item.kind == "file":
        link(item.name, source, target, made)
        return
    status = os.stat(item.name, dir_fd=source, follow_symlinks=False)
    try:
        text = os.readlink(item.name, dir_fd=source)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise FileNotFoundError(errno.ENOENT, "is not a symbolic link any more", item.name) from error
    os.symlink(text, made, dir_fd=target)
    os.utime(made, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _is_own(folders: ClaimFolders, path: str) -> bool:
    return not folders.path and path == folders.own.parent.name


def _finish_folder(target: int, live: os.stat_result) -> None:
    """Gives a frozen folder the mode and time of the live one, which go into the snapshot."""
    os.fchmod(target, live.st_mode & _FOLDER_MODE)
    os.utime(target, ns=(live.st_mtime_ns, live.st_mtime_ns))


def _next_filesystem_time(folder: int) -> int:
    """Waits until the file system's clock has moved on: what was written before has an earlier time stamp."""
    first = filesystem_time(folder)
    end = time.monotonic() + CLOCK_STEP
    while (now := filesystem_time(folder)) <= first and time.monotonic() < end:
        time.sleep(CLOCK_PAUSE)
    return now


def _time_without_links(folders: ClaimFolders, target: Path) -> int:
    """The file system's clock, or ours if nothing can be written to the claim. Removes our folder."""
    try:
        folders.remove(target)
        folders.make_own(target)
        with folders.opened(target) as fd:
            return _next_filesystem_time(fd)
    except FolderNotWritable:
        return time.time_ns()
    finally:
        folders.remove(target)
        folders.drop_own_if_empty()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise filesystem_error(error, "link the filestore's files") from error
