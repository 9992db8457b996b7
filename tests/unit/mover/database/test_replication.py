"""Logical replication: a rollback that would break it is refused, or ends it so that nothing retains WAL and nothing
blocks a DROP."""

import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ocore_crds import conditions
from ocore_mover.database.connect import Server as Target
from ocore_mover.database.credentials import load
from ocore_mover.database.switch.switch import DatabaseSwitch
from ocore_mover.errors import MoverError
from support.mover.beside import finish, start, was_killed
from support.mover.postgres_majors import Server
from support.mover.rollback import Intruder, Shell, admin_secret, superuser_secret
from support.mover.site import Site, drop_all, make_site

ALLOW = "--allow-replication-loss"


def slot_name(site: Site) -> str:
    return f"slot_{site.live}"


@pytest.fixture
def shell(site: Site, tmp_path: Path) -> Iterator[Shell]:
    """An administrator who is a superuser; slots that a test leaves would keep WAL of the shared server."""
    site.sql("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE PUBLICATION pub FOR TABLE t")
    yield Shell(site, tmp_path, superuser_secret(site, tmp_path))
    remove_all(site)


def remove_all(site: Site) -> None:
    """Subscriptions first: they use slots."""
    for (name,) in site.server.execute(f"SELECT datname::text FROM pg_database WHERE datname LIKE '%{site.live}%'"):
        site.server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        for (subscription,) in site.server.execute(
            "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid"
            " WHERE datname = current_database()",
            name,
        ):
            for action in ("DISABLE", "SET (slot_name = NONE)"):
                site.server.execute(f"ALTER SUBSCRIPTION {subscription} {action}", name)
            site.server.execute(f"DROP SUBSCRIPTION {subscription}", name)
    for slot, pid in site.server.execute(
        f"SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name LIKE '%{site.live}'"
    ):
        if pid is not None:
            site.server.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
        site.server.execute(f"SELECT pg_drop_replication_slot('{slot}')")


def make_slot(site: Site) -> str:
    site.server.execute(f"SELECT pg_create_logical_replication_slot('{slot_name(site)}', 'pgoutput')", site.live)
    return slot_name(site)


def slots(site: Site) -> list[tuple[Any, ...]]:
    """Name and database of the site's slots."""
    return site.server.execute(
        f"SELECT slot_name::text, database::text FROM pg_replication_slots WHERE slot_name LIKE '%{site.live}'"
    )


@contextmanager
def consumer(site: Site, slot: str) -> Iterator[psycopg.Connection[Any]]:
    """A client that receives changes, as Debezium does."""
    connection = psycopg.connect(
        host="127.0.0.1", port=site.server.port, dbname=site.live, user="postgres", password=site.server.password,
        replication="database", autocommit=True,
    )  # fmt: skip
    try:
        statement = f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names 'pub')"
        connection.pgconn.send_query(statement.encode())
        until(lambda: slots_active(site) == [True])
        yield connection
    finally:
        connection.close()


def slots_active(site: Site) -> list[bool]:
    return [
        bool(row[0])
        for row in site.server.execute(f"SELECT active FROM pg_replication_slots WHERE slot_name LIKE '%{site.live}'")
    ]


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def subscribe(site: Site) -> str:
    """The live database receives the changes of another one on the same server. Returns the publisher's slot."""
    publisher, slot = f"publisher_{site.live}", f"sub_{site.live}"
    site.server.execute(f"CREATE DATABASE {publisher}")
    site.server.execute("CREATE TABLE source (a int PRIMARY KEY); CREATE PUBLICATION out FOR TABLE source", publisher)
    site.server.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')", publisher)
    site.server.execute(
        f'CREATE TABLE source (a int PRIMARY KEY); ALTER TABLE source OWNER TO "{site.role.name}"', site.live
    )
    site.server.execute(
        f"CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1 port={site.server.port} dbname={publisher} user=postgres"
        f" password={site.server.password}' PUBLICATION out WITH (create_slot = false, slot_name = {slot}, copy_data ="
        " false)",
        site.live,
    )
    until(lambda: slots_active(site) == [True])
    return slot


def subscriptions(site: Site) -> list[tuple[Any, ...]]:
    """Database, whether enabled, and slot."""
    return site.server.execute(
        "SELECT datname::text, subenabled, subslotname::text FROM pg_subscription JOIN pg_database d ON d.oid = subdbid"
        f" WHERE datname LIKE '%{site.live}%'"
    )


def test_row_37_a_slot_refuses_the_rollback(site: Site, shell: Shell) -> None:
    """Also one that no consumer uses at this moment: it comes back."""
    slot = make_slot(site)
    result = shell.ok("probe").result["payload"]
    (finding,) = result["rollback"]
    assert finding["reason"] == conditions.REPLICATION_ACTIVE
    assert f"slot {slot} (pgoutput, inactive)" in finding["message"]
    assert "allowReplicationLoss" in finding["message"]
    assert result["blocking"] == []  # a snapshot works
    found = result["database"]["replication"]
    assert found["publications"] == ["pub"]
    assert [(s["name"], s["active"]) for s in found["slots"]] == [(slot, False)]
    shell.ok("snapshot")
    done = shell.run("restore")
    assert (done.code, done.reason) == (1, conditions.REPLICATION_ACTIVE)
    assert site.databases() == {site.live}
    assert slots(site) == [(slot, site.live)]


def test_row_37_nothing_is_found_where_nothing_replicates(site: Site, shell: Shell) -> None:
    site.sql("DROP PUBLICATION pub")
    result = shell.ok("probe").result["payload"]
    assert (result["rollback"], result["database"].get("replication")) == ([], None)


def test_row_37_a_slot_that_appears_while_it_restores(site: Site, shell: Shell) -> None:
    shell.ok("snapshot")
    shell.ok("restore")
    slot = make_slot(site)
    with consumer(site, slot):
        done = shell.run("switch", "--now")
        assert (done.code, done.reason) == (1, conditions.REPLICATION_ACTIVE)
        assert slots_active(site) == [True], "its consumer was disconnected"
    assert site.accepts_connections()
    assert site.databases() == {site.live, site.names.restored}


def test_row_37_a_slot_that_appears_while_connections_are_refused(site: Site, shell: Shell) -> None:
    """The last check sees it: no session can make another one after it."""
    shell.ok("snapshot")
    shell.ok("restore")
    make_slot(site)
    assert shell.admin is not None
    switch = DatabaseSwitch(Target(load(site.secret), load(shell.admin)), site.rollback_id)
    settled: list[str] = []
    with pytest.raises(MoverError, match="slot_live") as failure:
        switch.switch(lambda: pytest.fail("prepared"), lambda found: settled.append(found.position))
    assert settled == ["Old"]
    switch.close()
    assert failure.value.reason == conditions.REPLICATION_ACTIVE
    assert site.accepts_connections()
    assert site.databases() == {site.live, site.names.restored}


def test_row_37_with_the_flag_no_slot_retains_wal_for_the_undo_window(site: Site, shell: Shell) -> None:
    slot = make_slot(site)
    shell.ok("snapshot")
    with consumer(site, slot):
        announced = shell.warnings(shell.ok("restore", ALLOW))
        assert [w for w in announced if f"slot {slot} (pgoutput) is dropped at the switch" in w]
        assert slots(site) == [(slot, site.live)]  # until the switch it works on
        done = shell.ok("switch", "--now", ALLOW).result["payload"]
    assert done["position"] == "New"
    assert [w for w in done["replicationEnded"] if f"slot {slot} (pgoutput) was dropped" in w]
    assert slots(site) == []
    # The publication came back with the snapshot, so a consumer can be set up again.
    assert site.sql("SELECT pubname::text FROM pg_publication") == [("pub",)]
    new = make_slot(site)
    # A slot of a database that is switched back neither prevents that nor stays unseen.
    left = shell.ok("switch", "--now", "--back").result["payload"]
    assert left["position"] == "Old"
    assert [w for w in left["replicationEnded"] if f"pg_drop_replication_slot('{new}')" in w]
    shell.ok("cleanup", "--what", "restored")
    assert slots(site) == []


def test_row_37_with_the_flag_the_previous_database_can_be_dropped(site: Site, shell: Shell) -> None:
    slot = subscribe(site)
    (finding,) = shell.ok("probe").result["payload"]["rollback"]
    assert f"subscription sub (enabled, slot {slot} of the publisher)" in finding["message"]
    shell.ok("snapshot")
    assert shell.run("restore").reason == conditions.REPLICATION_ACTIVE
    shell.ok("restore", ALLOW)
    with Intruder(site, listed=False) as intruder:
        done = shell.ok("switch", "--now", ALLOW).result["payload"]
    assert intruder.entered <= {site.live}
    (said,) = done["replicationEnded"]
    assert "subscription sub was disabled and detached" in said
    assert f"Slot {slot} of its publisher retains WAL" in said
    assert subscriptions(site) == [(site.names.previous, False, None)]
    assert closed(site)
    # No other role could connect while our session detached it.
    assert site.server.execute(f"SELECT has_database_privilege('public', '{site.names.previous}', 'CONNECT')") == [
        (False,)
    ]
    until(lambda: slots_active(site) == [False])  # nothing receives changes any more
    shell.ok("cleanup", "--what", "previous")
    assert site.databases() == {site.live}
    assert subscriptions(site) == []


def test_row_37_a_switch_back_gives_the_rights_to_connect_again(site: Site, shell: Shell) -> None:
    """Detaching takes them from the previous database for a moment."""
    subscribe(site)
    shell.ok("snapshot")
    shell.ok("restore", ALLOW)
    shell.ok("switch", "--now", ALLOW)
    shell.ok("switch", "--now", "--back", ALLOW)
    assert site.sql("SELECT a FROM t") == [(1,)]
    assert site.server.execute(f"SELECT has_database_privilege('public', '{site.live}', 'CONNECT')") == [(True,)]
    assert subscriptions(site) == [(site.live, False, None)]


@pytest.mark.parametrize("superseded", [False, True], ids=["last", "superseded"])
def test_row_37_a_subscription_never_keeps_the_previous_database(site: Site, shell: Shell, *, superseded: bool) -> None:
    """One that the switch could not detach, whose publisher answers nothing. `superseded`: another rollback has
    switched since."""
    shell.ok("snapshot")
    shell.ok("restore")
    shell.ok("switch", "--now")
    previous, first = site.names.previous, site.rollback_id
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0)
        plant(site, previous, f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x")
        if superseded:
            site.rollback_id = str(uuid.uuid4())
            shell.ok("restore")
            shell.ok("switch", "--now")
            site.rollback_id = first
        shell.ok("cleanup", "--what", "previous")
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert previous not in site.databases()
    assert subscriptions(site) == []


def plant(site: Site, database: str, publisher: str) -> None:
    """A subscription with a slot, in a closed database. The first copy of a table has not begun: DROP SUBSCRIPTION
    contacts the publisher."""
    site.server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    site.server.execute(
        f"CREATE SUBSCRIPTION sub CONNECTION '{publisher}' PUBLICATION p WITH (connect = false)", database
    )
    site.server.execute(
        "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) SELECT oid, 't'::regclass, 'i' FROM"
        " pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        database,
    )
    site.server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")


def test_row_37_a_disabled_subscription_counts_while_its_slot_waits(site: Site, shell: Shell) -> None:
    slot = subscribe(site)
    site.server.execute("ALTER SUBSCRIPTION sub DISABLE", site.live)
    (finding,) = shell.ok("probe").result["payload"]["rollback"]
    assert f"subscription sub (disabled, slot {slot} of the publisher)" in finding["message"]
    shell.ok("snapshot")
    assert shell.run("restore").reason == conditions.REPLICATION_ACTIVE
    shell.ok("restore", ALLOW)
    shell.ok("switch", "--now", ALLOW)
    assert subscriptions(site) == [(site.names.previous, False, None)]


def test_row_37_a_detached_subscription_is_no_obstacle(site: Site, shell: Shell) -> None:
    site.server.execute(
        "CREATE SUBSCRIPTION sub CONNECTION 'host=203.0.113.1 dbname=x' PUBLICATION p WITH (connect = false, slot_name"
        " = NONE)",
        site.live,
    )
    assert shell.ok("probe").result["payload"]["rollback"] == []
    shell.ok("snapshot")
    assert [w for w in shell.warnings(shell.ok("restore")) if "subscription sub" in w and "not restored" in w]
    shell.ok("switch", "--now")
    shell.ok("cleanup", "--what", "previous")
    assert site.databases() == {site.live}


def test_row_37_a_killed_switch_leaves_no_slot(site: Site, shell: Shell) -> None:
    """After the renames: the next container of the Job, or the inspection, ends what is left."""
    make_slot(site)
    shell.ok("snapshot")
    shell.ok("restore", ALLOW)
    options = [*shell.options(), "--rollback-id", site.rollback_id, ALLOW]
    killed = finish(start(site, "switch", "--now", *options, failpoints="switch-renamed=kill"))
    assert was_killed(killed)
    assert slots(site) == [(slot_name(site), site.names.previous)]
    done = shell.ok("inspect", "--repair", ALLOW).result["payload"]
    assert done["position"] == "New"
    assert [w for w in done["replicationEnded"] if slot_name(site) in w]
    assert slots(site) == []


def test_row_37_the_missing_right_is_reported(site: Site, shell: Shell, tmp_path: Path) -> None:
    poor = Shell(site, tmp_path, admin_secret(site, tmp_path))
    slot = make_slot(site)
    statement = f'ALTER ROLE "admin-{site.live}" REPLICATION;'
    text = f"admin-{site.live} needs the attribute REPLICATION to drop slots."
    result = poor.ok("probe").result["payload"]
    assert text in result["rollback"][-1]["message"]
    assert result["database"]["replication"]["missingRights"] == [text]
    poor.ok("snapshot")
    refused = poor.run("restore", ALLOW)
    assert (refused.reason, text in refused.message) == (conditions.MISSING_GRANTS, True)
    site.server.execute(statement)
    poor.ok("restore", ALLOW)
    assert poor.ok("probe").result["payload"]["database"]["replication"]["missingRights"] == []
    site.server.execute(statement.replace("REPLICATION", "NOREPLICATION"))
    assert poor.run("switch", "--now", ALLOW).reason == conditions.MISSING_GRANTS
    assert (site.accepts_connections(), slots(site)) == (True, [(slot, site.live)])
    site.server.execute(statement)
    poor.ok("switch", "--now", ALLOW)
    assert slots(site) == []


def test_row_37_a_subscription_of_a_superuser_needs_one(site: Site, shell: Shell, tmp_path: Path) -> None:
    poor = Shell(site, tmp_path, admin_secret(site, tmp_path))
    subscribe(site)
    message = poor.ok("probe").result["payload"]["rollback"][-1]["message"]
    assert "Only a superuser can drop subscription sub: set adminSecretRef to a superuser's Secret" in message
    poor.ok("snapshot")
    assert poor.run("restore", ALLOW).reason == conditions.MISSING_GRANTS


def test_row_37_a_killed_detach_leaves_the_previous_database_closed(site: Site, shell: Shell) -> None:
    subscribe(site)
    shell.ok("snapshot")
    shell.ok("restore", ALLOW)
    shell.ok("switch", "--now", ALLOW)
    site.server.execute(f"ALTER DATABASE {site.names.previous} ALLOW_CONNECTIONS true IS_TEMPLATE true")
    shell.ok("inspect", "--repair", ALLOW)
    assert closed(site)


def closed(site: Site) -> bool:
    """Whether the previous database refuses connections and is no template."""
    return site.server.execute(
        f"SELECT datallowconn, datistemplate FROM pg_database WHERE datname = '{site.names.previous}'"
    ) == [(False, False)]


def test_row_37_the_owner_of_a_subscription_need_not_be_a_superuser(
    server17: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From PostgreSQL 16 on."""
    monkeypatch.setenv("OCORE_PG_BIN", str(server17.bin))
    site = make_site(server17, tmp_path)
    shell = Shell(site, tmp_path, admin_secret(site, tmp_path))
    role = f'"{site.role.name}"'
    site.server.execute(f"GRANT pg_create_subscription TO {role}; GRANT CREATE ON DATABASE {site.live} TO {role}")
    site.server.execute(
        "CREATE SUBSCRIPTION sub CONNECTION 'host=/nonexistent dbname=x password=x' PUBLICATION p WITH (connect ="
        " false);",
        site.live,
    )
    site.server.execute(f"ALTER SUBSCRIPTION sub OWNER TO {role}; ALTER SUBSCRIPTION sub ENABLE", site.live)
    found = shell.ok("probe").result["payload"]["database"]["replication"]
    assert found["missingRights"] == []
    site.server.execute("ALTER SUBSCRIPTION sub SET (password_required = false)", site.live)
    (missing,) = shell.ok("probe").result["payload"]["database"]["replication"]["missingRights"]
    assert "Only a superuser can drop subscription sub" in missing
    site.server.execute("ALTER SUBSCRIPTION sub SET (password_required = true)", site.live)
    shell.ok("snapshot")
    shell.ok("restore", ALLOW)
    shell.ok("switch", "--now", ALLOW)
    assert subscriptions(site) == [(site.names.previous, False, None)]
    assert closed(site)
    shell.ok("cleanup", "--what", "previous")
    assert site.databases() == {site.live}
    drop_all(site)


def test_row_37_a_waiting_switch_never_gets_ready(site: Site, shell: Shell, tmp_path: Path) -> None:
    """The application is not stopped."""
    shell.ok("snapshot")
    shell.ok("restore")
    make_slot(site)
    signal_file, ready = tmp_path / "signal", tmp_path / "ready"
    signal_file.write_text(json.dumps({"action": "Switch", "notAfter": time.time() + 60}))
    done = shell.run("switch", "--signal-file", str(signal_file), "--ready-file", str(ready))
    assert (done.code, done.reason) == (1, conditions.REPLICATION_ACTIVE)
    assert not ready.exists()


def test_row_37_a_waiting_switch_answers_at_once(site: Site, shell: Shell, tmp_path: Path) -> None:
    """The application is stopped when the signal arrives: it must not wait until the signal has expired."""
    shell.ok("snapshot")
    shell.ok("restore")
    signal_file, ready = tmp_path / "signal", tmp_path / "ready"
    process = start(
        site,
        "switch",
        "--signal-file",
        str(signal_file),
        "--ready-file",
        str(ready),
        *shell.options(),
        "--rollback-id",
        site.rollback_id,
    )
    until(ready.exists)
    with consumer(site, make_slot(site)):
        signal_file.write_text(json.dumps({"action": "Switch", "notAfter": time.time() + 60}))
        done = finish(process, timeout=30)
        assert slots_active(site) == [True], "its consumer was disconnected"
    assert done.code == 0
    payload = done.result["payload"]
    assert (payload["position"], payload["failure"]["reason"]) == ("Old", conditions.REPLICATION_ACTIVE)
