"""The cluster is lost, the store is there: docs/recovery.md, "Loss of the cluster: restore in another one"."""

import uuid
from pathlib import Path

from support.cluster.cluster import Cluster
from support.cluster.procedures import rehearsed
from support.cluster.promises import marker, set_marker, stored_keys
from support.cluster.site import Servers, make_site

ENVIRONMENT_ID = str(uuid.uuid4())


def test_row_53_snapshots_come_back_after_the_loss_of_the_cluster(
    cluster: Cluster, servers: Servers, tmp_path: Path
) -> None:
    with make_site(cluster, servers, environment={"id": ENVIRONMENT_ID}) as old:
        old.environment_ready()
        set_marker(old, 5)
        old.snapshot("before", pin={"label": "audit"}, retention="Policy", deletionPolicy="Delete")
        before = old.completed("Snapshot", "before")
        old.snapshot("later", deletionPolicy="Delete")
        later = old.completed("Snapshot", "later")
        keys = stored_keys(old)
        cluster.delete("Namespace", old.namespace)
        cluster.wait_gone("Namespace", old.namespace, None, 180)
        assert stored_keys(old) == keys, "the loss of a namespace erases nothing"

        variables = {"BUCKET": old.bucket, "PREFIX": "test", "ENDPOINT": old.endpoint, "CREDENTIALS": "s3"}
        # The first step: the Environment.
        with (
            make_site(cluster, servers, environment={"id": ENVIRONMENT_ID, "storeRef": {"name": "main"}}) as new,
            rehearsed(
                cluster,
                new.namespace,
                "Loss of the cluster: restore in another one",
                tmp_path,
                ENVIRONMENT=new.environment,
                **variables,
            ) as page,
        ):
            page.step(2)
            page.step(3)
            for name, was in (("before", before), ("later", later)):
                found = new.completed("Snapshot", name)
                for field in ("id", "manifestSha256", "consistentAt"):
                    assert found["status"][field] == was["status"][field], field
                assert (found["spec"]["retention"], found["spec"]["deletionPolicy"]) == ("Keep", "Retain")

            # A drill deletes nothing, whatever people ask for.
            cluster.patch("Snapshot", "later", new.namespace, {"spec": {"deletionPolicy": "Delete"}})
            cluster.delete("Snapshot", "later", new.namespace)
            cluster.wait_gone("Snapshot", "later", new.namespace, 60)
            assert stored_keys(old) == keys

            new.environment_ready()
            assert marker(new) != 5
            page.step(4)
            assert marker(new) == 5

            page.step(5)
            taken = cluster.wait(
                "Snapshot", "before", new.namespace, lambda o: o["status"]["imported"]["takenOver"], 60, "taken over"
            )
            assert taken["spec"]["pin"] == {"label": "audit"}
            assert (taken["spec"]["retention"], taken["spec"]["deletionPolicy"]) == ("Policy", "Delete")
