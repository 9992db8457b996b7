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
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, FreezeSignal
from ocore_crds.snapshot import QuiesceStatus, SnapshotStatus
from ocore_operator import clock
from ocore_operator.jobs import signals
from ocore_operator.jobs.outcome import Running
from ocore_operator.jobs.shape import job_name
from ocore_operator.reconcile_loop import Note
from ocore_operator.snapshot.world import Action, Cascade, Record, SendSignal, SetReplicas, Wait, World
from ocore_operator.workloads.view import WorkloadView, labels, saved

#: Seconds until the API server must have accepted zero replicas for every workload.
STOP_SECONDS = 60
#: Seconds until no pod of a workload may be left, in addition to the pods' grace period.
DRAIN_SECONDS = 120
#: Seconds in which the workloads must get their replicas again where the API server refuses that. Then the Snapshot is
#: Stalled, and never ends so while a workload that it has stopped cannot be started (docs/decisions/0112).
RESUME_SECONDS = 120
#: Least and most seconds between two attempts at that: a fifth of the time spent so far, within these limits.
RESUME_PAUSE_SECONDS = (2, 60)


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
    if world.peer is not None:
        return _wait(world, f"{world.peer.name} also stops {labels(world.workloads)}. Waiting until it has ended.", 2.0)
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
    if _interrupted(world) or (world.peer is not None and (world.peer.stopping or world.peer.older)):
        return Record(_with(world, None))
    if world.peer is not None:
        return _wait(world, f"{world.peer.name} has also announced that it stops {labels(world.workloads)}.", 1.0)
    missing = [w for w in world.workloads if not w.exists]
    if missing:
        text = (
            f"{labels(missing)} does not exist. Create it, or correct spec.workloads of the Environment. Then create a"
            " new Snapshot."
        )
        return _done(world, quiesce, c.WORKLOAD_NOT_FOUND, text)
    text = f"Stopping {labels(world.workloads)} for the freeze."
    fresh = _enter(world, quiesce, "Stop", workloads=saved(world.workloads), stopped_at=clock.text(world.now))
    return Record(_with(world, fresh), (Note("Normal", "Quiescing", text),))


def _stop(world: World, quiesce: QuiesceStatus) -> Action:
    ended = _ended(world, quiesce)
    if ended is not None:
        return ended
    running = _scaled_up(world)
    if not running:
        return Record(_with(world, _enter(world, quiesce, "Drain")))
    if _elapsed(world, quiesce) > STOP_SECONDS:
        text = f"{labels(running)} could not be scaled to zero within {STOP_SECONDS} s. See the operator's log."
        return _resume_because(world, quiesce, c.WORKLOAD_NOT_STOPPED, text)
    return SetReplicas(tuple((w, 0) for w in running), before="operator-snapshot-replicas-saved")


def _drain(world: World, quiesce: QuiesceStatus) -> Action:
    ended = _ended(world, quiesce) or _started_by_others(world, quiesce)
    if ended is not None:
        return ended
    left = [w for w in world.workloads if w.exists and w.pods > 0]
    if not left:
        until = clock.text(world.now + timedelta(seconds=signals.SIGNAL_SECONDS))
        fresh = _enter(world, quiesce, "Freeze", signal_deadline=until)
        return Record(_with(world, fresh), failpoint="operator-snapshot-scaled-down")
    limit = DRAIN_SECONDS + max(w.grace_seconds for w in left)
    if _elapsed(world, quiesce) > limit:
        text = f"After {limit} s pods of {labels(left)} are left."
        return _resume_because(world, quiesce, c.WORKLOAD_NOT_STOPPED, text)
    return _wait(world, f"Waiting until the pods of {labels(left)} are gone.", 0.5)


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
    wanted = FreezeSignal(not_after=until.timestamp())
    left = (until - world.now).total_seconds()
    repetition = signals.due(left)
    if repetition is not None and (world.signal != wanted or world.repetition < repetition):
        return SendSignal(world.pod, world.pod_version, wanted, repetition)
    if world.signal != wanted and left < 0:
        text = (
            f"The signal to freeze could not be put on pod {world.pod} within {signals.SIGNAL_SECONDS} s. See the"
            " operator's log."
        )
        return _resume_because(world, quiesce, c.QUIESCE_FAILED, text)
    return _wait(world, "The workloads are stopped. The Job freezes the filestore and the database.", 0.25)


def _resume(world: World, quiesce: QuiesceStatus) -> Action:
    """Sets the saved replicas again, whatever the outcome is."""
    replicas = {(w.kind, w.name): w.replicas for w in quiesce.workloads}
    wanted = [(w, replicas.get((w.kind, w.name), w.replicas)) for w in world.workloads]
    late = _elapsed(world, quiesce) > RESUME_SECONDS
    # Late, someone else has set the replicas of one that is not stopped.
    wrong = tuple((w, n) for w, n in wanted if w.exists and w.replicas != n and not (late and w.replicas))
    if wrong and world.refusal is not None:
        shortest, longest = RESUME_PAUSE_SECONDS
        pause = min(max(shortest, _elapsed(world, quiesce) / 5), longest)
        text = f"The workloads cannot be started again; retrying: {world.refusal.message}"
        if not late:
            return _wait(world, text, pause)
        counts = ", ".join(f"{w.label} to {n}" for w, n in wrong)
        text = f"The application is stopped. {text} Or scale {counts} by hand."
        return replace(_wait(world, text, pause), reason=c.WORKLOAD_NOT_RESUMED, stalled=True)
    if wrong:
        return SetReplicas(wrong, after="operator-snapshot-resumed")
    return _done(world, quiesce, quiesce.failure_reason, quiesce.failure_message)


_STAGES: dict[str, Callable[[World, QuiesceStatus], Action]] = {
    "Announced": _announced,
    "Stop": _stop,
    "Drain": _drain,
    "Freeze": _freeze,
    "Resume": _resume,
}


# --- what ends a stage
# --------------------------------------------------------------------------------------------------------


def _interrupted(world: World) -> bool:
    """Whether the attempt ends: it is deleted, its deadline has passed, its Job does not run any more, or a write was
    refused."""
    snapshot = world.snapshot
    deadline = clock.parse(snapshot.status.deadline or snapshot.meta.created)
    runs = isinstance(world.seen.state(job_name("snapshot", snapshot.meta.uid, snapshot.status.attempt)), Running)
    return snapshot.meta.deleted is not None or world.now >= deadline or not runs or world.refusal is not None


def _ended(world: World, quiesce: QuiesceStatus) -> Action | None:
    """Resumes where the attempt ends. What ended it is decided afterwards, from the Job; only a refused write is
    remembered here."""
    if world.refusal is not None:
        return _resume_because(world, quiesce, world.refusal.reason, world.refusal.message)
    return Record(_with(world, _enter(world, quiesce, "Resume"))) if _interrupted(world) else None


def _started_by_others(world: World, quiesce: QuiesceStatus) -> Action | None:
    running = _scaled_up(world)
    if not running:
        return None
    text = (
        f"{labels(running)} was scaled up during the freeze, by a GitOps tool or an autoscaler. "
        "Exclude spec.replicas from its control (Argo CD: ignoreDifferences), then create a new Snapshot."
    )
    return _resume_because(world, quiesce, c.WORKLOAD_SCALED_UP, text)


def _resume_because(world: World, quiesce: QuiesceStatus, reason: str, message: str) -> Record:
    fresh = _enter(world, quiesce, "Resume", failure_reason=reason, failure_message=message)
    return Record(_with(world, fresh), (Note("Warning", reason, message),))


def _done(world: World, quiesce: QuiesceStatus, reason: str | None, message: str | None) -> Record:
    """The workloads have their replicas, or were never stopped."""
    at = clock.text(world.now) if quiesce.stopped_at is not None else None
    fresh = _enter(world, quiesce, "Done", resumed_at=at, failure_reason=reason, failure_message=message)
    notes = [Note("Warning", reason, message or "")] if reason is not None and reason != quiesce.failure_reason else []
    if at is not None and reason != c.QUIESCE_FAILED:
        notes.append(Note("Normal", "Resumed", "The workloads have their saved replicas again."))
    return Record(_with(world, fresh), tuple(notes))


# --- shared
# -------------------------------------------------------------------------------------------------------------------


def _scaled_up(world: World) -> list[WorkloadView]:
    return [w for w in world.workloads if w.exists and w.replicas > 0]


def _elapsed(world: World, quiesce: QuiesceStatus) -> float:
    """Seconds since the stage began."""
    return clock.seconds_since(quiesce.entered_at, world.now)


def _enter(world: World, quiesce: QuiesceStatus, stage: str, **changes: Any) -> QuiesceStatus:
    return quiesce.model_copy(update={"stage": stage, "entered_at": clock.text(world.now), **changes})


def _with(world: World, quiesce: QuiesceStatus | None) -> SnapshotStatus:
    return world.snapshot.status.model_copy(update={"quiesce": quiesce})


def _wait(world: World, message: str, seconds: float) -> Wait:
    snapshot = world.snapshot
    job = job_name("snapshot", snapshot.meta.uid, snapshot.status.attempt)
    return Wait(c.RUNNING, message, seconds, pod=world.pod, job=job if job in world.seen.jobs else "")
