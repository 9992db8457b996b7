"""Layout Plain: a frozen folder of any files into packs."""

import contextlib
import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.disk import birth_time, birth_time_of, closing_fd
from ocore_mover.errors import MoverError
from ocore_mover.filestore import tar
from ocore_mover.filestore.base import Reused, outgrown, outgrown_warning
from ocore_mover.filestore.folders import MAX_DEPTH, claim_errors
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.layout import Consistency
from ocore_mover.filestore.left_out import LISTED
from ocore_mover.filestore.links import OPEN_FILE, Folder, Item, open_below, opened_below, walk
from ocore_mover.filestore.packset import SAMPLE, Lanes, Pack, PackSet, copy_content
from ocore_mover.filestore.plain.base import BATCH, Compared, Difference, Group, PlainBase
from ocore_mover.filestore.plain.freeze import Frozen
from ocore_mover.filestore.plain.index_lines import plain_line
from ocore_mover.filestore.plain.mirror import KNOWN
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store
from ocore_mover.workers import run_workers

BUFFER = 1024 * 1024
#: Attempts to read a file that changes while it is read, and the pause between them in seconds.
ATTEMPTS = 4
ATTEMPT_PAUSE = 0.25


def store_plain(
    store: Store,
    prefix: str,
    frozen: Frozen,
    counter: Counter,
    *,
    consistency: Consistency = "Strict",
    quiesced: bool = False,
    jobs: int = 2,
    base: PlainBase | None = None,
) -> tuple[FilestoreArtifact, tuple[str, ...]]:
    """Stores a frozen folder below ``<prefix>filestore/``. The second value are warnings.

    With a base, only files that it does not have; all of them, with a warning, where the difference has outgrown it.

    `Strict`: raises FilestoreChanging for a file that the application changed after the database was exported.
    `BestEffort`: stores such a file as it is now and names it in a warning. Symbolic links are stored as links and
    never followed. Raises MoverError FilestoreChanging, FilestoreNotFound, FilestoreNotReadable,
    FilestoreLayoutUnsupported, and StoreError. Hits the failpoint snapshot-pack-stored.
    """
    with PackSet(store, prefix) as packs, ExitStack() as stack:
        copy = _PlainCopy(frozen, packs, counter, strict=consistency == "Strict", quiesced=quiesced)
        copy.check_doubts()
        batches = copy.batches()
        reused: Reused | None = None
        if base is not None:
            difference = stack.enter_context(Difference(base))
            reused = copy.compare(difference, jobs)
            batches = copy.batches_of(difference, reused)
        run_workers(jobs, batches, copy.work)
        copy.store_rest()
        needed = reused.write(packs) if reused is not None else None
        index, stored = packs.finish()
        counter.finish()
    artifact = FilestoreArtifact(
        layout="Plain",
        file_count=copy.files,
        size_bytes=copy.size,
        index=index,
        packs=stored,
        base=needed,
        frozen_ns=frozen.since_ns,
    )
    return artifact, tuple(copy.warnings)


@dataclass
class _Batch:
    """Files of one folder (relative, with a slash at its end, or empty)."""

    folder: str
    late: bool  # files that the application created while the filestore was frozen
    files: list[str]


class _PlainCopy:
    """What the workers share."""

    def __init__(self, frozen: Frozen, packs: PackSet, counter: Counter, *, strict: bool, quiesced: bool) -> None:
        self._frozen = frozen
        self._packs = packs
        self._counter = counter
        self._strict = strict
        self._quiesced = quiesced
        self._lock = threading.Lock()
        self.files = 0
        self.size = 0
        self._outgrown: list[str] = []
        self._reused: Reused | None = None

    @property
    def warnings(self) -> list[str]:
        """What the snapshot does not have, or has in another state."""
        found = self._outgrown + self._frozen.unkept.warnings
        if not self._frozen.linked:
            found.append(
                "the filestore has no hard links: its files were read where they are. A file that the application"
                " deleted after the database was exported is not in the snapshot"
            )
        if self._frozen.blind and not self._quiesced:
            found.append(
                "the kernel reports no changes of this filestore (it is on a network, or has too many folders): a file"
                " that came and went while the database was exported may be missing unseen. Use quiesce: true where the"
                " application deletes new files"
            )
        return found

    def check_doubts(self) -> None:
        """What the export of the database may have seen, and the snapshot may lack."""
        doubts = self._frozen.doubts
        for name in doubts.replaced:
            self._note_doubt(name, "files were replaced", "was replaced")
        for name in doubts.gone:
            self._note_doubt(name, "names came and went", "was created and deleted")
        for name in doubts.unseen:
            if name:
                self._note_doubt(name, "folders were created or moved", "was created or moved, with what it contains,")
            else:
                self._note_doubt("a file", "times changes were too many to be reported", "may have come and gone")

    def _note_doubt(self, name: str, what: str, of_one: str) -> None:
        if self._strict:
            raise _changing(
                [name],
                f"{of_one} while the database was exported: the snapshot may lack files that the database names",
            )
        self._frozen.unkept.note(
            f"{{count}} {what} while the database was exported: files that it names may not be in the snapshot",
            name,
            lost=True,
        )

    # --- walking (in one thread at a time) -------------------------------------------------------------------

    def batches(self) -> Iterator[_Batch]:
        """All files, a few of one folder at a time."""
        self._counter.files_total = self._frozen.files
        for late, folder in self._folders():
            names = (item.name for item in self._files_of(folder))
            while few := list(islice(names, BATCH)):
                yield _Batch(folder.path, late, few)

    def compare(self, difference: Difference, jobs: int) -> Reused | None:
        """Compares all files with those of the base. Reads those whose content decides: after a rollback they are all
        files. Returns what the base has, which is not copied; None where that is too little."""
        with claim_errors("read the filestore"):
            for late, folder in self._folders():
                for item in self._files_of(folder):
                    self._counter.files_total += 1
                    try:
                        status = os.stat(item.name, dir_fd=folder.fd, follow_symlinks=False)
                    except FileNotFoundError:
                        self._note_vanished(folder.path + item.name)
                        continue
                    difference.add(
                        folder.path + item.name,
                        status,
                        born_ns=birth_time_of(item.name, folder.fd) or 0,
                        ctime_ns=self._comparable_ctime(status),
                        late=late,
                    )
        reused, new, unread = difference.sizes()
        if not outgrown(new, reused.size + unread):  # else it is, whatever the contents are
            self._reused = reused
            new += unread + reused.size
            run_workers(jobs, difference.to_read(), self._read)
            new -= reused.size
            unread = 0
        if outgrown(new, reused.size + unread):
            self._outgrown.append(outgrown_warning(new, reused.size + unread))
            return None
        self.files, self.size = reused.files, reused.size
        self._counter.add(files=reused.files)
        return reused

    def batches_of(self, difference: Difference, reused: Reused | None) -> Iterator[_Batch]:
        """As :meth:`batches`, of the files that were compared and are not in `reused`."""
        for folder, late, few in difference.to_store(reused):
            yield _Batch(folder, late, [os.fsdecode(file.path.rpartition(b"/")[2]) for file in few])

    def _comparable_ctime(self, status: os.stat_result) -> int:
        """The change time, where no hard links of ours change it."""
        return 0 if self._frozen.linked else status.st_ctime_ns

    def _folders(self) -> Iterator[tuple[bool, Folder]]:
        for late in self._frozen.parts:
            with self._frozen.opened(late=late) as root:
                for folder in self._walk(root):
                    yield late, folder

    def _walk(self, root: int) -> Iterator[Folder]:
        try:
            yield from walk(root, skip=self._frozen.is_own, failed=self._folder_failed, depth=MAX_DEPTH)
        except RecursionError as error:
            raise MoverError(
                conditions.FILESTORE_LAYOUT_UNSUPPORTED,
                f"{error} is nested deeper than {MAX_DEPTH} folders. Move it to a higher level.",
            ) from error

    def _folder_failed(self, path: str, error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)) or self._frozen.linked:
            raise error
        self._note_vanished(path)

    def _files_of(self, folder: Folder) -> Iterator[Item]:
        items = folder.items if self._frozen.linked else _once(folder.items)
        for item in items:
            if item.kind == "other" and not self._frozen.linked:
                self._frozen.unkept.note_special(folder.path + item.name)
            if item.kind == "file":
                yield item
        if not self._frozen.linked:
            self._check_live(folder)

    def _check_live(self, folder: Folder) -> None:
        """Without links: the time of a folder shows whether it lost a name between the export and its listing."""
        if folder.path:
            self._frozen.unkept.note_folder(folder.path.rstrip("/"), folder.fd)
        if self._is_after_export(os.fstat(folder.fd).st_mtime_ns):
            self._note_changed(folder.path or "the filestore's own folder")

    # --- copying ---------------------------------------------------------------------------------------------

    def work(self, batches: Iterator[_Batch]) -> None:
        """One worker: copies batches until there are no more."""
        lanes = Lanes(self._packs)
        buffer = bytearray(BUFFER)
        with claim_errors("read the filestore"), self._roots() as roots:
            for batch in batches:
                self._copy_batch(batch, roots[batch.late], lanes, buffer)
            lanes.close()

    @contextlib.contextmanager
    def _roots(self) -> Iterator[list[int]]:
        """The descriptors of the frozen parts, for the block."""
        with ExitStack() as stack:
            yield [stack.enter_context(self._frozen.opened(late=late)) for late in self._frozen.parts]

    def _copy_batch(self, batch: _Batch, root: int, lanes: Lanes, buffer: bytearray) -> None:
        try:
            folder = open_below(root, batch.folder)
        except (FileNotFoundError, NotADirectoryError):
            for file in batch.files:
                self._note_vanished(batch.folder + file)
            return
        with closing_fd(folder):
            for file in batch.files:
                size = self._copy_file(batch.folder + file, file, folder, lanes, buffer, late=batch.late)
                if size is not None:
                    with self._lock:
                        self.files += 1
                        self.size += size
                    self._counter.add(files=1)

    # --- reading what may be in the base -----------------------------------------------------------------------

    def _read(self, groups: Iterator[Group]) -> None:
        """One worker: adds the files to what is reused whose content is that of the base's file."""
        assert self._reused is not None  # noqa: S101 - compared with the base
        buffer = bytearray(BUFFER)
        gone = contextlib.suppress(FileNotFoundError, NotADirectoryError)  # it is noted when it is copied
        with claim_errors("read the filestore"), self._roots() as roots:
            for folder, late, files in groups:
                with gone, opened_below(roots[late], folder) as fd:
                    same = [
                        (file.line, file.size)
                        for file in files
                        if file.line is not None and self._is_in_base(folder, fd, buffer, file)
                    ]
                    with self._lock:
                        self._reused.add(same)

    def _is_in_base(self, path: str, folder: int, buffer: bytearray, found: Compared) -> bool:
        """Reads a file that took the place of one in the base. True where its content is the same."""
        name = os.fsdecode(found.path.rpartition(b"/")[2])
        try:
            fd = os.open(name, OPEN_FILE, dir_fd=folder)
        except FileNotFoundError:
            return False
        with closing_fd(fd):
            before = os.fstat(fd)
            digest, done = hashlib.sha256(), 0
            with memoryview(buffer) as view:
                while done <= found.size and (read := os.preadv(fd, [view], done)):
                    digest.update(view[:read])
                    done += read
                    self._counter.add(bytes_=read)  # raises once the command is cancelled
            after = os.fstat(fd)
            if digest.hexdigest() != found.expected or _identity(after) != _identity(before):
                return False
            self._check_unchanged(path + name, fd, after, late=found.late)
        return True

    # --- one file ----------------------------------------------------------------------------------------------

    def _copy_file(
        self, name: str, file: str, folder: int, lanes: Lanes, buffer: bytearray, *, late: bool
    ) -> int | None:
        """Returns its size; None if it vanished, or if the application still writes a new file."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                fd = os.open(file, OPEN_FILE, dir_fd=folder)
            except FileNotFoundError:
                self._note_vanished(name)
                return None
            with closing_fd(fd):
                new = attempt == ATTEMPTS and self._is_new(fd, late=late)
                torn = attempt == ATTEMPTS and not self._strict and not new
                size = self._copy_once(name, fd, lanes, buffer, late=late, torn=torn)
            if size is not None:
                return size
            if new:
                self._frozen.unkept.note(
                    "{count} files that the application created during the snapshot and still wrote are not in it", name
                )
                return None
            time.sleep(ATTEMPT_PAUSE * (attempt - 1))
        raise _changing([name], f"changed each of the {ATTEMPTS} times it was read")

    def _is_new(self, fd: int, *, late: bool) -> bool:
        """Whether a file was created since the freeze began. No committed row can name it before it is complete."""
        born = birth_time(fd)
        return late if born is None else born >= self._frozen.begin_ns

    def _copy_once(self, name: str, fd: int, lanes: Lanes, buffer: bytearray, *, late: bool, torn: bool) -> int | None:
        """Returns None if the file changed during the read: a later member of the same name replaces this one in the
        tar.

        `torn`: a changed file is good enough.
        """
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
        member = len(head) + size + tar.padding(size)
        pack = lanes.pack_for(member, sample)
        frame = pack.begin_member(member)
        pack.write(head)
        offset = pack.offset
        digest = hashlib.sha256()
        whole = copy_content(fd, size, pack, buffer, digest, self._counter)
        after = os.fstat(fd)
        stable = whole and _identity(after) == _identity(before)
        if not stable and not torn:
            return None
        self._check_unchanged(name, fd, after, late=late)
        self._frozen.unkept.note_file(name, fd, before, links=2 if self._frozen.linked else 1)
        pack.add_line(
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
                    inode=before.st_ino,
                    born_ns=birth_time(fd) or 0,
                    ctime_ns=self._comparable_ctime(before),
                )
            )
        )
        return size

    # --- what the application changed ------------------------------------------------------------------------

    def _check_unchanged(self, name: str, fd: int, status: os.stat_result, *, late: bool) -> None:
        """The content of a file that existed at the export is the one that the export saw."""
        if self._is_after_export(status.st_mtime_ns) and not late and not self._is_new(fd, late=late):
            self._note_changed(name)

    def _is_after_export(self, mtime_ns: int) -> bool:
        """A time in the future was set by a program: a write sets the present one."""
        return self._frozen.since_ns <= mtime_ns <= self._frozen.clock_ns()

    def _note_changed(self, name: str) -> None:
        if self._strict:
            raise _changing([name], "changed after the database was exported")
        self._frozen.unkept.note(
            "{count} files changed after the database was exported and are in the snapshot as they were later", name
        )

    def _note_vanished(self, name: str) -> None:
        """Only of the live folder: the frozen one is ours."""
        if self._strict:
            raise _changing([name], "was deleted by the application while the filestore was copied")
        self._frozen.unkept.note("{count} files were deleted by the application while it was copied", name, lost=True)

    # --- folders and symbolic links --------------------------------------------------------------------------

    def store_rest(self) -> None:
        """Folders and symbolic links, in the last packs: a tar that unpacks in order finds folders still writable and
        never writes through a link."""
        pack: Pack | None = None
        with self._frozen.opened() as root:
            for folder in self._walk(root):
                for entry in _entries_of(folder):
                    if pack is not None and not pack.has_room(tar.BLOCK):
                        self._packs.close(pack)
                        pack = None
                    if pack is None:
                        pack = self._packs.begin(compressed=True)
                    _store_entry(entry, pack)
        if pack is not None:
            self._packs.close(pack)


def _once(items: Iterator[Item]) -> Iterator[Item]:
    """Each name once: the listing of a folder that changes may have one twice. A few names are kept; :mod:`.readable`
    finds the others."""
    seen: set[str] = set()
    for item in items:
        if item.name in seen:
            continue
        if len(seen) < KNOWN:
            seen.add(item.name)
        yield item


def _entries_of(folder: Folder) -> Iterator[Entry]:
    """The folder itself, and the symbolic links in it."""
    if folder.path:
        status = os.fstat(folder.fd)
        mode = stat.S_IMODE(status.st_mode)
        yield Entry(folder.path.rstrip("/"), "", 0, kind="folder", mode=mode, mtime_ns=status.st_mtime_ns)
    for item in folder.items:
        if item.kind == "symlink":
            entry = _symlink(folder, item)
            if entry is not None:
                yield entry


def _symlink(folder: Folder, item: Item) -> Entry | None:
    try:
        target = os.readlink(item.name, dir_fd=folder.fd)
        status = os.stat(item.name, dir_fd=folder.fd, follow_symlinks=False)
    except OSError:  # the application removed or replaced it
        return None
    return Entry(folder.path + item.name, "", 0, kind="symlink", target=target, mtime_ns=status.st_mtime_ns)


def _store_entry(entry: Entry, pack: Pack) -> None:
    folder = entry.kind == "folder"
    name = os.fsencode(entry.name)
    head = tar.header(
        name + b"/" if folder else name,
        size=0,
        mode=entry.mode if folder else 0o777,
        mtime=entry.mtime_ns // 1_000_000_000,
        kind=tar.FOLDER if folder else tar.SYMLINK,
        link=os.fsencode(entry.target),
    )
    frame = pack.begin_member(len(head))
    pack.write(head)
    pack.add_line(plain_line(entry._replace(pack=pack.name, offset=pack.offset, frame=frame)))


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    """What a modification changes. Deleting another link changes the last one, too: then the file is read again."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _changing(names: list[str], what: str) -> MoverError:
    return MoverError(
        conditions.FILESTORE_CHANGING,
        f"{', '.join(names[:LISTED])} in the filestore {what}. Take the snapshot while the application does not write"
        " to such files, keep them outside the filestore, or set spec.filestore.consistency to BestEffort.",
        retryable=True,
    )
