"""What the operator remembers of a rollback between two reconciles. It can be lost: after a restart a rollback is
treated as if it were new."""

from dataclasses import dataclass, field
from datetime import datetime

from ocore_operator.kube.resources import Key
from ocore_operator.rollback.transitions import WATCH_GAP_SECONDS
from ocore_operator.workloads.quiesce import Refused


@dataclass
class Memory:
    """Of one rollback."""

    watched_since: datetime | None = None
    last_reconcile: datetime | None = None
    #: Since when no Job of it could be created.
    refused_since: datetime | None = None
    refusal_reason: str = ""
    refusal: str = ""
    #: The Job of its restore could not be started for the preflight, which a probe of its own makes then.
    probe_alone: bool = False
    #: The last refusal to scale a workload; None since one was accepted.
    scale_refused: Refused | None = None
    #: resourceVersion at which there was nothing to do, and until when.
    idle_version: str = ""
    idle_until: datetime | None = None

    def reconciled(self, now: datetime) -> None:
        """Notes a reconcile. After a longer gap `watched_since` starts again."""
        gap = self.last_reconcile is None or (now - self.last_reconcile).total_seconds() > WATCH_GAP_SECONDS
        if gap or self.watched_since is None:
            self.watched_since = now
        self.last_reconcile = now

    def refused(self, reason: str, message: str, now: datetime) -> None:
        """A Job could not be created."""
        self.refused_since = self.refused_since or now
        self.refusal_reason, self.refusal = reason, message

    def accepted(self) -> None:
        """A Job was created."""
        self.refused_since, self.refusal_reason, self.refusal = None, "", ""

    def set_idle(self, version: str, until: datetime | None) -> None:
        """There is nothing to do for the object of this resourceVersion before `until`; None: at all."""
        self.idle_version, self.idle_until = version, until

    def is_idle(self, version: str, now: datetime) -> bool:
        """Whether a reconcile of this resourceVersion would find nothing to do."""
        return version == self.idle_version and (self.idle_until is None or now < self.idle_until)


@dataclass
class Memories:
    """Of all rollbacks."""

    _by_key: dict[tuple[Key, str], Memory] = field(default_factory=dict)

    def of(self, key: Key, uid: str) -> Memory:
        """The memory of the object of that uid; a new one where there is none."""
        return self._by_key.setdefault((key, uid), Memory())

    def forget(self, key: Key) -> None:
        """Drops the memory of all objects of that name."""
        for known in [k for k in self._by_key if k[0] == key]:
            del self._by_key[known]
