"""Passwords that are words of the protocol: commands report the same as ever, and nothing shows the password."""

import json
from pathlib import Path

import pytest
from psycopg import sql

from ocore_crds.protocol import Result, SnapshotResult, parse_line
from ocore_mover import redact
from support.mover.application import Application
from support.mover.beside import ENVIRONMENT, call
from support.mover.desk import Desk
from support.mover.site import Site


@pytest.fixture(autouse=True)
def no_other_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_secrets", [])


def set_password(site: Site, password: str) -> None:
    with site.server.connect() as connection:
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(site.role.name), sql.Literal(password))
        )
    (site.secret / "password").write_text(password)
    site.role.password = password


@pytest.mark.parametrize("password", ["snapshot", "time", "Done", ENVIRONMENT[:8]])
def test_a_snapshot_with_a_password_of_the_protocol(site_any: Site, tmp_path: Path, password: str) -> None:
    set_password(site_any, password)
    desk = Desk(site_any, tmp_path)
    Application(site_any, desk.claim).write_many(5)
    done = desk.ok("snapshot")
    lines = [line for line in done.stdout.splitlines() if line]
    assert all(parse_line(line) is not None for line in lines)
    result = parse_line(lines[-1])
    assert isinstance(result, Result)
    assert isinstance(result.payload, SnapshotResult)
    assert result.payload.identity is not None
    assert result.payload.identity.environment_id == ENVIRONMENT
    assert result.payload.manifest_key == next(
        path.relative_to(desk.store).as_posix() for path in desk.store.rglob("manifest.json")
    )
    assert call("inspect", *desk.which).result["payload"] == done.result["payload"]


@pytest.mark.parametrize("password", ["snapshot", "wr0ng-passw0rd"])
def test_a_failure_does_not_show_the_password(site_any: Site, tmp_path: Path, password: str) -> None:
    desk = Desk(site_any, tmp_path)
    (site_any.secret / "password").write_text(password)
    (site_any.secret / "dbname").write_text(f"no-{password}-database")
    done = desk.run("probe")
    assert done.code == 0, done.stdout + done.stderr
    (finding,) = done.result["payload"]["blocking"][:1]
    assert password not in finding["message"]
    for line in done.stderr.splitlines():
        assert password not in json.loads(line).get("event", "")
