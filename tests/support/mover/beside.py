"""A restored database beside the live one without a dump: what `restore` leaves, for the tests of the switch."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from ocore_mover.command_line import app
from ocore_mover.database import position
from ocore_mover.database.connect import connect_maintenance
from ocore_mover.database.position import Mark
from support.mover.forked import Mover
from support.mover.site import Site

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
        assert self.code == 1, f"it has not failed: {self.stdout}"
        return str(self.result["failure"]["reason"])

    @property
    def message(self) -> str:
        return str(self.result["failure"]["message"])


def start(site: Site, *arguments: str, failpoints: str = "") -> Mover:
    """Starts a command on the site, as a process of its own."""
    return Mover(arguments, environment(site, failpoints))


def environment(site: Site, failpoints: str = "") -> dict[str, str]:
    more = {"OCORE_FAILPOINTS": failpoints} if failpoints else {}
    return {**os.environ, **more, "OCORE_PG_BIN": str(site.server.bin)}


def finish(process: Mover | subprocess.Popen[str], timeout: float = 120) -> Finished:
    """Waits for its end."""
    stdout, stderr = process.communicate(timeout=timeout)
    return Finished(process.returncode, parse(stdout), stdout, stderr)


def parse(stdout: str) -> list[dict[str, Any]]:
    """Report lines; anything else on stdout is an error."""
    return [json.loads(line) for line in stdout.splitlines()]


def call(*arguments: str) -> Finished:
    """Runs a command in this process: what it prints and its exit code are the same, its start costs nothing."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    code: object = None
    try:
        with CliRunner().isolation() as outputs:
            try:
                _program().main(args=arguments, prog_name="ocore_mover")
            except SystemExit as end:
                code = end.code
            sys.stdout.flush()
            sys.stderr.flush()
            stdout, stderr = (output.getvalue().decode() for output in outputs[:2])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert isinstance(code, int), code
    return Finished(code, parse(stdout) if code != 2 else [], stdout, stderr)


@cache
def _program() -> Any:
    """Its command line. The options of all commands are built here: for each call that took a quarter of the time."""
    return get_command(app)


def command(site: Site, *arguments: str, failpoints: str = "") -> Finished:
    """Runs a command of a rollback on the site's database; in a process of its own where it is to die."""
    everything = [*arguments, *rollback_options(site)]
    return finish(start(site, *everything, failpoints=failpoints)) if failpoints else call(*everything)


def rollback_options(site: Site) -> list[str]:
    return [
        "--database", str(site.secret), "--environment-id", ENVIRONMENT, "--rollback-id", site.rollback_id,
    ]  # fmt: skip


def was_killed(done: Finished) -> bool:
    return done.code == -signal.SIGKILL
