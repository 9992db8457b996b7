"""The one place that turns outcomes into conditions and phase, and that writes a status."""

from typing import TypeVar

from .context import Context
from .errors import Outcome
from .resources import Resource

StatusT = TypeVar("StatusT")


async def write(ctx: Context, obj: Resource, status: StatusT) -> bool:  # type: ignore[type-arg]
    """Writes the status (all but `progress`, `operation`, `executedRollbacks`, which have managers of their own) where it differs from what
    was read. Raises Conflict: the queue reads again. False: nothing changed."""
    raise NotImplementedError


def running(status: StatusT, reason: str, message: str, *, now: str, generation: int) -> StatusT:
    """Reconciling=True, Ready=False(reason)."""
    raise NotImplementedError


def outcome(status: StatusT, end: Outcome, *, now: str, generation: int) -> StatusT:
    """Waiting: Reconciling=True and Ready=False(reason); Stalled: Stalled=True and Ready=False; Failed: Failed=True, Ready=False, neither
    Reconciling nor Stalled, completedAt set."""
    raise NotImplementedError


def complete(status: StatusT, reason: str, message: str, *, now: str, generation: int) -> StatusT:
    """Complete=True and Ready=True; Reconciling, Stalled and Failed absent; completedAt set."""
    raise NotImplementedError
