"""The loop of a reconcile: observe, decide on one action, carry it out, observe again. No I/O of its own.

A crash can only fall between two actions. The next reconcile observes the world as it then is and continues from there.

The first observation may take Jobs and pods from the last lists (``jobs/observing/last_lists.py``). Only a decision to
wait may rest on that: it writes what is waited for, the Job's name and the steps of its log, and nothing else. For any
other decision, Jobs and pods are listed, and the plan decides again. So nothing is created, deleted, switched, resumed,
released or recorded because of old data.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from ocore_operator.errors import Outcome
from ocore_operator.frame.actions import Wait

WorldT = TypeVar("WorldT")
ActionT = TypeVar("ActionT")


#: Actions of one reconcile, at most. The longest chain of a plan is far shorter.
MAX_ACTIONS = 60


@dataclass(frozen=True)
class Requeue:
    """Ends this reconcile. `after`: seconds until the next one; None: when the object or one of its Jobs changes."""

    after: float | None = None


@dataclass(frozen=True)
class Follow(Generic[WorldT]):
    """The next decision is made in this world: what was observed, with what was written since. `may_rest` says which
    action may rest on it."""

    world: WorldT


class Remembering(Protocol):
    """A world that may have been observed from the last lists."""

    @property
    def remembered(self) -> bool:
        """Whether its Jobs come from the last lists."""


def may_rest(world: Remembering, action: object) -> bool:
    """Whether the action may rest on that world: Jobs and pods were listed for it, or it only waits."""
    return isinstance(action, Wait) or not world.remembered


def refused(world: Any, _: object, refusal: Outcome) -> Any:
    """The world in which the action could not be carried out."""
    return replace(world, refusal=refusal)


async def run(
    name: str,
    observe: Callable[[bool], Awaitable[WorldT | None]],
    decide: Callable[[WorldT], ActionT],
    carry_out: Callable[[WorldT, ActionT], Awaitable[Requeue | Follow[WorldT] | None]],
    *,
    may_rest: Callable[[WorldT, ActionT], bool] = lambda _, __: True,
    refused: Callable[[WorldT, ActionT, Outcome], WorldT] | None = None,
    max_actions: int = MAX_ACTIONS,
) -> float | None:
    """Seconds until the next reconcile; None: when something changes.

    `observe` gets whether Jobs and pods must be listed, and returns None where the object is gone or needs no
    reconcile. `carry_out` returns None to observe again. `may_rest`: whether the action may rest on that world; where
    not, Jobs and pods are listed for it. `refused`: where the action cannot be carried out now, the plan decides in
    that world what this means. Raises RuntimeError after `max_actions` actions: then two actions undo each other.
    `name` is for that error.
    """
    world = await observe(False)
    for _ in range(max_actions):
        if world is None:
            return None
        action = decide(world)
        if not may_rest(world, action):
            world = await observe(True)
            if world is None:
                return None
            action = decide(world)
        try:
            end = await carry_out(world, action)
        except Outcome as refusal:
            if refused is None:
                raise
            world = refused(world, action, refusal)
            continue
        if isinstance(end, Requeue):
            return end.after
        world = end.world if end is not None else await observe(True)
    raise RuntimeError(f"{name}: no end after {max_actions} actions in one reconcile; its actions undo each other")
