"""Rows are counted in the stream of a dump, whatever is in the values, and in whatever pieces it arrives."""

import random
from pathlib import Path

import pytest
from backports import zstd

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.database.dump.rows import RowCounts, TextRows, ZstdRows
from ocore_mover.database.toc import Entry
from ocore_mover.deadline import Token
from ocore_mover.report import Counter
from ocore_mover.store import Store
from support.mover.dumps import FarStore, take
from support.mover.site import Site

END = b"\\.\n\n\n"


class Nothing:
    """A sink that stores nothing."""

    def write(self, data: bytes) -> None:
        pass

    def commit(self) -> StoredObject:
        return StoredObject(key="k", size=0, sha256="0" * 64)

    def abort(self) -> None:
        pass


def pieces(data: bytes, seed: int) -> list[bytes]:
    rest, found, source = data, [], random.Random(seed)  # noqa: S311
    while rest:
        size = source.choice([1, 2, 5, 100])
        found.append(rest[:size])
        rest = rest[size:]
    return found


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rows", [0, 1, 3, 500])
def test_any_pieces(rows: int, seed: int) -> None:
    text = b"".join(b"%d\tline\\nbreak\t\\\\.\n" % i for i in range(rows)) + END
    plain, compressed = TextRows(), ZstdRows()
    for piece in pieces(text, seed):
        plain.add(piece)
    for piece in pieces(zstd.compress(text, 1), seed):
        compressed.add(piece)
    assert (plain.rows, compressed.rows) == (rows, rows)


def test_several_frames() -> None:
    counter = ZstdRows()
    counter.add(zstd.compress(b"1\n2\n", 1) + zstd.compress(b"3\n" + END, 1))
    assert counter.rows == 3


@pytest.mark.parametrize("data", [b"no zstd at all", zstd.compress(b"1\n2\n" + END, 1)[:-3], b""])
def test_what_cannot_be_read_is_not_counted(data: bytes) -> None:
    counter = ZstdRows()
    counter.add(data)
    counter.add(b"more")
    assert counter.rows is None


def test_text_without_the_end_mark_is_not_counted() -> None:
    counter = TextRows()
    counter.add(b"1\n2\n")
    assert counter.rows is None


def test_only_files_of_tables_are_counted() -> None:
    counts = RowCounts(compressed=False)
    for name in ("12.dat", "blob_13.dat", "toc.dat", "blobs_14.toc"):
        sink = counts.counted(name, Nothing())
        sink.write(b"1\n" + END)
        sink.commit()
    aborted = counts.counted("15.dat", Nothing())
    aborted.write(b"1\n" + END)
    aborted.abort()
    entries = [
        Entry(number, "TABLE DATA", "public", f"t{number}", "", b"") for number in (12, 13, 14, 15)
    ] + [Entry(12, "TABLE", "public", "no data", "", b"")]  # fmt: skip
    assert counts.by_table(entries) == {"public.t12": 1}


def test_a_name_that_is_no_text_can_be_written() -> None:
    counts = RowCounts(compressed=False)
    sink = counts.counted("1.dat", Nothing())
    sink.write(END)
    sink.commit()
    (name,) = counts.by_table([Entry(1, "TABLE DATA", "public", "a\udcff", "", b"")])
    name.encode()


@pytest.mark.parametrize("far", [False, True])
def test_a_dump_counts_what_the_database_has(
    site: Site, store: Store, scratch: Path, token: Token, counter: Counter, *, far: bool
) -> None:
    site.sql('CREATE SCHEMA "Odd"')
    site.sql('CREATE TABLE "Odd"."T.1" (id int, t text)')
    site.sql('INSERT INTO "Odd"."T.1" SELECT i, E\'a\\nb\\\\.\\n\' FROM generate_series(1, 1234) i')
    site.sql("CREATE TABLE nothing (id int)")
    site.sql("CREATE TABLE parted (id int) PARTITION BY RANGE (id)")
    site.sql("CREATE TABLE parted_1 PARTITION OF parted DEFAULT")
    site.sql("INSERT INTO parted SELECT generate_series(1, 17)")
    found = take(site, FarStore(store, token) if far else store, scratch, counter, token)
    assert found.table_rows == {"Odd.T.1": 1234, "public.nothing": 0, "public.parted_1": 17}
