"""Snapshot: observe, decide on one action, carry it out, observe again.

``observe.py`` reads, ``plan.py`` and its parts decide (pure), ``effects.py`` carries out, ``transitions.py`` makes the
statuses.
"""

from functools import partial

from ocore_operator.context import Context
from ocore_operator.frame import loop
from ocore_operator.kube.resources import Key
from ocore_operator.snapshot.effects import carry_out
from ocore_operator.snapshot.observe import observe
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.plan_restore_test import refused


async def reconcile(ctx: Context, key: Key) -> float | None:
    """Reconciles a Snapshot; seconds until the next reconcile, None: when something changes."""
    return await loop.run(
        str(key),
        partial(observe, ctx, key),
        decide,
        partial(carry_out, ctx),
        may_rest=loop.may_rest,
        refused=refused,
    )
