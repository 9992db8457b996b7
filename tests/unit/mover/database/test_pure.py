"""Lists, statements and progress: pure parts."""

from hypothesis import given
from hypothesis import strategies as st

from ocore_mover.database import toc
from ocore_mover.database.dump.progress import copied_bytes
from ocore_mover.database.restore import extensions, grants

LIST = """;
; Archive created at 2024-01-01
;
215; 1259 16385 TABLE public foo owner
3; 3079 16386 EXTENSION - pg_trgm
3400; 0 0 COMMENT - EXTENSION pg_trgm
7; 2615 2200 SCHEMA - ext owner
3401; 0 16385 TABLE DATA public foo owner
3402; 0 16390 TABLE DATA public bar owner
3403; 0 0 ACL public TABLE foo owner
2100; 826 16400 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES owner
3404; 0 0 COMMENT - SCHEMA public owner
3405; 0 0 COMMENT public TABLE foo owner
"""


def test_the_list_is_sorted_out() -> None:
    entries = tuple(toc.parse(LIST.splitlines()))
    by_id = {entry.dump_id: entry for entry in entries}
    assert len(entries) == 10
    assert {i for i, e in by_id.items() if e.is_extension} == {3, 3400}
    assert {i for i, e in by_id.items() if e.is_acl} == {3403, 2100}
    assert {i for i, e in by_id.items() if e.is_lenient} == {3400, 3404}
    assert [e.dump_id for e in toc.missing_data(entries, ["toc.dat", "3401.dat.zst"])] == [3402]
    assert toc.missing_data(entries, ["3401.dat", "3402.dat.gz"]) == []


names = st.text(st.characters(codec="utf-8", exclude_characters='\0\n\r"'), min_size=1, max_size=20)


@given(st.lists(names, min_size=1, max_size=5))
def test_statements_are_split_whatever_the_names_hold(found: list[str]) -> None:
    statements = [f'GRANT SELECT ON TABLE "{name}"."semi;colon""s" TO "{name}"' for name in found]
    text = (
        "--\n-- a comment; here\n--\n\\restrict abc\n" + "".join(f"\n{s};\n" for s in statements) + "\\unrestrict abc\n"
    )
    assert list(grants.split(text)) == [s.strip() for s in statements]


def test_extensions_from_their_statements() -> None:
    found = extensions.parse(
        [
            "CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA ext",
            'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA "Odd ""one"""',
            "COMMENT ON EXTENSION pg_trgm IS 'x'",
        ]
    )
    assert list(found) == [extensions.Extension("pg_trgm", "ext"), extensions.Extension("uuid-ossp", 'Odd "one"')]


@given(
    st.dictionaries(st.integers(1, 50), st.integers(0, 10**9), min_size=1),
    st.dictionaries(st.integers(1, 60), st.integers(0, 10**10)),
)
def test_progress_never_exceeds_its_total(tables: dict[int, int], active: dict[int, int]) -> None:
    assert 0 <= copied_bytes(tables, active) <= sum(tables.values())


def test_larger_tables_were_read_before() -> None:
    assert copied_bytes({1: 100, 2: 50, 3: 10, 4: 1}, {3: 4, 2: 70}) == 100 + 50 + 4
