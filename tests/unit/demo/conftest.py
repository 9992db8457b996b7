"""A PostgreSQL server once, a database and a filestore for each test."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo_app.database import Connection, connect, create_schema
from demo_app.filestore import Filestore
from demo_app.settings import Settings
from support.demo import Postgres, Process, web_process
from support.mover.postgres_majors import running


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """The server."""
    with running(17) as server:
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


@pytest.fixture
def web(settings: Settings) -> Iterator[Process]:
    """The web process."""
    with web_process(settings) as process:
        yield process
