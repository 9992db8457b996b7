"""Fixtures of the end-to-end tests: the chart installed once, servers once, a site for each test."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster.cluster import Cluster, unique
from support.cluster.operator import Operator
from support.cluster.shared import Shared
from support.cluster.site import Servers


def _is_exclusive(item: pytest.Function) -> bool:
    """Whether it asks for the one operator itself."""
    return "operator" in inspect.signature(item.function).parameters


def _seconds_at_most(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for the operator may kill or reconfigure it: it runs with no other test beside it. The tests that are allowed the
    longest time start first, or one worker would run the last of them alone.
    """
    ours = [i for i in items if isinstance(i, pytest.Function) and i.path.is_relative_to(Path(__file__).parent)]
    for item in ours:
        if _is_exclusive(item):
            item.add_marker(pytest.mark.exclusive)
    items.sort(key=_seconds_at_most, reverse=True)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The local cluster."""
    return Cluster()


@pytest.fixture(scope="session")
def operator(cluster: Cluster, shared: Shared) -> Operator:
    """The operator, installed from the chart as a user would; failpoints are allowed by a setting the chart lacks."""
    operator = Operator(cluster)

    def install() -> str:
        operator.install()
        return "installed"

    shared.once("operator", install)
    return operator


@pytest.fixture(scope="session")
def servers(cluster: Cluster, operator: Operator, shared: Shared) -> Iterator[Servers]:
    """PostgreSQL 15 and 17, and S3."""
    with shared.user(unique("servers"), lambda: servers.remove()):
        servers = Servers(cluster, shared)
        yield servers
