"""A cache with environments of two projects, their snapshots and rollbacks."""

from ocore_api.cache import Cache
from support.api import objects as o

SNAPSHOT = o.uid_of("Snapshot/apps/s2")
STAGE = o.source(o.OTHER_ENVIRONMENT, name="stage", type_="staging")
FOREIGN = o.uid_of("foreign environment")


def healthy() -> tuple[o.Object, ...]:
    """Two environments of one project, one of another; five snapshots, four rollbacks."""
    return (
        o.environment(),
        o.environment("stage", o.OTHER_ENVIRONMENT, type_="staging"),
        o.environment("foreign", FOREIGN, o.OTHER_PROJECT, namespace="other"),
        o.complete("s1", created=1),
        o.complete("s2", {"deploymentId": o.uid_of("d"), "pin": {"label": "keep"}}, created=2),
        o.failed("s3", created=3),
        o.complete("t1", created=4, of=STAGE),
        o.complete("f1", created=5, of=o.source(FOREIGN, o.OTHER_PROJECT, "foreign"), namespace="other"),
        o.rolled_back("r1", {"snapshotRef": {"name": "s2"}}, snapshot_id=SNAPSHOT, created=11),
        o.rolled_back("r2", {"snapshotRef": {"name": "s2"}}, snapshot_id=SNAPSHOT, created=12),
        o.rollback("copy", {"snapshotRef": {"name": "s2"}, "targetEnvironmentRef": {"name": "stage"}}, created=13),
        o.rollback("preview", {"snapshotRef": {"name": "s2"}, "dryRun": True}, created=14),
    )


def filled() -> Cache:
    """With the healthy objects."""
    cache = Cache()
    for each in healthy():
        cache.store.put(each["kind"], each)
    return cache
