"""The whole story on each supported major: snapshot, rollback, switch back, restore by hand, and what is refused.

`results.add` notes what passed, for the support matrix (docs/postgresql.md).
"""

import subprocess
from pathlib import Path

import pytest

from ocore_mover.database import programs
from support.mover import story
from support.mover.beside import ENVIRONMENT
from support.mover.majors import Servers, findings, run_the_statements
from support.mover.postgres_majors import SUPERUSER, Role, Server, create_role, write_secret
from support.mover.rollback import Shell, superuser_secret
from support.mover.site import Site, drop_all
from support.mover.support_matrix import MAJORS, REPOSITORY, Results


def own_role(site: Site, folder: Path) -> Path | None:
    """No administrator: objects of other roles are in no such database."""
    assert site.secret.exists()
    assert folder.exists()
    return None


def limited_admin(site: Site, folder: Path) -> Path:
    """An administrator who is not a superuser, with the least that a managed service gives; since PostgreSQL 16 it
    created the roles."""
    admin = create_role(site.server, f"admin-{site.live}", "NOSUPERUSER CREATEDB CREATEROLE")
    if site.server.major >= 16:
        # What CREATE ROLE gives to a role that is not a superuser: it may administer the new role and neither inherit
        # nor become it.
        for role in (site.role.name, f"other-{site.live}"):
            site.server.execute(f'GRANT "{role}" TO "{admin.name}" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE')
    return write_secret(folder / "admin", site.server, admin, "postgres")


ADMINS = {"none": own_role, "limited": limited_admin, "superuser": superuser_secret}


@pytest.mark.parametrize("admin", ADMINS)
@pytest.mark.parametrize("major", MAJORS)
def test_a_rollback_and_back(major: int, admin: str, site: Site, tmp_path: Path, results: Results) -> None:
    story.fill(site, foreign_owner=admin != "none")
    shell = Shell(site, tmp_path, ADMINS[admin](site, tmp_path))
    found = findings(shell)
    # Who is no superuser needs grants; each message has the statement, and no other is needed.
    assert (run_the_statements(site, found) > 0) == (admin == "limited"), found
    assert findings(shell) == []
    before = story.fingerprint(site.server, site.live)
    payload = shell.ok("snapshot").result["payload"]
    assert payload["serverMajor"] == major
    assert payload["clientVersion"].startswith(f"{major}.")
    shell.ok("verify")
    results.add("snapshot", major)
    story.damage(site)
    damaged = story.fingerprint(site.server, site.live)
    assert damaged != before

    done = shell.ok("restore")
    assert [warning for warning in shell.warnings(done) if "HiddenOnly" not in warning] == []
    shell.ok("switch", "--now")
    assert story.fingerprint(site.server, site.live) == before
    shell.ok("switch", "--back", "--now")
    assert story.fingerprint(site.server, site.live) == damaged
    shell.ok("switch", "--now")
    shell.ok("cleanup", "--what", "previous")
    assert story.fingerprint(site.server, site.live) == before
    assert site.databases() == {site.live}
    assert site.server.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ocore%'") == []
    results.add(f"rollback-{admin}", major)


def by_hand(shell: Shell, server: Server, database: str) -> None:
    """Follows docs/format.md with the programs of `server`'s major, as its superuser, in a database of its own."""
    folder = shell.folder
    environment = {
        "PATH": f"{server.bin}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "STORE": str(folder / "snapshots"),
        "ENVIRONMENT": ENVIRONMENT,
        "SNAPSHOT": shell.snapshot_id,
        "FILES": str(folder / "files"),
        "CONFIG": str(folder / "config"),
        "WORK": str(folder / "work"),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": SUPERUSER,
        "PGPASSWORD": server.password,
        "PGDATABASE": "postgres",
        "DATABASE": database,
        "RIGHTS": "--no-owner --no-acl",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", story.page_commands(REPOSITORY / "docs/format.md")],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("NOTICE:")] == []


@pytest.mark.parametrize("major", MAJORS)
def test_a_restore_by_hand(major: int, site: Site, tmp_path: Path, results: Results) -> None:
    story.fill(site)
    story.add_what_is_superusers(site)
    before = story.fingerprint(site.server, site.live, rights=False)
    shell = Shell(site, tmp_path)
    shell.ok("snapshot")
    by_hand(shell, site.server, f"{site.live}_by_hand")
    assert story.fingerprint(site.server, f"{site.live}_by_hand", rights=False) == before
    results.add("by-hand", major)


@pytest.mark.parametrize("major", MAJORS)
def test_what_no_rollback_restores_is_reported(major: int, site: Site, tmp_path: Path, results: Results) -> None:
    story.fill(site, foreign_owner=False)
    story.add_what_is_superusers(site)
    shell = Shell(site, tmp_path)
    found = "\n".join(findings(shell))
    for name, statement in (("Note", 'DROP EVENT TRIGGER "Note"'), ("everything", "DROP PUBLICATION everything")):
        assert name in found
        site.server.execute(statement, site.live)
    assert findings(shell) == []
    results.add("findings", major)


@pytest.mark.parametrize("major", MAJORS[1:])
def test_a_snapshot_of_an_older_major(
    major: int, servers: Servers, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Results
) -> None:
    """The server was upgraded after the snapshot was taken."""
    knows_zstd = programs.knows_zstd(programs.find("pg_restore", major))
    for older in (m for m in MAJORS if m < major):
        old, folder = old_site(servers(older), site, tmp_path / str(older)), tmp_path / str(older)
        monkeypatch.setenv("OCORE_PG_BIN", str(old.server.bin))
        story.fill(old, foreign_owner=False)
        before = story.fingerprint(old.server, old.live, other_major=True)
        shell = Shell(old, folder)
        with monkeypatch.context() as patch:
            if not knows_zstd:
                patch.setattr(programs, "knows_zstd", lambda _: False)
            shell.ok("snapshot")
        drop_all(old)

        monkeypatch.setenv("OCORE_PG_BIN", str(site.server.bin))
        reader = story.roles(site)[0]
        if not site.server.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{reader}'"):
            create_role(site.server, reader)
        settings = "SET work_mem = '7MB'", 'SET search_path = "$user", public, "Odd; schema"'
        for setting in settings:
            site.sql(f"ALTER DATABASE {site.live} {setting}")
        site.sql(f"ALTER ROLE \"{site.role.name}\" IN DATABASE {site.live} SET maintenance_work_mem = '9MB'")
        upgraded = Shell(site, folder, snapshot_id=shell.snapshot_id)
        assert findings(upgraded) == []
        upgraded.ok("restore")
        upgraded.ok("switch", "--now")
        assert story.fingerprint(site.server, site.live, other_major=True) == before
        upgraded.ok("switch", "--back", "--now")
        upgraded.ok("cleanup", "--what", "restored")

        name = f"{site.live}_by_hand_{older}"
        by_hand(upgraded, site.server, name)
        expected = {
            kind: rows for kind, rows in before.items() if kind in story.fingerprint(site.server, name, rights=False)
        }
        assert story.fingerprint(site.server, name, rights=False, other_major=True) == expected
    results.add("older-rollback", major)
    results.add("older-by-hand", major)


def old_site(server: Server, site: Site, folder: Path) -> Site:
    """A database with the same name and owner on another server."""
    folder.mkdir()
    role = Role(site.role.name, site.role.password)
    server.execute(f"CREATE ROLE \"{role.name}\" LOGIN CREATEDB PASSWORD '{role.password}'")
    server.execute(f'CREATE DATABASE {site.live} OWNER "{role.name}"')
    return Site(server, role, site.live, write_secret(folder / "secret", server, role, site.live), site.rollback_id)


@pytest.mark.parametrize("major", MAJORS)
def test_row_20_programs_and_snapshots_that_do_not_fit(
    major: int, servers: Servers, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Results
) -> None:
    """Only programs of the server's own major are used: an older one cannot dump it, a newer one sends what it does not
    know."""
    site.sql("CREATE TABLE t AS SELECT 1 AS a")
    shell = Shell(site, tmp_path)
    shell.ok("snapshot")
    for each in MAJORS:
        servers(each)  # while PATH has what starts them
    # Nothing but the programs of one major is found.
    monkeypatch.setattr(programs, "_DEBIAN", str(tmp_path / "none/{major}"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for other in (m for m in MAJORS if m != major):
        monkeypatch.setenv("OCORE_PG_BIN", str(servers(other).bin))
        for refused, program in (
            (Shell(site, tmp_path).run("snapshot"), "pg_dump"),
            (shell.run("restore"), "pg_restore"),
        ):
            assert refused.reason == "UnsupportedServer", (other, refused.message)
            assert f"needs {program} {major}" in refused.message
            assert f" is {other}." in refused.message
        assert site.databases() == {site.live}
    for older in (m for m in MAJORS if m < major):
        monkeypatch.setenv("OCORE_PG_BIN", str(servers(older).bin))
        folder = tmp_path / f"older-{older}"
        elsewhere = old_site(servers(older), site, folder)
        refused = Shell(elsewhere, tmp_path, snapshot_id=shell.snapshot_id).run("restore")
        drop_all(elsewhere)
        assert refused.reason == "UnsupportedServer"
        assert f"the snapshot is of PostgreSQL {major} and the server is {older}" in refused.message
    results.add("clients", major)


def test_the_majors_are_those_that_the_mover_accepts() -> None:
    assert tuple(programs.SUPPORTED_MAJORS) == MAJORS
