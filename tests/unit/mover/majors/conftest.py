"""A server of each supported major, started when the first test asks for it; what passed is kept for the support
matrix."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ocore_mover.database import programs
from support.mover import story
from support.mover.majors import Servers
from support.mover.postgres_majors import Server, running
from support.mover.site import Site, drop_all, make_site
from support.mover.support_matrix import MAJORS, RESULTS_VARIABLE, Facts, Results, missing


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A running server of a major, with the extension of the story."""
    with ExitStack() as stack:
        started: dict[int, Server] = {}

        def find(major: int) -> Server:
            if major not in started:
                started[major] = stack.enter_context(running(major))
                stack.enter_context(story.extension(started[major]))
            return started[major]

        yield find


@pytest.fixture
def server(servers: Servers, major: int, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server of the test's major, its programs found."""
    found = servers(major)
    monkeypatch.setenv("OCORE_PG_BIN", str(found.bin))
    return found


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    """A live database on it."""
    made = make_site(server, tmp_path)
    yield made
    drop_all(made)


@pytest.fixture(scope="session")
def results(servers: Servers) -> Iterator[Results]:
    """What passed in this run; written to the file that the environment names."""
    found = Results()
    yield found
    path = os.environ.get(RESULTS_VARIABLE)
    if path:
        for major in MAJORS:
            found.facts[major] = _facts(servers(major))
        # The file of the last complete run stays.
        if not missing(found):
            Path(path).write_text(found.text())


def _facts(server: Server) -> Facts:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCORE_PG_BIN", str(server.bin))
        zstd = programs.knows_zstd(programs.find("pg_dump", server.major))
    (number,) = server.execute("SHOW server_version")[0]
    available = {name for (name,) in server.execute("SELECT name FROM pg_available_extensions")}
    return Facts(
        version=str(number).split()[0],
        source="Debian" if server.installed.wheel is None else "PyPI wheel",
        features={
            "tls": server.has_tls(),
            "icu": bool(
                server.execute("SELECT 1 FROM pg_collation WHERE collprovider = 'i' AND collname = 'und-x-icu'")
            ),
            # PostgreSQL 15 has none to lack.
            "zstd": zstd or server.major < 16,
            "contrib": {"pg_trgm", "unaccent"} <= available,
        },
    )
