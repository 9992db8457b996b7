"""Requests for probes that begin at a time or later, and probes that a Rollback's own Job has made. Shared: a Rollback
asks and reports, the Environment's reconcile reads."""

from dataclasses import dataclass

from ocore_crds.protocol import ProbeResult
from ocore_operator.kube.resources import Key


@dataclass(frozen=True)
class OtherProbe:
    """A probe by the Job of an operation, in place of a Job of its own."""

    result: ProbeResult
    #: When its Job was created (RFC 3339), and the generation of the Environment's spec that it saw.
    began: str
    generation: int


class ProbeRequests:
    """In memory only: an operation that still waits asks, or reports, again after a restart of the operator."""

    def __init__(self) -> None:
        self._asked: dict[Key, str] = {}
        self._outdated: dict[Key, str] = {}
        self._why: dict[Key, str] = {}
        self._others: dict[Key, OtherProbe] = {}

    def ask(self, key: Key, moment: str) -> None:
        """Requests a probe that begins at `moment` (RFC 3339) or later. The caller puts the key into the queue."""
        self._asked[key] = max(moment, self._asked.get(key, ""))

    def wanted(self, key: Key) -> str:
        """Since when a probe is requested (RFC 3339); empty where none is."""
        return self._asked.get(key, "")

    def expire(self, key: Key, moment: str) -> None:
        """What a probe found that began before `moment` (RFC 3339) is out of date, and nothing waits for the next one.
        The caller puts the key into the queue."""
        self._outdated[key] = max(moment, self._outdated.get(key, ""))

    def outdated(self, key: Key) -> str:
        """Since when what was found is out of date (RFC 3339); empty where it is not."""
        return self._outdated.get(key, "")

    def report(self, key: Key, probe: OtherProbe) -> None:
        """A probe that a Job of an operation has made. The caller puts the key into the queue."""
        self._others[key] = probe

    def reported(self, key: Key) -> OtherProbe | None:
        """The last such probe; None where there was none."""
        return self._others.get(key)

    def explain(self, key: Key, why: str) -> None:
        """Why the object's probe does not run yet; empty: it runs, or is not due."""
        if why:
            self._why[key] = why
        else:
            self._why.pop(key, None)

    def why(self, key: Key) -> str:
        """Why the object's probe does not run yet; empty where that is unknown, or it runs."""
        return self._why.get(key, "")

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._others.pop(key, None)
        self._asked.pop(key, None)
        self._outdated.pop(key, None)
        self._why.pop(key, None)
