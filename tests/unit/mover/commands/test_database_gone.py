"""The live database does not exist any more: a rollback creates it from the snapshot, with all that is not in the
dump."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocore_crds.text.sentences import shown
from ocore_mover.database import position
from ocore_mover.database.connect import connect_maintenance
from ocore_mover.database.switch.switch import DatabaseSwitch
from ocore_mover.errors import MoverError
from support.mover.application import Application
from support.mover.beside import ENVIRONMENT, Finished, finish, start, was_killed
from support.mover.database_properties import COMMENT, properties
from support.mover.desk import Desk
from support.mover.postgres_majors import Role, create_role, write_secret
from support.mover.records import option, run_of
from support.mover.site import Site, drop_all

EXTENSIONS = (
    "SELECT extname, nspname, extversion FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace ORDER BY 1"
)


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> Desk:
    return Desk(site, tmp_path)


@pytest.fixture
def desk_any(site_any: Site, tmp_path: Path) -> Desk:
    return Desk(site_any, tmp_path)


@pytest.fixture
def reader(desk: Desk) -> Iterator[Role]:
    """Another role, with rights on the database and settings in it."""
    role = create_role(desk.site.server, f"reader-{uuid.uuid4().hex[:8]}")
    yield role
    drop_all(desk.site)
    desk.site.server.execute(f'DROP ROLE "{role.name}"')


def drop_live(desk: Desk) -> None:
    desk.site.server.execute(f'DROP DATABASE "{desk.site.live}" WITH (FORCE)')


def evidence(done: Finished) -> str:
    return "\n".join(done.result["payload"]["evidence"]["warnings"])


def make_unusual(desk: Desk, reader: Role) -> None:
    """Another collation, an extension outside of public, settings, a comment, grants, a limit."""
    server, live, owner = desk.site.server, desk.site.live, desk.site.role.name
    drop_live(desk)
    rules = "ICU_RULES '&a < g'" if server.major >= 16 else ""
    server.execute(
        f'CREATE DATABASE "{live}" OWNER "{owner}" TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE \'sv-SE\' {rules}'
        " CONNECTION LIMIT 40"
    )
    desk.site.sql("CREATE SCHEMA ext")
    server.execute("CREATE EXTENSION pg_trgm SCHEMA ext", live)
    desk.site.sql(
        "CREATE TABLE t (a text, b real DEFAULT ext.similarity('word', 'words')); CREATE INDEX i ON t USING gin (a"
        " ext.gin_trgm_ops);INSERT INTO t SELECT chr(64 + n) FROM generate_series(1, 20) n"
    )
    for statement in (
        f'ALTER DATABASE "{live}" SET search_path TO "$user", public, ext, "with space"',
        f"ALTER DATABASE \"{live}\" SET work_mem TO '5MB'",
        f"ALTER DATABASE \"{live}\" SET own.setting TO 'it''s \"ours\" \\ ö'",
        f'ALTER ROLE "{owner}" IN DATABASE "{live}" SET lock_timeout TO \'7s\'',
        f"COMMENT ON DATABASE \"{live}\" IS E'it''s \"the\" shop\\nsecond line \\\\ ö'",
        f'REVOKE ALL ON DATABASE "{live}" FROM PUBLIC',
        f'GRANT CONNECT, TEMPORARY ON DATABASE "{live}" TO "{reader.name}" WITH GRANT OPTION',
    ):
        server.execute(statement)


def test_row_39_it_comes_back_with_all_that_the_dump_does_not_have(desk: Desk, reader: Role, tmp_path: Path) -> None:
    """With an administrator, layout Odoo, and the filestore gone as well."""
    site = desk.site
    make_unusual(desk, reader)
    admin = create_role(site.server, f"admin-{site.live}", "SUPERUSER")
    application = Application(site, desk.claim)
    application.write_many(20)
    before, extensions = properties(site.server, site.live), site.sql(EXTENSIONS)
    files = {path.name: path.read_bytes() for path in application.filestore.glob("??/*")}
    desk.ok("snapshot")
    drop_live(desk)
    shutil.rmtree(desk.claim / "odoo")

    with_admin = ("--admin", str(write_secret(tmp_path / "admin", site.server, admin, "postgres")))
    probed = desk.ok("probe", *with_admin).result["payload"]
    assert [f["reason"] for f in probed["creatable"]] == ["DatabaseNotFound", "FilestoreNotFound"]
    assert probed["blocking"] == probed["rollback"] == []
    assert probed["database"]["missing"] is True
    assert (probed["database"]["name"], probed["database"]["serverMajor"]) == (site.live, site.server.major)
    assert probed["database"]["usedBytes"] > 0

    run = run_of(site.rollback_id, ENVIRONMENT)
    restored = desk.ok("restore", *with_admin, *option(run))
    assert restored.result["payload"]["liveMissing"] is True
    assert "did not exist: it is created from the snapshot" in evidence(restored)
    assert site.databases() == {site.names.restored}
    switched = desk.ok("switch", "--now", *with_admin, *option(run)).result["payload"]
    assert (switched["position"], switched["liveDatabase"], switched["previousDatabase"]) == ("New", site.live, "")
    assert switched["acceptingConnections"] is True

    assert properties(site.server, site.live) == before
    assert site.sql(EXTENSIONS) == extensions
    assert [row[0] for row in site.sql("SELECT a FROM t ORDER BY a")][:3] == ["A", "B", "C"]
    assert site.sql("SELECT indexdef FROM pg_indexes WHERE indexname = 'i'")[0][0].endswith("gin (a gin_trgm_ops)")
    assert application.missing() == []
    assert {path.name: path.read_bytes() for path in application.filestore.glob("??/*")} == files
    with connect_maintenance(site.target, application="test") as connection:
        live = position.rows(connection, site.names)[site.live]
    assert [(mark.uid, mark.outcome) for mark in live.mark.rollbacks] == [(run.uid, "Switched")]
    assert live.mark.creates is None

    # There is nothing to go back to, and nothing is lost by trying.
    back = desk.run("switch", "--back", "--now", *with_admin)
    assert back.reason == "SwitchFailed"
    assert "did not exist before the rollback" in back.message
    assert site.sql("SELECT count(*) FROM t") == [(20,)]
    assert desk.ok("cleanup", "--what", "previous", *with_admin).result["payload"]["databasesDropped"] == []
    assert desk.own_folders() == set()
    assert site.databases() == {site.live}
    desk.snapshot_id = str(uuid.uuid4())
    desk.ok("snapshot")


def test_row_39_without_an_administrator_and_renamed_away(desk_any: Desk) -> None:
    """The application's role with CREATEDB suffices. What was renamed away is not touched."""
    site = desk_any.site
    site.sql("CREATE TABLE t AS SELECT 1 AS a")
    Application(site, desk_any.claim).write_many(3)
    desk_any.ok("snapshot")
    site.server.execute(f'ALTER DATABASE "{site.live}" RENAME TO "{site.live}_away"')
    desk_any.ok("restore")
    desk_any.ok("switch", "--now")
    assert site.sql("SELECT a FROM t") == [(1,)]
    assert site.databases() == {site.live, f"{site.live}_away"}
    assert properties(site.server, site.live) == properties(site.server, f"{site.live}_away")


def test_row_39_layout_plain_and_its_folder_is_gone(site_any: Site, tmp_path: Path) -> None:
    desk = Desk(site_any, tmp_path, layout="Plain")
    live = desk.claim / desk.path
    (live / "a").mkdir()
    (live / "a/one.txt").write_text("one")
    site_any.sql("CREATE TABLE t AS SELECT 1 AS a")
    desk.ok("snapshot")
    drop_live(desk)
    shutil.rmtree(live.parent)
    (desk.claim / "odoo").chmod(0o751)
    desk.ok("restore")
    desk.ok("switch", "--now")
    assert (live / "a/one.txt").read_text() == "one"
    assert live.stat().st_mode & 0o7777 == live.parent.stat().st_mode & 0o7777 == 0o751
    assert site_any.sql("SELECT a FROM t") == [(1,)]
    desk.ok("cleanup", "--what", "previous")
    assert desk.own_folders() == set()
    assert (live / "a/one.txt").read_text() == "one"


@pytest.mark.parametrize(
    "failpoint", ["restore-database-created", "restore-checked", "switch-refused", "switch-renamed"]
)
def test_row_39_killed_at_any_step(desk_any: Desk, failpoint: str) -> None:
    """Without a database, or with a whole one: never a part of one."""
    site = desk_any.site
    application = Application(site, desk_any.claim)
    application.write_many(5)
    desk_any.ok("snapshot")
    drop_live(desk_any)
    shutil.rmtree(application.filestore)
    if failpoint.startswith("restore"):
        assert was_killed(desk_any.armed("restore", f"{failpoint}=kill"))
        assert desk_any.ok("inspect", "--repair").result["payload"]["position"] == "Old"
        assert site.databases() == {site.names.restored}
        desk_any.ok("cleanup", "--what", "restored")
        assert site.databases() == set()
        # Files that the killed process was reading; the next restore begins with their removal.
        assert desk_any.own_folders() <= {"incoming"}
    desk_any.ok("restore")
    assert "incoming" not in desk_any.own_folders()
    if failpoint.startswith("switch"):
        assert was_killed(desk_any.armed("switch", f"{failpoint}=kill", "--now"))
    found = desk_any.ok("inspect", "--repair").result["payload"]
    renamed = failpoint == "switch-renamed"
    assert (found["position"], found["liveDatabase"]) == (("New", site.live) if renamed else ("Old", ""))
    assert found["acceptingConnections"] is True
    if not renamed:
        desk_any.ok("switch", "--now")
    assert site.sql("SELECT count(*) FROM ir_attachment") == [(5,)]
    assert application.missing() == []


def test_the_switch_job_creates_it_at_its_signal(desk_any: Desk, tmp_path: Path) -> None:
    """As the operator runs it. A signal that comes too late ends the Job, and there is no database, as before."""
    site = desk_any.site
    Application(site, desk_any.claim).write_many(2)
    desk_any.ok("snapshot")
    drop_live(desk_any)
    desk_any.ok("restore")
    signal, ready = tmp_path / "signal", tmp_path / "ready"
    job = desk_any.arguments("switch", "--signal-file", str(signal), "--ready-file", str(ready), "--wait", "60")

    def send(action: str, seconds: float) -> None:
        signal.write_text(json.dumps({"action": action, "notAfter": time.time() + seconds}))

    send("Switch", -1)
    late = finish(start(site, *job))
    assert late.code == 0, late.stderr
    payload = late.result["payload"]
    assert (payload["position"], payload["liveDatabase"], payload["failure"]["reason"]) == ("Old", "", "SwitchFailed")
    assert site.databases() == {site.names.restored}

    signal.unlink()
    process = start(site, *job)
    try:
        wait_until(ready.exists)
        send("Switch", 60)
        wait_until(lambda: site.databases() == {site.live} and site.accepts_connections())
        send("Finish", 60)
        done = finish(process)
    finally:
        process.kill()
    assert (done.code, done.result["payload"]["position"]) == (0, "New")
    assert site.sql("SELECT count(*) FROM ir_attachment") == [(2,)]


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_an_aborted_rollback_leaves_no_database(desk_any: Desk) -> None:
    site = desk_any.site
    Application(site, desk_any.claim).write_many(2)
    desk_any.ok("snapshot")
    drop_live(desk_any)
    desk_any.ok("restore")
    assert desk_any.ok("cleanup", "--what", "restored").result["payload"]["databasesDropped"] == [site.names.restored]
    assert site.databases() == set()
    assert desk_any.own_folders() == set()
    assert desk_any.ok("inspect").result["payload"]["liveDatabase"] == ""


@pytest.mark.parametrize("happened", ["created", "dropped"])
def test_a_database_that_comes_or_goes_in_between_is_not_replaced(desk_any: Desk, happened: str) -> None:
    """Someone else restores it too, or drops it while the rollback runs."""
    site = desk_any.site
    application = Application(site, desk_any.claim)
    application.write_many(2)
    desk_any.ok("snapshot")
    if happened == "created":
        drop_live(desk_any)
    desk_any.ok("restore")
    if happened == "created":
        site.sql(f'CREATE DATABASE "{site.live}"', "postgres")
        site.sql("CREATE TABLE theirs (a int)")
        site.sql("CREATE TABLE ir_attachment (store_fname text)")
    else:
        drop_live(desk_any)
    before = site.databases()
    failed = desk_any.run("switch", "--now")
    assert failed.reason == "SwitchFailed"
    assert f"was {'created' if happened == 'created' else 'dropped or renamed'} by someone else" in failed.message
    assert site.databases() == before
    if happened == "created":
        assert site.sql("SELECT count(*) FROM theirs") == [(0,)]
    desk_any.ok("cleanup", "--what", "restored")


@pytest.mark.parametrize("happened", ["created", "dropped"])
def test_it_comes_or_goes_in_the_last_moment(desk_any: Desk, happened: str) -> None:
    """After the checks, before the renames."""
    site = desk_any.site
    site.sql("CREATE TABLE t AS SELECT 1 AS a")
    Application(site, desk_any.claim).write_many(1)
    desk_any.ok("snapshot")
    if happened == "created":
        drop_live(desk_any)
    desk_any.ok("restore")

    def change_it() -> None:
        if happened == "created":
            site.sql(f'CREATE DATABASE "{site.live}"', "postgres")
        else:
            drop_live(desk_any)

    def settle(found: position.Position) -> None:
        assert found.position != "New", "it did not switch"

    switch = DatabaseSwitch(site.target, site.rollback_id)
    try:
        with pytest.raises(MoverError, match="by someone else") as raised:
            switch.switch(change_it, settle)
    finally:
        switch.close()
    assert raised.value.reason == "SwitchFailed"
    left = {site.names.restored} | ({site.live} if happened == "created" else set())
    assert site.databases() == left
    found = desk_any.ok("inspect", "--repair").result["payload"]
    assert (found["position"], found["acceptingConnections"]) == ("Old", True)


def test_a_missing_folder_alone_is_not_created(desk_any: Desk) -> None:
    """A wrong path in the Environment: the application would not find its files in a new folder."""
    site = desk_any.site
    application = Application(site, desk_any.claim)
    application.write_many(1)
    desk_any.ok("snapshot")
    shutil.rmtree(application.filestore)
    assert [f["reason"] for f in desk_any.ok("probe").result["payload"]["blocking"]] == ["FilestoreNotFound"]
    assert desk_any.run("restore").reason == "FilestoreNotFound"
    assert not application.filestore.exists()
    assert site.databases() == {site.live}


def test_a_folder_that_cannot_be_created_is_a_finding(desk_any: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim's root belongs to another user, or the path goes through a symbolic link."""
    site = desk_any.site
    drop_live(desk_any)
    (desk_any.claim / "odoo").rename(desk_any.claim / "elsewhere")
    (desk_any.claim / "odoo").symlink_to("elsewhere")
    probed = desk_any.ok("probe").result["payload"]
    assert [f["reason"] for f in probed["blocking"]] == ["FilestoreNotFound"]
    assert "symbolic link" in probed["blocking"][0]["message"]
    (desk_any.claim / "odoo").unlink()
    access = os.access
    monkeypatch.setattr(os, "access", lambda *a, **k: "dir_fd" not in k and access(*a, **k))
    probed = desk_any.ok("probe").result["payload"]
    assert [f["reason"] for f in probed["creatable"]] == ["DatabaseNotFound", "FilestoreNotFound"]
    assert [f["reason"] for f in probed["rollback"]] == ["FilestoreNotReadable"]
    assert site.databases() == set()


def test_another_name_creates_nothing(desk_any: Desk) -> None:
    """A wrong dbname in the Secret."""
    site = desk_any.site
    Application(site, desk_any.claim).write_many(2)
    desk_any.ok("snapshot")
    (site.secret / "dbname").write_text(f"{site.live}_x")
    failed = desk_any.run("restore")
    assert failed.reason == "DatabaseNotFound"
    assert f"the snapshot is of database {site.live}" in failed.message
    assert "Correct dbname in the Secret" in failed.message
    assert site.databases() == {site.live}
    assert desk_any.own_folders() == set()


def test_a_missing_database_is_not_an_unreachable_server(desk_any: Desk) -> None:
    drop_live(desk_any)
    probed = desk_any.ok("probe").result["payload"]
    (finding,) = probed["creatable"]
    assert "A Rollback creates it from a Snapshot" in finding["message"]
    assert probed["blocking"] == probed["rollback"] == []
    failed = desk_any.run("snapshot")
    assert failed.reason == "DatabaseNotFound"
    assert "a Rollback creates it" in failed.message
    (desk_any.site.secret / "port").write_text("1")
    probed = desk_any.ok("probe").result["payload"]
    assert [f["reason"] for f in probed["blocking"]] == ["DatabaseUnreachable"]
    assert "creatable" not in probed or probed["creatable"] == []


def test_the_missing_right_to_create_it_is_a_finding(desk_any: Desk, tmp_path: Path) -> None:
    site = desk_any.site
    drop_live(desk_any)
    site.server.execute(f'ALTER ROLE "{site.role.name}" NOCREATEDB')
    (finding,) = desk_any.ok("probe").result["payload"]["rollback"]
    assert finding["remedies"] == [{"right": "CreateDatabases", "role": "Application"}]
    admin = create_role(site.server, f"admin-{site.live}", "CREATEDB NOCREATEROLE")
    with_admin = ("--admin", str(write_secret(tmp_path / "admin", site.server, admin, "postgres")))
    found = desk_any.ok("probe", *with_admin).result["payload"]["rollback"]
    rights = [r for f in found for r in f.get("remedies", ())]
    assert {"right": "JoinOwner", "role": "Administrator"} in rights
    assert {"right": "CreateRoles", "role": "Administrator"} in rights


def test_a_role_that_may_connect_to_no_other_database(desk_any: Desk) -> None:
    """It cannot create the missing one."""
    server = desk_any.site.server
    drop_live(desk_any)
    server.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
    try:
        probed = desk_any.ok("probe").result["payload"]
    finally:
        server.execute("GRANT CONNECT ON DATABASE postgres, template1 TO PUBLIC")
    assert [f["reason"] for f in probed["blocking"]] == ["DatabaseNotFound", "MissingGrants"]
    assert "it needs CONNECT on database postgres" in probed["blocking"][1]["message"]


@pytest.mark.parametrize("admin", [False, True])
def test_a_restore_does_not_touch_the_rights_on_the_live_database(desk_any: Desk, tmp_path: Path, admin: bool) -> None:
    """A dump has the grants on the database that it was made of, which is the live one."""
    site = desk_any.site
    Application(site, desk_any.claim).write_many(2)
    site.sql(f'REVOKE ALL ON DATABASE "{site.live}" FROM PUBLIC')
    desk_any.ok("snapshot")
    site.sql(f'GRANT CONNECT ON DATABASE "{site.live}" TO PUBLIC')
    before = properties(site.server, site.live)
    more: tuple[str, ...] = ()
    if admin:
        role = create_role(site.server, f"admin-{site.live}", "SUPERUSER")
        more = ("--admin", str(write_secret(tmp_path / "admin", site.server, role, "postgres")))
    desk_any.ok("restore", *more)
    assert properties(site.server, site.live) == before
    desk_any.ok("switch", "--now", *more)
    assert properties(site.server, site.live) == before


def rewrite(desk: Desk, **database: Any) -> None:
    """The manifest as another writer would have written it; None removes a field."""
    path = next(desk.store.rglob("manifest.json"))
    found = json.loads(path.read_text())
    for field, value in database.items():
        if value is None:
            del found["database"][field]
        else:
            found["database"][field] = value
    path.write_text(json.dumps(found, indent=1) + "\n")


def test_a_manifest_of_an_older_version_gives_the_defaults(desk_any: Desk) -> None:
    """Such a manifest stays readable, and what it lacks is named."""
    site = desk_any.site
    site.sql("CREATE TABLE t AS SELECT 1 AS a")
    Application(site, desk_any.claim).write_many(1)
    desk_any.ok("snapshot")
    newer = (
        "icuRules",
        "collationVersion",
        "owner",
        "tablespace",
        "connectionLimit",
        "comment",
        "settings",
        "grants",
        "extensionSchemas",
    )
    rewrite(desk_any, **dict.fromkeys(newer))
    assert desk_any.manifest().database is not None
    before = properties(site.server, site.live)
    drop_live(desk_any)
    assert "was written by an older version" in evidence(desk_any.ok("restore"))
    desk_any.ok("switch", "--now")
    assert site.sql("SELECT a FROM t") == [(1,)]
    assert properties(site.server, site.live) == before


@pytest.mark.parametrize("power", ["SUPERUSER", "NOSUPERUSER CREATEDB CREATEROLE"])
def test_a_manifest_gives_no_rights(desk_any: Desk, tmp_path: Path, power: str) -> None:
    """A tenant who can write to the store names other roles, and settings that only a superuser may make."""
    site = desk_any.site
    victim = create_role(site.server, f"victim-{site.live}")
    admin = create_role(site.server, f"admin-{site.live}", power)
    site.server.execute(f'GRANT "{site.role.name}", "{victim.name}" TO "{admin.name}" WITH ADMIN OPTION')
    with_admin = ("--admin", str(write_secret(tmp_path / "admin", site.server, admin, "postgres")))
    Application(site, desk_any.claim).write_many(1)
    site.sql("CREATE FUNCTION who() RETURNS text LANGUAGE sql AS 'SELECT current_user::text'")
    site.sql("CREATE TABLE t (who text DEFAULT who(), a int CHECK (a > 0))")
    desk_any.ok("snapshot", *with_admin)
    hostile = [
        ("", "session_preload_libraries", "evil"),
        ("", "log_statement", "none"),
        ("", "plperl.on_plperlu_init", "x"),
        ("", "unaccent.x", "y"),
        (victim.name, "search_path", "evil"),
        ("no-such-role", "work_mem", "1MB"),
        ("", "log_connections", "off"),
    ]
    harmless = [("", "own.setting", "x"), ("", "work_mem", "6MB"), (site.role.name, "search_path", "public")]
    rewrite(
        desk_any,
        owner=victim.name,
        settings=[{"role": r, "name": n, "value": v} for r, n, v in hostile + harmless],
        comment=f"mine\nocore.rollback_id={site.rollback_id}\nocore.checked=true",
        grants=[
            {"role": victim.name, "privilege": "CREATE", "grantable": False},
            {"role": "no-such-role", "privilege": "CONNECT", "grantable": False},
        ],
    )
    drop_live(desk_any)
    for other in ("postgres", "no-such-role-2"):
        rewrite(desk_any, owner=other)
        restored = desk_any.ok("restore", *with_admin)
        assert f"belonged to role {other} and now belongs to {site.role.name}" in evidence(restored)
    rewrite(desk_any, owner=victim.name)
    restored = desk_any.ok("restore", *with_admin)
    warnings = evidence(restored)
    assert f"belonged to role {victim.name} and now belongs to {site.role.name}" in warnings
    for role, name, _ in hostile:
        where = f"role {shown(role)} in database" if role else "database"
        assert f"setting {shown(name)} of {where} {site.live} was not set" in warnings
    desk_any.ok("switch", "--now", *with_admin)
    row = properties(site.server, site.live)
    assert row[0] == site.role.name
    assert row[COMMENT] == "mine"
    expected = {f"{r}:{n}={v}" for r, n, v in harmless}
    # Only a superuser may set a parameter that no module defines.
    assert set(row[-1]) == (expected if power == "SUPERUSER" else expected - {":own.setting=x"})


def test_a_comment_in_the_manifest_is_not_our_mark(desk_any: Desk) -> None:
    """It says that the copy was checked: a part of a database would become the live one."""
    site = desk_any.site
    Application(site, desk_any.claim).write_many(1)
    desk_any.ok("snapshot")
    rewrite(desk_any, comment="mine\nocore.checked=true")
    drop_live(desk_any)
    assert was_killed(desk_any.armed("restore", "restore-database-created=kill"))
    refused = desk_any.run("switch", "--now")
    assert refused.reason == "SwitchFailed"
    assert "is incomplete or was not checked" in refused.message
    assert site.databases() == {site.names.restored}


def test_an_owner_that_the_applications_role_is_a_member_of(desk_any: Desk, tmp_path: Path) -> None:
    site = desk_any.site
    group = f"group-{site.live}"
    site.server.execute(
        f'CREATE ROLE "{group}"; GRANT "{group}" TO "{site.role.name}"; ALTER DATABASE "{site.live}" OWNER TO "{group}"'
    )
    Application(site, desk_any.claim).write_many(1)
    site.sql(f'ALTER TABLE ir_attachment OWNER TO "{group}"')
    desk_any.ok("snapshot")
    before = properties(site.server, site.live)
    assert before[0] == group
    drop_live(desk_any)
    desk_any.ok("restore")
    desk_any.ok("switch", "--now")
    assert properties(site.server, site.live) == before


def test_the_created_folder_belongs_to_the_owner_of_the_one_above(desk_any: Desk) -> None:
    site = desk_any.site
    Application(site, desk_any.claim).write_many(2)
    desk_any.ok("snapshot")
    drop_live(desk_any)
    shutil.rmtree(desk_any.claim / "odoo")
    root = os.geteuid() == 0  # no other user can give a folder away
    if root:
        os.chown(desk_any.claim, 1234, 4321)
    desk_any.ok("restore")
    made = (desk_any.claim / desk_any.path).stat()
    assert (made.st_uid, made.st_gid) == ((1234, 4321) if root else (os.geteuid(), os.getegid()))


def test_row_39_a_database_without_tables_is_filled(site_any: Site, tmp_path: Path) -> None:
    """The first copy: Odoo waits on a database that exists, before it has made a table or a folder. Once it has tables,
    layout Odoo needs its attachments."""
    desk = Desk(site_any, tmp_path)
    application = Application(site_any, desk.claim)
    application.write_many(3)
    desk.ok("snapshot")
    drop_live(desk)
    site_any.server.execute(f'CREATE DATABASE "{site_any.live}" OWNER "{site_any.role.name}"')
    # What Odoo makes before it says that the database is not initialised: sequences until 18, tables since.
    site_any.sql("CREATE SEQUENCE base_registry_signaling; CREATE TABLE orm_signaling_registry (id serial PRIMARY KEY)")
    shutil.rmtree(desk.claim / "odoo")
    probed = desk.ok("probe").result["payload"]
    assert [f["reason"] for f in probed["creatable"]] == ["DatabaseEmpty", "FilestoreNotFound"]
    assert probed["blocking"] == probed["rollback"] == []
    desk.ok("restore")
    desk.ok("switch", "--now")
    assert application.missing() == []
    assert site_any.sql("SELECT count(*) FROM ir_attachment") == [(3,)]
    desk.ok("switch", "--now", "--back")
    site_any.sql("CREATE TABLE other (id int)")
    (found,) = desk.ok("probe").result["payload"]["blocking"]
    assert found["reason"] == "FilestoreLayoutUnsupported"
