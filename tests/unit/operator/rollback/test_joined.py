"""The preflight in the restore's Job: the same checks and reasons, nothing that begins before the answer, and a probe
of its own where that Job gives none."""

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_crds import conditions as c
from ocore_crds.commands.restore import Preflight
from ocore_crds.protocol import Failure, Finding, ProbeResult, RestoreResult, Step
from ocore_crds.resources.environment import ProbeStatus
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus, RollbackTarget
from ocore_operator.clock import text
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Outcome, Stalled, Waiting
from ocore_operator.frame.actions import Record, Wait
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.kube.resources import Environment
from ocore_operator.rollback import building, effects, observe, plan
from ocore_operator.rollback.entry import entry
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.observe import Observed
from ocore_operator.rollback.plan_joined import SILENT_SECONDS, UNPLACED_SECONDS, UNSTARTED_SECONDS
from ocore_operator.rollback.plan_preflight import PROBE_SECONDS
from ocore_operator.rollback.transitions import begin, change, join, state_of, unanswered
from ocore_operator.rollback.world import (
    Action,
    AskProbe,
    CreateSafetySnapshot,
    Do,
    JobView,
    OperationLock,
    ReportProbe,
    SourceView,
    StartJob,
    StopJob,
    StoreView,
    World,
)
from support.operator import objects, rollback_seen
from support.operator.jobs import rollback
from support.operator.rollback_model import START
from support.operator.rollback_seen import altered_environment, altered_snapshot

UID = "0a1b2c3d-0000-4000-8000-000000000001"
ENVIRONMENT_ID = "e0000000-0000-4000-8000-000000000001"
PROJECT_ID = "d0000000-0000-4000-8000-000000000001"
SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}})
SAFE = RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}, "createSafetySnapshot": True})
TARGET = RollbackTarget(database_secret_name="db", claim_name="files", path="shop", layout="Odoo")
#: The last probe before the rollback, and the lock.
LOCKED = START + timedelta(seconds=10)
GOOD = rollback_seen.environment(
    store_name="bucket",
    capacity=10**12,
    probed_at=START,
    server_major=17,
    rollback_ready=True,
    snapshot_ready=True,
    target=TARGET,
)
SNAPSHOT = rollback_seen.snapshot(
    environment_id=ENVIRONMENT_ID,
    project_id=PROJECT_ID,
    store_name="bucket",
    store_id="store",
    server_major=17,
    database_bytes=10**9,
)
MISSING = ProbeResult(blocking=(Finding(reason=c.MISSING_GRANTS, message="ALTER ROLE shop CREATEDB"),))


def world(*jobs: JobView, environment: Environment | None = GOOD, **changes: Any) -> World:
    full = World(
        created=START,
        environment=environment,
        snapshot=SNAPSHOT,
        finalizer=True,
        lock=OperationLock("Ours", "Rollback r1", LOCKED),
        jobs=jobs,
    )
    return replace(full, **changes)


def begun(spec: RollbackSpec = SPEC) -> RollbackStatus:
    """At the stage Preflight, with the lock."""
    return begin(RollbackStatus(), spec, UID, START, "shop")


def joined(spec: RollbackSpec = SPEC) -> RollbackStatus:
    return change(join(begun(spec), spec, GOOD, SNAPSHOT, LOCKED), snapshot_name="s1")


def job(*, age: float = 1, **changes: Any) -> JobView:
    """The restore's Job, `age` seconds old at the time of :func:`decide`."""
    created = text(LOCKED + timedelta(seconds=1))
    running = JobView("restore", 1, "restore-1", pods=1, mounts=1, pod="p", has_log=True, created=created)
    return replace(running, **changes)


def decide(status: RollbackStatus, seen: World, seconds: float = 1, spec: RollbackSpec = SPEC) -> Action:
    """So many seconds after the Job was created."""
    return plan.decide(status, spec, seen, UID, LOCKED + timedelta(seconds=1 + seconds))


def recorded(action: Action) -> RollbackStatus:
    assert isinstance(action, Record), action
    return action.status


def after(result: Environment) -> Environment:
    """As the Environment shows it, once it has written what the restore's Job has found."""
    return altered_environment(result, probed_at=LOCKED + timedelta(seconds=1))


REFUSES = after(
    altered_environment(GOOD, rollback_ready=False, not_ready_reason=c.MISSING_GRANTS, not_ready_message="ALTER ROLE")
)


def test_the_status_says_it_before_the_job_exists() -> None:
    """What the Job makes is removed, when anything dies."""
    status = recorded(decide(begun(), world()))
    assert (status.stage, status.phase, status.residue, status.attempt) == ("Restore", "Pending", "Pending", 1)
    assert (state_of(status, Step.PREFLIGHT), state_of(status, Step.RESTORE_DATABASE)) == ("Running", "Pending")
    assert unanswered(status)
    assert decide(status, world()) == Do(StartJob("restore", 1))
    raw = objects.obj("Rollback", "back", SPEC.wire(), status.wire())
    assert entry(raw).began, "an Environment with the same database must not be cleaned up beside it"


@pytest.mark.parametrize(
    "change_",
    [
        {"environment": altered_environment(GOOD, probed_at=None)},
        {"environment": altered_environment(GOOD, snapshot_ready=False)},
        {"environment": altered_environment(GOOD, rollback_ready=False, not_ready_reason=c.REPLICATION_ACTIVE)},
        {"environment": altered_environment(GOOD, store_name="other")},
        {"environment": altered_environment(GOOD, scratch_class="fast")},
        {"environment": altered_environment(GOOD, capacity=10**9)},
        {"environment": altered_environment(GOOD, server_major=16)},
        {"source": SourceView(store=StoreView("reader", id="store"))},
    ],
)
def test_where_the_last_probe_found_anything_a_probe_of_its_own_answers(change_: dict[str, Any]) -> None:
    """No slower than without the restore's Job."""
    spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}, "allowReplicationLoss": True})
    assert decide(begun(), world(**change_), spec=spec) == Do(AskProbe())


def test_the_answer_is_the_environments_and_the_job_goes_on() -> None:
    running = job(probe=ProbeResult())
    assert decide(joined(), world(running)) == Do(ReportProbe(ProbeResult(), running.created))
    waits = decide(joined(), world(running, probe_reported=running.created))
    assert isinstance(waits, Wait)
    action = decide(joined(), world(running, environment=after(GOOD)))
    assert isinstance(action, Record)
    status = action.status
    assert (status.stage, status.phase, status.attempt) == ("Restore", "Restoring", 1)
    assert (state_of(status, Step.PREFLIGHT), state_of(status, Step.RESTORE_DATABASE)) == ("Done", "Running")
    assert [note.reason for note in action.notes] == ["Started"]
    assert isinstance(decide(status, world(running, environment=after(GOOD))), Wait)


def test_a_safety_snapshot_begins_only_after_the_answer() -> None:
    for seen in (world(), world(job()), world(job(probe=ProbeResult()))):
        action = decide(joined(SAFE), seen, spec=SAFE)
        assert not (isinstance(action, Do) and isinstance(action.effect, CreateSafetySnapshot)), action
    failed = job(ended=True, pods=0, failure=Failure(reason=c.JOB_FAILED, message="evicted", retryable=True))
    again = recorded(decide(joined(SAFE), world(failed), spec=SAFE))
    assert (again.attempt, unanswered(again)) == (2, True)
    passed = recorded(decide(joined(SAFE), world(job(), environment=after(GOOD)), spec=SAFE))
    assert decide(passed, world(job(), environment=after(GOOD), safety_name="s"), spec=SAFE) == Do(
        CreateSafetySnapshot(), after="operator-rollback-safety-created"
    )


def test_refused_without_a_trace_as_at_the_preflight() -> None:
    """The Job has ended before it read anything; or it could not be started, and a probe of its own has found it."""
    alone = recorded(decide(begun(), world(environment=REFUSES)))
    ended = job(ended=True, pods=0, payload=MISSING, probe=MISSING)
    assert decide(joined(), world(ended)) == Do(ReportProbe(MISSING, ended.created))
    for seen in (world(ended, environment=REFUSES), world(environment=REFUSES, probe_alone=True)):
        status = recorded(decide(joined(), seen))
        states = [(s.name, s.state, s.message) for s in status.steps]
        assert states == [(s.name, s.state, s.message) for s in alone.steps]
        assert change(status, steps=()) == change(alone, steps=())
        assert (status.failure_reason, status.started_at, status.residue) == (c.MISSING_GRANTS, None, "None")


def test_refused_beside_a_job_that_runs_it_is_stopped_and_its_copy_removed() -> None:
    """A probe of its own has found what the Job has not, or another Environment has the database by now."""
    taken = altered_environment(GOOD, not_ready_reason=c.DUPLICATE_TARGET, not_ready_message="as shop2", probed_at=None)
    for environment, reason in ((REFUSES, c.MISSING_GRANTS), (taken, c.DUPLICATE_TARGET)):
        status = recorded(decide(joined(), world(job(), environment=environment)))
        assert (status.stage, status.failure_reason, status.residue) == ("Abort", reason, "Pending")
    # An attempt before this one may have left something.
    ended = job(attempt=2, ended=True, pods=0, payload=MISSING, probe=MISSING)
    second = recorded(decide(change(joined(), attempt=2), world(ended, environment=REFUSES)))
    assert (second.stage, second.residue) == ("Abort", "Pending")


def test_no_slot_a_probe_of_its_own_waits_for_none() -> None:
    assert decide(joined(), world(probe_alone=True)) == Do(AskProbe())
    waits = decide(joined(), world(probe_alone=True, probe_asked=True, probe_waits="quota"))
    assert isinstance(waits, Wait)
    assert waits.message.endswith("quota")
    passed = recorded(decide(joined(), world(environment=after(GOOD), probe_alone=True)))
    assert decide(passed, world(environment=after(GOOD), probe_alone=True)) == Do(StartJob("restore", 1))


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"problem": "0/1 nodes are available", "reason": c.JOB_PENDING}, UNPLACED_SECONDS),
        ({"problem": "ContainerCreating"}, UNSTARTED_SECONDS),
        ({}, SILENT_SECONDS),
    ],
)
def test_a_job_that_does_not_answer_is_not_waited_for(changes: dict[str, Any], seconds: float) -> None:
    """No node takes its pod, for example. An operator that was away begins to count when it is back."""
    assert isinstance(decide(joined(), world(job(**changes)), seconds), Wait)
    assert decide(joined(), world(job(**changes)), seconds + 0.1) == Do(AskProbe())
    away = world(job(**changes), watched_since=LOCKED + timedelta(seconds=1 + seconds))
    assert isinstance(decide(joined(), away, seconds + 1), Wait)
    late = world(job(**changes), probe_asked=True)
    assert isinstance(decide(joined(), late, SILENT_SECONDS + PROBE_SECONDS), Wait)
    status = recorded(decide(joined(), late, SILENT_SECONDS + PROBE_SECONDS + 1))
    assert status.failure_reason == c.ENVIRONMENT_NOT_READY


def test_what_a_job_found_for_another_spec_is_no_answer() -> None:
    changed = altered_environment(GOOD, probed_at=None)
    assert isinstance(decide(joined(), world(job(probe=ProbeResult()), environment=changed)), Wait)
    assert decide(joined(), world(job(probe=ProbeResult()), environment=changed), SILENT_SECONDS + 1) == Do(AskProbe())


def test_a_log_that_is_lost_costs_a_probe_and_not_the_restore() -> None:
    done = job(ended=True, pods=0, payload=RestoreResult(restored_database="copy"))
    assert decide(joined(), world(done)) == Do(AskProbe())
    passed = recorded(decide(joined(), world(done, environment=after(GOOD))))
    assert recorded(decide(passed, world(done, environment=after(GOOD)))).stage == "Prepare"


def test_a_job_that_found_another_server_is_made_again() -> None:
    """With the image of the server's version: the checks have passed."""
    ended = job(ended=True, pods=0, payload=ProbeResult(), probe=ProbeResult())
    upgraded = after(altered_environment(GOOD, server_major=18))
    passed = recorded(decide(joined(), world(ended, environment=upgraded)))
    assert decide(passed, world(ended, environment=upgraded)) == Do(StopJob(ended.name))
    assert decide(passed, world(environment=upgraded)) == Do(StartJob("restore", 1))


def test_a_snapshot_that_is_gone_refuses_it() -> None:
    status = recorded(decide(joined(), world(snapshot=None, probe_alone=True)))
    assert (status.failure_reason, status.residue) == (c.SNAPSHOT_NOT_FOUND, "None")


@pytest.mark.parametrize(
    "end", [Waiting(c.WAITING_FOR_JOB_SLOT, "full", 5), Failed(c.JOB_REFUSED, "x"), Stalled("x", "y")]
)
def test_a_restore_that_cannot_start_leaves_the_preflight_to_a_probe(
    end: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and what refuses it has its patience only after the answer."""

    async def refuse(*_: object) -> None:
        raise end

    monkeypatch.setattr(building, "job_of", refuse)
    memory = Memory()
    ctx = cast("Context", SimpleNamespace(now=lambda: START))
    for status, alone in ((joined(), True), (change(joined(), stage="Prepare"), False)):
        back = rollback().with_status(status)
        observed = Observed(back, status, world(environment=None, snapshot=None))
        expected = nullcontext() if alone else pytest.raises(type(end))
        with expected:
            asyncio.run(effects.carry_out(ctx, observed, memory, StartJob("restore", 1)))
        assert memory.probe_alone
        assert (memory.refused_since is None) == (alone or end.reason == c.WAITING_FOR_JOB_SLOT)


def test_the_restores_probe_must_find_what_the_last_one_has() -> None:
    probe = ProbeStatus(time=text(START), generation=1, server_major=17, server_identity="7-1", database_name="shop")
    environment = objects.environment(
        {"database": {"secretRef": {"name": "db"}, "capacity": str(10**12)}}, {"probe": probe.wire()}
    )
    observed = Observed(rollback(), joined(), world(environment=environment))
    wanted = Preflight(server_major=17, server_identity="7-1", database_name="shop", most_used=10**12 - 15 * 10**8)
    assert building.preflight_of(observed) == wanted
    empty = replace(
        observed, world=world(environment=environment, snapshot=altered_snapshot(SNAPSHOT, database_bytes=0))
    )
    assert building.preflight_of(empty) == wanted.model_copy(update={"most_used": None})


async def _whole(_: str, __: str) -> LogState:
    return LogState(probe=ProbeResult())


def test_the_answer_is_in_the_result_or_in_the_log() -> None:
    log = LogState(probe=ProbeResult())
    followers = SimpleNamespace(ensure=lambda _, __: log, whole=_whole)
    ctx = cast("Context", SimpleNamespace(followers=followers))
    pods = {"restore-1": ({"metadata": {"name": "p"}},)}
    seen = cast("Observation", SimpleNamespace(pods=pods))
    cases = (
        (job(), ProbeResult()),
        (job(pod="", has_log=False), None),
        (job(ended=True, payload=MISSING), MISSING),
        (job(ended=True, payload=RestoreResult()), ProbeResult()),
        (job(name="gone", ended=True, payload=RestoreResult()), None),
    )
    for view, expected in cases:
        assert asyncio.run(observe.probe_of(ctx, rollback(), seen, view)) == expected
