"""The table of contents: names, owners and definitions exactly as pg_dump has them, and nothing read from a damaged
file."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocore_mover.database import toc
from ocore_mover.database.programs import find
from ocore_mover.database.restore import extensions, grants
from ocore_mover.database.toc import TableOfContents
from ocore_mover.errors import Corrupt, MoverError
from support.mover.postgres_majors import Server
from support.mover.site import Site

ODD_OWNER = "o' \"w\nner"
SCHEMA = """
CREATE EXTENSION pg_trgm;
CREATE SCHEMA "a b";
CREATE TABLE "a b"."t; x" (id int);
CREATE FUNCTION f(a int, b text[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT lo_create(4711);
COMMENT ON SCHEMA public IS E'x\\n--';
GRANT SELECT ON "a b"."t; x" TO PUBLIC;
"""


def dump(server: Server, database: str, folder: Path) -> Path:
    arguments = [
        server.bin / "pg_dump",
        "-h",
        "127.0.0.1",
        "-p",
        str(server.port),
        "-U",
        "postgres",
        "-Fd",
        "-f",
        folder,
        database,
    ]
    subprocess.run(arguments, check=True, env={"PGPASSWORD": server.password, "PATH": "/usr/bin:/bin"})
    return folder


@pytest.fixture
def folder(site: Site, tmp_path: Path) -> Path:
    site.sql(SCHEMA)
    quoted = '"' + ODD_OWNER.replace('"', '""') + '"'
    site.server.execute(f"DROP ROLE IF EXISTS {quoted}")
    site.server.execute(f"CREATE ROLE {quoted}")
    site.server.execute(f'ALTER TABLE "a b"."t; x" OWNER TO {quoted}', site.live)
    return dump(site.server, site.live, tmp_path / "dump")


def test_fields_are_exact(site: Site, folder: Path) -> None:
    found = {(e.description, e.schema, e.tag): e for e in TableOfContents(folder)}
    assert found["TABLE", "a b", "t; x"].owner == ODD_OWNER
    assert found["FUNCTION", "public", "f(integer, text[])"].owner == site.role.name
    assert found["ACL", "a b", 'TABLE "t; x"'].definition.endswith(b'GRANT SELECT ON TABLE "a b"."t; x" TO PUBLIC;\n')
    assert found["COMMENT", "", "SCHEMA public"].definition == b"COMMENT ON SCHEMA public IS 'x\n--';\n"
    assert found["COMMENT", "", "SCHEMA public"].is_lenient
    assert TableOfContents(folder).encoding == "UTF8"
    assert list(extensions.read(TableOfContents(folder))) == [extensions.Extension("pg_trgm", "public")]
    (large,) = [e for e in found.values() if e.description in ("BLOB", "BLOB METADATA")]
    assert large.owner == site.role.name


def test_ids_are_those_of_pg_restore(site: Site, folder: Path) -> None:
    done = subprocess.run(
        [site.server.bin / "pg_restore", "--list", folder], check=True, capture_output=True, text=True
    )
    listed = {int(line.split(";")[0]) for line in done.stdout.splitlines() if line[:1].isdigit()}
    ours = {e.dump_id: e for e in TableOfContents(folder)}
    assert listed <= set(ours)
    assert {ours[i].description for i in set(ours) - listed} <= {
        "ENCODING",
        "STDSTRINGS",
        "SEARCHPATH",
        "DATABASE",
        "DATABASE PROPERTIES",
    }


def test_an_encoding_that_is_not_utf8(site: Site, tmp_path: Path) -> None:
    site.server.execute(f"DROP DATABASE {site.live}")
    site.server.execute(
        f"CREATE DATABASE {site.live} OWNER \"{site.role.name}\" TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'"
    )
    site.sql('CREATE TABLE U&"\\00C4pfel" (a int)')
    contents = TableOfContents(dump(site.server, site.live, tmp_path / "dump"))
    assert contents.encoding == "LATIN1"
    assert "Äpfel" in {e.tag for e in contents if e.description == "TABLE"}


#: Of a server: docs of PostgreSQL, "Character Set Support".
ENCODINGS = [
    *("SQL_ASCII", "UTF8", "EUC_JP", "EUC_CN", "EUC_KR", "EUC_TW", "EUC_JIS_2004", "MULE_INTERNAL", "KOI8R", "KOI8U"),
    *(f"LATIN{number}" for number in range(1, 11)),
    *(f"WIN{number}" for number in (866, 874, *range(1250, 1259))),
    *(f"ISO_8859_{number}" for number in range(5, 9)),
]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_row_98_definitions_of_every_encoding_can_be_read(encoding: str) -> None:
    data = bytes(range(256))
    assert data.decode(toc.codec(encoding), "surrogateescape").encode(toc.codec(encoding), "surrogateescape") == data


@pytest.mark.parametrize("encoding", ["rot13", "UTF_9"])
def test_row_98_an_encoding_of_no_server_is_damage(encoding: str) -> None:
    """A dump comes out of a bucket."""
    with pytest.raises(Corrupt, match=encoding):
        toc.codec(encoding)


def test_damage_is_reported(site_any: Site, tmp_path: Path) -> None:
    site_any.sql("CREATE TABLE t AS SELECT 1 AS a")
    folder = dump(site_any.server, site_any.live, tmp_path / "dump")
    data = (folder / "toc.dat").read_bytes()
    (folder / "toc.dat").write_bytes(data[: len(data) // 2])
    with pytest.raises(Corrupt, match="truncated"):
        list(TableOfContents(folder))
    with pytest.raises(MoverError, match="cannot read the dump's table of contents"):
        toc.check_readable(find("pg_restore", site_any.server.major), folder)
    (folder / "toc.dat").write_bytes(b"PGDMP\x01\x0d\x00\x04\x08\x03" + data[11:])
    with pytest.raises(Corrupt, match=r"format 1\.13"):
        list(TableOfContents(folder))


HEAD = b"PGDMP\x01\x0e\x00\x04\x08\x03" + b"\0" * 5 * 8 + b"\1\1\0\0\0" * 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_corrupt_or_entries(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "toc.dat").write_bytes(HEAD + data)
    try:
        found = list(TableOfContents(tmp_path))
    except Corrupt:
        return
    assert len(found) <= len(data)


def entry(dump_id: int, description: str, tag: str, definition: bytes = b"") -> toc.Entry:
    return toc.Entry(dump_id, description, "public", tag, "owner", definition)


def test_tables_without_their_data_file() -> None:
    entries = [entry(1, "TABLE", "foo"), entry(3401, "TABLE DATA", "foo"), entry(3402, "TABLE DATA", "bar")]
    assert [e.dump_id for e in toc.missing_data(entries, ["toc.dat", "3401.dat.zst"])] == [3402]
    assert toc.missing_data(entries, ["3401.dat", "3402.dat.gz"]) == []


names = st.text(st.characters(codec="utf-8", exclude_characters='\0\n\r"'), min_size=1, max_size=20)


@given(st.lists(names, min_size=1, max_size=5))
def test_statements_are_split_whatever_the_names_hold(found: list[str]) -> None:
    statements = [f'GRANT SELECT ON TABLE "{name}"."semi;colon""s" TO "{name}"' for name in found]
    text = "".join(f"{s};\n" for s in statements)
    assert [s.decode() for s in grants.split(text.encode())] == [s.strip() for s in statements]


@pytest.mark.parametrize(
    "definition",
    [
        b"CREATE EXTENSION IF NOT EXISTS other WITH SCHEMA public;\n",
        b"CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA public; DROP TABLE t;\n",
        b"DROP EXTENSION x;\n",
    ],
)
def test_an_extension_that_pg_dump_does_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, definition: bytes
) -> None:
    monkeypatch.setattr(TableOfContents, "__iter__", lambda _: iter([entry(1, "EXTENSION", "x", definition)]))
    monkeypatch.setattr(TableOfContents, "encoding", "UTF8")
    with pytest.raises(Corrupt, match="extension x"):
        list(extensions.read(TableOfContents(tmp_path)))
