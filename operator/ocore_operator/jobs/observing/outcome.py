"""The outcome of a Job: one state, computed from the Job, its pods and their Events. Pure.

A pod's status has precedence over its Job's: the kubelet reports the end of a container about a second before the Job
controller does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ocore_crds import conditions as c
from ocore_crds.commands.base import Command
from ocore_crds.naming import ANNOTATION_START_DEADLINE, LABEL_COMMAND
from ocore_crds.protocol import Failure, Payload, Result
from ocore_crds.text.sentences import shortened_start
from ocore_crds.text.shell import command
from ocore_operator import clock
from ocore_operator.jobs.building import pod_template
from ocore_operator.jobs.observing.pod_failures import OUT_OF_SERVICE, Trouble, died, mover, not_created, start_trouble
from ocore_operator.kube.resources import Object

#: Seconds between two reconciles of what waits for a Job. Its events come sooner, unless one was lost (decision 171).
POLL = 10.0
#: Seconds after the end of its grace period until a pod that was deleted counts as one of a node that does not respond.
LOST_AFTER = 30.0
#: Attempts in all at a Job that ran out of memory: a third attempt would have the same limit, and every attempt
#: takes hours.
MAX_ATTEMPTS_OUT_OF_MEMORY = 2
#: The mover's exit code for a request that is not valid.
EXIT_USAGE = 2
#: Exit codes of a container that could not be started (the image has no such program).
EXIT_CANNOT_RUN = (126, 127, 128)


@dataclass(frozen=True)
class Absent:
    """The Job does not exist: not created yet, or removed by its TTL or by another client. The caller's status shows
    which."""


@dataclass(frozen=True)
class Starting:
    """The Job exists; its container is not running yet, or is about to be restarted."""

    reason: str
    message: str
    since: str
    #: What to do, where a person may have to change something; empty: it only starts.
    advice: str = ""

    @property
    def condition(self) -> str | None:
        """Reason of a condition that says so; None: it only starts."""
        return c.JOB_PENDING if self.advice else None

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.message} ({self.reason}).{f' {self.advice}' if self.advice else ''}"


@dataclass(frozen=True)
class Running:
    """The container is running, or its pod is being deleted and still exists. `ready`: its readiness probe succeeded (a
    switch Job waits for its signal)."""

    pod: str
    node: str
    since: str
    ready: bool
    restarts: int
    #: Why its pod, which was deleted, has not ended; empty: it was not, or may still end. It may act until it is gone.
    lost: str = ""


@dataclass(frozen=True)
class Succeeded:
    """The Job has ended with a result."""

    payload: Payload
    finished: str
    #: Of the command that followed in the same Job.
    then: Result | None = None


@dataclass(frozen=True)
class JobFailed:
    """The Job has failed. `failure.retryable` is also true where the infrastructure ended it (evicted, killed, node
    lost).

    `unreported`: it ran and ended without a report, so an inspect Job must find out how far it got.
    """

    failure: Failure
    finished: str
    unreported: bool = False


@dataclass(frozen=True)
class NoResult:
    """The Job has ended and its pod is gone, so an inspect Job must find out how far it got."""

    message: str
    finished: str


JobState = Absent | Starting | Running | Succeeded | NoResult | JobFailed


@dataclass(frozen=True)
class Observation:
    """All Jobs of one object with their pods, and the Events of those that do not start."""

    jobs: Mapping[str, Object]
    pods: Mapping[str, tuple[Object, ...]]
    now: datetime
    start_deadline: float
    #: uid of a Job or pod → the newest of its warnings: reason and message.
    warnings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    #: Name of a Job that must end, so that the application can start → why. See ``giving_way.py``.
    gives_way: Mapping[str, Failure] = field(default_factory=dict)
    #: It comes from the last lists, not from lists of now: only a decision to wait may rest on it.
    remembered: bool = False

    def state(self, job_name: str) -> JobState:
        """The state of the Job of that name."""
        return classify(
            self.jobs.get(job_name), self.pods.get(job_name, ()), self.warnings, self.now, self.start_deadline
        )

    def of_command(self, command: str) -> tuple[str, ...]:
        """Names of the Jobs that run the command, oldest first."""
        found = [j for j in self.jobs.values() if j["metadata"].get("labels", {}).get(LABEL_COMMAND) == command]
        found.sort(key=lambda j: (j["metadata"]["creationTimestamp"], j["metadata"]["name"]))
        return tuple(j["metadata"]["name"] for j in found)

    def live_pods(self, job_name: str) -> tuple[Object, ...]:
        """Pods of the Job that may still act: neither Succeeded nor Failed."""
        return tuple(p for p in self.pods.get(job_name, ()) if not pod_ended(p))

    def lingering(self, job_name: str) -> bool:
        """Whether the Job's container has ended and its pod has not: a container that was injected still runs."""
        job = self.jobs.get(job_name)
        return job is not None and finished(job) is None and any(_terminated(p) for p in self.live_pods(job_name))

    def gone(self, job_name: str) -> bool:
        """Whether neither the Job nor a pod of it exists."""
        return job_name not in self.jobs and not self.pods.get(job_name)

    def stopping(self, job_name: str) -> bool:
        """Whether the Job is being deleted."""
        job = self.jobs.get(job_name)
        return job is not None and "deletionTimestamp" in job["metadata"]


def may_retry(command: Command[Any], failure: Failure, attempt: int) -> bool:
    """Whether another attempt at the command is made after this failure of attempt number `attempt` (from 1)."""
    limit = command.attempts
    if failure.reason == c.OUT_OF_MEMORY:
        limit = min(limit, MAX_ATTEMPTS_OUT_OF_MEMORY)
    return failure.retryable and attempt < limit


def claims_of(pod: Object) -> set[str]:
    """Names of the claims that the pod mounts."""
    volumes = pod.get("spec", {}).get("volumes") or ()
    return {v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim")}


def holds_claims(pod: Object) -> bool:
    """Whether it mounts claims on a node. Of thousands of pods in a namespace only these matter for a claim."""
    return bool(claims_of(pod)) and bool(pod.get("spec", {}).get("nodeName")) and not pod_ended(pod)


def pod_ended(pod: Object) -> bool:
    """Whether the pod has ended: Succeeded or Failed."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def mover_ended(pod: Object) -> bool:
    """Whether the mover has ended and is not started again, though the pod's phase may not show it yet."""
    end = (mover(pod).get("state") or {}).get("terminated")
    never = pod.get("spec", {}).get("restartPolicy") == "Never"
    return end is not None and (never or end.get("exitCode") == 0)


def ends_with_mover(pod: Object) -> bool:
    """Whether the pod ends when its mover does: no other container runs in it, as one that is injected may."""
    spec = pod.get("spec", {})
    beside = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return len(spec.get("containers") or ()) + len(beside) <= 1


def finished(job: Object) -> Object | None:
    """The condition Complete or Failed of a Job that has ended; None while it runs."""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return dict(condition)
    return None


def moved(job: Object | None, pods: Iterable[Object]) -> bool:
    """Whether a pod of the Job has ended and the Job replaces it: a node was drained, shut down or lost, or the pod was
    deleted. A Job's pod template is fixed: the replacement is bound to the same node as before."""
    if job is None or finished(job) is not None or "deletionTimestamp" in job["metadata"]:
        return False
    status = job.get("status") or {}
    counted = status.get("failed") or (status.get("uncountedTerminatedPods") or {}).get("failed")
    return bool(counted) or any(p.get("status", {}).get("phase") == "Failed" for p in pods)


def unplaced_since(job: Object | None, pods: Iterable[Object]) -> datetime | None:
    """Since when no node takes the Job's newest pod, which is bound to one node; None where that is not so."""
    newest = max(pods, key=lambda p: str(p["metadata"]["creationTimestamp"]), default=None)
    if job is None or newest is None or newest.get("spec", {}).get("nodeName") or pod_ended(newest):
        return None
    conditions = newest.get("status", {}).get("conditions") or ()
    refused = any(x["type"] == "PodScheduled" and x["status"] == "False" for x in conditions)
    if not refused or not pod_template.is_pinned(job["spec"]["template"]["spec"]):
        return None
    return clock.parse(newest["metadata"]["creationTimestamp"])


def classify(
    job: Object | None,
    pods: Iterable[Object],
    warnings: Mapping[str, tuple[str, str]],
    now: datetime,
    start_deadline: float,
) -> JobState:
    """The Job's state. `start_deadline`: seconds from its creation until its container must be running, where the Job
    does not say it."""
    newest = max(pods, key=lambda p: str(p["metadata"]["creationTimestamp"]), default=None)
    if job is None:
        # While a pod of a deleted Job exists, the Job is not absent: two attempts must not run at the same time.
        return Absent() if newest is None else _lingering(newest, now)
    end = finished(job)
    start_deadline = start_deadline_of(job, start_deadline)
    restarts = job["spec"]["template"]["spec"].get("restartPolicy") == "OnFailure"
    if newest is not None:
        reported = _reported(newest, final=end is not None or not restarts)
        if reported is not None:
            return reported
    if end is not None:
        return _ended(end, newest, now)
    if newest is None and "deletionTimestamp" in job["metadata"]:
        return NoResult("the Job is being deleted, and its pod is gone", str(job["metadata"]["deletionTimestamp"]))
    if newest is None:
        trouble = Trouble("NoPod", "no pod was made for the Job yet", final=False, reason=c.JOB_REFUSED)
        return _starting(job, _with_warning(trouble, warnings, job), now, start_deadline)
    running = _running(newest, now)
    if running is not None:
        return running
    trouble = _with_warning(start_trouble(newest), warnings, newest)
    if ever_ran(newest):
        return Starting(trouble.kind, trouble.message, str(newest["metadata"]["creationTimestamp"]))
    return _starting(job, trouble, now, start_deadline)


def start_deadline_of(job: Object, default: float) -> float:
    """Seconds until the Job's container must run. Others may change annotations where the chart's policies are off."""
    text = (job["metadata"].get("annotations") or {}).get(ANNOTATION_START_DEADLINE, "")
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 4 else default


def _lingering(pod: Object, now: datetime) -> JobState:
    """The state of a Job that is gone while a pod of it exists. What that pod reports is not believed: see
    ``ownership.py``."""
    running = _running(pod, now)
    if running is not None:
        return running
    return NoResult("its Job was deleted", _finished_at(pod, _terminated(pod) or {}))


def _reported(pod: Object, *, final: bool) -> Succeeded | JobFailed | None:
    """The outcome that the pod reports; None where it has not ended, or where its container is restarted after a
    failure."""
    end = _terminated(pod)
    if end is None:
        lost = died(pod)
        return JobFailed(lost, _finished_at(pod, {}), unreported=ever_ran(pod)) if lost is not None else None
    result = _result(end)
    at = _finished_at(pod, end)
    if result is not None and result.ok and result.payload is not None:
        return Succeeded(result.payload, at, result.then)
    if not final and end.get("exitCode") != 0:
        return None
    if result is not None and result.failure is not None:
        return JobFailed(result.failure, at)
    return _unreported(pod, end, at)


def _unreported(pod: Object, end: Object, at: str) -> JobFailed:
    """A container that ended without a result."""
    code = int(end.get("exitCode", -1))
    detail = shortened_start(str(end.get("message") or end.get("reason") or "").strip(), 500)
    if end.get("reason") == "OOMKilled":
        message = (
            "The Job ran out of memory (OOMKilled). Increase spec.jobs.resources.limits.memory of the Environment, or"
            " decrease spec.jobs.parallelism."
        )
        return JobFailed(Failure(reason=c.OUT_OF_MEMORY, message=message, retryable=True), at, unreported=True)
    if code in EXIT_CANNOT_RUN or end.get("reason") in ("ContainerCannotRun", "StartError"):
        return JobFailed(not_created(str(end.get("reason") or ""), detail), at)
    if code == EXIT_USAGE:
        message = (
            f"The Job's program rejected its request ({detail or 'no message'}): the operator and the mover image have "
            "different versions. Set OCORE_MOVER_IMAGE to the operator's version."
        )
        return JobFailed(Failure(reason=c.INTERNAL_ERROR, message=message), at)
    lost = died(pod)
    if lost is not None:
        return JobFailed(lost, at, unreported=True)
    message = f"The Job's container ended with exit code {code} and no result ({detail or 'no message'})."
    return JobFailed(Failure(reason=c.JOB_FAILED, message=message, retryable=True), at, unreported=True)


def _ended(end: Object, pod: Object | None, now: datetime) -> JobState:
    """A Job that has ended, without an ended pod that reports an outcome."""
    at = _text(end.get("lastTransitionTime"))
    if end.get("reason") == "DeadlineExceeded":
        message = "The Job did not end within its deadline and was stopped."
        return JobFailed(Failure(reason=c.DEADLINE_EXCEEDED, message=message), at, unreported=True)
    if pod is not None:
        running = _running(pod, now)
        if running is not None:
            return running
    return NoResult(f"the Job has ended ({end.get('message') or end['type']}) and its pod is gone", at)


def _starting(job: Object, trouble: Trouble, now: datetime, start_deadline: float) -> JobState:
    since = str(job["metadata"]["creationTimestamp"])
    waited = clock.seconds_since(since, now)
    if trouble.final or waited > min(start_deadline, trouble.patience or start_deadline):
        message = f"{trouble.message} ({trouble.kind}, after {max(waited, 0):.0f} s). {trouble.advice}".strip()
        # A pause before another attempt counts from the start deadline, also where it is known earlier that the Job
        # cannot start. A moment that moved with the clock would let no pause end.
        at = clock.text(min(now, clock.after(clock.parse(since), start_deadline)))
        return JobFailed(Failure(reason=trouble.reason, message=message, retryable=trouble.passing), at)
    return Starting(trouble.kind, trouble.message.rstrip("."), since, trouble.advice if trouble.known else "")


def _with_warning(trouble: Trouble, warnings: Mapping[str, tuple[str, str]], obj: Object) -> Trouble:
    """With the message of the object's newest warning Event, which has more detail than a waiting reason."""
    warning = warnings.get(obj["metadata"]["uid"])
    return trouble if warning is None else trouble.because(*warning)


def _lost(pod: Object, now: datetime) -> str:
    """Why a pod that was deleted has not ended; empty where it was not, or may still end in time."""
    end = pod["metadata"].get("deletionTimestamp")  # the end of its grace period
    if end is None or clock.seconds_since(end, now) < LOST_AFTER:
        return ""
    name, node = pod["metadata"]["name"], pod.get("spec", {}).get("nodeName", "")
    return (
        f"Pod {name} was deleted and has not ended: the node {node} does not respond, and the pod may still write."
        f" Repair the node or its network. If that takes too long, switch the machine off. When it is off, run"
        f" `{command('kubectl', 'delete', 'node', node)}`, or"
        f" `{command('kubectl', 'taint', 'node', node, OUT_OF_SERVICE)}`: the operation continues when"
        " the pod is gone."
    )


def silent(pod: Object) -> bool:
    """Whether the pod's node does not report any more. Kubernetes then sets the pod's condition Ready to False, and
    leaves the last report of its containers as it was. With a readiness gate, which others inject, this shows nothing.
    """
    if pod.get("spec", {}).get("readinessGates"):
        return False
    states = {x["type"]: x["status"] for x in pod.get("status", {}).get("conditions") or ()}
    return states.get("Ready") == "False" and states.get("ContainersReady") == "True"


def _running(pod: Object, now: datetime) -> Running | None:
    if pod_ended(pod):
        return None
    status = mover(pod)
    running = (status.get("state") or {}).get("running")
    deleted = "deletionTimestamp" in pod["metadata"]
    if running is None and not (deleted and ever_ran(pod)):
        return None
    return Running(
        pod=pod["metadata"]["name"],
        node=pod.get("spec", {}).get("nodeName", ""),
        since=_text((running or {}).get("startedAt")) or str(pod["metadata"]["creationTimestamp"]),
        ready=bool(status.get("ready")) and not deleted and not silent(pod),
        restarts=int(status.get("restartCount", 0)),
        lost=_lost(pod, now),
    )


def _terminated(pod: Object) -> Object | None:
    found = (mover(pod).get("state") or {}).get("terminated")
    return dict(found) if found is not None else None


def ever_ran(pod: Object) -> bool:
    status = mover(pod)
    return any(k in (status.get(s) or {}) for s in ("state", "lastState") for k in ("running", "terminated"))


def _result(end: Object) -> Result | None:
    message = end.get("message")
    if not message:
        return None
    try:
        return Result.model_validate_json(message)
    except ValueError:
        return None


def _finished_at(pod: Object, end: Object) -> str:
    return _text(end.get("finishedAt")) or _text(pod["metadata"].get("deletionTimestamp"))


def _text(value: object) -> str:
    return str(value) if value else ""
