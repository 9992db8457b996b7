"""Which names the application creates and removes while a filestore is frozen.

A file that is created after its folder was listed and is removed before it is listed again is in no listing. The
kernel's events name it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ocore_mover import inotify

#: Folders that are watched at most. The kernel limits watches for each user, some systems to 8,192.
MOST = 20_000
#: Names that are kept at most until they are taken. Beyond them it is cheaper to list all folders again.
MOST_NAMES = 200_000
_EVENTS = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO


@dataclass
class Changes:
    """What happened to names in a window of time. Paths are below the filestore.

    A file that got a name and was moved away from it within the window counts under its last name only.
    """

    arrived: dict[str, None] = field(default_factory=dict)  # names that files and symbolic links got
    here: dict[str, None] = field(default_factory=dict)  # those of them that are still there
    folders: dict[str, None] = field(default_factory=dict)  # names that folders got
    replaced: list[str] = field(default_factory=list)  # got by one file, then by another one
    gone: list[str] = field(default_factory=list)  # got by a file that has no name now
    overflowed: bool = False  # the kernel dropped events: anything may have happened
    _moving: dict[int, str] = field(default_factory=dict)  # cookie of a move → the name that a file had

    def __bool__(self) -> bool:
        return self.overflowed or bool(self.arrived or self.folders)

    @property
    def names(self) -> int:
        """How many are kept. One file that comes and goes again and again has one each time."""
        return len(self.arrived) + len(self.folders) + len(self.replaced) + len(self.gone) + len(self._moving)

    @property
    def lost(self) -> list[str]:
        """Names of files that came and went: removed, or moved to where nothing is watched."""
        return [*self.gone, *self._moving.values()]

    def arrive(self, path: str, cookie: int) -> None:
        """A file or symbolic link got a name."""
        self._moving.pop(cookie, None)
        if path in self.here:
            self.replaced.append(path)
        self.arrived[path] = self.here[path] = None

    def leave(self, path: str, cookie: int) -> None:
        """A file or symbolic link lost a name. `cookie`: of a move; 0: it was removed."""
        if path not in self.here:
            return  # it had the name before the window
        del self.here[path]
        if cookie:
            self._moving[cookie] = path
        else:
            self.gone.append(path)


class Events(Protocol):
    """What is used of :class:`.inotify.Inotify`; a test puts a model in its place."""

    def add(self, folder: Path, mask: int) -> int:
        """Watches a folder."""

    def read(self) -> list[inotify.Event]:
        """The events since the last call."""

    def close(self) -> None:
        """Ends the watches."""


class FolderWatch:
    """Watches the folders of a filestore. `blind`: changes are not seen, for example on a network file system."""

    def __init__(self, events: Events | None) -> None:
        self._events = events
        self._paths: dict[int, str] = {}  # with a slash at the end; empty for the root
        self._changes = Changes()

    @property
    def blind(self) -> bool:
        """Whether changes are not seen. It stays so."""
        return self._events is None

    def add(self, folder: int, path: str) -> None:
        """Watches an open folder from now on. List it afterwards."""
        if self._events is None:
            return
        try:
            # The folder that is open, whatever has its name now.
            watch = self._events.add(Path(f"/proc/self/fd/{folder}"), _EVENTS)
        except inotify.Unavailable:
            self.close()
            return
        self._paths[watch] = path  # of a folder that was moved: the same watch, and its new name
        if len(self._paths) > MOST:
            self.close()

    def take(self) -> Changes:
        """What happened since the last call, and forgets it."""
        self.collect()
        found, self._changes = self._changes, Changes()
        if found.overflowed:
            self._paths.clear()  # all folders are listed and watched again
        return found

    def collect(self) -> None:
        """Reads what has happened, so that the kernel's queue does not fill up."""
        if self._events is None:
            return
        try:
            events = self._events.read()
        except inotify.Overflow:
            self._overflow()
            return
        for event in events:
            self._note(event)
        if self._changes.names > MOST_NAMES:
            self._overflow()

    def _overflow(self) -> None:
        self._changes = Changes(overflowed=True)

    def _note(self, event: inotify.Event) -> None:
        if event.mask & inotify.IGNORED:  # the folder was removed
            self._paths.pop(event.watch, None)
            return
        folder = self._paths.get(event.watch)
        if folder is None:  # events were dropped, and it has not been listed again yet
            return
        path = folder + event.name
        arrives = bool(event.mask & (inotify.CREATE | inotify.MOVED_TO))
        if event.mask & inotify.IS_FOLDER:
            if arrives:  # it is listed and watched again where it is now
                self._changes.folders[path] = None
        elif arrives:
            self._changes.arrive(path, event.cookie)
        else:
            self._changes.leave(path, event.cookie)

    def close(self) -> None:
        """Ends the watches."""
        if self._events is not None:
            self._events.close()
            self._events = None
            self._paths.clear()


def of(root: int) -> FolderWatch:
    """For a filestore, by its open folder. Blind where the kernel reports no events, or not all."""
    try:
        return FolderWatch(inotify.Inotify() if inotify.sees_all(root) else None)
    except inotify.Unavailable:
        return FolderWatch(None)
