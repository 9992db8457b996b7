"""The preflight in the restore's Job: it probes before it reads anything from the store. Pure.

A rollback starts so where the last probe has found nothing against it. Databases and folders of it may exist as soon as
its Job exists, so the status is at the stage Restore, with the step Preflight Running. What the Job finds goes to the
Environment, like the result of any probe, and the same checks judge it. Where it agrees with the last probe the Job has
gone on by itself. Else it has ended, having touched nothing: the rollback is refused, or the Job is made again.

A probe has a Job of its own where the restore's Job cannot be started, or gives no answer.
"""

from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.protocol import ProbeResult
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_operator.clock import parse
from ocore_operator.frame.actions import Note, Record, Wait
from ocore_operator.rollback import plan_image
from ocore_operator.rollback.plan_preflight import (
    PROBE_SECONDS,
    duplicate_target,
    found_warnings,
    is_probed,
    of_probe,
    probe,
    started_notes,
)
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.snapshot_and_environment import has_target_of_another, probe_of
from ocore_operator.rollback.transitions import change, failing, passed, unstarted
from ocore_operator.rollback.world import Action, Do, JobView, ReportProbe, StartJob, World, until_ended

#: Seconds from the Job's creation until a probe of its own is asked for: where no node takes its pod, where its
#: container does not run, and in any case.
UNPLACED_SECONDS, UNSTARTED_SECONDS, SILENT_SECONDS = 3, 20, 60
#: Seconds between two looks at a Job that has not answered. Its report comes sooner.
LOOK_SECONDS = 2.0


def answer(status: RollbackStatus, spec: RollbackSpec, world: World, job: JobView | None, now: datetime) -> Action:
    """What is next until the answer of the restore's Job is known. `job`: that Job, which has not failed."""
    environment, snapshot = world.environment, world.snapshot
    if environment is None or snapshot is None:
        text = f"Snapshot {status.snapshot_name} was deleted before it was restored."
        return _refuse(status, Refusal(c.SNAPSHOT_NOT_FOUND, text), world, job, now)
    since = world.lock.since or world.created
    if is_probed(environment, since):
        refusal = next((r for r in of_probe(spec, world, environment, snapshot) if r is not None), None)
        if refusal is not None:
            return _refuse(status, refusal, world, job, now)
        found = found_warnings(spec, world)
        fresh = change(passed(status, spec, now), warnings=found, image=plan_image.wanted(spec, snapshot))
        return Record(fresh, started_notes(environment, snapshot, found))
    if has_target_of_another(environment):  # it is not probed
        return _refuse(status, duplicate_target(environment), world, job, now)
    begun = parse(job.created) if job is not None and job.created else parse(status.stage_since or "")
    # Its result is of a spec that has not changed since: else the Environment has no probe of the present one.
    if job is not None and job.probe is not None and probe_of(environment) is not None and job.created:
        if world.probe_reported < job.created:
            return Do(ReportProbe(job.probe, job.created))
        if _seconds(begun, world, now) <= UNSTARTED_SECONDS:
            return Wait(LOOK_SECONDS, c.RUNNING, "Judging what the probe of the restore's Job has found.")
    if _needs_probe(job, world, _seconds(begun, world, now)):
        asked = probe(environment, world, begun, SILENT_SECONDS + PROBE_SECONDS, now)
        return _refuse(status, asked, world, job, now) if isinstance(asked, Refusal) else asked
    if job is None:
        return Do(StartJob("restore", status.attempt))
    waiting = until_ended(job, "checks that the rollback can work.")
    return Wait(LOOK_SECONDS, waiting.reason, waiting.message, waiting.stalled)


def _seconds(begun: datetime, world: World, now: datetime) -> float:
    """Seconds since then in which this operator has observed the rollback."""
    return (now - max(begun, world.watched_since or begun)).total_seconds()


def _needs_probe(job: JobView | None, world: World, waited: float) -> bool:
    """Whether the probe needs a Job of its own."""
    if job is None:
        return world.probe_alone
    if job.ended or job.stopping or waited > SILENT_SECONDS:
        return True
    return bool(job.problem) and waited > (UNPLACED_SECONDS if job.reason == c.JOB_PENDING else UNSTARTED_SECONDS)


def _refuse(
    status: RollbackStatus, refusal: Refusal, world: World, job: JobView | None, now: datetime
) -> Record[RollbackStatus]:
    """The end. Where the Job has restored nothing, or was never made, the rollback leaves no trace."""
    untouched = isinstance(job.payload, ProbeResult) if job is not None else world.probe_alone
    fresh = unstarted(status) if untouched and status.attempt == 1 else status
    note = Note("Warning", refusal.reason, refusal.message)
    return Record(failing(fresh, refusal.reason, refusal.message, now), (note,))
