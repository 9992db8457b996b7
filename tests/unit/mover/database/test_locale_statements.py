"""What the server is asked about locales and collations, and what its answers mean. Without a server: test_locales.py
asks real ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from ocore_crds import conditions
from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_mover.database.connect import Connection
from ocore_mover.database.restore import locales
from ocore_mover.database.toc import Entry, TableOfContents
from ocore_mover.errors import MoverError

Locale = locales._Locale


class Answer(list[Any]):
    def fetchone(self) -> Any:
        return self[0]


class Server:
    """A connection. `refused`: part of a statement → the error that it gets. `known`: collations of pg_catalog."""

    def __init__(self, refused: dict[str, Exception] | None = None, *, session: str = "UTF8", known: str = "") -> None:
        self.asked: list[str] = []
        self.params: list[Any] = []
        self.info = SimpleNamespace(dbname="app")
        self._refused = refused or {}
        self._session = session
        self._known = known.split()

    @contextmanager
    def transaction(self, *, force_rollback: bool) -> Iterator[None]:
        assert force_rollback
        yield

    def execute(self, statement: Any, params: Any = None) -> Answer:
        if "pg_encoding_to_char" in str(statement):
            return Answer([(self._session,)])
        if params is not None:
            self.params.append(params)
            return Answer([(name,) for name in params[0] if name in self._known])
        self.asked.append(statement.as_string(None))
        for part, error in self._refused.items():
            if part in self.asked[-1]:
                raise error
        return Answer()


class Primary(psycopg.errors.UndefinedFile):
    diag = SimpleNamespace(message_primary="primary")  # type: ignore[assignment]


def artifact(provider: str = "c", collate: str = "C", ctype: str = "C", locale: str = "", rules: str = "") -> Any:
    return SimpleNamespace(
        locale_provider=provider, collate=collate, ctype=ctype, icu_locale=locale, icu_rules=rules, encoding="UTF8"
    )


def check(server: Server, *entries: Entry, of: Any = None, encoding: str = "UTF8") -> str:
    """The refusal; empty: none."""

    class Contents(list[Entry]):
        pass

    contents = Contents(entries)
    contents.encoding = encoding  # type: ignore[attr-defined]
    try:
        locales.check(
            cast(Connection, server), cast(DatabaseArtifact, of or artifact()), cast(TableOfContents, contents)
        )
    except MoverError as error:
        return error.message if error.reason == conditions.UNSUPPORTED_SERVER else error.reason
    return ""


def entry(description: str, definition: bytes, tag: str = "it") -> Entry:
    return Entry(1, description, "public", tag, "app", definition)


# --- locales -----------------------------------------------------------------------------------------------------

C, DE = "SET LOCAL lc_monetary = 'C'", "SET LOCAL lc_monetary = 'de_DE'"
TRY = "CREATE COLLATION pg_temp.ocore_try (PROVIDER = "


@pytest.mark.parametrize(("of", "asked"), [
    (artifact(), [C]),
    (artifact(ctype="de_DE"), [C, DE]),
    (artifact("i", locale="de-DE"), [C, f"{TRY}icu, LOCALE = 'de-DE')"]),
    (artifact("i", locale="de-DE", rules="&a < b"), [C, f"{TRY}icu, LOCALE = 'de-DE', RULES = '&a < b')"]),
    (artifact("b", locale="C.UTF-8"), [C, f"{TRY}builtin, LOCALE = 'C.UTF-8')"]),
])  # fmt: skip
def test_what_the_server_is_asked(of: Any, asked: list[str]) -> None:
    server = Server()
    assert check(server, of=of) == ""
    assert server.asked == asked


@pytest.mark.parametrize(("session", "asks"), [("UTF8", True), ("LATIN1", True), ("LATIN2", False)])
def test_a_session_in_another_encoding_knows_nothing_about_icu(session: str, *, asks: bool) -> None:
    of = artifact("i", locale="de-DE")
    of.encoding = "LATIN1"
    server = Server({TRY: Primary()}, session=session)
    assert ("does not have ICU locale" in check(server, of=of)) == asks


def test_what_the_message_names() -> None:
    for provider, rules, says in (
        ("i", "", "ICU locale de (primary): use a server that has it, one that was built with ICU; the"),
        ("i", "&a", "ICU locale de with its rules (primary): use a server that has it, one that was"),
        ("b", "", "builtin locale de (primary): use a server that has it; the database of the"),
    ):
        message = check(Server({TRY: Primary()}), of=artifact(provider, locale="de", rules=rules))
        assert f"the server does not have {says}" in message
        assert message.endswith("; the database of the snapshot uses it")
    message = check(Server({"de_DE": Primary()}), of=artifact(ctype="de_DE"))
    assert message.startswith("the server does not have locale de_DE (primary): install it on the server")


@pytest.mark.parametrize("error", locales._LACKING)
def test_how_a_server_says_that_it_lacks_a_locale(error: type[psycopg.Error]) -> None:
    assert "locale C (its own words)" in check(Server({"lc_monetary": error("its own words")}))


@pytest.mark.parametrize("error", [psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction])
def test_a_role_that_may_not_try_does_not_know(error: type[psycopg.Error]) -> None:
    assert check(Server({"lc_monetary": error("no right")})) == ""


@pytest.mark.parametrize("error", [psycopg.OperationalError, psycopg.errors.UndefinedTable])
def test_another_error_is_no_answer(error: type[psycopg.Error]) -> None:
    with pytest.raises(psycopg.Error):
        check(Server({"lc_monetary": error("x")}))


# --- collations that the dump creates ----------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "found"), [
    ("provider = libc, locale = 'C'", Locale("c", ("C", "C"))),
    ("provider = libc, lc_collate = 'C', lc_ctype = 'de_DE'", Locale("c", ("C", "de_DE"))),
    ("provider = libc, locale = 'C', lc_ctype = 'de_DE'", Locale("c", ("C", "de_DE"))),
    ("provider = libc, lc_ctype = 'C'", Locale("c", ("", "C"))),
    ("provider = libc", None),
    ("provider = icu, locale = 'de''s'", Locale("i", (), "de's")),
    ("provider = icu, deterministic = false, locale = 'de', rules = '&a < ''b\n'", Locale("i", (), "de", "&a < 'b\n")),
    ("provider = builtin, locale = 'C.UTF-8'", Locale("b", (), "C.UTF-8")),
    ("provider = unknown, locale = 'C'", None),
])  # fmt: skip
def test_a_definition_of_pg_dump(options: str, found: Any) -> None:
    for end in ("", "\n\n"):
        assert locales._of_collation(f'CREATE COLLATION public."a ""b" ({options});{end}') == found
    assert locales._of_collation(f"CREATE COLLATION public.c ({options}); SELECT 1") is None
    assert locales._of_collation(f"-- CREATE COLLATION public.c ({options});") is None


def test_a_locale_is_asked_for_once_and_its_first_user_is_named() -> None:
    icu = b"CREATE COLLATION public.c (provider = icu, locale = 'xx');"
    server = Server({"'xx'": Primary()})
    message = check(server, entry("COLLATION", icu, "first"), entry("COLLATION", icu, "second"))
    assert message.endswith("; COLLATION public.first of the snapshot uses it")
    assert len(server.asked) == 2
    # Of an unknown provider: the load will report it.
    assert check(Server(), entry("COLLATION", b"CREATE COLLATION public.c (provider = new, locale = 'xx');")) == ""
    # In the encoding of the dump; bytes that do not fit prevent nothing.
    latin = "CREATE COLLATION public.c (provider = icu, locale = 'ä');".encode("latin1")
    assert "ICU locale ä" in check(Server({TRY: Primary()}), entry("COLLATION", latin), encoding="LATIN1")
    assert "ICU locale \ufffd" in check(Server({TRY: Primary()}), entry("COLLATION", latin))


# --- collations of the server that the dump uses -----------------------------------------------------------------

COLUMN = b'CREATE TABLE public.t (a text COLLATE pg_catalog."zz");'


@pytest.mark.parametrize("description", sorted(locales._DEPARSED))
def test_what_the_server_has_written_names_collations(description: str) -> None:
    server = Server(known="C")
    message = check(server, entry(description, COLUMN), entry(description, COLUMN, "second"))
    assert message.startswith(f'the server does not have collation "zz", which {description} public.it of the snapshot')
    assert "in template0 and app, or" in message
    assert server.params == [[["zz"], "UTF8"]]
    assert check(Server(known="zz"), entry(description, COLUMN)) == ""
    assert check(Server(known="C"), entry(description, b"CREATE TABLE public.t (a text);")) == ""


def test_a_name_without_quotes_and_one_outside_of_ascii() -> None:
    definition = b'CREATE TABLE public.t (a text COLLATE ucs, b text COLLATE "\xff", c text COLLATE s."other");'
    message = check(Server(), entry("TABLE", definition))
    assert message.count("does not have collation") == message.count('collation "ucs", which') == 1


@pytest.mark.parametrize("description", ["FUNCTION", "COMMENT", "TABLE DATA"])
def test_what_a_user_has_written_is_not_read(description: str) -> None:
    assert check(Server(), entry(description, COLUMN)) == ""


def test_the_database_that_the_session_is_in_is_named_once() -> None:
    server = Server()
    server.info.dbname = "template0"
    assert "in template0, or" in check(server, entry("TABLE", COLUMN))


@pytest.mark.parametrize(("count", "more"), [(5, ""), (6, "; and 1 more"), (9, "; and 4 more")])
def test_some_problems_are_shown_and_all_are_counted(count: int, more: str) -> None:
    """The locale of the database first."""
    entries = [entry("TABLE", COLUMN.replace(b"zz", b"z%d" % number)) for number in range(count - 1)]
    message = check(Server({"lc_monetary": Primary()}), *entries)
    assert message.startswith("the server does not have locale C")
    assert [f'"z{number}"' in message for number in range(5)] == [True] * 4 + [False]
    assert message.count("the server does not have") == 5
    assert message.endswith(more or "use a server that has it")
    assert ("more" in message) == bool(more)
