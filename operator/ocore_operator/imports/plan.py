"""The next action of an import. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ocore_crds.commands.table import LIST_MANIFESTS
from ocore_crds.reports.stored_contents import ManifestsResult
from ocore_crds.resources.snapshotstore import ImportStatus, SnapshotStoreStatus
from ocore_operator.errors import Outcome
from ocore_operator.frame.actions import Idle, Record, StartJob, until_passed
from ocore_operator.imports import rules
from ocore_operator.imports.rules import Place
from ocore_operator.jobs.observing.attempts import Done, Due, Failed, Waits, soon
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube.resources import Store


@dataclass(frozen=True)
class World:
    """What an import depends on."""

    store: Store
    now: datetime
    #: The store's Jobs; none where no Job is wanted.
    seen: Observation
    #: The Environments of the namespace by id, without those that have the id of another one.
    places: Mapping[str, Place]
    #: Why the Job of the page cannot be created.
    refusal: Outcome | None = None


@dataclass(frozen=True)
class CreatePage:
    """Creates the Snapshots and Rollbacks of a page that a Job has listed."""

    running: ImportStatus
    result: ManifestsResult
    job: str


@dataclass(frozen=True)
class TakeOver:
    """Gives the imported Snapshots what the store has for them."""

    done: ImportStatus


Action = Idle[SnapshotStoreStatus] | Record[SnapshotStoreStatus] | StartJob | CreatePage | TakeOver


def is_running(status: ImportStatus | None) -> bool:
    """Whether an import has begun and not ended."""
    return status is not None and status.state == "Running"


def decide(world: World) -> Action:
    """The next action."""
    store, running = world.store, world.store.status.import_
    scope = rules.scope(world.places, store.status.store_id or "", hidden=store.spec.import_hidden)
    if rules.is_due(store, scope, world.now):
        return Record(rules.with_import(store, rules.begun(scope, world.now), world.now))
    if running is None:
        return Idle()
    if not is_running(running):
        return _after_end(world, running)
    return _page(world, running)


def _after_end(world: World, last: ImportStatus) -> Action:
    if last.state == "Done" and world.store.spec.take_over and last.taken_over is None:
        return TakeOver(last)
    return Idle(rules.AGAIN if last.state == "Failed" or last.incomplete > 0 else None)


def _page(world: World, running: ImportStatus) -> Action:
    """One Job lists each page; then its objects are created."""
    if world.refusal is not None:
        return until_passed(world.refusal) or failed(world, running, world.refusal.message, retryable=False)
    series = rules.listing(world.store, running)
    match series.next(world.seen, world.now, soon(LIST_MANIFESTS), running.attempt):
        case Due(failure=failure):
            if failure is not None:
                return failed(world, running, failure.message, retryable=True)
            return StartJob(LIST_MANIFESTS.name, series.attempt(running.attempt))
        case Waits(seconds=seconds):
            return Idle(seconds)
        case Done(result=result) if result.store_id != world.store.status.store_id:
            text = f"The Job has read the store {result.store_id}, and this one is {world.store.status.store_id}."
            return failed(world, running, text, retryable=False)
        case Done(result=result, job=job):
            return CreatePage(running, result, job)
        case Failed(failure=failure):
            return failed(world, running, failure.message, retryable=False)


def failed(world: World, running: ImportStatus, why: str, *, retryable: bool) -> Record[SnapshotStoreStatus]:
    """Another attempt at the page, or the end of the import."""
    if retryable and running.attempt < LIST_MANIFESTS.attempts:
        again = running.model_copy(update={"attempt": running.attempt + 1, "message": why})
        return Record(rules.with_import(world.store, again, world.now))
    return Record(rules.with_import(world.store, rules.failed(running, why, world.now), world.now))
