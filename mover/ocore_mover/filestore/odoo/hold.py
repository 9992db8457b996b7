"""Hold sets: hard links that protect files from the application's garbage collection during a rollback.

Garbage collection unlinks files that no row of the live database names. Before the switch, these are files that only
the restored database names; after it, files that only the previous one names. A second link in ``hold-<short>`` keeps
them all and costs one folder entry each.

On a file system without hard links the set consists of copies: of the files that the live database names and of those
that a restore adds. It then needs as much space as these files; ``probe`` warns about it.
"""

import contextlib
import errno
import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from ocore_crds import conditions
from ocore_mover.disk import closing_fd, sync_entries, sync_filesystem, write_all
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders, filesystem_error
from ocore_mover.filestore.links import (
    CREATE_FILE,
    OPEN_FILE,
    LinksUnsupported,
    by_folder,
    ensure_folder,
    filesystem_time,
    link,
    names_in,
    open_folder,
    opened,
)
from ocore_mover.filestore.names import FILE_NAME, NameFile, valid
from ocore_mover.filestore.odoo.files import ODOO_FOLDER

log = logging.getLogger(__name__)

#: A folder with a younger time stamp may get another entry without a new time stamp: the kernel's clock ticks every few
#: milliseconds, and some file systems count in steps of one or two seconds.
SETTLED_NS = 3_000_000_000
#: A held folder that has all files of the filestore's folder has that one's time stamp, less this. No entry gives it
#: such a time stamp by chance: the filestore's folder may be changed in the same tick of the clock in which ours is
#: made or gets an entry.
_COMPLETE_NS = 10 * 365 * 86400 * 1_000_000_000
COPY_CHUNK = 1024 * 1024
#: Lost files in a message.
LISTED = 5
#: Prefix of temporary names. They are never a SHA-1, so never held.
_TEMPORARY = ".new-"
#: The application's folder with the names that its garbage collection checks: it deletes the files of those that no row
#: names then, and the entries.
CHECKLIST = "checklist"
#: Marker file: this set consists of copies.
_COPIES = ".copies"


class HoldSet:
    """The hold set of one rollback, ``hold-<short>``. It survives the Job and is found again by its name."""

    def __init__(self, folders: ClaimFolders, rollback_id: str) -> None:
        self._folders = folders
        self._root = folders.hold(rollback_id)

    @property
    def exists(self) -> bool:
        """Whether the set exists."""
        return self._folders.is_folder(self._root)

    def hold_all(self, live_names: Callable[[], Iterable[str]] | None = None) -> int:
        """Holds every file that is now in the filestore: a superset of what the live database names. Again, when no
        session is left: folders without changes are not read, so it takes 256 times two system calls then.

        On a file system without hard links it copies, and only `live_names` where given: only then it is called.
        Returns the number of files added. Raises MoverError FilestoreNotFound, FilestoreNotReadable, NoSpace.
        """
        self._folders.require_filestore()
        self._folders.make_own(self._root)
        with _translated("hold the filestore's files"):
            return self._add(live_names)

    def relink(self, names: Iterable[str]) -> int:
        """Links files back that vanished from the filestore; returns their number. `names` are sorted.

        A file whose size differs from the held one is replaced too: the application was killed while it wrote it.
        Raises MoverError AttachmentsMissing if a name is neither in the filestore nor held, after linking the others.
        The message has their number and some names.
        """
        lost: list[str] = []  # a few of them
        count = lost_count = 0
        with _translated("link files back into the filestore"), self._opened() as (filestore, root):
            for folder, files in by_folder(valid(names)):
                linked, missing = self._relink_folder(filestore, root, folder, files)
                count += linked
                lost_count += len(missing)
                lost.extend(f"{folder}/{file}" for file in missing[: LISTED - len(lost)])
            if count:
                sync_entries(filestore)  # folders that were made again
        if lost_count:
            raise MoverError(
                conditions.ATTACHMENTS_MISSING,
                f"{lost_count} files that the database names are neither in the filestore nor held, among them "
                f"{', '.join(lost)}",
            )
        return count

    def kept(self, names: Iterable[str]) -> Iterator[str]:
        """The names (sorted) whose file is in the filestore or held. The files of all others are lost."""
        with _translated("list the filestore's files"), self._opened() as (filestore, root):
            for folder, files in by_folder(valid(names)):
                existing = _present(filestore, folder).keys() | _present(root, folder).keys()
                yield from (f"{folder}/{file}" for file in files if file in existing)

    def held(self) -> Iterator[str]:
        """The names of all held files, sorted."""
        with _translated("list the held files"), self._folders.opened(self._root) as root:
            for folder in _odoo_folders(root):
                yield from valid(sorted(f"{folder}/{file}" for file in _present(root, folder)))

    def give_up(self, live: Iterable[str]) -> int:
        """Puts held files that the live database does not name on the application's checklist, and returns their
        number.

        Nothing is deleted here: the application may write a row for one of them at any time, and its garbage collection
        locks the table. `live`: sorted names; where there are none, the table may be missing, and nothing is put there.
        Raises MoverError NoSpace, FilestoreNotWritable and others.
        """
        groups = iter(by_folder(valid(live)))
        group = next(groups, None)
        count = 0
        if group is None:
            return 0
        with _translated("put left-over files on the application's checklist"), self._opened() as (filestore, root):
            for folder in _odoo_folders(root):
                left = {file for file in _present(root, folder) if FILE_NAME.fullmatch(f"{folder}/{file}")}
                left &= _present(filestore, folder).keys()
                while group is not None and group[0] <= folder:
                    if group[0] == folder:
                        left.difference_update(group[1])
                    group = next(groups, None)
                if left:
                    _put_on_checklist(filestore, folder, left)
                    count += len(left)
        return count

    def spool(self, names: Iterable[str]) -> NameFile:
        """Sorted names in a file on the claim, which the caller closes. Raises MoverError NoSpace."""
        with _translated("write a list of names to the claim"), self._folders.opened(self._root) as root:
            found = NameFile(root)
            try:
                found.write(valid(names))
            except BaseException:
                found.close()
                raise
            return found

    @property
    def consists_of_copies(self) -> bool:
        """Whether the set consists of copies, because the file system has no hard links."""
        return self._copies

    def add_verified(self, source_fd: int, folder: str, files: Iterable[str]) -> None:
        """Holds restored files of an open folder, whose content matches their names. Replaces held files."""
        with self._folders.opened(self._root) as root:
            ensure_folder(folder, root)
            with opened(folder, dir_fd=root) as target_fd:
                for file in files:
                    self._put(file, source_fd, target_fd)

    @contextlib.contextmanager
    def keeping(self) -> Iterator[Callable[[str, int], bool]]:
        """A function that holds a file of the filestore, of this name and size, where the set lacks it or has it in
        another size: the application has written it since :meth:`hold_all`. It returns False where the file cannot be
        held: it has vanished, or it is still written."""
        with self._opened() as (filestore, root):
            yield lambda name, size: _has(name, size, root) or self._keep(name, filestore, root)

    def remove(self) -> bool:
        """Removes the set; returns False if it does not exist."""
        found = self._folders.remove(self._root)
        self._folders.drop_own_if_empty()
        return found

    # --- adding ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[int, int]]:
        """The descriptors of filestore and hold set."""
        with self._folders.opened(self._folders.filestore) as filestore, self._folders.opened(self._root) as root:
            yield filestore, root

    @cached_property
    def _copies(self) -> bool:
        with self._folders.opened(self._root) as root:
            return _COPIES in names_in(root)

    def _add(self, live_names: Callable[[], Iterable[str]] | None) -> int:
        if not self._copies:
            try:
                return self._add_links()
            except LinksUnsupported as error:
                log.warning(
                    "no hard links on the filestore's claim: the hold set consists of copies",
                    extra={"error": str(error)},
                )
                self._folders.remove(self._root)
                self._folders.make_own(self._root)
                with self._folders.opened(self._root) as root:
                    os.close(os.open(_COPIES, CREATE_FILE, 0o600, dir_fd=root))
                self._copies = True
        count = self._add_copies(None if live_names is None else live_names())
        if count:
            with self._folders.opened(self._root) as root:
                sync_filesystem(root)
        return count

    def _add_links(self) -> int:
        count = 0
        with self._opened() as (filestore, root):
            _require_links(root)
            now = filesystem_time(root)
            for folder in _odoo_folders(filestore):
                with opened(folder, dir_fd=filestore) as source_fd:
                    ensure_folder(folder, root)
                    with opened(folder, dir_fd=root) as target_fd:
                        count += _link_new(source_fd, target_fd, folder, now)
        return count

    def _keep(self, name: str, filestore: int, root: int) -> bool:
        folder, _, file = name.partition("/")
        try:
            with opened(folder, dir_fd=filestore) as source_fd:
                ensure_folder(folder, root)
                with opened(folder, dir_fd=root) as target_fd:
                    if self._copies:
                        return _copy(file, source_fd, target_fd, replace=True) > 0
                    try:
                        link(file, source_fd, target_fd)
                    except FileExistsError:
                        _replace_by_link(file, source_fd, target_fd)
        except (FileNotFoundError, LinksUnsupported):
            return False
        return True

    def _add_copies(self, names: Iterable[str] | None) -> int:
        count = 0
        with self._opened() as (filestore, root):
            groups = by_folder(names) if names is not None else ((f, None) for f in _odoo_folders(filestore))
            for folder, files in groups:
                with contextlib.suppress(FileNotFoundError), opened(folder, dir_fd=filestore) as source_fd:
                    ensure_folder(folder, root)
                    with opened(folder, dir_fd=root) as target_fd:
                        held = set(names_in(target_fd))
                        for file in names_in(source_fd) if files is None else files:
                            if file not in held and FILE_NAME.fullmatch(f"{folder}/{file}"):
                                count += _copy(file, source_fd, target_fd, replace=False)
        return count

    # --- linking back ----------------------------------------------------------------------------------------

    def _relink_folder(self, filestore: int, root: int, folder: str, files: list[str]) -> tuple[int, list[str]]:
        """Returns the number of files linked back, and the lost ones."""
        try:
            hold = open_folder(folder, root)
        except FileNotFoundError:
            present = _present(filestore, folder)
            return 0, [file for file in files if file not in present]
        with closing_fd(hold):
            held, present = _inodes(hold), _present(filestore, folder)
            lost = [file for file in files if file not in present and file not in held]
            gone = [file for file in files if file not in present and file in held]
            changed = [file for file in files if file in present and held.get(file, present[file]) != present[file]]
            if not gone and not changed:
                return 0, lost
            ensure_folder(folder, filestore)
            with opened(folder, dir_fd=filestore) as target:
                gone += [file for file in changed if _size(file, hold) != _size(file, target)]
                for file in gone:
                    self._put(file, hold, target)
                if gone:
                    sync_entries(target)
            return len(gone), lost

    def _put(self, file: str, source_fd: int, target_fd: int) -> None:
        """Adds a link or a copy. Replaces a file of the same name."""
        if self._copies:
            _copy(file, source_fd, target_fd, replace=True)
        else:
            _replace_by_link(file, source_fd, target_fd)


def _replace_by_link(file: str, source_fd: int, target_fd: int) -> None:
    """Links a file into another folder. Replaces a file of the same name in one step."""
    try:
        os.link(file, file, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
    except FileExistsError:
        temporary = f"{_TEMPORARY}{secrets.token_hex(4)}"
        os.link(file, temporary, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
        os.rename(temporary, file, src_dir_fd=target_fd, dst_dir_fd=target_fd)
        # Renaming one link of a file over another one of the same file does nothing at all (POSIX).
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=target_fd)


def _link_new(source_fd: int, target_fd: int, folder: str, now: int) -> int:
    """Links what the held folder lacks. Then marks it as complete, unless the source may change without a new time
    stamp."""
    changed_at = os.fstat(source_fd).st_mtime_ns  # before it is listed
    if os.fstat(target_fd).st_mtime_ns == changed_at - _COMPLETE_NS:
        return 0
    held = set(names_in(target_fd))
    count = 0
    for file in names_in(source_fd):
        if file in held or not FILE_NAME.fullmatch(f"{folder}/{file}"):
            continue
        try:
            link(file, source_fd, target_fd)
        except FileNotFoundError:
            continue  # garbage collection removed it: no row names it
        count += 1
    if _COMPLETE_NS < changed_at < now - SETTLED_NS:
        complete = changed_at - _COMPLETE_NS
        os.utime(target_fd, ns=(complete, complete))
    return count


def _copy(file: str, source_fd: int, target_fd: int, *, replace: bool) -> int:
    """Copies a file; returns 1, or 0 if its SHA-1 is not its name (the application still writes it) or it vanished."""
    try:
        source = os.open(file, OPEN_FILE, dir_fd=source_fd)
    except FileNotFoundError:
        return 0
    temporary = f"{_TEMPORARY}{secrets.token_hex(4)}"
    digest = hashlib.sha1(usedforsecurity=False)
    try:
        mode = os.fstat(source).st_mode & 0o777
        with closing_fd(os.open(temporary, CREATE_FILE, mode, dir_fd=target_fd)) as target:
            while chunk := os.read(source, COPY_CHUNK):
                digest.update(chunk)
                write_all(target, chunk)
            os.fchmod(target, mode)
            if replace:
                os.fsync(target)
        if digest.hexdigest() != file:
            return 0
        os.rename(temporary, file, src_dir_fd=target_fd, dst_dir_fd=target_fd)
        return 1
    finally:
        os.close(source)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=target_fd)


def _put_on_checklist(filestore: int, folder: str, files: Iterable[str]) -> None:
    """As Odoo's `_mark_for_gc` does: an empty file of the same name."""
    ensure_folder(CHECKLIST, filestore)
    with opened(CHECKLIST, dir_fd=filestore) as checklist:
        ensure_folder(folder, checklist)
        with opened(folder, dir_fd=checklist) as target:
            for file in files:
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(file, CREATE_FILE, 0o660, dir_fd=target))


def _odoo_folders(filestore: int) -> list[str]:
    return sorted(name for name in names_in(filestore) if ODOO_FOLDER.fullmatch(name))


def _present(filestore: int, folder: str) -> dict[str, int]:
    try:
        with opened(folder, dir_fd=filestore) as fd:
            return _inodes(fd)
    except FileNotFoundError:
        return {}


def _has(name: str, size: int, root: int) -> bool:
    try:
        return os.stat(name, dir_fd=root, follow_symlinks=False).st_size == size
    except FileNotFoundError:
        return False


def _inodes(fd: int) -> dict[str, int]:
    with os.scandir(fd) as entries:
        return {entry.name: entry.inode() for entry in entries}


def _size(file: str, folder_fd: int) -> int:
    return os.stat(file, dir_fd=folder_fd, follow_symlinks=False).st_size


def _require_links(folder_fd: int) -> None:
    """Raises LinksUnsupported where the file system has no hard links: the filestore may have no file yet that shows
    that."""
    name = f"{_TEMPORARY}{secrets.token_hex(4)}"
    second = f"{name}-link"
    os.close(os.open(name, CREATE_FILE, 0o600, dir_fd=folder_fd))
    try:
        link(name, folder_fd, folder_fd, second)
        os.unlink(second, dir_fd=folder_fd)
    finally:
        os.unlink(name, dir_fd=folder_fd)


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise MoverError(
                conditions.FILESTORE_NOT_FOUND, f"cannot {what}: {error.filename} vanished from the claim"
            ) from error
        raise filesystem_error(error, what) from error
