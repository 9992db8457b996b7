"""The answer of the switch Job to its signal (``jobs/signals.py``), in its log.

Level-triggered: it can be read again after a restart, and a restarted container reports its position again in its own
log.
"""

from ocore_crds.protocol import Failure, Result, Step, StepReport, SwitchResult, parse_line
from ocore_kube.errors import ApiError
from ocore_operator.context import Context
from ocore_operator.jobs.observing.pod_failures import mover
from ocore_operator.kube.resources import Object

#: Seconds to read a whole log: a switch Job writes a few lines.
READ_SECONDS = 5.0


async def answer(ctx: Context, namespace: str, pod: str) -> SwitchResult | None:
    """The newest answer in the log of the pod's current container; None where there is none, or no log yet."""
    found: SwitchResult | None = None
    try:
        async for line in ctx.kube.follow_log(namespace, pod, follow=False, seconds=READ_SECONDS):
            found = answered(line.text) or found
    except ApiError:
        return None
    return found


def answered(line: str) -> SwitchResult | None:
    """The result in a step report that ends a switch, forward or back; None: it is another line. Pure."""
    report = parse_line(line)
    return of_report(report) if isinstance(report, StepReport) else None


def of_report(report: StepReport) -> SwitchResult | None:
    """The result in the report of a step; None where it does not end a switch."""
    if report.state != "Done":
        return None
    return _result(report.message) if report.step in (Step.SWITCH, Step.SWITCH_BACK) else None


def _result(text: str) -> SwitchResult | None:
    try:
        return SwitchResult.model_validate_json(text)
    except ValueError:
        return None


def last_failure(pod: Object) -> Failure | None:
    """The failure that the last ended container reported; None where it reported none. One that is not retryable ends
    the wait before the kubelet has restarted the container six times."""
    status = mover(pod)
    ended = (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get("terminated")
    if not ended or not ended.get("message"):
        return None
    try:
        return Result.model_validate_json(ended["message"]).failure
    except ValueError:
        return None
