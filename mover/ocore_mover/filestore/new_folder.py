"""A new folder beside the filestore, on its claim: made whole under another name, then renamed into its place.

The application owns the claim. Nothing is written through a symbolic link, and nothing that exists is replaced but an
empty folder. A file in the folder says which Extract has made it: only that folder is removed again.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from ocore_crds import conditions
from ocore_crds.model import StatusModel
from ocore_crds.naming import EXTRACT_MARKER, short_id
from ocore_crds.reports.extracted import Extracted
from ocore_mover.disk import closing_fd, sync_filesystem, write_all
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore import space
from ocore_mover.filestore.folders import ClaimFolders, claim_errors, filesystem_error
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.links import CREATE_FILE, OPEN_FILE, ensure_below, open_below, opened

#: Bytes of the marker that are read at most.
_MARKER_BYTES = 64 * 1024
#: Of the modes in the snapshot: nothing that an Extract makes can be executed as a program.
_FILE_MODE = 0o666


class Marker(StatusModel):
    """Whose folder it is."""

    extract_id: str
    result: Extracted


class Beside:
    """The folder of one Extract."""

    def __init__(self, folders: ClaimFolders, folder: str, extract_id: str) -> None:
        self._folders = folders
        self._folder = folder
        self._extract_id = extract_id
        self._stage = folders.own / f"extract-{short_id(extract_id)}"

    def made(self) -> Extracted | None:
        """What an earlier attempt has extracted; None where there is no folder, or an empty one. Raises MoverError
        TargetRefused where something else has the name."""
        with self._place() as (parent, name):
            try:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                return None
            if not stat.S_ISDIR(status.st_mode):
                raise self._refused("is not a folder, or it is a symbolic link, which is not followed")
            with opened(name, dir_fd=parent) as fd:
                marker = _marker(fd)
                if marker is not None and marker.extract_id == self._extract_id:
                    return marker.result
                with os.scandir(fd) as items:
                    if next(items, None) is not None:
                        raise self._refused("exists and is not empty")
        return None

    @contextmanager
    def writing(self, size: int) -> Iterator["NewFolder"]:
        """A new folder for so many bytes. The caller calls :meth:`NewFolder.publish` at the end of the block; without
        it, nothing remains. Raises MoverError NoSpace, TargetRefused."""
        folders, stage = self._folders, self._stage
        folders.remove(stage)
        folders.make_own(stage)
        try:
            with folders.opened(stage) as root:
                refused = space.beside(size, root)
                if refused is not None:
                    raise refused
                yield NewFolder(self, root)
        except OSError as error:
            raise filesystem_error(error, "write the extracted files to the claim") from error
        finally:
            with contextlib.suppress(MoverError):
                folders.remove(stage)
            folders.drop_own_if_empty()

    def publish(self, root: int, result: Extracted) -> None:
        """Renames the folder into its place. See :meth:`writing`."""
        with closing_fd(os.open(EXTRACT_MARKER, CREATE_FILE, 0o640, dir_fd=root)) as fd:
            text = Marker(extract_id=self._extract_id, result=result).model_dump_json(by_alias=True, exclude_none=True)
            write_all(fd, text.encode())
        with self._folders.opened(self._folders.filestore) as live:
            mode = stat.S_IMODE(os.fstat(live).st_mode)
        for _, _, _, folder in os.fwalk(dir_fd=root):  # it follows no link
            os.fchmod(folder, mode)
        sync_filesystem(root)
        with self._folders.opened_parent(self._stage) as (own, stage), self._place() as (parent, name):
            try:
                os.rename(stage, name, src_dir_fd=own, dst_dir_fd=parent)  # takes the place of an empty folder only
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                raise self._refused("exists and is not an empty folder") from error
            os.fsync(parent)

    def remove(self) -> bool:
        """Removes the folder where it still has the marker of this Extract, and what a killed attempt left. Returns
        whether the folder was removed. Raises MoverError."""
        self._folders.remove(self._stage)
        self._folders.drop_own_if_empty()
        path = self._folders.claim / self._folder
        try:
            with self._folders.opened(path) as fd:
                marker = _marker(fd)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise filesystem_error(error, f"read {self._folder}") from error
        if marker is None or marker.extract_id != self._extract_id:
            return False
        return self._folders.remove(path)

    @contextmanager
    def _place(self) -> Iterator[tuple[int, str]]:
        place = self._folders.claim / self._folder
        with claim_errors(f"make {self._folder} on the claim"), self._folders.opened_parent(place) as found:
            yield found

    def _refused(self, why: str) -> MoverError:
        return MoverError(
            conditions.TARGET_REFUSED,
            f"the folder {self._folder} on the filestore's claim {why}. Create a new Extract with another"
            " target.claim.path.",
        )


class NewFolder:
    """The folder while it is written. It is ours alone until it is published."""

    def __init__(self, beside: Beside, root: int) -> None:
        self._beside = beside
        self._root = root

    def file(self, entry: Entry, pieces: Iterable[bytes | memoryview]) -> None:
        """Writes a file. Raises Corrupt where the index names it twice, or below a file."""
        with self._parent(entry) as (folder, name):
            fd = os.open(name, CREATE_FILE, 0o600, dir_fd=folder)
        with closing_fd(fd):
            for piece in pieces:
                write_all(fd, piece)
            os.fchmod(fd, entry.mode & _FILE_MODE)
            if entry.mtime_ns:
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def other(self, entry: Entry) -> None:
        """A folder or a symbolic link. After all files: nothing is written through the link."""
        if entry.kind == "folder":
            self._make_folder(entry.name)
            return
        with self._parent(entry) as (folder, name):
            os.symlink(entry.target, name, dir_fd=folder)

    def publish(self, result: Extracted) -> None:
        """Everything is written."""
        self._beside.publish(self._root, result)

    @contextmanager
    def _parent(self, entry: Entry) -> Iterator[tuple[int, str]]:
        folder, _, name = entry.name.rpartition("/")
        self._make_folder(folder)
        try:
            with closing_fd(open_below(self._root, folder)) as fd:
                yield fd, name
        except (FileExistsError, NotADirectoryError) as error:
            raise Corrupt(f"the index places {entry.name!r} twice, or below something that is not a folder") from error

    def _make_folder(self, path: str) -> None:
        try:
            ensure_below(self._root, path)
        except NotADirectoryError as error:
            raise Corrupt(f"the index has {path!r} as a folder and as something else") from error


def _marker(folder: int) -> Marker | None:
    """The marker in an open folder; None where it has none that can be read."""
    try:
        fd = os.open(EXTRACT_MARKER, OPEN_FILE, dir_fd=folder)
    except OSError:
        return None
    try:
        return Marker.model_validate_json(os.read(fd, _MARKER_BYTES))
    except (ValidationError, OSError):
        return None
    finally:
        os.close(fd)
