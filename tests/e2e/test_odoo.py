"""A real Odoo in the cluster, where ``OCORE_ODOO`` names one.

`make test` loads its image then; by hand: localcluster/cluster images odoo:dev.
"""

import pytest

from support.cluster.cluster import Cluster
from support.cluster.odoo_story import PATIENT, rolled_back_and_undone, serves
from support.cluster.other_namespace import into, store_to_read
from support.cluster.promises import fresh
from support.cluster.real_odoo import OdooSite, odoo_site
from support.cluster.site import Servers
from support.mover.real_odoo import ACT, JOBS, production_for
from support.mover.sinks import Sinks, sinks

pytestmark = [pytest.mark.odoo, pytest.mark.timeout(1200)]


def test_row_63_a_real_odoo(cluster: Cluster, servers: Servers) -> None:
    """A snapshot under users who work and Odoo's own collection, a rollback, its undo, and a staging copy that reaches
    no one."""
    with (
        sinks(node_address(cluster)) as reached,
        odoo_site(cluster, servers, filled=False, type="staging", neutralize={}) as staging,
        odoo_site(cluster, servers, granted=[staging.namespace]) as production,
    ):
        production.shell(production_for(reached))
        rolled_back_and_undone(production)
        copied(production, staging, reached)


def node_address(cluster: Cluster) -> str:
    """At which pods reach this process."""
    addresses = cluster.objects("Node")[0]["status"]["addresses"]
    return str(next(a["address"] for a in addresses if a["type"] == "InternalIP"))


def copied(production: OdooSite, staging: OdooSite, reached: Sinks) -> None:
    """Onto an empty database that Odoo waits for. By the image's own command and what is built in. Then both do the
    same."""
    store_to_read(production, staging)
    copy = into(production, staging, fresh("copy"), "middle", isolation="BestEffort", undoWindowSeconds=0, **PATIENT)
    status = staging.completed("Rollback", copy, 400)["status"]
    assert status["neutralize"]["method"] == "Image"
    staging.files_fit()
    serves(staging, staging.app.login())
    staging.shell(ACT + JOBS)
    assert reached.take() == ([], []), "the copy reached customers or devices"
    production.shell(ACT)
    mails, pushes = reached.take()
    assert (len(mails), pushes) == (2, ["/device"]), "what arrives from production"
