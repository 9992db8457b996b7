"""The plan of reading a Complete Snapshot back: once, as `spec.verify` says, and again whenever a person asks for it.
Pure.

A requested check reads the Snapshot's own store, whatever is known of it: someone may have put objects back. The
verdict before it stays until it ends.
"""

from dataclasses import replace
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.commands.table import VERIFY
from ocore_crds.protocol import VerifyResult
from ocore_crds.resources import read_back
from ocore_crds.resources.read_back import ReadBack
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_operator import clock, damage, sources
from ocore_operator.errors import Waiting
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.jobs.observing.attempts import Done, Failed, Pause, Series, Waits, acts
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.kube.resources import Snapshot
from ocore_operator.snapshot import transitions
from ocore_operator.snapshot.world import Action, StartVerify, World

#: Seconds until a failed Job is retried, and until it is tried again what only a person can fix.
RETRY_PAUSE, STALLED_PAUSE = 2.0, 30.0
#: Seconds between the end of a check and the next one that is asked for: who may change annotations keeps no Job
#: running all the time.
AGAIN_PAUSE = 60.0


def decide(world: World) -> Action | None:
    """The next action; None: nothing is to be read. The Snapshot is terminal."""
    snapshot = world.snapshot
    if not c.is_true(snapshot.status.conditions, c.COMPLETE):
        return None
    found = snapshot.status.read_back
    if found is not None and found.result is None:
        return _again(world, found)
    run = read_back.asked(snapshot.meta.annotations, found.run if found is not None else None)
    runs = acts(world.seen, world.seen.of_command(VERIFY.name)) is not None
    if run is not None and not runs:
        return _begin(world, run, found)
    verified = c.find(snapshot.status.conditions, c.VERIFIED)
    if snapshot.spec.verify == "Full" and (verified is None or verified.status == "Unknown"):
        return _once(world)
    return Idle(POLL) if run is not None else None


def _series(snapshot: Snapshot) -> Series[VerifyResult]:
    return Series(VERIFY, snapshot.meta.uid, VerifyResult, "The check")


def next_attempt(world: World) -> int:
    """The number of a check that begins now."""
    return _series(world.snapshot).newest(world.seen) + 1


def _once(world: World) -> Action:
    """spec.verify was set to Full on a Complete snapshot: a Job reads every byte."""
    snapshot, now = world.snapshot, world.now
    refusal = world.refusal
    if refusal is not None:
        status = transitions.unverified(snapshot, refusal.reason, refusal.message, now)
        return Idle(refusal.after if isinstance(refusal, Waiting) else STALLED_PAUSE, status)
    match _series(snapshot).next(world.seen, now, _pause(world)):
        case Done(result=result):
            return Record(transitions.verified(snapshot, result, now))
        case Waits(paused=True, reason=reason, message=message, seconds=left):
            message = f"It could not be read back; retrying: {message}"
            return Idle(left, transitions.unverified(snapshot, reason, message, now))
        case Waits(seconds=left) as found:
            reason, message = found.says(c.VERIFYING, "A Job reads every byte back.")
            return Idle(left, transitions.unverified(snapshot, reason, message, now))
        case Failed(failure=failure):
            in_copy = damage.read_place(snapshot).is_copy
            return Record(damage.found(snapshot, failure.message, now, in_copy=in_copy))
        case due:
            return StartVerify(due.number)


def _pause(world: World) -> Pause:
    def seconds(failed: Failed) -> float | None:
        # A manifest that is missing is as bad as bytes that changed: the snapshot cannot be restored.
        if failed.failure.reason in damage.STORED_BYTES:
            return None
        # A few attempts soon, then as rarely as probes.
        return RETRY_PAUSE if failed.number < VERIFY.attempts else world.settings.probe_interval

    return seconds


# --- asked for -------------------------------------------------------------------------------------------------


def _begin(world: World, run: str, before: ReadBack | None) -> Action:
    """Records the request. Only Jobs that are created after that answer it: earlier ones may have read other bytes."""
    snapshot = world.snapshot
    if before is not None and before.ended_at is not None:
        left = AGAIN_PAUSE - clock.seconds_since(before.ended_at, world.now)
        if left > 0:
            return Idle(left, _current(snapshot, snapshot.status))
    begun = ReadBack(run=run, attempt=next_attempt(world), message="A Job reads every byte.")
    return Record(_current(snapshot, snapshot.status.model_copy(update={"read_back": begun})))


def _again(world: World, asked: ReadBack) -> Action:
    snapshot, now = world.snapshot, world.now
    useless = _useless(snapshot)
    if useless:
        return Record(_ended(world, asked, snapshot.status, "NotRead", useless))
    refusal, series = world.refusal, _series(snapshot)
    if refusal is not None:
        after = refusal.after if isinstance(refusal, Waiting) else STALLED_PAUSE
        return Idle(after, _waiting(snapshot, asked, refusal.message))
    number = max(series.newest(world.seen), asked.attempt)
    match series.next(world.seen, now, _numbered(_pause(world), asked.attempt), number):
        case Done(result=result):
            status = transitions.verified(snapshot, result, now)
            return Record(_ended(world, asked, status, "Matched", "Every byte was read and matched."))
        case Waits(paused=True, message=message, seconds=left):
            return Idle(left, _waiting(snapshot, asked, f"It could not be read; retrying: {message}"))
        case Waits(seconds=left) as found:
            return Idle(left, _waiting(snapshot, asked, found.says(c.VERIFYING, "A Job reads every byte.")[1]))
        case Failed(failure=failure):
            status = damage.found(snapshot, failure.message, now, in_copy=False)
            return Record(_ended(world, asked, status, "Differs", failure.message))
        case due:
            return StartVerify(due.number, requested=True)


def _useless(snapshot: Snapshot) -> str:
    """Why its bytes in its own store say nothing now; empty: they do."""
    gone = sources.lost(snapshot, sources.own(snapshot))
    if gone is not None and gone.reason == c.REMOTE_COPY_ONLY:
        return f"{gone.message} A check reads the Snapshot's own store only."
    verified = c.find(snapshot.status.conditions, c.VERIFIED)
    if verified is not None and verified.reason == c.BASE_CORRUPT:
        return "The full Snapshot that it needs is corrupt. Have that one read; this one follows it."
    return ""


def _numbered(pause: Pause, first: int) -> Pause:
    """The pause, for attempts that are counted from `first` on."""
    return lambda failed: pause(replace(failed, number=failed.number - first + 1))


def _waiting(snapshot: Snapshot, asked: ReadBack, message: str) -> SnapshotStatus:
    update = {"read_back": asked.model_copy(update={"message": message})}
    return _current(snapshot, snapshot.status.model_copy(update=update))


def _ended(
    world: World,
    asked: ReadBack,
    status: SnapshotStatus,
    result: Literal["Matched", "Differs", "NotRead"],
    message: str,
) -> SnapshotStatus:
    ended = asked.model_copy(update={"result": result, "message": message, "ended_at": clock.text(world.now)})
    return _current(world.snapshot, status.model_copy(update={"read_back": ended}))


def _current(snapshot: Snapshot, status: SnapshotStatus) -> SnapshotStatus:
    return status.model_copy(update={"observed_generation": snapshot.meta.generation})
