"""Transitions of a rollback's status: pure functions from one status to the next.

The stages in their order (docs/rollback.md tells the same to people)::

    Preflight → Restore → Prepare → Stop → Drain → Switch → Resume → HealthCheck → Finish → Ended (Complete)
                                                     │                    │
                                                  Inspect              BackStop → BackDrain → BackSwitch → Resume → HealthCheck → Finish → Ended (Failed)
    any before Switch → Abort → Resume → Finish → Ended (Failed)                     └ BackJob ┘

A stage is written BEFORE its first effect. So a status that says Switch may or may not have been signalled, and one that says Drain
has certainly not been.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from ocore_crds import conditions as c
from ocore_crds.naming import previous_database, restored_database
from ocore_crds.protocol import ROLLBACK_STEPS, RestoreResult, Step, SwitchResult
from ocore_crds.rollback import RollbackSpec, RollbackStage, RollbackStatus, SavedWorkload
from ocore_crds.snapshot import EvidenceStatus, StepStatus
from ocore_operator.clock import parse
from ocore_operator.rollback.world import EnvironmentView, SnapshotView, WorkloadView, World

#: Seconds between two looks after which the operator counts as having been away. Longer than its longest back-off; shorter than what it gives
#: itself for anything, so that nothing is given up that was not tried.
WATCH_GAP_SECONDS = 90
#: Seconds that a stage gets once the deadline has passed: an operator that was away at that moment still tries all that is left. Longer than the
#: gap above, for the same reason.
LATE_SECONDS = 100

StepState = Literal["Pending", "Running", "Done", "Skipped", "Failed"]

#: The phase that a stage shows; where it is not here, the phase stays what it is.
_PHASES: dict[RollbackStage, str] = {
    "Preflight": "Pending",
    "Restore": "Restoring",
    "Prepare": "Switching",
    "BackStop": "SwitchingBack",
}


def stamp(when: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: downtimes are told in tenths of a second."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def elapsed(status: RollbackStatus, world: World, now: datetime) -> float:
    """Seconds of the stage in which this operator was there to do something about it (see World.watched_since)."""
    since = parse(status.stage_since) if status.stage_since else now
    return (now - max(since, world.watched_since or since)).total_seconds()


def over(status: RollbackStatus, world: World, now: datetime, seconds: float) -> bool:
    """Whether the stage has had its time: `seconds`, or little once the deadline has passed (promise 8)."""
    late = status.deadline is not None and now >= parse(status.deadline)
    return elapsed(status, world, now) > (min(seconds, LATE_SECONDS) if late else seconds)


def change(status: RollbackStatus, **changes: Any) -> RollbackStatus:
    """The status with fields replaced and validated. Raises TypeError for a field that the status does not have: it would be ignored."""
    status.check_fields(changes)
    return RollbackStatus.model_validate({**status.model_dump(by_alias=False), **changes})


def step(status: RollbackStatus, which: Step, state: StepState, now: datetime, message: str = "") -> RollbackStatus:
    """The status with one step in a new state. Its first and last time are kept."""
    steps = list(status.steps)
    index = next((i for i, s in enumerate(steps) if s.name == which), None)
    old = steps[index] if index is not None else StepStatus(name=which, state="Pending")
    at = stamp(now)
    new = StepStatus(
        name=which,
        state=state,
        started_at=old.started_at or (None if state == "Pending" else at),
        completed_at=(old.completed_at or at) if state in ("Done", "Skipped", "Failed") else None,
        message=message or (old.message if state == old.state else ""),
    )
    if index is None:
        steps.append(new)
    else:
        steps[index] = new
    return change(status, steps=tuple(steps))


def enter(status: RollbackStatus, stage: RollbackStage, now: datetime, **changes: Any) -> RollbackStatus:
    """The next stage, from now on."""
    phase = _PHASES.get(stage, status.phase)
    return change(status, stage=stage, stage_since=stamp(now), **{"phase": phase, **changes})


def begin(status: RollbackStatus, rollback_id: str, now: datetime) -> RollbackStatus:
    """First sight."""
    steps = tuple(StepStatus(name=s, state="Pending") for s in ROLLBACK_STEPS)
    fresh = enter(status, "Preflight", now, id=rollback_id, queued_at=status.queued_at or stamp(now), steps=steps)
    return step(fresh, Step.PREFLIGHT, "Running", now)


def start(
    status: RollbackStatus, spec: RollbackSpec, environment: EnvironmentView, snapshot: SnapshotView, now: datetime
) -> RollbackStatus:
    """The preflight has passed; from here on something of ours may exist, so there is residue."""
    live = environment.database_name if environment.has_database else None
    rollback_id = status.id or ""
    fresh = enter(
        status,
        "Restore",
        now,
        started_at=stamp(now),
        deadline=stamp(now + timedelta(seconds=spec.timeout_seconds)),
        environment_name=environment.name,
        environment_id=environment.id,
        snapshot_name=snapshot.name,
        snapshot_id=snapshot.id,
        manifest_sha256=snapshot.manifest_sha256,
        live_database=live,
        restored_database=restored_database(live, rollback_id) if live else None,
        previous_database=previous_database(live, rollback_id) if live else None,
        attempt=1,
        position="Old",
        residue="Pending",
    )
    return step(step(fresh, Step.PREFLIGHT, "Done", now), Step.RESTORE_DATABASE, "Running", now)


def restored(status: RollbackStatus, result: RestoreResult, now: datetime) -> RollbackStatus:
    """The snapshot stands beside the live environment, checked."""
    evidence = EvidenceStatus.of(result.evidence, {}, {})
    fresh = enter(status, "Prepare", now, evidence=evidence, switch_attempt=status.switch_attempt + 1)
    for which in (Step.RESTORE_DATABASE, Step.RESTORE_FILESTORE, Step.CHECK):
        known = next((s for s in fresh.steps if s.name == which), None)
        if known is None or known.state not in ("Done", "Skipped"):
            fresh = step(fresh, which, "Done", now)
    return fresh


def save(status: RollbackStatus, workloads: tuple[WorkloadView, ...], now: datetime) -> RollbackStatus:
    """Remembers the replicas; nothing is scaled before this is written."""
    saved = tuple(SavedWorkload(kind=w.kind, name=w.name, replicas=w.replicas) for w in workloads)
    fresh = enter(status, "Stop", now, workloads=saved, quiesced_at=stamp(now))
    return step(fresh, Step.QUIESCE, "Running", now)


def signalling(status: RollbackStatus, now: datetime, seconds: float, finish_seconds: float) -> RollbackStatus:
    """The point of no return: from here on the outcome is finished, whatever happens, `finish_seconds` from now at the latest."""
    fresh = enter(
        status,
        "Switch",
        now,
        signal_deadline=stamp(now + timedelta(seconds=seconds)),
        deadline=stamp(now + timedelta(seconds=finish_seconds)),
    )
    return step(step(fresh, Step.QUIESCE, "Done", now), Step.SWITCH, "Running", now)


def switched(status: RollbackStatus, result: SwitchResult, now: datetime) -> RollbackStatus:
    """The environment runs on the snapshot."""
    fresh = enter(
        status,
        "Resume",
        now,
        phase="Resuming",
        position="New",
        switched_at=stamp(now),
        refused_seconds=result.refused_seconds,
        failure_reason=None,
        failure_message=None,
        previous_database=result.previous_database or status.previous_database,
    )
    return step(step(fresh, Step.SWITCH, "Done", now), Step.RESUME, "Running", now)


def resumed(status: RollbackStatus, now: datetime) -> RollbackStatus:
    """The workloads have their replicas again."""
    fresh = enter(status, "HealthCheck", now, resumed_at=stamp(now))
    return step(step(fresh, Step.RESUME, "Done", now), Step.HEALTH_CHECK, "Running", now)


def healthy(status: RollbackStatus, now: datetime) -> RollbackStatus:
    """The workloads are ready."""
    fresh = enter(status, "Finish", now, ready_at=stamp(now))
    return step(fresh, Step.HEALTH_CHECK, "Done", now) if status.failure_reason is None else fresh


def unhealthy(status: RollbackStatus, message: str, now: datetime) -> RollbackStatus:
    """Not ready in time: back to the previous one."""
    fresh = enter(
        status,
        "BackStop",
        now,
        failure_reason=c.WORKLOAD_NOT_READY,
        failure_message=message,
        signal_deadline=None,
    )
    return step(step(fresh, Step.HEALTH_CHECK, "Failed", now, message), Step.SWITCH_BACK, "Running", now)


def switched_back(status: RollbackStatus, result: SwitchResult, now: datetime) -> RollbackStatus:
    """The environment runs on what it ran on before."""
    refused = (status.refused_seconds or 0.0) + result.refused_seconds
    fresh = enter(
        status,
        "Resume",
        now,
        position="Old",
        switched_back_at=stamp(now),
        refused_seconds=refused,
        failure_reason=c.SWITCHED_BACK,
        failure_message=f"{status.failure_message} The environment was switched back and runs on what it ran on before.",
    )
    return step(fresh, Step.SWITCH_BACK, "Done", now)


def failing(status: RollbackStatus, reason: str, message: str, now: datetime) -> RollbackStatus:
    """Before the switch (or found not switched): takes everything down and puts the workloads back."""
    if status.stage == "Preflight":  # nothing was touched
        return ended(change(status, failure_reason=reason, failure_message=message), now, None)
    fresh = enter(status, "Abort", now, failure_reason=reason, failure_message=message)
    return _stop_steps(fresh, now, message)


def ended(status: RollbackStatus, now: datetime, undo_window: int | None) -> RollbackStatus:
    """Terminal. `undo_window` in seconds where a previous database is left."""
    at = stamp(now)
    undo_until = stamp(now + timedelta(seconds=undo_window)) if undo_window is not None else None
    failed = status.failure_reason is not None
    fresh = enter(
        status,
        "Ended",
        now,
        phase="Failed" if failed else "Complete",
        completed_at=at,
        undo_until=undo_until,
        residue=status.residue or "None",
    )
    if failed:
        return _stop_steps(fresh, now, status.failure_message or "")
    return fresh


def already_executed(status: RollbackStatus, now: datetime) -> RollbackStatus:
    """GitOps has re-created a rollback that ran."""
    fresh = enter(status, "Ended", now, phase="Complete", completed_at=stamp(now), residue="None")
    for which in ROLLBACK_STEPS:
        fresh = step(fresh, which, "Skipped", now)
    return fresh


def cleaned(status: RollbackStatus, now: datetime, message: str) -> RollbackStatus:
    """Nothing of ours is left."""
    return step(change(status, residue="None", cleanup_after=None), Step.CLEANUP, "Done", now, message)


def _stop_steps(status: RollbackStatus, now: datetime, message: str) -> RollbackStatus:
    """A running step has failed; steps that did not come are skipped, but Cleanup where something is left."""
    for known in status.steps:
        which = Step(known.name)
        if known.state == "Running":
            status = step(status, which, "Failed", now, message)
        elif known.state == "Pending" and (which is not Step.CLEANUP or status.residue != "Pending"):
            status = step(status, which, "Skipped", now)
    return status
