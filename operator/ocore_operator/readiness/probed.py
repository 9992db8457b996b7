"""The frame of a probed kind: load, unique id, references, is a probe due, the probe Job, verdict, status.

Each kind supplies what differs by a subclass of :class:`ProbedKind`: what it refers to, its Job, and what a result
means.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from ocore_crds import conditions as c
from ocore_crds.base import Model
from ocore_crds.commands.table import Command
from ocore_crds.conditions import Condition
from ocore_crds.environment import EnvironmentStatus
from ocore_crds.protocol import Failure
from ocore_crds.snapshotstore import SnapshotStoreStatus
from ocore_kube.types import Type
from ocore_operator import clock, summarize
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Outcome, Stalled, Waiting
from ocore_operator.jobs import control
from ocore_operator.jobs.outcome import Absent, Done, JobFailed, JobState, Observation, Running, Starting, read
from ocore_operator.kube.resources import Key, Object, Resource
from ocore_operator.readiness import schedule
from ocore_operator.summarize import Stamp

SpecT = TypeVar("SpecT", bound=Model)
StatusT = TypeVar("StatusT", EnvironmentStatus, SnapshotStoreStatus)
ResultT = TypeVar("ResultT", bound=Model)

#: Builds the probe Job for the attempt of that name.
BuildJob = Callable[[str], Awaitable[Object]]

#: Seconds between two reconciles while a probe runs; its events come sooner.
POLL = 10.0


@dataclass(frozen=True)
class LastProbe:
    """The last probe of an object (RFC 3339): when it ended and began; None where there was none. `generation`: the
    spec that it saw."""

    ended: str | None = None
    began: str | None = None
    generation: int | None = None


class ProbedKind(ABC, Generic[SpecT, StatusT, ResultT]):
    """What is special about one probed kind. Without state."""

    resource: ClassVar[Type]
    #: Reasons of Ready that describe what the probe needs or how far it is, not what it found. Once they pass, a probe
    #: is due at once.
    before_probe: ClassVar[tuple[str, ...]]
    #: What the probe Job does, for people.
    does: ClassVar[str]
    #: The probe.
    command: ClassVar[Command[Any]]
    result: type[ResultT]

    @abstractmethod
    def parse(self, obj: Object) -> Resource[SpecT, StatusT]:
        """The object from the API server's JSON."""

    async def prepare(self, ctx: Context, obj: Resource[SpecT, StatusT]) -> bool:
        """Work before everything else. True: an object was written, so the reconcile must start again."""
        return False

    @abstractmethod
    async def references(self, ctx: Context, obj: Resource[SpecT, StatusT]) -> BuildJob:
        """Checks what the object refers to; returns the builder of the probe Job. Raises Outcome where something is
        missing."""

    @abstractmethod
    def last_probe(self, status: StatusT) -> LastProbe:
        """The last probe, as the status remembers it."""

    @abstractmethod
    def wanted(self, ctx: Context, obj: Resource[SpecT, StatusT]) -> str:
        """Since when an operation waits for a probe (RFC 3339); empty where none does."""

    @abstractmethod
    def watched(self, status: StatusT) -> tuple[str, ...]:
        """Condition types that must be True; while one is not, probes come at shorter intervals."""

    @abstractmethod
    def found(self, ctx: Context, obj: Resource[SpecT, StatusT], result: ResultT, began: str) -> StatusT:
        """The status after a probe with a result."""

    @abstractmethod
    def probe_failed(self, ctx: Context, obj: Resource[SpecT, StatusT], failure: Failure, began: str) -> StatusT:
        """The status after a probe without a result."""

    @abstractmethod
    def unprobed(self, obj: Resource[SpecT, StatusT], end: Outcome, stamp: Stamp) -> StatusT:
        """The status where something that the probe needs is missing."""

    @abstractmethod
    def final(self, obj: Resource[SpecT, StatusT], status: StatusT) -> StatusT:
        """With the fields that every status of the kind has."""

    @abstractmethod
    def wake(self, ctx: Context, obj: Resource[SpecT, StatusT], new: StatusT) -> None:
        """Queues the objects that wait for this one, where the verdict has changed."""

    async def beside(
        self, ctx: Context, obj: Resource[SpecT, StatusT], status: StatusT
    ) -> tuple[StatusT, float | None]:
        """Work that follows a probe: the status, and seconds until it goes on; None: not before something changes."""
        return status, None

    # --- shared -----------------------------------------------------------------------------------------------
    def current(self, obj: Resource[SpecT, StatusT]) -> bool:
        """Whether the last probe saw the present spec, and nothing that it needs has been missing since."""
        ready = c.find(obj.status.conditions, c.READY)
        if ready is None or ready.reason in self.before_probe:
            return False
        return self.last_probe(obj.status).generation == obj.meta.generation

    def probing(self, ctx: Context, obj: Resource[SpecT, StatusT], message: str) -> StatusT:
        """While a probe runs: the last verdict stays, unless it is about another spec."""
        if self.current(obj):
            return obj.status
        status = summarize.running(obj.status, c.PROBING, message, Stamp.of(obj.meta, ctx.now()))
        return status.model_copy(update={"phase": "Pending"})


def verdict(conditions: Iterable[Condition], *types: str) -> tuple[tuple[str, str] | None, ...]:
    """Status and reason of these conditions: what the objects that wait depend on."""
    found = (c.find(conditions, t) for t in types)
    return tuple((x.status, x.reason) if x is not None else None for x in found)


async def reconcile(kind: ProbedKind[SpecT, StatusT, ResultT], ctx: Context, key: Key) -> float | None:
    """Reconciles an object of the kind; seconds until the next reconcile, None: when something changes."""
    raw = await ctx.kube.get(kind.resource, key.namespace, key.name)
    if raw is None:
        ctx.catalog.remove(key)
        ctx.probes.forget(key)
        return None
    ctx.catalog.put(key.kind, raw)
    obj = kind.parse(raw)
    if obj.meta.deleted is not None:
        return None
    if await kind.prepare(ctx, obj):
        return 0.0
    stamp = Stamp.of(obj.meta, ctx.now())
    after: float | None
    try:
        status, after = await _probe_when_due(kind, ctx, obj)
        status, more = await kind.beside(ctx, obj, status)
        after = min((seconds for seconds in (after, more) if seconds is not None), default=None)
    except Outcome as end:
        status, after = kind.unprobed(obj, end, stamp), end.after if isinstance(end, Waiting) else None
    status = kind.final(obj, status)
    await summarize.write(ctx, obj, status)
    kind.wake(ctx, obj, status)
    return after


async def _probe_when_due(
    kind: ProbedKind[SpecT, StatusT, ResultT], ctx: Context, obj: Resource[SpecT, StatusT]
) -> tuple[StatusT, float | None]:
    elder = ctx.catalog.elder(obj.key)
    if elder is not None:
        message = (
            f"{elder.key.kind} {elder.key.namespace}/{elder.key.name} has the same id {obj.id}. "
            "Give one of them another spec.id."
        )
        raise Stalled(c.DUPLICATE_ID, message)
    build_job = await kind.references(ctx, obj)
    last = kind.last_probe(obj.status)
    due = schedule.due_in(
        ctx.settings,
        ctx.now(),
        probed=last.ended,
        began=last.began,
        current=kind.current(obj),
        wanted=kind.wanted(ctx, obj),
        conditions=obj.status.conditions,
        watched=kind.watched(obj.status),
    )
    if due > 0:
        return obj.status, due
    attempt = schedule.attempt_name(obj.meta.generation, last.ended)
    # Those whose last probe is the longest ago go first: one that is probed again and again must not delay the others.
    return await _probe(kind, ctx, obj, build_job, attempt, last.ended or obj.meta.created)


async def _probe(
    kind: ProbedKind[SpecT, StatusT, ResultT],
    ctx: Context,
    obj: Resource[SpecT, StatusT],
    build_job: BuildJob,
    attempt: str,
    since: str,
) -> tuple[StatusT, float]:
    """Starts the Job, or waits for the one that runs, or reads its result. The status, and seconds until the next
    reconcile."""
    seen = await control.observe(ctx, obj)
    job, name, state = await _current(kind.command, seen, build_job, attempt)
    began = seen.jobs[name]["metadata"]["creationTimestamp"] if name in seen.jobs else clock.text(ctx.now())
    age, deadline = clock.seconds_since(began, ctx.now()), float(job["spec"]["activeDeadlineSeconds"])
    if isinstance(state, JobFailed) and schedule.may_still_start(state, age, deadline, live=bool(seen.live_pods(name))):
        return kind.probing(ctx, obj, f"The probe Job has not started yet: {state.failure.message}"), POLL
    match read(state, kind.result, "The probe"):
        case Absent():
            return await _start(kind, ctx, obj, job, since)
        case Starting(reason=reason, message=message):
            return kind.probing(ctx, obj, f"The probe Job is starting ({reason}: {message})."), POLL
        case Running():
            return kind.probing(ctx, obj, kind.does), POLL
        case Done(result=result):
            status = kind.found(ctx, obj, result, began)
            await control.remove(ctx, seen, obj.meta, name)
            return status, 0.0
        case JobFailed(failure=failure):
            return kind.probe_failed(ctx, obj, failure, began), 0.0


async def _current(
    command: Command[Any], seen: Observation, build_job: BuildJob, attempt: str
) -> tuple[Object, str, JobState]:
    """The newest Job of this probe, its name and its state. One that the infrastructure ended is followed by another
    one."""
    number, suffix = 1, ""
    while True:
        job = await build_job(f"{attempt}{suffix}")
        name = str(job["metadata"]["name"])
        state = seen.state(name)
        if not schedule.another(command, state, number, live=bool(seen.live_pods(name))):
            return job, name, state
        number += 1
        suffix = f"-{number}"


async def _start(
    kind: ProbedKind[SpecT, StatusT, ResultT], ctx: Context, obj: Resource[SpecT, StatusT], job: Object, since: str
) -> tuple[StatusT, float]:
    try:
        await control.start(ctx, job, waiting_since=since)
    except Failed as end:
        failure = Failure(reason=end.reason, message=end.message)
        status = kind.probe_failed(ctx, obj, failure, clock.text(ctx.now()))
        return status, ctx.settings.probe_backoff_min
    except Waiting as end:
        if kind.current(obj):  # a periodic probe can wait; the last verdict stays
            return obj.status, end.after
        raise
    return kind.probing(ctx, obj, kind.does), POLL
