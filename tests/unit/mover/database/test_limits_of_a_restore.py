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


DIED = "pg_restore: error: a worker process died unexpectedly"
SECURITY = 'ERROR:  query would be affected by row-level security policy for table "t"'


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize(
    ("lines", "passes"),
    [
        ([f'pg_restore: error: COPY failed for table "t": {SECURITY}'], False),
        (
            [
                'pg_dump: error: Dumping the contents of table "t" failed: PQgetResult() failed.',
                f"pg_dump: detail: Error message from server: {SECURITY}",
                "HINT:  To disable the policy for the table's owner, use ALTER TABLE NO FORCE ROW LEVEL SECURITY.",
                "pg_dump: detail: Command was: COPY public.t (a) TO stdout;",
            ],
            False,
        ),
        (['pg_restore: error: could not execute query: ERROR:  column "lost connection" does not exist'], False),
        (["pg_restore: error: could not execute query: ERROR:  deadlock detected"], True),
        (["pg_restore: error: could not execute query: ERROR:  could not extend file: no more room"], True),
        (["pg_restore: error: could not execute query: ERROR:  out of shared memory"], True),
        (["pg_dump: error: query failed: ERROR:  canceling statement due to conflict with recovery"], True),
        (["pg_dump: error: query failed: server closed the connection unexpectedly"], True),
        (
            [
                "pg_dump: error: query failed: FATAL:  terminating connection due to administrator command",
                "server closed the connection unexpectedly",
            ],
            True,
        ),
    ],
)
def test_row_132_an_error_that_comes_again_is_not_repeated(lines: list[str], *, passes: bool, parallel: bool) -> None:
    """A dump that takes hours would be loaded three times. The leader only reports that its worker has died."""
    assert _repeats([*lines, DIED] if parallel else lines) is passes


def test_row_132_a_worker_that_died_without_an_error_is_repeated() -> None:
    assert _repeats([DIED])
    assert _repeats([DIED, f"pg_dump: error: query failed: {SECURITY}"]), "the first error is the cause"
    assert _repeats(["pg_dump: error: query failed: FEHLER:  Anfrage würde betroffen", DIED]), "its cause is unknown"


def _repeats(lines: list[str]) -> bool:
    """Whether a program that ends with these lines is repeated."""
    running = Running(["/bin/sh", "-c", 'printf "%s\\n" "$@" >&2; exit 1', "sh", *lines], environment={})
    code = running.wait(Token(20), lambda: None)
    running.close()
    return programs.failure(running, code, "RestoreFailed", "pg_restore 17: exit code 1").retryable
