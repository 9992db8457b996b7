"""A frozen view of an Odoo filestore: hard links of the files that a snapshot's database names.

Odoo's garbage collection unlinks files that no row names. Our link keeps the content until the snapshot's Job has read it.
So garbage collection is blocked only while the links are made.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from ocore_crds.naming import short_id
from ocore_mover.filestore.folders import ClaimFolders, FolderNotWritable, filesystem_error, remove_tree
from ocore_mover.filestore.links import LinksUnsupported, by_folder, link_names, names_in, opened

log = structlog.get_logger()

_FREEZE = "freeze-"


class Frozen:
    """The files of a snapshot. A context manager: removes its folder at the end.

    On a file system without hard links, `linked` is False and `root` is the live filestore. If a file vanishes before it is
    read, the copy fails with FilestoreChanging, and the snapshot starts again with a new database snapshot.
    """

    def __init__(
        self, folders: ClaimFolders, root: Path, names: tuple[str, ...], missing: tuple[str, ...], *, linked: bool
    ) -> None:
        self._folders = folders
        self.root = root
        self.names = names
        self.missing = missing
        self.linked = linked

    def remove(self) -> None:
        """Removes the links; the files themselves stay with the application."""
        if self.linked:
            remove_tree(self.root)
            self._folders.drop_own_if_empty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def freeze(folders: ClaimFolders, attempt: str, names: Sequence[str]) -> Frozen:
    """Links the named files (`files` of :func:`~.folders.sort_names`: checked and sorted) into ``freeze-<attempt>``.

    Call while garbage collection is blocked; takes about 10 µs for each file. Removes leftovers of the same attempt first.
    Raises MoverError FilestoreNotFound, FilestoreNotReadable, NoSpace.
    """
    folders.require_filestore()
    target = folders.freeze(attempt)
    try:
        remove_tree(target)
        folders.make_own(target)
        missing = link_names(folders.filestore, target, names)
    except (LinksUnsupported, FolderNotWritable) as error:
        log.warning("cannot make hard links on the filestore's claim: reading the live files", error=str(error))
        remove_tree(target)
        folders.drop_own_if_empty()
        return _unfrozen(folders, names)
    except OSError as error:
        remove_tree(target)
        raise filesystem_error(error, "link the filestore's files") from error
    return Frozen(folders, target, _without(names, missing), tuple(missing), linked=True)


def _unfrozen(folders: ClaimFolders, names: Sequence[str]) -> Frozen:
    missing: list[str] = []
    with opened(folders.filestore) as root:
        for folder, files in by_folder(names):
            try:
                with opened(folder, dir_fd=root) as fd:
                    present = set(names_in(fd))
            except FileNotFoundError:
                present = set()
            missing.extend(f"{folder}/{file}" for file in files if file not in present)
    return Frozen(folders, folders.filestore, _without(names, missing), tuple(missing), linked=False)


def _without(names: Sequence[str], missing: list[str]) -> tuple[str, ...]:
    gone = set(missing)
    return tuple(name for name in names if name not in gone) if gone else tuple(names)


def remove_stale(folders: ClaimFolders, keep_attempt: str | None = None, *, of_snapshot: str = "") -> int:
    """Removes ``freeze-*`` folders of earlier attempts; returns their number.

    `of_snapshot` limits this to one snapshot: its attempts' ids start with its short id.
    """
    kept = folders.freeze(keep_attempt).name if keep_attempt is not None else None
    start = _FREEZE + (f"{short_id(of_snapshot)}-" if of_snapshot else "")
    try:
        found = [path for path in folders.own.iterdir() if path.name.startswith(start) and path.name != kept]
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise filesystem_error(error, "list this software's folder on the claim") from error
    for path in found:
        remove_tree(path)
    folders.drop_own_if_empty()
    return len(found)
