"""The plan of a Snapshot that has started, until it is Complete or Failed: attempts, retries, inspections, the
deadline. Pure.

::

    attempt n ──► Succeeded ─────────────────────────────────────────────► Finish
              ├─► failed with a reason ──► retryable and time left ──► attempt n+1, else GiveUp
              └─► died, lost, or ManifestExists ──► inspect ──► manifest ──► Finish
                                                         └──► none ────► attempt n+1, else GiveUp
    deadline ──► Stop the Job ──► GiveUp (at the latest STOP_WITHIN seconds after the deadline)
    START_MARGIN before it, and the Job does not run ──► GiveUp

Before the Job of an attempt it is decided what of the filestore it stores (:mod:`~ocore_operator.snapshot.plan_base`).

Attempt 0 exists only where spec.id is set: on a rebuilt cluster the store may already hold that snapshot, so it is
inspected first.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ocore_crds import conditions as c
from ocore_crds.commands.table import INSPECT, SNAPSHOT
from ocore_crds.protocol import Failure, SnapshotResult
from ocore_crds.text.sentences import sentence
from ocore_operator import clock
from ocore_operator.frame.actions import StopJob, Wait
from ocore_operator.jobs.observing.attempts import Done, Due, Failed, Series, Waits
from ocore_operator.jobs.observing.outcome import POLL, Observation, may_retry
from ocore_operator.jobs.observing.snapshot_jobs import attempts
from ocore_operator.kube.resources import Snapshot
from ocore_operator.snapshot import plan_base, plan_quiesce
from ocore_operator.snapshot.world import (
    Action,
    Finish,
    GiveUp,
    Inspect,
    NextAttempt,
    Start,
    World,
)

#: Seconds after the deadline in which a running Job must stop. After them the Snapshot is Failed even if the Job is
#: still running.
STOP_WITHIN = 45.0
#: An attempt that has less time than this is not started.
LEAST_TIME = 10.0
#: Seconds until the store is asked again for the objects that a manifest names: a bucket may be replicated in no order.
MISSING_PAUSE = 60.0
#: Seconds before the deadline at which a Job that does not run yet is given up. The reason is known only while its pod
#: exists, and the Job controller deletes the pod at the deadline. The program would also end at once (jobs.MARGIN).
START_MARGIN = 5.0
#: How the recorded message of a Job ends that this plan stopped because it had failed, or never ran. Nothing else
#: remembers that once the Job is gone: what only waits, for example an inspect Job that a quota refuses, has a reason
#: as well.
AGAIN, FINAL = " Another attempt may succeed.", " Another attempt would fail in the same way."
#: Reasons of a Job whose end must be looked for in the store.
NOT_REPORTED = (c.RUNNING, c.JOB_PENDING, c.NODE_NOT_RESPONDING, c.DEADLINE_EXCEEDED, c.JOB_LOST, c.MANIFEST_EXISTS)


@dataclass(frozen=True)
class _Case:
    snapshot: Snapshot
    seen: Observation
    now: datetime

    @property
    def attempt(self) -> int:
        return self.snapshot.status.attempt

    @property
    def job(self) -> str:
        return attempts(self.snapshot).job(self.attempt)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        deadline = self.snapshot.status.deadline
        return clock.seconds_since(clock.text(self.now), clock.parse(deadline)) if deadline is not None else 0.0

    @property
    def stored(self) -> bool:
        """Whether any attempt may have stored something."""
        return self.attempt > 1 or self.snapshot.status.job_name is not None or self.job in self.seen.jobs


def may_have_stored(world: World) -> bool:
    """Whether any attempt may have stored something."""
    return _Case(world.snapshot, world.seen, world.now).stored


def decide(world: World) -> Action:
    """The next action. status.attempt, startedAt and deadline are set."""
    case = _Case(world.snapshot, world.seen, world.now)
    if case.attempt == 0:
        return _import(case)
    ended = plan_quiesce.failure(world)
    if ended is not None:
        return _retry(case, ended)
    stopped = _stopped_for(case)
    if stopped is not None:
        return _retry(case, stopped)
    found = attempts(world.snapshot).at(world.seen, case.attempt)
    match found:
        case Done(result=result):
            pod = world.seen.pods.get(case.job, ({},))[-1].get("metadata", {}).get("name", "")
            return Finish(result, clean=case.attempt == 1, pod=pod)
        case Due():
            return _absent(case, world)
        case Waits(ready=ready):
            announce = plan_quiesce.announce(world) if ready and case.left > 0 else None
            return announce or _under_way(case, found)
        case Failed():
            return _failed(case, found)


def _import(case: _Case) -> Action:
    found = _inspection(case)
    if isinstance(found, SnapshotResult):
        other = _other_project(case, found)
        return Finish(found, clean=False, imported=True) if other is None else GiveUp(other, stored=False)
    if isinstance(found, Failure):
        if found.reason == c.SNAPSHOT_NOT_FOUND:
            return NextAttempt(1, None)
        return GiveUp(found, stored=False)
    if case.left < LEAST_TIME:
        return GiveUp(_too_late(case), stored=False)
    return found


def _other_project(case: _Case, found: SnapshotResult) -> Failure | None:
    """Why what the store has is not adopted; None: it is of the Environment's project. An environment id can be set in
    another project, too."""
    source, identity = case.snapshot.status.source, found.identity
    if source is None or identity is None or identity.project_id == source.project_id:
        return None
    message = (
        f"The store has snapshot {case.snapshot.id} of project {identity.project_id}; Environment"
        f" {source.environment_name} is of project {source.project_id}. Nothing was changed. Set another spec.id in a"
        " new Snapshot, or none, or create the Environment again with the right spec.projectId."
    )
    return Failure(reason=c.OTHER_PROJECT, message=message)


def _absent(case: _Case, world: World) -> Action:
    if case.snapshot.status.job_name == case.job:
        return _lost(case, "The Job was deleted before its result was read.")
    if case.left < LEAST_TIME:
        return GiveUp(_too_late(case), stored=case.stored)
    return plan_base.decide(world) or Start(case.attempt)


def _stopped_for(case: _Case) -> Failure | None:
    """Why this plan stopped the Job, or None: it never ran, or it had failed and its pod was still there. The state of
    what remains of the Job does not matter then."""
    if case.snapshot.status.job_name != case.job:
        return None
    if case.job in case.seen.jobs and not case.seen.stopping(case.job):
        return None
    found = c.find(case.snapshot.status.conditions, c.RECONCILING)
    if found is None or not found.message.endswith((AGAIN, FINAL)):
        return None
    message = found.message.removesuffix(AGAIN).removesuffix(FINAL)
    return Failure(reason=found.reason, message=message, retryable=found.message.endswith(AGAIN))


def _under_way(case: _Case, waits: Waits) -> Action:
    gives_way = case.seen.gives_way.get(case.job)
    if gives_way is not None:
        return _retry(case, gives_way)
    if waits.starting:
        return _starting(case, waits)
    if case.left <= 0:
        if case.left < -STOP_WITHIN:
            return GiveUp(_too_late(case), stored=True)
        if case.job in case.seen.jobs and not case.seen.stopping(case.job):
            return StopJob(case.job, _too_late(case))
        return Wait(1.0, c.DEADLINE_EXCEEDED, "The deadline has passed. The Job is being stopped.", job=case.job)
    soon = max(min(POLL, case.left), 0.5)
    reason, message = waits.says(c.RUNNING, f"Attempt {case.attempt} runs in Job {case.job}.")
    return Wait(soon, reason, message, reason == c.NODE_NOT_RESPONDING, waits.pod, case.job)


def _starting(case: _Case, waits: Waits) -> Action:
    left = case.left - START_MARGIN
    if left <= 0:
        # If its pod starts after all, it is stopped and what it stored is deleted, before `residue` is None.
        return GiveUp(_too_late(case, waits.starting), stored=True)
    return Wait(max(min(POLL, left), 0.5), waits.reason or c.RUNNING, waits.message, job=case.job)


def _failed(case: _Case, failed: Failed) -> Action:
    failure = failed.failure
    if failure.reason == c.MANIFEST_EXISTS:
        return _inspect_for_manifest(case, failure)
    if failure.reason == c.CANCELLED:
        # Not by this operator, which cancels by deletion: a node was drained, or a person deleted the pod.
        failure = Failure(reason=c.JOB_FAILED, message=f"The Job's pod was stopped. {failure.message}", retryable=True)
    if failed.unreported:
        return _inspect_for_manifest(case, failure)
    return _retry(case, failure)


def _lost(case: _Case, message: str) -> Action:
    return _inspect_for_manifest(case, Failure(reason=c.JOB_LOST, message=message, retryable=True))


def _inspect_for_manifest(case: _Case, failure: Failure) -> Action:
    """The attempt may have written its manifest before it was lost."""
    if case.left < -STOP_WITHIN:
        return _retry(case, failure)
    found = _inspection(case)
    if isinstance(found, SnapshotResult):
        return Finish(found, clean=False)
    if isinstance(found, Failure):
        if found.reason == c.SNAPSHOT_NOT_FOUND:
            return _retry(case, failure)
        message = f"{failure.message} The store could not be searched for its manifest either: {found.message}"
        return GiveUp(Failure(reason=failure.reason, message=message), stored=True)
    return found


def _retry(case: _Case, failure: Failure) -> Action:
    """Another attempt, or the end. A Job that still runs is stopped before either."""
    job = case.seen.jobs.get(case.job)
    if job is not None and case.seen.live_pods(case.job) and case.left > -STOP_WITHIN:
        recorded = _recorded(failure)
        if not case.seen.stopping(case.job):
            return StopJob(case.job, recorded)
        return Wait(1.0, recorded.reason, recorded.message, job=case.job)
    if not failure.retryable:
        return GiveUp(failure, stored=case.stored)
    if case.left < LEAST_TIME:
        return GiveUp(_too_late(case), stored=True)
    if may_retry(SNAPSHOT, failure, case.attempt):
        return NextAttempt(case.attempt + 1, failure)
    if case.attempt > 1:
        failure = failure.model_copy(
            update={"message": f"Attempt {case.attempt} of {SNAPSHOT.attempts}: {failure.message}"}
        )
    return GiveUp(failure, stored=case.stored)


def _recorded(failure: Failure) -> Failure:
    """The failure as the condition shows it until the Job is gone. See :func:`_stopped_for`."""
    if failure.reason in NOT_REPORTED:
        return failure
    message = sentence(failure.message) + (AGAIN if failure.retryable else FINAL)
    return failure.model_copy(update={"message": message})


def _inspection(case: _Case) -> SnapshotResult | Failure | Inspect | Wait:
    """The result of this attempt's inspect Jobs, or the action that leads to one."""
    series = Series(INSPECT, case.snapshot.meta.uid, SnapshotResult, "The inspect Job", f"{case.attempt}-")
    found = series.next(case.seen, case.now, partial(_inspect_pause, case))
    match found:
        case Due(number=number):
            return Inspect(series.attempt(number))
        case Waits():
            text = "An inspect Job searches the store for the snapshot's manifest."
            return Wait(found.seconds, *found.says(c.RUNNING, text))
        case Done(result=result):
            return result
        case Failed(failure=failure):
            return failure


def _inspect_pause(case: _Case, failed: Failed) -> float | None:
    if failed.failure.reason == c.OBJECTS_MISSING and case.left >= LEAST_TIME:
        return MISSING_PAUSE
    again = failed.failure.reason != c.SNAPSHOT_NOT_FOUND and may_retry(INSPECT, failed.failure, failed.number)
    return 0.0 if again else None


def _too_late(case: _Case, starting: str = "") -> Failure:
    """The failure at the deadline. `starting`: what the Job waited for that never ran."""
    seconds = case.snapshot.spec.timeout_seconds
    if starting:
        message = f"The Job did not start within {seconds} s: {starting}"
        return Failure(reason=c.POD_NOT_STARTED, message=message)
    waited = c.find(case.snapshot.status.conditions, c.RECONCILING)
    refused = waited is not None and waited.reason in (c.JOB_REFUSED, c.WAITING_FOR_JOB_SLOT)
    if waited is not None and refused and not case.stored:
        return Failure(reason=waited.reason, message=f"Not started within {seconds} s: {waited.message}")
    message = (
        f"The snapshot was not complete within {seconds} s (spec.timeoutSeconds). Set a larger spec.timeoutSeconds in a"
        " new Snapshot."
    )
    if waited is not None and refused:
        message += f" It waited last: {waited.message}"
    return Failure(reason=c.DEADLINE_EXCEEDED, message=message)
