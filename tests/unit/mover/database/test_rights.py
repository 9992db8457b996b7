"""A rollback gives no one a right: the application's code is hostile, the administrator a superuser."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.mover.rollback import Intruder, Shell, admin_secret, superuser_secret
from support.mover.site import Site

ESCALATE = """
CREATE FUNCTION public.escalate() RETURNS boolean LANGUAGE plpgsql AS $body$
BEGIN
  {before}
  BEGIN
    EXECUTE format('ALTER ROLE %I SUPERUSER', '{role}');
  EXCEPTION WHEN OTHERS THEN NULL;
  END;
  {after}
  RETURN true;
END $body$;
"""


def escalate(site: Site, *, before: str = "NULL;", after: str = "NULL;") -> str:
    """A function that makes the application's role a superuser where its caller may."""
    return ESCALATE.format(role=site.role.name, before=before, after=after)


def superusers(site: Site) -> set[str]:
    return {str(row[0]) for row in site.server.execute("SELECT rolname FROM pg_roles WHERE rolsuper")}


def attack_by_reset_role(site: Site) -> None:
    """The CHECK is called for each row that pg_restore loads."""
    site.sql(escalate(site, before="RESET ROLE;"))
    site.sql("CREATE TABLE trap (a int CHECK (public.escalate())); INSERT INTO trap VALUES (1), (2)")


def attack_by_session_authorization(site: Site) -> None:
    site.sql(escalate(site, before="SET SESSION AUTHORIZATION DEFAULT; SET ROLE NONE;"))
    site.sql("CREATE TABLE trap (a int CHECK (public.escalate())); INSERT INTO trap VALUES (1), (2)")


def attack_by_search_path(site: Site) -> None:
    """Operators and functions that catalog queries use, found before the server's own."""
    site.sql(escalate(site))
    site.sql(
        "CREATE SCHEMA evil;"
        "CREATE FUNCTION evil.at_least(oid, integer) RETURNS boolean LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM public.escalate(); RETURN $1 OPERATOR(pg_catalog.>=) $2::oid; END $$;"
        "CREATE OPERATOR evil.>= (LEFTARG = oid, RIGHTARG = integer, FUNCTION = evil.at_least);"
        "CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM public.escalate(); RETURN pg_catalog.set_config($1, $2, $3); END $$;"
        "CREATE FUNCTION evil.pg_get_userbyid(oid) RETURNS name LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM public.escalate(); RETURN pg_catalog.pg_get_userbyid($1); END $$;"
    )
    site.sql(f"ALTER DATABASE {site.live} SET search_path = evil, pg_catalog, public")


def attack_by_comment(site: Site) -> None:
    """The first comment ends in what looks like a comment of SQL; the second one is then read as statements."""
    statement = f"DO $x$ BEGIN EXECUTE format($f$ALTER ROLE %I SUPERUSER$f$, $n${site.role.name}$n$); END $x$"
    site.sql("CREATE EXTENSION pg_trgm")
    site.sql("COMMENT ON SCHEMA public IS E'x\\n--'")
    site.sql(
        "COMMENT ON EXTENSION pg_trgm IS '; COMMENT ON SCHEMA public IS NULL /* \" */;"
        f" RESET ROLE; {statement}; /* \" */; --'"
    )


def attack_by_index(site: Site) -> None:
    """CREATE INDEX and ANALYZE call the function of an index expression."""
    site.sql(escalate(site, before="BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END;"))
    site.sql(
        "CREATE FUNCTION public.indexed(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
        " $$ BEGIN PERFORM public.escalate(); RETURN $1; END $$;"
        "CREATE TABLE trap AS SELECT 1 AS a; CREATE INDEX ON trap (public.indexed(a))"
    )


def attack_by_names(site: Site) -> None:
    """Names that are statements where they are not quoted."""
    name = f'x" OWNER TO postgres; ALTER ROLE "{site.role.name}" SUPERUSER; --'
    quoted = '"' + name.replace('"', '""') + '"'
    site.sql(f"CREATE TABLE {quoted} (a int); CREATE FUNCTION {quoted}(int) RETURNS int LANGUAGE sql AS 'SELECT 1';")
    other = f"other-{site.live}"
    site.server.execute(f'CREATE ROLE "{other}"')
    site.server.execute(
        f'ALTER TABLE {quoted} OWNER TO "{other}"; ALTER FUNCTION {quoted}(int) OWNER TO "{other}";'
        f'GRANT SELECT ON {quoted} TO "{site.role.name}"',
        site.live,
    )


ATTACKS: dict[str, Callable[[Site], None]] = {
    "reset-role": attack_by_reset_role,
    "session-authorization": attack_by_session_authorization,
    "search-path": attack_by_search_path,
    "comment": attack_by_comment,
    "index": attack_by_index,
    "names": attack_by_names,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_row_27_a_dump_gets_no_right_of_the_administrator(site: Site, tmp_path: Path, attack: str) -> None:
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    before = superusers(site)
    ATTACKS[attack](site)
    shell.ok("snapshot")
    shell.ok("restore")
    assert superusers(site) == before
    shell.ok("switch", "--now")
    shell.ok("cleanup", "--what", "previous")
    assert superusers(site) == before
    assert site.server.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ocore%'") == []


#: Without an administrator the copy can only be hidden from programs that list databases.
@pytest.mark.parametrize(
    ("admin", "listed"),
    [("superuser", True), ("superuser", False), ("admin", True), ("admin", False), ("none", True)],
    ids=lambda value: {True: "odoo", False: "hostile"}.get(value, value),
)
def test_row_29_no_one_enters_the_copy_before_the_switch(
    site: Site, tmp_path: Path, admin: str, *, listed: bool
) -> None:
    secrets = {"superuser": superuser_secret, "admin": admin_secret}
    shell = Shell(site, tmp_path, secrets[admin](site, tmp_path) if admin in secrets else None)
    site.sql(
        "CREATE TABLE ir_attachment (store_fname text); CREATE TABLE filler AS SELECT generate_series(1, 200000) AS a"
    )
    shell.ok("snapshot")
    with Intruder(site, listed=listed) as intruder:
        done = shell.ok("restore")
        shell.ok("switch", "--now")
        shell.ok("switch", "--now", "--back")
        shell.ok("switch", "--now")
        shell.ok("cleanup", "--what", "previous")
    assert intruder.rounds > 5
    assert intruder.entered == {site.live}
    hidden = [w for w in shell.warnings(done) if "HiddenOnly" in w]
    assert bool(hidden) == (admin == "none")
    assert site.server.execute(f"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '{site.live}'") == [
        (site.role.name,)
    ]
