"""The next action of a sweep, or of a removal of what it has found. Pure."""

from datetime import datetime

from ocore_crds.commands.table import REMOVE_ORPHANS, SWEEP
from ocore_crds.protocol import Failure
from ocore_crds.snapshotstore import OrphansStatus
from ocore_crds.stored_contents import OrphansResult, RemovedOrphans
from ocore_operator.jobs.outcome import POLL, Absent, Done, JobFailed, Running, Starting, read
from ocore_operator.jobs.shape import job_name
from ocore_operator.kube.resources import Store
from ocore_operator.sweep import orphans
from ocore_operator.sweep.world import Action, Idle, Record, StartRemoval, StartSweep, World


def needs_job(store: Store, interval: float, now: datetime) -> bool:
    """Whether the next action depends on a Job."""
    due = orphans.due_in(store, interval, now)
    return orphans.removal_wanted(store) is not None or (due is not None and due <= 0)


def decide(world: World) -> Action:
    """The next action. A removal that is asked for goes first."""
    store, last, report = world.store, world.store.status.orphans, orphans.removal_wanted(world.store)
    if report is not None and last is not None:
        return _removal(world, last, report)
    due = orphans.due_in(store, world.interval, world.now)
    if due is None or due > 0:
        return Idle(due)
    attempt = orphans.attempt(store, "sweep")
    name = job_name(SWEEP.name, store.meta.uid, attempt)
    if world.refusal is not None:
        return _not_swept(world, world.refusal)
    match read(world.seen.state(name), OrphansResult, "The Job"):
        case Absent():
            return StartSweep(attempt)
        case Starting() | Running():
            return Idle(POLL)
        case Done(result=result):
            return Record(orphans.swept(store, result, world.claimed, world.now), name)
        case JobFailed(failure=failure):
            return _not_swept(world, failure)


def _removal(world: World, last: OrphansStatus, report: str) -> Action:
    attempt = orphans.attempt(world.store, f"remove {report}")
    name = job_name(REMOVE_ORPHANS.name, world.store.meta.uid, attempt)
    if world.refusal is not None:
        return Record(orphans.not_removed(last, world.refusal, world.now))
    match read(world.seen.state(name), RemovedOrphans, "The Job"):
        case Absent():
            return StartRemoval(report, attempt)
        case Starting() | Running():
            return Idle(POLL)
        case Done(result=result):
            return Record(orphans.removed(last, result, world.now), name)
        case JobFailed(failure=failure):
            return Record(orphans.not_removed(last, failure, world.now))


def _not_swept(world: World, failure: Failure) -> Record:
    return Record(orphans.not_swept(world.store, failure.message, world.now))
