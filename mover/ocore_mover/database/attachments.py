"""The attachments of a record, out of the dumped rows of ``ir_attachment``: only ``toc.dat`` and the data file of that
table are read. No server is needed: the rows are COPY's text format."""

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.reports.extracted import MAX_FILES
from ocore_crds.stored.manifest import DatabaseArtifact, StoredObject
from ocore_mover.chunks import decompressed
from ocore_mover.database.toc import FILE_NAME, Entry, TableOfContents, codec
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.store.interface import Store

TABLE = "ir_attachment"
#: The columns that are read, by their names in Odoo.
COLUMNS = ("id", "name", "res_model", "res_id", "store_fname")
#: Bytes of one row at most. The column index_content may have the text of a document.
MAX_ROW = 1 << 28
#: Bytes of a name; file systems take 255.
_NAME_BYTES = 180
_COPY = re.compile(r'COPY (?:[^\s(]|"[^"]*")+ \((?P<columns>.*)\) FROM stdin;\s*', re.DOTALL)
_COLUMN = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^",\s]+))\s*(?:,|$)')
_UNSAFE = re.compile(r"[/\x00-\x1f\x7f]")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


@dataclass(frozen=True)
class Wanted:
    """The attachments of a record of Odoo; `name`: of one, None: all."""

    model: str
    record: int
    name: str | None


@dataclass(frozen=True)
class Attachments:
    """What was found."""

    #: Name in the filestore → name of the file for people: the attachment's id and name.
    names: dict[str, str]
    bytes_read: int


def find(store: Store, artifact: DatabaseArtifact, wanted: Wanted) -> Attachments:
    """The attachments of the record. Attachments with the same contents are one file, named by the first.

    Raises MoverError FilesNotFound where there is none, or none in the filestore; Corrupt, StoreError.
    """
    contents = _file(artifact, FILE_NAME)
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / FILE_NAME).open("wb") as file:
            file.writelines(_chunks(store, contents))
        toc = TableOfContents(Path(folder))
        entry = _table(toc)
        encoding = codec(toc.encoding)
    rows = _file(artifact, f"{entry.dump_id}.dat")
    columns = _columns(entry, encoding)
    names: dict[str, str] = {}
    others: list[str] = []
    for id_, name, file_name in _matching(_rows(_chunks(store, rows), rows), columns, wanted, encoding):
        if file_name:
            names.setdefault(file_name, f"{id_}-{_safe(name)}")
        else:
            others.append(id_)
        if len(names) > MAX_FILES:
            raise MoverError(conditions.FILES_NOT_FOUND, f"the record has more than {MAX_FILES} attachments. Name one.")
    if not names:
        raise _none(wanted, others)
    return Attachments(names, contents.size + rows.size)


def _none(wanted: Wanted, others: list[str]) -> MoverError:
    what = f"attachment {wanted.name!r}" if wanted.name is not None else "attachment"
    text = f"the snapshot has no {what} of record {wanted.record} of model {wanted.model} in the filestore."
    if others:
        text += f" Attachment {others[0]} has its contents in the database, or is a link: restore its row."
    return MoverError(conditions.FILES_NOT_FOUND, f"{text} Check the names, or take an earlier snapshot.")


def _file(artifact: DatabaseArtifact, name: str) -> StoredObject:
    for obj in artifact.files:
        if obj.key.rpartition("/")[2] in (name, f"{name}.zst"):
            return obj
    raise Corrupt(f"the dump has no file {name} that this version can read")


def _chunks(store: Store, obj: StoredObject) -> Iterator[bytes]:
    """The contents. Raises Corrupt, at the latest at the end."""
    chunks = store.read(obj)
    return decompressed(chunks, obj.key) if obj.key.endswith(".zst") else chunks


def _table(toc: TableOfContents) -> Entry:
    found = [entry for entry in toc if entry.has_data_file and entry.tag == TABLE]
    found = [entry for entry in found if entry.schema == "public"] or found
    if len(found) != 1:
        raise MoverError(
            conditions.FILES_NOT_FOUND,
            f"the dump has {len(found)} tables {TABLE}: it is no database of Odoo. Name the files in spec.files.",
        )
    return found[0]


def _columns(entry: Entry, encoding: str) -> list[int]:
    """The places of COLUMNS in a row."""
    match = _COPY.fullmatch(entry.copy_statement.decode(encoding, "surrogateescape"))
    names = [
        found["plain"] or found["quoted"].replace('""', '"')
        for found in (_COLUMN.finditer(match["columns"]) if match is not None else ())
    ]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise MoverError(
            conditions.FILES_NOT_FOUND, f"the dumped table {TABLE} has no column {missing[0]}. Name the files instead."
        )
    return [names.index(name) for name in COLUMNS]


def _rows(chunks: Iterator[bytes], obj: StoredObject) -> Iterator[bytes]:
    """The rows without their line feeds."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > MAX_ROW:
            raise Corrupt(f"{obj.key} has a row of more than {MAX_ROW} bytes")


def _matching(
    rows: Iterator[bytes], columns: list[int], wanted: Wanted, encoding: str
) -> Iterator[tuple[str, str, str]]:
    """Id, name and name in the filestore (empty: none) of the attachments that are wanted."""
    model, record = wanted.model.encode(encoding), str(wanted.record).encode()
    for row in rows:
        fields = row.split(b"\t")
        if len(fields) <= max(columns):  # the end of the data, or an empty line
            continue
        id_, name, res_model, res_id, file_name = (fields[at] for at in columns)
        if res_id != record or res_model != model:
            continue
        text = _text(name, encoding)
        if wanted.name is None or text == wanted.name:
            yield _text(id_, encoding), text, _text(file_name, encoding)


def _text(field: bytes, encoding: str) -> str:
    """A field; NULL is empty."""
    if field == b"\\N":
        return ""
    return _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), field).decode(encoding, "surrogateescape")


def _safe(name: str) -> str:
    """A name for a file: no folder, no control characters, not too long; its suffix is kept."""
    text = _UNSAFE.sub("_", name) or "attachment"
    if len(os.fsencode(text)) <= _NAME_BYTES:
        return text
    stem, dot, suffix = text.rpartition(".")
    end = f"{dot}{suffix}" if dot and len(os.fsencode(suffix)) < 16 else ""
    kept = os.fsencode(stem if end else text)[: _NAME_BYTES - len(os.fsencode(end))]
    return kept.decode(errors="ignore") + end
