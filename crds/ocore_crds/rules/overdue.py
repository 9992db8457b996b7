"""When the next good Snapshot of an environment is overdue, by its schedule. Pure.

The first slot after the last good Snapshot counts, with a tolerance that grows with the schedule's distance and with
the time that Snapshots take. It is never longer than the timeout of the slot's Snapshot, and it is that timeout while a
Snapshot runs: a full one takes longer than the differential before it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from ocore_crds.rules import cron
from ocore_crds.rules.cron import Schedule

#: The shortest tolerance: Jobs wait for nodes, images and each other.
LEAST = timedelta(minutes=5)
#: The part of the schedule's distance by which a Snapshot may be late.
PART = 4
#: A Monday without a change of the clocks: the distance is the schedule's, not that of a moment.
_MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
#: Distances that the nominal one is chosen from.
_DISTANCES = 4
#: Schedules, and slots of environments, that are remembered: a list of a fleet must not evaluate each again. Only of a
#: schedule that could be read.
_REMEMBERED = 16_384


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What decides when Snapshots of an environment are taken. `offset`: of spreadMinutes."""

    expressions: tuple[str, ...]
    time_zone: str
    offset: timedelta
    timeout: timedelta


def every(expressions: tuple[str, ...], time_zone: str) -> timedelta | None:
    """The nominal distance of a schedule: the lower median of the first ones of a week in January. None where it is
    empty or invalid."""
    schedule = cron.known(expressions, time_zone)
    return _distance(schedule) if schedule is not None else None


def overdue_at(scheduled: Scheduled, since: datetime, took: timedelta, *, running: bool) -> datetime | None:
    """From when on a good Snapshot is overdue. None: none is expected.

    `since`: creation of the last good one, or since when the schedule counts, whichever is later. `took`: the time that
    the last good one took, from its creation to its end. `running`: whether a Snapshot has not ended.
    """
    schedule = cron.known(scheduled.expressions, scheduled.time_zone)
    if schedule is None:
        return None
    distance, slot = _distance(schedule), _slot_after(schedule, since - scheduled.offset)
    if slot is None or distance is None:
        return None
    tolerance = min(scheduled.timeout, max(LEAST, distance / PART, 2 * took))
    return slot + scheduled.offset + (scheduled.timeout if running else tolerance)


@lru_cache(maxsize=_REMEMBERED)
def _distance(schedule: Schedule) -> timedelta | None:
    slots: list[datetime] = []
    moment = _MONDAY
    while len(slots) <= _DISTANCES and (following := schedule.next(moment)) is not None:
        slots.append(following)
        moment = following
    distances = sorted(b - a for a, b in pairwise(slots))
    return distances[(len(distances) - 1) // 2] if distances else None


@lru_cache(maxsize=_REMEMBERED)
def _slot_after(schedule: Schedule, moment: datetime) -> datetime | None:
    return schedule.next(moment)
