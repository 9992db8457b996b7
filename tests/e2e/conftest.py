"""Fixtures of the end-to-end tests: the chart installed once with the REST facade, servers once, sites that the tests
of a worker share.

A test that needs a site as no other test leaves it makes its own one (`make_site`), for itself or for its module.
"""

import inspect
import json
import os
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

from support.api.clients import Clients
from support.cluster.cluster import Cluster, unique
from support.cluster.facade import Facade
from support.cluster.operator import Operator
from support.cluster.shared import Shared
from support.cluster.site import Servers, Site, Sites
from support.cluster.two_nodes import OTHER, repair


def _is_exclusive(item: pytest.Function) -> bool:
    """Whether it asks for the one operator itself."""
    return "operator" in inspect.signature(item.function).parameters


#: Files that share a site of a rarer kind with another one: their tests run in the worker of that one's.
TOGETHER = dict.fromkeys(("test_differential.py", "test_what_users_see.py"), "test_undo.py")


class BySites(LoadFileScheduling):
    """The tests of a file run in one worker, and so do those of files that are named together."""

    def _split_scope(self, nodeid: str) -> str:
        folder, _, name = str(super()._split_scope(nodeid)).rpartition("/")
        return f"{folder}/{TOGETHER.get(name, name)}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> BySites | None:
    """In place of `--dist loadfile`."""
    return BySites(config, log) if config.getoption("dist") == "loadfile" else None


#: A test that is allowed more than these seconds counts as several.
SECONDS_OF_A_TEST = 120


def _seconds_at_most(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for the operator may kill or reconfigure it: it runs with no other test beside it. The tests of
    a file run in one worker, which makes the site that they share once (`--dist loadfile`), and so do those of some
    files together. Those with the most to do start first, or one worker would run the last of them alone.
    """
    ours = [i for i in items if isinstance(i, pytest.Function) and i.path.is_relative_to(Path(__file__).parent)]
    for item in ours:
        if _is_exclusive(item):
            item.add_marker(pytest.mark.exclusive)
    work: Counter[str] = Counter()
    for item in ours:
        work[_together(item)] += max(1, round(_seconds_at_most(item) / SECONDS_OF_A_TEST))
    items.sort(key=lambda i: (-work[_together(i)], _together(i), i.path))


def _together(item: pytest.Item) -> str:
    return TOGETHER.get(item.path.name, item.path.name)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The local cluster, of the version that is asked for."""
    cluster, wanted = Cluster(), os.environ.get("OCORE_KUBERNETES")
    if wanted:
        found = {node["status"]["nodeInfo"]["kubeletVersion"] for node in cluster.objects("Node")}
        found.add(json.loads(cluster.kubectl("get", "--raw", "/version"))["gitVersion"])
        assert found == {f"v{wanted}.0"}
    return cluster


@pytest.fixture(scope="session")
def operator(cluster: Cluster, shared: Shared) -> Operator:
    """The operator and the REST facade, installed from the chart as a user would; failpoints are allowed by a setting
    the chart lacks."""
    operator = Operator(cluster)

    def install() -> str:
        operator.install(*Facade(cluster).values())
        return "installed"

    shared.once("operator", install)
    return operator


@pytest.fixture(scope="session")
def facade(cluster: Cluster, operator: Operator, shared: Shared) -> Facade:
    """The REST facade, installed from the chart beside the operator."""
    facade = Facade(cluster)

    def restart() -> str:
        facade.restart()
        return "restarted"

    shared.once("facade", restart)
    return facade


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    """The clients in TypeScript, generated and compiled."""
    return Clients(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="session")
def servers(cluster: Cluster, operator: Operator, shared: Shared) -> Iterator[Servers]:
    """PostgreSQL 15 and 17, and S3."""
    with shared.user(unique("servers"), lambda: servers.remove()):
        servers = Servers(cluster, shared)
        yield servers


SITES = pytest.StashKey[Sites]()


@pytest.fixture(scope="session")
def sites(cluster: Cluster, servers: Servers, pytestconfig: pytest.Config) -> Iterator[Sites]:
    """The sites that the tests of this worker share: making one costs as much as three snapshots."""
    sites = pytestconfig.stash[SITES] = Sites(cluster, servers)
    yield sites
    sites.remove()


@pytest.fixture
def site(sites: Sites) -> Site:
    """The one with PostgreSQL 17, S3 and the layout Odoo."""
    return sites.of()


@pytest.fixture(scope="session")
def placed(cluster: Cluster, two_nodes: None, request: pytest.FixtureRequest) -> Servers:
    """The servers, on node1 of two."""
    cluster.kubectl("cordon", OTHER)
    try:
        servers: Servers = request.getfixturevalue("servers")
        servers.postgres(17)
        servers.s3()
    finally:
        cluster.kubectl("uncordon", OTHER)
    return servers


@pytest.fixture(scope="session")
def two_nodes(cluster: Cluster) -> None:
    """Skips where the cluster has one node."""
    if len(cluster.objects("Node")) < 2:
        pytest.skip("the cluster has one node: make test-nodes, or localcluster/cluster up --nodes 2")


@pytest.fixture
def repaired(cluster: Cluster, two_nodes: None) -> Iterator[None]:
    """What a test did to the other node is taken back."""
    yield
    repair(cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed may have left a site in any state: the next test gets a new one."""
    report = yield
    if report.failed and (sites := item.config.stash.get(SITES, None)) is not None:
        sites.discard()
    return report
