"""When a schedule runs: cron expressions in a time zone. Pure.

Daylight-saving time, as Debian's cron has it (cron(8)): a time that the clock skips runs as soon as it has jumped. A
time that the clock shows twice runs once, the first time. An expression whose minutes or hours begin with ``*`` follows
the real hours: none is left out, none doubled.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

#: Names that crontab(5) knows.
NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MINUTE = timedelta(minutes=1)
#: Longer than any change of the clocks, and the hours that exist twice.
_CHANGE = timedelta(hours=3)
#: Times of an expression that are looked at around a moment, at most: a jump of the clock moves some of them to its
#: other side. None is looked at after one that no change of the clock could move there.
_NEAR = 6


class ScheduleError(ValueError):
    """An expression or a time zone that cannot be used. The message says which, and what to write."""


@dataclass(frozen=True)
class Schedule:
    """Cron expressions of five fields, their time zone, and the offset that is added to each of their times."""

    expressions: tuple[str, ...]
    zone: ZoneInfo
    offset: timedelta = timedelta()

    def last(self, moment: datetime) -> datetime | None:
        """The newest slot that has begun at that moment (UTC, without the offset); None: there was none."""
        return max((s for e in self.expressions for s in self._near(e, moment, reverse=True)), default=None)

    def next(self, moment: datetime) -> datetime | None:
        """The first slot that begins after that moment (UTC, without the offset); None: there will be none."""
        return min((s for e in self.expressions for s in self._near(e, moment, reverse=False)), default=None)

    def begin(self, slot: datetime) -> datetime:
        """When a slot's Snapshot is created."""
        return slot + self.offset

    def due(self, now: datetime, since: datetime, done: datetime | None) -> datetime | None:
        """The newest slot that has begun, after `since`, when the schedule came into force, and after the slot `done`
        that was dealt with. None: none."""
        slot = self.last(now)
        return slot if slot is not None and self.begin(slot) > since and (done is None or slot > done) else None

    def _near(self, expression: str, moment: datetime, *, reverse: bool) -> list[datetime]:
        """Slots at or before (`reverse`), or after, the moment that is the offset earlier."""
        limit = moment.astimezone(UTC) - self.offset
        start = limit.replace(second=0, microsecond=0) + (_MINUTE if reverse else timedelta())
        found: list[datetime] = []
        for time in islice(CronSim(expression, start.astimezone(self.zone), reverse=reverse), _NEAR):
            found.append(time.astimezone(UTC))
            if abs(found[-1] - limit) > _CHANGE:  # cronsim never ends on a day that a zone has left out, years ago
                break
        if reverse:
            found += self._since_change(expression, limit)
        return [t for t in found if (t <= limit if reverse else t > limit)]

    def _since_change(self, expression: str, limit: datetime) -> list[datetime]:
        """Slots of the hours before the limit where the clocks are changed near it. Backwards, cronsim finds a time
        that exists twice only once its second hour has come."""
        begin = limit - _CHANGE
        if begin.astimezone(self.zone).utcoffset() == (limit + _CHANGE).astimezone(self.zone).utcoffset():
            return []
        times = (t.astimezone(UTC) for t in CronSim(expression, begin.astimezone(self.zone)))
        return list(takewhile(lambda t: t <= limit, times))


def parse(expressions: Sequence[str], time_zone: str, offset: timedelta = timedelta()) -> Schedule:
    """A schedule. Raises ScheduleError for an expression or a time zone that does not exist."""
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):  # unknown; a name that leads out of the database; a folder of it
        raise ScheduleError(
            f"spec.timeZone {time_zone!r} is unknown; use a name of the IANA time zone database such as Europe/Berlin"
        ) from None
    return Schedule(tuple(_expression(e, zone) for e in expressions), zone, offset)


# A fleet shares its schedules, and may have one for each environment: neither a scrape nor a list parses them again. An
# error is not kept: the zone's file may be readable the next time.
@lru_cache(maxsize=16_384)
def _parsed(expressions: tuple[str, ...], time_zone: str) -> Schedule:
    return parse(expressions, time_zone)


def known(expressions: tuple[str, ...], time_zone: str) -> Schedule | None:
    """The schedule without an offset; None where it is empty or invalid: the policy reports that."""
    try:
        return _parsed(expressions, time_zone) if expressions else None
    except ScheduleError:
        return None


def _expression(text: str, zone: ZoneInfo) -> str:
    expression = NAMED.get(text.strip().lower(), text.strip())
    if expression.startswith("@"):
        raise ScheduleError(f"spec.schedule {text!r} is unknown; use one of {', '.join(NAMED)}, or five cron fields")
    if len(expression.split()) != 5:
        raise ScheduleError(f"spec.schedule {text!r} needs five fields: minute, hour, day of month, month, day of week")
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=zone)))
    except CronSimError as error:
        raise ScheduleError(f"spec.schedule {text!r}: {str(error).lower()}") from None
    except StopIteration:
        raise ScheduleError(f"spec.schedule {text!r} never runs: no year has such a day") from None
    return expression


def spread(environment_id: str, minutes: int) -> timedelta:
    """A stable offset below `minutes`, in whole seconds: the environments of a fleet do not start together."""
    if minutes <= 0:
        return timedelta()
    number = int.from_bytes(hashlib.sha256(environment_id.encode()).digest()[:8], "big")
    return timedelta(seconds=number % (minutes * 60))


def snapshot_name(policy: str, uid: str, slot: datetime) -> str:
    """Name of a slot's Snapshot: the same for the same policy object and slot, so that a slot never runs twice."""
    digest = hashlib.sha256(f"{uid} {slot.isoformat()}".encode()).hexdigest()[:6]
    return f"{policy[:160].rstrip('-.')}-{slot.astimezone(UTC):%Y%m%d-%H%M}-{digest}"
