"""The signal to freeze on a snapshot Job's pod, and the Job's answer in its log. Both can be read again after a
restart."""

from ocore_crds.protocol import FreezeSignal, Step, StepReport, parse_line
from ocore_kube.errors import ApiError
from ocore_operator.context import Context
from ocore_operator.jobs import signals
from ocore_operator.kube.resources import Object

#: Seconds to read a whole log: a snapshot writes two lines of progress a second.
READ_SECONDS = 5.0


def sent(pod: Object) -> FreezeSignal | None:
    """The signal on the pod; None where there is none, or one that is not valid."""
    text = signals.text_of(pod)
    try:
        return FreezeSignal.model_validate_json(text) if text else None
    except ValueError:
        return None


async def may_resume(ctx: Context, namespace: str, pod: str) -> bool:
    """Whether the Job has reported that the workloads may start again; False where its log cannot be read."""
    try:
        async for line in ctx.kube.follow_log(namespace, pod, follow=False, seconds=READ_SECONDS):
            if says_so(line.text):
                return True
    except ApiError:
        return False
    return False


def says_so(line: str) -> bool:
    """Whether the line of the log is that report. Pure."""
    report = parse_line(line)
    return isinstance(report, StepReport) and report.step is Step.QUIESCE and report.state == "Done"
