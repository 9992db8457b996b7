"""Hypothesis drives the model: faults in any order at any moment, then quiet, then the end must come and be right."""

from __future__ import annotations

from typing import Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ocore_crds import conditions as c
from ocore_operator.clock import parse
from ocore_operator.frame.actions import Idle, Record, SetLock
from ocore_operator.jobs.signals import SIGNAL_SECONDS
from ocore_operator.rollback import plan, world
from ocore_operator.rollback.plan_switch import ANSWER_SECONDS, WATCHED_SECONDS
from ocore_operator.rollback.transitions import LATE_SECONDS, WATCH_GAP_SECONDS
from ocore_operator.workloads.quiesce import SetReplicas
from support.operator.rollback_model import RECORDED, ROLLBACK_ID, START, Model, Seen, SimConflict

#: Seconds after its deadline until a rollback must be terminal (docs/decisions/0004).
PROMISED_SECONDS = 60
#: The same for an operator that was away while a stage ran: each of the eight stages that wait, two health checks and
#: the answer to a switch back are still tried.
AWAY_SECONDS = 8 * LATE_SECONDS + 2 * WATCHED_SECONDS + SIGNAL_SECONDS + ANSWER_SECONDS + PROMISED_SECONDS
#: Until it has a deadline: the preflight at its limits.
PREFLIGHT_SECONDS = 400
SETTLE_SECONDS = 8 * 600 + 15 * 2**8

#: Where faults begin.
REACHED = (
    *(
        "Preflight",
        "Restore",
        "Await",
        "Prepare",
        "Stop",
        "Drain",
        "Switch",
        "Switch",
        "Resume",
        "Resume",
        "HealthCheck",
        "Finish",
    ),
    *("BackStop", "BackDrain", "BackJob", "BackJob", "Ended"),
)


class Operator:
    """One process: reads, decides, acts. It can die after any of them."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.watched_since = self.last_reconcile = model.time

    def decide(self) -> tuple[Seen, world.Action]:
        """Reads everything and decides."""
        now = self.model.time
        if now - self.last_reconcile > WATCH_GAP_SECONDS:
            self.watched_since = now
        self.last_reconcile = now
        seen = self.model.see(self.watched_since)
        return seen, plan.decide(seen.status, self.model.spec, seen.world, ROLLBACK_ID, self.model.now())

    def act(self, seen: Seen, action: world.Action) -> bool:
        """Carries one action out. Returns whether to decide again at once."""
        try:
            if isinstance(action, Record):
                self.model.write(seen, action)
            elif isinstance(action, world.Do):
                self.model.do(seen, action.effect)
                refused = isinstance(action.effect, world.SetImages) and self.model.images_refused
                refused = refused or (isinstance(action.effect, SetReplicas) and self.model.scales_refused)
                refused = refused or (
                    isinstance(action.effect, world.CreateSafetySnapshot) and self.model.snapshot is None
                )
                waits = isinstance(action.effect, world.StartJob) or action.effect == SetLock(held=True)
                return not refused and not waits
        except SimConflict:
            return True
        return isinstance(action, Record)

    def work(self, limit: int = 40) -> world.Action:
        """Until there is nothing to do at the moment."""
        for _ in range(limit):
            if not self.model.exists:
                return Idle()
            seen, action = self.decide()
            if not self.act(seen, action):
                return action
        raise AssertionError(f"the plan goes round in circles at {self.model.status.stage}: {action}")


class RollbackMachine(RuleBasedStateMachine):
    """Everything that may go wrong."""

    #: Faults always begin at this stage, where it is given.
    focus = ""
    model_type = Model

    def __init__(self) -> None:
        super().__init__()
        self.model = self.model_type()
        self.operator = Operator(self.model)
        self.kept: tuple[Seen, world.Action] | None = None
        self.idle_until = 0.0  # the last time at which no operator had reconciled for a while

    @initialize(
        healthy=st.sampled_from([(True, True), (True, True), (False, True), (False, False)]),
        replicas=st.sampled_from([(2, 1), (1,), (), (0, 3)]),
        undo_window=st.sampled_from([0, 600, 1500]),  # the last one is longer than an undo postpones a cleanup
        timeout=st.sampled_from([60, 1200, 1200]),
        reached=st.sampled_from(REACHED),
        sidecars=st.sampled_from([False, False, True]),
        missing=st.sampled_from([False, False, True]),
        other=st.sampled_from([False, False, True]),
        neutralize=st.booleans(),
        safety=st.sampled_from([False, False, True]),
        restore_image=st.sampled_from(["Never", "Always", "Always", "WaitForGit"]),
        probed=st.booleans(),
    )
    def begin(
        self,
        healthy: tuple[bool, bool],
        replicas: tuple[int, ...],
        undo_window: int,
        timeout: int,
        reached: str,
        *,
        sidecars: bool,
        missing: bool,
        other: bool,
        neutralize: bool,
        safety: bool,
        restore_image: Literal["Never", "Always", "WaitForGit"],
        probed: bool = False,
    ) -> None:
        """Faults begin at any stage: those far from the start would hardly be met otherwise."""
        self.model = self.model_type(
            replicas=replicas,
            new_is_healthy=healthy[0],
            old_is_healthy=healthy[1],
            undo_window=undo_window,
            timeout=timeout,
            sidecars=sidecars,
            missing=missing,
            other=other,
            neutralize=neutralize,
            safety=safety,
            restore_image=restore_image,
            probed=probed,
        )
        self.operator = Operator(self.model)
        for _ in range(600):
            if self.model.status.stage in (self.focus or reached, "Ended"):
                return
            if not self.operator.act(*self.operator.decide()):
                self.model.advance(1, 1)

    # --- what is ordinary --------------------------------------------------------------------------------------------
    @rule(count=st.integers(1, 12))
    def operator_works(self, count: int) -> None:
        """A few actions; the process may die after any of them: nothing is kept in memory."""
        for _ in range(count):
            if self.model.exists:
                seen, action = self.operator.decide()
                self.operator.act(seen, action)
                self.model.check()

    @rule(seconds=st.sampled_from([0.1, 1, 5, 20]), steps=st.integers(0, 3))
    def time_passes(self, seconds: float, steps: int) -> None:
        self.model.advance(seconds, steps)
        self.idle_until = self.model.time

    @rule(rounds=st.integers(1, 15))
    def all_goes_well(self, rounds: int) -> None:
        """Operator and Jobs get on together: without it, nothing would get far."""
        for _ in range(rounds):
            if self.model.exists:
                self.operator.work()
            self.model.advance(2, 2)

    # --- what is not -------------------------------------------------------------------------------------------------
    @rule(seconds=st.sampled_from([60, 400, 2000]))
    def operator_is_away(self, seconds: float) -> None:
        self.disturb()
        for _ in range(4):
            self.model.advance(seconds / 4, 4)
        self.idle_until = self.model.time

    @precondition(lambda self: any(j.alive for j in self.model.jobs.values()))
    @rule(lost=st.booleans(), index=st.integers(0, 3))
    def job_dies(self, lost: bool, index: int) -> None:
        self.disturb()
        alive = [j for j in self.model.jobs.values() if j.alive]
        job = alive[index % len(alive)]
        if lost:
            self.model.lose(job)
        else:
            self.model.kill(job)
        self.model.check()

    @precondition(lambda self: any(j.ended and not j.mounted for j in self.model.jobs.values()))
    @rule()
    def ended_jobs_vanish(self) -> None:
        """Their time to live has ended, or a person deleted them."""
        self.model.jobs = {n: j for n, j in self.model.jobs.items() if not j.ended or j.mounted}

    @rule()
    def gitops_scales_up(self) -> None:
        self.disturb()
        for workload, replicas in zip(self.model.workloads, self.model.saved, strict=True):
            if workload.replicas != replicas:
                workload.replicas, workload.extra, workload.started_by_others = replicas, 0, True
                workload.version += 1

    @precondition(lambda self: self.model.status.stage == "HealthCheck")
    @rule()
    def autoscaler_scales_up(self) -> None:
        """There is no room for the additional replica."""
        for workload, saved in zip(self.model.workloads, self.model.saved, strict=True):
            if workload.replicas == saved > 0:
                workload.replicas, workload.extra = saved + 1, 1
                workload.version += 1

    @precondition(lambda self: self.model.status.stage == "Drain")
    @rule()
    def gitops_scales_up_in_the_last_moment(self) -> None:
        """All pods are gone, and no new one exists yet."""
        self.model.advance(1, 0)
        self.model.advance(10, 1)
        self.gitops_scales_up()

    @precondition(lambda self: self.model.status.stage == "Ended" and self.model.status.switched_at is not None)
    @rule()
    def a_person_switches_by_hand(self) -> None:
        """Inside the undo window, with the commands of docs/mover.md. They refuse while another program repairs or
        drops a database."""
        model, data = self.model, self.model.data
        runs = any(j.alive and not j.ended and j.command != "inspect-only" for j in model.jobs.values())
        whole = (data.previous and data.kept_folder) if data.live == "new" else (data.restored and data.staged)
        if model.server_up and not runs and whole and model.exists:
            model.switch_by_hand()

    @rule(up=st.booleans())
    def server_changes(self, up: bool) -> None:
        self.disturb()
        self.model.server_up = up

    @rule(lost=st.booleans())
    def server_is_down_for_long(self, lost: bool) -> None:
        """Longer than anybody waits for an answer; perhaps with the node of its Jobs."""
        self.model.server_up = False
        for job in self.model.jobs.values():
            if job.alive and lost:
                self.model.lose(job)
        since = self.model.time
        for _ in range(120):
            self.operator.work()
            self.model.advance(20, 3)
            begun = self.model.status.deadline is not None and self.model.status.stage != "Ended"
            if self.model.exists and begun and self.model.time >= self.latest(since) + 20:
                assert self.outcome_is_known(), f"still, without a server: {self.model.status}"
        self.model.server_up = True
        self.disturb()

    @precondition(lambda self: self.model.status.deadline is not None and self.model.status.stage != "Ended")
    @rule(before=st.sampled_from([20, 100, 300]))
    def server_is_down_until_the_deadline(self, before: float) -> None:
        """The operator runs all the time: the stages that are left then have little time."""
        self.model.server_up = False
        for _ in range(200):
            deadline = self.model.status.deadline
            ended = not self.model.exists or self.model.status.stage == "Ended"
            if ended or deadline is None or self.model.time > (parse(deadline) - START).total_seconds() - before:
                break
            self.operator.work()
            self.model.advance(20, 3)
        self.disturb()

    @rule(lacks=st.booleans())
    def a_grant_is_taken(self, lacks: bool) -> None:
        """Or given. What was found before it stays found."""
        self.model.lacks_grant = lacks

    @rule(readable=st.booleans())
    def logs_change(self, readable: bool) -> None:
        """The kubelet gives no logs."""
        self.disturb()
        self.model.logs = readable

    @rule(granted=st.booleans())
    def quota_changes(self, granted: bool) -> None:
        self.disturb()
        self.model.quota = granted

    @rule(seconds=st.sampled_from([0, 0, 5, 60, 190, 400]))
    def jobs_start_slowly(self, seconds: float) -> None:
        """The volume is attached to another node, or the image is not on this one."""
        self.disturb()
        self.model.start_seconds = seconds

    @rule()
    def pods_linger(self) -> None:
        """A node does not answer: its pods stay for a long time."""
        self.disturb()
        for workload in self.model.workloads:
            for pod in workload.pods:
                if pod.leaves_at is not None:
                    pod.leaves_at += 300

    @precondition(lambda self: self.model.status.stage not in (None, "Preflight"))
    @rule()
    def rollback_is_deleted(self) -> None:
        self.disturb()
        if not self.model.deleting:
            self.model.deleting = True
            self.model.version += 1
            self.model.exists = self.model.finalizer

    @precondition(lambda self: self.model.status.stage not in (None, "Preflight"))
    @rule()
    def environment_is_deleted(self) -> None:
        self.disturb()
        self.model.environment, self.model.holder, self.model.executed = False, None, False

    @precondition(lambda self: self.model.status.stage not in (None, "Preflight"))
    @rule()
    def environment_names_another_claim(self) -> None:
        """Aborts before the switch, is ignored after it."""
        self.disturb()
        self.model.claim = "other" if self.model.claim == "files" else "files"

    @precondition(lambda self: self.model.other)
    @rule(revoked=st.booleans())
    def source_changes_its_grant(self, revoked: bool) -> None:
        """Or its namespace is deleted. From the switch on, nothing there matters."""
        self.model.revoked = revoked

    @precondition(lambda self: self.model.holder is None and self.model.environment)
    @rule()
    def another_operation_runs(self) -> None:
        self.disturb()
        self.model.holder, self.model.locked_since = "snapshot other", self.model.time

    @precondition(lambda self: self.model.holder == "snapshot other")
    @rule()
    def the_other_operation_ends(self) -> None:
        self.model.holder = None

    # --- the safety snapshot and the image ---------------------------------------------------------------------------
    @precondition(lambda self: self.model.snapshot is not None)
    @rule(what=st.sampled_from(["fails", "deleted", "foreign"]))
    def safety_snapshot_fails(self, what: str) -> None:
        """It fails; a person deletes it; or it is another object with its name."""
        self.disturb()
        snapshot = self.model.snapshot
        assert snapshot is not None
        if what == "deleted":
            kept = snapshot.state == "Complete" and self.model.status.stage != "Ended"
            snapshot.deleted = self.model.time if not kept and snapshot.deleted is None else snapshot.deleted
        elif what == "foreign" and snapshot.began is None:
            snapshot.ours = False
        else:
            snapshot.fails = True

    @rule(recorded=st.booleans())
    def someone_deploys(self, recorded: bool) -> None:
        """From Git or by hand: the image of the snapshot, or a newer one."""
        self.disturb()
        self.model.deploy(RECORDED if recorded else "registry/shop:3")

    @rule(tool=st.sampled_from(["", "Flux"]))
    def a_tool_owns_the_image(self, tool: str) -> None:
        """Not once the workloads are stopped: the images that are changed are decided then."""
        if self.model.status.stage in (None, "Preflight", "Restore", "Await", "Prepare"):
            self.model.tool = tool

    @rule(refused=st.booleans())
    def images_are_refused(self, refused: bool) -> None:
        """By an admission policy, or a right that is missing."""
        self.disturb()
        self.model.images_refused = refused
        self.model.were_refused = self.model.were_refused or refused

    @rule(refused=st.booleans())
    def scales_are_refused(self, refused: bool) -> None:
        """By a webhook that does not answer, or a policy."""
        self.disturb()
        self.model.scales_refused = refused

    @precondition(lambda self: self.model.status.stage == "Resume")
    @rule(times=st.integers(1, 30))
    def scales_are_refused_for_long(self, times: int) -> None:
        """The operator runs all the time. What the environment runs on is known in time, however long the workloads
        cannot start."""
        self.model.scales_refused = True
        since = self.model.time
        for _ in range(times):
            self.operator.work()
            self.model.advance(20, 3)
            if self.model.exists and self.model.time >= self.latest(since):
                assert self.outcome_is_known(), self.model.status
        self.disturb()

    @precondition(lambda self: self.model.scales_refused and self.model.status.stage == "Resume")
    @rule()
    def a_person_starts_one_more(self) -> None:
        """Of a workload that the operator may not start. It never becomes ready."""
        for workload, saved in zip(self.model.workloads, self.model.saved, strict=True):
            if workload.replicas == 0 < saved:
                workload.replicas, workload.extra, workload.started_by_others = saved + 1, 1, True
                workload.version += 1

    # --- two operators -----------------------------------------------------------------------------------------------
    @precondition(lambda self: self.model.exists and self.kept is None)
    @rule()
    def operator_is_stopped_before_it_acts(self) -> None:
        """SIGSTOP between reading and acting; another operator becomes the leader."""
        self.kept = self.operator.decide()

    @precondition(lambda self: self.kept is not None)
    @rule()
    def stopped_operator_goes_on(self) -> None:
        assert self.kept is not None
        (seen, action), self.kept = self.kept, None
        self.disturb()
        if self.model.exists:
            self.model.stale_starts = self.model.stale_starts or (
                isinstance(action, world.Do) and isinstance(action.effect, world.StartJob)
            )
            self.operator.act(seen, action)
        self.model.check()

    def latest(self, recovered: float) -> float:
        """The time at which the rollback must have ended."""
        if self.model.status.deadline is None:
            return recovered + PREFLIGHT_SECONDS
        deadline = (parse(self.model.status.deadline) - START).total_seconds()
        if self.model.refused_scale_at:  # the workloads' start and their health check were late
            return max(deadline, self.operator.watched_since, self.model.refused_scale_at) + AWAY_SECONDS
        if self.operator.watched_since == 0:
            # Absences shorter than WATCH_GAP_SECONDS do not count as such, but nothing ends in them either.
            return max(deadline, self.idle_until) + PROMISED_SECONDS
        return max(deadline, self.operator.watched_since) + AWAY_SECONDS

    def outcome_is_known(self) -> bool:
        """It has not ended, for the one reason that is allowed: a workload cannot be started. The data's outcome is in
        the status."""
        model = self.model
        stopped = any(w.replicas == 0 < n for w, n in zip(model.workloads, model.saved, strict=True))
        known = model.status.position == model.data.position or model.status.failure_reason == c.POSITION_UNKNOWN
        return model.status.stage == "Resume" and model.scales_refused and stopped and known

    def disturb(self) -> None:
        """From now on there is something to recover from."""
        self.model.disturbed_at = self.model.time

    # --- the end -----------------------------------------------------------------------------------------------------
    def teardown(self) -> None:
        """All faults end, the operator runs: terminal in time, and no cleanup remains."""
        model = self.model
        model.server_up = model.quota = True
        model.images_refused = model.scales_refused = False
        model.start_seconds = 0
        if model.holder == "snapshot other":
            model.holder = None
        since = model.time
        while model.exists and model.status.stage != "Ended":
            self.operator.work()
            model.advance(1, 2)
            assert model.time < self.latest(since), (
                f"still {model.time - since:.0f} s after all was well: {model.status}"
            )
        since = model.time
        while model.exists:
            action = self.operator.work()
            model.advance(5, 4)
            if isinstance(action, Idle) and action.seconds is None:
                break
            assert model.time - since < SETTLE_SECONDS + model.spec.undo_window_seconds, model.status
        if model.exists:
            model.check_settled()
        if model.environment and not model.stale_starts:
            assert model.data.accepting
        assert model.switches <= 1
        assert model.backs <= model.switches
