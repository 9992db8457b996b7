"""The PostgreSQL server of the demo application's tests, and its web process."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from demo_app.settings import Settings
from support.mover.postgres_majors import Role, Server, create_role, write_secret

APP = Path(__file__).resolve().parents[2] / "examples/demo"


class Postgres:
    """The server, and the application's role, which owns what the tests make and is no superuser."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.role: Role = create_role(server, "shop", "NOSUPERUSER CREATEDB")

    def connect(self) -> psycopg.Connection[Any]:
        """As the superuser, to the maintenance database."""
        return self._server.connect()

    def create_database(self, name: str) -> None:
        """A database that the application's role owns."""
        with self.connect() as connection:
            owned = sql.SQL("CREATE DATABASE {} OWNER {}")
            connection.execute(owned.format(sql.Identifier(name), sql.Identifier(self.role.name)))

    def drop_database(self, name: str) -> None:
        """The sessions that are connected."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def secret(self, folder: Path, database: str) -> Path:
        """The database's Secret, as it is mounted."""
        return write_secret(folder, self._server, self.role, database)

    def tool(self, name: str, *arguments: str, database: str) -> None:
        """Runs pg_dump or pg_restore as the application's role."""
        variables = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self._server.port),
            "PGUSER": self.role.name,
            "PGPASSWORD": self.role.password,
            "PGDATABASE": database,
        }
        command = [str(self._server.bin / name), *arguments]
        done = subprocess.run(
            command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


class Process:
    """`python3 -m demo_app serve` on a free port."""

    def __init__(self, settings: Settings) -> None:
        env = {**os.environ, "PYTHONPATH": str(APP), "DEMO_TITLE": 'Shop <"&">'}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo_app", "serve", "--init", "--host", "127.0.0.1", "--port", "0",
             "--database", str(settings.database), "--filestore", str(settings.filestore)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "serving on" in line:
                self.url = "http://" + line.split()[-1]
                return
        raise AssertionError("the web process did not start")

    def request(self, path: str, data: bytes | None = None, method: str | None = None, **headers: str) -> Any:
        """Status, headers and body of one request."""
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def json(self, path: str, data: bytes | None = None, method: str | None = None) -> tuple[int, Any]:
        """Status and JSON."""
        status, _, body = self.request(path, data, method)
        return status, json.loads(body)


@contextmanager
def web_process(settings: Settings) -> Iterator[Process]:
    """The web process, for the block."""
    process = Process(settings)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait(10)
