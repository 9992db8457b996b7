"""The filestore, byte for byte as Odoo's ``ir_attachment`` keeps it.

``<root>/<sha1[:2]>/<sha1>`` is written in place, without a temporary file and without fsync; then an empty file in
``<root>/checklist/<sha1[:2]>/<sha1>`` asks garbage collection to check whether a row names it. Source: the methods
``_file_write``, ``_mark_for_gc`` and ``_gc_file_store`` of ``odoo/addons/base/models/ir_attachment.py``.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

CHECKLIST = "checklist"


class ContentDiffersError(Exception):
    """A file of that name exists with other content: another writer is writing it, or a crash tore it."""


def sha1(data: bytes) -> str:
    """The name of the content."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


class Filestore:
    """One database's folder of attachments."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, fname: str) -> Path:
        """The path of ``xx/sha1``."""
        return self.root / fname

    def write(self, data: bytes) -> str:
        """Writes the content if it does not exist yet; returns ``xx/sha1``.

        Called between the row's INSERT and COMMIT: the row's lock keeps garbage collection out. Raises
        ContentDiffersError where Odoo raises its UserError, and OSError (Odoo logs that and commits a row without a
        file: not copied).
        """
        digest = sha1(data)
        fname = f"{digest[:2]}/{digest}"
        path = self.path(fname)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if path.read_bytes() != data:
                raise ContentDiffersError(f"{path} has other content than its name says; try again")
        except FileNotFoundError:
            with path.open("wb") as file:
                file.write(data)
            self.mark_for_gc(fname)
        return fname

    def mark_for_gc(self, fname: str) -> None:
        """Puts the name on the checklist."""
        path = self.root / CHECKLIST / fname
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()

    def checklist(self) -> dict[str, Path]:
        """``xx/sha1`` → its entry on the checklist."""
        root = self.root / CHECKLIST
        if not root.is_dir():
            return {}
        return {f"{entry.parent.name}/{entry.name}": entry for entry in root.glob("*/*")}

    def unlink(self, fname: str) -> bool:
        """Removes a file; False if it did not exist."""
        try:
            self.path(fname).unlink()
        except FileNotFoundError:
            return False
        return True

    def size(self, fname: str) -> int | None:
        """Size of a file in bytes; None if it does not exist."""
        try:
            return self.path(fname).stat().st_size
        except FileNotFoundError:
            return None

    def names(self) -> Iterator[str]:
        """Every stored ``xx/sha1``, whether a row names it or not."""
        try:
            folders = [e.name for e in os.scandir(self.root) if len(e.name) == 2 and e.is_dir()]
        except FileNotFoundError:
            return
        for folder in folders:
            try:
                yield from (f"{folder}/{e.name}" for e in os.scandir(self.root / folder))
            except FileNotFoundError:
                continue  # removed since it was listed

    def usable(self) -> str | None:
        """None if files can be written; else what is wrong."""
        if not self.root.is_dir():
            return f"{self.root} is not a folder: run `demo_app init`, and mount the claim"
        if not os.access(self.root, os.R_OK | os.W_OK | os.X_OK):
            return f"{self.root} cannot be written by uid {os.getuid()}: set the pod's fsGroup to the folder's group"
        return None
