"""Facts and findings of ``probe`` about a filestore."""

import contextlib
import os
import time
from dataclasses import dataclass, field

from ocore_crds import conditions
from ocore_crds.naming import CLAIM_FOLDER
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import FilestoreFacts
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import MAX_DEPTH, ClaimFolders, claim_errors, filesystem_error
from ocore_mover.filestore.layout import Layout
from ocore_mover.filestore.links import OPEN_FILE, Folder, links_supported, opened_below, walk

#: Seconds after which counting stops: for tens of millions of files an estimate is enough.
COUNT_SECONDS = 60.0
#: One file in this many is tested for read access.
READ_EVERY = 100
LISTED = 5


def collect(
    folders: ClaimFolders, layout: Layout
) -> tuple[FilestoreFacts | None, tuple[Finding, ...], tuple[Finding, ...], tuple[str, ...]]:
    """Returns facts, findings that block a snapshot, findings that block a rollback, and warnings.

    The facts are None where the folder does not exist. Leaves nothing on the claim. Problems of the filestore are
    findings, never errors.
    """
    try:
        folders.require_filestore()
        with folders.opened(folders.filestore) as root:
            seen = _count(folders, layout, root)
            hard_links, not_writable = _try_links(folders, root, seen.sample)
            volume, status = os.fstatvfs(root), os.fstat(root)
            writable = os.access(".", os.W_OK | os.X_OK, dir_fd=root, effective_ids=True)
    except MoverError as error:
        found = layout.absent(folders) or error
        return None, (found.finding(),), (), ()
    except OSError as error:  # replaced by the application after it was found
        found = filesystem_error(error, "read the filestore")
        return None, (found.finding(),), (), ()
    facts = FilestoreFacts(
        file_count=seen.files,
        size_bytes=seen.size,
        hard_links=hard_links,
        free_bytes=volume.f_bavail * volume.f_frsize,
        uid=status.st_uid,
        gid=status.st_gid,
    )
    later = _rollback_findings(folders, layout, facts, not_writable, writable=writable)
    warnings = (*seen.warnings, *layout.warnings(facts, not_writable))
    return facts, tuple(_blocking(seen)), tuple(later), warnings


def sizes(folders: ClaimFolders, layout: Layout) -> tuple[int, int, tuple[str, ...]]:
    """Returns the bytes and the number of the filestore's files, and why they are too low, if they are. 0 where the
    folder does not exist yet.

    Raises MoverError FilestoreNotFound or FilestoreNotReadable.
    """
    with claim_errors("read the filestore"):
        if folders.filestore_is_absent():
            return 0, 0, ()
        folders.require_filestore()
        with folders.opened(folders.filestore) as root:
            seen = _count(folders, layout, root)
    unread = (f"not readable, and not counted: {', '.join(seen.unreadable)}",) if seen.unreadable else ()
    return seen.size, seen.files, (*seen.warnings, *unread)


def is_missing(folders: ClaimFolders) -> bool:
    """Whether the filestore's folder, or one above it, does not exist. False where something else is wrong with it."""
    try:
        return folders.missing_below() is not None
    except OSError:
        return False


def of_missing(folders: ClaimFolders, layout: Layout) -> tuple[Finding, list[Finding]]:
    """The finding that the filestore's folder does not exist, and what prevents a rollback from creating it."""
    absent = layout.absent(folders)
    created = Finding(
        reason=absent.reason if absent is not None else conditions.FILESTORE_NOT_FOUND,
        message=(
            f"{absent.message.rstrip('.')}. A Rollback creates the folder"
            if absent is not None
            else f"the filestore's claim has no folder {folders.path}; a Rollback creates it"
        ),
    )
    try:
        above = folders.missing_below() or ""
        with folders.opened(folders.claim / above) as fd:
            writable = os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True)
            status, volume = os.fstat(fd), os.fstatvfs(fd)
    except OSError as error:
        found = filesystem_error(error, "read the filestore's claim")
        return created, [found.finding()]
    facts = FilestoreFacts(free_bytes=volume.f_bavail * volume.f_frsize, uid=status.st_uid, gid=status.st_gid)
    return created, _rollback_findings(folders, layout, facts, "", writable=writable)


@dataclass
class _Seen:
    files: int = 0
    size: int = 0
    sample: str | None = None  # path of a readable file
    foreign: int = 0  # folders that the layout does not have
    unreadable: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note_unreadable(self, path: str) -> None:
        """A file or folder that this user cannot read; a few are enough."""
        if len(self.unreadable) < LISTED:
            self.unreadable.append(path)

    def failed(self, path: str, error: OSError) -> None:
        """A folder that cannot be opened."""
        if isinstance(error, PermissionError):
            self.note_unreadable(path)
        elif not isinstance(error, (FileNotFoundError, NotADirectoryError)):  # the application removed it
            raise error


def _count(folders: ClaimFolders, layout: Layout, root: int) -> _Seen:
    """Counts the files that can be the filestore's in this layout."""
    seen = _Seen()
    end = time.monotonic() + COUNT_SECONDS

    def skip(path: str) -> bool:
        if "/" in path:
            return False
        if path == CLAIM_FOLDER or path in ("checklist", "lost+found"):
            return True
        foreign = layout.is_foreign(path)
        seen.foreign += foreign
        return foreign

    try:
        for folder in walk(root, skip=skip, failed=seen.failed, depth=MAX_DEPTH):
            for item in folder.items:
                if item.kind == "file":
                    _note_file(folder, item.name, seen)
            if time.monotonic() > end:
                seen.warnings.append(
                    f"the filestore is large: counting stopped after {COUNT_SECONDS:.0f} s, its figures are too low"
                )
                break
    except RecursionError as error:
        seen.warnings.append(f"counting stopped at {error}: it is nested deeper than {MAX_DEPTH} folders")
    if seen.foreign and not seen.files:
        seen.warnings.append(layout.wrong_folder(folders.path, seen.foreign))
    return seen


def _note_file(folder: Folder, name: str, seen: _Seen) -> None:
    with contextlib.suppress(FileNotFoundError):
        seen.size += os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_size
        seen.files += 1
        if seen.files % READ_EVERY == 1:
            try:
                os.close(os.open(name, OPEN_FILE, dir_fd=folder.fd))
            except PermissionError:
                seen.note_unreadable(folder.path + name)
            else:
                seen.sample = seen.sample or folder.path + name


def _blocking(seen: _Seen) -> list[Finding]:
    if not seen.unreadable:
        return []
    return [
        Finding.of(
            conditions.FILESTORE_NOT_READABLE,
            f"uid {os.geteuid()} cannot read {', '.join(seen.unreadable)} in the filestore. Run the Jobs as the "
            "application's user (spec.jobs.runAsUser, runAsGroup).",
        )
    ]


def _try_links(folders: ClaimFolders, root: int, sample: str | None) -> tuple[bool, str]:
    """Returns whether a file of the application can be linked into our folder, and why we cannot write there."""
    test = folders.own / "probe"
    try:
        folders.make_own(test)
        try:
            with folders.opened(test) as fd:
                return _try_link(fd, root, sample), ""
        finally:
            folders.remove(test)
            folders.drop_own_if_empty()
    except MoverError as error:
        return False, error.message
    except OSError as error:
        return False, f"cannot write to the filestore's claim: {error.strerror}"


def _try_link(test: int, root: int, sample: str | None) -> bool:
    if sample is None:
        return links_supported(test, None)
    parent, _, name = sample.rpartition("/")
    try:
        with opened_below(root, parent) as source:
            return links_supported(test, (source, name))
    except (FileNotFoundError, NotADirectoryError):  # the application removed it
        return links_supported(test, None)


def _rollback_findings(
    folders: ClaimFolders, layout: Layout, facts: FilestoreFacts, not_writable: str, *, writable: bool
) -> list[Finding]:
    found = []
    if not_writable:
        found.append(Finding.of(conditions.FILESTORE_NOT_READABLE, not_writable))
    elif not writable:
        found.append(
            Finding.of(
                conditions.FILESTORE_NOT_READABLE,
                f"uid {os.geteuid()} cannot write to the filestore. Run the Jobs as the application's user "
                f"(uid {facts.uid}, gid {facts.gid}).",
            )
        )
    return [*found, *layout.rollback_findings(folders, facts)]
