"""The signal to a waiting Job: an annotation on its pod, which the Job reads through a downward-API volume.
Level-triggered: it stays on the pod.

The kubelet writes the file about 0.1 s after the annotation changed. If that one write fails or is missed, it does so
again with the pod's next change, or after one to two minutes: later than the signal is valid. Therefore the signal is
repeated: a second annotation, which counts the repetitions, changes the pod until the Job has answered.
"""

from ocore_crds import naming
from ocore_crds.protocol import Signal
from ocore_kube.types import PODS
from ocore_operator.context import Context
from ocore_operator.kube.resources import Object

#: Validity of a signal in seconds.
SIGNAL_SECONDS = 30
#: A signal is sent only if the Job still has this many seconds to read it.
SIGNAL_MARGIN_SECONDS = 2
#: Seconds between two repetitions.
REPEAT_SECONDS = 5


async def send(ctx: Context, namespace: str, pod: str, version: str, signal: Signal, repetition: int) -> bool:
    """Puts the signal on the pod; False where the pod does not exist. Raises Conflict where the pod changed since it
    was read: a deposed leader must not send an outdated signal."""
    value: dict[str, str | None] = {
        naming.ANNOTATION_SIGNAL: signal.model_dump_json(by_alias=True),
        naming.ANNOTATION_SIGNAL_REPETITION: str(repetition),
    }
    return await ctx.kube.annotate(PODS, namespace, pod, value, resource_version=version)


def due(left: float) -> int | None:
    """The repetition that is due `left` seconds before the signal expires, 0 for the first; None where the Job would
    read it too late. Pure."""
    if left < SIGNAL_MARGIN_SECONDS:
        return None
    return max(int((SIGNAL_SECONDS - left) / REPEAT_SECONDS), 0)


def sent(pod: Object) -> Signal | None:
    """The signal on the pod; None where there is none, or one that is not valid."""
    text = str((pod["metadata"].get("annotations") or {}).get(naming.ANNOTATION_SIGNAL) or "")
    try:
        return Signal.model_validate_json(text) if text else None
    except ValueError:
        return None


def repetition_of(pod: Object) -> int:
    """How often the signal on the pod was repeated; 0 where the annotation is missing or is no number."""
    text = (pod["metadata"].get("annotations") or {}).get(naming.ANNOTATION_SIGNAL_REPETITION) or ""
    return int(text) if text.isdecimal() else 0
