"""Between two Jobs of a Snapshot: the pause after one, and how one is stopped. Pure."""

from typing import Any

from ocore_crds.commands.table import CHECK_COPY, COPY_REMOTE, DELETE, VERIFY, WRITE_STATE, Command
from ocore_operator import clock
from ocore_operator.jobs.outcome import finished, mover_ended, pod_ended
from ocore_operator.snapshot.world import (
    Action,
    Idle,
    StartCheckCopy,
    StartCopy,
    StartDelete,
    StartState,
    StartVerify,
    Stop,
    World,
)

#: Seconds between two checks whether a Job has stopped.
STOP_PAUSE = 1.0

#: Actions that start another attempt at a command.
_ATTEMPTS: dict[type[Action], Command[Any]] = {
    StartDelete: DELETE,
    StartVerify: VERIFY,
    StartState: WRITE_STATE,
    StartCopy: COPY_REMOTE,
    StartCheckCopy: CHECK_COPY,
}


def pause_left(world: World, pause: float, ended: str) -> float:
    """Seconds of the pause that are left since a Job ended."""
    return pause - clock.seconds_since(ended, world.now) if ended else 0.0


def stop(world: World, name: str) -> Action | None:
    """Stops the Job and waits for its pods; None once nothing of it is left that can act. One that has ended is kept
    for its log."""
    job, lives = world.seen.jobs.get(name), world.seen.live_pods(name)
    if not lives and (job is None or finished(job) is not None):
        return None
    return Idle(STOP_PAUSE) if job is None or world.seen.stopping(name) else Stop(name)


def alone(world: World, action: Action) -> Action:
    """The action. Before another attempt at a command, one that has not started in time is stopped: its pod may still
    find its image, its Secret or a node, and two attempts would act at the same time."""
    command = _ATTEMPTS.get(type(action))
    names = world.seen.of_command(command.name) if command is not None else ()
    stops = (stop(world, name) for name in names if not _ended(world, name))
    return next((each for each in stops if each is not None), action)


def _ended(world: World, name: str) -> bool:
    """Whether the Job's program has ended, also where neither the Job nor its pod shows it yet. Such a Job is kept: the
    number of the next attempt is one more than that of the last Job."""
    pods = world.seen.pods.get(name, ())
    return bool(pods) and all(pod_ended(pod) or mover_ended(pod) for pod in pods)
