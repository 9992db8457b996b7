"""A restored database beside the live one without a dump: what `restore` leaves, for the tests of the switch."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocore_mover.database import position
from ocore_mover.database.connect import connect_maintenance
from ocore_mover.database.position import Mark

from .conftest import Site

ENVIRONMENT = "6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01"


def stand_beside(site: Site, *, checked: bool = True) -> None:
    """The live database says 'old', the restored one 'new'."""
    site.sql("CREATE TABLE which AS SELECT 'old' AS says")
    site.sql(f"CREATE DATABASE {site.names.restored}", "postgres")
    site.sql("CREATE TABLE which AS SELECT 'new' AS says", site.names.restored)
    with connect_maintenance(site.target, application="test") as connection:
        position.write_mark(connection, site.names.restored, Mark(site.rollback_id, checked))


def which(site: Site) -> object:
    """What the live database says it is: needs that it accepts connections."""
    return site.sql("SELECT says FROM which")[0][0]


@dataclass
class Finished:
    """A command of the mover that has ended."""

    code: int
    reports: list[dict[str, Any]] = field(default_factory=list)
    stdout: str = ""
    stderr: str = ""

    @property
    def result(self) -> dict[str, Any]:
        return self.reports[-1]

    @property
    def reason(self) -> str:
        return str(self.result["failure"]["reason"])

    @property
    def message(self) -> str:
        return str(self.result["failure"]["message"])


def environment(server_bin: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "OCORE_PG_BIN": str(server_bin), "PYTHONDONTWRITEBYTECODE": "1", **more}


def start(site: Site, *arguments: str, failpoints: str = "") -> subprocess.Popen[str]:
    """Starts a command on the site."""
    more = {"OCORE_FAILPOINTS": failpoints} if failpoints else {}
    return subprocess.Popen(
        [sys.executable, "-m", "ocore_mover", *arguments],
        env=environment(site.server.bin, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 120) -> Finished:
    """Waits for its end."""
    stdout, stderr = process.communicate(timeout=timeout)
    reports = [json.loads(line) for line in stdout.splitlines()]
    return Finished(process.returncode, reports, stdout, stderr)


def command(site: Site, *arguments: str, failpoints: str = "") -> Finished:
    """Runs a command of a rollback on the site's database."""
    return finish(start(site, *arguments, *rollback_options(site), failpoints=failpoints))


def rollback_options(site: Site) -> list[str]:
    return [
        "--database", str(site.secret), "--environment-id", ENVIRONMENT, "--rollback-id", site.rollback_id,
    ]  # fmt: skip


def was_killed(done: Finished) -> bool:
    return done.code == -signal.SIGKILL
