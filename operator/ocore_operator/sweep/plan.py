"""The next action of a sweep, or of a removal of what it has found. Pure."""

from datetime import datetime

from ocore_crds.commands.table import REMOVE_ORPHANS, SWEEP
from ocore_crds.protocol import Failure
from ocore_crds.snapshotstore import OrphansStatus
from ocore_crds.stored_contents import OrphansResult, RemovedOrphans
from ocore_operator.jobs.driver import Done, Due, Failed, Series, Waits, once
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
    if world.refusal is not None:
        return _not_swept(world, world.refusal)
    series = sweeps(store)
    match series.next(world.seen, world.now, once):
        case Due(number=number):
            return StartSweep(series.attempt(number))
        case Waits(seconds=seconds):
            return Idle(seconds)
        case Done(result=result, job=job):
            return Record(orphans.swept(store, result, world.claimed, world.now), job)
        case Failed(failure=failure):
            return _not_swept(world, failure)


def sweeps(store: Store) -> Series[OrphansResult]:
    """The Job of the next sweep."""
    return Series(SWEEP, store.meta.uid, OrphansResult, "The sweep", f"{orphans.attempt(store, 'sweep')}-")


def _removal(world: World, last: OrphansStatus, report: str) -> Action:
    if world.refusal is not None:
        return Record(orphans.not_removed(last, world.refusal, world.now))
    prefix = f"{orphans.attempt(world.store, f'remove {report}')}-"
    series = Series(REMOVE_ORPHANS, world.store.meta.uid, RemovedOrphans, "The removal", prefix)
    match series.next(world.seen, world.now, once):
        case Due(number=number):
            return StartRemoval(report, series.attempt(number))
        case Waits(seconds=seconds):
            return Idle(seconds)
        case Done(result=result, job=job):
            return Record(orphans.removed(last, result, world.now), job)
        case Failed(failure=failure):
            return Record(orphans.not_removed(last, failure, world.now))


def _not_swept(world: World, failure: Failure) -> Record:
    return Record(orphans.not_swept(world.store, failure.message, world.now))
