"""Attachments by model, record and name, out of dumped rows."""

from collections.abc import Iterator

import pytest

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.database import attachments
from ocore_mover.database.attachments import Wanted
from ocore_mover.database.toc import Entry
from ocore_mover.errors import Corrupt, MoverError

OBJECT = StoredObject(key="1.dat", size=1, sha256="0" * 64)


def entry(statement: str) -> Entry:
    return Entry(1, "TABLE DATA", "public", "ir_attachment", "odoo", b"", copy_statement=statement.encode())


def matching(rows: list[bytes], name: str | None = None) -> list[tuple[str, str, str]]:
    wanted = Wanted("res.partner", 7, name)
    return list(attachments._matching(iter(rows), [0, 1, 2, 3, 4], wanted, "utf-8"))


def test_columns_are_found_by_their_names() -> None:
    statement = 'COPY public.ir_attachment (id, "a, ""b""", res_id, name, res_model, store_fname) FROM stdin;\n'
    assert attachments._columns(entry(statement), "utf-8") == [0, 3, 4, 2, 5]
    quoted = 'COPY "my schema".ir_attachment (store_fname, res_id, res_model, name, id) FROM stdin;\n'
    assert attachments._columns(entry(quoted), "utf-8") == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("statement", ["", "COPY public.ir_attachment (id, name, res_model, res_id) FROM stdin;\n"])
def test_a_table_without_the_columns(statement: str) -> None:
    with pytest.raises(MoverError, match="no column"):
        attachments._columns(entry(statement), "utf-8")


def test_rows_of_the_record_only() -> None:
    rows = [
        b"1\tcontract.pdf\tres.partner\t7\tab/ab1",
        b"2\tcontract.pdf\tres.partner\t70\tab/ab2",
        b"3\tcontract.pdf\tres.users\t7\tab/ab3",
        b"4\tother.pdf\tres.partner\t7\t\\N",
        b"5\tcontract.pdf\tres_partner\t7\tab/ab5",
        b"\\.",
        b"",
    ]
    assert matching(rows) == [("1", "contract.pdf", "ab/ab1"), ("4", "other.pdf", "")]
    assert matching(rows, "contract.pdf") == [("1", "contract.pdf", "ab/ab1")]
    assert matching(rows, "contract") == []


def test_names_are_unescaped() -> None:
    rows = [rb"1" + b"\t" + rb"a\tb\\n\nc\x" + b"\tres.partner\t7\tab/ab1"]
    assert matching(rows)[0][1] == "a\tb\\n\ncx"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("invoice.pdf", "invoice.pdf"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("a\nb\x1b[31m", "a_b_[31m"),
        ("", "attachment"),
    ],
)
def test_a_name_for_a_file(name: str, expected: str) -> None:
    assert attachments._safe(name) == expected


def test_a_long_name_keeps_its_suffix() -> None:
    found = attachments._safe("ü" * 300 + ".pdf")
    assert found.endswith("ü.pdf")
    assert len(found.encode()) <= attachments._NAME_BYTES


def test_rows_across_chunks_and_a_row_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks: Iterator[bytes] = iter([b"a\nb", b"c", b"\nd\n"])
    assert list(attachments._rows(chunks, OBJECT)) == [b"a", b"bc", b"d"]
    monkeypatch.setattr(attachments, "MAX_ROW", 10)
    with pytest.raises(Corrupt, match="a row of more than 10 bytes"):
        list(attachments._rows(iter([b"x" * 6, b"x" * 6]), OBJECT))
