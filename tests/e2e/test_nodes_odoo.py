"""A real Odoo on the other one of two nodes, away from operator, database and store. `make test-all` runs it where
``OCORE_ODOO`` names an Odoo."""

from contextlib import ExitStack

import pytest

from support.cluster.cluster import Cluster
from support.cluster.odoo_story import rolled_back_and_undone
from support.cluster.real_odoo import odoo_site
from support.cluster.site import Servers
from support.cluster.two_nodes import HERE, OTHER, nodes_of_jobs

pytestmark = [
    pytest.mark.nodes,
    pytest.mark.exclusive,
    pytest.mark.long,
    pytest.mark.odoo,
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("repaired"),
]


def test_row_63_odoo_on_the_other_node(placed: Servers, cluster: Cluster) -> None:
    with ExitStack() as stack:
        cluster.kubectl("cordon", HERE)
        try:
            site = stack.enter_context(odoo_site(cluster, placed, storage_class="attached"))
        finally:
            cluster.kubectl("uncordon", HERE)
        rolled_back_and_undone(site)
        assert OTHER in nodes_of_jobs(site), "no Job ran where the claim is"
