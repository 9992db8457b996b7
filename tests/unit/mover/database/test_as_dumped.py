"""Nothing is widened: owners, identities and rights come back as the dump has them, or the restore fails."""

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from ocore_mover.database.dump import dump
from ocore_mover.database.dump.drain import Drain
from ocore_mover.database.programs import Running
from ocore_mover.database.restore import grants, owners
from ocore_mover.database.toc import TableOfContents
from support.mover.postgres_majors import create_role
from support.mover.rollback import Shell, admin_secret, superuser_secret
from support.mover.site import Site
from support.mover.superusers import SUPERUSERS

OBJECTS = """
CREATE SCHEMA theirs AUTHORIZATION "{other}";
CREATE TABLE theirs.t (id serial PRIMARY KEY, a int);
CREATE VIEW theirs.v AS SELECT a FROM theirs.t;
CREATE MATERIALIZED VIEW theirs.m AS SELECT 1 AS a;
CREATE SEQUENCE theirs.s;
CREATE FUNCTION theirs.f(a int, VARIADIC b text[]) RETURNS int LANGUAGE sql
  SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT 1';
CREATE PROCEDURE theirs.p() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE theirs.a(int) (sfunc = int4pl, stype = int4);
CREATE TYPE theirs.mood AS ENUM ('a');
CREATE DOMAIN theirs.d AS int;
CREATE COLLATION theirs.c FROM "C";
CREATE STATISTICS theirs.st ON id, a FROM theirs.t;
ALTER TABLE theirs.t OWNER TO "{other}"; ALTER VIEW theirs.v OWNER TO "{other}";
ALTER MATERIALIZED VIEW theirs.m OWNER TO "{other}"; ALTER SEQUENCE theirs.s OWNER TO "{other}";
ALTER ROUTINE theirs.f(int, text[]) OWNER TO "{other}"; ALTER ROUTINE theirs.p() OWNER TO "{other}";
ALTER ROUTINE theirs.a(int) OWNER TO "{other}"; ALTER TYPE theirs.mood OWNER TO "{other}";
ALTER DOMAIN theirs.d OWNER TO "{other}"; ALTER COLLATION theirs.c OWNER TO "{other}";
ALTER STATISTICS theirs.st OWNER TO "{other}";
ALTER TABLE theirs.t ENABLE ROW LEVEL SECURITY; ALTER TABLE theirs.t FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON theirs.t AS RESTRICTIVE FOR SELECT TO "{other}" USING (a > 0);
REVOKE ALL ON FUNCTION theirs.f(int, text[]) FROM PUBLIC;
SELECT lo_create(99); ALTER LARGE OBJECT 99 OWNER TO "{other}"; GRANT SELECT ON LARGE OBJECT 99 TO "{app}";
GRANT USAGE ON SCHEMA theirs TO "{app}"; GRANT SELECT ON ALL TABLES IN SCHEMA theirs TO "{app}";
GRANT SELECT ON ALL SEQUENCES IN SCHEMA theirs TO "{app}";
"""
#: Owner, identity and rights of everything in the schema.
DESCRIPTION = """
SELECT 'c', relname::text, pg_get_userbyid(relowner)::text, relrowsecurity::text || relforcerowsecurity, relacl::text
  FROM pg_class WHERE relnamespace = 'theirs'::regnamespace
UNION ALL SELECT 'f', proname || pg_get_function_identity_arguments(oid), pg_get_userbyid(proowner),
  prosecdef || coalesce(proconfig::text, ''), proacl::text
  FROM pg_proc WHERE pronamespace = 'theirs'::regnamespace
UNION ALL SELECT 't', typname, pg_get_userbyid(typowner), '', typacl::text
  FROM pg_type WHERE typnamespace = 'theirs'::regnamespace
UNION ALL SELECT 'n', nspname, pg_get_userbyid(nspowner), '', nspacl::text
  FROM pg_namespace WHERE nspname IN ('theirs', 'public')
UNION ALL SELECT 'o', collname, pg_get_userbyid(collowner), '', ''
  FROM pg_collation WHERE collnamespace = 'theirs'::regnamespace
UNION ALL SELECT 's', stxname, pg_get_userbyid(stxowner), '', ''
  FROM pg_statistic_ext WHERE stxnamespace = 'theirs'::regnamespace
UNION ALL SELECT 'l', oid::text, pg_get_userbyid(lomowner), '', lomacl::text FROM pg_largeobject_metadata
UNION ALL SELECT 'p', polname, polcmd::text || polpermissive,
  array_to_string(ARRAY(SELECT rolname FROM pg_roles WHERE oid = ANY(polroles)), ','), pg_get_expr(polqual, polrelid)
  FROM pg_policy
ORDER BY 1, 2
"""


@pytest.mark.parametrize("lost", [False, True], ids=["live", "lost"])
def test_objects_of_another_role_are_its_own_again(site: Site, tmp_path: Path, *, lost: bool) -> None:
    """Also those that the live database no longer has."""
    other = create_role(site.server, f"other-{site.live}", "BYPASSRLS").name
    site.server.execute(f'ALTER ROLE "{site.role.name}" BYPASSRLS')
    site.server.execute(OBJECTS.format(other=other, app=site.role.name), site.live)
    site.server.execute(f'ALTER ROLE "{other}" NOBYPASSRLS')
    before = site.server.execute(DESCRIPTION, site.live)
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    shell.ok("snapshot")
    if lost:
        site.server.execute("DROP SCHEMA theirs CASCADE; SELECT lo_unlink(99)", site.live)
    done = shell.ok("restore")
    assert shell.warnings(done) == []
    shell.ok("switch", "--now")
    assert site.server.execute(DESCRIPTION, site.live) == before


def test_a_role_that_is_gone(site_any: Site, tmp_path: Path) -> None:
    other = create_role(site_any.server, f"other-{site_any.live}").name
    site_any.server.execute(
        f'CREATE TABLE theirs AS SELECT 1 AS a; ALTER TABLE theirs OWNER TO "{other}"', site_any.live
    )
    site_any.server.execute(f'GRANT SELECT ON theirs TO "{site_any.role.name}"', site_any.live)
    shell = Shell(site_any, tmp_path, superuser_secret(site_any, tmp_path))
    shell.ok("snapshot")
    site_any.server.execute("DROP TABLE theirs", site_any.live)
    site_any.server.execute(f'DROP ROLE "{other}"')
    refused = shell.run("restore")
    assert refused.reason == "MissingGrants"
    assert f"role {other} does not exist: create it" in refused.message
    assert site_any.databases() == {site_any.live}


def test_objects_of_a_superuser_that_the_live_database_has(site: Site, tmp_path: Path) -> None:
    site.server.execute(SUPERUSERS.format(app=site.role.name), site.live)
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    shell.ok("snapshot")
    shell.ok("restore")
    shell.ok("switch", "--now")
    assert site.sql("SELECT public.sudo()") == [("postgres",)]
    found = site.server.execute(
        "SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('secrets', 'log') ORDER BY 1",
        site.live,
    )
    assert found == [("log", "postgres"), ("secrets", "postgres")]


REPLACE = {
    "function": (
        "CREATE OR REPLACE FUNCTION public.sudo() RETURNS text LANGUAGE sql SECURITY DEFINER AS ''SELECT"
        " ''''evil''''::text''"
    ),
    "settings": "ALTER FUNCTION public.sudo() SET work_mem = ''1MB''",
    "view": "CREATE OR REPLACE VIEW public.secrets AS SELECT ''evil''::name AS rolname",
    "rule": "CREATE RULE evil AS ON INSERT TO public.log DO ALSO SELECT 1",
    "index": "CREATE INDEX evil ON public.log ((a + 1))",
    "default": "ALTER TABLE public.log ALTER a SET DEFAULT 1",
}


@pytest.mark.parametrize("what", REPLACE)
def test_row_27_what_the_load_changed_does_not_go_to_a_superuser(site_any: Site, tmp_path: Path, what: str) -> None:
    """Code of the application runs while the data is loaded, when the superuser's objects belong to the application
    still."""
    site, statement = site_any, REPLACE[what]
    site.server.execute(SUPERUSERS.format(app=site.role.name), site.live)
    site.sql(
        "CREATE FUNCTION public.replace() RETURNS boolean LANGUAGE plpgsql AS $body$ BEGIN"
        f" BEGIN EXECUTE '{statement}'; EXCEPTION WHEN OTHERS THEN NULL; END; RETURN true; END $body$;"
        "CREATE TABLE trap (a int CHECK (public.replace())); INSERT INTO trap VALUES (1)"
    )
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    shell.ok("snapshot")
    refused = shell.run("restore")
    assert refused.reason == "MissingGrants"
    assert "a superuser's power" in refused.message
    assert site.databases() == {site.live}
    assert site.server.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ocore%'") == []


def execute_rights(site: Site) -> list[tuple[object, ...]]:
    return site.server.execute("SELECT proacl::text FROM pg_proc WHERE proname = 'similarity'", site.live)


def test_a_right_that_was_revoked_from_an_extension(site: Site, tmp_path: Path) -> None:
    """REVOKE … FROM PUBLIC comes back with a superuser; without one the restore and the probe say that it would not."""
    site.sql("CREATE EXTENSION pg_trgm")
    reader = create_role(site.server, f"reader-{site.live}").name
    site.server.execute(
        "REVOKE EXECUTE ON FUNCTION similarity(text, text) FROM PUBLIC; GRANT EXECUTE ON FUNCTION similarity(text,"
        f' text) TO "{reader}"',
        site.live,
    )
    before = execute_rights(site)
    open_shell = Shell(site, tmp_path)
    open_shell.ok("snapshot")
    refused = open_shell.run("restore")
    assert refused.reason == "MissingGrants"
    assert "REVOKE ALL ON FUNCTION public.similarity(text, text) FROM PUBLIC" in refused.message
    findings = open_shell.run("probe").result["payload"]["rollback"]
    assert [f for f in findings if "similarity(text,text)" in f["message"]], findings

    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path), snapshot_id=open_shell.snapshot_id)
    assert shell.run("probe").result["payload"]["rollback"] == []
    shell.ok("restore")
    shell.ok("switch", "--now")
    assert execute_rights(site) == before


def test_an_administrator_without_the_right_to_make_the_role(site: Site, tmp_path: Path) -> None:
    secret = admin_secret(site, tmp_path)
    shell = Shell(site, tmp_path, secret)
    site.sql("CREATE TABLE t AS SELECT 1 AS a")
    shell.ok("snapshot")
    site.server.execute(f'ALTER ROLE "admin-{site.live}" NOCREATEROLE')
    refused = shell.run("restore")
    assert refused.reason == "MissingGrants"
    assert "it needs CREATEROLE" in refused.message
    assert site.databases() == {site.live}
    site.server.execute(f'ALTER ROLE "admin-{site.live}" CREATEROLE')
    shell.ok("restore")
    shell.ok("switch", "--now")
    assert site.sql("SELECT a FROM t") == [(1,)]


def test_notices_of_the_server_are_in_the_evidence(site: Site, tmp_path: Path) -> None:
    site.sql(
        "CREATE FUNCTION public.note() RETURNS boolean LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE WARNING 'something is odd'; RETURN true; END $$;"
        "CREATE TABLE t (a int CHECK (public.note())); INSERT INTO t VALUES (1)"
    )
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    shell.ok("snapshot")
    assert [w for w in shell.warnings(shell.ok("restore")) if "something is odd" in w]


#: What a database or a role has set → what of the application is another value without it.
MEANINGS = {
    "array_nulls = off": "SELECT elements[1] IS NULL FROM kept",
    "lc_monetary = 'POSIX'": "SELECT priced FROM kept",
}


@pytest.mark.parametrize("setting", MEANINGS)
@pytest.mark.parametrize("of", ["DATABASE", "ROLE"])
def test_row_139_values_mean_the_same_whatever_a_role_or_database_has_set(
    site_any: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str, setting: str
) -> None:
    """The text of money is that of a locale, and with array_nulls off NULL in an array is a word."""
    seen: list[str] = []

    class Seen(Running):
        def __init__(self, arguments: Sequence[str], *, environment: dict[str, str]) -> None:
            seen.append(environment["PGOPTIONS"])
            super().__init__(arguments, environment=environment)

    monkeypatch.setattr(dump, "Running", Seen)
    site, name = site_any, site_any.live if of == "DATABASE" else site_any.role.name
    site.sql(
        "CREATE FUNCTION public.in_c() RETURNS boolean LANGUAGE sql AS"
        " $$ SELECT pg_catalog.current_setting('lc_monetary') = 'C' $$;"
        "CREATE TABLE kept (elements text[], priced boolean DEFAULT true CHECK (public.in_c()));"
        "SET lc_monetary = 'C'; INSERT INTO kept (elements) VALUES (ARRAY[NULL, 'a'])"
    )
    site.server.execute(f'ALTER {of} "{name}" SET {setting}')
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    shell.ok("snapshot")
    assert "lc_monetary=C" in "".join(seen)
    shell.ok("restore")
    assert site.copy_sql(MEANINGS[setting], superuser=True) == [(True,)]


LARGE = (
    "SELECT count(*), count(*) FILTER (WHERE lomacl::text LIKE '%{reader}=r/%'), count(*) FILTER (WHERE lomowner ="
    " '{other}'::regrole) FROM pg_largeobject_metadata"
)


def test_many_large_objects(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their rights and owners, in a bounded number of round trips and in bounded memory."""
    count = 4_000
    reader = create_role(site.server, f"reader_{site.live}").name
    other = create_role(site.server, f"other_{site.live}").name
    site.sql(f"SELECT lo_create(i) FROM generate_series(100001, {100000 + count}) i")
    site.sql(
        f"DO $$ BEGIN FOR i IN 100001 .. {100000 + count} LOOP"
        f" EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO {reader}', i); END LOOP; END $$"
    )
    site.server.execute(
        f"DO $$ BEGIN FOR i IN 100001 .. 101500 LOOP EXECUTE format('ALTER LARGE OBJECT %s OWNER TO {other}', i);"
        f" EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO \"{site.role.name}\"', i); END LOOP; END $$",
        site.live,
    )
    query = LARGE.format(reader=reader, other=other)
    assert site.server.execute(query, site.live) == [(count, count, 1500)]
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    open_files: list[int] = []
    upload = Drain._upload
    monkeypatch.setattr(Drain, "_upload", lambda *a: (upload(*a), open_files.append(len(a[0]._followers))))
    shell.ok("snapshot")
    assert max(open_files) < 100
    calls: list[int] = []
    run, give = grants._Runner._try, owners._give_large_objects
    monkeypatch.setattr(grants._Runner, "_try", lambda *a: calls.append(1) or run(*a))
    monkeypatch.setattr(owners, "_give_large_objects", lambda *a: calls.append(1) or give(*a))
    shell.ok("restore")
    shell.ok("switch", "--now")
    assert site.server.execute(query, site.live) == [(count, count, 1500)]
    assert len(calls) <= count / 500 + 20

    folder = next((tmp_path / "snapshots").rglob("toc.dat")).parent
    tracemalloc.start()
    entries = sum(1 for _ in TableOfContents(folder))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert entries > count / 1000
    assert peak < 4_000_000
