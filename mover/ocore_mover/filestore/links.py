"""Folders and hard links by descriptors: nothing below an open folder is reached through a symbolic link.

The application owns the claim and may replace any folder by a link at any time, for example to the Job's own secrets.
So every path is opened part by part, each relative to the descriptor of the part before and with O_NOFOLLOW.
"""

import contextlib
import errno
import os
import secrets
import stat
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import groupby, islice
from operator import itemgetter
from typing import Literal, NamedTuple

from ocore_mover.disk import closing_fd

#: Errors of file systems that refuse hard links, in general or for this file (fs.protected_hardlinks, NFS, CIFS, FUSE).
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EACCES}

#: For a file that may be replaced at any time: a pipe does not block, and a symbolic link is refused.
OPEN_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
#: Folders in one folder that are kept in memory.
FEW = 10_000
#: Bytes of a folder itself, in ext4 of some 500,000 names. Smaller ones are listed once.
LARGE_FOLDER = 16 * 1024 * 1024
#: Times that a folder is listed while it is removed. An application may add files at the same time.
LISTINGS = 100
#: Names of one folder that are in memory together. An Odoo filestore of 10,000,000 files has 40,000 in each.
GROUP = 100_000

CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
#: Where two names differ in it, they are in two folders: "xx/" or "xxx".
_FOLDER_OF = itemgetter(slice(3))
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


class LinksUnsupported(Exception):
    """The file system refuses hard links of these files."""


# --- opening -------------------------------------------------------------------------------------------------


def open_folder(name: str, dir_fd: int) -> int:
    """The descriptor of a folder in an open folder. Raises NotADirectoryError for a symbolic link."""
    try:
        return os.open(name, _FOLDER, dir_fd=dir_fd)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise NotADirectoryError(
            errno.ENOTDIR, "not a folder, or a symbolic link, which is not followed", name
        ) from error


def open_below(root: int, path: str) -> int:
    """The descriptor of a folder below an open folder. Raises NotADirectoryError for a symbolic link in the path."""
    fd = open_folder(".", root)
    for part in filter(None, path.split("/")):
        with closing_fd(fd):
            fd = open_folder(part, fd)
    return fd


def opened(name: str, *, dir_fd: int) -> AbstractContextManager[int]:
    """As :func:`open_folder`; closes the descriptor after the block."""
    return closing_fd(open_folder(name, dir_fd))


def opened_below(root: int, path: str) -> AbstractContextManager[int]:
    """As :func:`open_below`; closes the descriptor after the block."""
    return closing_fd(open_below(root, path))


def filesystem_time(folder: int) -> int:
    """The time stamp of a new entry: the file server's clock for a network file system."""
    name = f".clock-{secrets.token_hex(4)}"
    os.close(os.open(name, CREATE_FILE, 0o600, dir_fd=folder))
    try:
        return os.stat(name, dir_fd=folder).st_mtime_ns
    finally:
        os.unlink(name, dir_fd=folder)


# --- listing -------------------------------------------------------------------------------------------------


def names_in(fd: int) -> list[str]:
    """The names in an open folder."""
    return os.listdir(fd)


def exists(name: str, dir_fd: int) -> bool:
    """Whether an open folder has the name, whatever it is. Raises OSError."""
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


class Item(NamedTuple):
    """A name in a folder."""

    name: str
    kind: Literal["file", "folder", "symlink", "other"]
    inode: int


def items_in(fd: int) -> Generator[Item]:
    """The names in an open folder with their kinds, as they come: a folder may have millions of them."""
    with os.scandir(fd) as entries:
        for entry in entries:
            yield Item(entry.name, _kind(entry), entry.inode())


def items_to_copy(fd: int) -> Generator[Item]:
    """As :func:`items_in`, for names that are created in another folder in this order.

    ext4 lists a folder in the order of its index. Names created in that order leave each block of the other folder's
    index half full, and two levels of them are full with 9,500,000 names of 17 bytes: the folder that is copied can
    hold twice as many. So a large folder is listed twice, for a random half of its names each time: those of the second
    half fill the blocks.
    """
    if os.fstat(fd).st_size < LARGE_FOLDER:
        yield from items_in(fd)
        return
    for half in (0, 1):
        yield from (item for item in items_in(fd) if zlib.crc32(os.fsencode(item.name)) & 1 == half)


def _kind(entry: "os.DirEntry[str]") -> Literal["file", "folder", "symlink", "other"]:
    if entry.is_symlink():
        return "symlink"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


class Subfolders:
    """The folders in an open folder, noted while it is listed.

    More than FEW are not kept: the folder is listed again as they are used, so memory does not grow with their number.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._names: list[str] = []
        self._many = False

    def note(self, item: Item) -> None:
        """Call with each item of the folder; ignores all but folders."""
        if item.kind != "folder" or self._many:
            return
        self._names.append(item.name)
        if len(self._names) > FEW:
            self._many = True
            self._names.clear()

    def __iter__(self) -> Generator[str]:
        if not self._many:
            yield from sorted(self._names)
            return
        with opened(".", dir_fd=self._fd) as again:
            yield from (item.name for item in items_in(again) if item.kind == "folder")


class Folder(NamedTuple):
    """A folder of a tree. Descriptor and items are valid until the next step of the walk."""

    path: str  # below the root, with a slash at its end; empty for the root
    fd: int
    items: Iterator[Item]


def walk(
    root: int, *, skip: Callable[[str], bool], failed: Callable[[str, OSError], None], depth: int
) -> Iterator[Folder]:
    """The folders of a tree, each before those in it. Never follows a symbolic link.

    `skip` gets the path of a folder and excludes it. `failed` gets the path of a folder that cannot be opened or
    listed, and decides whether to raise. Folders deeper than `depth` raise RecursionError: each level keeps a
    descriptor open.
    """
    stack: list[tuple[int, str, Generator[str]]] = []  # descriptor, path, folders to come

    def enter(fd: int, path: str) -> Iterator[Folder]:
        below = Subfolders(fd)
        stack.append((fd, path, below.__iter__()))

        def items() -> Iterator[Item]:
            for item in items_to_copy(fd):
                below.note(item)
                yield item

        found = items()
        try:
            yield Folder(path, fd, found)
            for _ in found:
                pass
        except OSError as error:
            failed(path.rstrip("/"), error)

    try:
        yield from enter(open_folder(".", root), "")
        while stack:
            fd, path, below = stack[-1]
            try:
                name = next(below, None)
            except OSError as error:
                failed(path.rstrip("/"), error)
                name = None
            if name is None:
                os.close(stack.pop()[0])
                continue
            if skip(path + name):
                continue
            if len(stack) > depth:
                raise RecursionError(path + name)
            try:
                child = open_folder(name, fd)
            except OSError as error:
                failed(path + name, error)
                continue
            yield from enter(child, f"{path}{name}/")
    finally:
        for fd, _, below in stack:
            below.close()
            os.close(fd)


# --- changing ------------------------------------------------------------------------------------------------


def ensure_folder(name: str, dir_fd: int, mode: int = 0o770) -> None:
    """Creates a folder if the name does not exist."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=dir_fd)


def ensure_below(root: int, path: str, mode: int = 0o770) -> None:
    """Creates the folders of a path below an open folder where they do not exist. Raises NotADirectoryError where
    something else, or a symbolic link, has such a name."""
    fd = open_folder(".", root)
    for part in filter(None, path.split("/")):
        with closing_fd(fd):
            ensure_folder(part, fd, mode)
            fd = open_folder(part, fd)
    os.close(fd)


def remove(name: str, dir_fd: int) -> bool:
    """Removes a folder and its contents, read-only folders included; a symbolic link is removed, never followed.

    Returns False if the name does not exist. Raises OSError.
    """
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=dir_fd)
            return True
        try:
            _remove_folder(name, dir_fd)
        except PermissionError:
            _allow_removal(name, dir_fd)
            _remove_folder(name, dir_fd)
    return True


def _remove_folder(name: str, dir_fd: int) -> None:
    """Removes a folder and its contents. Keeps no list of its names, unlike shutil.rmtree: it may have millions.

    Raises FileNotFoundError if the folder does not exist, OSError.
    """
    stack = [_Removal(name, dir_fd)]
    try:
        while stack:
            last = stack[-1]
            below = last.remove_files()
            if below is None:
                if last.remove_itself():
                    stack.pop().close()
                continue
            with contextlib.suppress(FileNotFoundError):
                stack.append(_Removal(below, last.fd))
    finally:
        for each in stack:
            each.close()


class _Removal:
    """A folder that is being removed."""

    def __init__(self, name: str, parent: int) -> None:
        self._name = name
        self._parent = parent
        self.fd = open_folder(name, parent)
        self._items = items_in(self.fd)
        self._found = False  # whether this listing found anything
        self._listings = 1

    def remove_files(self) -> str | None:
        """Removes what is listed next, up to a folder, whose name it returns; None at the end of the listing."""
        for item in self._items:
            self._found = True
            if item.kind == "folder":
                return item.name
            with contextlib.suppress(FileNotFoundError):
                os.unlink(item.name, dir_fd=self.fd)
        return None

    def remove_itself(self) -> bool:
        """Returns False if the folder must be listed again: a listing may leave out names while others are removed."""
        try:
            os.rmdir(self._name, dir_fd=self._parent)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not self._found or self._listings == LISTINGS:
                raise
            self._items, self._found = items_in(self.fd), False
            self._listings += 1
            return False
        return True

    def close(self) -> None:
        """Closes the descriptor."""
        self._items.close()
        os.close(self.fd)


def _allow_removal(name: str, dir_fd: int) -> None:
    """Makes the folders of a tree writable. O_PATH opens a folder without permission to read it."""
    with closing_fd(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=dir_fd)) as fd:
        os.chmod(f"/proc/self/fd/{fd}", 0o700)  # noqa: PTH101 - the kernel's name of the open folder
        with opened(".", dir_fd=fd) as readable:
            for item in items_in(readable):
                if item.kind == "folder":
                    _allow_removal(item.name, readable)


# --- hard links ----------------------------------------------------------------------------------------------


def by_folder(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Groups sorted ``xx/sha1`` and ``xxx/sha1`` names (FILE_NAME): (folder, [sha1, …]). A folder of more than GROUP
    names comes several times."""
    for start, group in groupby(names, _FOLDER_OF):
        folder = start.rstrip("/")
        first = len(folder) + 1
        while files := [name[first:] for name in islice(group, GROUP)]:
            yield folder, files


def link(name: str, source_fd: int, target_fd: int, target: str | None = None) -> None:
    """Links a file into another open folder. Raises LinksUnsupported or OSError."""
    try:
        os.link(name, target or name, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno in NO_LINKS:
            raise LinksUnsupported(error.strerror) from error
        raise


def links_supported(folder: int, sample: tuple[int, str] | None) -> bool:
    """Whether a file of the application can be linked into the open folder; without a sample, one of ours.

    `sample` is an open folder and a name in it.
    """
    own, other = ".ocore-link-test", ".ocore-link-test-2"
    source, name = sample or (folder, own)
    try:
        os.close(os.open(own, CREATE_FILE, 0o600, dir_fd=folder))
        try:
            link(name, source, folder, other)
        except LinksUnsupported:
            return False
        return os.stat(other, dir_fd=folder, follow_symlinks=False).st_nlink > 1
    finally:
        for made in (other, own):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(made, dir_fd=folder)
