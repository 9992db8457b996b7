"""What a Snapshot owes after its end, or once it is being deleted: left-overs removed, bytes read back, data deleted or let go."""

from typing import Literal

import structlog

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import DeleteResult, VerifyResult
from ocore_crds.snapshot import SnapshotStatus
from ocore_operator import clock, operation_lock, summarize
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Outcome, Stalled, Waiting
from ocore_operator.jobs import build, control, inputs
from ocore_operator.jobs.inputs import JobInputs
from ocore_operator.jobs.outcome import (
    MAX_ATTEMPTS,
    Absent,
    JobFailed,
    JobState,
    NoResult,
    Observation,
    Running,
    Starting,
    Succeeded,
)
from ocore_operator.kube import resources
from ocore_operator.kube.client import ENVIRONMENTS, ROLLBACKS, SNAPSHOTS
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot import transitions
from ocore_operator.snapshot.cascade import Letting, letting_go

#: Seconds between two looks where events tell of every change anyway.
POLL = 10.0
#: Seconds until the first repetitions of a Job that failed, and until the later ones: a store that does not answer is not pressed.
RETRY_PAUSE = 2.0
DELETE_PAUSE = 30.0
#: Seconds that a running Job has to stop when its Snapshot is deleted; the data is removed after that whatever becomes of it.
STOP_WITHIN = 60.0

_log = structlog.get_logger()


async def reconcile(ctx: Context, snapshot: Snapshot) -> float | None:
    """One look; seconds until the next one."""
    if snapshot.meta.deleted is not None:
        if naming.FINALIZER_DATA not in snapshot.meta.finalizers:
            return None
        return await _deletion(ctx, snapshot)
    if snapshot.status.residue == "Pending":
        return await _residue(ctx, snapshot)
    if c.is_true(snapshot.status.conditions, c.COMPLETE) and snapshot.spec.verify == "Full":
        return await _verify(ctx, snapshot)
    status = snapshot.status.model_copy(update={"observed_generation": snapshot.meta.generation})
    await summarize.write(ctx, snapshot, status)
    return None


# --- Jobs in a row ---------------------------------------------------------------------------------------------


def _latest(seen: Observation, snapshot: Snapshot, command: str, series: str = "") -> tuple[int, JobState]:
    """Number and state of the newest of the Jobs that run the command; 0 and Absent where there is none."""
    start = build.job_name(command, snapshot.meta.uid, series)
    numbers = [int(n.removeprefix(start)) for n in seen.of_command(command) if n.removeprefix(start).isdigit()]
    newest = max(numbers, default=0)
    return newest, seen.state(f"{start}{newest}") if newest else Absent()


async def _job_inputs(ctx: Context, snapshot: Snapshot) -> JobInputs:
    """The store alone. Raises Stalled(StoreNotFound, ClaimNotFound …)."""
    namespace = snapshot.meta.namespace
    store = await inputs.load_store(ctx, namespace, snapshot.status.store_name or "")
    return await inputs.load_for_store(ctx, namespace, store, snapshot.spec.environment_ref.name)


async def _site_with_claim(ctx: Context, snapshot: Snapshot) -> JobInputs:
    """With the Environment, where it is as it was: attempts that were killed have left frozen folders on its claim."""
    obj = await ctx.kube.get(ENVIRONMENTS, snapshot.meta.namespace, snapshot.spec.environment_ref.name)
    source = snapshot.status.source
    if obj is not None and source is not None:
        environment = resources.environment(obj)
        if environment.id == source.environment_id and environment.spec.store_ref.name == snapshot.status.store_name:
            try:
                return await inputs.load(ctx, environment)
            except Stalled as end:
                _log.info("left-overs are removed from the store only", name=snapshot.meta.name, reason=end.reason)
    return await _job_inputs(ctx, snapshot)


async def _delete_job(ctx: Context, snapshot: Snapshot, seen: Observation, *, attempts_only: bool) -> bool:
    """True once a delete Job has ended well. Raises Waiting while one runs or until the next one."""
    series: Literal["", "left"] = "left" if attempts_only else ""
    number, state = _latest(seen, snapshot, "delete", series)
    match state:
        case Succeeded(payload=DeleteResult()):
            return True
        case Starting() | Running():
            raise Waiting(c.DELETING, "A Job removes data from the store.", POLL)
        case JobFailed(failure=failure, finished=finished):
            pause = DELETE_PAUSE if number >= MAX_ATTEMPTS else RETRY_PAUSE
            left = pause - clock.seconds_since(finished, ctx.now()) if finished else 0.0
            if left > 0:
                raise Waiting(c.DELETING, f"Data could not be removed from the store: {failure.message}", left)
        case Absent() | NoResult() | Succeeded():
            pass
    job = build.delete(
        ctx.settings,
        await _site_with_claim(ctx, snapshot),
        snapshot,
        series=series,
        attempt=number + 1,
        deadline=ctx.settings.cleanup_timeout,
    )
    await control.start(ctx, job, waiting_since=snapshot.meta.deleted or snapshot.meta.created)
    raise Waiting(c.DELETING, "A Job removes data from the store.", POLL)


# --- left-overs ------------------------------------------------------------------------------------------------


async def _residue(ctx: Context, snapshot: Snapshot) -> float | None:
    """Removes what attempts that failed have left: everything, where the Snapshot is Failed."""
    seen = await control.observe(ctx, snapshot)
    name = snapshot.status.job_name
    if name is not None and not await control.stop_live(ctx, seen, snapshot.meta.namespace, name):
        return 1.0
    complete = c.is_true(snapshot.status.conditions, c.COMPLETE)
    residue = "None"
    try:
        await _delete_job(ctx, snapshot, seen, attempts_only=complete)
    except Outcome as end:
        ended = clock.seconds_since(snapshot.status.completed_at or snapshot.meta.created, ctx.now())
        if ended < ctx.settings.cleanup_timeout:
            return end.after if isinstance(end, Waiting) else DELETE_PAUSE
        residue = "Unknown"
        ctx.events.record(snapshot, "Warning", "ResidueLeft", f"{_where(snapshot)} may hold left-overs: {end.message}")
    update = {"residue": residue, "observed_generation": snapshot.meta.generation}
    await summarize.write(ctx, snapshot, snapshot.status.model_copy(update=update))
    return 0.0


# --- reading back ----------------------------------------------------------------------------------------------


async def _verify(ctx: Context, snapshot: Snapshot) -> float | None:
    """spec.verify was set to Full on a Complete snapshot: a Job reads every byte."""
    found = c.find(snapshot.status.conditions, c.VERIFIED)
    if found is not None and found.status != "Unknown":
        status = snapshot.status.model_copy(update={"observed_generation": snapshot.meta.generation})
        await summarize.write(ctx, snapshot, status)
        return None
    seen = await control.observe(ctx, snapshot)
    number, state = _latest(seen, snapshot, "verify")
    match state:
        case Succeeded(payload=VerifyResult() as result):
            await summarize.write(ctx, snapshot, transitions.verified(snapshot, result, ctx.now()))
            return None
        case Starting() | Running():
            return await _verifying(ctx, snapshot)
        case JobFailed(failure=failure) if failure.reason in (c.CORRUPT, c.SNAPSHOT_NOT_FOUND):
            # A manifest that is gone is as bad as bytes that changed: it cannot be restored.
            await summarize.write(ctx, snapshot, transitions.corrupt(snapshot, failure.message, ctx.now()))
            return None
        case JobFailed(failure=failure, finished=finished):
            left = _pause(ctx, number) - clock.seconds_since(finished, ctx.now())
            if left > 0:
                words = f"It could not be read back and is tried again: {failure.message}"
                await summarize.write(ctx, snapshot, transitions.unverified(snapshot, failure.reason, words, ctx.now()))
                return left
        case _:
            pass
    return await _start_verify(ctx, snapshot, number + 1)


def _pause(ctx: Context, attempt: int) -> float:
    """A few attempts soon, then as seldom as probes."""
    return RETRY_PAUSE if attempt < MAX_ATTEMPTS else ctx.settings.probe_interval


async def _verifying(ctx: Context, snapshot: Snapshot) -> float:
    status = transitions.unverified(snapshot, c.VERIFYING, "A Job reads every byte back.", ctx.now())
    await summarize.write(ctx, snapshot, status)
    return POLL


async def _start_verify(ctx: Context, snapshot: Snapshot, attempt: int) -> float:
    try:
        job_inputs = await _job_inputs(ctx, snapshot)
        seconds = snapshot.spec.timeout_seconds
        job = build.verify(ctx.settings, job_inputs, snapshot, attempt=attempt, deadline=seconds)
        await control.start(ctx, job, waiting_since=clock.text(ctx.now()))
    except Outcome as end:
        status = transitions.unverified(snapshot, end.reason, end.message, ctx.now())
        await summarize.write(ctx, snapshot, status)
        return end.after if isinstance(end, Waiting) else DELETE_PAUSE
    return await _verifying(ctx, snapshot)


# --- deletion --------------------------------------------------------------------------------------------------


async def _deletion(ctx: Context, snapshot: Snapshot) -> float | None:
    """The finalizer's work. Every way ends in bounded time but a pin, which a person has set and can remove."""
    letting = await letting_go(ctx, snapshot.meta.namespace, SNAPSHOTS)
    if letting is not Letting.NO:
        message = f"{letting.value}: {_where(snapshot)} is kept." if _kept(snapshot) else ""
        return await _let_go(ctx, snapshot, message)
    seen = await control.observe(ctx, snapshot)
    if not c.is_terminal(snapshot.status.conditions):
        return await _cancel(ctx, snapshot, seen)
    try:
        return await _remove(ctx, snapshot, seen)
    except Outcome as end:
        return await _held_up(ctx, snapshot, end)


def _kept(snapshot: Snapshot) -> bool:
    """Whether there is data in the store."""
    return snapshot.status.manifest_key is not None or snapshot.status.residue in ("Pending", "Unknown")


async def _cancel(ctx: Context, snapshot: Snapshot, seen: Observation) -> float:
    """It was still at work: its Job is stopped, then it is Failed, and what it stored is removed as of any that failed."""
    name = snapshot.status.job_name or build.job_name("snapshot", snapshot.meta.uid, max(snapshot.status.attempt, 1))
    since = clock.seconds_since(snapshot.meta.deleted or snapshot.meta.created, ctx.now())
    if since < STOP_WITHIN and not await control.stop(ctx, seen, snapshot.meta.namespace, name):
        return 1.0
    stored = snapshot.status.attempt > 1 or snapshot.status.job_name is not None or name in seen.jobs
    end = Failed(c.CANCELLED, "It was deleted before it was complete.")
    await summarize.write(ctx, snapshot, transitions.failed(snapshot, end, stored=stored, now=ctx.now()))
    ctx.followers.forget_owner(snapshot.meta.namespace, build.job_name("snapshot", snapshot.meta.uid, ""))
    if snapshot.status.started_at is not None:
        await operation_lock.release(ctx, snapshot.meta.namespace, snapshot.spec.environment_ref.name, snapshot)
    return 0.0


async def _remove(ctx: Context, snapshot: Snapshot, seen: Observation) -> float | None:
    """The data goes, or stays, as deletionPolicy says. Raises Stalled(Pinned), Waiting(InUse, Deleting)."""
    complete = c.is_true(snapshot.status.conditions, c.COMPLETE)
    if complete and snapshot.spec.pin is not None:
        raise Stalled(
            c.PINNED,
            "The Snapshot is pinned and is not deleted. Remove spec.pin, and the deletion goes on.",
        )
    user = await _used_by(ctx, snapshot)
    if user is not None:
        raise Waiting(c.IN_USE, f"The Rollback {user} restores it; the deletion goes on after its end.", POLL)
    if complete and snapshot.spec.deletion_policy == "Retain":
        return await _let_go(ctx, snapshot, f"deletionPolicy Retain: {_where(snapshot)} is kept.")
    if not _kept(snapshot):
        return await _let_go(ctx, snapshot, "")
    await _delete_job(ctx, snapshot, seen, attempts_only=False)
    return await _let_go(ctx, snapshot, "")


async def _used_by(ctx: Context, snapshot: Snapshot) -> str | None:
    """A Rollback that restores it and has not come to its end."""
    for obj in await ctx.kube.list(ROLLBACKS, snapshot.meta.namespace):
        conditions = obj.get("status", {}).get("conditions") or ()
        over = any(x["type"] in (c.COMPLETE, c.FAILED) and x["status"] == "True" for x in conditions)
        if obj["spec"].get("snapshotRef", {}).get("name") == snapshot.meta.name and not over:
            return str(obj["metadata"]["name"])
    return None


async def _held_up(ctx: Context, snapshot: Snapshot, end: Outcome) -> float | None:
    """Says why the deletion waits; after cleanup_timeout of trying to remove the data, lets it go and says what is left where."""
    deleting = c.find(snapshot.status.conditions, c.RECONCILING)
    if end.reason not in (c.PINNED, c.IN_USE) and deleting is not None and deleting.reason in _REMOVING:
        tried = clock.seconds_since(deleting.last_transition_time, ctx.now())
        if tried > ctx.settings.cleanup_timeout:
            return await _let_go(ctx, snapshot, f"{_where(snapshot)} could not be removed: {end.message}")
    if end.reason not in (c.PINNED, c.IN_USE) and not isinstance(end, Waiting):
        end = Waiting(c.DELETING, f"Data cannot be removed from the store: {end.message}", DELETE_PAUSE)
    status = _deleting(snapshot, end, clock.text(ctx.now()))
    await summarize.write(ctx, snapshot, status)
    return end.after if isinstance(end, Waiting) else None


#: Reasons of Reconciling while the data is being removed: its transition time is when that began.
_REMOVING = (c.DELETING, c.JOB_REFUSED, c.WAITING_FOR_JOB_SLOT)


def _deleting(snapshot: Snapshot, end: Outcome, now: str) -> SnapshotStatus:
    """Beside Complete or Failed, which stay: what the deletion waits for."""
    generation = snapshot.meta.generation
    status = snapshot.status
    if end.reason in (c.PINNED, c.IN_USE):
        status = summarize.without(status, c.RECONCILING)
        return summarize.with_condition(
            status, c.STALLED, "True", end.reason, end.message, now=now, generation=generation
        )
    if not c.is_true(status.conditions, c.FAILED):
        status = summarize.without(status, c.STALLED)
    # Nobody restores from what is being taken away.
    status = summarize.with_condition(status, c.READY, "False", c.DELETING, end.message, now=now, generation=generation)
    return summarize.with_condition(
        status, c.RECONCILING, "True", end.reason, end.message, now=now, generation=generation
    )


def _where(snapshot: Snapshot) -> str:
    """Where its data is, for people."""
    source = snapshot.status.source
    prefix = naming.snapshot_prefix(source.environment_id, snapshot.id) if source is not None else snapshot.id
    return f"{prefix} in the SnapshotStore {snapshot.status.store_name} (id {snapshot.status.store_id})"


async def _let_go(ctx: Context, snapshot: Snapshot, message: str) -> float | None:
    """Removes the finalizer; an Event says what is left where."""
    finalizers = [f for f in snapshot.meta.finalizers if f != naming.FINALIZER_DATA]
    obj: Object | None = await ctx.kube.set_finalizers(snapshot.meta, SNAPSHOTS, finalizers)
    _log.info(
        "snapshot let go", namespace=snapshot.meta.namespace, name=snapshot.meta.name, message=message or "data removed"
    )
    if message:
        kept = "could not" not in message
        ctx.events.record(snapshot, "Normal" if kept else "Warning", "DataRetained" if kept else "DataLeft", message)
    if obj is None or not finalizers:
        ctx.catalog.remove(snapshot.key, snapshot.meta.uid)
    return None
