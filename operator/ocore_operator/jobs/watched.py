"""The Jobs and pods of the objects that are being reconciled: their last list, with the later events of the watch.

Only a decision to wait may rest on this. Whatever acts lists them first (``reconcile_loop.run``), and rests on the
lists alone. So what is out of date here only costs time. After AGE seconds they are listed again, whatever the watch
reports.

Nothing is kept of an object that is not being reconciled, or that has too many Jobs or too large ones: a tenant can
create both.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ocore_crds import naming
from ocore_kube.types import Type
from ocore_operator.kube.client import Listed
from ocore_operator.kube.resources import Object
from ocore_operator.kube.slim import slim

#: Seconds in which decisions may rest on a list and the events after it.
AGE = 10.0
#: Jobs and pods of one object, deleted ones included, and bytes of them as JSON, that are kept at most.
OBJECTS, BYTES = 64, 256 * 1024
#: Bytes that are kept of all objects together.
TOTAL_BYTES = 32 * 1024 * 1024


@dataclass
class _Known:
    """The newest that is known of one Job or pod. `obj` None: it is deleted."""

    version: int
    obj: Object | None
    size: int


@dataclass
class Reading:
    """What is known of one object's Jobs and pods. Events that arrive during the lists are kept, too: they may be newer
    than a list."""

    namespace: str
    since: float
    #: Versions of the lists by plural; empty while they are read.
    versions: dict[str, int] = field(default_factory=dict)
    #: By plural, then by uid.
    known: dict[str, dict[str, _Known]] = field(default_factory=dict)
    size: int = 0

    def take(self, plural: str, obj: Object, *, deleted: bool) -> None:
        """Takes one of them from an event or a list. What is older than what is known changes nothing."""
        meta = obj["metadata"]
        version, found = int(meta["resourceVersion"]), self.known.setdefault(plural, {})
        old = found.get(meta["uid"])
        # One that is not known, and not newer than the list, is gone: the list does not have it.
        if version <= (old.version if old is not None else self.versions.get(plural, -1)):
            return
        kept = None if deleted else obj
        size = len(json.dumps(kept))
        found[meta["uid"]] = _Known(version, kept, size)
        self.size += size - (old.size if old is not None else 0)

    def listed(self, plural: str, listed: Listed) -> None:
        """Takes a list. Events that arrived before it are kept where they are newer."""
        found, here = self.known.setdefault(plural, {}), {obj["metadata"]["uid"] for obj in listed.objects}
        for uid in [uid for uid, each in found.items() if each.version <= listed.version and uid not in here]:
            self.size -= found.pop(uid).size
        for obj in listed.objects:
            self.take(plural, obj, deleted=False)
        self.versions[plural] = listed.version

    def objects(self, plural: str) -> list[Object]:
        """Those that exist, in the order of a list."""
        there = [each.obj for each in self.known.get(plural, {}).values() if each.obj is not None]
        return sorted(there, key=lambda obj: str(obj["metadata"]["name"]))

    def fits(self) -> bool:
        """Whether it is within the bounds of one object."""
        return self.size <= BYTES and sum(len(found) for found in self.known.values()) <= OBJECTS


class Watched:
    """All readings, by the uid of the object whose Jobs they are. All methods belong to the event loop's thread."""

    def __init__(self, running: Callable[[str], bool], now: Callable[[], float] = time.monotonic) -> None:
        """`running`: whether the namespace's watch runs."""
        self._running = running
        self._now = now
        self._readings: OrderedDict[str, Reading] = OrderedDict()  # the oldest first
        self._size = 0

    def begin(self, uid: str, namespace: str) -> Reading:
        """To be called before the Jobs and pods of the object are listed."""
        self.changed(uid)
        now = self._now()
        while self._readings and next(iter(self._readings.values())).since <= now - AGE:
            self.changed(next(iter(self._readings)))
        found = self._readings[uid] = Reading(namespace, now)
        return found

    def keep(self, uid: str, reading: Reading, lists: Mapping[str, Listed]) -> None:
        """Keeps the reading with its lists, by plural; not where the operator has changed one of the Jobs since
        `begin`, or where it is too large."""
        before = reading.size
        for plural, listed in lists.items():
            reading.listed(plural, listed)
        if self._readings.get(uid) is reading:
            self._resized(uid, reading, before)

    def of(self, uid: str) -> Reading | None:
        """What is known of the object's Jobs and pods; None where they must be listed."""
        found = self._readings.get(uid)
        if found is None or not found.versions or not self._running(found.namespace):
            return None
        return found if self._now() - found.since < AGE else None

    def changed(self, uid: str) -> None:
        """The operator has changed one of the object's Jobs, or has tried to: they must be listed."""
        gone = self._readings.pop(uid, None)
        if gone is not None:
            self._size -= gone.size

    def take(self, type_: Type, obj: Object, *, deleted: bool) -> None:
        """An event of the watch. What the lists of the object would not have is left out: anyone who may create Jobs in
        another namespace can name the object as their owner."""
        meta = obj["metadata"]
        uid = str((meta.get("labels") or {}).get(naming.LABEL_UID))
        reading = self._readings.get(uid)
        if reading is None or meta["namespace"] != reading.namespace:
            return
        before = reading.size
        reading.take(type_.plural, slim(type_, obj), deleted=deleted)
        self._resized(uid, reading, before)

    def _resized(self, uid: str, reading: Reading, before: int) -> None:
        self._size += reading.size - before
        if not reading.fits():
            self.changed(uid)
        while self._size > TOTAL_BYTES:
            self.changed(next(iter(self._readings)))
