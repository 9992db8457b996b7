"""A real CloudNativePG: its operator, and a Cluster of two instances with the application's database.

`make test-all` loads the image; by hand: localcluster/cluster images cnpg:dev.
"""

from collections.abc import Iterator

import pytest

from support.cluster.cluster import Cluster
from support.cluster.cnpg import DATABASE, Instances, cluster_of, installed
from support.cluster.promises import fresh, holds_all_promises, marker, set_marker
from support.cluster.site import Servers, Site, make_site

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """The environment whose database CloudNativePG runs, with some data and one snapshot, `base`."""
    with (
        installed(cluster),
        make_site(cluster, servers, own_server=cluster_of, environment={"database": DATABASE}) as site,
    ):
        site.environment_ready()
        site.load(5)
        site.completed("Snapshot", site.snapshot("base"))
        yield site


@pytest.fixture
def instances(cluster: Cluster, site: Site) -> Iterator[Instances]:
    """The Cluster, healthy before the test and after it."""
    instances = Instances(cluster, site.namespace)
    instances.healthy()
    yield instances
    instances.healthy()


@pytest.mark.usefixtures("instances")
def test_a_rollback_and_its_undo(site: Site) -> None:
    set_marker(site, 2)
    back = site.rollback(fresh("back"), "base", undoWindowSeconds=3600)
    site.completed("Rollback", back)
    assert marker(site) == 0
    undo = site.undo(fresh("undo"), back, undoWindowSeconds=0)
    site.completed("Rollback", undo)
    assert marker(site) == 2
    site.gone("Rollback", undo, back)
    holds_all_promises(site)
