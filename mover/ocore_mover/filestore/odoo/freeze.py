"""A frozen view of an Odoo filestore: hard links of the files that a snapshot's database names.

Odoo's garbage collection unlinks files that no row names. Our link keeps the content until the snapshot's Job has read
it. Files are linked before garbage collection is blocked, and while it is blocked only those that are new.
"""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ocore_crds import conditions
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders, FolderNotWritable, claim_errors
from ocore_mover.filestore.left_out import Unkept
from ocore_mover.filestore.links import LinksUnsupported, by_folder, names_in, opened
from ocore_mover.filestore.names import MAX_MISSING, Missing, SortedNames, Without
from ocore_mover.filestore.odoo.files import ODOO_FOLDER, OdooFiles

log = logging.getLogger(__name__)

#: Most files whose links are all in one folder.
FLAT = 4096


@dataclass
class Frozen:
    """The files of a snapshot.

    Where there are no hard links (`linked` is False), `root` is the live filestore. If a file vanishes before it is
    read, the copy fails with FilestoreChanging, and the snapshot starts again with a new database snapshot.
    """

    folders: ClaimFolders
    root: Path
    names: SortedNames
    missing: tuple[str, ...]
    linked: bool = False
    flat: bool = False
    absent: bool = False  # there is no filestore yet; `root` is the claim
    unkept: Unkept = field(default_factory=Unkept)

    @contextmanager
    def opened(self) -> Iterator[OdooFiles]:
        """The files, for the block. Raises OSError."""
        with self.folders.opened(self.root) as fd:
            yield OdooFiles(fd, self.flat)

    def note_folders(self) -> None:
        """Notes what a snapshot does not keep of the live folders. They may vanish: the links have the files."""
        gone = contextlib.suppress(FileNotFoundError, NotADirectoryError)
        with gone, self.folders.opened(self.folders.filestore) as filestore:
            for name in filter(ODOO_FOLDER.fullmatch, names_in(filestore)):
                with gone, opened(name, dir_fd=filestore) as fd:
                    self.unkept.note_folder(name, fd)


class Freezing:
    """A freeze in steps: :meth:`link` as often as wanted, then :meth:`finish`. A context manager: removes its folder at
    the end.

    So nearly all files are linked before garbage collection is blocked, and only new ones while it is.
    """

    def __init__(self, folders: ClaimFolders, attempt: str) -> None:
        self._folders = folders
        self._target = folders.freeze(attempt)
        self.linked = True  # False: the file system has no hard links, or our folder is not writable
        self._absent = False  # there is no filestore yet
        self._flat: bool | None = None  # whether all links are in one folder; decided by the number of the first names

    def begin(self) -> None:
        """Makes the empty folder; removes leftovers of the same attempt. Raises MoverError FilestoreNotFound,
        FilestoreNotReadable, NoSpace."""
        if self._folders.filestore_is_absent():  # whether that is in order depends on the names
            self._absent, self.linked = True, False
            return
        self._folders.require_filestore()
        self._folders.remove(self._target)
        try:
            self._folders.make_own(self._target)
        except FolderNotWritable as error:
            self._give_up(error)

    def link(self, names: SortedNames) -> None:
        """Links the named files (`files` of :func:`~.names.spooled`: checked and sorted) that exist and are not linked
        yet into ``freeze-<attempt>``; takes about 10 µs for each.

        Raises MoverError FilestoreNotReadable, NoSpace.
        """
        if not self.linked:
            return
        try:
            with self._opened(names) as (live, links):
                for _ in live.link_into(links, names):
                    pass  # `finish` looks for those that do not exist
        except LinksUnsupported as error:
            self._give_up(error)

    @contextmanager
    def _opened(self, names: SortedNames) -> Iterator[tuple[OdooFiles, OdooFiles]]:
        """The live filestore and our links of the names, for the block. Raises MoverError FilestoreNotReadable,
        NoSpace."""
        folders = self._folders
        if self._flat is None:
            self._flat = len(names) <= FLAT
        with (
            claim_errors("link the filestore's files"),
            folders.opened(folders.filestore) as live,
            folders.opened(self._target) as links,
        ):
            yield OdooFiles(live), OdooFiles(links, self._flat)

    def size(self, names: Iterable[str]) -> int:
        """Bytes of the named files (checked and sorted) that exist. Raises MoverError FilestoreNotReadable."""
        if self._absent:
            return 0
        found = 0
        folders, gone = self._folders, contextlib.suppress(FileNotFoundError)
        with claim_errors("read the sizes of the filestore's files"), folders.opened(folders.filestore) as root:
            for folder, files in by_folder(names):
                with gone, opened(folder, dir_fd=root) as fd:
                    for file in files:
                        with gone:
                            found += os.stat(file, dir_fd=fd, follow_symlinks=False).st_size
        return found

    def lost(self, names: Iterable[str]) -> Missing:
        """The named files (checked and sorted) that the live filestore does not have. Raises MoverError
        FilestoreNotReadable."""
        missing = Missing()
        if not self._absent:
            with claim_errors("list the filestore's files"), self._folders.opened(self._folders.filestore) as root:
                missing.add(OdooFiles(root).absent(names))
        return missing

    def finish(self, names: SortedNames, *, named: int | None = None) -> Frozen:
        """The named files. Where `linked` is False, call it while garbage collection is blocked: it lists the live
        files.
        `named`: files that the database names, where `names` are only those that a differential's base does not have.

        A new application creates its filestore with the first file: without names, a folder that does not exist is an
        empty one. Raises MoverError FilestoreNotFound, FilestoreNotReadable, NoSpace, and AttachmentsMissing if more
        files are missing than a manifest can list.
        """
        if self._absent:
            if not (len(names) if named is None else named):
                return Frozen(self._folders, self._folders.claim, names, (), absent=True)
            self._folders.require_filestore()
        missing = Missing()
        if self.linked:
            try:
                with self._opened(names) as (live, links):
                    missing.add(live.link_into(links, links.absent(names)))
            except LinksUnsupported as error:
                self._give_up(error)
            else:
                return Frozen(self._folders, self._target, *_split(names, missing), linked=True, flat=links.flat)
        return _unfrozen(self._folders, names)

    def _give_up(self, error: Exception) -> None:
        log.warning(
            "cannot make hard links on the filestore's claim: reading the live files", extra={"error": str(error)}
        )
        self.linked = False
        self.remove()

    def remove(self) -> None:
        """Removes the links; the files themselves stay with the application."""
        self._folders.remove(self._target)
        self._folders.drop_own_if_empty()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _unfrozen(folders: ClaimFolders, names: SortedNames) -> Frozen:
    with folders.opened(folders.filestore) as root:
        missing = Missing()
        missing.add(OdooFiles(root).absent(names))
    return Frozen(folders, folders.filestore, *_split(names, missing))


def _split(names: SortedNames, missing: Missing) -> tuple[SortedNames, tuple[str, ...]]:
    """The names of files that exist, and the missing ones. Raises MoverError AttachmentsMissing if a manifest cannot
    list those."""
    if missing.count > MAX_MISSING:
        raise MoverError(
            conditions.ATTACHMENTS_MISSING,
            f"the database names {missing.count} files that the filestore does not have, for example"
            f" {', '.join(missing.names[:3])}. A snapshot can report {MAX_MISSING} of them. Check spec.filestore.path.",
        )
    lost = tuple(missing.names)
    return Without(names, lost), lost
