"""The operator's own failpoints: armed by an object's annotation, and only where OCORE_ALLOW_FAILPOINTS is set.

A failpoint that an annotation arms fires once per object, not once per process: a mark in a folder that outlives the
container prevents the next process from dying at the same place. A delay fires each time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from ocore_crds import failpoints, naming
from ocore_kube.errors import Unavailable
from ocore_operator.context import Context
from ocore_operator.kube.resources import Resource

_log = structlog.get_logger()


async def hit(ctx: Context, obj: Resource, name: str) -> None:  # type: ignore[type-arg]
    """Fires the failpoint where it is armed and has not fired yet, a delay each time."""
    if not ctx.settings.allow_failpoints:
        return
    armed = failpoints.for_attempt(obj.meta.annotations.get(naming.ANNOTATION_FAILPOINTS, ""), 1)
    action = failpoints.parse(armed).get(name)
    mark = ctx.settings.failpoint_marks / f"failpoint-{obj.meta.uid}-{name}"
    if action is None or (mark.exists() and not failpoints.repeats(action)):
        return
    mark.touch()
    _log.warning("failpoint", failpoint=name, action=action, namespace=obj.meta.namespace, name=obj.meta.name)
    await asyncio.sleep(failpoints.begin(name, action))


@asynccontextmanager
async def after(ctx: Context, obj: Resource, name: str) -> AsyncIterator[None]:  # type: ignore[type-arg]
    """Fires the failpoint (none where `name` is empty) after what is done inside, also where the answer to its request
    was lost: it may be done, and then the next observation continues from there and never comes here again."""
    try:
        yield
    except Exception as error:
        if name and isinstance(error.__cause__ or error, Unavailable):
            await hit(ctx, obj, name)
        raise
    if name:
        await hit(ctx, obj, name)
