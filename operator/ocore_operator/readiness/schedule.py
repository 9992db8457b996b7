"""When an Environment or a SnapshotStore is probed, and who has asked for it. Pure but for the memory of who asked."""

import hashlib
from collections.abc import Iterable
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.conditions import Condition
from ocore_operator import clock
from ocore_operator.kube.resources import Key
from ocore_operator.settings import Settings


class ProbeRequests:
    """Who wants to know how things are now. In memory: whoever waits asks again after a restart."""

    def __init__(self) -> None:
        self._asked: dict[Key, str] = {}

    def ask(self, key: Key, moment: str) -> None:
        """A probe that begins at `moment` or later is wanted. The caller puts the key into the queue."""
        self._asked[key] = max(moment, self._asked.get(key, ""))

    def wanted(self, key: Key) -> str:
        """Since when one is wanted; empty where none is."""
        return self._asked.get(key, "")

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._asked.pop(key, None)


def backoff(settings: Settings, probed: str, since: str) -> float:
    """Seconds from the last probe to the next one of what has not been well since then: as long again as it has been so, between the bounds. The
    pauses double without anything being counted, so a restart changes nothing."""
    lasted = clock.seconds_since(since, clock.parse(probed))
    return min(max(lasted, settings.probe_backoff_min), settings.probe_backoff_max)


def due_in(
    settings: Settings,
    now: datetime,
    *,
    probed: str | None,
    began: str | None,
    current: bool,
    wanted: str,
    conditions: Iterable[Condition],
    watched: Iterable[str],
) -> float:
    """Seconds until the next probe; 0 or less: now.

    `probed`, `began`: end and begin of the last one. `current`: it saw the present generation and everything it depends on. `wanted`: a probe
    that begins then or later is asked for. `watched`: condition types that must be True; while one is not, probes come at shorter intervals.
    """
    if probed is None or not current:
        return 0.0
    if wanted and (began or probed) < wanted:
        return 0.0
    pause = settings.probe_interval
    for type_ in watched:
        found = c.find(conditions, type_)
        if found is not None and found.status != "True":
            pause = min(pause, backoff(settings, probed, found.last_transition_time))
    return pause - clock.seconds_since(probed, now)


def attempt_name(generation: int, probed: str | None) -> str:
    """Eight hexadecimal digits that name the next probe's Job: the same after a restart, another one after each probe."""
    return hashlib.sha256(f"{generation} {probed}".encode()).hexdigest()[:8]
