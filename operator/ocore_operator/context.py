"""The shared services that every reconcile uses: built once in main.py, passed down.

A kind's own memory belongs to the kind (``engine/kinds.py`` creates it). What belongs to the engine is named here by a
protocol, so that no kind imports the engine.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.jobs.observing.pod_changes import PodChanges
from ocore_operator.jobs.reporting.log import Followers
from ocore_operator.jobs.reporting.progress import ProgressWriter
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.client import Kube
from ocore_operator.kube.events import Recorder
from ocore_operator.kube.resources import Key, Object
from ocore_operator.probe_requests import ProbeRequests
from ocore_operator.settings import Settings


class Queue(Protocol):
    """The part of the work queue that a reconcile uses."""

    def add(self, key: Key) -> None:
        """Reconciles the object as soon as a worker is free."""

    def add_after(self, key: Key, seconds: float) -> None:
        """Reconciles the object in that many seconds, or earlier where that is set already."""


class Metrics(Protocol):
    """The part of the metrics that a reconcile uses."""

    def ended(self, key: Key, reason: str, seconds: float | None) -> None:
        """Counts an operation that became terminal."""


class Slots(Protocol):
    """The slots of Jobs that run at once. They use the Context themselves (``jobs/slots/slots.py``)."""

    def set_store(self, namespace: str, name: str, limit: int) -> None:
        """Sets the limit of a store."""

    def slot(self, ctx: "Context", job: Object, since: str) -> AbstractAsyncContextManager[Callable[[Object], None]]:
        """Reserves a slot while the caller creates the Job, which it reports. Raises Waiting."""

    def changed(self, job: Object, *, deleted: bool) -> None:
        """An event of the watch about a Job of an object that the operator knows, or about any Job that was deleted."""

    def waiting(self) -> int:
        """Number of Jobs that wait for a slot."""

    def waiters(self) -> tuple[Key, ...]:
        """The owners of waiting Jobs."""


@dataclass(frozen=True)
class Context:
    """The operator's parts."""

    settings: Settings
    kube: Kube
    queue: Queue
    catalog: Catalog
    remembered: Remembered
    slots: Slots
    followers: Followers
    pod_changes: PodChanges
    progress: ProgressWriter
    events: Recorder
    metrics: Metrics
    probes: ProbeRequests
    now: Callable[[], datetime]
