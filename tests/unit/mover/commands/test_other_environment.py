"""A snapshot of one environment is restored into another one: other database name, other owner, other files, a store of
its own for the record."""

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.mover.application import Application
from support.mover.beside import ENVIRONMENT, call, was_killed
from support.mover.database_properties import properties
from support.mover.desk import Desk
from support.mover.other_environment import STAGING, Into, ok
from support.mover.postgres_majors import Server, create_role, write_secret
from support.mover.records import option, run_of, states
from support.mover.site import Site, drop_all, make_site

#: Every privilege on a table, with who gave it to whom.
GRANTS = "SELECT relacl::text FROM pg_class WHERE relname = 't'"


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> Desk:
    return Desk(site, tmp_path)


@pytest.fixture
def into(desk: Desk, server: Server, tmp_path: Path) -> Iterator[Into]:
    site = make_site(server, tmp_path / "staging")
    yield Into(site, tmp_path / "staging", desk)
    drop_all(site)


def files_of(application: Application) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in application.filestore.glob("??/*")}


def test_it_keeps_its_name_owner_grants_and_settings(desk: Desk, into: Into) -> None:
    production = Application(desk.site, desk.claim)
    staging = Application(into.site, into.claim, generator=random.Random(2))  # noqa: S311 - no secret
    owner, here = desk.site.role.name, into.site.role.name
    reader = create_role(desk.site.server, f"reader-{uuid.uuid4().hex[:8]}")
    desk.site.sql(
        f'CREATE TABLE t AS SELECT 7 AS a; GRANT SELECT ON t TO "{reader.name}"; REVOKE DELETE ON t FROM "{owner}";'
        f'ALTER DEFAULT PRIVILEGES FOR ROLE "{owner}" GRANT SELECT ON TABLES TO "{reader.name}";'
        f'ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t TO "{owner}" USING (a > 0)'
    )
    desk.site.server.execute(f"ALTER DATABASE \"{desk.site.live}\" SET work_mem TO '9MB'")
    into.site.server.execute(f"ALTER DATABASE \"{into.site.live}\" SET work_mem TO '5MB'")
    into.site.server.execute(f'REVOKE ALL ON DATABASE "{into.site.live}" FROM PUBLIC')
    into.site.sql("CREATE TABLE only_staging AS SELECT 1 AS a")
    production.write_many(30)
    shared = production.write_many(20)
    for name in shared:  # the target has these already
        path = staging.filestore / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((production.filestore / name).read_bytes())
    own = staging.write_many(3)
    desk.ok("snapshot", "--verify", "Full")
    source, before = properties(desk.site.server, desk.site.live), properties(into.site.server, into.site.live)
    stored = {path: path.stat().st_mtime_ns for path in desk.stored()}

    result = ok(into.restored("--project-id", ENVIRONMENT))
    assert result["filesAdded"] == 30
    assert any(line.startswith(f"source: environment {ENVIRONMENT}") for line in result["evidence"]["proven"])
    switched = ok(into.run("switch", "--now", *option(into.run_)))
    assert (switched["position"], switched["liveDatabase"]) == ("New", into.site.live)

    assert properties(into.site.server, into.site.live) == before
    assert into.site.sql("SELECT a FROM t") == [(7,)]
    assert into.site.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == [(here,)]
    ((grants,),) = into.site.sql(GRANTS)
    assert here in str(grants)
    assert reader.name in str(grants)
    assert owner not in str(grants)
    assert into.site.sql("SELECT has_table_privilege(current_user, 't', 'DELETE')") == [(False,)]
    assert into.site.sql("SELECT roles::text FROM pg_policies WHERE policyname = 'p'") == [(f"{{{here}}}",)]
    assert into.site.sql("SELECT pg_get_userbyid(defaclrole)::text FROM pg_default_acl") == [(here,)]
    assert staging.missing() == []
    # Nothing happened to the source: neither its database, nor its files, nor its store.
    assert properties(desk.site.server, desk.site.live) == source
    assert production.missing() == []
    assert {path: path.stat().st_mtime_ns for path in desk.stored()} == stored
    assert (states(into.store, into.run_), states(desk.store, into.run_)) == ({"restored"}, set())

    # And back.
    undone = ok(into.run("switch", "--back", "--now", *option(into.run_)))
    assert undone["position"] == "Old"
    assert into.site.sql("SELECT a FROM only_staging") == [(1,)]
    assert all((staging.filestore / name).exists() for name in own)
    # By the target's record, the same Rollback does not run again.
    again = run_of(into.site.rollback_id, STAGING)
    into.run_ = again
    assert into.restored().reason == "SwitchedBack"


def test_a_database_that_does_not_exist_is_created_for_the_target(desk: Desk, into: Into) -> None:
    """Under its own name and for its own role. Of the grants on the source database none is kept, and it is not opened
    to PUBLIC."""
    owner, here = desk.site.role.name, into.site.role.name
    reader = create_role(desk.site.server, f"reader-{uuid.uuid4().hex[:8]}")
    for statement in (
        f'REVOKE ALL ON DATABASE "{desk.site.live}" FROM PUBLIC',
        f'GRANT CONNECT ON DATABASE "{desk.site.live}" TO "{reader.name}"',
        f"ALTER DATABASE \"{desk.site.live}\" SET work_mem TO '9MB'",
        f'ALTER ROLE "{owner}" IN DATABASE "{desk.site.live}" SET lock_timeout TO \'7s\'',
    ):
        desk.site.server.execute(statement)
    desk.site.server.execute("CREATE EXTENSION pg_trgm", desk.site.live)
    production = Application(desk.site, desk.claim)
    production.write_many(10)
    desk.ok("snapshot")
    into.site.server.execute(f'DROP DATABASE "{into.site.live}" WITH (FORCE)')
    assert "DatabaseNotFound" in {f["reason"] for f in ok(into.run("probe"))["creatable"]}

    result = ok(into.restored())
    assert result["liveMissing"] is True
    assert f"rights of roles on the source database are not granted: {reader.name}" in result["evidence"]["warnings"]
    ok(into.run("switch", "--now", *option(into.run_)))
    found = properties(into.site.server, into.site.live)
    assert found[0] == here
    assert not any(reader.name in entry or owner in entry or entry.startswith("=") for entry in found[-2])
    assert sorted(found[-1]) == sorted([":work_mem=9MB", f"{here}:lock_timeout=7s"])
    assert into.site.sql("SELECT extname FROM pg_extension WHERE extname = 'pg_trgm'") == [("pg_trgm",)]
    staging = Application(into.site, into.claim)
    assert staging.missing() == []
    assert files_of(staging) == files_of(production)


@pytest.fixture
def into_any(site_any: Site, server_any: Server, tmp_path: Path) -> Iterator[Into]:
    """One major, with a snapshot of ten files."""
    desk = Desk(site_any, tmp_path)
    Application(site_any, desk.claim).write_many(10)
    desk.ok("snapshot")
    site = make_site(server_any, tmp_path / "staging")
    yield Into(site, tmp_path / "staging", desk)
    drop_all(site)


def untouched(into: Into) -> bool:
    return into.site.databases() == {into.site.live} and into.own_folders() == set()


def test_the_digest_decides_whatever_the_store_says(into_any: Into, tmp_path: Path) -> None:
    """A store with the same id, the same keys and other contents."""
    digest = call("inspect", *into_any.source.which).result["payload"]["manifestSha256"]
    Application(into_any.site, into_any.claim)
    manifest = next(into_any.source.store.rglob("manifest.json"))
    manifest.write_text(manifest.read_text().replace('"development"', '"staging"'))
    done = into_any.restored("--manifest-sha256", digest)
    assert (done.reason, untouched(into_any)) == ("Corrupt", True)
    assert "was changed after the snapshot" in done.message


def test_another_project_is_refused(into_any: Into) -> None:
    Application(into_any.site, into_any.claim)
    done = into_any.restored("--project-id", STAGING)
    assert (done.reason, untouched(into_any)) == ("OtherProject", True)


def test_layouts_must_match(into_any: Into, tmp_path: Path, server_any: Server) -> None:
    site = make_site(server_any, tmp_path / "plain")
    plain = Into(site, tmp_path / "plain", into_any.source, layout="Plain")
    done = plain.restored()
    assert (done.reason, untouched(plain)) == ("FilestoreLayoutUnsupported", True)
    drop_all(site)


def test_an_extension_that_the_server_lacks_is_found_first(into_any: Into) -> None:
    Application(into_any.site, into_any.claim)
    manifest = next(into_any.source.store.rglob("manifest.json"))
    manifest.write_text(manifest.read_text().replace('"extensions": {', '"extensions": {"no_such_extension": "1.0",'))
    done = into_any.restored()
    assert (done.reason, untouched(into_any)) == ("MissingGrants", True)
    assert "no_such_extension" in done.message


def test_a_user_mapping_stays_behind(site_any: Site, server_any: Server, tmp_path: Path) -> None:
    """It has the credentials of the source environment for another server."""
    desk = Desk(site_any, tmp_path, layout="Plain")
    server_any.execute("CREATE EXTENSION postgres_fdw", site_any.live)
    server_any.execute(f'GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO "{site_any.role.name}"', site_any.live)
    site_any.sql(
        "CREATE SERVER bank FOREIGN DATA WRAPPER postgres_fdw;"
        f"CREATE USER MAPPING FOR \"{site_any.role.name}\" SERVER bank OPTIONS (password 'hunter2')"
    )
    desk.ok("snapshot")
    admin = create_role(server_any, f"root-{site_any.live}", "SUPERUSER")
    site = make_site(server_any, tmp_path / "staging")
    into = Into(site, tmp_path / "staging", desk, layout="Plain")
    with_admin = ("--admin", str(write_secret(tmp_path / "admin", server_any, admin, "postgres")))
    result = ok(into.restored(*with_admin))
    assert any(
        "was left out: it has credentials of the source environment" in w for w in result["evidence"]["warnings"]
    )
    assert site.copy_sql("SELECT count(*) FROM pg_user_mapping", superuser=True) == [(0,)]
    assert site.copy_sql("SELECT srvname FROM pg_foreign_server", superuser=True) == [("bank",)]
    drop_all(site)


def test_a_read_only_store_stays_as_it_is(into_any: Into, tmp_path: Path) -> None:
    """Whatever the rights of the folder allow."""
    source = into_any.source
    before = sorted(source.store.rglob("*"))
    done = call("delete", *source.which, "--store-read-only")
    assert done.code == 1, "deleted"
    assert done.reason == "StoreReadOnly"
    again = [*source.arguments("snapshot"), "--store-read-only"]
    again[again.index("--snapshot-id") + 1] = str(uuid.uuid4())
    assert call(*again).reason == "StoreReadOnly"
    probed = ok(call("probe-store", *source.where, "--store-read-only"))
    assert probed["storeId"] == ok(call("probe-store", *source.where))["storeId"]
    assert sorted(source.store.rglob("*")) == before
    empty = tmp_path / "empty"
    empty.mkdir()
    assert call("probe-store", "--store", empty.as_uri(), "--store-read-only").reason == "StoreNotReady"
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    "failpoint",
    ["restore-database-created", "restore-database-loaded", "restore-checked", "switch-refused", "switch-renamed"],
)
def test_killed_at_any_step(into_any: Into, failpoint: str, *, exists: bool) -> None:
    """The target is old or new, and a whole one; the source is as it was."""
    production, site = Application(into_any.source.site, into_any.source.claim), into_any.site
    before, files = properties(production.site.server, production.site.live), files_of(production)
    staging = Application(site, into_any.claim, generator=random.Random(2))  # noqa: S311 - no secret
    staging.write_many(4)
    if not exists:
        site.server.execute(f'DROP DATABASE "{site.live}" WITH (FORCE)')
    old = {site.live} if exists else set()
    if failpoint.startswith("restore"):
        died = into_any.armed("restore", f"{failpoint}=kill", *into_any.reading, *option(into_any.run_))
        assert was_killed(died)
        assert ok(into_any.run("inspect", "--repair"))["position"] == "Old"
        ok(into_any.run("cleanup", "--what", "restored"))
        assert (site.databases(), into_any.own_folders()) == (old, set())
        assert not exists or site.sql("SELECT count(*) FROM ir_attachment") == [(4,)]
    ok(into_any.restored())
    if failpoint.startswith("switch"):
        assert was_killed(into_any.armed("switch", f"{failpoint}=kill", "--now", *option(into_any.run_)))
        found = ok(into_any.run("inspect", "--repair"))
        assert found["position"] == ("New" if failpoint == "switch-renamed" else "Old")
        assert found["acceptingConnections"] is True
    if failpoint != "switch-renamed":
        ok(into_any.run("switch", "--now", *option(into_any.run_)))
    assert site.sql("SELECT count(*) FROM ir_attachment") == [(10,)]
    assert site.accepts_connections()
    assert staging.missing() == []
    assert (properties(production.site.server, production.site.live), files_of(production)) == (before, files)
