"""Workloads, the signal, what an Environment remembers, conditions: the pure parts around the plan."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.naming import ANNOTATION_SIGNAL
from ocore_crds.protocol import Failure, Result, Signal, Step, StepReport, SwitchResult
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus, RollbackTarget, SavedWorkload
from ocore_crds.resources.workloads import Target
from ocore_crds.rules.shown_step import Begun, shown_step
from ocore_kube.errors import ApiError
from ocore_operator.frame.actions import Idle, Record, SetLock
from ocore_operator.jobs import signals
from ocore_operator.jobs.reporting.log import LogState
from ocore_operator.kube import resources
from ocore_operator.kube.client import LogLine
from ocore_operator.rollback import building, plan, plan_after_end, switch_signal
from ocore_operator.rollback.conditions import summarized
from ocore_operator.rollback.executed import executed, remembered, spec_hash
from ocore_operator.rollback.observe import _with_steps_of_log
from ocore_operator.rollback.plan_switch import STOP_JOBS_SECONDS
from ocore_operator.rollback.snapshot_and_environment import probe_of
from ocore_operator.rollback.transitions import (
    LATE_SECONDS,
    begin,
    change,
    enter,
    join,
    passed,
    saving,
    stamp,
    state_of,
    switched,
    switched_back,
    timed_out,
)
from ocore_operator.rollback.world import Action, Do, JobView, OperationLock, StartJob, StopJob, World
from ocore_operator.workloads import scale
from ocore_operator.workloads.view import WorkloadView
from support.operator import objects, rollback_seen
from support.operator.objects import at
from support.operator.rollback_model import ENVIRONMENT_ID, START
from support.operator.rollback_objects import NOW, conditions, environment, rollback, time_at
from support.operator.rollback_seen import altered_environment


def deployment(*, replicas: int = 1, generation: int = 2, observed: int = 2, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "shop", "generation": generation, "resourceVersion": "7"},
        "spec": {
            "replicas": replicas,
            "selector": {
                "matchLabels": {"b": "2", "a": "1"},
                "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["x", "y"]},
                    {"key": "k", "operator": "Exists"},
                ],
            },
            "template": {"spec": {"terminationGracePeriodSeconds": 5}},
        },
        "status": {"observedGeneration": observed, **status},
    }


def pod(name: str = "p", *, phase: str = "Running", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"nodeName": "n"}, "status": {"phase": phase, **status}}


def _status(stage: str, since: float, deadline: float) -> RollbackStatus:
    return RollbackStatus.model_validate(
        {
            "stage": stage,
            "stageSince": stamp(time_at(since)),
            "deadline": stamp(time_at(deadline)),
            "phase": "Switching",
        }
    )


def test_a_change_of_a_misspelt_field_is_an_error() -> None:
    """A status ignores fields that it does not know (a newer operator may have written them), so a misspelt one would
    be lost."""
    status = _status("Drain", since=0, deadline=200)
    assert change(status, switch_attempt=2).switch_attempt == 2
    with pytest.raises(TypeError, match="RollbackStatus has no field switch_atempt"):
        change(status, switch_atempt=2)
    with pytest.raises(TypeError, match="failure_messages"):
        enter(status, "Switch", START, failure_messages="lost")


def test_a_stage_has_little_time_after_the_deadline() -> None:
    """Promise 5 of the README: the stages' own limits would add up to more."""
    world = World(created=START, environment=None, snapshot=None)
    late = _status("BackDrain", since=0, deadline=200)
    assert not timed_out(late, world, time_at(199), seconds=300)
    assert timed_out(late, world, time_at(200), seconds=300)
    assert not timed_out(_status("BackDrain", since=150, deadline=200), world, time_at(150 + LATE_SECONDS), seconds=300)
    assert timed_out(_status("BackDrain", since=150, deadline=200), world, time_at(151 + LATE_SECONDS), seconds=300)


def test_jobs_are_stopped_however_late_it_is() -> None:
    """An operator that was busy or restarting for a minute has not tried yet."""
    status = _status("Abort", since=0, deadline=500)
    at, spec = time_at(STOP_JOBS_SECONDS + 100), RollbackSpec.model_validate({"snapshotRef": {"name": "s"}})
    job = JobView("switch", 1, "j", pods=1)
    running = World(created=START, environment=None, snapshot=None, finalizer=True, jobs=(job,))
    assert plan.decide(status, spec, running, "id", at) == Do(StopJob(job.name))
    stopping = replace(running, jobs=(replace(job, stopping=True),))
    assert isinstance(plan.decide(status, spec, stopping, "id", at), Record)


def test_selector() -> None:
    assert scale.selector(deployment()) == "a=1,b=2,tier in (x,y),k"


@pytest.mark.parametrize(
    ("obj", "pods", "left", "ready"),
    [
        (deployment(replicas=0), [], 0, 0),
        # Its controller has not seen the order to stop: pods may still come.
        (deployment(replicas=0, observed=1), [], 1, 0),
        (deployment(replicas=0), [pod(), pod(phase="Succeeded")], 1, 0),
        (deployment(replicas=2, readyReplicas=1), [pod(), pod()], 2, 1),
        (deployment(replicas=2, readyReplicas=2), [pod(), pod()], 2, 2),
        # Ready by the count of before a change.
        (deployment(replicas=2, readyReplicas=2, observed=1), [pod(), pod()], 2, 0),
    ],
)
def test_pods_left_and_readiness(obj: dict[str, Any], pods: list[dict[str, Any]], left: int, ready: int) -> None:
    view = scale.view(Target("Deployment", "shop"), obj, pods)
    assert (view.pods, view.ready_replicas, view.grace_seconds, view.version) == (left, ready, 5, "7")


def test_the_pod_that_ends_last_and_when() -> None:
    """By the end of its grace period, which is the deletionTimestamp."""
    pods = [pod("stays"), *(pod(name) for name in ("first", "last", "never"))]
    ends = ("2026-01-01T00:00:20Z", "2026-01-01T00:00:35Z", "2999-01-01T00:00:00Z")
    for each, end in zip(pods[1:], ends, strict=True):
        each["metadata"]["deletionTimestamp"] = end
    pods[3]["metadata"]["deletionGracePeriodSeconds"] = 10**12  # of a tenant: no time that can be read
    view = scale.view(Target("Deployment", "shop"), deployment(replicas=0), pods)
    assert (view.leaving, view.leaves_by) == ("last", time_at(35))
    stays = scale.view(Target("Deployment", "shop"), deployment(replicas=0), pods[:1])
    assert (stays.leaving, stays.leaves_by) == ("", None)
    endless = deployment(replicas=0)
    endless["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 10**18
    assert scale.view(Target("Deployment", "shop"), endless, []).grace_seconds == scale.MOST_GRACE


def test_a_problem_has_the_pods_reason() -> None:
    crash = {
        "name": "app",
        "ready": False,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
    }
    text = scale.view(Target("Deployment", "shop"), deployment(), [pod("shop-1", containerStatuses=[crash])]).problem
    assert text == "pod shop-1: container app: CrashLoopBackOff: back-off 10s (last exit code 3, Error)"


WAITING = {"name": "app", "ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}
DONE = {"name": "wait-db", "ready": True, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
FAILED = {"exitCode": 7, "reason": "Error", "message": "migrating\ncolumn res_users.x\ndoes not exist\n"}


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": FAILED},
            },
            "init container migrate: CrashLoopBackOff: back-off 40s"
            " (last exit code 7, Error: migrating column res_users.x does not exist)",
        ),
        ({"state": {"terminated": FAILED}}, "init container migrate has ended (last exit code 7, Error: migrating"),
        ({"state": {"running": {}}}, "init container migrate is running, and the application waits for it"),
    ],
    ids=["waiting for its next start", "just ended", "running"],
)
def test_a_failing_init_container_is_named_with_its_exit_code(state: dict[str, Any], says: str) -> None:
    """It was reported as PodInitializing of the application's container (issue 9, item 25)."""
    failing = pod(
        "shop-1",
        initContainerStatuses=[DONE, {"name": "migrate", "ready": False, **state}],
        containerStatuses=[WAITING],
    )
    text = scale.view(Target("Deployment", "shop"), deployment(), [failing]).problem
    assert text.startswith(f"pod shop-1: {says}")


def test_a_cause_is_not_cut_within_a_word() -> None:
    """The kubelet's message says the cause at its end, and a container's log too (issue 9, item 25)."""
    pull = "failed to pull and unpack image: " + "try " * 90 + "unauthorized"
    waiting = {"name": "app", "ready": False, "state": {"waiting": {"reason": "ErrImagePull", "message": pull}}}
    assert scale.view(Target("Deployment", "shop"), deployment(), [pod(containerStatuses=[waiting])]).problem.endswith(
        "unauthorized"
    )
    log = "step done\n" * 200 + "KeyError: 'res.partner'"
    crash = {
        "name": "app",
        "ready": False,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": log}},
    }
    text = scale.view(Target("Deployment", "shop"), deployment(), [pod(containerStatuses=[crash])]).problem
    assert text.endswith("KeyError: 'res.partner')")
    assert "Error: … " in text
    assert len(text) < 1000


def done(step: str, position: str, state: str = "Done") -> str:
    message = SwitchResult.model_validate({"position": position}).model_dump_json(by_alias=True)
    return json.dumps({"type": "step", "step": step, "state": state, "message": message, "time": NOW})


def answer(*lines: str, status: int = 0) -> SwitchResult | None:
    """That of a log with these lines. `status`: of the error that ends it."""

    class Kube:
        async def follow_log(self, *_: str, follow: bool, seconds: float) -> AsyncIterator[LogLine]:
            """The position of now is wanted: a log that is followed ends with its Job only."""
            assert (follow, seconds) == (False, switch_signal.READ_SECONDS)
            for line in lines:
                yield LogLine(NOW, line)
            if status:
                raise ApiError(status, "", "no log")

    return asyncio.run(switch_signal.answer(SimpleNamespace(kube=Kube()), "shop", "p"))  # type: ignore[arg-type]


def test_the_newest_answer_counts() -> None:
    running = json.dumps({"type": "step", "step": "Switch", "state": "Running", "time": NOW})
    lines = [running, "a stray print", done("Switch", "New")]
    found = answer(*lines)
    assert found is not None
    assert found.position == "New"
    back = answer(*lines, done("SwitchBack", "Old"), running)
    assert back is not None
    assert back.position == "Old"
    assert answer(running, done("Check", "New")) is None


def test_only_the_end_of_a_switch_is_an_answer() -> None:
    assert answer(done("Switch", "New", "Running")) is None
    torn = json.dumps({"type": "step", "step": "Switch", "state": "Done", "message": "torn {", "time": NOW})
    assert answer(torn) is None
    known = answer(done("Switch", "New"), torn)
    assert known is not None, "a report that cannot be read does not hide the answer before it"
    assert known.position == "New"


@pytest.mark.parametrize("status", [404, 500])
def test_a_log_that_cannot_be_read_has_no_answer_yet(status: int) -> None:
    assert answer(done("Switch", "New"), status=status) is None


def test_a_signal_is_read_back_as_it_was_sent() -> None:
    signal = Signal(action="Switch", not_after=1767225600.123)
    carrying = {"metadata": {"annotations": {ANNOTATION_SIGNAL: signal.model_dump_json(by_alias=True)}}}
    assert signals.sent(carrying) == signal
    assert signals.sent({"metadata": {}}) is None
    assert signals.sent({"metadata": {"annotations": {ANNOTATION_SIGNAL: "torn {"}}}) is None


def test_why_the_container_before_failed() -> None:
    failure = Failure(reason=c.SESSIONS_REMAIN, message="one is left", retryable=True)
    text = Result(ok=False, failure=failure, time=NOW).termination_message()
    statuses = [
        {"name": "mover", "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1, "message": text}}}
    ]
    assert switch_signal.last_failure(pod(containerStatuses=statuses)) == failure
    killed = {"name": "mover", "lastState": {"terminated": {"exitCode": 137}}}
    assert switch_signal.last_failure(pod(containerStatuses=[killed])) is None
    other = {"name": "mover", "lastState": {"terminated": {"exitCode": 1, "message": "exec format error"}}}
    assert switch_signal.last_failure(pod(containerStatuses=[other])) is None
    # The kubelet waits before it restarts it: this end is newer than the one before.
    now = {**killed, "state": {"terminated": {"exitCode": 1, "message": text}}}
    assert switch_signal.last_failure(pod(containerStatuses=[now])) == failure
    newer = {**statuses[0], "state": killed["lastState"]}
    assert switch_signal.last_failure(pod(containerStatuses=[newer])) is None
    # An injected container says nothing about the switch.
    assert switch_signal.last_failure(pod(containerStatuses=[{**statuses[0], "name": "proxy"}])) is None


def test_defaults_do_not_change_what_a_rollback_is() -> None:
    """A later version adds fields: what ran before must not run again because of that."""
    short = RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}})
    long = RollbackSpec.model_validate(
        {"snapshotRef": {"name": "s1"}, "undoWindowSeconds": 86400, "timeoutSeconds": 7200}
    )
    assert spec_hash(short) == spec_hash(long)
    assert spec_hash(short) != spec_hash(RollbackSpec.model_validate({"snapshotRef": {"name": "s2"}}))


def test_an_environment_remembers_fifty() -> None:
    old = [
        {"name": f"r{i}", "specHash": "h", "id": f"id-{i}", "completedAt": f"2025-01-01T00:00:{i:02d}Z"}
        for i in range(50)
    ]
    entries = remembered(environment(old), rollback("new"), NOW)
    assert len(entries) == 50
    assert entries[-1].name == "new"
    assert entries[0].name == "r1"
    after = environment([e.wire() for e in entries])
    assert executed(after, rollback("new"))
    assert not executed(after, rollback("new", undoWindowSeconds=1))
    assert not executed(after, rollback("other"))
    # Once more is the same: the operator may be killed right after it.
    assert remembered(after, rollback("new"), NOW) == entries


def test_conditions_by_phase() -> None:
    running = conditions(RollbackStatus(phase="Switching", stage="Switch"), deleting=True)
    assert running["Reconciling"][:2] == ("True", c.RUNNING)
    assert "finished first" in running["Reconciling"][2]
    assert "Complete" not in running

    status = RollbackStatus(phase="Complete", stage="Ended", position="New", switched_at=NOW, residue="Pending")
    kept = conditions(status)
    assert kept["Complete"][:2] == ("True", c.SUCCEEDED)
    assert kept["PreviousRetained"][:2] == ("True", c.RETAINED)
    assert "Reconciling" not in kept
    gone = conditions(status.model_copy(update={"residue": "None"}))
    assert gone["PreviousRetained"][:2] == ("False", c.UNDO_WINDOW_OVER)

    failed = conditions(
        RollbackStatus(phase="Failed", stage="Ended", failure_reason=c.SWITCHED_BACK, failure_message="m")
    )
    assert failed["Failed"] == ("True", c.SWITCHED_BACK, "m.")
    assert failed["Stalled"][0] == "True"
    assert "PreviousRetained" not in failed


@pytest.mark.parametrize("last", ["Resume", "HealthCheck", None])
def test_the_step_of_a_complete_rollback_is_the_last_one(last: str | None) -> None:
    """Not the one that was reported last before it ended; a cleanup afterwards changes nothing."""
    steps = [{"name": n, "state": "Done"} for n in ("Preflight", "Switch", "Resume", "HealthCheck", "Cleanup")]
    progress = {"step": last, "percent": 80, "updatedAt": NOW} if last else None
    status = RollbackStatus.model_validate(
        {"phase": "Complete", "stage": "Ended", "switchedAt": NOW, "steps": steps, "progress": progress}
    )
    done_ = summarized(status, generation=1, deleting=False, reason="", message="", now=START)
    assert done_.progress is not None
    assert (done_.progress.step, done_.progress.percent) == ("HealthCheck", 100)
    again = summarized(done_, generation=1, deleting=False, reason="", message="", now=time_at(60))
    assert again.progress == done_.progress


@pytest.mark.parametrize(
    ("replicas", "refused", "says"),
    [
        (
            2,
            0.0382,
            (
                "on snapshot s. The application was down for 12.5 s, from the stop of its workloads until they were"
                " ready. For 38 ms of that time"
            ),
        ),
        (2, None, "until they were ready."),
        (0, 0.0004, "on snapshot s. The database refused connections for under 1 ms."),
        (0, None, "on snapshot s."),
    ],
)
def test_the_downtime_is_true_and_unknown_figures_are_left_out(replicas: int, refused: float | None, says: str) -> None:
    """ "Refused connections for 0.0 s" stood beside the downtime (issue 9, item 26)."""
    status = RollbackStatus(
        phase="Complete",
        position="New",
        snapshot_name="s",
        switched_at=NOW,
        quiesced_at=NOW,
        ready_at="2026-01-01T00:00:12.500Z",
        refused_seconds=refused,
        workloads=(SavedWorkload(kind="Deployment", name="shop", replicas=replicas),),
    )
    message = conditions(status)["Complete"][2]
    assert says in message
    assert (says == message[-len(says) :]) == (refused is None or replicas == 0)


def test_row_126_what_an_application_wrote_during_the_switch_is_a_warning() -> None:
    result = SwitchResult(position="New", set_aside=(".ocore/e/aside-1-1",))
    new = switched(RollbackStatus(stage="Switch", stage_since=at(0)), result, time_at(1))
    assert new.evidence is not None
    (warning,) = new.evidence.warnings
    assert "set aside on the claim: .ocore/e/aside-1-1." in warning
    back = switched_back(new, result.model_copy(update={"position": "Old"}), time_at(3))
    assert back.evidence is not None
    assert back.evidence.warnings == (warning,)


def test_what_a_switch_did_to_replication_is_in_the_evidence() -> None:
    """Once, though it is read again; also where the environment was switched back."""
    status = change(_status("Switch", since=0, deadline=5000), evidence={"proven": ["p"], "warnings": ["announced"]})
    result = SwitchResult(position="New", replication_ended=("slot s was dropped",))
    new = switched(switched(status, result, time_at(1)), result, time_at(2))
    assert new.evidence is not None
    assert (new.evidence.proven, new.evidence.warnings) == (("p",), ("announced", "slot s was dropped"))
    back = switched_back(new, SwitchResult(position="Old", replication_ended=("slot t was left",)), time_at(3))
    assert back.evidence is not None
    assert back.evidence.warnings == ("announced", "slot s was dropped", "slot t was left")


def test_the_view_has_the_rights_that_the_probe_missed() -> None:
    probe = {"time": NOW, "generation": 1, "replication": {"missingRights": ["ALTER ROLE a REPLICATION;"]}}
    found = objects.environment(status={"probe": probe})
    known = probe_of(found)
    assert known is not None
    assert known.replication is not None
    assert known.replication.missing_rights == ("ALTER ROLE a REPLICATION;",)


def _health_check(saved: int, replicas: int, ready: int) -> Action:
    """The decision at HealthCheck, past readyTimeoutSeconds, for one workload."""
    status = _status("HealthCheck", since=0, deadline=5000)
    workload = SavedWorkload(kind="Deployment", name="shop", replicas=saved)
    status = change(status, position="New", switched_at=NOW, workloads=(workload,))
    view = WorkloadView(
        "Deployment", "shop", replicas=replicas, pods=replicas, ready_replicas=ready, problem="pod shop-4: Pending"
    )
    world = World(created=START, environment=None, snapshot=None, finalizer=True, workloads=(view,))
    spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}, "readyTimeoutSeconds": 60})
    return plan.decide(status, spec, world, "id", time_at(200))


@pytest.mark.parametrize(
    ("saved", "replicas", "ready", "stage"),
    [
        # Row 31: an autoscaler wants a fourth replica, for which there is no room.
        (3, 4, 3, "Finish"),
        (3, 4, 2, "BackStop"),
        # It has room: more replicas than were saved are no cause to switch back either.
        (3, 4, 4, "Finish"),
        (3, 3, 3, "Finish"),
        (3, 3, 2, "BackStop"),
        # An autoscaler wants fewer.
        (3, 2, 2, "Finish"),
        (3, 2, 1, "BackStop"),
        (0, 2, 0, "Finish"),
    ],
)
def test_row_31_readiness_counts_against_the_saved_replicas(saved: int, replicas: int, ready: int, stage: str) -> None:
    action = _health_check(saved, replicas, ready)
    assert isinstance(action, Record)
    assert action.status.stage == stage
    if stage == "BackStop":
        needed = min(saved, replicas)
        text = f"Deployment shop has {ready} of {needed} replicas ready: pod shop-4: Pending"
        assert text in (action.status.failure_message or "")


def test_a_switch_back_repeats_what_was_known_before() -> None:
    """The person who reads why it was switched back needs it there."""
    status = _status("HealthCheck", since=0, deadline=5000)
    warning = {"reason": c.OTHER_VERSION, "message": "Snapshot s was taken with image shop:1."}
    saved = SavedWorkload(kind="Deployment", name="shop", replicas=1)
    status = change(status, position="New", switched_at=NOW, workloads=(saved,), warnings=(warning,))
    view = WorkloadView("Deployment", "shop", replicas=1, pods=1, problem="pod shop-4: exit code 1.")
    world = World(created=START, environment=None, snapshot=None, finalizer=True, workloads=(view,))
    spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}, "readyTimeoutSeconds": 60})
    action = plan.decide(status, spec, world, "id", time_at(200))
    assert isinstance(action, Record)
    text = action.status.failure_message or ""
    assert "exit code 1. Known since the preflight: Snapshot s was taken with image shop:1." in text


def _switched_back(**changes: object) -> RollbackStatus:
    status = change(_status("Finish", since=0, deadline=5000), phase="SwitchingBack", position="Old", residue="Pending")
    return change(
        status,
        switched_at=stamp(time_at(-60)),
        switched_back_at=stamp(time_at(0)),
        restored_database="shop_rb_0a1b2c3d",
        failure_reason=c.SWITCHED_BACK,
        failure_message="Not ready within 60 s.",
        **changes,
    )


def test_what_was_switched_back_is_kept_for_the_undo_window() -> None:
    """Users may have written to it. Then it is removed, with its folders; at once where the Rollback is deleted."""
    spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}, "undoWindowSeconds": 600})
    lock = OperationLock("Ours", "Rollback r1", START)
    view = altered_environment(environment([]), id=ENVIRONMENT_ID)
    world = World(created=START, environment=view, snapshot=None, finalizer=True, lock=lock)
    action = plan.decide(_switched_back(environment_id=ENVIRONMENT_ID), spec, world, "id", time_at(1))
    assert isinstance(action, Record)
    ended = action.status
    assert (ended.phase, ended.undo_until) == ("Failed", stamp(time_at(601)))
    kept = conditions(ended)
    assert kept["SwitchedBackRetained"][:2] == ("True", c.RETAINED)
    assert "shop_rb_0a1b2c3d" in kept["SwitchedBackRetained"][2]
    assert "PreviousRetained" not in kept

    # The lock is released for the window; a Snapshot or another Rollback may run.
    assert plan.decide(ended, spec, world, "id", time_at(2)) == Do(SetLock(held=False))
    free = replace(world, lock=OperationLock())
    assert plan.decide(ended, spec, free, "id", time_at(301)) == Idle(300)
    begun = plan.decide(ended, spec, world, "id", time_at(602))
    assert isinstance(begun, Record)
    result = SwitchResult(position="Old", live_database="shop")
    job = JobView("inspect", begun.status.inspect_attempt, "i", ended=True, payload=result)
    read = plan.decide(begun.status, spec, replace(world, jobs=(job,)), "id", time_at(602))
    assert isinstance(read, Record)
    assert plan.decide(read.status, spec, world, "id", time_at(602)) == Do(
        StartJob("cleanup-restored", 1), before="operator-rollback-cleanup"
    )
    assert isinstance(plan.decide(ended, spec, replace(world, deleting=True), "id", time_at(2)), Record)
    gone = conditions(change(ended, residue="None"))
    assert gone["SwitchedBackRetained"][:2] == ("False", c.UNDO_WINDOW_OVER)


def test_a_rollback_that_never_switched_keeps_nothing() -> None:
    spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}, "undoWindowSeconds": 600})
    world = World(created=START, environment=None, snapshot=None, finalizer=True)
    status = _switched_back()
    status = change(status, switched_at=None, switched_back_at=None, failure_reason=c.CANCELLED)
    action = plan.decide(status, spec, world, "id", time_at(1))
    assert isinstance(action, Record)
    assert action.status.undo_until is None
    assert "SwitchedBackRetained" not in conditions(action.status)


def test_a_later_inspection_that_finds_it_switched_back_keeps_it_too() -> None:
    """The position was unknown at the end: the database did not answer after the signal to switch back."""
    spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}, "undoWindowSeconds": 600})
    view = altered_environment(environment([]), id=ENVIRONMENT_ID)
    result = SwitchResult(position="Old", live_database="shop")
    job = JobView("inspect", 1, "inspect-1", ended=True, payload=result)
    world = World(created=START, environment=view, snapshot=None, finalizer=True, jobs=(job,))
    status = _switched_back(environment_id=ENVIRONMENT_ID, cleanup_attempt=1, inspect_attempt=1)
    status = change(status, stage="Ended", phase="Failed", position=None, switched_back_at=None)
    action = plan.decide(status, spec, world, "id", time_at(10))
    assert isinstance(action, Record)
    assert (action.status.position, action.status.undo_until) == ("Old", stamp(time_at(610)))
    assert action.status.switched_back_at == stamp(time_at(10))
    never = plan.decide(change(status, switched_at=None), spec, world, "id", time_at(10))
    assert isinstance(never, Record)
    assert (never.status.position, never.status.undo_until) == ("Old", None)


SNAPSHOT = rollback_seen.snapshot(name="s", id=ENVIRONMENT_ID, manifest_sha256="a" * 64)
TARGET = RollbackTarget(
    database_secret_name="db", admin_secret_name="db-admin", claim_name="files", path="odoo/shop", layout="Odoo"
)
OF_CLUSTER = TARGET.model_copy(update={"cluster": "pg", "database": "shop", "host": "pg-rw", "ca_secret_name": "pg-ca"})


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("database_secret_name", "db2", "spec.database.secretRef from db to db2"),
        ("admin_secret_name", None, "spec.database.adminSecretRef from db-admin to none"),
        ("claim_name", "files2", "spec.filestore.claimName from files to files2"),
        ("path", "odoo/test", "spec.filestore.path from odoo/shop to odoo/test"),
        ("layout", "Plain", "spec.filestore.layout from Odoo to Plain"),
        ("host", "pg-ro", "the host of the Cluster from pg-rw to pg-ro"),
    ],
)
@pytest.mark.parametrize("stage", ["Restore", "Prepare", "Stop", "Drain"])
def test_an_environment_that_is_changed_before_the_switch_aborts_it(
    stage: str, field: str, value: str | None, says: str
) -> None:
    start = OF_CLUSTER if field == "host" else TARGET
    view = altered_environment(environment([]), id=ENVIRONMENT_ID)
    lock = OperationLock("Ours", "Rollback r1", START)
    world = World(
        created=START, environment=altered_environment(view, target=start), snapshot=None, finalizer=True, lock=lock
    )
    status = change(_status(stage, since=0, deadline=500), environment_id=ENVIRONMENT_ID, target=start)
    spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}})
    same = plan.decide(status, spec, world, "id", time_at(1))
    assert not (isinstance(same, Record) and same.status.failure_reason == c.ENVIRONMENT_CHANGED)
    moved = altered_environment(view, target=start.model_copy(update={field: value}))
    action = plan.decide(status, spec, replace(world, environment=moved), "id", time_at(1))
    assert isinstance(action, Record)
    assert (action.status.stage, action.status.failure_reason) == ("Abort", c.ENVIRONMENT_CHANGED)
    assert says in (action.status.failure_message or "")


def test_jobs_use_the_connection_and_the_claim_of_the_start() -> None:
    """From the switch on, and for the cleanup, a change of the Environment is ignored: the databases and folders are
    where they were."""
    changed = objects.environment(
        {
            "database": {"secretRef": {"name": "db2"}, "capacity": "50Gi"},
            "filestore": {"claimName": "files2", "path": "x", "layout": "Plain", "missingFiles": "Report"},
        }
    )
    used = building.with_target(changed, TARGET)
    spec = used.spec
    assert RollbackTarget.of(spec, used.status) == TARGET
    assert spec.filestore is not None
    assert spec.filestore.missing_files == "Report"
    assert spec.workloads == changed.spec.workloads
    without = objects.environment({"database": None, "filestore": None})
    for current, target in ((without, TARGET), (changed, TARGET), (without, OF_CLUSTER), (changed, OF_CLUSTER)):
        used = building.with_target(current, target)
        assert RollbackTarget.of(used.spec, used.status) == target
    nothing = RollbackTarget.of(without.spec, without.status)
    used = building.with_target(changed, nothing)
    assert RollbackTarget.of(used.spec, used.status) == nothing
    # A rollback that an earlier version started has no target.
    assert building.with_target(changed, None) == changed


def test_the_target_is_frozen_at_the_start() -> None:
    env = altered_environment(objects.environment(), id=ENVIRONMENT_ID)
    spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}})
    status = join(RollbackStatus(), spec, env, SNAPSHOT, START)
    assert status.target == RollbackTarget(
        database_secret_name="db", claim_name="files", path="filestore/shop", layout="Odoo"
    )


def test_a_safety_snapshot_begins_with_the_restore_and_is_shown_first() -> None:
    """Created a moment later, it would take the place of a step that clients have seen, and that step would come
    back."""
    env = altered_environment(objects.environment(), id=ENVIRONMENT_ID)
    for safety, expected in ((True, Step.SAFETY_SNAPSHOT), (False, Step.RESTORE_DATABASE)):
        spec = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}, "createSafetySnapshot": safety})
        joined = join(begin(RollbackStatus(), spec, ENVIRONMENT_ID, START), spec, env, SNAPSHOT, START)
        status = passed(joined, spec, START)
        steps = [Begun(s.name, s.state, s.started_at, s.completed_at) for s in status.steps]
        assert shown_step(steps, None) == expected
        assert state_of(status, Step.RESTORE_DATABASE) == "Running"
        later = saving(status, "safety", "uid", START + timedelta(seconds=1)) if safety else status
        assert later.steps == status.steps


def test_a_step_that_the_log_reports_keeps_its_start() -> None:
    """The restore's pod starts before its Job reports the step."""
    steps = [{"name": "RestoreDatabase", "state": "Running", "startedAt": at(3)}]
    known = resources.any_kind(
        "Rollback",
        objects.obj(
            "Rollback", "back", {"snapshotRef": {"name": "s"}}, {"stage": "Restore", "attempt": 1, "steps": steps}
        ),
    )
    log, job = LogState(), SimpleNamespace(pod="restore", has_log=True, ended=False)
    log.take(StepReport(step=Step.RESTORE_DATABASE, state="Running", time=at(6)).model_dump_json(by_alias=True))
    ctx = SimpleNamespace(followers=SimpleNamespace(ensure=lambda *_: log))
    found = _with_steps_of_log(ctx, known, SimpleNamespace(job=lambda *_: job))  # type: ignore[arg-type]
    assert [(s.state, s.started_at) for s in found.steps] == [("Running", at(3))]
    log.take(StepReport(step=Step.RESTORE_DATABASE, state="Done", time=at(9)).model_dump_json(by_alias=True))
    found = _with_steps_of_log(ctx, known, SimpleNamespace(job=lambda *_: job))  # type: ignore[arg-type]
    assert [(s.state, s.started_at, s.completed_at) for s in found.steps] == [("Done", at(3), at(9))]


@pytest.mark.parametrize("switched", [True, False], ids=["was live", "never live"])
def test_what_a_later_inspection_finds_switched_back_is_kept(*, switched: bool) -> None:
    """Users may have written to it while it was live; what was never live is removed at once."""
    spec = RollbackSpec.model_validate({"snapshotRef": {"name": "base"}, "undoWindowSeconds": 3600})
    status = RollbackStatus(stage="Ended", failure_message="Lost.", switched_at=stamp(START) if switched else None)
    found = SwitchResult(position="Old", live_database="live", accepting_connections=True)
    world = World(created=START, environment=None, snapshot=None)
    action = plan_after_end._position_known(status, spec, found, world, START)
    assert isinstance(action, Record)
    assert action.status.position == "Old"
    assert action.status.undo_until == (stamp(START + timedelta(hours=1)) if switched else None)
    assert action.status.switched_back_at == (stamp(START) if switched else None)
