"""What every reconcile needs: built once in main.py, handed down."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from ocore_operator.rollback.memory import Memories

if TYPE_CHECKING:
    from ocore_operator.engine.metrics import Metrics
    from ocore_operator.engine.queue import WorkQueue
    from ocore_operator.jobs.limits import Limits
    from ocore_operator.jobs.log import Followers
    from ocore_operator.kube.catalog import Catalog
    from ocore_operator.kube.client import Kube
    from ocore_operator.kube.events import Recorder
    from ocore_operator.readiness.schedule import ProbeRequests
    from ocore_operator.settings import Settings


@dataclass(frozen=True)
class Context:
    """The operator's parts."""

    settings: "Settings"
    kube: "Kube"
    queue: "WorkQueue"
    catalog: "Catalog"
    limits: "Limits"
    followers: "Followers"
    events: "Recorder"
    metrics: "Metrics"
    probes: "ProbeRequests"
    now: Callable[[], datetime]
    rollbacks: Memories = field(default_factory=Memories)
