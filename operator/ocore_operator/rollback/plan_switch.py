"""The plan from the switch on: the rollback is finished, forward or back. Pure.

No stage here is aborted, not even by a deletion. Every stage has its own limit; their sum is the rollback's deadline
(`finish_seconds`). Where the database does not answer for five minutes, the position is unknown and the workloads are
started anyway. That is safe: the switch allows connections only when it is complete, so the workloads cannot run on
half of it.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Signal, Step, SwitchResult
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.text.quantity import span
from ocore_crds.text.sentences import sentence
from ocore_operator.clock import parse
from ocore_operator.frame.actions import Note, Record, StopJob, Wait
from ocore_operator.jobs import signals
from ocore_operator.rollback import plan_image, plan_undo
from ocore_operator.rollback.transitions import (
    change,
    elapsed,
    ended,
    enter,
    failing,
    healthy,
    resumed,
    stamp,
    step,
    switched,
    switched_back,
    timed_out,
    unhealthy,
    unhealthy_without_previous,
)
from ocore_operator.rollback.world import (
    SWITCHING,
    Action,
    Do,
    JobView,
    RecordExecuted,
    SendSignal,
    StartJob,
    World,
    until_ended,
)
from ocore_operator.workloads import quiesce
from ocore_operator.workloads.quiesce import SetReplicas
from ocore_operator.workloads.view import WorkloadView

#: Seconds to wait for an answer after the signal has expired: ending sessions takes 20 s at most, linking files some
#: seconds.
ANSWER_SECONDS = 90
#: Seconds in which an inspect Job must find out what the environment runs on.
INSPECT_SECONDS = 300
#: What a switch Job does before it is ready (`blockers.PATIENCE` of the mover).
_PREPARES = "it connects to the database, and waits for sessions that it may not end, for 20 s at most"
#: Seconds for a Job that has answered to end on its own, which writes the outcome to the store; then it is deleted. It
#: has as many again to end after its result.
RELEASE_SECONDS = 15
#: Seconds to wait for the pods of stopped Jobs. Then the workloads start anyway: the node of these pods does not
#: answer, and they change nothing.
STOP_JOBS_SECONDS = 45
#: Seconds that the operator must have observed workloads as not ready before it switches back.
WATCHED_SECONDS = 60
#: Seconds to write the rollback to the Environment's status.executedRollbacks.
FINISH_SECONDS = 120
#: Seconds for a Job of its own to switch back.
BACK_SECONDS = 300
#: Seconds from the first signal in which a switch Job that was moved to another node must be ready for another one.
MOVE_SECONDS = signals.SIGNAL_SECONDS + ANSWER_SECONDS


def finish_seconds(spec: RollbackSpec, grace_seconds: float) -> float:
    """The worst-case seconds from the signal to the end: the longest sequence of stages, each at its limit."""
    again = quiesce.RESUME_SECONDS + spec.ready_timeout_seconds
    forward = MOVE_SECONDS + signals.SIGNAL_SECONDS + ANSWER_SECONDS + INSPECT_SECONDS + again
    stop_again = quiesce.RESUME_SECONDS + quiesce.DRAIN_SECONDS + grace_seconds
    back = BACK_SECONDS + INSPECT_SECONDS + again
    return forward + stop_again + back + FINISH_SECONDS


def switch(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Sends the signal to the switch Job and waits for its answer."""
    job = world.switch_job(status, spec)
    result = _answer(job)
    if result is not None and result.position == "New":
        text = (
            "The environment runs on the snapshot." if status.undo is None else "The environment runs on what was kept."
        )
        if result.refused_seconds is not None:
            text += f" The database refused connections for {span(result.refused_seconds)}."
        note = Note("Normal", "Switched", text)
        return Record(switched(status, result, now), (note,), before="operator-rollback-switched")
    if result is not None and job is not None and job.ended and job.payload == result:
        return _not_switched(status, result, now)
    passed = elapsed(status, world, now)
    if job is not None and (ended_early(job) or must_move(job, passed, now)) and passed <= MOVE_SECONDS:
        return replaced(status, job)
    if status.signal_deadline is None:
        return _signal_again(status, spec, job, world, now)
    if job is None or job.ended or _seconds_past_signal(status, now) > ANSWER_SECONDS:
        return _to_inspect(status, job, now)
    send = _signal(status, job, now)
    if send is not None:
        return Do(send, after="operator-rollback-signalled")
    return Wait(1, c.RUNNING, "Waiting for the switch Job's answer.")


def must_move(job: JobView, passed: float, now: datetime) -> bool:
    """Whether a Job that was ready to switch, or is to be, must be replaced by one that may run on another node: its
    pod was ended from outside, or its node has not taken the pod for a while. `passed`: seconds of the stage."""
    if job.stopping or job.payload is not None:
        return False
    patience = quiesce.retry_pause(passed)
    unplaced = job.unplaced_since is not None and (now - job.unplaced_since).total_seconds() > patience
    return job.moved or unplaced


def ended_early(job: JobView) -> bool:
    """Whether the Job has ended without an answer to the operator's signal, and another one may give it. A container of
    a restore is not started again. One that has switched without that signal is not believed: another client may have
    given it one. The next Job answers what the environment runs on."""
    if not job.ended or isinstance(job.payload, SwitchResult):
        return job.ended
    return job.kind == "restore" and (job.failure is None or job.failure.retryable)


def replaced(status: RollbackStatus, job: JobView) -> Record[RollbackStatus]:
    """The next attempt is another Job, and gets a signal of its own. The Job of this one is stopped first: a signal on
    a pod of it, and what it has begun, end with its last pod."""
    why = f"The pod of Job {job.name} was ended from outside, for example by a drain of its node."
    if job.ended:
        why = f"Job {job.name} has ended before it had its signal, or without an answer to it."
    elif not job.moved:
        why = f"The only node that Job {job.name} may run on does not take its pod."
    fresh = change(status, switch_attempt=status.switch_attempt + 1, signal_deadline=None)
    return Record(fresh, (Note("Warning", c.JOB_FAILED, f"{why} Starting another Job."),))


def until_ready(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action | Failure | None:
    """What to do before the signal may be sent; None where no workload runs and the switch Job waits for it. What
    another client scales up until then is scaled to zero again.

    A Job that replaces one is started once the workloads' pods are gone: until then the claim is where they are. The
    earlier one is stopped at once.
    """
    passed = elapsed(status, world, now)
    earlier = world.other_switch_jobs(status, spec)
    if not all(j.stopping for j in earlier):
        return stop_jobs(earlier)
    again = quiesce.stop_again(world.workloads, passed, world.scale_refused, now, "before the switch", "Rollback")
    if again is not None:
        return again if isinstance(again, Failure) else scale(again)
    draining = quiesce.drain(world.workloads, passed, now)
    if draining is not None:
        return draining if isinstance(draining, Failure) else wait(draining)
    job = world.switch_job(status, spec)
    if job is not None and job.ready:
        return None
    limit = quiesce.drain_seconds(world.workloads)
    text = f"Job {job.name} is not ready ({job.problem or _PREPARES})." if job else ""
    if passed > limit:
        text = text or "No other switch Job could be started."
        return Failure(reason=c.SWITCH_FAILED, message=f"After {limit} s {text} The workloads are started again.")
    if job is not None:
        return Wait(0.5, c.RUNNING, text)
    return stop_jobs(earlier) if earlier else Do(StartJob("switch", status.switch_attempt))


def _signal_again(
    status: RollbackStatus, spec: RollbackSpec, job: JobView | None, world: World, now: datetime
) -> Action:
    """The Job that had the first signal was lost. Another one has put right what that one had begun, once it is ready;
    where the first one has switched, it answers so."""
    if elapsed(status, world, now) > MOVE_SECONDS or (job is not None and job.ended):
        return _to_inspect(status, job, now)
    waits = until_ready(status, spec, world, now)
    if isinstance(waits, Failure):
        return _to_inspect(status, job, now)
    until = stamp(now + timedelta(seconds=signals.SIGNAL_SECONDS))
    return waits or Record(change(status, signal_deadline=until))


def _not_switched(status: RollbackStatus, result: SwitchResult, now: datetime) -> Record[RollbackStatus]:
    """The Job has ended with the position Old, so nothing can switch any more. The workloads start without an
    inspection."""
    reason, message = c.SWITCH_FAILED, "The switch Job ended without switching."
    if result.failure is not None:
        reason, message = result.failure.reason, result.failure.message
    text = f"{message.rstrip('.')}. The environment is as it was."
    return Record(failing(status, reason, text, now), (Note("Warning", reason, text),))


def _to_inspect(status: RollbackStatus, job: JobView | None, now: datetime) -> Record[RollbackStatus]:
    """There is no answer: an inspect Job must find the position. The failure is kept; it applies where the position is
    Old."""
    reason, message = c.SWITCH_FAILED, "The switch Job was lost before it answered."
    if job is not None and job.failure is not None:
        reason, message = job.failure.reason, job.failure.message
    elif job is not None and not job.ended:
        message = f"The switch Job did not answer within {ANSWER_SECONDS} s."
    fresh = enter(
        status,
        "Inspect",
        now,
        failure_reason=reason,
        failure_message=message,
        inspect_attempt=status.inspect_attempt + 1,
    )
    return Record(fresh, (Note("Warning", reason, f"{message} Reading the position from the databases' names."),))


def inspect(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Finds out what the environment runs on. Jobs that could still switch are stopped first: there are never two
    writers."""
    job = world.job("inspect", status.inspect_attempt)
    if job is not None and isinstance(job.payload, SwitchResult):
        return _found(status, job.payload, now)
    if timed_out(status, world, now, INSPECT_SECONDS):
        return _position_unknown(status, job, now)
    writers = world.live(*SWITCHING)
    if writers:
        return stop_jobs(writers)
    if job is None:
        return Do(StartJob("inspect", status.inspect_attempt))
    if not job.ended:
        return until_ended(job, "reads the position from the databases' names.")
    if job.live:
        return stop_jobs((job,))
    return _pause(job, elapsed(status, world, now), now) or Record(
        change(status, inspect_attempt=status.inspect_attempt + 1)
    )


def _found(status: RollbackStatus, result: SwitchResult, now: datetime) -> Record[RollbackStatus]:
    """The inspect Job has found the position."""
    note = Note("Normal", "Inspected", f"By the databases' names, the position is {result.position}.")
    back = status.phase == "SwitchingBack"
    if result.position == "New" and not back:
        return Record(switched(status, result, now), (note,), before="operator-rollback-switched")
    if result.position == "New":
        return Record(enter(status, "Resume", now, position="New"), (note,))
    if back:
        return Record(switched_back(status, result, now), (note,))
    text = f"{status.failure_message} The environment is as it was."
    return Record(failing(status, status.failure_reason or c.SWITCH_FAILED, text, now), (note,))


def _position_unknown(status: RollbackStatus, last: JobView | None, now: datetime) -> Record[RollbackStatus]:
    why = last.failure.message if last is not None and last.failure is not None else "the inspect Job did not end"
    text = (
        f"It is unknown whether the databases were switched: no inspection succeeded for {INSPECT_SECONDS} s ({why})."
        " The workloads are started again, and the operator repeats the inspection until it succeeds. Check the"
        ' database server; docs/guides/rollback-failed.md, "Repairs by hand", shows how to find the position by SQL.'
    )
    fresh = enter(status, "Resume", now, position=None, failure_reason=c.POSITION_UNKNOWN, failure_message=text)
    return Record(fresh, (Note("Warning", c.POSITION_UNKNOWN, text),))


# --- Resume, HealthCheck, Finish -------------------------------------------------------------------------------------


def resume(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Sets the saved replicas again, whatever the outcome is, once the images are set that belong to the data, and no
    pod of ours mounts the filestore's claim."""
    setting = plan_image.set_images(status, world, now)
    if setting is not None:
        return setting
    late = timed_out(status, world, now, quiesce.RESUME_SECONDS)
    targets = quiesce.to_start(_wanted(status, world), late=late)
    if targets:
        held = _claim_held(status, world, now) if not late else None
        if held is not None:
            return held
        answer = quiesce.start(targets, elapsed(status, world, now), world.scale_refused, now, late=late)
        if isinstance(answer, quiesce.Later) and answer.stalled:
            answer = replace(answer, message=f"{status.failure_message or 'The switchover is done.'} {answer.message}")
        return scale(answer, after="operator-rollback-resumed" if status.failure_reason is None else "")
    if status.failure_reason is None or (status.phase == "SwitchingBack" and status.position == "Old"):
        note = Note("Normal", "Resumed", "The workloads have their saved replicas again.")
        return Record(resumed(status, now), (note,))
    fresh = enter(status, "Finish", now, resumed_at=stamp(now) if status.workloads else None)
    return Record(step(fresh, Step.RESUME, "Done", now) if status.workloads else fresh)


def scale(answer: SetReplicas | quiesce.Later, *, before: str = "", after: str = "") -> Action:
    """Scales the workloads, or waits after the API server has refused it."""
    return Do(answer, before=before, after=after) if isinstance(answer, SetReplicas) else wait(answer)


def wait(later: quiesce.Later) -> Wait:
    """As an action of this plan."""
    return Wait(later.seconds, later.reason, later.message, stalled=later.stalled)


def _claim_held(status: RollbackStatus, world: World, now: datetime) -> Action | None:
    """What to do while a pod of ours mounts the filestore's claim; None where none does. A workload that starts on
    another node could not attach a claim that only one node can mount (row 35). Not waited for: a pod that was deleted
    STOP_JOBS_SECONDS ago and still exists. Pods of other objects, such as a probe's, are not stopped: they end on their
    own."""
    if not _uses_claim(status):
        return None
    holding = tuple(j for j in world.holding() if not _stuck(j, now))
    if not holding and world.claim_users and elapsed(status, world, now) <= RELEASE_SECONDS + STOP_JOBS_SECONDS:
        return Wait(1, c.RUNNING, f"Waiting until pod {world.claim_users[0]} has released the filestore's claim.")
    if not holding:
        return None
    ending = all(j.ended or j.answer is not None for j in holding)
    if ending and not any(j.stopping for j in holding) and elapsed(status, world, now) <= RELEASE_SECONDS:
        return Wait(1, c.RUNNING, f"Waiting until the pod of Job {holding[0].name} has released the filestore's claim.")
    return stop_jobs(holding)


def _uses_claim(status: RollbackStatus) -> bool:
    return status.target is None or status.target.claim_name is not None


def _stuck(job: JobView, now: datetime) -> bool:
    return job.stopping_since is not None and (now - job.stopping_since).total_seconds() > STOP_JOBS_SECONDS


def health_check(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Waits until every workload is ready; one that is not in time causes a switch back. After a switch back it is only
    reported."""
    not_ready = [(w, _needed(w, saved)) for w, saved in _wanted(status, world) if w.ready_replicas < _needed(w, saved)]
    if not not_ready:
        return Record(healthy(plan_image.checked(status, world, now), now))
    hangs = next((j for j in world.jobs if j.mounts and not j.stopping and j.kind in SWITCHING), None)
    if hangs is not None and _uses_claim(status) and elapsed(status, world, now) > RELEASE_SECONDS:
        return Do(StopJob(hangs.name))
    why = "; ".join(
        f"{w.label} has {w.ready_replicas} of {needed} replicas ready: {w.problem or 'no pod reports a reason'}"
        for w, needed in not_ready
    )
    if not _late(status, spec, world, now):
        text = sentence(f"{why}. For {spec.ready_timeout_seconds} s at most (readyTimeoutSeconds)")
        return Wait(quiesce.pause(elapsed(status, world, now)), c.RUNNING, text)
    if status.failure_reason is not None:
        text = sentence(f"{status.failure_message} The workloads are not ready on it either: {why}.")
        return Record(enter(status, "Finish", now, failure_message=text))
    text = sentence(f"Not ready within {spec.ready_timeout_seconds} s (readyTimeoutSeconds): {why}.")
    if status.warnings:
        text += f" Known since the preflight: {' '.join(w.message for w in status.warnings)}"
    if status.live_missing:
        # The switch back would leave the environment without a database, and drop what users may have written.
        text = (
            f"{text} Database {status.live_database} did not exist before the rollback, so there is nothing to switch"
            " back to: the environment stays on the snapshot. Fix the workloads."
        )
        return Record(unhealthy_without_previous(status, text, now), (Note("Warning", c.WORKLOAD_NOT_READY, text),))
    note = Note("Warning", c.WORKLOAD_NOT_READY, f"{text} Switching back.")
    return Record(unhealthy(status, text, now), (note,))


def _needed(workload: WorkloadView, saved: int) -> int:
    """How many ready replicas show that the workload runs on the snapshot: those it had before. An autoscaler that
    wants more, which may not fit on any node, is no cause to switch back and lose what users have written since; one
    that wants fewer gets fewer."""
    return min(saved, workload.replicas) if workload.exists else 0


def _late(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> bool:
    """Whether readyTimeoutSeconds have passed, of which this operator has observed up to a minute. After a node's
    restart the operator is back before the workloads."""
    limit = spec.ready_timeout_seconds
    total = (now - parse(status.stage_since)).total_seconds() if status.stage_since else 0.0
    return total > limit and elapsed(status, world, now) > min(limit, WATCHED_SECONDS)


def finish(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Writes to the Environment that the rollback ran BEFORE the rollback is terminal, so that it never runs twice."""
    environment = world.environment
    new, late = status.position == "New", timed_out(status, world, now, FINISH_SECONDS)
    settle = plan_undo.settle(status, spec, world, now)
    if settle is not None and not late:
        return settle
    if new and environment is not None and not world.executed and not late:
        return Do(RecordExecuted())
    # Also what was switched back is kept: users may have written to it.
    kept = status.position is not None and status.switched_at is not None and not (status.undo and not new)
    fresh = ended(status, now, spec.undo_window_seconds if kept else None)
    if new:
        fresh = change(fresh, recorded=environment is not None and world.executed)
    if fresh.phase == "Complete":
        text = f"Rolled back. The previous state is kept until {fresh.undo_until}."
        if fresh.undo is not None:
            text = (
                f"Rollback {fresh.undo.rollback_name} is undone. What was live before is kept until {fresh.undo_until}."
            )
        if fresh.live_missing:
            text = (
                f"Rolled back. Database {fresh.live_database} did not exist and was created; there is no previous one."
            )
        return Record(fresh, (Note("Normal", "Complete", text),))
    return Record(fresh, (Note("Warning", fresh.failure_reason or c.INTERNAL_ERROR, fresh.failure_message or ""),))


# --- switch back -----------------------------------------------------------------------------------------------------


def back_stop(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Stops the workloads a second time. One that cannot be stopped does not prevent the switch back: its connections
    are refused."""
    targets = tuple((w, 0) for w in _running(world))
    if not targets or timed_out(status, world, now, quiesce.RESUME_SECONDS):
        return Record(enter(status, "BackDrain", now))
    return scale(quiesce.scale(targets, elapsed(status, world, now), world.scale_refused, now))


def back_drain(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Waits a limited time until the workloads have no pods. It then continues: refused connections are the barrier."""
    limit = quiesce.drain_seconds(world.workloads)
    again = _running(world)
    if again and not timed_out(status, world, now, limit):
        return scale(quiesce.scale_again(again, elapsed(status, world, now), world.scale_refused, now))
    draining = quiesce.drain(world.workloads, elapsed(status, world, now), now)
    if isinstance(draining, quiesce.Later) and not timed_out(status, world, now, limit):
        return wait(draining)
    return Record(_to_back_job(status, now))


def _running(world: World) -> tuple[WorkloadView, ...]:
    """What must be scaled to zero. What would delete data with its pods continues to run."""
    return tuple(w for w in quiesce.running(world.workloads) if w.loses is None)


def back_job(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """A Job switches back, once every earlier switch Job is gone. One that does not start is replaced until the time is
    over: the volume may still be attached to the node of the workload."""
    job = world.job("switch", status.switch_attempt)
    if job is not None and isinstance(job.payload, SwitchResult) and job.payload.position == "Old":
        return _went_back(status, job.payload, now)
    if timed_out(status, world, now, BACK_SECONDS):
        return _to_inspect_back(status, job, now)
    earlier = tuple(j for j in world.live(*SWITCHING) if j is not job)
    if earlier:
        return stop_jobs(earlier)
    if job is None:
        return Do(StartJob("switch-back", status.switch_attempt))
    if must_move(job, elapsed(status, world, now), now):
        return replaced(status, job)
    if not job.ended:
        return until_ended(job, "switches back.")
    if job.failure is not None and not job.failure.retryable and job.failure.reason != c.POD_NOT_STARTED:
        return _to_inspect_back(status, job, now)
    return _pause(job, elapsed(status, world, now), now) or Record(_to_back_job(status, now, first=False))


def _to_back_job(status: RollbackStatus, now: datetime, *, first: bool = True) -> RollbackStatus:
    fresh = change(status, switch_attempt=status.switch_attempt + 1)
    return enter(fresh, "BackJob", now) if first else fresh


def _to_inspect_back(status: RollbackStatus, job: JobView | None, now: datetime) -> Record[RollbackStatus]:
    """It cannot be switched back: an inspect Job must find the position and allow connections."""
    why = job.failure.message if job is not None and job.failure is not None else "no Job succeeded in time"
    text = f"{status.failure_message} It could not be switched back: {why}."
    fresh = enter(status, "Inspect", now, failure_message=text, inspect_attempt=status.inspect_attempt + 1)
    return Record(step(fresh, Step.SWITCH_BACK, "Failed", now, text), (Note("Warning", c.SWITCH_FAILED, text),))


def _went_back(status: RollbackStatus, result: SwitchResult, now: datetime) -> Record[RollbackStatus]:
    note = Note("Warning", c.SWITCHED_BACK, "Switched back: the environment runs on what it ran on before.")
    return Record(switched_back(status, result, now), (note,))


# --- shared ----------------------------------------------------------------------------------------------------------


def _answer(job: JobView | None) -> SwitchResult | None:
    """The result of the switch Job, at its end or in its log before that."""
    if job is None:
        return None
    return job.payload if isinstance(job.payload, SwitchResult) else job.answer


def _seconds_past_signal(status: RollbackStatus, now: datetime) -> float:
    return (now - parse(status.signal_deadline)).total_seconds() if status.signal_deadline else 0.0


def _signal(status: RollbackStatus, job: JobView, now: datetime) -> SendSignal | None:
    """The signal to send or to repeat; None where the pod has it, or could not obey it any more."""
    wanted = Signal(job=job.name, not_after=parse(status.signal_deadline or stamp(now)).timestamp())
    repetition = signals.due(-_seconds_past_signal(status, now))
    if repetition is None or not job.pods or (job.signal == wanted and job.repetition >= repetition):
        return None
    return SendSignal(job, wanted, repetition)


def stop_jobs(jobs: tuple[JobView, ...]) -> Action:
    """Deletes the Jobs one at a time, then waits until their pods are gone. `jobs` is not empty."""
    for job in jobs:
        if not job.stopping:
            return Do(StopJob(job.name))
    lost = next((job for job in jobs if job.reason == c.NODE_NOT_RESPONDING), None)
    if lost is not None:
        return Wait(1, lost.reason, lost.problem, stalled=True)
    return Wait(1, c.RUNNING, f"Waiting until Job {jobs[0].name} and its pods are gone.")


def _pause(job: JobView, elapsed_seconds: float, now: datetime) -> Wait | None:
    """The rest of the pause before the next attempt (quiesce.PAUSE_SECONDS); None where it has passed."""
    pause = quiesce.retry_pause(elapsed_seconds)
    passed = (now - job.ended_at).total_seconds() if job.ended_at is not None else pause
    if passed >= pause:
        return None
    why = job.failure.message if job.failure is not None else "it ended without a result"
    return Wait(pause - passed, c.RUNNING, f"Job {job.name}: {why}. Retrying in {pause - passed:.0f} s.")


def _wanted(status: RollbackStatus, world: World) -> tuple[tuple[WorkloadView, int], ...]:
    """The saved workloads as they are now, with their saved replicas. After an undo: those from before the undone
    Rollback; but a workload that ran before the undo is not left stopped."""
    saved = {(w.kind, w.name): w.replicas for w in status.workloads}
    if status.undo is not None and status.position == "New":
        saved |= {key: n for w in status.undo.workloads if (key := (w.kind, w.name)) in saved and (n := w.replicas) > 0}
    return tuple((w, saved[w.kind, w.name]) for w in world.workloads if (w.kind, w.name) in saved)
