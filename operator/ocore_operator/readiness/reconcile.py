"""Environment and SnapshotStore: observe, decide on one action, carry it out, observe again.

``observe.py`` reads; ``plan_environment.py`` and ``plan_store.py``, with ``plan_probe.py`` for what both do, decide
(pure); ``effects.py`` carries out; ``verdict.py`` makes the conditions of an Environment.
"""

from functools import partial

from ocore_operator.context import Context
from ocore_operator.frame import loop
from ocore_operator.kube.resources import Key
from ocore_operator.readiness import observe, plan_environment, plan_store
from ocore_operator.readiness.effects import carry_out_environment, carry_out_store, refused


async def environment(ctx: Context, key: Key) -> float | None:
    """Reconciles an Environment; seconds until the next reconcile, None: when something changes."""
    return await loop.run(
        str(key),
        lambda _: observe.environment(ctx, key),
        plan_environment.decide,
        partial(carry_out_environment, ctx),
        refused=refused,
    )


async def store(ctx: Context, key: Key) -> float | None:
    """Reconciles a SnapshotStore; seconds until the next reconcile, None: when something changes."""
    return await loop.run(
        str(key),
        lambda _: observe.store(ctx, key),
        plan_store.decide,
        partial(carry_out_store, ctx),
        refused=refused,
    )
