"""What the application's role may not do is done by an admin; what no role may do fails with a message."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocore_mover.database import artifact, facts
from ocore_mover.database.connect import Server as Target
from ocore_mover.database.credentials import load
from ocore_mover.database.dump import dump, export
from ocore_mover.database.restore import create
from ocore_mover.database.restore.restore import DatabaseRestore, RestoredDatabase
from ocore_mover.database.switch.switch import DatabaseSwitch
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.report import Counter
from ocore_mover.store import Store
from support.mover.dumps import PREFIX
from support.mover.postgres_majors import Role, Server, create_role, write_secret
from support.mover.site import Site, drop_all, make_site

UNACCENT = """
CREATE EXTENSION unaccent;
ALTER FUNCTION unaccent(text) IMMUTABLE;
"""


@pytest.fixture
def poor(server: Server, tmp_path: Path) -> Iterator[Site]:
    """The owner may not create databases; an admin may."""
    made = make_site(server, tmp_path, options="NOCREATEDB")
    yield made
    drop_all(made)


def admin_of(site: Site, folder: Path, options: str) -> Target:
    admin = create_role(site.server, f"admin-{site.live}", options)
    if "NOSUPERUSER" in options:
        option = " WITH ADMIN OPTION" if site.server.major >= 16 else ""
        site.server.execute(f'GRANT "{site.role.name}" TO "{admin.name}"{option}')
    return Target(load(site.secret), load(write_secret(folder / "admin", site.server, admin, "postgres")))


def round_trip(
    target: Target, site: Site, store: Store, scratch: Path, counter: Counter, token: Token
) -> RestoredDatabase:
    with export.export(target, token) as exported:
        properties = artifact.read(exported.connection)
        found = dump.dump(target, exported, properties, store, PREFIX, scratch, counter, token)
    return DatabaseRestore(
        server=target,
        names=site.names,
        artifact=found,
        store=store,
        scratch=scratch,
        counter=counter,
        token=token,
        jobs=2,
    ).run()


def test_an_admin_that_is_no_superuser(
    poor: Site, tmp_path: Path, store: Store, scratch: Path, counter: Counter, token: Token
) -> None:
    target = admin_of(poor, tmp_path, "NOSUPERUSER CREATEDB CREATEROLE")
    other = create_role(poor.server, f"other-{poor.live}")
    poor.sql("CREATE TABLE t AS SELECT 1 AS a; CREATE EXTENSION pg_trgm")
    poor.server.execute(f'CREATE TABLE theirs (a int); ALTER TABLE theirs OWNER TO "{other.name}"', poor.live)
    poor.server.execute(f'GRANT SELECT ON theirs TO "{poor.role.name}"', poor.live)
    # It may not give a table to a role that it is no member of: the application must not have it instead.
    (finding,) = facts.probe(target, attachments=False).rollback
    assert f"may not give objects to role {other.name}: make it a member" in finding.message
    assert finding.remedies == (), "another role may be anyone's"
    options = " WITH INHERIT TRUE, SET TRUE" if poor.server.major >= 16 else ""
    statement = f'GRANT "{other.name}" TO "admin-{poor.live}"{options}'
    with pytest.raises(
        MoverError, match=r"1 objects of the snapshot belong to it, for example TABLE public\.theirs"
    ) as raised:
        round_trip(target, poor, store, scratch, counter, token)
    assert raised.value.reason == "MissingGrants"
    assert f"may not give objects to role {other.name}: make it a member" in raised.value.message
    assert poor.databases() == {poor.live}
    poor.server.execute(statement)
    assert facts.probe(target, attachments=False).rollback == ()

    restored = round_trip(target, poor, store, scratch, counter, token)

    assert poor.copy_sql("SELECT a FROM t", superuser=True) == [(1,)]
    assert restored.owner == poor.role.name
    owners = dict(
        poor.copy_sql(
            "SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('t', 'theirs')", superuser=True
        )
    )
    assert owners == {"t": poor.role.name, "theirs": other.name}
    assert restored.warnings == ()
    with poor.server.connect(poor.live, poor.role.name, poor.role.password):
        switch = DatabaseSwitch(target, poor.rollback_id)

        create.mark_checked(switch.connection(), poor.names)
        assert switch.switch(lambda: None, lambda _: None).position.position == "New"
        switch.close()


def test_an_index_over_an_altered_unaccent(
    poor: Site, tmp_path: Path, store: Store, scratch: Path, counter: Counter, token: Token
) -> None:
    """pg_dump loses the ALTER FUNCTION, and pg_restore alone fails on the index."""
    poor.server.execute(UNACCENT, poor.live)
    poor.sql(
        "CREATE TABLE partner (name text); CREATE INDEX plain ON partner (unaccent(name)); INSERT INTO partner VALUES"
        " ('é')"
    )
    target = admin_of(poor, tmp_path, "SUPERUSER")
    assert facts.probe(target, attachments=False).rollback == ()
    restored = round_trip(target, poor, store, scratch, counter, token)
    assert poor.copy_sql(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'partner'::regclass", superuser=True
    ) == [("plain",)]
    owner = poor.copy_sql("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'partner'", superuser=True)
    assert restored.warnings == ()
    assert owner == [(poor.role.name,)]


def test_an_altered_unaccent_without_a_superuser(
    site: Site, store: Store, scratch: Path, counter: Counter, token: Token
) -> None:
    site.server.execute(UNACCENT, site.live)
    site.sql("CREATE TABLE partner (name text); CREATE INDEX ON partner (unaccent(name))")
    (finding,) = facts.probe(site.target, attachments=False).rollback
    assert "unaccent(text)" in finding.message
    with pytest.raises(MoverError) as raised:
        round_trip(site.target, site, store, scratch, counter, token)
    assert raised.value.reason == "MissingGrants"
    assert "set adminSecretRef to a superuser's Secret" in raised.value.message


def test_other_owners_with_a_superuser(
    poor: Site, tmp_path: Path, store: Store, scratch: Path, counter: Counter, token: Token
) -> None:
    target = admin_of(poor, tmp_path, "SUPERUSER")
    other: Role = create_role(poor.server, f"other-{poor.live}")
    poor.server.execute(
        f'CREATE SCHEMA theirs AUTHORIZATION "{other.name}"; CREATE TABLE theirs.t (id serial, a int);ALTER TABLE'
        f' theirs.t OWNER TO "{other.name}"; GRANT SELECT ON theirs.t, theirs.t_id_seq TO "{poor.role.name}";GRANT'
        f' USAGE ON SCHEMA theirs TO "{poor.role.name}"; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1'
        f" $$;ALTER FUNCTION f() OWNER TO \"{other.name}\"; CREATE TYPE mood AS ENUM ('a'); ALTER TYPE mood OWNER TO"
        f' "{other.name}"',
        poor.live,
    )
    query = (
        "SELECT 'c', relname, pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'theirs'::regnamespace UNION"
        " ALL SELECT 'f', proname, pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'f' UNION ALL SELECT 't',"
        " typname, pg_get_userbyid(typowner) FROM pg_type WHERE typname = 'mood' UNION ALL SELECT 'n', nspname,"
        " pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'theirs' ORDER BY 1, 2"
    )
    before = poor.server.execute(query, poor.live)
    restored = round_trip(target, poor, store, scratch, counter, token)
    assert restored.warnings == ()
    assert poor.copy_sql(query, superuser=True) == before
