"""All handlers of kopf. Decorators only: what a handler does is in dispatch.py and login.py.

kopf watches, and calls these; retries, delays and back-off are in queue.py (why: docs/decisions/0005-what-kopf-does.md).
"""

from collections.abc import Callable
from typing import Any

import kopf

from ocore_crds.base import GROUP, VERSION
from ocore_operator.engine import dispatch
from ocore_operator.engine.dispatch import Dispatch


def registry(to: Dispatch, login: Callable[[], kopf.ConnectionInfo]) -> kopf.OperatorRegistry:
    """The handlers of one operator."""
    found = kopf.OperatorRegistry()

    @kopf.on.startup(registry=found)
    async def _startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        dispatch.configure(settings)

    @kopf.on.login(registry=found)
    def _login(**_: Any) -> kopf.ConnectionInfo:
        return login()

    for kind, plural in to.kinds():

        @kopf.on.event(GROUP, VERSION, plural, registry=found, id=f"on-{kind}", param=kind)
        async def _object(event: Any, param: Any = None, **_: Any) -> None:
            to.changed(param, event["type"], event["object"])

    @kopf.on.event("batch", "v1", "jobs", registry=found, id="on-job")
    async def _job(event: Any, **_: Any) -> None:
        to.job_changed(event["object"], deleted=event["type"] == "DELETED")

    @kopf.on.event("", "v1", "pods", registry=found, id="on-pod")
    async def _pod(event: Any, **_: Any) -> None:
        to.pod_changed(event["object"])

    return found
