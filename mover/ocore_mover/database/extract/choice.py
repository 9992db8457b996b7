"""Which entries of a dump a table needs, by the dependencies in its table of contents; and which tables it has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ocore_crds import conditions
from ocore_crds.reports.extracted import WantedTable
from ocore_crds.stored.manifest import DatabaseArtifact, StoredObject
from ocore_mover.database import toc
from ocore_mover.errors import MoverError

#: Kinds of entries that no table needs. A dump of a million large objects has two million of them.
_NEVER = frozenset(("TABLE DATA", "BLOB", "BLOB METADATA", "BLOBS", "ACL", "DEFAULT ACL", "COMMENT", "SEQUENCE SET"))


def choose(contents: toc.TableOfContents, tables: Sequence[WantedTable]) -> toc.Chosen:
    """The rows of these tables, and what their definitions need: types, functions and their casts, extensions, schemas,
    tables that they inherit from.

    Raises MoverError TablesNotFound, Corrupt.
    """
    wanted = {(table.schema_name, table.name) for table in tables}
    needs: dict[int, tuple[int, ...]] = {}
    kinds: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, str], list[int]] = {}
    functions: set[int] = set()
    casts: set[int] = set()
    for entry in contents:
        place = (entry.schema, entry.tag)
        if entry.description not in _NEVER:
            needs[entry.dump_id] = entry.dependencies
        if entry.description in ("CAST", "FUNCTION"):
            (casts if entry.description == "CAST" else functions).add(entry.dump_id)
        if place not in wanted:
            continue
        if entry.description in ("TABLE", "TABLE DATA"):
            found.setdefault(place, []).append(entry.dump_id)
        if entry.description.endswith(("TABLE", "VIEW")):
            kinds[place] = entry.description.lower()
    for schema, name in sorted(wanted):
        if len(found.get((schema, name), ())) != 2:
            raise _not_found(f"{schema}.{name}", kinds.get((schema, name), ""))
    left = [dump_id for ids in found.values() for dump_id in ids]
    chosen: set[int] = set(left)
    while left:
        for dump_id in needs.get(left.pop(), ()):
            if dump_id in needs and dump_id not in chosen:
                chosen.add(dump_id)
                left.append(dump_id)
    # A table that uses a cast depends on its function only. A cast without one may need a superuser.
    chosen |= {each for each in casts if functions & chosen & {*needs[each]} and chosen.issuperset(needs[each])}
    return toc.Chosen(contents.folder, frozenset(chosen))


def _not_found(table: str, kind: str) -> MoverError:
    what = f"{table} is a {kind} without rows of its own in the dump" if kind else f"the snapshot has no table {table}"
    more = " Name its partitions." if kind == "table" else ""
    return MoverError(
        conditions.TABLES_NOT_FOUND, f"{what}.{more} List the tables with: kubectl ocore ls SNAPSHOT --tables"
    )


@dataclass(frozen=True)
class Listed:
    """One table of a dump."""

    schema: str
    name: str
    rows: int | None  # None: the writer did not count
    bytes: int  # of its file as stored


def listing(contents: toc.TableOfContents, artifact: DatabaseArtifact) -> Iterator[Listed]:
    """The tables that have rows in the dump, by name."""
    sizes = sizes_of(artifact)
    counted = artifact.table_rows
    tables = sorted((e.schema, e.tag, e.dump_id) for e in contents if e.has_data_file)
    for schema, name, dump_id in tables:
        rows = counted.get(f"{schema}.{name}") if counted is not None else None
        yield Listed(schema, name, rows, sizes.get(dump_id, 0))


def sizes_of(artifact: DatabaseArtifact) -> dict[int, int]:
    """Dump id → bytes of the table's file as stored."""
    names = ((_name(obj).partition(".")[0], obj.size) for obj in artifact.files if ".dat" in _name(obj))
    return {int(number): size for number, size in names if number.isdecimal()}


def part(artifact: DatabaseArtifact, chosen: toc.Chosen) -> DatabaseArtifact:
    """What is read of the dump: ``toc.dat`` and the rows. Its size in a database is their share of all rows, of the
    size that the database had."""
    files = tuple(o for o in artifact.files if toc.is_contents(_name(o)) or chosen.has_rows(_name(o)))
    sizes = sizes_of(artifact)
    mine = sum(size for dump_id, size in sizes.items() if dump_id in chosen.dump_ids)
    share = artifact.size_bytes * mine // max(sum(sizes.values()), 1)
    return artifact.model_copy(update={"files": files, "size_bytes": share})


def _name(obj: StoredObject) -> str:
    return obj.key.rpartition("/")[2]
