"""Layout Odoo: adds the files that the filestore lacks from the snapshot's packs."""

import contextlib
import hashlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext

from ocore_crds import failpoints
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.chunks import READ_CHUNK
from ocore_mover.disk import closing_fd, start_writeback, sync_filesystem, write_all
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore import space
from ocore_mover.filestore.folders import ClaimFolders, claim_errors
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.links import CREATE_FILE, OPEN_FILE, ensure_folder, items_in, names_in, opened
from ocore_mover.filestore.odoo.files import ODOO_FOLDER
from ocore_mover.filestore.odoo.hold import HoldSet
from ocore_mover.filestore.odoo.index_lines import parse_odoo
from ocore_mover.filestore.space import Space
from ocore_mover.filestore.unpack import (
    Block,
    Content,
    PackReader,
    Restored,
    blocks,
    entries,
    one_ahead,
)
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store
from ocore_mover.workers import run_workers

log = logging.getLogger(__name__)

#: Files of this size or more go to the disk at once, so that the flush at the end is short.
WRITEBACK = 64 * 1024
#: Bytes between two updates of the progress.
REPORT_BYTES = 4 * 1024 * 1024


def add_missing(
    store: Store,
    artifact: FilestoreArtifact,
    folders: ClaimFolders,
    hold: HoldSet | None,
    counter: Counter,
    *,
    jobs: int = 2,
) -> Restored:
    """Adds the snapshot's files that the live filestore lacks; removes nothing.

    Existing files are read and compared with their names, because the restored database relies on them. A damaged one
    is replaced in one step. A right one is held as well: garbage collection may remove it before the switch. New files
    go into a folder of ours first. After all of them and all packs are verified and flushed, they are held (in `hold`)
    and then made visible. Raises Corrupt (then nothing became visible), StoreError, and MoverError FilestoreNotFound,
    NoSpace. Hits the failpoint restore-files-added.
    """
    folders.require_filestore()
    folders.remove(folders.incoming)
    folders.make_own(folders.incoming)
    try:
        with PackReader(store, "sha1") as reader:
            run = _Adding(store, reader, artifact, folders, hold, counter)
            missing(store, artifact, folders).check()
            run_workers(jobs, run.blocks(), run.work)
            run.check_whole()
        with (
            claim_errors("add files to the filestore"),
            folders.opened(folders.filestore) as filestore,
            folders.opened(folders.incoming) as incoming,
        ):
            sync_filesystem(incoming)
            _publish(filestore, incoming, hold, jobs)
            sync_filesystem(filestore)
    finally:
        with contextlib.suppress(MoverError):  # `cleanup` or the next attempt removes it
            folders.remove(folders.incoming)
        folders.drop_own_if_empty()
    failpoints.hit("restore-files-added")
    return run.result()


def missing(store: Store, artifact: FilestoreArtifact, folders: ClaimFolders) -> Space:
    """The space for the snapshot's files that the filestore lacks, or has in another size. Compares names and sizes of
    the index with the filestore; reads no file. Raises Corrupt, StoreError, and OSError."""
    with folders.opened(folders.filestore) as root:
        return Space(*_missing(store, artifact, root), space.free_bytes(root), space.reserve(os.fstatvfs(root)))


def _missing(store: Store, artifact: FilestoreArtifact, root: int) -> tuple[int, int]:
    if not any(ODOO_FOLDER.fullmatch(name) for name in names_in(root)):
        return artifact.file_count, artifact.size_bytes
    files = size = 0
    for entry in entries(store, artifact, parse_odoo):
        if _size_of(entry.name, root) != entry.size:
            files += 1
            size += entry.size
    return files, size


class _Adding:
    """What the workers share."""

    def __init__(
        self,
        store: Store,
        reader: PackReader,
        artifact: FilestoreArtifact,
        folders: ClaimFolders,
        hold: HoldSet | None,
        counter: Counter,
    ) -> None:
        self._store = store
        self._reader = reader
        self._artifact = artifact
        self._folders = folders
        self._hold = hold
        self._counter = counter
        with folders.opened(folders.filestore) as filestore:
            self._like = _Neighbours(filestore)
            self._existing = frozenset(name for name in names_in(filestore) if ODOO_FOLDER.fullmatch(name))
        self._lock = threading.Lock()
        self._seen = 0
        self.files_added = self.bytes_added = self.files_replaced = self.files_checked = 0

    # --- the workers -----------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[Block]:
        """The snapshot's packs with their entries; counts the entries."""
        for block in blocks(self._store, self._artifact, parse_odoo):
            self._seen += len(block[1])
            yield block

    def work(self, packs: Iterator[Block]) -> None:
        """One worker: restores packs until there are no more."""
        with (
            claim_errors("write to the filestore's claim"),
            self._folders.opened(self._folders.filestore) as filestore,
            self._folders.opened(self._folders.incoming) as incoming,
            self._hold.keeping() if self._hold is not None else nullcontext(_keep_nothing) as keep,
        ):
            progress = _Progress(self._counter)
            # The next pack's files are examined while the ranges of this one arrive.
            for found in one_ahead(self._missing_of(block, filestore, keep, progress) for block in packs):
                for entry, pieces in found:
                    self._write(entry, pieces, incoming)
                    progress.add(entry.size)
            progress.report()

    def _missing_of(
        self, block: Block, filestore: int, keep: Callable[[str, int], bool], progress: "_Progress"
    ) -> Iterator[Content]:
        """The files of a pack that the filestore lacks, with their bytes."""
        pack, known = block
        buffer = bytearray(READ_CHUNK)
        wanted, replaced, checked = [], 0, 0
        for entry in known:
            # A file of a folder that the application makes from now on is replaced by the same one.
            found = _examine(entry, filestore, buffer) if entry.folder in self._existing else "missing"
            if found == "right" and keep(entry.name, entry.size):
                checked += 1
                progress.add(entry.size)
            else:
                wanted.append(entry)
                replaced += found == "wrong"
        with self._lock:
            self.files_checked += checked
            self.files_replaced += replaced
            self.files_added += len(wanted)
            self.bytes_added += sum(entry.size for entry in wanted)
        return self._reader.contents(pack, known, wanted)

    def _write(self, entry: Entry, pieces: Iterable[bytes | memoryview], incoming: int) -> None:
        with closing_fd(self._create(entry, incoming)) as fd:
            for piece in pieces:
                write_all(fd, piece)
            self._like.apply_to_file(fd)
            if entry.size >= WRITEBACK:
                start_writeback(fd, 0, entry.size)

    def _create(self, entry: Entry, incoming: int) -> int:
        try:
            return self._like.create_file(entry.name, incoming)
        except FileNotFoundError:
            ensure_folder(entry.folder, incoming)
        except FileExistsError as error:
            raise Corrupt(f"the index names {entry.name} twice") from error
        return self._like.create_file(entry.name, incoming)

    # --- after -----------------------------------------------------------------------------------------------

    def check_whole(self) -> None:
        """Raises Corrupt unless the index has as many files as the manifest."""
        if self._seen != self._artifact.file_count:
            raise Corrupt(f"the index names {self._seen} files and the manifest {self._artifact.file_count}")

    def result(self) -> Restored:
        """For the report."""
        return Restored(
            self.files_added, self.bytes_added, self._reader.packs_read, self.files_replaced, self.files_checked
        )


def _keep_nothing(_: str, __: int) -> bool:
    """Without a hold set nothing has to be held."""
    return True


def _examine(entry: Entry, filestore: int, buffer: bytearray) -> str:
    """State of the live file of this name: `right`, `wrong` or `missing`."""
    try:
        fd = os.open(entry.name, OPEN_FILE, dir_fd=filestore)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        log.warning("a file cannot be read and will be replaced", extra={"file": entry.name, "error": error.strerror})
        return "wrong"
    with closing_fd(fd):
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size:
            return "wrong"
        digest = hashlib.sha1(usedforsecurity=False)
        view = memoryview(buffer)
        while read := os.readv(fd, [view]):
            digest.update(view[:read])
        return "right" if digest.hexdigest() == entry.digest else "wrong"


def _size_of(name: str, root: int) -> int | None:
    try:
        return os.stat(name, dir_fd=root, follow_symlinks=False).st_size
    except OSError:
        return None


class _Progress:
    """Counts small files together, because the counter takes a lock."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._bytes = self._files = 0

    def add(self, size: int) -> None:
        self._bytes += size
        self._files += 1
        if self._bytes >= REPORT_BYTES:
            self.report()

    def report(self) -> None:
        self._counter.add(bytes_=self._bytes, files=self._files)
        self._bytes = self._files = 0


class _Neighbours:
    """Owner and mode of the filestore's files and folders, for new ones.

    Only root can change the owner. Another user sets the folder's group if it is a member.
    """

    def __init__(self, filestore: int) -> None:
        root = os.fstat(filestore)
        self._folder_mode, self._file_mode = stat.S_IMODE(root.st_mode), 0o644
        self._uid = root.st_uid if os.geteuid() == 0 else -1
        self._gid = root.st_gid
        # What a new file lacks; unknown before the first one.
        self._gives_away: bool | None = None
        self._changes_mode = True
        for folder in sorted(items_in(filestore)):
            if folder.kind == "folder" and len(folder.name) == 2 and self._learn_from(folder.name, filestore):
                break

    def _learn_from(self, folder: str, filestore: int) -> bool:
        try:
            with opened(folder, dir_fd=filestore) as fd:
                first = next((item.name for item in items_in(fd) if item.kind == "file"), None)
                if first is None:
                    return False
                self._file_mode = stat.S_IMODE(os.stat(first, dir_fd=fd, follow_symlinks=False).st_mode)
                self._folder_mode = stat.S_IMODE(os.fstat(fd).st_mode)
        except (FileNotFoundError, NotADirectoryError):  # the application removed it
            return False
        return True

    def create_file(self, name: str, folder: int) -> int:
        """The descriptor of a new file in a folder of ours, which others cannot enter. It has the right mode already,
        unless the umask or a default ACL limits it: a change of the mode costs as much as the file's creation."""
        return os.open(name, CREATE_FILE, self._file_mode, dir_fd=folder)

    def apply_to_file(self, fd: int) -> None:
        """Call on every new file."""
        if self._gives_away is None:
            status = os.fstat(fd)
            self._changes_mode = stat.S_IMODE(status.st_mode) != self._file_mode
            self._gives_away = self._uid not in (-1, status.st_uid) or self._gid != status.st_gid
        if self._changes_mode:
            os.fchmod(fd, self._file_mode)
        if self._gives_away:
            self._own(fd)

    def apply_to_folder(self, fd: int) -> None:
        """Call on every new folder."""
        self._own(fd)
        os.fchmod(fd, self._folder_mode)

    def _own(self, fd: int) -> None:
        with contextlib.suppress(PermissionError):
            os.fchown(fd, self._uid, self._gid)


def _publish(filestore: int, incoming: int, hold: HoldSet | None, jobs: int) -> None:
    """Moves every new file to its place. It enters the hold set first: garbage collection cannot destroy it then."""
    like = _Neighbours(filestore)

    def work(folders: Iterator[str]) -> None:
        for folder in folders:
            with opened(folder, dir_fd=incoming) as source:
                _ensure_like(folder, filestore, like)
                files = names_in(source)
                if hold is not None:
                    hold.add_verified(source, folder, files)
                with opened(folder, dir_fd=filestore) as target:
                    for file in files:
                        os.rename(file, file, src_dir_fd=source, dst_dir_fd=target)

    run_workers(jobs, sorted(names_in(incoming)), work)


def _ensure_like(folder: str, filestore: int, like: _Neighbours) -> None:
    try:
        os.mkdir(folder, 0o700, dir_fd=filestore)
    except FileExistsError:
        return
    with opened(folder, dir_fd=filestore) as fd:
        like.apply_to_folder(fd)
