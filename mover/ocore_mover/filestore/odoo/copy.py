"""Layout Odoo: frozen files into packs, each compared with its name."""

import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from itertools import islice

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.disk import closing_fd
from ocore_mover.errors import MoverError
from ocore_mover.filestore import tar
from ocore_mover.filestore.base import Reused
from ocore_mover.filestore.folders import claim_errors, filesystem_error
from ocore_mover.filestore.left_out import Unkept
from ocore_mover.filestore.links import OPEN_FILE, by_folder
from ocore_mover.filestore.names import MAX_MISSING
from ocore_mover.filestore.odoo.files import OdooFiles
from ocore_mover.filestore.odoo.freeze import Frozen
from ocore_mover.filestore.odoo.index_lines import odoo_line
from ocore_mover.filestore.packset import SAMPLE, Lanes, PackSet, copy_content
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store
from ocore_mover.workers import run_workers

#: Files of one batch.
BATCH = 64
#: Files up to this size are read whole and checked before they go into a pack.
WHOLE = 4 * 1024 * 1024
#: Fewest files for each worker: every worker starts two packs.
FILES_PER_WORKER = 256
#: Seconds before a file is read again whose SHA-1 is not its name.
READ_AGAIN_AFTER = 0.2


def store_odoo(
    store: Store,
    prefix: str,
    frozen: Frozen,
    counter: Counter,
    *,
    jobs: int = 2,
    reused: Reused | None = None,
    report_damaged: bool = False,
) -> FilestoreArtifact:
    """Stores the frozen files below ``<prefix>filestore/``. `prefix` is naming.attempt_prefix(…). `reused`: the other
    files of a differential, which are in its base.

    Every file's SHA-1 is compared with its name. One that differs is left out and counts as missing with
    `report_damaged`. Otherwise raises MoverError AttachmentCorrupt with the file's name. Raises StoreError, and
    FilestoreChanging if a file that is not frozen was deleted (retryable with a new database snapshot). Hits the
    failpoint snapshot-pack-stored. `frozen.missing` becomes the artifact's `missing`; what is not kept is in
    `frozen.unkept`.
    """
    workers = max(1, min(jobs, len(frozen.names) // FILES_PER_WORKER))
    with claim_errors("read the filestore's folders"):
        frozen.note_folders()
    with PackSet(store, prefix) as packs:
        copy = _OdooCopy(frozen, packs, counter, report_damaged=report_damaged)
        if reused is not None:
            counter.files_total += reused.files
            counter.add(files=reused.files)
        run_workers(workers, copy.batches(), copy.work)
        base = reused.write(packs) if reused is not None else None
        index, stored = packs.finish()
        counter.finish()
    return FilestoreArtifact(
        layout="Odoo",
        file_count=len(frozen.names) - len(copy.damaged) + (reused.files if reused is not None else 0),
        size_bytes=copy.bytes_done + (reused.size if reused is not None else 0),
        index=index,
        packs=stored,
        base=base,
        missing=tuple(sorted((*frozen.missing, *copy.damaged))),
    )


class _OdooCopy:
    """What the workers share."""

    def __init__(self, frozen: Frozen, packs: PackSet, counter: Counter, *, report_damaged: bool) -> None:
        self._report_damaged = report_damaged
        self.damaged: list[str] = []
        self._frozen = frozen
        self._packs = packs
        self._counter = counter
        self._lock = threading.Lock()
        self.bytes_done = 0
        counter.files_total = len(frozen.names)

    def batches(self) -> Iterator[list[str]]:
        """The names in batches."""
        names = iter(self._frozen.names)
        while batch := list(islice(names, BATCH)):
            yield batch

    def work(self, batches: Iterator[list[str]]) -> None:
        """One worker: copies batches until there are no more."""
        lanes = Lanes(self._packs)
        reader = _Reader(self._counter, self._frozen.unkept)
        with self._frozen.opened() as root:
            for batch in batches:
                self._copy_batch(root, batch, lanes, reader)
        lanes.close()

    def _copy_batch(self, root: OdooFiles, names: list[str], lanes: Lanes, reader: "_Reader") -> None:
        size = 0
        for folder, files in by_folder(names):
            try:
                with root.folder(folder) as (fd, start):
                    for sha1 in files:
                        found = reader.copy(f"{folder}/{sha1}", start + sha1, fd, lanes)
                        if found is None:
                            self._note_damaged(f"{folder}/{sha1}")
                        size += found or 0
            except FileNotFoundError as error:
                raise _vanished(f"{folder}/…") from error
            except OSError as error:
                raise filesystem_error(error, f"read {folder}/… in the filestore") from error
        with self._lock:
            self.bytes_done += size
        reader.count(files=len(names))

    def _note_damaged(self, name: str) -> None:
        with self._lock:
            self.damaged.append(name)
            few = len(self.damaged) + len(self._frozen.missing) <= MAX_MISSING
        if not self._report_damaged or not few:
            raise MoverError(
                conditions.ATTACHMENT_CORRUPT,
                f"the attachment {name} is damaged in the filestore: its content does not have the SHA-1 that is its"
                " name. Restore that file from an older copy, delete the attachment in the application, or set"
                " missingFiles: Report to continue without it.",
            )
        self._frozen.unkept.note(
            "{count} attachments are damaged in the filestore (their content does not have the SHA-1 that is their"
            " name) and are not in the snapshot",
            name,
        )


class _Reader:
    """Reads files one by one into one buffer."""

    def __init__(self, counter: Counter, unkept: Unkept) -> None:
        self._counter = counter
        self._unkept = unkept
        self._buffer = bytearray(tar.BLOCK + WHOLE + tar.BLOCK)
        self._uncounted = 0  # counting takes a lock, so small files are counted together

    def count(self, files: int = 0) -> None:
        """Reports to the counter what was copied since the last call."""
        self._counter.add(bytes_=self._uncounted, files=files)
        self._uncounted = 0

    def copy(self, name: str, file: str, folder_fd: int, lanes: Lanes) -> int | None:
        """Copies one file into a pack; returns its size, None for a damaged one. `file`: what it is called in the open
        folder."""
        sha1 = name.rpartition("/")[2]
        try:
            fd = os.open(file, OPEN_FILE, dir_fd=folder_fd)
        except FileNotFoundError as error:
            raise _vanished(name) from error
        with closing_fd(fd):
            for last in (False, True):
                size = self._copy_once(name, sha1, fd, lanes)
                if size is not None:
                    # Another link has another name, so another content: it is a backup's, or ours.
                    self._unkept.note_file(name, fd, os.fstat(fd), links=None)
                    return size
                if not last:
                    time.sleep(READ_AGAIN_AFTER)
        return None

    def _copy_once(self, name: str, sha1: str, fd: int, lanes: Lanes) -> int | None:
        """Returns None if the content does not match the name."""
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > WHOLE:
            return self._stream(name, sha1, fd, status, lanes)
        view = memoryview(self._buffer)
        size = 0
        while read := os.preadv(fd, [view[tar.BLOCK + size : tar.BLOCK + WHOLE + 1]], size):
            size += read
            if size >= status.st_size:
                break
        content = view[tar.BLOCK : tar.BLOCK + size]
        if hashlib.sha1(content, usedforsecurity=False).hexdigest() != sha1:
            return None
        end = tar.BLOCK + size + tar.padding(size)
        view[tar.BLOCK + size : end] = bytes(tar.padding(size))
        view[: tar.BLOCK] = _header(name, size, status)
        middle = max(0, (size - SAMPLE) // 2)
        pack = lanes.pack_for(end, content[middle : middle + SAMPLE])
        frame = pack.begin_member(end)
        pack.add_line(odoo_line(name, size, pack.name, pack.offset + tar.BLOCK, frame))
        pack.write(view[:end])
        self._uncounted += size
        if self._uncounted >= WHOLE:
            self.count()
        return size

    def _stream(self, name: str, sha1: str, fd: int, status: os.stat_result, lanes: Lanes) -> int | None:
        """Copies a large file in pieces. If its content is wrong, the index does not name the member, and a later
        member of the same name replaces it in the tar."""
        size = status.st_size
        member = tar.BLOCK + size + tar.padding(size)
        pack = lanes.pack_for(member, os.pread(fd, SAMPLE, size // 2))
        frame = pack.begin_member(member)
        pack.write(_header(name, size, status))
        offset = pack.offset
        digest = hashlib.sha1(usedforsecurity=False)
        if not copy_content(fd, size, pack, self._buffer, digest, self._counter) or digest.hexdigest() != sha1:
            return None
        pack.add_line(odoo_line(name, size, pack.name, offset, frame))
        return size


def _header(name: str, size: int, status: os.stat_result) -> bytes:
    return tar.header(
        name.encode(),
        size=size,
        mode=stat.S_IMODE(status.st_mode),
        mtime=int(status.st_mtime),
        uid=status.st_uid,
        gid=status.st_gid,
    )


def _vanished(name: str) -> MoverError:
    return MoverError(
        conditions.FILESTORE_CHANGING,
        f"{name} vanished from the filestore while it was copied: the application's garbage collection removed it, and"
        " this file system has no hard links to keep it. The snapshot starts again.",
        retryable=True,
    )
