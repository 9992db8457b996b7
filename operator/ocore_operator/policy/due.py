"""By when an environment should have had its next success, for the alert on stale environments. Pure.

A slot is due when the timeout of its Snapshot has passed: by then the Snapshot is Complete, or it is late. This holds
for every schedule, also for one with long pauses (weekends), for which the age of the last success says nothing.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ocore_crds.rules import cron
from ocore_operator import clock
from ocore_operator.entries.policies import PolicyFacts

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Due:
    """The newest slot that is due."""

    facts: PolicyFacts
    environment_id: str
    #: When the slot began. A success before that moment is too old. None: no slot is due.
    begin: datetime | None
    #: When a later slot is due.
    until: datetime

    def holds(self, facts: PolicyFacts, environment_id: str, now: datetime) -> bool:
        """Whether it need not be found again: a scrape must not evaluate the cron expressions of all policies."""
        return self.facts == facts and self.environment_id == environment_id and now < self.until


def due(facts: PolicyFacts, environment_id: str, now: datetime) -> Due:
    """The newest slot whose timeout has passed, of those that count: none before the schedule came into force."""
    if not facts.schedule or not facts.scheduled_from:
        return Due(facts, environment_id, None, _NEVER)
    offset, timeout = cron.spread(environment_id, facts.spread_minutes), timedelta(seconds=facts.timeout)
    minute = (now - timeout - offset).astimezone(UTC).replace(second=0, microsecond=0)
    last, following = _around(facts.schedule, facts.time_zone, minute)
    begin = last + offset if last is not None else None
    if begin is not None and begin <= clock.parse(facts.scheduled_from):
        begin = None
    return Due(facts, environment_id, begin, following + offset + timeout if following is not None else _NEVER)


def of_tests(facts: PolicyFacts) -> PolicyFacts:
    """The facts of a policy whose slots are those of its test restores."""
    return replace(facts, schedule=facts.test_schedule, timeout=facts.test_timeout, scheduled_from=facts.tests_from)


# A fleet shares its schedules, and slots begin at whole minutes.
@lru_cache(maxsize=1024)
def _around(expressions: tuple[str, ...], time_zone: str, minute: datetime) -> tuple[datetime | None, datetime | None]:
    """The newest slot at or before the minute, and the next one. None for both where the schedule is invalid."""
    schedule = cron.known(expressions, time_zone)
    return (schedule.last(minute), schedule.next(minute)) if schedule is not None else (None, None)
