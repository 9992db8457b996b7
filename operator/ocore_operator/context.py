"""What every reconcile needs: built once in main.py, handed down."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from .rollback_memory import Memories

if TYPE_CHECKING:
    from .catalog import Catalog
    from .events import Recorder
    from .kube import Kube
    from .limits import Limits
    from .metrics import Metrics
    from .probing import ProbeRequests
    from .progress import Followers
    from .queue import WorkQueue
    from .settings import Settings


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
