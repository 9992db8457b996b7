"""The sweep of a SnapshotStore: one action at a time.

``observe.py`` reads, ``plan.py`` decides (pure, with ``orphans.py``), ``effects.py`` carries out.
"""

from functools import partial

from ocore_operator.context import Context
from ocore_operator.frame import loop
from ocore_operator.kube.resources import Store
from ocore_operator.sweep import plan
from ocore_operator.sweep.effects import carry_out
from ocore_operator.sweep.observe import observe


async def once(ctx: Context, store: Store) -> float | None:
    """One action of the sweep. Where what its Job needs is missing, the next probe reports it."""
    return await loop.run(
        f"sweep {store.key}",
        lambda _: observe(ctx, store),
        plan.decide,
        partial(carry_out, ctx),
        refused=loop.refused,
    )
