"""What the frozen views of both layouts have in common: a folder of hard links, which is removed at the end."""

from pathlib import Path
from typing import Self

from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.left_out import Unkept


class FrozenFolder:
    """A context manager: removes the links at its end. On a file system without hard links, `linked` is False and
    `root` is what is live."""

    def __init__(self, folders: ClaimFolders, root: Path, *, linked: bool) -> None:
        self._folders = folders
        self.root = root
        self.linked = linked
        self.unkept = Unkept()

    def remove(self) -> None:
        """Removes the links; the files themselves stay with the application."""
        if self.linked:
            self._folders.remove(self.root)
            self._folders.drop_own_if_empty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
