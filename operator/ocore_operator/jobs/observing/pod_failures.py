"""Why a pod does not start, or why the infrastructure ended it: the kubelet's message, and what to do about it."""

import re
from dataclasses import dataclass, replace

from ocore_crds import conditions as c
from ocore_crds.naming import MOVER_CONTAINER
from ocore_crds.protocol import Failure
from ocore_operator.kube.resources import Object

#: Seconds in which a missing Secret or ConfigMap that a pod mounts, or a key of it, may still appear.
MISSING_PATIENCE = 30.0
#: How the kubelet words that it is missing.
_ABSENT = re.compile("not found|references non-existent (secret|config) key")

#: Seconds after which a Job whose node does not exist any more gets another attempt, which may run on another node.
GONE_PATIENCE = 30.0

#: What a person sets on a node that is off: Kubernetes then removes its pods, and detaches its volumes.
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"

#: How the scheduler words that the only node that a Job may run on takes no pod, and that there is no such node.
_PINNED = r"didn't satisfy plugin\(s\) \[NodeAffinity\]"
_NO_SUCH_NODE = re.compile(rf"0/(\d+) nodes are available: \1 node\(s\) {_PINNED}\.")

#: Reasons that do not explain why a pod has not started; an Event has the cause.
VAGUE = ("NoPod", "Scheduling", "ContainerCreating", "PodInitializing")

_NO_NODE = (
    "Give the Job a node: see spec.jobs of the Environment (resources, nodeSelector, affinity, tolerations); a claim"
    " that only one node can mount binds it to that node."
)

_NO_IMAGE = (
    "Check the chart's values global.imageRegistry and mover.image. Each Secret of global.imagePullSecrets must exist"
    " in this namespace."
)

#: Waiting reason of a container → what to do, and whether it is final: waiting does not help.
_ADVICE: dict[str, tuple[str, bool]] = {
    "ImagePullBackOff": (_NO_IMAGE, False),
    "ErrImagePull": (_NO_IMAGE, False),
    "ErrImageNeverPull": ("The image is not on the node and may not be pulled: check OCORE_IMAGE_PULL_POLICY.", False),
    "InvalidImageName": ("Correct OCORE_MOVER_IMAGE.", True),
    "CreateContainerConfigError": (
        "Check the Secrets and the user: the Job runs as a numeric user that is not root (spec.jobs.runAsUser).",
        False,
    ),
    "CreateContainerError": ("See `kubectl describe pod` of the Job.", False),
    "RunContainerError": ("See `kubectl describe pod` of the Job.", False),
    "Unschedulable": (_NO_NODE, False),
    "FailedMount": (
        "Check that the Secrets, ConfigMaps and claims that the Environment and its SnapshotStore name exist, with"
        " their keys.",
        False,
    ),
    "FailedAttachVolume": ("The volume is attached to another node: a claim can be ReadWriteOnce.", False),
    "FailedScheduling": (_NO_NODE, False),
    "FailedCreate": ("See the namespace's quotas, its LimitRanges and its pod security standard.", False),
}

#: What a message of the scheduler or of admission contains → the line to change. All that fit are given. The messages
#: are those of Kubernetes 1.31 to 1.33.
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"unbound immediate PersistentVolumeClaim",
        (
            "A claim of the Job is Pending. See `kubectl describe pvc`: correct its storageClassName, or make a"
            " PersistentVolume that fits."
        ),
    ),
    (
        _PINNED,
        (
            "A claim that only one node can mount binds the Job to the node of the pod that uses the claim. That node"
            " takes no pod: uncordon or repair it, or tolerate its taint by spec.jobs.tolerations of the Environment."
            f" If it is off, delete its Node, or run `kubectl taint node NODE {OUT_OF_SERVICE}`."
        ),
    ),
    (
        rf"^(?!.*{_PINNED}).*untolerated taint",
        ("Add the taint to spec.jobs.tolerations of the Environment, or choose other nodes by spec.jobs.nodeSelector."),
    ),
    (
        r"didn't match Pod's node affinity/selector",
        (
            "Correct spec.jobs.nodeSelector and spec.jobs.affinity of the Environment, or the chart's value jobs. A"
            " claim that only one node can mount binds the Job to that node."
        ),
    ),
    (r"didn't match pod (anti-)?affinity rules", "Correct spec.jobs.affinity of the Environment."),
    (
        r"didn't match pod topology spread constraints",
        "Correct spec.jobs.topologySpreadConstraints of the Environment, or use ScheduleAnyway.",
    ),
    (r"Insufficient (cpu|memory)", "Decrease spec.jobs.resources.requests of the Environment, or add a node."),
    (
        r"violates PodSecurity",
        (
            "The namespace's pod security standard refuses the pod. Remove what the message names: from"
            " spec.jobs.annotations of the Environment, from the chart's value jobs, or from what injects it."
        ),
    ),
    (
        r"exceeded quota|failed quota",
        (
            "Increase the ResourceQuota, or set spec.jobs.resources of the Environment: a quota may require requests"
            " and limits, and it counts them."
        ),
    ),
    (
        r"(minimum|maximum) \S+ usage per|max limit to request ratio|must be less than or equal to \S+ limit",
        (
            "Set spec.jobs.resources of the Environment, requests and limits, to what the LimitRanges of the namespace"
            " allow."
        ),
    ),
    (
        r"no PriorityClass with name",
        (
            "Create the PriorityClass, or correct spec.jobs.priorityClassName of the Environment and the chart's value"
            " jobs.priorityClassName."
        ),
    ),
    (
        r"RuntimeClass .*not found|runtimeclass.* not found",
        "Create the RuntimeClass, or correct the chart's value jobs.runtimeClassName.",
    ),
    (
        r"error looking up service account|serviceaccount .* not found",
        (
            "Create the service account, or correct the chart's value mover.serviceAccount.name and"
            " spec.serviceAccountName of the SnapshotStore."
        ),
    ),
    (
        r"denied the request|denied request",
        (
            "An admission policy refuses it. What it demands of Jobs goes to spec.jobs.labels and spec.jobs.annotations"
            " of the Environment, or to the chart's values jobs.labels and jobs.annotations."
        ),
    ),
)


def advice(message: str) -> str:
    """The lines to change, by what a message of the scheduler or of admission contains; empty where it is unknown."""
    return " ".join(text for pattern, text in _CAUSES if re.search(pattern, message))


#: Waiting reasons that pass: another attempt may find a node, or a runtime that works.
PASSING = ("Unschedulable", "FailedScheduling", "Scheduling", "CreateContainerError", "RunContainerError")

#: Messages of the runtime that another attempt repeats: the image has no such program, or cannot run it on this
#: machine. Any other failure to create a container may pass: ``runc create failed: … connection reset by peer``. runc
#: and crun word them differently.
_PERMANENT = re.compile(
    r'exec: "|exec format error|executable file (`.*` )?not found|chdir to (cwd|`)|unable to find user|no users'
    r" found|no matching entries in passwd"
)

#: status.reason of a pod that the infrastructure ended → message.
_ENDED: dict[str, str] = {
    "Evicted": "The node was short of a resource and evicted the pod",
    "NodeLost": "The node was lost",
    "NodeShutdown": "The node was shut down",
    "Terminated": "The node was shut down",
    "Preempting": "The pod was preempted by one of higher priority",
    "Shutdown": "The node was shut down",
    "UnexpectedAdmissionError": "The node could not admit the pod",
    "NodeAffinity": "The node no longer matches the pod's affinity",
    "OutOfcpu": "The node had no CPU left",
    "OutOfmemory": "The node had no memory left",
}


@dataclass(frozen=True)
class Trouble:
    """Why a Job or its pod does not start."""

    kind: str  # as Kubernetes names it
    message: str
    final: bool = False  # waiting does not help
    patience: float | None = None  # seconds until it is final, where that is sooner than the start deadline
    reason: str = c.POD_NOT_STARTED  # of the condition, once it is final

    @property
    def advice(self) -> str:
        """What to do about it; empty where that is unknown."""
        return advice(self.message) or _ADVICE.get(self.kind, ("", False))[0]

    @property
    def known(self) -> bool:
        """Whether it explains why the pod does not start, and a person may have to change something."""
        return self.kind not in VAGUE

    @property
    def passing(self) -> bool:
        """Whether another attempt may succeed."""
        return self.kind in PASSING and not self.final and not _PERMANENT.search(self.message)

    def because(self, kind: str, message: str) -> "Trouble":
        """The same with an Event's reason and message, where its own kind is VAGUE."""
        if self.known:
            return self
        patience = MISSING_PATIENCE if kind == "FailedMount" and _ABSENT.search(message) else None
        return replace(self, kind=kind, message=message, patience=patience)


def pod_trouble(pod: Object) -> Trouble | None:
    """Why the pod has no node; None where it has one."""
    if pod.get("spec", {}).get("nodeName"):
        return None
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message = condition.get("message", "no node fits the pod")
            patience = GONE_PATIENCE if _NO_SUCH_NODE.match(message) else None
            return Trouble(condition.get("reason", "Unschedulable"), message, patience=patience)
    return Trouble("Scheduling", "the pod waits for a node")


def start_trouble(pod: Object) -> Trouble:
    """Why the mover's container does not run."""
    found = pod_trouble(pod) or container_trouble(mover(pod))
    if found.known:
        return found
    for status in pod.get("status", {}).get("initContainerStatuses") or ():
        injected = container_trouble(status)
        if injected.known and "running" not in (status.get("state") or {}):
            name = status.get("name")
            text = f"the init container {name}, which was injected into the pod, does not run: {injected.message}"
            return replace(injected, message=text, final=False)
    return found


def mover(pod: Object) -> Object:
    """The status of our container, whatever others are injected into the pod; empty where the kubelet has not reported
    it yet."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return next((dict(status) for status in statuses if status.get("name") == MOVER_CONTAINER), {})


def not_created(reason: str, message: str) -> Failure:
    """The failure of a container that the runtime could not create or start."""
    if _PERMANENT.search(message) or reason not in ("StartError", "ContainerCannotRun"):
        text = f"The program of the Job's image could not be started: {message}. Check OCORE_MOVER_IMAGE."
        return Failure(reason=c.POD_NOT_STARTED, message=text)
    text = f"The container runtime could not create the Job's container: {message}. See the node's container runtime."
    return Failure(reason=c.POD_NOT_STARTED, message=text, retryable=True)


def container_trouble(status: Object) -> Trouble:
    """Why a container of a pod that has a node does not run; `status`: one of its containerStatuses."""
    waiting = (status.get("state") or {}).get("waiting") or {}
    kind = waiting.get("reason", "ContainerCreating")
    message = waiting.get("message") or "the container is being created"
    return Trouble(kind, message, final=_ADVICE.get(kind, ("", False))[1])


def died(pod: Object) -> Failure | None:
    """The failure of a pod that the infrastructure ended; None where it did not. It is retryable."""
    status = pod.get("status", {})
    if status.get("phase") != "Failed":
        return None
    reason = status.get("reason", "")
    cause = _ENDED.get(reason)
    if cause is None:
        cause = next(
            (
                "The pod was disrupted"
                for condition in status.get("conditions") or ()
                if condition["type"] == "DisruptionTarget" and condition["status"] == "True"
            ),
            None,
        )
    if cause is None and not status.get("containerStatuses"):
        cause = "The pod failed before its container ran"
    if cause is None:
        return None
    detail = status.get("message") or reason
    return Failure(reason=c.JOB_FAILED, message=f"{cause}{f' ({detail})' if detail else ''}.", retryable=True)
