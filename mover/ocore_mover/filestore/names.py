"""The attachment names of a database: sorted, in a temporary file. Memory does not grow with their number.

PostgreSQL sorts them (:func:`ocore_mover.database.dump.export.read_names`), and folders are listed one at a time. So
names and files are compared folder by folder.
"""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, filterfalse, groupby, islice
from operator import ge, itemgetter
from pathlib import Path
from typing import Protocol, Self

from ocore_crds import conditions
from ocore_mover.disk import write_all
from ocore_mover.errors import MoverError

#: ``xx/sha1``; Odoo up to 15 keeps using ``xxx/sha1`` where it finds such a file (retro compatibility in _get_path).
FILE_NAME = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{38}|([0-9a-f]{3})/\2[0-9a-f]{37}")
#: Bytes of a name in the file: the length of its folder's name, and the SHA-1.
RECORD_BYTES = 21
#: Of a record: the first byte of the SHA-1, which is the folder's name.
first_byte = itemgetter(1)
#: Names that are written or read at a time.
_BATCH = 8192
#: Invalid names that a message can show.
SHOWN = 3
#: Names of lost files that a snapshot can list. A manifest with more could not be read back (ocore_mover.manifests).
MAX_MISSING = 800_000
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class SortedNames(Protocol):
    """Names of files, ascending and without duplicates, which can be iterated several times."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


class NameFile:
    """Sorted names in a file without a name, which vanishes with the process. A context manager: closes the file.

    Several threads may iterate at a time.
    """

    def __init__(self, folder: int) -> None:
        name = f".names-{secrets.token_hex(8)}"
        self._fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        os.unlink(name, dir_fd=folder)
        self._count = 0

    def write(self, names: Iterable[str]) -> None:
        """Appends valid names (FILE_NAME). Raises OSError, and MoverError InternalError unless they ascend."""
        left, last = iter(names), ""
        while some := list(islice(left, _BATCH)):
            if any(map(ge, (last, *some), some)):
                wrong = next(pair for pair in zip((last, *some), some, strict=False) if pair[0] >= pair[1])
                text = f"attachment names are not sorted: {wrong[1]} after {wrong[0]}"
                raise MoverError(conditions.INTERNAL_ERROR, text)
            last = some[-1]
            # The length of the folder's name, then the SHA-1: as one text for all, which takes half of the time.
            write_all(self._fd, bytes.fromhex("".join(["02" + n[3:] if n[2] == "/" else "03" + n[4:] for n in some])))
            self._count += len(some)

    def write_records(self, records: list[bytes]) -> None:
        """Appends records that come after all others. Raises OSError."""
        write_all(self._fd, b"".join(records))
        self._count += len(records)

    def records(self) -> Iterator[tuple[int, list[bytes]]]:
        """The records, in groups by the first byte of the SHA-1: (byte, records). A group is never split."""
        position, last, group = 0, -1, list[bytes]()
        while batch := os.pread(self._fd, _BATCH * RECORD_BYTES, position):
            position += len(batch)
            found = [batch[start : start + RECORD_BYTES] for start in range(0, len(batch), RECORD_BYTES)]
            for byte, some in groupby(found, first_byte):
                if byte != last and group:
                    yield last, group
                    group = []
                last = byte
                group.extend(some)
        if group:
            yield last, group

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        position = 0
        while batch := os.pread(self._fd, _BATCH * RECORD_BYTES, position):
            position += len(batch)
            for start in range(0, len(batch), RECORD_BYTES):
                digest = batch[start + 1 : start + RECORD_BYTES].hex()
                yield f"{digest[: batch[start]]}/{digest}"

    def close(self) -> None:
        """Closes the file, which frees its space."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Names:
    """The names in a database's attachment column, by kind."""

    files: NameFile
    invalid: int = 0  # cannot be files of a filestore
    invalid_shown: tuple[str, ...] = ()


@contextmanager
def name_files(scratch: Path, count: int) -> Iterator[tuple[NameFile, ...]]:
    """So many empty lists in scratch, for the block. Raises MoverError ScratchFull, InternalError."""
    with contextlib.ExitStack() as stack:
        with scratch_errors(scratch):
            fd = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            files = tuple(stack.enter_context(NameFile(fd)) for _ in range(count))
        yield files


@contextmanager
def spooled(store_fnames: Iterable[str], scratch: Path) -> Iterator[Names]:
    """Sorts ``ir_attachment.store_fname`` by kind, into a file in scratch that exists for the block.

    Names are untrusted: only ``xx/sha1`` and ``xxx/sha1`` are files. They come sorted. Raises MoverError ScratchFull.
    """
    with name_files(scratch, 1) as (files,):
        names = Names(files)
        with scratch_errors(scratch):
            files.write(_valid(store_fnames, names))
        yield names


def valid(store_fnames: Iterable[str]) -> Iterator[str]:
    """The names that are files, without duplicates that follow each other."""
    return _without_duplicates(filter(FILE_NAME.fullmatch, store_fnames))


def _without_duplicates(names: Iterable[str]) -> Iterator[str]:
    return map(itemgetter(0), groupby(names))


def _valid(store_fnames: Iterable[str], names: Names) -> Iterator[str]:
    """As :func:`valid`; counts the others in `names`."""

    def files() -> Iterator[list[str]]:
        left = iter(store_fnames)
        while some := list(islice(left, _BATCH)):
            found = list(filter(FILE_NAME.fullmatch, some))
            if len(found) != len(some):
                _count_others(some, names)
            yield found

    return _without_duplicates(chain.from_iterable(files()))


def _count_others(store_fnames: Iterable[str], names: Names) -> None:
    for name in filterfalse(FILE_NAME.fullmatch, store_fnames):
        if _URI.match(name):  # the application keeps it in another place (database.odoo_rows counts)
            continue
        names.invalid += 1
        if len(names.invalid_shown) < SHOWN:
            names.invalid_shown += (name,)


@contextmanager
def scratch_errors(scratch: Path) -> Iterator[None]:
    """Around writes to scratch. Raises MoverError ScratchFull, InternalError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MoverError(
                conditions.SCRATCH_FULL,
                f"the scratch volume at {scratch} is full: the lists of the filestore's names need {RECORD_BYTES} bytes"
                " or more for each. Increase spec.scratch.size of the Environment.",
            ) from error
        raise MoverError(
            conditions.INTERNAL_ERROR,
            f"cannot write the list of the filestore's names to {scratch}: {error.strerror or error}. Check the scratch"
            " volume.",
            retryable=True,
        ) from error


class Missing:
    """Names of files that do not exist. Counts all of them, and keeps MAX_MISSING."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []

    def add(self, names: Iterable[str]) -> None:
        """More names, ascending."""
        for name in names:
            self.count += 1
            if len(self.names) < MAX_MISSING:
                self.names.append(name)


class Without:
    """Sorted names without some of them, which are sorted too."""

    def __init__(self, names: SortedNames, left_out: tuple[str, ...]) -> None:
        self._names = names
        self._left_out = left_out

    def __len__(self) -> int:
        return len(self._names) - len(self._left_out)

    def __iter__(self) -> Iterator[str]:
        left_out = iter(self._left_out)
        following = next(left_out, None)
        for name in self._names:
            if name == following:
                following = next(left_out, None)
            else:
                yield name
