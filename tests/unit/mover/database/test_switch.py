"""The switch: old or new, never half, and the live database accepts connections, whatever happens."""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ocore_mover.database import blockers, sessions
from ocore_mover.database.switch.switch import DatabaseSwitch
from ocore_mover.errors import MoverError
from support.mover import beside
from support.mover.beside import command, stand_beside, was_killed, which
from support.mover.postgres_majors import Server, create_role
from support.mover.site import Site


def nothing(_: object = None) -> None:
    """For `prepare` and `finish`."""


def until(predicate: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.05)


def test_switches_and_back_with_sessions_open(site: Site) -> None:
    stand_beside(site)
    idle = site.server.connect(site.live, site.role.name, site.role.password)
    busy = site.server.connect(site.live, site.role.name, site.role.password)
    busy.execute("BEGIN")
    busy.execute("LOCK TABLE which")
    other = site.server.connect(site.names.restored, site.role.name, site.role.password)
    switch = DatabaseSwitch(site.target, site.rollback_id)
    order: list[str] = []

    outcome = switch.switch(lambda: order.append("prepare"), lambda _: order.append("finish"))

    assert order == ["prepare", "finish"]
    assert outcome.position.position == "New"
    assert 0 < outcome.refused_seconds < 30
    assert which(site) == "new"
    assert site.databases() == {site.live, site.names.previous}
    for connection in (idle, busy, other):
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        site.server.connect(site.names.previous)

    assert switch.switch_back(nothing, nothing).position.position == "Old"
    assert which(site) == "old"
    assert site.databases() == {site.live, site.names.restored}
    switch.close()


def test_only_the_sessions_of_that_database_end(site_any: Site) -> None:
    """One application that serves many databases, with `workloads: []`: the others are not affected."""
    stand_beside(site_any)
    role = site_any.role
    tenant = f"{site_any.live}_tenant"
    with site_any.server.connect() as superuser:
        superuser.execute(f'CREATE DATABASE "{tenant}" OWNER "{role.name}"')
    mine, other = (site_any.server.connect(name, role.name, role.password) for name in (site_any.live, tenant))
    other.execute("CREATE TEMP TABLE kept AS SELECT 1 AS n")
    said: list[str] = []

    def while_refused() -> None:
        site_any.server.connect(tenant, role.name, role.password).close()
        with pytest.raises(psycopg.OperationalError) as refused:
            site_any.server.connect(site_any.live, role.name, role.password)
        said.append(str(refused.value))

    switch = DatabaseSwitch(site_any.target, site_any.rollback_id)
    try:
        switch.switch(while_refused, nothing)
        assert other.execute("SELECT n FROM kept").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            mine.execute("SELECT 1")
        assert which(site_any) == "new"
        assert f'database "{site_any.live}" is not currently accepting connections' in said[0]
    finally:
        switch.close()
        other.close()
        with site_any.server.connect() as superuser:
            superuser.execute(f'DROP DATABASE "{tenant}"')


def test_does_not_switch_to_what_was_not_checked(site_any: Site) -> None:
    stand_beside(site_any, checked=False)
    done = command(site_any, "switch", "--now")
    assert (done.code, done.reason) == (1, "SwitchFailed")
    assert "run `restore`" in done.message
    assert which(site_any) == "old"


def test_a_superusers_session_remains(site_any: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_beside(site_any)
    monkeypatch.setattr(sessions, "_GRACE", 0.5)
    switch = DatabaseSwitch(site_any.target, site_any.rollback_id)
    with site_any.server.connect(site_any.live) as held:
        held.execute("SET application_name = 'the-dba'")
        with pytest.raises(MoverError) as raised:
            switch.switch(nothing, nothing)
        assert raised.value.reason == "SessionsRemain"
        assert "postgres (application the-dba" in raised.value.message
        assert "only a superuser can end" in raised.value.message
        assert held.execute("SELECT 1").fetchone() == (1,)
    assert which(site_any) == "old"
    # When it is gone, the same switch works.
    until(lambda: not sessions.others(switch.connection(), [site_any.live]))
    assert switch.switch(nothing, nothing).position.position == "New"
    switch.close()


def test_names_the_grant_for_another_roles_session(site_any: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_beside(site_any)
    monkeypatch.setattr(sessions, "_GRACE", 0.5)
    other = create_role(site_any.server, f"other-{site_any.live}")
    switch = DatabaseSwitch(site_any.target, site_any.rollback_id)
    with site_any.server.connect(site_any.live, other.name, other.password):
        with pytest.raises(MoverError, match=f"make {site_any.role.name} a member of pg_signal_backend"):
            switch.switch(nothing, nothing)
        assert which(site_any) == "old"
        site_any.server.execute(f'GRANT pg_signal_backend TO "{site_any.role.name}"')
        assert switch.switch(nothing, nothing).position.position == "New"
    switch.close()


def test_a_prepared_transaction_remains(site_any: Site) -> None:
    stand_beside(site_any)
    gid = f"gid-{site_any.live}"
    with site_any.server.connect(site_any.live, site_any.role.name, site_any.role.password) as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO which VALUES ('more')")
        connection.execute(f"PREPARE TRANSACTION '{gid}'".encode())
    switch = DatabaseSwitch(site_any.target, site_any.rollback_id)
    with pytest.raises(MoverError, match=f"{gid}; end them with COMMIT PREPARED"):
        switch.switch(nothing, nothing)
    assert which(site_any) == "old"
    site_any.sql(f"ROLLBACK PREPARED '{gid}'")
    switch.close()


def test_a_failure_before_the_renames_undoes_all(site_any: Site) -> None:
    stand_beside(site_any)
    switch = DatabaseSwitch(site_any.target, site_any.rollback_id)

    def fail() -> None:
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        switch.switch(fail, nothing)
    assert which(site_any) == "old"
    assert switch.switch(nothing, nothing).position.position == "New"
    switch.close()


def test_a_reconnecting_application_cannot_get_in_between(site_any: Site) -> None:
    """A client that connects again as fast as it can, as a pool does, neither keeps the rename from working nor sees
    half."""
    stand_beside(site_any)
    stop = threading.Event()
    seen: set[object] = set()

    def client() -> None:
        while not stop.is_set():
            try:
                seen.add(which(site_any))
            except psycopg.Error:
                continue

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    switch = DatabaseSwitch(site_any.target, site_any.rollback_id)
    try:
        until(lambda: "old" in seen)
        switch.switch(nothing, nothing)
        until(lambda: "new" in seen)
        switch.switch_back(nothing, nothing)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        switch.close()
    assert seen == {"old", "new"}


FAILPOINTS = {
    "switch-refused": "Old",
    "switch-sessions-ended": "Old",
    "switch-renamed": "New",
    "switch-done": "New",
}
BACK_FAILPOINTS = {"switch-back-refused": "New", "switch-back-renamed": "Old"}


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_killed_while_switching(site_any: Site, failpoint: str) -> None:
    stand_beside(site_any)
    assert was_killed(command(site_any, "switch", "--now", failpoints=f"{failpoint}=kill"))
    repaired = command(site_any, "inspect", "--repair")
    assert repaired.code == 0, repaired.stdout
    payload = repaired.result["payload"]
    assert (payload["position"], payload["acceptingConnections"]) == (FAILPOINTS[failpoint], True)
    assert which(site_any) == ("old" if FAILPOINTS[failpoint] == "Old" else "new")
    # And the same switch once more gets there.
    again = command(site_any, "switch", "--now")
    assert again.code == 0, again.stdout
    assert which(site_any) == "new"


@pytest.mark.parametrize("failpoint", BACK_FAILPOINTS)
def test_killed_while_switching_back(site_any: Site, failpoint: str) -> None:
    stand_beside(site_any)
    assert command(site_any, "switch", "--now").code == 0
    assert was_killed(command(site_any, "switch", "--back", "--now", failpoints=f"{failpoint}=kill"))
    repaired = command(site_any, "inspect", "--repair")
    assert repaired.result["payload"]["position"] == BACK_FAILPOINTS[failpoint]
    assert which(site_any) == ("old" if BACK_FAILPOINTS[failpoint] == "Old" else "new")
    assert command(site_any, "switch", "--back", "--now").code == 0
    assert which(site_any) == "old"


@pytest.mark.parametrize("failpoint", ["switch-refused", "switch-sessions-ended", "switch-renamed"])
def test_an_error_at_a_failpoint_leaves_old_or_new(site_any: Site, failpoint: str) -> None:
    stand_beside(site_any)
    done = command(site_any, "switch", "--now", failpoints=f"{failpoint}=error")
    assert done.code == 1
    assert which(site_any) == ("old" if FAILPOINTS[failpoint] == "Old" else "new")


def test_postgresql_killed_in_the_middle(server_any: Server, site_any: Site) -> None:
    """The server dies with the connections refused, and is back seconds later: the switch itself puts it right."""
    stand_beside(site_any)
    switch = DatabaseSwitch(site_any.target, site_any.rollback_id)

    def kill() -> None:
        server_any.kill()
        threading.Timer(1.0, server_any.start).start()

    with pytest.raises(MoverError) as raised:
        switch.switch(kill, nothing)
    assert raised.value.reason in ("DatabaseUnreachable", "SwitchFailed")
    assert which(site_any) == "old"
    switch.close()


def test_row_137_of_two_jobs_that_switch_at_once_one_renames(site_any: Site) -> None:
    """The node of the first one was lost, its pod was deleted by force, and its process runs on."""
    stand_beside(site_any)
    both = threading.Barrier(2)
    ends: list[object] = []

    def job() -> None:
        switch = DatabaseSwitch(site_any.target, site_any.rollback_id)
        try:
            ends.append(switch.switch(lambda: both.wait(60) and None, nothing).position.position)
        except MoverError as error:
            ends.append(error)
        finally:
            switch.close()

    jobs = [threading.Thread(target=job) for _ in range(2)]
    for each in jobs:
        each.start()
    for each in jobs:
        each.join(120)
    assert (len(ends), "New" in ends) == (2, True)
    assert all(end == "New" or (isinstance(end, MoverError) and end.retryable) for end in ends), ends
    assert which(site_any) == "new"
    assert site_any.accepts_connections()
    assert site_any.databases() == {site_any.live, site_any.names.previous}


@pytest.mark.parametrize("then", ["Old", "New"])
def test_row_137_a_job_that_was_held_up_for_too_long_renames_nothing(site_any: Site, then: str) -> None:
    """Its node did not answer, and another Job has switched, and back. Users have written to what is live since."""
    stand_beside(site_any)

    def in_the_meantime() -> None:
        other = DatabaseSwitch(site_any.target, site_any.rollback_id)
        other.switch(nothing, nothing)
        if then == "Old":
            other.switch_back(nothing, nothing)
        other.close()
        held.latest = time.time() - 1

    held = DatabaseSwitch(site_any.target, site_any.rollback_id)
    held.latest = time.time() + 60
    with pytest.raises(MoverError) as raised:
        held.switch(in_the_meantime, nothing)
    held.close()
    assert raised.value.reason == "SwitchFailed"
    assert which(site_any) == ("old" if then == "Old" else "new")
    assert site_any.accepts_connections()


def test_row_137_a_job_that_is_late_refuses_no_connection(site_any: Site) -> None:
    stand_beside(site_any)
    switch = DatabaseSwitch(site_any.target, site_any.rollback_id)
    switch.latest = time.time() - 1
    with site_any.server.connect(site_any.live, site_any.role.name, site_any.role.password) as application:
        with pytest.raises(MoverError, match="another Job may act in its place"):
            switch.switch(nothing, nothing)
        pid = application.info.backend_pid
        assert site_any.server.execute(f"SELECT pid FROM pg_stat_activity WHERE pid = {pid}") == [(pid,)]
    switch.close()
    assert which(site_any) == "old"


def test_cleanup_takes_only_what_is_not_live(site_any: Site) -> None:
    stand_beside(site_any)
    refused = command(site_any, "cleanup", "--what", "previous")
    assert (refused.code, refused.reason) == (1, "SwitchFailed")
    assert command(site_any, "switch", "--now").code == 0
    refused = command(site_any, "cleanup", "--what", "restored")
    assert (refused.code, refused.reason) == (1, "SwitchFailed")
    assert site_any.databases() == {site_any.live, site_any.names.previous}
    done = command(site_any, "cleanup", "--what", "previous")
    assert done.result["payload"]["databasesDropped"] == [site_any.names.previous]
    assert site_any.databases() == {site_any.live}
    assert which(site_any) == "new"
    # Again: nothing left to do, and still New.
    assert command(site_any, "cleanup", "--what", "previous").code == 0
    assert command(site_any, "inspect").result["payload"]["position"] == "New"


def test_cleanup_after_a_switch_that_was_killed(site_any: Site) -> None:
    """Given up before the switch: connections are allowed first, then the restored database goes."""
    stand_beside(site_any)
    assert was_killed(command(site_any, "switch", "--now", failpoints="switch-refused=kill"))
    assert not site_any.accepts_connections()
    assert command(site_any, "cleanup", "--what", "restored").code == 0
    assert which(site_any) == "old"
    assert site_any.databases() == {site_any.live}


def test_row_35_it_waits_for_its_signal_switches_and_ends(site_any: Site, tmp_path: Path) -> None:
    """The workloads start when its pod has ended: it mounts the filestore's claim."""
    stand_beside(site_any)

    folder = tmp_path
    signal_file, ready_file = folder / "signal", folder / "ready"
    process = beside.start(
        site_any, "switch", *beside.rollback_options(site_any),
        "--signal-file", str(signal_file), "--ready-file", str(ready_file), "--wait", "60",
    )  # fmt: skip
    try:
        until(ready_file.exists)
        signal_file.write_text("torn {")
        time.sleep(0.3)
        assert which(site_any) == "old"
        signal_file.write_text(f'{{"action": "Switch", "notAfter": {time.time() + 60}}}')
        done = beside.finish(process)
    finally:
        process.kill()
        process.wait()
    assert done.code == 0, done.stderr
    assert done.result["payload"]["position"] == "New"
    assert [(r["step"], r["state"]) for r in done.reports if r["type"] == "step"] == [
        ("Switch", "Running"), ("Switch", "Done"),
    ]  # fmt: skip
    assert which(site_any) == "new"
    assert site_any.accepts_connections()
    assert site_any.names.previous in site_any.databases()


@pytest.mark.parametrize("late", [False, True], ids=["in time", "expired"])
def test_a_container_that_was_killed_after_the_switch_reports_it_again(
    site_any: Site, tmp_path: Path, *, late: bool
) -> None:
    """Its signal may have expired. Without one it waits: another process has switched."""
    stand_beside(site_any)
    signal_file, ready_file = tmp_path / "signal", tmp_path / "ready"
    options = ("--signal-file", str(signal_file), "--ready-file", str(ready_file), "--wait")
    assert command(site_any, "switch", "--now").code == 0
    without = command(site_any, "switch", *options, "1")
    assert (without.code, without.reason) == (1, "DeadlineExceeded")
    signal_file.write_text(f'{{"action": "Switch", "notAfter": {1 if late else time.time() + 60}}}')
    done = command(site_any, "switch", *options, "60")
    assert done.code == 0, done.stderr
    assert (done.result["payload"]["position"], done.result["payload"].get("failure")) == ("New", None)
    assert [(r["step"], r["state"]) for r in done.reports if r["type"] == "step"] == [("Switch", "Done")]
    assert which(site_any) == "new"


def test_a_signal_that_expired_ends_the_job(site_any: Site, tmp_path: Path) -> None:
    """The operator starts the application as soon as the Job says that it will not switch any more."""
    stand_beside(site_any)
    (tmp_path / "signal").write_text('{"action": "Switch", "notAfter": 1}')
    done = command(site_any, "switch", "--signal-file", f"{tmp_path}/signal", "--wait", "60")
    assert done.code == 0, done.stderr
    payload = done.result["payload"]
    assert (payload["position"], payload["failure"]["reason"]) == ("Old", "SwitchFailed")
    assert "expired" in payload["failure"]["message"]
    assert which(site_any) == "old"
    assert site_any.names.restored in site_any.databases()


def test_a_session_that_stays_ends_the_job_after_its_signal(site_any: Site, tmp_path: Path) -> None:
    """It came after the preparation. The Job gives up before its signal expires and says so (issue 9, item 23)."""
    stand_beside(site_any)
    signal_file, ready_file = tmp_path / "signal", tmp_path / "ready"
    process = beside.start(
        site_any, "switch", *beside.rollback_options(site_any),
        "--signal-file", str(signal_file), "--ready-file", str(ready_file), "--wait", "60",
    )  # fmt: skip
    try:
        until(ready_file.exists)
        with site_any.server.connect(site_any.live) as held:
            held.execute("SET application_name = 'the-dba'")
            signal_file.write_text(f'{{"action": "Switch", "notAfter": {time.time() + 60}}}')
            done = beside.finish(process, timeout=30)
            assert held.execute("SELECT 1").fetchone() == (1,)
    finally:
        process.kill()
        process.wait()
    assert done.code == 0, done.stderr
    payload = done.result["payload"]
    assert (payload["position"], payload["failure"]["reason"]) == ("Old", "SessionsRemain")
    assert "postgres (application the-dba" in payload["failure"]["message"]
    assert site_any.accepts_connections()
    assert which(site_any) == "old"


@pytest.mark.parametrize("kind", ["superuser", "other role", "prepared"])
def test_the_preparation_finds_what_cannot_be_ended(
    site_any: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """While the application still runs: the Job is never ready, so the operator does not stop it."""
    stand_beside(site_any)
    switch = DatabaseSwitch(site_any.target, site_any.rollback_id)
    monkeypatch.setattr(blockers, "PATIENCE", 0.2)
    switch.check_sessions()
    with site_any.server.connect(site_any.live, site_any.role.name, site_any.role.password):
        switch.check_sessions()  # a session of the application is ended at the switch
    if kind == "superuser":
        held, remedy = site_any.server.connect(site_any.live), "only a superuser can end sessions of the superuser"
    elif kind == "other role":
        other = create_role(site_any.server, f"other-{site_any.live}")
        held = site_any.server.connect(site_any.live, other.name, other.password)
        remedy = f"make {site_any.role.name} a member of pg_signal_backend"
    else:
        held = site_any.server.connect(site_any.live, site_any.role.name, site_any.role.password)
        held.execute("BEGIN")
        held.execute("INSERT INTO which VALUES ('more')")
        held.execute(f"PREPARE TRANSACTION 'gid-{site_any.live}'".encode())
        remedy = "end them with COMMIT PREPARED or ROLLBACK PREPARED"
    try:
        with pytest.raises(MoverError) as raised:
            switch.check_sessions()
        assert (raised.value.reason, raised.value.retryable) == ("SessionsRemain", False)
        assert remedy in raised.value.message
        assert which(site_any) == "old"
    finally:
        held.close()
        if kind == "prepared":
            with site_any.server.connect(site_any.live, site_any.role.name, site_any.role.password) as own:
                own.execute(f"ROLLBACK PREPARED 'gid-{site_any.live}'".encode())
    until(lambda: not blockers.unendable(switch.connection(), [site_any.live]))
    switch.check_sessions()
    switch.close()


def test_a_switch_job_is_not_ready_beside_a_session_that_stays(
    site_any: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_beside(site_any)
    monkeypatch.setattr(blockers, "PATIENCE", 0.2)
    ready = tmp_path / "ready"
    with site_any.server.connect(site_any.live):
        done = command(
            site_any, "switch", "--signal-file", f"{tmp_path}/signal", "--ready-file", str(ready), "--wait", "60"
        )
    assert (done.code, done.reason) == (1, "SessionsRemain")
    assert not ready.exists()
    assert site_any.accepts_connections()


def test_without_a_signal_nothing_is_changed(site_any: Site, tmp_path: Path) -> None:
    stand_beside(site_any)
    done = command(site_any, "switch", "--signal-file", f"{tmp_path}/signal", "--wait", "1")
    assert (done.code, done.reason) == (1, "DeadlineExceeded")
    assert which(site_any) == "old"


def test_sigterm_while_waiting(site_any: Site, tmp_path: Path) -> None:
    stand_beside(site_any)
    ready = f"{tmp_path}/ready"
    process = beside.start(
        site_any,
        "switch",
        *beside.rollback_options(site_any),
        "--signal-file",
        f"{tmp_path}/signal",
        "--ready-file",
        ready,
    )

    until(Path(ready).exists)
    process.send_signal(signal.SIGTERM)
    done = beside.finish(process, timeout=15)
    assert (done.code, done.reason) == (1, "Cancelled")
    assert which(site_any) == "old"
