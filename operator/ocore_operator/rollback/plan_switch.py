"""The plan from the switch on: what was begun is finished, forward or back. Pure.

Nothing here is called off, not by a deletion. Every stage has a deadline of its own, their sum is the rollback's (`finish_seconds`), and where
nobody can tell what happened (the database does not answer for five minutes), the workloads are started all the same: the switch allows
connections only when it is through, so they cannot run on a half.
"""

from datetime import datetime, timedelta
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.protocol import Signal, Step, SwitchResult
from ocore_crds.rollback import RollbackSpec, RollbackStatus
from ocore_operator.clock import parse
from ocore_operator.rollback.transitions import (
    change,
    elapsed,
    ended,
    enter,
    failing,
    healthy,
    over,
    resumed,
    stamp,
    step,
    switched,
    switched_back,
    unhealthy,
)
from ocore_operator.rollback.world import (
    Action,
    Do,
    JobView,
    Note,
    Record,
    RecordExecuted,
    Scale,
    SendSignal,
    StartJob,
    StopJob,
    Wait,
    WorkloadView,
    World,
)

#: Seconds after the signal's own deadline until an answer must be there: ending sessions takes 20 s at most, linking files seconds.
ANSWER_SECONDS = 90
#: Seconds that a signal is valid. It reaches the Job in about 0.1 s.
SIGNAL_SECONDS = 30
#: A signal is sent only while the Job still has this many seconds to read it.
SIGNAL_MARGIN_SECONDS = 2
#: Seconds in which somebody must be able to tell what the environment runs on.
INSPECT_SECONDS = 300
#: Seconds in which the workloads must take their replicas again.
RESUME_SECONDS = 120
#: Seconds that the operator itself must have looked at workloads that are not ready, before it switches back.
WATCHED_SECONDS = 60
#: Seconds in which the Environment must take note of the rollback.
FINISH_SECONDS = 120
#: Seconds for the pods to go before a switch back; it does not wait longer: refused connections are the barrier.
BACK_DRAIN_SECONDS = 120
#: Seconds in which it must be switched back.
BACK_SECONDS = 300
#: Seconds between two attempts at the same thing: a fifth of the time tried so far, within these limits.
BACKOFF_SECONDS = (5, 60)


def finish_seconds(spec: RollbackSpec, grace_seconds: float) -> float:
    """Seconds from the signal to the end at the latest: the longest way there is, each stage at its limit."""
    forward = SIGNAL_SECONDS + ANSWER_SECONDS + INSPECT_SECONDS + RESUME_SECONDS + spec.ready_timeout_seconds
    stop_again = RESUME_SECONDS + BACK_DRAIN_SECONDS + grace_seconds
    back = SIGNAL_SECONDS + ANSWER_SECONDS + BACK_SECONDS + INSPECT_SECONDS
    return forward + stop_again + back + RESUME_SECONDS + spec.ready_timeout_seconds + FINISH_SECONDS


def switch(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """The switch Job has its signal, or is about to get it."""
    job = world.job("switch", status.switch_attempt)
    result = _answer(job)
    if result is not None and result.position == "New":
        note = Note(
            "Normal", "Switched", f"The environment runs on the snapshot; refused {result.refused_seconds:.1f} s."
        )
        return Record(switched(status, result, now), (note,), failpoint="operator-rollback-switched")
    if job is None or job.ended or _seconds_past_signal(status, now) > ANSWER_SECONDS:
        return _to_inspect(status, job, now)
    send = _signal(status, job, "Switch", now)
    if send is not None:
        return Do(send, after="operator-rollback-signalled")
    return Wait(0.25, c.RUNNING, "Waits for the switch Job's answer.")


def _to_inspect(status: RollbackStatus, job: JobView | None, now: datetime) -> Record:
    """No answer: ask the databases themselves. The failure is kept for the case that they say Old."""
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
    return Record(fresh, (Note("Warning", reason, f"{message} Looks at the databases' names."),))


def inspect(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Whoever could still switch is stopped first: there are never two writers."""
    job = world.job("inspect", status.inspect_attempt)
    if job is not None and isinstance(job.payload, SwitchResult):
        return _found(status, job.payload, now)
    if over(status, world, now, INSPECT_SECONDS):
        return _position_unknown(status, job, now)
    writers = world.live("switch")
    if writers:
        return stopped(writers)
    if job is None:
        return Do(StartJob("inspect", status.inspect_attempt))
    if not job.ended:
        return Wait(1, c.RUNNING, job.problem or f"Job {job.name} looks at the databases' names.")
    if job.live:
        return stopped((job,))
    return _pause(job, elapsed(status, world, now), now) or Record(
        change(status, inspect_attempt=status.inspect_attempt + 1)
    )


def _found(status: RollbackStatus, result: SwitchResult, now: datetime) -> Record:
    """The databases' names have told the position."""
    note = Note("Normal", "Inspected", f"The databases' names say: {result.position}.")
    back = status.phase == "SwitchingBack"
    if result.position == "New" and not back:
        return Record(switched(status, result, now), (note,), failpoint="operator-rollback-switched")
    if result.position == "New":
        return Record(enter(status, "Resume", now, position="New"), (note,))
    if back:
        return Record(switched_back(status, result, now), (note,))
    text = f"{status.failure_message} The environment is as it was."
    return Record(failing(status, status.failure_reason or c.SWITCH_FAILED, text, now), (note,))


def _position_unknown(status: RollbackStatus, last: JobView | None, now: datetime) -> Record:
    why = last.failure.message if last is not None and last.failure is not None else "the inspect Job did not end"
    text = (
        f"Nobody could tell for {INSPECT_SECONDS} s whether the databases were switched ({why}). The workloads are started again; "
        "the databases' names are looked at again until they tell. docs/rollback.md says how to see it by hand."
    )
    fresh = enter(status, "Resume", now, position=None, failure_reason=c.POSITION_UNKNOWN, failure_message=text)
    return Record(fresh, (Note("Warning", c.POSITION_UNKNOWN, text),))


# --- Resume, HealthCheck, Finish --------------------------------------------------------------------------------------------


def resume(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Back to the replicas of before, whatever the outcome is."""
    wrong = tuple((w, n) for w, n in _wanted(status, world) if w.exists and w.replicas != n)
    if wrong and not over(status, world, now, RESUME_SECONDS):
        after = "operator-rollback-resumed" if status.failure_reason is None else ""
        return Do(Scale(wrong), after=after)
    if status.failure_reason is None or (status.phase == "SwitchingBack" and status.position == "Old"):
        return Record(resumed(status, now), (Note("Normal", "Resumed", "The workloads are started again."),))
    fresh = enter(status, "Finish", now, resumed_at=stamp(now) if status.workloads else None)
    return Record(step(fresh, Step.RESUME, "Done", now) if status.workloads else fresh)


def health_check(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Ready in time, or back to the previous one; the previous one's health is only told."""
    sick = [w for w, n in _wanted(status, world) if w.exists and n > 0 and not w.ready]
    if not sick:
        return Record(healthy(status, now))
    why = "; ".join(f"{w.label} is not ready: {w.problem or 'no pod is Ready'}" for w in sick)
    if not _late(status, spec, world, now):
        return Wait(1, c.RUNNING, why)
    if status.failure_reason is not None:
        return Record(
            enter(status, "Finish", now, failure_message=f"{status.failure_message} It is not ready either: {why}.")
        )
    text = f"Not ready within {spec.ready_timeout_seconds} s (readyTimeoutSeconds): {why}."
    return Record(unhealthy(status, text, now), (Note("Warning", c.WORKLOAD_NOT_READY, f"{text} Switching back."),))


def _late(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> bool:
    """The workloads have had their time, and a minute of it under our eyes: a node that restarts brings the operator back before them."""
    limit = spec.ready_timeout_seconds
    total = (now - parse(status.stage_since)).total_seconds() if status.stage_since else 0.0
    return total > limit and elapsed(status, world, now) > min(limit, WATCHED_SECONDS)


def finish(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """The Environment remembers what ran before anybody is told, so that it never runs twice."""
    environment = world.environment
    new = status.position == "New"
    if new and environment is not None and not environment.executed and not over(status, world, now, FINISH_SECONDS):
        return Do(RecordExecuted())
    job = world.job("switch", status.switch_attempt)
    if new and job is not None and not job.ended and not over(status, world, now, FINISH_SECONDS):
        finish_signal = Signal(
            action="Finish", not_after=parse(status.stage_since or stamp(now)).timestamp() + FINISH_SECONDS
        )
        if job.pods and job.signal != finish_signal:
            return Do(SendSignal(job, finish_signal))
    fresh = ended(status, now, spec.undo_window_seconds if new else None)
    if fresh.phase == "Complete":
        return Record(
            fresh, (Note("Normal", "Complete", f"Rolled back; the previous state is kept until {fresh.undo_until}."),)
        )
    return Record(fresh, (Note("Warning", fresh.failure_reason or c.INTERNAL_ERROR, fresh.failure_message or ""),))


# --- back ---------------------------------------------------------------------------------------------------------------------


def back_stop(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Stops the workloads a second time. What cannot be stopped does not keep it from going back: it is shut out."""
    running = tuple((w, 0) for w in world.workloads if w.exists and w.replicas > 0)
    if running and not over(status, world, now, RESUME_SECONDS):
        return Do(Scale(running))
    return Record(enter(status, "BackDrain", now))


def back_drain(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Waits for the pods to go, a while."""
    limit = BACK_DRAIN_SECONDS + max((w.grace_seconds for w in world.workloads), default=0)
    if not over(status, world, now, limit):
        up = tuple((w, 0) for w in world.workloads if w.exists and w.replicas > 0)
        if up:
            return Do(Scale(up))
        left = [w.label for w in world.workloads if w.exists and w.pods > 0]
        if left:
            return Wait(0.5, c.RUNNING, f"Waits until the pods of {', '.join(left)} are gone.")
    job = world.job("switch", status.switch_attempt)
    if job is not None and not job.ended and _answer(job) is not None:
        until = stamp(now + timedelta(seconds=SIGNAL_SECONDS))
        return Record(enter(status, "BackSwitch", now, signal_deadline=until))
    return Record(_to_back_job(status, now))


def back_switch(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """The Job that switched still waits: it switches back."""
    job = world.job("switch", status.switch_attempt)
    result = _answer(job)
    if result is not None and result.position == "Old":
        return _went_back(status, result, now)
    if job is None or job.ended or _seconds_past_signal(status, now) > ANSWER_SECONDS:
        return Record(_to_back_job(status, now))
    send = _signal(status, job, "SwitchBack", now)
    return Do(send) if send is not None else Wait(0.25, c.RUNNING, "Waits for the switch Job's answer.")


def back_job(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """A Job of its own switches back, after every earlier one is gone."""
    job = world.job("switch", status.switch_attempt)
    if job is not None and isinstance(job.payload, SwitchResult) and job.payload.position == "Old":
        return _went_back(status, job.payload, now)
    if over(status, world, now, BACK_SECONDS):
        return _to_inspect_back(status, job, now)
    earlier = tuple(j for j in world.live("switch") if j.attempt != status.switch_attempt)
    if earlier:
        return stopped(earlier)
    if job is None:
        return Do(StartJob("switch-back", status.switch_attempt))
    if not job.ended:
        return Wait(1, c.RUNNING, job.problem or f"Job {job.name} switches back.")
    if job.failure is not None and not job.failure.retryable:
        return _to_inspect_back(status, job, now)
    return _pause(job, elapsed(status, world, now), now) or Record(_to_back_job(status, now, first=False))


def _to_back_job(status: RollbackStatus, now: datetime, *, first: bool = True) -> RollbackStatus:
    fresh = change(status, switch_attempt=status.switch_attempt + 1)
    return enter(fresh, "BackJob", now) if first else fresh


def _to_inspect_back(status: RollbackStatus, job: JobView | None, now: datetime) -> Record:
    """It cannot be switched back. See what the environment runs on, and that it accepts connections."""
    why = job.failure.message if job is not None and job.failure is not None else "no Job could do it in time"
    text = f"{status.failure_message} It could not be switched back: {why}."
    fresh = enter(status, "Inspect", now, failure_message=text, inspect_attempt=status.inspect_attempt + 1)
    return Record(step(fresh, Step.SWITCH_BACK, "Failed", now, text), (Note("Warning", c.SWITCH_FAILED, text),))


def _went_back(status: RollbackStatus, result: SwitchResult, now: datetime) -> Record:
    note = Note("Warning", c.SWITCHED_BACK, "Switched back: the environment runs on what it ran on before.")
    return Record(switched_back(status, result, now), (note,))


# --- shared -------------------------------------------------------------------------------------------------------------------


def _answer(job: JobView | None) -> SwitchResult | None:
    """What the switch Job said last, at its end or while it waits."""
    if job is None:
        return None
    return job.payload if isinstance(job.payload, SwitchResult) else job.answer


def _seconds_past_signal(status: RollbackStatus, now: datetime) -> float:
    return (now - parse(status.signal_deadline)).total_seconds() if status.signal_deadline else 0.0


def _signal(
    status: RollbackStatus, job: JobView, action: Literal["Switch", "SwitchBack"], now: datetime
) -> SendSignal | None:
    """The signal, where its pod does not carry it yet and would still obey it."""
    wanted = Signal(action=action, not_after=parse(status.signal_deadline or stamp(now)).timestamp())
    if job.signal == wanted or not job.pods or _seconds_past_signal(status, now) > -SIGNAL_MARGIN_SECONDS:
        return None
    return SendSignal(job, wanted)


def stopped(writers: tuple[JobView, ...]) -> Action:
    """Stops them, one at a time, and waits until their pods are really gone."""
    for job in writers:
        if not job.stopping:
            return Do(StopJob(job))
    return Wait(1, c.RUNNING, f"Waits until Job {writers[0].name} has stopped.")


def _pause(job: JobView, elapsed_seconds: float, now: datetime) -> Wait | None:
    """The pause before the next attempt: a fifth of the time tried so far, within limits."""
    shortest, longest = BACKOFF_SECONDS
    pause = min(max(shortest, elapsed_seconds / 5), longest)
    passed = (now - job.ended_at).total_seconds() if job.ended_at is not None else pause
    if passed >= pause:
        return None
    why = job.failure.message if job.failure is not None else "it ended without a result"
    return Wait(pause - passed, c.RUNNING, f"Job {job.name}: {why}; tried again in {pause - passed:.0f} s.")


def _wanted(status: RollbackStatus, world: World) -> tuple[tuple[WorkloadView, int], ...]:
    """The saved workloads as they are now, with the replicas of before."""
    saved = {(w.kind, w.name): w.replicas for w in status.workloads}
    return tuple((w, saved[w.kind, w.name]) for w in world.workloads if (w.kind, w.name) in saved)
