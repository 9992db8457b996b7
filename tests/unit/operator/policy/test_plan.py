"""The plan of a SnapshotPolicy: at most one run per slot, and nothing deleted that a rule keeps."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.resources.environment import PinCount
from ocore_crds.rules import retention
from ocore_crds.rules.history import Finished
from ocore_operator import clock
from ocore_operator.frame.actions import Record
from ocore_operator.kube.resources import Key, Object
from ocore_operator.policy import plan
from ocore_operator.policy.world import Create, Delete, Explain
from support.operator.policies import Bench, at, complete, snapshot


def test_row_06_no_run_on_creation() -> None:
    bench = Bench()
    assert bench.run(at(seconds=5)) == pytest.approx(600)
    assert bench.created == []
    assert bench.status["nextScheduleTime"] == clock.text(at(hours=1))
    assert bench.condition("Ready")["reason"] == c.SCHEDULED


def test_each_slot_runs_once() -> None:
    bench = Bench()
    for minute in range(0, 241, 5):
        bench.run(at(minutes=minute, seconds=1))
        bench.run(at(minutes=minute, seconds=2))
        bench.ends("Complete", at(minutes=minute, seconds=3))
    assert [n[5:18] for n in bench.created] == ["20260501-1300", "20260501-1400", "20260501-1500", "20260501-1600"]


def test_the_pause_ends_when_the_slot_begins() -> None:
    bench = Bench()
    bench.run(at(minutes=1))
    assert bench.run(at(minutes=55)) == pytest.approx(300)
    bench.run(at(minutes=60))
    assert len(bench.created) == 1


@pytest.mark.parametrize(
    "change", [{"schedule": ["*/7 * * * *"]}, {"timeZone": "Asia/Kathmandu"}, {"spreadMinutes": 1}]
)
def test_row_06_no_run_on_an_update(change: Object) -> None:
    """A slot of the new schedule that began before the change does not run."""
    bench = Bench()
    bench.run(at(minutes=1))
    bench.change(**change)
    bench.run(at(minutes=58))
    assert bench.created == []
    assert bench.status["scheduledFrom"] == clock.text(at(minutes=58))


def test_row_06_an_update_of_something_else_loses_no_slot() -> None:
    bench = Bench()
    bench.run(at(minutes=1))
    bench.change(keepLast=3)
    bench.run(at(minutes=61))
    assert len(bench.created) == 1


def test_row_06_no_run_while_and_after_it_is_suspended() -> None:
    bench = Bench()
    bench.run(at(minutes=1))
    bench.change(suspend=True)
    bench.run(at(minutes=30))
    bench.run(at(hours=30))
    assert bench.created == []
    assert (bench.status["phase"], bench.status.get("nextScheduleTime")) == ("Suspended", None)
    bench.change(suspend=False)
    bench.run(at(hours=30, minutes=30))
    assert bench.created == [], "un-suspending runs nothing"
    bench.run(at(hours=31))
    assert len(bench.created) == 1


def test_row_06_one_run_after_an_outage() -> None:
    bench = Bench()
    bench.run(at(minutes=1))
    bench.run(at(days=9, minutes=5))
    bench.ends("Complete", at(days=9, minutes=6))
    bench.run(at(days=9, minutes=7))
    assert [n[5:18] for n in bench.created] == ["20260510-1200"]


def test_too_late_is_left_out_and_said_so() -> None:
    bench = Bench({"startingDeadlineSeconds": 600})
    bench.run(at(minutes=1))
    bench.run(at(hours=5, minutes=11))
    assert (bench.created, bench.notes) == ([], ["MissedSchedule"])
    bench.run(at(hours=6, minutes=9))
    assert len(bench.created) == 1


def test_row_05_a_slow_snapshot_is_not_overtaken() -> None:
    """One at a time; of the slots that pass, the newest one runs."""
    bench = Bench()
    for minute in range(0, 200, 10):
        bench.run(at(minutes=minute))
    assert len(bench.created) == 1
    bench.ends("Failed", at(minutes=200))
    bench.run(at(minutes=200))
    assert [n[5:18] for n in bench.created] == ["20260501-1300", "20260501-1500"]


def test_row_04_the_answer_to_the_create_is_lost() -> None:
    """The status was not written: the same name is asked for again, and the next slot runs."""
    bench = Bench()
    bench.run(at(minutes=1))
    action = plan.decide(bench.world(at(minutes=61)))
    assert isinstance(action, Create)
    bench.snapshots[action.name] = snapshot(action.name, at(minutes=61), "Complete")
    again = plan.decide(bench.world(at(minutes=62)))
    assert isinstance(again, Create)
    assert again.name == action.name
    bench.record(again.status)
    bench.run(at(minutes=121))
    assert len(bench.created) == 1


def test_without_its_environment_nothing_is_created() -> None:
    bench = Bench()
    bench.environment = None
    bench.run(at(hours=3))
    assert bench.created == []
    assert bench.condition("Ready")["reason"] == c.ENVIRONMENT_NOT_FOUND
    bench.environment = "11111111-2222-4333-8444-555555555555"
    bench.run(at(hours=3, minutes=10))
    assert len(bench.created) == 1


def test_a_schedule_that_cannot_be_used_is_stalled_and_deletes_nothing() -> None:
    bench = Bench({"schedule": ["0 25 * * *"], "keepLast": 1}, complete("a", at()), complete("b", at(hours=1)))
    assert bench.run(at(hours=2)) is None
    assert bench.condition("Stalled")["reason"] == c.SCHEDULE_INVALID
    assert "0 25 * * *" in bench.condition("Stalled")["message"]
    assert bench.deleted == []
    bench.change(schedule=["@daily"])
    bench.run(at(hours=3))
    assert bench.deleted == ["a"]


def test_a_failed_snapshot_does_not_stall_the_policy() -> None:
    bench = Bench()
    bench.run(at(minutes=1))
    bench.run(at(minutes=60))
    bench.ends("Failed", at(minutes=61))
    bench.run(at(minutes=62))
    assert bench.condition(c.LAST_SNAPSHOT_SUCCEEDED)["status"] == "False"
    assert bench.condition("Ready")["status"] == "True"
    assert "lastSuccessfulTime" not in bench.status
    bench.run(at(minutes=120))
    bench.ends("Complete", at(minutes=121))
    bench.run(at(minutes=122))
    assert bench.condition(c.LAST_SNAPSHOT_SUCCEEDED)["status"] == "True"
    assert bench.status["lastSuccessfulTime"] == clock.text(at(minutes=121))


def test_each_snapshot_says_why_it_is_kept_before_any_is_deleted() -> None:
    every = [complete(f"s{n:02}", at(days=-n)) for n in range(50)]
    bench = Bench({"keepDaily": 3}, *every)
    first = plan.decide(bench.world(at()))
    assert isinstance(first, Record)
    bench.do(first, at())
    assert isinstance(plan.decide(bench.world(at())), Explain)
    bench.run(at(minutes=1))
    assert sorted(bench.snapshots) == ["s00", "s01", "s02"]
    assert bench.snapshots["s02"]["status"]["keptBy"] == ["keepDaily"]
    assert bench.snapshots["s02"]["status"]["expiresAt"] == "2026-05-02T00:00:00Z"
    assert bench.status["kept"]["byRule"] == {"keepDaily": 3, "latest": 1}


def test_what_people_and_git_made_stays() -> None:
    bench = Bench(
        {"keepLast": 1},
        complete("new", at()),
        complete("keep", at(days=-90), retention="Keep"),
        complete("pinned", at(days=-90), pin={"label": "audit"}),
        complete("used", at(days=-90)),
        complete("old", at(days=-90)),
        snapshot("runs", at(days=-90), "Running"),
    )
    bench.used = frozenset({"used"})
    bench.run(at(minutes=1))
    assert bench.deleted == ["old"]
    assert bench.status["pinned"] == 1
    assert "keptBy" not in bench.snapshots["keep"]["status"]


def test_more_pins_than_allowed_are_said_and_honoured() -> None:
    bench = Bench({"maxPinned": 1}, *(complete(n, at(days=-90), pin={}, retention="Keep") for n in "ab"))
    bench.run(at(minutes=1))
    assert bench.condition("Ready")["reason"] == c.PIN_LIMIT_EXCEEDED
    assert bench.condition("Ready")["status"] == "True"
    assert bench.deleted == []


def test_without_a_policy_the_pins_are_counted_in_the_environment() -> None:
    """Also those that do not end, and those that people and Git made."""
    bench = Bench(
        None, complete("a", at(), pin={}, retention="Keep"), snapshot("b", at(), "Running", pin={}), policy=False
    )
    bench.run(at(minutes=1))
    assert bench.pins == PinCount(pinned=2, limit=10)
    for name in "ab":
        bench.snapshots[name]["spec"].pop("pin")
    bench.run(at(minutes=2))
    assert bench.pins is None


@pytest.mark.parametrize("spec", [{}, {"schedule": ["0 25 * * *"]}])
def test_with_a_policy_its_own_limit_holds(spec: Object) -> None:
    bench = Bench(spec, complete("a", at(), pin={}))
    bench.pins = PinCount(pinned=1, limit=10)  # from before the policy
    bench.run(at(minutes=1))
    assert bench.pins is None


def test_an_environment_that_does_not_exist_counts_no_pins() -> None:
    bench = Bench(None, complete("a", at(), pin={}), policy=False)
    bench.environment = None
    bench.run(at(minutes=1))
    assert bench.pins is None


def test_the_defaults_hold_without_a_policy() -> None:
    bench = Bench(
        None, complete("new", at()), complete("old", at(days=-31)), complete("young", at(days=-29)), policy=False
    )
    pause = bench.run(at(minutes=1))
    assert bench.deleted == ["old"]
    assert bench.created == []
    assert pause == plan.MAX_PAUSE


def test_a_policy_that_git_prunes_takes_nothing_along() -> None:
    bench = Bench({"keepMonthly": 12}, *(complete(f"m{n}", at(days=-31 * n)) for n in range(10)))
    bench.run(at(minutes=1))
    assert bench.deleted == []
    bench.object = None
    bench.run(at(minutes=2))
    bench.run(at(days=20))
    assert bench.deleted == []


def test_the_newest_snapshot_remembers_the_rules_of_a_deleted_policy() -> None:
    """As the newest one it has no end. Once a newer one exists, its end is the one that the deleted policy's rules had
    set, not the default's 30 days."""
    bench = Bench({"keepYearly": 3, "keepDaily": 2}, complete("newest", at()))
    bench.run(at(minutes=1))
    told = bench.snapshots["newest"]["status"]
    assert told["keptBy"] == ["latest", "keepDaily", "keepYearly"]
    assert "expiresAt" not in told
    bench.object = None
    bench.run(at(minutes=2))
    bench.snapshots["newer"] = complete("newer", at(days=1))
    for day in range(2, 900, 7):
        bench.run(at(days=day))
        assert "newest" in bench.snapshots, f"deleted on day {day}"
    told = bench.snapshots["newest"]["status"]
    assert (told["keptBy"], told["expiresAt"]) == (["keepYearly"], "2029-01-01T00:00:00Z")
    bench.run(datetime(2029, 1, 1, 0, 1, tzinfo=UTC))
    assert bench.deleted == ["newest"]


def finished(count: int) -> dict[str, Finished]:
    """Rollbacks that may be removed, the newest first."""
    names = [f"r{n:02}" for n in range(count)]
    return {name: Finished(name, clock.text(at(days=-n)), True, True) for n, name in enumerate(names)}


@pytest.mark.parametrize("policy", [True, False])
def test_rollbacks_beyond_the_limit_are_removed(policy: bool) -> None:
    bench = Bench(policy=policy)
    bench.rollbacks, bench.limit = finished(60), 5
    bench.run(at(minutes=1))
    assert sorted(bench.rollbacks) == ["r00", "r01", "r02", "r03", "r04"]
    assert bench.deleted[:2] == ["r59", "r58"]


def test_a_schedule_that_cannot_be_used_does_not_stop_the_history_limit() -> None:
    bench = Bench({"schedule": ["0 25 * * *"]})
    bench.rollbacks, bench.limit = finished(3), 2
    assert bench.run(at(minutes=1)) is None
    assert bench.deleted == ["r02"]


def test_without_its_environment_no_rollback_is_removed() -> None:
    """The Environment remembers which Rollbacks ran."""
    bench = Bench(policy=False)
    bench.environment, bench.rollbacks, bench.limit = None, finished(3), 1
    bench.run(at(minutes=1))
    assert bench.deleted == []


def test_a_deleted_policy_does_nothing_more() -> None:
    bench = Bench({"keepLast": 1}, complete("a", at()), complete("b", at(hours=1)))
    assert bench.object is not None
    bench.object["metadata"]["deletionTimestamp"] = clock.text(at(hours=2))
    assert bench.run(at(hours=3)) is None
    assert (bench.created, bench.deleted) == ([], [])


def test_a_complete_one_is_deleted_only_beside_the_newest() -> None:
    bench = Bench({"keepLast": 1}, complete("a", at()), complete("b", at(hours=1)))
    for _ in range(9):
        action = plan.decide(bench.world(at(hours=2)))
        if isinstance(action, Delete):
            break
        bench.do(action, at(hours=2))
    assert action == Delete((Key("Snapshot", "shop", "a"),), Key("Snapshot", "shop", "b"))


def test_a_safety_snapshot_is_kept_until_its_rollback_can_no_longer_be_undone() -> None:
    """Also where the rules would delete it earlier; its status says why and until when."""
    old = complete("s", at(days=-60), trigger="PreRollback")
    bench = Bench({}, old, complete("new", at()))
    bench.safeties = (retention.Safety("s", at(days=2)),)
    bench.run(at(hours=1))
    assert bench.deleted == []
    assert bench.snapshots["s"]["status"]["keptBy"] == ["undoWindow"]
    assert bench.snapshots["s"]["status"]["expiresAt"] == clock.text(at(days=2))
    bench.safeties = ()
    bench.run(at(days=2, hours=1))
    assert bench.deleted == ["s"]


# --- differentials ---------------------------------------------------------------------------------------------


def of_full(name: str, time: datetime, base: str, **spec: Any) -> Object:
    """A differential."""
    found = complete(name, time, **spec)
    found["status"]["base"] = {"name": base, "id": f"uid-{base}"}
    return found


def test_the_differentials_go_first_then_their_full_one() -> None:
    """The full one lists them until they are gone, and admission refuses to delete it before."""
    old = complete("full", at(days=1))
    old["status"]["dependents"] = ["a", "b"]
    bench = Bench(
        {"retentionDays": 5},
        old,
        of_full("a", at(days=1, hours=1), "full"),
        of_full("b", at(days=1, hours=2), "full"),
        complete("new", at(days=40)),
    )
    bench.run(at(days=40))
    assert bench.deleted == ["a", "b"]
    assert bench.snapshots["full"]["status"]["keptBy"] == []
    bench.snapshots["full"]["status"]["dependents"] = []
    bench.run(at(days=40))
    assert bench.deleted == ["a", "b", "full"]


def test_a_full_one_stays_while_a_differential_that_is_being_deleted_exists() -> None:
    going = of_full("a", at(days=1, hours=1), "full")
    going["metadata"]["deletionTimestamp"] = clock.text(at(days=39))
    bench = Bench({"retentionDays": 5}, complete("full", at(days=1)), going, complete("new", at(days=40)))
    bench.run(at(days=40))
    assert bench.deleted == []
    assert bench.snapshots["full"]["status"]["keptBy"] == ["dependents"]


@pytest.mark.parametrize("spec", [{"pin": {"label": "audit"}}, {"retention": "Keep"}])
def test_a_differential_that_stays_keeps_its_full_one(spec: Object) -> None:
    bench = Bench(
        {"retentionDays": 5},
        complete("full", at(days=1)),
        of_full("a", at(days=2), "full", **spec),
        complete("new", at(days=40)),
    )
    bench.run(at(days=40))
    assert bench.deleted == []
    assert bench.snapshots["full"]["status"]["keptBy"] == ["dependents"]


def test_without_a_policy_what_was_told_of_a_differential_keeps_its_full_one() -> None:
    told = of_full("a", at(days=2), "full")
    told["status"] |= {"keptBy": ["keepMonthly"], "expiresAt": clock.text(at(days=300))}
    bench = Bench(None, complete("full", at(days=1)), told, complete("new", at(days=40)), policy=False)
    bench.run(at(days=40))
    assert bench.deleted == []
    assert bench.snapshots["full"]["status"]["expiresAt"] == clock.text(at(days=300))
