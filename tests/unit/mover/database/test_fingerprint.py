"""The fingerprint changes with everything that a schema-only restore depends on, and with nothing else."""

import time

import pytest

from ocore_mover.database import fingerprint
from ocore_mover.database.connect import connect
from ocore_mover.database.credentials import load
from support.mover.postgres_majors import create_role
from support.mover.site import Site


def read(site: Site) -> str:
    with connect(load(site.secret), application="test") as connection:
        return fingerprint.read(connection, [site.role.name])


@pytest.fixture
def shop(site: Site) -> Site:
    """A database with one of each, and some rows."""
    site.sql(
        "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE SEQUENCE numbers;CREATE FUNCTION twice(int) RETURNS int"
        " LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';CREATE TABLE t (id serial PRIMARY KEY, a int DEFAULT 1 CHECK (a >"
        " 0), m mood, long text);CREATE INDEX i ON t (twice(a)); CREATE VIEW v AS SELECT a FROM t; CREATE MATERIALIZED"
        " VIEW mv AS SELECT a FROM t;CREATE POLICY p ON t USING (a > 0); CREATE PUBLICATION pub FOR TABLE t; CREATE"
        " STATISTICS st ON a, m FROM t;CREATE TABLE parts (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF"
        " parts FOR VALUES IN (1);INSERT INTO t (a, m, long) SELECT g, 'good', repeat('x', 5000) FROM"
        " generate_series(1, 100) g; CREATE EXTENSION pg_trgm"
    )
    return site


#: What does not change the schema.
DATA = {
    "rows": "INSERT INTO t (a, m) VALUES (5, 'bad'); UPDATE t SET a = a + 1; DELETE FROM t WHERE a > 50",
    "a sequence's value": "SELECT nextval('numbers'), setval('t_id_seq', 5000)",
    "VACUUM": "VACUUM",
    "VACUUM FULL": "VACUUM FULL",
    "ANALYZE": "ANALYZE",
    "TRUNCATE": "TRUNCATE t",
    "REINDEX": "REINDEX TABLE t",
    "CLUSTER": "CLUSTER t USING t_pkey; ALTER TABLE t SET WITHOUT CLUSTER",
    "REFRESH": "REFRESH MATERIALIZED VIEW mv",
    "a large object": "SELECT lo_create(0)",
    "a temporary table": "CREATE TEMPORARY TABLE scratch (id serial PRIMARY KEY, a int DEFAULT 3 CHECK (a > 1));"
    " COMMENT ON TABLE scratch IS 'x'",
}


def test_data_and_maintenance_do_not_change_it(shop: Site) -> None:
    before = read(shop)
    assert len(before) == 64
    for what, statements in DATA.items():
        with shop.server.connect(shop.live, shop.role.name, shop.role.password) as connection:
            for statement in statements.split("; "):
                connection.execute(statement.encode())
            assert read(shop) == before, f"{what}, while the session is open"
        assert read(shop) == before, what


#: What does, as a superuser.
SCHEMA = {
    "a table": "CREATE TABLE more (a int)",
    "a column": "ALTER TABLE t ADD COLUMN b int",
    "a type of a column": "ALTER TABLE t ALTER COLUMN long TYPE varchar(9000)",
    "a default": "ALTER TABLE t ALTER COLUMN a SET DEFAULT 2",
    "a constraint": "ALTER TABLE t ADD CHECK (a < 1000)",
    "an index": "CREATE INDEX ON t (a)",
    "a view": "CREATE OR REPLACE VIEW v AS SELECT a + 0 AS a FROM t",
    "a function's body": "CREATE OR REPLACE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $1'",
    "a function's setting": "ALTER FUNCTION twice(int) SET search_path = public",
    "a type": "ALTER TYPE mood ADD VALUE 'so-so'",
    "a policy": "ALTER POLICY p ON t USING (a > 1)",
    "row security": "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "a trigger": "CREATE TRIGGER tr BEFORE UPDATE ON t FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "an event trigger": "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
    "CREATE EVENT TRIGGER note ON sql_drop EXECUTE FUNCTION note()",
    "a publication": "ALTER PUBLICATION pub SET (publish = 'insert')",
    "a foreign server": "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
    "an extension": "CREATE EXTENSION btree_gin",
    "an extension's schema": "CREATE SCHEMA other; ALTER EXTENSION pg_trgm SET SCHEMA other",
    "a version of an extension": "ALTER EXTENSION pg_trgm UPDATE TO '1.6'",
    "a partition": "CREATE TABLE part2 PARTITION OF parts FOR VALUES IN (2)",
    "statistics": "DROP STATISTICS st",
    "an owner": "ALTER TABLE t OWNER TO postgres",
    "a right": "GRANT SELECT ON t TO PUBLIC",
    "a right on a system's function": "REVOKE EXECUTE ON FUNCTION pg_catalog.now() FROM PUBLIC",
    "a comment": "COMMENT ON TABLE t IS 'x'",
    "a comment on a system's function that is removed": "COMMENT ON FUNCTION pg_catalog.now() IS NULL",
    "a setting of the database": "ALTER DATABASE {live} SET search_path = public",
    "a setting of the role": 'ALTER ROLE "{role}" SET search_path = public',
    "a right of the role": 'ALTER ROLE "{role}" BYPASSRLS',
    "a membership of the role": 'GRANT pg_monitor TO "{role}"',
    "the owner of the database": "ALTER DATABASE {live} OWNER TO postgres",
    "the name of a role": 'ALTER ROLE "{other}" RENAME TO "{other}-2"',
}


def test_every_change_of_the_schema_changes_it(shop: Site) -> None:
    other = create_role(shop.server, f"other-{shop.live}").name
    shop.server.execute(f'GRANT SELECT ON v TO "{other}"', shop.live)
    shop.server.execute("DROP EXTENSION pg_trgm; CREATE EXTENSION pg_trgm VERSION '1.5'", shop.live)
    seen = {read(shop): "the start"}
    for what, statements in SCHEMA.items():
        for statement in statements.split("; "):
            shop.server.execute(statement.format(live=shop.live, role=shop.role.name, other=other), shop.live)
        now = read(shop)
        assert now not in seen, f"{what} gives the fingerprint of {seen[now]}"
        seen[now] = what


def test_roles_and_databases_that_it_does_not_use_do_not_change_it(shop: Site) -> None:
    before = read(shop)
    other = create_role(shop.server, f"unused-{shop.live}").name
    shop.server.execute(f'CREATE DATABASE {shop.live}_other OWNER "{other}"')
    shop.server.execute(f"ALTER DATABASE {shop.live}_other SET work_mem = '8MB'")
    assert read(shop) == before


def test_names_that_are_not_valid_text(site: Site) -> None:
    site.server.execute(f"DROP DATABASE {site.live}")
    site.server.execute(
        f"CREATE DATABASE {site.live} OWNER \"{site.role.name}\" ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
    )
    before = read(site)
    with site.server.connect(site.live, site.role.name, site.role.password) as session:
        session.execute("SET client_encoding = 'SQL_ASCII'")
        session.execute(b'CREATE TABLE "caf\xe9" (a int)')
    assert read(site) != before


def test_a_hostile_search_path_does_not_choose_it(site: Site) -> None:
    site.sql(
        "CREATE SCHEMA evil; CREATE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT"
        " '\\x00'::bytea $$;"
    )
    site.sql(f"ALTER DATABASE {site.live} SET search_path = evil, pg_catalog")
    before = read(site)
    site.sql("CREATE TABLE public.t (a int)")
    assert read(site) != before


def test_a_large_schema_takes_seconds(site_any: Site) -> None:
    """As large as an ERP with all of its modules: 1,000 tables of 20 columns."""
    site_any.sql(
        "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE TABLE t%s (id serial PRIMARY KEY, %s)', i, (SELECT"
        " string_agg(format('c%s text DEFAULT ''x''', g), ', ') FROM generate_series(1, 20) g)); END LOOP; END $$"
    )
    began = time.monotonic()
    read(site_any)
    assert time.monotonic() - began < 20
