"""What code in a copy may take of the server: locks, also where it takes all at once, again and again, or elsewhere."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ocore_mover.database import copy_access, limits
from ocore_mover.database.connect import Connection
from ocore_mover.database.connect import Server as Target
from ocore_mover.database.credentials import Credentials, load
from ocore_mover.database.limits import limited
from ocore_mover.errors import MoverError
from support.mover.rollback import admin_secret, superuser_secret
from support.mover.site import Site

#: A session keeps these locks after the error of the one that it does not get.
ALL_LOCKS = """DO $$ BEGIN
  PERFORM pg_catalog.pg_advisory_lock(g) FROM pg_catalog.generate_series(1, 1000000) g;
EXCEPTION WHEN OTHERS THEN NULL; END $$"""
HELD = 20.0
#: Takes every lock that becomes free, whatever the error.
AGAIN_AND_AGAIN = """DO $$ DECLARE i bigint := {number}::bigint << 32; BEGIN LOOP
  BEGIN LOOP i := i + 1; PERFORM pg_catalog.pg_advisory_lock(i); END LOOP; EXCEPTION WHEN OTHERS THEN NULL; END;
END LOOP; END $$"""
#: Takes all locks where autovacuum calls it, which has no application_name.
INDEXED = """
CREATE FUNCTION indexed(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $f$ BEGIN
  IF pg_catalog.current_setting('application_name') = '' THEN
    BEGIN
      PERFORM pg_catalog.pg_advisory_lock(g) FROM pg_catalog.generate_series(1, 1000000) g;
    EXCEPTION WHEN OTHERS THEN NULL; END;
    PERFORM pg_catalog.pg_sleep(3600);
  END IF;
  RETURN n;
END $f$;
CREATE TABLE many (n int) WITH (autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0);
CREATE INDEX ON many (indexed(n));
INSERT INTO many SELECT pg_catalog.generate_series(1, 100)
"""
WORKERS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND datname = '{}'"
PATIENCE = 60.0
#: Of a session that finds no free lock, 10 ms apart: until the limit of the others.
TRIES = 6000
CLOSED = "not currently accepting connections"
ENDED = psycopg.errors.AdminShutdown.sqlstate
HOLD = (ALL_LOCKS, f"SELECT pg_catalog.pg_sleep({HELD})")


def connected(credentials: Credentials, **options: str) -> Connection:
    params = credentials.params | {"password": credentials.password} | options
    return psycopg.connect(make_conninfo("", **params), autocommit=True)


def failing(session: Connection, *statements: str) -> str | None:
    """The code of the error that ends the session. It is closed in any case: it may hold all locks."""
    with session:
        try:
            for statement in statements:
                session.execute(statement.encode())
        except psycopg.Error as error:
            return error.sqlstate
    return None


def refusal(connect: Callable[[], Connection], why: str) -> str:
    """The error of a connection, once it says so: sessions are ended first and shut out a moment later, so who is quick
    gets in once more. After HELD seconds the last error, or that there was none."""
    until = time.monotonic() + HELD
    while True:
        try:
            connect().close()
            said = "it was let in"
        except psycopg.OperationalError as error:
            said = str(error)
        if why in said or time.monotonic() > until:
            return said
        time.sleep(0.05)


@contextmanager
def opened(site: Site, folder: Path) -> Iterator[Credentials]:
    """A copy that an administrator who is no superuser has opened, and the login of its temporary role."""
    target = Target(load(site.secret), load(admin_secret(site, folder)))
    site.server.execute(f'CREATE DATABASE "{site.names.restored}" OWNER "{target.actor.user}"')
    with copy_access.opened(target, site.names, site.role.name, jobs=4) as access:
        yield access.credentials


@pytest.mark.parametrize("secret", [superuser_secret, admin_secret])
def test_row_131_what_takes_all_locks_is_ended_and_cannot_come_back(
    site_any: Site, tmp_path: Path, secret: Callable[[Site, Path], Path]
) -> None:
    """Without a free lock most statements fail, those of the watch as well. The application's image has a password
    until its command ends, so it can connect again."""
    site = site_any
    administrator = load(secret(site, tmp_path))
    site.server.execute(f'CREATE DATABASE "{site.names.restored}" OWNER "{administrator.user}"')
    copy = load(site.secret).at(site.names.restored)
    taken: list[float] = []
    refused: list[str] = []

    def take() -> None:
        with connected(copy) as session:
            session.execute("SELECT pg_catalog.pg_sleep(0)")
            began = time.monotonic()
            try:
                session.execute(ALL_LOCKS)
                session.execute("SELECT pg_catalog.pg_sleep(%s)", [HELD])
            finally:
                taken.append(time.monotonic() - began)

    def attack() -> None:
        with limited(Target(load(site.secret), administrator), site.names.restored, None):
            with pytest.raises(psycopg.OperationalError):
                take()
            refused.append(refusal(lambda: connected(copy), CLOSED))
            with pytest.raises(psycopg.OperationalError, match=CLOSED):
                take()

    with pytest.raises(MoverError, match="locks"):
        attack()
    assert CLOSED in "".join(refused)
    assert len(taken) == 1
    assert taken[0] < HELD / 2
    assert site.accepts_connections()


def test_row_131_sessions_that_take_each_lock_that_becomes_free(site_any: Site, tmp_path: Path) -> None:
    """So what needs a lock to end them never gets one. They use all processors for as long as they may: where the guard
    is out, until the limit."""
    ended: list[str | None] = []

    def take(session: Connection, number: int) -> None:
        statement = AGAIN_AND_AGAIN.format(number=number).encode()
        with session:
            for attempt in itertools.count():
                try:
                    session.execute(statement)
                except psycopg.errors.OutOfMemory:  # The others were first: this one began when no lock was free.
                    assert attempt < TRIES
                    time.sleep(0.01)
                except psycopg.Error as error:
                    ended.append(error.sqlstate)
                    return

    def attack() -> None:
        with opened(site_any, tmp_path) as role:
            limit = f"-c statement_timeout={int(PATIENCE * 500)}"
            found = [connected(role, options=limit) for _ in range(4)]
            threads = [threading.Thread(target=take, args=(each, n)) for n, each in enumerate(found)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    with pytest.raises(MoverError, match="locks"):
        attack()
    assert ended == [ENDED] * 4
    assert site_any.accepts_connections()


def test_row_131_the_temporary_role_in_another_database(site_any: Site, tmp_path: Path) -> None:
    """The application's image has its password, and PUBLIC may connect to most databases."""
    ended: list[str | None] = []
    refused: list[str] = []

    def attack() -> None:
        with opened(site_any, tmp_path) as role:
            ended.append(failing(connected(role, dbname="postgres"), *HOLD))
            refused.append(refusal(lambda: connected(role, dbname="postgres"), "not permitted to log in"))

    with pytest.raises(MoverError, match="locks"):
        attack()
    assert ended == [ENDED]
    assert "not permitted to log in" in "".join(refused)


def test_row_131_a_session_that_we_may_not_end_protects_no_other(site_any: Site, tmp_path: Path) -> None:
    """Of a superuser who monitors all databases."""
    ended: list[str | None] = []

    def attack() -> None:
        with opened(site_any, tmp_path) as role, contextlib.ExitStack() as stack:
            # The sessions are ended in the order of this function, which is that of the server's free slots.
            listed = "SELECT pid FROM pg_stat_get_activity(NULL)"
            for _ in range(50):
                other = stack.enter_context(site_any.server.connect(site_any.names.restored))
                session = connected(role)
                pids = [row[0] for row in site_any.server.execute(listed)]
                if pids.index(other.info.backend_pid) < pids.index(session.info.backend_pid):
                    break
                other.close()
                session.close()
            else:
                pytest.fail("no session of the superuser was listed before the copy's")
            ended.append(failing(session, *HOLD))

    with pytest.raises(MoverError, match="locks"):
        attack()
    assert ended == [ENDED]


def patiently(site: Site, statement: str) -> list[tuple[object, ...]]:
    """As the superuser, also while there is no lock."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return site.server.execute(statement)
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def test_row_131_autovacuum_that_calls_a_function_of_the_copy(site_any: Site, tmp_path: Path) -> None:
    """Only a superuser may end it."""
    site, ended = site_any, threading.Event()

    def settle(naptime: str) -> None:
        patiently(site, f"ALTER SYSTEM SET autovacuum_naptime = '{naptime}'")
        patiently(site, "SELECT pg_reload_conf()")

    def attack() -> None:
        with opened(site, tmp_path) as role:
            site.server.execute(f'CREATE SCHEMA own AUTHORIZATION "{site.role.name}"', site.names.restored)
            settle("1s")
            # Autovacuum counts the rows of transactions that have ended.
            waits = ["SELECT pg_catalog.pg_sleep(0.2)"] * int(PATIENCE / 0.2)
            session = connected(role, application_name="loads")
            failing(session, "SET search_path = own", INDEXED, *waits)
            settle("1h")  # a new worker would call it again
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until and not ended.wait(0.1):
                if not patiently(site, WORKERS.format(site.names.restored)):
                    ended.set()

    try:
        with pytest.raises(MoverError, match="locks"):
            attack()
    finally:
        patiently(site, "ALTER SYSTEM RESET autovacuum_naptime")
        patiently(site, "SELECT pg_reload_conf()")
    assert ended.is_set()


def test_row_131_code_that_ends_the_session_that_watches_it(site_any: Site) -> None:
    """It may where it has the same role: without an administrator."""
    site = site_any
    site.server.execute(f'CREATE DATABASE "{site.names.restored}" OWNER "{site.role.name}"')
    kill = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{limits.APPLICATION}'"

    ended: list[str | None] = []

    def attack() -> None:
        with copy_access.opened(site.target, site.names, site.role.name) as access:
            ended.append(failing(access.connect(application="x"), kill, f"SELECT pg_catalog.pg_sleep({PATIENCE})"))

    with pytest.raises(MoverError, match="the session that watches") as raised:
        attack()
    assert ended == [ENDED]
    assert raised.value.retryable
