"""What Snapshots take, now and in a year: the year that is played beside what can be counted by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ocore_crds.resources.snapshotpolicy import Retention
from ocore_crds.rules.costs import Pace, Stored, Taken, in_a_year, pace_of, stored, taken_of
from ocore_crds.rules.retention import Candidate
from ocore_crds.text import timestamps

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
HOURLY = Pace(
    HOUR, database=100, files=1000, database_a_day=0, files_a_day=0, differential_a_day=24, copied=False
)  # fmt: skip


def year(rules: Retention, pace: Pace = HOURLY, *, full_every: timedelta = WEEK) -> tuple[Stored, Stored]:
    return in_a_year([], {}, pace, rules, full_every, UTC, NOW)


def taken(ago: timedelta, database: int = 100, files: int = 1000, needs: str = "") -> Taken:
    return Taken(NOW - ago, f"{ago}", needs, database, files)


def test_the_parts_are_added() -> None:
    every = [taken(DAY), taken(HOUR, files=7, needs=f"{DAY}"), taken(HOUR * 2, files=5, needs=f"{DAY}")]
    assert stored(every) == Stored(full=1, differential=2, database=300, files=1012)
    assert (stored(every).count, stored(every).bytes) == (3, 1312)


def test_the_pace_is_that_of_the_newest_ones() -> None:
    """Rules have thinned the older ones."""
    newest = [taken(HOUR * n) for n in range(12)]
    pace = pace_of([*newest, *(taken(DAY * n) for n in range(2, 40))])
    assert pace is not None
    assert pace.every == HOUR


def test_files_of_a_differential_grow_from_its_full_one_on() -> None:
    full = taken(DAY)
    later = [taken(DAY - HOUR * n, files=10 * n, needs=full.id) for n in range(1, 20)]
    pace = pace_of([full, *later])
    assert pace is not None
    assert pace.differential_a_day == pytest.approx(240)
    assert pace.files == 1000


def test_without_differentials_each_is_full() -> None:
    pace = pace_of([taken(HOUR * n) for n in range(5)])
    assert pace is not None
    assert pace.differential_a_day is None
    assert year(Retention(keep_last=10), pace)[0] == Stored(full=10, database=1000, files=10_000)


@pytest.mark.parametrize("count", [0, 1])
def test_one_snapshot_has_no_pace(count: int) -> None:
    assert pace_of([taken(HOUR)] * count) is None


def test_two_at_the_same_time_have_no_pace() -> None:
    assert pace_of([taken(HOUR), taken(HOUR)]) is None


def test_growth_is_that_of_days() -> None:
    ten_days = [taken(DAY * n, database=1000 - 20 * n, files=5000 - 100 * n) for n in range(10)]
    pace = pace_of(ten_days)
    assert pace is not None
    assert (pace.database_a_day, pace.files_a_day) == (20, 100)
    hours = pace_of([taken(HOUR * n, database=1000 - 100 * n) for n in range(10)])
    assert hours is not None
    assert hours.database_a_day == 0


def test_a_year_of_growth() -> None:
    pace = replace(HOURLY, every=DAY, differential_a_day=None, database_a_day=10, files_a_day=-100)
    own, _ = year(Retention(keep_last=1), pace)
    assert own == Stored(full=1, database=100 + 365 * 10, files=0)


def test_a_month_of_hours() -> None:
    """720 and the full one that the oldest needs; the full ones of a week each."""
    own, copies = year(Retention(retention_days=30))
    assert own.count in (720, 721)
    assert own.full in (5, 6)
    assert own.database == own.count * 100
    assert copies == Stored()


def test_a_full_one_is_kept_for_its_differential() -> None:
    own, _ = year(Retention(keep_last=1), full_every=timedelta(weeks=200))
    assert own == Stored(full=1, differential=1, database=200, files=1000 + 24 * 365 - 1)


def test_copies_have_rules_of_their_own() -> None:
    own, copies = year(Retention(keep_last=24, remote_retention_days=10), replace(HOURLY, copied=True))
    assert own.count in (24, 25)
    assert 240 <= copies.count <= 242


def test_a_pace_of_seconds_ends() -> None:
    own, _ = year(Retention(keep_last=3), replace(HOURLY, every=timedelta(seconds=1)))
    assert own.count in (3, 4)


def test_what_is_kept_today_counts_as_long_as_a_rule_keeps_it() -> None:
    """A pin ends, and a rule of ten years does not."""
    old = {"first": taken(DAY * 100), "pinned": taken(DAY * 50)}
    candidates = [Candidate(name, each.time, complete=True, id=each.id) for name, each in old.items()]
    candidates[1] = replace(candidates[1], pinned=True)
    pace = replace(HOURLY, every=WEEK, differential_a_day=None)

    def count(rules: Retention) -> int:
        return in_a_year(candidates, old, pace, rules, WEEK, UTC, NOW)[0].count

    assert count(Retention(retention_days=3650)) - year(Retention(retention_days=3650), pace)[0].count == 2
    assert count(Retention(keep_last=2)) == 2


STATUS: dict[str, Any] = {
    "id": "I",
    "consistentAt": "2026-05-20T11:00:00Z",
    "conditions": [{"type": "Complete", "status": "True"}],
    "sizes": {"databaseStoredBytes": 5, "filestoreStoredBytes": 6, "storedBytes": 12},
}


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({}, Taken(NOW - HOUR, "I", "", 5, 6)),
        ({"base": {"id": "F"}}, Taken(NOW - HOUR, "I", "F", 5, 6)),
        ({"remote": {"state": "Copying"}}, Taken(NOW - HOUR, "I", "", 5, 6)),
        ({"remote": {"state": "Completed"}}, Taken(NOW - HOUR, "I", "", 5, 6, copied=True)),
        (
            {"remote": {"state": "Completed", "localDeletedAt": timestamps.text(NOW)}},
            Taken(NOW - HOUR, "I", "", 5, 6, local=False, copied=True),
        ),
        ({"sizes": None}, None),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, None),
    ],
)
def test_a_snapshot_as_the_server_has_it(status: dict[str, Any], found: Taken | None) -> None:
    assert taken_of({"metadata": {}, "status": STATUS | status}) == found
