"""Metrics: what /metrics shows for the objects of the catalog."""

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ocore_operator.engine.metrics import FromCatalog, Metrics
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Key
from ocore_operator.policy import due as due_module
from support.operator.catalogs import new_catalog
from support.operator.objects import NOW, Object, at, environment_object, moment, obj, snapshot_object


def registry(*objects: Object, seconds: float = 0) -> CollectorRegistry:
    """Of these objects, so many seconds after NOW."""
    catalog = new_catalog()
    for each in objects:
        catalog.put(each["kind"], each)
    return registry_of(catalog, WorkQueue(workers=1, timeout=1), lambda: moment(seconds))


def registry_of(catalog: Catalog, queue: WorkQueue, now: Callable[[], datetime]) -> CollectorRegistry:
    found = CollectorRegistry()
    found.register(FromCatalog(catalog, queue, lambda: 0, lambda: True, lambda: [("", True)], now))
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


def test_row_143_a_safety_snapshot_is_no_success() -> None:
    """Else a rollback would end the alert on an environment without a good snapshot, with a copy of what was broken."""
    labels = {"namespace": "shop", "environment": "shop"}
    conditions = [{"type": each, "status": "True"} for each in ("Verified", "RestoreTested")]
    status: Object = {"phase": "Complete", "completedAt": "2026-03-01T12:00:00Z", "conditions": conditions}
    status["restoreTest"] = {"answered": ["by-hand"], "testedAt": "2026-03-01T12:05:00Z"}
    safety = snapshot_object({"trigger": "PreRollback"}, status=status, uid="u", name="x")
    found = registry(environment_object(), safety)
    assert found.get_sample_value("ocore_snapshot_last_success_timestamp_seconds", labels) == 0
    assert found.get_sample_value("ocore_snapshot_last_verified_timestamp_seconds", labels) is None
    assert found.get_sample_value("ocore_snapshot_unverified_since_timestamp_seconds", labels) is None
    assert found.get_sample_value("ocore_restore_test_last_success_timestamp_seconds", labels) == 0


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


def test_what_a_policy_keeps_and_since_when() -> None:
    def of(phase: str) -> CollectorRegistry:
        status = {"phase": phase, "scheduledFrom": at(-60), "pinned": 3, "kept": {"total": 12}}
        return registry(obj("SnapshotPolicy", "shop", {"environmentRef": {"name": "shop"}}, status))

    found, since = of("Suspended"), "ocore_policy_suspended_since_timestamp_seconds"
    labels = {"namespace": "shop", "name": "shop"}
    assert found.get_sample_value("ocore_policy_pinned_snapshots", labels) == 3
    assert found.get_sample_value("ocore_policy_kept_snapshots", labels) == 12
    assert found.get_sample_value(since, labels) == moment(-60).timestamp()
    assert of("Active").get_sample_value(since, labels) is None


def ended(name: str, seconds: float, phase: str = "Complete", verified: str = "Unknown", **spec: object) -> Object:
    """A terminal Snapshot that ended so many seconds after NOW."""
    conditions = [
        {"type": "Failed" if phase == "Failed" else "Complete", "status": "True", "reason": "X"},
        {"type": "Verified", "status": verified, "reason": "X"},
    ]
    status = {"phase": phase, "completedAt": at(seconds), "conditions": conditions}
    return snapshot_object(spec, status, name=name, uid=f"uid-of-{name}")


def relative(found: CollectorRegistry, name: str) -> float | None:
    """The value in seconds after NOW; 0 stays 0."""
    value = found.get_sample_value(name, {"namespace": "shop", "environment": "shop"})
    return value - NOW.timestamp() if value else value


def test_the_newest_failure_and_the_newest_verified_one() -> None:
    names = ("success", "failure", "verified")

    def values(*snapshots: Object) -> list[float | None]:
        found = registry(environment_object(), *snapshots)
        return [relative(found, f"ocore_snapshot_last_{n}_timestamp_seconds") for n in names]

    assert values() == [0, None, None]
    old = [ended("a", 10, verified="True"), ended("b", 20, verified="True"), ended("c", 30), ended("d", 5, "Failed")]
    assert values(*old) == [30, 5, 20]
    assert values(*old, ended("e", 40, "Failed")) == [30, 40, 20]
    assert values(ended("f", 50, "Corrupt", "False")) == [0, None, None], "a corrupt one is no success"
    assert values(snapshot_object(status={"phase": "Running"})) == [0, None, None]


def test_the_oldest_snapshot_that_is_to_be_read_back() -> None:
    name = "ocore_snapshot_unverified_since_timestamp_seconds"

    def value(*snapshots: Object) -> float | None:
        return relative(registry(environment_object(), *snapshots), name)

    asked = [ended("a", 10, verify="Full"), ended("b", 20, verify="Full")]
    assert value(*asked) == 10
    assert value(ended("a", 10, verified="True", verify="Full"), asked[1]) == 20
    assert value(ended("a", 10, verify="Checksums"), ended("b", 9)) is None
    assert value(ended("a", 10, "Corrupt", "False", verify="Full")) is None, "this one was read back"


def test_what_filestores_store_by_mode() -> None:
    def value(mode: str, *snapshots: Object) -> float | None:
        labels = {"namespace": "shop", "environment": "shop", "mode": mode}
        return registry(*snapshots).get_sample_value("ocore_snapshot_filestore_stored_bytes", labels)

    def sized(name: str, full: bool, phase: str = "Complete", size: int = 100) -> Object:
        status = {"phase": phase, "fullFilestore": full, "sizes": {"storedBytes": 1000, "filestoreStoredBytes": size}}
        return snapshot_object(status=status, uid=name, name=name)

    found = (sized("a", full=True), sized("b", full=False, size=3), sized("c", full=False, size=4))
    assert (value("Full", *found), value("Differential", *found)) == (100, 7)
    assert value("Full", sized("a", full=True, phase="Failed")) is None
    assert value("Differential", found[0]) is None


def test_remote_copies_by_state_and_since_when_one_is_wanted() -> None:
    def copied(name: str, state: str, requested: float, phase: str = "Complete", environment: str = "shop") -> Object:
        remote = {"state": state, "storeName": "far", "requestedAt": at(requested)}
        status = {"phase": phase, "completedAt": at(0), "remote": remote}
        return snapshot_object({"environmentRef": {"name": environment}}, status, name=name, uid=f"uid-of-{name}")

    found = registry(
        environment_object(),
        copied("a", "Completed", 10),
        copied("b", "Completed", 20),
        copied("c", "Failed", 40),
        copied("d", "Copying", 30),
        copied("e", "Copying", 5, phase="Failed"),
        copied("f", "Pending", 50, environment="other"),
        snapshot_object(status={"phase": "Complete", "completedAt": at(0)}, name="g", uid="uid-of-g"),
    )

    def values(environment: str) -> list[float | None]:
        labels = {"namespace": "shop", "environment": environment}
        states = ("Pending", "Copying", "Completed", "Failed")
        return [found.get_sample_value("ocore_snapshot_remote_copies", {**labels, "state": state}) for state in states]

    assert values("shop") == [None, 1, 2, 1], "a Failed Snapshot has no copy that counts"
    assert values("other") == [1, None, None, None]
    since = "ocore_snapshot_remote_copy_wanted_since_timestamp_seconds"
    assert relative(found, since) == 30
    assert relative(registry(environment_object(), copied("a", "Completed", 10)), since) is None


def test_orphans_and_imports_by_store() -> None:
    def store(name: str, orphans: Object | None, skipped: int = 0) -> Object:
        status: Object = {"orphans": orphans} if orphans is not None else {}
        status |= {"import": {"skipped": skipped}} if skipped else {}
        return obj("SnapshotStore", name, {"s3": {"bucket": "b"}}, status, uid=name)

    def brought(name: str, status: Object) -> Object:
        return snapshot_object(status={"storeName": "main", **status}, uid=name, name=name)

    found = registry(
        store("main", {"checkedAt": at(0), "objects": 3, "bytes": 4096}, skipped=5),
        store("clean", {"checkedAt": at(0), "objects": 0, "bytes": 0}),
        store("new", None),
        brought("a", {"imported": {"at": at(0), "stored": {}}}),
        brought("b", {"imported": {"at": at(0), "stored": {}, "takenOver": True}}),
        brought("c", {}),
    )

    def values(metric: str) -> list[float | None]:
        stores = ("main", "clean", "new")
        return [found.get_sample_value(metric, {"namespace": "shop", "store": name}) for name in stores]

    assert values("ocore_store_orphans") == [3, 0, None]
    assert values("ocore_store_orphan_bytes") == [4096, 0, None]
    assert values("ocore_store_imported_snapshots") == [2, None, None]
    assert values("ocore_store_import_skipped") == [5, None, None]


def test_the_newest_rollbacks() -> None:
    def rollback(name: str, seconds: float, phase: str) -> Object:
        spec = {"snapshotRef": {"name": "before"}}
        status = {"phase": phase, "completedAt": at(seconds), "environmentName": "shop"}
        return obj("Rollback", name, spec, status, name=name, uid=f"uid-of-{name}")

    def values(*rollbacks: Object) -> list[float | None]:
        found = registry(environment_object(), *rollbacks)
        return [relative(found, f"ocore_rollback_last_{n}_timestamp_seconds") for n in ("success", "failure")]

    assert values() == [None, None]
    assert values(rollback("a", 10, "Failed")) == [None, 10]
    assert values(rollback("a", 10, "Restoring"), rollback("b", 10, "SwitchedBack")) == [None, None]
    assert values(rollback("a", 10, "Complete"), rollback("b", 20, "Failed"), rollback("c", 5, "Failed")) == [10, 20]
    assert values(rollback("a", 10, "Failed"), rollback("b", 20, "Complete")) == [20, 10]


def test_when_an_environment_was_created_and_whether_a_policy_is_ready() -> None:
    found = registry(environment_object(creationTimestamp=at(7)), policy("Scheduled", "Active", at(60)))
    assert relative(found, "ocore_environment_created_timestamp_seconds") == 7
    labels = {"kind": "SnapshotPolicy", "namespace": "shop", "name": "shop"}
    assert found.get_sample_value("ocore_ready", labels) == 1
    assert registry(policy_with_schedule(["61 * * * *"])).get_sample_value("ocore_ready", labels) == 0


# --- when a success is due ---------------------------------------------------------------------------------------
DUE = "ocore_policy_success_due_timestamp_seconds"
HOUR = 3600.0


def policy_with_schedule(schedule: list[str], *, since: float = -86400, **spec: object) -> Object:
    """NOW is a Sunday, 12:00 UTC. The timeout is half an hour."""
    full = {"environmentRef": {"name": "shop"}, "schedule": schedule, "timeoutSeconds": 1800, **spec}
    return obj("SnapshotPolicy", "shop", full, {"scheduledFrom": at(since)})


def due_after(seconds: float, *objects: Object) -> float | None:
    return relative(registry(environment_object(), *objects, seconds=seconds), DUE)


def test_a_slot_is_due_when_its_timeout_has_passed() -> None:
    hourly = policy_with_schedule(["0 * * * *"])
    assert due_after(1799, hourly) == -HOUR
    assert due_after(1800, hourly) == 0
    assert due_after(1800, policy_with_schedule(["0 * * * *"], timeoutSeconds=7200)) == -2 * HOUR


def test_a_weekend_is_no_delay() -> None:
    """The slot of Friday stays the one that is due until the timeout of Monday's has passed."""
    workdays = policy_with_schedule(["0 2 * * 1-5"], since=-7 * 86400)
    friday, monday = -2 * 86400 - 10 * HOUR, 14 * HOUR
    assert due_after(0, workdays) == friday
    assert due_after(monday + 1799, workdays) == friday
    assert due_after(monday + 1800, workdays) == monday


def test_slots_before_the_schedule_do_not_count() -> None:
    assert due_after(1900, policy_with_schedule(["0 * * * *"], since=100)) is None
    assert due_after(HOUR + 1900, policy_with_schedule(["0 * * * *"], since=100)) == HOUR


def test_the_spread_counts() -> None:
    spread = policy_with_schedule(["0 * * * *"], spreadMinutes=60)
    offset = due_module.cron.spread(environment_object()["metadata"]["uid"], 60).total_seconds()
    assert 0 < offset < HOUR
    assert due_after(offset + 1799, spread) == offset - HOUR
    assert due_after(offset + 1800, spread) == offset


@pytest.mark.parametrize("what", ["suspended", "invalid", "no schedule", "no environment"])
def test_nothing_is_due(what: str) -> None:
    policies = {
        "suspended": policy_with_schedule(["0 * * * *"], suspend=True),
        "invalid": policy_with_schedule(["61 * * * *"]),
        "no schedule": policy_with_schedule([]),
        "no environment": policy_with_schedule(["0 * * * *"]),
    }
    objects = [policies[what], *([environment_object()] if what != "no environment" else [])]
    assert registry(*objects, seconds=1900).get_sample_value(DUE, {"namespace": "shop", "environment": "shop"}) is None


def test_cron_expressions_are_evaluated_once_for_each_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape must not evaluate the expressions of all policies again; a change of the policy is seen at once."""
    clock, calls, catalog = [0.0], [], new_catalog()
    for each in (environment_object(), policy_with_schedule(["0 * * * *"])):
        catalog.put(each["kind"], each)
    real = due_module.due
    monkeypatch.setattr("ocore_operator.engine.metrics.due", lambda *a: calls.append(1) or real(*a))
    found = registry_of(catalog, WorkQueue(workers=1, timeout=1), lambda: moment(clock[0]))
    for clock[0] in range(0, 3 * 3600, 30):
        assert relative(found, DUE) == (clock[0] - 1800) // 3600 * 3600
    assert len(calls) == 4
    catalog.put("SnapshotPolicy", policy_with_schedule(["30 * * * *"]) | {"metadata": changed()})
    assert relative(found, DUE) == 2 * HOUR - 1800
    catalog.remove(Key("SnapshotPolicy", "shop", "shop"))
    assert relative(found, DUE) is None


def changed() -> Object:
    metadata: Object = policy_with_schedule([])["metadata"] | {"resourceVersion": "101"}
    return metadata


def test_a_scrape_in_another_thread_survives_changes() -> None:
    """/metrics is collected beside the event loop, which changes the catalog all the time."""
    catalog, errors = new_catalog(), []
    for number in range(300):
        catalog.put("Snapshot", ended(f"s{number}", number))
    found = registry_of(catalog, WorkQueue(workers=1, timeout=1), lambda: NOW)

    def scrape() -> None:
        try:
            generate_latest(found)
            for _ in range(5000):
                catalog.listed("Snapshot")
        except RuntimeError as error:
            errors.append(error)

    thread, interval = threading.Thread(target=scrape), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        for number in itertools.takewhile(lambda _: thread.is_alive(), itertools.count()):
            grows = number // 100 % 2 == 0
            for namespace in ("shop", f"n{number % 50}"):
                if grows:
                    catalog.put("Snapshot", snapshot_object(name=f"x{number % 100}", namespace=namespace))
                else:
                    catalog.remove(Key("Snapshot", namespace, f"x{number % 100}"))
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert errors == []


@pytest.mark.parametrize(("pinned", "value"), [(10, 0), (11, 1)])
def test_the_default_limit_of_pins(pinned: int, value: float) -> None:
    """An environment without a policy has the policy's series, under the name that its policy would have; with one, the
    policy's alone."""
    name, labels = "ocore_policy_pin_limit_exceeded", {"namespace": "shop", "name": "shop"}
    environment = environment_object(status={"pins": {"pinned": pinned, "limit": 10}})
    assert registry(environment).get_sample_value(name, labels) == value
    both = generate_latest(registry(environment, policy("Scheduled", "Active", at(60)))).decode()
    assert [line for line in both.splitlines() if line.startswith(name)] == [
        f'{name}{{name="shop",namespace="shop"}} 0.0'
    ]
