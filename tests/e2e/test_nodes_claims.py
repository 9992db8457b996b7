"""Claims on two nodes: where the Jobs may run, what does not fit, and who gives way. The servers run on node1."""

import pytest

from support.cluster.cluster import Cluster
from support.cluster.failpoints import armed, at_failpoint, running_pod
from support.cluster.promises import fresh, holds_all_promises, marker, set_marker
from support.cluster.site import Servers, make_site
from support.cluster.two_nodes import HERE, moves_while_its_claim_is_held, on, reports

pytestmark = [
    pytest.mark.long,
    pytest.mark.nodes,
    pytest.mark.exclusive,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("repaired"),
]


def test_row_105_a_snapshot_gives_way_to_the_application(placed: Servers, cluster: Cluster) -> None:
    """The application moves to the other node while a snapshot's Job holds its claim: the Job is stopped, the
    application starts, and the next attempt runs on the application's node."""
    with make_site(cluster, placed, storage_class="attached") as site:
        site.patch_shop({"spec": on(HERE)})
        site.load(5)
        name = site.snapshot(
            fresh("long"), annotations=armed("after-upload-before-manifest=sleep:300@1"), timeoutSeconds=400
        )
        first = running_pod(site, "Snapshot", name, "snapshot")
        assert first["spec"]["nodeName"] == HERE, "not on the node of the claim's user"
        at_failpoint(site, first, "after-upload-before-manifest")
        moves_while_its_claim_is_held(site)
        cluster.wait("Snapshot", name, site.namespace, reports("ClaimNeeded"), 60, "gives way")
        site.app_ready(90)
        obj = site.completed("Snapshot", name, 240)
        assert obj["status"]["attempt"] == 2
        holds_all_promises(site)


def test_row_105_a_restore_gives_way_to_the_application(placed: Servers, cluster: Cluster) -> None:
    """The same in mid-rollback, before the application is stopped."""
    with make_site(cluster, placed, storage_class="attached") as site:
        site.patch_shop({"spec": on(HERE)})
        site.load(5)
        site.completed("Snapshot", site.snapshot("base"))
        set_marker(site, 3)
        name = site.rollback(
            fresh("long"), "base", annotations=armed("restore-database-loaded=sleep:300@1"), undoWindowSeconds=0,
            timeoutSeconds=500,
        )  # fmt: skip
        first = running_pod(site, "Rollback", name, "restore")
        assert first["spec"]["nodeName"] == HERE, "not on the node of the claim's user"
        at_failpoint(site, first, "restore-database-loaded")
        moves_while_its_claim_is_held(site)
        site.app_ready(120)
        obj = site.completed("Rollback", name, 300)
        assert obj["status"]["attempt"] == 2
        assert "ClaimNeeded" in [e["reason"] for e in cluster.objects("Event", site.namespace)]
        assert marker(site) == 0
        holds_all_promises(site)
