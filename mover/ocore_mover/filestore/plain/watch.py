"""Which names the application creates and removes while the database is exported.

A file that is created after its folder was listed and is removed before it is listed again is in no listing. The
kernel's events name it.
"""

from pathlib import Path
from typing import NamedTuple

from ocore_mover import inotify

#: Folders that are watched at most. The kernel limits watches for each user, some systems to 8,192.
MOST = 20_000
_EVENTS = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO


class Changes(NamedTuple):
    """What happened to names since the last call. Paths are below the filestore."""

    born: tuple[str, ...]  # came, and still there
    folders: tuple[str, ...]  # the same, of folders
    gone: tuple[str, ...]  # came and went


class FolderWatch:
    """Watches the folders of a filestore. `lost`: not every change is seen, for example on a network file system."""

    def __init__(self, root: int) -> None:
        self._paths: dict[int, str] = {}  # with a slash at the end; empty for the root
        self._inotify: inotify.Inotify | None = None
        if inotify.sees_all(root):
            try:
                self._inotify = inotify.Inotify()
            except inotify.Unavailable:
                return

    @property
    def lost(self) -> bool:
        """Whether changes may be unseen. It stays so."""
        return self._inotify is None

    def add(self, folder: int, path: str) -> None:
        """Watches an open folder from now on. List it afterwards."""
        if self._inotify is None:
            return
        try:
            # The folder that is open, whatever has its name now.
            watch = self._inotify.add(Path(f"/proc/self/fd/{folder}"), _EVENTS)
        except inotify.Unavailable:
            self.close()
            return
        if self._paths.setdefault(watch, path) != path or len(self._paths) > MOST:
            self.close()  # moved since it was added

    def changes(self) -> Changes | None:
        """Since the last call. None where changes may be unseen."""
        if self._inotify is None:
            return None
        try:
            events = self._inotify.read()
        except inotify.Overflow:
            self.close()
            return None
        born: dict[str, bool] = {}  # path → whether it is a folder
        gone: list[str] = []
        moving: dict[int, str] = {}
        for event in events:
            path = self._paths[event.watch] + event.name
            folder = bool(event.mask & inotify.IS_FOLDER)
            if event.mask & (inotify.CREATE | inotify.MOVED_TO):
                born[path] = folder
                moving.pop(event.cookie, None)  # it has another name now
                continue
            if folder and event.mask & inotify.MOVED_FROM:
                self.close()  # the paths of the folders below are others now
                return None
            if born.pop(path, None) is None:
                continue  # its folder was listed while it was there
            if event.mask & inotify.MOVED_FROM:
                moving[event.cookie] = path
            else:
                gone.append(path)
        files = tuple(path for path, folder in born.items() if not folder)
        folders = tuple(path for path, folder in born.items() if folder)
        return Changes(files, folders, (*gone, *moving.values()))

    def close(self) -> None:
        """Ends the watches."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
            self._paths.clear()
