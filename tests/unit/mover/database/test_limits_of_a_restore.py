"""Limits of a restore that takes days: its temporary role's expiry, and the memory of its processes."""

from pathlib import Path

import pytest

from ocore_mover import memory
from ocore_mover.database import copy_access, programs
from ocore_mover.database.connect import Server as Target
from ocore_mover.database.credentials import load
from ocore_mover.database.programs import Running
from ocore_mover.deadline import Token
from support.mover.rollback import superuser_secret
from support.mover.site import Site

HOUR = 3600


@pytest.mark.parametrize(("deadline", "hours"), [(None, 7 * 24), (60, 24), (5 * 24 * HOUR, 5 * 24)])
def test_row_74_the_temporary_role_outlives_the_deadline(
    site_any: Site, tmp_path: Path, deadline: float | None, hours: int
) -> None:
    """Workers of pg_restore log in at any time."""
    site = site_any
    server = Target(load(site.secret), load(superuser_secret(site, tmp_path)))
    site.server.execute(f'CREATE DATABASE "{site.names.restored}"')
    with copy_access.opened(server, site.names, site.role.name, Token(deadline)) as access:
        found = site.server.execute(
            "SELECT extract(epoch FROM rolvaliduntil - now()) / 3600 FROM pg_roles WHERE rolname = "
            f"'{access.credentials.params['user']}'"
        )
    left = float(str(found[0][0]))
    assert hours - 1 < left < hours + 2


def test_row_74_a_worker_that_ran_out_of_memory_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's own count for the container."""
    events = tmp_path / "memory.events"
    events.write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 3\noom_group_kill 0\n")
    monkeypatch.setattr(memory, "_EVENTS", (tmp_path / "absent", events))
    script = "echo 'pg_restore: error: worker process died unexpectedly' >&2; exit 1"

    def end(kills: int) -> tuple[str, bool]:
        running = Running(["/bin/sh", "-c", script], environment={})
        code = running.wait(Token(20), lambda: None)
        events.write_text(f"oom 9\noom_kill {kills}\n")
        running.close()
        error = programs.failure(running, code, "RestoreFailed", "pg_restore 17: exit code 1")
        return error.reason, error.retryable

    assert end(3) == ("RestoreFailed", True)
    assert end(4) == ("OutOfMemory", True)
    script = "echo 'pg_restore: error: syntax error' >&2; exit 1"
    assert end(5) == ("RestoreFailed", False)
    monkeypatch.setattr(memory, "_EVENTS", ())
    assert memory.oom_kills() == 0
