"""A frozen view of a folder of any files: hard links of the whole tree.

1. `freeze` links the tree as it is (:mod:`.mirror`). A file that a row of the export names existed at that time, or was
   created later.
2. :meth:`Frozen.approach` links what was created since, right before the export, and :meth:`Frozen.confirm` right after
   it. Both know it from the kernel's events, so they take milliseconds whatever the size of the tree. A file that the
   application deletes after the export has a link from before. Where the export may have seen a file that has no link,
   another export is tried.

Without events (network file systems) :meth:`Frozen.extend` lists all folders again after the export. Only what vanished
until then shows that files came and went.

A link does not protect the content of a file that the application changes in place: from :attr:`Frozen.since_ns` on, a
modification counts as one after the export. A file that was created after :attr:`Frozen.begin_ns` is still being
written for the first time: it is complete before a row that names it is committed.
"""

import contextlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from ocore_crds import conditions
from ocore_mover.disk import birth_time_of, closing_fd
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import MAX_DEPTH, ClaimFolders, FolderNotWritable, claim_errors
from ocore_mover.filestore.left_out import LISTED, Unkept
from ocore_mover.filestore.links import (
    Item,
    LinksUnsupported,
    Subfolders,
    ensure_folder,
    exists,
    filesystem_time,
    items_in,
    open_folder,
    opened,
    walk,
)
from ocore_mover.filestore.plain import watch
from ocore_mover.filestore.plain.mirror import KNOWN, Calls, Doubts, Mirror, finish_folder, known_in, too_deep

log = logging.getLogger(__name__)

#: The tree of pass 1 with all folders and symbolic links, and the files that were created during the export.
TREE, LATE = "tree", "late"
#: Seconds that the clock of a file system may stand still: some count in steps of two seconds.
CLOCK_STEP = 3.0
CLOCK_PAUSE = 0.002
#: Without events: a file that was changed at most this long before the freeze and vanished during it shows that young
#: files are deleted.
YOUNG_NS = 60 * 1_000_000_000
#: What fails, for messages.
_LINKING = "link the filestore's files"


class Live(NamedTuple):
    """The application's folder, and what links its files."""

    folder: os.stat_result
    mirror: Mirror


class Frozen:
    """The frozen tree of a snapshot. Where there are no hard links (`linked` is False), the tree is the live folder
    `root`. A context manager: removes the links at its end."""

    def __init__(
        self, folders: ClaimFolders, root: Path, begin_ns: int, since_ns: int, *, live: Live | None = None
    ) -> None:
        """`live`: whose files have links; None where there are no hard links."""
        self._folders = folders
        self.root = root
        self.linked = live is not None
        self.unkept = Unkept()
        self.begin_ns = begin_ns
        self.since_ns = since_ns
        self.files = 0  # that :meth:`extend` saw; 0: not known
        self._mirror = live.mirror if live is not None else None
        self._folder = live.folder if live is not None else None
        self.doubts = live.mirror.doubts if live is not None else Doubts()
        self._exported = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the links; the files themselves stay with the application."""
        if self._mirror is not None:
            self._mirror.watch.close()
            self._folders.remove(self.root)
            self._folders.drop_own_if_empty()

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
        if self._mirror is None:
            return
        with self._parts() as (root, source, tree, late):
            _merge(late, tree)  # of an earlier export
            self.since_ns = _next_filesystem_time(root)
            self._mirror.approach(source, tree)
        self._exported = True

    def confirm(self) -> bool:
        """Call right after the export: links what the application created since :meth:`approach`. False where the
        export may have seen a file that has no link (:attr:`doubts`): export again.

        Raises MoverError as :meth:`approach`.
        """
        if self._mirror is None:
            return True
        with self._parts() as (_, source, tree, late):
            return self._mirror.confirm(source, tree, late)

    def extend(self) -> None:
        """Pass 2: call after the database was exported, or where there is none. Raises MoverError FilestoreChanging,
        FilestoreNotReadable, NoSpace."""
        if self._mirror is None:
            return
        with self._parts() as (root, source, tree, late):
            if self._mirror.watch.blind:
                until_ns = filesystem_time(root)
                _Second(self, self._folders, until_ns).run(source, tree, late)
                return
            if not self._exported:
                self._mirror.approach(source, tree)
            self._survey(source)

    def _survey(self, source: int) -> None:
        """Counts the files, and notes what is not kept."""

        def skip(path: str) -> bool:
            return _is_own(self._folders, path)

        try:
            for folder in walk(source, skip=skip, failed=_not_found, depth=MAX_DEPTH):
                if folder.path:
                    self.unkept.note_folder(folder.path.rstrip("/"), folder.fd)
                for item in folder.items:
                    self.files += item.kind == "file"
                    if item.kind == "other":
                        self.unkept.note_special(folder.path + item.name)
        except RecursionError as error:
            raise too_deep(str(error)) from error

    @contextmanager
    def _parts(self) -> Iterator[tuple[int, int, int, int]]:
        """Descriptors: our folder, the live tree, the frozen one, and the files that only pass 2 saw."""
        try:
            with ExitStack() as stack:
                stack.enter_context(claim_errors(_LINKING))
                root = stack.enter_context(self._folders.opened(self.root))
                source = stack.enter_context(self._folders.opened(self._folders.filestore))
                if self._folder is not None and not os.path.samestat(os.fstat(source), self._folder):
                    raise _replaced(str(self._folders.path or "the filestore"))
                tree, late = (stack.enter_context(opened(name, dir_fd=root)) for name in (TREE, LATE))
                yield root, source, tree, late
        except LinksUnsupported as error:
            raise MoverError(
                conditions.FILESTORE_CHANGING,
                f"the application created a file that cannot have a hard link ({error}). The snapshot starts again and"
                " reads the live files.",
                retryable=True,
            ) from error

    @property
    def blind(self) -> bool:
        """Whether the database was exported while no events were seen: only what vanished since shows that files came
        and went."""
        return self._exported and self._mirror is not None and self._mirror.watch.blind


def freeze(folders: ClaimFolders, attempt: str) -> Frozen:
    """Call before the database is exported. Links the tree into ``freeze-<attempt>``.

    Takes about 20 µs for each file. Removes leftovers of the same attempt first. Raises MoverError FilestoreNotFound,
    FilestoreNotReadable, FilestoreLayoutUnsupported, NoSpace.
    """
    folders.require_filestore()
    target = folders.freeze(attempt)
    mirror: Mirror | None = None
    try:
        folders.remove(target)
        folders.make_own(target)
        with claim_errors(_LINKING), folders.opened(folders.filestore) as source, folders.opened(target) as root:
            for name in (TREE, LATE):
                ensure_folder(name, root)
            begin_ns = _next_filesystem_time(root)
            folder = os.fstat(source)
            mirror = Mirror(watch.of(source), lambda path: _is_own(folders, path))
            with opened(TREE, dir_fd=root) as tree:
                mirror.walk(source, tree)
            since_ns = _next_filesystem_time(root)
    except BaseException as error:
        if mirror is not None:
            mirror.watch.close()
        if isinstance(error, (LinksUnsupported, FolderNotWritable)):
            log.warning(
                "cannot make hard links on the filestore's claim: reading the live files", extra={"error": str(error)}
            )
            since_ns = _time_without_links(folders, target)
            return Frozen(folders, folders.filestore, since_ns, since_ns)
        folders.remove(target)
        folders.drop_own_if_empty()
        raise
    return Frozen(folders, target, begin_ns, since_ns, live=Live(folder, mirror))


class _Second:
    """Without events: links what is new, and replaces what the application replaced before the export. Notes young
    files that vanished. Folders are read as they come: one may have millions of names."""

    def __init__(self, frozen: Frozen, folders: ClaimFolders, until_ns: int) -> None:
        self._frozen = frozen
        self._folders = folders
        self._until_ns = until_ns
        self._calls = Calls()

    def run(self, source: int, tree: int, late: int, path: str = "", depth: int = 0) -> None:
        """One folder and those below."""
        before = os.fstat(source)
        os.fchmod(tree, 0o700)
        known = known_in(tree, self._calls)
        live: set[str] = set()  # a few of the live names
        below = Subfolders(source)
        for item in items_in(source):
            self._frozen.files += item.kind == "file"
            if len(live) < KNOWN:
                live.add(item.name)
            if item.kind == "folder":
                below.note(item)
            elif item.kind == "other":
                self._frozen.unkept.note_special(path + item.name)
            elif item.kind != "file" or known.get(item.name) != item.inode:
                with contextlib.suppress(FileNotFoundError, FileExistsError):
                    self._add(item, source, tree, late, path)
        self._note_vanished(source, tree, live, path)
        for name in below:
            if depth == 0 and _is_own(self._folders, name):
                continue
            if depth == MAX_DEPTH:
                raise too_deep(path + name)
            # The application may have removed or replaced it.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), opened(name, dir_fd=source) as child:
                self._descend(name, child, tree, late, path, depth)
        finish_folder(tree, before)

    def _note_vanished(self, source: int, tree: int, live: set[str], path: str) -> None:
        """A young file that vanished since the first pass: others may have come and gone unseen."""
        for item in items_in(tree):
            if item.kind != "file" or item.name in live or (len(live) == KNOWN and exists(item.name, source)):
                continue
            if len(self._frozen.doubts.gone) == LISTED:  # a few are enough
                return
            written = os.stat(item.name, dir_fd=tree, follow_symlinks=False).st_mtime_ns
            if written >= self._frozen.begin_ns - YOUNG_NS:
                self._frozen.doubts.gone.append(path + item.name)

    def _descend(self, name: str, child: int, tree: int, late: int, path: str, depth: int) -> None:
        self._frozen.unkept.note_folder(path + name, child)
        ensure_folder(name, tree, 0o700)
        try:
            twin = open_folder(name, tree)
        except NotADirectoryError as error:
            raise _replaced(path + name) from error
        with closing_fd(twin):
            ensure_folder(name, late, 0o700)
            with opened(name, dir_fd=late) as below:
                self.run(child, twin, below, f"{path}{name}/", depth + 1)
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(name, dir_fd=late)

    def _add(self, item: Item, source: int, tree: int, late: int, path: str) -> None:
        """A file or a symbolic link."""
        try:
            twin = os.stat(item.name, dir_fd=tree, follow_symlinks=False)
        except FileNotFoundError:
            self._calls.copy(item, source, late if item.kind == "file" else tree, item.name)
            return
        if stat.S_ISDIR(twin.st_mode):
            raise _replaced(path + item.name)
        if not self._replaces(item, twin, source, tree, path):
            return
        temporary = f".new-{secrets.token_hex(8)}"
        self._calls.copy(item, source, tree, temporary)
        os.rename(temporary, item.name, src_dir_fd=tree, dst_dir_fd=tree)

    def _replaces(self, item: Item, twin: os.stat_result, source: int, tree: int, path: str) -> bool:
        """Whether the live file took the place of the frozen one before the export.

        It did so at its change time, or earlier: a hard link or a new mode changes that, too. A file that was born
        after the export took the place after it.
        """
        if item.kind == "file" and item.inode == twin.st_ino:
            return False
        live = os.stat(item.name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISLNK(live.st_mode) and stat.S_ISLNK(twin.st_mode):
            texts = {os.readlink(item.name, dir_fd=folder) for folder in (source, tree)}
            if len(texts) == 1:
                return False
        if live.st_ctime_ns < self._frozen.since_ns:
            return True
        if (birth_time_of(item.name, source) or live.st_ctime_ns) <= self._until_ns:
            self._frozen.doubts.replaced.append(path + item.name)
        return False


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
                finish_folder(twin, before)
            os.rmdir(item.name, dir_fd=source)
        elif exists(item.name, target):
            os.unlink(item.name, dir_fd=source)
        else:
            os.rename(item.name, item.name, src_dir_fd=source, dst_dir_fd=target)


def _replaced(path: str) -> MoverError:
    return MoverError(
        conditions.FILESTORE_CHANGING,
        f"the application replaced {path} by something else while the filestore was frozen. The snapshot starts again.",
        retryable=True,
    )


def _not_found(path: str, error: OSError) -> None:
    """Of a folder that is walked: the application may have removed or replaced it."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _is_own(folders: ClaimFolders, path: str) -> bool:
    return not folders.path and path == folders.own.parent.name


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
