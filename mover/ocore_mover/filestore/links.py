"""Hard links of many files: one system call for each, relative to open folders."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path

#: Errors of file systems that refuse hard links, in general or for this file (fs.protected_hardlinks, NFS, CIFS, FUSE).
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EACCES}

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def names_in(fd: int) -> list[str]:
    """The names in an open folder."""
    return os.listdir(fd)


class LinksUnsupported(Exception):
    """The file system refuses hard links of these files."""


@contextmanager
def opened(folder: Path | str, *, dir_fd: int | None = None) -> Iterator[int]:
    """A folder's descriptor. A symbolic link as its last part is refused."""
    fd = os.open(folder, _FOLDER, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def open_below(root: int, path: str) -> int:
    """A folder's descriptor, step by step: a symbolic link that took a folder's place is not followed.

    Raises NotADirectoryError where something else is in the way.
    """
    fd = os.open(".", _FOLDER, dir_fd=root)
    for part in filter(None, path.split("/")):
        try:
            child = os.open(part, _FOLDER, dir_fd=fd)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), part) from error
            raise
        finally:
            os.close(fd)
        fd = child
    return fd


def by_folder(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Groups sorted ``xx/file`` names: (xx, [file, …])."""
    for folder, group in groupby(names, lambda name: name.partition("/")[0]):
        start = len(folder) + 1
        yield folder, [name[start:] for name in group]


def ensure_folder(name: str, dir_fd: int) -> None:
    """Creates a folder if it does not exist."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o770, dir_fd=dir_fd)


def link_names(source: Path, target: Path, names: Iterable[str]) -> list[str]:
    """Links the named files (sorted, ``xx/file``) from one folder into another. Returns the names that do not exist.

    A name that the target already has is left unchanged. Raises LinksUnsupported or OSError.
    """
    missing: list[str] = []
    with opened(source) as source_root, opened(target) as target_root:
        for folder, files in by_folder(names):
            try:
                with opened(folder, dir_fd=source_root) as source_fd:
                    ensure_folder(folder, target_root)
                    with opened(folder, dir_fd=target_root) as target_fd:
                        missing.extend(f"{folder}/{file}" for file in _link_all(files, source_fd, target_fd))
            except FileNotFoundError:
                missing.extend(f"{folder}/{file}" for file in files)
    return missing


def _link_all(files: list[str], source_fd: int, target_fd: int) -> list[str]:
    missing = []
    link = os.link
    for file in files:
        try:
            link(file, file, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
        except FileNotFoundError:
            missing.append(file)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno in NO_LINKS:
                raise LinksUnsupported(error.strerror) from error
            raise
    return missing


def links_supported(folder: Path, sample: Path | None) -> bool:
    """Whether a file of the application (`sample`) can be linked into the folder; without a sample, one of ours."""
    own = folder / ".ocore-link-test"
    link = folder / ".ocore-link-test-2"
    try:
        own.touch()
        try:
            os.link(sample or own, link, follow_symlinks=False)
        except OSError as error:
            if error.errno in NO_LINKS:
                return False
            raise
        return link.stat().st_nlink > 1
    finally:
        link.unlink(missing_ok=True)
        own.unlink(missing_ok=True)
