"""Reads the environment's workloads, sets their replicas through the scale subresource (a CronJob is suspended), and
their images where a rollback restores them."""

import asyncio
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure
from ocore_crds.resources.workloads import Target
from ocore_crds.text.sentences import shortened, shortened_start
from ocore_kube.errors import ApiError, Conflict, Forbidden
from ocore_kube.types import CRON_JOBS, JOBS, PODS, WORKLOADS
from ocore_operator import clock
from ocore_operator.context import Context
from ocore_operator.jobs import scalable_kinds
from ocore_operator.jobs.building.inputs import commit_of, image_of
from ocore_operator.jobs.observing.outcome import finished, pod_ended
from ocore_operator.jobs.observing.pod_failures import container_trouble, pod_trouble
from ocore_operator.jobs.scalable_kinds import Scale
from ocore_operator.kube.resources import Object
from ocore_operator.workloads import data_loss, images, quiesce
from ocore_operator.workloads.view import Commit, WorkloadView

#: The default of terminationGracePeriodSeconds in Kubernetes.
DEFAULT_GRACE = 30
#: A longer one is not waited for: a day.
MOST_GRACE = 86_400
#: Pods of one workload whose problems are reported, at most.
MAX_PODS = 3
#: Characters of a message of the kubelet, or of a container's own, that are reported.
MAX_MESSAGE = 600


async def observe(ctx: Context, namespace: str, wanted: Sequence[Target], claim: str = "") -> tuple[WorkloadView, ...]:
    """The workloads as they are now, in the order of `wanted`. `claim`: of the filestore."""
    views = await asyncio.gather(*(_one(ctx, namespace, each, claim) for each in wanted))
    lost = await data_loss.of_claim(ctx, namespace, claim) if quiesce.running(views) else None
    return tuple(replace(view, loses=view.loses or lost) for view in views)


async def _one(ctx: Context, namespace: str, target: Target, claim: str) -> WorkloadView:
    if target.is_cron_job:
        return await _cron_job(ctx, namespace, target)
    if not target.has_template:
        return await _listed(ctx, namespace, target, claim)
    obj = await ctx.kube.get(WORKLOADS[target.kind], namespace, target.name)
    if obj is None:
        return _absent(target)
    # Pods are listed after the workload, so that they include every pod that the controller had created for the
    # replicas that were read.
    pods = await ctx.kube.list(PODS, namespace, labels=selector(obj))
    annotation = ctx.settings.commit_annotation
    return view(target, obj, pods, commit=commit_of(obj, annotation), commits=images.commits(obj, annotation))


async def _cron_job(ctx: Context, namespace: str, target: Target) -> WorkloadView:
    obj = await ctx.kube.get(CRON_JOBS, namespace, target.name)
    if obj is None:
        return _absent(target)
    jobs = await ctx.kube.list(JOBS, namespace, keep=lambda job: _is_of(job, {obj["metadata"]["uid"]}))
    uids = {job["metadata"]["uid"] for job in jobs}
    pods = await ctx.kube.list(PODS, namespace, keep=lambda pod: _is_of(pod, uids)) if jobs else []
    return view_of_cron_job(target, obj, jobs, pods)


async def _listed(ctx: Context, namespace: str, target: Target, claim: str) -> WorkloadView:
    found = await scalable_kinds.read(ctx, namespace, target)
    if isinstance(found, Failure):
        if found.reason == c.WORKLOAD_NOT_FOUND:
            return _absent(target)
        return WorkloadView(target.kind, target.name, pods=1, api_version=target.api_version, refusal=found)
    seen = view_of_scale(target, found, await ctx.kube.list(PODS, namespace, labels=found.selector))
    return replace(seen, loses=await data_loss.of_listed(ctx, namespace, target, claim) if found.wanted else None)


def _absent(target: Target) -> WorkloadView:
    return WorkloadView(target.kind, target.name, exists=False, api_version=target.api_version)


def _is_of(obj: Object, uids: Set[str]) -> bool:
    return any(owner["uid"] in uids for owner in obj["metadata"].get("ownerReferences") or ())


async def set_replicas(ctx: Context, namespace: str, workload: WorkloadView, replicas: int) -> bool:
    """Sets the replicas; False where the workload does not exist. Raises Conflict where it changed since it was read,
    Forbidden where its kind has no usable scale."""
    name, version, target = workload.name, workload.version, workload.target
    if target.is_cron_job:
        patch = {"spec": {"suspend": replicas == 0}}
        return await ctx.kube.merge_patch(CRON_JOBS, namespace, name, patch, resource_version=version) is not None
    if target.has_template:
        type_ = WORKLOADS[workload.kind]
        return await ctx.kube.set_scale(type_, namespace, name, replicas, resource_version=version)
    kind = scalable_kinds.listed(ctx.settings, target)
    if workload.refusal is not None or kind is None:
        why = workload.refusal.message if workload.refusal is not None else "its kind is not listed"
        raise Forbidden(403, c.WORKLOAD_KIND_NOT_ALLOWED, why)
    return await ctx.kube.set_scale(kind, namespace, name, replicas, resource_version=version)


async def set_all(ctx: Context, namespace: str, targets: Iterable[tuple[WorkloadView, int]]) -> ApiError | None:
    """Sets the replicas of all: one that is refused keeps no other one stopped. Returns the first refusal. Raises
    Conflict where a workload changed since it was read."""
    first: ApiError | None = None
    for workload, replicas in targets:
        try:
            await set_replicas(ctx, namespace, workload, replicas)
        except Conflict:
            raise
        except ApiError as error:
            first = first or error
    return first


async def set_image(ctx: Context, namespace: str, workload: WorkloadView, change: images.TemplateChange) -> bool:
    """Changes images and commits of the pod template; False where the workload does not exist. Raises Conflict where it
    changed since it was read."""
    return await ctx.kube.set_template(
        WORKLOADS[workload.kind], namespace, workload.name, change.patch(), resource_version=workload.version
    )


async def running_digest(ctx: Context, namespace: str, target: Target) -> str:
    """The digest of the image of the first container of a Deployment or StatefulSet, from its pods; empty where it is
    unknown."""
    obj = await ctx.kube.get(WORKLOADS[target.kind], namespace, target.name)
    if obj is None:
        return ""
    image = image_of(obj)
    first = obj["spec"]["template"]["spec"]["containers"][0]["name"]
    pods = await ctx.kube.list(PODS, namespace, labels=selector(obj))
    return images.digest_of(image, _statuses(pods, first, image))


def _statuses(pods: Iterable[Object], container: str, image: str) -> Iterable[Object]:
    """The status of that container in the pods that run that image."""
    for pod in pods:
        runs = any(x["name"] == container and x.get("image") == image for x in pod["spec"]["containers"])
        if runs and not pod_ended(pod):
            yield from (x for x in pod.get("status", {}).get("containerStatuses") or () if x["name"] == container)


def selector(obj: Object) -> str:
    """The workload's label selector as a query parameter. See
    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/"""
    found = obj["spec"]["selector"]
    parts = [f"{k}={v}" for k, v in sorted((found.get("matchLabels") or {}).items())]
    for rule in found.get("matchExpressions") or ():
        key, values = rule["key"], ",".join(rule.get("values") or ())
        forms = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append(forms[rule["operator"]])
    return ",".join(parts)


def view(
    target: Target, obj: Object, pods: Iterable[Object], *, commit: str = "", commits: Commit | None = None
) -> WorkloadView:
    """A Deployment or StatefulSet as the plan sees it. Pure."""
    spec, status = obj["spec"], obj.get("status", {})
    left = [p for p in pods if not pod_ended(p)]
    observed = status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
    # Until the controller has observed the last change it may still create pods.
    unseen = not observed or status.get("replicas", 0) > 0
    template = spec["template"]["spec"]
    leaving, leaves_by = _last_to_leave(left)
    return WorkloadView(
        kind=target.kind,
        name=target.name,
        replicas=int(spec.get("replicas", 1)),
        pods=max(len(left), int(unseen)),
        ready_replicas=int(status.get("readyReplicas", 0)) if observed else 0,
        problem=problem(status, left),
        image=image_of(obj),
        commit=commit,
        containers=images.containers(obj),
        commits=commits or Commit(),
        grace_seconds=min(int(template.get("terminationGracePeriodSeconds", DEFAULT_GRACE)), MOST_GRACE),
        leaving=leaving,
        leaves_by=leaves_by,
        selector=selector(obj),
        version=obj["metadata"]["resourceVersion"],
        api_version=target.api_version,
        paused=bool(spec.get("paused")),
        # Of the version by which it is scaled: what changes it in between is a conflict.
        loses=data_loss.of_template(target, obj),
    )


def view_of_cron_job(target: Target, obj: Object, jobs: Iterable[Object], pods: Iterable[Object]) -> WorkloadView:
    """A CronJob: what it has started and has not ended are its pods. Pure."""
    left = {owner["uid"] for p in pods if not pod_ended(p) for owner in p["metadata"]["ownerReferences"]}
    running = [job for job in jobs if finished(job) is None or job["metadata"]["uid"] in left]
    active = int(not obj["spec"].get("suspend"))
    return WorkloadView(
        kind=target.kind,
        name=target.name,
        replicas=active,
        pods=len(running),
        ready_replicas=active,
        version=obj["metadata"]["resourceVersion"],
        api_version=target.api_version,
    )


def view_of_scale(target: Target, found: Scale, pods: Iterable[Object]) -> WorkloadView:
    """A workload of which only the scale subresource and its pods are known. Pure."""
    left = [p for p in pods if not pod_ended(p)]
    ready = sum(1 for p in left if _is_ready(p) and not p["metadata"].get("deletionTimestamp"))
    longest = max((p["spec"].get("terminationGracePeriodSeconds", 0) for p in left), default=DEFAULT_GRACE)
    leaving, leaves_by = _last_to_leave(left)
    return WorkloadView(
        kind=target.kind,
        name=target.name,
        replicas=found.wanted,
        pods=max(len(left), int(found.present > 0)),
        ready_replicas=ready,
        problem=problem({}, left),
        grace_seconds=min(longest, MOST_GRACE),
        leaving=leaving,
        leaves_by=leaves_by,
        selector=found.selector,
        version=found.version,
        api_version=target.api_version,
    )


def _last_to_leave(pods: Sequence[Object]) -> tuple[str, datetime | None]:
    """The pod that is being deleted and has the longest time left, and the end of its grace period."""
    found = [p["metadata"] for p in pods if p["metadata"].get("deletionTimestamp")]
    known = [m for m in found if (m.get("deletionGracePeriodSeconds") or 0) <= MOST_GRACE]
    last = max(known, key=lambda m: str(m["deletionTimestamp"]), default=None)
    return (str(last["name"]), clock.parse(last["deletionTimestamp"])) if last is not None else ("", None)


def problem(status: Object, pods: Sequence[Object]) -> str:
    """Why pods are not ready: ``pod shop-x: CrashLoopBackOff: …``."""
    of_pods = [f"pod {p['metadata']['name']}: {text}" for p in pods if (text := _trouble(p))]
    conditions = [
        f"{x.get('reason', '')}: {x.get('message', '')}"
        for x in status.get("conditions") or ()
        if x["type"] == "ReplicaFailure" and x["status"] == "True"
    ]
    return "; ".join([*conditions, *of_pods[:MAX_PODS]])


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(x["type"] == "Ready" and x["status"] == "True" for x in conditions)


def _trouble(pod: Object) -> str:
    """Why one pod is not Ready; empty where it is."""
    if _is_ready(pod):
        return ""
    status = pod.get("status", {})
    unplaced = pod_trouble(pod)
    if unplaced is not None:
        return f"{unplaced.kind}: {unplaced.message}"
    # Init containers run first, one after the other: the one that is not done is the cause.
    for role, field in (("init container", "initContainerStatuses"), ("container", "containerStatuses")):
        for container in status.get(field) or ():
            if not container.get("ready"):
                return _container_trouble(role, container)
    return "no container is running yet"


def _container_trouble(role: str, container: Object) -> str:
    """Why one container is not ready: ``init container migrate: CrashLoopBackOff: … (last exit code 1, Error: …)``."""
    name, state = f"{role} {container['name']}", container.get("state") or {}
    last = _last_exit(state.get("terminated") or (container.get("lastState") or {}).get("terminated"))
    if "running" in state:
        waits = (
            "is running, and the application waits for it" if role.startswith("init") else "is running and not ready"
        )
        return f"{name} {waits}{last}"
    if "terminated" in state:
        return f"{name} has ended{last}"
    trouble = container_trouble(container)
    message = shortened(trouble.message, MAX_MESSAGE)
    return f"{name}: {trouble.kind}: {message}{last}"


def _last_exit(terminated: Object | None) -> str:
    """`` (last exit code 1, Error: relation "x" does not exist)``; empty where the container has not ended. Its
    termination message may be the end of its log: the cause is at its end."""
    if not terminated:
        return ""
    said = " ".join(str(terminated.get("message") or "").split())
    detail = f": {shortened_start(said, MAX_MESSAGE)}" if said else ""
    return f" (last exit code {terminated.get('exitCode')}, {terminated.get('reason', 'no reason')}{detail})"
