"""The signal to a waiting Job: an annotation on its pod, which the Job reads through a downward-API volume. Level-triggered: it stays on the pod."""

from pydantic import BaseModel

from ocore_crds import naming
from ocore_operator.context import Context
from ocore_operator.kube.client import PODS
from ocore_operator.kube.resources import Object


async def send(ctx: Context, namespace: str, pod: str, version: str, signal: BaseModel) -> bool:
    """Puts the signal on the pod; False where the pod does not exist. Raises Conflict where the pod changed since it was read: a deposed leader must
    not send an outdated signal."""
    value: dict[str, str | None] = {naming.ANNOTATION_SIGNAL: signal.model_dump_json(by_alias=True)}
    return await ctx.kube.annotate(PODS, namespace, pod, value, resource_version=version)


def text_of(pod: Object) -> str:
    """The signal on the pod as JSON; empty where there is none."""
    return str((pod["metadata"].get("annotations") or {}).get(naming.ANNOTATION_SIGNAL) or "")
