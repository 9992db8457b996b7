"""A Rollback that is Complete, and what its plan decides while the previous database is kept."""

from dataclasses import replace

from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_operator.frame.actions import Record
from ocore_operator.rollback import plan
from ocore_operator.rollback.transitions import change, stamp
from ocore_operator.rollback.world import Action, OperationLock, World
from support.operator.rollback_model import ENVIRONMENT_ID, START
from support.operator.rollback_objects import environment, time_at
from support.operator.rollback_seen import altered_environment

#: Seconds of the undo window.
WINDOW = 86400
SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s"}, "undoWindowSeconds": WINDOW})
VIEW = altered_environment(environment([]), id=ENVIRONMENT_ID)
FREE = World(created=START, environment=VIEW, snapshot=None, finalizer=True, executed=True)
LOCKED = replace(FREE, lock=OperationLock("Ours", "Rollback r1", START))


def complete(**changes: object) -> RollbackStatus:
    """Complete at START, with the previous database kept for the undo window."""
    status = RollbackStatus(
        stage="Ended",
        stage_since=stamp(START),
        phase="Complete",
        position="New",
        residue="Pending",
        environment_id=ENVIRONMENT_ID,
        snapshot_name="s",
        switched_at=stamp(START),
        completed_at=stamp(START),
        undo_until=stamp(time_at(WINDOW)),
        previous_database="shop_prev_0a1b2c3d",
        restored_database="shop_rb_0a1b2c3d",
    )
    return change(status, **changes)


def decide(status: RollbackStatus, world: World, seconds: float) -> Action:
    """The action so many seconds after START."""
    return plan.decide(status, SPEC, world, "id", time_at(seconds))


def recorded(action: Action) -> RollbackStatus:
    """The status that the action records."""
    assert isinstance(action, Record), action
    return action.status
