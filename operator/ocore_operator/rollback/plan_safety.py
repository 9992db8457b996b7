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
from ocore_operator.kube.resources import Environment
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.snapshot_and_environment import is_snapshot_ready
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
    if found is None or found.deleting or (known is not None and found.uid != known):
        text = (
            f"Safety snapshot {status.safety_snapshot_name or world.safety_name} was deleted before the switch. The"
            " environment is as it was."
        )
        return _failed(status, text, now)
    if not found.ours:
        text = (
            f"Snapshot {found.name} exists and does not belong to this Rollback, so no safety snapshot can be taken."
            " The environment is as it was. Delete that Snapshot, then create a new Rollback."
        )
        return _failed(status, text, now)
    if found.failed:
        text = f"Safety snapshot {found.name} failed: {found.message} The environment is as it was."
        return _failed(status, text, now)
    if known is None:
        note = Note("Normal", "SafetySnapshot", f"Snapshot {found.name} saves the environment before the switch.")
        return Record(saving(status, found.name, found.uid, now), (note,))
    if found.complete:
        note = Note("Normal", "SafetySnapshotComplete", f"Safety snapshot {found.name} shows {found.consistent_at}.")
        return Record(saved_by(status, found.consistent_at, now), (note,), before="operator-rollback-safety-complete")
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
    name, message = (found.name, found.message) if found is not None else (world.safety_name, "")
    return Wait(2, c.WAITING_FOR_SNAPSHOT, f"Waiting until safety snapshot {name} is Complete. {message}".strip())


def cancel(world: World) -> Action | None:
    """What to do with the Snapshot of an aborted rollback; None: it is Complete, has ended, or there is none. A
    Complete one is kept."""
    found = world.safety
    if found is None or not found.ours or found.complete or found.failed:
        return None
    if not found.deleting:
        return Do(CancelSafetySnapshot(found))
    return Wait(1, c.RUNNING, f"Waiting until safety snapshot {found.name} is stopped.")
