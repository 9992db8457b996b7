"""A PostgreSQL server once, a database and a filestore for each test."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from demo_app.database import Connection, connect, create_schema
from demo_app.filestore import Filestore
from demo_app.settings import Settings
from support.mover.postgres_majors import Role, Server, create_role, running, write_secret


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


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """The server."""
    with running(15) as server:
        yield Postgres(server)


@pytest.fixture
def settings(server: Postgres, tmp_path: Path) -> Iterator[Settings]:
    """A new database with the application's tables, given as a mounted Secret, and an empty filestore."""
    name = f"shop_{secrets.token_hex(4)}"
    server.create_database(name)
    settings = Settings(filestore=tmp_path / "filestore", database=server.secret(tmp_path / "secret", name), port=0)
    settings.filestore.mkdir()
    with connect(settings) as connection:
        create_schema(connection)
    yield settings
    server.drop_database(name)


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection]:
    """A connection of the application."""
    with connect(settings) as connection:
        yield connection


@pytest.fixture
def filestore(settings: Settings) -> Filestore:
    """The filestore."""
    return Filestore(settings.filestore)
