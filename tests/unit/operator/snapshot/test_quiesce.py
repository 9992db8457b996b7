"""Snapshots that stop the workloads for the freeze: whatever happens, the replicas are what they were, and no other
freeze is believed."""

from dataclasses import dataclass, field, replace
from typing import Any, get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ocore_crds import conditions as c
from ocore_crds.naming import FINALIZER_DATA
from ocore_crds.protocol import Failure, Signal
from ocore_crds.resources.snapshot import QuiesceStage, QuiesceStatus, SavedWorkload, SnapshotStatus
from ocore_crds.resources.workloads import Target
from ocore_operator.errors import Stalled
from ocore_operator.frame.actions import Record, StopJob, Wait
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.signals import REPEAT_SECONDS, SIGNAL_SECONDS
from ocore_operator.kube.catalog import Work
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot import freeze_signal, plan_quiesce
from ocore_operator.snapshot.entry import critical, work
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.transitions import completed
from ocore_operator.snapshot.world import Action, Cascade, Finish, GiveUp, NextAttempt, SendSignal, Start, World
from ocore_operator.workloads.quiesce import DRAIN_SECONDS, PAUSE_SECONDS, RESUME_SECONDS, SetReplicas
from ocore_operator.workloads.view import Peer, WorkloadView, peer_of
from support.operator.attempts import DIED, RESULT
from support.operator.objects import (
    OTHER_UID,
    SETTINGS,
    UID,
    at,
    environment,
    job,
    moment,
    observation,
    pod,
    snapshot,
    snapshot_object,
    started,
)
from support.operator.terminal_snapshot import RUNNING, said

REPLICAS = 3
WORKLOAD = WorkloadView("Deployment", "shop", replicas=REPLICAS, pods=REPLICAS, grace_seconds=30, version="7")
STOPPED = replace(WORKLOAD, replicas=0, pods=0)
NAME = job_name("snapshot", UID, 1)


def quiesce(stage: str, **fields: Any) -> Object:
    """status.quiesce; the stage began 60 s after NOW."""
    known: Object = {
        "stage": stage,
        "enteredAt": at(60),
        "attempt": 1,
        "workloads": [{"kind": "Deployment", "name": "shop", "replicas": REPLICAS}],
    }
    if stage not in ("Announced",):
        known["stoppedAt"] = at(58)
    if stage == "Freeze":
        known["signalDeadline"] = at(90)
    return known | fields


def seen(
    stage: str | None,
    *,
    seconds: float = 61,
    state: Object = RUNNING,
    ready: bool = True,
    deleted: bool = False,
    fields: Object | None = None,
    **world: Any,
) -> World:
    """The Snapshot at this stage, with its Job."""
    status = started(jobName=NAME) | ({"quiesce": quiesce(stage, **(fields or {}))} if stage else {})
    meta: Object = {"finalizers": [FINALIZER_DATA]} | ({"deletionTimestamp": at(60)} if deleted else {})
    snap = snapshot({"quiesce": True}, status, **meta)
    over = "terminated" in state
    found_pod = pod(NAME, state, phase="Failed" if over else "Running")
    found_pod["status"]["containerStatuses"][0]["ready"] = ready and not over
    pods = {NAME: [found_pod]}
    found = observation([job(NAME)], pods, seconds=seconds)
    filled = {"workloads": (WORKLOAD,), "pod": f"{NAME}-x", "pod_version": "5"} | world
    return World(snap, moment(seconds), SETTINGS, found, **filled)


def stage_of(action: Action) -> QuiesceStatus:
    assert isinstance(action, Record), action
    found = action.status.quiesce
    assert found is not None
    return found


# --- one step at a time ----------------------------------------------------------------------------------------------


def test_nothing_is_stopped_before_the_job_waits() -> None:
    assert isinstance(decide(seen(None, ready=False)), Wait)
    announced = stage_of(decide(seen(None)))
    assert announced.stage == "Announced"
    assert announced.workloads == (SavedWorkload(kind="Deployment", name="shop", replicas=REPLICAS),)
    assert announced.stopped_at is None


def test_replicas_are_saved_before_anything_is_scaled() -> None:
    """As they are after no other operation was found: another one may have stopped the workload while this one was
    announced."""
    now = replace(WORKLOAD, replicas=5)
    action = decide(seen("Announced", workloads=(now,)))
    assert stage_of(action).stage == "Stop"
    assert stage_of(action).workloads[0].replicas == 5
    scaled = decide(seen("Stop"))
    assert isinstance(scaled, SetReplicas)
    assert scaled.targets == ((WORKLOAD, 0),)


@pytest.mark.parametrize(
    ("stopping", "older", "withdraws"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_operations_that_stop_the_same_workload_take_turns(stopping: bool, older: bool, withdraws: bool) -> None:
    peer = Peer("Rollback r1", stopping=stopping, older=older)
    assert isinstance(decide(seen(None, peer=peer)), Wait)
    action = decide(seen("Announced", peer=peer))
    if withdraws:
        assert isinstance(action, Record)
        assert action.status.quiesce is None
    else:
        assert isinstance(action, Wait)


def test_the_signal_waits_for_the_last_pod() -> None:
    assert isinstance(decide(seen("Drain", workloads=(replace(STOPPED, pods=1),))), Wait)
    entered = decide(seen("Drain", workloads=(STOPPED,)))
    assert stage_of(entered).stage == "Freeze"
    assert stage_of(entered).signal_deadline == at(61 + SIGNAL_SECONDS)
    sent = decide(seen("Freeze", workloads=(STOPPED,)))
    assert isinstance(sent, SendSignal)
    assert sent.signal.not_after == moment(90).timestamp()
    assert isinstance(decide(seen("Freeze", workloads=(STOPPED,), signal=sent.signal)), Wait)


def test_the_signal_is_repeated_until_the_job_answers() -> None:
    """The kubelet may miss one change of the pod; then it writes the signal's file with the next one."""
    deadline = at(61 + SIGNAL_SECONDS - REPEAT_SECONDS)  # now, the signal has been valid for one interval
    found = seen("Freeze", workloads=(STOPPED,), fields={"signalDeadline": deadline})
    first = decide(found)
    assert isinstance(first, SendSignal)
    assert first.repetition == 1
    assert isinstance(decide(replace(found, signal=first.signal, repetition=1)), Wait)
    assert decide(replace(found, signal=first.signal, repetition=0)) == first


def test_workloads_resume_when_the_job_says_so() -> None:
    action = decide(seen("Freeze", workloads=(STOPPED,), may_resume=True))
    assert stage_of(action).stage == "Resume"
    assert stage_of(action).frozen_at == at(61)
    assert stage_of(action).failure_reason is None
    resumed = decide(seen("Resume", workloads=(STOPPED,)))
    assert isinstance(resumed, SetReplicas)
    assert resumed.targets == ((STOPPED, REPLICAS),)
    done = stage_of(decide(seen("Resume")))
    assert (done.stage, done.resumed_at) == ("Done", at(61))
    assert isinstance(decide(seen("Done")), Wait)


def test_a_workload_with_zero_replicas_stays_there() -> None:
    saved = {"workloads": [{"kind": "Deployment", "name": "shop", "replicas": 0}]}
    assert stage_of(decide(seen("Stop", workloads=(STOPPED,), fields=saved))).stage == "Drain"
    assert stage_of(decide(seen("Resume", workloads=(STOPPED,), fields=saved))).stage == "Done"


def test_a_workload_that_others_start_is_stopped_again_before_the_freeze() -> None:
    assert stage_of(decide(seen("Drain", workloads=(STOPPED,)))).stage == "Freeze"
    limit = DRAIN_SECONDS + WORKLOAD.grace_seconds
    began = 60
    again = decide(seen("Drain", seconds=began + limit))
    assert isinstance(again, SetReplicas)
    assert again.targets == ((WORKLOAD, 0),)
    assert again.then is not None, "the two alternate without a pause"
    action = decide(seen("Drain", seconds=began + limit + 1))
    assert (stage_of(action).stage, stage_of(action).failure_reason) == ("Resume", c.WORKLOAD_SCALED_UP)
    assert "before the freeze again and again for 150 s" in (stage_of(action).failure_message or "")


def test_a_workload_that_others_start_during_the_freeze_fails_the_snapshot() -> None:
    """Even where the Job has frozen: it may have frozen beside the application."""
    action = decide(seen("Freeze", may_resume=True))
    assert stage_of(action).stage == "Resume"
    assert stage_of(action).failure_reason == c.WORKLOAD_SCALED_UP
    assert "ignoreDifferences" in (stage_of(action).failure_message or "")


ENDS: dict[str, Object] = {
    "deleted": {"deleted": True},
    "deadline": {"seconds": 4000},
    "job died": {"state": DIED},
    "job ended": {"state": said(RESULT)},
    "refused": {"refusal": Stalled(c.QUIESCE_FAILED, "no right to scale")},
    "crd deleted": {"deleted": True, "cascade": Cascade.CRD},
}


@pytest.mark.parametrize("stage", ["Stop", "Drain", "Freeze"])
@pytest.mark.parametrize("end", ENDS)
def test_row_44_whatever_ends_the_attempt_the_workloads_resume_first(stage: str, end: str) -> None:
    action = decide(seen(stage, workloads=(STOPPED,), **ENDS[end]))
    assert stage_of(action).stage == "Resume"
    resumed = decide(seen("Resume", workloads=(STOPPED,), **{**ENDS[end], "refusal": None}))
    assert isinstance(resumed, SetReplicas)


@pytest.mark.parametrize("end", [e for e in ENDS if e != "refused"])
def test_an_announcement_is_withdrawn_where_the_attempt_ends(end: str) -> None:
    action = decide(seen("Announced", **ENDS[end]))
    assert isinstance(action, Record)
    assert action.status.quiesce is None


def test_a_namespace_that_is_deleted_is_not_blocked() -> None:
    world = seen("Freeze", workloads=(STOPPED,), deleted=True, cascade=Cascade.NAMESPACE)
    assert not plan_quiesce.is_active(world)


@pytest.mark.parametrize(
    ("stage", "workload", "reason"),
    [("Stop", WORKLOAD, c.WORKLOAD_NOT_STOPPED), ("Drain", replace(STOPPED, pods=1), c.WORKLOAD_NOT_STOPPED)],
)
def test_the_stop_is_bounded(stage: str, workload: WorkloadView, reason: str) -> None:
    action = decide(seen(stage, seconds=60 + 200, workloads=(workload,)))
    assert stage_of(action).failure_reason == reason


def test_a_signal_that_cannot_be_sent_is_not_waited_for() -> None:
    action = decide(seen("Freeze", seconds=91, workloads=(STOPPED,)))
    assert stage_of(action).failure_reason == c.QUIESCE_FAILED
    late = Signal(action="Freeze", job=NAME, not_after=moment(90).timestamp())
    assert isinstance(decide(seen("Freeze", seconds=91, workloads=(STOPPED,), signal=late)), Wait)
    # With less time than the Job needs to read it, it is not sent either.
    assert isinstance(decide(seen("Freeze", seconds=89, workloads=(STOPPED,))), Wait)


def test_row_70_a_refused_start_is_retried_without_end_and_reported() -> None:
    refusal = Stalled(c.QUIESCE_FAILED, "no right to scale.")
    assert isinstance(decide(seen("Resume", workloads=(STOPPED,), refusal=refusal)), Wait)
    late = 61 + RESUME_SECONDS
    assert isinstance(
        decide(seen("Resume", workloads=(STOPPED,), seconds=late)), SetReplicas
    )  # it is tried again first
    waits = decide(seen("Resume", workloads=(STOPPED,), seconds=late, refusal=refusal))
    assert isinstance(waits, Wait)
    assert (waits.stalled, waits.reason, waits.seconds) == (True, c.WORKLOAD_NOT_RESUMED, pytest.approx(24, abs=2))
    assert "no right to scale" in waits.message
    assert "Deployment shop to 3: no right to scale. Retrying." in waits.message
    assert "or scale by hand" in waits.message
    days = decide(seen("Resume", workloads=(STOPPED,), seconds=500_000, refusal=refusal))
    assert isinstance(days, Wait)
    assert days.seconds == PAUSE_SECONDS[1]
    # Someone else has started it, with other replicas.
    done = decide(seen("Resume", workloads=(replace(WORKLOAD, replicas=1),), seconds=late, refusal=refusal))
    assert stage_of(done).stage == "Done"
    assert stage_of(done).failure_reason is None


def test_a_failed_quiesce_is_never_complete() -> None:
    failed = {"failureReason": c.WORKLOAD_SCALED_UP, "failureMessage": "scaled up"}
    assert isinstance(decide(seen("Done", fields=failed)), StopJob)
    assert decide(seen("Done", fields=failed, state=said(RESULT))) == GiveUp(
        Failure(reason=c.WORKLOAD_SCALED_UP, message="scaled up"), stored=True
    )
    assert isinstance(decide(seen("Done", state=said(RESULT))), Finish)


def test_another_attempt_quiesces_again() -> None:
    status = started(jobName=job_name("snapshot", UID, 2), attempt=2) | {"quiesce": quiesce("Done")}
    name = job_name("snapshot", UID, 2)
    found = observation([job(name)], {name: [pod(name, RUNNING)]}, seconds=61)
    world = World(
        snapshot({"quiesce": True}, status, finalizers=[FINALIZER_DATA]),
        moment(61),
        SETTINGS,
        found,
        workloads=(WORKLOAD,),
    )
    assert stage_of(decide(world)).attempt == 2


def test_a_quiesce_needs_workloads() -> None:
    snap = snapshot({"quiesce": True}, {"phase": "Pending", "observedGeneration": 1}, finalizers=[FINALIZER_DATA])
    world = World(snap, moment(1), SETTINGS, observation(), environment=environment({"workloads": []}))
    end = decide(world)
    assert isinstance(end, GiveUp)
    assert end.failure.reason == c.QUIESCE_FAILED
    assert "spec.workloads" in end.failure.message


def test_without_quiesce_nothing_is_stopped() -> None:
    found = observation([job(NAME)], {NAME: [pod(NAME, RUNNING)]}, seconds=61)
    snap = snapshot(None, started(jobName=NAME), finalizers=[FINALIZER_DATA])
    world = World(snap, moment(61), SETTINGS, found, workloads=(WORKLOAD,))
    assert isinstance(decide(world), Wait)


def test_the_evidence_shows_how_long_the_workloads_were_stopped() -> None:
    known = quiesce("Done", stoppedAt=at(10), frozenAt=at(13), resumedAt=at(14))
    snap = snapshot({"quiesce": True}, started(jobName=NAME) | {"quiesce": known})
    status = completed(snap, RESULT, None, clean=True, imported=False, now=moment(60))
    assert status.evidence is not None
    assert status.evidence.proven[-1] == f"quiesce: Deployment shop (3 replicas) stopped at {at(10)} for 4 s"


def test_the_answer_is_the_report_that_the_workloads_may_start() -> None:
    def line(step: str, state: str) -> str:
        return f'{{"type":"step","step":"{step}","state":"{state}","message":"","time":"{at(0)}"}}'

    others = [line("Quiesce", "Running"), line("Prepare", "Done"), "not JSON"]
    assert not any(map(freeze_signal.says_so, others))
    assert freeze_signal.says_so(line("Quiesce", "Done"))


def test_who_has_announced_what() -> None:
    def other(name: str, created: float, known: Object | None, uid: str = OTHER_UID) -> Snapshot:
        status = started() | ({"quiesce": known} if known else {})
        return snapshot({"quiesce": True}, status, name=name, uid=uid, creationTimestamp=at(created))

    mine = other("mine", 10, None, UID)
    target = [Target("Deployment", "shop")]
    assert peer_of(mine, [other("a", 5, None)], target) is None
    assert peer_of(mine, [other("a", 5, quiesce("Done"))], target) is None
    assert peer_of(mine, [other("a", 5, quiesce("Freeze"))], [Target("Deployment", "else")]) is None
    found = peer_of(mine, [other("a", 5, quiesce("Announced")), other("b", 20, quiesce("Resume"))], target)
    assert found == Peer("Snapshot b", stopping=True, older=False)
    assert peer_of(mine, [other("a", 5, quiesce("Announced"))], target) == Peer(
        "Snapshot a", stopping=False, older=True
    )


@pytest.mark.parametrize("stage", get_args(QuiesceStage))
def test_a_sigterm_starts_the_workloads_first(stage: str) -> None:
    obj = {"status": {"quiesce": quiesce(stage)}}
    assert work(snapshot_object(status=obj["status"])) == Work(urgent=critical(obj), critical=critical(obj))
    assert critical(obj) is (stage not in ("Announced", "Done"))
    assert not critical({})


# --- everything in any order -----------------------------------------------------------------------------------------


@dataclass
class Job:
    """The Job of one attempt, as the mover behaves."""

    waiting: bool = True
    frozen_beside: bool = False  # it froze while the application could write
    reported: bool = False
    end: Object | None = None
    signal: Signal | None = None
    repetition: int = 0


@dataclass
class Simulation:
    """A workload, the Snapshot's status and its Jobs. Actions are carried out as effects.py does; a crash between two
    of them loses nothing."""

    status: SnapshotStatus
    replicas: int = REPLICAS
    pods: int = REPLICAS
    seconds: float = 1
    deleted: bool = False
    jobs: dict[int, Job] = field(default_factory=dict)
    end: Action | None = None
    others: bool = False  # a tool has scaled the workload up
    refuses: bool = False  # the API server does not scale

    def world(self, refusal: Stalled | None = None) -> World:
        attempt = self.status.attempt
        found, pods, extra = [], {}, {}
        for number, each in self.jobs.items():
            name = job_name("snapshot", UID, number)
            found.append(job(name))
            state = each.end or RUNNING
            over = each.end is not None
            pods[name] = [pod(name, state, phase="Failed" if over else "Running")]
            if number == attempt and not over:
                extra = {
                    "pod": f"{name}-x",
                    "pod_version": "1",
                    "signal": each.signal,
                    "repetition": each.repetition,
                    "may_resume": (
                        each.reported and self.status.quiesce is not None and self.status.quiesce.stage == "Freeze"
                    ),
                }
        meta: Object = {"finalizers": [FINALIZER_DATA]} | ({"deletionTimestamp": at(0)} if self.deleted else {})
        snap = snapshot({"quiesce": True}, self.status.wire(), **meta)
        view = replace(WORKLOAD, replicas=self.replicas, pods=self.pods)
        return World(
            snap,
            moment(self.seconds),
            SETTINGS,
            observation(found, pods, seconds=self.seconds),
            workloads=(view,),
            refusal=refusal,
            **extra,
        )

    def step(self) -> None:
        if self.end is not None:
            return
        action = decide(self.world())
        if isinstance(action, SetReplicas) and self.refuses:
            action = decide(self.world(Stalled(c.QUIESCE_FAILED, "no right to scale")))
        match action:
            case Record(status=status):
                self.status = status
            case SetReplicas(targets=((_, replicas),)):
                self.replicas = replicas
            case SendSignal(signal=signal, repetition=repetition):
                sent_to = self.jobs[self.status.attempt]
                sent_to.signal, sent_to.repetition = signal, repetition
            case Start(attempt=attempt):
                self.jobs[attempt] = Job()
                self.status = self.status.model_copy(update={"job_name": job_name("snapshot", UID, attempt)})
            case NextAttempt(attempt=attempt):
                self.status = self.status.model_copy(update={"attempt": attempt, "job_name": None})
            case StopJob():
                self.jobs[self.status.attempt].end = DIED
            case Finish() | GiveUp():
                self.end = action


class Quiesces(RuleBasedStateMachine):
    """The operator, the mover, the kubelet, a tool that scales up and a person who deletes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        status = snapshot({"quiesce": True}, started()).status
        self.all = Simulation(status)

    @property
    def job(self) -> Job | None:
        found = self.all.jobs.get(self.all.status.attempt)
        return found if found is not None and found.end is None else None

    @rule(count=st.integers(1, 6))
    def operator(self, count: int) -> None:
        for _ in range(count):
            self.all.step()

    @rule(count=st.integers(1, 3))
    def kubelet(self, count: int) -> None:
        for _ in range(count):
            self.all.pods += (self.all.pods < self.all.replicas) - (self.all.pods > self.all.replicas)

    @rule(seconds=st.sampled_from([0.5, 5, 40, 200, 5000]))
    def time_passes(self, seconds: float) -> None:
        self.all.seconds += seconds

    @precondition(lambda self: self.job is not None and self.job.waiting)
    @rule()
    def mover_reads_the_signal(self) -> None:
        assert self.job is not None
        signal = self.job.signal
        if signal is None:
            return
        self.job.waiting = False
        if moment(self.all.seconds).timestamp() > signal.not_after:
            self.job.end = said(Failure(reason=c.QUIESCE_FAILED, message="expired", retryable=True))
        else:
            self.job.frozen_beside = self.all.pods > 0

    @precondition(lambda self: self.job is not None and not self.job.waiting)
    @rule()
    def mover_reports(self) -> None:
        assert self.job is not None
        self.job.reported = True

    @precondition(lambda self: self.job is not None)
    @rule()
    def job_dies(self) -> None:
        assert self.job is not None
        self.job.end = DIED

    @precondition(lambda self: self.job is not None and self.job.reported)
    @rule()
    def job_succeeds(self) -> None:
        assert self.job is not None
        self.job.end = said(RESULT)

    @precondition(lambda self: self.all.end is None)
    @rule()
    def person_deletes(self) -> None:
        self.all.deleted = True

    @precondition(lambda self: self.all.status.quiesce is not None)
    @rule()
    def tool_scales_up(self) -> None:
        self.all.replicas, self.all.others = REPLICAS, True

    @rule(refuses=st.booleans())
    def scales_are_refused(self, refuses: bool) -> None:
        self.all.refuses = refuses

    @invariant()
    def replicas_are_what_they_were(self) -> None:
        known = self.all.status.quiesce
        if known is None or known.stage in ("Announced", "Done"):
            assert self.all.replicas == REPLICAS, known
        if self.all.end is not None:
            assert known is None or known.stage == "Done"

    @invariant()
    def what_is_complete_was_frozen_without_the_application(self) -> None:
        if isinstance(self.all.end, Finish):
            found = self.all.jobs[self.all.status.attempt]
            assert found.reported
            assert self.all.others or not found.frozen_beside

    def teardown(self) -> None:
        """The operator goes on alone: it ends, and the workload runs."""
        self.all.refuses = False
        for _ in range(400):
            self.all.step()
            self.all.pods = self.all.replicas
            self.all.seconds += 20
            if self.all.end is not None:
                break
        self.replicas_are_what_they_were()


Quiesces.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestQuiesces = Quiesces.TestCase
