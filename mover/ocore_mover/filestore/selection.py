"""Which entries of a snapshot's index are wanted, and how they are read: no pack is read but for wanted files."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ocore_crds import conditions
from ocore_crds.reports.extracted import MAX_FILES, SHOWN
from ocore_crds.stored.manifest import FilestoreArtifact, StoredObject
from ocore_mover.errors import MoverError
from ocore_mover.filestore.index import Entry, Frame, check_name, with_parents
from ocore_mover.filestore.unpack import Content, PackReader, blocks, entries, one_ahead
from ocore_mover.store.interface import Store

#: Names in a message.
_NAMED = 3


@dataclass
class _Pack:
    """What is wanted of one pack."""

    obj: StoredObject
    #: One entry of each frame, and the wanted ones: enough to know where the frames end.
    known: list[Entry]
    wanted: list[Entry]


@dataclass
class Selected:
    """The wanted entries of a snapshot."""

    packs: list[_Pack] = field(default_factory=list)
    others: list[Entry] = field(default_factory=list)  # folders and symbolic links
    files: int = 0
    size: int = 0
    missing: tuple[str, ...] = ()  # names that the snapshot does not have

    def contents(self, reader: PackReader) -> Iterator[Content]:
        """The wanted files with their bytes, as :meth:`PackReader.contents`."""
        for found in one_ahead(reader.contents(pack.obj, pack.known, pack.wanted) for pack in self.packs):
            yield from found

    def renamed(self, names: Mapping[str, str]) -> "Selected":
        """The same files under other names."""
        packs = [replace(p, wanted=[e._replace(name=names[e.name]) for e in p.wanted]) for p in self.packs]
        return replace(self, packs=packs, missing=tuple(names[name] for name in self.missing))

    def shown(self) -> Iterator[Entry]:
        """Some of the files."""
        wanted = (entry for pack in self.packs for entry in pack.wanted)
        return (entry for entry, _ in zip(wanted, range(SHOWN), strict=False))


def select(
    store: Store,
    artifact: FilestoreArtifact,
    parse: Callable[[bytes], Entry],
    paths: Sequence[str],
    *,
    some: bool = False,
) -> Selected:
    """The entries of these names, and of all below them. Reads the index only.

    Raises MoverError FilesNotFound where a path names nothing (`some`: where all of them do), or all of them more than
    MAX_FILES; Corrupt, StoreError.
    """
    wanted, missing, found = frozenset(paths), set(paths), Selected()
    for obj, block in blocks(store, artifact, lambda line: check_name(parse(line)), wanted):
        pack = _Pack(obj, [], [])
        frames: dict[Frame, Entry] = {}
        for entry in block:
            if entry.frame is not None:
                frames.setdefault(entry.frame, entry)
            named = wanted.intersection(with_parents(entry.name))
            if not named:
                continue
            missing -= named
            if entry.kind != "file":
                found.others.append(entry)
                continue
            pack.wanted.append(entry)
            found.files += 1
            found.size += entry.size
            if found.files > MAX_FILES:
                raise MoverError(
                    conditions.FILES_NOT_FOUND,
                    f"the paths name more than {MAX_FILES} files. Name fewer, or use a Rollback into another"
                    " environment.",
                )
        if pack.wanted:
            pack.known = [*frames.values(), *pack.wanted]
            found.packs.append(pack)
    found.missing = tuple(sorted(missing))
    if missing and (not some or not found.files):
        names = ", ".join(repr(name) for name in sorted(missing)[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise MoverError(
            conditions.FILES_NOT_FOUND,
            f"the snapshot has no file or folder {names}{more}. `kubectl ocore ls` lists what it has.",
        )
    return found


@dataclass
class _Item:
    type: str
    files: int = 0
    bytes: int = 0
    digest: str = ""


def listing(
    store: Store, artifact: FilestoreArtifact, parse: Callable[[bytes], Entry], folder: str
) -> tuple[list[bytes], int, int]:
    """What the folder contains, as sorted JSON lines; folders with the number and size of all files in them. Then
    how many names, and the bytes of all files. Reads the index only.

    Raises MoverError FilesNotFound where the snapshot has no such folder, Corrupt, StoreError.
    """
    start = f"{folder}/" if folder else ""
    found: dict[str, _Item] = {}
    exists = not folder
    for entry in entries(store, artifact, lambda line: check_name(parse(line))):
        exists = exists or (entry.kind == "folder" and entry.name == folder)
        if not entry.name.startswith(start):
            continue
        name, below, _ = entry.name[len(start) :].partition("/")
        kind = "folder" if below else entry.kind
        item = found.setdefault(name, _Item(kind))
        if entry.kind == "file":
            item.files += 1
            item.bytes += entry.size
            item.digest = "" if below else entry.digest
        if len(found) > MAX_FILES:
            raise MoverError(
                conditions.FILES_NOT_FOUND, f"the folder has more than {MAX_FILES} names. List a folder below it."
            )
    if not found and not exists:
        raise MoverError(
            conditions.FILES_NOT_FOUND,
            f"the snapshot has no folder {folder!r}. List the folder above it: `kubectl ocore ls`.",
        )
    return [_line(name, item) for name, item in sorted(found.items())], len(found), sum(i.bytes for i in found.values())


def _line(name: str, item: _Item) -> bytes:
    data: dict[str, str | int] = {"name": name, "type": item.type, "bytes": item.bytes}
    if item.type == "folder":
        data["files"] = item.files
    if item.digest:
        data["digest"] = item.digest
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"
