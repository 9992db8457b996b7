"""The Job of the restore goes on as the first attempt at the switch: when it does, what leaves the switch to another
Job, and that there are never two."""

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, RestoredReport, RestoreResult, Result, Step, SwitchResult
from ocore_crds.resources.neutralize import NeutralizeStatus
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus, UndoStatus
from ocore_crds.resources.snapshot import SavedWorkload
from ocore_crds.stored.manifest import Evidence
from ocore_kube.types import ENVIRONMENTS, JOBS, ROLLBACKS
from ocore_operator.context import Context
from ocore_operator.frame.actions import Record, Wait
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.rollback import observe, plan
from ocore_operator.rollback.transitions import begin, change, stamp, step
from ocore_operator.rollback.world import Action, Do, JobKind, JobView, OperationLock, StartJob, StopJob, World, goes_on
from ocore_operator.workloads.quiesce import DRAIN_SECONDS
from ocore_operator.workloads.view import WorkloadView
from support.operator import objects, rollback_seen
from support.operator.jobs import rollback
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import ENVIRONMENT_ID, START, Model
from support.operator.rollback_objects import TARGET, time_at
from support.operator.whole_rollback import KEY, Site, probed

UID = "0a1b2c3d-0000-4000-8000-000000000001"
SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}})
RESULT = RestoreResult(restored_database="shop_rb_0a1b2c3d", evidence=Evidence(proven=("all of it",)))
NEW = SwitchResult(position="New", live_database="shop", accepting_connections=True)
STOPPED = WorkloadView("Deployment", "shop", replicas=0)
SAVED = SavedWorkload(kind="Deployment", name="shop", replicas=2)
RUNS = JobView("restore", 1, "restore-1", pods=1, mounts=1, pod="p", has_log=True, created=stamp(START))
WAITS = replace(RUNS, restored=RESULT, ready=True)
ENDED = replace(RUNS, pods=0, mounts=0, ended=True, ended_at=START)
#: How it ends without an answer to the operator's signal.
GAVE_UP = {
    "no signal in time, or what prevents the switch": replace(ENDED, payload=RESULT),
    "killed": replace(ENDED, failure=Failure(reason=c.JOB_FAILED, message="Killed.", retryable=True)),
    "the signal of someone else": replace(ENDED, payload=NEW),
}


def status(stage: str, **changes: Any) -> RollbackStatus:
    begun = step(begin(RollbackStatus(), SPEC, UID, START), Step.PREFLIGHT, "Done", START)
    found = change(begun, stage=stage, stage_since=stamp(START))
    known = {"position": "Old", "residue": "Pending", "deadline": stamp(time_at(5000)), "attempt": 1}
    at = {"environment_id": ENVIRONMENT_ID, "target": TARGET, "switch_attempt": 1, "workloads": (SAVED,)}
    return change(found, **{**known, **at, **changes})


def world(*jobs: JobView, **changes: Any) -> World:
    view = rollback_seen.environment(target=TARGET)
    lock = OperationLock("Ours", "Rollback r1", START)
    full = World(
        created=START, environment=view, snapshot=None, finalizer=True, lock=lock, jobs=jobs, workloads=(STOPPED,)
    )
    return replace(full, **changes)


def decide(found: RollbackStatus, seen: World, seconds: float = 1) -> Action:
    return plan.decide(found, SPEC, seen, UID, time_at(seconds))


def recorded(action: Action) -> RollbackStatus:
    assert isinstance(action, Record), action
    return action.status


@pytest.mark.parametrize(
    ("spec", "found", "expected"),
    [
        ({}, {}, True),
        ({"restoreImage": "Always"}, {}, True),
        ({"createSafetySnapshot": True}, {}, False),
        ({"restoreImage": "WaitForGit"}, {}, False),
        ({}, {"neutralize": NeutralizeStatus(required=True, own_identity=False)}, False),
        ({}, {"undo": UndoStatus(rollback_name="r", rollback_id=UID, names_id=UID, to="Old")}, False),
    ],
)
def test_nothing_long_comes_between(spec: dict[str, Any], found: dict[str, Any], expected: bool) -> None:
    """A Job that waits keeps its slot: it must not wait for what needs one, or for people."""
    full = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}, **spec})
    assert goes_on(change(RollbackStatus(), **found), full) is expected


def test_the_restore_is_in_the_status_before_the_switch() -> None:
    """Its result is recorded though its Job has not ended, and no other Job is started."""
    restoring = status("Restore", switch_attempt=0, workloads=())
    assert isinstance(decide(restoring, world(RUNS)), Wait)
    fresh = recorded(decide(restoring, world(replace(WAITS, ready=False))))
    assert (fresh.stage, fresh.switch_attempt) == ("Prepare", 1)
    assert fresh.evidence is not None
    assert "all of it" in fresh.evidence.proven
    assert isinstance(decide(fresh, world(replace(WAITS, ready=False))), Wait)
    started = replace(STOPPED, replicas=2, ready_replicas=2, pods=2)
    announced = recorded(decide(fresh, world(WAITS, workloads=(started,))))
    assert recorded(decide(announced, world(WAITS, workloads=(started,)))).stage == "Stop"


@pytest.mark.parametrize("stage", ["Prepare", "Drain", "Switch"])
@pytest.mark.parametrize("job", GAVE_UP.values(), ids=GAVE_UP)
def test_row_142_another_job_switches_and_nothing_is_restored_again(stage: str, job: JobView) -> None:
    if stage == "Switch" and job.payload == NEW:
        return  # then it is the answer
    found = status(stage, signal_deadline=stamp(time_at(30)) if stage == "Switch" else None)
    fresh = recorded(decide(found, world(job)))
    assert (fresh.stage, fresh.switch_attempt, fresh.signal_deadline) == (stage, 2, None)
    assert fresh.attempt == 1
    # It starts when no pod of the first one is left.
    lingers = replace(job, pods=1)
    assert decide(fresh, world(lingers)) == Do(StopJob(lingers.name))
    assert isinstance(decide(fresh, world(replace(lingers, stopping=True))), Wait)
    assert decide(fresh, world(job)) == Do(StartJob("switch", 2))


def test_row_142_a_restore_that_was_killed_when_it_was_done_is_not_repeated() -> None:
    killed = replace(GAVE_UP["killed"], restored=RESULT)
    assert recorded(decide(status("Restore", switch_attempt=0), world(killed))).stage == "Prepare"
    again = recorded(decide(status("Restore", switch_attempt=0), world(GAVE_UP["killed"])))
    assert (again.stage, again.attempt) == ("Restore", 2)


def test_row_142_a_job_that_was_deleted_is_followed_by_another_one() -> None:
    assert decide(status("Prepare"), world()) == Do(StartJob("switch", 1))
    assert decide(status("Drain"), world()) == Do(StartJob("switch", 1))
    assert recorded(decide(status("Switch", signal_deadline=stamp(time_at(30))), world())).stage == "Inspect"


def test_row_142_the_position_is_read_when_it_cannot_switch_any_more() -> None:
    """Nor is anything switched back beside it."""
    assert decide(status("Inspect", inspect_attempt=1), world(WAITS)) == Do(StopJob(WAITS.name))
    assert decide(status("BackJob", switch_attempt=2), world(WAITS)) == Do(StopJob(WAITS.name))


def test_what_cannot_be_switched_by_another_job_either_ends_it() -> None:
    refused = replace(ENDED, failure=Failure(reason=c.MISMATCH, message="database and filestore do not fit."))
    fresh = recorded(decide(status("Drain"), world(refused)))
    assert (fresh.stage, fresh.failure_reason) == ("Abort", c.MISMATCH)
    fresh = recorded(decide(status("Switch", signal_deadline=stamp(time_at(30))), world(refused)))
    assert fresh.stage == "Inspect"


# --- whole rollbacks --------------------------------------------------------------------------------------------------


def run(model: Model, operator: Operator, until: str, most: float = 2000) -> None:
    while model.status.stage != until:
        assert model.time < most, model.status
        if not operator.act(*operator.decide()):
            model.advance(0.25, 1)


def test_a_rollback_in_place_is_one_job() -> None:
    model = Model()
    run(model, Operator(model), "Ended")
    assert (model.status.phase, list(model.jobs)) == ("Complete", ["restore-1"])
    assert model.status.switch_attempt == 1


def test_row_142_where_logs_cannot_be_read_it_is_slower_and_no_less_safe() -> None:
    """The Job waits in vain, and ends with the result of its restore. Where that is known before, it does not wait."""
    took = []
    for known in (False, True):
        model = Model()
        model.logs, model.log_tried = False, known
        run(model, Operator(model), "Ended")
        assert (model.status.phase, model.switches) == ("Complete", 1)
        assert [name for name in model.jobs if name.startswith("restore")] in ([], ["restore-1"])
        assert model.status.switch_attempt == 2
        took.append(model.time)
    assert took[1] + DRAIN_SECONDS < took[0]


@pytest.mark.parametrize("how", ["kill", "lose"])
@pytest.mark.parametrize("steps", range(1, 14))
def test_row_142_killed_or_lost_at_any_step(how: str, steps: int) -> None:
    """It ends on the new data, having been switched once; what was restored before is not restored again."""
    model = Model()
    operator = Operator(model)
    made = 0
    while model.status.stage != "Ended":
        assert model.time < 2000, model.status
        if operator.act(*operator.decide()):
            continue
        model.advance(0.25, 1)
        job = model.jobs.get("restore-1")
        made += job is not None and job.alive
        if made == steps and job is not None and job.alive:
            known = job.restored is not None
            getattr(model, how)(job)
            made += 1
            while model.status.stage == "Restore" and model.status.attempt == 1:
                if not operator.act(*operator.decide()):
                    model.advance(0.25, 1)
            assert model.status.attempt == (1 if known else 2)
    assert (model.status.phase, model.status.position, model.switches) == ("Complete", "New", 1)


def test_row_142_an_operator_that_was_away_finds_the_restore_and_switches() -> None:
    """Longer than the Job waits for its signal."""
    model = Model()
    operator = Operator(model)
    run(model, operator, "Restore")
    operator.decide()
    while "restore-1" not in model.jobs:
        operator.act(*operator.decide())
    for _ in range(600):
        model.advance(0.5, 1)
    run(model, Operator(model), "Ended")
    assert (model.status.phase, model.status.attempt, model.switches) == ("Complete", 1, 1)


def test_stopped_workloads_are_what_it_switches_for() -> None:
    """The signal goes to the Job of the restore, by its name."""
    model = Model()
    operator = Operator(model)
    run(model, operator, "Resume")
    (job,) = model.jobs.values()
    assert job.signal is not None
    assert job.signal.job == job.name == "restore-1"


# --- what is read -----------------------------------------------------------------------------------------------------


def read(log: LogState, stage: str, view: JobView, attempt: int = 1) -> JobView:
    """The Job of a restore as it is observed, with that log."""

    async def whole(*_: object) -> LogState:
        return log

    followers = SimpleNamespace(ensure=lambda *_: log, whole=whole)
    found = rollback()
    at = change(found.status, stage=stage, attempt=attempt)
    ctx = cast(Context, SimpleNamespace(followers=followers))
    pods = {view.name: ({"metadata": {"name": "p", "creationTimestamp": stamp(START)}},)}
    seen = Observation(jobs={}, pods=pods, now=START, start_deadline=180)
    return asyncio.run(observe.with_log(ctx, replace(found, status=at), seen, view))


def test_its_log_says_what_it_has_done() -> None:
    """And that it waits: its pod is ready as soon as it runs."""
    log = LogState()
    running = replace(RUNS, ready=True)
    assert read(log, "Restore", running) == replace(running, ready=False)
    log.take(RestoredReport(result=RESULT, time="2026-01-01T00:00:00Z").model_dump_json(by_alias=True))
    log.take('{"type":"ready","time":"2026-01-01T00:00:01Z"}')
    assert read(log, "Prepare", running) == WAITS
    assert not read(log, "Drain", replace(running, ready=False)).ready, "its pod is being deleted"
    done = {"type": "step", "step": "Switch", "state": "Done", "message": NEW.model_dump_json(), "time": "t"}
    log.take(json.dumps(done))
    assert read(log, "Switch", running).answer == NEW
    assert read(log, "HealthCheck", running) == replace(running, ready=True)


WAITING = {"running": {"startedAt": objects.at(1)}}


def switch_pod(state: dict[str, Any] = WAITING, restarts: int = 0, **meta: Any) -> dict[str, Any]:
    pod = objects.pod("switch-1", state)
    pod["metadata"] |= meta
    pod["status"]["containerStatuses"][0] |= {"ready": False, "restartCount": restarts}
    return pod


@pytest.mark.parametrize(
    ("pod", "says", "ready"),
    [
        (switch_pod(), True, True),
        (switch_pod(), False, False),
        (switch_pod({"waiting": {"reason": "ContainerCreating"}}), True, False),
        (switch_pod(restarts=1), True, False),
        (switch_pod(deletionTimestamp=objects.at(90)), True, False),
    ],
    ids=["it says so", "it does not", "its container does not run", "an earlier container said so", "it is deleted"],
)
def test_a_switch_job_waits_for_its_signal_as_soon_as_its_log_says_so(
    pod: dict[str, Any], *, says: bool, ready: bool
) -> None:
    """The kubelet looks at its readiness once a second."""
    seen = objects.observation([objects.job("switch-1", "switch")], {"switch-1": [pod]})
    view = observe.job_view(seen, "switch-1", "switch", 1)
    assert view is not None
    followers = SimpleNamespace(ensure=lambda *_: LogState(ready=says))
    found = replace(rollback(), status=change(status("Prepare"), switch_attempt=1))
    ctx = cast(Context, SimpleNamespace(followers=followers))
    assert asyncio.run(observe.with_log(ctx, found, seen, view)).ready is ready


def test_row_142_where_its_log_cannot_be_read_it_does_not_wait_for_a_signal() -> None:
    """It could not say that it waits: the rollback took three minutes more. A probe of its own makes the preflight."""
    site = Site()
    site.logs.refused = True
    site.place.put(ROLLBACKS, objects.obj("Rollback", "back", {"snapshotRef": {"name": "before"}}, {}))
    site.reconcile(KEY)
    assert (site.stage(KEY), site.jobs(KEY)) == ("Preflight", [])
    site.place.put(ENVIRONMENTS, probed(site.place.read(ENVIRONMENTS, "shop", "shop"), site.now))
    site.reconcile(KEY)
    (name,) = site.jobs(KEY)
    container = site.place.read(JOBS, "shop", name)["spec"]["template"]["spec"]["containers"][0]
    asked = "".join(each["value"] for each in container["env"] if each["name"].startswith("OCORE_REQUEST"))
    assert json.loads(asked)["snapshotId"]
    assert "signal" not in json.loads(asked)


OK = Result(ok=True, payload=NEW, time="t")
FAILED = Result(ok=False, failure=Failure(reason=c.SWITCH_FAILED, message="."), time="t")


@pytest.mark.parametrize("kind", ["restore", "switch"])
@pytest.mark.parametrize(
    ("result", "beside", "reported"),
    [(None, {}, False), (OK, {}, True), (FAILED, {}, False), (OK, {"restartPolicy": "Always"}, False)],
    ids=["not yet", "it has", "it failed, and may start again", "another container was injected"],
)
def test_row_35_a_pod_that_has_its_result_in_its_log_releases_the_claim(
    kind: JobKind, result: Result | None, beside: dict[str, Any], *, reported: bool
) -> None:
    """The kubelet shows the end of a container up to a second late, that of the pod up to three."""
    pod = switch_pod()
    pod["spec"] |= {
        "containers": [{"name": "mover"}],
        "initContainers": [{"name": "once"}, {"name": "proxy", **beside}],
    }
    name = f"{kind}-1"
    seen = objects.observation([objects.job(name, kind)], {name: [pod]})
    view = observe.job_view(seen, name, kind, 1)
    assert view is not None
    followers = SimpleNamespace(ensure=lambda *_: LogState(result=result))
    found = replace(rollback(), status=change(status("Resume"), switch_attempt=1))
    read_ = asyncio.run(observe.with_log(cast(Context, SimpleNamespace(followers=followers)), found, seen, view))
    assert (view.holds, read_.reported, read_.holds) == (True, reported, not reported)


def test_row_142_the_next_operator_does_not_read_the_hours_of_the_restore() -> None:
    """The log is read at a limited rate, and the application may be stopped."""
    asked: list[Any] = []
    log = LogState()

    def ensure(*args: Any) -> LogState:
        asked.append(args[2])
        return log

    checked = step(status("Drain"), Step.CHECK, "Running", time_at(3600))
    ctx = cast(Context, SimpleNamespace(followers=SimpleNamespace(ensure=ensure)))
    seen = Observation(jobs={}, pods={}, now=START, start_deadline=180)
    for found in (checked, change(checked, stage="Restore"), status("Drain")):
        asyncio.run(observe.with_log(ctx, replace(rollback(), status=found), seen, RUNS))
    assert asked == [time_at(3600 - 120), None, None]


def test_the_log_of_one_that_has_ended_is_read_where_it_has_left_nothing() -> None:
    log = LogState(restored=RESULT)
    assert read(log, "Restore", GAVE_UP["killed"]).restored == RESULT
    for stage, job, attempt in (("Drain", GAVE_UP["killed"], 1), ("Restore", ENDED, 1), ("Restore", WAITS, 2)):
        assert read(log, stage, replace(job, restored=None), attempt).restored is None
