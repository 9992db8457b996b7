"""The plan of a rollback: a pure function from what is known to the next single action.

``decide(status, spec, world, ...)`` returns one :data:`~ocore_operator.rollback.world.Action`: write a status, carry
out one effect, or wait. ``reconcile.py`` carries it out and decides again. A crash can only fall between two actions,
and the plan then continues from the status that was written and the world as it is observed.

Up to the stage Drain a failure or a deletion aborts the rollback and leaves the environment as it was. From the stage
Switch on the rollback is finished, forward or back: see ``plan_switch.py``. Cleanup after the end is in
``plan_after_end.py``.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from ocore_crds import conditions as c
from ocore_crds.commands.base import Command
from ocore_crds.commands.table import NEUTRALIZE, RESTORE, SWITCH
from ocore_crds.protocol import Failure, NeutralizeResult, ProbeResult, RestoreResult
from ocore_crds.resources.rollback import (
    BEFORE_THE_SWITCH,
    RemoteSource,
    RollbackSpec,
    RollbackStage,
    RollbackStatus,
    RollbackTarget,
)
from ocore_operator.clock import parse
from ocore_operator.errors import Outcome, Waiting
from ocore_operator.frame.actions import Idle, Note, Record, SetFinalizer, SetLock, Wait
from ocore_operator.jobs import signals
from ocore_operator.jobs.observing.outcome import may_retry
from ocore_operator.rollback import (
    plan_image,
    plan_joined,
    plan_preview,
    plan_safety,
    plan_switch,
    plan_undo,
    remote_source,
    source,
)
from ocore_operator.rollback.plan_after_end import after_end
from ocore_operator.rollback.plan_preflight import preflight
from ocore_operator.rollback.snapshot_and_environment import target_of
from ocore_operator.rollback.transitions import (
    already_executed,
    begin,
    change,
    elapsed,
    enter,
    failing,
    neutralized,
    refused_by_record,
    restored,
    save,
    signalling,
    timed_out,
    unanswered,
)
from ocore_operator.rollback.world import Action, Do, JobView, StartJob, World, until_ended
from ocore_operator.workloads import quiesce
from ocore_operator.workloads.view import labels, saved

#: Seconds that the API server may refuse a Job (quota, admission) before the rollback fails.
REFUSED_SECONDS = 120
#: Seconds until an effect that could not be carried out is tried again, unless its error says otherwise.
PAUSE = 5.0
#: Seconds in which an import completes what it has created.
IMPORT_WAIT = 300

#: Reasons of a restore Job that found a record of an earlier run. It has touched nothing.
RAN_BEFORE = (c.ALREADY_EXECUTED, c.SWITCHED_BACK, c.OUTCOME_UNKNOWN)


def decide(status: RollbackStatus, spec: RollbackSpec, world: World, rollback_id: str, now: datetime) -> Action:
    """The next single action."""
    if world.refused_now is not None:
        return _later(world.refused_now)
    if world.namespace_terminating:
        # No Job can be created in the namespace any more, and all our objects are deleted with it: do not block that
        # (velero#3701).
        return Do(SetFinalizer(present=False)) if world.finalizer else Idle()
    if spec.dry_run:
        return plan_preview.decide(status, spec, world, rollback_id, now)
    if world.awaits_import and status.stage is None:
        return _await_import(status, spec, world, rollback_id, now)
    if status.stage is None:
        return Record(begin(status, spec, rollback_id, now, world.environment_name))
    if status.stage == "Ended":
        return after_end(status, spec, world, now)
    if not world.finalizer and not world.deleting:
        return Do(SetFinalizer(present=True))
    if status.stage in BEFORE_THE_SWITCH:
        interruption = _interruption(status, spec, world, now)
        if interruption is not None:
            return interruption
    return _STAGES[status.stage](status, spec, world, now)


def _later(refusal: Outcome) -> Wait:
    """An effect that cannot be carried out now is tried again; the limit of the stage ends that."""
    return Wait(refusal.after if isinstance(refusal, Waiting) else PAUSE, refusal.reason, refusal.message)


def _await_import(status: RollbackStatus, spec: RollbackSpec, world: World, rollback_id: str, now: datetime) -> Action:
    """It ran before, on another cluster, and never runs here. The import that has just created it writes its status."""
    left = IMPORT_WAIT - (now - world.created).total_seconds()
    if left > 0:
        return Idle(left)
    text = (
        "An import created this Rollback and has not completed it. It never runs. The next import of its SnapshotStore"
        " completes it."
    )
    fresh = begin(status, spec, rollback_id, now)
    return Record(failing(fresh, c.IMPORT_INCOMPLETE, text, now), (Note("Warning", c.IMPORT_INCOMPLETE, text),))


def abort(status: RollbackStatus, reason: str, message: str, now: datetime) -> Record[RollbackStatus]:
    """Fails the rollback and leaves the environment as it was."""
    return Record(failing(status, reason, message, now), (Note("Warning", reason, message),))


def _interruption(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action | None:
    """What ends any stage before the switch; None where nothing does."""
    environment = world.environment
    if world.deleting:
        text = "The Rollback was deleted before the switch. The environment is as it was."
        return abort(status, c.CANCELLED, text, now)
    if status.deadline is not None and now >= parse(status.deadline):
        text = (
            f"Not switched by {status.deadline} (timeoutSeconds), at stage {status.stage}. The environment is as it"
            f" was. {_waited_for(status, spec, world, now)}Increase timeoutSeconds in a new Rollback."
        )
        return abort(status, c.DEADLINE_EXCEEDED, text, now)
    if environment is None:
        text = f"Environment {status.environment_name} was deleted during the rollback."
        return abort(status, c.ENVIRONMENT_NOT_FOUND, text, now)
    name, target = environment.meta.name, target_of(environment)
    if environment.status.id != status.environment_id:
        text = f"Environment {name} was replaced during the rollback by another one (id {environment.status.id})."
        return abort(status, c.OTHER_ENVIRONMENT, text, now)
    if status.target is not None and target != status.target:
        text = (
            f"Environment {name} was changed during the rollback:"
            f" {_changes(status.target, target)}. The environment is as it was. Create a new Rollback if"
            " you still want it."
        )
        return abort(status, c.ENVIRONMENT_CHANGED, text, now)
    if world.lock.state == "Other":
        text = (
            f"{world.lock.holder} has locked environment {name} during the rollback: another client changed"
            " its status.operation. Create a new Rollback."
        )
        return abort(status, c.INTERNAL_ERROR, text, now)
    return Do(SetLock(held=True)) if world.lock.state == "Free" else None


def _waited_for(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> str:
    """What the stage Await waited for, as a sentence; empty at another stage."""
    waited = _await(status, spec, world, now) if status.stage == "Await" else None
    return f"{waited.message} " if isinstance(waited, Wait) else ""


_TARGET_FIELDS = {
    "database_secret_name": "spec.database.secretRef",
    "admin_secret_name": "spec.database.adminSecretRef",
    "cluster": "spec.database.cnpg.cluster",
    "database": "spec.database.cnpg.database",
    "host": "the host of the Cluster",
    "ca_secret_name": "the Secret of the Cluster's CA",
    "claim_name": "spec.filestore.claimName",
    "path": "spec.filestore.path",
    "layout": "spec.filestore.layout",
}


def _changes(old: RollbackTarget, new: RollbackTarget) -> str:
    """What was changed: ``spec.filestore.path from a to b``."""
    pairs = [(label, getattr(old, name), getattr(new, name)) for name, label in _TARGET_FIELDS.items()]
    return ", ".join(f"{label} from {was or 'none'} to {now or 'none'}" for label, was, now in pairs if was != now)


# --- Restore ----------------------------------------------------------------------------------------------------------


def _restore(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    job = world.job("restore", status.attempt)
    asks = unanswered(status)
    if asks and (job is None or (job.gives_way is None and job.failure is None)):
        return _stop_earlier(status, world) or plan_joined.answer(status, spec, world, job, now)
    safety = plan_safety.advance(status, spec, world, now) if not asks else None
    if safety is not None:
        return safety
    if job is None and world.snapshot is None and world.source.namespace:
        text = source.not_granted(world.source.namespace, status.snapshot_name or "", world.source.into)
        return abort(status, c.ACCESS_NOT_GRANTED, text, now)
    if job is None:
        return _start("restore", status.attempt, status, world, now)
    if job.gives_way is not None:
        next_attempt = change(status, attempt=status.attempt + 1)
        job = replace(job, failure=job.gives_way)
        return _retry_or_abort(RESTORE, status, next_attempt, job, now, number=remote_source.attempt_of(status, job))
    result = job.payload if isinstance(job.payload, RestoreResult) else job.restored
    if not job.ended and result is None:
        return until_ended(job, "restores the snapshot beside the live environment.")
    if isinstance(job.payload, ProbeResult):  # it has restored nothing, and the operator has found that it may go on
        return plan_switch.stop_jobs((job,))
    if result is not None:
        note = Note("Normal", "Restored", "The snapshot is restored beside the live environment and checked.")
        fresh = restored(status, result, now)
        if fresh.stage == "Prepare" and _must_await(fresh, spec):
            fresh = enter(fresh, "Await", now)
        return Record(fresh, (note,), before="operator-rollback-restored")
    if job.failure is not None and job.failure.reason in RAN_BEFORE:
        return plan_safety.cancel(world) or _ran_before(status, job.failure, now)
    failures = (job.failure,) if job.failure is not None else ()
    damaged = remote_source.damage_found(status, spec, world, failures)
    if damaged is not None:
        return Do(damaged)
    remote = remote_source.after(status, spec, world, failures)
    if remote is not None:
        return _read_copy(status, remote)
    next_attempt = change(status, attempt=status.attempt + 1)
    job = remote_source.naming_both(status, job)
    return _retry_or_abort(RESTORE, status, next_attempt, job, now, number=remote_source.attempt_of(status, job))


def _read_copy(status: RollbackStatus, remote: RemoteSource) -> Record[RollbackStatus]:
    """The next attempt reads the remote copy: nothing was stopped, and the restore begins again."""
    text = (
        f"The snapshot cannot be restored from its own store ({remote.message}) Continuing with its remote copy in"
        f" SnapshotStore {remote.store_name}."
    )
    named = remote.store_name if status.source_store_name is not None else None
    fresh = change(status, attempt=remote.first_attempt, remote=remote, source_store_name=named)
    return Record(fresh, (Note("Warning", remote.reason, text),))


def _ran_before(status: RollbackStatus, failure: Failure, now: datetime) -> Record[RollbackStatus]:
    """The end: by the record in the store, or the database's comment, a Rollback of this name and spec ran before."""
    if failure.reason == c.ALREADY_EXECUTED:
        note = Note("Normal", failure.reason, failure.message)
        return Record(already_executed(status, now), (note,))
    note = Note("Warning", failure.reason, failure.message)
    return Record(refused_by_record(status, failure.reason, failure.message, now), (note,))


def _retry_or_abort(
    command: Command[Any],
    status: RollbackStatus,
    next_attempt: RollbackStatus,
    failed: JobView,
    now: datetime,
    *,
    number: int | None = None,
) -> Action:
    """Another attempt at the command where the failure may pass, else the end. It is recorded at once: the failure
    is gone with the Job. `number`: which attempt this was, where that is not the Job's number."""
    number = failed.attempt if number is None else number
    reason = failed.failure.reason if failed.failure else c.JOB_FAILED
    message = failed.failure.message if failed.failure else f"Job {failed.name} ended without a result."
    if failed.failure is None or not may_retry(command, failed.failure, number):
        return abort(status, reason, message, now)
    text = f"Attempt {number} of {command.attempts} failed: {message.rstrip('.')}; retrying."
    return Record(next_attempt, (Note("Warning", reason, text),))


def _start(
    kind: Literal["restore", "neutralize"], attempt: int, status: RollbackStatus, world: World, now: datetime
) -> Action:
    """Starts the Job of an attempt, once those of earlier attempts and their pods are gone: two must not work in one
    copy."""
    earlier = world.live(kind)
    if earlier:
        return plan_switch.stop_jobs(earlier)
    return _refused(status, world, now) or Do(StartJob(kind, attempt))


def _stop_earlier(status: RollbackStatus, world: World) -> Action | None:
    """Before the first look at an attempt's restore Job: those of earlier attempts and their pods are gone."""
    earlier = tuple(j for j in world.live("restore") if j.attempt != status.attempt)
    return plan_switch.stop_jobs(earlier) if earlier else None


def _refused(status: RollbackStatus, world: World, now: datetime) -> Record[RollbackStatus] | None:
    """The end, where no Job could be created for too long."""
    if world.refused_since is None or (now - world.refused_since).total_seconds() < REFUSED_SECONDS:
        return None
    text = f"The rollback's Job could not be created for {REFUSED_SECONDS} s: {world.refusal}"
    return abort(status, world.refusal_reason or c.JOB_REFUSED, text, now)


# --- Neutralize ------------------------------------------------------------------------------------------------------


def _neutralize(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """The copy is neutralised and asserted by one Job. Without its result there is no switch; the switch Job checks the
    copy's mark as well."""
    job = world.job("neutralize", status.neutralize_attempt)
    if job is None:
        return _start("neutralize", status.neutralize_attempt, status, world, now)
    if not job.ended:
        return until_ended(job, "neutralises the restored copy.")
    result, plan = job.payload, status.neutralize
    if isinstance(result, NeutralizeResult) and plan is not None:
        if plan.required and not result.neutralized:
            text = f"Job {job.name} did not neutralise the copy: operator and mover image have different versions."
            return abort(status, c.NOT_NEUTRALIZED, text, now)
        done = "neutralised and asserted" if plan.required else "given its own identity"
        note = Note("Normal", "Neutralized", f"The restored copy is {done}.")
        return Record(neutralized(status, result, now), (note,), before="operator-rollback-neutralized")
    next_attempt = change(status, neutralize_attempt=status.neutralize_attempt + 1)
    return _retry_or_abort(NEUTRALIZE, status, next_attempt, job, now)


# --- Await: the safety snapshot is Complete, Git has the image --------------------------------------------------------


def _must_await(status: RollbackStatus, spec: RollbackSpec) -> bool:
    """Whether the switch Job may not start yet."""
    return plan_safety.waits(spec, status) or plan_image.waits(spec, status)


def _await(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    safety = plan_safety.advance(status, spec, world, now)
    if safety is not None:
        return safety
    if plan_safety.waits(spec, status):
        return plan_safety.wait(world)
    if plan_image.waits(spec, status):
        return plan_image.await_git(status, world, now)
    return Record(enter(status, "Prepare", now))


# --- Prepare, Stop, Drain: the Job that switches waits, the workloads stop --------------------------------------------


def _prepare(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    if _must_await(status, spec):
        return Record(enter(status, "Await", now))
    job = world.switch_job(status, spec)
    if job is None:
        earlier = world.other_switch_jobs(status, spec)
        if earlier:
            return plan_switch.stop_jobs(earlier)
        return _refused(status, world, now) or Do(StartJob("switch", status.switch_attempt))
    if plan_switch.ended_early(job):
        return plan_switch.replaced(status, job)
    if job.ended and job.failure is not None and job.failure.reason in RAN_BEFORE:  # of an undo: it restores nothing
        return _ran_before(status, job.failure, now)
    if job.ended:
        next_attempt = change(status, switch_attempt=status.switch_attempt + 1, workloads=())
        return _retry_or_abort(SWITCH, status, next_attempt, job, now)
    if job.moved:  # its replacement may be bound to a node that is gone
        return plan_switch.replaced(status, job)
    if not job.ready:
        return until_ended(job, "prepares the switch.")
    missing = quiesce.missing(world.workloads, "Rollback")
    if missing is not None:
        return abort(status, missing.reason, missing.message, now)
    turn = quiesce.take_turn(world.peer, world.workloads, announced=bool(status.workloads) or not world.workloads)
    match turn:
        case "Withdraw":
            return Record(change(status, workloads=()))
        case "Announce":
            return Record(change(status, workloads=saved(world.workloads)))
        case quiesce.Later():
            return plan_switch.wait(turn)
        case None:
            return _begin_stop(status, world, now)


def _begin_stop(status: RollbackStatus, world: World, now: datetime) -> Record[RollbackStatus]:
    names = labels(world.workloads) or "no workload"
    saved_ = plan_image.with_images(status, world.workloads)
    notes = [Note("Normal", "Quiescing", f"Stopping {names} for the switch.")]
    owned = plan_image.not_put_back(status, saved_)
    if owned:
        notes.append(Note("Warning", c.IMAGE_OWNED, owned))
    return Record(save(status, saved_, now), tuple(notes))


def _stop(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    answer = quiesce.stop(world.workloads, elapsed(status, world, now), world.scale_refused, now)
    if answer is None:
        return Record(enter(status, "Drain", now))
    if isinstance(answer, Failure):
        return abort(status, answer.reason, answer.message, now)
    return plan_switch.scale(answer, before="operator-rollback-replicas-saved")


def _drain(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Waits until no pod of a workload is left and the switch Job is ready, then enters Switch: the point of no
    return. A Job that was moved from its node is replaced."""
    job = world.switch_job(status, spec)
    if job is not None and (
        plan_switch.ended_early(job) or plan_switch.must_move(job, elapsed(status, world, now), now)
    ):
        return plan_switch.replaced(status, job)
    if job is not None and job.ended:
        reason, message = c.SWITCH_FAILED, "The switch Job ended before it received its signal."
        if job.failure is not None:
            reason, message = job.failure.reason, job.failure.message
        return abort(status, reason, message, now)
    if job is not None and job.silent_node:
        text = (
            f"The node {job.silent_node} of Job {job.name} does not respond. The workloads are started again. Repair"
            " the node or remove it, then create a new Rollback."
        )
        return abort(status, c.NODE_NOT_RESPONDING, text, now)
    refused = _refused(status, world, now) if job is None else None
    waits = refused or plan_switch.until_ready(status, spec, world, now)
    if isinstance(waits, Failure):
        return abort(status, waits.reason, waits.message, now)
    if waits is not None:
        return waits
    taking = plan_undo.take_over(status, world)
    if taking is not None:
        return taking
    finish = plan_switch.finish_seconds(spec, quiesce.grace_seconds(world.workloads))
    switching = signalling(status, now, signals.SIGNAL_SECONDS, finish)
    return Record(switching, before="operator-rollback-scaled-down")


# --- Abort: before the switch, or found not switched -----------------------------------------------------------------


def _abort(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    """Stops our Jobs before the application starts again. Every Job is deleted, however late it is; only the wait for
    their pods is limited. A safety snapshot that is not Complete is cancelled."""
    live = world.live()
    cancelling = plan_safety.cancel(world)
    if isinstance(cancelling, Do) and not timed_out(status, world, now, plan_switch.STOP_JOBS_SECONDS):
        return cancelling
    all_stopping = all(job.stopping for job in live)
    if live and not (all_stopping and timed_out(status, world, now, plan_switch.STOP_JOBS_SECONDS)):
        return plan_switch.stop_jobs(live)
    if cancelling is not None and not timed_out(status, world, now, plan_switch.STOP_JOBS_SECONDS):
        return cancelling
    return Record(enter(status, "Resume" if status.workloads else "Finish", now))


#: All but Preview and Ended.
_STAGES: dict[RollbackStage, Callable[[RollbackStatus, RollbackSpec, World, datetime], Action]] = {
    "Preflight": preflight,
    "Restore": _restore,
    "Neutralize": _neutralize,
    "Await": _await,
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
    "BackJob": plan_switch.back_job,
}
