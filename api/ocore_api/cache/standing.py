"""How an environment stands: its last good Snapshot against its schedule, and the state that a list is sorted by. No
I/O.

A safety snapshot is never the last good one: it shows what a Rollback replaced.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args

from ocore_api.cache.entries import COMPLETE, ENDED, OPEN, EnvironmentEntry, SnapshotEntry
from ocore_api.cache.queries import Served
from ocore_api.views.console.environments import scheduled
from ocore_api.views.console.models import Sort, State
from ocore_api.views.values import Object
from ocore_crds.rules import overdue
from ocore_crds.rules.overdue import Scheduled
from ocore_crds.text.timestamps import parse

STATES: tuple[State, ...] = get_args(State)
_RANK = {state: rank for rank, state in enumerate(STATES)}


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one environment at one moment."""

    entry: EnvironmentEntry
    state: State
    last_good: SnapshotEntry | None
    #: From when on its next good Snapshot is overdue. None: none is expected.
    overdue_at: datetime | None
    is_overdue: bool
    every: timedelta | None
    next_at: str | None

    @property
    def size(self) -> int | None:
        """Bytes of the live database and files; None before they were measured."""
        sizes = self.entry.sizes
        return sizes.database_bytes + sizes.filestore_bytes if sizes is not None and sizes.measured_at else None


def standing(served: Served, entry: EnvironmentEntry, now: datetime) -> Standing:
    """How an environment stands at that moment."""
    policy = served.policies.get((entry.namespace, entry.name))
    plan = scheduled(policy, entry.id) if policy is not None else None
    good = served.newest(entry, COMPLETE)
    begin = _overdue_at(served, entry, good, policy, plan) if policy is not None and plan is not None else None
    late = begin is not None and now >= begin
    return Standing(
        entry=entry,
        state=_state(served, entry, good, is_overdue=late, suspended=bool(policy and policy["spec"].get("suspend"))),
        last_good=good,
        overdue_at=begin,
        is_overdue=late,
        every=overdue.every(plan.expressions, plan.time_zone) if plan is not None else None,
        next_at=((policy or {}).get("status") or {}).get("nextScheduleTime"),
    )


def _overdue_at(
    served: Served, entry: EnvironmentEntry, good: SnapshotEntry | None, policy: Object, plan: Scheduled
) -> datetime | None:
    """Slots before the schedule came into force do not count, nor those before the Environment existed."""
    since = [(policy.get("status") or {}).get("scheduledFrom") or policy["metadata"]["creationTimestamp"]]
    since.append(good.created if good is not None else entry.created)
    took = timedelta(seconds=good.took) if good is not None else timedelta()
    running = served.newest(entry, OPEN) is not None
    return overdue.overdue_at(plan, max(parse(each) for each in since), took, running=running)


def _state(
    served: Served, entry: EnvironmentEntry, good: SnapshotEntry | None, *, is_overdue: bool, suspended: bool
) -> State:
    ended = served.newest(entry, ENDED)
    checks: tuple[tuple[bool, State], ...] = (
        (entry.ready is False, "notReady"),
        (good is None, "none"),
        (is_overdue, "overdue"),
        (ended is not None and ended.status == "failed", "newestFailed"),
        (entry.rollback_ready is False, "rollbackNotReady"),
        (suspended, "suspended"),
        (entry.ready is None or entry.rollback_ready is None, "unknown"),
    )
    return next((state for holds, state in checks if holds), "fine")


def summary(found: Iterable[Standing]) -> Object:
    """:class:`ocore_api.views.console.models.EnvironmentSummary`."""
    counts: Counter[str] = Counter()
    for each in found:
        counts[each.state] += 1
        counts["running"] += each.entry.operation is not None
    return {name: counts[name] for name in (*STATES, "running")}


def ordered(found: Iterable[Standing], sort: Sort) -> list[Standing]:
    """Sorted, then by name and namespace; by state, the most overdue first. What has no value comes last; without a
    good Snapshot the age has no end."""
    by, reverse = sort.removeprefix("-"), sort.startswith("-")
    key = _KEYS[by]
    names = sorted(found, key=lambda each: (each.entry.name, each.entry.namespace))
    known = sorted((each for each in names if key(each) is not None), key=key, reverse=reverse)
    unknown = [each for each in names if key(each) is None]
    return unknown + known if by == "age" and reverse else known + unknown


_KEYS: dict[str, Callable[[Standing], Any]] = {
    "state": lambda each: (
        _RANK[each.state],
        each.overdue_at.timestamp() if each.state == "overdue" and each.overdue_at is not None else 0.0,
    ),
    "name": lambda each: each.entry.name,
    "namespace": lambda each: each.entry.namespace,
    "age": lambda each: -parse(each.last_good.time).timestamp() if each.last_good is not None else None,
    "next": lambda each: each.next_at,
    "size": lambda each: each.size,
}
