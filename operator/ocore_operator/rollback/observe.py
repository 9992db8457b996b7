"""Reads everything that a decision about a rollback depends on. The rollback itself is read last: whatever another operator has written
before it changed anything is then known (see rollback/world.py)."""

import asyncio
from dataclasses import dataclass, replace
from typing import get_args

from ocore_crds import conditions as c
from ocore_crds.manifest import Evidence
from ocore_crds.naming import FINALIZER_ROLLBACK
from ocore_crds.protocol import Failure, RestoreResult
from ocore_crds.rollback import RollbackStatus
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.errors import Forbidden
from ocore_operator.jobs import control
from ocore_operator.jobs.outcome import JobFailed, JobState, NoResult, Observation, Running, Starting, Succeeded
from ocore_operator.jobs.shape import job_name
from ocore_operator.kube import resources
from ocore_operator.kube.client import ENVIRONMENTS, NAMESPACES, ROLLBACKS, SNAPSHOTS
from ocore_operator.kube.resources import Environment, Object, Rollback, Snapshot
from ocore_operator.rollback import signal, workloads
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.sources import environment_view, executed, lock_view, snapshot_view
from ocore_operator.rollback.world import JobKind, JobView, World

#: Stages in which the switch Job's log is read for its answer.
ANSWERING = ("Switch", "BackDrain", "BackSwitch")


@dataclass(frozen=True)
class Look:
    """A world with the objects that it was made from: effects need them."""

    rollback: Rollback
    world: World
    environment: Environment | None
    snapshot: Snapshot | None
    seen: Observation


async def look(ctx: Context, first: Rollback, memory: Memory) -> Look | None:
    """Reads all of it; None where the rollback is gone. `first`: the rollback as it was known, for the names of the others."""
    known = first
    while True:
        found = await _look(ctx, known, memory)
        if found is None or _names(found.rollback.status) == _names(known.status):
            return found
        known = found.rollback


def _names(status: RollbackStatus) -> tuple[object, ...]:
    """What of a status says which other objects are read, and how."""
    return status.environment_name, status.workloads, status.stage in ANSWERING


async def _look(ctx: Context, known: Rollback, memory: Memory) -> Look | None:
    namespace = known.meta.namespace
    (snapshot, environment), seen = await asyncio.gather(_sources(ctx, known), control.observe(ctx, known))
    targets = _targets(known, environment)
    views, jobs, before = await asyncio.gather(
        workloads.observe(ctx, namespace, targets), _jobs(ctx, known, seen), _executed_before(ctx, known, environment)
    )
    obj = await ctx.kube.get(ROLLBACKS, namespace, known.meta.name)
    if obj is None or obj["metadata"]["uid"] != known.meta.uid:
        return None
    rollback = resources.rollback(obj)
    elder = ctx.catalog.elder(rollback.key)
    world = World(
        created=clock.parse(rollback.meta.created),
        environment=environment_view(environment, rollback) if environment is not None else None,
        snapshot=snapshot_view(snapshot) if snapshot is not None else None,
        environment_name=environment_name(rollback, snapshot),
        executed_before=before,
        duplicate_of=elder.key.name if elder is not None else "",
        deleting=rollback.meta.deleted is not None,
        finalizer=FINALIZER_ROLLBACK in rollback.meta.finalizers,
        namespace_terminating=await _terminating(ctx, rollback),
        lock=lock_view(environment, rollback),
        jobs=jobs,
        workloads=views,
        refused_since=memory.refused_since,
        refusal_reason=memory.refusal_reason,
        refusal=memory.refusal,
        watched_since=memory.watched_since,
    )
    if environment is not None and world.lock.since is not None:
        world = replace(world, probe_asked=ctx.probes.wanted(environment.key) >= clock.text(world.lock.since))
    return Look(rollback, world, environment, snapshot, seen)


async def _sources(ctx: Context, rollback: Rollback) -> tuple[Snapshot | None, Environment | None]:
    namespace = rollback.meta.namespace
    obj = await ctx.kube.get(SNAPSHOTS, namespace, rollback.spec.snapshot_ref.name)
    snapshot = resources.snapshot(obj) if obj is not None else None
    name = environment_name(rollback, snapshot)
    found = await ctx.kube.get(ENVIRONMENTS, namespace, name) if name else None
    return snapshot, resources.environment(found) if found is not None else None


def environment_name(rollback: Rollback, snapshot: Snapshot | None) -> str:
    """The target's name; empty where nobody knows it."""
    if rollback.status.environment_name:
        return rollback.status.environment_name
    return snapshot.spec.environment_ref.name if snapshot is not None else ""


def _targets(rollback: Rollback, environment: Environment | None) -> list[tuple[workloads.Kind, str]]:
    """The saved workloads once they are saved: the Environment may have been changed meanwhile."""
    saved = rollback.status.workloads
    if saved:
        return [(w.kind, w.name) for w in saved]
    return [(w.kind, w.name) for w in environment.spec.workloads] if environment is not None else []


async def _executed_before(ctx: Context, rollback: Rollback, environment: Environment | None) -> bool:
    """Whether an Environment remembers a rollback of this name and spec; also where the Snapshot, which names the Environment, is gone."""
    if rollback.status.stage not in (None, "Preflight"):
        return False
    if environment is not None:
        return executed(environment, rollback)
    listed = await ctx.kube.list(ENVIRONMENTS, rollback.meta.namespace)
    return any(executed(resources.environment(obj), rollback) for obj in listed)


async def _terminating(ctx: Context, rollback: Rollback) -> bool:
    """The namespace is being deleted. Asked only where the rollback itself is: it would be soon."""
    if rollback.meta.deleted is None:
        return False
    try:
        obj = await ctx.kube.get(NAMESPACES, "", rollback.meta.namespace)
    except Forbidden:
        return False
    return obj is None or "deletionTimestamp" in obj["metadata"]


# --- Jobs ---------------------------------------------------------------------------------------------------------------------


async def _jobs(ctx: Context, rollback: Rollback, seen: Observation) -> tuple[JobView, ...]:
    views = []
    for name in dict.fromkeys((*seen.jobs, *seen.pods)):
        found = _parse(name, rollback)
        if found is not None:
            views.append(await _job(ctx, rollback, seen, name, *found))
    return tuple(v for v in views if v is not None)


def _parse(name: str, rollback: Rollback) -> tuple[JobKind, int] | None:
    for kind in get_args(JobKind):
        number = name.removeprefix(job_name(kind, rollback.meta.uid, ""))
        if number != name and number.isdigit():
            return kind, int(number)
    return None


async def _job(
    ctx: Context, rollback: Rollback, seen: Observation, name: str, kind: JobKind, attempt: int
) -> JobView | None:
    pod = newest_acting(seen, name)
    view = job_view(seen, name, kind, attempt)
    if view is None:
        return None
    namespace = rollback.meta.namespace
    if isinstance(view.payload, RestoreResult) and view.payload.evidence == Evidence():
        return replace(view, payload=await _whole(ctx, seen, namespace, name, view.payload))
    if kind == "switch" and pod is not None and not view.ended and rollback.status.stage in ANSWERING:
        return replace(view, answer=await signal.answer(ctx, namespace, pod["metadata"]["name"]))
    return view


async def _whole(ctx: Context, seen: Observation, namespace: str, name: str, result: RestoreResult) -> RestoreResult:
    """The result with the evidence that the termination message had no room for, from the log's last line."""
    pods = seen.pods.get(name, ())
    if not pods:
        return result
    log = await ctx.followers.whole(namespace, pods[-1]["metadata"]["name"])
    payload = log.result.payload if log.result is not None else None
    return payload if isinstance(payload, RestoreResult) else result


def newest_acting(seen: Observation, name: str) -> Object | None:
    """The youngest pod of the Job that may still do something."""
    pods = [p for p in seen.live_pods(name) if not _through(p)]
    return max(pods, key=lambda p: str(p["metadata"]["creationTimestamp"]), default=None)


def _through(pod: Object) -> bool:
    """Its container has ended for good, though the kubelet has not said so of the pod yet."""
    ends = [(x.get("state") or {}).get("terminated") for x in pod.get("status", {}).get("containerStatuses") or ()]
    never = pod.get("spec", {}).get("restartPolicy") == "Never"
    return bool(ends) and all(end is not None and (never or end.get("exitCode") == 0) for end in ends)


def job_view(seen: Observation, name: str, kind: JobKind, attempt: int) -> JobView | None:
    """A Job as the plan sees it; None where neither it nor a pod of it is there. Pure."""
    state = seen.state(name)
    job, pod = seen.jobs.get(name), newest_acting(seen, name)
    base = JobView(
        kind=kind,
        attempt=attempt,
        name=name,
        pods=sum(not _through(p) for p in seen.live_pods(name)),
        # Pods whose Job is gone already are on their way out: there is nothing left to delete.
        stopping=job is None or seen.stopping(name),
        uid=job["metadata"]["uid"] if job is not None else "",
    )
    if pod is not None:
        meta = pod["metadata"]
        base = replace(base, pod=meta["name"], pod_version=meta["resourceVersion"], signal=signal.sent(pod))
    found = _with_state(base, state)
    if kind == "switch" and pod is not None and found is not None and not found.ended:
        failure = signal.last_failure(pod)
        over = failure is not None and not failure.retryable and not found.ready
        return replace(found, failure=failure, ended=over)
    return found


def _with_state(view: JobView, state: JobState) -> JobView | None:
    match state:
        case Starting(reason=reason, message=message):
            return replace(view, problem=f"Job {view.name} starts: {message} ({reason}).")
        case Running(ready=ready):
            return replace(view, ready=ready)
        case Succeeded(payload=payload, finished=finished):
            return replace(view, ended=True, payload=payload, ended_at=clock.parse(finished) if finished else None)
        case JobFailed(failure=failure, finished=finished):
            at = clock.parse(finished) if finished else None
            return replace(view, ended=True, failure=_blame(failure, view), ended_at=at)
        case NoResult(message=message, finished=finished):
            failure = Failure(reason=c.JOB_LOST, message=f"Job {view.name} left no result: {message}.", retryable=True)
            return replace(view, ended=True, failure=failure, ended_at=clock.parse(finished) if finished else None)
        case _:
            return None


def _blame(failure: Failure, view: JobView) -> Failure:
    """A pod that was stopped, and not by us, was stopped by a drained node or by a person: another one may fare better."""
    if failure.reason != c.CANCELLED or view.stopping:
        return failure
    return Failure(reason=c.JOB_FAILED, message=f"The Job's pod was stopped. {failure.message}", retryable=True)
