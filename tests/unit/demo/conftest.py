"""A PostgreSQL server once, a database and a filestore for each test."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo_app.database import Connection, connect, create_schema
from demo_app.filestore import Filestore
from demo_app.settings import Settings
from support.private_postgres import PrivatePostgres, private_postgres


@pytest.fixture(scope="session")
def server() -> Iterator[PrivatePostgres]:
    """The server."""
    with private_postgres("max_connections=80") as server:
        yield server


@pytest.fixture
def settings(server: PrivatePostgres, tmp_path: Path) -> Iterator[Settings]:
    """A new database with the application's tables, given as a mounted Secret, and an empty filestore."""
    name = f"shop_{secrets.token_hex(4)}"
    server.create_database(name)
    secret = tmp_path / "secret"
    secret.mkdir()
    for key, value in server.parameters(name).items():
        (secret / key).write_text(value)
    settings = Settings(filestore=tmp_path / "filestore", database=secret, port=0)
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
