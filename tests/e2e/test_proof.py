"""RollbackReady is proven by a restore of the schema, in a Job of its own."""

from support.cluster.cluster import Cluster, Object, condition, wait_for
from support.cluster.promises import fresh
from support.cluster.site import Sites


def test_row_30_rollback_ready_is_proven_by_a_restore(cluster: Cluster, sites: Sites) -> None:
    """The condition names when, the status remembers the schema, and nothing is left beside the live database."""

    def proven(obj: Object) -> bool:
        return (obj["status"].get("proof") or {}).get("result") is not None

    site = sites.of(store="Claim")
    obj = cluster.wait("Environment", site.environment, site.namespace, proven, 120, "proven")
    proof, ready = obj["status"]["proof"], condition(obj, "RollbackReady")
    assert proof["result"] == "Succeeded", proof
    assert proof["schemaFingerprint"] == obj["status"]["probe"]["schemaFingerprint"]
    assert len(proof["schemaFingerprint"]) == 64
    assert ready is not None
    assert ready["status"] == "True"
    assert f"A schema-only restore proved it at {proof['time']}." in ready["message"]
    assert site.databases(scratch=True) == [site.database]
    wait_for("its Job is removed", lambda: not cluster.objects("Job", site.namespace, "ocore.dev/command=prove"), 60)

    # Data changes, and a probe: the schema is the same, so there is no other proof.
    site.load(7)
    site.completed("Rollback", site.rollback(fresh("back"), "base", undoWindowSeconds=0))
    now = cluster.get("Environment", site.environment, site.namespace)
    assert now is not None
    assert now["status"]["probe"]["time"] > obj["status"]["probe"]["time"]
    assert now["status"]["probe"]["schemaFingerprint"] == proof["schemaFingerprint"]
    assert now["status"]["proof"] == proof
