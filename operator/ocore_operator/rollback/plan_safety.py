"""createSafetySnapshot: a Snapshot of the environment, Complete before the switch. Pure.

It is created beside the restore and runs under the rollback's operation lock. Its name is derived from the Rollback's
uid, so a restarted operator finds it. The stage Await comes before the switch Job: it waits until the Snapshot is
Complete. A Snapshot that fails or is deleted ends the rollback, with nothing changed. Where the rollback is aborted,
the Snapshot is cancelled unless it is Complete.
"""

from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.protocol import Step
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_operator.frame.actions import Note, Record, Wait
from ocore_operator.kube.resources import Environment, Snapshot
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.snapshot_and_environment import is_complete, is_snapshot_ready
from ocore_operator.rollback.transitions import failing, saved_by, saving, state_of
from ocore_operator.rollback.world import Action, CancelSafetySnapshot, CreateSafetySnapshot, Do, World


def refusal(spec: RollbackSpec, environment: Environment) -> Refusal | None:
    """Why no Snapshot of the environment would be Complete; None where one would, or none is asked for."""
    if not spec.create_safety_snapshot or is_snapshot_ready(environment):
        return None
    ready = c.find(environment.status.conditions, c.READY)
    reason = ready.reason if ready is not None else c.ENVIRONMENT_NOT_READY
    why = ready.message if ready is not None else "its condition Ready is not True"
    advice = "Fix that, or create a Rollback without createSafetySnapshot."
    if reason in (c.DATABASE_NOT_FOUND, c.DATABASE_EMPTY):
        advice = "There is nothing to save: create a Rollback without createSafetySnapshot."
    return Refusal(
        reason, f"No safety snapshot of environment {environment.meta.name} is possible: {why.rstrip('.')}. {advice}"
    )


def advance(status: RollbackStatus, spec: RollbackSpec, world: World, now: datetime) -> Action | None:
    """The next action of the safety snapshot at the stages Restore and Await; None: nothing to do now, or none is asked
    for."""
    if not spec.create_safety_snapshot or complete(status):
        return None
    found, known = world.safety, status.safety_snapshot_id
    if found is None and known is None:
        return Do(CreateSafetySnapshot(), after="operator-rollback-safety-created")
    if found is None or found.meta.deleted is not None or (known is not None and found.meta.uid != known):
        text = (
            f"Safety snapshot {status.safety_snapshot_name or world.safety_name} was deleted before the switch. The"
            " environment is as it was."
        )
        return _failed(status, text, now)
    if not world.owns_safety:
        text = (
            f"Snapshot {found.meta.name} exists and does not belong to this Rollback, so no safety snapshot can be"
            " taken. The environment is as it was. Delete that Snapshot, then create a new Rollback."
        )
        return _failed(status, text, now)
    if _has_failed(found):
        text = f"Safety snapshot {found.meta.name} failed: {_message(found)} The environment is as it was."
        return _failed(status, text, now)
    if known is None:
        note = Note("Normal", "SafetySnapshot", f"Snapshot {found.meta.name} saves the environment before the switch.")
        return Record(saving(status, found.meta.name, found.meta.uid, now), (note,))
    if _has_completed(found):
        at = found.status.consistent_at or ""
        note = Note("Normal", "SafetySnapshotComplete", f"Safety snapshot {found.meta.name} shows {at}.")
        return Record(saved_by(status, at, now), (note,), before="operator-rollback-safety-complete")
    return None


def _failed(status: RollbackStatus, text: str, now: datetime) -> Record[RollbackStatus]:
    fresh = failing(status, c.SAFETY_SNAPSHOT_FAILED, text, now)
    return Record(fresh, (Note("Warning", c.SAFETY_SNAPSHOT_FAILED, text),))


def complete(status: RollbackStatus) -> bool:
    """Whether the safety snapshot was Complete."""
    return state_of(status, Step.SAFETY_SNAPSHOT) == "Done"


def waits(spec: RollbackSpec, status: RollbackStatus) -> bool:
    """Whether the switch Job may not start yet."""
    return spec.create_safety_snapshot and not complete(status)


def wait(world: World) -> Wait:
    """For the Snapshot, with what it waits for."""
    found = world.safety
    name, message = (found.meta.name, _message(found)) if found is not None else (world.safety_name, "")
    return Wait(2, c.WAITING_FOR_SNAPSHOT, f"Waiting until safety snapshot {name} is Complete. {message}".strip())


def cancel(world: World) -> Action | None:
    """What to do with the Snapshot of an aborted rollback; None: it is Complete, has ended, or there is none. A
    Complete one is kept."""
    found = world.safety
    if found is None or not world.owns_safety or _has_completed(found) or _has_failed(found):
        return None
    if found.meta.deleted is None:
        return Do(CancelSafetySnapshot(found))
    return Wait(1, c.RUNNING, f"Waiting until safety snapshot {found.meta.name} is stopped.")


def _has_completed(snapshot: Snapshot) -> bool:
    return is_complete(snapshot) and snapshot.status.phase != "Corrupt"


def _has_failed(snapshot: Snapshot) -> bool:
    return c.is_true(snapshot.status.conditions, c.FAILED) or snapshot.status.phase == "Corrupt"


def _message(snapshot: Snapshot) -> str:
    """What it waits for, or why it failed."""
    found = (c.find(snapshot.status.conditions, type_) for type_ in (c.FAILED, c.STALLED, c.RECONCILING))
    return next((condition.message for condition in found if condition is not None), "")
