"""A preview lists everything that would refuse the rollback, with the rollback's own reasons, and can do nothing but
read."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Finding, PreviewResult, TableRows
from ocore_crds.reports.facts import SnapshotSizes
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.rules import evidence
from ocore_operator.entries.operations import operations
from ocore_operator.entries.rollbacks import restored
from ocore_operator.frame.actions import Idle, Record, Wait
from ocore_operator.rollback import plan, plan_preview
from ocore_operator.rollback import world as v
from ocore_operator.rollback.conditions import summarized
from ocore_operator.rollback.entry import critical, entry, idle, under_way
from ocore_operator.rollback.plan_preflight import PROBE_SECONDS
from ocore_operator.rollback.prediction import PastRollback
from support.operator import objects
from support.operator.catalogs import new_catalog
from support.operator.rollback_changed import decided, environment, ready, snapshot
from support.operator.rollback_model import ROLLBACK_ID, START, Model
from support.operator.rollback_seen import altered_environment, altered_snapshot

Change = Callable[[v.World], v.World]
RESULT = PreviewResult(
    consistent_at="2025-12-31T23:00:00Z",
    server_version_now="17.4",
    server_version_then="17.2",
    database_bytes_now=10**9,
    database_bytes_then=9 * 10**8,
    rows_counted=True,
    tables=(TableRows(name="public.sales", now=800, then=500),),
    table_count=1,
    files_then=20,
    file_bytes_then=2000,
    files_to_move=3,
    bytes_to_move=300,
    filestore_free_bytes=10**9,
    filestore_needed_bytes=10**6,
)
FACTS = v.PreviewFacts()


def job(**changes: object) -> v.JobView:
    view = v.JobView(kind="preview", attempt=1, name="preview-x-1", ended=True, payload=RESULT)
    return replace(view, **changes)  # type: ignore[arg-type]


def begun(model: Model, **wanted: object) -> RollbackStatus:
    """The first status of a preview that began at the model's time."""
    action = plan.decide(RollbackStatus(), spec(model, **wanted), model.see(model.time).world, ROLLBACK_ID, model.now())
    assert isinstance(action, Record)
    return action.status


def spec(model: Model, **changes: object):  # type: ignore[no-untyped-def]
    return type(model.spec).model_validate({**model.spec.wire(), "dryRun": True, **changes})


def step(
    change: Change = lambda w: w, *, later: float = 0, jobs: tuple[v.JobView, ...] = (), **wanted: object
) -> v.Action:
    """What a preview decides in a changed world, so many seconds after it began. The probe has ended unless the change
    says otherwise."""
    model = ready()
    status = begun(model, **wanted)
    world = replace(model.see(model.time).world, jobs=jobs, preview=FACTS, lock=v.OperationLock(), finalizer=False)
    assert world.environment is not None
    sizes = SnapshotSizes(database_bytes=10**9, database_restore_bytes=10**8)
    world = replace(
        world,
        environment=altered_environment(world.environment, probed_at=model.now()),
        snapshot=altered_snapshot(world.snapshot, sizes=sizes),
    )
    return plan.decide(
        status, spec(model, **wanted), change(world), ROLLBACK_ID, model.now() + timedelta(seconds=later)
    )


def previewed(
    change: Change = lambda w: w, *, later: float = 0, jobs: tuple[v.JobView, ...] | None = None, **wanted: object
) -> RollbackStatus:
    """The status of a preview that has ended."""
    action = step(change, later=later, jobs=(job(),) if jobs is None else jobs, **wanted)
    assert isinstance(action, Record), action
    assert (action.status.phase, action.status.stage) == ("Previewed", "Ended")
    return action.status


def reasons(status: RollbackStatus) -> list[str]:
    assert status.preview is not None
    return [r.reason for r in status.preview.refusals]


#: Worlds in which a rollback is refused for one thing.
#: What a probe leaves that could not connect: no number of the server is a measurement.
AWAY: dict[str, Any] = {
    "rollback_ready": False,
    "not_ready_reason": c.DATABASE_UNREACHABLE,
    "not_ready_message": "connection refused",
    "server_major": 0,
    "used_bytes": 0,
}
FAULTS: dict[str, Change] = {
    "failed snapshot": snapshot(complete=False, failed=True),
    "running snapshot": snapshot(complete=False),
    "no snapshot": lambda w: replace(w, snapshot=None),
    "damaged snapshot": snapshot(broken="bytes differ."),
    "no environment": lambda w: replace(w, environment=None),
    "other project": snapshot(project_id="other"),
    "other environment": snapshot(environment_id="other"),
    "older server": snapshot(server_major=18),
    "no capacity": environment(capacity=None),
    "away": environment(**AWAY),
    "never read": environment(server_major=0, used_bytes=0),
    "no database": environment(has_database=False, server_major=0),
    "full": environment(capacity=2 * 10**9),
    "grants": environment(rollback_ready=False, not_ready_reason=c.MISSING_GRANTS, not_ready_message="ALTER ROLE"),
    "replication": environment(rollback_ready=False, not_ready_reason=c.REPLICATION_ACTIVE, not_ready_message="slot s"),
    "rights": environment(rollback_ready=False, not_ready_reason=c.DUPLICATE_TARGET, not_ready_message="two"),
    "duplicate": lambda w: replace(w, duplicate_of="elder"),
    "workload": lambda w: replace(w, workloads=(replace(w.workloads[0], exists=False),)),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_it_lists_the_reason_that_the_rollback_fails_with(name: str) -> None:
    real = decided(FAULTS[name], later=61)[1]
    assert real.phase == "Failed"
    status = previewed(FAULTS[name])
    assert reasons(status) == [real.failure_reason]
    assert status.preview is not None
    assert [r.message for r in status.preview.refusals] == [real.failure_message]
    assert status.preview.would_run is False


@pytest.mark.parametrize(("one", "two"), list(combinations(sorted(FAULTS), 2)))
def test_of_two_faults_it_lists_what_fails_first_and_more(one: str, two: str) -> None:
    def both(world: v.World) -> v.World:
        try:
            return FAULTS[two](FAULTS[one](world))
        except AssertionError:  # the other one has removed the object
            return FAULTS[one](FAULTS[two](world))

    real = decided(both, later=61)[1]
    assert real.failure_reason is not None
    assert reasons(previewed(both))[0] == real.failure_reason


def test_all_are_listed_not_only_the_first() -> None:
    found = previewed(
        lambda w: snapshot(server_major=18)(FAULTS["full"](replace(FAULTS["grants"](w), duplicate_of="elder"))),
        notAfter="2025-01-01T00:00:00Z",
        jobs=(job(payload=RESULT.model_copy(update={"refusals": (Finding(reason=c.NO_SPACE, message="full"),)})),),
    )
    assert reasons(found) == [
        c.EXPIRED, c.DUPLICATE_ID, c.MISSING_GRANTS, c.UNSUPPORTED_SERVER, c.INSUFFICIENT_CAPACITY, c.NO_SPACE,
    ]  # fmt: skip


def test_nothing_is_against_it() -> None:
    status = previewed()
    preview = status.preview
    assert preview is not None
    assert (preview.would_run, preview.refusals, preview.unread) == (True, (), ())
    assert preview.database is not None
    assert preview.files is not None
    assert preview.prediction is not None
    assert (preview.database.bytes_now, preview.database.server_version_in_snapshot) == (10**9, "17.2")
    (table,) = preview.database.tables
    assert (table.name, table.rows_now_estimated, table.rows_in_snapshot_counted) == ("public.sales", 800, 500)
    assert (preview.files.files_to_move, preview.files.bytes_to_move, preview.files.layout) == (3, 300, "Plain")
    assert [(s.volume, s.needed_bytes, s.free_bytes) for s in preview.space] == [
        ("Database", 15 * 10**8, 10**12 - 10**9), ("Filestore", 10**6, 10**9), ("Scratch", 10**8, 10 * 2**30),
    ]  # fmt: skip
    assert (status.environment_name, status.snapshot_name, status.residue) == ("shop", "s1", "None")


def test_the_minutes_that_would_be_lost_count_from_the_snapshots_point_in_time() -> None:
    preview = previewed(later=30).preview
    assert preview is not None
    assert preview.lost_minutes is not None
    model = ready()
    since = (model.now() + timedelta(seconds=30) - (START - timedelta(hours=1))).total_seconds() / 60
    assert preview.point_in_time == "2025-12-31T23:00:00Z"
    assert preview.lost_minutes == round(since, 1)


def test_a_server_that_cannot_be_reached_is_not_measured() -> None:
    """No number of it is shown, and none refuses the rollback: the reason is that it cannot be reached."""
    preview = previewed(environment(**AWAY)).preview
    assert preview is not None
    (refusal,) = preview.refusals
    assert "cannot be reached: connection refused. Check the host and port" in refusal.message
    assert [(s.volume, s.free_bytes) for s in preview.space if s.volume == "Database"] == [("Database", None)]


def test_it_only_ever_reads() -> None:
    """Whatever the world is: no lock, no finalizer, no record, no other Job, no scaling."""
    allowed = (v.AskProbe, v.StartJob)
    worlds: list[Change] = [lambda w: w, *FAULTS.values(), environment(probed_at=None)]
    for change in worlds:
        for lock in (
            v.OperationLock(),
            v.OperationLock("Other", "Snapshot b", START),
            v.OperationLock("Ours", "", START),
        ):
            for jobs in (
                (),
                (job(ended=False),),
                (job(),),
                (job(payload=None, failure=Failure(reason="X", message="x")),),
            ):
                for asked in (False, True):
                    action = step(lambda w: replace(change(w), lock=lock, probe_asked=asked), jobs=jobs)  # noqa: B023
                    if isinstance(action, v.Do):
                        assert isinstance(action.effect, allowed)
                        assert not isinstance(action.effect, v.StartJob) or action.effect.command == "preview"
                    elif isinstance(action, Record):
                        assert (action.status.started_at, action.status.switched_at, action.status.position) == (
                            None,
                        ) * 3
                        assert (action.status.workloads, action.status.recorded) == ((), None)


def test_probe_and_job_run_at_the_same_time() -> None:
    unprobed = environment(probed_at=START - timedelta(seconds=1))
    ask = step(unprobed)
    assert isinstance(ask, v.Do)
    assert isinstance(ask.effect, v.AskProbe)
    assert ask.effect.since is not None
    assert ask.effect.since.microsecond == 0  # as a probe's begin: one in the same second counts
    asked = step(lambda w: replace(unprobed(w), probe_asked=True))
    assert asked == v.Do(v.StartJob("preview", 1))
    # Each waits for the other.
    waits = step(lambda w: replace(unprobed(w), probe_asked=True), jobs=(job(),))
    assert isinstance(waits, Wait)
    assert waits.reason == c.WAITING_FOR_ENVIRONMENT
    assert isinstance(step(jobs=(job(ended=False),)), Wait)


def test_a_probe_that_does_not_end_is_what_refuses_the_rollback_too() -> None:
    def late(world: v.World) -> v.World:
        return replace(environment(probed_at=None)(world), probe_asked=True, watched_since=START)

    status = previewed(late, later=PROBE_SECONDS + 1, timeoutSeconds=1000)
    assert reasons(status) == [c.ENVIRONMENT_NOT_READY]
    # The figures of the Job are in the report all the same.
    assert status.preview is not None
    assert status.preview.files is not None


def test_it_waits_while_another_rollback_switches_the_environment() -> None:
    """A pod that mounts the claim would delay the start of the workloads."""
    action = step(lambda w: replace(w, preview=replace(FACTS, switching="back-1")))
    assert isinstance(action, Wait)
    assert action.reason == c.WAITING_FOR_OPERATION
    assert "back-1" in action.message
    # One that has its numbers already does not wait.
    assert previewed(lambda w: replace(w, preview=replace(FACTS, switching="back-1"))).phase == "Previewed"


def test_another_operation_does_not_hold_it_up_and_is_named() -> None:
    locked = v.OperationLock("Other", "Snapshot nightly", START)
    preview = previewed(lambda w: replace(w, lock=locked)).preview
    assert preview is not None
    assert preview.would_run
    assert "Snapshot nightly" in preview.waits_for


def test_a_job_that_fails_is_tried_once_more_then_the_report_says_so() -> None:
    failure = Failure(reason=c.STORE_UNREACHABLE, message="no route", retryable=True)
    again = step(jobs=(job(payload=None, failure=failure),))
    assert isinstance(again, Record)
    assert again.status.attempt == 2
    assert again.status.preview is None
    model = ready()
    status = begun(model).model_copy(update={"attempt": 2})
    world = replace(model.see(model.time).world, preview=FACTS, jobs=(job(attempt=2, payload=None, failure=failure),))
    assert world.environment is not None
    world = replace(world, environment=altered_environment(world.environment, probed_at=model.now()))
    end = plan.decide(status, spec(model), world, ROLLBACK_ID, model.now())
    assert isinstance(end, Record)
    assert end.status.preview is not None
    assert reasons(end.status) == [c.STORE_UNREACHABLE]
    assert "no route" in end.status.preview.unread[0]
    assert end.status.preview.files is None


def test_a_job_that_cannot_be_created_is_what_refuses_it() -> None:
    def refused(world: v.World) -> v.World:
        return replace(
            world, refused_since=START - timedelta(days=1), refusal_reason=c.STORE_NOT_FOUND, refusal="no store"
        )

    status = previewed(refused, jobs=())
    assert reasons(status) == [c.STORE_NOT_FOUND]


def test_it_ends_in_time() -> None:
    status = previewed(environment(probed_at=None), later=61, jobs=(job(ended=False, payload=None),), timeoutSeconds=60)
    assert status.preview is not None
    assert status.preview.would_run is False
    assert "timeoutSeconds" in status.preview.unread[0]
    assert reasons(status) == []
    assert plan_preview.reason(status.preview) == c.PREVIEW_INCOMPLETE


def test_one_that_is_deleted_or_ended_does_nothing() -> None:
    assert step(lambda w: replace(w, deleting=True)) == Idle()
    model = ready()
    ended = previewed()
    assert plan.decide(ended, spec(model), model.see(model.time).world, ROLLBACK_ID, model.now()) == Idle()


# --- what others see of it -------------------------------------------------------------------------------------------


def shown(status: RollbackStatus) -> RollbackStatus:
    return summarized(status, generation=1, deleting=False, reason="", message="", now=START)


@pytest.mark.parametrize(
    ("change", "reason"), [(lambda w: w, c.WOULD_RUN), (FAULTS["full"], c.WOULD_BE_REFUSED)]
)  # fmt: skip
def test_it_cannot_be_mistaken_for_a_rollback_that_ran(change: Change, reason: str) -> None:
    status = shown(previewed(change))
    types = {x.type: (x.status, x.reason) for x in status.conditions}
    assert types == {c.PREVIEWED: ("True", reason), c.READY: ("True", reason)}
    assert c.outcome(status.conditions) == "Previewed"
    assert c.is_terminal(status.conditions)
    assert (status.phase, status.position, status.switched_at, status.recovery_evidence) == (
        "Previewed",
        None,
        None,
        None,
    )
    assert evidence.of(spec(ready()), status) is None
    assert idle({"metadata": {}, "status": status.wire()})


def test_while_it_runs_it_is_neither_urgent_nor_critical() -> None:
    status = shown(begun(ready()))
    obj = {"metadata": {}, "status": status.wire()}
    assert not under_way(obj)
    assert not critical(obj)
    assert not idle(obj)
    assert (status.phase, c.is_terminal(status.conditions)) == ("Previewing", False)
    assert c.is_true(status.conditions, c.RECONCILING)


def test_no_other_operation_waits_for_it() -> None:
    catalog = new_catalog()
    body = {"snapshotRef": {"name": "s"}}
    for name, dry in (("preview", True), ("real", False)):
        catalog.put(
            "Rollback",
            objects.obj("Rollback", name, {**body, "dryRun": dry}, {"environmentName": "shop"}, uid=name),
        )
    assert [e.key.name for e in operations(catalog, "shop", "shop")] == ["real"]
    assert list(restored(catalog, "shop")) == ["s"]
    assert entry(objects.obj("Rollback", "p", {**body, "dryRun": True})).preview


def test_predictions_are_in_the_report() -> None:
    past = PastRollback("2026-01-01T00:00:00Z", restore_seconds=106.0, downtime_seconds=3.0, database_bytes=5 * 10**8)
    facts = replace(FACTS, past=(past,))
    preview = previewed(lambda w: replace(w, preview=facts)).preview
    assert preview is not None
    assert preview.prediction is not None
    assert (preview.prediction.duration_seconds, preview.prediction.downtime_seconds) == (209.0, 3.0)
    assert (preview.prediction.duration_source, preview.prediction.rollbacks) == ("Rollbacks", 1)


@pytest.mark.parametrize(("into", "neutralizes"), [("staging", True), ("production", False)])
def test_whether_the_copy_is_neutralised_is_in_the_report(into: str, neutralizes: bool) -> None:
    target, taken_of = environment(type=into, neutralize_sql=True), snapshot(environment_type="production")
    preview = previewed(lambda w: target(taken_of(w))).preview
    assert preview is not None
    assert preview.neutralizes is neutralizes
