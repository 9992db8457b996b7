"""Transitions of a rollback's status: pure functions from one status to the next.

The stages in their order (docs/rollback.md describes them for users)::

    Preflight → Restore → (Neutralize →) Prepare → Stop → Drain → Switch → Resume → HealthCheck → Finish → Ended
    (Complete)
                                                     │                    │
                                                  Inspect              BackStop → BackDrain → BackJob → Resume →
                                                  HealthCheck → Finish → Ended (Failed)
    any before Switch → Abort → Resume → Finish → Ended (Failed)

A stage is written BEFORE its first effect. So at the stage Switch the signal may have been sent or not; at Drain it has
certainly not been.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

from ocore_crds import conditions as c
from ocore_crds.conditions import ObjectStatus
from ocore_crds.naming import previous_database, restored_database
from ocore_crds.protocol import NeutralizeResult, RestoreResult, Step, SwitchResult
from ocore_crds.resources.neutralize import NeutralizeStatus
from ocore_crds.resources.rollback import JobsStatus, RollbackSpec, RollbackStage, RollbackStatus, UndoStatus
from ocore_crds.resources.snapshot import EvidenceStatus, SavedWorkload, StepStatus
from ocore_crds.rules.evidence import rollback_steps
from ocore_crds.stored.manifest import Evidence
from ocore_operator.clock import exact, parse
from ocore_operator.kube.resources import Environment, Snapshot
from ocore_operator.rollback import remote_source
from ocore_operator.rollback.snapshot_and_environment import probe_of, target_of
from ocore_operator.rollback.world import UndoneView, World

#: Seconds between two reconciles after which the operator counts as having been down. Longer than its longest back-off;
#: shorter than any limit of a stage, so that the operator gives nothing up before it has tried.
WATCH_GAP_SECONDS = 90
#: Most seconds of a stage after the deadline: an operator that was down at that moment still tries every stage that is
#: left. Longer than the gap above, for the same reason.
LATE_SECONDS = 100
#: Paths that a warning names.
_PATHS = 3

Position = Literal["Old", "New"]
StepState = Literal["Pending", "Running", "Done", "Skipped", "Failed"]

#: The phase of a stage; where a stage is missing here, the phase stays as it is.
_PHASES: dict[RollbackStage, str] = {
    "Preflight": "Pending",
    "Restore": "Restoring",
    "Await": "Restoring",
    "Prepare": "Switching",
    "BackStop": "SwitchingBack",
}


def stamp(when: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: downtimes are reported in tenths of a second."""
    return exact(when)


def elapsed(status: RollbackStatus, world: World, now: datetime) -> float:
    """Seconds of the current stage without operator downtime (see World.watched_since)."""
    since = parse(status.stage_since) if status.stage_since else now
    return (now - max(since, world.watched_since or since)).total_seconds()


def timed_out(status: RollbackStatus, world: World, now: datetime, seconds: float) -> bool:
    """Whether the stage has used its limit: `seconds`, or LATE_SECONDS at most once status.deadline has passed. So the
    rollback is terminal soon after its deadline (docs/decisions/0004)."""
    late = status.deadline is not None and now >= parse(status.deadline)
    return elapsed(status, world, now) > (min(seconds, LATE_SECONDS) if late else seconds)


def change(status: RollbackStatus, **changes: Any) -> RollbackStatus:
    """The status with fields replaced and validated. Raises TypeError for a field that the status does not have: it
    would be ignored."""
    status.check_fields(changes)
    return RollbackStatus.model_validate({**status.model_dump(by_alias=False), **changes})


def step(status: RollbackStatus, which: Step, state: StepState, now: datetime, message: str = "") -> RollbackStatus:
    """The status with one step in a new state. The step's first start and first end are kept."""
    steps = list(status.steps)
    index = next((i for i, s in enumerate(steps) if s.name == which), None)
    old = steps[index] if index is not None else StepStatus(name=which, state="Pending")
    at = stamp(now)
    new = StepStatus(
        name=which,
        state=state,
        started_at=old.started_at or (None if state == "Pending" else at),
        completed_at=(old.completed_at or at) if state in ("Done", "Skipped", "Failed") else None,
        bytes_done=old.bytes_done,
        files_done=old.files_done,
        message=message or (old.message if state == old.state else ""),
    )
    if index is None:
        steps.append(new)
    else:
        steps[index] = new
    return change(status, steps=tuple(steps))


def enter(status: RollbackStatus, stage: RollbackStage, now: datetime, **changes: Any) -> RollbackStatus:
    """The status at the next stage, from now on."""
    phase = _PHASES.get(stage, status.phase)
    return change(status, stage=stage, stage_since=stamp(now), **{"phase": phase, **changes})


def state_of(status: RollbackStatus, which: Step) -> str | None:
    """The state of a step; None where the rollback does not have it."""
    return next((s.state for s in status.steps if s.name == which), None)


def begin(
    status: RollbackStatus, spec: RollbackSpec, rollback_id: str, now: datetime, environment_name: str = ""
) -> RollbackStatus:
    """The first status. `environment_name`: where it is known already."""
    steps = tuple(StepStatus(name=s, state="Pending") for s in rollback_steps(spec))
    queued, name = status.queued_at or stamp(now), environment_name or None
    fresh = enter(status, "Preflight", now, id=rollback_id, queued_at=queued, steps=steps, environment_name=name)
    return step(fresh, Step.PREFLIGHT, "Running", now)


def join(
    status: RollbackStatus,
    spec: RollbackSpec,
    environment: Environment,
    snapshot: Snapshot,
    now: datetime,
    neutralize: NeutralizeStatus | None = None,
) -> RollbackStatus:
    """The restore's Job makes the preflight. From here on databases or folders of the rollback may exist
    (`residue`)."""
    probe = probe_of(environment)
    live = (probe.database_name if probe is not None else "") if environment.spec.database is not None else None
    rollback_id = status.id or ""
    fresh = enter(
        status,
        "Restore",
        now,
        phase=status.phase,
        started_at=stamp(now),
        deadline=stamp(now + timedelta(seconds=spec.timeout_seconds)),
        environment_name=environment.meta.name,
        environment_id=environment.status.id,
        snapshot_name=snapshot.meta.name,
        snapshot_id=snapshot.status.id,
        manifest_sha256=snapshot.status.manifest_sha256,
        target=target_of(environment),
        jobs=JobsStatus.of(environment.spec, environment.status),
        live_database=live,
        restored_database=restored_database(live, rollback_id) if live else None,
        previous_database=previous_database(live, rollback_id) if live else None,
        attempt=1,
        position="Old",
        residue="Pending",
        neutralize=neutralize,
    )
    return step(fresh, Step.NEUTRALIZE, "Skipped", now) if neutralize is None else fresh


#: What a status has before :func:`join`.
_BEFORE_JOIN = (
    *("id", "phase", "queued_at", "environment_name", "stage_since", "steps"),
    *(*ObjectStatus.model_fields, "progress"),
)


def unanswered(status: RollbackStatus) -> bool:
    """Whether the restore's Job makes the preflight, and its answer is not known yet."""
    return status.stage == "Restore" and state_of(status, Step.PREFLIGHT) == "Running"


def unstarted(status: RollbackStatus) -> RollbackStatus:
    """As before :func:`join`: nothing of the rollback exists."""
    return RollbackStatus(stage="Preflight", **{name: getattr(status, name) for name in _BEFORE_JOIN})


def passed(status: RollbackStatus, spec: RollbackSpec, now: datetime) -> RollbackStatus:
    """The preflight has passed."""
    fresh = enter(status, "Restore", now)
    if spec.create_safety_snapshot:  # created beside the restore. Begun together, it is shown first.
        fresh = step(fresh, Step.SAFETY_SNAPSHOT, "Running", now)
    fresh = step(fresh, Step.PREFLIGHT, "Done", now)
    # The Job that made the preflight may be further already, by its log.
    restoring = state_of(fresh, Step.RESTORE_DATABASE) != "Pending"
    return fresh if restoring else step(fresh, Step.RESTORE_DATABASE, "Running", now)


def start_undo(
    status: RollbackStatus, spec: RollbackSpec, environment: Environment, view: UndoneView, now: datetime
) -> RollbackStatus:
    """The preflight of an undo has passed. Nothing of it exists until it takes over what the other Rollback has
    kept."""
    other = view.status
    names_id = other.undo.names_id if other.undo is not None else view.id
    # By the other Rollback's position; where it goes back itself, its New is the Old of the first one.
    flipped = other.undo is not None and other.undo.to == "Old"
    to: Position = "Old" if (other.position == "New") != flipped else "New"
    live = other.live_database
    beside, previous = (restored_database(live, names_id), previous_database(live, names_id)) if live else (None, None)
    fresh = enter(
        status,
        "Prepare",
        now,
        started_at=stamp(now),
        deadline=stamp(now + timedelta(seconds=spec.timeout_seconds)),
        environment_name=environment.meta.name,
        environment_id=environment.status.id,
        snapshot_name=other.snapshot_name,
        snapshot_id=other.snapshot_id,
        source_environment_name=other.source_environment_name,
        source_environment_id=other.source_environment_id,
        source_environment_type=other.source_environment_type,
        manifest_sha256=other.manifest_sha256,
        target=other.target,
        jobs=JobsStatus.of(environment.spec, environment.status),
        live_database=live,
        restored_database=previous if to == "Old" else beside,
        previous_database=beside if to == "Old" else previous,
        switch_attempt=1,
        position="Old",
        residue="None",
        undo=UndoStatus(
            rollback_name=view.name, rollback_id=view.id, names_id=names_id, to=to, workloads=other.workloads
        ),
    )
    fresh = step(fresh, Step.PREFLIGHT, "Done", now)
    for which in (Step.RESTORE_DATABASE, Step.RESTORE_FILESTORE, Step.CHECK, Step.NEUTRALIZE):
        fresh = step(fresh, which, "Skipped", now)
    return fresh


def restored(status: RollbackStatus, result: RestoreResult, now: datetime) -> RollbackStatus:
    """The snapshot is restored beside the live environment and checked."""
    evidence = EvidenceStatus.of(result.evidence, {}, {})
    evidence = evidence.model_copy(update={"proven": (remote_source.evidence(status), *evidence.proven)})
    if status.neutralize is not None:
        fresh = enter(status, "Neutralize", now, evidence=evidence, neutralize_attempt=status.neutralize_attempt + 1)
    else:
        fresh = enter(status, "Prepare", now, evidence=evidence, switch_attempt=status.switch_attempt + 1)
    if result.live_missing:
        fresh = change(fresh, live_missing=True, previous_database=None)
    for which in (Step.RESTORE_DATABASE, Step.RESTORE_FILESTORE, Step.CHECK):
        if state_of(fresh, which) not in ("Done", "Skipped"):
            fresh = step(fresh, which, "Done", now)
    return step(fresh, Step.NEUTRALIZE, "Running", now) if status.neutralize is not None else fresh


def neutralized(status: RollbackStatus, result: NeutralizeResult, now: datetime) -> RollbackStatus:
    """The copy is neutralised, or has its own identity, and is marked so that the switch accepts it."""
    plan = status.neutralize
    done = plan.model_copy(update={"proven_at": stamp(now)}) if plan is not None else None
    fresh = enter(status, "Prepare", now, neutralize=done, switch_attempt=status.switch_attempt + 1)
    return step(_with_evidence(fresh, result.evidence), Step.NEUTRALIZE, "Done", now)


def _with_evidence(status: RollbackStatus, found: Evidence) -> RollbackStatus:
    """The status with what one more Job required and proved."""
    evidence = status.evidence or EvidenceStatus()
    both = {
        "required": (*evidence.required, *found.required),
        "proven": (*evidence.proven, *found.proven),
        "missing": (*evidence.missing, *found.missing),
    }
    return _with_warnings(change(status, evidence=evidence.model_copy(update=both)), found.warnings)


def saving(status: RollbackStatus, name: str, uid: str, now: datetime) -> RollbackStatus:
    """The safety snapshot exists. It starts once this is written."""
    fresh = change(status, safety_snapshot_name=name, safety_snapshot_id=uid)
    return step(fresh, Step.SAFETY_SNAPSHOT, "Running", now)


def saved_by(status: RollbackStatus, consistent_at: str, now: datetime) -> RollbackStatus:
    """The safety snapshot is Complete."""
    fresh = change(status, safety_snapshot_at=consistent_at or None)
    return step(fresh, Step.SAFETY_SNAPSHOT, "Done", now)


def save(status: RollbackStatus, workloads: tuple[SavedWorkload, ...], now: datetime) -> RollbackStatus:
    """Saves the replicas, and the images that are replaced. No workload is changed before this is written."""
    fresh = enter(status, "Stop", now, workloads=workloads, quiesced_at=stamp(now))
    return step(fresh, Step.QUIESCE, "Running", now)


def signalling(status: RollbackStatus, now: datetime, seconds: float, finish_seconds: float) -> RollbackStatus:
    """The point of no return. The rollback is terminal `finish_seconds` from now at the latest."""
    fresh = enter(
        status,
        "Switch",
        now,
        signal_deadline=stamp(now + timedelta(seconds=seconds)),
        deadline=stamp(now + timedelta(seconds=finish_seconds)),
        residue="Pending",  # of an undo: it has taken over what is kept
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
    fresh = _with_warnings(fresh, _of_switch(result))
    return step(step(fresh, Step.SWITCH, "Done", now), Step.RESUME, "Running", now)


def _of_switch(result: SwitchResult) -> tuple[str, ...]:
    """What a switch warns of."""
    if not result.set_aside:
        return result.replication_ended
    text = (
        "An application that was not stopped wrote to the filestore's folder while it was switched. What it wrote is no"
        f" part of the live filestore. It was set aside on the claim: {', '.join(result.set_aside[:_PATHS])}. Copy what"
        " is needed, then remove it. List what writes to the claim in spec.workloads."
    )
    return (*result.replication_ended, text)


def _with_warnings(status: RollbackStatus, warnings: Iterable[str]) -> RollbackStatus:
    """The status with more warnings in its evidence."""
    evidence = status.evidence or EvidenceStatus()
    more = tuple(w for w in warnings if w not in evidence.warnings)
    return (
        change(status, evidence=evidence.model_copy(update={"warnings": (*evidence.warnings, *more)}))
        if more
        else status
    )


def image_failed(status: RollbackStatus, message: str, now: datetime) -> RollbackStatus:
    """The images could not be set in time, and nothing has started on the snapshot: the switch back begins."""
    failed = Step.RESTORE_IMAGE if status.image is not None else None
    return _switching_back(status, c.RESTORE_IMAGE_FAILED, message, now, failed)


def _switching_back(
    status: RollbackStatus, reason: str, message: str, now: datetime, failed: Step | None
) -> RollbackStatus:
    """The switch back begins. `failed`: the step because of which."""
    fresh = enter(status, "BackStop", now, failure_reason=reason, failure_message=message, signal_deadline=None)
    fresh = step(fresh, failed, "Failed", now, message) if failed is not None else fresh
    return step(fresh, Step.SWITCH_BACK, "Running", now)


def resumed(status: RollbackStatus, now: datetime) -> RollbackStatus:
    """The workloads have their saved replicas again."""
    fresh = enter(status, "HealthCheck", now, resumed_at=stamp(now))
    return step(step(fresh, Step.RESUME, "Done", now), Step.HEALTH_CHECK, "Running", now)


def healthy(status: RollbackStatus, now: datetime) -> RollbackStatus:
    """The workloads are ready."""
    fresh = enter(status, "Finish", now, ready_at=stamp(now))
    return step(fresh, Step.HEALTH_CHECK, "Done", now) if status.failure_reason is None else fresh


def unhealthy(status: RollbackStatus, message: str, now: datetime) -> RollbackStatus:
    """The workloads are not ready in time: the switch back begins."""
    return _switching_back(status, c.WORKLOAD_NOT_READY, message, now, Step.HEALTH_CHECK)


def unhealthy_without_previous(status: RollbackStatus, message: str, now: datetime) -> RollbackStatus:
    """The workloads are not ready in time, and there was no database before: the environment stays on the snapshot."""
    fresh = enter(status, "Finish", now, failure_reason=c.WORKLOAD_NOT_READY, failure_message=message)
    return step(fresh, Step.HEALTH_CHECK, "Failed", now, message)


def switched_back(status: RollbackStatus, result: SwitchResult, now: datetime) -> RollbackStatus:
    """The environment runs again on what it ran on before."""
    both = (status.refused_seconds, result.refused_seconds)
    refused = None if None in both else sum(x for x in both if x is not None)
    fresh = enter(
        status,
        "Resume",
        now,
        position="Old",
        switched_back_at=stamp(now),
        refused_seconds=refused,
        failure_reason=c.SWITCHED_BACK,
        failure_message=(
            f"{status.failure_message} The environment was switched back and runs on what it ran on before."
        ),
    )
    return step(_with_warnings(fresh, _of_switch(result)), Step.SWITCH_BACK, "Done", now)


def switched_by_hand(status: RollbackStatus, position: Position, undo_window: int, now: datetime) -> RollbackStatus:
    """A terminal rollback whose databases were switched by hand. What is not live any more is kept for `undo_window`
    seconds from now."""
    at = stamp(now)
    fresh = change(
        status,
        position=position,
        undo_until=stamp(now + timedelta(seconds=undo_window)),
        cleanup_attempt=0,
        cleanup_after=None,
        switched_at=status.switched_at or at,
        switched_back_at=at if position == "Old" else status.switched_back_at,
    )
    return _turned(fresh, position, "switched by hand")


def _turned(status: RollbackStatus, position: Position, how: str) -> RollbackStatus:
    """A terminal status, where the environment runs on that position since. `how`: what has turned it."""
    if status.phase != "Failed":
        return change(status, phase="SwitchedBack" if position == "Old" else "Complete")
    runs_on = "the snapshot" if position == "New" else "its previous data"
    text = f"{status.failure_message} It was {how} later: the environment runs on {runs_on}."
    return change(status, failure_message=text)


def failing(status: RollbackStatus, reason: str, message: str, now: datetime) -> RollbackStatus:
    """Failed before the switch, or found not switched: stops the Jobs and starts the workloads again."""
    if status.stage == "Preflight":  # nothing has been changed yet
        return ended(change(status, failure_reason=reason, failure_message=message), now, None)
    fresh = enter(status, "Abort", now, failure_reason=reason, failure_message=message)
    if (
        status.stage == "Prepare"
    ):  # announced at most: no workload was scaled, and another rollback may have stopped them
        fresh = change(fresh, workloads=())
    return _stop_steps(fresh, now, message)


def ended(status: RollbackStatus, now: datetime, undo_window: int | None) -> RollbackStatus:
    """Terminal. `undo_window`: seconds for which the previous database, or the one that was switched back, is kept;
    None where there is none."""
    at = stamp(now)
    status = given_back(status)
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


def given_back(status: RollbackStatus) -> RollbackStatus:
    """An undo that ended on what was live before it owns nothing: what is kept belongs to the other Rollback again."""
    if status.undo is None or status.position != "Old":
        return status
    return change(status, residue="None", undo_until=None)


def undone(status: RollbackStatus, by: str) -> RollbackStatus:
    """A finished Rollback that was undone: the environment runs on the other one of its two databases, and nothing that
    is kept is its own."""
    position: Position = "Old" if status.position == "New" else "New"
    fresh = change(
        status, undone_by=by, position=position, residue="None", cleanup_after=None, position_read_began=None
    )
    return _turned(fresh, position, f"undone by Rollback {by}")


def returned(status: RollbackStatus, keep_until: str) -> RollbackStatus:
    """An undo of it was switched back. What it made live for a while is kept longer, because users may have written to
    it."""
    return change(status, undo_until=keep_until)


def already_executed(status: RollbackStatus, now: datetime) -> RollbackStatus:
    """A rollback that has run before was created again, for example by GitOps. Nothing was changed, so nothing remains
    to clean up."""
    fresh = enter(change(status, **_UNTOUCHED, workloads=()), "Ended", now, phase="Complete", completed_at=stamp(now))
    for known in status.steps:
        fresh = step(fresh, Step(known.name), "Skipped", now)
    return fresh


def refused_by_record(status: RollbackStatus, reason: str, message: str, now: datetime) -> RollbackStatus:
    """The restore Job found that the rollback must not run again, before it touched anything. Databases with the
    rollback's names may exist, where spec.id is set: they belong to the earlier run and are not removed."""
    return failing(change(status, **_UNTOUCHED), reason, message, now)


#: Nothing of this rollback exists.
_UNTOUCHED: dict[str, Any] = {"residue": "None", "position": None, "restored_database": None, "previous_database": None}


def cleaned(
    status: RollbackStatus, now: datetime, message: str, *, proven: str = "", warning: str = ""
) -> RollbackStatus:
    """No database or folder of the rollback is left. `proven`, `warning`: about files in the filestore that the
    rollback has left, for the evidence."""
    fresh = change(status, residue="None", cleanup_after=None)
    if proven or warning:
        found = Evidence(proven=(proven,) if proven else (), warnings=(warning,) if warning else ())
        fresh = _with_evidence(fresh, found)
    return step(fresh, Step.CLEANUP, "Done", now, message)


def _stop_steps(status: RollbackStatus, now: datetime, message: str) -> RollbackStatus:
    """The running step becomes Failed and pending ones become Skipped, except Cleanup where something is left to
    remove."""
    for known in status.steps:
        which = Step(known.name)
        if known.state == "Running":
            status = step(status, which, "Failed", now, message)
        elif known.state == "Pending" and (which is not Step.CLEANUP or status.residue != "Pending"):
            status = step(status, which, "Skipped", now)
    return status
