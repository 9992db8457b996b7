"""A frozen view of an Odoo filestore: hard links of the files that a snapshot's database names."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .folders import ClaimFolders


class Frozen:
    """The files of a snapshot, safe from garbage collection where `linked`. A context manager: removes its folder at the end."""

    root: Path  # where xx/sha1 are read
    linked: bool  # False: no hard links here, `root` is the live filestore
    names: tuple[str, ...]  # what is there
    missing: tuple[str, ...]  # what was asked for and is not there

    def remove(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def freeze(folders: ClaimFolders, attempt: str, names: Sequence[str]) -> Frozen:
    """Links the named files (of :func:`~.folders.sort_names`) into ``freeze-<attempt>``. Call while garbage collection is
    held off; takes about 15 µs a file. Raises MoverError FilestoreNotFound, FilestoreNotReadable, NoSpace."""
    raise NotImplementedError


def remove_stale(folders: ClaimFolders, keep_attempt: str | None = None) -> int:
    """Removes ``freeze-*`` folders that earlier attempts left. Returns how many."""
    raise NotImplementedError
