"""The state of an environment, and its last good Snapshot against the schedule."""

from datetime import timedelta
from typing import Any

import pytest

from ocore_api.cache.entries import EnvironmentEntry
from ocore_api.cache.standing import STATES, Standing, ordered, standing, summary
from ocore_api.cache.store import Store
from ocore_api.views.console.models import EnvironmentSummary
from ocore_crds.rules import cron
from support.api import objects as o

HEALTHY = {"conditions": [o.condition("Ready"), o.condition("RollbackReady")]}
#: Noon; Snapshots of this schedule begin at 12:00, 13:00, …
HOUR = 3600.0


def policy(name: str = "shop", status: o.Object | None = None, version: int = 1, **spec: Any) -> o.Object:
    wanted = {"environmentRef": {"name": name}, "schedule": ["@hourly"], "timeoutSeconds": 3600, **spec}
    return o.obj("SnapshotPolicy", name, wanted, status, version=version, created=-10)


def of(*objects: o.Object, after: float, status: o.Object | None = None) -> Standing:
    """The standing of Environment shop, these seconds after BEGIN."""
    store = Store()
    for each in (o.environment(status=HEALTHY if status is None else status), *objects):
        store.put(each["kind"], each)
    found = store.served.find(EnvironmentEntry, o.ENVIRONMENT)
    assert found is not None
    return standing(store.served, found, o.BEGIN + timedelta(seconds=after))


def safety(name: str, created: float) -> o.Object:
    return o.complete(name, {"trigger": "PreRollback"}, created=created)


def corrupt(name: str, created: float) -> o.Object:
    found = o.complete(name, created=created)
    found["status"]["phase"] = "Corrupt"
    return found


def not_ready(type_: str, reason: str) -> o.Object:
    others = [o.condition(t) for t in ("Ready", "RollbackReady") if t != type_]
    return {"conditions": [*others, o.condition(type_, "False", reason)]}


@pytest.mark.parametrize(
    ("objects", "after", "status", "expected"),
    [
        ((), 60, None, "none"),
        ((policy(),), 60, None, "none"),  # new: its first slot has not come
        ((o.complete("a"),), 9e6, None, "fine"),  # without a schedule no age is too old
        ((policy(), o.complete("a")), HOUR, None, "fine"),
        ((policy(), o.complete("a")), HOUR + 899, None, "fine"),
        ((policy(), o.complete("a")), HOUR + 900, None, "overdue"),
        ((policy(), o.complete("a"), safety("b", HOUR)), HOUR + 900, None, "overdue"),
        ((policy(), o.complete("a"), o.failed("b", created=HOUR)), HOUR + 300, None, "newestFailed"),
        ((policy(), o.complete("a"), o.failed("b", created=HOUR)), HOUR + 900, None, "overdue"),
        ((policy(), o.complete("a"), o.running("b", created=HOUR)), HOUR + 900, None, "fine"),
        ((policy(), o.complete("a"), o.running("b", created=HOUR)), 2 * HOUR, None, "overdue"),
        ((policy(suspend=True), o.complete("a")), 9e6, None, "suspended"),
        ((policy(status={"scheduledFrom": o.at(9 * HOUR + 1)}), o.complete("a")), 10 * HOUR, None, "fine"),
        ((policy(schedule=["61 * * * *"]), o.complete("a")), 9e6, None, "fine"),
        ((policy(), safety("a", 0)), 60, None, "none"),
        ((policy(), corrupt("a", 0)), 60, None, "none"),
        ((policy(), o.complete("a"), corrupt("b", 10)), 60, None, "newestFailed"),
        ((policy(),), 60, not_ready("Ready", "DatabaseUnreachable"), "notReady"),
        ((policy(), o.complete("a")), 60, not_ready("RollbackReady", "MissingGrants"), "rollbackNotReady"),
        ((policy(), o.complete("a")), 60, not_ready("Ready", "Probing"), "unknown"),
        ((policy(), o.complete("a")), 9e6, not_ready("Ready", "Probing"), "overdue"),
        ((policy(), o.complete("a")), 9e6, not_ready("RollbackReady", "MissingGrants"), "overdue"),
    ],
)
def test_the_worst_that_holds(
    objects: tuple[o.Object, ...], after: float, status: o.Object | None, expected: str
) -> None:
    assert of(*objects, after=after, status=status).state == expected


def test_row_143_a_safety_snapshot_is_never_the_last_good_one() -> None:
    found = of(o.complete("good"), safety("broken", 60), after=120)
    assert found.last_good is not None
    assert found.last_good.name == "good"


def test_by_when_an_environment_without_a_good_snapshot_should_have_one() -> None:
    """From its first slot on, or from the policy's where that is younger."""
    found = of(policy(), after=2 * HOUR)
    assert (found.state, found.overdue_at, found.is_overdue) == (
        "none",
        o.BEGIN + timedelta(seconds=HOUR + 900),
        True,
    )


def test_an_import_that_says_it_is_of_tomorrow_puts_nothing_off() -> None:
    """A manifest comes from a bucket. What counts is when the Snapshot was created here."""
    found = o.complete("a")
    found["status"] |= {"consistentAt": o.at(9e6), "startedAt": o.at(9e6), "completedAt": o.at(9e6)}
    assert of(policy(), found, after=3 * HOUR).state == "overdue"


def fleet(count: int) -> Store:
    store = Store()
    for n in range(count):
        id_, name = o.uid_of(f"{n}"), f"e{n:04}"
        store.put("Environment", o.environment(name, id_, status=HEALTHY))
        store.put("SnapshotPolicy", policy(name))
        for k in range(20):
            snapshot = o.complete(f"{name}-{k}", {"environmentRef": {"name": name}}, created=k, of=o.source(id_))
            store.put("Snapshot", snapshot)
    return store


def test_a_list_of_a_fleet_evaluates_no_schedule_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    following = cron.Schedule.next

    def counted(self: cron.Schedule, moment: Any) -> Any:
        asked.append(moment)
        return following(self, moment)

    monkeypatch.setattr(cron.Schedule, "next", counted)
    store = fleet(50)

    def listed() -> int:
        asked.clear()
        for entry in store.served.environments():
            standing(store.served, entry, o.BEGIN)
        return len(asked)

    assert listed() <= 50 + 5, "one for each last good Snapshot, and the distance of the schedule they share"
    assert listed() == 0
    store.put(
        "Snapshot", o.complete("new", {"environmentRef": {"name": "e0000"}}, created=99, of=o.source(o.uid_of("0")))
    )
    assert listed() == 1


def test_the_order_and_the_counts() -> None:
    store = Store()
    sizes = {"databaseBytes": 5, "filestoreBytes": 6, "measuredAt": o.at(0)}
    rows: list[tuple[str, o.Object, tuple[o.Object, ...]]] = [
        ("new", {**HEALTHY, "sizes": {**sizes, "databaseBytes": 9}}, ()),
        ("old", {**HEALTHY, "sizes": sizes}, (o.complete("o", created=1),)),
        ("young", HEALTHY, (o.complete("y", created=2), policy("young", {"nextScheduleTime": o.at(9)}))),
        (
            "broken",
            not_ready("Ready", "X"),
            (o.complete("b", created=1), policy("broken", {"nextScheduleTime": o.at(8)})),
        ),
    ]
    for name, status, objects in rows:
        id_ = o.uid_of(name)
        store.put("Environment", o.environment(name, id_, status=status))
        for each in objects:
            if each["kind"] == "Snapshot":
                each["spec"]["environmentRef"]["name"] = name
                each["status"]["source"] = o.source(id_, name=name)
            store.put(each["kind"], each)
    found = [standing(store.served, e, o.BEGIN) for e in store.served.environments()]

    def names(sort: Any) -> list[str]:
        return [each.entry.name for each in ordered(found, sort)]

    assert names("state") == ["broken", "new", "old", "young"]
    assert names("-state") == ["old", "young", "new", "broken"]
    assert names("-name") == ["young", "old", "new", "broken"]
    assert names("age") == ["young", "broken", "old", "new"]
    assert names("-age") == ["new", "broken", "old", "young"]
    assert names("next") == ["broken", "young", "new", "old"]
    assert names("-next") == ["young", "broken", "new", "old"]
    assert names("size") == ["old", "new", "broken", "young"]
    assert names("-size") == ["new", "old", "broken", "young"]
    counts = summary(found)
    EnvironmentSummary.model_validate(counts)
    assert {k: v for k, v in counts.items() if v} == {"notReady": 1, "none": 1, "fine": 2}
    assert set(counts) == {*STATES, "running"}


def test_of_those_that_are_overdue_the_latest_is_first() -> None:
    store = Store()
    for name, created in (("a", 8 * HOUR), ("b", 0.0), ("c", 5 * HOUR)):
        store.put("Environment", o.environment(name, o.uid_of(name), status=HEALTHY))
        store.put("SnapshotPolicy", policy(name))
        good = {"environmentRef": {"name": name}}
        store.put("Snapshot", o.complete(name, good, created=created, of=o.source(o.uid_of(name), name=name)))
    now = o.BEGIN + timedelta(hours=10)
    found = [standing(store.served, e, now) for e in store.served.environments()]
    assert {each.state for each in found} == {"overdue"}
    assert [each.entry.name for each in ordered(found, "state")] == ["b", "c", "a"]
