"""How a Job of a Snapshot is stopped. Pure."""

from typing import Any

from ocore_crds.commands.base import Command
from ocore_crds.commands.table import CHECK_COPY, COPY_REMOTE, DELETE, VERIFY, WRITE_STATE
from ocore_operator.frame import actions
from ocore_operator.snapshot.world import (
    Action,
    StartCheckCopy,
    StartCopy,
    StartDelete,
    StartState,
    StartVerify,
    World,
)

#: Actions that start another attempt at a command.
_ATTEMPTS: dict[type[Action], Command[Any]] = {
    StartDelete: DELETE,
    StartVerify: VERIFY,
    StartState: WRITE_STATE,
    StartCopy: COPY_REMOTE,
    StartCheckCopy: CHECK_COPY,
}


def stop(world: World, name: str) -> Action | None:
    """Stops the Job and waits for its pods; None once nothing of it is left that can act."""
    return actions.stop(world.seen, [name])


def alone(world: World, action: Action) -> Action:
    """The action. Before another attempt at a command, one that has not started in time is stopped: its pod may still
    find its image, its Secret or a node, and two attempts would act at the same time."""
    command = _ATTEMPTS.get(type(action))
    names = world.seen.of_command(command.name) if command is not None else ()
    return actions.stop(world.seen, names, with_ended=False) or action
