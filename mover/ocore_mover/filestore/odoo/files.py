"""Files of layout Odoo in an open folder."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ocore_mover.filestore.links import by_folder, ensure_folder, exists, link, names_in, opened

#: A folder of the filestore.
ODOO_FOLDER = re.compile(r"[0-9a-f]{2,3}")


class OdooFiles(NamedTuple):
    """Files of an Odoo filestore in an open folder: the filestore itself, or links of its files.

    Few links are all in that one folder, as ``xx-sha1``. A folder more costs ext4 0.1 ms or more to make, twenty links'
    worth, and a filestore has 256 of them: for 300 new files that took longer than everything else that was done with
    them.
    """

    fd: int
    flat: bool = False

    @contextmanager
    def folder(self, name: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """For the block, what has the files of one of the filestore's folders: a descriptor, and what their names in it
        begin with."""
        if self.flat:
            yield self.fd, f"{name}-"
            return
        if create:
            ensure_folder(name, self.fd)
        with opened(name, dir_fd=self.fd) as fd:
            yield fd, ""

    def absent(self, names: Iterable[str]) -> Iterator[str]:
        """Those of the names (sorted, FILE_NAME) that are not there. Raises OSError."""
        for folder, files in by_folder(names):
            try:
                with self.folder(folder) as (fd, start):
                    # A listing costs less than a stat of each file, but the flat folder has those of all other folders
                    # as well.
                    there = (start + file for file in files if exists(start + file, fd)) if self.flat else names_in(fd)
                    found = set(files).difference(name[len(start) :] for name in there)
            except FileNotFoundError:
                found = set(files)
            if found:
                yield from (f"{folder}/{file}" for file in sorted(found))

    def link_into(self, target: "OdooFiles", names: Iterable[str]) -> Iterator[str]:
        """Links the named files (sorted, FILE_NAME) into `target`. Yields the names that do not exist.

        A name that the target already has is left unchanged. Raises LinksUnsupported or OSError.
        """
        for folder, files in by_folder(names):
            try:
                with self.folder(folder) as (source, begin), target.folder(folder, create=True) as (fd, start):
                    missing = [file for file in files if not _link_once(begin + file, source, fd, start + file)]
            except FileNotFoundError:
                missing = files
            yield from (f"{folder}/{file}" for file in missing)


def _link_once(name: str, source_fd: int, target_fd: int, target: str) -> bool:
    """Returns False if the file does not exist."""
    try:
        link(name, source_fd, target_fd, target)
    except FileNotFoundError:
        return False
    except FileExistsError:
        pass
    return True
