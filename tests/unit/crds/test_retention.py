"""Retention: what each rule keeps, what is always kept, and months of simulated days."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ocore_crds import retention
from ocore_crds.retention import Candidate, Verdict
from ocore_crds.snapshotpolicy import Retention

BERLIN, ZULU = ZoneInfo("Europe/Berlin"), ZoneInfo("Etc/UTC")
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


def rules(**given: int) -> Retention:
    return Retention.model_validate(given)


def complete(name: str, time: datetime, **more: Any) -> Candidate:
    return Candidate(name, time, complete=True, **more)


def hourly(count: int, end: datetime = NOW) -> list[Candidate]:
    """One each hour, the newest first: h0, h1, …"""
    return [complete(f"h{n}", end - timedelta(hours=n)) for n in range(count)]


def in_days(days: float) -> datetime:
    return NOW + timedelta(days=days)


def verdict(**ends: datetime | None) -> Verdict:
    """Rule → its end."""
    return Verdict(tuple(ends), tuple(ends.values()))


def kept(found: dict[str, Verdict]) -> set[str]:
    return {name for name, verdict in found.items() if not verdict.expired}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"keep_last": 3}, {"h0", "h1", "h2"}),
        ({"keep_hourly": 2}, {"h0", "h1"}),
        # Days in UTC: the 15th has 13 of them (h0 to h12), each day before 24.
        ({"keep_daily": 3}, {"h0", "h13", "h37"}),
        ({"keep_daily": 2, "keep_last": 2}, {"h0", "h1", "h13"}),
        # The 15th of June 2026 is a Monday.
        ({"keep_weekly": 2}, {"h0", "h13"}),
        ({"keep_monthly": 2}, {"h0"}),
        ({"retention_days": 1}, {f"h{n}" for n in range(24)}),
        ({"retention_days": 1, "keep_daily": 3}, {f"h{n}" for n in range(24)} | {"h37"}),
        ({"retention_days": 0}, {f"h{n}" for n in range(72)}),
        ({}, {f"h{n}" for n in range(72)}),  # 30 days
    ],
)
def test_what_each_rule_keeps(given: dict[str, int], expected: set[str]) -> None:
    assert kept(retention.verdicts(hourly(72), rules(**given), ZULU, NOW)) == expected


def test_days_are_those_of_the_time_zone() -> None:
    """23:30 UTC in summer is already tomorrow in Berlin."""
    found = [complete("late", datetime(2026, 6, 14, 23, 30, tzinfo=UTC)), complete("noon", NOW - timedelta(days=1))]
    assert kept(retention.verdicts(found, rules(keep_daily=1), BERLIN, NOW)) == {"late"}
    assert kept(retention.verdicts(found, rules(keep_daily=1), ZULU, NOW)) == {"late"}
    both = [complete("today", NOW), *found]
    assert retention.verdicts(both, rules(keep_daily=2), BERLIN, NOW)["noon"].rules == ("keepDaily",)
    assert retention.verdicts(both, rules(keep_daily=2), ZULU, NOW)["noon"].expired


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    begin = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 in Berlin, and once more an hour later
    found = [complete("first", begin), complete("second", begin + timedelta(hours=1))]
    assert kept(retention.verdicts(found, rules(keep_hourly=2), BERLIN, NOW)) == {"first", "second"}


def test_row_14_the_newest_complete_and_the_newest_verified_stay() -> None:
    old = [
        complete("verified", NOW - timedelta(days=900), verified=True),
        complete("older", NOW - timedelta(days=950), verified=True),
        complete("newest", NOW - timedelta(days=800)),
    ]
    found = retention.verdicts(old, rules(retention_days=1), ZULU, NOW)
    assert found["newest"] == verdict(latest=None)
    assert found["verified"] == verdict(latestVerified=None)
    assert found["older"].expired


def test_pinned_and_used_ones_stay() -> None:
    old = [
        complete("new", NOW),
        complete("pinned", NOW - timedelta(days=90), pinned=True),
        complete("used", NOW - timedelta(days=90), in_use=True),
        complete("plain", NOW - timedelta(days=90)),
    ]
    found = retention.verdicts(old, rules(retention_days=30), ZULU, NOW)
    assert (found["pinned"].rules, found["used"].rules, found["plain"].rules) == (("pinned",), ("inUse",), ())


def test_row_14_failed_ones_do_not_count() -> None:
    every = [
        complete("good", NOW - timedelta(days=20)),
        Candidate("recent", NOW - timedelta(days=8), complete=False),
        Candidate("old", NOW - timedelta(days=30), complete=False),
    ]
    found = retention.verdicts(every, rules(keep_last=1), ZULU, NOW)
    assert found["recent"].rules == ("failed",), "nothing newer shows that the trouble is over"
    assert found["old"].expired
    after = [*every, complete("again", NOW)]
    assert retention.verdicts(after, rules(keep_last=1), ZULU, NOW)["recent"].expired
    young = Candidate("young", NOW - timedelta(days=6), complete=False)
    assert retention.verdicts([*after, young], rules(keep_last=1), ZULU, NOW)["young"] == verdict(failed=in_days(1))


def test_until_is_the_end_of_the_last_rule() -> None:
    found = retention.verdicts(
        [complete("now", NOW), complete("before", NOW - timedelta(days=1))],
        rules(retention_days=5, keep_daily=3, keep_monthly=2),
        ZULU,
        NOW,
    )
    assert found["before"].rules == ("retentionDays", "keepDaily")
    assert found["before"].until == in_days(4)
    assert found["now"].until is None, "the newest one has no end"
    assert set(found["now"].rules) == {"latest", "retentionDays", "keepDaily", "keepMonthly"}


def test_the_end_that_was_told_is_kept() -> None:
    """With one Snapshot in each bucket, a Snapshot goes when its status said it would, not before."""
    zone, given = BERLIN, rules(keep_daily=5)
    every = [complete(f"d{n}", NOW + timedelta(days=n)) for n in range(30)]
    for n in range(6, 30):
        now = every[n].time
        found = retention.verdicts(every[: n + 1], given, zone, now)
        for c in every[:n]:
            until = found[c.name].until
            assert found[c.name].expired or until is None or until > now - timedelta(days=1)


# --- without a policy ------------------------------------------------------------------------------------------


DEFAULT = verdict(retentionDays=in_days(10))
GONE = verdict()
NEWEST = verdict(latest=None, retentionDays=in_days(10))


@pytest.mark.parametrize(
    ("found", "told", "expected"),
    [
        (DEFAULT, None, DEFAULT),
        (GONE, None, GONE),
        # What a rule of the deleted policy kept stays as was told.
        (GONE, verdict(keepYearly=in_days(300)), verdict(keepYearly=in_days(300))),
        (GONE, verdict(keepLast=None), verdict(keepLast=None)),
        (GONE, verdict(forever=None), verdict(forever=None)),
        (GONE, verdict(keepYearly=in_days(-1)), GONE),
        (DEFAULT, verdict(keepYearly=in_days(300)), verdict(retentionDays=in_days(10), keepYearly=in_days(300))),
        # No end comes nearer.
        (DEFAULT, verdict(retentionDays=in_days(99)), verdict(retentionDays=in_days(99))),
        (GONE, verdict(retentionDays=in_days(99)), verdict(retentionDays=in_days(99))),
        (DEFAULT, verdict(retentionDays=in_days(1)), DEFAULT),
        # The newest one has no end; each of its other rules keeps its own.
        (
            NEWEST,
            verdict(latest=None, keepYearly=in_days(300)),
            verdict(latest=None, retentionDays=in_days(10), keepYearly=in_days(300)),
        ),
        (
            DEFAULT,
            verdict(latest=None, keepYearly=in_days(300)),
            verdict(retentionDays=in_days(10), keepYearly=in_days(300)),
        ),
        (
            GONE,
            verdict(latest=None, retentionDays=in_days(99), keepDaily=in_days(-1)),
            verdict(retentionDays=in_days(99)),
        ),
        (GONE, verdict(latest=None, keepDaily=in_days(5), forever=None), verdict(keepDaily=in_days(5), forever=None)),
        # What holds for one moment only is not remembered.
        (GONE, verdict(latest=None, latestVerified=None, pinned=None, inUse=None), GONE),
        (GONE, verdict(failed=in_days(3)), GONE),
        (verdict(latest=None), verdict(keepDaily=in_days(-1)), verdict(latest=None)),
    ],
)
def test_a_deleted_policy_erases_nothing_at_once(found: Verdict, told: Verdict | None, expected: Verdict) -> None:
    assert retention.without_policy(found, told, NOW) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, None),
        ({"keptBy": []}, GONE),
        (
            {"keptBy": ["keepYearly"], "expiresAt": "2030-01-01T00:00:00Z"},
            verdict(keepYearly=datetime(2030, 1, 1, tzinfo=UTC)),
        ),
        ({"keptBy": ["latest", "keepLast"]}, verdict(latest=None, keepLast=None)),
        (
            {"keptBy": ["latest", "keepYearly"], "ruleEnds": {"keepYearly": "2030-01-01T00:00:00Z"}},
            verdict(latest=None, keepYearly=datetime(2030, 1, 1, tzinfo=UTC)),
        ),
    ],
)
def test_what_the_status_says(status: dict[str, object], expected: Verdict | None) -> None:
    assert retention.told_of({"status": status}) == expected


def test_what_is_written_into_the_status_is_read_back() -> None:
    for each in (GONE, DEFAULT, NEWEST, verdict(latest=None), verdict(keepDaily=in_days(3), keepYearly=in_days(300))):
        assert retention.told_of({"status": retention.status_of(each)}) == each


# --- months of days --------------------------------------------------------------------------------------------

counts = st.integers(0, 8)
any_rules = st.builds(
    lambda days, last, hours, daily, weekly, monthly, yearly: Retention(
        retention_days=days,
        keep_last=last,
        keep_hourly=hours,
        keep_daily=daily,
        keep_weekly=weekly,
        keep_monthly=monthly,
        keep_yearly=yearly,
    ),
    st.none() | st.integers(0, 60),
    counts, counts, counts, counts, counts, counts,
)  # fmt: skip


@given(any_rules, st.permutations(hourly(60)))
def test_the_order_of_the_candidates_does_not_matter(given: Retention, order: list[Candidate]) -> None:
    assert retention.verdicts(order, given, BERLIN, NOW) == retention.verdicts(hourly(60), given, BERLIN, NOW)


@given(any_rules, st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=8))
@settings(deadline=None)
def test_no_end_that_a_policy_has_set_comes_nearer(given: Retention, later: list[tuple[int, bool]]) -> None:
    """The policy is deleted, more Snapshots are taken or not, and the verdicts of each day are what the next day reads."""
    there = {c.name: c for c in hourly(60)[::7]}
    set_by_policy = {
        name: v for name, v in retention.verdicts(there.values(), given, BERLIN, NOW).items() if not v.expired
    }
    there = {name: c for name, c in there.items() if name in set_by_policy}
    told, now = dict(set_by_policy), NOW
    for number, (days, new) in enumerate(later):
        now += timedelta(days=days)
        if new:
            there[f"new{number}"] = complete(f"new{number}", now)
        found = retention.verdicts(there.values(), Retention(), ZULU, now)
        told = {name: retention.without_policy(v, told.get(name), now) for name, v in found.items()}
        there = {name: c for name, c in there.items() if not told[name].expired}
        for name, v in set_by_policy.items():
            lasting = any(e is None and r in ("keepLast", "forever") for r, e in zip(v.rules, v.ends, strict=True))
            if lasting or any(e is not None and e > now for e in v.ends):
                assert name in there, f"{v} is deleted at {now}"


class Months(RuleBasedStateMachine):
    """An operator that applies the verdicts after each step, over months."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.number = 0
        self.there: dict[str, Candidate] = {}
        self.ever: list[Candidate] = []
        self.given = Retention()
        self.since = NOW

    @initialize(given=any_rules)
    def begin(self, given: Retention) -> None:
        self.given = given

    @rule(
        hours=st.floats(0.2, 400),
        ok=st.booleans(),
        verified=st.booleans(),
        pinned=st.sampled_from([False] * 9 + [True]),
    )
    def snapshot(self, hours: float, ok: bool, verified: bool, pinned: bool) -> None:
        self.now += timedelta(hours=hours)
        self.number += 1
        new = Candidate(f"s{self.number:04}", self.now, ok, verified=ok and verified, pinned=pinned)
        self.there[new.name] = new
        self.ever.append(new)
        self.prune()

    @rule(days=st.integers(1, 90))
    def nothing_for_days(self, days: int) -> None:
        self.now += timedelta(days=days)
        self.prune()

    @rule(given=any_rules)
    def other_rules(self, given: Retention) -> None:
        self.given, self.since = given, self.now
        self.prune()

    def prune(self) -> None:
        before = [c for c in self.there.values() if c.complete]
        found = retention.verdicts(self.there.values(), self.given, BERLIN, self.now)
        self.there = {n: c for n, c in self.there.items() if not found[n].expired}
        again = retention.verdicts(self.there.values(), self.given, BERLIN, self.now)
        assert kept(again) == set(self.there), "a second look deletes more"
        if before:
            newest = max(before, key=lambda c: c.time)
            assert newest.name in self.there, "the last good one was deleted"
        verified = [c for c in before if c.verified]
        if verified:
            assert max(verified, key=lambda c: c.time).name in self.there, "the last verified one was deleted"

    @invariant()
    def pins_hold(self) -> None:
        assert all(c.name in self.there for c in self.ever if c.pinned)

    @invariant()
    def what_is_young_enough_is_there(self) -> None:
        days = self.given.days
        if days:
            newest = [c for c in self.ever[-3:] if c.time > self.since]  # other rules may have deleted older ones
            assert days < 30 or all(
                c.name in self.there for c in newest if c.complete and self.now - c.time < timedelta(days=1)
            )


Months.TestCase.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)
TestMonths = Months.TestCase


def test_fields_of_another_client_are_removed() -> None:
    wanted = {"keptBy": ["keepDaily", "keepLast"], "ruleEnds": {"keepDaily": "2026-01-01T00:00:00Z"}}
    foreign = {"keptBy": [], "expiresAt": "x", "ruleEnds": {"keepDaily": "y", "keepLast": "x"}, "phase": "Complete"}
    assert retention.beyond({"status": foreign}, wanted) == {"expiresAt": None, "ruleEnds": {"keepLast": None}}
    assert retention.beyond({"status": foreign}, {"keptBy": ["pin"]}) == {"expiresAt": None, "ruleEnds": None}
    assert retention.beyond({"status": wanted}, wanted) == {}
    assert retention.beyond({}, wanted) == {}


# --- safety snapshots -----------------------------------------------------------------------------------------------------------


def rollback(*, terminal: bool = True, deleting: bool = False, **status: Any) -> dict[str, Any]:
    ended = [{"type": "Complete", "status": "True"}] if terminal else []
    meta = {"name": "r", **({"deletionTimestamp": "2026-06-15T12:00:00Z"} if deleting else {})}
    return {"metadata": meta, "status": {"safetySnapshotName": "s", "conditions": ended, **status}}


UNTIL = "2026-06-16T12:00:00Z"


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (rollback(undoUntil=UNTIL), retention.Safety("s", in_days(1))),
        (rollback(terminal=False), retention.Safety("s", None)),
        (rollback(terminal=False, deleting=True), retention.Safety("s", None)),  # it is aborted first
        (rollback(), None),  # it failed before the switch: by the rules only
        (rollback(undoUntil=UNTIL, undoneBy="u"), None),
        (rollback(undoUntil=UNTIL, deleting=True), None),
        (rollback(safetySnapshotName=None, undoUntil=UNTIL), None),
        ({"metadata": {"name": "r"}}, None),
    ],
)
def test_what_a_rollback_protects(obj: dict[str, Any], expected: retention.Safety | None) -> None:
    assert retention.safety_of(obj) == expected


def test_a_safety_snapshot_is_kept_until_the_undo_window_ends() -> None:
    """Then by the rules. Its status says so: keptBy, expiresAt."""
    old = complete("s", in_days(-40))
    protected = retention.kept_for(old, [retention.Safety("other", None), retention.Safety("s", in_days(1))])
    found = retention.verdicts([complete("new", NOW), protected], rules(), ZULU, NOW)["s"]
    assert found == verdict(undoWindow=in_days(1))
    assert retention.status_of(found) == {"keptBy": ["undoWindow"], "expiresAt": UNTIL}
    assert retention.verdicts([complete("new", NOW), protected], rules(), ZULU, in_days(2))["s"].expired
    assert retention.verdicts([complete("new", NOW), old], rules(), ZULU, NOW)["s"].expired
    # A rule that keeps it longer says until when.
    recent = retention.kept_for(complete("s", in_days(-1)), [retention.Safety("s", in_days(1))])
    both = retention.verdicts([complete("new", NOW), recent], rules(retention_days=3), ZULU, NOW)["s"]
    assert (both.rules, both.until) == (("undoWindow", "retentionDays"), in_days(2))


def test_the_safety_snapshot_of_a_running_rollback_is_in_use() -> None:
    running = retention.kept_for(complete("s", in_days(-40)), [retention.Safety("s", None)])
    assert retention.verdicts([complete("new", NOW), running], rules(), ZULU, NOW)["s"] == verdict(inUse=None)
