"""The loop of a reconcile: observe, decide on one action, carry it out, observe again. No I/O of its own.

A crash can only fall between two actions. The next reconcile observes the world as it then is and continues from there.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

WorldT = TypeVar("WorldT")
ActionT = TypeVar("ActionT")


@dataclass(frozen=True)
class Requeue:
    """Ends this reconcile. `after`: seconds until the next one; None: when the object or one of its Jobs changes."""

    after: float | None = None


@dataclass(frozen=True)
class Note:
    """An Event to record on the object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


async def run(
    name: str,
    observe: Callable[[], Awaitable[WorldT | None]],
    decide: Callable[[WorldT], ActionT],
    carry_out: Callable[[WorldT, ActionT], Awaitable[Requeue | None]],
    *,
    max_actions: int,
) -> float | None:
    """Seconds until the next reconcile; None: when something changes.

    `observe` returns None where the object is gone or needs no reconcile. `carry_out` returns None to observe again.
    Raises RuntimeError after `max_actions` actions: then two actions undo each other. `name` is for that error.
    """
    for _ in range(max_actions):
        world = await observe()
        if world is None:
            return None
        end = await carry_out(world, decide(world))
        if end is not None:
            return end.after
    raise RuntimeError(f"{name}: no end after {max_actions} actions in one reconcile; its actions undo each other")
