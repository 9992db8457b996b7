"""Snapshot: observe, decide on one action, carry it out, observe again.

``observe.py`` reads, ``plan.py`` and its parts decide (pure), ``effects.py`` carries out, ``transitions.py`` makes the
statuses.
"""

from functools import partial

from ocore_operator import reconcile_loop
from ocore_operator.context import Context
from ocore_operator.kube.resources import Key
from ocore_operator.snapshot.effects import carry_out
from ocore_operator.snapshot.observe import observe
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.world import Action, Wait, World

#: Actions of one reconcile.
MAX_ACTIONS = 30


async def reconcile(ctx: Context, key: Key) -> float | None:
    """Reconciles a Snapshot; seconds until the next reconcile, None: when something changes."""
    return await reconcile_loop.run(
        str(key),
        partial(observe, ctx, key),
        decide,
        partial(carry_out, ctx),
        may_rest=may_rest,
        refused=reconcile_loop.refused,
        max_actions=MAX_ACTIONS,
    )


def may_rest(world: World, action: Action) -> bool:
    """Whether the action may rest on that world: Jobs and pods were listed for it, or it only waits."""
    return isinstance(action, Wait) or not world.remembered
