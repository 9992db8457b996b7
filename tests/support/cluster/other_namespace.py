"""A rollback into an Environment of another namespace: the store it reads, the grant, the Rollback."""

from typing import Any

from support.cluster.cluster import GROUP, is_true
from support.cluster.site import S3_READER_KEY, S3_READER_SECRET, Site, secret


def store_to_read(source: Site, target: Site) -> None:
    """A SnapshotStore `reader` in the target's namespace: the source's bucket, with keys that may only read."""
    s3 = {"bucket": source.bucket, "prefix": "test", "endpoint": source.endpoint}
    target.cluster.apply(
        secret("s3-reader", target.namespace, accessKeyId=S3_READER_KEY, secretAccessKey=S3_READER_SECRET),
        {
            "apiVersion": GROUP,
            "kind": "SnapshotStore",
            "metadata": {"name": "reader", "namespace": target.namespace},
            "spec": {"s3": {**s3, "credentialsSecretRef": {"name": "s3-reader"}}, "access": "ReadOnly"},
        },
    )
    target.cluster.wait("SnapshotStore", "reader", target.namespace, lambda o: is_true(o, "Ready"), 90, "ready")


def grant(source: Site, *namespaces: str, environment_type: str = "staging") -> None:
    """The namespaces may restore from the source's Environment."""
    granted = [{"namespace": n} for n in namespaces]
    source.cluster.apply(source.environment_object(type=environment_type, allowRollbackTo=granted))


def into(source: Site, target: Site, name: str, snapshot: str, **spec: Any) -> str:
    """Creates the Rollback in the target's namespace."""
    return target.rollback(
        name,
        snapshot,
        snapshotRef={"name": snapshot, "namespace": source.namespace},
        targetEnvironmentRef={"name": target.environment},
        **{"sourceStoreRef": {"name": "reader"}, "undoWindowSeconds": 3600, **spec},
    )
