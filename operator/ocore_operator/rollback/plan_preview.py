"""The plan of a preview: a Rollback with ``dryRun``. It takes no lock, adds no finalizer and records nothing in the
Environment. Pure.

A probe of the Environment and a Job that only reads run at the same time. When both have ended, the report is written
and the Rollback is terminal: ``Previewed``, which is neither Complete nor Failed.
"""

from datetime import datetime, timedelta

from ocore_crds import conditions as c
from ocore_crds.commands.table import PREVIEW
from ocore_crds.protocol import PreviewResult
from ocore_crds.resources import remote_copy
from ocore_crds.resources.preview import Preview
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_operator import clock
from ocore_operator.clock import parse
from ocore_operator.frame.actions import Idle, Note, Record, Wait
from ocore_operator.rollback import plan_preflight, remote_source
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.preview_report import report
from ocore_operator.rollback.snapshot_and_environment import has_target_of_another, is_complete
from ocore_operator.rollback.transitions import change, enter, stamp
from ocore_operator.rollback.world import Action, AskProbe, Do, StartJob, World, until_ended

#: Seconds that no Job can be created (quota, admission, a missing object) before the report says so.
REFUSED_SECONDS = 10
#: Seconds between two reconciles while the Jobs run: a person waits for the report.
POLL_SECONDS = 0.5
#: The same while another operation is switching the environment.
BUSY_SECONDS = 2.0


def decide(status: RollbackStatus, spec: RollbackSpec, world: World, rollback_id: str, now: datetime) -> Action:
    """The next single action."""
    if status.stage is None:
        return Record(_begin(status, spec, rollback_id, now))
    if status.stage == "Ended" or world.deleting:  # its Jobs are deleted with it
        return Idle()
    if status.deadline is not None and now >= parse(status.deadline):
        text = f"the rest was not read by {status.deadline} (timeoutSeconds): {_waits_for(world)}"
        known = True if _readable(world) and not _probe_is_due(status, world) else None
        return _end(status, spec, world, now, unread=(text,), probed=known)
    if not _readable(world) or plan_preflight.closed(spec, world) is not None:
        return _end(status, spec, world, now)
    return _read(status, spec, world, now)


def since(status: RollbackStatus, created: datetime) -> datetime:
    """From when a probe must have begun: the preview's begin, in whole seconds as a probe's begin is."""
    return parse(clock.text(parse(status.queued_at))) if status.queued_at else created


def _begin(status: RollbackStatus, spec: RollbackSpec, rollback_id: str, now: datetime) -> RollbackStatus:
    deadline = stamp(now + timedelta(seconds=spec.timeout_seconds))
    return enter(
        status, "Preview", now, phase="Previewing", id=rollback_id, queued_at=stamp(now), deadline=deadline, attempt=1
    )


def _readable(world: World) -> bool:
    """Whether there is a snapshot and an Environment to read."""
    snapshot, environment = world.snapshot, world.environment
    known = environment is not None and environment.status.id is not None
    return known and snapshot is not None and is_complete(snapshot)


def _probe_is_due(status: RollbackStatus, world: World) -> bool:
    """An Environment that has the target of another one is not probed."""
    environment = world.environment
    if environment is None or has_target_of_another(environment):
        return False
    return not plan_preflight.is_probed(environment, since(status, world.created))


def _read(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action:
    job = world.job("preview", status.attempt)
    refused = world.refused_since is not None and (now - world.refused_since).total_seconds() >= REFUSED_SECONDS
    if job is None and world.preview is not None and world.preview.switching:
        text = f"Waiting for Rollback {world.preview.switching}, which is switching the environment."
        return Wait(BUSY_SECONDS, c.WAITING_FOR_OPERATION, text)
    wants_probe = _probe_is_due(status, world)
    if wants_probe and not world.probe_asked:
        return Do(AskProbe(since(status, world.created)))
    if job is None and not refused:
        return Do(StartJob("preview", status.attempt))
    if job is not None and not job.ended:
        return until_ended(job, "reads what a rollback would do.")
    failure = job.failure if job is not None else None
    if failure is not None and failure.retryable and status.attempt < PREVIEW.attempts:
        return Record(change(status, attempt=status.attempt + 1))
    result = job.payload if job is not None and isinstance(job.payload, PreviewResult) else None
    told = (*(result.refusals if result is not None else ()), *((failure,) if failure is not None else ()))
    damaged = remote_source.damage_found(status, spec, world, told)
    if damaged is not None:
        return Do(damaged)
    remote = remote_source.after(status, spec, world, told) if world.source.remote is None else None
    if remote is not None:  # as the rollback would
        return Record(change(status, attempt=status.attempt + 1, remote=remote))
    late = (now - max(since(status, world.created), world.watched_since or world.created)).total_seconds()
    if wants_probe and late <= plan_preflight.PROBE_SECONDS:
        text = plan_preflight.waits_for_probe(world.environment_name, world)
        return Wait(POLL_SECONDS, c.WAITING_FOR_ENVIRONMENT, text)
    if job is not None and isinstance(job.payload, PreviewResult):
        return _end(status, spec, world, now, result=job.payload, probed=not wants_probe)
    if failure is not None:
        refusal = Refusal(failure.reason, failure.message)
    elif job is None:
        text = f"The Job of a rollback cannot be created: {world.refusal}"
        refusal = Refusal(world.refusal_reason or c.JOB_REFUSED, text)
    else:
        refusal = Refusal(c.JOB_FAILED, f"Job {job.name} ended without a result.")
    text = f"rows, files and space: {refusal.message}"
    return _end(status, spec, world, now, found=(refusal,), unread=(text,), probed=not wants_probe)


def _end(
    status: RollbackStatus,
    spec: RollbackSpec,
    world: World,
    now: datetime,
    *,
    result: PreviewResult | None = None,
    found: tuple[Refusal, ...] = (),
    unread: tuple[str, ...] = (),
    probed: bool | None = None,
) -> Record[RollbackStatus]:
    """The report. `probed`: see plan_preflight.refusals."""
    refusals = (*plan_preflight.refusals(spec, world, now, probed=probed), *found)
    preview = report(spec, world, result, refusals, unread, now)
    snapshot, environment = world.snapshot, world.environment
    fresh = enter(
        status,
        "Ended",
        now,
        phase="Previewed",
        completed_at=stamp(now),
        residue="None",
        environment_name=world.environment_name or None,
        environment_id=environment.status.id if environment is not None else None,
        snapshot_name=snapshot.meta.name if snapshot is not None else None,
        snapshot_id=snapshot.status.id if snapshot is not None else None,
        manifest_sha256=snapshot.status.manifest_sha256 if snapshot is not None else None,
        warnings=(*plan_preflight.found_warnings(spec, world), *remote_source.warning(status.remote)),
        remote=status.remote or world.source.remote,
        remote_copy_state=remote_copy.state_of(snapshot.status.remote) if snapshot is not None else None,
        preview=preview,
    )
    return Record(fresh, (Note("Normal", reason(preview), summary(preview)),))


def summary(preview: Preview) -> str:
    """The result in one sentence."""
    if preview.would_run:
        return "Preview only: nothing was changed. Nothing was found that would refuse the rollback."
    if not preview.refusals:
        return "Preview only: nothing was changed. Not everything could be read: see status.preview.unread."
    reasons = ", ".join(dict.fromkeys(r.reason for r in preview.refusals))
    return f"Preview only: nothing was changed. The rollback would be refused: {reasons}."


def reason(preview: Preview) -> str:
    """The result in one word."""
    if preview.would_run:
        return c.WOULD_RUN
    return c.WOULD_BE_REFUSED if preview.refusals else c.PREVIEW_INCOMPLETE


def _waits_for(world: World) -> str:
    if world.preview is not None and world.preview.switching:
        return f"Rollback {world.preview.switching} is switching the environment"
    return "see the Jobs of this Rollback"
