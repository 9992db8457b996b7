"""A frozen view of a folder of any files: hard links of the whole tree.

The database is exported between two passes:

1. `freeze` links the tree as it is. A file that a row of the export names existed at that time, or was created later.
   :meth:`Frozen.approach` links what was created since, right before the export, and :meth:`Frozen.confirm` right after
   it. Both know it from the kernel's events, so they take milliseconds whatever the size of the tree.
2. :meth:`Frozen.extend` links what is new. A file that the application deletes after the export has a link from before.

So no write-once file is lost but one that was created and deleted between `approach` and `confirm`: :attr:`Frozen.gone`
names it, and another export is tried. Without events (network file systems) only the passes show what vanished. A link
does not protect the content of a file that the application changes in place: from :attr:`Frozen.since_ns` on, a
modification counts as one after the export. A file that was created after :attr:`Frozen.begin_ns` is still being
written for the first time: it is complete before a row that names it is committed.
"""

import contextlib
import errno
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

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
    opened_below,
)
from ocore_mover.filestore.plain.watch import FolderWatch
from ocore_mover.filestore.unkept import LISTED

log = logging.getLogger(__name__)

#: The tree of pass 1 with the folders and symbolic links of both, and the files that only pass 2 saw.
TREE, LATE = "tree", "late"
#: Seconds that the clock of a file system may stand still: some count in steps of two seconds.
CLOCK_STEP = 3.0
CLOCK_PAUSE = 0.002
#: The second time nearly all files are linked: it takes a fraction of the time, and so the last read of a folder is
#: closer to the export. Only a file that lives between that and the second pass is in neither.
FIRST_PASSES = 2
#: Names of a folder that are kept in memory, to spare a stat of each file that is linked already.
KNOWN = 50_000
#: Without events: a file that was changed at most this long before the freeze and vanished during it shows that young
#: files are deleted.
YOUNG_NS = 60 * 1_000_000_000
_FOLDER_MODE = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO | stat.S_ISGID | stat.S_ISVTX


class Frozen(FrozenFolder):
    """The frozen tree of a snapshot. Where there are no hard links, the tree is the live folder."""

    def __init__(
        self, folders: ClaimFolders, root: Path, begin_ns: int, since_ns: int, *, watch: FolderWatch | None = None
    ) -> None:
        """`watch`: of the folders that are linked; None where there are no hard links."""
        super().__init__(folders, root, linked=watch is not None)
        self.begin_ns = begin_ns
        self.since_ns = since_ns
        self.replaced: list[str] = []  # replaced about when the database was exported: which one it saw is unknown
        self.files = 0  # that the second pass saw; 0: not known
        self.gone: list[str] = []  # came and went about when the database was exported, and are not in the snapshot
        self._watch = watch
        self._until_ns: int | None = None  # the export was over

    @contextmanager
    def opened(self, *, late: bool = False) -> Iterator[int]:
        """The descriptor of the tree, or of the files that only pass 2 saw. Raises OSError."""
        with self._folders.opened(self.root) as root:
            if not self.linked:
                yield root
                return
            with opened(LATE if late else TREE, dir_fd=root) as fd:
                yield fd

    def clock_ns(self) -> int:
        """The file system's clock now; ours where nothing can be written to the claim."""
        if not self.linked:
            return time.time_ns()
        with self._folders.opened(self.root) as root:
            return filesystem_time(root)

    @property
    def parts(self) -> tuple[bool, ...]:
        """The values of `late` for which there are files."""
        return (False, True) if self.linked else (False,)

    def is_own(self, path: str) -> bool:
        """Whether this is our folder on a claim whose root is the filestore."""
        return not self.linked and _is_own(self._folders, path)

    def approach(self) -> None:
        """Call right before the database is exported: links what the application created since the tree was walked.

        Raises MoverError FilestoreChanging, FilestoreNotReadable, NoSpace.
        """
        if self._watch is None:
            return
        self.replaced.clear()
        self.gone.clear()
        with self._parts() as (root, source, tree, late):
            _merge(late, tree)  # of an earlier export
            self.since_ns = _next_filesystem_time(root)
            first = _First(self._folders, self._watch)
            changes = self._watch.changes()
            if changes is None:
                first.run(source, tree)
                return
            for path in changes.born:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError, FileExistsError):
                    self._link_born(path, source, tree, tree)
            for path in changes.folders:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    self._link_folder(path, source, tree, first)

    def confirm(self) -> bool:
        """Call right after the export: links what the application created since :meth:`approach`. False where it has
        deleted some of that already, which :attr:`gone` names: export again.

        Raises MoverError as :meth:`approach`.
        """
        if self._watch is None:
            return True
        with self._parts() as (root, source, tree, late):
            changes = self._watch.changes()
            if changes is None:  # the second pass shows what vanished
                return True
            # What is in a new folder has raised no event.
            self.gone.extend((*changes.gone, *(f"{path}/" for path in changes.folders)))
            for path in changes.born:
                try:
                    self._link_born(path, source, tree, late)
                except (FileNotFoundError, NotADirectoryError):
                    self.gone.append(path)
                except FileExistsError:
                    continue
            self._until_ns = filesystem_time(root)
        return not self.gone

    def _link_born(self, path: str, source: int, tree: int, files: int) -> None:
        """Links a file into `files`, a symbolic link into `tree`. A name that the tree has already is left to the
        second pass.

        Raises FileNotFoundError and NotADirectoryError where it is gone, FileExistsError.
        """
        parent, _, name = path.rpartition("/")
        with opened_below(source, parent) as folder:
            item = _item(name, folder)
            if item.kind not in ("file", "symlink"):
                return
            with _made_below(tree, parent, source) as twin:
                if _has(name, twin):
                    return
                if item.kind == "symlink" or files == tree:
                    _copy_name(item, folder, twin)
                    return
            with _made_below(files, parent, None) as twin:
                _copy_name(item, folder, twin)

    def _link_folder(self, path: str, source: int, tree: int, first: "_First") -> None:
        """Links a new folder and watches it. Raises FileNotFoundError and NotADirectoryError where it is gone."""
        depth = path.count("/") + 1
        if _is_own(self._folders, path) or depth > MAX_DEPTH:  # the second pass refuses the latter
            return
        with opened_below(source, path) as folder, _made_below(tree, path, source) as twin:
            first.run(folder, twin, f"{path}/", depth)

    def extend(self) -> None:
        """Pass 2: call after the database was exported. Raises MoverError FilestoreChanging, FilestoreNotReadable,
        NoSpace."""
        if self._watch is None:
            return
        with self._parts() as (root, source, tree, late):
            until_ns = self._until_ns or filesystem_time(root)
            _Second(self, self._folders, until_ns, vanished=self._watch.lost).run(source, tree, late)

    @contextmanager
    def _parts(self) -> Iterator[tuple[int, int, int, int]]:
        """Descriptors: our folder, the live tree, the frozen one, and the files that only pass 2 saw."""
        try:
            with ExitStack() as stack:
                stack.enter_context(_translated())
                root = stack.enter_context(self._folders.opened(self.root))
                source = stack.enter_context(self._folders.opened(self._folders.filestore))
                tree, late = (stack.enter_context(opened(name, dir_fd=root)) for name in (TREE, LATE))
                yield root, source, tree, late
        except LinksUnsupported as error:
            raise MoverError(
                conditions.FILESTORE_CHANGING,
                f"the application created a file that cannot have a hard link ({error}). The snapshot starts again and"
                " reads the live files.",
                retryable=True,
            ) from error

    def note_gone(self, path: str) -> None:
        """A file that came and went; a few are enough."""
        if len(self.gone) < LISTED:
            self.gone.append(path)

    def remove(self) -> None:
        """Removes the links; the files themselves stay with the application."""
        if self._watch is not None:
            self._watch.close()
        super().remove()


def freeze(folders: ClaimFolders, attempt: str) -> Frozen:
    """Pass 1: call before the database is exported. Links the tree into ``freeze-<attempt>``.

    Takes about 20 µs for each file. Removes leftovers of the same attempt first. Raises MoverError FilestoreNotFound,
    FilestoreNotReadable, FilestoreLayoutUnsupported, NoSpace.
    """
    folders.require_filestore()
    target = folders.freeze(attempt)
    watch: FolderWatch | None = None
    try:
        folders.remove(target)
        folders.make_own(target)
        with _translated(), folders.opened(folders.filestore) as source, folders.opened(target) as root:
            for name in (TREE, LATE):
                ensure_folder(name, root)
            begin_ns = _next_filesystem_time(root)
            watch = FolderWatch(source)
            with opened(TREE, dir_fd=root) as tree:
                for number in range(1, FIRST_PASSES + 1):
                    _First(folders, watch if number == FIRST_PASSES else None).run(source, tree)
            since_ns = _next_filesystem_time(root)
    except BaseException as error:
        if watch is not None:
            watch.close()
        if isinstance(error, (LinksUnsupported, FolderNotWritable)):
            log.warning(
                "cannot make hard links on the filestore's claim: reading the live files", extra={"error": str(error)}
            )
            since_ns = _time_without_links(folders, target)
            return Frozen(folders, folders.filestore, since_ns, since_ns)
        folders.remove(target)
        folders.drop_own_if_empty()
        raise
    return Frozen(folders, target, begin_ns, since_ns, watch=watch)


class _Pass:
    """Walks the live tree and the frozen one together. Folders are read as they come: one may have millions of
    names."""

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
    """Links everything. `watch` watches each folder from before it is listed."""

    def __init__(self, folders: ClaimFolders, watch: FolderWatch | None) -> None:
        super().__init__(folders)
        self._watch = watch

    def run(self, source: int, target: int, path: str = "", depth: int = 0) -> None:
        """One folder and those below."""
        before = os.fstat(source)
        os.fchmod(target, 0o700)
        if self._watch is not None:
            self._watch.add(source, path)
        known = _known(target)
        below = Subfolders(source)
        for item in items_to_copy(source):
            if item.kind == "folder":
                below.note(item)
            elif item.kind != "other" and item.name not in known:
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
    """Links what is new, and replaces what the application replaced before the export. `vanished`: notes young files
    that vanished."""

    def __init__(self, frozen: Frozen, folders: ClaimFolders, until_ns: int, *, vanished: bool) -> None:
        super().__init__(folders)
        self._frozen = frozen
        self._until_ns = until_ns
        self._vanished = vanished

    def run(self, source: int, tree: int, late: int, path: str = "", depth: int = 0) -> None:
        """One folder and those below."""
        before = os.fstat(source)
        os.fchmod(tree, 0o700)
        known = _known(tree)
        live: set[str] = set()  # a few of the live names
        below = Subfolders(source)
        for item in items_in(source):
            self._frozen.files += item.kind == "file"
            if self._vanished and len(live) < KNOWN:
                live.add(item.name)
            if item.kind == "folder":
                below.note(item)
            elif item.kind == "other":
                self._frozen.unkept.note_special(path + item.name)
            elif item.kind != "file" or known.get(item.name) != item.inode:
                with contextlib.suppress(FileNotFoundError, FileExistsError):
                    self._add(item, source, tree, late, path)
        if self._vanished:
            self._note_vanished(source, tree, live, path)
        for name in below:
            child = self._open_child(name, source, path, depth)
            if child is not None:
                try:
                    self._descend(name, child, tree, late, path, depth)
                finally:
                    os.close(child)
        _finish_folder(tree, before)

    def _note_vanished(self, source: int, tree: int, live: set[str], path: str) -> None:
        """A young file that vanished since the first pass: others may have come and gone unseen."""
        for item in items_in(tree):
            if item.kind != "file" or item.name in live or (len(live) == KNOWN and _has(item.name, source)):
                continue
            written = os.stat(item.name, dir_fd=tree, follow_symlinks=False).st_mtime_ns
            if written >= self._frozen.begin_ns - YOUNG_NS:
                self._frozen.note_gone(path + item.name)

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


def _known(folder: int) -> dict[str, int]:
    """Name → inode of the files in a frozen folder; empty where they are too many to keep."""
    found: dict[str, int] = {}
    for item in items_in(folder):
        if item.kind == "file":
            found[item.name] = item.inode
            if len(found) > KNOWN:
                return {}
    return found


def _has(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _item(name: str, folder: int) -> Item:
    """Raises FileNotFoundError."""
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    kinds: dict[int, Literal["file", "folder", "symlink"]] = {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "folder",
        stat.S_IFLNK: "symlink",
    }
    return Item(name, kinds.get(stat.S_IFMT(status.st_mode), "other"), status.st_ino)


@contextmanager
def _made_below(target: int, path: str, source: int | None) -> Iterator[int]:
    """The descriptor of a folder of a frozen tree. Creates what is missing. `source`: the live tree, whose modes and
    times the folders get.

    Raises FileNotFoundError and NotADirectoryError where a live folder is gone, MoverError FilestoreChanging.
    """
    with ExitStack() as stack:
        fd, live = target, source
        os.fchmod(fd, 0o700)
        for part in filter(None, path.split("/")):
            if live is not None:
                live = stack.enter_context(opened(part, dir_fd=live))
            ensure_folder(part, fd, 0o700)
            try:
                fd = stack.enter_context(opened(part, dir_fd=fd))
            except NotADirectoryError as error:
                raise _other_kind(path) from error
            os.fchmod(fd, 0o700)
            if live is not None:
                stack.callback(_finish_folder, fd, os.fstat(live))
        yield fd


def _merge(source: int, target: int) -> None:
    """Moves the links of a frozen tree into another one. A name that the target has already is dropped."""
    for item in list(items_in(source)):
        if item.kind == "folder":
            ensure_folder(item.name, target, 0o700)
            with opened(item.name, dir_fd=source) as below, opened(item.name, dir_fd=target) as twin:
                before = os.fstat(twin)
                os.fchmod(below, 0o700)
                os.fchmod(twin, 0o700)
                _merge(below, twin)
                _finish_folder(twin, before)
            os.rmdir(item.name, dir_fd=source)
        elif _has(item.name, target):
            os.unlink(item.name, dir_fd=source)
        else:
            os.rename(item.name, item.name, src_dir_fd=source, dst_dir_fd=target)


def _other_kind(path: str) -> MoverError:
    return MoverError(
        conditions.FILESTORE_CHANGING,
        f"the application replaced {path} by something of another kind while the filestore was frozen. The snapshot"
        " starts again.",
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
