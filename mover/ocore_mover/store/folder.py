"""Objects as files of a folder: a volume claim, or any folder."""

import contextlib
import errno
import hashlib
import mmap
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Self

from ocore_crds import conditions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.chunks import READ_CHUNK
from ocore_mover.disk import closing_fd, start_writeback, sync_entries
from ocore_mover.errors import Corrupt, StoreError
from ocore_mover.store.interface import MAX_FOLDERS, Guarantees, ObjectInfo, Store, Upload
from ocore_mover.store.keys import checked
from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.retries import Patience

#: Prefix of files that are being written; a listing never shows them.
TEMPORARY = ".tmp-"
#: Bytes of one write, and of one read past the page cache.
CHUNK = 1024 * 1024
#: Written bytes go to the disk this often, so that the flush at the end is short.
WRITEBACK = 16 * CHUNK
#: Seconds after which a guard (see put_if_absent) counts as a leftover of a crash.
STALE_GUARD = 60.0
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EACCES}


class FolderStore(Store):
    """A folder. Every file is flushed and read back from the disk before it gets its name."""

    def __init__(self, root: Path, name: str = "") -> None:
        """`name`: what messages call the store; default: its URL."""
        self._root = root
        self._name = name or root.as_uri()
        self._flushed: set[Path] = set()  # folders of adopted files, whose names are on the disk

    @property
    def url(self) -> str:
        """``file:///folder``, or the store's name."""
        return self._name

    @property
    def local_root(self) -> Path | None:
        """The folder."""
        return self._root

    def path(self, key: str) -> Path:
        """The object's path."""
        return self._root / checked(key)

    # --- writing ---------------------------------------------------------------------------------------------

    def writer(self, key: str, *, patience: Patience | None = None) -> "FolderWriter":
        """Streams a new object."""
        return FolderWriter(self, key)

    def adopt(self, key: str, expected: StoredObject) -> StoredObject:
        """Accepts a file that a program has written at the key's place."""
        path = self.path(key)
        with self.translated(f"read back {key}"):
            with path.open("rb+") as file:
                _flush(file.fileno())
                _compare(file.fileno(), expected, self.url)
            sync_folder(path.parent)
            self._flush_parents(path.parent)
        return StoredObject(key=key, size=expected.size, sha256=expected.sha256)

    def _flush_parents(self, folder: Path) -> None:
        """Flushes the folder's own name, and its parents' names up to the root, once: pg_dump's folder was made without
        a flush."""
        while folder != self._root and folder not in self._flushed:
            sync_folder(folder.parent)
            self._flushed.add(folder)
            folder = folder.parent

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Names the file by a hard link, which fails if the name exists. Without hard links a guard file decides."""
        path = self.path(key)
        with self.translated(f"write {key}"):
            if path.exists():
                return False
            temporary, fd = self.create_temporary(path)
            try:
                with open(fd, "wb") as file:  # noqa: PTH123 - a file descriptor
                    file.write(data)
                    file.flush()
                    _flush(fd)
                if not _name(temporary, path):
                    return False
                sync_folder(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
        return True

    def create_temporary(self, path: Path) -> tuple[Path, int]:
        """A new temporary file beside `path`, open for reading and writing."""
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
        for last in (False, False, False, True):
            try:
                self._make_folder(path.parent)
                return temporary, os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            except FileNotFoundError:  # another Job deleted its last snapshot and the empty folder
                if last:
                    raise
        raise AssertionError("unreachable")

    def _make_folder(self, folder: Path) -> None:
        """Creates the folder and its parents, and flushes them."""
        if folder.is_dir():
            return
        missing = [folder, *(p for p in folder.parents if not p.exists())]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            sync_folder(made.parent)

    def guarantees(self, key: str) -> Guarantees:
        """We read every file back and never replace an existing name."""
        checked(key)
        return Guarantees("ReadBack", conditional_writes=True)

    # --- reading ---------------------------------------------------------------------------------------------

    def head(self, key: str) -> ObjectInfo | None:
        """The file's size, or None if it does not exist."""
        with self.translated(f"find {key}"):
            try:
                return ObjectInfo(key, self.path(key).stat().st_size)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def get(self, key: str, *, limit: int = 64 * 1024 * 1024) -> bytes | None:
        """A small file."""
        with self.translated(f"read {key}"):
            try:
                with self.path(key).open("rb") as file:
                    data = file.read(limit + 1)
            except (FileNotFoundError, NotADirectoryError):
                return None
        if len(data) > limit:
            raise StoreError(conditions.CORRUPT, f"{key} in {self.url} is larger than {limit} bytes")
        return data

    def read_range(self, obj: StoredObject, start: int, length: int, version: Pinned | None = None) -> Iterator[bytes]:
        """Some bytes of a file, not compared."""
        with self.translated(f"read {obj.key}"):
            try:
                fd = os.open(self.path(obj.key), os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise Corrupt(f"{obj.key} is missing in {self.url}", obj.key) from error
        with closing_fd(fd):
            yield from self._chunks(fd, obj, start, start + length, version or Pinned())

    def _chunks(self, fd: int, obj: StoredObject, position: int, end: int, version: Pinned) -> Iterator[bytes]:
        with self.translated(f"read {obj.key}"):
            status = os.fstat(fd)
            if status.st_size != obj.size:
                raise Corrupt(f"{obj.key} in {self.url} has {status.st_size} bytes instead of {obj.size}", obj.key)
            if not version.is_same(f"{status.st_ino} {status.st_mtime_ns}"):
                raise Corrupt(f"{obj.key} in {self.url} was replaced while it was read", obj.key)
            with contextlib.suppress(OSError):
                os.posix_fadvise(fd, position, end - position, os.POSIX_FADV_SEQUENTIAL)
        while position < end:
            with self.translated(f"read {obj.key}"):
                chunk = os.pread(fd, min(READ_CHUNK, end - position), position)
            if not chunk:
                raise Corrupt(f"{obj.key} in {self.url} became shorter while it was read", obj.key)
            position += len(chunk)
            yield chunk

    def list(self, prefix: str, *, patience: Patience | None = None) -> Iterator[ObjectInfo]:
        """All files whose key starts with the prefix, without temporary files."""
        for path, size, modified in self._walk(prefix):
            if not path.name.startswith(TEMPORARY):
                yield ObjectInfo(path.relative_to(self._root).as_posix(), size, modified)

    def folders(self, prefix: str, *, patience: Patience | None = None) -> Iterator[str]:
        """The folders below the prefix; their contents are not read."""
        with self.translated(f"list {prefix}"):
            try:
                entries = os.scandir(self._root / prefix)
            except (FileNotFoundError, NotADirectoryError):
                return
            with entries:
                names = list(islice((e.name for e in entries if e.is_dir(follow_symlinks=False)), MAX_FOLDERS + 1))
        if len(names) > MAX_FOLDERS:
            raise StoreError(
                conditions.CORRUPT,
                f"{prefix} in {self.url} has more than {MAX_FOLDERS} folders: ocore-snapshots did not make them. Move"
                " them away.",
            )
        yield from sorted(names)

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Temporary files below the prefix."""
        for path, _, modified in self._walk(prefix):
            if path.name.startswith(TEMPORARY):
                yield Upload(path.relative_to(self._root).as_posix(), "file", modified)

    def discard(self, upload: Upload) -> bool:
        """Removes a temporary file."""
        path = self.path(upload.key)
        if not path.name.startswith(TEMPORARY):
            return False
        with self.translated(f"delete {upload.key}"):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return False
            self.drop_empty(path.parent)
        return True

    def _walk(self, prefix: str) -> Iterator[tuple[Path, int, float]]:
        folder = self._root / prefix.rpartition("/")[0]
        text = os.fspath(self._root / prefix) + ("/" if prefix.endswith("/") or not prefix else "")
        pending = [folder]
        while pending:
            with self.translated(f"list {prefix or 'everything'}"):
                try:
                    entries = sorted(os.scandir(pending.pop()), key=lambda e: e.name)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                found = []
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if f"{entry.path}/".startswith(text) or text.startswith(f"{entry.path}/"):
                            pending.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False) and entry.path.startswith(text):
                        stat = entry.stat(follow_symlinks=False)
                        found.append((Path(entry.path), stat.st_size, stat.st_mtime))
            yield from found

    # --- rights ----------------------------------------------------------------------------------------------

    def try_create(self, prefix: str) -> None:
        """Creates and removes an empty temporary file where a new object below the prefix needs a new entry: in the
        last folder of it that exists. Raises StoreError."""
        folder = self._root / prefix
        with self.translated(f"create a file in {prefix}"):
            while folder != self._root and not folder.is_dir():
                folder = folder.parent
            temporary, fd = self.create_temporary(folder / "probe")
            os.close(fd)
            temporary.unlink()

    def try_read(self, key: str) -> bool:
        """Reads a byte of a file; False: it does not exist. Raises StoreError."""
        with self.translated(f"read {key}"):
            try:
                with self.path(key).open("rb") as file:
                    file.read(1)
            except (FileNotFoundError, NotADirectoryError):
                return False
        return True

    def newest_folders(self, prefix: str) -> Iterator[str]:
        """As :meth:`folders`, the one that was changed last first."""
        found = []
        for name in self.folders(prefix):
            with self.translated(f"list {prefix}"), contextlib.suppress(FileNotFoundError):
                found.append(((self._root / prefix / name).stat().st_mtime, name))
        yield from (name for _, name in sorted(found, reverse=True))

    # --- deleting --------------------------------------------------------------------------------------------

    def delete(self, keys: Iterable[str]) -> int:
        """Deletes files and the folders that become empty. Works on a full disk."""
        count = 0
        for key in keys:
            path = self.path(key)
            with self.translated(f"delete {key}"):
                try:
                    path.unlink()
                except (FileNotFoundError, NotADirectoryError):
                    continue
                count += 1
                self.drop_empty(path.parent)
        return count

    def drop_empty(self, folder: Path) -> None:
        """Removes folders that are empty, up to the root."""
        while folder != self._root and folder.is_relative_to(self._root):
            try:
                folder.rmdir()
            except OSError:  # not empty, or already removed
                return
            folder = folder.parent

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Converts OSError to StoreError; `what` failed, for example "write KEY"."""
        try:
            yield
        except OSError as error:
            raise self._error(error, what) from error

    def _error(self, error: OSError, what: str) -> StoreError:
        detail = f"cannot {what} in {self.url}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return StoreError(conditions.NO_SPACE, f"{detail}. Enlarge the store's volume, or delete snapshots.")
        if error.errno == errno.EROFS:
            return StoreError(conditions.STORE_NOT_WRITABLE, f"{detail}. The store's volume is mounted read-only.")
        if error.errno in (errno.EACCES, errno.EPERM):
            return StoreError(
                conditions.STORE_NOT_WRITABLE,
                f"{detail}. Uid {os.getuid()}, the Jobs' user, has no right to it. Set spec.jobs.runAsUser and fsGroup"
                f" of the Environment to the owner of the store's files, or give them to uid {os.getuid()} (chown -R)."
                " All Environments of a store on a claim need one user.",
            )
        if error.errno == errno.EIO:
            return StoreError(
                conditions.STORE_IO_ERROR,
                f"{detail}. The disk or the file server under the store's volume fails. Check the kernel's log on the"
                " node, and replace the disk.",
            )
        return StoreError(
            conditions.STORE_UNREACHABLE, f"{detail}. Check the store's volume and its node.", retryable=True
        )


class FolderWriter:
    """See :class:`~ocore_mover.store.interface.Writer`."""

    def __init__(self, store: FolderStore, key: str) -> None:
        self._store = store
        self._key = checked(key)
        self._path = store.path(key)
        self._digest = hashlib.sha256()
        self._size = 0
        self._buffer = bytearray(CHUNK)
        self._filled = 0
        self._started = 0
        with store.translated(f"write {key}"):
            self._temporary, self._fd = store.create_temporary(self._path)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends; writes in blocks of 1 MiB."""
        rest = memoryview(data).cast("B")
        while rest:
            piece = rest[: CHUNK - self._filled]
            self._buffer[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            rest = rest[len(piece) :]
            if self._filled == CHUNK:
                self._drain()

    def _drain(self) -> None:
        with (
            memoryview(self._buffer) as whole,
            whole[: self._filled] as data,
            self._store.translated(f"write {self._key}"),
        ):
            self._digest.update(data)
            written = 0
            while written < len(data):
                written += os.write(self._fd, data[written:])
        self._size += self._filled
        self._filled = 0
        if self._size - self._started >= WRITEBACK:
            start_writeback(self._fd, self._started, self._size - self._started)
            self._started = self._size

    def commit(self) -> StoredObject:
        """Flushes, reads back from the disk, and names the file."""
        self._drain()
        stored = StoredObject(key=self._key, size=self._size, sha256=self._digest.hexdigest())
        with self._store.translated(f"write {self._key}"):
            _flush(self._fd)
            _compare(self._fd, stored, self._store.url)
            os.close(self._fd)
            self._fd = -1
            self._temporary.replace(self._path)
            sync_folder(self._path.parent)
        return stored

    def abort(self) -> None:
        """Removes the temporary file."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)
            self._store.drop_empty(self._temporary.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


def _name(temporary: Path, path: Path) -> bool:
    """Names a finished file; returns False if the name exists."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _name_guarded(temporary, path)
    return True


def _name_guarded(temporary: Path, path: Path) -> bool:
    """For file systems without hard links: only the process that created the guard file renames."""
    guard = path.with_name(f"{TEMPORARY}guard-{path.name}")
    with contextlib.suppress(FileNotFoundError):
        if time.time() - guard.stat().st_mtime > STALE_GUARD:
            guard.unlink(missing_ok=True)
    try:
        guard.touch(exist_ok=False)
    except FileExistsError:
        return False
    try:
        if path.exists():
            return False
        temporary.rename(path)
    finally:
        guard.unlink(missing_ok=True)
    return True


def _flush(fd: int) -> None:
    """Flushes to the disk and drops the page cache, so that reading back reads the disk."""
    os.fsync(fd)
    with contextlib.suppress(OSError):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _compare(fd: int, expected: StoredObject, url: str) -> None:
    """Reads the file again from the disk and raises Corrupt if it differs. Bypasses the page cache where possible."""
    found = _read_again(fd)
    if found != (expected.size, expected.sha256):
        raise Corrupt(
            f"{expected.key} in {url} reads back other bytes than were written ({found[0]} of {expected.size} bytes)."
            " The volume is broken. Replace it."
        )


def _read_again(fd: int) -> tuple[int, str]:
    direct = _reopened_direct(fd)
    if direct is not None:
        try:
            return _digest(direct)
        except OSError as error:
            if error.errno != errno.EINVAL:  # the file system wants another alignment
                raise
        finally:
            os.close(direct)
    return _digest(fd)


def _digest(fd: int) -> tuple[int, str]:
    """Size and SHA-256."""
    digest = hashlib.sha256()
    size = 0
    with mmap.mmap(-1, CHUNK) as buffer, memoryview(buffer) as view:  # direct reads need aligned memory
        while read := os.preadv(fd, [view], size):
            with view[:read] as piece:
                digest.update(piece)
            size += read
    return size, digest.hexdigest()


def _reopened_direct(fd: int) -> int | None:
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:  # no O_DIRECT (some network and overlay file systems), or no /proc
        return None


def sync_folder(folder: Path) -> None:
    """Flushes a folder's entries. Ignores file systems that cannot."""
    with closing_fd(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        sync_entries(fd)
