"""The whole application on a real server, with environments of two tenants."""

from collections.abc import Iterator

import pytest

from support.api.clients import Clients
from support.api.serving import Serving, serving
from support.api.world import World


@pytest.fixture
def world() -> World:
    """An API server in this process, and what plays the operator."""
    return World()


@pytest.fixture
def served(world: World) -> Iterator[Serving]:
    """The application."""
    with serving(cache=world.cache, client=world.server, rate_per_second=100_000, rate_burst=100_000) as served:
        yield served


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    """The clients in TypeScript, generated and compiled."""
    return Clients(tmp_path_factory.mktemp("clients"))
