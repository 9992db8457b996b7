"""The probe of an Environment or a SnapshotStore: when its Job runs, and what follows from the Job's state. Pure.

Each kind supplies what differs by a subclass of :class:`Probed`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from ocore_crds import conditions as c
from ocore_crds.commands.table import COMMANDS
from ocore_crds.conditions import Condition
from ocore_crds.model import Model
from ocore_crds.protocol import Failure
from ocore_operator import clock, summarize
from ocore_operator.errors import Failed, Outcome, Stalled, Waiting
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.observing import attempts
from ocore_operator.jobs.observing.attempts import Done, Due, Series, Waits
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.kube.catalog import Entry
from ocore_operator.kube.resources import Resource
from ocore_operator.readiness import schedule
from ocore_operator.readiness.world import Command, Start, StatusT, World

WorldT = TypeVar("WorldT", bound=World[Any, Any])
ResultT = TypeVar("ResultT", bound=Model)


@dataclass(frozen=True)
class LastProbe:
    """The last probe of an object (RFC 3339): when it ended and began; None where there was none. `generation`: the
    spec that it saw."""

    ended: str | None = None
    began: str | None = None
    generation: int | None = None


class Probed(ABC, Generic[WorldT, StatusT, ResultT]):
    """What is special about the probe of one kind. Pure, without state."""

    command: ClassVar[Command]
    #: Reasons of Ready that describe what the probe needs or how far it is, not what it found. Once they pass, a probe
    #: is due at once.
    before_probe: ClassVar[tuple[str, ...]]
    #: What the probe Job does, for people.
    does: ClassVar[str]
    result: type[ResultT]

    @abstractmethod
    def last_probe(self, status: StatusT) -> LastProbe:
        """The last probe, as the status remembers it."""

    @abstractmethod
    def wanted(self, world: WorldT) -> str:
        """Since when an operation waits for a probe (RFC 3339); empty where none does."""

    def asked(self, world: WorldT) -> bool:
        """Whether a Rollback or a person waits for the probe."""
        due = self.asked_in(world)
        return due is not None and due <= 0

    def asked_in(self, world: WorldT) -> float | None:
        """Seconds until a probe that a person asks for by the annotation; None where none is. Only what is not ready is
        probed so."""
        status: StatusT = world.obj.status
        conditions = (c.find(status.conditions, t) for t in self.watched(status))
        if all(x is None or x.status == "True" for x in conditions):
            return None
        last = self.last_probe(status)
        return schedule.asked_in(world.now, schedule.requested(world.obj.meta.annotations), last.ended, last.began)

    @abstractmethod
    def watched(self, status: StatusT) -> tuple[str, ...]:
        """Condition types that must be True; while one is not, probes come at shorter intervals."""

    @abstractmethod
    def found(self, world: WorldT, result: ResultT, began: str) -> StatusT:
        """The status after a probe with a result."""

    @abstractmethod
    def failed(self, world: WorldT, failure: Failure, began: str) -> StatusT:
        """The status after a probe without a result."""

    def current(self, obj: Resource[Any, StatusT]) -> bool:
        """Whether the last probe saw the present spec, and nothing that it needs has been missing since."""
        ready = c.find(obj.status.conditions, c.READY)
        if ready is None or ready.reason in self.before_probe:
            return False
        return self.last_probe(obj.status).generation == obj.meta.generation

    def probing(self, world: WorldT, message: str, reason: str = c.PROBING) -> Idle[StatusT]:
        """While a probe runs, or its Job waits: the last verdict stays, unless it is about another spec."""
        old: StatusT = world.obj.status
        why = message if reason != c.PROBING else ""
        if self.current(world.obj):
            return Idle(POLL, old, why)
        status = summarize.running(old, reason, message, world.stamp)
        return Idle(POLL, status.model_copy(update={"phase": "Pending"}), why)


def duplicate(obj: Resource[Any, Any], elder: Entry) -> Stalled:
    """Why an object is not probed that has the id of another one."""
    message = (
        f"{elder.key.kind} {elder.key.namespace}/{elder.key.name} has the same id {obj.id}. "
        "Give one of them another spec.id."
    )
    return Stalled(c.DUPLICATE_ID, message)


def verdict(conditions: Iterable[Condition], *types: str) -> tuple[tuple[str, str] | None, ...]:
    """Status and reason of these conditions: what the objects that wait depend on."""
    found = (c.find(conditions, t) for t in types)
    return tuple((x.status, x.reason) if x is not None else None for x in found)


def due_in(kind: Probed[WorldT, StatusT, ResultT], world: WorldT) -> float:
    """Seconds until the next probe; 0 or less: now."""
    status: StatusT = world.obj.status
    last, asked = kind.last_probe(status), kind.asked_in(world)
    due = schedule.due_in(
        world.settings,
        world.now,
        probed=last.ended,
        began=last.began,
        current=kind.current(world.obj),
        wanted=kind.wanted(world),
        outdated=world.outdated,
        conditions=status.conditions,
        watched=kind.watched(status),
    )
    return due if asked is None else min(due, asked)


def probe(
    kind: Probed[WorldT, StatusT, ResultT], world: WorldT, inputs: JobInputs
) -> Idle[StatusT] | Record[StatusT] | Start[StatusT]:
    """What the probe needs next. Raises Outcome where its Job cannot be created and no verdict is known."""
    obj = world.obj
    status: StatusT = obj.status
    due, last = due_in(kind, world), kind.last_probe(status)
    if due > 0:
        return Idle(due, status)
    command, prefix = COMMANDS[kind.command], f"{schedule.attempt_name(obj.meta.generation, last.ended)}-"
    series = Series(command, obj.meta.uid, kind.result, "The probe", prefix, patient=True)
    match series.next(world.seen, world.now, partial(schedule.again, command)):
        case Due(number=number):
            # Those whose last probe is the longest ago go first: one that is probed again and again must not delay the
            # others.
            since, asked = last.ended or obj.meta.created, kind.asked(world)
            start = Start(kind.command, series.attempt(number), inputs, since, kind.probing(world, kind.does), asked)
            return _unless_refused(kind, world, start)
        case Waits(reason=reason, message=message, pod=pod):
            return kind.probing(world, kind.does if pod and not reason else message, reason or c.PROBING)
        case Done(result=result, job=job, began=began):
            return Record(kind.found(world, result, began or clock.text(world.now)), job=job)
        case attempts.Failed(failure=failure, began=began):
            return Record(kind.failed(world, failure, began or clock.text(world.now)))


def _unless_refused(
    kind: Probed[WorldT, StatusT, ResultT], world: WorldT, start: Start[StatusT]
) -> Idle[StatusT] | Start[StatusT]:
    refusal: Outcome | None = world.refused.get(kind.command)
    if isinstance(refusal, Failed):
        failure = Failure(reason=refusal.reason, message=refusal.message)
        return Idle(schedule.BACKOFF_MIN, kind.failed(world, failure, clock.text(world.now)))
    full = refusal is not None and refusal.reason == c.JOB_REFUSED
    hidden = full and not c.is_true(
        world.obj.status.conditions, c.READY
    )  # it may be repaired since, and no one would know
    # A periodic probe can wait; the last verdict stays.
    if isinstance(refusal, Waiting) and kind.current(world.obj) and not hidden:
        return Idle(refusal.after, world.obj.status, refusal.message)
    if refusal is not None:
        raise refusal
    return start
