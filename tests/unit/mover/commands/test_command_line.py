"""Exit codes, help, and that a password never leaves the program."""

import contextlib
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from ocore_mover.command_line import app
from support.mover.beside import ENVIRONMENT, call, environment, finish
from support.mover.postgres_majors import Role, write_secret
from support.mover.site import Site

COMMANDS = (
    "probe",
    "measure",
    "prove",
    "probe-store",
    "snapshot",
    "verify",
    "write-state",
    "test-restore",
    "preview",
    "restore",
    "neutralize",
    "switch",
    "list-manifests",
    "sweep",
    "remove-orphans",
    "delete",
    "check-copy",
    "copy-remote",
    "cleanup",
    "inspect",
    "extract",
    "remove-extract",
)
UUID = "0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c02"


def test_every_command_is_there() -> None:
    assert tuple(get_command(app).commands) == COMMANDS  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses(name: str) -> None:
    """The example's options are options: parsed without being run."""
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    examples = [line.strip() for line in command.epilog.splitlines() if "python -m ocore_mover" in line]
    assert examples
    for example in examples:
        words = example.split()[3:]
        assert words[0] == name
        command.make_context(name, [w.replace("~", "/root") for w in words[1:]])


@pytest.mark.parametrize(
    "arguments",
    [
        ["snapshot", "--store", "ftp://nowhere", "--database", "/x", "--environment-id", UUID, "--snapshot-id", UUID],
        ["snapshot", "--store", "file:///tmp", "--environment-id", UUID, "--snapshot-id", UUID],
        ["snapshot", "--store", "file:///tmp", "--database", "/x", "--environment-id", "no-uuid", "--snapshot-id",
         UUID],
        ["snapshot", "--store", "file:///tmp", "--database", "/x", "--environment-id", UUID, "--snapshot-id", UUID,
         "--attempt", "a/b"],
        ["snapshot", "--store", "file:///tmp", "--database", "/x", "--environment-id", UUID, "--snapshot-id", UUID,
         "--identity", "{}"],
        ["snapshot", "--store", "file:///tmp", "--database", "/x", "--environment-id", UUID, "--snapshot-id", UUID,
         "--base-snapshot-id", UUID],
        ["snapshot", "--store", "file:///tmp", "--database", "/x", "--environment-id", UUID, "--snapshot-id", UUID,
         "--base-manifest-sha256", "0" * 64],
        ["switch", "--database", "/x", "--environment-id", UUID, "--rollback-id", UUID],
        ["switch", "--database", "/x", "--environment-id", UUID, "--rollback-id", UUID, "--signal-file", "/f",
         "--back"],
        ["inspect", "--database", "/x", "--environment-id", UUID],
        ["inspect", "--environment-id", UUID, "--snapshot-id", UUID],
        ["cleanup", "--database", "/x", "--environment-id", UUID, "--rollback-id", UUID],
        ["probe", "--claim", "/x", "--layout", "Odoo"],
        ["probe", "--claim", "/x", "--layout", "Plain"],
        ["nonsense"],
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.code == 2
    assert done.stdout == ""
    assert "Usage" in done.stderr


def test_no_failure_shows_the_password(site_any: Site, tmp_path: Path) -> None:
    """Wrong password, no database, no server: the random password is in nothing that any command prints."""
    (tmp_path / "store").mkdir()
    store = (tmp_path / "store").as_uri()
    call("probe-store", "--store", store)
    password = "geheim:" + secrets.token_urlsafe(12) + "'\"@/%"
    role = Role(site_any.role.name, password)
    secret = write_secret(tmp_path / "wrong", site_any.server, role, site_any.live)
    ids = ["--environment-id", ENVIRONMENT]
    for arguments in (
        ["probe", "--database", str(secret)],
        ["snapshot", "--store", store, "--database", str(secret), *ids, "--snapshot-id", UUID, "--verbose"],
        ["switch", "--now", "--database", str(secret), *ids, "--rollback-id", UUID],
        ["cleanup", "--what", "restored", "--database", str(secret), *ids, "--rollback-id", UUID],
        ["inspect", "--database", str(secret), *ids, "--rollback-id", UUID],
    ):
        done = call(*arguments)
        assert done.code == (0 if arguments[0] == "probe" else 1)
        assert "AuthenticationFailed" in done.stdout
        assert password not in done.stdout + done.stderr
    uri = tmp_path / "uri"
    uri.mkdir()
    (uri / "uri").write_text(
        f"postgresql://{role.name}:topsecret%2Fword@127.0.0.1:{site_any.server.port}/{site_any.live}"
    )
    done = call("snapshot", "--store", store, "--database", str(uri), *ids, "--snapshot-id", UUID)
    assert done.reason == "AuthenticationFailed"
    assert "topsecret" not in done.stdout + done.stderr


def family(pid: int) -> set[Path]:
    """The folders of a process and its descendants."""
    parents: dict[str, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            parents[path.parent.name] = path.read_text(errors="replace").rpartition(")")[2].split()[1]
    found = {str(pid)}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {Path("/proc", name) for name in found}


def test_no_program_has_the_password_in_its_arguments_or_environment(site_any: Site, tmp_path: Path) -> None:
    """Looked at from outside while pg_dump runs."""
    (tmp_path / "store").mkdir()
    store = (tmp_path / "store").as_uri()
    call("probe-store", "--store", store)
    site_any.sql("CREATE TABLE t AS SELECT 1")
    process = subprocess.Popen(
        [sys.executable, "-m", "ocore_mover", "snapshot", "--store", store, "--database", str(site_any.secret),
         "--environment-id", ENVIRONMENT, "--snapshot-id", UUID, "--scratch", str(tmp_path)],
        env=environment(site_any, "snapshot-dump-running=sleep:1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    seen: set[bytes] = set()
    commands: set[bytes] = set()
    while process.poll() is None:
        for path in family(process.pid):
            with contextlib.suppress(OSError):
                command = (path / "cmdline").read_bytes()
                # Behind the loader of the wheels, where the server has no package.
                commands |= {part.rpartition(b"/")[2] for part in command.split(b"\0")}
                seen |= {command, (path / "environ").read_bytes()}
    done = finish(process)
    assert done.code == 0, done.stdout
    assert b"pg_dump" in commands
    assert not [text for text in seen if site_any.role.password.encode() in text]


def test_a_deadline_ends_the_command(site_any: Site, tmp_path: Path) -> None:
    """A migration locks the attachment table and never ends."""
    (tmp_path / "store").mkdir()
    store = (tmp_path / "store").as_uri()
    call("probe-store", "--store", store)
    (tmp_path / "claim").mkdir()
    site_any.sql("CREATE TABLE ir_attachment (store_fname text)")
    with site_any.server.connect(site_any.live, site_any.role.name, site_any.role.password) as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE ir_attachment")
        done = call(
            "snapshot", "--store", store, "--database", str(site_any.secret), "--claim", str(tmp_path / "claim"),
            "--environment-id", ENVIRONMENT, "--snapshot-id", UUID, "--scratch", str(tmp_path), "--deadline", "2",
        )  # fmt: skip
    assert (done.code, done.reason) == (1, "DeadlineExceeded")
    assert "Increase the timeout" in done.message


def test_a_database_that_is_plain_sql_only(site_any: Site, tmp_path: Path) -> None:
    """No filestore at all: the database alone is a snapshot."""
    (tmp_path / "store").mkdir()
    store = (tmp_path / "store").as_uri()
    call("probe-store", "--store", store)
    site_any.sql("CREATE TABLE t AS SELECT 1 AS a")
    common = ["--database", str(site_any.secret), "--environment-id", ENVIRONMENT]
    where = ["--store", store, "--scratch", str(tmp_path), "--snapshot-id", UUID]
    assert call("snapshot", *common, *where).code == 0
    site_any.sql("UPDATE t SET a = 2")
    assert call("restore", *common, *where, "--rollback-id", site_any.rollback_id).code == 0
    assert call("switch", "--now", *common, "--rollback-id", site_any.rollback_id).code == 0
    assert site_any.sql("SELECT a FROM t") == [(1,)]


def test_folders_without_a_database(tmp_path: Path) -> None:
    """Layout Plain needs no database: the folders are the position."""
    (tmp_path / "store").mkdir()
    live = tmp_path / "claim/data"
    live.mkdir(parents=True)
    (live / "f").write_text("snapshot")
    store = (tmp_path / "store").as_uri()
    call("probe-store", "--store", store)
    common = [
        "--claim",
        str(tmp_path / "claim"),
        "--filestore",
        "data",
        "--layout",
        "Plain",
        "--environment-id",
        ENVIRONMENT,
    ]
    where = ["--store", store, "--scratch", str(tmp_path), "--snapshot-id", UUID]
    rollback = ["--rollback-id", "9c7d1f0a-1111-4222-8333-444455556666"]
    assert call("snapshot", *common, *where).code == 0
    (live / "f").write_text("later")
    assert call("restore", *common, *where, *rollback).code == 0
    assert call("switch", "--now", *common, *rollback).result["payload"]["position"] == "New"
    assert (live / "f").read_text() == "snapshot"
    assert call("switch", "--now", "--back", *common, *rollback).result["payload"]["position"] == "Old"
    assert (live / "f").read_text() == "later"
    assert call("cleanup", "--what", "previous", *common, *rollback).reason == "SwitchFailed"
    assert call("cleanup", "--what", "restored", *common, *rollback).code == 0
    assert [p.name for p in (tmp_path / "claim").iterdir() if p.name != ".ocore"] == ["data"]


def test_help_is_formatted_although_the_start_leaves_rich_out() -> None:
    done = subprocess.run([sys.executable, "-m", "ocore_mover", "--help"], capture_output=True, text=True, check=True)
    assert "Commands ─" in done.stdout
