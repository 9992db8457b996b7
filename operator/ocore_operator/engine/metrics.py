"""The metrics of /metrics. Gauges are computed from the catalog when they are scraped; docs/metrics.md lists all
names."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as PromCounter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ocore_crds import conditions as c
from ocore_operator import clock
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.engine.unreadable import NAMED
from ocore_operator.entries.environments import EnvironmentEntry
from ocore_operator.entries.operations import environment_of
from ocore_operator.entries.policies import PolicyEntry, PolicyFacts
from ocore_operator.entries.rollbacks import RollbackEntry
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.entries.stores import StoreEntry
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import KIND_BY_NAME, Key
from ocore_operator.policy.due import Due, due, of_tests

#: Seconds: from the smallest environment to a whole night.
BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800)


#: Seconds that something may have waited in this process.
SHORT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: Labels of most families.
OF_ENVIRONMENT, OF_NAME = ("namespace", "environment"), ("namespace", "name")
#: Seconds between two measurements of the event loop's lag.
LAG_PAUSE = 0.1


class Metrics:
    """The registry, and what is counted when it happens."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._ended = PromCounter(
            "ocore_operations",
            "Snapshots and Rollbacks that became terminal; reason is empty where they are Complete.",
            ("kind", "namespace", "reason"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ocore_operation_duration_seconds",
            "Seconds from startedAt to completedAt.",
            ("kind", "result"),
            buckets=BUCKETS,
            registry=self.registry,
        )

        self._queued = Histogram(
            "ocore_queue_seconds",
            "Seconds that an object was queued before its reconcile; urgent: a Rollback under way, or an application is"
            " stopped.",
            ("urgent",),
            buckets=SHORT_BUCKETS,
            registry=self.registry,
        )
        self._lag = Histogram(
            "ocore_event_loop_lag_seconds",
            "Seconds by which the event loop woke up too late, measured ten times a second.",
            buckets=SHORT_BUCKETS,
            registry=self.registry,
        )

    def waited(self, urgent: bool, seconds: float) -> None:
        """Counts a reconcile: for how long its object was queued."""
        self._queued.labels(str(urgent).lower()).observe(seconds)

    async def measure_lag(self) -> None:
        """Measures the event loop's lag until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PAUSE
            await asyncio.sleep(LAG_PAUSE)
            self._lag.observe(max(loop.time() - due, 0))

    def ended(self, key: Key, reason: str, seconds: float | None) -> None:
        """Counts an operation that became terminal. `reason` empty: Complete. `seconds` None: it never started."""
        self._ended.labels(key.kind, key.namespace, reason).inc()
        if seconds is not None:
            self._seconds.labels(key.kind, "Failed" if reason else "Complete").observe(seconds)


def _families(labels: tuple[str, ...], **texts: str) -> list[GaugeMetricFamily]:
    """A family for each name."""
    return [GaugeMetricFamily(name, text, labels=labels) for name, text in texts.items()]


def _seconds(time: str) -> float:
    """Seconds since the epoch; 0 for an empty text."""
    return clock.parse(time).timestamp() if time else 0.0


@dataclass
class _Snapshots:
    """Of one environment. Times as in the statuses, which sort as texts; empty: there is none."""

    success: str = ""
    failure: str = ""
    verified: str = ""
    unverified: str = ""
    restored: str = ""  # when a test restore succeeded
    #: Since when the oldest remote copy is wanted that is not complete.
    uncopied: str = ""
    copies: Counter[str] = field(default_factory=Counter)
    complete: int = 0
    stored: int = 0
    #: Stored bytes of the filestore, by mode.
    files: Counter[str] = field(default_factory=Counter)

    def add(self, e: SnapshotEntry) -> None:
        """Counts one Snapshot."""
        if e.phase == "Failed":
            self.failure = max(self.failure, e.completed)
        if e.phase != "Complete":
            return
        self.complete += 1
        self.stored += e.stored_bytes
        if e.filestore_bytes:
            self.files["Differential" if e.differential else "Full"] += e.filestore_bytes
        if e.good:
            self.success = max(self.success, e.completed)
            self.verified = max(self.verified, e.completed if e.verified == "True" else "")
        self.restored = max(self.restored, e.proved_at)
        if e.remote is not None:
            self.copies[e.remote.state] += 1
            if e.remote.state != "Completed" and e.remote.requested:
                self.uncopied = min(self.uncopied or e.remote.requested, e.remote.requested)
        if e.verified not in ("True", "False") and e.verify_full and e.completed:
            self.unverified = min(self.unverified or e.completed, e.completed)


class FromCatalog(Collector):
    """Gauges over all known objects. May be collected in any thread."""

    def __init__(
        self,
        catalog: Catalog,
        queue: WorkQueue,
        waiting_jobs: Callable[[], int],
        leader: Callable[[], bool],
        readable: Callable[[], Iterable[tuple[str, bool]]],
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """`readable`: each watched namespace, and whether it can be read."""
        self._catalog = catalog
        self._queue = queue
        self._waiting_jobs = waiting_jobs
        self._leader = leader
        self._readable = readable
        self._now = now
        self._due: dict[Key, Due] = {}
        self._tests_due: dict[Key, Due] = {}

    def collect(self) -> Iterable[Metric]:
        """All families; of a standby only what it says of itself: each object counts once."""
        if self._leader():
            yield self._phases()
            yield from self._unreadable()
            yield from self._snapshots()
            yield from self._rollbacks()
            yield from self._policies()
            yield from self._environments()
            yield from self._stores()
        yield self._namespaces()
        yield from self._queue_state()

    def _phases(self) -> Metric:
        family = GaugeMetricFamily(
            "ocore_resources", "Objects by kind, namespace and phase.", labels=("kind", "namespace", "phase")
        )
        counts = Counter(
            (e.key.kind, e.key.namespace, e.counted_as) for kind in KIND_BY_NAME for e in self._catalog.listed(kind)
        )
        for labels, count in sorted(counts.items()):
            family.add_metric(labels, count)
        return family

    def _unreadable(self) -> Iterable[Metric]:
        """Objects that the operator skips: a count of all, and the names of some, because a tenant can create
        thousands."""
        count = GaugeMetricFamily(
            "ocore_unreadable_objects",
            "Objects that the operator skips because it cannot read a value in them.",
            labels=("kind", "namespace"),
        )
        named = GaugeMetricFamily(
            "ocore_unreadable_object",
            f"The same by name, at most {NAMED} of them; the reason is in the condition Stalled.",
            labels=("kind", "namespace", "name"),
        )
        found = sorted(e.key for kind in KIND_BY_NAME for e in self._catalog.listed(kind) if e.unreadable)
        for labels, number in Counter((key.kind, key.namespace) for key in found).items():
            count.add_metric(labels, number)
        for key in found[:NAMED]:
            named.add_metric((key.kind, key.namespace, key.name), 1)
        yield from (count, named)

    def _snapshots(self) -> Iterable[Metric]:
        last, failure, verified, unverified, uncopied, stored, restored = _families(
            OF_ENVIRONMENT,
            ocore_snapshot_last_success_timestamp_seconds="When the newest Complete Snapshot of an Environment was"
            " completed, safety snapshots apart, in seconds since the epoch; 0: there is none.",
            ocore_snapshot_last_failure_timestamp_seconds="When the newest Failed Snapshot of an Environment ended, in"
            " seconds since the epoch; absent: there is none.",
            ocore_snapshot_last_verified_timestamp_seconds="When the newest Verified Snapshot of an Environment was"
            " completed, safety snapshots apart, in seconds since the epoch; absent: there is none.",
            ocore_snapshot_unverified_since_timestamp_seconds="When the oldest Complete Snapshot was completed that"
            " has spec.verify Full and was not read back; absent: there is none.",
            ocore_snapshot_remote_copy_wanted_since_timestamp_seconds="Since when the oldest remote copy of an"
            " Environment's Snapshots is wanted that is not complete, in seconds since the epoch; absent: there is"
            " none.",
            ocore_snapshot_stored_bytes="Bytes in the store that the Complete Snapshots of an Environment use.",
            ocore_restore_test_last_success_timestamp_seconds="When the newest successful test restore of a Snapshot"
            " of an Environment ended, safety snapshots apart, in seconds since the epoch; 0: there was none.",
        )
        (copies,) = _families(
            (*OF_ENVIRONMENT, "state"),
            ocore_snapshot_remote_copies="Remote copies of an Environment's Snapshots by state: Pending, Copying,"
            " Completed, Failed.",
        )
        (files,) = _families(
            (*OF_ENVIRONMENT, "mode"),
            ocore_snapshot_filestore_stored_bytes="Bytes in the store that the filestores of an Environment's Complete"
            " Snapshots use, by what they store: Full, Differential.",
        )
        found = {(e.key.namespace, e.key.name): _Snapshots() for e in self._catalog.listed(EnvironmentEntry)}
        for policy in self._catalog.listed(PolicyEntry):
            # The Snapshot that was tested may be deleted since.
            if policy.policy.last_test and (policy.key.namespace, policy.key.name) in found:
                found[policy.key.namespace, policy.key.name].restored = policy.policy.last_test
        for e in self._catalog.listed(SnapshotEntry):
            found.setdefault((e.key.namespace, e.environment), _Snapshots()).add(e)
        # Most environments have none of these: what is absent makes a scrape of a thousand environments shorter.
        rare = ((failure, "failure"), (verified, "verified"), (unverified, "unverified"), (uncopied, "uncopied"))
        for labels, snapshots in sorted(found.items()):
            last.add_metric(labels, _seconds(snapshots.success))
            restored.add_metric(labels, _seconds(snapshots.restored))
            for family, name in rare:
                if getattr(snapshots, name):
                    family.add_metric(labels, _seconds(getattr(snapshots, name)))
            if snapshots.complete:
                stored.add_metric(labels, snapshots.stored)
            for state, count in sorted(snapshots.copies.items()):
                copies.add_metric((*labels, state), count)
            for mode, size in sorted(snapshots.files.items()):
                files.add_metric((*labels, mode), size)
        yield from (last, failure, verified, unverified, uncopied, copies, stored, files, restored)

    def _stores(self) -> Iterable[Metric]:
        """What a sweep has found in a store, and what an import has brought back from it."""
        orphans, size, imported, skipped = _families(
            ("namespace", "store"),
            ocore_store_orphans="Objects in the store of a SnapshotStore that no manifest names, by its last sweep;"
            " absent: it was not swept.",
            ocore_store_orphan_bytes="Bytes of these objects.",
            ocore_store_imported_snapshots="Snapshots that were imported from a SnapshotStore and exist; absent: there"
            " is none.",
            ocore_store_import_skipped="Objects of a store that the last import from its SnapshotStore could not bring"
            " back; absent: none.",
        )
        for e in sorted(self._catalog.listed(StoreEntry), key=lambda e: e.key):
            if e.skipped:
                skipped.add_metric((e.key.namespace, e.key.name), e.skipped)
            if e.orphans is not None:
                orphans.add_metric((e.key.namespace, e.key.name), e.orphans[0])
                size.add_metric((e.key.namespace, e.key.name), e.orphans[1])
        counts = Counter((e.key.namespace, e.store) for e in self._catalog.listed(SnapshotEntry) if e.imported)
        for labels, count in sorted(counts.items()):
            imported.add_metric(labels, count)
        yield from (orphans, size, imported, skipped)

    def _rollbacks(self) -> Iterable[Metric]:
        families = {
            phase: GaugeMetricFamily(
                f"ocore_rollback_last_{word}_timestamp_seconds",
                f"When the newest {phase} Rollback of an Environment ended, in seconds since the epoch; absent: there"
                " is none.",
                labels=("namespace", "environment"),
            )
            for phase, word in (("Complete", "success"), ("Failed", "failure"))
        }
        newest: dict[tuple[str, tuple[str, str]], str] = {}
        for e in self._catalog.listed(RollbackEntry):
            if e.phase in families and e.completed:
                place = e.phase, (e.key.namespace, environment_of(self._catalog, e))
                newest[place] = max(newest.get(place, ""), e.completed)
        for (phase, labels), completed in sorted(newest.items()):
            families[phase].add_metric(labels, _seconds(completed))
        yield from families.values()

    def _policies(self) -> Iterable[Metric]:
        """A SnapshotPolicy's row in the catalog; 1 where the statement is true."""
        suspended, pins, scheduled, since, kept, pinned = _families(
            OF_NAME,
            ocore_policy_suspended="1 while spec.suspend of a SnapshotPolicy is true.",
            ocore_policy_pin_limit_exceeded="1 while more Snapshots are pinned than a SnapshotPolicy allows, or the"
            " default limit of an Environment without one.",
            ocore_policy_scheduled="1 where a SnapshotPolicy schedules Snapshots and is not suspended.",
            ocore_policy_suspended_since_timestamp_seconds="Since when a SnapshotPolicy is suspended, in seconds since"
            " the epoch; absent: it is not.",
            ocore_policy_kept_snapshots="Complete Snapshots with spec.retention Policy.",
            ocore_policy_pinned_snapshots="Pinned Snapshots of the environment.",
        )
        success_due, test_due, test_failed = _families(
            OF_ENVIRONMENT,
            ocore_policy_success_due_timestamp_seconds="Begin of the newest slot whose spec.timeoutSeconds have"
            " passed: an older success is too old. Absent: no slot is due.",
            ocore_policy_restore_test_due_timestamp_seconds="Begin of the newest slot of verify.schedule whose"
            " timeoutSeconds have passed: an older successful test restore is too old. Absent: no slot is due.",
            ocore_policy_restore_test_failed="1 where the newest scheduled test restore failed; absent where none is"
            " scheduled.",
        )
        for e in sorted(self._catalog.listed(PolicyEntry), key=lambda e: e.key):
            labels = (e.key.namespace, e.key.name)
            suspended.add_metric(labels, float(e.phase == "Suspended"))
            pins.add_metric(labels, float(e.ready_reason == c.PIN_LIMIT_EXCEEDED))
            scheduled.add_metric(labels, float(e.scheduled))
            kept.add_metric(labels, e.policy.kept)
            pinned.add_metric(labels, e.policy.pinned)
            if e.phase == "Suspended" and e.policy.scheduled_from:
                since.add_metric(labels, _seconds(e.policy.scheduled_from))
            if e.policy.test_schedule:
                test_failed.add_metric(labels, float(e.policy.last_test_failed))
        self._due = self._dues(self._due, lambda facts: facts)
        self._tests_due = self._dues(self._tests_due, of_tests)
        for family, dues in ((success_due, self._due), (test_due, self._tests_due)):
            for key, found in dues.items():
                if found.begin is not None:
                    family.add_metric((key.namespace, key.name), found.begin.timestamp())
        for owner in sorted(self._catalog.listed(EnvironmentEntry), key=lambda e: e.key):
            has_policy = self._catalog.find(PolicyEntry, owner.key.namespace, owner.key.name) is not None
            if owner.pins is not None and not has_policy:
                pins.add_metric((owner.key.namespace, owner.key.name), float(owner.pins[0] > owner.pins[1]))
        yield from (suspended, pins, scheduled, since, kept, pinned, success_due, test_due, test_failed)

    def _dues(self, known: dict[Key, Due], facts_of: Callable[[PolicyFacts], PolicyFacts]) -> dict[Key, Due]:
        """Policy → its newest slot that is due. Without an Environment no slot counts."""
        now, found = self._now(), {}
        for e in sorted(self._catalog.listed(PolicyEntry), key=lambda e: e.key):
            environment = self._catalog.find(EnvironmentEntry, e.key.namespace, e.key.name)
            if environment is None:
                continue
            old, facts = known.get(e.key), facts_of(e.policy)
            if not facts.schedule:
                continue
            holds = old is not None and old.holds(facts, environment.id, now)
            found[e.key] = old if old is not None and holds else due(facts, environment.id, now)
        return found

    def _environments(self) -> Iterable[Metric]:
        ready = GaugeMetricFamily(
            "ocore_ready",
            "1 where the condition Ready is True, of Environments, SnapshotStores and SnapshotPolicies.",
            labels=("kind", "namespace", "name"),
        )
        (rollback,) = _families(
            OF_NAME, ocore_environment_rollback_ready="1 where the condition RollbackReady is True."
        )
        (created,) = _families(
            OF_ENVIRONMENT,
            ocore_environment_created_timestamp_seconds="When an Environment was created, in seconds since the epoch.",
        )
        environments = sorted(self._catalog.listed(EnvironmentEntry), key=lambda e: e.key)
        every: list[EnvironmentEntry | StoreEntry | PolicyEntry] = [
            *environments,
            *sorted(self._catalog.listed(StoreEntry), key=lambda e: e.key),
            *sorted(self._catalog.listed(PolicyEntry), key=lambda e: e.key),
        ]
        for one in every:
            ready.add_metric((one.key.kind, one.key.namespace, one.key.name), float(one.ready == "True"))
        for e in environments:
            rollback.add_metric((e.key.namespace, e.key.name), float(e.rollback_ready == "True"))
            created.add_metric((e.key.namespace, e.key.name), _seconds(e.created))
        yield from (ready, rollback, created)

    def _namespaces(self) -> Metric:
        family = GaugeMetricFamily(
            "ocore_namespace_readable",
            "1 where the watched namespace can be listed and watched; empty: the whole cluster.",
            labels=("namespace",),
        )
        for namespace, readable in self._readable():
            family.add_metric((namespace,), float(readable))
        return family

    def _queue_state(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("ocore_queue_length", "Objects that wait for a worker.", value=len(self._queue))
        yield GaugeMetricFamily(
            "ocore_jobs_waiting", "Jobs that wait because the limit is reached.", value=self._waiting_jobs()
        )
        yield GaugeMetricFamily("ocore_leader", "1 while this process holds the Lease.", value=float(self._leader()))
        statistics = self._queue.statistics
        for name, text, value in (
            ("ocore_reconciles", "Reconciles of objects.", statistics.reconciles),
            ("ocore_reconcile_errors", "Reconciles that failed and are retried.", statistics.errors),
            (
                "ocore_reconcile_conflicts",
                "Reconciles that met a concurrent writer and read again.",
                statistics.conflicts,
            ),
            ("ocore_reconcile_seconds", "Seconds that all reconciles took.", statistics.seconds),
        ):
            yield CounterMetricFamily(name, text, value=value)
