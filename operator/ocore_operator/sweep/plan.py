"""The next action of a sweep, or of a removal of what it has found. Pure."""

from dataclasses import dataclass
from datetime import datetime

from ocore_crds.commands.table import REMOVE_ORPHANS, SWEEP
from ocore_crds.reports.stored_contents import OrphansResult, RemovedOrphans
from ocore_crds.resources.snapshotstore import OrphansStatus, SnapshotStoreStatus
from ocore_operator.errors import Outcome
from ocore_operator.frame.actions import Idle, Record, StartJob, until_passed
from ocore_operator.jobs.observing.attempts import Done, Due, Failed, Series, Waits, once
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube.resources import Store
from ocore_operator.sweep import orphans

Action = Idle[SnapshotStoreStatus] | Record[SnapshotStoreStatus] | StartJob


@dataclass(frozen=True)
class World:
    """What a sweep, or a removal of orphans, depends on."""

    store: Store
    now: datetime
    #: The store's Jobs; none where no Job is wanted.
    seen: Observation
    #: Seconds between two sweeps; 0: only when asked.
    interval: float
    #: Complete Snapshots, of all watched namespaces, whose data is in this store. Counted where a sweep has ended.
    claimed: int = 0
    #: Why the Job cannot be created.
    refusal: Outcome | None = None


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
        return until_passed(world.refusal) or _not_swept(world, world.refusal.message)
    series = sweeps(store)
    match series.next(world.seen, world.now, once):
        case Due(number=number):
            return StartJob(SWEEP.name, series.attempt(number))
        case Waits(seconds=seconds):
            return Idle(seconds)
        case Done(result=result, job=job):
            return _record(store, orphans.swept(store, result, world.claimed, world.now), job)
        case Failed(failure=failure):
            return _not_swept(world, failure.message)


def sweeps(store: Store) -> Series[OrphansResult]:
    """The Job of the next sweep."""
    return Series(SWEEP, store.meta.uid, OrphansResult, "The sweep", f"{orphans.attempt(store, 'sweep')}-")


def _removal(world: World, last: OrphansStatus, report: str) -> Action:
    store = world.store
    if world.refusal is not None:
        ended = orphans.not_removed(last, world.refusal.message, world.now)
        return until_passed(world.refusal) or _record(store, ended)
    prefix = f"{orphans.attempt(store, f'remove {report}')}-"
    series = Series(REMOVE_ORPHANS, store.meta.uid, RemovedOrphans, "The removal", prefix)
    match series.next(world.seen, world.now, once):
        case Due(number=number):
            return StartJob(REMOVE_ORPHANS.name, series.attempt(number))
        case Waits(seconds=seconds):
            return Idle(seconds)
        case Done(result=result, job=job):
            return _record(store, orphans.removed(last, result, world.now), job)
        case Failed(failure=failure):
            return _record(store, orphans.not_removed(last, failure.message, world.now))


def _not_swept(world: World, why: str) -> Record[SnapshotStoreStatus]:
    return _record(world.store, orphans.not_swept(world.store, why, world.now))


def _record(store: Store, found: OrphansStatus, job: str = "") -> Record[SnapshotStoreStatus]:
    return Record(store.status.model_copy(update={"orphans": found}), job=job)
