"""The plan of a quiesce: the workloads are stopped while the Job freezes, then started again. Pure.

::

    the Job waits ──► Announced ──► Stop ──► Drain ──► Freeze ──► Resume ──► Done
                         │            └────────┴─────────┴──► Resume, with the failure
                         └──► withdrawn: another operation stops one of the workloads (docs/decisions/0008)

Whatever ends the attempt (its Job ends, the deadline, a deletion, a refused write), the workloads get their saved
replicas first. The status names the stage and the replicas before the first effect of the stage, so a restarted
operator continues.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, Signal
from ocore_crds.resources.snapshot import QuiesceStatus, SnapshotStatus
from ocore_operator import clock
from ocore_operator.frame.actions import Note, Record, Wait
from ocore_operator.jobs import signals
from ocore_operator.jobs.observing.attempts import Waits
from ocore_operator.jobs.observing.snapshot_jobs import attempts
from ocore_operator.snapshot.world import Action, Cascade, SendSignal, World
from ocore_operator.workloads import quiesce as rules
from ocore_operator.workloads.quiesce import SetReplicas
from ocore_operator.workloads.view import labels, saved


def is_active(world: World) -> bool:
    """Whether the plan of the quiesce decides: workloads are stopped, or about to be. Where the namespace is being
    deleted it does not."""
    quiesce = world.snapshot.status.quiesce
    return (
        quiesce is not None
        and quiesce.stage != "Done"
        and not world.terminal
        and world.cascade is not Cascade.NAMESPACE
    )


def failure(world: World) -> Failure | None:
    """Why this attempt's quiesce failed; None where it did not. The Snapshot is then never Complete, whatever its Job
    reports."""
    quiesce = world.snapshot.status.quiesce
    if quiesce is None or quiesce.attempt != world.snapshot.status.attempt or quiesce.failure_reason is None:
        return None
    return Failure(reason=quiesce.failure_reason, message=quiesce.failure_message or "")


def announce(world: World) -> Action | None:
    """The Job waits: announces the workloads. None where this attempt does not quiesce, or has done it."""
    snapshot, quiesce = world.snapshot, world.snapshot.status.quiesce
    if not snapshot.spec.quiesce or (quiesce is not None and quiesce.attempt == snapshot.status.attempt):
        return None
    turn = rules.take_turn(world.peer, world.workloads, announced=False)
    if isinstance(turn, rules.Later):
        return _wait(world, turn)
    fresh = QuiesceStatus(
        stage="Announced",
        entered_at=clock.text(world.now),
        attempt=snapshot.status.attempt,
        workloads=saved(world.workloads),
    )
    return Record(_with(world, fresh))


def decide(world: World) -> Action:
    """The next action. The quiesce is active."""
    quiesce = world.snapshot.status.quiesce
    assert quiesce is not None  # noqa: S101 - is_active
    return _STAGES[quiesce.stage](world, quiesce)


def _announced(world: World, quiesce: QuiesceStatus) -> Action:
    """Stops the workloads unless another operation stops one of them. It saves the replicas that it read after it has
    looked for such operations."""
    turn = rules.take_turn(world.peer, world.workloads, announced=True)
    if turn == "Withdraw" or _interrupted(world):
        return Record(_with(world, None))
    if isinstance(turn, rules.Later):
        return _wait(world, turn)
    missing = rules.missing(world.workloads, "Snapshot")
    if missing is not None:
        return _done(world, quiesce, missing.reason, missing.message)
    text = f"Stopping {labels(world.workloads)} for the freeze."
    fresh = _enter(world, quiesce, "Stop", workloads=saved(world.workloads), stopped_at=clock.text(world.now))
    return Record(_with(world, fresh), (Note("Normal", "Quiescing", text),))


def _stop(world: World, quiesce: QuiesceStatus) -> Action:
    if world.refusal is not None:
        targets = tuple((w, 0) for w in rules.running(world.workloads))
        refused = rules.refusal(targets, rules.Refused(world.now, world.refusal.message))
        text = f"{refused} Correct the operator's rights, or what refuses it."
        return _resume_because(world, quiesce, Failure(reason=c.QUIESCE_FAILED, message=text))
    ended = _ended(world, quiesce)
    if ended is not None:
        return ended
    answer = rules.stop(world.workloads, _elapsed(world, quiesce), None, world.now)
    if answer is None:
        return Record(_with(world, _enter(world, quiesce, "Drain")))
    if isinstance(answer, Failure):
        return _resume_because(world, quiesce, answer)
    return _scale(world, answer)


def _drain(world: World, quiesce: QuiesceStatus) -> Action:
    ended = _ended(world, quiesce)
    if ended is not None:
        return ended
    passed = _elapsed(world, quiesce)
    again = rules.stop_again(world.workloads, passed, None, world.now, "before the freeze", "Snapshot")
    if isinstance(again, Failure):
        return _resume_because(world, quiesce, again)
    if again is not None:
        return _scale(world, again)
    draining = rules.drain(world.workloads, passed, world.now)
    if draining is None:
        until = clock.text(world.now + timedelta(seconds=signals.SIGNAL_SECONDS))
        fresh = _enter(world, quiesce, "Freeze", signal_deadline=until)
        return Record(_with(world, fresh), failpoint="operator-snapshot-scaled-down")
    if isinstance(draining, Failure):
        return _resume_because(world, quiesce, draining)
    return _wait(world, draining)


def _freeze(world: World, quiesce: QuiesceStatus) -> Action:
    ended = _started_by_others(world, quiesce)
    if ended is not None:
        return ended
    if world.may_resume:
        fresh = _enter(world, quiesce, "Resume", frozen_at=clock.text(world.now))
        return Record(_with(world, fresh), failpoint="operator-snapshot-frozen")
    ended = _ended(world, quiesce)
    if ended is not None:
        return ended
    until = clock.parse(quiesce.signal_deadline or quiesce.entered_at)
    job = attempts(world.snapshot).job(world.snapshot.status.attempt)
    wanted = Signal(action="Freeze", job=job, not_after=until.timestamp())
    left = (until - world.now).total_seconds()
    repetition = signals.due(left)
    if repetition is not None and (world.signal != wanted or world.repetition < repetition):
        return SendSignal(world.pod, world.pod_version, wanted, repetition)
    if world.signal != wanted and left < 0:
        text = (
            f"The signal to freeze could not be put on pod {world.pod} within {signals.SIGNAL_SECONDS} s. See the"
            " operator's log."
        )
        return _resume_because(world, quiesce, Failure(reason=c.QUIESCE_FAILED, message=text))
    text = "The workloads are stopped. The Job freezes the filestore and the database."
    return _wait(world, rules.Later(0.25, text))


def _resume(world: World, quiesce: QuiesceStatus) -> Action:
    """Sets the saved replicas again, whatever the outcome is."""
    replicas = {(w.kind, w.name): w.replicas for w in quiesce.workloads}
    wanted = [(w, replicas.get((w.kind, w.name), w.replicas)) for w in world.workloads]
    passed = _elapsed(world, quiesce)
    late = passed > rules.RESUME_SECONDS
    targets = rules.to_start(wanted, late=late)
    if not targets:
        return _done(world, quiesce, quiesce.failure_reason, quiesce.failure_message)
    refused = rules.Refused(world.now, world.refusal.message) if world.refusal is not None else None
    return _scale(world, rules.start(targets, passed, refused, world.now, late=late))


_STAGES: dict[str, Callable[[World, QuiesceStatus], Action]] = {
    "Announced": _announced,
    "Stop": _stop,
    "Drain": _drain,
    "Freeze": _freeze,
    "Resume": _resume,
}


# --- what ends a stage -----------------------------------------------------------------------------------------------


def _interrupted(world: World) -> bool:
    """Whether the attempt ends: it is deleted, its deadline has passed, its Job does not run any more, or a write was
    refused."""
    snapshot = world.snapshot
    deadline = clock.parse(snapshot.status.deadline or snapshot.meta.created)
    job = attempts(snapshot).at(world.seen, snapshot.status.attempt)
    runs = isinstance(job, Waits) and job.pod
    return snapshot.meta.deleted is not None or world.now >= deadline or not runs or world.refusal is not None


def _ended(world: World, quiesce: QuiesceStatus) -> Action | None:
    """Resumes where the attempt ends. What ended it is decided afterwards, from the Job; only a refused write is
    remembered here."""
    if world.refusal is not None:
        failure = Failure(reason=world.refusal.reason, message=world.refusal.message)
        return _resume_because(world, quiesce, failure)
    return Record(_with(world, _enter(world, quiesce, "Resume"))) if _interrupted(world) else None


def _started_by_others(world: World, quiesce: QuiesceStatus) -> Action | None:
    scaled_up = rules.scaled_up(world.workloads, "during the freeze", "Snapshot")
    return _resume_because(world, quiesce, scaled_up) if scaled_up is not None else None


def _resume_because(world: World, quiesce: QuiesceStatus, why: Failure) -> Record[SnapshotStatus]:
    fresh = _enter(world, quiesce, "Resume", failure_reason=why.reason, failure_message=why.message)
    return Record(_with(world, fresh), (Note("Warning", why.reason, why.message),))


def _done(world: World, quiesce: QuiesceStatus, reason: str | None, message: str | None) -> Record[SnapshotStatus]:
    """The workloads have their replicas, or were never stopped."""
    at = clock.text(world.now) if quiesce.stopped_at is not None else None
    fresh = _enter(world, quiesce, "Done", resumed_at=at, failure_reason=reason, failure_message=message)
    notes = [Note("Warning", reason, message or "")] if reason is not None and reason != quiesce.failure_reason else []
    if at is not None and reason != c.QUIESCE_FAILED:
        notes.append(Note("Normal", "Resumed", "The workloads have their saved replicas again."))
    return Record(_with(world, fresh), tuple(notes))


# --- shared ----------------------------------------------------------------------------------------------------------


def _elapsed(world: World, quiesce: QuiesceStatus) -> float:
    """Seconds since the stage began."""
    return clock.seconds_since(quiesce.entered_at, world.now)


def _enter(world: World, quiesce: QuiesceStatus, stage: str, **changes: Any) -> QuiesceStatus:
    return quiesce.model_copy(update={"stage": stage, "entered_at": clock.text(world.now), **changes})


def _with(world: World, quiesce: QuiesceStatus | None) -> SnapshotStatus:
    return world.snapshot.status.model_copy(update={"quiesce": quiesce})


def _scale(world: World, answer: SetReplicas | rules.Later) -> Action:
    return answer if isinstance(answer, SetReplicas) else _wait(world, answer)


def _wait(world: World, later: rules.Later) -> Wait:
    snapshot = world.snapshot
    job = attempts(snapshot).job(snapshot.status.attempt)
    known = job if job in world.seen.jobs else ""
    return Wait(later.seconds, later.reason, later.message, later.stalled, world.pod, known)
