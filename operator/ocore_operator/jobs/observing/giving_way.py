"""Which Jobs give way: a pod of the application cannot start because the Job's pod holds their claim.

A claim that one node can mount stays attached to the Job's node while the Job runs. Where the application's pod is
rescheduled to another node, it would wait for the end of a snapshot or restore, which may take hours.
"""

from collections.abc import Iterable

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.commands.table import RESTORE, SNAPSHOT
from ocore_crds.protocol import Failure
from ocore_kube.types import EVENTS, PODS
from ocore_operator.context import Context
from ocore_operator.jobs.observing.outcome import Observation, claims_of, holds_claims, pod_ended
from ocore_operator.kube.resources import Object

#: Commands that mount the filestore's claim for long while the application runs, and that can begin again.
COMMANDS = (SNAPSHOT.name, RESTORE.name)
#: How the attach controller says that the volume is attached to another node, in an Event of the reason
#: FailedAttachVolume; and the scheduler, in the pod's condition, that another pod uses a ReadWriteOncePod claim. The
#: messages are those of Kubernetes 1.31 to 1.33.
_ATTACHED, _IN_USE = "Multi-Attach error", "ReadWriteOncePod"


async def observe(ctx: Context, seen: Observation, namespace: str) -> dict[str, Failure]:
    """By the name of each Job that gives way: why. Pods that wait are listed only where such a Job holds a claim."""
    holders = [
        (name, pod)
        for command in COMMANDS
        for name in seen.of_command(command)
        for pod in seen.live_pods(name)
        if claims_of(pod) and pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]
    ]
    if not holders:
        return {}
    waiting = await ctx.kube.list(
        PODS, namespace, fields="status.phase=Pending", keep=lambda pod: not _is_ours(pod) and bool(claims_of(pod))
    )
    found: dict[str, Failure] = {}
    for name, holder in holders:
        for pod in waiting:
            if claims_of(pod) & claims_of(holder) and await _is_refused(ctx, namespace, pod, holder):
                if not held_by_another(holder, await ctx.kube.list(PODS, namespace, keep=holds_claims)):
                    found[name] = _failure(name, holder, pod)
                break
    return found


def held_by_another(holder: Object, pods: Iterable[Object]) -> bool:
    """Whether a pod that is not ours holds one of the holder's claims on its node: then it would help no one that the
    Job ends."""
    node = holder["spec"]["nodeName"]
    others = (p for p in pods if not _is_ours(p) and not pod_ended(p) and p["spec"].get("nodeName") == node)
    return any(claims_of(pod) & claims_of(holder) for pod in others)


async def _is_refused(ctx: Context, namespace: str, pod: Object, holder: Object) -> bool:
    """Whether the pod waits for the end of another one that holds its claim."""
    node = pod["spec"].get("nodeName")
    if not node:
        conditions = pod.get("status", {}).get("conditions") or ()
        return any(x["type"] == "PodScheduled" and _IN_USE in x.get("message", "") for x in conditions)
    if node == holder["spec"]["nodeName"]:
        return False
    fields = f"involvedObject.uid={pod['metadata']['uid']},reason=FailedAttachVolume"
    return any(_ATTACHED in event.get("message", "") for event in await ctx.kube.list(EVENTS, namespace, fields=fields))


def _is_ours(pod: Object) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(naming.LABEL_MANAGED_BY) == naming.MANAGED_BY)


def _failure(name: str, holder: Object, pod: Object) -> Failure:
    claim = min(claims_of(pod) & claims_of(holder))
    message = (
        f"Job {name} was stopped: it held the claim {claim} on the node {holder['spec']['nodeName']}, and pod"
        f" {pod['metadata']['name']} could not start on another node. Do not move the application's pods while an"
        " operation runs, or use a ReadWriteMany claim."
    )
    return Failure(reason=c.CLAIM_NEEDED, message=message, retryable=True)
