"""A tar of extracted files in the store."""

import os
from collections.abc import Iterable

from ocore_mover.filestore import tar
from ocore_mover.filestore.index import Entry
from ocore_mover.report import Counter
from ocore_mover.store.interface import Writer

_TAR_KINDS = {"folder": tar.FOLDER, "symlink": tar.SYMLINK}


class Archive:
    """A tar, streamed into the store. It becomes visible once every file was compared with its digest."""

    def __init__(self, writer: Writer, counter: Counter) -> None:
        self._writer = writer
        self._counter = counter
        self._offset = 0

    def file(self, entry: Entry, pieces: Iterable[bytes | memoryview]) -> None:
        """A file with its content."""
        self._write(tar.header(os.fsencode(entry.name), size=entry.size, mode=entry.mode & 0o777, mtime=_mtime(entry)))
        for piece in pieces:
            self._write(piece)
        self._write(bytes(tar.padding(entry.size)))
        self._counter.add(bytes_=entry.size, files=1)

    def other(self, entry: Entry) -> None:
        """A folder or a symbolic link."""
        name, link = os.fsencode(entry.name), os.fsencode(entry.target)
        mode = 0o755 if entry.kind == "folder" else 0o777
        kind = _TAR_KINDS[entry.kind]
        self._write(tar.header(name, size=0, mode=mode, mtime=_mtime(entry), kind=kind, link=link))

    def end(self) -> None:
        """Its last bytes."""
        self._write(tar.trailer(self._offset))

    def _write(self, data: bytes | memoryview) -> None:
        self._offset += len(data)
        self._writer.write(data)


def _mtime(entry: Entry) -> int:
    return entry.mtime_ns // 1_000_000_000
