"""Layout Plain: a snapshot's files into ``stage-<short>``, beside the live folder."""

import contextlib
import os
import stat
import struct
import threading
from collections.abc import Iterable, Iterator

from ocore_crds import failpoints
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.disk import closing_fd, sync_filesystem, write_all
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore import space
from ocore_mover.filestore.folders import MAX_DEPTH, ClaimFolders, filesystem_error
from ocore_mover.filestore.index import Entry, check_name, parse
from ocore_mover.filestore.links import CREATE_FILE, FEW, ensure_below, open_below, walk
from ocore_mover.filestore.sorting import Descending
from ocore_mover.filestore.unpack import (
    Block,
    Content,
    PackReader,
    Restored,
    blocks,
    one_ahead,
)
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store
from ocore_mover.workers import run_workers

_FOLDER_MODE = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO | stat.S_ISGID | stat.S_ISVTX
#: Mode, and modification time in seconds and nanoseconds: a file system may have times beyond the year 2262.
_FOLDER_RECORD = struct.Struct("=HqI")
_FILE_MODE = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO


def stage_plain(
    store: Store,
    artifact: FilestoreArtifact,
    folders: ClaimFolders,
    rollback_id: str,
    counter: Counter,
    *,
    jobs: int = 2,
) -> Restored:
    """Restores into ``stage-<short>``, which is removed first. Keeps modes, times and symbolic links. Owners become
    those of the live folder; only root can set them. Removes the stage after an error.

    Raises Corrupt, StoreError, and MoverError FilestoreNotFound, FilestoreLayoutUnsupported, NoSpace. Hits the
    failpoint restore-files-added.
    """
    folders.require_switchable()
    folders.require_filestore()
    stage = folders.stage(rollback_id)
    folders.remove(stage)
    folders.make_own(stage)
    try:
        with folders.opened(stage) as root:
            space.whole(artifact, root).check()
            with (
                folders.opened(stage.parent) as own,
                Descending(own) as folders_below,
                PackReader(store, "sha256") as reader,
            ):
                run = _Staging(store, reader, artifact, root, counter, folders_below)
                run_workers(jobs, run.blocks(), run.work)
                run.finish(folders)
            sync_filesystem(root)
    except BaseException as error:
        with contextlib.suppress(MoverError):
            folders.remove(stage)
        folders.drop_own_if_empty()
        if isinstance(error, OSError):
            raise filesystem_error(error, "restore the filestore's files") from error
        raise
    failpoints.hit("restore-files-added")
    return Restored(run.files, run.size, reader.packs_read)


class _Staging:
    """What the workers share."""

    def __init__(
        self,
        store: Store,
        reader: PackReader,
        artifact: FilestoreArtifact,
        root: int,
        counter: Counter,
        folders_below: Descending,
    ) -> None:
        self._store = store
        self._reader = reader
        self._artifact = artifact
        self._root = root
        self._folders_below = folders_below
        self._counter = counter
        self._lock = threading.Lock()
        self._made: set[str] = set()  # some of the folders that exist
        self.files = self.size = 0

    def blocks(self) -> Iterator[Block]:
        """The snapshot's packs with their entries. Creates folders and symbolic links; :meth:`finish` sets the folders'
        modes and times."""
        for block in blocks(self._store, self._artifact, lambda line: check_name(parse(line))):
            for entry in block[1]:
                if entry.kind == "folder":
                    self._make_folders(entry.name)
                    self._folders_below.add(_folder_record(entry))
                elif entry.kind == "symlink":
                    self._make_link(entry)
            yield block

    def work(self, packs: Iterator[Block]) -> None:
        """One worker: restores packs until there are no more."""
        for found in one_ahead(self._files_of(block) for block in packs):
            for entry, pieces in found:
                self._write(entry, pieces)

    def _files_of(self, block: Block) -> Iterator[Content]:
        pack, known = block
        return self._reader.contents(pack, known, [entry for entry in known if entry.kind == "file"])

    def _write(self, entry: Entry, pieces: Iterable[bytes | memoryview]) -> None:
        with self._in_parent(entry.name) as (folder, name):
            try:
                fd = os.open(name, CREATE_FILE, 0o600, dir_fd=folder)
            except FileExistsError as error:
                raise Corrupt(f"the index names {entry.name!r} twice") from error
        with closing_fd(fd):
            for piece in pieces:
                write_all(fd, piece)
            os.fchmod(fd, entry.mode & _FILE_MODE)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        with self._lock:
            self.files += 1
            self.size += entry.size
        self._counter.add(bytes_=entry.size, files=1)

    @contextlib.contextmanager
    def _in_parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The open parent folder and the last part of the name. Creates missing folders; never follows a symbolic
        link."""
        parent, _, name = path.rpartition("/")
        self._make_folders(parent)
        try:
            fd = open_below(self._root, parent)
        except NotADirectoryError as error:
            raise Corrupt(f"the index places {path!r} below something that is not a folder") from error
        with closing_fd(fd):
            yield fd, name

    def _make_folders(self, path: str) -> None:
        with self._lock:
            if not path or path in self._made:
                return
            try:
                ensure_below(self._root, path, 0o700)
            except NotADirectoryError as error:
                raise Corrupt(f"the index has {path!r} as a folder and as something else") from error
            if len(self._made) > FEW:
                self._made.clear()
            self._made.add(path)

    def finish(self, folders: ClaimFolders) -> None:
        """Sets the folders' modes and times from the deepest up: one may become read-only."""
        if self.files != self._artifact.file_count:
            raise Corrupt(f"{self.files} of {self._artifact.file_count} files of the snapshot were restored")
        for name, mode, mtime_ns in map(_folder_of, self._folders_below):
            with closing_fd(open_below(self._root, name)) as fd:
                os.fchmod(fd, mode & _FOLDER_MODE)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
        self._become_like(folders)

    def _make_link(self, entry: Entry) -> None:
        with self._in_parent(entry.name) as (folder, name):
            try:
                os.symlink(entry.target, name, dir_fd=folder)
            except FileExistsError as error:
                raise Corrupt(f"the index names {entry.name!r} twice") from error
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _become_like(self, folders: ClaimFolders) -> None:
        with folders.opened(folders.filestore) as fd:
            live = os.fstat(fd)
        os.fchmod(self._root, stat.S_IMODE(live.st_mode))
        if os.geteuid() == 0 and (live.st_uid, live.st_gid) != (0, 0):
            for folder in walk(self._root, skip=lambda _: False, failed=_walk_failed, depth=MAX_DEPTH):
                for item in folder.items:
                    os.chown(item.name, live.st_uid, live.st_gid, dir_fd=folder.fd, follow_symlinks=False)
                os.fchown(folder.fd, live.st_uid, live.st_gid)


def _walk_failed(path: str, error: OSError) -> None:
    raise error


def _folder_record(entry: Entry) -> bytes:
    """For sorting: in descending order a folder comes after the folders in it."""
    try:
        return os.fsencode(entry.name) + b"\0" + _FOLDER_RECORD.pack(entry.mode, *divmod(entry.mtime_ns, 1_000_000_000))
    except struct.error as error:
        raise Corrupt(f"the index has an invalid time of the folder {entry.name!r}: {entry.mtime_ns}") from error


def _folder_of(record: bytes) -> tuple[str, int, int]:
    """Name, mode and modification time in nanoseconds."""
    name, _, rest = record.partition(b"\0")
    mode, seconds, nanoseconds = _FOLDER_RECORD.unpack(rest)
    return os.fsdecode(name), mode, seconds * 1_000_000_000 + nanoseconds
