"""Reads an object's Jobs, creates and stops them."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_kube.errors import AlreadyExists, ApiError, Forbidden, Invalid
from ocore_kube.types import EVENTS, JOBS, PODS
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Waiting
from ocore_operator.jobs.observing import giving_way, ownership, pod_failures
from ocore_operator.jobs.observing.outcome import Observation, finished, pod_ended
from ocore_operator.kube.client import Propagation
from ocore_operator.kube.resources import Meta, Object, Resource

#: Seconds after which the Events of a Job that does not run are read for the reason.
EVENTS_AFTER = 8.0
#: Seconds until a refused Job is created again.
REFUSED_PAUSE = 10.0

_log = structlog.get_logger()


def selector(uid: str) -> str:
    """Label selector of the Jobs and pods of the object with that uid."""
    return f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY},{naming.LABEL_UID}={uid}"


async def observe(
    ctx: Context,
    owner: Resource,  # type: ignore[type-arg]
    *,
    fresh: bool = True,
    yields: bool = True,
) -> Observation:
    """The owner's Jobs and their pods. Labels only select what is read; ``ownership.py`` decides what is believed.

    `fresh`: they are listed now. Otherwise the last lists may do: see ``last_lists.py``. `yields`: whether a Job gives
    way to the application.
    """
    namespace, uid = owner.meta.namespace, owner.meta.uid
    known = None if fresh else ctx.remembered.of(uid)
    if known is None or known.jobs is None:
        found_jobs, found_pods = await _list(ctx, namespace, uid)
    else:
        found_jobs, found_pods = known.jobs, known.pods
    deleting = owner.meta.deleted is not None
    jobs = {j["metadata"]["name"]: j for j in found_jobs if ownership.belongs(j, uid, deleting=deleting)}
    pods = ownership.pods_by_job(jobs, found_pods)
    seen = Observation(
        jobs=jobs,
        pods=pods,
        now=ctx.now(),
        start_deadline=ctx.settings.start_deadline,
        remembered=known is not None,
    )
    if known is None and yields:  # nothing is stopped because of the last lists
        seen = replace(seen, gives_way=await giving_way.observe(ctx, seen, namespace))
    return replace(seen, warnings=await _warnings(ctx, seen, namespace))


def no_jobs(ctx: Context) -> Observation:
    """An observation without Jobs, for a decision that depends on none."""
    return Observation(jobs={}, pods={}, now=ctx.now(), start_deadline=ctx.settings.start_deadline)


async def _list(ctx: Context, namespace: str, uid: str) -> tuple[Sequence[Object], Sequence[Object]]:
    """The Jobs first: a pod that is not listed after its Job does not exist."""
    begun = ctx.remembered.begin(uid, namespace)
    jobs = await ctx.kube.list(JOBS, namespace, labels=selector(uid))
    pods = await ctx.kube.list(PODS, namespace, labels=selector(uid))
    ctx.remembered.keep(uid, begun, jobs, pods)
    return jobs, pods


async def _warnings(ctx: Context, seen: Observation, namespace: str) -> dict[str, tuple[str, str]]:
    """The newest warning of each Job and pod that should be running and is not."""
    found: dict[str, tuple[str, str]] = {}
    for name, job in seen.jobs.items():
        if finished(job) or clock.seconds_since(job["metadata"]["creationTimestamp"], seen.now) < EVENTS_AFTER:
            continue
        pods = seen.pods.get(name, ())
        for obj in pods or (job,):
            if pods and (pod_ended(obj) or obj.get("status", {}).get("phase") == "Running"):
                continue
            warning = await _newest_warning(ctx, namespace, obj["metadata"]["uid"])
            if warning is not None:
                found[obj["metadata"]["uid"]] = warning
    return found


async def _newest_warning(ctx: Context, namespace: str, uid: str) -> tuple[str, str] | None:
    try:
        events = await ctx.kube.list(EVENTS, namespace, fields=f"involvedObject.uid={uid},type=Warning")
    except ApiError as error:
        _log.debug("events not read", error=str(error))
        return None
    if not events:
        return None
    newest = max(events, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")
    return newest.get("reason", ""), newest.get("message", "")


async def start(ctx: Context, job: Object, *, waiting_since: str) -> None:
    """Creates the Job; one of that name from before a restart is adopted. Raises Waiting(WaitingForJobSlot) at the
    limit of Jobs, and Waiting(JobRefused) where a quota or admission refuses it; the caller's deadline ends both.
    Raises Failed(JobRefused) where the Job is not valid."""
    metadata = job["metadata"]
    async with ctx.slots.slot(ctx, job, waiting_since) as started:
        try:
            started(await _create(ctx, job))
        except AlreadyExists:
            started(await _adopt(ctx, job))
        except Forbidden as error:
            advice = pod_failures.advice(str(error)) or "Check the namespace's quotas and admission rules."
            message = f"Job {metadata['name']} was refused: {error}. {advice}"
            raise Waiting(c.JOB_REFUSED, message, REFUSED_PAUSE) from None
        except Invalid as error:
            advice = pod_failures.advice(str(error)) or "Check spec.jobs and spec.scratch of the Environment."
            message = f"Job {metadata['name']} is not valid: {error}. {advice}"
            raise Failed(c.JOB_REFUSED, message) from None
    _log.info("job started", namespace=metadata["namespace"], job=metadata["name"])


async def _create(ctx: Context, job: Object) -> Object:
    try:
        return await ctx.kube.create(JOBS, job)
    finally:  # it may exist though no answer came
        ctx.remembered.changed(job["metadata"]["labels"][naming.LABEL_UID])


async def _adopt(ctx: Context, job: Object) -> Object:
    """The Job of that name from before a restart. Raises Failed(JobRefused) where it belongs to another object."""
    metadata = job["metadata"]
    existing = await ctx.kube.get(JOBS, metadata["namespace"], metadata["name"])
    if existing is None:
        raise Waiting(c.JOB_REFUSED, f"Job {metadata['name']} was deleted while it was created. Retrying.", 1)
    deleting = ownership.controller(job) is None  # see shape.py
    if not ownership.belongs(existing, metadata["labels"][naming.LABEL_UID], deleting=deleting):
        raise Failed(
            c.JOB_REFUSED,
            f"Job {metadata['name']} exists and belongs to another object. Delete it, then create this object again.",
        )
    return existing


async def stop(ctx: Context, seen: Observation, owner: Meta, job_name: str) -> bool:
    """Deletes the Job in the foreground. Returns whether it and its pods are gone; call again while False."""
    job = seen.jobs.get(job_name)
    if job is None:
        return not seen.live_pods(job_name)
    if not seen.stopping(job_name):
        await delete(ctx, owner, job_name, job["metadata"]["uid"], "Foreground")
        _log.info("job stopped", namespace=owner.namespace, job=job_name)
    return False


async def remove(ctx: Context, seen: Observation, owner: Meta, job_name: str) -> None:
    """Deletes a Job that has ended, with its pods."""
    job = seen.jobs.get(job_name)
    if job is not None and not seen.stopping(job_name):
        await delete(ctx, owner, job_name, job["metadata"]["uid"], "Background")


async def delete(ctx: Context, owner: Meta, name: str, uid: str, propagation: Propagation) -> None:
    """Deletes that Job of the owner, and no other one of its name."""
    try:
        await ctx.kube.delete(JOBS, owner.namespace, name, uid=uid, propagation=propagation)
    finally:  # it may be gone though no answer came
        ctx.remembered.changed(owner.uid)
