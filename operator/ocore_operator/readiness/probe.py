"""The probe Job of an Environment or a SnapshotStore: started, watched, and its result taken. What the result means is the kind's own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ocore_crds import conditions as c
from ocore_crds.base import Model, StatusModel
from ocore_operator import clock, summarize
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.jobs import control
from ocore_operator.jobs.outcome import Absent, JobFailed, NoResult, Running, Starting, Succeeded
from ocore_operator.kube.resources import Object, Resource

StatusT = TypeVar("StatusT", bound=StatusModel)
ResultT = TypeVar("ResultT", bound=Model)

#: Seconds until a running probe is looked at again; its events come sooner.
POLL = 10.0


@dataclass(frozen=True, kw_only=True)
class Probe(Generic[StatusT, ResultT]):
    """What is special about one kind's probe. `current`: the last one saw the present spec, so what is known stands until this one ends.
    `found` and `broken` make a status of a result, or of a reason and a message, and of the time at which the probe began."""

    owner: Resource  # type: ignore[type-arg]
    status: StatusT
    job: Object
    does: str
    current: bool
    result: type[ResultT]
    found: Callable[[ResultT, str], StatusT]
    broken: Callable[[str, str, str], StatusT]

    def probing(self, message: str, now: str) -> StatusT:
        """While it is probed: what was known stands, unless nothing is known of the present spec."""
        if self.current:
            return self.status
        status = summarize.running(self.status, c.PROBING, message, now=now, generation=self.owner.meta.generation)
        return status.model_copy(update={"phase": "Pending"})


async def look(ctx: Context, probe: Probe[StatusT, ResultT]) -> tuple[StatusT, float]:
    """A probe is due: starts its Job, or looks at the one that runs, or takes its result. The status, and seconds until the next look."""
    name, now = probe.job["metadata"]["name"], clock.text(ctx.now())
    seen = await control.observe(ctx, probe.owner)
    began = seen.jobs[name]["metadata"]["creationTimestamp"] if name in seen.jobs else now
    match seen.state(name):
        case Absent():
            return await _start(ctx, probe, now)
        case Starting(reason=reason, message=message):
            return probe.probing(f"The probe Job starts ({reason}: {message}).", now), POLL
        case Running():
            return probe.probing(probe.does, now), POLL
        case Succeeded(payload=payload) if isinstance(payload, probe.result):
            status = probe.found(payload, began)
            await control.remove(ctx, seen, probe.owner.meta.namespace, name)
            return status, 0.0
        case JobFailed(failure=failure):
            return probe.broken(failure.reason, failure.message, began), 0.0
        case NoResult(message=message):
            return probe.broken(c.JOB_LOST, f"The probe left no result: {message}.", began), 0.0
        case _:
            raise Stalled(
                c.INTERNAL_ERROR, f"The Job {name} answered with something that is no {probe.result.__name__}."
            )


async def _start(ctx: Context, probe: Probe[StatusT, ResultT], now: str) -> tuple[StatusT, float]:
    try:
        await control.start(ctx, probe.job, waiting_since=probe.owner.meta.created)
    except Failed as end:
        return probe.broken(end.reason, end.message, now), ctx.settings.probe_backoff_min
    except Waiting as end:
        if probe.current:  # a probe by the clock can wait; what is known stands
            return probe.status, end.after
        raise
    return probe.probing(probe.does, now), POLL
