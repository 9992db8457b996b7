"""How the operator and the waiting switch Job speak: an annotation on its pod one way, its log the other.

Both are level-triggered: what was said can be read again after a restart of either side. The annotation stays on the pod, and a restarted
container tells again in its own log where it stands.
"""

from collections.abc import Iterable

from ocore_crds import naming
from ocore_crds.protocol import Failure, Result, Signal, Step, StepReport, SwitchResult, parse_line
from ocore_operator.context import Context
from ocore_operator.errors import ApiError
from ocore_operator.kube.client import PODS
from ocore_operator.kube.resources import Object

#: Seconds in which a log is read, whole: a switch Job writes a few lines.
READ_SECONDS = 5.0


async def send(ctx: Context, namespace: str, pod: str, version: str, signal: Signal) -> bool:
    """Puts the signal on the pod; False where the pod is gone. Raises Conflict where the pod moved on since it was read: an operator that was
    stopped in between must not give a signal that is no longer meant."""
    value: dict[str, str | None] = {naming.ANNOTATION_SIGNAL: signal.model_dump_json(by_alias=True)}
    return await ctx.kube.annotate(PODS, namespace, pod, value, resource_version=version)


def sent(pod: Object) -> Signal | None:
    """The signal that the pod carries."""
    text = (pod["metadata"].get("annotations") or {}).get(naming.ANNOTATION_SIGNAL)
    if not text:
        return None
    try:
        return Signal.model_validate_json(text)
    except ValueError:
        return None


async def answer(ctx: Context, namespace: str, pod: str) -> SwitchResult | None:
    """The newest answer in the log of the pod's present container; None where there is none, or no log yet."""
    try:
        return newest([x.text async for x in ctx.kube.follow_log(namespace, pod, follow=False, seconds=READ_SECONDS)])
    except ApiError:
        return None


def newest(lines: Iterable[str]) -> SwitchResult | None:
    """The last step report that ends a switch, forward or back. Pure."""
    found: SwitchResult | None = None
    for line in lines:
        report = parse_line(line)
        if not isinstance(report, StepReport) or report.state != "Done":
            continue
        if report.step in (Step.SWITCH, Step.SWITCH_BACK):
            found = _result(report.message) or found
    return found


def _result(text: str) -> SwitchResult | None:
    try:
        return SwitchResult.model_validate_json(text)
    except ValueError:
        return None


def last_failure(pod: Object) -> Failure | None:
    """How the container before the present one failed, where it said so: one that another start will not mend need not be waited for until the
    kubelet has started it six times over."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        ended = (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get("terminated")
        if not ended or not ended.get("message"):
            continue
        try:
            return Result.model_validate_json(ended["message"]).failure
        except ValueError:
            continue
    return None
