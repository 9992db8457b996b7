"""Which statements give the objects in the copy to their owners, and what is refused before. Without a server:
test_as_dumped.py gives real objects."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from ocore_crds import conditions
from ocore_mover.database.connect import Connection
from ocore_mover.database.restore import owners
from ocore_mover.database.toc import Entry
from ocore_mover.errors import MoverError


class Answer(list[Any]):
    def fetchone(self) -> Any:
        return self[0] if self else None


class Server:
    """A connection. `objects`: tag → identity, owner, and whether it is a sequence of a column. `definitions`: identity
    → owner and definition. `powerful`: roles. `denied`: part of a statement → the error that it gets the first time."""

    connection = None  # of a context for psycopg.sql

    def __init__(self, *, version: int = 160000, **objects: Any) -> None:
        self.objects = objects
        self.definitions: dict[str, tuple[str, str]] = {}
        self.powerful: set[str] = set()
        self.denied: dict[str, Exception] = {}
        self.roles: dict[str, Any] = {}
        self.done: list[str] = []
        self.asked: list[tuple[str, Any]] = []
        self.info = SimpleNamespace(server_version=version)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.done.append("(")
        try:
            yield
        except psycopg.Error:
            self.done.append("rolled back")
            raise
        self.done.append(")")

    @contextmanager
    def pipeline(self) -> Iterator[None]:
        yield

    def execute(self, statement: Any, params: Any = None) -> Answer:
        if isinstance(statement, bytes):
            statement = statement.decode()
        text = statement if isinstance(statement, str) else statement.as_string(None)
        if params is None:
            for part, error in list(self.denied.items()):
                if part in text:
                    del self.denied[part]
                    raise error
            self.done.append(text)
            return Answer()
        self.asked.append((text, params))
        if "SELECT EXISTS" in text and "rolsuper" in text:
            return Answer([(params[0] in self.powerful,)])
        if "rolsuper" in text:
            return Answer([self.roles[params[0]]] if params[0] in self.roles else [])
        if "to_regclass" in text or "to_regprocedure" in text:
            return Answer([self.definitions[params[0]]] if params[0] in self.definitions else [])
        found = next((self.objects[each] for each in params if each in self.objects), None)
        return Answer([found] if found is not None else [])


def entry(description: str, tag: str, owner: str = "other", schema: str = "public", definition: bytes = b"") -> Entry:
    return Entry(1, description, schema, tag, owner, definition)


def contents(*entries: Entry, owner: str = "dumped") -> Any:
    class Dump(list[Entry]):
        pass

    dump: Any = Dump(entries)
    dump.owner = owner
    return dump


def statements(server: Server) -> list[str]:
    return [each for each in server.done if each not in ("(", ")")]


def give(server: Server, *entries: Entry, live: Server | None = None, dumped: str = "dumped") -> list[str]:
    """The warnings."""
    return owners.give(
        cast(Connection, server), cast("Connection | None", live), contents(*entries, owner=dumped), "app"
    )


# --- before the load ---------------------------------------------------------------------------------------------


def check(server: Server, *entries: Entry, dumped: str = "dumped") -> str:
    """The refusal; empty: none."""
    try:
        owners.check(cast(Connection, server), contents(*entries, owner=dumped), "app")
    except MoverError as error:
        return error.message if error.reason == conditions.MISSING_GRANTS else error.reason
    return ""


def test_every_owner_is_checked_and_named_with_what_belongs_to_it() -> None:
    server = Server()
    server.roles["fine"] = (False, True, "admin")
    several = [entry("TABLE", f"t{number}", "zoe") for number in range(7)]
    refusal = check(server, *several, entry("VIEW", "v", "ada"), entry("TABLE", "mine", "fine"))
    named = ", ".join(f"TABLE public.t{number}" for number in range(5))
    assert refusal == (
        "role ada does not exist: create it (1 objects of the snapshot belong to it, for example VIEW"
        " public.v);"
        f" role zoe does not exist: create it (7 objects of the snapshot belong to it, for example {named})"
    )


@pytest.mark.parametrize("dumped", ["dumped", ""])
def test_what_belongs_to_no_other_role_is_not_checked(dumped: str) -> None:
    """The owner of the dumped database, or of the live one where the dump does not say who that was."""
    mine = entry("TABLE", "t", dumped or "app")
    assert check(Server(), mine, entry("TABLE", "t", ""), entry("SCHEMA", "public"), dumped=dumped) == ""
    assert "role app does" in check(Server(), entry("TABLE", "t", "app"))
    for each in (entry("SCHEMA", "other"), entry("TABLE", "public"), entry("DOMAIN", "public")):
        assert "role other does" in check(Server(), each, dumped=dumped)
    for description in ("ACL", "TABLE DATA", "COMMENT", "EXTENSION", "INDEX", "TRIGGER"):
        assert check(Server(), entry(description, "x"), dumped=dumped) == ""


WITH_OWNER = sorted(
    {*owners._RELATIONS, *owners._ROUTINES, *owners._TYPES, *owners._NAMED, *owners._LARGE_OBJECTS}
)  # fmt: skip


@pytest.mark.parametrize("description", WITH_OWNER)
def test_whose_owner_is_checked(description: str) -> None:
    assert "role other does not exist" in check(Server(), entry(description, "x"))


@pytest.mark.parametrize("description", owners._UNSUPPORTED)
def test_whose_owner_cannot_be_restored(description: str) -> None:
    server = Server()
    server.roles["other"] = (False, True, "admin")
    refusal = check(server, entry(description, "x"))
    assert refusal.startswith(f"{description} public.x of the snapshot belongs to role other")
    assert "give it to app in the live database" in refusal


@pytest.mark.parametrize(("version", "asks"), [(150009, "'MEMBER'"), (160000, "'SET'"), (180000, "'USAGE'")])
def test_whether_a_role_may_give(version: int, asks: str) -> None:
    server = Server(version=version)
    problem = lambda: owners.problem_of(cast(Connection, server), "other")  # noqa: E731
    assert problem() == "role other does not exist: create it"
    assert asks in server.asked[0][0]
    assert ("'SET'" in server.asked[0][0]) == (version >= 160000)
    for superuser in (False, True):
        server.roles["other"] = (superuser, True, "admin")
        assert problem() == ""
    server.roles["other"] = (True, False, "admin")
    assert "only a superuser can give objects to the superuser other" in problem()
    server.roles["other"] = (False, False, "admin")
    assert "admin may not give objects to role other: make it a member" in problem()


# --- after the load ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("description", "keyword"), [
    ("TABLE", "TABLE"), ("VIEW", "VIEW"), ("MATERIALIZED VIEW", "MATERIALIZED VIEW"),
    ("FOREIGN TABLE", "FOREIGN TABLE"), ("SEQUENCE", "SEQUENCE"), ("FUNCTION", "ROUTINE"), ("PROCEDURE", "ROUTINE"),
    ("AGGREGATE", "ROUTINE"), ("TYPE", "TYPE"), ("DOMAIN", "TYPE"), *((each, each) for each in owners._NAMED),
])  # fmt: skip
def test_each_object_is_given_by_its_own_identity(description: str, keyword: str) -> None:
    server = Server(x=('public."x y"', "app", False))
    assert give(server, entry(description, "x")) == []
    assert server.done == ["(", f'ALTER {keyword} public."x y" OWNER TO "other"', ")"]
    text, params = server.asked[0]
    if description in owners._NAMED:
        catalog, name, schema, owner = owners._NAMED[description]
        assert all(f'"{each}"' in text for each in (catalog, name, owner))
        assert (f'"{schema}"::regnamespace::text' in text) == (f'"{schema}" = to_regnamespace' in text) == bool(schema)
        assert params == (["x", "public"] if schema else ["x"])
    else:
        assert params == [
            "public",
            "x",
            *([owners._RELATIONS[description]] if description in owners._RELATIONS else []),
        ]
    with pytest.raises(MoverError) as error:
        give(Server(), entry(description, "x"))
    assert error.value.reason == conditions.RESTORE_FAILED
    assert f"{description} public.x of the dump is not in the restored database" in error.value.message


@pytest.mark.parametrize("description", sorted(set(WITH_OWNER) - set(owners._LARGE_OBJECTS)))
def test_only_what_has_another_owner_is_given(description: str) -> None:
    it = entry(description, "x")
    for current in ("an earlier name", "other", "zoe"):
        server = Server(x=("x", current, False))
        assert give(server, it) == []
        assert len(statements(server)) == (current != "other")


def test_what_has_its_owner_is_left_alone() -> None:
    server = Server(x=("x", "other", False), y=("y", "app", False), s=("s", "app", True))
    assert give(server, entry("TABLE", "x"), entry("TABLE", "y", "dumped"), entry("TABLE", "y", "")) == []
    mixed = Server(y=("y", "app", False))
    assert give(mixed, entry("TABLE", "y", ""), entry("TABLE", "y")) == []
    assert statements(mixed) == ['ALTER TABLE y OWNER TO "other"']
    assert give(server, entry("INDEX", "y"), entry("TABLE", "y", "app"), entry("SEQUENCE", "s")) == []
    assert server.done == []
    # The dump does not say whose it was: everything of the live database's owner is loaded as that.
    assert give(server, entry("TABLE", "y", "dumped"), dumped="") == []
    assert statements(server) == ['ALTER TABLE y OWNER TO "dumped"']
    server.done.clear()
    assert give(server, entry("TABLE", "y", "app"), dumped="") == []
    assert server.done == []


def test_sequences_come_after_the_tables_and_large_objects_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "_BATCH", 3)
    server = Server(s=("s", "app", False), t=("t", "app", False))
    blobs = [entry("BLOB", str(number), schema="") for number in range(1, 5)]
    group = entry("BLOB METADATA", "7..9", "zoe", "", b"6\n7\n8\n9\nno number\n")
    warnings = give(
        server, entry("SEQUENCE", "s"), entry("DOMAIN", "t"), *blobs[:3], group, entry("TABLE", "t"), blobs[3]
    )
    assert warnings == []

    def large(*numbers: int, role: str = "other") -> list[str]:
        return ["(", *(f'ALTER LARGE OBJECT {number} OWNER TO "{role}"' for number in numbers), ")"]

    assert server.done == [
        "(", 'ALTER TYPE t OWNER TO "other"', ")", *large(1, 2, 3), *large(6, 7, 8, 9, role="zoe"),
        "(", 'ALTER TABLE t OWNER TO "other"', ")", *large(4), *large(role="zoe"),
        "(", 'ALTER SEQUENCE s OWNER TO "other"', ")",
    ]  # fmt: skip


@pytest.mark.parametrize(("owner", "role"), [("dumped", "app"), ("other", "other"), ("ada", "ada")])
def test_the_schema_public(owner: str, role: str) -> None:
    public = entry("SCHEMA", "public", owner, "")
    server = Server(x=("x", "app", False))
    assert give(server, public, entry("TABLE", "x")) == []
    assert statements(server) == [f'ALTER SCHEMA public OWNER TO "{role}"', 'ALTER TABLE x OWNER TO "other"']
    server.denied["SCHEMA public"] = psycopg.errors.InsufficientPrivilege("no")
    assert give(server, public) == [f"schema public does not belong to {role} as in the snapshot: None"]


def test_the_new_owner_gets_create_for_the_moment() -> None:
    server = Server(t=("s.t", "app", False))
    server.denied["ALTER TABLE"] = psycopg.errors.InsufficientPrivilege("no CREATE")
    assert give(server, entry("TABLE", "t", schema="s")) == []
    assert server.done == [
        "(", "rolled back", "(", 'GRANT CREATE ON SCHEMA "s" TO "other"', 'ALTER TABLE s.t OWNER TO "other"',
        'REVOKE CREATE ON SCHEMA "s" FROM "other"', ")",
    ]  # fmt: skip


@pytest.mark.parametrize("schema", ["s", ""])
def test_an_object_that_cannot_be_given_ends_the_restore(schema: str) -> None:
    server = Server(t=("t", "app", False))
    server.denied = {each: psycopg.errors.InsufficientPrivilege("no") for each in ("ALTER", "GRANT")}
    with pytest.raises(MoverError) as error:
        give(server, entry("SCHEMA", "t", schema=schema))
    assert error.value.reason == conditions.MISSING_GRANTS
    assert "cannot be given to its owner other" in error.value.message
    assert ("GRANT" in server.denied) == (schema == "")


# --- a superuser's code ------------------------------------------------------------------------------------------

CODE = ("TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "FUNCTION", "PROCEDURE", "AGGREGATE")


def powerful(owner: str = "other", text: str = "code", *, role: str = "other") -> Server:
    server = Server(x=("x", "app", False))
    server.powerful.add(role)
    server.definitions["x"] = (owner, text)
    return server


@pytest.mark.parametrize("description", CODE)
def test_code_goes_to_a_superuser_only_where_the_live_database_has_the_same(description: str) -> None:
    """By the definition of its kind, with the same owner."""
    it, given = (
        entry(description, "x"),
        [f"ALTER {'ROUTINE' if description[:1] in 'AP' or 'FUN' in description else description} x"],
    )
    copy, live = powerful("app"), powerful()
    assert give(copy, it, live=live) == []
    assert [each.partition(" OWNER")[0] for each in statements(copy)] == given
    wanted = owners._ROUTINE_DEFINITION if "ROUTINE" in given[0] else owners._RELATION_DEFINITION
    assert [text for text, _ in live.asked] == [wanted]
    assert [text for text, _ in copy.asked].count(wanted) == 1
    absent = powerful()
    absent.definitions.clear()
    others = [powerful("app"), powerful("zoe"), powerful(text="changed"), powerful(text="longer")]
    for theirs, ours in (*((each, copy) for each in others), (powerful(), absent)):
        ours.done.clear()
        with pytest.raises(MoverError) as error:
            give(ours, it, live=theirs)
        assert error.value.reason == conditions.MISSING_GRANTS
        assert (
            f"{description} public.x belongs to other in the snapshot, a role with a superuser's" in error.value.message
        )
        assert ours.done == []


@pytest.mark.parametrize("lost", ["object", "database"])
def test_code_that_no_live_database_has_stays_with_the_application(lost: str) -> None:
    copy, live = powerful("app"), powerful()
    live.definitions.clear()
    (warning,) = give(copy, entry("VIEW", "x"), live=live if lost == "object" else None)
    assert warning.startswith(
        "'VIEW public.x' belonged to other, a role with a superuser's power, and now belongs to app"
    )
    assert "Read its definition before a superuser gives it back" in warning
    assert copy.done == []


@pytest.mark.parametrize("description", ["SEQUENCE", "TYPE", "DOMAIN", "SCHEMA", "COLLATION"])
def test_what_is_no_code_goes_to_a_superuser(description: str) -> None:
    copy = powerful("app")
    assert give(copy, entry(description, "x")) == []
    assert len(statements(copy)) == 1


def test_a_role_is_asked_about_once() -> None:
    copy = powerful("app", role="another")
    copy.objects["y"] = ("y", "app", False)
    assert give(copy, entry("VIEW", "x"), entry("VIEW", "y")) == []
    assert [params for text, params in copy.asked if "rolreplication" in text] == [["other"]]


@pytest.mark.parametrize(("answer", "found"), [([], True), ([(True,)], True), ([(False,)], False)])
def test_a_role_that_is_unknown_counts_as_powerful(answer: list[Any], *, found: bool) -> None:
    connection = SimpleNamespace(execute=lambda *_: Answer(answer))
    assert owners.is_powerful(cast(Connection, connection), "other") is found
