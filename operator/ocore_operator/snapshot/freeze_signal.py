"""The answer of a snapshot Job to its signal to freeze (``jobs/signals.py``), in its log: it can be read again after a
restart."""

from ocore_crds.protocol import Step, StepReport, parse_line
from ocore_kube.errors import ApiError
from ocore_operator.context import Context

#: Seconds to read a whole log: a snapshot writes two lines of progress a second.
READ_SECONDS = 5.0


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
