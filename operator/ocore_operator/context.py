"""What every reconcile needs: built once in main.py, handed down."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Recorder
    from .kube import Kube
    from .limits import Limits
    from .progress import Followers
    from .queue import WorkQueue
    from .settings import Settings


@dataclass(frozen=True)
class Context:
    """The operator's parts."""

    settings: "Settings"
    kube: "Kube"
    queue: "WorkQueue"
    limits: "Limits"
    followers: "Followers"
    events: "Recorder"
    now: Callable[[], datetime]
