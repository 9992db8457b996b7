"""Between two Jobs of a Snapshot: the pause after one, and how one is stopped. Pure."""

from ocore_operator import clock
from ocore_operator.jobs.outcome import finished
from ocore_operator.snapshot.world import Action, Idle, Stop, World

#: Seconds between two checks whether a Job has stopped.
STOP_PAUSE = 1.0


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
