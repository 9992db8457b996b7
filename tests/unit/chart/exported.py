"""The metrics of the operator's own registry, with one object of each kind, so that every family has a sample."""

from functools import cache

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ocore_operator.engine.metrics import FromCatalog, Metrics
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.kube.resources import Key
from support.operator.catalogs import new_catalog
from support.operator.objects import at, environment_object, moment, obj, snapshot_object


@cache
def exported() -> dict[str, frozenset[str]]:
    """Name of each sample → its labels."""
    return {
        sample.name: frozenset(sample.labels)
        for family in text_string_to_metric_families(exposition())
        for sample in family.samples
    }


@cache
def exposition() -> str:
    """What /metrics answers."""
    metrics, catalog = Metrics(), new_catalog()
    policy = {"environmentRef": {"name": "shop"}, "schedule": ["0 * * * *"], "verify": {"schedule": ["0 * * * *"]}}
    rollback = {"snapshotRef": {"name": "before"}}
    remote = {"state": "Pending", "storeName": "far", "requestedAt": at(0)}
    verified = [{"type": t, "status": "True", "reason": "Succeeded"} for t in ("Verified", "RestoreTested")]
    tested = {"answered": [], "testedAt": at(0)}
    imported = {"imported": {"storeName": "store", "at": at(0)}, "sizes": {"filestoreStoredBytes": 1}}
    for number, each in enumerate((
        environment_object(),
        obj("SnapshotStore", "store", {}, {"orphans": {"objects": 1, "bytes": 1}, "import": {"skipped": 1}}),
        obj("Snapshot", "unreadable", {"environmentRef": 1}),
        snapshot_object({"verify": "Full"}, {"phase": "Complete", "completedAt": at(0), "remote": remote}, name="a"),
        snapshot_object({}, {"phase": "Complete", "completedAt": at(0), "conditions": verified, "restoreTest": tested},
                        name="b"),
        snapshot_object({}, {"phase": "Failed", "completedAt": at(0)}, name="c"),
        snapshot_object({}, {"phase": "Complete", "completedAt": at(0), "storeName": "store", **imported}, name="d"),
        obj("SnapshotPolicy", "shop", policy, {"scheduledFrom": at(0), "restoreTestsFrom": at(0)}),
        obj("SnapshotPolicy", "suspended", policy | {"suspend": True}, {"scheduledFrom": at(0), "phase": "Suspended"}),
        obj("Rollback", "one", rollback, {"phase": "Failed", "completedAt": at(0)}),
        obj("Rollback", "two", rollback, {"phase": "Complete", "completedAt": at(0)}),
    )):  # fmt: skip
        each["metadata"]["uid"] = str(number)
        catalog.put(each["kind"], each)
    queue = WorkQueue(workers=1, timeout=1)
    metrics.registry.register(
        FromCatalog(catalog, queue, lambda: 0, lambda: True, lambda: [("shop", True)], lambda: moment(86400))
    )
    metrics.ended(Key("Snapshot", "shop", "before"), "", 1.0)
    metrics.waited(False, 1.0)
    return generate_latest(metrics.registry).decode()
