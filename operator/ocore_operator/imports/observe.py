"""Reads what the decisions of an import depend on."""

from ocore_kube.types import ENVIRONMENTS
from ocore_operator.context import Context
from ocore_operator.imports import plan, rules
from ocore_operator.imports.world import World
from ocore_operator.jobs import lifecycle
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Environment, Store


async def observe(ctx: Context, store: Store) -> World:
    """What an import depends on."""
    places = rules.places(await _environments(ctx, store))
    wanted = plan.is_running(store.status.import_)
    seen = await lifecycle.observe(ctx, store) if wanted else lifecycle.no_jobs(ctx)
    return World(store, ctx.now(), seen, places)


async def _environments(ctx: Context, store: Store) -> list[Environment]:
    """Those of the namespace whose id is their own: one with the id of an older Environment gets nothing."""
    listed = await ctx.kube.list(ENVIRONMENTS, store.meta.namespace)
    parsed = [resources.environment(obj) for obj in listed]
    return [e for e in parsed if ctx.catalog.elder(e.key) is None]
