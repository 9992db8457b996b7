"""All handlers of kopf. Decorators only: what a handler does is in dispatch.py and login.py. `call` runs it in the main
event loop (watch.py).

kopf watches, and calls these; retries, delays and back-off are in queue.py (why:
docs/decisions/0005-what-kopf-does.md).
"""

from collections.abc import Callable
from typing import Any

import kopf
from kopf._core.reactor.inventory import ResourceMemories

from ocore_crds.group import GROUP, VERSION
from ocore_operator.engine import dispatch, listing
from ocore_operator.engine.dispatch import Dispatch


class Forgetful(ResourceMemories):
    """What kopf remembers of each object for its handlers: nothing. Ours have no memory, and 20,000 Snapshots would
    take some 50 MB."""

    async def recall(self, raw_body: Any, **options: Any) -> Any:
        """A memory for one event."""
        return await super().recall(raw_body, **{**options, "ephemeral": True})


def registry(
    to: Dispatch, login: Callable[[], kopf.ConnectionInfo], call: Callable[..., object]
) -> kopf.OperatorRegistry:
    """The handlers of the watches of one namespace."""
    listing.install()
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
            call(to.changed, to.news(param, event["type"], event["object"]))

    @kopf.on.event("batch", "v1", "jobs", registry=found, id="on-job")
    async def _job(event: Any, **_: Any) -> None:
        call(to.job_changed, event["object"], event["type"] == "DELETED")

    @kopf.on.event("", "v1", "pods", registry=found, id="on-pod")
    async def _pod(event: Any, **_: Any) -> None:
        call(to.pod_changed, event["object"], event["type"] == "DELETED")

    return found
