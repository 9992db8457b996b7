"""Slots of a schedule: each once, in order, whatever the clock of the time zone does."""

from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.rules import cron, overdue
from ocore_crds.rules.cron import ScheduleError

BERLIN = "Europe/Berlin"
#: Berlin's clock jumps from 02:00 to 03:00 at 01:00 UTC, and back from 03:00 to 02:00 at 01:00 UTC.
SPRING, AUTUMN = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)


def walk(expressions: list[str], begin: datetime, hours: float, zone: str = BERLIN, step: int = 60) -> list[datetime]:
    """The slots that an operator sees which looks every `step` seconds."""
    schedule = cron.parse(expressions, zone)
    found: list[datetime] = []
    moment = begin
    while moment <= begin + timedelta(hours=hours):
        slot = schedule.last(moment)
        if slot is not None and slot > begin and (not found or slot > found[-1]):
            found.append(slot)
        moment += timedelta(seconds=step)
    return found


def test_a_time_that_the_clock_skips_runs_after_the_jump() -> None:
    assert walk(["30 2 * * *"], SPRING - timedelta(hours=2), 28) == [
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),  # 03:00, as there is no 02:30
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
    ]


def test_a_time_that_comes_twice_runs_once() -> None:
    assert walk(["30 2 * * *"], AUTUMN - timedelta(hours=2), 30) == [
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 26, 1, 30, tzinfo=UTC),
    ]


@pytest.mark.parametrize("day", [SPRING, AUTUMN])
@pytest.mark.parametrize(("expression", "minutes"), [("@hourly", 60), ("*/30 * * * *", 30)])
def test_row_07_hours_follow_the_real_time(day: datetime, expression: str, minutes: int) -> None:
    """None is left out and none doubled where the clock jumps."""
    found = walk([expression], day - timedelta(hours=3), 30)
    assert found == [day - timedelta(hours=3) + timedelta(minutes=minutes * (n + 1)) for n in range(len(found))]
    assert len(found) == 30 * 60 / minutes


def test_row_07_a_clock_that_is_set_back_runs_no_slot_again() -> None:
    schedule = cron.parse(["0 * * * *"], "Etc/UTC")
    done = schedule.last(datetime(2026, 5, 1, 12, 0, 10, tzinfo=UTC))
    assert done == datetime(2026, 5, 1, 12, tzinfo=UTC)
    earlier = schedule.last(datetime(2026, 5, 1, 11, 30, tzinfo=UTC))
    assert earlier is not None
    assert earlier < done  # the plan compares slots, not clocks


def test_several_expressions_are_one_series() -> None:
    begin = datetime(2026, 5, 1, tzinfo=UTC)
    found = walk(["0 6 * * *", "0 18 * * *", "0 6 * * *"], begin, 48, "Etc/UTC")
    assert [t.hour for t in found] == [6, 18, 6, 18]


def test_the_offset_moves_the_begin_and_not_the_slot() -> None:
    schedule = cron.parse(["0 * * * *"], "Etc/UTC", timedelta(minutes=17))
    slot = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert schedule.last(slot + timedelta(minutes=16, seconds=59)) == slot - timedelta(hours=1)
    assert schedule.last(slot + timedelta(minutes=17)) == slot
    assert schedule.next(slot + timedelta(minutes=16)) == slot
    assert schedule.begin(slot) == slot + timedelta(minutes=17)


def test_row_07_a_time_that_exists_twice_runs_the_first_time() -> None:
    """At once, not an hour later. In New York 01:59 comes twice on the 1st of November 2026."""
    schedule = cron.parse(["59 1 1 * *"], "America/New_York")
    first = datetime(2026, 11, 1, 5, 59, tzinfo=UTC)
    assert schedule.last(first - timedelta(seconds=1)) == datetime(2026, 10, 1, 5, 59, tzinfo=UTC)
    for later in (timedelta(), timedelta(minutes=30), timedelta(hours=1), timedelta(hours=9)):
        assert schedule.last(first + later) == first


@given(
    st.sampled_from(["@hourly", "17 3 * * *", "30 2 * * *", "*/7 * * * *", "5 0 * * 1-5", "0 2,3 * * *", "59 1 1 * *"]),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Etc/UTC", "Asia/Kathmandu"]),
    st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - made aware below
    st.integers(0, 86399),
)
def test_last_and_next_enclose_the_moment(expression: str, zone: str, naive: datetime, offset: int) -> None:
    moment = naive.replace(tzinfo=UTC)
    schedule = cron.parse([expression], zone, timedelta(seconds=offset))
    last, following = schedule.last(moment), schedule.next(moment)
    assert last is not None
    assert following is not None
    assert schedule.begin(last) <= moment < schedule.begin(following)
    # Nothing lies between them: what comes after the last one is the following one.
    assert schedule.next(schedule.begin(last)) == following
    assert schedule.last(schedule.begin(following)) == following


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 0 * *", "five fields"),
        ("0 0 0 * * *", "five fields"),
        ("61 * * * *", "minute"),
        ("0 0 31 2 *", "day"),
        ("@fortnightly", "@hourly"),
        ("", "five fields"),
        ("a b c d e", "minute"),
    ],
)
def test_a_bad_expression_is_named(expression: str, message: str) -> None:
    with pytest.raises(ScheduleError, match=message) as raised:
        cron.parse([expression], "Etc/UTC")
    assert repr(expression) in str(raised.value)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "/etc/localtime", "Europe", ""])
def test_a_bad_time_zone_is_named(zone: str) -> None:
    with pytest.raises(ScheduleError, match="IANA"):
        cron.parse(["@daily"], zone)


def test_the_spread_is_stable_and_even() -> None:
    ids = [f"00000000-0000-4000-8000-{n:012x}" for n in range(1000)]
    found = [cron.spread(i, 60) for i in ids]
    assert found == [cron.spread(i, 60) for i in ids]
    assert all(timedelta() <= s < timedelta(minutes=60) for s in found)
    by_quarter = [sum(1 for s in found if s // timedelta(minutes=15) == q) for q in range(4)]
    assert min(by_quarter) > 150, by_quarter
    assert cron.spread(ids[0], 0) == timedelta()


def test_row_03_names_come_from_the_policys_uid_and_the_slot() -> None:
    slot = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
    name = cron.snapshot_name("shop", "uid-1", slot)
    assert name == cron.snapshot_name("shop", "uid-1", slot)
    assert name.startswith("shop-20260501-1230-")
    others = {cron.snapshot_name("shop", "uid-2", slot), cron.snapshot_name("shop", "uid-1", slot + timedelta(1))}
    assert name not in others
    assert len(cron.snapshot_name("a" * 200, "uid", slot)) <= 200
    assert ".-" not in cron.snapshot_name("a" * 159 + ".b" * 20, "uid", slot)


class AskedOnce(CronSim):
    """Backwards, cronsim never ends on 2011-12-30, a Friday that Samoa has left out. It is asked for one time only."""

    asked = 0

    def __next__(self) -> datetime:
        self.asked += 1
        assert self.asked == 1, "what is years away decides nothing"
        return super().__next__()


def test_row_146_no_schedule_is_searched_for_years(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cron, "CronSim", AskedOnce)
    schedule = cron.parse(["*/59 4 */29 12 5#5"], "Pacific/Apia")
    now = datetime(2026, 12, 1, tzinfo=UTC)
    assert schedule.last(now) == datetime(2022, 12, 29, 15, 59, tzinfo=UTC)
    assert schedule.next(now) == datetime(2033, 12, 29, 15, 0, tzinfo=UTC)


def test_a_zone_that_could_not_be_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a free file descriptor for a moment, the alert must not be silent until the next start."""

    def no_descriptor(_: str) -> None:
        raise OSError(24, "Too many open files")

    expressions = ("17 3 29 2 *",)
    with monkeypatch.context() as once:
        once.setattr(cron, "ZoneInfo", no_descriptor)
        assert cron.known(expressions, BERLIN) is None
    found = cron.known(expressions, BERLIN)
    assert found is not None
    assert cron.known(expressions, BERLIN) is found


def test_a_list_asks_again_for_a_zone_that_could_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for what is remembered of a schedule: an environment must not be without a due time for good."""

    def no_descriptor(_: str) -> None:
        raise OSError(24, "Too many open files")

    since, hour = datetime(2026, 1, 5, tzinfo=UTC), timedelta(hours=1)
    scheduled = overdue.Scheduled(("23 * * * *",), BERLIN, timedelta(), hour)
    with monkeypatch.context() as once:
        once.setattr(cron, "ZoneInfo", no_descriptor)
        assert overdue.every(scheduled.expressions, BERLIN) is None
        assert overdue.overdue_at(scheduled, since, timedelta(), running=False) is None
    assert overdue.every(scheduled.expressions, BERLIN) == hour
    assert overdue.overdue_at(scheduled, since, timedelta(), running=True) == since + timedelta(minutes=23) + hour
