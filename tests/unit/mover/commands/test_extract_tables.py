"""`extract` of tables with a real server: one table is loaded into a scratch database that no one enters, a
condition is data, and nothing is left."""

import csv
import io
import json
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from psycopg import sql

from ocore_crds import naming
from ocore_crds.commands.extract import ExtractResult, TableRequest
from ocore_crds.reports.extracted import Extracted
from ocore_mover.database.copy_access import CopyAccess
from ocore_mover.database.extract.live import LiveSchema
from ocore_mover.database.extract.rows import Loaded, reading
from ocore_mover.database.extract.where import Column
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.report import Counter
from support.mover.beside import ENVIRONMENT, Finished, call, finish, start, was_killed
from support.mover.desk import Desk
from support.mover.postgres_majors import Server, create_role, write_secret
from support.mover.site import Site, drop_all, make_site

CAPACITY = ("--capacity", str(10**12))
NASTY = 'ta"ble; DROP/%s'


#: A column, an operator, its values.
Comparison = tuple[str, ...]


def where(table: str, *comparisons: Comparison) -> str:
    """The option for rows of a table for which all of these hold."""
    all_of = [{"column": column, "operator": operator, "values": values} for column, operator, *values in comparisons]
    return json.dumps({"name": table, "where": [{"allOf": all_of}]})


@dataclass
class Tables:
    """A snapshot of a database with some tables, and the commands on it."""

    desk: Desk
    admin: Path
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def site(self) -> Site:
        return self.desk.site

    def arguments(self, *tables: str, admin: bool = True, format_: str = "CSV") -> list[str]:
        given = [option for table in tables for option in ("--table", table)]
        roles = ["--admin", str(self.admin)] if admin else []
        return ["extract", *self.desk.which, "--extract-id", self.id, *given, *roles, "--database",
                str(self.site.secret), "--scratch", str(self.desk.scratch), "--format", format_, *CAPACITY]  # fmt: skip

    def run(self, *tables: str, admin: bool = True, format_: str = "CSV") -> Finished:
        return call(*self.arguments(*tables, admin=admin, format_=format_))

    def files(self, done: Finished) -> dict[str, bytes]:
        assert done.code == 0, done.stdout + done.stderr
        data = (self.desk.store / done.result["payload"]["extracted"]["key"]).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]

    def rows(self, done: Finished, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.files(done)[f"{name}.csv"].decode())))

    def nothing_left(self) -> None:
        assert self.site.databases() == {self.site.live}
        prefix = f"ocore_rb_{naming.short_id(self.id)}"
        assert self.site.server.execute(f"SELECT rolname FROM pg_roles WHERE rolname LIKE '{prefix}%'") == []
        assert list(self.desk.scratch.iterdir()) == []


def fill(site: Site) -> None:
    site.sql("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    site.sql("CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a * 2'")
    site.sql("CREATE TABLE country (id int PRIMARY KEY, name text)")
    site.sql("INSERT INTO country VALUES (1, 'ch')")
    site.sql(
        "CREATE TABLE partner (id serial PRIMARY KEY, name varchar(64) NOT NULL, mood mood,"
        " country int REFERENCES country,"
        " double int GENERATED ALWAYS AS (twice(id)) STORED, data bytea, made timestamptz DEFAULT now())"
    )
    site.sql(
        "INSERT INTO partner (name, mood, country, data)"
        " SELECT 'n' || g, 'happy', 1, '\\x00ff' FROM generate_series(1, 99) g"
    )
    site.sql("UPDATE partner SET name = 'a,\"b\"' || chr(10) || 'c', data = NULL WHERE id = 7")
    site.sql("CREATE TABLE ballast AS SELECT g, repeat(md5(g::text), 20) AS t FROM generate_series(1, 20000) g")
    site.sql('CREATE SCHEMA "Odd Schema"')
    place = sql.Identifier("Odd Schema", NASTY).as_string()
    site.sql(f'CREATE TABLE {place} ("sel""ect" int, "Ä b" text)')
    site.sql(f"INSERT INTO {place} VALUES (1, 'x')")
    site.sql("CREATE TABLE parts (a int) PARTITION BY RANGE (a)")
    site.sql("CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)")
    site.sql("INSERT INTO parts VALUES (1), (2)")
    site.sql("CREATE VIEW seen AS SELECT 1 AS a")


def prepared(site: Site, folder: Path) -> Tables:
    role = create_role(site.server, f"admin-{site.live}", "SUPERUSER")
    desk = Desk(site, folder, layout="Plain")
    (desk.claim / desk.path / "a").write_text("a")
    fill(site)
    desk.ok("snapshot")
    return Tables(desk, write_secret(folder / "admin", site.server, role, "postgres"))


@pytest.fixture
def tables(site: Site, tmp_path: Path) -> Tables:
    return prepared(site, tmp_path)


@pytest.fixture
def tables_any(site_any: Site, tmp_path: Path) -> Tables:
    return prepared(site_any, tmp_path)


@pytest.fixture(scope="module")
def kept(server17: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCORE_PG_BIN", str(server17.bin))
        site = make_site(server17, tmp_path_factory.mktemp("kept"))
        yield prepared(site, site.secret.parent)
    drop_all(site)


@pytest.fixture
def tables_read(kept: Tables, server_any: Server) -> Tables:
    """For tests that only read: one snapshot, another Extract."""
    return replace(kept, id=str(uuid.uuid4()))


def test_one_table_and_nothing_else_is_read(tables: Tables) -> None:
    live = tables.site.sql("SELECT oid, relfilenode FROM pg_class WHERE oid >= 16384 ORDER BY 1")
    done = tables.run("public.partner")
    rows = tables.rows(done, "partner")
    assert len(rows) == 99
    assert rows[0] | {"made": ""} == {
        "id": "1", "name": "n1", "mood": "happy", "country": "1", "double": "2", "data": "\\x00ff", "made": "",
    }  # fmt: skip
    assert {row["name"] for row in rows if row["id"] == "7"} == {'a,"b"\nc'}
    payload = done.result["payload"]
    assert payload["tables"][0] | {"bytes": 0} == {"schema": "public", "name": "partner", "rows": 99, "bytes": 0}
    dump = tables.desk.manifest().database
    assert dump is not None
    toc_and_rows = [o.size for o in dump.files if "toc.dat" in o.key]
    assert toc_and_rows[0] < payload["extracted"]["bytesRead"] < sum(o.size for o in dump.files) / 2
    assert (payload["extracted"]["rows"], payload["extracted"]["files"]) == (99, 1)
    tables.nothing_left()
    assert tables.site.sql("SELECT oid, relfilenode FROM pg_class WHERE oid >= 16384 ORDER BY 1") == live


def test_conditions_and_odd_names(tables_read: Tables) -> None:
    done = tables_read.run(
        where("partner", ("mood", "In", "happy"), ("id", "AtMost", "2")),
        where("parts_1", ("a", "GreaterThan", "5")),
        f"Odd Schema.{NASTY}",
    )
    assert sorted(row["id"] for row in tables_read.rows(done, "partner")) == ["1", "2"]
    found = tables_read.files(done)
    assert found["parts_1.csv"] == b"a\n"
    assert found[f"{NASTY.replace('%', '%25').replace('/', '%2F')}.csv"].decode() == '"sel""ect",Ä b\n1,x\n'
    tables_read.nothing_left()


def psql(site: Site, script: bytes) -> subprocess.CompletedProcess[bytes]:
    where = f"host=127.0.0.1 port={site.server.port} user={site.role.name} dbname={site.live}"
    return subprocess.run(
        [site.server.bin / "psql", "-X", "-q", where],
        input=script, capture_output=True, timeout=60, check=False, env={"PGPASSWORD": site.role.password},
    )  # fmt: skip


def test_a_script_for_psql(tables: Tables) -> None:
    """It makes a schema of its own, without the types of the application, and does nothing the second time."""
    done, site = (
        tables.run(where("partner", ("id", "LessThan", "8")), f"Odd Schema.{NASTY}", format_="SQL"),
        tables.site,
    )
    schema = naming.restored_schema(tables.id)
    for script in tables.files(done).values():
        for code in (0, 3):
            ran = psql(site, script)
            assert ran.returncode == code, ran.stderr
    assert site.sql(f'SELECT count(*), min(mood), max(double) FROM "{schema}".partner') == [(7, "happy", 14)]
    assert site.sql("SELECT count(*) FROM partner") == [(99,)]
    query = f"SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{schema}.partner'"
    kinds = dict(site.sql(f"{query}::regclass AND attnum > 0"))
    assert kinds == {
        "id": "integer", "name": "character varying(64)", "mood": "text", "country": "integer", "double": "integer",
        "data": "bytea", "made": "timestamp with time zone",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("public.none", "no table public.none"),
        ("public.parts", "Name its partitions"),
        ("public.seen", "is a view"),
    ],
)
def test_what_has_no_rows_of_its_own(tables_read: Tables, table: str, said: str) -> None:
    done = tables_read.run(table)
    assert done.reason == "TablesNotFound"
    assert said in done.message
    tables_read.nothing_left()


def test_a_listing_reads_no_rows(tables_read: Tables) -> None:
    done = call("extract", *tables_read.desk.which, "--extract-id", tables_read.id, "--list-tables")
    assert done.code == 0, done.stdout
    result, dump = done.result["payload"]["extracted"], tables_read.desk.manifest().database
    assert dump is not None
    assert result["bytesRead"] == next(o.size for o in dump.files if "toc.dat" in o.key)
    lines = (tables_read.desk.store / result["key"]).read_text().splitlines()
    found = {(line["schema"], line["name"]): line["rows"] for line in map(json.loads, lines)}
    assert found == {
        ("Odd Schema", NASTY): 1, ("public", "ballast"): 20000, ("public", "country"): 1, ("public", "parts_1"): 2,
        ("public", "partner"): 99,
    }  # fmt: skip


def test_a_condition_needs_no_administrator(tables_read: Tables) -> None:
    done = tables_read.run(where("partner", ("id", "In", "1")), admin=False)
    assert len(tables_read.rows(done, "partner")) == 1
    tables_read.nothing_left()


def test_row_111_the_server_is_not_filled(tables_read: Tables) -> None:
    arguments = tables_read.arguments("partner")
    unknown = call(*arguments[: -len(CAPACITY)])
    assert unknown.reason == "CapacityUnknown"
    small = call(*arguments[: -len(CAPACITY)], "--capacity", "1000000")
    assert small.reason == "InsufficientCapacity"
    assert "needs up to" in small.message  # before anything is loaded; the watch of the load would say it later
    tables_read.nothing_left()


def test_row_110_what_a_killed_attempt_leaves_is_dropped(tables_any: Tables) -> None:
    """By the next attempt, or by the removal; another Extract's stays."""
    site, arguments = tables_any.site, tables_any.arguments(where("partner", ("id", "In", "1")))
    scratch = naming.extract_database(site.live, tables_any.id)
    for again in (True, False):
        assert was_killed(finish(start(site, *arguments, failpoints="extract-loaded=kill")))
        assert site.databases() == {site.live, scratch}
        # It refuses connections, once the sessions of the killed attempt have ended.
        if again:
            assert len(tables_any.rows(call(*arguments), "partner")) == 1
            tables_any.nothing_left()
    remove = ["remove-extract", "--environment-id", ENVIRONMENT, "--store", tables_any.desk.store.as_uri(),
              "--database", str(site.secret), "--admin", str(tables_any.admin), "--extract-id"]  # fmt: skip
    assert call(*remove, str(uuid.uuid4())).result["payload"]["database"] is False
    assert site.databases() == {site.live, scratch}
    removed = call(*remove, tables_any.id).result["payload"]
    assert (removed["database"], removed["objects"]) == (True, 1)
    assert site.databases() == {site.live}
    assert not list(tables_any.desk.store.rglob("tables.tar"))


#: Conditions that would do something in text of SQL: in names, operators and values of a condition they do nothing.
HOSTILE = (
    "pg_advisory_lock(id)",
    "1) OR pg_logical_emit_message(true, '', repeat('x', 1000000)) IS NOT NULL --",
    'id"; DROP TABLE partner; --',
    "'; SELECT pg_sleep(9); --",
    "E'\\' OR true --",
    "{1,2}",
    "$$",
    "%s %(a)s {} {0}",
)


def test_row_109_nothing_of_a_condition_is_sql(tables_read: Tables) -> None:
    """A value is compared and chooses nothing; a column of that name does not exist; an operator is of the list."""
    for text in HOSTILE:
        tables = replace(tables_read, id=str(uuid.uuid4()))
        value = tables.run(where("partner", ("name", "In", text), ("name", "NotContains", text)))
        assert tables.rows(value, "partner") == [], text
        tables.nothing_left()
        column = tables.run(where("partner", (text[:63], "IsNotNull")))
        assert (column.reason, "has no column" in column.message) == ("RowFilterFailed", True), text
        assert tables.run(where("partner", ("id", f"= ANY (SELECT {text})", "1"))).code == 2, text
        tables.nothing_left()
        assert tables.site.sql("SELECT count(*) FROM partner") == [(99,)], text


def test_row_109_nothing_of_the_application_runs_for_a_condition(site: Site) -> None:
    """Its casts and operators are the first that PostgreSQL would choose."""
    fill(site)
    evil = "RETURNS {} LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE 'called'; END $$"
    site.sql("CREATE FUNCTION spy(mood) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'wrong' $$")
    site.sql("CREATE CAST (mood AS text) WITH FUNCTION spy(mood) AS IMPLICIT")
    site.sql("CREATE DOMAIN whole AS int CHECK (VALUE > 0)")
    for left, right in (("mood", "text"), ("text", "text"), ("varchar", "text"), ("whole", "int"), ("int", "int")):
        site.sql(f"CREATE FUNCTION spy({left}, {right}) {evil.format('boolean')}")
        site.sql(f"CREATE OPERATOR public.= (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = spy)")
    site.sql(f"CREATE FUNCTION concat(mood) {evil.format('text')}")
    site.sql("CREATE TABLE owned (m mood, w whole, t text, v varchar(9))")
    site.sql("INSERT INTO owned VALUES ('sad', 1, 'a', 'b'), ('happy', 2, 'c', 'd'), (NULL, NULL, 'e', NULL)")
    chosen = where("owned", ("m", "In", "sad"), ("w", "In", "1"), ("t", "In", "a"), ("v", "StartsWith", "b"))
    assert rows_of(site, chosen) == [{"m": "sad", "w": "1", "t": "a", "v": "b"}]


def rows_of(site: Site, wanted: str) -> list[dict[str, str]]:
    """As the command reads them from the scratch database."""
    file = io.BytesIO()
    with reading(CopyAccess(site.target.app, site.role.name), Token()) as reader:
        reader.copy(reader.table(TableRequest.model_validate(wanted)), "CSV", file)
    return list(csv.DictReader(io.StringIO(file.getvalue().decode())))


ORDERS = {
    "equal": (("id", "In", "1", "2"), 2),
    "not equal": (("id", "NotIn", "1", "2"), 97),
    "less": (("id", "LessThan", "10"), 9),
    "at most": (("id", "AtMost", "10"), 10),
    "greater": (("id", "GreaterThan", "90"), 9),
    "at least": (("id", "AtLeast", "90"), 10),
    "text by bytes": (("name", "LessThan", "n1"), 1),
    "starts": (("name", "StartsWith", "n9"), 11),
    "does not start": (("name", "NotStartsWith", "n"), 1),
    "contains": (("name", "Contains", '"b"'), 1),
    "does not contain": (("name", "NotContains", "1"), 80),
    "a wildcard is a character": (("name", "Contains", "%"), 0),
    "null": (("data", "IsNull"), 1),
    "not null": (("data", "IsNotNull"), 98),
    "null is not another value": (("data", "NotIn", "\\x01"), 98),
    "null has no text": (("data", "StartsWith", ""), 98),
    "type of the application": (("mood", "In", "happy"), 99),
    "a number as text": (("double", "StartsWith", "19"), 5),
    "a time": (("made", "LessThan", "2001-01-01"), 0),
    "a time with its zone": (("made", "GreaterThan", "2001-01-01 00:00:00+05"), 99),
}


def test_what_each_operator_chooses(site: Site) -> None:
    fill(site)
    for name, (comparison, number) in ORDERS.items():
        assert len(rows_of(site, where("partner", comparison))) == number, name


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (("id", "In", "one"), 'invalid input syntax for type integer: "one"'),
        (("id", "In", "99999999999"), "out of range for type integer"),
        (("made", "LessThan", "soon"), "invalid input syntax for type timestamp"),
        (("mood", "LessThan", "sad"), "LessThan does not go with column mood"),
        (("ctid", "IsNotNull"), "no column 'ctid'"),
    ],
)
def test_a_condition_that_does_not_fit_its_table(tables_read: Tables, comparison: Comparison, said: str) -> None:
    done = tables_read.run(where("partner", ("id", "In", "1"), comparison))
    assert done.reason == "RowFilterFailed"
    assert "where of table public.partner" in done.message
    assert said in done.message
    tables_read.nothing_left()


def test_one_of_several_conditions(tables_read: Tables) -> None:
    either = {"allOf": [{"column": "id", "operator": "In", "values": ["50"]}]}
    both = {
        "allOf": [
            {"column": "id", "operator": "LessThan", "values": ["9"]},
            {"column": "name", "operator": "NotStartsWith", "values": ["n"]},
        ]
    }
    done = tables_read.run(json.dumps({"name": "partner", "where": [either, both]}))
    assert sorted(row["id"] for row in tables_read.rows(done, "partner")) == ["50", "7"]


def test_a_table_without_columns(tables: Tables) -> None:
    tables.site.sql("CREATE TABLE bare ()")
    tables.site.sql("INSERT INTO bare DEFAULT VALUES")
    tables.desk.snapshot_id = str(uuid.uuid4())
    tables.desk.ok("snapshot")
    assert tables.files(tables.run("bare")) == {"bare.csv": b"\n\n"}
    script = tables.files(tables.run("bare", format_="SQL"))["bare.sql"]
    ran = psql(tables.site, script)
    assert ran.returncode == 0, ran.stderr
    assert tables.site.sql(f'SELECT count(*) FROM "{schema_of(tables)}".bare') == [(1,)]
    tables.site.sql(f'DROP SCHEMA "{schema_of(tables)}" CASCADE')
    assert into_database(tables, "bare").code == 0
    assert tables.site.sql(f'SELECT count(*) FROM "{schema_of(tables)}".bare') == [(1,)]


def test_a_check_that_uses_a_cast_of_the_application(tables_any: Tables) -> None:
    """A table depends on the function of a cast, and not on the cast: a dump says no more."""
    site = tables_any.site
    site.sql("CREATE TYPE amount AS (value numeric)")
    site.sql(
        "CREATE FUNCTION amount_of(given int) RETURNS amount LANGUAGE sql IMMUTABLE AS 'SELECT ROW(given)::amount'"
    )
    site.sql("CREATE CAST (int AS amount) WITH FUNCTION amount_of(int)")
    site.sql("CREATE TABLE price (id int CHECK (((id::amount)).value > 0))")
    site.sql("INSERT INTO price VALUES (1), (2)")
    tables_any.desk.snapshot_id = str(uuid.uuid4())
    tables_any.desk.ok("snapshot")
    assert tables_any.rows(tables_any.run("price"), "price") == [{"id": "1"}, {"id": "2"}]
    tables_any.nothing_left()


# --- into the live database ------------------------------------------------------------------------------------------


def schema_of(tables: Tables) -> str:
    return naming.restored_schema(tables.id)


def into_database(tables: Tables, *wanted: str, failpoints: str = "") -> Finished:
    arguments = [*tables.arguments(*wanted), "--into-database"]
    return finish(start(tables.site, *arguments, failpoints=failpoints)) if failpoints else call(*arguments)


def removed(tables: Tables) -> Finished:
    site = tables.site
    return call("remove-extract", "--environment-id", ENVIRONMENT, "--extract-id", tables.id, "--from-database",
                "--database", str(site.secret), "--admin", str(tables.admin))  # fmt: skip


def was_dropped(tables: Tables) -> bool:
    done = removed(tables)
    assert done.code == 0, done.stdout
    return bool(done.result["payload"]["schemaDropped"])


def test_a_new_schema_beside_what_is_live(tables: Tables) -> None:
    site, schema = tables.site, schema_of(tables)
    site.sql("UPDATE partner SET name = 'changed since'")
    before = site.sql("SELECT oid, relfilenode FROM pg_class WHERE oid >= 16384 ORDER BY 1")
    done = into_database(tables, where("partner", ("id", "LessThan", "8")), f"Odd Schema.{NASTY}")
    assert done.code == 0, done.stdout
    result = done.result["payload"]["extracted"]
    assert (result["schema"], result["rows"], result["files"]) == (schema, 8, 2)
    assert site.sql(f"SELECT count(*), min(mood), max(double) FROM {schema}.partner") == [(7, "happy", 14)]
    assert site.sql(f"SELECT name FROM {schema}.partner WHERE id = 7") == [('a,"b"\nc',)]
    place = sql.Identifier(schema, NASTY).as_string()
    assert site.sql(f"SELECT * FROM {place}") == [(1, "x")]
    owners = f"SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace"
    assert site.sql(owners) == [(site.role.name,)]
    assert site.sql("SELECT DISTINCT name FROM partner") == [("changed since",)]
    mine = f"SELECT oid, relfilenode FROM pg_class WHERE oid >= 16384 AND oid <= {before[-1][0]} ORDER BY 1"
    assert site.sql(mine) == before
    tables.nothing_left()
    assert not list(tables.desk.store.rglob("tables.tar"))
    assert was_dropped(tables) is True
    assert site.sql(f"SELECT nspname FROM pg_namespace WHERE nspname = '{schema}'") == []
    assert was_dropped(tables) is False
    assert site.sql("SELECT oid, relfilenode FROM pg_class WHERE oid >= 16384 ORDER BY 1") == before


def test_row_139_null_in_an_array_stays_null_in_the_new_schema(site_any: Site, tmp_path: Path) -> None:
    site_any.sql("CREATE TABLE listed (elements text[]); INSERT INTO listed VALUES (ARRAY[NULL, 'a'])")
    tables = prepared(site_any, tmp_path)
    site_any.server.execute(f'ALTER ROLE "{site_any.role.name}" SET array_nulls = off')
    assert into_database(tables, "listed").code == 0
    assert site_any.sql(f"SELECT elements[1] IS NULL FROM {schema_of(tables)}.listed") == [(True,)]


@pytest.mark.parametrize(("point", "left"), [("extract-written", 0), ("extract-visible", 1)])
def test_row_112_a_killed_attempt_leaves_nothing_or_all_of_the_schema(
    tables_any: Tables, point: str, left: int
) -> None:
    site, schema = tables_any.site, schema_of(tables_any)
    assert was_killed(into_database(tables_any, "partner", failpoints=f"{point}=kill"))
    assert len(site.sql(f"SELECT nspname FROM pg_namespace WHERE nspname = '{schema}'")) == left
    if left:
        site.sql(f"DELETE FROM {schema}.partner")  # the user has taken the rows
    done = into_database(tables_any, "partner")
    assert done.code == 0, done.stdout
    assert done.result["payload"]["extracted"]["rows"] == 99
    assert done.result["payload"]["tables"][0]["rows"] == 99
    assert site.sql(f"SELECT count(*) FROM {schema}.partner") == [(0 if left else 99,)]
    tables_any.nothing_left()


def test_row_111_the_load_into_the_live_database_is_watched(site: Site, tmp_path: Path, counter: Counter) -> None:
    """The volume has less room than it seemed to have: the transaction ends, and nothing of it stays."""
    site.sql("CREATE TABLE a AS SELECT 1 AS b")
    (tmp_path / "rows").write_bytes(b"1\n")
    loaded = Loaded(TableRequest(name="a"), (Column("b", "integer", "int4"),))
    schema = LiveSchema(site.target, str(uuid.uuid4()), Token())
    with pytest.raises(MoverError, match=r"restored_[0-9a-f]+ was stopped") as raised:
        schema.create([(loaded, tmp_path / "rows")], ExtractResult(extracted=Extracted()), counter, 1 << 20)
    assert raised.value.reason == "InsufficientCapacity"
    assert schema.made() is None


def test_row_112_a_schema_that_it_has_not_made_is_neither_written_nor_dropped(tables_any: Tables) -> None:
    site, schema = tables_any.site, schema_of(tables_any)
    site.sql(f"CREATE SCHEMA {schema}")
    site.sql(f"CREATE TABLE {schema}.mine (a int)")
    for comment in ("NULL", "'ocore.extract=0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c02'"):
        site.sql(f"COMMENT ON SCHEMA {schema} IS {comment}")
        done = into_database(tables_any, "partner")
        assert done.reason == "TargetRefused"
        assert schema in done.message
        assert was_dropped(tables_any) is False
    assert site.sql(f"SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace") == [("mine",)]


def test_row_112_what_a_user_has_added_is_not_dropped(tables_any: Tables) -> None:
    site, schema = tables_any.site, schema_of(tables_any)
    assert into_database(tables_any, "partner").code == 0
    site.sql(f"CREATE VIEW public.uses AS SELECT * FROM {schema}.partner")
    assert removed(tables_any).reason == "RestoreFailed"
    site.sql("DROP VIEW public.uses")
    site.sql(f"CREATE TABLE {schema}.mine (a int)")
    assert removed(tables_any).reason == "RestoreFailed"
    assert site.sql(f"SELECT count(*) FROM {schema}.partner") == [(99,)]
    site.sql(f"ALTER SCHEMA {schema} RENAME TO kept")  # the user keeps it
    assert was_dropped(tables_any) is False
    assert site.sql("SELECT count(*) FROM kept.partner") == [(99,)]


def test_subscribers_of_all_tables_are_not_stopped(tables_any: Tables) -> None:
    tables_any.site.server.execute("CREATE PUBLICATION everything FOR ALL TABLES", tables_any.site.live)
    done = into_database(tables_any, "partner")
    assert done.reason == "TargetRefused"
    assert "publication everything" in done.message


def test_a_role_that_may_not_create_a_schema(tables_any: Tables) -> None:
    site = tables_any.site
    site.server.execute(f'ALTER DATABASE "{site.live}" OWNER TO postgres')
    done = into_database(tables_any, "partner")
    assert done.reason == "MissingGrants"
    assert f"grant it CREATE on database {site.live}" in done.message
