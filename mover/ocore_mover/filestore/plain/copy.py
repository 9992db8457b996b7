"""Layout Plain: a folder of any files into packs, while the application may be writing to it."""

import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ocore_crds import conditions
from ocore_crds.manifest import FilestoreArtifact
from ocore_mover.errors import MoverError
from ocore_mover.filestore import tar
from ocore_mover.filestore.folders import ClaimFolders, filesystem_error
from ocore_mover.filestore.index import Entry, plain_line
from ocore_mover.filestore.links import open_below
from ocore_mover.filestore.packset import SAMPLE, Lanes, Pack, PackSet, copy_content
from ocore_mover.report import Counter
from ocore_mover.store.base import Store
from ocore_mover.workers import run_workers

#: Files that one worker takes at a time: all of one folder.
BATCH = 64
BUFFER = 1024 * 1024
#: A file that changes while it is read is read again so often.
ATTEMPTS = 4
ATTEMPT_PAUSE = 0.25
#: Folders deeper than this are refused: each level is an open descriptor while the tree is walked.
MAX_DEPTH = 200

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def store_plain(
    store: Store, prefix: str, folders: ClaimFolders, counter: Counter, *, jobs: int = 2
) -> tuple[FilestoreArtifact, tuple[str, ...]]:
    """Stores a folder of any files; the second value are warnings (sockets, devices: skipped).

    Every file is compared in size and times before and after it is read. Symbolic links are kept as links and never
    followed. Raises MoverError FilestoreChanging, FilestoreNotFound, FilestoreNotReadable and StoreError.
    """
    folders.require_filestore()
    with PackSet(store, prefix) as packs:
        copy = _PlainCopy(folders, packs, counter)
        run_workers(jobs, copy.batches(), copy.work)
        copy.store_rest()
        index, stored = packs.finish()
    artifact = FilestoreArtifact(layout="Plain", file_count=copy.files, size_bytes=copy.size, index=index, packs=stored)
    return artifact, tuple(copy.warnings)


@dataclass
class _Batch:
    """Files of one folder (relative, with a slash at its end, or empty)."""

    folder: str
    files: list[str] = field(default_factory=list)


class _PlainCopy:
    """What the workers share."""

    def __init__(self, folders: ClaimFolders, packs: PackSet, counter: Counter) -> None:
        self._folders = folders
        self._packs = packs
        self._counter = counter
        self._lock = threading.Lock()
        self._folders_found: list[Entry] = []
        self._links_found: list[Entry] = []
        self._skipped: list[str] = []
        self._vanished = 0
        self.files = 0
        self.size = 0

    @property
    def warnings(self) -> list[str]:
        """What a person should know of the copy."""
        found = []
        if self._skipped:
            found.append(
                f"{len(self._skipped)} sockets, pipes or devices were left out: {', '.join(self._skipped[:5])}"
                + (" …" if len(self._skipped) > 5 else "")
            )
        if self._vanished:
            found.append(f"{self._vanished} files were deleted by the application while it was copied")
        return found

    # --- walking (in one thread at a time) -------------------------------------------------------------------

    def batches(self) -> Iterator[_Batch]:
        """All files, a few of one folder at a time. Notes folders and symbolic links on the way."""
        root = os.open(self._folders.filestore, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = 0
            for batch in self._walk_folder(root, "", 0):
                found += len(batch.files)
                self._counter.files_total = found
                yield batch
        finally:
            os.close(root)

    def _walk_folder(self, fd: int, path: str, depth: int) -> Iterator[_Batch]:
        if depth > MAX_DEPTH:
            raise MoverError(
                conditions.FILESTORE_LAYOUT_UNSUPPORTED, f"{path} is nested deeper than {MAX_DEPTH} folders"
            )
        with os.scandir(fd) as entries:
            found = sorted((entry.name, _kind(entry)) for entry in entries)
        batch = _Batch(path)
        for name, kind in found:
            if kind == "file":
                batch.files.append(name)
                if len(batch.files) == BATCH:
                    yield batch
                    batch = _Batch(path)
            elif kind == "symlink":
                self._note_link(name, fd, path)
            elif kind == "other":
                self._skipped.append(path + name)
        if batch.files:
            yield batch
        for name, kind in found:
            if kind == "folder" and not (depth == 0 and self._is_own(name)):
                yield from self._descend(name, fd, path, depth)

    def _is_own(self, name: str) -> bool:
        """Our folder, where the filestore is the claim itself."""
        return not self._folders.path and name == self._folders.own.parent.name

    def _descend(self, name: str, fd: int, path: str, depth: int) -> Iterator[_Batch]:
        try:
            child = os.open(name, _FOLDER, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            self._vanished += 1
            return
        try:
            status = os.fstat(child)
            self._folders_found.append(
                Entry(path + name, "", 0, kind="folder", mode=stat.S_IMODE(status.st_mode), mtime_ns=status.st_mtime_ns)
            )
            yield from self._walk_folder(child, f"{path}{name}/", depth + 1)
        finally:
            os.close(child)

    def _note_link(self, name: str, fd: int, path: str) -> None:
        try:
            target = os.readlink(name, dir_fd=fd)
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            self._vanished += 1
            return
        self._links_found.append(Entry(path + name, "", 0, kind="symlink", target=target, mtime_ns=status.st_mtime_ns))

    # --- copying ---------------------------------------------------------------------------------------------

    def work(self, batches: Iterator[_Batch]) -> None:
        """One worker: copies batches until there are no more."""
        lanes = Lanes(self._packs)
        buffer = bytearray(BUFFER)
        root = os.open(self._folders.filestore, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for batch in batches:
                self._copy_batch(batch, root, lanes, buffer)
            lanes.close()
        except OSError as error:
            raise filesystem_error(error, "read the filestore") from error
        finally:
            os.close(root)

    def _copy_batch(self, batch: _Batch, root: int, lanes: Lanes, buffer: bytearray) -> None:
        try:
            folder = open_below(root, batch.folder)
        except (FileNotFoundError, NotADirectoryError):
            with self._lock:
                self._vanished += len(batch.files)
            return
        try:
            for file in batch.files:
                size = self._copy_file(batch.folder + file, file, folder, lanes, buffer)
                with self._lock:
                    if size is None:
                        self._vanished += 1
                    else:
                        self.files += 1
                        self.size += size
                if size is not None:
                    self._counter.add(files=1)
        finally:
            os.close(folder)

    def _copy_file(self, name: str, file: str, folder: int, lanes: Lanes, buffer: bytearray) -> int | None:
        """Its size; None where it is gone."""
        for attempt in range(ATTEMPTS):
            try:
                fd = os.open(file, _OPEN, dir_fd=folder)
            except FileNotFoundError:
                return None
            try:
                size = self._copy_once(name, fd, lanes, buffer)
            finally:
                os.close(fd)
            if size is not None:
                return size
            time.sleep(ATTEMPT_PAUSE * attempt)
        raise MoverError(
            conditions.FILESTORE_CHANGING,
            f"{name} in the filestore changed each of the {ATTEMPTS} times it was read. Snapshot the environment while the "
            "application does not write to it, or keep such files elsewhere.",
            retryable=True,
        )

    def _copy_once(self, name: str, fd: int, lanes: Lanes, buffer: bytearray) -> int | None:
        """None where the file changed meanwhile: a later member of the same name replaces this one in the tar."""
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            return None
        size = before.st_size
        head = tar.header(
            os.fsencode(name),
            size=size,
            mode=stat.S_IMODE(before.st_mode),
            mtime=int(before.st_mtime),
            uid=before.st_uid,
            gid=before.st_gid,
        )
        sample = os.pread(fd, SAMPLE, max(0, (size - SAMPLE) // 2))
        pack = lanes.pack_for(len(head) + size + tar.padding(size), sample)
        frame = pack.begin_member()
        pack.write(head)
        offset = pack.offset
        digest = hashlib.sha256()
        whole = copy_content(fd, size, pack, buffer, digest, self._counter)
        if not whole or _identity(os.fstat(fd)) != _identity(before):
            return None
        pack.lines.append(
            plain_line(
                Entry(
                    name,
                    pack.name,
                    offset,
                    frame,
                    size=size,
                    digest=digest.hexdigest(),
                    mode=stat.S_IMODE(before.st_mode),
                    mtime_ns=before.st_mtime_ns,
                )
            )
        )
        return size

    def store_rest(self) -> None:
        """Folders and symbolic links, in the last pack: whoever unpacks in order finds folders still writable and never
        writes through a link."""
        if not self._folders_found and not self._links_found:
            return
        pack = self._packs.begin(compressed=True)
        for entry in (*self._folders_found, *self._links_found):
            if not pack.has_room(tar.BLOCK):
                self._packs.close(pack)
                pack = self._packs.begin(compressed=True)
            _store_entry(entry, pack)
        self._packs.close(pack)


def _store_entry(entry: Entry, pack: Pack) -> None:
    folder = entry.kind == "folder"
    name = os.fsencode(entry.name)
    frame = pack.begin_member()
    pack.write(
        tar.header(
            name + b"/" if folder else name,
            size=0,
            mode=entry.mode if folder else 0o777,
            mtime=entry.mtime_ns // 1_000_000_000,
            kind=tar.FOLDER if folder else tar.SYMLINK,
            link=os.fsencode(entry.target),
        )
    )
    pack.lines.append(
        plain_line(
            Entry(
                entry.name,
                pack.name,
                pack.offset,
                frame,
                kind=entry.kind,
                mode=entry.mode,
                mtime_ns=entry.mtime_ns,
                target=entry.target,
            )
        )
    )


def _kind(entry: "os.DirEntry[str]") -> str:
    if entry.is_symlink():
        return "symlink"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
