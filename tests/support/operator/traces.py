"""Recorded operations: what their Jobs reported and how their status changed, and the percentage that the operator
shows for it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from ocore_crds.text import timestamps
from ocore_operator.jobs.reporting import percent
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.jobs.reporting.progress import progress
from ocore_operator.kube import resources
from support.operator.objects import obj

Object = dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """One operation of a kind. `events` in the order of their times: a status, or a line of a Job's log."""

    kind: str
    spec: Object
    earlier: Object  # the final status of the operation before it
    events: list[Object]

    @classmethod
    def load(cls, path: Path) -> "Trace":
        """From a file that `make bench` has written."""
        return cls(**json.loads(path.read_text()))

    def save(self, path: Path) -> None:
        """One event a line."""
        head = {"kind": self.kind, "spec": self.spec, "earlier": self.earlier}
        lines = ",\n".join(json.dumps(e, separators=(",", ":")) for e in self.events)
        path.write_text(json.dumps(head, separators=(",", ":"))[:-1] + ',"events":[\n' + lines + "\n]}\n")


@dataclass(frozen=True)
class Shown:
    """What the operator shows a second."""

    share: float  # of the operation's time that has passed, in points
    percent: int
    step: str


def replayed(trace: Trace, *, first: bool = False) -> Iterator[Shown]:
    """The progress of each second. `first`: as if it was the environment's first operation."""
    final = trace.events[-1]["status"]
    steps = resources.any_kind(trace.kind, _object(trace, final)).status.steps
    began = percent.began([s for s in steps if s.name != "Cleanup"], final.get("startedAt"))
    assert began is not None
    ended = timestamps.parse(final["completedAt"])
    earlier = resources.any_kind(trace.kind, _object(trace, trace.earlier)).status
    past = None if first else percent.timeline(earlier.steps, earlier.started_at, earlier.completed_at)
    last: Object | None = None
    now = began + timedelta(seconds=1)
    while now < ended:
        status, log = _at(trace, now)
        raw = _object(trace, {**status, **({"progress": last} if last is not None else {})})
        found = progress(resources.any_kind(trace.kind, raw), [log], past, now)
        if found is not None:
            last = found.wire()
            yield Shown(100 * ((now - began) / (ended - began)), found.percent, found.step)
        now += timedelta(seconds=1)


def _object(trace: Trace, status: Object) -> Object:
    return obj(trace.kind, "traced", trace.spec, status)


def _at(trace: Trace, now: datetime) -> tuple[Object, LogState]:
    """The status and what the newest Job has reported."""
    status: Object = {}
    log, pod = LogState(), ""
    for event in trace.events:
        if timestamps.parse(event["time"]) > now:
            break
        if "status" in event:
            status = event["status"]
        else:
            if event["pod"] != pod:
                log, pod = LogState(), event["pod"]
            log.take(event["log"])
    return status, log


def farthest(shown: list[Shown]) -> float:
    """Points between the percentage and the share of the time, at most."""
    return max(abs(s.share - s.percent) for s in shown)


def largest_jump(shown: list[Shown]) -> int:
    """From one figure to the next, and to 100."""
    return max(b - a for a, b in pairwise([0, *(s.percent for s in shown), 100]))
