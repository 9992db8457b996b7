"""Fixtures of the end-to-end tests: the chart installed once, servers once, a site for each test."""

from collections.abc import Iterator

import pytest

from support.cluster.cluster import Cluster
from support.cluster.operator import Operator
from support.cluster.site import Servers


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The local cluster."""
    return Cluster()


@pytest.fixture(scope="session")
def operator(cluster: Cluster) -> Operator:
    """The operator, installed from the chart as a user would; failpoints are allowed by a setting the chart lacks."""
    operator = Operator(cluster)
    operator.install()
    return operator


@pytest.fixture(scope="session")
def servers(cluster: Cluster, operator: Operator) -> Iterator[Servers]:
    """PostgreSQL 15 and 17, and S3."""
    servers = Servers(cluster)
    yield servers
    cluster.delete("Namespace", servers.namespace)
