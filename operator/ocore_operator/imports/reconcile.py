"""The import of a SnapshotStore: one action at a time.

``observe.py`` reads, ``plan.py`` decides (pure, with ``rules.py`` and ``rollbacks.py``), ``effects.py`` carries out;
``pages.py`` creates the objects of a page.
"""

from functools import partial

from ocore_operator.context import Context
from ocore_operator.frame import loop
from ocore_operator.imports import plan
from ocore_operator.imports.effects import carry_out
from ocore_operator.imports.observe import observe
from ocore_operator.imports.pages import Memories
from ocore_operator.kube.resources import Store


async def once(memories: Memories, ctx: Context, store: Store) -> float | None:
    """One action of the import, where the store is to be imported. Where what its Job needs is missing, the next probe
    reports it."""
    if not store.spec.import_:
        return None
    return await loop.run(
        f"import {store.key}",
        lambda _: observe(ctx, store),
        plan.decide,
        partial(carry_out, memories, ctx),
        refused=loop.refused,
    )
