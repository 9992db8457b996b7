"""RollbackReady is true only where a rollback works: every unusual database is restored, or a finding names what to
do."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocore_mover.database import artifact, copy_access, fingerprint
from ocore_mover.database.connect import Server as Target
from ocore_mover.database.connect import connect
from ocore_mover.database.credentials import load
from support.mover.postgres_majors import Server, create_role
from support.mover.rollback import Shell, admin_secret, superuser_secret
from support.mover.site import Site
from support.pairs import pairs

EXTENSION = """
CREATE TABLE systems (id int PRIMARY KEY, name text);
CREATE SEQUENCE numbers;
INSERT INTO systems VALUES (1, 'shipped');
SELECT pg_catalog.pg_extension_config_dump('systems', 'WHERE id > 1000');
SELECT pg_catalog.pg_extension_config_dump('numbers', '');
GRANT SELECT ON systems, numbers TO PUBLIC;
"""


def install(server: Server, name: str, *, trusted: bool) -> list[Path]:
    """Puts an extension with a configuration table into the server's share folder. Returns the files to remove."""
    folder = server.share / "extension"
    control, script = folder / f"{name}.control", folder / f"{name}--1.0.sql"
    control.write_text(
        f"default_version = '1.0'\nrelocatable = true\nsuperuser = true\ntrusted = {str(trusted).lower()}\n"
    )
    script.write_text(EXTENSION)
    for path in (control, script):
        path.chmod(0o644)
    return [control, script]


@pytest.fixture(params=["untrusted", "trusted"])
def extension(site: Site, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"config_{site.live}"
    files = install(site.server, name, trusted=request.param == "trusted")
    yield name
    for path in files:
        path.unlink()


def findings(shell: Shell) -> list[str]:
    """Messages of what keeps an environment from RollbackReady."""
    payload = shell.ok("probe").result["payload"]
    assert payload["blocking"] == []
    return [finding["message"] for finding in payload["rollback"]]


def roll_back(shell: Shell) -> None:
    """A whole rollback, which the probe says will work."""
    assert findings(shell) == []
    shell.ok("snapshot")
    shell.ok("restore")
    shell.ok("switch", "--now")


def test_row_30_rows_of_an_extension(site: Site, tmp_path: Path, extension: str) -> None:
    """As PostGIS's spatial_ref_sys: its rows are in the dump, the table belongs to the extension."""
    site.server.execute(f"CREATE EXTENSION {extension}; INSERT INTO systems VALUES (2000, 'ours')", site.live)
    site.server.execute("SELECT setval('numbers', 77)", site.live)
    poor = Shell(site, tmp_path, admin_secret(site, tmp_path))
    assert [m for m in findings(poor) if "adminSecretRef" in m and ("systems" in m or extension in m)]
    roll_back(Shell(site, tmp_path, superuser_secret(site, tmp_path)))
    assert site.server.execute("SELECT id, name FROM systems ORDER BY 1", site.live) == [(1, "shipped"), (2000, "ours")]
    assert site.server.execute("SELECT last_value FROM numbers", site.live) == [(77,)]
    # The right to write them was lent for the load only.
    rights = (
        "SELECT has_table_privilege('{role}', 'systems', 'INSERT'), has_sequence_privilege('{role}', 'numbers',"
        " 'UPDATE')"
    )
    assert site.server.execute(rights.format(role=site.role.name), site.live) == [(False, False)]


def test_row_30_rows_of_an_extension_that_the_dump_cannot_read(site: Site, tmp_path: Path, extension: str) -> None:
    site.server.execute(f"CREATE EXTENSION {extension}; REVOKE SELECT ON systems FROM PUBLIC", site.live)
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    (finding,) = shell.ok("probe").result["payload"]["blocking"]
    assert "systems" in finding["message"]
    assert finding["remedies"] == [{"right": "ReadTables", "role": "Application"}]


#: What only a superuser creates and whose text is never run with a superuser's rights → the statement that removes it.
REFUSED = {
    "event trigger": (
        "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        " ALTER FUNCTION note() OWNER TO {app};"
        'CREATE EVENT TRIGGER "Note" ON ddl_command_end EXECUTE FUNCTION note()',
        'DROP EVENT TRIGGER "Note";',
    ),
    "function in language internal": (
        "CREATE FUNCTION square(float8) RETURNS float8 LANGUAGE internal AS 'dsqrt'",
        "DROP ROUTINE square(double precision);",
    ),
    "function in language c": (
        "CREATE FUNCTION loaded(text) RETURNS text LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'",
        "DROP ROUTINE loaded(text);",
    ),
    "foreign-data wrapper": ("CREATE FOREIGN DATA WRAPPER bare", "DROP FOREIGN DATA WRAPPER bare;"),
    "operator class": (
        "CREATE OPERATOR CLASS mine FOR TYPE int4 USING btree AS FUNCTION 1 btint4cmp(int4, int4)",
        "DROP OPERATOR CLASS public.mine USING btree; DROP OPERATOR FAMILY public.mine USING btree;",
    ),
    "cast": ("CREATE CAST (int4 AS xid) WITHOUT FUNCTION", "DROP CAST (integer AS xid);"),
    "language": (
        "CREATE LANGUAGE doubtful HANDLER plpgsql_call_handler;"
        "CREATE FUNCTION untrusted() RETURNS int LANGUAGE doubtful AS 'x'",
        "DROP ROUTINE untrusted(); DROP LANGUAGE doubtful;",
    ),
    "function that is leakproof": (
        "CREATE FUNCTION tight(int) RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1';"
        " ALTER FUNCTION tight OWNER TO {app}",
        "ALTER ROUTINE tight(integer) NOT LEAKPROOF;",
    ),
}


@pytest.mark.parametrize(
    ("what", "admin", "server"), pairs(list(REFUSED), ["superuser", "none"], [15, 17]), indirect=["server"]
)
def test_row_30_what_only_a_superuser_creates_is_a_finding(site: Site, tmp_path: Path, what: str, admin: str) -> None:
    statement, remedy = REFUSED[what]
    site.server.execute(statement.format(app=f'"{site.role.name}"'), site.live)
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path) if admin == "superuser" else None)
    found = findings(shell)
    name = re.sub(r'^(?:DROP|ALTER) [A-Z -]+ |[(;"]| NOT LEAKPROOF.*', "", remedy.partition(";")[0]).rstrip(")")
    assert [m for m in found if name in m.replace("(", "").replace(")", "")], (name, found)
    shell.ok("snapshot")
    assert shell.run("restore").code != 0
    site.server.execute(remedy, site.live)
    shell = Shell(site, tmp_path, shell.admin)
    roll_back(shell)


def test_row_30_publications_of_everything(site: Site, tmp_path: Path) -> None:
    site.sql("CREATE TABLE t (a int); CREATE SCHEMA s")
    site.server.execute(
        "CREATE PUBLICATION \"All of it\" FOR ALL TABLES WITH (publish = 'insert, delete', publish_via_partition_root ="
        " true);"
        f"CREATE PUBLICATION schemas FOR TABLES IN SCHEMA s, public; CREATE PUBLICATION one FOR TABLE t;"
        f'ALTER PUBLICATION one OWNER TO "{site.role.name}"',
        site.live,
    )
    query = (
        "SELECT pubname, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot,"
        " pg_get_userbyid(pubowner), (SELECT count(*) FROM pg_publication_namespace WHERE pnpubid = p.oid), (SELECT"
        " count(*) FROM pg_publication_rel WHERE prpubid = p.oid) FROM pg_publication p ORDER BY 1"
    )
    before = site.server.execute(query, site.live)
    poor = findings(Shell(site, tmp_path))
    assert [m for m in poor if "or drop them: 'All of it', schemas" in m]
    roll_back(Shell(site, tmp_path, superuser_secret(site, tmp_path)))
    assert site.server.execute(query, site.live) == before


def test_row_30_foreign_servers(site: Site, tmp_path: Path) -> None:
    other = create_role(site.server, f"other-{site.live}").name
    site.server.execute(
        f'CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO "{site.role.name}"',
        site.live,
    )
    site.sql("CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '192.0.2.1')")
    site.sql(f"CREATE USER MAPPING FOR \"{site.role.name}\" SERVER far OPTIONS (user 'u', password 'p')")
    site.sql("CREATE FOREIGN TABLE there (a int) SERVER far")
    site.sql("CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'everyone')")
    query = (
        "SELECT srvname, pg_get_userbyid(srvowner), srvoptions::text, (SELECT string_agg(o, ' ' ORDER BY o) FROM"
        " pg_user_mapping m, unnest(m.umoptions) o WHERE m.umserver = s.oid),"
        " has_foreign_data_wrapper_privilege(srvowner, srvfdw, 'USAGE') FROM pg_foreign_server s"
    )
    before = site.server.execute(query, site.live)
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    roll_back(shell)
    assert site.server.execute(query, site.live) == before

    # The application's role cannot read the options of another role's mapping, so a dump has none.
    site.server.execute(f"CREATE USER MAPPING FOR \"{other}\" SERVER far OPTIONS (user 'other')", site.live)
    (message,) = findings(shell)
    assert f'"{other}" on server far' in message


@pytest.mark.parametrize("admin", ["superuser", "none"])
def test_row_30_constraints_that_need_settings_of_the_database(site: Site, tmp_path: Path, admin: str) -> None:
    site.sql(
        "CREATE SCHEMA tools; CREATE FUNCTION tools.least_value() RETURNS int LANGUAGE sql AS 'SELECT 5';"
        "CREATE FUNCTION public.valid(int) RETURNS boolean LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN $1 >= least_value() AND current_setting('ocore.most')::int >= $1; END $$"
    )
    site.sql(f"ALTER DATABASE {site.live} SET search_path = tools, public")
    site.server.execute(f"ALTER DATABASE {site.live} SET ocore.most = '9'")
    site.sql(
        "CREATE TABLE public.t (a int CHECK (public.valid(a))); INSERT INTO public.t VALUES (5), (9);CREATE FUNCTION"
        " public.key(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1 + least_value(); END $$"
    )
    if site.server.major < 17:  # newer servers build them with a safe search_path themselves
        site.sql(
            "CREATE MATERIALIZED VIEW public.m AS SELECT public.valid(a) AS v FROM public.t; CREATE INDEX ON public.t"
            " (public.key(a))"
        )
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path) if admin == "superuser" else None)
    if admin == "none":
        (message,) = findings(shell)
        assert "ocore.most; grant it SET on the parameters" in message
        site.server.execute(f'GRANT SET ON PARAMETER ocore.most TO "{site.role.name}"')
    roll_back(shell)
    assert site.sql("SELECT a FROM public.t ORDER BY 1") == [(5,), (9,)]
    if site.server.major < 17:
        assert site.sql("SELECT count(*) FROM public.m WHERE v") == [(2,)]
    assert site.sql("SELECT proconfig FROM pg_proc WHERE proname IN ('valid', 'key')") == [(None,), (None,)]
    assert site.sql("SHOW search_path") == [("tools, public",)]


def test_row_30_policies_of_roles_that_are_gone(site: Site, tmp_path: Path) -> None:
    gone, kept = (create_role(site.server, f"{name}-{site.live}").name for name in ("gone", "kept"))
    site.sql(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1);"
        f'CREATE POLICY two ON t AS RESTRICTIVE FOR SELECT TO "{gone}", "{kept}" USING (a > 0);'
        f'CREATE POLICY "only gone" ON t TO "{gone}" USING (a > 1); CREATE POLICY everyone ON t USING (a > 2);'
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY"
    )
    shell = Shell(site, tmp_path)
    assert findings(shell) == []
    shell.ok("snapshot")
    site.sql("DROP TABLE t")
    site.server.execute(f'DROP ROLE "{gone}"')
    done = shell.ok("restore")
    assert [w for w in shell.warnings(done) if "only gone" in w and gone in w]
    shell.ok("switch", "--now")
    assert site.sql(
        "SELECT polname, polpermissive, polcmd::text, ARRAY(SELECT rolname::text FROM pg_roles WHERE oid ="
        " ANY(polroles)), pg_get_expr(polqual, polrelid) FROM pg_policy ORDER BY 1"
    ) == [("everyone", True, "*", [], "(a > 2)"), ("two", False, "r", [kept], "(a > 0)")]


def test_row_30_temporary_tables_do_not_end_a_snapshot(site: Site) -> None:
    """A table that is dropped after the snapshot was exported is still in its catalogs, and has no size."""
    site.sql("CREATE TABLE kept AS SELECT 1 AS a")
    with connect(load(site.secret), application="test") as reader, reader.transaction():
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        with site.server.connect(site.live, site.role.name, site.role.password) as session:
            session.execute("CREATE TEMPORARY TABLE scratch AS SELECT 1 AS a")
            session.execute("CREATE TABLE short_lived AS SELECT 1 AS a")
            reader.execute("SELECT count(*) FROM pg_class")
            session.execute("DROP TABLE scratch, short_lived")
        sizes = artifact.read(reader).table_bytes
    assert sorted(sizes.values()) == [0, 8192]


@pytest.mark.parametrize("admin", ["superuser", "none"])
def test_row_30_names_outside_of_the_clients_encoding(site: Site, tmp_path: Path, admin: str) -> None:
    """A database in SQL_ASCII, whose names are whatever bytes a client sent."""
    reader = create_role(site.server, f"reader-{site.live}").name
    site.server.execute(f"DROP DATABASE {site.live}")
    site.server.execute(
        f"CREATE DATABASE {site.live} OWNER \"{site.role.name}\" ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
    )
    name = b"caf\xe9"
    with site.server.connect(site.live, site.role.name, site.role.password) as session:
        session.execute("SET client_encoding = 'SQL_ASCII'")
        session.execute(b'CREATE TABLE "' + name + b'" AS SELECT 1 AS a')
        session.execute(b'GRANT SELECT ON "' + name + b'" TO "' + reader.encode() + b'"')
        session.execute(b'CREATE FUNCTION "' + name + b"\"(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    query = "SELECT encode(relname::text::bytea, 'escape'), relacl::text FROM pg_class WHERE relname LIKE 'caf%'"
    before = site.server.execute(query, site.live)
    assert before
    roll_back(Shell(site, tmp_path, superuser_secret(site, tmp_path) if admin == "superuser" else None))
    assert site.server.execute(query, site.live) == before


@pytest.mark.parametrize("administrator", [superuser_secret, admin_secret])
def test_row_95_the_temporary_role_of_a_rollback_is_no_finding(
    site: Site, tmp_path: Path, administrator: Callable[[Site, Path], Path]
) -> None:
    """An Environment is probed while a rollback loads its copy, and a killed rollback leaves its role."""
    shell = Shell(site, tmp_path, administrator(site, tmp_path))
    target = Target(load(site.secret), load(shell.admin) if shell.admin else None)
    site.server.execute(f"ALTER DATABASE {site.live} SET work_mem = '7MB'")
    # The user's own, which everyone may set.
    site.server.execute(f'ALTER ROLE "{site.role.name}" IN DATABASE {site.live} SET role = "{site.role.name}"')

    def seen() -> tuple[list[str], list[str], str]:
        with connect(target.app, application="test") as connection:
            settings = [s.name for s in artifact.read_settings(connection, site.live)]
            return findings(shell), settings, fingerprint.read(connection, fingerprint.roles_of(target))

    before = seen()
    assert before[:2] == ([], ["work_mem", "role"])
    site.server.execute(f'CREATE DATABASE "{site.names.restored}" OWNER "{target.actor.user}"')
    with copy_access.opened(target, site.names, site.role.name) as access:
        found = site.server.execute(
            "SELECT setconfig FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole WHERE setdatabase <> 0 AND"
            f" rolname = '{access.credentials.params['user']}'"
        )
        assert found == [(["role=none"],)]
        assert seen() == before
