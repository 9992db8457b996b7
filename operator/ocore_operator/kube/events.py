"""Events on our objects. Best effort: an Event that cannot be written never stops a reconcile."""

import asyncio
import hashlib
from collections import OrderedDict
from datetime import datetime
from typing import Literal

import structlog

from ocore_crds.text.sentences import sentence, shortened_bytes
from ocore_kube.errors import ApiError
from ocore_kube.types import EVENTS
from ocore_operator import clock
from ocore_operator.kube.client import Kube
from ocore_operator.kube.resources import Object, Resource

COMPONENT = "ocore-operator"
#: Bytes of an Event's message that the API server accepts.
MAX_MESSAGE = 1024
#: Seconds in which the same Event on the same object is not written again.
REPEAT_AFTER = 600.0
#: Events remembered for that, and Events that are written at the same time.
REMEMBERED = 2000
IN_FLIGHT = 200

_log = structlog.get_logger()


def build(
    obj: Resource,  # type: ignore[type-arg]
    type_: Literal["Normal", "Warning"],
    reason: str,
    message: str,
    now: datetime,
) -> Object:
    """The Event as JSON for the API server."""
    text = shortened_bytes(sentence(message), MAX_MESSAGE)
    digest = hashlib.sha256(f"{obj.meta.uid}{reason}{message}{clock.micro(now)}".encode()).hexdigest()[:16]
    moment = clock.text(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{obj.meta.name[:200]}.{digest}", "namespace": obj.meta.namespace},
        "involvedObject": {
            "apiVersion": obj.kind.api_version,
            "kind": obj.kind.kind,
            "namespace": obj.meta.namespace,
            "name": obj.meta.name,
            "uid": obj.meta.uid,
        },
        "type": type_,
        "reason": reason,
        "message": text,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


class Recorder:
    """Writes Events in the background."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._recent: OrderedDict[tuple[str, str, str], datetime] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def record(self, obj: Resource, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:  # type: ignore[type-arg]
        """Starts to write the Event. Reasons are those of ocore_crds.conditions, and verbs such as Restored."""
        now = clock.now()
        key = (obj.meta.uid, reason, message)
        last = self._recent.get(key)
        if (last is not None and (now - last).total_seconds() < REPEAT_AFTER) or len(self._tasks) >= IN_FLIGHT:
            return
        self._recent[key] = now
        self._recent.move_to_end(key)
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        task = asyncio.create_task(self._write(build(obj, type_, reason, message, now)), name="event")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, event: Object) -> None:
        try:
            await self._kube.create(EVENTS, event)
        except ApiError as error:
            _log.debug("event not written", reason=event["reason"], error=str(error))

    async def flush(self, seconds: float) -> None:
        """Waits for the Events that are being written, at most `seconds`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
