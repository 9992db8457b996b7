"""What changed last, for streams of all changes: the newest change of each object, in bounded memory. Pure.

A log for each environment: who changes many objects of one displaces nothing of another one. A reader that has seen
less than a log remembers must read everything again.
"""

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ocore_api.cache.entries import Entry

#: Objects that the log of one environment remembers.
OBJECTS = 256
#: Environments with a log. The one that changed least recently is forgotten first.
ENVIRONMENTS = 10_000
#: Seconds by which replicas may differ: what changed within them is sent again after a reset.
REPLICAS = 5.0


@dataclass(frozen=True, slots=True)
class Change:
    """One object that changed, or was deleted."""

    number: int
    type: type[Entry]
    id: str
    environment_id: str
    project_id: str
    deleted: bool


class _Log:
    __slots__ = ("changes", "floor")

    def __init__(self) -> None:
        self.changes: OrderedDict[tuple[type[Entry], str, str], Change] = OrderedDict()
        #: Number of the newest change that was forgotten.
        self.floor = 0


class Changes:
    """All logs. `clock`: seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logs: OrderedDict[str, _Log] = OrderedDict()
        self._forgotten = 0
        self._marks: deque[tuple[float, int]] = deque()
        #: Number of the newest change.
        self.number = 0
        #: Names this process in the ids of events: another one numbers its changes in another way.
        self.boot = secrets.token_hex(6)
        #: Called with each change, and the newest entry of its object; must return at once.
        self.listeners: list[Callable[[Change, Entry], None]] = []

    def note(self, entry: Entry, *, deleted: bool = False) -> None:
        """The object changed."""
        self.number += 1
        found = Change(self.number, type(entry), entry.id, entry.environment_id, entry.project_id, deleted)
        log = self._logs.get(entry.environment_id)
        if log is None:
            log = self._logs[entry.environment_id] = _Log()
            if len(self._logs) > ENVIRONMENTS:
                _, lost = self._logs.popitem(last=False)
                self._forgotten = max(self._forgotten, lost.floor, *(c.number for c in lost.changes.values()))
        self._logs.move_to_end(entry.environment_id)
        about = type(entry), entry.id, entry.project_id
        log.changes.pop(about, None)
        log.changes[about] = found
        if len(log.changes) > OBJECTS:
            log.floor = log.changes.popitem(last=False)[1].number
        now = self._clock()
        if not self._marks or now - self._marks[-1][0] >= 1:
            self._marks.append((now, self.number - 1))
            while len(self._marks) > 1 and now - self._marks[1][0] > REPLICAS:
                self._marks.popleft()
        for listener in self.listeners:
            listener(found, entry)

    def number_of(self, event_id: str | None) -> int | None:
        """The change that a Last-Event-ID of this process stands for; None for any other."""
        boot, _, number = (event_id or "").partition("-")
        known = boot == self.boot and number.isascii() and number.isdecimal() and len(number) < 20
        return int(number) if known and int(number) <= self.number else None

    def environments(self) -> Iterator[tuple[str, str]]:
        """Those that have a log, each with the project of what changed last."""
        for environment_id, log in self._logs.items():
            yield environment_id, next(reversed(log.changes.values())).project_id

    def begin(self, environment_ids: Iterable[str]) -> int:
        """Where a reader of these environments begins that reads everything again: before the changes that another
        replica may not have seen."""
        now = self._clock()
        recent = self.number
        for when, number in self._marks:
            if now - when <= REPLICAS:
                recent = number
                break
        return max(recent, self.floor(environment_ids))

    def floor(self, environment_ids: Iterable[str]) -> int:
        """Number of the newest change of these environments that is forgotten."""
        floors = (self._logs[e].floor for e in environment_ids if e in self._logs)
        return max(self._forgotten, max(floors, default=0))

    def after(self, number: int, environment_ids: Iterable[str]) -> list[Change]:
        """The changes in these environments with a higher number, oldest first."""
        found: list[Change] = []
        for each in environment_ids:
            log = self._logs.get(each)
            if log is None:
                continue
            for change in reversed(log.changes.values()):
                if change.number <= number:
                    break
                found.append(change)
        return sorted(found, key=lambda change: change.number)
