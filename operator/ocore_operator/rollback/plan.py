"""The plan of a rollback: a pure function from what is known to the next single thing to do.

``decide(status, spec, world, now)`` returns one :data:`~ocore_operator.rollback.world.Action`: write a status, do one effect, or wait. The
reconciler carries it out and asks again. So a crash can only fall between two of them, and what the plan then sees (the status that was
written, and the world as it is) is all it needs to go on.

Up to the stage Drain anything that goes wrong takes everything down and leaves the environment as it was. From the stage Switch on the
outcome is finished, forward or back; :mod:`ocore_operator.rollback.plan_switch` has that half, :mod:`ocore_operator.rollback.plan_after_end` what is owed
after the end.
"""

from collections.abc import Callable
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.protocol import RestoreResult
from ocore_crds.rollback import RollbackSpec, RollbackStatus
from ocore_operator.clock import parse
from ocore_operator.rollback import plan_switch
from ocore_operator.rollback.plan_after_end import after_end
from ocore_operator.rollback.plan_preflight import preflight
from ocore_operator.rollback.transitions import begin, change, elapsed, enter, failing, over, restored, save, signalling
from ocore_operator.rollback.world import (
    AcquireLock,
    Action,
    AddFinalizer,
    Do,
    JobView,
    Note,
    Record,
    RemoveFinalizer,
    Scale,
    Settled,
    StartJob,
    Wait,
    World,
)

#: A Job that ended for a reason that a new one may not meet is replaced this many times in all.
MAX_ATTEMPTS = 3
#: Seconds that the API server may refuse a Job (quota, admission) before the rollback fails.
REFUSED_SECONDS = 120
#: Seconds in which the workloads must take the order to stop.
STOP_SECONDS = 60
#: Seconds until no pod of a workload may be left, beside the pods' own grace period.
DRAIN_SECONDS = 120
#: Seconds until the pods of a Job that was stopped are gone; then it goes on without: they have no signal.
STOP_JOBS_SECONDS = 45

#: Stages in which the environment is as it was, and everything can still be called off.
BEFORE_THE_SWITCH = ("Restore", "Prepare", "Stop", "Drain")


def decide(status: RollbackStatus, spec: RollbackSpec, world: World, rollback_id: str, now: datetime) -> Action:
    """The next single thing to do."""
    if world.namespace_terminating:
        # No Job can be made here any more and everything of ours goes with the namespace: do not hold it up (velero#3701).
        return Do(RemoveFinalizer()) if world.finalizer else Settled()
    if status.stage is None:
        return Record(begin(status, rollback_id, now))
    if status.stage == "Ended":
        return after_end(status, spec, world, now)
    if not world.finalizer and not world.deleting:
        return Do(AddFinalizer())
    if status.stage in BEFORE_THE_SWITCH:
        interruption = _interruption(status, world, now)
        if interruption is not None:
            return interruption
    return _STAGES[status.stage](status, spec, world, now)


def abort(status: RollbackStatus, reason: str, message: str, now: datetime) -> Record:
    """Leaves the environment as it was."""
    return Record(failing(status, reason, message, now), (Note("Warning", reason, message),))


def _interruption(status: RollbackStatus, world: World, now: datetime) -> Action | None:
    """What calls a rollback off while that is still possible."""
    environment = world.environment
    if world.deleting:
        return abort(
            status, c.CANCELLED, "The rollback was deleted before the switch; the environment is as it was.", now
        )
    if status.deadline is not None and now >= parse(status.deadline):
        text = f"Not switched by {status.deadline} (timeoutSeconds), at stage {status.stage}; the environment is as it was."
        return abort(status, c.DEADLINE_EXCEEDED, text, now)
    if environment is None:
        text = f"Environment {status.environment_name} was deleted while it was being rolled back."
        return abort(status, c.ENVIRONMENT_NOT_FOUND, text, now)
    if environment.id != status.environment_id:
        text = f"Environment {environment.name} was replaced by another one (id {environment.id}) meanwhile."
        return abort(status, c.OTHER_ENVIRONMENT, text, now)
    if world.lock.state == "Other":
        text = f"{world.lock.holder} has taken the environment meanwhile; somebody changed status.operation."
        return abort(status, c.INTERNAL_ERROR, text, now)
    return Do(AcquireLock()) if world.lock.state == "Free" else None


# --- Restore ----------------------------------------------------------------------------------------------------------


def _restore(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    job = world.job("restore", status.attempt)
    if job is None:
        return refused(status, world, now) or Do(StartJob("restore", status.attempt))
    if not job.ended:
        return Wait(5, c.RUNNING, job.problem or f"Job {job.name} restores the snapshot beside the live environment.")
    if isinstance(job.payload, RestoreResult):
        note = Note("Normal", "Restored", "The snapshot is restored beside the live environment and checked.")
        return Record(restored(status, job.payload, now), (note,), failpoint="operator-rollback-restored")
    return _again(status, job, status.attempt, {"attempt": status.attempt + 1}, now)


def _again(status: RollbackStatus, job: JobView, attempt: int, changes: dict[str, int], now: datetime) -> Action:
    """A new attempt where the failure may pass, else the end. The failed Job's pod is gone before either."""
    reason = job.failure.reason if job.failure else c.JOB_FAILED
    message = job.failure.message if job.failure else f"Job {job.name} ended without a result."
    if job.failure is None or not job.failure.retryable or attempt >= MAX_ATTEMPTS:
        return abort(status, reason, message, now)
    if job.live:
        return plan_switch.stopped((job,))
    text = f"Attempt {attempt} of {MAX_ATTEMPTS} failed ({reason}: {message}); trying again."
    return Record(change(status, **changes), (Note("Warning", reason, text),))


def refused(status: RollbackStatus, world: World, now: datetime) -> Record | None:
    """The end where a Job could not be made for too long."""
    if world.refused_since is None or (now - world.refused_since).total_seconds() < REFUSED_SECONDS:
        return None
    text = f"Its Job could not be made for {REFUSED_SECONDS} s: {world.refusal}"
    return abort(status, world.refusal_reason or c.JOB_REFUSED, text, now)


# --- Prepare, Stop, Drain: the switch Job waits, the workloads stop ---------------------------------------------------


def _prepare(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    job = world.job("switch", status.switch_attempt)
    if job is None:
        return refused(status, world, now) or Do(StartJob("switch", status.switch_attempt))
    if job.ended:
        return _again(status, job, status.switch_attempt, {"switch_attempt": status.switch_attempt + 1}, now)
    if not job.ready:
        return Wait(2, c.RUNNING, job.problem or f"Job {job.name} prepares the switch.")
    missing = [w.label for w in world.workloads if not w.exists]
    if missing:
        return abort(status, c.WORKLOAD_NOT_FOUND, f"{', '.join(missing)} is gone; create it again.", now)
    names = ", ".join(w.label for w in world.workloads) or "no workload"
    return Record(save(status, world.workloads, now), (Note("Normal", "Quiescing", f"Stops {names} for the switch."),))


def _stop(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    running = tuple((w, 0) for w in world.workloads if w.exists and w.replicas > 0)
    if not running:
        return Record(enter(status, "Drain", now))
    if elapsed(status, world, now) > STOP_SECONDS:
        names = ", ".join(w.label for w, _ in running)
        text = f"{names} could not be scaled to zero within {STOP_SECONDS} s; see the operator's log."
        return abort(status, c.WORKLOAD_NOT_STOPPED, text, now)
    return Do(Scale(running), before="operator-rollback-replicas-saved")


def _drain(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    up = [w.label for w in world.workloads if w.exists and w.replicas > 0]
    if up:
        text = (
            f"{', '.join(up)} was scaled up again before the switch, by a GitOps tool or an autoscaler. Let it leave "
            "spec.replicas alone (Argo CD: ignoreDifferences) and create a new Rollback."
        )
        return abort(status, c.WORKLOAD_SCALED_UP, text, now)
    job = world.job("switch", status.switch_attempt)
    if job is None or job.ended:
        failure = job.failure if job is not None else None
        text = failure.message if failure else "The switch Job ended before it was given its signal."
        return abort(status, failure.reason if failure else c.SWITCH_FAILED, text, now)
    left = [w.label for w in world.workloads if w.exists and w.pods > 0]
    if not left and job.ready:
        latest = plan_switch.finish_seconds(spec, grace(world))
        return Record(
            signalling(status, now, plan_switch.SIGNAL_SECONDS, latest), failpoint="operator-rollback-scaled-down"
        )
    if elapsed(status, world, now) > DRAIN_SECONDS + grace(world):
        what = f"pods of {', '.join(left)} are left" if left else f"Job {job.name} is not ready ({job.problem})"
        text = f"After {DRAIN_SECONDS + grace(world)} s {what}; the workloads are started again."
        return abort(status, c.WORKLOAD_NOT_STOPPED if left else c.SWITCH_FAILED, text, now)
    return Wait(
        0.5, c.RUNNING, f"Waits until the pods of {', '.join(left)} are gone." if left else "Waits for the switch Job."
    )


def grace(world: World) -> int:
    """The longest grace period of the workloads' pods, in seconds."""
    return max((w.grace_seconds for w in world.workloads), default=0)


# --- Abort: before the switch, or found not switched --------------------------------------------------------------------


def _abort(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Nothing of ours may act any more before the application starts again. Each Job is told to stop, however late it is; only
    the wait for its pods has an end."""
    live = world.live()
    untold = any(not job.stopping for job in live)
    if untold or (live and not over(status, world, now, STOP_JOBS_SECONDS)):
        return plan_switch.stopped(live)
    return Record(enter(status, "Resume" if status.workloads else "Finish", now))


_STAGES: dict[str, Callable[[RollbackStatus, RollbackSpec, World, datetime], Action]] = {
    "Preflight": preflight,
    "Restore": _restore,
    "Prepare": _prepare,
    "Stop": _stop,
    "Drain": _drain,
    "Abort": _abort,
    "Switch": plan_switch.switch,
    "Inspect": plan_switch.inspect,
    "Resume": plan_switch.resume,
    "HealthCheck": plan_switch.health_check,
    "Finish": plan_switch.finish,
    "BackStop": plan_switch.back_stop,
    "BackDrain": plan_switch.back_drain,
    "BackSwitch": plan_switch.back_switch,
    "BackJob": plan_switch.back_job,
}
