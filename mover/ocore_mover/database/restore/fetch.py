"""The dump's files in a folder for pg_restore; every byte is checked before pg_restore reads it.

Every file goes to scratch, from a folder store too. So pg_restore reads the bytes that were checked, even if the store
changes in between.
"""

import errno
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from backports import zstd

from ocore_crds import conditions
from ocore_crds.stored.manifest import DatabaseArtifact, StoredObject
from ocore_crds.text.quantity import human
from ocore_mover.chunks import DECOMPRESSED_CHUNK, decompressor
from ocore_mover.database import toc
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store
from ocore_mover.workers import run_workers

#: Files fetched in parallel.
WORKERS = 4
#: Bytes beside the dump itself: block rounding of many small files, lists.
_MARGIN = 64 * 1024 * 1024
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@contextmanager
def fetched(
    store: Store,
    artifact: DatabaseArtifact,
    scratch: Path,
    name: str,
    counter: Counter,
    choose: Callable[[toc.TableOfContents], toc.Chosen] | None = None,
) -> Iterator[toc.TableOfContents]:
    """The dump for pg_restore within the block, in a folder. `name`: of the folder in scratch, which is removed at the
    end. `choose`: of the part that is fetched, by the table of contents.

    Raises Corrupt (before pg_restore has seen anything), MoverError ScratchFull, StoreError.
    """
    external = artifact.compression == "external-zstd"
    allowance = _Allowance(artifact.raw_bytes)
    if choose is None:
        check_room(artifact.raw_bytes, scratch)
    folder = scratch / f"ocore-restore-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with _disk_errors(artifact, scratch):
            folder.mkdir(parents=True)
            contents, files = toc.TableOfContents(folder), artifact.files

            def fetch(some: Iterator[StoredObject]) -> None:
                for obj in some:
                    _fetch(store, obj, folder, counter, allowance, external=external)

            if choose is not None:
                fetch(obj for obj in files if toc.is_contents(file_name(obj)))
                contents = chosen = choose(contents)
                files = tuple(obj for obj in files if chosen.has_rows(file_name(obj)))
                check_room(sum(obj.size for obj in files), scratch)
            run_workers(WORKERS, sorted(files, key=lambda obj: -obj.size), fetch)
        yield contents
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_room(size: int, scratch: Path) -> None:
    """Raises MoverError ScratchFull where a dump of that size does not fit."""
    needed = size + _MARGIN
    free = shutil.disk_usage(scratch).free
    if free < needed:
        raise _full(scratch, f"the dump needs {human(needed)} and {human(free)} are free")


def table_of_contents(store: Store, artifact: DatabaseArtifact, folder: Path) -> toc.TableOfContents:
    """Only the table of contents, in an empty folder. Raises Corrupt, StoreError."""
    obj = next((each for each in artifact.files if file_name(each) == toc.FILE_NAME), None)
    if obj is None:
        raise Corrupt(f"the manifest names no {toc.FILE_NAME}: the dump has no table of contents")
    with (folder / toc.FILE_NAME).open("wb") as file:
        file.writelines(store.read(obj))
    return toc.TableOfContents(folder)


def file_name(obj: StoredObject) -> str:
    """The name in the dump's folder. Raises Corrupt: keys come from the store and are not trusted."""
    name = obj.key.rsplit("/", 1)[-1]
    if not name or name.startswith(".") or not _SAFE.issuperset(name):
        raise Corrupt(f"the manifest names a dump file {obj.key!r}, which is not a valid name")
    return name


class _Allowance:
    """Bytes that may still be written: the manifest states how many the dump has. Scratch was checked for as many."""

    def __init__(self, total: int) -> None:
        self._total = self._left = total
        self._lock = threading.Lock()

    def take(self, count: int, key: str) -> None:
        """Raises Corrupt where the dump has more bytes: a small compressed file can expand to any size."""
        with self._lock:
            self._left -= count
            if self._left < 0:
                raise Corrupt(f"{key}: the dump is larger than the {human(self._total)} that the manifest states")


def _fetch(
    store: Store, obj: StoredObject, folder: Path, counter: Counter, allowance: _Allowance, *, external: bool
) -> None:
    name = file_name(obj)
    packed = external and name.endswith(".zst")
    path = folder / (name.removesuffix(".zst") if packed else name)
    decompress = _decompressor(obj) if packed else _unchanged
    with path.open("xb", buffering=0) as file:
        for chunk in store.read(obj):
            for part in decompress(chunk):
                allowance.take(len(part), obj.key)
                rest = memoryview(part)
                while rest:  # a disk that fills up takes a part of it
                    rest = rest[file.write(rest) :]
            counter.add(bytes_=len(chunk))
    counter.add(files=1)


def _unchanged(chunk: bytes) -> Iterator[bytes]:
    yield chunk


def _decompressor(obj: StoredObject) -> Callable[[bytes], Iterator[bytes]]:
    """Decompresses in bounded steps: a few bytes of zstd can stand for gigabytes."""
    frame = decompressor()

    def parts(chunk: bytes) -> Iterator[bytes]:
        data = chunk
        try:
            while True:
                if frame.eof:
                    raise Corrupt(f"{obj.key}: bytes after the end of the compressed data")
                part = frame.decompress(data, max_length=DECOMPRESSED_CHUNK)
                data = b""
                if part:
                    yield part
                if frame.needs_input or frame.eof:
                    return
        except zstd.ZstdError as error:
            raise Corrupt(f"{obj.key}: {error}") from error

    return parts


def _full(scratch: Path, detail: str) -> MoverError:
    return MoverError(
        conditions.SCRATCH_FULL,
        f"the scratch volume at {scratch} is too small: {detail}; increase spec.scratch.size of the Environment",
    )


@contextmanager
def _disk_errors(artifact: DatabaseArtifact, scratch: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(scratch, f"{error} ({human(artifact.raw_bytes)} are needed)") from error
        raise MoverError(conditions.RESTORE_FAILED, f"cannot write to {scratch}: {error}") from error
