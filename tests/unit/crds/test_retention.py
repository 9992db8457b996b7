"""Retention: what each rule keeps, what is always kept, and months of simulated days."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ocore_crds.resources.snapshotpolicy import Retention
from ocore_crds.rules import retention
from ocore_crds.rules.retention import Candidate, Verdict

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
    return Verdict(dict(ends))


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
    assert retention.verdicts(both, rules(keep_daily=2), BERLIN, NOW)["noon"].rules.keys() == {"keepDaily"}
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


def test_the_newest_one_that_a_test_restore_has_proven_stays() -> None:
    old = [
        complete("tested", NOW - timedelta(days=900), restore_tested=True),
        complete("older", NOW - timedelta(days=950), restore_tested=True),
        complete("newest", NOW - timedelta(days=800)),
    ]
    found = retention.verdicts(old, rules(retention_days=1), ZULU, NOW)
    assert found["tested"] == verdict(latestRestoreTested=None)
    assert found["older"].expired


def test_pinned_and_used_ones_stay() -> None:
    old = [
        complete("new", NOW),
        complete("pinned", NOW - timedelta(days=90), pinned=True),
        complete("used", NOW - timedelta(days=90), in_use=True),
        complete("plain", NOW - timedelta(days=90)),
    ]
    found = retention.verdicts(old, rules(retention_days=30), ZULU, NOW)
    assert [set(found[name].rules) for name in ("pinned", "used", "plain")] == [{"pinned"}, {"inUse"}, set()]


def test_row_14_failed_ones_do_not_count() -> None:
    every = [
        complete("good", NOW - timedelta(days=20)),
        Candidate("recent", NOW - timedelta(days=8), complete=False),
        Candidate("old", NOW - timedelta(days=30), complete=False),
    ]
    found = retention.verdicts(every, rules(keep_last=1), ZULU, NOW)
    assert set(found["recent"].rules) == {"failed"}, "nothing newer shows that the trouble is over"
    assert found["old"].expired
    after = [*every, complete("again", NOW)]
    assert retention.verdicts(after, rules(keep_last=1), ZULU, NOW)["recent"].expired
    young = Candidate("young", NOW - timedelta(days=6), complete=False)
    assert retention.verdicts([*after, young], rules(keep_last=1), ZULU, NOW)["young"] == verdict(failed=in_days(1))


def test_row_76_failed_ones_are_limited_in_number() -> None:
    """One broken database with a schedule for each minute made 10,080 objects."""
    every = [Candidate(f"f{n}", NOW - timedelta(minutes=n), complete=False) for n in range(500)]
    found = retention.verdicts(
        [complete("good", NOW - timedelta(days=1)), *reversed(every)], rules(keep_last=1), ZULU, NOW
    )
    assert kept(found) == {"good", *(f"f{n}" for n in range(retention.FAILED_COUNT))}
    assert set(found["f1"].rules) == {"failed"}


def test_until_is_the_end_of_the_last_rule() -> None:
    found = retention.verdicts(
        [complete("now", NOW), complete("before", NOW - timedelta(days=1))],
        rules(retention_days=5, keep_daily=3, keep_monthly=2),
        ZULU,
        NOW,
    )
    assert list(found["before"].rules) == ["retentionDays", "keepDaily"]
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
    """The policy is deleted, more Snapshots are taken or not, and the verdicts of each day are what the next day
    reads."""
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
            lasting = any(e is None and r in ("keepLast", "forever") for r, e in v.rules.items())
            if lasting or any(e is not None and e > now for e in v.rules.values()):
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
        tested=st.booleans(),
        pinned=st.sampled_from([False] * 9 + [True]),
        differential=st.booleans(),
        safety=st.sampled_from([False] * 3 + [True]),
    )
    def snapshot(
        self, hours: float, ok: bool, verified: bool, tested: bool, pinned: bool, differential: bool, safety: bool
    ) -> None:
        self.now += timedelta(hours=hours)
        self.number += 1
        name = f"s{self.number:04}"
        base = next((c.id for c in reversed(list(self.there.values())) if c.complete and not c.needs), "")
        needs = base if differential and ok else ""
        proven = {"verified": ok and verified, "restore_tested": ok and tested}
        new = Candidate(name, self.now, ok, **proven, pinned=pinned, id=f"id-{name}", needs=needs, safety=safety)
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
        self.there = {n: c for n, c in self.there.items() if n in self.kept_now()}
        assert self.kept_now() == set(self.there), "a second look deletes more"
        if before:
            newest = max(before, key=lambda c: c.time)
            assert newest.name in self.there, "the last one was deleted"
        good = [c for c in before if not c.safety]
        if good:
            assert max(good, key=lambda c: c.time).name in self.there, "the last good one was deleted"
        verified = [c for c in before if c.verified]
        if verified:
            assert max(verified, key=lambda c: c.time).name in self.there, "the last verified one was deleted"
        tested = [c for c in before if c.restore_tested]
        if tested:
            assert max(tested, key=lambda c: c.time).name in self.there, "the last proven one was deleted"

    def kept_now(self) -> set[str]:
        every = self.there.values()
        return kept(retention.protected(retention.verdicts(every, self.given, BERLIN, self.now), every))

    @invariant()
    def every_differential_can_be_restored(self) -> None:
        ids = {c.id for c in self.there.values()}
        assert all(c.needs in ids for c in self.there.values() if c.needs), (
            "the full one of a kept differential was deleted"
        )

    @invariant()
    def nothing_more_is_kept_for_differentials(self) -> None:
        """What the rules keep, with the full ones that it needs, and nothing else."""
        every = self.there.values()
        plain = {n for n, v in retention.verdicts(every, self.given, BERLIN, self.now).items() if not v.expired}
        needed = {c.needs for c in every if c.name in plain}
        assert {c.name for c in every if c.id in needed} | plain == self.kept_now()

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


# --- safety snapshots ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{"keep_last": 1}, {"keep_hourly": 1}, {"keep_daily": 1}, {"retention_days": 1}])
def test_row_143_a_safety_snapshot_takes_the_place_of_no_good_one(given: dict[str, int]) -> None:
    """It was taken of a broken state, minutes after the last good one, and is proven as that is."""
    proofs = {"verified": True, "restore_tested": True}
    found = [
        complete("good", NOW - timedelta(days=2, minutes=9), **proofs, remote="Completed"),
        complete("safety", NOW - timedelta(days=2), **proofs, remote="Completed", safety=True),
    ]
    verdicts = retention.verdicts(found, rules(**given), ZULU, NOW)
    assert {"latest", "latestVerified", "latestRestoreTested"} <= verdicts["good"].rules.keys()
    assert verdicts["good"].rules.keys() == verdicts["safety"].rules.keys()
    assert "latest" in (verdicts["good"].copy or {})


def test_row_143_what_a_safety_snapshot_is() -> None:
    meta = {"name": "s", "creationTimestamp": "2026-06-15T12:00:00Z"}
    ended = {"phase": "Complete", "conditions": [{"type": "Complete", "status": "True"}]}
    for trigger, expected in (("PreRollback", True), ("Scheduled", False)):
        spec = {"retention": "Policy", "trigger": trigger}
        made = retention.candidate_of({"metadata": meta, "spec": spec, "status": ended}, ())
        assert made is not None
        assert made.safety is expected


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
    assert (list(both.rules), both.until) == (["undoWindow", "retentionDays"], in_days(2))


def test_the_safety_snapshot_of_a_running_rollback_is_in_use() -> None:
    running = retention.kept_for(complete("s", in_days(-40)), [retention.Safety("s", None)])
    assert retention.verdicts([complete("new", NOW), running], rules(), ZULU, NOW)["s"] == verdict(inUse=None)


# --- remote copies ---------------------------------------------------------------------------------------------------


def copied(name: str, days: float, **more: Any) -> Candidate:
    """So many days old, with a complete copy."""
    return complete(name, in_days(-days), id=name, **({"remote": "Completed"} | more))


def both(*candidates: Candidate, **given: int) -> tuple[set[str], set[str]]:
    """Names of those whose data, and whose copy, is kept."""
    found = retention.verdicts(candidates, rules(**given), ZULU, NOW)
    return {n for n, v in found.items() if v.rules}, {n for n, v in found.items() if v.copy}


@pytest.mark.parametrize(
    ("given", "data", "copies"),
    [
        # The copy goes with the data, but for the newest.
        ({"keep_last": 1}, {"a"}, {"a"}),
        ({"keep_last": 2}, {"a", "b"}, {"a", "b"}),
        ({"keep_last": 1, "remote_retention_days": 15}, {"a"}, {"a", "b"}),
        ({"keep_last": 1, "remote_retention_days": 0}, {"a"}, {"a", "b", "c"}),
        # Shorter than the data.
        ({"keep_last": 3, "remote_retention_days": 5}, {"a", "b", "c"}, {"a"}),
        ({"keep_last": 3, "remote_retention_days": 1}, {"a", "b", "c"}, {"a"}),
    ],
)
def test_the_copy_has_its_own_retention(given: dict[str, int], data: set[str], copies: set[str]) -> None:
    assert both(copied("a", 2), copied("b", 10), copied("c", 100), **given) == (data, copies)


def test_a_copy_that_is_the_only_place_of_the_data_is_kept_by_the_rules_of_the_data() -> None:
    _, copies = both(
        copied("a", 2), copied("b", 10, local=False), copied("c", 20), keep_last=3, remote_retention_days=5
    )
    assert copies == {"a", "b"}


def test_the_copy_of_a_full_stays_while_the_copy_of_a_differential_needs_it() -> None:
    """Also while that copy is made."""
    full, other = copied("full", 100), copied("other", 100.5)
    newest = copied("new", 1)
    for remote, expected in (("Completed", True), ("Pending", True), ("", False)):
        differential = copied("diff", 3, needs="full", remote=remote)
        _, copies = both(newest, differential, full, other, keep_last=1, remote_retention_days=30)
        assert ("full" in copies, "other" in copies) == (expected, False)


def test_pinned_and_used_copies_stay() -> None:
    _, copies = both(
        copied("new", 0), copied("pinned", 99, pinned=True), copied("used", 99, in_use=True), remote_retention_days=5
    )
    assert copies == {"new", "pinned", "used"}


@pytest.mark.parametrize(("days", "waits"), [(None, False), (30, True), (0, True), (5, False)])
def test_data_waits_for_the_copy_that_outlives_it(days: int | None, waits: bool) -> None:
    given = {"keep_last": 1} | ({} if days is None else {"remote_retention_days": days})
    data, copies = both(copied("new", 0), copied("old", 10, remote="Pending"), **given)
    assert (data, copies) == ({"new", "old"} if waits else {"new"}, {"new"})
    # A copy that has failed is given up.
    data, _ = both(copied("new", 0), copied("old", 10, remote=""), **given)
    assert data == {"new"}


CANDIDATES = st.lists(
    st.builds(
        lambda n, hours, remote, local, pinned, needs: complete(
            f"s{n}",
            NOW - timedelta(hours=hours),
            id=f"s{n}",
            remote=remote,
            local=local or remote != "Completed",
            pinned=pinned,
            needs=needs,
        ),
        st.integers(0, 30),
        st.integers(0, 4000),
        st.sampled_from(["", "Pending", "Completed"]),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["", "s1", "s2", "s3"]),
    ),
    unique_by=lambda c: c.name,
    max_size=12,
)


@settings(max_examples=300)
@given(CANDIDATES, any_rules, st.none() | st.integers(0, 200))
def test_what_holds_for_every_remote_retention(candidates: list[Candidate], given: Retention, days: int | None) -> None:
    wanted = given.model_copy(update={"remote_retention_days": days})
    found = retention.verdicts(candidates, wanted, ZULU, NOW)
    plain = retention.verdicts(candidates, given.model_copy(update={"remote_retention_days": None}), ZULU, NOW)
    newest = max(candidates, key=lambda c: (c.time, c.name), default=None)
    assert newest is None or found[newest.name].rules, "the newest is never let go of"
    copies = [c for c in candidates if c.remote == "Completed"]
    if copies:
        assert found[max(copies, key=lambda c: (c.time, c.name)).name].copy, "nor the newest copy"
    for c in candidates:
        verdict = found[c.name]
        assert (verdict.copy is not None) == (c.remote == "Completed")
        # Whatever the remote rule says, the rules of the data keep what they kept.
        assert set(plain[c.name].rules) <= set(verdict.rules)
        if plain[c.name].rules:
            assert not verdict.expired
            assert c.local or verdict.copy or c.remote != "Completed", "kept, and its only place is not"
        if c.remote == "Completed" and days is not None and (days == 0 or c.time + timedelta(days=days) > NOW):
            assert verdict.copy
        if verdict.copy and c.needs:
            base = next((b for b in copies if b.id == c.needs), None)
            assert base is None or found[base.name].copy, "the copy could not be restored"
        told = retention.told_of({"status": retention.status_of(verdict)})
        assert told is not None
        assert retention.status_of(told) == retention.status_of(verdict)


def test_a_deleted_policy_erases_no_copy_at_once() -> None:
    """With the defaults a copy goes with the data; what the policy had told holds."""
    snapshot = copied("old", 60)
    by_policy = retention.verdicts(
        [copied("new", 0), snapshot], rules(keep_last=1, remote_retention_days=90), ZULU, NOW
    )
    by_default = retention.verdicts([copied("new", 0), snapshot], rules(), ZULU, NOW)
    assert by_default["old"].expired
    told = retention.told_of({"status": retention.status_of(by_policy["old"])})
    kept_ = retention.without_policy(by_default["old"], told, NOW)
    assert (kept_.rules, kept_.copy, kept_.copy_until) == ({}, {"remoteRetentionDays": in_days(30)}, in_days(30))
    assert retention.without_policy(by_default["old"], told, in_days(31)).expired


def test_a_damaged_snapshot_does_not_count_as_a_place_of_its_data() -> None:
    conditions = [
        {"type": "Complete", "status": "True"},
        {"type": "Verified", "status": "False"},
    ]
    status = {"conditions": conditions, "phase": "Complete", "consistentAt": "2026-01-01T00:00:00Z"}
    obj = {"metadata": {"name": "a", "uid": "u"}, "spec": {"retention": "Policy"}, "status": status}
    found = retention.candidate_of(obj, ())
    assert found is not None
    assert (found.local, found.remote) == (False, "")
    status |= {"remote": {"state": "Copying", "only": True}, "base": {"id": "f"}}
    found = retention.candidate_of(obj, ())
    assert found is not None
    assert (found.remote, found.needs) == ("Pending", "f")


# --- differentials ---------------------------------------------------------------------------------------------------


def protected(*candidates: Candidate, **given: int) -> dict[str, Verdict]:
    return retention.protected(retention.verdicts(candidates, rules(**given), ZULU, NOW), candidates)


FULL = complete("full", in_days(-40), id="F")
OTHER_FULL = complete("other", in_days(-50), id="G")
NEEDS = {"needs": "F"}


@pytest.mark.parametrize(
    ("dependents", "expected"),
    [
        ((), verdict()),
        # Until the last one that needs it goes.
        ((complete("a", in_days(-29), **NEEDS), complete("b", in_days(-20), **NEEDS)), verdict(dependents=in_days(10))),
        ((complete("a", in_days(-29)), complete("b", in_days(-20), needs="G")), verdict()),
        # One without an end: the full one has none either.
        (
            (complete("a", in_days(-35), pinned=True, **NEEDS), complete("b", in_days(-20), **NEEDS)),
            verdict(dependents=None),
        ),
        # What no rule keeps protects nothing. It is deleted first.
        ((complete("a", in_days(-35), **NEEDS),), verdict()),
        ((complete("a", in_days(-35), in_use=True, **NEEDS),), verdict(dependents=None)),
        ((Candidate("a", in_days(-5), complete=False, **NEEDS),), verdict(dependents=in_days(2))),
    ],
)
def test_row_49_a_full_one_is_kept_while_a_kept_differential_needs_it(
    dependents: tuple[Candidate, ...], expected: Verdict
) -> None:
    found = protected(complete("new", NOW), FULL, OTHER_FULL, *dependents)
    assert found["full"] == expected


def test_the_newest_of_all_and_the_newest_verified_one_are_kept_with_their_full_ones() -> None:
    pairs = (
        FULL,
        OTHER_FULL,
        complete("verified", in_days(-39), verified=True, needs="G"),
        complete("newest", in_days(-38), needs="F"),
    )
    found = protected(*pairs, retention_days=1)
    assert {n: tuple(v.rules) for n, v in found.items()} == {
        "full": ("dependents",),
        "other": ("dependents",),
        "verified": ("latestVerified",),
        "newest": ("latest",),
    }


def test_a_rule_of_its_own_keeps_a_full_one_beside_its_differentials() -> None:
    found = protected(
        complete("new", NOW), complete("full", in_days(-1), id="F"), complete("d", NOW, **NEEDS), retention_days=3
    )
    assert found["full"] == verdict(retentionDays=in_days(2), dependents=in_days(3))


def test_what_the_rules_are_not_about_protects_its_full_one() -> None:
    """One with retention Keep, one that runs, or one that is being deleted."""
    candidates = retention.needed_by_others([complete("new", NOW), FULL, OTHER_FULL], {"F", ""})
    found = protected(*candidates)
    assert (found["full"], found["other"]) == (verdict(dependents=None), verdict())


def test_what_a_snapshot_says_of_its_full_one() -> None:
    status: dict[str, Any] = {"completedAt": UNTIL, "id": "D", "base": {"name": "f", "id": "F"}}
    raw: dict[str, Any] = {"metadata": {"name": "d", "uid": "u"}, "spec": {"retention": "Policy"}, "status": status}
    for ended, residue, needs in (
        ("Complete", "None", "F"),
        ("Failed", "Pending", "F"),
        ("Failed", "None", ""),
        ("Failed", "Unknown", ""),
    ):
        status |= {"conditions": [{"type": ended, "status": "True"}], "residue": residue}
        found = retention.candidate_of(raw, used=())
        assert found is not None
        assert (found.id, found.needs) == ("D", needs)
