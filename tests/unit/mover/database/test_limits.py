"""What code in a copy may take of the server: locks, also where it takes all at once and where it comes back."""

import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ocore_mover.database.connect import Server as Target
from ocore_mover.database.credentials import load
from ocore_mover.database.limits import limited
from ocore_mover.errors import MoverError
from support.mover.rollback import admin_secret, superuser_secret
from support.mover.site import Site

#: A session keeps these locks after the error of the one that it does not get.
ALL_LOCKS = """DO $$ BEGIN
  PERFORM pg_catalog.pg_advisory_lock(g) FROM pg_catalog.generate_series(1, 1000000) g;
EXCEPTION WHEN OTHERS THEN NULL; END $$"""
HELD = 20.0


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

    def take() -> None:
        with psycopg.connect(**{**copy.params, "password": copy.password}, autocommit=True) as session:
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
            time.sleep(1)
            with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
                take()

    with pytest.raises(MoverError, match="locks"):
        attack()
    assert len(taken) == 1
    assert taken[0] < HELD / 2
    assert site.accepts_connections()
