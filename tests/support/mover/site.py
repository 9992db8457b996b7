"""Real PostgreSQL servers, a live database with an owner that is no superuser, and a store in a folder."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import sql

from ocore_crds.protocol import Step
from ocore_mover.database.connect import Server as Target
from ocore_mover.database.credentials import load
from ocore_mover.database.position import Names
from ocore_mover.deadline import Token
from ocore_mover.report import Counter, Reporter
from ocore_mover.store import Store, open_store
from support.mover.postgres_majors import Role, Server, create_role, running, write_secret


@pytest.fixture(scope="session")
def server15() -> Iterator[Server]:
    with running(15) as server:
        yield server


@pytest.fixture(scope="session")
def server17() -> Iterator[Server]:
    with running(17) as server:
        yield server


@pytest.fixture(params=[15, 17])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Either major, its programs found."""
    found: Server = request.getfixturevalue(f"server{request.param}")
    monkeypatch.setenv("OCORE_PG_BIN", str(found.bin))
    return found


@pytest.fixture
def server_any(server17: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """One major, where the other would show nothing new: the one whose sessions cost less. It needs no TLS, and takes
    verifiers of one iteration also from libpq."""
    monkeypatch.setenv("OCORE_PG_BIN", str(server17.bin))
    return server17


@dataclass
class Site:
    """A live database and who owns it."""

    server: Server
    role: Role
    live: str
    secret: Path
    rollback_id: str

    @property
    def target(self) -> Target:
        return Target(load(self.secret))

    @property
    def names(self) -> Names:
        return Names(self.live, self.rollback_id)

    def sql(self, statement: str, database: str = "") -> list[tuple[object, ...]]:
        """As the owner."""
        with self.server.connect(database or self.live, self.role.name, self.role.password) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def copy_sql(self, statement: str, *, superuser: bool = False) -> list[tuple[object, ...]]:
        """In the restored copy, which refuses connections: opened for this statement. As the owner, or as the
        superuser."""
        name = self.names.restored
        self.server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        try:
            return self.server.execute(statement, name) if superuser else self.sql(statement, name)
        finally:
            self.server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')

    def databases(self) -> set[str]:
        found = self.server.execute("SELECT datname FROM pg_database WHERE NOT datistemplate")
        return {str(row[0]) for row in found if str(row[0]).startswith(self.live)}

    def accepts_connections(self) -> bool:
        found = self.server.execute(f"SELECT datallowconn FROM pg_database WHERE datname = '{self.live}'")
        return bool(found and found[0][0])


def make_site(server: Server, folder: Path, *, options: str = "CREATEDB") -> Site:
    """A new role and a new live database; names that no other test has."""
    token = uuid.uuid4().hex[:8]
    role = create_role(server, f"app-{token}", options)
    live = f"live_{token}"
    create = sql.SQL("CREATE DATABASE {} OWNER {} STRATEGY FILE_COPY")  # half the time of the default
    server.execute(create.format(sql.Identifier(live), sql.Identifier(role.name)).as_string())
    return Site(server, role, live, write_secret(folder / "secret", server, role, live), str(uuid.uuid4()))


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    made = make_site(server, tmp_path)
    yield made
    drop_all(made)


@pytest.fixture
def site_any(server_any: Server, tmp_path: Path) -> Iterator[Site]:
    made = make_site(server_any, tmp_path)
    yield made
    drop_all(made)


def drop_all(site: Site) -> None:
    for name in site.databases():
        site.server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A folder store."""
    (tmp_path / "store").mkdir()
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def token() -> Token:
    return Token(120)


@pytest.fixture
def counter() -> Counter:
    return Reporter(Path(os.devnull)).counter(Step.DUMP_DATABASE)
