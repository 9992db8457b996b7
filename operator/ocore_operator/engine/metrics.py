"""The metrics of /metrics. Gauges are computed from the catalog when they are scraped; docs/operator.md lists all names."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as PromCounter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ocore_crds import conditions as c
from ocore_operator import clock
from ocore_operator.engine.queue import WorkQueue
from ocore_operator.kube.catalog import Catalog, Entry
from ocore_operator.kube.resources import Key

#: Seconds: from the smallest environment to a whole night.
BUCKETS = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800)


#: Seconds that something may have waited in this process.
SHORT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
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
            "Seconds that an object was queued before its reconcile; urgent: a Rollback under way, or an application is stopped.",
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


class FromCatalog(Collector):
    """Gauges over all known objects."""

    def __init__(
        self,
        catalog: Catalog,
        queue: WorkQueue,
        waiting_jobs: Callable[[], int],
        leader: Callable[[], bool],
        readable: Callable[[], Iterable[tuple[str, bool]]],
    ) -> None:
        """`readable`: each watched namespace, and whether it can be read."""
        self._catalog = catalog
        self._queue = queue
        self._waiting_jobs = waiting_jobs
        self._leader = leader
        self._readable = readable

    def collect(self) -> Iterable[Metric]:
        """All families."""
        yield self._phases()
        yield from self._snapshots()
        yield from self._environments()
        yield self._namespaces()
        yield from self._queue_state()

    def _phases(self) -> Metric:
        family = GaugeMetricFamily(
            "ocore_resources", "Objects by kind, namespace and phase.", labels=("kind", "namespace", "phase")
        )
        counts = Counter(
            (e.key.kind, e.key.namespace, e.phase)
            for kind in ("Environment", "SnapshotStore", "Snapshot", "SnapshotPolicy", "Rollback")
            for e in self._catalog.of_kind(kind)
        )
        for labels, count in sorted(counts.items()):
            family.add_metric(labels, count)
        return family

    def _snapshots(self) -> Iterable[Metric]:
        last = GaugeMetricFamily(
            "ocore_snapshot_last_success_timestamp_seconds",
            "When the newest Complete Snapshot of an Environment was completed, in seconds since the epoch; 0: there is none.",
            labels=("namespace", "environment"),
        )
        stored = GaugeMetricFamily(
            "ocore_snapshot_stored_bytes",
            "Bytes in the store that the Complete Snapshots of an Environment use.",
            labels=("namespace", "environment"),
        )
        newest = {(e.key.namespace, e.key.name): "" for e in self._catalog.of_kind("Environment")}
        total: dict[tuple[str, str], int] = {}
        for e in self._catalog.of_kind("Snapshot"):
            if e.phase != "Complete":
                continue
            labels = (e.key.namespace, e.environment)
            total[labels] = total.get(labels, 0) + e.stored_bytes
            if e.completed:
                newest[labels] = max(
                    newest.get(labels, ""), e.completed
                )  # RFC 3339 in UTC: the order of the text is that of time
        for labels, completed in sorted(newest.items()):
            last.add_metric(labels, clock.parse(completed).timestamp() if completed else 0.0)
        for labels, count in sorted(total.items()):
            stored.add_metric(labels, count)
        yield last
        yield stored
        yield from self._policies()

    def _policies(self) -> Iterable[Metric]:
        """A SnapshotPolicy's row in the catalog; 1 where the statement is true."""
        families = {
            "suspended": GaugeMetricFamily(
                "ocore_policy_suspended",
                "1 while spec.suspend of a SnapshotPolicy is true.",
                labels=("namespace", "name"),
            ),
            "pins": GaugeMetricFamily(
                "ocore_policy_pin_limit_exceeded",
                "1 while more Snapshots are pinned than a SnapshotPolicy allows.",
                labels=("namespace", "name"),
            ),
            "scheduled": GaugeMetricFamily(
                "ocore_policy_scheduled",
                "1 where a SnapshotPolicy schedules Snapshots and is not suspended.",
                labels=("namespace", "name"),
            ),
        }
        for e in sorted(self._catalog.of_kind("SnapshotPolicy"), key=lambda e: e.key):
            labels = (e.key.namespace, e.key.name)
            families["suspended"].add_metric(labels, float(e.phase == "Suspended"))
            families["pins"].add_metric(labels, float(e.ready_reason == c.PIN_LIMIT_EXCEEDED))
            families["scheduled"].add_metric(labels, float(e.scheduled))
        yield from families.values()

    def _environments(self) -> Iterable[Metric]:
        ready = GaugeMetricFamily(
            "ocore_ready",
            "1 where the condition Ready is True, of Environments and SnapshotStores.",
            labels=("kind", "namespace", "name"),
        )
        rollback = GaugeMetricFamily(
            "ocore_environment_rollback_ready",
            "1 where the condition RollbackReady is True.",
            labels=("namespace", "name"),
        )

        def entries(kind: str) -> list[Entry]:
            return sorted(self._catalog.of_kind(kind), key=lambda e: e.key)

        for kind in ("Environment", "SnapshotStore"):
            for e in entries(kind):
                ready.add_metric((kind, e.key.namespace, e.key.name), float(e.ready == "True"))
        for e in entries("Environment"):
            rollback.add_metric((e.key.namespace, e.key.name), float(e.rollback_ready == "True"))
        yield ready
        yield rollback

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
        ):
            yield CounterMetricFamily(name, text, value=value)
