"""Metrics by route. A label is never taken from a request's path, only from the route that it matched."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

#: Seconds. The goal is 10 ms.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "ocore_api_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ocore_api_request_seconds",
            "Seconds until the answer was sent, by route and method; without streams.",
            ("route", "method"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.streams = Gauge("ocore_api_streams", "Open progress streams.", registry=self.registry)
        self.streams_dropped = Counter(
            "ocore_api_streams_dropped", "Progress streams whose client read nothing.", registry=self.registry
        )
        self._unreadable = Gauge(
            "ocore_api_unreadable_objects",
            "Objects that are not served because they cannot be read, by kind. The log names each.",
            ("kind",),
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def record(self, route: str, method: str, status: int, seconds: float, *, stream: bool) -> None:
        """Counts one request. `status` 0: the client closed the connection before the answer."""
        if method not in METHODS:
            method = "other"
        children = self._children.get((route, method, status))
        if children is None:
            children = (self._requests.labels(route, method, status), self._seconds.labels(route, method))
            self._children[route, method, status] = children
        children[0].inc()
        if not stream:
            children[1].observe(seconds)

    def text(self, unreadable: Mapping[str, int]) -> bytes:
        """All metrics in Prometheus' text format. `unreadable`: kind → number of objects that cannot be read."""
        for kind, count in unreadable.items():
            self._unreadable.labels(kind).set(count)
        return generate_latest(self.registry)
