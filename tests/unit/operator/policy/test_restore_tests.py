"""Test restores of a SnapshotPolicy: each slot tests one Snapshot once, whatever is lost in between."""

from datetime import datetime
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.resources.restore_test import RestoreTestRequest, run_of
from ocore_operator import clock
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.kube.resources import Object
from ocore_operator.policy import plan, restore_tests
from ocore_operator.policy.due import due, of_tests
from ocore_operator.policy.entry import entry
from ocore_operator.policy.world import Action, RequestTest
from support.operator.objects import UID
from support.operator.policies import Bench as PolicyBench
from support.operator.policies import at, complete

VERIFY = {"schedule": ["0 * * * *"]}


class Bench(PolicyBench):
    """Also enters requests, as effects.py does."""

    def __init__(self, verify: Object | None = None, *snapshots: Object, **spec: Any) -> None:
        super().__init__({"schedule": [], "verify": {**VERIFY, **(verify or {})}, **spec}, *snapshots)
        self.requested: list[tuple[str, str]] = []

    def do(self, action: Action, now: datetime) -> None:
        if isinstance(action, RequestTest):
            self.requested.append((action.key.name, action.request.run))
            if action.key.name in self.snapshots:
                self.snapshots[action.key.name]["status"]["restoreTestRequest"] = action.request.wire()
            return
        super().do(action, now)

    def ends_with(self, status: str, reason: str, now: datetime, *, phase: str = "Complete") -> None:
        """The test that runs ends."""
        for found in self.snapshots.values():
            request = found["status"].get("restoreTestRequest")
            test = found["status"].setdefault("restoreTest", {"answered": []})
            if request and request["run"] not in test["answered"]:
                test["answered"].append(request["run"])
                test["testedAt"] = clock.text(now)
                found["status"]["phase"] = phase
                condition = {"type": c.RESTORE_TESTED, "status": status, "reason": reason}
                others = [x for x in found["status"]["conditions"] if x["type"] != c.RESTORE_TESTED]
                found["status"]["conditions"] = [*others, condition]

    @property
    def test(self) -> Object:
        return dict(self.status.get("restoreTest") or {})


def verdict(bench: Bench) -> tuple[str, str]:
    found = bench.condition(c.RESTORE_TEST_SUCCEEDED)
    return found["status"], found["reason"]


def test_each_slot_tests_the_newest_snapshot_once() -> None:
    bench = Bench(None, complete("one", at(minutes=1)), complete("two", at(minutes=2)))
    for minute in range(0, 181, 5):
        bench.run(at(minutes=minute, seconds=1))
        bench.run(at(minutes=minute, seconds=2))
        bench.ends_with("True", "Succeeded", at(minutes=minute, seconds=3))
        bench.run(at(minutes=minute, seconds=4))
    assert [n for n, _ in bench.requested] == ["two", "two", "two"]
    assert len({run for _, run in bench.requested}) == 3
    assert verdict(bench) == ("True", "Succeeded")
    assert bench.test["result"] == "Succeeded"
    assert bench.status["lastRestoreTestTime"] == clock.text(at(minutes=180, seconds=3))
    assert bench.status["nextRestoreTestTime"] == clock.text(at(hours=4))


def test_row_143_a_safety_snapshot_is_not_tested_and_is_no_success() -> None:
    bench = Bench(None, complete("one", at(minutes=1)), complete("aside", at(minutes=2), trigger="PreRollback"))
    bench.run(at(minutes=3))
    bench.run(at(hours=1, minutes=1))
    assert [n for n, _ in bench.requested] == ["one"]
    assert bench.status["lastSuccessfulTime"] == clock.text(at(minutes=1))
    by_hand = bench.snapshots["aside"]["status"]
    by_hand["restoreTest"] = {"answered": ["by-hand"], "testedAt": clock.text(at(hours=1, minutes=2))}
    by_hand["conditions"] = [
        *by_hand["conditions"],
        {"type": c.RESTORE_TESTED, "status": "True", "reason": "Succeeded"},
    ]
    bench.run(at(hours=1, minutes=3))
    assert "lastRestoreTestTime" not in bench.status


def test_the_result_and_its_times_are_one_write() -> None:
    bench = Bench(None, complete("one", at(minutes=1)))
    bench.run(at(minutes=3))
    bench.run(at(hours=1, minutes=1))
    bench.ends_with("True", "Succeeded", at(hours=1, minutes=2))
    action = plan.decide(bench.world(at(hours=1, minutes=3)))
    assert isinstance(action, Record)
    assert c.is_true(action.status.conditions, c.RESTORE_TEST_SUCCEEDED)
    assert action.status.last_restore_test_time == clock.text(at(hours=1, minutes=2))
    assert action.status.next_restore_test_time == clock.text(at(hours=2))


def test_nothing_runs_on_creation_or_on_a_change() -> None:
    bench = Bench(None, complete("one", at(minutes=1)))
    assert bench.run(at(seconds=5)) == pytest.approx(600)
    bench.change(verify={"schedule": ["30 * * * *"]})
    bench.run(at(minutes=59))
    assert bench.requested == []
    bench.run(at(minutes=91))
    assert len(bench.requested) == 1


def test_the_pause_ends_when_the_slot_begins() -> None:
    bench = Bench(None, complete("one", at(minutes=1)))
    bench.run(at(minutes=2))
    assert bench.run(at(minutes=55)) == pytest.approx(300)


def test_one_run_after_an_outage() -> None:
    bench = Bench(None, complete("one", at(minutes=1)))
    bench.run(at(minutes=2))
    bench.run(at(hours=30, minutes=10))
    assert len(bench.requested) == 1
    assert bench.test["slot"] == clock.text(at(hours=30))
    late = Bench(None, complete("one", at(minutes=1)), startingDeadlineSeconds=600)
    late.run(at(minutes=2))
    late.run(at(hours=30, minutes=11))
    assert (late.requested, late.test["result"], late.notes) == ([], "LeftOut", ["MissedRestoreTest"])


def test_a_crash_between_two_actions_repeats_a_step_and_no_test() -> None:
    bench = Bench(None, complete("one", at(minutes=1)))
    bench.run(at(minutes=2))
    now = at(hours=1, seconds=1)
    first = plan.decide(bench.world(now))
    assert isinstance(first, Record)  # the slot and the Snapshot, before anything runs
    assert first.status.restore_test is not None
    assert first.status.restore_test.snapshot == "one"
    assert plan.decide(bench.world(now)) == first
    bench.do(first, now)
    second = plan.decide(bench.world(now))
    run = run_of(UID, clock.parse(first.status.restore_test.slot).isoformat())
    assert isinstance(second, RequestTest)
    assert second.request == RestoreTestRequest(run=run, slot=first.status.restore_test.slot)
    assert plan.decide(bench.world(now)) == second


def test_the_next_slot_waits_for_a_test_that_runs() -> None:
    bench = Bench(None, complete("one", at(minutes=1)))
    bench.run(at(minutes=2))
    bench.run(at(hours=1, minutes=1))
    bench.run(at(hours=3, minutes=1))
    assert len(bench.requested) == 1
    bench.ends_with("True", "Succeeded", at(hours=3, minutes=2))
    bench.run(at(hours=3, minutes=3))
    assert [n for n, _ in bench.requested] == ["one", "one"]


def test_a_snapshot_that_is_deleted_meanwhile_is_replaced() -> None:
    bench = Bench(None, complete("one", at(minutes=1)), complete("two", at(minutes=2)))
    bench.run(at(minutes=3))
    bench.run(at(hours=1, minutes=1))
    del bench.snapshots["two"]
    bench.run(at(hours=1, minutes=2))
    assert [n for n, _ in bench.requested] == ["two", "one"]
    assert len({run for _, run in bench.requested}) == 1


def test_the_slot_is_not_repeated_when_the_tested_snapshot_is_gone() -> None:
    bench = Bench(None, complete("one", at(minutes=1)), complete("two", at(minutes=2)))
    bench.run(at(minutes=3))
    bench.run(at(hours=1, minutes=1))
    bench.ends_with("True", "Succeeded", at(hours=1, minutes=2))
    bench.run(at(hours=1, minutes=3))
    del bench.snapshots["two"]
    bench.run(at(hours=1, minutes=4))
    assert len(bench.requested) == 1
    assert bench.status["lastRestoreTestTime"] == clock.text(at(hours=1, minutes=2))


def test_a_corrupt_snapshot_is_a_failure_and_is_not_chosen_again() -> None:
    bench = Bench(None, complete("one", at(minutes=1)), complete("two", at(minutes=2)))
    bench.run(at(minutes=3))
    bench.run(at(hours=1, minutes=1))
    bench.ends_with("False", c.CORRUPT, at(hours=1, minutes=2), phase="Corrupt")
    bench.run(at(hours=1, minutes=3))
    assert verdict(bench) == ("False", c.CORRUPT)
    bench.run(at(hours=2, minutes=1))
    assert [n for n, _ in bench.requested] == ["two", "one"]


def test_it_waits_for_a_snapshot() -> None:
    bench = Bench()
    bench.run(at(minutes=3))
    bench.run(at(hours=1, minutes=1))
    assert verdict(bench) == ("Unknown", c.SNAPSHOT_NOT_FOUND)
    bench.snapshots["one"] = complete("one", at(hours=1, minutes=20))
    bench.run(at(hours=1, minutes=21))
    assert [n for n, _ in bench.requested] == ["one"]


def test_suspended_or_switched_off() -> None:
    for spec, verify in (({"suspend": True}, {}), ({}, {"restore": False})):
        bench = Bench(verify, complete("one", at(minutes=1)), **spec)
        bench.run(at(minutes=3))
        bench.run(at(hours=1, minutes=1))
        assert bench.requested == []
        assert bench.status.get("nextRestoreTestTime") is None


def test_what_is_switched_off_leaves_no_condition() -> None:
    bench = Bench(None, complete("one", at(minutes=1)))
    bench.run(at(minutes=3))
    bench.run(at(hours=1, minutes=1))
    bench.change(verify={**VERIFY, "restore": False})
    bench.run(at(hours=1, minutes=2))
    assert not [x for x in bench.status["conditions"] if x["type"] == c.RESTORE_TEST_SUCCEEDED]
    assert bench.test == {}


def test_an_invalid_schedule_stops_the_tests_only() -> None:
    bench = Bench({"schedule": ["99 * * * *"]}, complete("one", at(minutes=1)))
    bench.run(at(minutes=3))
    assert verdict(bench) == ("False", c.SCHEDULE_INVALID)
    assert "spec.verify.schedule" in bench.condition(c.RESTORE_TEST_SUCCEEDED)["message"]
    assert bench.condition("Ready")["status"] == "True"
    assert isinstance(plan.decide(bench.world(at(minutes=4))), Idle)


def test_the_due_slot_of_the_alert_has_its_own_schedule_and_timeout() -> None:
    bench = Bench({"timeoutSeconds": 7200}, complete("one", at(minutes=1)))
    bench.run(at(minutes=3))

    assert bench.object is not None
    facts = entry(bench.object).policy
    assert facts is not None
    assert due(of_tests(facts), UID, at(hours=2, minutes=59)).begin is None
    assert due(of_tests(facts), UID, at(hours=3, minutes=1)).begin == at(hours=1)
    assert restore_tests.wanted(bench.world(at()).spec) is not None
