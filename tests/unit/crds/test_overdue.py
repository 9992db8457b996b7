"""When the next good Snapshot is overdue: by the schedule, and by the time that Snapshots take."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ocore_crds.rules import cron, overdue
from ocore_crds.rules.overdue import Scheduled

BERLIN, ZULU = "Europe/Berlin", "Etc/UTC"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def when(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def late(
    *expressions: str,
    since: str,
    zone: str = ZULU,
    took: timedelta = MINUTE,
    timeout: timedelta = HOUR,
    offset: timedelta = timedelta(),
    running: bool = False,
) -> datetime | None:
    return overdue.overdue_at(Scheduled(expressions, zone, offset, timeout), when(since), took, running=running)


@pytest.mark.parametrize(
    ("expressions", "zone", "since", "expected"),
    [
        (["@hourly"], ZULU, "2026-05-01 10:00:05", "2026-05-01 11:15"),
        (["@hourly"], ZULU, "2026-05-01 10:59:59", "2026-05-01 11:15"),
        (["* * * * *"], ZULU, "2026-05-01 10:00:05", "2026-05-01 10:06"),
        (["@monthly"], ZULU, "2026-05-01 00:00:05", "2026-06-01 01:00"),
        (["@daily", "0 12 * * *"], ZULU, "2026-05-01 00:00:05", "2026-05-01 13:00"),
        (["0 8-18 * * 1-5"], ZULU, "2026-05-01 18:00:05", "2026-05-04 08:15"),  # over a weekend
        (["30 2 * * *"], BERLIN, "2026-03-28 01:30:05", "2026-03-29 02:00"),  # 02:30 does not exist: 03:00
        (["30 2 * * *"], BERLIN, "2026-10-24 00:30:05", "2026-10-25 01:30"),  # 02:30 comes twice: the first
        (["0 0 29 2 *"], ZULU, "2024-02-29 00:00:05", "2028-02-29 01:00"),
    ],
)
def test_the_first_slot_after_the_last_good_one_counts_with_a_tolerance(
    expressions: list[str], zone: str, since: str, expected: str
) -> None:
    assert late(*expressions, zone=zone, since=since) == when(expected)


def test_the_tolerance_grows_with_the_time_that_snapshots_take_up_to_their_timeout() -> None:
    since = "2026-05-01 10:00:05"
    assert late("@hourly", since=since, took=10 * MINUTE) == when("2026-05-01 11:20")
    assert late("@hourly", since=since, took=5 * HOUR) == when("2026-05-01 12:00")
    assert late("@hourly", since=since, timeout=2 * MINUTE) == when("2026-05-01 11:02")


def test_a_snapshot_that_runs_has_its_timeout_and_never_more() -> None:
    """From the slot that was missed: one that fails and is repeated again and again does not put it off."""
    assert late("@hourly", since="2026-05-01 10:00:05", timeout=2 * HOUR, running=True) == when("2026-05-01 13:00")


def test_the_spread_moves_the_slot() -> None:
    at = {"offset": 17 * MINUTE}
    assert late("@hourly", since="2026-05-01 10:17:05", **at) == when("2026-05-01 11:32")
    assert late("@hourly", since="2026-05-01 10:16:05", **at) == when("2026-05-01 10:32")


@pytest.mark.parametrize(("expressions", "zone"), [([], ZULU), (["@hourly"], "Mars/Olympus"), (["61 * * * *"], ZULU)])
def test_without_a_schedule_that_can_be_used_none_is_expected(expressions: list[str], zone: str) -> None:
    assert late(*expressions, zone=zone, since="2026-05-01 10:00:05") is None
    assert overdue.every(tuple(expressions), zone) is None


@pytest.mark.parametrize(
    ("expressions", "hours"),
    [
        (["@hourly"], 1),
        (["*/15 * * * *"], 0.25),
        (["0 8-18 * * 1-5"], 1),
        (["@daily"], 24),
        (["0 8,18 * * *"], 10),
        (["@weekly"], 7 * 24),
        (["@yearly"], 365 * 24),
        (["@daily", "@hourly"], 1),
    ],
)
def test_the_nominal_distance_is_the_schedules_not_that_of_a_moment(expressions: list[str], hours: float) -> None:
    assert overdue.every(tuple(expressions), BERLIN) == timedelta(hours=hours)


def test_row_146_a_schedule_for_each_environment_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[object] = []

    def counted(expressions: tuple[str, ...], zone: str) -> cron.Schedule:
        parsed.append(expressions)
        return cron.Schedule((), ZoneInfo(zone))

    monkeypatch.setattr(cron, "parse", counted)
    for _ in range(2):
        for number in range(5000):
            overdue.every((f"schedule {number}",), ZULU)
    assert len(parsed) == 5000
