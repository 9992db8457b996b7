"""The proof of RollbackReady: a schema-only restore into a scratch database, closed and always dropped.

The databases of the first tests look right in the catalogs, and every rollback of them fails.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions, naming
from ocore_mover.commands import prove
from ocore_mover.database import artifact
from ocore_mover.database.connect import Connection
from ocore_mover.deadline import Token
from ocore_mover.errors import Cancelled, MoverError
from support.mover.beside import ENVIRONMENT, finish, start, was_killed
from support.mover.postgres_majors import Server, create_role
from support.mover.rollback import Intruder, Shell, admin_secret, superuser_secret
from support.mover.site import Site

ADMINS: dict[str, Callable[[Site, Path], Path | None]] = {
    "superuser": superuser_secret,
    "admin": admin_secret,
    "none": lambda site, folder: None,
}


def make_shell(site: Site, folder: Path, admin: str = "superuser") -> Shell:
    return Shell(site, folder, ADMINS[admin](site, folder))


def proof(shell: Shell) -> dict[str, Any]:
    """The result of a proof, after which nothing is left."""
    payload: dict[str, Any] = shell.ok("prove").result["payload"]
    assert leftovers(shell.site) == []
    assert list((shell.folder / "scratch").iterdir()) == []
    return payload


def leftovers(site: Site) -> list[str]:
    """Databases beside the live one, and temporary roles."""
    databases = site.server.execute(
        f"SELECT datname FROM pg_database WHERE datname LIKE '{site.live}%' AND datname <> '{site.live}'"
    )
    roles = site.server.execute(
        f"SELECT rolname FROM pg_roles WHERE starts_with(rolname::text, 'ocore_rb_{naming.short_id(ENVIRONMENT)}')"
    )
    return [str(row[0]) for row in (*databases, *roles)]


def extension_without_a_script(site: Site) -> Iterator[str]:
    """The package was upgraded, or removed in part: the server lists the extension and cannot create it."""
    name = f"lost_{site.live}"
    folder = share(site.server)
    control, script = folder / f"{name}.control", folder / f"{name}--1.0.sql"
    control.write_text("default_version = '1.0'\nsuperuser = false\n")
    script.write_text("CREATE FUNCTION of_extension() RETURNS int LANGUAGE sql AS 'SELECT 1';")
    control.chmod(0o644)
    script.chmod(0o644)
    site.sql(f"CREATE EXTENSION {name}")
    script.unlink()
    yield f"extension {name}"
    site.sql(f"DROP EXTENSION {name}")
    control.unlink()


def share(server: Server) -> Path:
    return (server.installed.root or Path("/")) / f"usr/share/postgresql/{server.major}/extension"


def generated_column(site: Site) -> Iterator[str]:
    """A function of the language SQL is parsed where it is used, with the restore's empty search_path."""
    site.sql(
        "CREATE SCHEMA tools; CREATE FUNCTION tools.plain(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT"
        " lower($1)'"
    )
    site.sql(f"ALTER DATABASE {site.live} SET search_path = public, tools")
    site.sql(
        "CREATE FUNCTION public.keyed(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT plain($1)';"
        "CREATE TABLE public.partner (name text, key text GENERATED ALWAYS AS (public.keyed(name)) STORED)"
    )
    yield "Give it a search_path of its own with ALTER FUNCTION: 'public.keyed(text)'"
    site.sql("ALTER FUNCTION public.keyed(text) SET search_path = public, tools")


def operator_of_another_role(site: Site) -> Iterator[str]:
    other = create_role(site.server, f"other-{site.live}").name
    site.sql("CREATE OPERATOR public.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)")
    site.server.execute(f'ALTER OPERATOR public.=== (int, int) OWNER TO "{other}"', site.live)
    yield f"belongs to role {other}"
    site.server.execute(f'ALTER OPERATOR public.=== (int, int) OWNER TO "{site.role.name}"', site.live)


BROKEN = {
    "extension without a script": extension_without_a_script,
    "generated column": generated_column,
    "operator of another role": operator_of_another_role,
}


@pytest.mark.parametrize("what", BROKEN)
def test_row_30_what_the_catalogs_do_not_show_is_found_by_a_restore(site: Site, tmp_path: Path, what: str) -> None:
    """The probe has no finding, the proof has the one that a rollback ends with, and none once it is fixed."""
    breaking = BROKEN[what](site)
    expected = next(breaking)
    shell = make_shell(site, tmp_path)
    probed = shell.ok("probe").result["payload"]
    assert (probed["blocking"], probed["rollback"]) == ([], [])
    (found,) = proof(shell)["findings"]
    assert expected in found["message"], found
    assert shell.ok("snapshot").code == 0
    failed = shell.run("restore")
    assert failed.code == 1, "the proof and the rollback disagree"
    assert failed.reason == found["reason"]
    assert next(breaking, None) is None
    assert proof(shell)["findings"] == []


@pytest.mark.parametrize("admin", ADMINS)
def test_a_schema_that_can_be_restored(site: Site, tmp_path: Path, admin: str) -> None:
    """With the fingerprint that a probe gives, and without any data."""
    site.sql(
        "CREATE EXTENSION pg_trgm; CREATE TABLE t AS SELECT generate_series(1, 1000) AS a; CREATE INDEX ON t (a);CREATE"
        " VIEW v AS SELECT a FROM t; CREATE MATERIALIZED VIEW m AS SELECT 1 / (a - 1) FROM t WHERE a > 1;SELECT"
        " lo_create(0); CREATE TABLE here (a int CHECK (current_database() NOT LIKE '%_try_%')); INSERT INTO here"
        " VALUES (1)"
    )
    shell = make_shell(site, tmp_path, admin)
    before = shell.ok("probe").result["payload"]["database"]["schemaFingerprint"]
    found = proof(shell)
    assert found["findings"] == []
    assert found["schemaFingerprint"] == before
    assert shell.ok("probe").result["payload"]["database"]["schemaFingerprint"] == before
    assert site.sql("SELECT count(*) FROM t") == [(1000,)]
    site.sql("CREATE TABLE more (a int)")
    assert proof(shell)["schemaFingerprint"] != before


@pytest.mark.parametrize("point", ["restore-database-created", "restore-database-loaded"])
@pytest.mark.parametrize("remover", ["prove", "restore", "cleanup"])
def test_a_killed_proof_is_cleaned_up(site_any: Site, tmp_path: Path, point: str, remover: str) -> None:
    """By the next proof, by a rollback that begins, and by the cleanup of one."""
    shell = make_shell(site_any, tmp_path, "admin")
    site_any.sql("CREATE TABLE t AS SELECT 1 AS a")
    shell.ok("snapshot")
    if remover == "cleanup":
        shell.ok("restore")
    arguments = ["prove", *shell.options(), "--scratch", str(tmp_path / "scratch")]
    assert was_killed(finish(start(site_any, *arguments, failpoints=f"{point}=kill")))
    scratch = naming.proof_database(site_any.live, ENVIRONMENT)
    assert scratch in leftovers(site_any)
    more = ["--what", "restored"] if remover == "cleanup" else []
    shell.ok(remover, *more)
    restored = [site_any.names.restored] if remover == "restore" else []
    assert leftovers(site_any) == restored
    assert site_any.sql("SELECT a FROM t") == [(1,)]


@pytest.mark.parametrize(
    ("admin", "listed"),
    [("superuser", False), ("admin", True), ("admin", False), ("none", True)],
    ids=lambda value: {True: "odoo", False: "hostile"}.get(value, value),
)
def test_row_29_no_one_enters_the_scratch_database(site_any: Site, tmp_path: Path, admin: str, *, listed: bool) -> None:
    shell = make_shell(site_any, tmp_path, admin)
    site_any.sql(
        "DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE TABLE t%s (a int PRIMARY KEY)', i); END LOOP; END $$"
    )
    with Intruder(site_any, listed=listed) as intruder:
        assert proof(shell)["findings"] == []
        while intruder.rounds < 5:
            time.sleep(0.05)
    assert intruder.entered == {site_any.live}


@pytest.mark.parametrize("when", ["before", "pg_dump"])
def test_a_table_that_a_migration_has_locked_is_no_result(
    site_any: Site, tmp_path: Path, monkeypatch: Any, when: str
) -> None:
    """The proof gives up: it neither waits for the migration nor holds up what waits for it."""
    for module in ("commands.prove", "database.dump.dump"):
        monkeypatch.setattr(f"ocore_mover.{module}.SCHEMA_LOCK_WAIT", 1000)
    shell = make_shell(site_any, tmp_path, "none")
    site_any.sql("CREATE TABLE t (a int)")
    read = artifact.read
    with (
        site_any.server.connect(site_any.live, site_any.role.name, site_any.role.password) as migration,
        migration.transaction(),
    ):

        def lock(connection: Connection | None = None) -> Any:
            found = read(connection) if connection is not None else None
            migration.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            return found

        if when == "before":
            lock()
        else:  # after the sizes of the tables were read
            monkeypatch.setattr(artifact, "read", lock)
        began = time.monotonic()
        done = shell.run("prove")
        assert time.monotonic() - began < 60
        assert (done.code, done.reason) == (1, conditions.DUMP_FAILED)
        assert ("pg_dump" in done.message) == (when == "pg_dump"), done.message
    monkeypatch.setattr(artifact, "read", read)
    assert leftovers(site_any) == []
    assert proof(shell)["findings"] == []


def test_without_the_right_to_create_a_database(site_any: Site, tmp_path: Path) -> None:
    """The probe has the finding already; a proof agrees."""
    site_any.server.execute(f'ALTER ROLE "{site_any.role.name}" NOCREATEDB')
    (found,) = proof(make_shell(site_any, tmp_path, "none"))["findings"]
    assert found["reason"] == conditions.MISSING_GRANTS


def test_sigterm_drops_the_scratch_database(site_any: Site, tmp_path: Path) -> None:
    """As the operator stops a proof where a rollback begins."""
    shell = make_shell(site_any, tmp_path, "admin")
    arguments = ["prove", *shell.options(), "--scratch", str(tmp_path / "scratch")]
    process = start(site_any, *arguments, failpoints="restore-database-loaded=sleep:10")
    scratch = naming.proof_database(site_any.live, ENVIRONMENT)
    until = time.monotonic() + 60
    while scratch not in leftovers(site_any) and time.monotonic() < until:
        time.sleep(0.1)
    process.terminate()
    done = finish(process)
    assert (done.code, done.reason) == (1, conditions.CANCELLED)
    assert leftovers(site_any) == []


def failure(reason: str = conditions.RESTORE_FAILED, message: str = "x", *, retryable: bool = False) -> MoverError:
    return MoverError(reason, message, retryable=retryable)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (failure(), True),
        (failure(conditions.MISSING_GRANTS), True),
        (failure(conditions.DUMP_FAILED, "permission denied for schema s"), True),
        (failure(retryable=True), False),
        (failure(conditions.DATABASE_UNREACHABLE), False),
        (failure(conditions.NO_SPACE), False),
        (failure(conditions.SCRATCH_FULL), False),
        (failure(conditions.DUMP_FAILED, "ERROR:  canceling statement due to statement timeout"), False),
        (failure(message='opening x: database "live_try_6f1c2f6e" does not exist'), False),
        (failure(message="tuple concurrently updated"), False),
        (Cancelled(conditions.DEADLINE_EXCEEDED, "x"), False),
    ],
)
def test_what_tells_that_a_restore_fails(error: MoverError, expected: bool) -> None:
    assert prove.is_result(error) is expected


def test_the_name_of_the_scratch_database_is_as_short_as_the_others() -> None:
    live = "x" * naming.MAX_DATABASE_NAME_BYTES
    assert len(naming.proof_database(live, ENVIRONMENT)) <= naming.MAX_IDENTIFIER_BYTES
    names = {f(live, ENVIRONMENT) for f in (naming.proof_database, naming.restored_database, naming.previous_database)}
    assert len(names) == 3


def test_a_part_of_a_command_has_a_deadline_of_its_own() -> None:
    whole = Token(60)
    with whole.within(0.05) as part, pytest.raises(Cancelled) as late:
        part.sleep(30)
    assert late.value.reason == conditions.DEADLINE_EXCEEDED
    assert not whole.cancelled
    with whole.within(60) as part:
        whole.cancel()
        with pytest.raises(Cancelled) as stopped:
            part.sleep(30)
    assert stopped.value.reason == conditions.CANCELLED
