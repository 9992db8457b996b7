"""Metrics: what /metrics shows for the objects of the catalog."""

import asyncio
import time

from prometheus_client import CollectorRegistry

from ocore_operator.engine.metrics import FromCatalog, Metrics
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Key
from support.operator.objects import Object, at, environment_object, obj, snapshot_object


def registry(*objects: Object) -> CollectorRegistry:
    catalog = Catalog()
    for each in objects:
        catalog.put(each["kind"], each)
    found = CollectorRegistry()
    queue = WorkQueue(workers=1, timeout=1)
    found.register(FromCatalog(catalog, queue, lambda: 0, lambda: True, lambda: [("", True)]))
    return found


def policy(reason: str, phase: str, following: str | None) -> Object:
    ready = {"type": "Ready", "status": "True", "reason": reason, "lastTransitionTime": at(0)}
    status = {"phase": phase, "conditions": [ready], "nextScheduleTime": following}
    return obj("SnapshotPolicy", "shop", {"environmentRef": {"name": "shop"}}, status)


def test_an_environment_that_never_had_a_success_shows_0() -> None:
    name = "ocore_snapshot_last_success_timestamp_seconds"
    labels = {"namespace": "shop", "environment": "shop"}
    assert registry(environment_object()).get_sample_value(name, labels) == 0
    done = snapshot_object(status={"phase": "Complete", "completedAt": "2026-03-01T12:00:00Z"}, uid="u", name="x")
    assert registry(environment_object(), done).get_sample_value(name, labels) == 1772366400


def test_operations_are_counted_by_namespace() -> None:
    metrics = Metrics()
    metrics.ended(Key("Snapshot", "shop", "a"), "", 3.0)
    metrics.ended(Key("Snapshot", "other", "b"), "DumpFailed", None)

    def total(namespace: str, reason: str) -> float | None:
        labels = {"kind": "Snapshot", "namespace": namespace, "reason": reason}
        return metrics.registry.get_sample_value("ocore_operations_total", labels)

    assert (total("shop", ""), total("other", "DumpFailed"), total("other", "")) == (1, 1, None)


def test_what_a_policy_does() -> None:
    def values(*found: Object) -> tuple[float | None, ...]:
        labels = {"namespace": "shop", "name": "shop"}
        names = ("ocore_policy_scheduled", "ocore_policy_suspended", "ocore_policy_pin_limit_exceeded")
        return tuple(registry(*found).get_sample_value(n, labels) for n in names)

    assert values(policy("Scheduled", "Active", at(60))) == (1, 0, 0)
    assert values(policy("Suspended", "Suspended", None)) == (0, 1, 0)
    assert values(policy("PinLimitExceeded", "Active", at(60))) == (1, 0, 1)
    assert values() == (None, None, None)


def test_a_blocked_event_loop_shows() -> None:
    metrics = Metrics()

    async def main() -> None:
        task = asyncio.create_task(metrics.measure_lag())
        await asyncio.sleep(0.05)
        time.sleep(0.3)  # noqa: ASYNC251 - the fault
        await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(main())

    def slower(seconds: str) -> float:
        count = metrics.registry.get_sample_value("ocore_event_loop_lag_seconds_count") or 0
        return count - (metrics.registry.get_sample_value("ocore_event_loop_lag_seconds_bucket", {"le": seconds}) or 0)

    assert slower("0.1") == 1
