"""Each finding names the statement that fixes it, and disappears once that statement has run."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ocore_crds.reports.base import Finding
from ocore_crds.rules.remedy import Remedy, Right
from ocore_mover.database import copy_access, facts
from ocore_mover.database.connect import Connection
from ocore_mover.database.connect import Server as Target
from ocore_mover.database.credentials import load
from support.mover.beside import call
from support.mover.postgres_majors import UNPRIVILEGED, Role, Server, create_role, write_secret
from support.mover.remedies import filled
from support.mover.rollback import admin_secret, superuser_secret
from support.mover.site import Site, drop_all, make_site
from support.ports import free_port

Object = dict[str, Any]


@pytest.fixture
def poor(server_any: Server, tmp_path: Path) -> Iterator[Site]:
    """The owner may not create databases."""
    made = make_site(server_any, tmp_path, options="NOCREATEDB")
    yield made
    drop_all(made)


def probe(site: Site, admin: Path | None = None) -> facts.DatabaseProbe:
    return facts.probe(Target(load(site.secret), load(admin, dbname="postgres") if admin else None), attachments=False)


def test_nothing_in_the_way(site: Site) -> None:
    found = probe(site)
    assert (found.blocking, found.rollback) == ((), ())
    assert found.facts is not None
    assert found.facts.server_major == site.server.major
    assert found.facts.owner == found.facts.user == site.role.name
    assert 0 < found.facts.size_bytes <= found.facts.used_bytes


def test_missing_createdb_and_what_mends_it(poor: Site) -> None:
    (finding,) = probe(poor).rollback
    assert finding.reason == "MissingGrants"
    assert finding.message.endswith("may neither create nor rename databases: ALTER ROLE <application> CREATEDB;")
    run_as_administrator(poor, finding)
    assert probe(poor).rollback == ()


def run_as_administrator(site: Site, finding: Finding, admin: str = "") -> None:
    """What the finding asks for."""
    names = {"application": site.role.name, "administrator": admin, "owner": site.role.name}
    statements = filled(finding, site.server.major, **names)
    assert statements
    for statement in statements:
        site.server.execute(statement)


def test_row_125_for_cloudnativepg_the_field_of_an_entry_is_named(poor: Site) -> None:
    """No entry is printed: a forged one could have `superuser: true`."""
    found = facts.probe(Target(load(poor.secret), cluster="pg"), attachments=False)
    (finding,) = found.rollback
    assert finding.message.endswith("In Cluster pg, spec.managed.roles, the entry of <application>: createdb: true.")
    assert "ALTER ROLE" not in finding.message


def test_an_administrator_beside_managed_roles_gets_sql(poor: Site, tmp_path: Path) -> None:
    """As a managed role it would lose its membership in the temporary role of a restore."""
    server = poor.server
    admin = create_role(server, f"admin-{poor.live}", "NOINHERIT")
    secret = write_secret(tmp_path / "admin", server, admin, "postgres")
    server.execute("CREATE TABLE hidden (i int)", poor.live)
    target = Target(load(poor.secret), load(secret, dbname="postgres"), "pg")
    found = facts.probe(target, attachments=False)
    (unreadable,) = found.blocking
    assert "hidden (owner postgres)" in unreadable.message
    (statement,) = filled(unreadable, server.major, application=poor.role.name, table="hidden")
    server.execute(statement, poor.live)
    assert facts.probe(target, attachments=False).blocking == ()
    server.execute(f'ALTER TABLE hidden OWNER TO "{poor.role.name}"', poor.live)
    for _ in range(2):  # before PostgreSQL 16 a member must inherit, which is found once it is one
        for finding in facts.probe(target, attachments=False).rollback:
            run_as_administrator(poor, finding, admin.name)
    assert facts.probe(target, attachments=False).rollback == ()


def test_a_managed_role_as_administrator_must_be_a_superuser_before_16(site: Site, tmp_path: Path) -> None:
    secret = admin_secret(site, tmp_path)
    target = Target(load(site.secret), load(secret, dbname="postgres"), "pg", frozenset({site.role.name}))
    assert facts.probe(target, attachments=False).rollback == ()
    admin = target.actor.user
    target = replace(target, managed=frozenset({site.role.name, admin}))
    found = facts.probe(target, attachments=False).rollback
    if site.server.major >= 16:
        assert found == ()
        return
    assert [finding.reason for finding in found] == ["MissingGrants"]
    assert f"{admin} is in spec.managed.roles of Cluster pg and is not a superuser" in found[0].message
    site.server.execute(f'ALTER ROLE "{admin}" SUPERUSER')
    assert facts.probe(target, attachments=False).rollback == ()


@pytest.mark.parametrize("superuser", [False, True])
def test_what_cloudnativepg_does_to_a_managed_administrator_in_a_restore(
    site: Site, tmp_path: Path, *, superuser: bool
) -> None:
    """It revokes memberships that an entry lacks. Before PostgreSQL 16 the temporary role is then left. Since then its
    REVOKE is refused. A superuser needs no membership."""
    target = Target(load(site.secret), load((superuser_secret if superuser else admin_secret)(site, tmp_path)))
    refused = site.server.major >= 16 and not superuser
    site.server.execute(f'CREATE DATABASE "{site.names.restored}" OWNER "{target.actor.user}"')
    with copy_access.opened(target, site.names, site.role.name) as access:
        role = access.credentials.user
        with pytest.raises(psycopg.errors.DependentObjectsStillExist) if refused else contextlib.nullcontext():
            site.server.execute(f'REVOKE "{role}" FROM "{target.actor.user}"')
    left = site.server.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'")
    assert bool(left) == (site.server.major < 16 and not superuser)
    for statement in ("DROP OWNED BY", "DROP ROLE") if left else ():
        site.server.execute(f'{statement} "{role}"')


def test_the_temporary_role_appears_with_all_its_memberships(
    site_any: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudNativePG may reconcile its roles at any moment."""
    site, seen, is_superuser = site_any, list[object](), copy_access.is_superuser
    target = Target(load(site.secret), load(admin_secret(site, tmp_path)))

    def before_the_last_grant(connection: Connection) -> bool:
        seen.extend(site.server.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ocore_rb_%'"))
        return is_superuser(connection)

    monkeypatch.setattr(copy_access, "is_superuser", before_the_last_grant)
    site.server.execute(f'CREATE DATABASE "{site.names.restored}" OWNER "{target.actor.user}"')
    with copy_access.opened(target, site.names, site.role.name) as access:
        assert (access.credentials.user,) not in seen


def test_the_applications_role_as_administrator_gets_no_grant_to_itself(site: Site) -> None:
    secret = load(site.secret)
    (finding,) = facts.probe(Target(secret, secret.at("postgres")), attachments=False).rollback
    assert "the application's own role" in finding.message
    assert "remove adminSecretRef" in finding.message
    assert "GRANT" not in finding.message


def test_an_admin_that_is_no_member(poor: Site, tmp_path: Path) -> None:
    admin = create_role(poor.server, f"admin-{poor.live}", "CREATEDB")
    secret = write_secret(tmp_path / "admin", poor.server, admin, "postgres")
    (tmp_path / "admin/dbname").unlink()
    found = probe(poor, secret).rollback
    assert [finding.reason for finding in found] == ["MissingGrants", "MissingGrants"]
    for finding in found:
        run_as_administrator(poor, finding, admin.name)
    assert probe(poor, secret).rollback == ()


HOSTILE = 'x: ALTER ROLE "x" SUPERUSER;'


def test_row_125_what_the_application_names_is_quoted_in_a_message(site_any: Site) -> None:
    """Its application_name, tables and roles: none of them reads as a statement of ours, or becomes one."""
    other = create_role(site_any.server, f"Drop; {site_any.live}")
    site_any.server.execute(f'CREATE TABLE "{HOSTILE.replace(chr(34), chr(34) * 2)}" (a int)', site_any.live)
    (table,) = probe(site_any).blocking
    assert table.remedies == (Remedy(right=Right.READ_TABLES, role="Application"),)
    assert f"""'"{HOSTILE.replace('"', '""')}"' (owner postgres)""" in table.message
    site_any.server.execute(f'DROP TABLE "{HOSTILE.replace(chr(34), chr(34) * 2)}"', site_any.live)
    with site_any.server.connect(site_any.live, other.name, other.password) as session:
        session.execute("SELECT set_config('application_name', %s, false)", [HOSTILE])
        (found,) = probe(site_any).rollback
    assert found.remedies == (Remedy(right=Right.END_SESSIONS, role="Application"),)
    assert f"application '{HOSTILE}' is connected to" in found.message
    assert f"may not end sessions of '{other.name}': GRANT pg_signal_backend TO <application>;" in found.message


def test_row_125_no_membership_in_a_superuser_is_asked_for(poor: Site) -> None:
    """A database may belong to postgres: a member of its owner would have the whole server."""
    poor.server.execute(f'ALTER DATABASE "{poor.live}" OWNER TO postgres')
    found = [each for each in probe(poor).rollback if "owner postgres" in each.message]
    assert ["make the application's role the database's owner" in each.message for each in found] == [True]
    assert [each.remedies for each in found] == [()]


def test_sessions_that_could_not_be_ended(site_any: Site) -> None:
    other = create_role(site_any.server, f"other-{site_any.live}")
    with site_any.server.connect(site_any.live, other.name, other.password):
        (finding,) = probe(site_any).rollback
        assert finding.message.endswith("GRANT pg_signal_backend TO <application>;")
        assert finding.remedies == (Remedy(right=Right.END_SESSIONS, role="Application"),)
        site_any.server.execute(f'GRANT pg_signal_backend TO "{site_any.role.name}"')
        assert probe(site_any).rollback == ()
        with site_any.server.connect(site_any.live):
            (finding,) = probe(site_any).rollback
            assert "only a superuser can end sessions of the superuser postgres" in finding.message


def test_an_extension_that_only_a_superuser_creates(site_any: Site) -> None:
    site_any.server.execute("CREATE EXTENSION pg_stat_statements", site_any.live)
    (finding,) = probe(site_any).rollback
    assert "extension pg_stat_statements" in finding.message


def test_a_table_that_cannot_be_read(site_any: Site) -> None:
    site_any.server.execute("CREATE TABLE hidden (a int)", site_any.live)
    (finding,) = probe(site_any).blocking
    assert "hidden (owner postgres)" in finding.message
    site_any.server.execute(f'GRANT SELECT ON hidden TO "{site_any.role.name}"', site_any.live)
    assert probe(site_any).blocking == ()


def test_row_security_that_hides_rows(site_any: Site) -> None:
    site_any.sql(
        "CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY"
    )
    (finding,) = probe(site_any).blocking
    assert "BYPASSRLS" in finding.message


def test_a_name_too_long(server_any: Server, tmp_path: Path) -> None:
    role = create_role(server_any, "long-owner", "CREATEDB")
    live = "n" * 50
    server_any.execute(f'CREATE DATABASE {live} OWNER "{role.name}"')
    site = Site(server_any, role, live, write_secret(tmp_path / "secret", server_any, role, live), "unused")
    (finding,) = probe(site).rollback
    assert finding.reason == "DatabaseNameTooLong"
    server_any.execute(f"DROP DATABASE {live}")


def test_too_few_connections(site_any: Site) -> None:
    site_any.server.execute(f'ALTER ROLE "{site_any.role.name}" CONNECTION LIMIT 3')
    (finding,) = probe(site_any).blocking
    assert "needs 5 connections and 3 are allowed" in finding.message


def blocking(secret: Path) -> dict[str, str]:
    """The one blocking finding of the command; nothing that it prints has the password."""
    done = call("probe", "--database", str(secret))
    assert done.code == 0
    password = (secret / "password").read_text()
    assert password not in done.stdout + done.stderr
    (finding,) = done.result["payload"]["blocking"]
    found: dict[str, str] = finding
    return found


def test_wrong_password(site_any: Site, tmp_path: Path) -> None:
    wrong = Role(site_any.role.name, "wrong-password-1")
    found = blocking(write_secret(tmp_path / "wrong", site_any.server, wrong, site_any.live))
    assert found["reason"] == "AuthenticationFailed"
    assert "check user and password" in found["message"]


def test_missing_database(site_any: Site, tmp_path: Path) -> None:
    secret = write_secret(tmp_path / "missing", site_any.server, site_any.role, "nowhere")
    payload = call("probe", "--database", str(secret)).result["payload"]
    (found,) = payload["creatable"]
    assert found["reason"] == "DatabaseNotFound"
    assert "dbname in the Secret is wrong" in found["message"]
    assert payload["blocking"] == []


def test_unreachable(site_any: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocore_mover.database.facts.PATIENCE", 0.5)
    secret = write_secret(tmp_path / "gone", site_any.server, site_any.role, site_any.live)
    (secret / "port").write_text(str(free_port()))
    assert facts.probe(Target(load(secret))).blocking[0].reason == "DatabaseUnreachable"


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_is_found_before_anything_is_set_in_its_sessions(site_any: Site, tmp_path: Path, mode: str) -> None:
    admin = create_role(site_any.server, f"admin-{site_any.live}", "CREATEDB CREATEROLE")
    with pgbouncer(site_any, mode, (site_any.role, admin)) as port:
        pooled = write_secret(tmp_path / "pooled", site_any.server, site_any.role, site_any.live)
        (pooled / "port").write_text(str(port))
        (finding,) = probe(replace(site_any, secret=pooled)).blocking
        assert finding.reason == "ConnectionPooler"
        assert f"127.0.0.1:{port} is a connection pooler" in finding.message
        assert "Set host and port in the Secret to the server itself" in finding.message
        # What a session of the application has, which the pooler gave to us before.
        with psycopg.connect(load(pooled).conninfo(knows_require_auth=True), password=site_any.role.password) as mine:
            assert mine.execute("SHOW statement_timeout").fetchone() == ("0",)
        # Only the administrator's connections are pooled: they prevent a rollback.
        secret = write_secret(tmp_path / "admin", site_any.server, admin, "postgres")
        (secret / "port").write_text(str(port))
        found = probe(site_any, secret)
        assert (found.blocking, {f.reason for f in found.rollback}) == ((), {"ConnectionPooler"})
    assert probe(site_any).blocking == ()


@contextlib.contextmanager
def pgbouncer(site: Site, mode: str, roles: tuple[Role, ...]) -> Iterator[int]:
    """A real one in front of the site's server; its port."""
    base, port = Path(tempfile.mkdtemp(prefix="pgbouncer-")), free_port()
    (base / "users").write_text("".join(f'"{role.name}" "{role.password}"\n' for role in roles))
    (base / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={site.server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {base}/users\n"
        f"pool_mode = {mode}\ndefault_pool_size = 1\n"
    )
    command = ["/usr/sbin/pgbouncer", str(base / "ini")]
    if os.geteuid() == 0:
        command = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups", *command]
        for path in (base, *base.iterdir()):
            os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
    with (base / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until = time.monotonic() + 20
            while True:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert time.monotonic() < until, (base / "log").read_text()
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
    shutil.rmtree(base)
