"""The dump's table of contents: ``toc.dat`` of PostgreSQL's directory format, read entry by entry.

The file holds every field separately, so that a name or an owner with blanks, quotes or line breaks is exact; the text
that ``pg_restore --list`` prints is ambiguous. Source: ``pg_backup_archiver.c`` (``ReadHead``, ``ReadToc``), formats
1.14 (PostgreSQL 13) to 1.16 (PostgreSQL 17 and 18). Entries are read on demand: a dump of a million large objects has
two million of them.
"""

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ocore_crds import conditions
from ocore_mover import settings
from ocore_mover.database.programs import Program
from ocore_mover.errors import Corrupt, MoverError

FILE_NAME = "toc.dat"
_VERSIONS = range(14, 17)  # the second number of 1.14 to 1.16
_WITH_COMPRESSION_ALGORITHM = 15
_WITH_RELKIND = 16
#: The directory format writes the number of the tar format.
_DIRECTORY_FORMAT = 3
#: No string of a dump is longer: a length above it is damage, and must not be allocated.
_MAX_STRING = 1 << 30
_BUFFER = 1 << 20
#: Every encoding of a PostgreSQL server → Python's name. The bytes of one that Python does not know stay as they are,
#: as surrogates.
_CODECS = {
    **dict.fromkeys(("UTF8", "SQL_ASCII", "EUC_TW", "MULE_INTERNAL"), "utf-8"),
    **{name: name for name in ("EUC_JP", "EUC_CN", "EUC_KR", "EUC_JIS_2004")},
    **{f"LATIN{number}": f"latin{number}" for number in range(1, 11)},
    **{f"WIN{number}": f"cp{number}" for number in (866, 874, *range(1250, 1259))},
    **{f"ISO_8859_{number}": f"iso8859-{number}" for number in range(5, 9)},
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
}


@dataclass(frozen=True)
class Entry:
    """One entry. Text is decoded from the dump's encoding; bytes that do not fit are surrogates."""

    dump_id: int
    description: str  # TABLE, TABLE DATA, ACL
    schema: str  # empty where it has none
    tag: str  # the name; of a function with its arguments
    owner: str
    definition: bytes  # SQL, in the dump's encoding
    tablespace: str = ""  # empty for that of the database
    copy_statement: bytes = b""  # of a table's rows, in the dump's encoding
    dependencies: tuple[int, ...] = ()  # dump ids of what it needs

    @property
    def name(self) -> str:
        """What it is, for messages."""
        return f"{self.description} {self.schema + '.' if self.schema else ''}{self.tag}"

    @property
    def has_data_file(self) -> bool:
        """Whether it is a table whose rows are in the file ``<dump id>.dat``."""
        return self.description == "TABLE DATA"

    @property
    def is_extension(self) -> bool:
        """Whether it is an extension, or the comment of one: created before everything else."""
        return self.description == "EXTENSION" or (self.description == "COMMENT" and self.tag.startswith("EXTENSION "))

    @property
    def is_acl(self) -> bool:
        """Whether it is a grant: applied after the load."""
        return self.description in ("ACL", "DEFAULT ACL")

    @property
    def is_lenient(self) -> bool:
        """Whether it is a comment that the application's role may not set on every server: applied after the load."""
        return self.description == "COMMENT" and (self.tag.startswith("EXTENSION ") or self.tag == "SCHEMA public")


@dataclass(frozen=True)
class TableOfContents:
    """A dump's table of contents in a folder."""

    folder: Path

    def __iter__(self) -> Iterator[Entry]:
        """Reads the entries in the order of the dump. Raises Corrupt where the file is damaged."""
        with (self.folder / FILE_NAME).open("rb", buffering=_BUFFER) as file:
            reader = _Reader(file)
            yield from reader.entries()

    @property
    def owner(self) -> str:
        """Owner of the database that was dumped; empty where the dump does not say."""
        return next((entry.owner for entry in self if entry.description == "DATABASE"), "")

    @property
    def encoding(self) -> str:
        """PostgreSQL's name of the encoding that definitions are in."""
        with (self.folder / FILE_NAME).open("rb") as file:
            return _Reader(file).encoding()


@dataclass(frozen=True)
class Chosen(TableOfContents):
    """A part of a dump's table of contents. The role that loads it owns it, not the owner in the dump."""

    dump_ids: frozenset[int]

    def __iter__(self) -> Iterator[Entry]:
        """As for the whole."""
        return (replace(entry, owner="") for entry in super().__iter__() if entry.dump_id in self.dump_ids)

    def has_rows(self, name: str) -> bool:
        """Whether the dump's file of that name (``123.dat``, ``123.dat.zst``) has rows of a table in this part."""
        number, _, rest = name.partition(".")
        return number.isdecimal() and rest.startswith("dat") and int(number) in self.dump_ids


class _Reader:
    """Reads the file from its start."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._codec = "utf-8"
        self._version = 0
        self._integer = 4
        self._count = 0
        self._read_head()

    def encoding(self) -> str:
        for _ in range(self._count):
            description, definition = self._entry_fields()[3:5]
            if description == b"ENCODING":
                return _encoding(definition)
        return "UTF8"

    def entries(self) -> Iterator[Entry]:
        for _ in range(self._count):
            dump_id, needs, tag, description, definition, schema, owner, tablespace, copy = self._entry_fields()
            if description == b"ENCODING":
                self._codec = codec(_encoding(definition))
            yield Entry(
                dump_id,
                self._text(description),
                self._text(schema),
                self._text(tag),
                self._text(owner),
                definition,
                self._text(tablespace),
                copy,
                needs,
            )

    def _read_head(self) -> None:
        if self._bytes(5) != b"PGDMP":
            raise Corrupt(f"{FILE_NAME} is not a table of contents of a PostgreSQL dump")
        major, self._version, _, self._integer, _, archive = self._bytes(6)
        if major != 1 or self._version not in _VERSIONS or self._integer not in (4, 8) or archive != _DIRECTORY_FORMAT:
            raise Corrupt(
                f"{FILE_NAME} has format {major}.{self._version}, kind {archive}, which this version cannot read"
            )
        if self._version >= _WITH_COMPRESSION_ALGORITHM:
            self._bytes(1)
        else:
            self._int()
        for _ in range(7):  # the time of the dump
            self._int()
        for _ in range(3):  # database, versions of server and pg_dump
            self._string()
        self._count = self._int()

    def _entry_fields(self) -> tuple[int, tuple[int, ...], bytes, bytes, bytes, bytes, bytes, bytes, bytes]:
        """Dump id, dependencies, tag, description, definition, schema, owner, tablespace, COPY statement."""
        dump_id = self._int()
        self._int()  # whether it has data
        self._string()  # oid of its catalog
        self._string()  # oid
        tag = self._string()
        description = self._string()
        self._int()  # section
        definition = self._string()
        self._string()  # DROP statement
        copy = self._string()
        schema = self._string()
        tablespace = self._string()
        self._string()  # table access method
        if self._version >= _WITH_RELKIND:
            self._int()
        owner = self._string()
        self._string()  # WITH OIDS
        needs: list[int] = []
        while (found := self._optional()) is not None:
            if not found.isdigit():
                raise Corrupt(f"{FILE_NAME} is damaged: a dependency that is no number")
            needs.append(int(found))
        self._string()  # file
        return dump_id, tuple(needs), tag, description, definition, schema, owner, tablespace, copy

    def _bytes(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise Corrupt(f"{FILE_NAME} is truncated")
        return data

    def _int(self) -> int:
        data = self._bytes(1 + self._integer)
        value = int.from_bytes(data[1:], "little")
        return -value if data[0] else value

    def _optional(self) -> bytes | None:
        length = self._int()
        if length < 0:
            return None
        if length > _MAX_STRING:
            raise Corrupt(f"{FILE_NAME} is damaged: a string of {length} bytes")
        return self._bytes(length)

    def _string(self) -> bytes:
        return self._optional() or b""

    def _text(self, data: bytes) -> str:
        return data.decode(self._codec, "surrogateescape")


def _encoding(definition: bytes) -> str:
    match = re.fullmatch(rb"SET client_encoding = '([A-Za-z0-9_]+)';\n?", definition)
    if match is None:
        raise Corrupt(f"{FILE_NAME} names no encoding")
    return match[1].decode()


def codec(encoding: str) -> str:
    """Python's name of one of PostgreSQL's encodings. Raises Corrupt for one that no server has."""
    try:
        return _CODECS[encoding]
    except KeyError:
        raise Corrupt(f"{FILE_NAME} has the encoding {encoding}, which no PostgreSQL server has") from None


def check_readable(program: Program, folder: Path) -> None:
    """Raises MoverError Corrupt where pg_restore cannot read the table of contents."""
    done = subprocess.run(
        [program.path, "--list", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
        env=settings.program_environment(),
    )
    if done.returncode != 0:
        detail = done.stderr.strip().splitlines()[-1:] or ["no error output"]
        raise MoverError(conditions.CORRUPT, f"pg_restore cannot read the dump's table of contents: {detail[0]}")


def write_list(path: Path, entries: Iterable[Entry]) -> Path:
    """Writes a list for ``pg_restore --use-list``, which reads only the ids. Returns the path."""
    with path.open("w") as file:
        file.writelines(f"{entry.dump_id};\n" for entry in entries)
    return path


def is_contents(name: str) -> bool:
    """Whether the dump's file of that name is its table of contents."""
    return name in (FILE_NAME, f"{FILE_NAME}.zst")


def missing_data(entries: Iterable[Entry], names: Iterable[str]) -> list[Entry]:
    """Tables whose data file is not among the names (``123.dat``, ``123.dat.zst``)."""
    found = {name.split(".", 1)[0] for name in names if ".dat" in name}
    return [entry for entry in entries if entry.has_data_file and str(entry.dump_id) not in found]
