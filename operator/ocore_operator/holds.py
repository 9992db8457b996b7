"""One operation per environment: ``Environment.status.operation`` as a lock that is set by compare and swap."""

from .context import Context
from .resources import Environment, Rollback, Snapshot


async def acquire(ctx: Context, environment: Environment, owner: Snapshot | Rollback) -> None:
    """Returns once `owner` holds the environment (also when it did already). Raises Waiting(WaitingForOperation) with the holder's name,
    or the name of an older operation that waits too: the oldest goes first (creationTimestamp, then uid)."""
    raise NotImplementedError


async def release(ctx: Context, namespace: str, environment_name: str, owner: Snapshot | Rollback) -> None:
    """Gives the hold back and wakes those that wait. Does nothing where `owner` does not hold it."""
    raise NotImplementedError


def holds(environment: Environment, owner: Snapshot | Rollback) -> bool:
    """Whether `owner` is the holder."""
    operation = environment.status.operation
    return operation is not None and operation.uid == owner.meta.uid
