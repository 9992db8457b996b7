"""PostgreSQL 16 and 18 in the cluster: images with the programs of wheels, which only the local cluster has. Debian's
15 and 17 run in all other tests.

`make test-all` loads the images; by hand: localcluster/cluster images postgres:16 mover:16 postgres:18 mover:18.
"""

from collections.abc import Iterator

import pytest

from support.cluster.cluster import Cluster
from support.cluster.facade import Facade
from support.cluster.operator import Operator
from support.cluster.promises import holds_all_promises, marker, old_or_new, set_marker
from support.cluster.site import Servers, make_site

MAJORS = (16, 18)


@pytest.fixture(scope="module")
def all_majors(cluster: Cluster, operator: Operator) -> Iterator[None]:
    """An operator with a mover for each major."""
    values = Facade(cluster).values()
    operator.install(*values, "--set", "mover.majors={15,16,17,18}")
    yield
    operator.install(*values)


@pytest.mark.exclusive
@pytest.mark.long  # what differs between majors, all four run in tests/unit/mover/majors
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("all_majors")
@pytest.mark.parametrize("major", MAJORS)
def test_a_rollback_and_its_undo(cluster: Cluster, servers: Servers, major: int) -> None:
    with make_site(cluster, servers, major=major) as site:
        site.load(3)
        site.environment_ready(180)
        snapshot = site.snapshot("base")
        status = site.completed("Snapshot", snapshot)["status"]
        assert status["serverVersion"].startswith(f"{major}.")
        assert f"{major}." in status["clientVersion"]
        set_marker(site, 2)
        name = site.rollback("back", snapshot, undoWindowSeconds=3600)
        obj = site.completed("Rollback", name)
        old_or_new(site, obj)
        site.completed("Rollback", site.undo("undo", name, undoWindowSeconds=0))
        assert marker(site) == 2
        holds_all_promises(site)
