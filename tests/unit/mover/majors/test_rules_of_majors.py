"""Rules that a major of PostgreSQL brought: memberships of 16, privileges of 17, dumps of 18, programs without zstd."""

import re
import subprocess
from pathlib import Path

import pytest

from ocore_crds.rules.remedy import Remedy, Right
from ocore_mover.database import facts, programs
from ocore_mover.database.connect import Server as Target
from ocore_mover.database.connect import connect
from ocore_mover.database.credentials import load
from ocore_mover.database.remedies import Remedies
from ocore_mover.database.restore import owners
from ocore_mover.database.toc import TableOfContents
from support.mover import story
from support.mover.majors import Servers, findings, run_the_statements
from support.mover.postgres_majors import create_role, running, write_secret
from support.mover.rollback import Shell, superuser_secret
from support.mover.site import Site, drop_all, make_site

#: ADMIN, INHERIT and SET of a membership that exists.
MEMBERSHIPS = [
    ("TRUE", "TRUE", "TRUE"),
    ("TRUE", "FALSE", "TRUE"),
    ("TRUE", "TRUE", "FALSE"),
    ("FALSE", "TRUE", "TRUE"),
]


@pytest.mark.parametrize("options", MEMBERSHIPS, ids=" ".join)
@pytest.mark.parametrize("major", [16])
def test_the_statement_completes_a_membership(
    major: int, site: Site, tmp_path: Path, options: tuple[str, str, str]
) -> None:
    """Since 16 a GRANT without options changes nothing where the membership exists."""
    admin = create_role(site.server, f"admin-{site.live}", "CREATEDB CREATEROLE")
    other = create_role(site.server, f"other-{site.live}")
    may_grant, inherit, become = options
    for role in (site.role.name, other.name):
        site.server.execute(f'GRANT "{role}" TO "{admin.name}" WITH ADMIN {may_grant}, INHERIT {inherit}, SET {become}')
    site.server.execute(
        f'CREATE TABLE theirs (a int); ALTER TABLE theirs OWNER TO "{other.name}"; GRANT SELECT ON theirs TO'
        f' "{site.role.name}"',
        site.live,
    )
    target = Target(load(site.secret), load(write_secret(tmp_path / "admin", site.server, admin, "postgres")))
    complete = set(options) == {"TRUE"}
    messages = [finding.message for finding in facts.probe(target, attachments=False).rollback]
    assert (messages == []) == complete
    assert (run_the_statements(site, messages) == 0) == complete
    assert facts.probe(target, attachments=False).rollback == ()
    with connect(target.actor.at("postgres"), application="test") as connection:
        for role in (site.role.name, other.name):
            assert owners.problem_of(connection, role) == ""
            assert connection.execute(
                "SELECT pg_has_role(%s, 'USAGE'), pg_has_role(%s, 'SET')", [role, role]
            ).fetchone() == (True, True)


@pytest.mark.parametrize("major", [18])
@pytest.mark.parametrize("newer", [14, 19])
def test_a_server_that_was_not_tested_is_a_finding(major: int, site: Site, newer: int) -> None:
    with connect(load(site.secret), application="test") as connection:
        known, _ = facts.read_facts(connection)
        other = known.model_copy(update={"server_major": newer, "server_version": f"{newer}.1"})
        assert list(facts._snapshot_findings(connection, known, 2, Remedies(), attachments=False)) == []
        (finding,) = facts._snapshot_findings(connection, other, 2, Remedies(), attachments=False)
    assert finding.reason == "UnsupportedServer"
    assert f"the server is PostgreSQL {newer}.1; 15 to 18 are supported" in finding.message


@pytest.mark.parametrize("major", [18])
def test_large_objects_of_others_come_back(major: int, site: Site, tmp_path: Path) -> None:
    """Since 17 a dump has them in groups. 18 locks each of them for a GRANT."""
    other, reader = (create_role(site.server, f"{name}_{site.live}").name for name in ("other", "reader"))
    site.sql("SELECT lo_create(i) FROM generate_series(100001, 101500) i")
    change = (
        "ALTER LARGE OBJECT %1$s OWNER TO {0}; GRANT SELECT ON LARGE OBJECT %1$s TO {1}; GRANT SELECT ON LARGE OBJECT"
        " %1$s TO {2}"
    )
    for start in (100001, 100501, 101001):
        text = change.format(other, reader, f'"{site.role.name}"')
        site.server.execute(
            f"DO $$ BEGIN FOR i IN {start} .. {start + 499} LOOP EXECUTE format('{text}', i); END LOOP; END $$",
            site.live,
        )
    query = (
        "SELECT count(*), count(DISTINCT lomacl::text), min(lomacl::text), min(lomowner::regrole::text) FROM"
        " pg_largeobject_metadata"
    )
    before = site.server.execute(query, site.live)
    assert before[0][:2] == (1500, 1)
    shell = Shell(site, tmp_path, superuser_secret(site, tmp_path))
    shell.ok("snapshot")
    shell.ok("restore")
    shell.ok("switch", "--now")
    assert site.server.execute(query, site.live) == before


@pytest.mark.parametrize("major", [15])
def test_a_member_that_inherits_nothing(major: int, site: Site, tmp_path: Path) -> None:
    """Before 16 that is the role's own property."""
    admin = create_role(site.server, f"admin-{site.live}", "NOINHERIT CREATEDB CREATEROLE")
    site.server.execute(f'GRANT "{site.role.name}" TO "{admin.name}"')
    target = Target(load(site.secret), load(write_secret(tmp_path / "admin", site.server, admin, "postgres")))
    (finding,) = facts.probe(target, attachments=False).rollback
    assert finding.remedies == (Remedy(right=Right.INHERIT, role="Administrator"),)
    site.server.execute(f'ALTER ROLE "{admin.name}" INHERIT')
    assert facts.probe(target, attachments=False).rollback == ()


@pytest.mark.parametrize("major", [16])
def test_connections_that_are_reserved_for_a_role(major: int, tmp_path: Path) -> None:
    with running(major) as server:
        server.stop()
        server.start(reserved_connections="54")  # of 60, and 3 for superusers
        site = make_site(server, tmp_path)
        target = Target(load(site.secret))
        (finding,) = facts.probe(target).blocking
        assert "needs 5 connections and 3 are allowed" in finding.message
        server.execute(f'GRANT pg_use_reserved_connections TO "{site.role.name}"')
        assert facts.probe(target).blocking == ()


@pytest.mark.parametrize("major", [17, 18])
def test_the_privilege_maintain_comes_back_on_objects_of_others(major: int, site: Site, tmp_path: Path) -> None:
    """The administrator applies it, from a strict pattern."""
    other, reader = (create_role(site.server, f"{name}-{site.live}").name for name in ("other", "reader"))
    site.server.execute(
        f'CREATE TABLE theirs (a int); ALTER TABLE theirs OWNER TO "{other}"; GRANT SELECT ON theirs TO'
        f' "{site.role.name}";GRANT MAINTAIN ON theirs TO "{reader}" WITH GRANT OPTION; REVOKE MAINTAIN ON theirs FROM'
        f' "{other}"',
        site.live,
    )
    query = "SELECT relacl::text FROM pg_class WHERE relname = 'theirs'"
    before = site.server.execute(query, site.live)
    assert "m*" in str(before)
    admin = create_role(site.server, f"admin-{site.live}", "CREATEDB CREATEROLE")
    shell = Shell(site, tmp_path, write_secret(tmp_path / "admin", site.server, admin, "postgres"))
    run_the_statements(site, findings(shell))
    assert findings(shell) == []
    shell.ok("snapshot")
    shell.ok("restore")
    shell.ok("switch", "--now")
    assert site.server.execute(query, site.live) == before


@pytest.mark.parametrize("major", [15, 16, 17, 18])
def test_a_dump_has_only_kinds_of_entries_that_the_restore_knows(major: int, site: Site, tmp_path: Path) -> None:
    """pg_dump of a newer major may store what the restore would lose or run with the wrong rights, such as 18's
    statistics."""
    story.fill(site)
    story.add_what_is_superusers(site)
    shell = Shell(site, tmp_path)
    shell.ok("snapshot")
    folder = next((tmp_path / "snapshots").rglob("toc.dat")).parent
    kinds = {entry.description for entry in TableOfContents(folder)}
    assert {"STATISTICS DATA", "STATISTICS IMPORT"} & kinds == set()
    assert kinds <= KNOWN, kinds - KNOWN


KNOWN = {
    "ACL", "BLOB", "BLOB METADATA", "BLOBS", "COMMENT", "CONSTRAINT", "DATABASE", "DATABASE PROPERTIES", "DEFAULT",
    "DEFAULT ACL", "DOMAIN",
    "ENCODING", "EVENT TRIGGER", "EXTENSION", "FK CONSTRAINT", "FUNCTION", "INDEX", "INDEX ATTACH", "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA", "POLICY", "PROCEDURE", "PUBLICATION", "PUBLICATION TABLE", "ROW SECURITY", "RULE",
    "SCHEMA", "SEARCHPATH",
    "SEQUENCE", "SEQUENCE OWNED BY", "SEQUENCE SET", "STATISTICS", "STDSTRINGS", "TABLE", "TABLE ATTACH", "TABLE DATA",
    "TRIGGER", "TYPE",
    "VIEW", "CHECK CONSTRAINT",
}  # fmt: skip


@pytest.mark.parametrize("major", [18])
def test_a_password_in_md5_is_no_warning_of_a_restore(major: int, site: Site, tmp_path: Path) -> None:
    """18 warns about it when a role is made: the temporary role has a SCRAM verifier, and the application's role is not
    touched."""
    site.server.execute(
        f"SET password_encryption = 'md5'; ALTER ROLE \"{site.role.name}\" PASSWORD '{site.role.password}'"
    )
    hba = site.server.base / "data/pg_hba.conf"
    hba.write_text(hba.read_text().replace("scram-sha-256", "md5"))
    site.server.reload()
    site.sql("CREATE TABLE t AS SELECT 1 AS a")
    admin = create_role(site.server, f"admin-{site.live}", "SUPERUSER")
    shell = Shell(site, tmp_path, write_secret(tmp_path / "admin", site.server, admin, "postgres"))
    shell.ok("snapshot")
    assert shell.warnings(shell.ok("restore")) == []
    shell.ok("switch", "--now")
    assert site.sql("SELECT a FROM t") == [(1,)]


@pytest.mark.parametrize("major", [16, 17, 18])
def test_programs_with_and_without_zstd(major: int, site: Site, tmp_path: Path) -> None:
    """What pg_dump cannot compress the mover compresses."""
    site.sql("CREATE TABLE t AS SELECT 1 AS a")
    program = programs.find("pg_dump", major)
    refused = subprocess.run(
        [program.path, "--compress=zstd:1", "--no-password", "--dbname=host=/nonexistent user=none"],
        capture_output=True, text=True, check=False,
    ).stderr  # fmt: skip
    known = "does not support compression" not in refused
    assert programs.knows_zstd(program) == known == (site.server.installed.wheel is None)
    shell = Shell(site, tmp_path)
    shell.ok("snapshot")
    manifest = next((tmp_path / "snapshots").rglob("manifest.json")).read_text()
    (compression,) = re.findall(r'"compression": "(.*)"', manifest)
    assert compression == ("pg_dump" if known else "external-zstd")


@pytest.mark.parametrize("major", [18])
def test_a_pg_restore_without_zstd_refuses_a_compressed_dump(
    major: int, servers: Servers, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is made on the server, and with the remedy."""
    newest = servers(17)
    old = make_site(newest, tmp_path / "old")
    monkeypatch.setenv("OCORE_PG_BIN", str(newest.bin))
    old.sql("CREATE TABLE t AS SELECT 1 AS a")
    taken = Shell(old, tmp_path)
    taken.ok("snapshot")
    drop_all(old)
    monkeypatch.setenv("OCORE_PG_BIN", str(site.server.bin))
    refused = Shell(site, tmp_path, snapshot_id=taken.snapshot_id).run("restore")
    assert refused.reason == "UnsupportedServer"
    assert "was built without zstd" in refused.message
    assert site.databases() == {site.live}
