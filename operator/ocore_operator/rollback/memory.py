"""What the operator remembers of a rollback between two looks. Nothing here is needed: after a restart it is as if it had just come."""

from dataclasses import dataclass, field
from datetime import datetime

from ocore_operator.kube.resources import Key
from ocore_operator.rollback.transitions import WATCH_GAP_SECONDS


@dataclass
class Memory:
    """Of one rollback."""

    watched_since: datetime | None = None
    last_look: datetime | None = None
    #: Its Jobs cannot be made since then.
    refused_since: datetime | None = None
    refusal_reason: str = ""
    refusal: str = ""
    #: resourceVersion at which nothing was owed, and when something will be.
    settled_version: str = ""
    settled_until: datetime | None = None

    def look(self, now: datetime) -> None:
        """Somebody looks: after a gap the time begins anew."""
        gap = self.last_look is None or (now - self.last_look).total_seconds() > WATCH_GAP_SECONDS
        if gap or self.watched_since is None:
            self.watched_since = now
        self.last_look = now

    def refused(self, reason: str, message: str, now: datetime) -> None:
        """A Job could not be made."""
        self.refused_since = self.refused_since or now
        self.refusal_reason, self.refusal = reason, message

    def accepted(self) -> None:
        """A Job was made."""
        self.refused_since, self.refusal_reason, self.refusal = None, "", ""

    def settle(self, version: str, until: datetime | None) -> None:
        """Nothing is owed as long as the object stays as it is; `until` then something is."""
        self.settled_version, self.settled_until = version, until

    def settled(self, version: str, now: datetime) -> bool:
        """Whether a look at this version would find nothing to do."""
        return version == self.settled_version and (self.settled_until is None or now < self.settled_until)


@dataclass
class Memories:
    """Of all of them."""

    _by_key: dict[tuple[Key, str], Memory] = field(default_factory=dict)

    def of(self, key: Key, uid: str) -> Memory:
        """The memory of the object of that uid."""
        return self._by_key.setdefault((key, uid), Memory())

    def forget(self, key: Key) -> None:
        """All objects of that name are gone."""
        for known in [k for k in self._by_key if k[0] == key]:
            del self._by_key[known]
