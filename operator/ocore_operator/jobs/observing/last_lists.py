"""The last lists of the Jobs and pods of the objects that are being reconciled, until the watch speaks of one of them.

Only a decision to wait may rest on them. Whatever acts lists first (``loop.run``). So what is out of date
here only costs time. After AGE seconds they are listed again, whatever the watch reports.

Nothing is kept of an object that is not being reconciled, or that has too many Jobs or too large ones: a tenant can
create both.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ocore_crds import naming
from ocore_operator.kube.resources import Object

#: Seconds in which decisions may rest on a list.
AGE = 10.0
#: Jobs and pods of one object, and bytes of them as JSON, that are kept at most.
OBJECTS, BYTES = 64, 256 * 1024
#: Bytes that are kept of all objects together.
TOTAL_BYTES = 32 * 1024 * 1024


@dataclass
class Lists:
    """One object's Jobs and pods as they were listed. `jobs` None: they are being listed."""

    namespace: str
    since: float
    jobs: Sequence[Object] | None = None
    pods: Sequence[Object] = ()
    size: int = 0


class Remembered:
    """All lists, by the uid of the object whose Jobs they are. All methods belong to the event loop's thread."""

    def __init__(self, running: Callable[[str], bool], now: Callable[[], float] = time.monotonic) -> None:
        """`running`: whether the namespace's watch runs."""
        self._running = running
        self._now = now
        self._lists: OrderedDict[str, Lists] = OrderedDict()  # the oldest first
        self._size = 0

    def begin(self, uid: str, namespace: str) -> Lists:
        """To be called before the Jobs and pods of the object are listed."""
        self.changed(uid)
        now = self._now()
        while self._lists and next(iter(self._lists.values())).since <= now - AGE:
            self.changed(next(iter(self._lists)))
        found = self._lists[uid] = Lists(namespace, now)
        return found

    def keep(self, uid: str, begun: Lists, jobs: Sequence[Object], pods: Sequence[Object]) -> None:
        """Keeps what was listed since `begin`; not where something has changed since then, or where it is too large."""
        if self._lists.get(uid) is not begun:
            return
        begun.jobs, begun.pods = jobs, pods
        begun.size = len(json.dumps([*jobs, *pods]))
        self._size += begun.size
        if begun.size > BYTES or len(jobs) + len(pods) > OBJECTS:
            self.changed(uid)
        while self._size > TOTAL_BYTES:
            self.changed(next(iter(self._lists)))

    def of(self, uid: str) -> Lists | None:
        """What was listed of the object; None where it must be listed."""
        found = self._lists.get(uid)
        if found is None or found.jobs is None or not self._running(found.namespace):
            return None
        return found if self._now() - found.since < AGE else None

    def changed(self, uid: str) -> None:
        """One of the object's Jobs or pods has changed, or the operator has tried to: they must be listed."""
        gone = self._lists.pop(uid, None)
        if gone is not None:
            self._size -= gone.size

    def heard(self, obj: Object) -> None:
        """An event of the watch about a Job or pod. Not of another namespace: anyone who may create Jobs there can name
        the object as their owner, and would make it list again and again."""
        meta = obj["metadata"]
        uid = str((meta.get("labels") or {}).get(naming.LABEL_UID))
        found = self._lists.get(uid)
        if found is not None and meta["namespace"] == found.namespace:
            self.changed(uid)
