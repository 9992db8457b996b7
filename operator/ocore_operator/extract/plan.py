"""The next action of an Extract. Pure.

Pending until its Snapshot can be read, and with target.claim or target.database until it has the operation lock; then
Jobs until it is terminal; then the removal of its result, when it expires or is deleted.
"""

from collections.abc import Iterator

from ocore_crds import conditions as c
from ocore_crds.commands.table import EXTRACT, REMOVE_EXTRACT
from ocore_crds.naming import extract_prefix, restored_schema
from ocore_crds.protocol import ExtractRemoved, ExtractResult, Failure
from ocore_crds.reports.extracted import folder_refusal, tables_refusal
from ocore_operator import clock, encryption
from ocore_operator.errors import Failed, Waiting
from ocore_operator.extract import transitions
from ocore_operator.extract.world import Action, World
from ocore_operator.frame import actions
from ocore_operator.frame.actions import Idle, Note, Record, SetFinalizer, SetLock, StartJob, Wait
from ocore_operator.jobs.observing import attempts
from ocore_operator.jobs.observing.attempts import Done, Due, Series, Waits
from ocore_operator.jobs.observing.outcome import POLL

#: Seconds in which a missing object may still appear: GitOps applies them in no order.
APPEAR_SECONDS = 60.0
#: Seconds until what refused an action is asked again.
PAUSE = 10.0
#: Seconds between two removals: the first pause, doubled each time up to the last.
REMOVAL_PAUSE, MOST_REMOVAL_PAUSE = 10.0, 300.0


def decide(world: World) -> Action:
    """The next action."""
    status = world.extract.status
    if world.terminating:
        return SetFinalizer(present=False) if world.finalizer else Idle()
    if world.deleting and not world.finalizer:
        return Idle()
    if status.phase is None and not world.deleting:
        return Record(transitions.queued(world))
    if world.deleting or c.is_terminal(status.conditions):
        return _after_end(world)
    if status.started_at is None:
        return _before(world)
    return _run(world)


# --- before the start ------------------------------------------------------------------------------------------------


def _before(world: World) -> Action:
    found = next(_refusals(world), None)
    if found is not None:
        refusal, may_appear = found
        queued = clock.seconds_since(world.extract.status.queued_at or world.extract.meta.created, world.now)
        if may_appear and queued < APPEAR_SECONDS:
            return Wait(2.0, refusal.reason, refusal.message)
        return Record(transitions.failed(world, refusal.reason, refusal.message))
    snapshot = world.snapshot
    if snapshot is None:  # pragma: no cover - _refusals names it
        raise AssertionError("checked by _refusals")
    if not c.is_true(snapshot.status.conditions, c.COMPLETE):
        return Wait(POLL, c.WAITING_FOR_SNAPSHOT, f"Waiting until Snapshot {snapshot.meta.name} is Complete.")
    if world.store is None:  # pragma: no cover - _refusals names why
        raise AssertionError("checked by _refusals")
    if not world.finalizer:
        return SetFinalizer(present=True)
    if world.extract.status.environment_name is None:
        return Record(transitions.named(world, snapshot))
    return _before_its_job(world) or Record(transitions.started(world, snapshot, world.store))


def _refusals(world: World) -> Iterator[tuple[Failure, bool]]:
    """What prevents the start, and whether that may still appear."""
    spec, snapshot, environment = world.extract.spec, world.snapshot, world.environment
    name = spec.snapshot_ref.name
    if snapshot is None:
        yield _failure(c.SNAPSHOT_NOT_FOUND, f"Snapshot {name} does not exist. Create it, or name another one."), True
        return
    if c.outcome(snapshot.status.conditions) == "Failed":
        yield _failure(c.SNAPSHOT_NOT_COMPLETE, f"Snapshot {name} failed. Name one that is Complete."), False
    if not c.is_true(snapshot.status.conditions, c.COMPLETE):
        return  # it may become Complete
    if snapshot.meta.deleted is not None:
        yield _failure(c.SNAPSHOT_NOT_FOUND, f"Snapshot {name} is being deleted. Name another one."), False
    source = world.source
    if source is not None and source.place is None:
        why = " ".join(each.message for each in source.refused)
        if source.unreadable is None:
            text = f"Snapshot {name} is damaged and has no whole copy. {why} Name another one."
            yield _failure(c.CORRUPT, text), False
        else:
            yield _failure(source.refused[0].reason, f"Snapshot {name} cannot be read now. {why}"), True
    needed = "Database" if world.of_tables or (spec.listing is not None and spec.listing.tables) else "Filestore"
    if snapshot.status.parts is not None and needed not in snapshot.status.parts:
        found = c.TABLES_NOT_FOUND if needed == "Database" else c.FILES_NOT_FOUND
        yield _failure(found, f"Snapshot {name} has no {needed.lower()}. Name another one."), False
    if world.store is not None and spec.target.store is not None and world.store.spec.access == "ReadOnly":
        text = f"SnapshotStore {world.store.meta.name} has access ReadOnly. Use target.claim."
        yield _failure(c.STORE_READ_ONLY, text), False
    if encryption.is_closed(snapshot, spec.identity_secret_ref, world.extract.meta.namespace):
        yield _failure(c.IDENTITY_MISSING, encryption.identity_missing(snapshot, "a new Extract")), False
    where = snapshot.spec.environment_ref.name
    if environment is None and (spec.target.claim is not None or world.of_tables):
        yield _failure(c.ENVIRONMENT_NOT_FOUND, f"Environment {where} does not exist. Create it."), True
        return
    if world.of_tables:
        yield from _table_refusals(world)
    if spec.target.claim is not None:
        refusal = _claim_refusal(world)
        if refusal:
            yield _failure(c.TARGET_REFUSED, f"target.claim of Environment {where}: {refusal}."), False


def _table_refusals(world: World) -> Iterator[tuple[Failure, bool]]:
    tables, environment = world.extract.spec.tables, world.environment
    if tables is None or environment is None:
        return
    refusal = tables_refusal(tables)
    if refusal:
        yield _failure(c.ROW_FILTER_FAILED, refusal), False
    if environment.spec.database is None:
        text = f"Environment {environment.meta.name} has no database, whose server loads them."
        yield _failure(c.TABLES_NOT_FOUND, text), False


def _before_its_job(world: World) -> Action | None:
    """What must come before a Job is created; None: nothing."""
    if world.refusal is not None:
        return _refused(world)
    if world.locks and not world.locked:
        return SetLock(held=True)
    if world.of_tables and not world.locks and world.rollback_near:
        name = world.environment.meta.name if world.environment is not None else ""
        text = f"Waiting for the rollback of Environment {name}: it loads a database."
        return Wait(PAUSE, c.WAITING_FOR_OPERATION, text)
    return None


def _claim_refusal(world: World) -> str:
    """Why the folder cannot be made on the claim of the Environment, as a clause."""
    claim, environment = world.extract.spec.target.claim, world.environment
    if claim is None or environment is None:
        return ""
    if environment.spec.filestore is None:
        return "the Environment has no filestore, so use target.store"
    filestores = (environment.spec.filestore.path, *world.neighbours)
    return next(filter(None, (folder_refusal(claim.path, path) for path in filestores)), "")


def _failure(reason: str, message: str) -> Failure:
    return Failure(reason=reason, message=message)


# --- while it runs ---------------------------------------------------------------------------------------------------


def _run(world: World) -> Action:
    extract, status = world.extract, world.extract.status
    series = Series(EXTRACT, extract.meta.uid, ExtractResult, "The Job")
    found = series.next(world.seen, world.now, attempts.soon(EXTRACT), status.attempt)
    if isinstance(found, Done):
        return Record(transitions.completed(world, found.result))
    if status.deadline is not None and world.now >= clock.parse(status.deadline):
        text = f"Not Complete by {status.deadline} (timeoutSeconds). Increase timeoutSeconds in a new Extract."
        return Record(transitions.failed(world, c.DEADLINE_EXCEEDED, text))
    changed = _changed(world)
    if changed is not None:
        return Record(transitions.failed(world, changed.reason, changed.message))
    match found:
        case Due(failure=failure) if failure is not None:
            stopping = actions.stop(world.seen, [series.job(status.attempt)], with_ended=False)
            return stopping or Record(transitions.next_attempt(world, failure.message))
        case Due():
            return _before_its_job(world) or StartJob(EXTRACT.name, status.attempt)
        case Waits(starting=starting) if starting:
            return Wait(found.seconds, found.reason or c.RUNNING, found.message)
        case Waits():
            return Wait(found.seconds, *found.says(c.RUNNING, f"Job {found.job} reads the snapshot."), pod=found.pod)
        case attempts.Failed(failure=failure):
            return Record(transitions.failed(world, failure.reason, failure.message))


def _changed(world: World) -> Failure | None:
    """What of the Environment is not as it was at the start."""
    if not world.locks:
        return None
    name = world.extract.status.environment_name
    if world.environment is None:
        return _failure(c.ENVIRONMENT_NOT_FOUND, f"Environment {name} was deleted.")
    if world.into_database:
        return None
    filestore = world.environment.spec.filestore
    if filestore is None or filestore.claim_name != world.extract.status.claim_name:
        return _failure(c.ENVIRONMENT_CHANGED, f"Environment {name} has another claim now. Create a new Extract.")
    refusal = _claim_refusal(world)
    return _failure(c.TARGET_REFUSED, f"target.claim of Environment {name}: {refusal}.") if refusal else None


def _refused(world: World) -> Action:
    """What to do where the last action could not be carried out."""
    refusal = world.refusal
    if isinstance(refusal, Failed):
        return Record(transitions.failed(world, refusal.reason, refusal.message))
    if refusal is None:  # pragma: no cover - the caller asks
        raise AssertionError("nothing was refused")
    after = refusal.after if isinstance(refusal, Waiting) else PAUSE
    return Wait(after, refusal.reason, refusal.message)


# --- after the end ---------------------------------------------------------------------------------------------------


def _after_end(world: World) -> Action:
    """Stops what runs, releases the lock, removes the result when its time has come."""
    status = world.extract.status
    ended = status.phase == "Complete" and not world.deleting  # the Job of one that succeeded ends itself
    stopping = None if ended else actions.stop(world.seen, world.seen.of_command(EXTRACT.name))
    if stopping is not None:
        return stopping
    if world.locked and not _drops_now(world):
        return SetLock(held=False)
    if status.residue == "Pending":
        left = _seconds_left(world)
        return Idle(left) if left > 0 else _removal(world)
    return SetFinalizer(present=False) if world.deleting else Idle()


def _seconds_left(world: World) -> float:
    """Seconds until the result is removed; 0 or less: now. That of a failed Extract, or of one that is deleted, at
    once."""
    expires = world.extract.status.result_expires_at
    if world.deleting or expires is None:
        return 0.0
    return -clock.seconds_since(expires, world.now)


def _pause_left(world: World) -> float:
    """Seconds until a failed removal is tried again; 0 or less: now."""
    after = world.extract.status.removal_after
    return -clock.seconds_since(after, world.now) if after is not None else 0.0


def _drops_now(world: World) -> bool:
    """Whether the schema of the live database is being dropped, under the operation lock: a snapshot between its export
    and pg_dump's locks would lose the tables, and fail."""
    status = world.extract.status
    due = status.residue == "Pending" and status.removal_attempt > 0 and _seconds_left(world) <= 0
    return world.into_database and due and _pause_left(world) <= 0 and not world.rollback_near


def _removal(world: World) -> Action:
    extract, status = world.extract, world.extract.status
    attempt = status.removal_attempt
    if attempt == 0:
        return Record(transitions.first_removal(world))
    if world.into_claim and (_changed(world) is not None):
        return _not_removed(world, "the claim is not that of the Environment any more", final=True)
    if world.into_database and world.environment is None:
        return _not_removed(world, "the Environment does not exist any more", final=True)
    if world.into_database and world.rollback_near:
        return Idle(PAUSE)  # it renames databases
    if world.refusal is not None:
        if isinstance(world.refusal, Waiting):
            return Idle(world.refusal.after)
        return _not_removed(world, world.refusal.message)
    left = _pause_left(world)
    if left > 0:
        return Idle(left)
    series = Series(REMOVE_EXTRACT, extract.meta.uid, ExtractRemoved, "The Job")
    match series.next(world.seen, world.now, attempts.once, attempt):
        case Due():
            if world.into_database and not world.locked:
                return SetLock(held=True)
            return StartJob(REMOVE_EXTRACT.name, attempt)
        case Waits(seconds=seconds):
            return Idle(seconds)
        case Done(result=found):
            return Record(transitions.removed(world, found))
        case attempts.Failed(failure=failure):
            return _not_removed(world, failure.message)


def _not_removed(world: World, why: str, *, final: bool = False) -> Action:
    status = world.extract.status
    last = final or status.removal_attempt >= REMOVE_EXTRACT.attempts
    pause = min(REMOVAL_PAUSE * 2 ** (status.removal_attempt - 1), MOST_REMOVAL_PAUSE)
    note = Note("Warning", c.REMOVAL_FAILED, f"{_place(world)} could not be removed: {why}. Remove it by hand.")
    return Record(transitions.not_removed(world, why, pause, last=last), (note,) if last else ())


def _place(world: World) -> str:
    extract = world.extract
    if extract.spec.target.claim is not None:
        return f"The folder {extract.spec.target.claim.path} on claim {extract.status.claim_name}"
    if world.into_database:
        return f"The schema {restored_schema(extract.id)} of the live database"
    prefix = extract_prefix(extract.status.environment_id or "", extract.id)
    return f"The prefix {prefix} of SnapshotStore {extract.status.store_name}"
