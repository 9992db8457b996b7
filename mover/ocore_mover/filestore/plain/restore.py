"""Layout Plain: a snapshot's files into ``stage-<short>``, beside the live folder."""

import contextlib
import hashlib
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from ocore_crds import conditions, failpoints
from ocore_crds.manifest import FilestoreArtifact
from ocore_mover.disk import sync_filesystem
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore.folders import ClaimFolders, filesystem_error
from ocore_mover.filestore.index import Entry, parse
from ocore_mover.filestore.links import CREATE_FILE, open_below
from ocore_mover.filestore.unpack import Block, Restored, blocks, contents, write_content
from ocore_mover.report import Counter
from ocore_mover.store.base import Store
from ocore_mover.workers import run_workers

_FOLDER_MODE = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO | stat.S_ISGID | stat.S_ISVTX
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
    """Restores into ``stage-<short>``, which is removed first. Keeps modes, times and symbolic links. Owners become those of
    the live folder; only root can set them. Removes the stage after an error.

    Raises Corrupt, StoreError, and MoverError FilestoreNotFound, FilestoreLayoutUnsupported, NoSpace. Hits the failpoint
    restore-files-added.
    """
    folders.require_switchable()
    folders.require_filestore()
    stage = folders.stage(rollback_id)
    folders.remove(stage)
    folders.make_own(stage)
    try:
        with folders.opened(stage) as root:
            _check_space(artifact, root)
            run = _Staging(store, artifact, root, counter)
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
    return Restored(run.files, run.size)


def _check_space(artifact: FilestoreArtifact, stage: int) -> None:
    volume = os.fstatvfs(stage)
    free = volume.f_bavail * volume.f_frsize
    if artifact.size_bytes > free:
        raise MoverError(
            conditions.NO_SPACE,
            f"the filestore's volume has {free} bytes free. Restoring the snapshot beside the live folder needs "
            f"{artifact.size_bytes}. Enlarge the volume.",
        )


class _Staging:
    """What the workers share."""

    def __init__(self, store: Store, artifact: FilestoreArtifact, root: int, counter: Counter) -> None:
        self._store = store
        self._artifact = artifact
        self._root = root
        self._counter = counter
        self._lock = threading.Lock()
        self._made: set[str] = {""}
        self._later: list[Entry] = []
        self.files = self.size = 0

    def blocks(self) -> Iterator[Block]:
        """The snapshot's packs with their entries; keeps folders and symbolic links for :meth:`finish`."""
        for block in blocks(self._store, self._artifact, lambda line: _checked(parse(line))):
            self._later.extend(entry for entry in block[1] if entry.kind != "file")
            yield block

    def work(self, packs: Iterator[Block]) -> None:
        """One worker: restores packs until there are no more."""
        for pack, known in packs:
            files = [entry for entry in known if entry.kind == "file"]
            for entry, pieces in contents(self._store, pack, known, files):
                self._write(entry, pieces)

    def _write(self, entry: Entry, pieces: Iterable[bytes | memoryview]) -> None:
        with self._in_parent(entry.name) as (folder, name):
            try:
                fd = os.open(name, CREATE_FILE, 0o600, dir_fd=folder)
            except FileExistsError as error:
                raise Corrupt(f"the index names {entry.name!r} twice") from error
        try:
            digest = write_content(fd, pieces, hashlib.sha256())
            os.fchmod(fd, entry.mode & _FILE_MODE)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
        if digest != entry.digest:
            raise Corrupt(f"{entry.name!r} in pack {entry.pack} is not what was stored: its SHA-256 differs")
        with self._lock:
            self.files += 1
            self.size += entry.size
        self._counter.add(bytes_=entry.size, files=1)

    @contextlib.contextmanager
    def _in_parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The open parent folder and the last part of the name. Creates missing folders; never follows a symbolic link."""
        parent, _, name = path.rpartition("/")
        self._make_folders(parent)
        try:
            fd = open_below(self._root, parent)
        except NotADirectoryError as error:
            raise Corrupt(f"the index places {path!r} below something that is not a folder") from error
        try:
            yield fd, name
        finally:
            os.close(fd)

    def _make_folders(self, path: str) -> None:
        with self._lock:
            if path in self._made:
                return
            fd = open_below(self._root, "")
            try:
                for part in path.split("/"):
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=fd)
                    child = open_below(fd, part)
                    os.close(fd)
                    fd = child
            except NotADirectoryError as error:
                raise Corrupt(f"the index has {path!r} as a folder and as something else") from error
            finally:
                os.close(fd)
            self._made.add(path)

    def finish(self, folders: ClaimFolders) -> None:
        """Creates empty folders and symbolic links, then sets the folders' modes and times from the deepest up."""
        if self.files != self._artifact.file_count:
            raise Corrupt(f"{self.files} of {self._artifact.file_count} files of the snapshot were restored")
        found = sorted((entry for entry in self._later if entry.kind == "folder"), key=lambda entry: entry.name)
        for entry in found:
            self._make_folders(entry.name)
        for entry in self._later:
            if entry.kind == "symlink":
                self._make_link(entry)
        for entry in reversed(found):
            fd = open_below(self._root, entry.name)
            try:
                os.fchmod(fd, entry.mode & _FOLDER_MODE)
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            finally:
                os.close(fd)
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
        if os.geteuid() == 0 and live.st_uid != 0:
            for _, names, files, fd in os.fwalk(dir_fd=self._root):
                for name in (*names, *files):
                    os.chown(name, live.st_uid, live.st_gid, dir_fd=fd, follow_symlinks=False)
                os.fchown(fd, live.st_uid, live.st_gid)


def _checked(entry: Entry) -> Entry:
    """Raises Corrupt for a name that leads out of the folder: names come from the store."""
    parts = PurePosixPath(entry.name).parts
    if (
        not entry.name
        or entry.name != "/".join(parts)
        or ".." in parts
        or entry.name.startswith("/")
        or parts == (".",)
    ):
        raise Corrupt(f"the index has the name {entry.name!r}, which could lead out of the folder")
    return entry
