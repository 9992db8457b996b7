"""What a snapshot does not keep: named in its warnings, never lost silently."""

import errno
import os
import threading

#: Names in one warning.
LISTED = 5
_ACL = ("system.posix_acl_access", "system.posix_acl_default")
#: Labels that the system gives to every file.
_LABELS = ("security.selinux",)


class Unkept:
    """Collects names by cause. Thread-safe; memory does not grow with the number of files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._names: dict[str, list[str]] = {}
        self._lost: set[str] = set()

    def note(self, what: str, name: str, *, lost: bool = False) -> None:
        """One more name. `what` is the warning, with {count} for the number of names. `lost`: the snapshot lacks, or
        may lack, what the application needs."""
        with self._lock:
            if lost:
                self._lost.add(what)
            self._counts[what] = self._counts.get(what, 0) + 1
            names = self._names.setdefault(what, [])
            if len(names) < LISTED:
                names.append(name)

    def note_special(self, name: str) -> None:
        """A socket, pipe or device."""
        self.note("{count} sockets, pipes or devices are not in the snapshot", name)

    def note_folder(self, name: str, fd: int) -> None:
        """The attributes of an open folder."""
        self._note_attributes(name, fd)

    def note_file(self, name: str, fd: int, status: os.stat_result, *, links: int | None) -> None:
        """The attributes, hard links and holes of an open file; `links` is the link count of a file with one name, None
        where it does not matter."""
        self._note_attributes(name, fd)
        if links is not None and status.st_nlink > links:
            self.note(
                "{count} names are hard links of a file with other names: each is a file of its own in the snapshot",
                name,
            )
        if status.st_blocks * 512 < status.st_size and _has_hole(fd, status.st_size):
            self.note(
                "{count} sparse files are in the snapshot in full: a restore needs space for their whole size", name
            )

    def _note_attributes(self, name: str, fd: int) -> None:
        found = [attribute for attribute in _attributes(fd) if attribute not in _LABELS]
        if any(attribute in _ACL for attribute in found):
            self.note("{count} files or folders have access control lists, which are not in the snapshot", name)
        if any(attribute not in _ACL for attribute in found):
            self.note("{count} files or folders have extended attributes, which are not in the snapshot", name)

    @property
    def warnings(self) -> list[str]:
        """One sentence for each cause, with some of the names."""
        with self._lock:
            return [self._sentence(what) for what in self._counts]

    @property
    def lost(self) -> list[str]:
        """Those of the warnings for which the snapshot is no clean success."""
        with self._lock:
            return [self._sentence(what) for what in self._counts if what in self._lost]

    def _sentence(self, what: str) -> str:
        return f"{what.format(count=self._counts[what])}, for example {', '.join(self._names[what])}"


def _attributes(fd: int) -> list[str]:
    try:
        return os.listxattr(fd)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM):
            return []
        raise


def _has_hole(fd: int, size: int) -> bool:
    """Some file systems use fewer blocks without a hole: they compress."""
    try:
        return os.lseek(fd, 0, os.SEEK_HOLE) < size
    except OSError:
        return False
