"""The entry points of kopf: thin handlers that put keys into the work queue.

kopf watches and nothing more: handlers of ``on.event`` put no finalizers and no annotations on objects, and nothing is patched. What a
watch misses the resync finds (resync.py).
"""

import logging
from collections.abc import Callable
from typing import Any

import kopf

from ocore_crds import naming
from ocore_crds.base import GROUP, VERSION
from ocore_operator.context import Context
from ocore_operator.engine.kinds import RECONCILERS
from ocore_operator.jobs.limits import owner_of
from ocore_operator.jobs.outcome import finished
from ocore_operator.kube.resources import Key, Object

OURS = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}"
#: Seconds: a watch is opened anew at least this often, so that a connection that is dead on one side is noticed.
SERVER_TIMEOUT = 50
#: Seconds without any event or bookmark after which a watch is opened anew.
INACTIVITY = 60.0


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf as a mere watcher."""
    settings.posting.enabled = False
    settings.posting.level = logging.CRITICAL
    settings.scanning.disabled = True  # main.py has waited for our kinds; CRDs and namespaces need not be watched
    settings.peering.standalone = True  # the Lease is ours
    settings.watching.server_timeout = SERVER_TIMEOUT
    settings.watching.client_timeout = SERVER_TIMEOUT + 10
    settings.watching.inactivity_timeout = INACTIVITY
    settings.watching.connect_timeout = 5
    settings.watching.reconnect_backoff = 1
    settings.networking.request_timeout = 20
    settings.networking.connect_timeout = 5
    for resource in (("batch", "v1", "jobs"), ("", "v1", "pods")):
        settings.watching.label_selectors[resource] = OURS


def registry(ctx: Context, login: Callable[[], kopf.ConnectionInfo]) -> kopf.OperatorRegistry:
    """The handlers."""
    found = kopf.OperatorRegistry()

    @kopf.on.login(registry=found)
    def _login(**_: Any) -> kopf.ConnectionInfo:
        return login()

    for kind, reconciler in RECONCILERS.items():

        @kopf.on.event(GROUP, VERSION, reconciler.type.plural, registry=found, id=f"on-{kind}", param=kind)
        async def _ours(event: Any, param: Any = None, **_: Any) -> None:
            seen(ctx, param, event["type"], event["object"])

    @kopf.on.event("batch", "v1", "jobs", registry=found, id="on-job")
    async def _job(event: Any, **_: Any) -> None:
        child(ctx, event["object"], ended=event["type"] == "DELETED")

    @kopf.on.event("", "v1", "pods", registry=found, id="on-pod")
    async def _pod(event: Any, **_: Any) -> None:
        child(ctx, event["object"], ended=False)

    return found


def seen(ctx: Context, kind: str, type_: str | None, obj: Object) -> None:
    """One of ours was created, changed or deleted."""
    key = Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
    if type_ == "DELETED":
        ctx.catalog.remove(key, obj["metadata"]["uid"])
        ctx.queue.forget(key)
        ctx.queue.add(key)
        return
    old = ctx.catalog.get(key)
    new = ctx.catalog.put(kind, obj)
    if (old is not None and old.version >= new.version and old.uid == new.uid and type_ is not None) or (
        RECONCILERS[kind].settled(obj)
    ):
        return
    ctx.queue.add(key)


def child(ctx: Context, obj: Object, *, ended: bool) -> None:
    """A Job or a pod of ours changed: its owner is looked at, and where a Job ended those that wait for its place."""
    try:
        ctx.queue.add(owner_of(obj))
    except KeyError:
        return  # somebody else's, with our label
    if ended or (obj.get("kind") == "Job" and finished(obj)):
        for waiting in ctx.limits.waiters():
            ctx.queue.add(waiting)
