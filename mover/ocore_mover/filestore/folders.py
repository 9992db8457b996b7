"""Folders on the filestore's claim (docs/architecture.md)."""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ocore_crds import conditions
from ocore_crds.naming import CLAIM_FOLDER, short_id
from ocore_mover.disk import closing_fd
from ocore_mover.errors import MoverError
from ocore_mover.filestore.links import ensure_folder, names_in, open_below, open_folder, opened_below, remove

_ATTEMPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
#: Folders deeper than this are refused: each level keeps a descriptor open while a tree is walked.
MAX_DEPTH = 200
_FREEZE = "freeze-"


class FolderNotWritable(MoverError):
    """Our folder on the claim cannot be created: the mount is read-only or the user has no permission."""


@contextmanager
def _making(what: str) -> Iterator[None]:
    """Around the creation of folders on the claim. Raises FolderNotWritable, MoverError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise FolderNotWritable(
                conditions.FILESTORE_NOT_READABLE,
                f"uid {os.getuid()} cannot write to the filestore's claim ({error.strerror}). Mount it writable and run"
                " the Jobs as the application's user (spec.jobs.runAsUser, runAsGroup).",
            ) from error
        raise filesystem_error(error, what) from error


@dataclass(frozen=True)
class ClaimFolders:
    """The folders of one environment on its claim. `path` is relative to the claim's root.

    The properties are paths for messages. Code opens them only by :meth:`opened` and :meth:`opened_parent`, which
    follow no symbolic link below the claim.
    """

    claim: Path
    path: str
    environment_id: str

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path).parts
        if self.path.startswith("/") or ".." in parts:
            raise ValueError(f"the filestore's path {self.path!r} must be relative to the claim and stay in it")
        if parts and parts[0] == CLAIM_FOLDER:
            raise ValueError(f"the filestore cannot be in {CLAIM_FOLDER}: that folder belongs to ocore-snapshots")

    @property
    def filestore(self) -> Path:
        """The application's filestore."""
        return self.claim / self.path

    @property
    def own(self) -> Path:
        """``.ocore/<environment id>``."""
        return self.claim / CLAIM_FOLDER / self.environment_id

    def freeze(self, attempt: str) -> Path:
        """The frozen links of one attempt of a snapshot."""
        if not _ATTEMPT.fullmatch(attempt):
            raise ValueError(f"{attempt!r} is not a valid attempt id")
        return self.own / f"{_FREEZE}{attempt}"

    def hold(self, rollback_id: str) -> Path:
        """The hold set of a rollback."""
        return self.own / f"hold-{short_id(rollback_id)}"

    def stage(self, rollback_id: str) -> Path:
        """Layout Plain: the restored folder before the switch."""
        return self.own / f"stage-{short_id(rollback_id)}"

    def previous(self, rollback_id: str) -> Path:
        """Layout Plain: the previous folder after the switch."""
        return self.own / f"prev-{short_id(rollback_id)}"

    def swap(self, rollback_id: str) -> Path:
        """Layout Plain: the journal of an exchange of the live folder."""
        return self.own / f"swap-{short_id(rollback_id)}"

    def aside(self, rollback_id: str, number: int) -> Path:
        """Layout Plain: what had taken the filestore's name during the switch."""
        return self.own / f"aside-{short_id(rollback_id)}-{number}"

    @property
    def incoming(self) -> Path:
        """Files of a running restore before all of them are verified."""
        return self.own / "incoming"

    @contextmanager
    def opened(self, folder: Path) -> Iterator[int]:
        """The descriptor of a folder on the claim, for the block. Raises OSError."""
        with self._opened_claim() as claim, opened_below(claim, folder.relative_to(self.claim).as_posix()) as fd:
            yield fd

    @contextmanager
    def opened_parent(self, folder: Path) -> Iterator[tuple[int, str]]:
        """The descriptor of a folder's parent on the claim, and its name in it. Raises OSError."""
        with self.opened(folder.parent) as fd:
            yield fd, folder.name

    @contextmanager
    def _opened_claim(self) -> Iterator[int]:
        """The mount itself is the administrator's: its path may have symbolic links."""
        with closing_fd(os.open(self.claim, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
            yield fd

    def is_folder(self, folder: Path) -> bool:
        """Whether a folder exists on the claim. A symbolic link does not count. Raises OSError."""
        try:
            with self.opened_parent(folder) as (parent, name):
                return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def filestore_is_absent(self) -> bool:
        """Whether the filestore does not exist yet, as of an application that has written no file. Raises OSError."""
        try:
            with self.opened(self.filestore):
                return False
        except FileNotFoundError:
            return self.claim.is_dir()
        except NotADirectoryError:
            return False

    def require_filestore(self) -> None:
        """Raises MoverError FilestoreNotFound or FilestoreNotReadable."""
        try:
            with self.opened(self.filestore) as fd, os.scandir(fd) as entries:
                next(entries, None)
        except NotADirectoryError as error:
            raise MoverError(
                conditions.FILESTORE_NOT_FOUND,
                f"{error.filename} in the path {self.path} on the filestore's claim is not a folder, or it is a"
                " symbolic link, which is not followed. Set spec.filestore.path to the folder itself.",
            ) from error
        except FileNotFoundError as error:
            raise MoverError(
                conditions.FILESTORE_NOT_FOUND,
                f"the filestore's claim has no folder {self.path or '(the claim itself)'}. Correct"
                " spec.filestore.path.",
            ) from error
        except PermissionError as error:
            raise MoverError(
                conditions.FILESTORE_NOT_READABLE,
                f"uid {os.getuid()} cannot read {self.path or 'the claim'}. Run the Jobs as the application's user"
                " (spec.jobs.runAsUser, runAsGroup).",
            ) from error

    def make_filestore(self) -> None:
        """Creates the filestore's folder, and the folders above it on the claim, with mode and owner of the folder that
        each is in.

        Raises FolderNotWritable, and MoverError for a symbolic link in the path.
        """
        with _making(f"make the filestore's folder {self.path}"), self._opened_claim() as claim:
            parent = os.dup(claim)
            for part in PurePosixPath(self.path).parts:
                with closing_fd(parent):
                    parent = _made_like_parent(part, parent)
            os.close(parent)

    def missing_below(self) -> str | None:
        """The nearest folder on the claim (empty: its root) where a part of the filestore's path does not exist; None
        where nothing is missing.

        Raises OSError.
        """
        parts = PurePosixPath(self.path).parts
        for count, part in enumerate(parts):
            above = "/".join(parts[:count])
            with self._opened_claim() as claim, opened_below(claim, above) as fd:
                try:
                    os.stat(part, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    return above
        return None

    def may_be_created(self) -> bool:
        """Whether an application may be about to create the filestore's folder: only the last folder of its path is
        missing, or the claim is empty.

        Raises OSError.
        """
        above = self.missing_below()
        if above is None:
            return False
        if above == "/".join(PurePosixPath(self.path).parts[:-1]):
            return True
        with self._opened_claim() as claim, os.scandir(claim) as entries:
            return all(entry.name in (CLAIM_FOLDER, "lost+found") for entry in entries)

    def require_switchable(self) -> None:
        """Layout Plain switches by renaming its folder; the root of a claim cannot be renamed.

        Raises MoverError FilestoreLayoutUnsupported.
        """
        if not self.path:
            raise MoverError(
                conditions.FILESTORE_LAYOUT_UNSUPPORTED,
                "a filestore of layout Plain at the root of its claim cannot be switched by renaming. Move it into a"
                " folder and set spec.filestore.path.",
            )

    def make_own(self, folder: Path) -> None:
        """Creates a folder of ours, closed to others because it holds the application's files.

        Raises FolderNotWritable if the claim is not writable, and MoverError for a symbolic link in the path.
        """
        with _making(f"make {folder.name} on the filestore's claim"), self._opened_claim() as claim:
            path = ""
            for part in folder.relative_to(self.claim).parts:
                with opened_below(claim, path) as parent:
                    ensure_folder(part, parent)
                path += f"/{part}"
            os.close(open_below(claim, path))

    def drop_own_if_empty(self) -> None:
        """Removes ``.ocore/<environment id>`` and ``.ocore`` if they are empty."""
        with contextlib.suppress(OSError):
            for folder in (self.own, self.own.parent):
                with self.opened_parent(folder) as (parent, name):
                    os.rmdir(name, dir_fd=parent)

    def remove(self, folder: Path) -> bool:
        """Removes a folder of ours and its contents, read-only folders included. Returns False if it does not exist.

        Raises MoverError.
        """
        try:
            with self.opened_parent(folder) as (parent, name):
                return remove(name, parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise filesystem_error(error, f"remove {folder.name}") from error

    def remove_frozen(self, *, of_snapshot: str = "") -> int:
        """Removes ``freeze-*`` folders of earlier attempts; returns their number.

        `of_snapshot` limits this to one snapshot: its attempts' ids start with its short id. Raises MoverError.
        """
        start = _FREEZE + (f"{short_id(of_snapshot)}-" if of_snapshot else "")
        try:
            with self.opened(self.own) as fd:
                found = [name for name in names_in(fd) if name.startswith(start)]
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise filesystem_error(error, "list the folder .ocore on the claim") from error
        for name in found:
            self.remove(self.own / name)
        self.drop_own_if_empty()
        return len(found)


def _made_like_parent(name: str, parent: int) -> int:
    """The descriptor of a folder in another one; where it is new, it has the parent's mode and owner. Raises
    OSError."""
    try:
        return open_folder(name, parent)
    except FileNotFoundError:
        pass
    like = os.fstat(parent)
    ensure_folder(name, parent)
    fd = open_folder(name, parent)
    try:
        os.fchmod(fd, stat.S_IMODE(like.st_mode))
        if os.geteuid() == 0:
            os.fchown(fd, like.st_uid, like.st_gid)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def claim_errors(what: str) -> Iterator[None]:
    """Around work on the claim: raises its errors as :func:`filesystem_error`."""
    try:
        yield
    except OSError as error:
        raise filesystem_error(error, what) from error


def filesystem_error(error: OSError, what: str) -> MoverError:
    """Converts an error of the filestore's claim; `what` failed, for example "read FILE"."""
    detail = f"cannot {what}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MoverError(
            conditions.NO_SPACE,
            f"{detail}. Enlarge the filestore's volume or free space on it. If it has space and inodes, one folder has"
            " too many names for the file system.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return MoverError(
            conditions.FILESTORE_NOT_READABLE,
            f"{detail}. Uid {os.getuid()} needs to read and write the claim: see runAsUser and fsGroup.",
        )
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return MoverError(
            conditions.FILESTORE_NOT_FOUND,
            f"cannot {what}: {error.filename or 'a part of the path'} is not what it was, or it is a symbolic link,"
            " which is not followed. Check what the application does with its folders.",
            retryable=True,
        )
    if error.errno == errno.EMFILE:
        return MoverError(conditions.INTERNAL_ERROR, f"{detail}. Raise the limit of open files.", retryable=True)
    return MoverError(conditions.FILESTORE_NOT_READABLE, f"{detail}. Check the volume and its node.", retryable=True)
